"""Indoor places: walls and furniture of rooms, drawn like the outdoor places."""

import numpy as np

from .furniture import HIGH, Place, Prop, Wall, tone
from .ink import RGB

WOOD, STEEL = (176, 132, 84), (132, 138, 150)


def _door(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, paint)
    p.box(start, horizon, stop, horizon + 0.06, tone(paint, 0.7))
    for x in np.arange(start + 0.4, stop, 1.4):
        p.box(x, horizon, x + 0.56, 1.28, tone(WOOD, 0.7))
        p.box(x + 0.03, horizon, x + 0.53, 1.25, WOOD)
        p.disc(x + 0.46, 0.86, 0.025, (56, 60, 66))
        p.box(x + 0.72, 0.9, x + 1.08, 1.16, (232, 232, 226))
        p.box(x + 0.75, 0.93, x + 1.05, 1.13, p.rng.choice([(60, 100, 160), (196, 60, 54), (78, 112, 60)]))


def _lockers(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 0.6))
    for x in np.arange(start, stop, 0.26):
        for y in (horizon, horizon + 0.42):
            p.box(x + 0.01, y + 0.02, x + 0.25, y + 0.40, tone(paint, p.rng.uniform(0.92, 1.08)))
            p.box(x + 0.08, y + 0.32, x + 0.18, y + 0.34, tone(paint, 0.6))
            p.disc(x + 0.21, y + 0.2, 0.014, (56, 60, 66))


def _shelves(p: Place, start: float, stop: float, horizon: float, paint: RGB) -> None:
    p.box(start, horizon, stop, HIGH, tone(paint, 0.6))
    for y in np.arange(horizon + 0.02, HIGH, 0.22):
        x = start + 0.02
        while x < stop - 0.05:
            wide = p.rng.uniform(0.025, 0.07)
            spine = p.rng.choice([(196, 60, 54), (60, 100, 160), (78, 112, 60), (232, 232, 226), (214, 198, 160)])
            p.box(x, y, x + wide, y + p.rng.uniform(0.12, 0.18), spine)
            x += wide + 0.005
        p.box(start, y - 0.025, stop, y, paint)


def _chair(p: Place, x: float, y: float) -> None:
    for leg in (0.02, 0.3):
        p.line([(x + leg, y), (x + leg, y + 0.26)], 0.02, STEEL)
    p.box(x, y + 0.24, x + 0.33, y + 0.28, (60, 100, 160), 0.01)
    p.box(x + 0.02, y + 0.34, x + 0.31, y + 0.54, (60, 100, 160), 0.03)


def _cabinet(p: Place, x: float, y: float) -> None:
    p.box(x, y, x + 0.4, y + 0.44, STEEL, 0.01)
    for drawer in (0.03, 0.17, 0.31):
        p.box(x + 0.02, y + drawer, x + 0.38, y + drawer + 0.11, tone(STEEL, 1.12))
        p.box(x + 0.15, y + drawer + 0.05, x + 0.25, y + drawer + 0.065, (56, 60, 66))


WALLS: dict[str, tuple[Wall, RGB]] = {
    "door": (_door, (206, 204, 190)), "lockers": (_lockers, (120, 146, 160)), "shelves": (_shelves, (150, 110, 72)),
}  # fmt: skip
PROPS: dict[str, Prop] = {"chair": _chair, "cabinet": _cabinet}
