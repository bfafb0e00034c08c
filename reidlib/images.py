"""Every image decoded once, in parallel, into one uint8 tensor; later epochs touch no JPEG."""

import contextlib
import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reidlib.progress import progress

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

    A `label` shows a progress bar. Raises what `read` raises, with the count of images decoded before.
    """
    out = np.empty((len(files), *size, 3), np.uint8)
    with ThreadPoolExecutor(_cores()) as pool:
        arrays = pool.map(lambda file: read(file, size, resize), files)
        bar = progress(arrays, label, len(files), "image", few=not label)
        done = 0
        try:
            for array in bar:
                out[done] = array
                done += 1
        except (FileNotFoundError, ValueError) as error:
            pool.shutdown(cancel_futures=True)
            raise type(error)(f"{error} ({done} of {len(files)} images decoded before it)") from error
    return torch.from_numpy(out)


def cache_folder() -> Path:
    """Where decoded images are kept: $REID_CACHE, else ~/.cache/reidlib. Safe to delete at any time."""
    return Path(os.environ.get("REID_CACHE") or Path.home() / ".cache" / "reidlib")


def data_digest(shots) -> str:
    """A short digest of the names and the bytes of all images: the identity of a data set.

    Sizes and modification times are a shortcut to a digest that was computed before, never a part of it.
    """
    stats = hashlib.blake2b(str(shots.root.resolve()).encode(), digest_size=10)
    for name in shots.paths:
        stat = os.stat(shots.root / name)
        stats.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    known = cache_folder() / f"{stats.hexdigest()}.digest"
    if known.is_file() and len(text := known.read_text()) == 20:
        return text
    content = hashlib.blake2b(digest_size=10)
    with ThreadPoolExecutor(_cores()) as pool:
        for name, body in zip(shots.paths, pool.map(_file_digest, shots.files()), strict=True):
            content.update(f"{name}\0".encode() + body)
    _keep(known, lambda file: file.write(content.hexdigest().encode()))
    return content.hexdigest()


class ImageStore:
    """The images of `shots` at one size: `images` uint8 (N, H, W, 3), `digest` of the files they came from.

    A cache file keyed by that digest, the size and the filter makes the second opening fast; a data set that changed
    has another digest and is decoded anew.
    """

    def __init__(self, shots, size: tuple[int, int] = (256, 128), resize: str = "bicubic"):
        self.digest = data_digest(shots)
        cached = cache_folder() / f"{self.digest}-{size[0]}x{size[1]}-{resize}.npy"
        shape = (len(shots), *size, 3)
        self.images = _cached(cached, shape)
        if self.images is None:
            self.images = decode(shots.files(), size, resize, f"decode {shots.name}")
            _keep(cached, lambda file: np.save(file, self.images.numpy()))

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "ImageStore":
        """Move the images onto a GPU where they take at most half of its free memory, else pin them in main memory."""
        if device.type == "cuda":
            fits = self.images.nbytes < torch.cuda.mem_get_info(device)[0] / 2
            self.images = self.images.to(device) if fits else self.images.pin_memory()
        return self

    def batch(self, index: np.ndarray, device: torch.device) -> Tensor:
        """The images at `index` (B,) as uint8 (B, H, W, 3) on `device`."""
        return self.images[torch.as_tensor(index, device=self.images.device)].to(device, non_blocking=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _file_digest(file: Path) -> bytes:
    return hashlib.blake2b(file.read_bytes(), digest_size=10).digest()


def _cached(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        images = np.load(file)
    except (OSError, ValueError):  # absent, or cut off
        return None
    return torch.from_numpy(images) if images.shape == shape and images.dtype == np.uint8 else None


def _keep(file: Path, write) -> None:
    """Write a cache file under a temporary name, then rename; without room or permission go on uncached."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            write(stream)
        os.replace(temporary, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        warnings.warn(f"{file}: not cached ({error}); set REID_CACHE to a writable folder with room", stacklevel=2)
