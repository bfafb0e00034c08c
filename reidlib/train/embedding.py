"""From images to rows that can be compared: embed a split, files, or pictures in memory."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.data.images import UNSCALED, decode, read, upright
from reidlib.data.shots import Shots
from reidlib.progress import progress
from reidlib.systems import System, device_settings

CHUNK = 1024  # images decoded ahead of the network, so that neither waits for the other
Picture = str | os.PathLike[str] | Image.Image | np.ndarray  # arrays: uint8 (H, W, 3), RGB
Loaded = Path | Image.Image | np.ndarray
ACCEPTED = "embed takes Shots, or one or several paths, PIL images or uint8 arrays (H, W, 3) in RGB"


def embed(
    system: System, shots: Shots | Picture | Iterable[Picture], batch: int = 128, flip: bool | None = None,
    through: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Compute L2-normalised embeddings (N, D) float32, in main memory, of images resized as in training.

    Parameters
    ----------
    system : a trained system
    shots : N images: Shots, or one or several paths, PIL images or arrays uint8 (H, W, 3) in RGB (of OpenCV, which
        keeps BGR, give `array[..., ::-1]`)
    batch : images that pass through the network together
    flip : average each embedding with that of the mirror image, at twice the cost; default: what the system's test does
    through : a function of normalised images (B, 3, H, W) that those of visible cameras pass through first; default:
        the system's `to_infrared` if it has one

    Raises
    ------
    ValueError, FileNotFoundError : an unreadable image, something else than an image, or none at all; a missing image
    """
    pictures = pictures_of(shots)
    device, recipe = next(system.parameters()).device, system.recipe
    flip, through = system.flip if flip is None else flip, through or getattr(system, "to_infrared", None)
    name, infrared = (shots.name, shots.infrared) if isinstance(shots, Shots) else ("", np.ones(len(pictures), bool))
    visible = torch.from_numpy(~infrared)  # of plain images the camera is not known: they stay as they are
    chunks = [pictures[i : i + CHUNK] for i in range(0, len(pictures), CHUNK)]
    bar = progress(label=f"embed {name}", total=len(pictures), unit="image", few=len(pictures) < CHUNK)
    rows = []
    with ThreadPoolExecutor(1) as ahead, bar, device_settings(system):
        waiting = ahead.submit(decode_all, chunks[0], recipe.size, recipe.resize)
        for part, following in zip(visible.split(CHUNK), (*chunks[1:], None), strict=True):
            decoded = waiting.result()
            if following:
                waiting = ahead.submit(decode_all, following, recipe.size, recipe.resize)
            for images, seen in zip(decoded.split(batch), part.split(batch), strict=True):
                images = normalise(images.to(device))
                if through and seen.any():
                    images[seen] = through(images[seen])
                rows.append(_embed(system, images, flip).cpu())
                bar.update(len(images))
    return torch.cat(rows)


def _embed(system: System, images: Tensor, flip: bool) -> Tensor:
    emb = system.embed(images)
    return F.normalize(emb + system.embed(images.flip(3))) if flip else emb


def pictures_of(shots: Shots | Picture | Iterable[Picture]) -> list[Loaded]:
    """The images that `embed` was given, each a file or a picture in memory; ValueError for anything else, or none."""
    if isinstance(shots, str | os.PathLike | Image.Image) or (isinstance(shots, np.ndarray) and shots.ndim == 3):
        shots = [shots]
    if not isinstance(shots, Shots | Iterable):
        raise ValueError(f"no images to embed: {ACCEPTED}, not a {type(shots).__name__}")
    given = shots.files() if isinstance(shots, Shots) else shots
    pictures = [_checked(i, each) for i, each in enumerate(given)]
    if not pictures:
        raise ValueError("no images to embed: the list is empty")
    return pictures


def _checked(i: int, picture: Picture) -> Loaded:
    """`picture` if it is an image, a path as Path; ValueError with what is wrong if it is not."""
    if isinstance(picture, str | os.PathLike):
        return Path(picture)
    if isinstance(picture, Image.Image):
        if picture.mode in UNSCALED:
            kind = UNSCALED[picture.mode]
            raise ValueError(f"image {i} has {kind}, without a stated black and white: scale it to 8 bits")
        return picture
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,) and picture.size:
        return picture
    kind = f" of {picture.dtype} {tuple(picture.shape)}" if hasattr(picture, "shape") else f" {picture!r:.40}"
    raise ValueError(f"image {i} is a {type(picture).__name__}{kind}: {ACCEPTED}")


def decode_all(pictures: list[Loaded], size: tuple[int, int], resize: str) -> Tensor:
    """Files and pictures in memory as uint8 (N, H, W, 3), decoded and resized alike."""
    files = [picture for picture in pictures if isinstance(picture, Path)]
    if len(files) == len(pictures):
        return decode(files, size, resize)
    return torch.from_numpy(np.stack([_resized(picture, size, resize) for picture in pictures]))


def _resized(picture: Loaded, size: tuple[int, int], resize: str) -> np.ndarray:
    if isinstance(picture, Path):
        return read(picture, size, resize)
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    try:
        return np.asarray(upright(image).resize(size[::-1], Image.Resampling[resize.upper()]))
    except OSError as error:
        raise ValueError(f"{picture!r:.120} cannot be decoded ({error}); leave it out or make it again") from None
