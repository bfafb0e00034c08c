"""What is wrong with a data set, all at once: check()."""

import io
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from reidlib.data.images import MOST_PIXELS, UNSCALED, opened, orientation, upright
from reidlib.data.infrared import PLACES
from reidlib.data.layouts import BOXES, FOLDERS, IMAGES, PARTS, TOYS
from reidlib.data.loading import differences
from reidlib.data.shots import Split, same_images
from reidlib.files import few, regular
from reidlib.progress import progress

HEIGHT, WIDTH = 16, 8  # of the last feature map of a 256 x 128 image: a smaller image cannot tell people apart
# Mean difference between a pixel's largest and smallest channel, of 255. A grey image has 0, also after a JPEG of any
# quality; of Market-1501's 3,368 queries the greyest has 1.5, one in a thousand has less than 2.
COLOUR = 2.0
KINDS = {  # of defects of images, in the order of a report, each with the remedy
    "missing": "cannot be read, or no regular file; copy the data set again",
    "broken": "cannot be decoded; copy them again or remove them",
    "too large": f"more than {MOST_PIXELS // 1_000_000} million pixels, which are refused; make them smaller",
    "no scale": "pixels of 32 bits or floats, which are refused; scale them all alike to 8 or 16 bits of grey",
    "16 bits": "pixels of 16 bits, of which 0..65535 is read as 0..255; if they fill a part of that only, as thermal "
    "counts do, scale them all alike first",
    "turned": "an EXIF orientation; they are read as a viewer shows them, and other programs may not turn them",
    "transparent": "transparent pixels, whose hidden colours are read; paste the images on a background",
    "constant": "all pixels are the same; remove them",
    "colour": "in colour, though their camera is infrared; they lie in the folder of another camera",
    "tiny": f"less than {HEIGHT} pixels high or {WIDTH} wide; remove them",
    "duplicate within a part": "the same bytes as another file of train, query or gallery; keep one",
    "duplicate between parts": "the same bytes as a file of another part; keep one",
    "duplicate of two identities": "the same bytes with different pids; correct the labels",
    "unread": "not used: by their name or their place they are no images of the set; rename, move or remove them",
    "identity in train and test": "training images of people who are tested; remove them",
    "identity with one image": "in train, with no second image of the same person",
    "query without a match": "no gallery image of their identity, or none by a camera that counts; they are left out",
}
SINGLE_CAMERA = (
    "queries and gallery are all of camera {}, and Market's rule ignores matches of the query's own camera: "
    'every query is left without a match; use score(..., same_camera="keep"), or give camids'
)
NO_CAMERAS = (
    "every image has camera 0, so every match counts as one of the query's own camera, which Market's rule ignores; "
    "name the cameras in a column camid or as c1 in file names"
)
REFUSED = {"too large", "no scale"}
IGNORED = {"thumbs.db", "desktop.ini", ".ds_store"}  # what Windows and macOS write into every folder


class Problem(NamedTuple):
    """One kind of defect: its name, a sentence with the remedy, and the paths of the images concerned, sorted."""

    kind: str
    message: str
    files: list[str]


@dataclass(frozen=True)
class Report:
    """What `check` found, in a fixed order. `print(report)` shows each problem with its count and its first files."""

    name: str
    images: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        kinds = len(self.problems)
        found = f"{kinds} kind{'s' * (kinds != 1)} of problem" if kinds else "no problems"
        lines = [f"{self.name}: {self.images:,} images checked, {found} found"]
        for problem in self.problems:
            count = f" ({len(problem.files):,})" if problem.files else ""
            lines.append(f"- {problem.kind}{count}: {problem.message}")
            lines += [f"    {few(problem.files)}"] if problem.files else []
        return "\n".join(lines)


def check(split: Split) -> Report:
    """Report every defect of a data set at once, of its files, its labels and its counts; raise none.

    It decodes every image (Market-1501: 36,036 of them in 12 s on two cores). `report.ok` says if nothing is wrong.

    Examples
    --------
    >>> from reidlib.data.shots import Shots
    >>> nobody = Shots("empty/train", Path("nowhere"), np.array([], str), np.array([], int), np.array([], int))
    >>> check(Split("empty", nobody, nobody, nobody))
    empty: 0 images checked, no problems found
    """
    if not isinstance(split, Split):
        raise ValueError(f"check takes a Split, as rl.load returns it, not a {type(split).__name__}")
    cameras = np.union1d(split.query.camids, split.gallery.camids)
    single = len(cameras) == 1 and bool(len(split.query) and len(split.gallery))
    files = _bad_files(split) | _bad_labels(split, single) | {"unread": _unread(split)}
    problems = [Problem(kind, text, sorted(files[kind])) for kind, text in KINDS.items() if files.get(kind)]
    if single:
        problems.append(Problem("single camera", SINGLE_CAMERA.format(cameras[0]) if cameras[0] else NO_CAMERAS, []))
    problems += [Problem("counts", message, []) for message in differences(split)]
    return Report(split.name, sum(len(getattr(split, part)) for part in _parts(split)), problems)


def _parts(split: Split) -> tuple[str, ...]:
    """The parts to read: where each query is searched for among the others, the gallery is the queries again."""
    return tuple(part for part in PARTS if part != "gallery" or not same_images(split.query, split.gallery))


def _bad_files(split: Split) -> dict[str, list[str]]:
    """Kind -> files: those of no use, and equal ones (a copy of a query is too easy to find, or was trained on)."""
    files, copies = defaultdict(list), defaultdict(list)
    with ThreadPoolExecutor() as pool:  # PIL decodes outside the interpreter's lock
        for part in _parts(split):
            shots = getattr(split, part)
            states = pool.map(_read, shots.files(), shots.infrared)
            shown = progress(states, f"check {shots.name}", len(shots), "image", few=len(shots) < 5000)
            for (kinds, digest), path, pid in zip(shown, shots.paths.tolist(), shots.pids.tolist()):
                for kind in kinds:
                    files[kind].append(path)
                copies[digest].append((part, path, pid))
    copies.pop("", None)  # the missing ones
    for group in copies.values():
        parts, paths, pids = zip(*group)
        if len(group) > 1:
            files["duplicate within a part" if len({*parts}) == 1 else "duplicate between parts"] += paths
            files["duplicate of two identities"] += paths if len({*pids}) > 1 else ()
    return files


def _read(file: Path, infrared: bool) -> tuple[set[str], str]:
    """The kinds of defect of one file, and a digest of its bytes ("" if it has none)."""
    kinds: dict[str, bool] = {}
    try:
        content = regular(file).read_bytes()
    except OSError:
        return {"missing"}, ""
    digest = blake2b(content).hexdigest()
    try:
        opened(io.BytesIO(content)).verify()  # checksums; an image cannot be used after it, so open it again
        with opened(io.BytesIO(content)) as image:
            kinds = _of_header(image)
            shown = upright(image)
            kinds["turned"] |= orientation(image) > 1
            if image.has_transparency_data and not image.mode.startswith("I"):
                kinds["transparent"] = bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)
    except Image.DecompressionBombError:  # PIL's own limit
        return {"too large"}, digest
    except Exception:  # on a damaged file PIL raises nearly anything: OSError, SyntaxError, ValueError, struct.error
        return {kind for kind in REFUSED if kinds.get(kind)} or {"broken"}, digest
    pixels = np.asarray(shown)
    kinds |= {"tiny": shown.height < HEIGHT or shown.width < WIDTH, "constant": bool((pixels == pixels[0, 0]).all())}
    kinds["colour"] = infrared and is_colour(shown)
    return {kind for kind in kinds if kinds[kind]}, digest


def _of_header(image: ImageFile.ImageFile) -> dict[str, bool]:
    """The kinds of defect that show before an image is decoded; PIL decodes colours of 16 bits as 8."""
    return {
        "too large": image.width * image.height > MOST_PIXELS,
        "no scale": image.mode in UNSCALED,
        "16 bits": image.mode.startswith("I;16") or bool(re.search(";16[BLN]", str(image.tile))),
        "turned": image.format == "TIFF" and orientation(image) > 1,  # PIL turns it and forgets the orientation
    }


def is_colour(image: Image.Image) -> bool:
    """Whether an image has colours, which no infrared camera records; grey saved in three channels has none."""
    return float(np.ptp(np.asarray(image.convert("RGB"), np.int16), axis=2).mean()) > COLOUR


def _unread(split: Split) -> list[str]:
    """Files in the folders that `load` did not read; a table, unlike a folder, may leave files out.

    Beside the parts of one's own folder only images count.
    """
    root = split.train.root
    known = {path for part in PARTS for path in getattr(split, part).paths.tolist()}
    parts = {path.split("/")[0] for path in known} | {*PARTS, *BOXES.values()}
    files = [file for file in root.rglob("*") if not file.is_dir()] if split.complete else []
    left = {file.relative_to(root) for file in files if file.name.lower() not in IGNORED}
    own = split.name.partition(":")[0] not in FOLDERS
    if split.name == "sysu":  # images of people whom none of its lists names
        left = {file for file in left if not file.match("cam[1-6]/[0-9]*/*.jpg")}
    return [
        file.as_posix()
        for file in left
        if file.as_posix() not in known and (file.parts[0] in parts or (own and file.suffix.lower() in IMAGES))
    ]


def _bad_labels(split: Split, single_camera: bool) -> dict[str, list[str]]:
    """Training images of tested people or without a second one, and queries without a gallery image that counts."""
    train, query, gallery = split.train, split.query, split.gallery
    tested = np.isin(train.pids, np.union1d(query.ids, gallery.ids))
    ids, images = np.unique(train.pids, return_counts=True)
    alone = np.isin(train.pids, ids[images == 1])
    kind = split.name.partition(":")[0]
    rooms = PLACES.get(TOYS.get(kind, kind))
    places = [np.take(rooms, shots.camids) if rooms else shots.camids for shots in (query, gallery)]
    same_pid = Counter(gallery.pids.tolist())
    ignored = Counter(() if single_camera else zip(gallery.pids.tolist(), places[1].tolist()))
    labels = zip(query.pids.tolist(), places[0].tolist())
    itself = int(single_camera and same_images(query, gallery))  # otherwise it is of its own camera, and ignored
    lost = np.array([same_pid[pid] == (ignored[pid, camid] or itself) for pid, camid in labels], bool)
    return {
        "identity in train and test": train.paths[tested].tolist(),
        "identity with one image": train.paths[alone].tolist(),
        "query without a match": query.paths[lost].tolist(),
    }
