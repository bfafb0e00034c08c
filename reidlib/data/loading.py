"""load(): from the name of a data set, a path or a function to a Split."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from reidlib import toy
from reidlib.data import infrared, layouts, tracks
from reidlib.data.labels import numbers
from reidlib.data.layouts import TOYS
from reidlib.data.shots import DISTRACTOR, JUNK, Shots, Split, joined
from reidlib.data.tables import Frame, read_frame, read_table
from reidlib.files import few
from reidlib.models import imported
from reidlib.toy.sets import drawn_counts, drawn_world

# (images, identities) of train, query and gallery, junk and distractors not counted as identities. Market-1501: Zheng
# et al., ICCV 2015; DukeMTMC-reID: Zheng et al., ICCV 2017; MSMT17: Wei et al., CVPR 2018 (train with val); SYSU-MM01:
# Wu et al., ICCV 2017, test images as in its rand_perm_cam.mat (train with val); CUHK03: Zhong et al., CVPR 2017, boxes
# of the detector; CUHK01: Li et al., ACCV 2012, no part of it trained on; RegDB: Nguyen et al., Sensors 2017.
PUBLISHED = {
    "market": {"train": (12936, 751), "query": (3368, 750), "gallery": (19732, 750)},
    "duke": {"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)},
    "msmt17": {"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)},
    "sysu": {"train": (34167, 395), "query": (3803, 96), "gallery": (6775, 96)},
    "cuhk01": {"train": (0, 0), "query": (971, 971), "gallery": (1942, 971)},
    "cuhk03": {"train": (7365, 767), "query": (1400, 700), "gallery": (5332, 700)},
    "regdb": {"train": (4120, 206), "query": (2060, 206), "gallery": (2060, 206)},  # each of its ten trials
}
READERS: dict[str, Callable[[str, Path], list[layouts.Row]]] = {
    "market": partial(layouts.read_boxes, pattern=layouts.MARKET),
    "duke": partial(layouts.read_boxes, pattern=layouts.DUKE),
    "msmt17": layouts.read_msmt17,
    "sysu": infrared.read_sysu,
    "cuhk01": layouts.read_cuhk01,
    "cuhk03": layouts.read_cuhk03,
}
NOT_TEXT = re.compile("[\ud800-\udfff]")  # in names of bytes that are not UTF-8, as old Latin-1 names: in no digest
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package.module:function


def load(name: str | Path | Split | Frame, root: str | Path | None = None, trial: int = 1) -> Split:
    """Load a data set: a built-in one, your own images, or what a function of yours returns.

    Its images are sorted by path. A built-in set with other counts than published gives a warning. ValueError and
    FileNotFoundError for an unknown name, unusable labels or missing files say what to do.

    Parameters
    ----------
    name : str, Path, Split or table
        A built-in name ("market", "duke", "msmt17", "cuhk01", "cuhk03", "sysu", "regdb", or "toy", "toy-duke",
        "toy-sysu", which are drawn at the first load, in another world as "toy:alike=0.5"; see `toy.World`);
        "package.module:function", which is called and must return a Split; or the path of a folder or CSV table (see
        data/README.md). Everything but the exact word of a built-in set is a path, as "./toy" is. A Split is returned
        as it is. A table with columns (a DataFrame) is read like a CSV table, with paths that are absolute or below
        `root`, here the current folder by default. A trial of RegDB after the first is named as in "regdb:3", a set of
        your own by its folder or file, after "own-" if that is the name of a built-in set.
        "market+cuhk03" joins built-in sets to train on all of them; see `joined`.
    root : path, optional
        The folder of all data sets, or the set's own folder. By default $REID_DATA, else data/ of the repository.
    trial : int, one of RegDB's ten splits; `load("regdb:3")` is `load("regdb", trial=3)`

    Examples
    --------
    >>> load("dukee")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: no data set 'dukee'; choose one of market, duke, ...
    """
    if isinstance(name, Split):
        return name
    if not isinstance(name, str | Path):
        return _framed(name, root)
    word = name if isinstance(name, str) else ""  # a Path is always a path
    if trial != 1 and word != "regdb":
        raise ValueError(f"{name} has no trial {trial!r}: only regdb is split in several ways; leave trial out")
    kind, _, knobs = word.partition(":")
    if FUNCTION.fullmatch(word) and kind not in layouts.FOLDERS:
        return _returned(word)
    if numbered := re.fullmatch(r"regdb:(\d+)", word):
        word, trial = "regdb", int(numbered[1])
    if len(names := layouts.joined_names(word)) > 1:
        return joined([load(part, root) for part in names])
    base = layouts.data_root(root)
    if word not in layouts.FOLDERS and kind not in TOYS:
        return _own(layouts.own(name, base))
    network = TOYS.get(kind, kind)
    word, folder = _drawn(kind, knobs, base) if kind in TOYS else (word, layouts.home(word, base))
    rows = infrared.read_regdb(word, folder, trial) if word == "regdb" else READERS[network](word, folder)
    split = _split(
        word if trial == 1 else f"{word}:{trial}", folder, rows, infrared.CAMERAS.get(network, ()), word != "cuhk01"
    )
    for difference in differences(split):
        warnings.warn(difference, stacklevel=2)
    return split


def differences(split: Split) -> list[str]:
    """One sentence for each part of a set whose counts are not the published ones, or not those that were drawn."""
    sentences = []
    for part, (images, ids) in PUBLISHED.get(split.name.partition(":")[0], {}).items():
        shots = getattr(split, part)
        if (len(shots), len(shots.ids)) != (images, ids):
            sentences.append(
                f"{shots.name} has {len(shots):,} images of {len(shots.ids):,} identities, published are {images:,} of "
                f"{ids:,}: an incomplete copy, another version or added files; its scores cannot be compared"
            )
    if split.name.partition(":")[0] in TOYS:
        files = Counter(path.split("/")[0] for part in layouts.PARTS for path in getattr(split, part).paths.tolist())
        for folder, images in drawn_counts(split.train.root).items():
            if files[folder] != images:
                has = f"{split.name}: {folder} has {files[folder]:,} images, but {images:,} were drawn"
                sentences.append(f"{has}; delete {split.train.root} to have it drawn again")
    return sentences


def _returned(name: str) -> Split:
    """The Split that "package.module:function" returns."""
    make = imported(name, "data set")
    split = make() if callable(make) else make
    if not isinstance(split, Split):
        raise ValueError(f"{name} gives {type(split).__name__}, not a Split; see the example of reidlib.Split")
    if split.name.partition(":")[0] in layouts.FOLDERS:
        raise ValueError(f"{name} gives a Split named {split.name!r}, as a built-in data set is; give it another name")
    return split


def _drawn(name: str, knobs: str, base: Path) -> tuple[str, Path]:
    """The name and the folder of a toy set, drawn now if its drawing is missing or outdated.

    The folder lies in `base`, unless `base` is the folder of this crowd or, beside it, of another.
    """
    network, world = TOYS[name], toy.World.named(knobs)
    name, own = (f"{name}:{world}", f"{name}-{world}") if str(world) else (name, name)
    folder = base / own
    if there := drawn_world(base):
        folder = base if there == (network, str(world)) else base.parent / own
    if not toy.is_current(folder, network, 1, world=world):
        toy.draw(folder, network=network, seed=1, world=world)
    return name, folder


def _framed(frame: Frame, root: str | Path | None) -> Split:
    """The images of a table in memory, named by their folder."""
    if not hasattr(frame, "columns"):
        raise ValueError(f"cannot load {type(frame).__name__}; give a name, a path, a Split, or a table with columns")
    folder, rows = read_frame(frame, root)
    return _split(layouts.own_name(folder) or "table", folder, rows, (), False)


def _own(source: Path) -> Split:
    """Images of the user's, named so that they cannot be taken for a built-in set."""
    name = layouts.own_name(source)
    if source.is_dir() and (found := tracks.read_tracks(name, source)):
        return _split(name, *found, (), found[0] == source)  # a video's tracks lie in the cache
    if source.is_dir():
        return _split(name, source, layouts.read_folder(name, source), (), True)
    return _split(name, source.parent, read_table(source), (), False)


def _split(name: str, root: Path, rows: list[layouts.Row], infrared_cameras: tuple[int, ...], complete: bool) -> Split:
    """Rows as arrays, sorted by path, so that nothing depends on the order in which the file system lists them."""
    if not rows:
        raise ValueError(f"{name}: no images under {root}; {layouts.YOURS}")
    if odd := [os.fsencode(row.path) for row in rows if NOT_TEXT.search(f"{root}{row.path}")]:
        raise ValueError(f"{name}: names that are not UTF-8: {few(list(map(repr, odd)))}; rename the files or folders")
    rows = sorted(rows, key=lambda row: row.path)
    pids, camids = _numbers(name, "pid", rows), _cameras(name, rows)
    parts, paths = np.array([row.part for row in rows]), np.array([row.path for row in rows])
    wrong = (pids < JUNK) | ((pids <= DISTRACTOR) & (parts != "gallery"))
    if wrong.any():
        row = rows[int(wrong.argmax())]
        remedy = "-1 (junk) and 0 (distractor) are for the gallery only; count identities from 1 or give them names"
        raise ValueError(f"{name}: pid {row.pid} in {row.part} ({row.path}): {remedy}")
    everything = Shots(name, root, paths, pids, camids, infrared_cameras)
    train, query, gallery = (replace(everything[parts == part], name=f"{name}/{part}") for part in layouts.PARTS)
    return Split(name, train, query, gallery, complete)


def _cameras(name: str, rows: list[layouts.Row]) -> np.ndarray:
    """Camera numbers (N,); 0 for all if none is known, as score(..., same_camera="keep") expects."""
    unknown = [row.path for row in rows if not row.camid]
    if unknown and len(unknown) < len(rows):
        seen = next(f"{row.path} has camera {row.camid}" for row in rows if row.camid)
        raise ValueError(f"{name}: no camera in the names of {few(unknown)}, though {seen}; name all or none")
    return np.zeros(len(rows), np.int64) if unknown else _numbers(name, "camid", rows)


def _numbers(name: str, kind: str, rows: list[layouts.Row]) -> np.ndarray:
    return numbers(name, kind, [getattr(row, kind) for row in rows], [row.place or row.path for row in rows])
