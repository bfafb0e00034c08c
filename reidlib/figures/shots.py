"""Figures of data: images, identities, batches, and the counts of a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from reidlib.data.augment import MEAN, STD
from reidlib.data.shots import Shots, Split
from reidlib.figures.style import (
    BLUE,
    GAP,
    LINE,
    ORANGE,
    SKY,
    SMALL,
    VERMILLION,
    WIDTH,
    Picture,
    caption,
    panels,
    person,
    sheet,
    styled,
    thumb,
)

Index = Sequence[int] | np.ndarray


@styled
def plot_split(split: Split) -> Picture:
    """Draw the images per identity of the train set and the images per camera of all three sets.

    Parameters
    ----------
    split : Split

    Returns
    -------
    Picture
    """
    fig, (left, right) = panels(2)
    sizes = np.unique(split.train.pids, return_counts=True)[1]
    step = -(-(np.ptp(sizes) + 1) // 30)  # whole numbers of images in each of at most 30 bars
    left.hist(sizes, bins=np.arange(sizes.min() - 0.5, sizes.max() + step, step), color=BLUE, edgecolor="white")
    left.axvline(sizes.mean(), color=VERMILLION, linestyle="--", label=f"mean {sizes.mean():.1f}")
    left.set(title=f"Train: images per identity ({len(sizes):,} people)", xlabel="images", ylabel="identities")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    _camera_bars(right, split)
    sets = {"train": split.train, "query": split.query, "gallery": split.gallery}
    fig.alt = (
        f"Two charts of {split.name}. Train images per identity: {sizes.min()} to {sizes.max()}, "
        f"mean {sizes.mean():.1f}. Images per camera: {len(right.get_xticks())} cameras, "
        + ", ".join(f"{part} {len(shots):,}" for part, shots in sets.items())
        + "."
    )
    return fig


def _camera_bars(ax: Axes, split: Split) -> None:
    """Three bars for each camera; the gallery's distractors and junk lie on top of its people."""
    cameras = np.unique(np.concatenate([shots.camids for shots in (split.train, split.query, split.gallery)]))
    ticks = np.arange(len(cameras))

    def bars(shots: Shots, chosen: slice | np.ndarray, offset: float, label: str, **look: Any) -> np.ndarray:
        count = (shots.camids[chosen][:, None] == cameras).sum(0)
        ax.bar(ticks + offset, count, width=0.27, edgecolor="white", label=f"{label} {count.sum():,}", **look)
        return count

    people = split.gallery.pids > 0
    bars(split.train, slice(None), -0.28, "train", color=BLUE)
    bars(split.query, slice(None), 0, "query", color=ORANGE, hatch="///")
    below = bars(split.gallery, people, 0.28, "gallery", color=SKY, hatch="...")
    if not people.all():
        bars(split.gallery, ~people, 0.28, "distractors, junk", color="#cccccc", hatch="xxx", bottom=below)
    ax.set(title="Images per camera", xlabel="camera", ylabel="images", xticks=ticks, xticklabels=cameras)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.3)  # room for the legend
    ax.legend(ncols=2, loc="upper left", handlelength=1.6, columnspacing=1.2)


def _grid(
    images: Sequence[Path] | np.ndarray, captions: Sequence[Sequence[str]], columns: int, title: str | None
) -> Picture:
    """Thumbnails of equal size, left to right and top to bottom, each with the lines of its caption."""
    if not len(images):
        raise ValueError("no images to show: the index selects none")
    columns = min(columns, len(images))
    width = min(0.95, (WIDTH - GAP) / columns - GAP)
    height, step = 2 * width, 2 * width + 0.12 + LINE * max(len(lines) for lines in captions)
    fig, ax, top = sheet(GAP + columns * (width + GAP), step * -(-len(images) // columns), title)
    for i, (image, lines) in enumerate(zip(images, captions, strict=True)):
        x, y = GAP + i % columns * (width + GAP), top + i // columns * step
        thumb(ax, image, x, y, (width, height))
        caption(ax, x + width / 2, y + height, *lines, fontsize=SMALL if width > 0.75 else 7.5)
    return fig


@styled
def show_shots(shots: Shots, index: Index, columns: int = 8, title: str | None = None) -> Picture:
    """Draw a grid of images with identity and camera under each.

    Parameters
    ----------
    shots : Shots
    index : sequence of int, slice or (N,) bool mask
        Which images of `shots` to draw, in this order.
    columns : int
        Images in a row.
    title : str, optional

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If `index` selects no image.
    """
    chosen = np.arange(len(shots))[index]
    captions = [(person(shots.pids[i]), f"camera {shots.camids[i]}") for i in chosen]
    fig = _grid([shots.file(i) for i in chosen], captions, columns, title)
    fig.alt = f"{title or shots.name}: {len(chosen)} images. " + "; ".join(", ".join(lines) for lines in captions) + "."
    return fig


@styled
def plot_identity(shots: Shots, pids: Index | int, title: str | None = None) -> Picture:
    """Draw one row for each identity and one column for each camera, with the first image of each.

    Parameters
    ----------
    shots : Shots
    pids : int or sequence of int
        The identities, from top to bottom.
    title : str, optional

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If `shots` has no image of one of the identities.
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
    images: Tensor | np.ndarray, pids: Index | None = None, columns: int = 16, title: str | None = None
) -> Picture:
    """Draw a training batch as the network sees it.

    Parameters
    ----------
    images : (B, 3, H, W) float or (B, H, W, 3) uint8
        Floats are taken as normalised with ImageNet's mean and standard deviation, which is undone.
    pids : (B,) int, optional
        Written under the images.
    columns : int
        Images in a row.
    title : str, optional

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If the shape is another, or the batch is empty.

    Examples
    --------
    >>> plot_batch(np.zeros((4, 32, 16, 3), np.uint8), pids=[1, 1, 2, 2]).alt
    'A training batch: 4 images of 32 x 16 pixels of 2 identities.'
    """
    if len(images.shape) != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise ValueError(f"images of shape {tuple(images.shape)}; expected (B, 3, H, W) float or (B, H, W, 3) uint8")
    pixels = images.cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if pixels.dtype != np.uint8:
        pixels = (pixels.transpose(0, 2, 3, 1) * STD + MEAN).clip(0, 1)
    captions: list[Sequence[str]] = [()] * len(pixels) if pids is None else [(f"{pid:04d}",) for pid in pids]
    fig = _grid(pixels, captions, columns, title)
    fig.alt = f"{title or 'A training batch'}: {len(pixels)} images of {pixels.shape[1]} x {pixels.shape[2]} pixels"
    fig.alt += "." if pids is None else f" of {len(set(map(int, pids)))} identities."
    return fig
