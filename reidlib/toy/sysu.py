"""The crowd in the layout of SYSU-MM01: which camera records whom, and the lists of identities."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from .people import Person
from .sights import Sight, walk

# The real set splits 491 identities into 296, 99 and 96; a toy needs a larger share for testing.
VAL, TEST = 0.16, 0.35
INDOOR, OUTDOOR = (1, 2, 3), (4, 5, 6)
INSIDE = 0.6  # share of people who are recorded indoors too: 56 of the 96 test identities
MISSED = 0.1  # share of these people whom one of the six cameras missed
WALK = 5  # largest number of pictures of one walk past a camera


def parts(people: int, rng: Random) -> dict[str, list[int]]:
    """The identities (pids) for training, validation and testing; models train on the first two together."""
    pids = rng.sample(range(1, 534), people)  # the real identities lie between 1 and 533
    val, test = round(VAL * people), round(TEST * people)
    return {"train": pids[: -val - test], "val": pids[-val - test : -test], "test": pids[-test:]}


def lists(people: int, rng: Random) -> dict[str, bytes]:
    """The files in exp/, name -> content, one line of integers each. Pass an rng in the same state as to `shots`."""
    known = parts(people, rng)
    known["available"] = [pid for pids in known.values() for pid in pids]
    return {f"exp/{part}_id.txt": f"{','.join(map(str, sorted(pids)))}\n".encode() for part, pids in known.items()}


def shots(crowd: list[Person], people: int, rng: Random) -> Iterator[Sight]:
    """Every picture: 5 to 8 per identity and camera for training, 10 to 12 for testing (multi-shot needs ten)."""
    train, val, test = parts(people, rng).values()
    for pid, person in zip(train + val + test, crowd):
        fewest, most = (10, 12) if pid in test else (5, 8)
        for camid in _cameras(rng):
            yield from _numbered(pid, camid, person, rng.randint(fewest, most), rng)


def _cameras(rng: Random) -> tuple[int, ...]:
    """People who come inside are recorded by all cameras or all but one: always in colour and in infrared."""
    if rng.random() > INSIDE:
        return OUTDOOR
    missed = rng.choice(INDOOR + OUTDOOR) if rng.random() < MISSED else None
    return tuple(camid for camid in INDOOR + OUTDOOR if camid != missed)


def _numbered(pid: int, camid: int, person: Person, count: int, rng: Random) -> Iterator[Sight]:
    """The pictures of one person by one camera, walk after walk, numbered from 1."""
    folder, number = f"cam{camid}/{pid:04d}", 0
    while number < count:
        for shot in walk("sysu", folder, pid, camid, person, min(WALK, count - number), rng):
            number += 1
            yield replace(shot, number=number)
