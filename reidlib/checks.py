"""What is wrong with a data set, all at once: check()."""

import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from reidlib.data import DISTRACTOR, JUNK, Shots, Split, differences
from reidlib.layouts import IMAGES, PARTS, few

SMALLEST = (16, 8)  # height, width; a person of fewer pixels is one cell of the last feature map, or none


class Problem(NamedTuple):
    """One kind of defect: a word for it, a sentence with counts and the remedy, and the files concerned, sorted."""

    kind: str
    message: str
    files: list[str]


@dataclass(frozen=True)
class Report:
    """What check() found. `print(report)` shows every problem with its first few files."""

    name: str
    images: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.images:,} images checked, {len(self.problems) or 'no'} kinds of problem"]
        for problem in self.problems:
            lines.append(f"- {problem.kind}: {problem.message}")
            lines += [f"    {few(problem.files)}"] if problem.files else []
        return "\n".join(lines)


class Item(NamedTuple):
    """One image of a split as check() sees it."""

    part: str
    path: str
    pid: int
    state: str  # "missing", "broken", "tiny" or "fine"
    digest: str


def check(split: Split) -> Report:
    """Report every defect of a data set at once: of its files, its labels and its counts.

    Reads and decodes every image, in threads (Market-1501: 36,036 images, half a minute on two cores).
    """
    items = _items(split)
    found = _states(items) + _duplicates(items) + _unread(split) + _labels(split)
    found += [Problem("count", sentence, []) for sentence in differences(split)]
    return Report(split.name, len(items), found)


def _items(split: Split) -> list[Item]:
    parts = [(part, getattr(split, part)) for part in PARTS]
    files = [file for _, shots in parts for file in shots.files()]
    labels = [(part, path, pid) for part, shots in parts for path, pid in zip(shots.paths.tolist(), shots.pids.tolist())]
    with ThreadPoolExecutor() as pool:  # PIL decodes outside the interpreter's lock
        looked = tqdm(pool.map(_look, files), f"check {split.name}", len(files), unit="image", delay=2, leave=False)
        return [Item(*label, *seen) for label, seen in zip(labels, looked)]


def _look(file: Path) -> tuple[str, str]:
    """The state of one file, and a digest of its bytes ("" where there are none)."""
    try:
        content = file.read_bytes()
    except OSError:
        return "missing", ""
    digest = blake2b(content, digest_size=16).hexdigest()
    try:
        Image.open(io.BytesIO(content)).verify()  # checksums; leaves the image unusable, so open it again
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # PIL raises nearly anything on a damaged file: OSError, SyntaxError, ValueError, struct.error
        return "broken", digest
    return ("tiny" if image.height < SMALLEST[0] or image.width < SMALLEST[1] else "fine"), digest


def _problem(kind: str, message: str, files: list[str]) -> list[Problem]:
    """A list of one problem where there are files, else of none."""
    return [Problem(kind, message.format(n=f"{len(files):,}"), sorted(files))] if files else []


def _states(items: list[Item]) -> list[Problem]:
    def files(state: str) -> list[str]:
        return [item.path for item in items if item.state == state]

    return (
        _problem("missing", "{n} files cannot be read; copy the data set again", files("missing"))
        + _problem("broken", "{n} files cannot be decoded; copy them again or remove them", files("broken"))
        + _problem("tiny", "{n} images are below %d x %d pixels (height x width); remove them" % SMALLEST, files("tiny"))
    )
