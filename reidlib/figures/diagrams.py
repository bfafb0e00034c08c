"""A network as boxes and arrows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from reidlib.figures.sheets import note, sheet
from reidlib.figures.style import BLUE, GREY, INK, PALE, VERMILLION, WIDTH, Picture, styled

KINDS: dict[str, dict[str, Any]] = {  # what a box stands for, told by line style as well as by colour
    "data": {"facecolor": PALE, "edgecolor": GREY, "linewidth": 1.0},
    "layer": {"facecolor": "white", "edgecolor": BLUE, "linewidth": 1.8},
    "loss": {"facecolor": "white", "edgecolor": VERMILLION, "linewidth": 1.6, "linestyle": (0, (4, 1.6))},
    "test": {"facecolor": "white", "edgecolor": INK, "linewidth": 1.6, "linestyle": (0, (1, 1.2))},
}
LEGEND = {"data": "filled: numbers", "layer": "solid: a layer", "loss": "dashed: a loss", "test": "dotted: in the test"}
BETWEEN, HEIGHT, STEP = 0.42, 0.62, 0.9  # inches: between columns, of a box, from a row to the next


@styled
def plot_diagram(
    boxes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[tuple[str, str]],
    title: str | None = None,
    legend: Mapping[str, str] | None = None,
) -> Picture:
    """Draw named boxes on a grid, and arrows between them.

    Parameters
    ----------
    boxes : column, row (from 0, from the top left; half steps are allowed), kind and text of each box by its name. The
        kind is one of `KINDS`: data, layer, loss or test. A line below the boxes explains those that occur. The
        text, for instance a shape, stands below the name.
    arrows : (from, to), names of boxes.
    title : above the diagram.
    legend : what a kind stands for in this diagram, where it is not what `LEGEND` says.

    Raises
    ------
    KeyError : for an arrow from or to a box that does not exist, and for an unknown kind.

    Examples
    --------
    >>> boxes = {"image": (0, 0, "data", "3 × 64 × 32"), "trunk": (1, 0, "layer", "a ResNet")}
    >>> plot_diagram(boxes, [("image", "trunk")], "A start").alt
    'A start. image (3 × 64 × 32) to trunk (a ResNet).'
    """
    columns, rows = (1 + max(places) for places in zip(*((x, y) for x, y, *_ in boxes.values()), strict=True))
    pitch = min(2.2, WIDTH / columns)
    width = pitch - BETWEEN
    fig, ax, top = sheet(columns * pitch, rows * STEP + 0.1, title)
    fig.photos = False
    middles = {name: ((x + 0.5) * pitch, top + y * STEP + HEIGHT / 2) for name, (x, y, *_) in boxes.items()}
    for name, (*_, kind, text) in boxes.items():
        (x, y), above = middles[name], 0.11 if text else 0
        corner = x - width / 2, y - HEIGHT / 2
        ax.add_patch(FancyBboxPatch(corner, width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06", **KINDS[kind]))
        look: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
        note(ax, x, y - above, name, fontweight="bold", fontsize=9.5, **look)
        note(ax, x, y + above, text, **look)
    for start, end in arrows:
        a, b = _facing(middles[start], middles[end], width), _facing(middles[end], middles[start], width)
        ax.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=12, color=INK, shrinkA=1, shrinkB=1))
    said = {**LEGEND, **(legend or {})}
    used = [kind for kind in KINDS if kind in {kind for *_, kind, _ in boxes.values()}]
    for n, kind in enumerate(used):
        x, colour = (columns * pitch / len(used)) * n + BETWEEN / 2, KINDS[kind]["edgecolor"]
        note(ax, x, top + rows * STEP - 0.1, said[kind], color=colour)
    named = {name: f"{name} ({text})" if text else name for name, (*_, text) in boxes.items()}
    fig.alt = f"{title or 'Diagram'}. {'; '.join(f'{named[a]} to {named[b]}' for a, b in arrows)}."
    return fig


def _facing(a: tuple[float, float], b: tuple[float, float], width: float) -> tuple[float, float]:
    """The middle of that side of the box around a which faces the box around b."""
    right, down = b[0] - a[0], b[1] - a[1]
    if abs(right) > width:
        return a[0] + np.sign(right) * width / 2, a[1]
    return a[0], a[1] + np.sign(down) * HEIGHT / 2
