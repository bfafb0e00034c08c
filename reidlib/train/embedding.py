"""From images to rows that can be compared: embed a split, or plain files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.data.images import decode
from reidlib.progress import progress
from reidlib.systems import convolutions

CHUNK = 1024  # images decoded ahead of the network, so that neither waits for the other


def embed(
    system, shots, batch: int = 128, flip: bool | None = None, through: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """The embeddings of `shots`, or of a list of image files: (N, D) float32, L2-normalised, in main memory.

    `flip` averages each image with its mirror, at twice the cost; None does what the system's own test does. Images
    are resized as the system was trained and nothing else, but those of visible cameras go `through` a function of
    normalised images (B, 3, H, W) first, by default the system's `to_infrared` if it has one. Raises ValueError for an
    unreadable image and FileNotFoundError for a missing one.
    """
    files = shots.files() if hasattr(shots, "files") else [Path(file) for file in shots]
    if not files:
        raise ValueError("no images to embed: the list is empty")
    device, recipe = next(system.parameters()).device, system.recipe
    flip, through = system.flip if flip is None else flip, through or getattr(system, "to_infrared", None)
    visible = torch.from_numpy(~getattr(shots, "infrared", np.ones(len(files), bool)))
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    bar = progress(label=f"embed {getattr(shots, 'name', '')}", total=len(files), unit="image", few=len(files) < CHUNK)
    rows = []
    with ThreadPoolExecutor(1) as ahead, bar, convolutions(system):
        waiting = ahead.submit(decode, chunks[0], recipe.size, recipe.resize)
        for part, following in zip(visible.split(CHUNK), (*chunks[1:], None), strict=True):
            decoded = waiting.result()
            if following:
                waiting = ahead.submit(decode, following, recipe.size, recipe.resize)
            for images, seen in zip(decoded.split(batch), part.split(batch), strict=True):
                images = normalise(images.to(device))
                if through and seen.any():
                    images[seen] = through(images[seen])
                rows.append(_embed(system, images, flip).cpu())
                bar.update(len(images))
    return torch.cat(rows)


def _embed(system, images: Tensor, flip: bool) -> Tensor:
    emb = system.embed(images)
    return F.normalize(emb + system.embed(images.flip(3))) if flip else emb
