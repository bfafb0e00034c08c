"""How SYSU-MM01 and RegDB lie on disk, and which of their cameras see infrared light: readers as those of layouts."""

import os
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from reidlib.data.layouts import Row, need
from reidlib.files import few

CAMERAS = {"sysu": (3, 6), "toy-sysu": (3, 6), "regdb": (2,)}  # the infrared ones; camera 2 of RegDB is thermal
SYSU_CAMERAS = range(1, 7)
SYSU_IDS = {"exp/train_id.txt": "train", "exp/val_id.txt": "train", "exp/test_id.txt": "test"}  # 296 + 99, 96 people
REGDB_SIDES = {"visible": 1, "thermal": 2}
REGDB_TRIALS = 10
REGDB_TRAIN_IDS = 206
# Mean difference between a pixel's largest and smallest channel, of 255. A grey image has 0, also after a JPEG of any
# quality; of Market-1501's 3,368 queries the greyest has 1.5, one in a thousand has less than 2.
COLOUR = 2.0
LOOKS = 8  # images of each infrared camera that are looked at when a set is loaded: 16 files, some ms


def read_sysu(name: str, folder: Path) -> list[Row]:
    """Rows of SYSU-MM01: train and val identities are trained on, of the test identities infrared images are queries.

    The gallery is every visible image of a test identity, which `reidlib.sysu` draws from. FileNotFoundError for a
    missing camera folder or list; ValueError for a camera without images, for a list that does not fit the folders or
    another list, and for colour in an infrared camera's folder. Source: Wu et al., "RGB-Infrared Cross-Modality Person
    Re-Identification" (2017).
    """
    need(name, folder, *(f"cam{camera}" for camera in SYSU_CAMERAS), *SYSU_IDS)
    lists, images = _lists(name, folder), {}
    for camera in SYSU_CAMERAS:
        images |= {(camera, pid): paths for pid, paths in _people(name, folder, f"cam{camera}").items()}
    _refuse_absent(name, lists, {pid for _, pid in images})
    list_of = {pid: SYSU_IDS[file] for file, ids in lists.items() for pid in ids}
    rows = []
    for (camera, pid), paths in images.items():
        if pid in list_of:
            part = _part(list_of[pid], camera in CAMERAS[name])
            rows += [Row(part, path, str(pid), str(camera)) for path in paths]
    for camera in CAMERAS[name]:
        _refuse_colour(name, folder, camera, [row.path for row in rows if row.camid == str(camera)])
    return rows


def _part(listed: str, infrared: bool) -> str:
    return "train" if listed == "train" else "query" if infrared else "gallery"


def _lists(name: str, folder: Path) -> dict[str, set[int]]:
    """The identities of each list; nobody is in two of them."""
    lists = {file: _ids(name, folder, file) for file in SYSU_IDS}
    for one, other in combinations(lists, 2):
        both = sorted(lists[one] & lists[other])
        if both:
            raise ValueError(
                f"{name}: {one} and {other} both name {few([*map(str, both)])}; take the lists of one archive, in "
                "which nobody is named twice"
            )
    return lists


def _refuse_absent(name: str, lists: dict[str, set[int]], seen: set[int]) -> None:
    for file, ids in lists.items():
        absent = sorted(ids - seen)
        if absent:
            raise ValueError(
                f"{name}: {file} names {len(absent)} of {len(ids)} identities that no camera's folder has images of: "
                f"{few([*map(str, absent)])}; copy the camera folders again, or take the list that belongs to them"
            )


def _ids(name: str, folder: Path, file: str) -> set[int]:
    words = [word for word in re.split(r"[,\s]+", _text(name, folder, file)) if word]
    odd = [word for word in words if not re.fullmatch(r"\d{1,9}", word)]
    if odd or not words:
        found = f"found {few(odd)}" if odd else "it is empty"
        raise ValueError(f"{name}: {file} should hold whole numbers between commas, as in 6,10,17; {found}")
    return {int(word) for word in words}


def _text(name: str, folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{name}: {file} is not plain text (ASCII or UTF-8); save it as that") from None


def _people(name: str, folder: Path, camera: str) -> dict[int, list[str]]:
    """The identities that a camera's folder has images of, and their paths, in the order of their names."""
    if not (folder / camera).is_dir():
        raise ValueError(f"{name}: {camera} is a file; it should be a folder with one folder an identity")
    found, others = {}, []
    for person in sorted(os.listdir(folder / camera)):
        if not (folder / camera / person).is_dir():
            others.append(person)
            continue
        if not person.isdigit():
            raise ValueError(
                f"{name}: {camera}/{person} is no identity; folders of a camera are called 0001, 0002, ..."
            )
        inside = sorted(os.listdir(folder / camera / person))
        files = [file for file in inside if file.lower().endswith(".jpg")]
        others += [f"{person}/{file}" for file in inside if file not in files]
        if files and int(person) in found:
            raise ValueError(f"{name}: {camera} holds identity {int(person)} twice, again as {person}; keep one folder")
        if files:
            found[int(person)] = [f"{camera}/{person}/{file}" for file in files]
    if not found:
        instead = f"it holds {few(others)}" if others else "it is empty"
        raise ValueError(f"{name}: {camera} has no images such as {camera}/0001/0001.jpg; {instead}")
    return found


def is_colour(image: Image.Image) -> bool:
    """Whether an image has colours, which no infrared camera records; grey saved in three channels has none."""
    if image.mode in ("1", "L", "I", "I;16", "F"):
        return False
    return float(np.ptp(np.asarray(image.convert("RGB"), np.int16), axis=2).mean()) > COLOUR


def _refuse_colour(name: str, folder: Path, camera: int, paths: list[str]) -> None:
    """Look at a few images, spread over the identities; most in colour means the folder of another camera."""
    some = paths[:: max(1, -(-len(paths) // LOOKS))]
    colour = [path for path in some if _has_colour(folder / path)]
    if 2 * len(colour) > len(some):
        raise ValueError(
            f"{name}: camera {camera} is infrared, but {len(colour)} of {len(some)} images of it that were looked at "
            f"are in colour: {few(colour)}; put the right folder there (infrared are {CAMERAS[name]})"
        )


def _has_colour(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return is_colour(image)
    except Exception:  # damaged: PIL raises nearly anything, and check() reports it
        return False


def read_regdb(name: str, folder: Path, trial: int = 1) -> list[Row]:
    """Rows of one of RegDB's ten splits: visible images (camera 1) are searched for among thermal ones (camera 2).

    The lists count identities from 0, in train and again in test, for different people: here from 1 and on. ValueError
    for another trial and for a line that is no path and label, FileNotFoundError for a missing list or folder.
    Source: Nguyen et al., Sensors 17(3), 2017; splits: Ye et al., 2018.
    """
    if trial not in range(1, REGDB_TRIALS + 1):
        raise ValueError(f"{name}: no trial {trial!r}; choose one of 1 to {REGDB_TRIALS}")
    lists = [(part, side) for part in ("train", "test") for side in REGDB_SIDES]
    need(name, folder, *(f"idx/{part}_{side}_{trial}.txt" for part, side in lists), "Visible", "Thermal")
    rows = []
    for part, side in lists:
        found = list(_labelled(name, folder, f"idx/{part}_{side}_{trial}.txt"))
        kind = part if part == "train" else "query" if side == "visible" else "gallery"
        first = 1 if part == "train" else 1 + REGDB_TRAIN_IDS
        rows += [Row(kind, path, str(first + label), str(REGDB_SIDES[side])) for path, label in found]
    return rows


def _labelled(name: str, folder: Path, file: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(_text(name, folder, file).splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not path or not label.isdigit() or ".." in PurePosixPath(path).parts:
            raise ValueError(
                f"{name}: {file}, line {number}: expected a path and a label, as in "
                f"Visible/1/male_back_v_00001_1.bmp 0, got {line.strip()!r}"
            )
        yield path.strip(), int(label)
