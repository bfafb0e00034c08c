"""Augmentation of whole batches on their device: flip, pad and crop, normalise, erase, by what `draws` drew."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from reidlib.data.draws import draw_channels, draw_crops, draw_erasing, draw_flips, draw_misalignment
from reidlib.data.images import on
from reidlib.recipe import Recipe

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, as torchvision's weights expect
STD = (0.229, 0.224, 0.225)


def crop_flip(images: Tensor, top: np.ndarray, left: np.ndarray, flipped: np.ndarray, pad: int = 10) -> Tensor:
    """Mirror images, pad them with black, and cut each back to its size.

    Parameters
    ----------
    images : Tensor (B, H, W, 3) of uint8
    top, left : ndarray (B,) of int
        Where to cut in the padded image, in 0..2 * pad.
    flipped : ndarray (B,) of bool
        Which images to mirror.
    pad : int
        Pixels added on each side.

    Returns
    -------
    Tensor (B, H, W, 3) of uint8

    References
    ----------
    RandomHorizontalFlip, Pad and RandomCrop of torchvision, in the order of the reference implementation.

    Examples
    --------
    >>> image = torch.arange(1, 4, dtype=torch.uint8).view(1, 1, 3, 1).expand(1, 1, 3, 3)
    >>> crop_flip(image, np.array([1]), np.array([2]), np.array([True]), pad=1)[..., 0]
    tensor([[[2, 1, 0]]], dtype=torch.uint8)
    """
    y, x = np.subtract(top, pad), np.subtract(left, pad)
    return (_slide if images.device.type == "cpu" else _gather)(images, y, x, np.asarray(flipped))


def _slide(images: Tensor, y: np.ndarray, x: np.ndarray, flipped: np.ndarray) -> Tensor:
    """Crops by slices, image by image: on a CPU several times faster than by an index for each pixel."""
    n, height, width, _ = images.shape
    out = np.zeros((n, height, 3 * width), np.uint8)  # rows of bytes: copied at once, not pixel by pixel
    for target, image, down, right, flip in zip(out, images, y.tolist(), x.tolist(), flipped.tolist(), strict=True):
        source = (image.flip(1) if flip else image).numpy().reshape(height, 3 * width)
        rows, columns = _overlap(height, down), _overlap(3 * width, 3 * right)
        target[rows[0], columns[0]] = source[rows[1], columns[1]]
    return torch.from_numpy(out).view(images.shape)


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Where a line of `length` and the same line moved by `shift` overlap: the target's slice and the source's."""
    return slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length - max(0, -shift))


def _gather(images: Tensor, y: np.ndarray, x: np.ndarray, flipped: np.ndarray) -> Tensor:
    """The same crops by an index for each pixel: a handful of kernels for the whole batch, which is fast on a GPU."""
    n, height, width, _ = images.shape
    first_row, first_column, mirrored = on(np.stack([y, x, flipped]), images.device)[:, :, None]  # (B, 1) each
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
    """Subtract ImageNet's mean and divide by its standard deviation.

    Parameters
    ----------
    images : Tensor (B, H, W, 3) of uint8

    Returns
    -------
    Tensor (B, 3, H, W) of float32
        In channels_last memory, in which convolutions are fastest.

    Examples
    --------
    >>> normalise(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).flatten()
    tensor([2.2489, 2.4286, 2.6400])
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
    """Paint rectangles over images, in place.

    Parameters
    ----------
    images : Tensor (B, 3, H, W) of float32
        Normalised images.
    boxes : ndarray (B, 4) of int64
        Top, left, height and width, as `draw_erasing` gives them.
    fill : (float, float, float)
        The colour, in normalised units.

    Raises
    ------
    ValueError
        If there is not one box for each image.

    Examples
    --------
    >>> image = torch.zeros(1, 3, 2, 3)
    >>> erase(image, np.array([[0, 1, 2, 2]]), (1.0, 0.0, 0.0))
    >>> image[0, 0]
    tensor([[0., 1., 1.],
            [0., 1., 1.]])
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
    """A training batch as the network sees it: flip, pad and crop, normalise, erase; before them, if the recipe says
    so, `misalign` and `one_channel`.

    Parameters
    ----------
    images : Tensor (B, H, W, 3) of uint8
    recipe : Recipe
        Its fields `flip`, `pad`, `erasing*`, `misalign` and `channels`.
    rng : Generator
        Seeded for this batch; see `generator`.

    Returns
    -------
    Tensor (B, 3, H, W) of float32

    References
    ----------
    The transforms of the reference implementation, in their order.

    Examples
    --------
    >>> images = torch.zeros(2, 256, 128, 3, dtype=torch.uint8)
    >>> augment(images, Recipe(), np.random.default_rng(0)).shape
    torch.Size([2, 3, 256, 128])
    """
    n, height, width, _ = images.shape
    if recipe.misalign:
        images = misalign(images, *draw_misalignment(rng, n, height, recipe.misalign))
    if recipe.channels:
        images = one_channel(images, draw_channels(rng, n, recipe.channels))
    flipped = draw_flips(rng, n, recipe.flip)
    images = normalise(crop_flip(images, *draw_crops(rng, n, recipe.pad), flipped, recipe.pad))
    erase(
        images,
        draw_erasing(rng, n, (height, width), recipe.erasing, recipe.erasing_area, recipe.erasing_ratio),
        recipe.erasing_fill,
    )
    return images
