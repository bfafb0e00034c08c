"""Every image decoded once, in parallel, into one uint8 tensor; later epochs touch no JPEG."""

import contextlib
import itertools
import math
import os
import platform
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reidlib.files import cache_folder
from reidlib.progress import progress
from reidlib.provenance import data_digest, pixels_digest

SHARE = 32  # images that a thread takes at a time
ABANDONED = 3600  # seconds after which nobody writes a temporary file any more
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def read(file: Path, size: tuple[int, int], resize: str = "bicubic") -> np.ndarray:
    """One image as uint8 (H, W, 3) at `size` = (height, width), by Pillow's filter `resize`.

    Raises FileNotFoundError for a missing file and ValueError for one that is no image.
    """
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB").resize(size[::-1], FILTERS[resize]))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such file; rl.check(split) lists every missing or broken image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file}: not a readable image ({error}); rl.check(split) lists all such files") from error


def decode(
    files: list[Path], size: tuple[int, int] = (256, 128), resize: str = "bicubic", label: str | None = None
) -> Tensor:
    """All `files` as one uint8 tensor (N, H, W, 3), decoded and resized by all cores in the order given.

    A `label` shows a progress bar with the rate. Raises what `read` raises, with the count of images before it.
    """
    out = np.empty((len(files), *size, 3), np.uint8)
    for _ in _decoded(files, size, resize, label, out):
        pass
    return torch.from_numpy(out)


def _decoded(files, size, resize, label=None, out: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The images in order, some at a time, (n, H, W, 3) each; written into `out` too, if there is one."""

    def some(part: range) -> np.ndarray:
        images = np.empty((len(part), *size, 3), np.uint8)
        for image, i in zip(images, part, strict=True):
            try:
                image[:] = read(files[i], size, resize)
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f"{error} ({i} of {len(files)} images decoded before it)") from error
        return images

    done = 0
    with progress(label=label, total=len(files), unit="image", few=not label) as bar:
        for images in _everywhere(some, len(files)):
            if out is not None:
                out[done : done + len(images)] = images
            done += len(images)
            bar.update(len(images))
            yield images


def _everywhere(work: Callable, count: int) -> Iterator:
    """What `work` makes of ranges that cover 0..count-1, in order, by all cores, and little ahead of who takes it."""
    ranges = (range(i, min(i + SHARE, count)) for i in range(0, count, SHARE))
    with ThreadPoolExecutor(_cores()) as pool:
        ahead = deque(pool.submit(work, part) for part in itertools.islice(ranges, 4 * _cores()))
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(work, part) for part in itertools.islice(ranges, 1))
            yield made


class ImageStore:
    """The images of `shots` at one size: `images` uint8 (N, H, W, 3), `names` (N,), `digest` of the files.

    A cache file keyed by that digest, the size and the filter makes the second opening fast; a data set that changed
    has another digest and is decoded anew. Images that take more than `memory` bytes (by default half of what is free)
    stay in that file, and batches are read from it as they are needed: the same batches, only later.
    """

    def __init__(self, shots, size: tuple[int, int] = (256, 128), resize: str = "bicubic", memory: int | None = None):
        self.digest, self.names = data_digest(shots), shots.paths
        cached = cache_folder() / f"{pixels_digest(shots)}-{size[0]}x{size[1]}-{resize}.npy"
        shape = (len(shots), *size, 3)
        self.memory = memory
        self.mapped = math.prod(shape) > (_free() / 2 if memory is None else memory)
        images = _cached(cached, shape, self.mapped)
        if images is None or not _as_now(images, shots.files(), size, resize):
            images = None if self.mapped else np.empty(shape, np.uint8)
            parts = _decoded(shots.files(), size, resize, f"decode {shots.name}", images)
            _keep(cached, lambda file: _save(file, shape, parts), needed=self.mapped)
            for _ in parts:  # what is left where the cache could not be written
                pass
            images = _cached(cached, shape, True) if self.mapped else images
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "ImageStore":
        """Move the images onto a GPU where they fit into `memory` there too."""
        if device.type == "cuda" and not self.mapped:
            room = torch.cuda.mem_get_info(device)[0] / 2 if self.memory is None else self.memory
            self.images = self.images.to(device) if self.images.nbytes <= room else self.images
        return self

    def batch(self, index: np.ndarray, device: torch.device) -> Tensor:
        """The images at `index` (B,) as uint8 (B, H, W, 3) on `device`."""
        place = on(index, self.images.device)
        if self.images.device == device:
            return self.images.index_select(0, place)
        pinned = torch.empty((len(index), *self.images.shape[1:]), dtype=torch.uint8, pin_memory=True)
        return torch.index_select(self.images, 0, place, out=pinned).to(device, non_blocking=True)


def on(array: np.ndarray, device: torch.device) -> Tensor:
    """A small array on `device`. A GPU gets it by way of pinned memory, so that nobody waits for what it is doing."""
    values = torch.from_numpy(array)
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free() -> float:
    """Bytes of main memory that are free, as far as the system says."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.is_file() else None
    limit, used = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))  # of a container
    bounded = limit.is_file() and limit.read_text().strip().isdigit()
    room = int(limit.read_text()) - int(used.read_text()) if bounded else math.inf
    return min(room, 1024 * int(found[1]) if found else math.inf)


def _cached(file: Path, shape: tuple[int, ...], mapped: bool) -> np.ndarray | None:
    try:
        images = np.load(file, mmap_mode="c" if mapped else None)  # "c": as if writable, which torch asks for
    except (OSError, ValueError, EOFError):  # absent, or cut off
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _as_now(images: np.ndarray, files: list[Path], size: tuple[int, int], resize: str) -> bool:
    """Whether some cached images are what decoding gives: a crash can leave zeros, another Pillow other pixels."""
    some = np.linspace(0, len(files) - 1, 8).astype(int)
    return all(np.array_equal(images[i], read(files[i], size, resize)) for i in some)


def _save(file, shape: tuple[int, ...], parts: Iterator[np.ndarray]) -> None:
    """As np.save, from parts."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    for part in parts:
        file.write(part)


def _keep(file: Path, write: Callable, needed: bool = False) -> None:
    """Write a cache file under a temporary name, then rename; without room or permission go on uncached if possible."""
    temporary = file.with_name(f"{file.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob(f"{file.name}.*.tmp"):
            if time.time() - left.stat().st_mtime > ABANDONED:  # by a process that was killed
                left.unlink(missing_ok=True)
        with open(temporary, "wb") as stream:
            write(stream)
        os.replace(temporary, file)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:  # from `read`: an image that is not there
            raise
        problem = f"{file}: not cached ({error}); set REID_CACHE to a writable folder with room"
        if needed:
            raise OSError(f"{problem}, since main memory does not hold these images") from error
        warnings.warn(problem, stacklevel=2)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
