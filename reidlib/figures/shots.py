"""Figures of data: images, identities, batches, and the counts of a data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from reidlib.data.augment import MEAN, STD
from reidlib.data.shots import Shots, Split
from reidlib.figures.sheets import GAP, LINE, caption, image_grid, person, sheet, thumb
from reidlib.figures.style import BLUE, ORANGE, SKY, VERMILLION, WIDTH, Picture, panels, styled

Index = Sequence[int] | np.ndarray


@styled
def plot_split(split: Split) -> Picture:
    """Draw the images per identity of the train set and the images per camera of all three sets."""
    fig, (left, right) = panels(2)
    sizes = np.unique(split.train.pids, return_counts=True)[1]
    left.set(title=f"Train: images per identity ({len(sizes):,} people)", xlabel="images", ylabel="identities")
    spread = "none"
    if len(sizes):
        step = -(-(np.ptp(sizes) + 1) // 30)  # whole numbers of images in each of at most 30 bars
        left.hist(sizes, bins=np.arange(sizes.min() - 0.5, sizes.max() + step, step), color=BLUE, edgecolor="white")
        left.axvline(sizes.mean(), color=VERMILLION, linestyle="--", label=f"mean {sizes.mean():.1f}")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.legend()
        spread = f"{sizes.min()} to {sizes.max()}, mean {sizes.mean():.1f}"
    _camera_bars(right, split)
    sets = ", ".join(f"{name} {len(getattr(split, name)):,}" for name in ("train", "query", "gallery"))
    fig.alt = (
        f"Two charts of {split.name}. Train images per identity: {spread}. "
        f"Images per camera: {len(right.get_xticks())} cameras, {sets}."
    )
    return fig


def _camera_bars(ax: Axes, split: Split) -> None:
    """Three bars for each camera; the gallery's distractors and junk lie on top of its people."""
    cameras = np.unique(np.concatenate([shots.camids for shots in (split.train, split.query, split.gallery)]))
    ticks = np.arange(len(cameras))

    def bars(shots: Shots, offset: float, label: str, **look: Any) -> np.ndarray:
        count = (shots.camids[:, None] == cameras).sum(0)
        ax.bar(ticks + offset, count, width=0.27, edgecolor="white", label=f"{label} {count.sum():,}", **look)
        return count

    people = split.gallery.pids > 0
    bars(split.train, -0.28, "train", color=BLUE)
    bars(split.query, 0, "query", color=ORANGE, hatch="///")
    name = "gallery" if people.all() else "gallery, people"
    below = bars(split.gallery[people], 0.28, name, color=SKY, hatch="...")
    if not people.all():
        bars(split.gallery[~people], 0.28, "gallery, others", color="#cccccc", hatch="xxx", bottom=below)
    ax.set(title="Images per camera", xlabel="camera", ylabel="images", xticks=ticks, xticklabels=cameras)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.3)  # room for the legend
    ax.legend(ncols=2, loc="upper left", handlelength=1.6, columnspacing=1.2)


@styled
def show_shots(
    shots: Shots, index: Index, columns: int = 8, title: str | None = None, words: Sequence[str] | None = None
) -> Picture:
    """Draw the images `shots[index]` in rows of `columns`, with identity and camera under each.

    `index` is a sequence of int or an (N,) bool mask. `words`, one for each image drawn, stand above identity and
    camera. ValueError if no image is selected, and for another number of words than of images.
    """
    chosen = np.arange(len(shots))[index]
    captions: list[tuple[str, ...]] = [(person(shots.pids[i]), f"camera {shots.camids[i]}") for i in chosen]
    if words is not None:
        captions = [(word, *lines) for word, lines in zip(words, captions, strict=True)]
    fig = image_grid([shots.file(i) for i in chosen], captions, columns, title)
    fig.alt = f"{title or shots.name}: {len(chosen)} images. " + "; ".join(", ".join(lines) for lines in captions) + "."
    return fig


@styled
def plot_identity(shots: Shots, pids: Index | int, title: str | None = None) -> Picture:
    """Draw one row for each identity and one column for each camera, with the first image of each.

    ValueError if `shots` has no image of one of the identities `pids`.
    """
    ids, cameras = np.atleast_1d(pids), np.unique(shots.camids)
    unknown = np.setdiff1d(ids, shots.pids)
    if len(unknown):
        raise ValueError(f"{shots.name} has no identity {unknown.tolist()}; choose from its pids")
    left = 0.95
    width = min(0.95, (WIDTH - left) / len(cameras) - GAP)
    size, step = (width, 2 * width), (width + GAP, 2 * width + GAP)
    fig, ax, top = sheet(left + len(cameras) * step[0], LINE + 0.1 + len(ids) * step[1], title)
    for column, camera in enumerate(cameras):
        caption(ax, left + column * step[0] + size[0] / 2, top - 0.06, f"camera {camera}")
    for row, pid in enumerate(ids):
        y = top + LINE + 0.06 + row * step[1]
        ax.text(GAP, y + size[1] / 2, person(pid).replace(" ", "\n"), va="center")
        for column, camera in enumerate(cameras):
            x = left + column * step[0]
            images = np.flatnonzero((shots.pids == pid) & (shots.camids == camera))
            if len(images):
                thumb(ax, shots.file(images[0]), x, y, size)
            else:
                ax.add_patch(Rectangle((x, y), *size, facecolor="none", edgecolor="#cccccc", linestyle=":"))
                caption(ax, x + size[0] / 2, y + size[1] / 2 - LINE, "not seen")
    people = ", ".join(map(person, ids))
    fig.alt = f"{title or shots.name}: a row each for {people}; a column for each of {len(cameras)} cameras."
    return fig


@styled
def plot_batch(
    images: Tensor | np.ndarray, pids: Index | Sequence[str] | None = None, columns: int = 16, title: str | None = None
) -> Picture:
    """Draw a training batch as the network sees it, with the (B,) `pids`, or words of your own, under the images.

    images: (B, 3, H, W) float, normalised with ImageNet's mean and standard deviation, which is undone; or
    (B, H, W, 3) uint8. ValueError for another shape and for an empty batch.
    """
    if len(images.shape) != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise ValueError(f"images of shape {tuple(images.shape)}; expected (B, 3, H, W) float or (B, H, W, 3) uint8")
    pixels = images.cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if pixels.dtype != np.uint8:
        pixels = (pixels.transpose(0, 2, 3, 1) * STD + MEAN).clip(0, 1)
    names = [] if pids is None else [pid if isinstance(pid, str) else f"{pid:04d}" for pid in pids]
    captions: list[list[str]] = [name.split("\n") for name in names] or [[] for _ in pixels]
    fig = image_grid(pixels, captions, columns, title)
    fig.alt = f"{title or 'A training batch'}: {len(pixels)} images of {pixels.shape[1]} x {pixels.shape[2]} pixels"
    words = dict.fromkeys(pid.replace("\n", " ") for pid in ([] if pids is None else pids) if isinstance(pid, str))
    people = f" of {len(set(names))} identities" if names else ""
    fig.alt += f": {'; '.join(words)}." if words else f"{people}."
    return fig
