"""A drawn crowd on disk in the layouts of Market-1501 and DukeMTMC-reID: small, deterministic, and of no real person.

`toy` is a summer market square with six cameras, `toy-duke` a campus in the cold months with eight: other lights,
clothes, views and places, so that a model that has learnt one meets a new domain in the other. `render` draws one
picture of any `Person` before any `Camera`, at any size; `crowd` holds how.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from PIL import Image

from .crowd.cameras import NETWORKS, Camera
from .crowd.furniture import OCCLUDERS
from .crowd.people import ATTRIBUTES, PEOPLE, Person, population
from .crowd.picture import render, view
from .crowd.places import WIDE

__all__ = ["ATTRIBUTES", "NETWORKS", "Camera", "Person", "draw", "identities", "is_current", "population", "render"]

VERSION = 2  # of the drawing: raised when a picture changes, so that a crowd on disk is drawn again

# How hard the crowd is, with people.PALETTE and DIFFERENCES, cameras.CAST and FLICKER, places.DISTANCE and SHADE: so
# that a colour histogram does several times better than chance, and a small network trained for a minute far better
# than the histogram, but not perfectly.
CROP = 0.8  # size of a detector's errors: 0 centres every person, 2 often cuts heads and feet
OCCLUSION = 0.10  # share of pictures with a pole, a bush, a bicycle or a passer-by in front
TURN = 0.2  # standard deviation of the view within one walk past a camera, radians

TRAIN, TEST, QUERY = "bounding_box_train", "bounding_box_test", "query"
RECORD = "toy.json"  # says what drew the folder
THUMBS = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)  # Windows left a Thumbs.db in the real folders
JUNK, DISTRACTORS = 0.19, 0.14  # shares of Market-1501's test folder: 3,819 and 2,798 of 19,732 files
SPARSE = (2, 3, 3)  # images of the first training identities: Market too has some with fewer than four


def draw(folder: Path, network: str = "market", seed: int = 1, people: int = PEOPLE) -> None:
    """Draw a network's crowd into a folder, laid out and named as Market-1501 ("market") or DukeMTMC-reID ("duke").

    people is the number of identities, a little over half of them for training. The folder appears whole or not at all;
    one that holds another crowd is replaced, one that holds anything else raises FileExistsError. Same arguments, same
    bytes. Unlike the real DukeMTMC-reID, both networks have junk (-1) and distractors (0000) among the test pictures.
    Raises ValueError for an unknown network or fewer than 8 people.
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
        _fill(fresh, network, seed, people)
        _move(fresh, folder, Path(workshop) / "old")


def identities(network: str = "market", seed: int = 1, people: int = PEOPLE) -> dict[int, Person]:
    """Who wears what in the crowd that `draw` draws: identity (pid) -> Person, without junk and distractors."""
    crowd = population(people, seed)[network]
    shots = _shots(network, crowd, people, Random(f"{network} shots {seed}"))
    return {shot.pid: shot.person for shot in shots if shot.pid > 0}


def is_current(folder: Path, network: str = "market", seed: int = 1, people: int = PEOPLE) -> bool:
    """Whether a folder holds the crowd that `draw` would draw now."""
    try:
        return json.loads((Path(folder) / RECORD).read_text()) == _record(network, seed, people)
    except (OSError, ValueError):
        return False


def _record(network: str, seed: int, people: int) -> dict:
    return {"drawing": VERSION, "network": network, "seed": seed, "people": people}


def _fill(folder: Path, network: str, seed: int, people: int) -> None:
    for name in (TRAIN, TEST, QUERY):
        (folder / name).mkdir(parents=True)
        (folder / name / "Thumbs.db").write_bytes(THUMBS)
    crowd = population(people, seed)[network]
    for index, shot in enumerate(_shots(network, crowd, people, Random(f"{network} shots {seed}"))):
        picture = _picture(network, shot, crowd, Random(f"{network} picture {seed} {index}"))
        picture.save(folder / shot.folder / _name(network, shot, index), quality=90)
    (folder / RECORD).write_text(json.dumps(_record(network, seed, people)) + "\n")


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
class Sight:
    """One picture to draw: for which folder, of whom, by which camera, in what view and place."""

    folder: str
    pid: int
    camid: int
    person: Person | None
    yaw: float
    place: float


def _name(network: str, shot: Sight, index: int) -> str:
    pid = "-1" if shot.pid < 0 else f"{shot.pid:04d}"
    if network == "duke":
        return f"{pid}_c{shot.camid}_f{44158 + 60 * index:07d}.jpg"
    box = 0 if shot.folder == QUERY else 1 + index % 5  # Market's queries were boxed by hand: box 00
    return f"{pid}_c{shot.camid}s{1 + index % 6}_{451 + 25 * index:06d}_{box:02d}.jpg"


def _picture(network: str, shot: Sight, crowd: list[Person], rng: Random) -> Image.Image:
    size = (128, 64) if network == "market" else (rng.randrange(128, 152, 2), rng.randrange(56, 68, 2))
    shift, zoom = (rng.gauss(0, 0.03 * CROP), rng.gauss(0, 0.03 * CROP)), 1 + rng.gauss(0, 0.06 * CROP)
    if shot.pid < 0:  # a bad detection: a part of a body
        shift, zoom = rng.choice([(0.3, 0), (-0.3, 0), (0.1, 0.62), (-0.1, 0.7), (0, -0.6)]), rng.uniform(0.9, 1.5)
    front = rng.choice([*OCCLUDERS, "passer"]) if rng.random() < OCCLUSION else None
    hidden = {"passer": rng.choice(crowd)} if front == "passer" else {"occluder": front}
    yaw, place = rng.gauss(shot.yaw, TURN), rng.gauss(shot.place, 0.15)
    camera = NETWORKS[network][shot.camid - 1]
    return render(shot.person, camera, rng, size, yaw=yaw, place=place, zoom=zoom, shift=shift, **hidden)


def _shots(network: str, crowd: list[Person], people: int, rng: Random) -> Iterator[Sight]:
    """Every picture of a network: training, then queries and their matches, then strangers, then junk."""
    train = round(0.52 * people)
    pids = rng.sample(range(2, 1502 if network == "market" else 7141), people)
    yield from _training(network, list(zip(pids, crowd[:train])), rng)
    tested = list(_testing(network, list(zip(pids[train:], crowd[train:people])), rng))
    yield from tested
    gallery = sum(shot.folder == TEST for shot in tested) / (1 - JUNK - DISTRACTORS)
    for _ in range(round(DISTRACTORS * gallery / 3)):
        yield from _walk(network, TEST, 0, *_cameras(network, 1, rng), rng.choice(crowd[people:]), 3, rng)
    for _ in range(round(JUNK * gallery)):
        somebody = rng.choice(crowd) if rng.random() < 0.75 else None
        yield from _walk(network, TEST, -1, *_cameras(network, 1, rng), somebody, 1, rng)


def _training(network: str, people: list[tuple[int, Person]], rng: Random) -> Iterator[Sight]:
    for k, (pid, person) in enumerate(people):
        count = SPARSE[k] if k < len(SPARSE) else rng.randint(11, 17)
        cameras = _cameras(network, 2 if k < len(SPARSE) else rng.choice((2, 3, 3, 4, 5)), rng)
        cuts = [0, *sorted(rng.sample(range(1, count), len(cameras) - 1)), count]
        for camid, start, stop in zip(cameras, cuts, cuts[1:]):
            yield from _walk(network, TRAIN, pid, camid, person, stop - start, rng)


def _testing(network: str, people: list[tuple[int, Person]], rng: Random) -> Iterator[Sight]:
    """Two cameras or more for each person; the first picture of each is a query, the others are in the gallery."""
    for pid, person in people:
        for camid in _cameras(network, rng.choice((2, 2, 3, 3, 4)), rng):
            first, *others = _walk(network, TEST, pid, camid, person, rng.randint(2, 5), rng)
            yield replace(first, folder=QUERY)
            yield from others


def _cameras(network: str, count: int, rng: Random) -> list[int]:
    return sorted(rng.sample(range(1, len(NETWORKS[network]) + 1), count))


def _walk(
    network: str, folder: str, pid: int, camid: int, person: Person | None, count: int, rng: Random
) -> list[Sight]:
    """The pictures of one walk past one camera: much the same view and place."""
    yaw, place = view(NETWORKS[network][camid - 1], rng), rng.uniform(0, WIDE)
    return [Sight(folder, pid, camid, person, yaw, place) for _ in range(count)]
