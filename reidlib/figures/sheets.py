"""Sheets of images in a figure, measured in inches from the top left corner, and small images for a page."""

import io
import struct
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from reidlib.data.images import opened, upright
from reidlib.figures.style import GREY, PALE, WIDTH, Picture

GAP, LINE = 0.1, 0.155  # inches: between images, from one line of a caption to the next
SMALL = 8.5  # points
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # behind text on an image or a line
QUALITIES = (85, 70, 50)
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)  # what PIL raises
Size = tuple[float, float]  # width and height in inches


def sheet(width: float, height: float, title: str | None) -> tuple[Picture, Axes, float]:
    """An empty page: the Picture, its axes in inches with the origin at the top left, and the top of the content."""
    top = 0.42 if title else 0.12
    fig = Picture(figsize=(width, top + height))
    fig.photos = True
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(top + height, 0), xticks=[], yticks=[], frame_on=False)
    if title:
        ax.text(GAP, 0.14, title, fontsize=11, fontweight="bold", va="top")
    return fig, ax, top


def _read(path: Path) -> np.ndarray | None:
    try:
        with opened(path) as image:
            return np.asarray(upright(image))
    except UNREADABLE:
        return None


def thumb(ax: Axes, image: np.ndarray | Path, x: float, y: float, size: Size, frame: dict | None = None) -> None:
    """Draw one image, pixels (H, W, 3) or a file, in the box of `size` whose top left corner is x, y.

    A missing or broken image is drawn as a box with its file name.
    """
    width, height = size
    pixels, file_name = (_read(image), image.name) if isinstance(image, Path) else (image, "")
    if pixels is not None:
        ax.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
    else:
        ax.add_patch(Rectangle((x, y), width, height, facecolor=PALE, edgecolor="#cccccc", hatch="//"))
        name = "\n".join(["no image", *textwrap.wrap(file_name, max(6, int(width / 0.075)))])
        ax.text(x + width / 2, y + height / 2, name, fontsize=7, ha="center", va="center", bbox=PAPER)
    if frame:
        edge = 0.022  # the frame lies just outside the image and hides none of it
        ax.add_patch(Rectangle((x - edge, y - edge), width + 2 * edge, height + 2 * edge, fill=False, **frame))


def note(ax: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write small grey text with its top left corner at x, y; `look` are properties of matplotlib's Text."""
    ax.text(x, y, text, **{"fontsize": SMALL, "color": GREY, "va": "top", **look})


def caption(ax: Axes, x: float, y: float, *lines: str, **look: Any) -> None:
    """Write lines of small text below y, centred on x."""
    for i, line in enumerate(lines):
        note(ax, x, y + 0.05 + i * LINE, line, ha="center", **look)


def image_grid(
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


def person(pid: int) -> str:
    """The name of an identity: "person 0012", "distractor" or "junk"."""
    return {-1: "junk", 0: "distractor"}.get(int(pid), f"person {pid:04d}")


def thumbnail(file: Path, box: tuple[int, int], most: int) -> bytes | None:
    """An image as a JPEG of at most `most` bytes that fits into `box` (width, height); never enlarged.

    None for a file that is missing or no image. A file that changes is read again.
    """
    try:
        return _encode(file, file.stat().st_mtime_ns, box, most)
    except UNREADABLE:
        return None


@lru_cache(512)
def _encode(file: Path, changed: int, box: tuple[int, int], most: int) -> bytes:
    with opened(file) as image:
        image.draft("RGB", (max(box), max(box)))  # a large JPEG is decoded at an eighth, a quarter or half of its size
        picture = upright(image)
    while True:
        picture.thumbnail(box)
        for quality in QUALITIES:
            body = io.BytesIO()
            picture.save(body, "JPEG", quality=quality, optimize=True)
            if body.tell() <= most:
                return body.getvalue()
        if min(box) <= 16:
            return body.getvalue()
        box = box[0] * 3 // 4, box[1] * 3 // 4
