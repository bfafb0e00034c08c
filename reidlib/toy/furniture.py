"""Street furniture of the toy places, drawn with boxes, discs and lines. Some of it can stand in front of a person.

Lengths are in statures: people walk at y = 0, x runs along the street.
"""

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from .ink import RGB

HIGH = 1.4  # upper edge of a panorama, in statures above the feet


class Place:
    """A picture being drawn with boxes, discs and lines, in statures; (left, top) is its upper left corner.

    seen maps a paint (RGB by daylight) to what the camera records; None leaves it unchanged.
    """

    def __init__(
        self, image: Image.Image, unit: float, rng: Random, left: float = 0.0, top: float = HIGH,
        seen: Callable[[RGB], RGB] | None = None,
    ) -> None:  # fmt: skip
        self.unit, self.rng, self.left, self.top = unit, rng, left, top
        self.seen = seen or (lambda paint: paint)
        self.image, self.pen = image, ImageDraw.Draw(image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.unit, (self.top - y) * self.unit

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, radius: float = 0.0) -> None:
        (left, bottom), (right, top) = self.at(x0, y0), self.at(x1, y1)
        self.pen.rounded_rectangle((left, top, max(left, right), max(top, bottom)), radius * self.unit, self.seen(fill))

    def disc(self, x: float, y: float, r: float, fill: RGB, ry: float | None = None) -> None:
        self.pen.ellipse((*self.at(x - r, y + (ry or r)), *self.at(x + r, y - (ry or r))), self.seen(fill))

    def line(self, points: list[tuple[float, float]], width: float, fill: RGB) -> None:
        self.pen.line([self.at(*p) for p in points], self.seen(fill), max(1, round(width * self.unit)), "curve")

    def leaves(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, count: int, size: float = 0.05) -> None:
        for _ in range(count):
            green = tone(fill, self.rng.uniform(0.72, 1.25))
            self.disc(self.rng.uniform(x0, x1), self.rng.uniform(y0, y1), size * self.rng.uniform(0.5, 1.2), green)


def tone(rgb: RGB, factor: float) -> RGB:
    """A colour made darker or lighter."""
    red, green, blue = (min(255, round(c * factor)) for c in rgb)
    return red, green, blue


def _tree(p: Place, x: float, y: float) -> None:
    p.line([(x, y), (x, HIGH)], 0.1, (88, 68, 54))
    p.leaves(x - 0.4, 0.9, x + 0.4, HIGH, (78, 112, 60), 60, 0.09)


def _lamp(p: Place, x: float, y: float) -> None:
    p.line([(x, y), (x, 1.2)], 0.035, (56, 60, 66))
    p.disc(x, 1.2, 0.08, (244, 236, 200))


def _bench(p: Place, x: float, y: float) -> None:
    for h in (0.12, 0.22, 0.28):
        p.box(x, y + h, x + 0.7, y + h + 0.04, (134, 92, 58), 0.01)
    for leg in (0.06, 0.6):
        p.box(x + leg, y, x + leg + 0.04, y + 0.26, (60, 60, 64))


def _bicycle(p: Place, x: float, y: float) -> None:
    """A bicycle at (x, y), 0.95 statures long."""
    for wheel in (0.2, 0.75):
        box = (*p.at(x + wheel - 0.18, y + 0.37), *p.at(x + wheel + 0.18, y + 0.01))
        p.pen.ellipse(box, outline=p.seen((40, 42, 46)), width=max(1, round(0.022 * p.unit)))
    frame = [(0.2, 0.19), (0.36, 0.40), (0.64, 0.42), (0.42, 0.19), (0.2, 0.19)]
    colour = p.rng.choice([(190, 56, 50), (60, 110, 170), (70, 130, 84), (224, 176, 60)])
    p.line([(x + a, y + b) for a, b in frame], 0.026, colour)
    p.line([(x + 0.75, y + 0.19), (x + 0.64, y + 0.42), (x + 0.62, y + 0.52), (x + 0.70, y + 0.54)], 0.024, colour)
    p.line([(x + 0.42, y + 0.19), (x + 0.35, y + 0.44)], 0.022, colour)
    p.box(x + 0.28, y + 0.44, x + 0.42, y + 0.48, (40, 40, 44), 0.015)


def _bin(p: Place, x: float, y: float) -> None:
    p.box(x, y, x + 0.24, y + 0.36, (66, 92, 82), 0.03)
    p.box(x - 0.02, y + 0.30, x + 0.26, y + 0.36, (48, 66, 60), 0.02)


def _planter(p: Place, x: float, y: float) -> None:
    p.leaves(x, y + 0.2, x + 0.4, y + 0.42, (84, 132, 72), 40, 0.06)
    p.box(x, y, x + 0.4, y + 0.22, (158, 104, 78), 0.02)


def _sign(p: Place, x: float, y: float) -> None:
    p.line([(x, y), (x, 1.0)], 0.03, (120, 122, 126))
    p.box(x - 0.13, 0.86, x + 0.13, 1.12, (48, 96, 160), 0.03)
    p.box(x - 0.08, 0.97, x + 0.08, 1.01, (236, 236, 232))


def _crates(p: Place, x: float, y: float) -> None:
    for k in range(3):
        p.box(x + 0.04 * k, y + 0.13 * k, x + 0.36 + 0.04 * k, y + 0.12 + 0.13 * k, tone((176, 132, 84), 1 - 0.08 * k))


def _bush(p: Place, x: float, y: float) -> None:
    """A round bush, half a stature wide."""
    p.leaves(x - 0.22, y - 0.1, x + 0.22, y + 0.26, (70, 110, 58), 70, 0.07)


def _pole(p: Place, x: float, y: float) -> None:
    """A post that hides a strip from the ground to above the head."""
    p.box(x - 0.035, y - 0.3, x + 0.035, HIGH, (84, 90, 96))
    p.box(x - 0.025, y - 0.3, x - 0.005, HIGH, (132, 138, 144))


Prop = Callable[[Place, float, float], None]  # (where, x, y)
Wall = Callable[[Place, float, float, float, RGB], None]  # (where, start, stop, horizon, paint)

PROPS: dict[str, Prop] = {
    "tree": _tree, "lamp": _lamp, "bench": _bench, "bicycle": _bicycle, "bin": _bin, "planter": _planter,
    "sign": _sign, "crates": _crates,
}  # fmt: skip
OCCLUDERS: dict[str, Prop] = {"pole": _pole, "bush": _bush, "bicycle": lambda p, x, y: _bicycle(p, x - 0.47, y)}
