"""The places that the toy cameras look at: walls, floors, street furniture, and what may stand in front of a person.

A place is drawn once for each camera as a wide panorama and cropped anew for every picture. Lengths are in statures:
people walk at y = 0, x runs along the street.
"""

from functools import lru_cache, partial
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .cameras import Camera

WIDE, HIGH, LOW = 8.0, 1.4, 0.35  # statures that a panorama spans: sideways, above the feet, below them
AIR, DISTANCE = (226, 226, 222), 0.4  # how much a place fades into grey: 0 not at all; what is left is what a camera's pictures share
SHADE = 0.55  # depth of the shadows that fall on a place


class Place:
    """A picture being drawn with boxes, discs and lines in statures; (left, top) is the point at its upper left."""

    def __init__(self, image: Image.Image, unit: float, rng: Random, left: float = 0.0, top: float = HIGH):
        self.unit, self.rng, self.left, self.top = unit, rng, left, top
        self.image, self.pen = image, ImageDraw.Draw(image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.unit, (self.top - y) * self.unit

    def box(self, x0, y0, x1, y1, fill, radius=0.0):
        (left, bottom), (right, top) = self.at(x0, y0), self.at(x1, y1)
        self.pen.rounded_rectangle((left, top, max(left, right), max(top, bottom)), radius * self.unit, fill)

    def disc(self, x, y, r, fill, ry=None):
        self.pen.ellipse((*self.at(x - r, y + (ry or r)), *self.at(x + r, y - (ry or r))), fill)

    def line(self, points, width, fill):
        self.pen.line([self.at(*p) for p in points], fill, max(1, round(width * self.unit)), "curve")

    def leaves(self, x0, y0, x1, y1, fill, count, size=0.05):
        for _ in range(count):
            tone = _tone(fill, self.rng.uniform(0.72, 1.25))
            self.disc(self.rng.uniform(x0, x1), self.rng.uniform(y0, y1), size * self.rng.uniform(0.5, 1.2), tone)


def _tone(rgb, factor) -> tuple[int, int, int]:
    """A colour made darker or lighter."""
    return tuple(min(255, round(c * factor)) for c in rgb)


def _stalls(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, _tone(paint, 0.55))
    for x in np.arange(start, stop, 1.2):
        cloth = p.rng.choice([(196, 60, 54), (60, 120, 90), (222, 176, 70), (70, 100, 160)])
        p.box(x + 0.08, horizon + 0.02, x + 1.08, horizon + 0.18, _tone(paint, 1.1))
        for k in range(10):
            p.disc(
                x + 0.14 + 0.1 * k, horizon + 0.19, 0.055, p.rng.choice([(214, 70, 50), (236, 190, 70), (96, 150, 60)])
            )
        for k in range(6):
            stripe = cloth if k % 2 else (236, 232, 222)
            p.box(x + k * 0.18, 0.98, x + 0.18 + k * 0.18, HIGH, stripe)
            p.disc(x + 0.09 + k * 0.18, 0.98, 0.09, stripe, 0.05)


def _glass(p: Place, start, stop, horizon, paint):
    for x in np.arange(start, stop, 0.5):
        p.box(x, horizon, x + 0.5, HIGH, _tone(paint, p.rng.uniform(0.85, 1.15)))
        p.line([(x + 0.1, horizon), (x + 0.36, HIGH)], 0.05, _tone(paint, 1.22))
        p.box(x, horizon, x + 0.03, HIGH, _tone(paint, 0.5))
    p.box(start, horizon, stop, horizon + 0.07, _tone(paint, 0.55))
    p.box(start, 1.02, stop, 1.05, _tone(paint, 0.5))


def _hedge(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, _tone(paint, 0.7))
    p.leaves(start, horizon + 0.02, stop, HIGH, paint, round(180 * (stop - start)))


def _brick(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, _tone(paint, 1.25))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.07)):
        for x in np.arange(start - 0.09 * (row % 2), stop, 0.18):
            p.box(x, y, x + 0.168, y + 0.058, _tone(paint, p.rng.uniform(0.86, 1.1)))


def _plaster(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, paint)
    p.box(start, horizon, stop, horizon + 0.12, _tone(paint, 0.78))
    for x in np.arange(start + 0.2, stop, 0.9):
        p.box(x, 0.74, x + 0.40, 1.22, _tone(paint, 1.15), 0.02)
        p.box(x + 0.03, 0.77, x + 0.37, 1.19, (84, 96, 108))
        p.box(x - 0.14, 0.74, x, 1.22, (92, 124, 116))


def _stone(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, _tone(paint, 0.8))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.15)):
        for x in np.arange(start - 0.2 * (row % 2), stop, 0.4):
            p.box(x, y, x + 0.385, y + 0.138, _tone(paint, p.rng.uniform(0.88, 1.08)), 0.015)
    for x in np.arange(start + 0.5, stop, 1.5):
        p.box(x, horizon, x + 0.44, 0.98, (62, 58, 58))
        p.disc(x + 0.22, 0.98, 0.22, (62, 58, 58))


def _trees(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, (176, 182, 188))
    p.leaves(start, horizon, stop, horizon + 0.2, _tone(paint, 1.1), round(45 * (stop - start)))
    for x in np.arange(start + 0.1, stop, 0.42):
        p.line([(x, horizon), (x + p.rng.uniform(-0.1, 0.1), HIGH)], p.rng.uniform(0.04, 0.09), _tone(paint, 0.55))
    p.leaves(start, 0.95, stop, HIGH, paint, round(70 * (stop - start)), 0.06)


def _cars(p: Place, start, stop, horizon, paint):
    p.box(start, horizon, stop, HIGH, paint)
    for x in np.arange(start, stop, 1.5):
        body = p.rng.choice([(150, 40, 44), (196, 198, 202), (44, 62, 104), (58, 60, 64)])
        p.box(x + 0.36, horizon + 0.22, x + 1.10, horizon + 0.48, body, 0.12)
        p.box(x + 0.44, horizon + 0.26, x + 1.02, horizon + 0.43, (70, 84, 96), 0.06)
        p.box(x + 0.05, horizon + 0.02, x + 1.40, horizon + 0.28, body, 0.09)
        for wheel in (0.33, 1.12):
            p.disc(x + wheel, horizon + 0.03, 0.11, (34, 34, 38))
            p.disc(x + wheel, horizon + 0.03, 0.05, (150, 150, 154))


def _grid(p: Place, horizon, paint, across, slant=0.35):
    """Slabs in perspective: rows that open towards the viewer, joints that fan out."""
    p.box(0, -LOW, WIDE, horizon, paint)
    joint, depth = _tone(paint, 0.84), horizon + LOW
    for k in range(1, 9):
        p.line([(0, horizon - depth * (k / 9) ** 1.6), (WIDE, horizon - depth * (k / 9) ** 1.6)], 0.012, joint)
    for x in np.arange(-1, WIDE + 1, across):
        p.line([(x, horizon), (x + slant * (x - WIDE / 2) / WIDE, -LOW)], 0.012, joint)


def _asphalt(p: Place, horizon, paint):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.012)
    p.box(0, horizon - 0.05, WIDE, horizon, _tone(paint, 1.35))
    for x in np.arange(0, WIDE, 0.8):
        p.pen.polygon([p.at(x, 0.06), p.at(x + 0.4, 0.06), p.at(x + 0.36, 0.1), p.at(x - 0.02, 0.1)], (222, 220, 208))


def _grass(p: Place, horizon, paint):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 900, 0.025)
    p.box(0, -0.12, WIDE, 0.10, (158, 152, 140))


def _path(p: Place, horizon, paint):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.015)
    p.leaves(0, horizon - 0.1, WIDE, horizon, (96, 128, 70), 260, 0.035)


def _cobbles(p: Place, horizon, paint):
    p.box(0, -LOW, WIDE, horizon, _tone(paint, 0.72))
    for row, y in enumerate(np.arange(-LOW, horizon, 0.06)):
        for x in np.arange(-0.05 * (row % 2), WIDE, 0.1):
            p.disc(x, y + 0.03, 0.045, _tone(paint, p.rng.uniform(0.86, 1.12)), 0.026)


def _steps(p: Place, horizon, paint):
    for k, y in enumerate(np.arange(-LOW, horizon, 0.11)):
        p.box(0, y, WIDE, y + 0.11, _tone(paint, 1.04))
        p.box(0, y, WIDE, y + 0.05, _tone(paint, 0.8))


def _snow(p: Place, horizon, paint):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, _tone(paint, 0.97), 160, 0.05)
    p.box(0, -0.1, WIDE, 0.07, (168, 172, 180))


def _tree(p: Place, x, y):
    p.line([(x, y), (x, HIGH)], 0.1, (88, 68, 54))
    p.leaves(x - 0.4, 0.9, x + 0.4, HIGH, (78, 112, 60), 60, 0.09)


def _lamp(p: Place, x, y):
    p.line([(x, y), (x, 1.2)], 0.035, (56, 60, 66))
    p.disc(x, 1.2, 0.08, (244, 236, 200))


def _bench(p: Place, x, y):
    for h in (0.12, 0.22, 0.28):
        p.box(x, y + h, x + 0.7, y + h + 0.04, (134, 92, 58), 0.01)
    for leg in (0.06, 0.6):
        p.box(x + leg, y, x + leg + 0.04, y + 0.26, (60, 60, 64))


def bicycle(p: Place, x, y):
    """A bicycle that stands at (x, y), 0.95 statures long."""
    for wheel in (0.2, 0.75):
        box = (*p.at(x + wheel - 0.18, y + 0.37), *p.at(x + wheel + 0.18, y + 0.01))
        p.pen.ellipse(box, outline=(40, 42, 46), width=max(1, round(0.022 * p.unit)))
    frame = [(0.2, 0.19), (0.36, 0.40), (0.64, 0.42), (0.42, 0.19), (0.2, 0.19)]
    colour = p.rng.choice([(190, 56, 50), (60, 110, 170), (70, 130, 84), (224, 176, 60)])
    p.line([(x + a, y + b) for a, b in frame], 0.026, colour)
    p.line([(x + 0.75, y + 0.19), (x + 0.64, y + 0.42), (x + 0.62, y + 0.52), (x + 0.70, y + 0.54)], 0.024, colour)
    p.line([(x + 0.42, y + 0.19), (x + 0.35, y + 0.44)], 0.022, colour)
    p.box(x + 0.28, y + 0.44, x + 0.42, y + 0.48, (40, 40, 44), 0.015)


def _bin(p: Place, x, y):
    p.box(x, y, x + 0.24, y + 0.36, (66, 92, 82), 0.03)
    p.box(x - 0.02, y + 0.30, x + 0.26, y + 0.36, (48, 66, 60), 0.02)


def _planter(p: Place, x, y):
    p.leaves(x, y + 0.2, x + 0.4, y + 0.42, (84, 132, 72), 40, 0.06)
    p.box(x, y, x + 0.4, y + 0.22, (158, 104, 78), 0.02)


def _sign(p: Place, x, y):
    p.line([(x, y), (x, 1.0)], 0.03, (120, 122, 126))
    p.box(x - 0.13, 0.86, x + 0.13, 1.12, (48, 96, 160), 0.03)
    p.box(x - 0.08, 0.97, x + 0.08, 1.01, (236, 236, 232))


def _crates(p: Place, x, y):
    for k in range(3):
        p.box(x + 0.04 * k, y + 0.13 * k, x + 0.36 + 0.04 * k, y + 0.12 + 0.13 * k, _tone((176, 132, 84), 1 - 0.08 * k))


def bush(p: Place, x, y):
    """A round bush, half a stature wide."""
    p.leaves(x - 0.22, y - 0.1, x + 0.22, y + 0.26, (70, 110, 58), 70, 0.07)


def pole(p: Place, x, y):
    """A post that hides a strip from the ground to above the head."""
    p.box(x - 0.035, y - LOW, x + 0.035, HIGH, (84, 90, 96))
    p.box(x - 0.025, y - LOW, x - 0.005, HIGH, (132, 138, 144))


# name: how to draw it, in what colour.
WALLS = {
    "stalls": (_stalls, (150, 92, 70)), "glass": (_glass, (132, 160, 172)), "hedge": (_hedge, (70, 112, 62)),
    "brick": (_brick, (152, 84, 66)), "plaster": (_plaster, (214, 198, 160)), "stone": (_stone, (160, 154, 144)),
    "trees": (_trees, (110, 100, 78)), "cars": (_cars, (136, 140, 146)),
}  # fmt: skip
FLOORS = {
    "tiles": (partial(_grid, across=0.30), (186, 178, 166)), "slabs": (partial(_grid, across=0.55), (154, 156, 158)),
    "asphalt": (_asphalt, (118, 118, 122)), "grass": (_grass, (108, 120, 76)), "path": (_path, (186, 170, 140)),
    "cobbles": (_cobbles, (156, 146, 134)), "steps": (_steps, (172, 168, 160)), "snow": (_snow, (218, 222, 230)),
}  # fmt: skip
PROPS = {"tree": _tree, "lamp": _lamp, "bench": _bench, "bicycle": bicycle, "bin": _bin, "planter": _planter,
         "sign": _sign, "crates": _crates}  # fmt: skip
OCCLUDERS = {"pole": pole, "bush": bush, "bicycle": bicycle}


@lru_cache(maxsize=16)
def panorama(camera: Camera, unit: int) -> Image.Image:
    """The whole place that a camera looks at, without people; unit is pixels a stature."""
    image = Image.new("RGB", (round(WIDE * unit), round((HIGH + LOW) * unit)))
    place = Place(image, unit, Random(repr(camera)))
    floor, paint = FLOORS[camera.floor]
    floor(place, camera.horizon, paint)
    part = WIDE / len(camera.walls)
    for k, wall in enumerate(camera.walls):
        front, paint = WALLS[wall]
        front(place, k * part, (k + 1) * part, camera.horizon, paint)
    for k, x in enumerate(np.arange(0.3, WIDE, 0.95)):
        PROPS[camera.props[k % len(camera.props)]](place, x + place.rng.uniform(0, 0.3), camera.horizon - 0.08)
    air = Image.new("RGB", image.size, AIR)  # distance pales a place, so that people stand out
    image = Image.blend(image, air, DISTANCE).filter(ImageFilter.GaussianBlur(0.004 * unit))
    return ImageChops.multiply(image, _sunshine(place.rng, image.size))


def _sunshine(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Patches of sun and shade, so that one camera's pictures do not all share one grey."""
    spots = Image.new("L", (round(2 * WIDE), 4))
    spots.putdata([round(255 - 255 * SHADE * rng.random()) for _ in range(spots.width * spots.height)])
    return Image.merge("RGB", (spots.resize(size, Image.Resampling.BICUBIC),) * 3)
