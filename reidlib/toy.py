"""A drawn crowd on disk in the layouts of Market-1501 and DukeMTMC-reID: small, deterministic, and of no real person.

`toy` is a summer market square with six cameras, `toy-duke` a campus in the cold months with eight: other lights,
clothes, views and places, so that a model that has learnt one meets a new domain in the other.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import pi
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from .crowd.body import pedestrian
from .crowd.cameras import NETWORKS, Camera, develop
from .crowd.ink import Ink
from .crowd.people import Person, population
from .crowd.places import HIGH, OCCLUDERS, WIDE, Place, panorama

VERSION = 1  # of the drawing: a crowd on disk made by another version is drawn again

# How hard the crowd is. Chosen so that a colour histogram does several times better than chance and a small network
# trained for a minute does far better than the histogram, yet not perfectly.
CROP = 1.0  # size of a detector's errors: 0 centres every person, 2 often cuts heads and feet
OCCLUSION = 0.12  # share of pictures with a pole, a bush, a bicycle or a passer-by in front
PEOPLE = 126  # identities: a little over half train, the others are queried

LAYOUT = {"train": "bounding_box_train", "test": "bounding_box_test", "query": "query"}
RECORD = "toy.json"  # says what drew the folder
THUMBS = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)  # Windows leaves a Thumbs.db in the real folders too
CANVAS, FILLED, FEET = 320, 0.95, 0.975  # pictures are drawn 2.5 times too large; a person's share of the height
QUALITY = 90  # of the JPEG files
JUNK, DISTRACTORS = 0.19, 0.14  # shares of Market-1501's test folder: 3,819 and 2,798 of 19,732 files


def render(
    person: Person | None, camera: Camera, rng: Random | None = None, size: tuple[int, int] = (128, 64), *,
    yaw: float | None = None, phase: float | None = None, place: float | None = None, shift: tuple[float, float] = (0, 0),
    zoom: float = 1.0, occluder: str | None = None, passer: Person | None = None,
) -> Image.Image:  # fmt: skip
    """One picture of a person (None: of the empty place) as a camera takes it.

    size is (height, width) in pixels. yaw (radians, 0 faces the camera), phase (of the step, radians) and place (along
    the street, statures) are drawn from rng where not given. shift (right and down, statures) and zoom are a detector's
    errors; occluder is a key of `places.OCCLUDERS`; passer walks by in front, half out of the picture.
    """
    rng = rng or Random(0)
    height = max(CANVAS, 2 * size[0])
    width, unit = round(height * size[1] / size[0]), FILLED * height
    foot = width / 2 + shift[0] * unit, FEET * height + shift[1] * unit
    canvas = _street(camera, (width, height), round(unit), rng.random() * WIDE if place is None else place, foot[1])
    if person:
        phase = rng.uniform(0, 2 * pi) if phase is None else phase
        _walker(canvas, person, camera, foot, unit * zoom, view(camera, rng) if yaw is None else yaw, phase, rng)
    if passer:
        near = foot[0] + rng.choice((-1, 1)) * rng.uniform(0.19, 0.25) * unit, foot[1] + 0.04 * unit
        _walker(canvas, passer, camera, near, unit * zoom * 1.04, view(camera, rng), rng.uniform(0, 2 * pi), rng)
    if occluder:
        front = Place(canvas, unit, rng, -foot[0] / unit, foot[1] / unit)
        OCCLUDERS[occluder](front, rng.uniform(-0.12, 0.12) - (0.45 if occluder == "bicycle" else 0), -0.04)
    return develop(canvas.resize(size[::-1], Image.Resampling.BOX), camera, rng)


def view(camera: Camera, rng: Random) -> float:
    """A yaw such as this camera sees, radians."""
    front, side, back = camera.views
    middle = rng.choices((0, pi / 2, -pi / 2, pi), (front, side / 2, side / 2, back))[0]
    return middle + rng.gauss(0, 0.35)


def _street(camera: Camera, size: tuple[int, int], unit: int, place: float, foot: float) -> Image.Image:
    left, top = round(place % (WIDE - size[0] / unit) * unit), round(HIGH * unit - foot)
    return panorama(camera, unit).crop((left, top, left + size[0], top + size[1]))


def _walker(canvas, person: Person, camera: Camera, foot, unit: float, yaw: float, phase: float, rng: Random) -> None:
    shade = _shadow(round(0.6 * unit), round(0.13 * unit))
    corner = round(foot[0] - shade.width * (0.5 + 0.22 * camera.light)), round(foot[1] - 0.6 * shade.height)
    canvas.paste((28, 28, 40), corner, shade)
    ink = Ink(canvas.size, foot, unit, yaw, camera.pitch, camera.light)
    pedestrian(ink, person, phase, rng.uniform(0.25, 0.5), rng.gauss(0, 0.25))
    figure, corner = ink.finished()
    canvas.paste(figure, corner, figure)


@lru_cache(maxsize=64)
def _shadow(width: int, height: int) -> Image.Image:
    shade = Image.new("L", (width, height))
    ImageDraw.Draw(shade).ellipse((0.15 * width, 0.2 * height, 0.85 * width, 0.8 * height), fill=130)
    return shade.filter(ImageFilter.GaussianBlur(0.1 * height))


def draw(folder: Path, network: str = "market", seed: int = 1, people: int = PEOPLE) -> None:
    """Draw a network's crowd into a folder: train, test and query pictures named as Market-1501 or DukeMTMC-reID name them.

    people is the number of identities, a little over half of them for training. The folder appears whole or not at all;
    one that holds another crowd is replaced, one that holds anything else raises FileExistsError. Same arguments, same
    bytes. Raises ValueError for an unknown network or fewer than 8 people.
    """
    folder = Path(folder)
    if network not in NETWORKS:
        raise ValueError(f"no toy network {network!r}; choose one of {', '.join(NETWORKS)}")
    if people < 8:
        raise ValueError(f"people={people}: a crowd needs at least 8 identities")
    if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).exists():
        raise FileExistsError(f"{folder} exists and holds no drawn crowd; remove it, or draw elsewhere")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workshop:
        fresh = Path(workshop) / "fresh"
        for name in LAYOUT.values():
            (fresh / name).mkdir(parents=True)
            (fresh / name / "Thumbs.db").write_bytes(THUMBS)
        for path, picture in _pictures(network, seed, people):
            picture.save(fresh / path, quality=QUALITY)
        (fresh / RECORD).write_text(json.dumps(_record(network, seed, people)) + "\n")
        _move(fresh, folder, Path(workshop) / "old")


def is_current(folder: Path, network: str = "market", seed: int = 1, people: int = PEOPLE) -> bool:
    """Whether a folder holds the crowd that `draw` would draw now."""
    try:
        return json.loads((Path(folder) / RECORD).read_text()) == _record(network, seed, people)
    except (OSError, ValueError):
        return False


def _record(network: str, seed: int, people: int) -> dict:
    return {"drawing": VERSION, "network": network, "seed": seed, "people": people}


def _move(fresh: Path, folder: Path, old: Path) -> None:
    """Put a finished folder in its place; where another process was quicker with the same crowd, leave that one."""
    record = (fresh / RECORD).read_bytes()
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(fresh, folder)
    except OSError:
        if not (folder / RECORD).exists() or (folder / RECORD).read_bytes() != record:
            raise


@dataclass(frozen=True)
class Shot:
    """One picture to draw: where it goes, and what is in it."""

    folder: str
    pid: int
    camid: int
    person: Person | None
    yaw: float = 0.0
    place: float = 0.0
    spoilt: bool = False  # a bad detection: a part of a body


def _pictures(network: str, seed: int, people: int) -> Iterator[tuple[str, Image.Image]]:
    cameras, crowd = NETWORKS[network], population(people, seed)[network]
    for index, shot in enumerate(_shots(network, seed, people, crowd)):
        rng = Random(f"{network} picture {seed} {index}")
        yield (
            f"{shot.folder}/{_name(network, shot, index)}",
            _picture(shot, cameras[shot.camid - 1], crowd, network, rng),
        )


def _name(network: str, shot: Shot, index: int) -> str:
    pid = "-1" if shot.pid < 0 else f"{shot.pid:04d}"
    if network == "duke":
        return f"{pid}_c{shot.camid}_f{44158 + 60 * index:07d}.jpg"
    box = 0 if shot.folder == LAYOUT["query"] else 1 + index % 5  # Market draws its queries by hand: box 00
    return f"{pid}_c{shot.camid}s{1 + index % 6}_{451 + 25 * index:06d}_{box:02d}.jpg"


def _picture(shot: Shot, camera: Camera, crowd: list[Person], network: str, rng: Random) -> Image.Image:
    size = (128, 64) if network == "market" else (rng.randrange(128, 152, 2), rng.randrange(56, 68, 2))
    shift, zoom = (rng.gauss(0, 0.03 * CROP), rng.gauss(0, 0.03 * CROP)), 1 + rng.gauss(0, 0.06 * CROP)
    if shot.spoilt:
        shift = rng.choice([(0.3, 0.0), (-0.3, 0.0), (0.1, 0.62), (-0.1, 0.7), (0.0, -0.6)])
        zoom = rng.uniform(0.9, 1.5)
    front, passer = None, None
    if rng.random() < OCCLUSION:
        front = rng.choice([*OCCLUDERS, "passer"])
        passer, front = (rng.choice(crowd), None) if front == "passer" else (None, front)
    return render(shot.person, camera, rng, size, yaw=shot.yaw + rng.gauss(0, 0.2), place=shot.place + rng.gauss(0, 0.15),
                  shift=shift, zoom=zoom, occluder=front, passer=passer)  # fmt: skip


def _shots(network: str, seed: int, people: int, crowd: list[Person]) -> Iterator[Shot]:
    """Every picture of a network: who, seen by which camera, for which folder."""
    rng = Random(f"{network} shots {seed}")
    train = round(0.52 * people)
    pids = rng.sample(range(2, 1502 if network == "market" else 7141), people)
    for k in range(train):
        count = (2, 3, 3)[k] if k < 3 else rng.randint(11, 17)  # Market too has a few identities below four images
        cameras = _cameras(network, rng, 2 if k < 3 else rng.choice((2, 3, 3, 4, 5)))
        for camid, number in zip(cameras, _shares(count, len(cameras), rng)):
            yield from _tracklet(network, LAYOUT["train"], pids[k], camid, crowd[k], number, rng)
    shown = 0
    for k in range(train, people):
        for camid in _cameras(network, rng, rng.choice((2, 2, 3, 3, 4))):
            first, *others = _tracklet(network, LAYOUT["test"], pids[k], camid, crowd[k], rng.randint(2, 5), rng)
            yield replace(first, folder=LAYOUT["query"])
            yield from others
            shown += len(others)
    yield from _strangers(network, round(shown * DISTRACTORS / (1 - JUNK - DISTRACTORS)), crowd[people:], rng)
    for _ in range(round(shown * JUNK / (1 - JUNK - DISTRACTORS))):
        somebody, camid = rng.choice([*crowd, None, None]), rng.randint(1, len(NETWORKS[network]))
        somebody = None if rng.random() < 0.25 else somebody
        yield replace(_tracklet(network, LAYOUT["test"], -1, camid, somebody, 1, rng)[0], spoilt=True)


def _strangers(network: str, count: int, crowd: list[Person], rng: Random) -> Iterator[Shot]:
    while count > 0:
        number, camid = min(count, rng.randint(1, 4)), rng.randint(1, len(NETWORKS[network]))
        yield from _tracklet(network, LAYOUT["test"], 0, camid, rng.choice(crowd), number, rng)
        count -= number


def _cameras(network: str, rng: Random, count: int) -> list[int]:
    return sorted(rng.sample(range(1, len(NETWORKS[network]) + 1), count))


def _shares(count: int, parts: int, rng: Random) -> list[int]:
    cuts = sorted(rng.sample(range(1, count), parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, count])]


def _tracklet(
    network: str, folder: str, pid: int, camid: int, person: Person | None, count: int, rng: Random
) -> list[Shot]:
    """The pictures that one walk past one camera gives: much the same view and place."""
    yaw, place = view(NETWORKS[network][camid - 1], rng), rng.uniform(0, WIDE)
    return [Shot(folder, pid, camid, person, yaw, place) for _ in range(count)]
