"""One pedestrian: the pose of a walking body, and the parts that it is painted from.

A body is a few stacks of elliptic rings (torso, head, hair, skirt, bags) and chains of rounded limbs, painted from the
far side to the near one. Lengths are in statures, axes and angles as in `ink`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import cos, pi, sin, sqrt

from .ink import Cloth, Ink, Point, Ring
from .people import Person

Legs = dict[int, tuple[Point, Point, Point, Point]]  # by side: hip, knee, ankle, toe
Arms = dict[int, tuple[Point, Point, Point]]  # by side: shoulder, elbow, wrist
Part = tuple[float, Callable[[], None]]  # how near it is, and what paints it

BUILDS = {"slim": 0.96, "regular": 1.06, "broad": 1.18}  # widths only: a crop by a detector hides the height

# Rings (height, half width, half depth) of a body of regular build, from the ground up.
TORSO = [(0.47, 0.096, 0.070), (0.54, 0.094, 0.068), (0.61, 0.086, 0.060), (0.68, 0.096, 0.066), (0.75, 0.108, 0.068),
         (0.785, 0.108, 0.060), (0.808, 0.088, 0.050), (0.825, 0.058, 0.042), (0.838, 0.040, 0.036)]  # fmt: skip
COAT = [(0.30, 0.118, 0.098), (0.38, 0.108, 0.086), *[(y, w + 0.006, d + 0.008) for y, w, d in TORSO]]
SKIRT = [(0.29, 0.118, 0.100), (0.36, 0.108, 0.088), (0.44, 0.098, 0.076), (0.52, 0.088, 0.066)]
HIPS = [(0.43, 0.080, 0.062), (0.47, 0.092, 0.068), (0.52, 0.090, 0.066)]
PACK = [(0.53, 0.050, 0.03), (0.545, 0.074, 0.045), (0.62, 0.080, 0.055), (0.72, 0.078, 0.050), (0.78, 0.062, 0.038),
        (0.80, 0.040, 0.02)]  # fmt: skip
POUCH = [(0.40, 0.050, 0.035), (0.42, 0.066, 0.040), (0.49, 0.062, 0.036), (0.505, 0.050, 0.030)]
HEAD, CROWN = 0.912, 0.070  # height of the middle of the head, and its half width

# Radii of a trouser leg at the hip, the knee and, if the ankle is covered, the ankle.
LEGS = {"trousers": [0.060, 0.046, 0.038], "jeans": [0.055, 0.040, 0.029], "shorts": [0.058, 0.047], "skirt": []}
HATS = ("cap", "beanie")
CUTS = {"curls": (-0.6, 1.34), "bob": (-0.95, 1.14), "long": (-0.9, 1.08)}  # lower end of the hair, and its fullness


def ball(top: float = 1.0, bottom: float = -1.0, size: float = 1.0, y: float = HEAD, n: int = 9) -> list[Ring]:
    """Rings of a head-shaped ellipsoid between two heights, in units of its half height (1.22 times its half width)."""
    heights = [bottom + (top - bottom) * k / (n - 1) for k in range(n)]
    wide = [size * CROWN * sqrt(max(0.0, 1 - h * h)) for h in heights]
    return [(y + 1.22 * size * CROWN * h, w, w) for h, w in zip(heights, wide)]


def pedestrian(ink: Ink, person: Person, phase: float = 0.8, stride: float = 0.45, gaze: float = 0.0) -> None:
    """Paint a person on the sheet. phase: moment of the step; stride: its swing; gaze: turn of the head (radians)."""
    legs, arms, lift = walk(person, phase, stride)
    ink.foot = ink.foot[0], ink.foot[1] + lift * ink.unit
    parts = [*_legs(ink, person, legs), *_torso(ink, person), *_arms(ink, person, arms), *_bag(ink, person, arms)]
    parts += _head(ink, person, gaze)
    for _, draw in sorted(parts, key=lambda part: part[0]):
        draw()


def walk(person: Person, phase: float, stride: float) -> tuple[Legs, Arms, float]:
    """The joints of a step: legs and arms by side (-1 right, 1 left), and the height of the lower foot above ground."""
    wide = BUILDS[person.build]
    legs: Legs = {}
    arms: Arms = {}
    for side in (-1, 1):
        moment = phase + (pi if side > 0 else 0.0)
        thigh, bend = stride * sin(moment), 0.12 + 1.1 * stride * max(0.0, cos(moment))
        hip = (side * 0.048 * wide, 0.49, 0.0)
        knee = _swing(hip, 0.225, thigh)
        ankle = _swing(knee, 0.215, thigh - bend)
        toe = _swing(ankle, 0.075, thigh - bend + 1.35)
        legs[side] = hip, knee, ankle, toe
        reach, shoulder = -0.9 * stride * sin(moment), (side * 0.100 * wide, 0.782, 0.0)
        elbow = _swing(shoulder, 0.165, reach, side * 0.035 * wide)
        arms[side] = shoulder, elbow, _swing(elbow, 0.150, reach + 0.3 + 0.5 * max(0.0, reach), side * 0.006)
    return legs, arms, min(joint[1] for leg in legs.values() for joint in leg[2:]) - 0.018


def _swing(joint: Point, length: float, angle: float, out: float = 0.0) -> Point:
    return joint[0] + out, joint[1] - length * cos(angle), joint[2] + length * sin(angle)


def _scaled(rings: list[Ring], wide: float) -> list[Ring]:
    return [(y, w * wide, d * (1 + wide) / 2) for y, w, d in rings]


def _sized(rings: list[Ring], tall: float, wide: float) -> list[Ring]:
    """Rings made taller and wider about their middle."""
    middle = (rings[0][0] + rings[-1][0]) / 2
    return [(middle + tall * (y - middle) if tall != 1 else y, w * wide, d * wide) for y, w, d in rings]


def _legs(ink: Ink, person: Person, legs: Legs) -> Iterator[Part]:
    wide = BUILDS[person.build]
    radii = [radius * wide for radius in LEGS[person.bottom]]
    cloth = Cloth(person.bottom_colour, person.material("bottom"))
    skin, shoe = Cloth(person.skin, "skin"), Cloth(person.shoes, person.material("shoes"))
    for hip, knee, ankle, toe in legs.values():

        def foot(ankle: Point = ankle, toe: Point = toe) -> None:
            sole = [ink.details * radius for radius in (0.027, 0.030, 0.023)]
            ink.limb([_mix(ankle, toe, -0.25), _mix(ankle, toe, 0.45), toe], sole, shoe)

        def leg(hip: Point = hip, knee: Point = knee, ankle: Point = ankle) -> None:
            if len(radii) < 3:
                ink.limb([hip, knee, ankle], [0.05, 0.034, 0.023], skin)
            if radii:
                reach = [hip, knee, _mix(knee, ankle, 0.9)] if len(radii) == 3 else [hip, _mix(hip, knee, 0.92)]
                ink.limb(reach, radii, cloth)

        near = ink.depth(hip[0], (hip[2] + knee[2] + ankle[2]) / 3) - 1.0
        yield near, leg
        yield near + 0.001 * (toe[2] - ankle[2]) * cos(ink.yaw), foot  # in front of it if the toes point to the camera
    rings = _scaled(SKIRT if person.bottom == "skirt" else HIPS, wide)
    yield -0.5, lambda: ink.lathe(rings, cloth)


def _mix(a: Point, b: Point, t: float) -> Point:
    x, y, z = (p + t * (q - p) for p, q in zip(a, b))
    return x, y, z


def _torso(ink: Ink, person: Person) -> Iterator[Part]:
    wide, long = BUILDS[person.build], person.top == "coat"
    rings = _scaled(COAT if long else TORSO, wide)
    cloth, trim, skin = _top(person), Cloth(person.trim, person.material("trim")), Cloth(person.skin, "skin")

    def torso() -> None:
        ink.limb([(0, 0.80, 0.0), (0, 0.87, 0.012)], [0.034, 0.032], skin)
        ink.lathe(rings, cloth)
        if person.top == "jacket":
            ink.panel(rings[1:], -0.36, 0.36, trim)
        if person.top == "coat":
            ink.panel(rings[-4:], -0.5, 0.5, trim)
            ink.panel(rings[:-4], -0.06, 0.06, Cloth("black", "wool"))
        if person.top == "hoodie":
            ink.panel(rings[1:3], -0.6, 0.6, trim)
        if person.top in ("tee", "shirt"):
            ink.panel(rings[-2:], -0.7, 0.7, skin)
        if person.pattern == "logo":
            size = ink.details
            ink.panel(_sized(rings[3:5], size, 1), -0.42 * size, 0.42 * size, trim)
            ink.panel(_sized(rings[2:6], size, 1), pi - 0.5 * size, pi + 0.5 * size, trim)

    yield 0.0, torso
    if person.top == "hoodie":
        yield ink.depth(0, -0.06), lambda: ink.limb([(-0.05, 0.82, -0.05), (0.05, 0.82, -0.05)], [0.035, 0.035], cloth)


def _top(person: Person) -> Cloth:
    return Cloth(person.top_colour, person.material("top"), person.pattern, person.trim, person.material("thread"))


def _arms(ink: Ink, person: Person, arms: Arms) -> Iterator[Part]:
    wide = BUILDS[person.build] * (1.12 if person.top in ("coat", "jacket") else 1.0)
    cloth, skin = _top(person), Cloth(person.skin, "skin")
    for shoulder, elbow, wrist in arms.values():

        def arm(shoulder: Point = shoulder, elbow: Point = elbow, wrist: Point = wrist) -> None:
            ink.limb([elbow, wrist, _mix(elbow, wrist, 1.16)], [0.027, 0.021, 0.024], skin)
            if person.top == "tee":
                ink.limb([shoulder, elbow], [0.033, 0.028], skin)
                ink.limb([shoulder, _mix(shoulder, elbow, 0.66)], [0.035 * wide, 0.036 * wide], cloth)
            else:
                ink.limb([shoulder, elbow, wrist], [0.036 * wide, 0.034 * wide, 0.028 * wide], cloth)

        yield ink.depth(shoulder[0], (elbow[2] + wrist[2]) / 2) + 0.02, arm


def _bag(ink: Ink, person: Person, arms: Arms) -> Iterator[Part]:
    cloth, wide = Cloth(person.bag_colour, person.material("bag")), BUILDS[person.build]
    pouch = _sized(POUCH, ink.details, ink.details)
    chest = _scaled(TORSO, wide * 1.03)
    if person.bag == "backpack":
        yield ink.depth(0, -0.1), lambda: _backpack(ink, cloth)
        for start in (-0.95, 0.65):
            yield 0.005, partial(ink.panel, chest[3:7], start, start + 0.3, cloth)
    elif person.bag == "shoulder bag":
        hip, front = (0.118 * wide, 0.47, 0.02), 0.062 if cos(ink.yaw) > 0 else -0.062
        strap = [(-0.06 * wide, 0.825, 0), (0.0, 0.68, front), (0.09 * wide, 0.52, front)]
        yield 0.006, lambda: ink.limb(strap, [0.009] * 3, cloth)
        yield ink.depth(hip[0] + 0.02, hip[2]), lambda: ink.lathe(pouch, cloth, hip[0], hip[2])
    elif person.bag == "handbag":
        x, y, z = _mix(arms[-1][1], arms[-1][2], 1.15)
        rings = [(r + y - 0.56, w, d) for r, w, d in pouch]
        yield ink.depth(x - 0.02, z) + 0.03, lambda: ink.lathe(rings, cloth, x, z)
        yield ink.depth(x - 0.02, z) + 0.031, lambda: ink.limb([(x, y - 0.06, z), (x, y, z)], [0.012, 0.012], cloth)


def _backpack(ink: Ink, cloth: Cloth) -> None:
    pack = _sized(PACK, ink.details, ink.details)
    ink.lathe(pack, cloth, 0, -0.105)
    pocket = [(y * 0.45 + 0.31, w * 0.8, d) for y, w, d in pack[1:-1]]
    ink.panel(pocket, pi - 0.9, pi + 0.9, Cloth("grey", "nylon"), 0, -0.11)


def _head(ink: Ink, person: Person, gaze: float) -> Iterator[Part]:
    hair, skin, hat = Cloth(person.hair, "hair"), Cloth(person.skin, "skin"), Cloth(person.trim, person.material("hat"))
    body = ink.yaw

    def head() -> None:
        ink.turned(body + gaze)
        ink.lathe(ball(), skin, 0, 0.012)
        if person.cut != "bald":
            low, size = CUTS.get(person.cut, (0.05, 1.07))
            ink.panel(ball(low + 0.1, -0.75, 1.05), pi - 1.45, pi + 1.45, hair)
            ink.lathe(ball(1.0, low, size), hair, 0, -0.003)
            ink.panel(ball(0.5, -0.97, 1.0), -1.2, 1.2, skin, 0, 0.012)
        if person.cut in HATS:
            ink.lathe(ball(1.0, 0.22, 1.16), hat)
        if person.cut == "cap":
            ink.limb([(-0.03, HEAD + 0.036, 0.07), (0.03, HEAD + 0.036, 0.07)], [0.014, 0.014], hat)
        _face(ink)
        ink.turned(body)

    yield 0.03, head
    if person.cut == "long":
        rings = [(0.70, 0.050, 0.03), (0.73, 0.066, 0.04), (0.80, 0.070, 0.045), (0.90, 0.066, 0.05)]
        yield ink.depth(0, -0.045), lambda: ink.lathe(rings, hair, 0, -0.03)
    elif person.cut == "ponytail":
        tail = [(0, HEAD + 0.03, -0.07), (0, HEAD - 0.03, -0.10), (0, HEAD - 0.13, -0.085)]
        yield ink.depth(0, -0.1) + 0.035, lambda: ink.limb(tail, [0.022, 0.026, 0.012], hair)
    elif person.cut == "bun":
        yield ink.depth(0, -0.06) + 0.035, lambda: ink.lathe(ball(size=0.5, y=HEAD + 0.06), hair, 0, -0.055)


def _face(ink: Ink) -> None:
    for side in (-1, 1):
        eye = [(HEAD + h * 0.010, 0.060, 0.060) for h in (-0.3, 1.1)]
        ink.panel(eye, side * 0.40 - 0.10, side * 0.40 + 0.10, Cloth("black", "ink"), 0, 0.014)
    mouth = [(HEAD - 0.036 + h * 0.006, 0.052, 0.052) for h in (0, 1)]
    ink.panel(mouth, -0.26, 0.26, Cloth("auburn", "ink"), 0, 0.012)
