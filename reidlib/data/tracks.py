"""Crops of a tracker: a folder of tracks, or boxes in MOT's form beside the frames of a video.

A track counts as a person: its first crop is a query, the others are the gallery. Nothing is said of who is who across
tracks, and nothing can be trained on; embed the crops and group them, or name them in a gallery.
"""

import csv
import hashlib
import math
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from reidlib.data.images import READING, opened, upright
from reidlib.data.layouts import CAMERA, PARTS, Row, images_in
from reidlib.files import cache_folder, few, made

TRACK = re.compile(r"track[_-]?(\w+)", re.I)  # the folder of a track
TABLES = ("gt/gt.txt", "gt.txt", "det/det.txt", "det.txt")  # in this order: with identities first
PEOPLE = {1, -1}  # MOT's classes of boxes that are read: pedestrians, and none stated
FROM_1 = "count tracks from 1: here 0 marks boxes without a track, each of a stranger"
LEAST = 8  # pixels of a box, in each direction, below which it shows nobody


class Box(NamedTuple):
    """One line of a table: its frame, track (-1 in det.txt) and place in pixels."""

    frame: int
    track: int
    left: float
    top: float
    width: float
    height: float


def read_tracks(name: str, folder: Path) -> tuple[Path, list[Row]] | None:
    """The root and the rows of a folder of tracks or of a video with its boxes; None for any other folder."""
    if any((folder / part).is_dir() for part in PARTS):
        return None
    table = next((folder / table for table in TABLES if (folder / table).is_file()), None)
    root = folder if table is None else _cut(name, folder, table)
    of: dict[str, str] = {}  # track -> its folder
    rows = []
    for sub in sorted(root.iterdir()):
        if sub.is_dir() and (track := TRACK.fullmatch(sub.name)):
            for i, file in enumerate(sorted(images_in(sub), key=_counted)):
                camera = CAMERA.search(file)
                pid = str(int(track[1])) if track[1].isdecimal() else track[1]
                if of.setdefault(pid, sub.name) != sub.name:
                    raise ValueError(f"{name}: folders {of[pid]} and {sub.name} are both of track {pid}; rename one")
                if pid == "0" and table is None:
                    raise ValueError(f"{name}: folder {sub.name}; {FROM_1}")
                part = "query" if i == 0 and pid != "0" else "gallery"  # 0: boxes without a track, each a stranger
                rows.append(Row(part, f"{sub.name}/{file}", pid, camera[1] if camera else ""))
    if table is not None and not rows:
        raise ValueError(f"{name}: no box of {table.name} lies inside its frame; are its columns left, top in pixels?")
    return (root, rows) if rows else None


def _counted(file: str) -> list[int | str]:
    """What sorts the files of a track by their numbers: frame_2.png is before frame_10.png."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file)]


def _cut(name: str, folder: Path, table: Path) -> Path:
    """A folder of tracks cut from the frames of a video, once: it lies in the cache, under a digest of all it is from.

    ValueError for a table that cannot be read and for frames that are missing.
    """
    boxes, frames = _boxes(name, table), _frames(name, folder)
    if absent := sorted({box.frame for box in boxes} - frames.keys()):
        raise ValueError(f"{name}: {table.name} has boxes in frames without an image: {few(list(map(str, absent)))}")
    digest = hashlib.blake2b(table.read_bytes() + str(READING).encode(), digest_size=10)
    for frame in sorted({box.frame for box in boxes}):
        stat = frames[frame].stat()
        digest.update(f"{frames[frame].resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    done = cache_folder() / f"crops-{digest.hexdigest()}"
    if not done.is_dir():
        made(cache_folder(), "the crops of tracks lie in $REID_CACHE")
        with tempfile.TemporaryDirectory(dir=cache_folder()) as unfinished:
            _write(name, boxes, frames, Path(unfinished))
            if not done.is_dir():  # another process may have been faster
                shutil.move(unfinished, done)
    return done


def _boxes(name: str, table: Path) -> list[Box]:
    """The boxes of people in a table of MOT: frame, id, left, top, width, height, flag or confidence, class, ..."""
    boxes = []
    with open(table, newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(csv.reader(stream), 1):
            try:
                values = [float(value) for value in line]
                box = Box(int(values[0]), int(values[1]), *values[2:6])
                if not all(map(math.isfinite, box)):
                    raise ValueError
            except (ValueError, TypeError, IndexError, OverflowError):
                if any(line):
                    said = f"{name}: {table.name}, line {number}: not frame, id, left, top, width, height: {line}"
                    raise ValueError(said) from None
                continue
            real = table.name == "det.txt" or len(values) < 7 or values[6] != 0  # 0: not to be evaluated
            person = len(values) not in (8, 9) or int(values[7]) in PEOPLE  # ten: column 8 is a place in the world
            if real and person and min(box.width, box.height) >= LEAST:
                boxes.append(box)
    if any(box.track == 0 for box in boxes):
        raise ValueError(f"{name}: {table.name} has a track 0; {FROM_1}")
    if not boxes:
        raise ValueError(f"{name}: {table.name} has no box of a person of {LEAST} x {LEAST} pixels")
    return boxes


def _frames(name: str, folder: Path) -> dict[int, Path]:
    """The frames by number: the images in img1, or in the one sub-folder that holds images."""
    folders = [folder / "img1"] if (folder / "img1").is_dir() else [sub for sub in folder.iterdir() if sub.is_dir()]
    holding = [sub for sub in folders if images_in(sub)]
    if len(holding) != 1:
        raise ValueError(f"{name}: {len(holding)} sub-folders with images beside the boxes; put the frames into img1")
    numbers = {file: re.search(r"(\d+)\.\w+$", file) for file in images_in(holding[0])}
    frames: dict[int, Path] = {}
    for file, match in numbers.items():
        if match and (other := frames.setdefault(int(match[1]), holding[0] / file)).name != file:
            both = few(sorted((file, other.name)))
            raise ValueError(f"{name}: two images of frame {int(match[1])}: {both}; keep the frames of one video")
    return frames


def _write(name: str, boxes: list[Box], frames: dict[int, Path], target: Path) -> None:
    """Every box as track_0012/frame_000345_2.png: the pixels of the frame, those outside of it left out."""
    of_frame = defaultdict(list)
    for box in boxes:
        of_frame[box.frame].append(box)
    for frame, here in of_frame.items():
        try:
            with opened(frames[frame]) as file:
                image = upright(file)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{name}: frame {frames[frame]} cannot be decoded ({error}); copy it again") from None
        for i, box in enumerate(here):
            edges = [round(v) for v in (box.left, box.top, box.left + box.width, box.top + box.height)]
            left, top, right, bottom = (
                min(max(edge, 0), most) for edge, most in zip(edges, 2 * image.size, strict=True)
            )
            if min(right - left, bottom - top) >= LEAST:
                sub = target / f"track_{max(box.track, 0):04d}"
                sub.mkdir(exist_ok=True)
                image.crop((left, top, right, bottom)).save(sub / f"frame_{frame:06d}_{i}.png", compress_level=1)
