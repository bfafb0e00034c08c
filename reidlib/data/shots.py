"""Which images there are, who is on them and which camera took them: Shots and Split."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidlib.data.layouts import PARTS

JUNK, DISTRACTOR = -1, 0  # pids in a gallery: a bad detection, which is ignored; a stranger, who never matches


@dataclass(frozen=True, eq=False)
class Shots:
    """Images with their labels; an index, a slice or a mask gives a part. ValueError if shapes or dtypes do not fit.

    Parameters
    ----------
    name : str, set and part, as in "market/query"
    root : Path, the folder that `paths` are relative to
    paths : str (N,), posix paths of the images
    pids, camids : int64 (N,)
        Identities, counted from 1, and cameras. In a gallery pid -1 is junk and 0 a distractor.
    infrared_cameras : tuple of int, the camids of infrared cameras

    Examples
    --------
    >>> paths = np.array(["anna/1.jpg", "anna/2.jpg", "ben/1.jpg"])
    >>> shots = Shots("shop/train", Path("shop"), paths, pids=np.array([1, 1, 2]), camids=np.array([1, 2, 1]))
    >>> shots[shots.pids == 1]
    Shots(shop/train: 2 images, 1 ids, 2 cameras)
    """

    name: str
    root: Path
    paths: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    infrared_cameras: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        labels, shape = (self.pids, self.camids), self.paths.shape
        fits = len(shape) == 1 and all(array.shape == shape and array.dtype == np.int64 for array in labels)
        if not fits or self.paths.dtype.kind != "U":
            types = [f"{array.dtype}{array.shape}" for array in (self.paths, *labels)]
            raise ValueError(f"{self.name}: need paths str (N,), pids int64 (N,), camids int64 (N,), got {types}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: np.ndarray | slice | int) -> "Shots":
        """The shots at positions, a mask, a slice, or one position (a set of one)."""
        at = np.atleast_1d(np.arange(len(self))[index])
        return replace(self, paths=self.paths[at], pids=self.pids[at], camids=self.camids[at])

    def __repr__(self) -> str:
        return f"Shots({self.name}: {len(self):,} images, {len(self.ids):,} ids, {len(np.unique(self.camids))} cameras)"

    @property
    def infrared(self) -> np.ndarray:
        """Which images an infrared camera took: (N,) bool."""
        return np.isin(self.camids, self.infrared_cameras)

    @property
    def ids(self) -> np.ndarray:
        """The identities (I,), sorted, without junk and distractors."""
        return np.unique(self.pids[self.pids > DISTRACTOR])

    def file(self, i: int) -> Path:
        """The file of image `i`."""
        return Path(self.root, str(self.paths[i]))

    def files(self) -> list[Path]:
        """The files of all images."""
        return [Path(self.root, path) for path in self.paths.tolist()]


def same_images(query: Shots, gallery: Shots) -> bool:
    """Whether query and gallery are the same images in the same order, so that each is its own entry of the gallery."""
    return str(query.root) == str(gallery.root) and np.array_equal(query.paths, gallery.paths)


@dataclass(frozen=True, eq=False)
class Split:
    """A data set: images to train on, and queries to search for in a gallery. `print(split)` shows its counts.

    Parameters
    ----------
    name : str
        A short name without a slash, part of file names and tables. The name of a built-in set claims its published
        counts and its protocol: give a set of your own another one.
    train, query, gallery : Shots
    complete : bool, whether every image in its folders belongs to it, so that `check` reports those that do not

    Examples
    --------
    A data set of your own from arrays; a function that returns it can be loaded by its name (see `load`).

    >>> def part(name, files, pids, camids):
    ...     return Shots(f"shop/{name}", Path("shop"), np.array(files), np.array(pids), np.array(camids))
    >>> train = part("train", ["anna_1.jpg", "anna_2.jpg", "ben_1.jpg"], [1, 1, 2], [1, 2, 1])
    >>> Split("shop", train, part("query", ["cleo_1.jpg"], [3], [1]), part("gallery", ["cleo_2.jpg"], [3], [2])).train
    Shots(shop/train: 3 images, 2 ids, 2 cameras)
    """

    name: str
    train: Shots
    query: Shots
    gallery: Shots
    complete: bool = False

    if not TYPE_CHECKING:

        def __getattr__(self, name):  # such as pids
            raise AttributeError(f"a Split has no {name!r}; give one of its parts, such as split.train")

    def __str__(self) -> str:
        columns = ("images", "ids", "cameras", "junk", "distractors")
        wide = max(12, len(self.name) + 2)
        lines = [f"{self.name:<{wide}}" + "".join(f"{column:>12}" for column in columns)]
        for part in PARTS:
            shots = getattr(self, part)
            junk, distractors = (int((shots.pids == pid).sum()) for pid in (JUNK, DISTRACTOR))
            counts = (len(shots), len(shots.ids), len(np.unique(shots.camids)), junk, distractors)
            lines.append(f"{part:<{wide}}" + "".join(f"{count:>12,}" for count in counts))
        return "\n".join(lines)


def joined(splits: Sequence[Split]) -> Split:
    """Several data sets as one, to train on all: identities and cameras are counted on from one set to the next.

    Junk and distractors stay what they are. ValueError for a set that is joined with itself.

    Examples
    --------
    >>> def shop(name):
    ...     parts = [Shots(name, Path(name), np.array(["1.jpg"]), np.array([7]), np.array([2])) for _ in PARTS]
    ...     return Split(name, *parts)
    >>> both = joined([shop("north"), shop("south")]).train
    >>> both.paths.tolist(), both.pids.tolist(), both.camids.tolist()
    (['north/1.jpg', 'south/1.jpg'], [7, 14], [2, 4])
    """
    name = "+".join(split.name for split in splits)
    if len({split.name for split in splits}) < len(splits):
        raise ValueError(f"{name}: a data set cannot be joined with itself")
    root = Path(os.path.commonpath([getattr(split, part).root.absolute() for split in splits for part in PARTS]))
    pid, camid, moved = 0, 0, []
    for split in splits:
        moved.append([_moved(getattr(split, part), root, pid, camid) for part in PARTS])
        pid = max(int(shots.pids.max(initial=pid)) for shots in moved[-1])
        camid = max(int(shots.camids.max(initial=camid)) for shots in moved[-1])
    train, query, gallery = (_chained(f"{name}/{part}", root, [of[i] for of in moved]) for i, part in enumerate(PARTS))
    return Split(name, train, query, gallery)


def _moved(shots: Shots, root: Path, pid: int, camid: int) -> Shots:
    """Shots whose paths are relative to `root`, their identities and cameras counted on from `pid` and `camid`."""
    below = shots.root.absolute().relative_to(root).as_posix()
    paths = np.array([f"{below}/{path}" for path in shots.paths.tolist()], dtype=np.str_)
    pids = np.where(shots.pids > DISTRACTOR, shots.pids + pid, shots.pids)
    infrared = tuple(camera + camid for camera in shots.infrared_cameras)
    return Shots(shots.name, root, paths, pids, shots.camids + camid, infrared)


def _chained(name: str, root: Path, sets: Sequence[Shots]) -> Shots:
    paths, pids, camids = (np.concatenate([getattr(s, of) for s in sets]) for of in ("paths", "pids", "camids"))
    return Shots(name, root, paths, pids, camids, tuple(camera for s in sets for camera in s.infrared_cameras))
