"""From images to rows that can be compared: embed a split, or plain files."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.data.images import decode
from reidlib.data.shots import Shots
from reidlib.progress import progress
from reidlib.systems import System, convolutions

CHUNK = 1024  # images decoded ahead of the network, so that neither waits for the other


def embed(
    system: System, shots: Shots | Sequence[str | Path], batch: int = 128, flip: bool | None = None,
    through: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Compute L2-normalised embeddings (N, D) float32, in main memory, of images resized as in training.

    Parameters
    ----------
    system, shots : a trained system, and N images: Shots or paths
    batch : images that pass through the network together
    flip : average each embedding with that of the mirror image, at twice the cost; default: what the system's test does
    through : a function of normalised images (B, 3, H, W) that those of visible cameras pass through first; default:
        the system's `to_infrared` if it has one

    Raises
    ------
    ValueError, FileNotFoundError : an unreadable image or none at all; a missing image
    """
    files = shots.files() if isinstance(shots, Shots) else [Path(file) for file in shots]
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


def _embed(system: System, images: Tensor, flip: bool) -> Tensor:
    emb = system.embed(images)
    return F.normalize(emb + system.embed(images.flip(3))) if flip else emb
