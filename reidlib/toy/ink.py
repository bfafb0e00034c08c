"""Painting with rounded limbs and turned solids: the drawing primitives of the toy crowd.

Lengths are in statures (one is a person's height), the ground is y = 0; x points to the person's left, y up, z forward.
Points are turned by the view, projected without perspective and painted flat; light and shade are a second layer.
Angles are in radians.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import cos, hypot, pi, sin
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

RGB = tuple[int, int, int]
Point = tuple[float, float, float]  # (x, y, z) in statures
Spot = tuple[float, float]  # (x, y) in pixels
Ring = tuple[float, float, float]  # (y, half width, half depth) in statures
Box = tuple[float, float, float, float]  # (left, top, right, bottom) in pixels

COLOURS: dict[str, RGB] = {
    "black": (38, 38, 44), "grey": (132, 136, 142), "white": (232, 232, 226), "red": (196, 48, 50),
    "orange": (224, 122, 46), "yellow": (232, 194, 66), "green": (62, 134, 78), "olive": (112, 112, 62),
    "teal": (40, 140, 146), "blue": (56, 104, 192), "navy": (42, 54, 96), "purple": (118, 74, 148),
    "pink": (226, 134, 164), "brown": (116, 76, 50), "beige": (206, 182, 142), "sky": (134, 178, 216),
    "porcelain": (244, 214, 194), "peach": (228, 182, 148), "tan": (196, 144, 104), "umber": (140, 94, 66),
    "ebony": (88, 58, 44), "blond": (218, 180, 104), "auburn": (146, 70, 38), "silver": (184, 184, 186),
}  # fmt: skip

FADE = {"denim": 0.18, "wool": 0.08}  # material: how far its colours fade towards grey

# material: gloss, from 0 (felt) to 1 (patent leather). The colours above name the dye.
SHEEN = {"skin": 0.45, "hair": 0.6, "cotton": 0.4, "denim": 0.3, "wool": 0.2, "nylon": 0.75, "leather": 0.9, "ink": 0.0,
         "linen": 0.3, "polyester": 0.6}  # fmt: skip


class Cloth(NamedTuple):
    """Colour and material of a part. `pattern` lies over it in the colour `trim`; `thread` is its material if woven."""

    colour: str
    material: str
    pattern: str = "plain"
    trim: str = "white"
    thread: str | None = None


def paint(colour: str, material: str) -> RGB:
    """The RGB of a part of this colour and material in visible light; `infrared.paint` is its infrared form."""
    fade = FADE.get(material, 0.0)
    red, green, blue = (round(c + fade * (128 - c)) for c in COLOURS[colour])
    return red, green, blue


@dataclass
class Ink:
    """A transparent sheet that parts are painted on: `sheet` holds colour, `relief` light and shade (128 is neutral).

    size is (width, height) and foot the point (x, y) between the feet, in pixels; unit is pixels per stature. yaw 0
    faces the camera; pitch is the angle at which the camera looks down. light is -1 from the left to 1 from the right.
    spectrum maps a colour and a material to the RGB that the camera records. details is the size of shoes, bags and
    prints, 1 by default.
    """

    size: tuple[int, int]
    foot: Spot
    unit: float
    yaw: float
    pitch: float = 0.2
    light: float = -0.6
    spectrum: Callable[[str, str], RGB] = paint
    details: float = 1.0
    sheet: Image.Image = field(init=False)
    relief: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        self.sheet, self.relief = Image.new("RGBA", self.size), Image.new("L", self.size, 128)
        self._colour, self._shade = ImageDraw.Draw(self.sheet), ImageDraw.Draw(self.relief)
        self._weaves: dict[str, Image.Image] = {}
        self.turned(self.yaw)

    def turned(self, yaw: float) -> None:
        """Set the yaw of what is painted next, such as a head that looks aside."""
        self.yaw, self._cos, self._sin = yaw, cos(yaw), sin(yaw)

    def depth(self, x: float, z: float) -> float:
        return z * self._cos - x * self._sin

    def spot(self, x: float, y: float, z: float) -> Spot:
        height = y * cos(self.pitch) - self.depth(x, z) * sin(self.pitch)
        return self.foot[0] + self.unit * (x * self._cos + z * self._sin), self.foot[1] - self.unit * height

    def limb(self, points: Sequence[Point], radii: list[float], cloth: Cloth) -> None:
        """A chain of rounded, tapering segments through points (x, y, z)."""
        spots, radii = [self.spot(*p) for p in points], [r * self.unit for r in radii]
        outlines = [_quad(*pair) for pair in zip(spots, spots[1:], radii, radii[1:])]
        self._fill(outlines, [(x - r, y - r, x + r, y + r) for (x, y), r in zip(spots, radii)], cloth)
        width, shift = min(radii), self.light * 0.35
        self._shade.line(spots, fill=100, width=round(2 * max(radii)))
        lit = [(x + shift * r, y) for (x, y), r in zip(spots, radii)]
        self._shade.line(lit, fill=134 + round(44 * SHEEN[cloth.material]), width=max(1, round(1.1 * width)))

    def lathe(self, rings: list[Ring], cloth: Cloth, x: float = 0.0, z: float = 0.0) -> None:
        """A solid of stacked ellipses (y, half width, half depth), its axis at (x, z)."""
        row = [(*self.spot(x, y, z), self.unit * hypot(w * self._cos, d * self._sin)) for y, w, d in rings]
        self._fill([_silhouette(row, 1.0, 0.0)], [], cloth)
        self._shade.polygon(_silhouette(row, 1.0, 0.0), fill=100)
        self._shade.polygon(_silhouette(row, 0.66, self.light * 0.24), fill=132 + round(36 * SHEEN[cloth.material]))

    def panel(self, rings: list[Ring], start: float, stop: float, cloth: Cloth, x: float = 0.0, z: float = 0.0) -> None:
        """A patch on the surface of a solid, between two angles from its front; only the visible side is painted."""
        turns = 2 * pi * round(((start + stop) / 2 + self.yaw) / (2 * pi))
        start, stop = max(start - turns, -pi / 2 - self.yaw), min(stop - turns, pi / 2 - self.yaw)
        if stop - start < 0.05:
            return
        edges = [[self.spot(x + w * sin(a), y, z + d * cos(a)) for y, w, d in rings] for a in (start, stop)]
        self._fill([edges[0] + edges[1][::-1]], [], cloth)

    def _fill(self, polygons: list[list[Spot]], discs: list[Box], cloth: Cloth) -> None:
        rgb = self.spectrum(cloth.colour, cloth.material)
        _stamp(self._colour, polygons, discs, (*rgb, 255))
        if cloth.pattern in PATTERNS:
            mask = Image.new("L", self.size)
            _stamp(ImageDraw.Draw(mask), polygons, discs, 255)
            mask = ImageChops.darker(mask, self._weave(cloth.pattern))
            self.sheet.paste((*self.spectrum(cloth.trim, cloth.thread or cloth.material), 255), mask=mask)

    def _weave(self, pattern: str) -> Image.Image:
        """Mask of a pattern over the whole sheet, aligned with the chest."""
        if pattern not in self._weaves:
            self._weaves[pattern] = weave = Image.new("L", self.size, 255)
            pen = ImageDraw.Draw(weave)
            boxes = PATTERNS[pattern](self.size, self.spot(0, 0.72, 0), self.unit, self.details)
            for left, top, right, bottom in boxes:
                pen.rectangle((round(left), round(top), round(right), round(bottom)), fill=0)
        return self._weaves[pattern]

    def finished(self) -> tuple[Image.Image, tuple[int, int]]:
        """The painting with light and shade: an RGBA picture, and its upper left corner on the sheet."""
        box = self.sheet.getbbox() or (0, 0, 1, 1)
        colour, relief = self.sheet.crop(box), self.relief.crop(box).filter(ImageFilter.BoxBlur(self.unit * 0.011))
        lit = ImageChops.hard_light(colour.convert("RGB"), Image.merge("RGB", (relief,) * 3))
        lit.putalpha(colour.getchannel("A"))
        return lit, box[:2]


def _stamp(pen: ImageDraw.ImageDraw, polygons: list[list[Spot]], discs: list[Box], fill: int | tuple[int, ...]) -> None:
    for polygon in polygons:
        pen.polygon(polygon, fill=fill)
    for disc in discs:
        pen.ellipse(disc, fill=fill)


def _quad(a: Spot, b: Spot, ra: float, rb: float) -> list[Spot]:
    length = hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    nx, ny = (a[1] - b[1]) / length, (b[0] - a[0]) / length
    return [(a[0] + nx * ra, a[1] + ny * ra), (b[0] + nx * rb, b[1] + ny * rb),
            (b[0] - nx * rb, b[1] - ny * rb), (a[0] - nx * ra, a[1] - ny * ra)]  # fmt: skip


def _silhouette(row: list[tuple[float, float, float]], scale: float, shift: float) -> list[Spot]:
    left = [(x + (shift - scale) * half, y) for x, y, half in row]
    return left + [(x + (shift + scale) * half, y) for x, y, half in reversed(row)]


# A pattern is the boxes to cut out of a layer of trim, aligned with the chest; a finer one has more of them.
def _stripes(size: tuple[int, int], chest: Spot, unit: float, details: float) -> Iterator[Box]:
    step = 0.052 * unit * details
    for k in range(round(-9 / details), round(12 / details)):
        yield 0, chest[1] + k * step, size[0], chest[1] + (k + 0.56) * step


def _checks(size: tuple[int, int], chest: Spot, unit: float, details: float) -> Iterator[Box]:
    step = 0.05 * unit * details
    for row in range(round(-7 / details), round(10 / details)):
        for column in range(round(-5 / details), round(5 / details)):
            x, y = chest[0] + column * step, chest[1] + row * step
            yield x, y, x + 0.68 * step, y + 0.68 * step


def _band(size: tuple[int, int], chest: Spot, unit: float, details: float) -> Iterator[Box]:
    yield 0, -9 * unit, size[0], chest[1] - 0.03 * unit * details
    yield 0, chest[1] + 0.06 * unit * details, size[0], 9 * unit


PATTERNS: dict[str, Callable[[tuple[int, int], Spot, float, float], Iterator[Box]]] = {
    "stripes": _stripes,
    "checks": _checks,
    "band": _band,
}
