"""Pictures: the one style, alt text, saving, and sheets of people (shots, identities, batches).

A Picture is a matplotlib Figure made without pyplot. As the last expression of a notebook cell it shows itself once,
with its alt text in the metadata, where IPython's Image keeps it, and as the plain text for readers without images.
A sheet is measured in inches; a missing or broken image is a box with its file name.
"""

import base64
import io
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from reidlib.data.augment import MEAN, STD
from reidlib.figures.thumbnails import UNREADABLE
from reidlib.files import project, write_whole

BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"  # Okabe-Ito
INK, GREY, PALE = "#222222", "#6b6b6b", "#f0f0f0"
STYLE = Path(__file__).with_name("reid.mplstyle")
NOTEBOOK_DPI, FILE_DPI = 100, 150
WIDTH, GAP, LINE = 9.8, 0.1, 0.155  # inches: a notebook, between images, from one line of a caption to the next
SMALL = 8.5  # points


class Picture(Figure):
    """A matplotlib Figure with alt text, which shows itself in a notebook; with `photos`, as JPEG instead of PNG."""

    alt = ""
    photos = False

    def _repr_mimebundle_(self, include=None, exclude=None):
        mime, data = f"image/{'jpeg' if self.photos else 'png'}", base64.b64encode(encode(self, NOTEBOOK_DPI)).decode()
        return {mime: data, "text/plain": self.alt}, {mime: {"alt": self.alt}}


def styled(draw: Callable[..., Picture]) -> Callable[..., Picture]:
    """Draw under the one style sheet and leave matplotlib's settings as they were."""

    @wraps(draw)
    def drawn(*args, **kwargs):
        with matplotlib.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return drawn


@styled
def encode(fig: Picture, dpi: int) -> bytes:
    """The figure as a small file without date or version, so that the same drawing gives the same bytes.

    Charts: PNG of 256 colours, a third of the true-colour size. Photos: JPEG, a quarter of it and without bands.
    """
    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=dpi)
    pixels = Image.open(drawn).convert("RGB")
    if fig.photos:
        pixels.save(small, format="jpeg", quality=60, optimize=True)
    else:
        pixels.quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def save(fig: Picture, name: str, folder: Path | str | None = None) -> Path:
    """Write `name`.png (`name`.jpg with photos) to `folder`, by default figures/ of the repository; return its path."""
    if not name or Path(name).name != name or "." in name:
        raise ValueError(f"figure name {name!r}; give a plain name such as 'cmc', without folder and ending")
    path = Path(folder or project() / "figures") / f"{name}.{'jpg' if fig.photos else 'png'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encode(fig, FILE_DPI))
    return path


def sheet(width: float, height: float, title: str | None):
    """An empty page in inches, its origin at the top left; returns the Picture, its axes and where content starts."""
    top = 0.42 if title else 0.12
    fig = Picture(figsize=(width, top + height))
    fig.photos = True
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(top + height, 0), xticks=[], yticks=[], frame_on=False)
    if title:
        ax.text(GAP, 0.14, title, fontsize=11, fontweight="bold", va="top")
    return fig, ax, top


def _read(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE:
        return None


def thumb(ax, image: np.ndarray | Path, x: float, y: float, size: tuple[float, float], frame=None) -> None:
    """One image (H, W, 3), or the file of one, in the box at x, y with size (width, height), all in inches."""
    width, height = size
    pixels = _read(image) if isinstance(image, Path) else image
    if pixels is not None:
        ax.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
    else:
        ax.add_patch(Rectangle((x, y), width, height, facecolor=PALE, edgecolor="#cccccc", hatch="//"))
        name = "\n".join(["no image", *textwrap.wrap(image.name, max(6, int(width / 0.075)))])
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        ax.text(x + width / 2, y + height / 2, name, fontsize=7, ha="center", va="center", bbox=paper)
    if frame:
        edge = 0.022  # the frame stands just outside the image and hides none of it
        ax.add_patch(Rectangle((x - edge, y - edge), width + 2 * edge, height + 2 * edge, fill=False, **frame))


def note(ax, x: float, y: float, text: str, **look) -> None:
    """Small grey text whose top left corner is x, y."""
    ax.text(x, y, text, **{"fontsize": SMALL, "color": GREY, "va": "top", **look})


def caption(ax, x: float, y: float, *lines: str, **look) -> None:
    """Lines of small text under y, centred on x."""
    for i, line in enumerate(lines):
        note(ax, x, y + 0.05 + i * LINE, line, ha="center", **look)


def _grid(images: Sequence, captions: Sequence[Sequence[str]], columns: int, title: str | None) -> Picture:
    """Equal thumbnails, left to right and top to bottom, each with its lines of caption."""
    if not len(images):
        raise ValueError("no images to show; the index selects none")
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
def show_shots(shots, index: Sequence[int], columns: int = 8, title: str | None = None) -> Picture:
    """A grid of the images shots[index], with identity and camera under each, as a Picture."""
    index = np.arange(len(shots))[index]
    captions = [(person(shots.pids[i]), f"camera {shots.camids[i]}") for i in index]
    fig = _grid([shots.file(i) for i in index], captions, columns, title)
    fig.alt = f"{title or shots.name}: {len(index)} images. " + "; ".join(", ".join(lines) for lines in captions) + "."
    return fig


def person(pid: int) -> str:
    return {-1: "junk", 0: "distractor"}.get(int(pid), f"person {pid:04d}")


@styled
def plot_identity(shots, pids: Sequence[int] | int, title: str | None = None) -> Picture:
    """One row for each identity and one column for each camera, with the first image of each, as a Picture."""
    pids, cameras = np.atleast_1d(pids), np.unique(shots.camids)
    unknown = np.setdiff1d(pids, shots.pids)
    if len(unknown):
        raise ValueError(f"{shots.name} has no identity {unknown.tolist()}; choose from its pids")
    left = 0.95
    width = min(0.95, (WIDTH - left) / len(cameras) - GAP)
    size, step = (width, 2 * width), (width + GAP, 2 * width + GAP)
    fig, ax, top = sheet(left + len(cameras) * step[0], LINE + 0.1 + len(pids) * step[1], title)
    for column, camera in enumerate(cameras):
        caption(ax, left + column * step[0] + size[0] / 2, top - 0.06, f"camera {camera}")
    for row, pid in enumerate(pids):
        y = top + LINE + 0.06 + row * step[1]
        ax.text(GAP, y + size[1] / 2, person(pid).replace(" ", "\n"), va="center")
        for column, camera in enumerate(cameras):
            box = left + column * step[0], y
            seen = np.flatnonzero((shots.pids == pid) & (shots.camids == camera))
            if len(seen):
                thumb(ax, shots.file(seen[0]), *box, size)
            else:
                ax.add_patch(Rectangle(box, *size, facecolor="none", edgecolor="#cccccc", linestyle=":"))
                caption(ax, box[0] + size[0] / 2, y + size[1] / 2 - LINE, "not seen")
    people = ", ".join(map(person, pids))
    fig.alt = f"{title or shots.name}: a row each for {people}; a column for each of {len(cameras)} cameras."
    return fig


@styled
def plot_batch(images, pids: Sequence[int] | None = None, columns: int = 16, title: str | None = None) -> Picture:
    """A training batch as the network sees it, as a Picture.

    images: (B, 3, H, W) float, normalised with ImageNet's mean and spread, which is undone; or (B, H, W, 3) uint8.
    """
    if len(images.shape) != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise ValueError(f"images of shape {tuple(images.shape)}; expected (B, 3, H, W) float or (B, H, W, 3) uint8")
    pixels = images.cpu().numpy() if hasattr(images, "cpu") else np.asarray(images)
    if pixels.dtype != np.uint8:
        pixels = (pixels.transpose(0, 2, 3, 1) * STD + MEAN).clip(0, 1)
    fig = _grid(pixels, [()] * len(pixels) if pids is None else [(f"{pid:04d}",) for pid in pids], columns, title)
    fig.alt = f"{title or 'A training batch'}: {len(pixels)} images of {pixels.shape[1]} x {pixels.shape[2]} pixels"
    fig.alt += "." if pids is None else f" of {len(set(map(int, pids)))} identities."
    return fig
