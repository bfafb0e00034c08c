"""From images to rows that can be compared: embed a split, or plain files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from reidlib.batches import normalise
from reidlib.images import decode
from reidlib.progress import progress
from reidlib.systems import convolutions

CHUNK = 1024  # images decoded ahead of the network, so that neither waits for the other


def embed(system, shots, batch: int = 128, flip: bool = False) -> Tensor:
    """The embeddings of `shots`, or of a list of image files: (N, D) float32, L2-normalised, in main memory.

    `flip` averages each image with its mirror, at twice the cost. Images are resized as the system was trained and
    nothing else. Raises ValueError for an unreadable image and FileNotFoundError for a missing one.
    """
    files = shots.files() if hasattr(shots, "files") else [Path(file) for file in shots]
    if not files:
        raise ValueError("no images to embed: the list is empty")
    device, recipe = next(system.parameters()).device, system.recipe
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    bar = progress(label=f"embed {getattr(shots, 'name', '')}", total=len(files), unit="image", few=len(files) < CHUNK)
    rows = []
    with ThreadPoolExecutor(1) as ahead, bar, convolutions(system):
        waiting = ahead.submit(decode, chunks[0], recipe.size, recipe.resize)
        for following in (*chunks[1:], None):
            decoded = waiting.result()
            if following:
                waiting = ahead.submit(decode, following, recipe.size, recipe.resize)
            for images in decoded.split(batch):
                rows.append(_embed(system, normalise(images.to(device)), flip).cpu())
                bar.update(len(images))
    return torch.cat(rows)


def _embed(system, images: Tensor, flip: bool) -> Tensor:
    emb = system.embed(images)
    return F.normalize(emb + system.embed(images.flip(3))) if flip else emb
