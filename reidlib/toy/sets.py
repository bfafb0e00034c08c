"""Drawn crowds on disk, laid out as Market-1501, DukeMTMC-reID or SYSU-MM01: small, deterministic, no real person.

`toy` is a summer market square with six cameras, `toy-duke` a campus in the cold months with eight. Light, clothes,
views and places differ, so that each is a new domain for a model trained on the other. `toy-sysu` has four cameras
that record colour and two infrared ones. `render` draws one picture of any `Person` by any `Camera`, at any size; an
infrared picture of a `Clothed` person shows the materials of the clothes.
"""

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from . import sysu
from .cameras import NETWORKS
from .people import PEOPLE, Person, population
from .sights import Sight, snapshot, walk
from .world import PLAIN, QUERY, TEST, TRAIN, World

SIZES = {"market": PEOPLE, "duke": PEOPLE, "sysu": 100}  # identities
VERSION = 2  # of the drawing: raise it when a picture changes, so that crowds on disk are drawn again

RECORD = "toy.json"  # the version and the arguments that drew the folder, and how many images each sub-folder got
THUMBS = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)  # the real folders contain a Thumbs.db of Windows
JUNK, DISTRACTORS = 0.19, 0.14  # shares of Market-1501's test folder: 3,819 and 2,798 of 19,732 files
SPARSE = (2, 3, 3)  # images of the first training identities: Market, too, has some with fewer than four


def draw(folder: Path, network: str = "market", seed: int = 1, people: int | None = None, world: World = PLAIN) -> None:
    """Draw a network's crowd into a folder, laid out as Market-1501 (market), DukeMTMC-reID (duke) or SYSU-MM01 (sysu).

    people is the number of identities, more than half of them for training; None takes that of `SIZES`. world says how
    hard the crowd is. The folder appears whole or not at all. An older crowd in its place is replaced. The same
    arguments give the same bytes. Unlike the real DukeMTMC-reID, "duke" has junk (-1) and distractors (0000) among the
    test pictures; unlike the real SYSU-MM01, "sysu" has no exp/rand_perm_cam.mat. Raises ValueError for an unknown
    network, fewer than 8 people, or a knob that the network does not have, FileExistsError if the folder holds anything
    but a drawn crowd.
    """
    folder = Path(folder)
    if network not in NETWORKS:
        raise ValueError(f"no toy network {network!r}; choose one of {', '.join(NETWORKS)}")
    people = SIZES[network] if people is None else people
    if people < 8:
        raise ValueError(f"people={people}: a crowd needs at least 8 identities")
    world.check(network, any(camera.lamp for camera in NETWORKS[network]))
    if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).exists():
        raise FileExistsError(f"{folder} exists and holds no drawn crowd; remove it, or draw elsewhere")
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = _disk_number(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workshop:
        fresh = Path(workshop) / "fresh"
        _fill(fresh, network, seed, people, world)
        _move(fresh, folder, before, Path(workshop) / "old")


def identities(
    network: str = "market", seed: int = 1, people: int | None = None, world: World = PLAIN
) -> dict[int, Person]:
    """The people of the crowd that `draw` draws: pid -> Person, without junk and distractors."""
    people = SIZES[network] if people is None else people
    crowd = population(people, seed, world)[network]
    shots = _shots(network, crowd, people, Random(f"{network} shots {seed}"))
    return {shot.pid: shot.person for shot in shots if shot.pid > 0 and shot.person}


def is_current(
    folder: Path, network: str = "market", seed: int = 1, people: int | None = None, world: World = PLAIN
) -> bool:
    """Whether a folder holds the crowd that `draw` would draw now."""
    people = SIZES.get(network) if people is None else people
    try:
        record = json.loads((Path(folder) / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    counted = isinstance(record, dict) and isinstance(record.pop("images", None), dict)
    return counted and record == _record(network, seed, people, world)


def drawn_counts(folder: Path) -> dict[str, int]:
    """How many images were drawn into each sub-folder of a crowd; nothing if the folder holds no drawn crowd."""
    record = Path(folder) / RECORD
    return json.loads(record.read_text("utf-8")).get("images", {}) if record.is_file() else {}


def drawn_world(folder: Path) -> tuple[str, str] | None:
    """The network and the world, in words, of a drawn crowd; None if the folder holds no drawn crowd."""
    record = Path(folder) / RECORD
    known = json.loads(record.read_text("utf-8")) if record.is_file() else None
    return (known["network"], known.get("world", "")) if known else None


def _record(network: str, seed: int, people: int | None, world: World) -> dict[str, str | int | None]:
    changed = {"world": str(world)} if str(world) else {}
    return {"drawing": VERSION, "network": network, "seed": seed, "people": people, **changed}


def _fill(folder: Path, network: str, seed: int, people: int, world: World) -> None:
    for name, content in _extras(network, people, Random(f"{network} shots {seed}")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    crowd = population(people, seed, world)[network]
    images: Counter[str] = Counter()
    shots = list(_shots(network, crowd, people, Random(f"{network} shots {seed}")))
    for shot, index, copy in _taken(shots, f"{network} label {seed}", world):
        picture = snapshot(network, shot, crowd, Random(f"{network} picture {seed} {index}{copy * '+'}"), world)
        (folder / shot.folder).mkdir(parents=True, exist_ok=True)
        picture.save(folder / shot.folder / _name(network, shot, index, copy), quality=90)
        images[shot.folder.split("/")[0]] += 1
    (folder / RECORD).write_text(json.dumps(_record(network, seed, people, world) | {"images": images}) + "\n", "utf-8")


def _taken(shots: list[Sight], seed: str, world: World) -> Iterator[tuple[Sight, int, int]]:
    """The sights that are drawn, with their places in `shots` and a number that counts the pictures of one sight.

    A training sight can have several pictures or none, and a picture can carry the identity of somebody else.
    """
    pids = sorted({shot.pid for shot in shots if shot.folder == TRAIN})
    seen: Counter[int] = Counter()
    for index, shot in enumerate(shots):
        if shot.folder != TRAIN:
            yield shot, index, 0
            continue
        before, seen[shot.pid] = seen[shot.pid], seen[shot.pid] + 1
        for copy in range(math.ceil((before + 1) * world.images) - math.ceil(before * world.images)):
            rng = Random(f"{seed} {index}{copy * '+'}")
            wrong = rng.random() < world.wrong_labels
            pid = rng.choice([pid for pid in pids if pid != shot.pid]) if wrong else shot.pid
            yield replace(shot, pid=pid), index, copy


def _extras(network: str, people: int, rng: Random) -> dict[str, bytes]:
    """The files beside the pictures: name in the folder -> content."""
    if network == "sysu":
        return sysu.lists(people, rng)
    return {f"{name}/Thumbs.db": THUMBS for name in (TRAIN, TEST, QUERY)}


def _disk_number(folder: Path) -> int | None:
    return folder.stat().st_ino if folder.exists() else None


def _move(fresh: Path, folder: Path, before: int | None, old: Path) -> None:
    """Put a finished folder in the place of the one numbered `before`.

    The same crowd that another process has put there meanwhile is left alone: somebody may be reading its files.
    """
    record, there = (fresh / RECORD).read_bytes(), folder / RECORD
    try:
        if folder.exists():
            if _disk_number(folder) != before and there.read_bytes() == record:
                return
            os.rename(folder, old)
        os.rename(fresh, folder)
    except OSError:
        if not there.exists() or there.read_bytes() != record:
            raise


def _name(network: str, shot: Sight, index: int, copy: int = 0) -> str:
    if network == "sysu":
        return f"{shot.number:04d}.jpg"
    pid = "-1" if shot.pid < 0 else f"{shot.pid:04d}"
    if network == "duke":
        return f"{pid}_c{shot.camid}_f{44158 + 60 * index + copy:07d}.jpg"
    box = 0 if shot.folder == QUERY else 1 + index % 5  # Market's queries were boxed by hand: box 00
    return f"{pid}_c{shot.camid}s{1 + index % 6}_{451 + 25 * index + copy:06d}_{box:02d}.jpg"


def _shots(network: str, crowd: list[Person], people: int, rng: Random) -> Iterator[Sight]:
    """Every picture of a network. market, duke: training, queries and their matches, distractors, then junk."""
    if network == "sysu":
        yield from sysu.shots(crowd, people, rng)
        return
    train = round(0.52 * people)
    pids = rng.sample(range(2, 1502 if network == "market" else 7141), people)
    yield from _training(network, list(zip(pids, crowd[:train])), rng)
    tested = list(_testing(network, list(zip(pids[train:], crowd[train:people])), rng))
    yield from tested
    gallery = sum(shot.folder == TEST for shot in tested) / (1 - JUNK - DISTRACTORS)
    for _ in range(round(DISTRACTORS * gallery / 3)):
        (camid,) = _cameras(network, 1, rng)
        yield from walk(network, TEST, 0, camid, rng.choice(crowd[people:]), 3, rng)
    for _ in range(round(JUNK * gallery)):
        somebody = rng.choice(crowd) if rng.random() < 0.75 else None
        (camid,) = _cameras(network, 1, rng)
        yield from walk(network, TEST, -1, camid, somebody, 1, rng)


def _training(network: str, people: list[tuple[int, Person]], rng: Random) -> Iterator[Sight]:
    for k, (pid, person) in enumerate(people):
        count = SPARSE[k] if k < len(SPARSE) else rng.randint(11, 17)
        cameras = _cameras(network, 2 if k < len(SPARSE) else rng.choice((2, 3, 3, 4, 5)), rng)
        cuts = [0, *sorted(rng.sample(range(1, count), len(cameras) - 1)), count]
        for camid, start, stop in zip(cameras, cuts, cuts[1:]):
            yield from walk(network, TRAIN, pid, camid, person, stop - start, rng)


def _testing(network: str, people: list[tuple[int, Person]], rng: Random) -> Iterator[Sight]:
    """Two cameras or more for each person; the first picture of each is a query, the others are in the gallery."""
    for pid, person in people:
        for camid in _cameras(network, rng.choice((2, 2, 3, 3, 4)), rng):
            first, *others = walk(network, TEST, pid, camid, person, rng.randint(2, 5), rng)
            yield replace(first, folder=QUERY)
            yield from others


def _cameras(network: str, count: int, rng: Random) -> list[int]:
    return sorted(rng.sample(range(1, len(NETWORKS[network]) + 1), count))
