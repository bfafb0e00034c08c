"""The cameras of the toy networks: how each sees colour and sharpness, and the place that it looks at.

A place is drawn once for each camera as a wide panorama and cropped anew for every picture. Lengths are in statures:
y = 0 is where people walk, x runs along the street.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CAST = 1.0  # strength of what differs between cameras: light, cast, contrast, colour; 0 makes all cameras alike
FLICKER = 0.07  # standard deviation of the exposure between pictures of one camera, in natural logarithms
WIDE, HIGH, LOW = 6.0, 1.4, 0.35  # statures that a panorama spans: sideways, above the feet, below them


@dataclass(frozen=True)
class Camera:
    """One camera: gain, cast, contrast, colour and haze of 1, (1, 1, 1), 1, 1, 0 change nothing.

    blur and grain are standard deviations, in pixels of a 64 pixel wide picture and in grey levels; light is where the
    sun stands, -1 left to 1 right; pitch looks down, in radians; views are the odds of a front, side and back view.
    """

    wall: str
    floor: str
    props: tuple[str, ...]
    paints: tuple[tuple[int, int, int], tuple[int, int, int]]  # of wall and floor
    horizon: float = 0.45  # where the floor ends, in statures above the feet
    gain: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    colour: float = 1.0
    haze: float = 0.0
    blur: float = 0.35
    grain: float = 3.0
    light: float = -0.6
    pitch: float = 0.2
    views: tuple[float, float, float] = (1.0, 1.0, 1.0)


NETWORKS: dict[str, list[Camera]] = {
    # A summer market square: warm, contrasty, close; six cameras.
    "market": [
        Camera("stalls", "tiles", ("crates", "sign"), ((150, 92, 70), (186, 178, 166)), 0.46, 1.05, (1.06, 1.0, 0.90),
               1.05, 1.05, 0, 0.3, 3, -0.7, 0.20, (3, 1, 2)),
        Camera("glass", "tiles", ("planter", "bin"), ((132, 160, 172), (170, 172, 176)), 0.40, 0.92, (0.90, 1.0, 1.12),
               0.95, 0.90, 6, 0.4, 3, 0.6, 0.24, (2, 1, 3)),
        Camera("hedge", "path", ("tree", "bench"), ((70, 112, 62), (190, 174, 142)), 0.52, 1.0, (0.98, 1.05, 0.90),
               1.10, 1.10, 0, 0.3, 4, -0.3, 0.16, (1, 3, 1)),
        Camera("brick", "asphalt", ("bicycle", "lamp"), ((152, 84, 66), (120, 120, 124)), 0.42, 0.74, (1.0, 0.96, 0.94),
               1.10, 0.95, 0, 0.5, 5, 0.7, 0.28, (2, 2, 2)),
        Camera("plaster", "cobbles", ("sign", "planter"), ((214, 198, 160), (156, 146, 134)), 0.48, 1.22,
               (1.04, 1.0, 0.96), 0.90, 0.92, 10, 0.4, 3, -0.8, 0.18, (3, 1, 1)),
        Camera("stalls", "asphalt", ("lamp", "crates"), ((84, 104, 140), (112, 112, 118)), 0.38, 0.84,
               (0.94, 0.98, 1.10), 1.0, 0.85, 4, 0.8, 6, 0.4, 0.30, (1, 1, 3)),
    ],
    # A campus in the cold months: flat, hazy or dim light, blue, green and sodium casts, seen from higher up.
    "duke": [
        Camera("stone", "slabs", ("lamp", "tree"), ((150, 148, 140), (150, 152, 154)), 0.56, 0.80, (0.88, 0.98, 1.16),
               0.74, 0.66, 22, 0.7, 4, 0.2, 0.34, (1, 1, 4)),
        Camera("trees", "grass", ("bench", "tree"), ((96, 92, 70), (104, 116, 70)), 0.60, 0.72, (0.92, 1.08, 0.92),
               0.80, 0.70, 14, 0.8, 5, -0.2, 0.32, (4, 1, 1)),
        Camera("stone", "steps", ("lamp", "bin"), ((168, 160, 146), (176, 172, 164)), 0.50, 1.18, (0.96, 1.0, 1.08),
               0.66, 0.60, 34, 0.6, 3, 0.1, 0.36, (1, 3, 2)),
        Camera("cars", "asphalt", ("lamp", "sign"), ((120, 124, 130), (96, 98, 102)), 0.62, 0.58, (1.16, 0.98, 0.72),
               0.92, 0.70, 8, 0.9, 7, -0.5, 0.40, (2, 1, 2)),
        Camera("glass", "slabs", ("bicycle", "planter"), ((112, 130, 138), (160, 160, 158)), 0.44, 0.78,
               (0.84, 1.04, 1.06), 0.80, 0.62, 18, 0.6, 4, 0.5, 0.28, (1, 4, 1)),
        Camera("trees", "snow", ("tree", "lamp"), ((128, 126, 124), (226, 230, 236)), 0.58, 0.94, (0.90, 0.98, 1.14),
               0.70, 0.60, 26, 0.7, 3, 0.0, 0.34, (3, 1, 3)),
        Camera("brick", "grass", ("bicycle", "bench"), ((128, 88, 76), (110, 118, 84)), 0.52, 0.66, (1.04, 1.04, 0.82),
               0.86, 0.74, 12, 1.0, 6, 0.6, 0.38, (1, 2, 3)),
        Camera("cars", "snow", ("sign", "bin"), ((140, 146, 154), (214, 220, 230)), 0.64, 0.86, (0.94, 0.96, 1.12),
               0.72, 0.55, 24, 0.8, 4, -0.4, 0.36, (2, 3, 1)),
    ],
}  # fmt: skip


def develop(image: Image.Image, camera: Camera, rng: Random) -> Image.Image:
    """What the camera makes of a clean RGB picture: exposure, cast, saturation, contrast, haze, blur and grain."""
    gain = np.exp(CAST * np.log(camera.gain) + rng.gauss(0, FLICKER))
    contrast, colour = 1 + CAST * (camera.contrast - 1), 1 + CAST * (camera.colour - 1)
    luma = np.array([0.299, 0.587, 0.114])
    matrix = contrast * gain * (colour * np.eye(3) + (1 - colour) * luma)
    matrix *= (1 + CAST * (np.array(camera.cast) - 1))[:, None]
    offset = 128 * (1 - contrast) + CAST * camera.haze
    image = image.convert("RGB", tuple(np.column_stack([matrix, [offset] * 3]).ravel()))
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * image.width / 64 * rng.uniform(0.7, 1.4)))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, camera.grain, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


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
            tone = tone_of(fill, self.rng.uniform(0.72, 1.25))
            self.disc(self.rng.uniform(x0, x1), self.rng.uniform(y0, y1), size * self.rng.uniform(0.5, 1.2), tone)


def tone_of(rgb, factor) -> tuple[int, int, int]:
    """A colour made darker or lighter."""
    return tuple(min(255, round(c * factor)) for c in rgb)


def _stalls(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, tone_of(paint, 0.55))
    for x in np.arange(0, WIDE, 1.2):
        cloth = p.rng.choice([(196, 60, 54), (60, 120, 90), (222, 176, 70), (70, 100, 160)])
        p.box(x + 0.08, horizon + 0.02, x + 1.08, horizon + 0.18, tone_of(paint, 1.1))
        for k in range(10):
            p.disc(x + 0.14 + 0.1 * k, horizon + 0.19, 0.055, p.rng.choice([(214, 70, 50), (236, 190, 70), (96, 150, 60)]))
        for k in range(6):
            stripe = cloth if k % 2 else (236, 232, 222)
            p.box(x + k * 0.18, 0.98, x + 0.18 + k * 0.18, HIGH, stripe)
            p.disc(x + 0.09 + k * 0.18, 0.98, 0.09, stripe, 0.05)


def _glass(p: Place, paint, horizon):
    for x in np.arange(0, WIDE, 0.5):
        p.box(x, horizon, x + 0.5, HIGH, tone_of(paint, p.rng.uniform(0.85, 1.15)))
        p.line([(x + 0.1, horizon), (x + 0.36, HIGH)], 0.05, tone_of(paint, 1.22))
        p.box(x, horizon, x + 0.03, HIGH, tone_of(paint, 0.5))
    p.box(0, horizon, WIDE, horizon + 0.07, tone_of(paint, 0.55))
    p.box(0, 1.02, WIDE, 1.05, tone_of(paint, 0.5))


def _hedge(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, tone_of(paint, 0.7))
    p.leaves(0, horizon + 0.02, WIDE, HIGH, paint, 1100)


def _brick(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, tone_of(paint, 1.25))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.07)):
        for x in np.arange(-0.09 * (row % 2), WIDE, 0.18):
            p.box(x, y, x + 0.168, y + 0.058, tone_of(paint, p.rng.uniform(0.86, 1.1)))


def _plaster(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, paint)
    p.box(0, horizon, WIDE, horizon + 0.12, tone_of(paint, 0.78))
    for x in np.arange(0.2, WIDE, 0.9):
        p.box(x, 0.74, x + 0.40, 1.22, tone_of(paint, 1.15), 0.02)
        p.box(x + 0.03, 0.77, x + 0.37, 1.19, (84, 96, 108))
        p.box(x - 0.14, 0.74, x, 1.22, (92, 124, 116))


def _stone(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, tone_of(paint, 0.8))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.15)):
        for x in np.arange(-0.2 * (row % 2), WIDE, 0.4):
            p.box(x, y, x + 0.385, y + 0.138, tone_of(paint, p.rng.uniform(0.88, 1.08)), 0.015)
    for x in np.arange(0.7, WIDE, 1.5):
        p.box(x, horizon, x + 0.44, 0.98, (62, 58, 58))
        p.disc(x + 0.22, 0.98, 0.22, (62, 58, 58))


def _trees(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, (176, 182, 188))
    p.leaves(0, horizon, WIDE, horizon + 0.2, tone_of(paint, 1.1), 260)
    for x in np.arange(0.1, WIDE, 0.42):
        p.line([(x, horizon), (x + p.rng.uniform(-0.1, 0.1), HIGH)], p.rng.uniform(0.04, 0.09), tone_of(paint, 0.55))
    p.leaves(0, 0.95, WIDE, HIGH, paint, 420, 0.06)


def _cars(p: Place, paint, horizon):
    p.box(0, horizon, WIDE, HIGH, paint)
    for x in np.arange(0, WIDE, 1.5):
        body = p.rng.choice([(150, 40, 44), (196, 198, 202), (44, 62, 104), (58, 60, 64)])
        p.box(x + 0.36, horizon + 0.22, x + 1.10, horizon + 0.48, body, 0.12)
        p.box(x + 0.44, horizon + 0.26, x + 1.02, horizon + 0.43, (70, 84, 96), 0.06)
        p.box(x + 0.05, horizon + 0.02, x + 1.40, horizon + 0.28, body, 0.09)
        for wheel in (0.33, 1.12):
            p.disc(x + wheel, horizon + 0.03, 0.11, (34, 34, 38))
            p.disc(x + wheel, horizon + 0.03, 0.05, (150, 150, 154))


def _grid(p: Place, paint, horizon, across, slant=0.35):
    """Slabs in perspective: rows that open towards the viewer, joints that fan out."""
    p.box(0, -LOW, WIDE, horizon, paint)
    joint, depth = tone_of(paint, 0.84), horizon + LOW
    for k in range(1, 9):
        p.line([(0, horizon - depth * (k / 9) ** 1.6), (WIDE, horizon - depth * (k / 9) ** 1.6)], 0.012, joint)
    for x in np.arange(-1, WIDE + 1, across):
        p.line([(x, horizon), (x + slant * (x - WIDE / 2) / WIDE, -LOW)], 0.012, joint)


def _asphalt(p: Place, paint, horizon):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.012)
    p.box(0, horizon - 0.05, WIDE, horizon, tone_of(paint, 1.35))
    for x in np.arange(0, WIDE, 0.8):
        p.pen.polygon([p.at(x, 0.06), p.at(x + 0.4, 0.06), p.at(x + 0.36, 0.1), p.at(x - 0.02, 0.1)], (222, 220, 208))


def _grass(p: Place, paint, horizon):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 900, 0.025)
    p.box(0, -0.12, WIDE, 0.10, (158, 152, 140))


def _path(p: Place, paint, horizon):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.015)
    p.leaves(0, horizon - 0.1, WIDE, horizon, (96, 128, 70), 260, 0.035)


def _cobbles(p: Place, paint, horizon):
    p.box(0, -LOW, WIDE, horizon, tone_of(paint, 0.72))
    for row, y in enumerate(np.arange(-LOW, horizon, 0.06)):
        for x in np.arange(-0.05 * (row % 2), WIDE, 0.1):
            p.disc(x, y + 0.03, 0.045, tone_of(paint, p.rng.uniform(0.86, 1.12)), 0.026)


def _steps(p: Place, paint, horizon):
    for k, y in enumerate(np.arange(-LOW, horizon, 0.11)):
        p.box(0, y, WIDE, y + 0.11, tone_of(paint, 1.04))
        p.box(0, y, WIDE, y + 0.05, tone_of(paint, 0.8))


def _snow(p: Place, paint, horizon):
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, tone_of(paint, 0.97), 160, 0.05)
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
        p.box(x + 0.04 * k, y + 0.13 * k, x + 0.36 + 0.04 * k, y + 0.12 + 0.13 * k, tone_of((176, 132, 84), 1 - 0.08 * k))


def bush(p: Place, x, y):
    """A round bush, half a stature wide."""
    p.leaves(x - 0.22, y - 0.1, x + 0.22, y + 0.26, (70, 110, 58), 70, 0.07)


def pole(p: Place, x, y):
    """A post that hides a strip from the ground to above the head."""
    p.box(x - 0.035, y - LOW, x + 0.035, HIGH, (84, 90, 96))
    p.box(x - 0.025, y - LOW, x - 0.005, HIGH, (132, 138, 144))


WALLS = {"stalls": _stalls, "glass": _glass, "hedge": _hedge, "brick": _brick, "plaster": _plaster, "stone": _stone,
         "trees": _trees, "cars": _cars}  # fmt: skip
FLOORS = {"tiles": lambda *a: _grid(*a, 0.30), "slabs": lambda *a: _grid(*a, 0.55), "asphalt": _asphalt, "grass": _grass,
          "path": _path, "cobbles": _cobbles, "steps": _steps, "snow": _snow}  # fmt: skip
PROPS = {"tree": _tree, "lamp": _lamp, "bench": _bench, "bicycle": bicycle, "bin": _bin, "planter": _planter,
         "sign": _sign, "crates": _crates}  # fmt: skip
OCCLUDERS = {"pole": pole, "bush": bush, "bicycle": bicycle}


@lru_cache(maxsize=16)
def panorama(camera: Camera, unit: int) -> Image.Image:
    """The whole place that a camera looks at, without people; unit is pixels a stature."""
    image = Image.new("RGB", (round(WIDE * unit), round((HIGH + LOW) * unit)))
    place = Place(image, unit, Random(repr(camera)))
    FLOORS[camera.floor](place, camera.paints[1], camera.horizon)
    WALLS[camera.wall](place, camera.paints[0], camera.horizon)
    for k, x in enumerate(np.arange(0.3, WIDE, 0.95)):
        PROPS[camera.props[k % len(camera.props)]](place, x + place.rng.uniform(0, 0.3), camera.horizon - 0.08)
    return image
