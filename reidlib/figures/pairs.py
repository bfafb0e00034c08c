"""Two images: which regions, or which parts of a part-based model, made them alike."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.data.images import decode
from reidlib.figures.style import GAP, INK, LINE, Picture, caption, note, sheet, styled, thumb

DIM = 0.6  # how dark a band is whose parts have nothing in common, as in browser.css


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
    regions = system.regions(_pair(system, a, b))  # (2, h, w, C)
    other = regions.sum((1, 2)).flip(0)  # (2, C)
    return torch.einsum("nhwc,nc->nhw", regions, other).float().cpu().numpy()


@torch.inference_mode()
def part_similarities(system, a: Path, b: Path) -> np.ndarray:
    """How alike two images are in each part: (2, P) float32, the cosines of the parts and what each adds to the whole.

    The second row sums to the cosine of the embeddings; a part adds much where it is alike and long in both. Averaged
    with the mirror images where the system's own test does that. ValueError for a system whose embedding is not put
    together from parts. Source: Sun et al., "Beyond Part Models" (ECCV 2018), section 3.1.
    """
    if not hasattr(system, "parts"):
        raise ValueError(f"{type(system).__name__} has no parts(): its similarities cannot be told apart by them")
    images = _pair(system, a, b)
    parts = system.parts(images).float()  # (2, P, D/P)
    if system.flip:
        parts = parts + system.parts(images.flip(3))
    a, b = parts / torch.linalg.vector_norm(parts, dim=(1, 2), keepdim=True)
    return torch.stack([F.cosine_similarity(a, b, dim=1), (a * b).sum(1)]).cpu().numpy()


def _pair(system, a: Path, b: Path) -> Tensor:
    return normalise(decode([a, b], system.recipe.size, system.recipe.resize).to(next(system.parameters()).device))


@styled
def plot_parts(system, a: Path, b: Path, title: str | None = None) -> Picture:
    """Two images cut into the system's parts, as a Picture: the cosine of two parts stands between their bands.

    The more alike, the thicker the line and the brighter the band; at the right, what a part adds to the similarity of
    the images. Parts are drawn as equal bands from top to bottom, refined ones too. ValueError as `part_similarities`.
    """
    similarities = part_similarities(system, a, b)
    width, height, between = 1.3, 2.6, 1.5  # inches
    right = GAP + width + between
    fig, ax, top = sheet(right + width + 1.0, height + 0.55, title)
    caption(ax, right - between / 2, top - 0.06, "cosine")
    note(ax, right + width + GAP, top - 0.01, "adds")
    top += LINE + 0.06
    for x, file in ((GAP, a), (right, b)):
        thumb(ax, file, x, top, (width, height))
    step = height / similarities.shape[1]
    for i, (own, adds) in enumerate(similarities.T):
        _band(ax, (GAP + width, right), top + i * step, (width, step), own)
        note(ax, right + width + GAP, top + (i + 0.5) * step, f"{adds:z.2f}", color=INK, va="center")
    note(ax, right + width + GAP, top + height + 0.05, f"sum {similarities[1].sum():.2f}", color=INK, fontweight="bold")
    words = told(similarities, getattr(system, "refined", False))
    fig.alt = f"{title or 'Two images by their parts'}. {words}".replace("\n", " ")
    return fig


def _band(ax, ends: tuple[float, float], y: float, size: tuple[float, float], cosine: float) -> None:
    """A part of two images, one left of ends[0] and one right of ends[1], and the line between them."""
    like, middle = min(max(cosine, 0), 1), y + size[1] / 2
    for x in (ends[0] - size[0], ends[1]):
        ax.add_patch(Rectangle((x, y), *size, facecolor=(0, 0, 0, DIM * (1 - like)), edgecolor="white"))
    line = {"color": INK, "linewidth": 7 * like, "linestyle": "-", "solid_capstyle": "butt"}
    ax.plot([ends[0] + 0.06, ends[1] - 0.06], [middle] * 2, **line)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    note(ax, sum(ends) / 2, middle, f"{cosine:z.2f}", color=INK, ha="center", va="center", bbox=paper)


def told(similarities: np.ndarray, refined: bool = False) -> str:
    """`part_similarities` in words, a line for each part; `refined`: parts that are no strips."""
    lines = (f"Part {i}: cosine {own:z.2f}, adds {adds:z.2f}." for i, (own, adds) in enumerate(similarities.T, 1))
    count = similarities.shape[1]
    order = "from the top (refined parts: a band says only about where one lies)" if refined else "from the top"
    return "\n".join([f"Cosine {similarities[1].sum():.2f}, which {count} parts add up to, {order}:", *lines])


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
    """What made two files alike, in `words`, and `parts`, the cosine of each as text, or `maps`, pictures to lay on.

    `kept` is their cosine as scored. ValueError where the system finds another: it is not the one that was scored.
    """
    cosine, seen = (_by_parts if hasattr(system, "parts") else _by_maps)(system, a, b)
    if abs(cosine - kept) > 0.1:  # more than rounding, and than an average over the mirrored image, can do
        raise ValueError(f"this system finds similarity {cosine:.2f}, the scores hold {kept:.2f}: they are not of it")
    return seen


def _by_parts(system, a: Path, b: Path) -> tuple[float, dict]:
    similarities = part_similarities(system, a, b)
    words = told(similarities, getattr(system, "refined", False))
    words += "\nThe less alike two parts are, the darker their bands."
    return similarities[1].sum(), {"parts": [f"{own:z.2f}" for own in similarities[0]], "words": words}


def _by_maps(system, a: Path, b: Path) -> tuple[float, dict]:
    maps = similarity_maps(system, a, b)
    cosine = maps[0].sum()
    words = f"Cosine {cosine:.2f}.\nQuery: {where(maps[0])}.\nAnswer: {where(maps[1])}."
    return cosine, {"maps": [heat(place, maps.max()) for place in maps], "words": words}
