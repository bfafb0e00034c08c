"""Two images: which regions made them alike."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from reidlib.batches import normalise
from reidlib.images import decode


def similarity_maps(system, a: Path, b: Path) -> np.ndarray:
    """What each place of two images adds to their cosine similarity: (2, h, w) float32, a map of `a` and one of `b`.

    Each sums to the cosine. A value is the share of a place in one image's embedding times the whole embedding of the
    other: near zero for what the other image has nothing of, below for what speaks against the pair. ValueError for a
    system whose embedding is no sum over places. Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity
    Networks" (WACV 2019), section 3.
    """
    if not hasattr(system, "regions"):
        raise ValueError(
            f"{type(system).__name__} has no regions(): its similarities cannot be shared out over an image"
        )
    images = normalise(decode([a, b], system.recipe.size, system.recipe.resize).to(next(system.parameters()).device))
    regions = system.regions(images)  # (2, h, w, C)
    other = regions.sum((1, 2)).flip(0)  # (2, C)
    return torch.einsum("nhwc,nc->nhw", regions, other).float().cpu().numpy()


def heat(place: np.ndarray, most: float) -> bytes:
    """A map (h, w) as a small PNG to lay over its image: cividis from nothing or less (dark) to `most` (bright)."""
    share = place.clip(0, most) / most if most > 0 else np.zeros_like(place)  # nothing may speak for a pair
    size = place.shape[1] * 8, place.shape[0] * 8
    image = Image.fromarray((255 * share).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    image.putpalette(matplotlib.colormaps["cividis"](range(256), bytes=True)[:, :3].tobytes())  # a byte a pixel
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def where(place: np.ndarray) -> str:
    """A map (h, w) in words: how what speaks for the pair divides over the height, and where it is strongest."""
    h, w = place.shape
    rows = place.clip(min=0).sum(1)
    if not rows.sum():
        return "nothing speaks for it"
    upper = 100 * (rows[: h // 2].sum() + h % 2 * rows[h // 2] / 2) / rows.sum()
    row, column = np.unravel_index(place.argmax(), place.shape)
    side = ("left", "middle", "right")[int(3 * (column + 0.5) / w)]
    halves = f"upper half {upper:.0f} %, lower half {100 - upper:.0f} %"
    return f"{halves}; strongest {100 * (row + 0.5) / h:.0f} % down, {side}"


def explanation(system, a: Path, b: Path, kept: float) -> dict:
    """The similarity maps of two files as `maps`, pictures to lay over them, and in `words`.

    `kept` is their cosine as scored. ValueError where the system finds another: it is not the one that was scored.
    """
    maps = similarity_maps(system, a, b)
    cosine = maps[0].sum()
    if abs(cosine - kept) > 0.1:  # more than rounding, and than an average over the mirrored image, can do
        raise ValueError(f"this system finds similarity {cosine:.2f}, the scores hold {kept:.2f}: they are not of it")
    words = f"Cosine {cosine:.2f}.\nQuery: {where(maps[0])}.\nAnswer: {where(maps[1])}."
    return {"maps": [heat(place, maps.max()) for place in maps], "words": words}
