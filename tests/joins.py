"""What a recipe does, seen from outside: plates whose colours say where a pixel came from, and a `fit` that is noted.

A plate's red rises from left to right and its green from top to bottom, and its blue is full: of an augmented plate
one can read the flip, the crop, the strip lost or added, and the erased rectangle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

import reidlib as rl
from reidlib.data.augment import MEAN, STD
from reidlib.data.images import ImageStore
from reidlib.systems import System

LOW, RISE = 40, 200  # red and green go from LOW to LOW + RISE


def plates(folder: Path, ids: int, each: int, size: tuple[int, int] = (64, 32)) -> rl.Shots:
    """`each` images of `ids` people in each of two cameras, the second one infrared, as files."""
    folder.mkdir(parents=True)
    height, width = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[..., 1] = np.rint(LOW + RISE * (np.arange(height) + 0.5) / height)[:, None]
    red, names = LOW + RISE * (np.arange(width) + 0.5) / width, []
    for pid in range(ids):
        for camera in (1, 2):
            for shot in range(each):
                noise = np.random.default_rng([pid, camera, shot]).uniform(-3, 3, size)
                pixels[..., 0] = np.rint(red + noise)
                names.append((f"{pid:03d}_c{camera}_{shot}.png", pid, camera))
                Image.fromarray(pixels).save(folder / names[-1][0], compress_level=1)
    paths, pids, camids = zip(*names, strict=True)
    return rl.Shots("plates", folder, np.array(paths), np.array(pids), np.array(camids), infrared_cameras=(2,))


def read(images: torch.Tensor) -> SimpleNamespace:
    """What augmentation did to each of the plates (B, 3, H, W), normalised: arrays of B rows each.

    `grey`; `flipped`; how far the plate moved to the `top` and the `left` and how much it was `stretched`; `box`, the
    erased rectangle as `draw_erasing` gives it, `fill`, its normalised colour, and `whole`, whether it is a rectangle.
    """
    shown = images.permute(0, 2, 3, 1).double().numpy()
    red, green, blue = np.moveaxis(255 * (shown * STD + MEAN), 3, 0)
    black = np.maximum(np.maximum(red, green), blue) < 0.6
    colourless = (np.abs(red - green) < 0.6) & (np.abs(green - blue) < 0.6)
    grey = (colourless & ~black).sum((1, 2)) > 0.5 * (~black).sum((1, 2))
    plate = np.abs(blue - 255) < 1
    erased = ~plate & ~black & ~grey[:, None, None]
    inner = plate & (np.abs(red - LOW - RISE / 2) < 0.4 * RISE) & (np.abs(green - LOW - RISE / 2) < 0.4 * RISE)
    _, height, width = inner.shape
    y, x = np.arange(height)[None, :, None], np.arange(width)[None, None]
    column, row = (red - LOW) / RISE * width - 0.5, (green - LOW) / RISE * height - 0.5

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * inner).sum((1, 2)) / np.maximum(inner.sum((1, 2)), 1)

    def slope(values: np.ndarray, along: np.ndarray) -> np.ndarray:
        return (mean(values * along) - mean(values) * mean(along)) / np.maximum(mean(along**2) - mean(along) ** 2, 1e-9)

    flipped = slope(column, x) < 0
    column = np.where(flipped[:, None, None], width - 1 - column, column)
    rows, columns = erased.any(2), erased.any(1)
    top, left = rows.argmax(1), columns.argmax(1)
    box = np.stack([top, left, height - rows[:, ::-1].argmax(1) - top, width - columns[:, ::-1].argmax(1) - left], 1)
    some = erased.any((1, 2))
    box[~some] = -1
    fill = (shown * erased[..., None]).sum((1, 2))[some] / erased.sum((1, 2))[some, None]
    return SimpleNamespace(
        grey=grey,
        flipped=flipped[~grey],
        top=mean(row - y)[~grey],
        left=mean(column - x)[~grey],
        stretched=slope(row, y)[~grey],
        box=box[~grey],
        fill=fill,
        whole=(erased.sum((1, 2)) == box[:, 2] * box[:, 3])[some],
    )


@contextmanager
def noted(system: System) -> Iterator[list[SimpleNamespace]]:
    """A list that fills with what each step of a `fit` is given; the steps themselves train nothing."""
    steps: list[SimpleNamespace] = []
    batch = ImageStore.batch

    def fetch(store: ImageStore, index: np.ndarray, device: torch.device) -> torch.Tensor:
        steps.append(SimpleNamespace(index=index.copy(), stored=store.images))
        return batch(store, index, device)

    def step(images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        rates = {
            (name, i): group["lr"] for name, o in system.optimizers.items() for i, group in enumerate(o.param_groups)
        }
        vars(steps[-1]).update(images=images.clone(), labels=labels.clone(), rates=rates, random=torch.rand(()).item())
        return {"loss": torch.zeros(()), "acc": torch.zeros(())}

    system.step = step
    with patch.object(ImageStore, "batch", fetch):
        yield steps
