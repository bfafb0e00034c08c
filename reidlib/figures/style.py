"""The common style of all figures, their alt text and files, and what sheets of images are drawn with.

A sheet is measured in inches, from its top left corner. A missing or broken image is drawn as a box with its file name.
"""

import base64
import io
import textwrap
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from reidlib.figures.thumbnails import UNREADABLE
from reidlib.files import project, write_whole

BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"  # Okabe-Ito
INK, GREY, PALE = "#222222", "#6b6b6b", "#f0f0f0"
STYLE = Path(__file__).with_name("reid.mplstyle")
NOTEBOOK_DPI, FILE_DPI = 100, 150
WIDTH, GAP, LINE = 9.8, 0.1, 0.155  # inches: of a notebook, between images, from one line of a caption to the next
SMALL = 8.5  # points

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")
Size = tuple[float, float]  # width and height in inches


class Picture(Figure):
    """A matplotlib Figure, made without pyplot, that a notebook shows together with its alt text.

    Attributes
    ----------
    alt : str
        The figure in words: the plain text of the notebook's output and the alt text of its image.
    photos : bool
        Whether the figure consists of photographs. They are encoded as JPEG, charts as PNG.
    """

    alt = ""
    photos = False

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        mime, data = f"image/{'jpeg' if self.photos else 'png'}", base64.b64encode(encode(self, NOTEBOOK_DPI)).decode()
        return {mime: data, "text/plain": self.alt}, {mime: {"alt": self.alt}}


def styled(draw: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Run a drawing function with the common style sheet; matplotlib's own settings stay unchanged."""

    @wraps(draw)
    def drawn(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        with matplotlib.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return drawn


@styled
def encode(fig: Picture, dpi: int) -> bytes:
    """The figure as a small file without date or version, so that the same drawing gives the same bytes.

    Charts become PNG of 256 colours, a third of the size in true colour; photographs become JPEG, a quarter of it.
    """
    drawing, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawing, format="png", dpi=dpi)
    pixels = Image.open(drawing).convert("RGB")
    if fig.photos:
        pixels.save(small, format="jpeg", quality=60, optimize=True)
    else:
        pixels.quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def save_figure(fig: Picture, name: str, folder: Path | str | None = None) -> Path:
    """Write a figure to a file at 150 dots per inch.

    Parameters
    ----------
    fig : Picture
    name : str
        The file name without folder and extension.
    folder : path, optional
        Created if missing. By default figures/ of the repository.

    Returns
    -------
    Path
        `folder`/`name`.jpg for photographs, `folder`/`name`.png for charts.

    Raises
    ------
    ValueError
        If `name` contains a folder or an extension.
    """
    if not name or Path(name).name != name or "." in name:
        raise ValueError(f"figure name {name!r}; give a plain name such as 'cmc', without folder and extension")
    path = Path(folder or project() / "figures") / f"{name}.{'jpg' if fig.photos else 'png'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encode(fig, FILE_DPI))
    return path


def panels(count: int, height: float = 3.2, width: float = WIDTH) -> tuple[Picture, np.ndarray]:
    """A Picture with `count` axes side by side, (count,); sizes in inches."""
    fig = Picture(figsize=(width, height), layout="constrained")
    return fig, np.atleast_1d(fig.subplots(1, count))


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
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE:
        return None


def thumb(
    ax: Axes,
    image: np.ndarray | Path,
    x: float,
    y: float,
    size: tuple[float, float],
    frame: dict[str, Any] | None = None,
) -> None:
    """Draw one image, pixels (H, W, 3) or a file, in the box at x, y with size (width, height), all in inches."""
    width, height = size
    pixels, file_name = (_read(image), image.name) if isinstance(image, Path) else (image, "")
    if pixels is not None:
        ax.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
    else:
        ax.add_patch(Rectangle((x, y), width, height, facecolor=PALE, edgecolor="#cccccc", hatch="//"))
        name = "\n".join(["no image", *textwrap.wrap(file_name, max(6, int(width / 0.075)))])
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        ax.text(x + width / 2, y + height / 2, name, fontsize=7, ha="center", va="center", bbox=paper)
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


def person(pid: int) -> str:
    """The name of an identity: "person 0012", "distractor" or "junk"."""
    return {-1: "junk", 0: "distractor"}.get(int(pid), f"person {pid:04d}")
