"""Every image decoded once, in parallel, into one uint8 tensor; later epochs touch no JPEG."""

import contextlib
import itertools
import math
import os
import time
import warnings
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
import torch
from PIL import ExifTags, Image, ImageFile
from torch import Tensor

from reidlib.data.shots import Shots
from reidlib.files import cache_folder, regular, write_whole
from reidlib.progress import progress
from reidlib.provenance import data_digest, pixels_digest

SHARE = 32  # images that a thread takes at a time
CHECKSUM = 4  # bytes at the end of a cache file
ABANDONED = 3600  # seconds after which a temporary file belongs to a process that was killed
READING = 2  # raise it when an image file gives other pixels, so that cache files are not used again
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
ALL_AT_ONCE = "of a data set, rl.check(split) lists all such files"
MOST_PIXELS = 64_000_000
UNSCALED = {"I": "pixels of 32 bits", "F": "floating-point pixels"}  # modes of PIL
TURNS = dict(zip(range(2, 9), (
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
), strict=True))  # EXIF's orientations 2 to 8, undone  # fmt: skip


def opened(file: str | Path | BinaryIO) -> ImageFile.ImageFile:
    """An image file, open: of FORMATS only (PIL would start Ghostscript for EPS), no pipe and no device."""
    return Image.open(regular(Path(file)) if isinstance(file, str | Path) else file, formats=FORMATS)


def upright(image: Image.Image) -> Image.Image:
    """An open image in RGB as a viewer shows it: turned as its EXIF orientation says, 16 bits of grey as 8.

    Grey levels 0..65535 become 0..255, each the nearest to its 257th part. Transparency is left out. ValueError for
    more than MOST_PIXELS, and for 32-bit and floating-point images, which do not say what is black and what white.
    """
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,} x {image.height:,} pixels, more than {MOST_PIXELS // 1_000_000} million"
        raise ValueError(f"{size}; make it smaller")
    if image.mode in UNSCALED:
        raise ValueError(f"{UNSCALED[image.mode]}, without a stated black and white; scale it to 8 or 16 bits of grey")
    image.load()  # PIL turns a TIFF here
    turn = TURNS.get(orientation(image))
    if image.mode.startswith("I;16"):
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 to 8; 1 if it has none or its EXIF is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # nearly anything: SyntaxError, struct.error, ValueError
        return 1


def read(file: Path, size: tuple[int, int], resize: str = "bicubic") -> np.ndarray:
    """One image as uint8 (H, W, 3) at `size` = (height, width), by Pillow's filter `resize`.

    Raises FileNotFoundError for a missing file and ValueError for one that is no image, or none that `upright` takes.
    """
    try:
        with opened(file) as image:
            return np.asarray(upright(image).resize(size[::-1], Image.Resampling[resize.upper()]))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such file; {ALL_AT_ONCE}") from None
    except Exception as error:  # PIL raises nearly anything for a damaged file
        remedy = f"{', '.join(FORMATS)} are read; {ALL_AT_ONCE}"
        raise ValueError(f"{file}: not a readable image ({error}); {remedy}") from error


def decode(
    files: list[Path], size: tuple[int, int] = (256, 128), resize: str = "bicubic", label: str | None = None
) -> Tensor:
    """Image files as uint8 (N, H, W, 3), decoded and resized on all cores, in the order given.

    `size` is (height, width), `resize` Pillow's filter, "bicubic" or "bilinear"; a `label` shows a progress bar. Raises
    what `read` raises, with the number of images decoded before it.
    """
    images = np.empty((len(files), *size, 3), np.uint8)
    for i, share in enumerate(_decoded(files, size, resize, label)):
        images[i * SHARE : (i + 1) * SHARE] = share
    return torch.from_numpy(images)


def _decoded(files: list[Path], size: tuple[int, int], resize: str, label: str | None) -> Iterator[np.ndarray]:
    """The images in order, SHARE at a time: (n, H, W, 3) each; only a few shares wait for their turn.

    (ThreadPoolExecutor.map would hold a whole data set if its images are taken slowly.)
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bar = progress(label=label or "", total=len(files), unit="image", few=not label)
    with bar, ThreadPoolExecutor(cores) as pool:
        shares = (pool.submit(_share, files, first, size, resize) for first in range(0, len(files), SHARE))
        ahead = deque(itertools.islice(shares, 4 * cores))
        while ahead:
            images = ahead.popleft().result()
            ahead.extend(itertools.islice(shares, 1))
            bar.update(len(images))
            yield images


def _share(files: list[Path], first: int, size: tuple[int, int], resize: str) -> np.ndarray:
    images = []
    for i, file in enumerate(files[first : first + SHARE], first):
        try:
            images.append(read(file, size, resize))
        except (FileNotFoundError, ValueError) as error:
            count = f" ({i} of {len(files)} images decoded before it)" if len(files) > 1 else ""
            raise type(error)(f"{error}{count}") from error
    return np.stack(images)


class ImageStore:
    """The decoded images of a set at one size, kept in a cache file, so that the next opening decodes nothing.

    The file's name is a digest of the image files with size and filter, so a data set that changed is decoded anew. So
    is a cache file whose checksum is wrong, or whose pixels differ from what Pillow decodes today. Raises what `read`
    raises, and OSError if the cache file cannot be written though memory cannot hold the images.

    Parameters
    ----------
    shots : Shots, N images
    size, resize : (height, width) in pixels, and Pillow's filter, "bicubic" or "bilinear"
    memory : int, optional
        How many bytes of memory the images may take, by default half of what is free. A larger set stays in its
        cache file, from which batches are read as they are needed. The batches are the same.

    Attributes
    ----------
    images, names : uint8 (N, H, W, 3) and str (N,), the pixels and paths of the shots
    digest, mapped : str and bool, `provenance.data_digest` and whether the images stay in the cache file
    """

    def __init__(
        self, shots: Shots, size: tuple[int, int] = (256, 128), resize: str = "bicubic", memory: int | None = None
    ) -> None:
        self.digest, self.names, self.memory = data_digest(shots), shots.paths, memory
        file = cache_folder() / f"{pixels_digest(shots)}-{size[0]}x{size[1]}-{resize}-{READING}.rgb"
        self.mapped = math.prod((len(shots), *size, 3)) > (_free() / 2 if memory is None else memory)
        images = _cached(file, shots, size, resize, self.mapped)
        images = _decode_and_keep(file, shots, size, resize, self.mapped) if images is None else images
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "ImageStore":
        """Move the images onto a GPU if they fit into `memory` there too."""
        if device.type == "cuda" and not self.mapped:
            room = torch.cuda.mem_get_info(device)[0] / 2 if self.memory is None else self.memory
            self.images = self.images.to(device) if self.images.nbytes <= room else self.images
        return self

    def batch(self, index: np.ndarray, device: torch.device) -> Tensor:
        """The images at `index` (B,) as uint8 (B, H, W, 3) on `device`."""
        positions = on(index, self.images.device)
        if self.images.device.type == device.type:
            return self.images.index_select(0, positions).to(device)
        cuda = device.type == "cuda"
        pinned = torch.empty((len(index), *self.images.shape[1:]), dtype=torch.uint8, pin_memory=cuda)
        return torch.index_select(self.images, 0, positions, out=pinned).to(device, non_blocking=cuda)


def on(array: np.ndarray, device: torch.device) -> Tensor:
    """A small array on `device`. Pinned memory lets the copy to a GPU run without waiting for the GPU's other work."""
    values = torch.from_numpy(array)
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _free() -> float:
    """Bytes of free main memory, within the limit of a container, which psutil does not know."""
    limit, used = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))
    limited = limit.is_file() and limit.read_text("utf-8").strip().isdecimal()
    room = int(limit.read_text("utf-8")) - int(used.read_text("utf-8")) if limited else math.inf
    return min(room, psutil.virtual_memory().available)


def _cached(file: Path, shots: Shots, size: tuple[int, int], resize: str, mapped: bool) -> np.ndarray | None:
    """The images of a cache file; None if there is none, or if it is damaged or not what decoding gives now."""
    length = math.prod((len(shots), *size, 3))
    try:  # "c" (copy on write) gives an array that counts as writable, which torch asks for
        kept = np.memmap(file, np.uint8, "c") if mapped else np.fromfile(file, np.uint8)
    except (OSError, ValueError):  # absent, or empty
        return None
    checksum = int.from_bytes(kept[length:].tobytes(), "little")
    if len(kept) != length + CHECKSUM or zlib.crc32(kept[:length].data) != checksum:
        return None
    images = kept[:length].reshape(len(shots), *size, 3)
    some = np.linspace(0, len(shots) - 1, min(8, len(shots))).astype(int)  # another Pillow may give other pixels
    return images if all(np.array_equal(images[i], read(shots.file(i), size, resize)) for i in some) else None


def _decode_and_keep(file: Path, shots: Shots, size: tuple[int, int], resize: str, mapped: bool) -> np.ndarray:
    """Decode a set and write its cache file. The file may fail to be written only if memory holds the images."""
    label = f"decode {shots.name}"
    images = None if mapped else decode(shots.files(), size, resize, label).numpy()
    shares = _decoded(shots.files(), size, resize, label) if images is None else iter([images])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob("*.tmp"):
            with contextlib.suppress(OSError):  # another process has finished it, or has it open
                if time.time() - left.stat().st_mtime > ABANDONED:
                    left.unlink()
        write_whole(file, lambda stream: _save(stream, shares))
    except OSError as error:
        if error.errno is None:  # raised by `read`: a missing image
            raise
        problem = f"{file}: not cached ({error}); set REID_CACHE to a writable folder with room"
        if images is None:
            raise OSError(f"{problem}, since main memory does not hold these images") from error
        warnings.warn(problem, stacklevel=3)
    return np.memmap(file, np.uint8, "c", shape=(len(shots), *size, 3)) if images is None else images


def _save(stream: BinaryIO, shares: Iterable[np.ndarray]) -> None:
    """The bytes of the images, then their checksum."""
    checksum = 0
    for share in shares:
        stream.write(share.data)
        checksum = zlib.crc32(share.data, checksum)
    stream.write(checksum.to_bytes(CHECKSUM, "little"))
