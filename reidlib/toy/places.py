"""The places in front of the toy cameras: a floor, walls side by side, and street furniture.

A place is drawn once for each camera as a wide panorama, from which every picture takes a crop.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from . import infrared, rooms
from .cameras import Camera
from .furniture import HIGH, PROPS, Place, Wall, tone
from .ink import RGB

WIDE, LOW = 8.0, 0.35  # width of a panorama, and its depth below the feet, in statures
AIR, DISTANCE = (226, 226, 222), 0.4  # colour that a place fades into, and how far: at 1 all places look the same
SHADE = 0.55  # depth of the shadows on a place: deeper ones make the pictures of one camera less alike


def _stalls(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 0.55))
    for x in np.arange(start, stop, 1.2):
        cloth = p.rng.choice([(196, 60, 54), (60, 120, 90), (222, 176, 70), (70, 100, 160)])
        p.box(x + 0.08, horizon + 0.02, x + 1.08, horizon + 0.18, tone(paint, 1.1))
        for k in range(10):
            fruit = p.rng.choice([(214, 70, 50), (236, 190, 70), (96, 150, 60)])
            p.disc(x + 0.14 + 0.1 * k, horizon + 0.19, 0.055, fruit)
        for k in range(6):
            stripe = cloth if k % 2 else (236, 232, 222)
            p.box(x + k * 0.18, 0.98, x + 0.18 + k * 0.18, HIGH, stripe)
            p.disc(x + 0.09 + k * 0.18, 0.98, 0.09, stripe, 0.05)


def _glass(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    for x in np.arange(start, stop, 0.5):
        p.box(x, horizon, x + 0.5, HIGH, tone(paint, p.rng.uniform(0.85, 1.15)))
        p.line([(x + 0.1, horizon), (x + 0.36, HIGH)], 0.05, tone(paint, 1.22))
        p.box(x, horizon, x + 0.03, HIGH, tone(paint, 0.5))
    p.box(start, horizon, stop, horizon + 0.07, tone(paint, 0.55))
    p.box(start, 1.02, stop, 1.05, tone(paint, 0.5))


def _hedge(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 0.7))
    p.leaves(start, horizon + 0.02, stop, HIGH, paint, round(180 * (stop - start)))


def _brick(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 1.25))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.07)):
        for x in np.arange(start - 0.09 * (row % 2), stop, 0.18):
            p.box(x, y, x + 0.168, y + 0.058, tone(paint, p.rng.uniform(0.86, 1.1)))


def _plaster(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, paint)
    p.box(start, horizon, stop, horizon + 0.12, tone(paint, 0.78))
    for x in np.arange(start + 0.2, stop, 0.9):
        p.box(x, 0.74, x + 0.40, 1.22, tone(paint, 1.15), 0.02)
        p.box(x + 0.03, 0.77, x + 0.37, 1.19, (84, 96, 108))
        p.box(x - 0.14, 0.74, x, 1.22, (92, 124, 116))


def _stone(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 0.8))
    for row, y in enumerate(np.arange(horizon, HIGH, 0.15)):
        for x in np.arange(start - 0.2 * (row % 2), stop, 0.4):
            p.box(x, y, x + 0.385, y + 0.138, tone(paint, p.rng.uniform(0.88, 1.08)), 0.015)
    for x in np.arange(start + 0.5, stop, 1.5):
        p.box(x, horizon, x + 0.44, 0.98, (62, 58, 58))
        p.disc(x + 0.22, 0.98, 0.22, (62, 58, 58))


def _trees(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, (176, 182, 188))
    p.leaves(start, horizon, stop, horizon + 0.2, tone(paint, 1.1), round(45 * (stop - start)))
    for x in np.arange(start + 0.1, stop, 0.42):
        p.line([(x, horizon), (x + p.rng.uniform(-0.1, 0.1), HIGH)], p.rng.uniform(0.04, 0.09), tone(paint, 0.55))
    p.leaves(start, 0.95, stop, HIGH, paint, round(70 * (stop - start)), 0.06)


def _cars(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, paint)
    for x in np.arange(start, stop, 1.5):
        body = p.rng.choice([(150, 40, 44), (196, 198, 202), (44, 62, 104), (58, 60, 64)])
        p.box(x + 0.36, horizon + 0.22, x + 1.10, horizon + 0.48, body, 0.12)
        p.box(x + 0.44, horizon + 0.26, x + 1.02, horizon + 0.43, (70, 84, 96), 0.06)
        p.box(x + 0.05, horizon + 0.02, x + 1.40, horizon + 0.28, body, 0.09)
        for wheel in (0.33, 1.12):
            p.disc(x + wheel, horizon + 0.03, 0.11, (34, 34, 38))
            p.disc(x + wheel, horizon + 0.03, 0.05, (150, 150, 154))


def _grid(p: Place, horizon: float, paint: RGB, across: float, slant: float = 0.35) -> None:
    """Slabs in perspective: rows widen towards the viewer, and joints fan out."""
    p.box(0, -LOW, WIDE, horizon, paint)
    joint, depth = tone(paint, 0.84), horizon + LOW
    for k in range(1, 9):
        p.line([(0, horizon - depth * (k / 9) ** 1.6), (WIDE, horizon - depth * (k / 9) ** 1.6)], 0.012, joint)
    for x in np.arange(-1, WIDE + 1, across):
        p.line([(x, horizon), (x + slant * (x - WIDE / 2) / WIDE, -LOW)], 0.012, joint)


def _asphalt(p: Place, horizon: float, paint: RGB) -> None:
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.012)
    p.box(0, horizon - 0.05, WIDE, horizon, tone(paint, 1.35))
    for x in np.arange(0, WIDE, 0.8):
        stripe = p.at(x, 0.06), p.at(x + 0.4, 0.06), p.at(x + 0.36, 0.1), p.at(x - 0.02, 0.1)
        p.pen.polygon(stripe, p.seen((222, 220, 208)))


def _grass(p: Place, horizon: float, paint: RGB) -> None:
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 900, 0.025)
    p.box(0, -0.12, WIDE, 0.10, (158, 152, 140))


def _path(p: Place, horizon: float, paint: RGB) -> None:
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, paint, 500, 0.015)
    p.leaves(0, horizon - 0.1, WIDE, horizon, (96, 128, 70), 260, 0.035)


def _cobbles(p: Place, horizon: float, paint: RGB) -> None:
    p.box(0, -LOW, WIDE, horizon, tone(paint, 0.72))
    for row, y in enumerate(np.arange(-LOW, horizon, 0.06)):
        for x in np.arange(-0.05 * (row % 2), WIDE, 0.1):
            p.disc(x, y + 0.03, 0.045, tone(paint, p.rng.uniform(0.86, 1.12)), 0.026)


def _steps(p: Place, horizon: float, paint: RGB) -> None:
    for y in np.arange(-LOW, horizon, 0.11):
        p.box(0, y, WIDE, y + 0.11, tone(paint, 1.04))
        p.box(0, y, WIDE, y + 0.05, tone(paint, 0.8))


def _snow(p: Place, horizon: float, paint: RGB) -> None:
    p.box(0, -LOW, WIDE, horizon, paint)
    p.leaves(0, -LOW, WIDE, horizon, tone(paint, 0.97), 160, 0.05)
    p.box(0, -0.1, WIDE, 0.07, (168, 172, 180))


# name: the function that draws it, and its colour.
WALLS: dict[str, tuple[Wall, RGB]] = {
    "stalls": (_stalls, (150, 92, 70)), "glass": (_glass, (132, 160, 172)), "hedge": (_hedge, (70, 112, 62)),
    "brick": (_brick, (152, 84, 66)), "plaster": (_plaster, (214, 198, 160)), "stone": (_stone, (160, 154, 144)),
    "trees": (_trees, (110, 100, 78)), "cars": (_cars, (136, 140, 146)), **rooms.WALLS,
}  # fmt: skip
FLOORS: dict[str, tuple[Callable[[Place, float, RGB], None], RGB]] = {
    "tiles": (partial(_grid, across=0.30), (186, 178, 166)), "slabs": (partial(_grid, across=0.55), (154, 156, 158)),
    "asphalt": (_asphalt, (118, 118, 122)), "grass": (_grass, (108, 120, 76)), "path": (_path, (186, 170, 140)),
    "cobbles": (_cobbles, (156, 146, 134)), "steps": (_steps, (172, 168, 160)), "snow": (_snow, (200, 204, 212)),
}  # fmt: skip
FURNITURE = {**PROPS, **rooms.PROPS}


@lru_cache(maxsize=16)
def panorama(camera: Camera, unit: int) -> Image.Image:
    """The whole place in front of a camera, without people; unit is pixels per stature."""
    image = Image.new("RGB", (round(WIDE * unit), round((HIGH + LOW) * unit)))
    place = Place(image, unit, Random(repr(camera)), seen=infrared.surface if camera.lamp else None)
    floor, paint = FLOORS[camera.floor]
    floor(place, camera.horizon, paint)
    part = WIDE / len(camera.walls)
    for k, wall in enumerate(camera.walls):
        front, paint = WALLS[wall]
        front(place, k * part, (k + 1) * part, camera.horizon, paint)
    for k, x in enumerate(np.arange(0.3, WIDE, 0.95)):
        FURNITURE[camera.props[k % len(camera.props)]](place, x + place.rng.uniform(0, 0.3), camera.horizon - 0.08)
    if camera.lamp:
        image = image.filter(ImageFilter.GaussianBlur(0.006 * unit))  # the people are in focus
        return infrared.dim(image, camera.lamp, place.at(0, camera.horizon)[1])
    air = Image.new("RGB", image.size, AIR)
    image = Image.blend(image, air, DISTANCE).filter(ImageFilter.GaussianBlur(0.004 * unit))
    return ImageChops.multiply(image, _sunshine(place.rng, image.size))


def _sunshine(rng: Random, size: tuple[int, int]) -> Image.Image:
    """Patches of sun and shade, so that the pictures of one camera differ in brightness."""
    columns, rows = round(2 * WIDE), 4
    light = bytes(round(255 - 255 * SHADE * rng.random()) for _ in range(columns * rows))
    spots = Image.frombytes("L", (columns, rows), light)
    return Image.merge("RGB", (spots.resize(size, Image.Resampling.BICUBIC),) * 3)
