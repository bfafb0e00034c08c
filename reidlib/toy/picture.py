"""One picture of the toy crowd: a person in a place, as recorded by a camera and cropped by a detector."""

from functools import lru_cache, partial
from math import pi
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from . import infrared
from .body import pedestrian
from .cameras import Camera, develop
from .furniture import HIGH, OCCLUDERS, Place
from .ink import Ink, Spot, paint
from .people import Person
from .places import WIDE, panorama
from .world import PLAIN, World

CANVAS = 320  # height of the drawing before it is reduced: 2.5 times Market's 128
FILLED, FEET = 0.95, 0.975  # stature of a person and position of the feet, as shares of the height of a crop


def render(
    person: Person | None, camera: Camera, rng: Random | None = None, size: tuple[int, int] = (128, 64), *,
    yaw: float | None = None, phase: float | None = None, place: float | None = None, zoom: float = 1.0,
    shift: tuple[float, float] = (0, 0), occluder: str | None = None, passer: Person | None = None,
    ahead: Random | None = None, world: World = PLAIN,
) -> Image.Image:  # fmt: skip
    """One RGB picture of a person (None: of the empty place) by a camera; an infrared one has three equal channels.

    size is (height, width) in pixels. yaw (radians, 0 faces the camera), phase (of the step, radians) and place
    (position along the street, statures) are drawn from rng if None. shift (right and down, statures) and zoom are
    errors of a detector. occluder is a key of `furniture.OCCLUDERS`. passer is a person in front, half in the picture.
    ahead are the random numbers of what stands in front, rng if None. The world gives obstacle, details, copied and
    cameras.
    """
    rng = rng or Random(0)
    ahead = ahead or rng
    height = max(CANVAS, 2 * size[0])
    width, unit = round(height * size[1] / size[0]), FILLED * height
    foot = width / 2 + shift[0] * unit, FEET * height + shift[1] * unit
    place = rng.random() * WIDE if place is None else place
    canvas = _street(camera, (width, height), round(unit), place, foot[1])
    if person:
        yaw = view(camera, rng) if yaw is None else yaw
        phase = rng.uniform(0, 2 * pi) if phase is None else phase
        _walker(canvas, person, camera, foot, unit * zoom, yaw, phase, rng, world)
    if passer:
        near = foot[0] + ahead.choice((-1, 1)) * ahead.uniform(0.19, 0.25) * unit, foot[1] + 0.04 * unit
        large = unit * zoom * 1.04 * world.obstacle
        turn, step = view(camera, ahead), ahead.uniform(0, 2 * pi)
        _walker(canvas, passer, camera, near, large, turn, step, ahead, world)
    if occluder:
        seen = infrared.surface if camera.lamp else None
        unit *= world.obstacle
        front = Place(canvas, unit, ahead, -foot[0] / unit, foot[1] / unit, seen)
        OCCLUDERS[occluder](front, ahead.uniform(-0.12, 0.12), -0.04)
    canvas = canvas.resize(size[::-1], Image.Resampling.BOX)
    return infrared.develop(canvas, camera.lamp, rng) if camera.lamp else develop(canvas, camera, rng, world.cameras)


def view(camera: Camera, rng: Random) -> float:
    """A random yaw from the views of this camera, in radians."""
    front, side, back = camera.views
    middle = rng.choices((0, pi / 2, -pi / 2, pi), (front, side / 2, side / 2, back))[0]
    return middle + rng.gauss(0, 0.35)


def _street(camera: Camera, size: tuple[int, int], unit: int, place: float, foot: float) -> Image.Image:
    scene = panorama(camera, unit)
    left, top = round(place % (WIDE - size[0] / unit) * unit), round(HIGH * unit - foot)
    top = max(0, min(top, scene.height - size[1]))
    return scene.crop((left, top, left + size[0], top + size[1]))


def _walker(
    canvas: Image.Image, person: Person, camera: Camera, foot: Spot, unit: float, yaw: float, phase: float, rng: Random,
    world: World,
) -> None:  # fmt: skip
    shade = _shadow(round(0.6 * unit), round(0.13 * unit))
    light, spectrum = camera.light, paint
    if camera.lamp:  # it is beside the lens
        light, spectrum = 0.0, partial(infrared.paint, copied=world.copied)
    corner = round(foot[0] - shade.width * (0.5 + 0.22 * light)), round(foot[1] - 0.6 * shade.height)
    canvas.paste((28, 28, 40), corner, shade)
    ink = Ink(canvas.size, foot, unit, yaw, camera.pitch, light, spectrum, world.details)
    pedestrian(ink, person, phase, rng.uniform(0.25, 0.5), rng.gauss(0, 0.25))
    figure, corner = ink.finished()
    canvas.paste(figure, corner, figure)


@lru_cache(maxsize=64)
def _shadow(width: int, height: int) -> Image.Image:
    shade = Image.new("L", (width, height))
    ImageDraw.Draw(shade).ellipse((0.15 * width, 0.2 * height, 0.85 * width, 0.8 * height), fill=130)
    return shade.filter(ImageFilter.GaussianBlur(0.1 * height))
