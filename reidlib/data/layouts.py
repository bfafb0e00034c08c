"""How data sets lie on disk: each reader here turns a folder into rows (part, path, pid, camid)."""

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from reidlib.files import few, project

TOYS = {"toy": "market", "toy-duke": "duke", "toy-sysu": "sysu"}  # the network that reidlib.toy draws for each
FOLDERS = {  # below the root of all data sets, the names that the authors' archives unpack to
    "market": ("Market-1501-v15.09.15",),
    "duke": ("DukeMTMC-reID",),
    "msmt17": ("MSMT17", "MSMT17_V1", "MSMT17_V2"),
    "sysu": ("SYSU-MM01",),
    "regdb": ("RegDB",),
    "cuhk01": ("CUHK01",),
    "cuhk03": ("cuhk03-np", "CUHK03-NP", "CUHK03"),
} | {name: (name,) for name in TOYS}
PARTS = ("train", "query", "gallery")
# What tells a set's own folder, if not BOXES
MARKS = {"msmt17": "list_train.txt", "sysu": "cam1", "regdb": "idx", "cuhk01": "campus", "cuhk03": "detected"}
BOXES = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
LISTS = {"train": "train", "val": "train", "query": "query", "gallery": "gallery"}  # MSMT17 trains on train and val
MSMT17_TRAIN_IDS = 1041
YOURS = "see docs/your_data.md"
IMAGES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"}  # in a folder of one's own

MARKET = re.compile(r"(-1|\d{4})_c(\d)s\d_")  # 0002_c1s1_000451_03.jpg: identity 2, camera 1, sequence 1, frame, box
DUKE = re.compile(r"(-1|\d{4})_c(\d)_f\d")  # 0002_c1_f0044158.jpg: identity 2, camera 1, frame
CUHK01 = re.compile(r"(\d{4})(00[1-4])\.")  # 0971003.png: identity 971, third image
MSMT17 = re.compile(r"((?:.*/)?\d+_\d+_(\d+)_[^/]*) (\d+)")  # a line of a list: path with camera 1, and identity 0
MSMT17_LINE = "0000/0000_000_01_0303morning_0008_0.jpg 0"
OWN = re.compile(r"(-1|\d+)_c(\d+)(?:s\d+)?_", re.I)  # Market's or Duke's, with any number of digits
CAMERA = re.compile(r"(?:^|[_-])c(\d+)(?:s\d+)?(?=[_.-])", re.I)  # a field c3 or C3 anywhere in a name of one's own
NEAR_CAMERA = re.compile(r"cam(?:era)?[ _-]*\d+|(?<![a-z])c\d+", re.I)  # what may be meant as one


class Row(NamedTuple):
    """One image as its name or its line says, before labels become numbers; camid "" if it is unknown.

    `place` is the line of a table, for messages; an image without one is named by its path.
    """

    part: str
    path: str
    pid: str
    camid: str
    place: str = ""


def data_root(root: str | Path | None = None) -> Path:
    """The folder of all data sets: `root`, else $REID_DATA, else data/ of the repository, else ./data."""
    chosen = root or os.environ.get("REID_DATA")
    folder = Path(chosen).expanduser() if chosen else project() / "data"
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file; root and REID_DATA name the folder of all data sets")
    return folder


def own_name(source: Path) -> str:
    """The name of a data set of the user's: the last part of its path, unless that is the name of a built-in set."""
    return f"own-{source.name}" if source.name.partition(":")[0] in FOLDERS else source.name


def joined_names(name: str) -> list[str]:
    """The built-in sets that a name such as "market+cuhk03" joins; of any other name the name itself."""
    names = name.split("+")
    return names if len(names) > 1 and all(part in FOLDERS for part in names) else [name]


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
    if isinstance(name, Path) or "/" in name or os.sep in name or name.endswith(".csv"):
        raise FileNotFoundError(f"no folder or CSV file {name}; give its path, or its path under {base}")
    instead = f"choose one of {', '.join(FOLDERS)} or give a folder, a CSV file or package.module:function"
    raise ValueError(f"no data set {name!r}; {instead}")


def need(name: str, folder: Path, *items: str) -> None:
    """Raise FileNotFoundError, with the remedy, for the first of `items` that is not in `folder`."""
    missing = next((item for item in items if not (folder / item).exists()), None)
    if missing:
        withdrawn = " (withdrawn by its authors in 2019: bring your own copy)" if name == "duke" else ""
        built_in = f"{withdrawn}; put it there, pass root= or set REID_DATA; see data/README.md"
        remedy = built_in if name in FOLDERS else f"; images of your own lie in {', '.join(PARTS)}: {YOURS}"
        raise FileNotFoundError(f"{name}: {missing} not found under {folder}{remedy}")


def images_in(folder: Path, endings: Iterable[str] = IMAGES) -> list[str]:
    """The names of images in a folder, by their endings; a name that begins with a dot is a file of some program."""
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return [name for name in names if os.path.splitext(name)[1].lower() in endings]


def no_cameras(name: str, looked_for: str, near: list[str], depth: int) -> None:
    """Warn that no image has a camera, with where cameras were looked for and what may be one."""
    hint = f". If {few(near)} is meant as one, rename it" if near else ""
    text = f"{name}: no cameras are known, so every image gets camera 0: there is no {looked_for}{hint}"
    warnings.warn(text, stacklevel=depth)  # the line that called load


def read_boxes(name: str, folder: Path, pattern: re.Pattern, endings: Iterable[str] = (".jpg",)) -> list[Row]:
    """Rows of Market's and Duke's layout from the file names."""
    need(name, folder, *BOXES.values())
    rows = []
    for part, sub in BOXES.items():
        rows += _parsed(name, part, sub, images_in(folder / sub, endings), pattern)
    return rows


def _parsed(name: str, part: str, sub: str, names: list[str], pattern: re.Pattern) -> list[Row]:
    matches = {file: pattern.match(file) for file in names}
    if odd := sorted(file for file, match in matches.items() if not match):
        raise ValueError(f"{name}: no identity and camera in names in {sub}: {few(odd)}; rename or remove the files")
    return [Row(part, f"{sub}/{file}", *match.groups()) for file, match in matches.items() if match]


def read_cuhk01(name: str, folder: Path) -> list[Row]:
    """Rows of CUHK01 as a test set alone: the first image of each person is a query, the third and fourth the gallery.

    Images 1 and 2 are of one camera, 3 and 4 of the other. Source: Li, Zhao, Wang, "Human Reidentification with
    Transferred Metric Learning" (ACCV 2012).
    """
    need(name, folder, "campus")
    rows = _parsed(name, "", "campus", images_in(folder / "campus"), CUHK01)
    parts = {"001": ("query", "1"), "003": ("gallery", "2"), "004": ("gallery", "2")}
    used = [(row, parts[row.camid]) for row in rows if row.camid in parts]
    return [row._replace(part=part, camid=camid) for row, (part, camid) in used]


def read_cuhk03(name: str, folder: Path) -> list[Row]:
    """Rows of CUHK03 in its protocol of 767 and 700 people, boxes of the detector, unpacked in Market's folders.

    Source: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017).
    """
    rows = read_boxes(name, folder / "detected", OWN, (".png", ".jpg"))
    return [row._replace(path=f"detected/{row.path}") for row in rows]


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
    for number, line in enumerate((folder / file).read_text("utf-8").splitlines(), 1):
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
        people = [person for person in os.listdir(folder / sub) if (folder / sub / person).is_dir()]
        loose = _files(folder / sub)
        nested = [(who, file) for who in people if not who.startswith(".") for file in _files(folder / sub / who)]
        if loose and nested:
            raise ValueError(f"{name}: {sub} holds sub-folders and loose images; move {few(sorted(loose))}")
        rows += _parsed(name, part, sub, loose, OWN)
        for person, file in nested:
            camera = CAMERA.search(file)
            rows.append(Row(part, f"{sub}/{person}/{file}", person, camera[1] if camera else ""))
    if rows and not any(row.camid for row in rows):
        near = [f"{match[0]!r} in {row.path}" for row in rows if (match := NEAR_CAMERA.search(row.path))]
        no_cameras(name, "field like _c2_ in the file names", sorted(near)[:3], depth=5)
    return rows


def _files(folder: Path) -> list[str]:
    return [name for name in images_in(folder) if (folder / name).is_file()]
