"""Which images there are, who is on them and which camera took them: Shots, Split and load()."""

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reidlib import toy
from reidlib.data import infrared, layouts

JUNK, DISTRACTOR = -1, 0  # pids in a gallery: a bad detection, which is ignored; a stranger, who is always wrong

TOYS = {"toy": "market", "toy-duke": "duke", "toy-sysu": "sysu"}  # the network that reidlib.toy draws for each

# (images, identities) of train, query and gallery, junk and distractors not counted as identities. Market-1501: Zheng
# et al., ICCV 2015; DukeMTMC-reID: Zheng et al., ICCV 2017; MSMT17: Wei et al., CVPR 2018 (train with val); SYSU-MM01:
# Wu et al., ICCV 2017, test images as in its rand_perm_cam.mat (train with val); RegDB: Nguyen et al., Sensors 2017.
PUBLISHED = {
    "market": {"train": (12936, 751), "query": (3368, 750), "gallery": (19732, 750)},
    "duke": {"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)},
    "msmt17": {"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)},
    "sysu": {"train": (34167, 395), "query": (3803, 96), "gallery": (6775, 96)},
    "regdb": {"train": (4120, 206), "query": (2060, 206), "gallery": (2060, 206)},
}


@dataclass(frozen=True, eq=False)
class Shots:
    """A set of images: `paths` (N,) str, posix, below `root`, with `pids` (N,) and `camids` (N,) int64 beside them.

    In a gallery a pid of -1 is junk and 0 a distractor. `infrared_cameras` are the camids that see infrared light.
    ValueError where shapes or types do not fit.
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
        """Where image `i` lies."""
        return Path(self.root, str(self.paths[i]))

    def files(self) -> list[Path]:
        """Where all images lie."""
        return [Path(self.root, path) for path in self.paths.tolist()]


@dataclass(frozen=True, eq=False)
class Split:
    """A data set: images to train on, and queries to find in a gallery. `print(split)` shows its counts."""

    name: str
    train: Shots
    query: Shots
    gallery: Shots

    def __str__(self) -> str:
        columns = ("images", "ids", "cameras", "junk", "distractors")
        wide = max(12, len(self.name) + 2)
        lines = [f"{self.name:<{wide}}" + "".join(f"{column:>12}" for column in columns)]
        for part in layouts.PARTS:
            shots = getattr(self, part)
            junk, distractors = (int((shots.pids == pid).sum()) for pid in (JUNK, DISTRACTOR))
            counts = (len(shots), len(shots.ids), len(np.unique(shots.camids)), junk, distractors)
            lines.append(f"{part:<{wide}}" + "".join(f"{count:>12,}" for count in counts))
        return "\n".join(lines)


def load(name: str | Path, root: str | Path | None = None, trial: int = 1) -> Split:
    """Load "market", "duke", "msmt17", "sysu", "regdb", a toy set ("toy", "toy-duke", "toy-sysu"), or your own images.

    Your own are a folder or a CSV table (see data/README.md). `root` is the folder of all data sets or the set's own
    folder; without it $REID_DATA, else data/ of the repository. `trial`, 1 to 10, chooses among RegDB's splits. Toy
    sets are drawn at the first load. Counts that differ from the published ones give a warning. ValueError for an
    unknown name or bad labels, FileNotFoundError for what is missing; both say what to do.
    """
    name, base = str(name), layouts.data_root(root)
    if trial != 1 and name != "regdb":
        raise ValueError(f"{name} has no trial {trial!r}: only regdb is split in several ways; leave trial out")
    if name in TOYS:
        folder = _drawn(name, base / name)
    else:
        folder = layouts.home(name, base) if name in layouts.FOLDERS else layouts.own(name, base)
    known, rows = name in layouts.FOLDERS, _rows(name, folder, trial)
    split = _split(name if known else folder.name, folder, rows, infrared.CAMERAS.get(name, ()))
    for difference in differences(split):
        warnings.warn(difference, stacklevel=2)
    return split


def differences(split: Split) -> list[str]:
    """One sentence for each part of a published set whose images or identities are not as many as published."""
    found = []
    for part, (images, ids) in PUBLISHED.get(split.name, {}).items():
        shots = getattr(split, part)
        if (len(shots), len(shots.ids)) != (images, ids):
            found.append(
                f"{shots.name} has {len(shots):,} images of {len(shots.ids):,} identities, published are {images:,} of "
                f"{ids:,}: an incomplete copy, another version or added files; its scores cannot be compared"
            )
    return found


def _drawn(name: str, folder: Path) -> Path:
    if not toy.is_current(folder, TOYS[name], 1):
        toy.draw(folder, network=TOYS[name], seed=1)
    return folder


def _rows(name: str, folder: Path, trial: int) -> list[layouts.Row]:
    if name in infrared.CAMERAS:
        return infrared.read_regdb(name, folder, trial) if name == "regdb" else infrared.read_sysu(name, folder)
    if name == "msmt17":
        return layouts.read_msmt17(name, folder)
    if name in layouts.FOLDERS:
        return layouts.read_boxes(name, folder, layouts.DUKE if name in ("duke", "toy-duke") else layouts.MARKET)
    return layouts.read_folder(folder) if folder.is_dir() else layouts.read_table(folder)


def _split(name: str, source: Path, rows: list[layouts.Row], infrared_cameras: tuple[int, ...]) -> Split:
    """Rows as arrays, sorted by path, so that nothing depends on the order in which the file system lists them."""
    if not rows:
        raise ValueError(f"{name}: no images under {source}; see data/README.md for the layout")
    rows = sorted(rows, key=lambda row: row.path)
    pids, camids = _numbers([row.pid for row in rows]), _cameras(name, rows)
    parts, paths = np.array([row.part for row in rows]), np.array([row.path for row in rows])
    wrong = (pids < JUNK) | ((pids <= DISTRACTOR) & (parts != "gallery"))
    if wrong.any():
        row = rows[int(wrong.argmax())]
        raise ValueError(
            f"{name}: pid {row.pid} in {row.part} ({row.path}): -1 (junk) and 0 (distractor) are for the gallery only; "
            "count identities from 1 or give them names"
        )
    root = source if source.is_dir() else source.parent
    everything = Shots(name, root, paths, pids, camids, infrared_cameras)
    return Split(name, *(replace(everything[parts == part], name=f"{name}/{part}") for part in layouts.PARTS))


def _numbers(labels: list[str]) -> np.ndarray:
    """Labels as int64 (N,): whole numbers as they are; with a name among them all but -1 and 0 become 1.., sorted."""
    distinct = sorted(set(labels) - {"-1", "0"})
    whole = all(re.fullmatch(r"-?\d{1,18}", label) for label in distinct)
    numbers = {label: int(label) if whole else i for i, label in enumerate(distinct, 1)}
    numbers |= {"-1": JUNK, "0": DISTRACTOR}
    return np.array([numbers[label] for label in labels], np.int64)


def _cameras(name: str, rows: list[layouts.Row]) -> np.ndarray:
    """Camera numbers (N,); 0 for all where none is known, which score(..., same_camera="keep") is made for."""
    unknown = [row.path for row in rows if not row.camid]
    if unknown and len(unknown) < len(rows):
        raise ValueError(
            f"{name}: no camera in the names of {layouts.few(unknown)}, though others have one; name all or none"
        )
    return np.zeros(len(rows), np.int64) if unknown else _numbers([row.camid for row in rows])
