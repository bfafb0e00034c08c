"""The common style of all figures, their alt text and their files."""

import base64
import io
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from PIL import Image

from reidlib.files import project, write_whole

BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"  # Okabe-Ito
INK, GREY, PALE = "#222222", "#6b6b6b", "#f0f0f0"
NOTEBOOK_DPI, FILE_DPI = 100, 150
WIDTH = 9.8  # inches of a notebook
STYLE = Path(__file__).with_name("reid.mplstyle")

# A decorator that runs a drawing function with the common style sheet; matplotlib's own settings stay unchanged.
styled = matplotlib.style.context(["default", STYLE])


class Picture(Figure):
    """A matplotlib Figure, made without pyplot, that a notebook shows together with its alt text.

    `alt` is the figure in words: the plain text of the notebook's output and the alt text of its image. With `photos`,
    the figure consists of photographs and is encoded as JPEG; charts are PNG. Text is drawn as it is written: a `$` in
    a name begins no formula.
    """

    alt = ""
    photos = False

    def draw(self, renderer: RendererBase) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
        for axis in (axis for ax in self.axes for axis in (ax.xaxis, ax.yaxis)):
            if isinstance(axis.get_major_formatter(), LogFormatter):  # its labels, such as 10^-3, are formulas
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                    tick.label1.set_parse_math(True)
        super().draw(renderer)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        mime, data = f"image/{'jpeg' if self.photos else 'png'}", base64.b64encode(encode(self, NOTEBOOK_DPI)).decode()
        return {mime: data, "text/plain": self.alt}, {mime: {"alt": self.alt}}


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
    """Write a figure at 150 dots per inch: `folder`/`name`.jpg for photographs, .png for charts; returns the path.

    `folder` is created if missing; by default it is figures/ of the repository. ValueError if `name` contains a folder
    or an extension.
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
