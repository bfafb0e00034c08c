"""What the notebook of the tests of the grid notes in attempts.txt, and waiting for it: no test bets on seconds."""

import time
from typing import NamedTuple

import psutil

PATIENCE = 600  # seconds for what takes one or two here: a machine that is shared may be very slow


class Note(NamedTuple):
    """That a kernel began or ended a job, and where."""

    word: str
    seed: int
    place: str
    pid: int


def notes(folder) -> list[Note]:
    file = folder / "attempts.txt"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [Note(word, int(seed), place, int(pid)) for word, seed, place, pid in lines]


def seeds(folder, word="begin") -> list[int]:
    return sorted(note.seed for note in notes(folder) if note.word == word)


def wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; in a container it may stay a zombie for ever."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
