"""How SYSU-MM01 and RegDB lie on disk, and which of their cameras see infrared light: readers as those of layouts."""

import os
import re
from pathlib import Path

from reidlib.data.layouts import Row, images_in, listed, need
from reidlib.files import few

CAMERAS = {"sysu": (3, 6), "regdb": (2,)}  # the infrared ones; camera 2 of RegDB is thermal
PLACES = {"sysu": (0, 1, 2, 2, 4, 5, 6)}  # of cameras 1 to 6: 2 and 3 are in one room; 0 is no place
SYSU_CAMERAS = range(1, 7)
SYSU_IDS = {"exp/train_id.txt": "train", "exp/val_id.txt": "train", "exp/test_id.txt": "test"}  # 296 + 99, 96 people
REGDB_SIDES = {"visible": 1, "thermal": 2}
REGDB, REGDB_LINE = re.compile(r"(.*\S)\s+(\d+)"), "Visible/1/male_back_v_00001_1.bmp 0"
REGDB_TRIALS = 10
REGDB_TRAIN_IDS = 206


def read_sysu(name: str, folder: Path) -> list[Row]:
    """Rows of SYSU-MM01: train and val identities are trained on; of the test identities infrared images are queries.

    The gallery is every visible image of a test identity, which `reidlib.sysu` draws from. FileNotFoundError for a
    missing camera folder or list, ValueError for a list without identities. Source: Wu et al., "RGB-Infrared
    Cross-Modality Person Re-Identification" (2017).
    """
    need(name, folder, *(f"cam{camera}" for camera in SYSU_CAMERAS), *SYSU_IDS)
    list_of = {pid: kind for file, kind in SYSU_IDS.items() for pid in _ids(name, folder, file)}
    rows = []
    for camera in SYSU_CAMERAS:
        test_part = "query" if camera in CAMERAS["sysu"] else "gallery"
        for person in os.listdir(folder / f"cam{camera}"):
            kind = list_of.get(int(person)) if person.isdecimal() else None
            part = test_part if kind == "test" else kind
            images = images_in(folder / f"cam{camera}" / person, (".jpg",)) if part else []
            rows += [Row(str(part), f"cam{camera}/{person}/{file}", str(int(person)), str(camera)) for file in images]
    return rows


def _ids(name: str, folder: Path, file: str) -> list[int]:
    words = (folder / file).read_text(encoding="utf-8-sig", errors="replace").replace(",", " ").split()
    odd = [word for word in words if not word.isdecimal()]
    if odd or not words:
        content = f"it holds {few(odd)}" if odd else "it is empty"
        raise ValueError(f"{name}: {file} should hold whole numbers between commas, as in 6,10,17; {content}")
    return [int(word) for word in words]


def read_regdb(name: str, folder: Path, trial: int = 1) -> list[Row]:
    """Rows of one of RegDB's ten splits: visible images (camera 1) are searched for among thermal ones (camera 2).

    The lists count identities from 0, in train and again in test, for different people: here they are counted from 1,
    and test continues after train. ValueError for another trial and for a line that is no path and label,
    FileNotFoundError for a missing list or folder. Source: Nguyen et al., Sensors 17(3), 2017; splits: Ye et al., 2018.
    """
    if trial not in range(1, REGDB_TRIALS + 1):
        raise ValueError(f"{name}: no trial {trial!r}; choose one of 1 to {REGDB_TRIALS}")
    lists = [(part, side) for part in ("train", "test") for side in REGDB_SIDES]
    need(name, folder, *(f"idx/{part}_{side}_{trial}.txt" for part, side in lists), "Visible", "Thermal")
    rows = []
    for kind, side in lists:
        part = kind if kind == "train" else "query" if side == "visible" else "gallery"
        first = 1 if kind == "train" else 1 + REGDB_TRAIN_IDS
        for path, label in listed(name, folder, f"idx/{kind}_{side}_{trial}.txt", REGDB, REGDB_LINE):
            rows.append(Row(part, path, str(first + int(label)), str(REGDB_SIDES[side])))
    return rows
