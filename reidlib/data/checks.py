"""What is wrong with a data set, all at once: check()."""

import io
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from reidlib.data.infrared import is_colour
from reidlib.data.layouts import IMAGES, PARTS
from reidlib.data.loading import differences
from reidlib.data.shots import Split
from reidlib.files import few
from reidlib.progress import progress

HEIGHT, WIDTH = 16, 8  # of the last feature map of a 256 x 128 image: a smaller image cannot tell people apart
STATES = {
    "missing": "cannot be read; copy the data set again",
    "broken": "cannot be decoded; copy them again or remove them",
    "colour": "in colour, though their camera is infrared; they lie in the folder of another camera",
    "tiny": f"less than {HEIGHT} pixels high or {WIDTH} wide; remove them",
}


class Problem(NamedTuple):
    """One kind of defect: its name, a sentence with the remedy, and the paths of the images concerned, sorted."""

    kind: str
    message: str
    files: list[str]


@dataclass(frozen=True)
class Report:
    """What `check` found. `print(report)` shows each problem with its count and its first few files.

    Parameters
    ----------
    name, images : str, int
        The data set, and how many images were read.
    problems : list of Problem
        (kind, message, files) each, in a fixed order.

    Examples
    --------
    >>> Report("shop", 12, [Problem("broken", "cannot be decoded; copy them again", ["train/anna/1.jpg"])])
    shop: 12 images checked, 1 kind of problem found
    - broken (1): cannot be decoded; copy them again
        train/anna/1.jpg
    """

    name: str
    images: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        kinds = f"{len(self.problems) or 'no'} kind{'s' * (len(self.problems) != 1)}"
        lines = [f"{self.name}: {self.images:,} images checked, {kinds} of problem found"]
        for problem in self.problems:
            count = f" ({len(problem.files):,})" if problem.files else ""
            lines.append(f"- {problem.kind}{count}: {problem.message}")
            lines += [f"    {few(problem.files)}"] if problem.files else []
        return "\n".join(lines)


class Item(NamedTuple):
    """One image of a split as check() sees it."""

    part: str
    path: str
    pid: int
    state: str  # a key of STATES, or "fine"
    digest: str


def check(split: Split) -> Report:
    """Report every defect of a data set at once: of its files, its labels and its counts. Decodes every image.

    Returns
    -------
    Report
        `report.ok` if nothing is wrong. Defects are reported, never raised.

    Examples
    --------
    >>> from pathlib import Path
    >>> from reidlib.data.shots import Shots
    >>> nothing = Shots("empty/train", Path("nowhere"), np.array([], str), np.array([], int), np.array([], int))
    >>> check(Split("empty", nothing, nothing, nothing)).ok
    True
    """
    items = _read_all(split)
    problems = [Problem(state, text, [i.path for i in items if i.state == state]) for state, text in STATES.items()]
    problems += [*_duplicates(items), _unread(split), *_identities(split), _without_match(split)]
    problems = [problem._replace(files=sorted(problem.files)) for problem in problems if problem.files]
    problems += [Problem("single camera", message, []) for message in _single_camera(split)]
    problems += [Problem("counts", message, []) for message in differences(split)]
    return Report(split.name, len(items), problems)


def _read_all(split: Split) -> list[Item]:
    parts = [(part, getattr(split, part)) for part in PARTS]
    labels = [(part, *label) for part, shots in parts for label in zip(shots.paths.tolist(), shots.pids.tolist())]
    files = [file for _, shots in parts for file in shots.files()]
    infrared = np.concatenate([shots.infrared for _, shots in parts])
    with ThreadPoolExecutor() as pool:  # PIL decodes outside the interpreter's lock
        states = pool.map(_read, files, infrared)
        shown = progress(states, f"check {split.name}", len(files), "image", few=len(files) < 5000)
        return [Item(*label, *state) for state, label in zip(shown, labels)]  # `shown` first, so that the bar ends


def _read(file: Path, infrared: bool) -> tuple[str, str]:
    """The state of one file, and a digest of its bytes ("" if it has none)."""
    try:
        content = file.read_bytes()
    except OSError:
        return "missing", ""
    digest = blake2b(content).hexdigest()
    try:
        Image.open(io.BytesIO(content)).verify()  # checksums; an image cannot be used after it, so open it again
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            colour = infrared and is_colour(image)
    except Exception:  # on a damaged file PIL raises nearly anything: OSError, SyntaxError, ValueError, struct.error
        return "broken", digest
    small = image.height < HEIGHT or image.width < WIDTH
    return "colour" if colour else "tiny" if small else "fine", digest


def _duplicates(items: list[Item]) -> list[Problem]:
    """Files of equal bytes: a copy of a query in the gallery is too easy to find, one in train was trained on."""
    by_digest: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_digest[item.digest].append(item)
    by_digest.pop("", None)  # the missing ones
    copies = [group for group in by_digest.values() if len(group) > 1]
    within = [group for group in copies if len({item.part for item in group}) == 1]
    between = [group for group in copies if len({item.part for item in group}) > 1]
    relabelled = [group for group in copies if len({item.pid for item in group}) > 1]
    kinds = [
        ("duplicate within a part", "the same bytes as another file of train, query or gallery; keep one", within),
        ("duplicate between parts", "the same bytes as a file of another part; keep one", between),
        ("duplicate of two identities", "the same bytes with different pids; correct the labels", relabelled),
    ]
    return [Problem(kind, text, [item.path for group in groups for item in group]) for kind, text, groups in kinds]


def _unread(split: Split) -> Problem:
    """Images in the folders that `load` did not read; a table, unlike a folder, may leave images out."""
    root = split.train.root
    known = {path for part in PARTS for path in getattr(split, part).paths.tolist()}
    folders = {path.split("/")[0] for path in known} if split.complete else set()
    images = [file for folder in folders for file in (root / folder).rglob("*") if file.suffix.lower() in IMAGES]
    unread = {file.relative_to(root).as_posix() for file in images} - known
    reasons = (
        "not used, because of their file extension, because they lie too deep or because no list names them; rename or "
        "move them"
    )
    return Problem("unread", reasons, [*unread])


def _identities(split: Split) -> list[Problem]:
    pids, paths = split.train.pids, split.train.paths
    shared = np.isin(pids, np.union1d(split.query.ids, split.gallery.ids))
    number, images = np.unique(pids, return_counts=True)
    alone = np.isin(pids, number[images == 1])
    return [
        Problem(
            "identity in train and test", "training images of people who are tested; remove them", [*paths[shared]]
        ),
        Problem("identity with one image", "in train, with no second image of the same person", [*paths[alone]]),
    ]


def _cameras(split: Split) -> np.ndarray:
    return np.union1d(split.query.camids, split.gallery.camids)


def _without_match(split: Split) -> Problem:
    """Queries without a gallery image by another camera; with a single camera, without any gallery image."""
    single, gallery = len(_cameras(split)) == 1, split.gallery
    same_pid = Counter(gallery.pids.tolist())
    ignored = Counter(() if single else zip(gallery.pids.tolist(), gallery.camids.tolist()))
    labels = zip(split.query.paths.tolist(), split.query.pids.tolist(), split.query.camids.tolist())
    lost = [path for path, pid, camid in labels if same_pid[pid] == ignored[pid, camid]]
    where = "in the gallery" if single else "by another camera in the gallery"
    return Problem("query without a match", f"no image of their identity {where}; they are not counted", lost)


def _single_camera(split: Split) -> list[str]:
    cameras = _cameras(split)
    message = (
        "queries and gallery are all of camera {}, and Market's rule ignores matches of the query's own camera: "
        'every query is left without a match; use score(..., same_camera="keep"), or give camids'
    )
    return [message.format(cameras[0])] if len(cameras) == 1 else []
