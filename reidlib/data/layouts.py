"""How data sets lie on disk: each reader here turns a folder or a table into rows (part, path, pid, camid)."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from reidlib.files import few, project

TOYS = {"toy": "market", "toy-duke": "duke", "toy-sysu": "sysu"}  # the network that reidlib.toy draws for each
FOLDERS = {  # below the root of all data sets, the names that the authors' archives unpack to
    "market": ("Market-1501-v15.09.15",),
    "duke": ("DukeMTMC-reID",),
    "msmt17": ("MSMT17", "MSMT17_V1", "MSMT17_V2"),
    "sysu": ("SYSU-MM01",),
    "regdb": ("RegDB",),
} | {name: (name,) for name in TOYS}
PARTS = ("train", "query", "gallery")
MARKS = {"msmt17": "list_train.txt", "sysu": "cam1", "regdb": "idx"}  # what tells a set's own folder, if not BOXES
BOXES = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
LISTS = {"train": "train", "val": "train", "query": "query", "gallery": "gallery"}  # MSMT17 trains on train and val
MSMT17_TRAIN_IDS = 1041
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}  # what counts as an image in a folder of one's own

MARKET = re.compile(r"(-1|\d{4})_c(\d)s\d_")  # 0002_c1s1_000451_03.jpg: identity 2, camera 1, sequence 1, frame, box
DUKE = re.compile(r"(-1|\d{4})_c(\d)_f\d")  # 0002_c1_f0044158.jpg: identity 2, camera 1, frame
MSMT17 = re.compile(r"((?:.*/)?\d+_\d+_(\d+)_[^/]*) (\d+)")  # a line of a list: path with camera 1, and identity 0
MSMT17_LINE = "0000/0000_000_01_0303morning_0008_0.jpg 0"
OWN = re.compile(r"(-1|\d+)_c(\d+)(?:s\d+)?_")  # Market's or Duke's, with any number of digits
CAMERA = re.compile(r"(?:^|[_-])c(\d+)(?:s\d+)?(?=[_.-])")  # a field c3 anywhere in a name of one's own


class Row(NamedTuple):
    """One image as its file name says, before identities and cameras become numbers; camid "" if it is unknown."""

    part: str
    path: str
    pid: str
    camid: str


def data_root(root: str | Path | None = None) -> Path:
    """The folder of all data sets: `root`, else $REID_DATA, else data/ of the repository, else ./data."""
    chosen = root or os.environ.get("REID_DATA")
    return Path(chosen).expanduser() if chosen else project() / "data"


def own_name(source: Path) -> str:
    """The name of a data set of the user's: the last part of its path, unless that is the name of a built-in set."""
    return f"own-{source.name}" if source.name.partition(":")[0] in FOLDERS else source.name


def home(name: str, base: Path) -> Path:
    """The set's own folder: `base` itself, or below it one of the names of FOLDERS."""
    mark = MARKS.get(name, BOXES["train"])
    below = [base / folder for folder in FOLDERS[name]]
    return next((folder for folder in [base, *below] if (folder / mark).exists()), below[0])


def own(name: str | Path, base: Path) -> Path:
    """The user's folder or table at the path `name`, as it is or below the root `base`."""
    for path in (Path(name).expanduser(), base / name):
        if path.exists():
            return Path(os.path.abspath(path))
    if isinstance(name, Path) or os.sep in name or name.endswith(".csv"):
        raise FileNotFoundError(f"no folder or CSV file {name}; give its path, or its path under {base}")
    instead = f"choose one of {', '.join(FOLDERS)} or give a folder, a CSV file or package.module:function"
    raise ValueError(f"no data set {name!r}; {instead}")


def need(name: str, folder: Path, *items: str) -> None:
    """Raise FileNotFoundError, with the remedy, for the first of `items` that is not in `folder`."""
    missing = next((item for item in items if not (folder / item).exists()), None)
    if missing:
        withdrawn = " (withdrawn by its authors in 2019: bring your own copy)" if name == "duke" else ""
        remedy = "; put it there, pass root= or set REID_DATA" if name in FOLDERS else ""
        raise FileNotFoundError(f"{name}: {missing} not found under {folder}{withdrawn}{remedy}; see data/README.md")


def read_boxes(name: str, folder: Path, pattern: re.Pattern) -> list[Row]:
    """Rows of Market's and Duke's layout from the file names. Only *.jpg: Market's folders hold a Thumbs.db."""
    need(name, folder, *BOXES.values())
    rows = []
    for part, sub in BOXES.items():
        names = [file for file in os.listdir(folder / sub) if file.endswith(".jpg")]
        rows += _parsed(name, part, sub, names, pattern)
    return rows


def _parsed(name: str, part: str, sub: str, names: list[str], pattern: re.Pattern) -> list[Row]:
    matches = {file: pattern.match(file) for file in names}
    if odd := sorted(file for file, match in matches.items() if not match):
        raise ValueError(f"{name}: no identity and camera in names in {sub}: {few(odd)}; rename or remove the files")
    return [Row(part, f"{sub}/{file}", *match.groups()) for file, match in matches.items() if match]


def read_msmt17(name: str, folder: Path) -> list[Row]:
    """Rows of MSMT17 from its list files; its pids 0.. are counted from 1, and those of test on from train's."""
    train, test = ("train", "test") if (folder / "train").exists() else ("mask_train_v2", "mask_test_v2")  # V1, V2
    need(name, folder, *(f"list_{which}.txt" for which in LISTS), train, test)
    rows = []
    for which, part in LISTS.items():
        first, sub = (1, train) if part == "train" else (1 + MSMT17_TRAIN_IDS, test)
        for path, camera, pid in listed(name, folder, f"list_{which}.txt", MSMT17, MSMT17_LINE):
            rows.append(Row(part, f"{sub}/{path}", str(first + int(pid)), camera))
    return rows


def listed(name: str, folder: Path, file: str, pattern: re.Pattern, example: str) -> Iterator[tuple[str, ...]]:
    """The groups of `pattern` in each line of a list file. ValueError, with an example, for a line of another form."""
    for number, line in enumerate((folder / file).read_text().splitlines(), 1):
        match = pattern.fullmatch(line.strip())
        if match:
            yield match.groups()
        elif line.strip():
            wanted = f"expected a path and a label, as in {example}, got {line.strip()!r}"
            raise ValueError(f"{name}: {file}, line {number}: {wanted}")


def read_folder(name: str, folder: Path) -> list[Row]:
    """Rows of a user's folder: train, query and gallery (or Market's names for them), each with one sub-folder for each
    identity, or with Market's or Duke's file names."""
    rows = []
    for part in PARTS:
        sub = BOXES[part] if (folder / BOXES[part]).is_dir() else part
        need(name, folder, sub)
        files = [[f for f in (folder / sub).glob(glob) if f.suffix.lower() in IMAGES] for glob in ("*", "*/*")]
        loose, nested = sorted(file.name for file in files[0]), files[1]
        if loose and nested:
            raise ValueError(f"{name}: {sub} holds sub-folders and loose images; move {few(loose)}")
        rows += _parsed(name, part, sub, loose, OWN)
        for file in nested:
            person, camera = file.parent.name, CAMERA.search(file.name)
            rows.append(Row(part, f"{sub}/{person}/{file.name}", person, camera[1] if camera else ""))
    return rows


def read_table(file: Path) -> list[Row]:
    """Rows of a CSV table: columns path (below the table's folder), pid, split and, if known, camid.

    ValueError names the lines that cannot be used, and why.
    """
    with open(file, newline="", encoding="utf-8-sig") as stream:  # -sig: Excel begins a file with a byte order mark
        table = csv.DictReader(stream)
        columns = table.fieldnames or []
        missing = [column for column in ("path", "pid", "split") if column not in columns]
        if missing:
            raise ValueError(f"{file.name}, line 1: no column {', '.join(missing)}; found: {', '.join(columns)}")
        rows, bad = [], []
        for record in table:
            cells = {key: (value or "").strip() for key, value in record.items() if key}
            problem = _problem(file.parent, cells)
            bad += [f"line {table.line_num}: {problem}"] if problem else []
            rows.append(Row(cells["split"], str(PurePosixPath(cells["path"])), cells["pid"], cells.get("camid", "")))
    if bad:
        raise ValueError(f"{file.name}: {few(bad)}")
    return rows


def _problem(folder: Path, cells: dict[str, str]) -> str | None:
    """What is wrong with one record of a table. A path may not leave the table's folder, so that both can be moved."""
    path = PurePosixPath(cells["path"])
    if empty := [column for column in ("path", "pid", "camid") if cells.get(column) == ""]:
        return f"{empty[0]} is empty"
    if cells["split"] not in PARTS:
        return f"split is {cells['split']!r}, not train, query or gallery"
    if path.is_absolute() or ".." in path.parts:
        return f"path {cells['path']!r} leaves the table's folder; put the table above its images"
    return None if (folder / path).is_file() else f"no file {cells['path']!r}"
