"""SYSU-MM01's layout of the crowd: who is seen by which camera by day and in the dark, and the lists of identities."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from .people import Person
from .sights import Sight, walk

# The real set has 296, 99 and 96 of 491 identities; a toy needs a larger share of them to test on.
VAL, TEST = 0.16, 0.35
INDOOR, OUTDOOR = (1, 2, 3), (4, 5, 6)
INSIDE = 0.6  # share of people who are seen indoors too: 56 of the 96 test identities
MISSED = 0.1  # share of those whom one of the six cameras missed
WALK = 5  # pictures of one walk past a camera, about


def parts(people: int, rng: Random) -> dict[str, list[int]]:
    """The identities (pids) for training, validation and testing; training and validation are trained on together."""
    pids = rng.sample(range(1, 534), people)  # the real identities lie between 1 and 533
    val, test = round(VAL * people), round(TEST * people)
    return {"train": pids[: -val - test], "val": pids[-val - test : -test], "test": pids[-test:]}


def lists(people: int, rng: Random) -> dict[str, bytes]:
    """Name and content of the files in exp/, one line of integers each; rng as `shots` gets it."""
    known = parts(people, rng)
    known["available"] = [pid for pids in known.values() for pid in pids]
    return {f"exp/{part}_id.txt": f"{','.join(map(str, sorted(pids)))}\n".encode() for part, pids in known.items()}


def shots(crowd: list[Person], people: int, rng: Random) -> Iterator[Sight]:
    """Every picture: of each identity 5 to 8 a camera for training, 10 to 12 for the ten of multi-shot testing."""
    train, val, test = parts(people, rng).values()
    for pid, person in zip(train + val + test, crowd):
        fewest, most = (10, 12) if pid in test else (5, 8)
        for camid in _cameras(rng):
            yield from _numbered(pid, camid, person, rng.randint(fewest, most), rng)


def _cameras(rng: Random) -> tuple[int, ...]:
    """Who comes inside is seen by all cameras, or all but one: always in colour and in the dark."""
    if rng.random() > INSIDE:
        return OUTDOOR
    missed = rng.choice(INDOOR + OUTDOOR) if rng.random() < MISSED else None
    return tuple(camid for camid in INDOOR + OUTDOOR if camid != missed)


def _numbered(pid: int, camid: int, person: Person, count: int, rng: Random) -> Iterator[Sight]:
    """The pictures of one person by one camera, of walk after walk, numbered from 1."""
    folder, number = f"cam{camid}/{pid:04d}", 0
    while number < count:
        for shot in walk("sysu", folder, pid, camid, person, min(WALK, count - number), rng):
            number += 1
            yield replace(shot, number=number)
