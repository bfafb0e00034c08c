"""Augmentation of whole batches on their device: flip, pad and crop, normalise, erase.

NumPy draws what happens to each image, so that every device augments alike.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from reidlib.data.images import on
from reidlib.recipe import Recipe

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as torchvision's weights expect
STD = (0.229, 0.224, 0.225)


def draw_flips(rng: np.random.Generator, n: int, probability: float) -> np.ndarray:
    """Which of n images to mirror: (n,) bool, each with `probability`."""
    return rng.random(n) < probability


def draw_crops(rng: np.random.Generator, n: int, pad: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Top and left of n crops from images padded by `pad` pixels: two (n,) arrays, uniform on 0..2 * pad."""
    return rng.integers(0, 2 * pad + 1, n), rng.integers(0, 2 * pad + 1, n)


def draw_erasing(
    rng: np.random.Generator,
    n: int,
    size: tuple[int, int],
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    ratio: float = 0.3,
) -> np.ndarray:
    """The rectangles to erase: (n, 4) int64 of top, left, height and width in pixels; -1 for an image left whole.

    With `probability` an image of `size` = (height, width) gets one. Its area is uniform in `area` (a share of the
    image), its aspect h/w uniform in [ratio, 1/ratio] (not in its logarithm), drawn again until it is smaller than the
    image, 100 times at most. Source: Zhong et al. 2017, "Random Erasing Data Augmentation", algorithm 1, as the
    reference implementation has it.
    """
    height, width = size
    boxes = np.full((n, 4), -1, np.int64)
    waiting = np.flatnonzero(rng.random(n) < probability)
    for _ in range(100):
        pixels = rng.uniform(*area, len(waiting)) * height * width
        aspect = rng.uniform(ratio, 1 / ratio, len(waiting))
        h, w = np.rint(np.sqrt(pixels * aspect)).astype(int), np.rint(np.sqrt(pixels / aspect)).astype(int)
        fits = (h < height) & (w < width)
        h, w, fitting, waiting = h[fits], w[fits], waiting[fits], waiting[~fits]
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        boxes[fitting] = np.stack([top, left, h, w], 1)
        if not len(waiting):
            break
    return boxes


def draw_misalignment(
    rng: np.random.Generator, n: int, height: int, probability: float = 0.5, ratio: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """How far n bounding boxes miss the person at the head or the feet: (n,) scale and (n,) shift of `misalign`.

    With `probability` a strip of up to `ratio` of the height, uniform, is cut off or added, at the top or the bottom.
    Source: MisAlgnAug of wangguanan's PCB, of which only probability, ratio and edges are known.
    """
    strip = rng.uniform(-ratio, ratio, n) * (rng.random(n) < probability)  # positive: cut off, negative: added
    return 1 - strip, np.where(rng.random(n) < 0.5, strip, 0) * height


def draw_channels(rng: np.random.Generator, n: int, probability: float = 0.5) -> np.ndarray:
    """The channel that n images are shown through: (n,) int64, 0, 1, 2, or 3 for grey, -1 for all as they are."""
    return np.where(rng.random(n) < probability, rng.integers(0, 4, n), -1)


def crop_flip(images: Tensor, top: np.ndarray, left: np.ndarray, flipped: np.ndarray, pad: int = 10) -> Tensor:
    """Mirror images if `flipped`, pad them with black, and cut each back to its size at (top, left).

    images uint8 (B, H, W, 3); top, left (B,) in 0..2 * pad; flipped (B,) bool. Returns a new tensor of the same shape.
    Source: RandomHorizontalFlip, Pad and RandomCrop of torchvision, in the order of the reference implementation.
    """
    return (_slide if images.device.type == "cpu" else _gather)(images, top, left, flipped, pad)


def _slide(images: Tensor, top: np.ndarray, left: np.ndarray, flipped: np.ndarray, pad: int) -> Tensor:
    """Crops by slices, image by image: on a CPU several times faster than by an index for each pixel."""
    n, height, width, _ = images.shape
    out = np.empty((n, height, 3 * width), np.uint8)  # rows of bytes: copied at once, not pixel by pixel
    padded = np.zeros((height + 2 * pad, 3 * (width + 2 * pad)), np.uint8)
    for target, image, y, x, flip in zip(out, images, top.tolist(), left.tolist(), flipped.tolist(), strict=True):
        rows = (image.flip(1) if flip else image).numpy().reshape(height, 3 * width)
        padded[pad : pad + height, 3 * pad : 3 * (pad + width)] = rows
        target[:] = padded[y : y + height, 3 * x : 3 * (x + width)]
    return torch.from_numpy(out).view(images.shape)


def _gather(images: Tensor, top: np.ndarray, left: np.ndarray, flipped: np.ndarray, pad: int) -> Tensor:
    """The same crops by an index for each pixel: a handful of kernels for the whole batch, which is fast on a GPU."""
    n, height, width, _ = images.shape
    first_row, first_column, mirrored = on(np.stack([top - pad, left - pad, flipped]), images.device)[:, :, None]
    rows = first_row + torch.arange(height, device=images.device)  # (B, H)
    columns = first_column + torch.arange(width, device=images.device)  # (B, W)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]  # (B, H, W)
    columns = torch.where(mirrored.bool(), width - 1 - columns, columns)
    which = torch.arange(n, device=images.device)[:, None, None]
    rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    return images[which, rows, columns] * inside[..., None]


def misalign(images: Tensor, scale: np.ndarray, shift: np.ndarray) -> Tensor:
    """Stretch each image along its height, linearly: row y shows what was at y * scale + shift, black outside.

    images uint8 (B, H, W, 3); scale (B,), shift (B,) in pixels. Returns a new tensor of the same shape.
    """
    n, height = images.shape[:2]
    y = (np.arange(height) + 0.5) * scale[:, None] - 0.5 + shift[:, None]  # (B, H)
    inside = on((y > -1) & (y < height), images.device)[:, :, None, None]
    above = np.clip(np.floor(y), 0, height - 1).astype(np.int64)
    share = on(np.clip(y - above, 0, 1).astype(np.float32), images.device)[:, :, None, None]
    at, below = on(above, images.device), on(np.minimum(above + 1, height - 1), images.device)
    rows = torch.arange(n, device=images.device)[:, None]
    stretched = images[rows, at].float().lerp(images[rows, below].float(), share)
    return (stretched * inside).round().to(torch.uint8)


def one_channel(images: Tensor, channel: np.ndarray) -> Tensor:
    """Show images through one of their channels, or as grey, as `draw_channels` says; infrared images do not change.

    images uint8 (B, H, W, 3). Returns a new tensor of the same shape. Source: Ye et al., "Channel Augmented Joint
    Learning for Visible-Infrared Recognition" (ICCV 2021), section 3.1; grey by the weights of ITU-R BT.601.
    """
    weights = np.array([*np.eye(3), (0.299, 0.587, 0.114)], np.float32)
    chosen = np.flatnonzero(channel >= 0)
    some, weight = on(chosen, images.device), on(weights[channel[chosen]], images.device)
    shown = images.clone()
    shown[some] = torch.einsum("bhwc,bc->bhw", images[some].float(), weight).round().to(torch.uint8)[..., None]
    return shown


def normalise(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W), less ImageNet's mean and divided by its standard deviation.

    The result is a view in channels_last memory, in which convolutions are fastest.
    """
    n, height, width, _ = images.shape
    scale, shift = _row(width, images.device)
    rows = images.reshape(n, height, 3 * width).float().mul_(scale).sub_(shift)
    return rows.view(n, height, width, 3).permute(0, 3, 1, 2)


@cache
def _row(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and subtrahend of a row of pixels, (3 * width,) each; broadcasting (3,) is several times slower."""
    std, mean = (torch.tensor(values).repeat(width) for values in (STD, MEAN))
    return (1 / (255 * std)).to(device), (mean / std).to(device)


def erase(images: Tensor, boxes: np.ndarray, fill: tuple[float, ...]) -> None:
    """Paint the rectangles of `draw_erasing` over normalised images (B, 3, H, W), in place, in the colour `fill` (3,).

    ValueError if there is not one box for each image.
    """
    if len(boxes) != len(images):
        raise ValueError(f"{len(boxes)} boxes for {len(images)} images; give one for each image")
    (_paint if images.device.type == "cpu" else _mask)(images, boxes, np.array(fill, np.float32))


def _paint(images: Tensor, boxes: np.ndarray, colour: np.ndarray) -> None:
    pixels, row = images.permute(0, 2, 3, 1).numpy(), np.tile(colour, (images.shape[3], 1))  # row (W, 3)
    for image, (top, left, height, width) in zip(pixels, boxes.tolist(), strict=True):
        if top >= 0:
            image[top : top + height, left : left + width] = row[:width]


def _mask(images: Tensor, boxes: np.ndarray, colour: np.ndarray) -> None:
    """The same for the whole batch at once, which is fast on a GPU."""
    top, left, height, width = on(boxes, images.device).T[:, :, None]  # (B, 1) each
    y, x = (torch.arange(n, device=images.device) for n in images.shape[2:])
    inside = ((y >= top) & (y < top + height))[:, :, None] & ((x >= left) & (x < left + width))[:, None, :]
    torch.where(inside[:, None], on(colour, images.device)[:, None, None], images, out=images)


def augment(images: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """A training batch as the network sees it, float32 (B, 3, H, W): flip, pad and crop, normalise, erase.

    These are the transforms of the reference implementation, in their order; before them come `misalign` and
    `one_channel`, if the recipe says so.

    Parameters
    ----------
    images : uint8 (B, H, W, 3)
    recipe : Recipe, of which `flip`, `pad`, `erasing*`, `misalign` and `channels` count
    rng : Generator, seeded for this batch (see `generator`)

    Examples
    --------
    >>> augment(torch.zeros(2, 256, 128, 3, dtype=torch.uint8), Recipe(), np.random.default_rng(0)).shape
    torch.Size([2, 3, 256, 128])
    """
    n, height, width, _ = images.shape
    if recipe.misalign:
        images = misalign(images, *draw_misalignment(rng, n, height, recipe.misalign))
    if recipe.channels:
        images = one_channel(images, draw_channels(rng, n, recipe.channels))
    flipped = draw_flips(rng, n, recipe.flip)
    images = normalise(crop_flip(images, *draw_crops(rng, n, recipe.pad), flipped, recipe.pad))
    boxes = draw_erasing(rng, n, (height, width), recipe.erasing, recipe.erasing_area, recipe.erasing_ratio)
    erase(images, boxes, recipe.erasing_fill)
    return images
