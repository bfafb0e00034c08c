"""Two images: which regions, or which parts of a part-based model, made them similar."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.data.images import decode
from reidlib.figures.sheets import GAP, LINE, PAPER, Size, caption, note, sheet, thumb
from reidlib.figures.style import INK, Picture, styled
from reidlib.systems import System

DIM = 0.6  # opacity of the black over a band whose parts have nothing in common, as in browser.css


def similarity_maps(system: System, a: Path, b: Path) -> np.ndarray:
    """What each position of two images adds to their cosine similarity: (2, h, w) float32, a map of `a` and one of `b`.

    The sum of each map is the cosine. A contribution is the scalar product of one position's share of an image's
    embedding with the whole embedding of the other image: near zero where the other image has nothing similar, negative
    where the images differ. ValueError for a system without `regions`, whose embedding is no sum over positions.
    Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks" (WACV 2019), section 3.
    """
    if not hasattr(system, "regions"):
        raise ValueError(f"{type(system).__name__} has no regions(): its similarity is not a sum over positions")
    regions = system.regions(_pair(system, a, b))  # (2, h, w, C)
    other = regions.sum((1, 2)).flip(0)  # (2, C)
    return torch.einsum("nhwc,nc->nhw", regions, other).float().cpu().numpy()


@torch.inference_mode()
def part_similarities(system: System, a: Path, b: Path) -> np.ndarray:
    """How similar two images are in each part: (2, P) float32, the cosines of the parts and their contributions.

    The contributions, large where parts are similar and both are long, sum to the cosine of the embeddings. If the
    system's test averages an image with its mirror image (`flip`), so do the parts. ValueError for a system without
    `parts`, whose embedding is no concatenation of parts. Source: Sun et al., "Beyond Part Models" (ECCV 2018),
    section 3.1.
    """
    if not hasattr(system, "parts"):
        raise ValueError(f"{type(system).__name__} has no parts(): its embedding is not a concatenation of parts")
    images = _pair(system, a, b)
    parts = system.parts(images).float()  # (2, P, D/P)
    if system.flip:
        parts = parts + system.parts(images.flip(3))
    first, second = parts / torch.linalg.vector_norm(parts, dim=(1, 2), keepdim=True)
    return torch.stack([F.cosine_similarity(first, second, dim=1), (first * second).sum(1)]).cpu().numpy()


def _pair(system: System, a: Path, b: Path) -> Tensor:
    """Two images as the system takes them: (2, 3, H, W) on its device."""
    return normalise(decode([a, b], system.recipe.size, system.recipe.resize).to(next(system.parameters()).device))


@styled
def plot_parts(system: System, a: Path, b: Path, title: str | None = None) -> Picture:
    """Draw two images cut into the system's parts, with the cosine similarity of each pair of parts between them.

    The more similar two parts, the thicker the line and the brighter the bands. At the right stands how much a part
    contributes to the similarity of the images. Parts are drawn as equal bands from top to bottom, also if the system
    has refined them (`system.refined`) and they have other shapes. ValueError for a system without `parts`.
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
    for i, (cosine, adds) in enumerate(similarities.T):
        _draw_band(ax, (GAP + width, right), top + i * step, (width, step), cosine)
        note(ax, right + width + GAP, top + (i + 0.5) * step, f"{adds:z.2f}", color=INK, va="center")
    note(ax, right + width + GAP, top + height + 0.05, f"sum {similarities[1].sum():.2f}", color=INK, fontweight="bold")
    words = _parts_in_words(system, similarities)
    fig.alt = f"{title or 'Two images by their parts'}. {words}".replace("\n", " ")
    return fig


def _draw_band(ax: Axes, inner_edges: tuple[float, float], y: float, size: Size, cosine: float) -> None:
    """A part of two images, between whose inner edges a line is drawn, and the cosine similarity on the line."""
    left, right = inner_edges
    similar, middle = min(max(cosine, 0), 1), y + size[1] / 2
    for x in (left - size[0], right):
        ax.add_patch(Rectangle((x, y), *size, facecolor=(0, 0, 0, DIM * (1 - similar)), edgecolor="white"))
    line: dict[str, Any] = {"color": INK, "linewidth": 7 * similar, "linestyle": "-", "solid_capstyle": "butt"}
    ax.plot([left + 0.06, right - 0.06], [middle] * 2, **line)
    note(ax, (left + right) / 2, middle, f"{cosine:z.2f}", color=INK, ha="center", va="center", bbox=PAPER)


def _parts_in_words(system: System, similarities: np.ndarray) -> str:
    """The result of `part_similarities` in words, a line for each part."""
    lines = (f"Part {i}: cosine {own:z.2f}, adds {adds:z.2f}." for i, (own, adds) in enumerate(similarities.T, 1))
    count = similarities.shape[1]
    refined = " (refined parts: a band says only about where one lies)" if getattr(system, "refined", False) else ""
    heading = f"Cosine {similarities[1].sum():.2f}, which {count} parts add up to, from the top{refined}:"
    return "\n".join([heading, *lines])


def _map_as_png(contributions: np.ndarray, most: float) -> bytes:
    """A map (h, w) as a small PNG to lay over its image: cividis from zero or less (dark) to `most` (bright)."""
    share = contributions.clip(0, most) / most if most > 0 else np.zeros_like(contributions)
    size = contributions.shape[1] * 8, contributions.shape[0] * 8
    image = Image.fromarray((255 * share).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    image.putpalette(matplotlib.colormaps["cividis"](range(256), bytes=True)[:, :3].tobytes())  # one byte per pixel
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def _map_in_words(contributions: np.ndarray) -> str:
    """How the positive contributions (h, w) divide into upper and lower half, and where the largest is."""
    h, w = contributions.shape
    rows = contributions.clip(min=0).sum(1)
    if not rows.sum():
        return "nothing speaks for it"
    upper = 100 * (rows[: h // 2].sum() + h % 2 * rows[h // 2] / 2) / rows.sum()
    row, column = np.unravel_index(contributions.argmax(), contributions.shape)
    side = ("left", "middle", "right")[int(3 * (column + 0.5) / w)]
    halves = f"upper half {upper:.0f} %, lower half {100 - upper:.0f} %"
    return f"{halves}; strongest {100 * (row + 0.5) / h:.0f} % down, {side}"


def explanation(system: System, a: Path, b: Path, scored: float) -> dict[str, Any]:
    """What made two images similar: `words`, and `parts` (cosines as text) or `maps` (PNGs to lay over them).

    `scored` is the pair's cosine similarity in the scores; ValueError if the system computes another.
    """
    if hasattr(system, "parts"):
        similarities = part_similarities(system, a, b)
        cosine = similarities[1].sum()
        words = f"{_parts_in_words(system, similarities)}\nThe less similar two parts are, the darker their bands."
        shown: dict[str, Any] = {"words": words, "parts": [f"{own:z.2f}" for own in similarities[0]]}
    else:
        maps = similarity_maps(system, a, b)
        cosine = maps[0].sum()
        words = f"Cosine {cosine:.2f}.\nQuery: {_map_in_words(maps[0])}.\nAnswer: {_map_in_words(maps[1])}."
        shown = {"words": words, "maps": [_map_as_png(each, maps.max()) for each in maps]}
    if abs(cosine - scored) > 0.1:  # more than rounding, and averaging with the mirror image, can do
        raise ValueError(f"the system finds similarity {cosine:.2f}, the scores say {scored:.2f}: they are not its own")
    return shown
