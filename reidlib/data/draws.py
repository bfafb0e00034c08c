"""What augmentation draws for each image of a batch, by NumPy, so that every device augments alike."""

import numpy as np


def draw_flips(rng: np.random.Generator, n: int, probability: float = 0.5) -> np.ndarray:
    """Draw which of n images to mirror, each with `probability`.

    Returns
    -------
    ndarray (n,) of bool

    Examples
    --------
    >>> draw_flips(np.random.default_rng(0), 4).tolist()
    [False, True, True, True]
    """
    return rng.random(n) < probability


def draw_crops(rng: np.random.Generator, n: int, pad: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Draw where to cut n crops out of images padded by `pad` pixels on each side.

    Returns
    -------
    top, left : ndarray (n,) of int64
        In pixels, uniform on 0..2 * pad; `pad` is the middle.

    Examples
    --------
    >>> top, left = draw_crops(np.random.default_rng(0), 4, pad=10)
    >>> top.tolist(), left.tolist()
    ([17, 13, 10, 5], [6, 0, 1, 0])
    """
    return rng.integers(0, 2 * pad + 1, n), rng.integers(0, 2 * pad + 1, n)


def draw_erasing(
    rng: np.random.Generator,
    n: int,
    size: tuple[int, int],
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    ratio: float = 0.3,
) -> np.ndarray:
    """Draw the rectangles to erase from n images of `size` = (height, width) pixels, each with `probability`.

    Parameters
    ----------
    area : (float, float)
        Bounds of the rectangle's area as a share of the image's, drawn uniformly.
    ratio : float
        The aspect h/w is uniform in [ratio, 1/ratio] (not in its logarithm). Area and aspect are drawn again until the
        rectangle is smaller than the image, 100 times at most.

    Returns
    -------
    ndarray (n, 4) of int64
        Top, left, height and width in pixels; -1 for an image that is left whole.

    References
    ----------
    Zhong et al. 2017, "Random Erasing Data Augmentation", algorithm 1, as the reference implementation has it.

    Examples
    --------
    >>> draw_erasing(np.random.default_rng(0), 2, (256, 128)).tolist()
    [[-1, -1, -1, -1], [41, 57, 20, 58]]
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
    """Draw how far n bounding boxes miss the person at the head or the feet: (n,) scale and (n,) shift of `misalign`.

    With `probability` a strip of up to `ratio` of the height, uniform, is cut off or added, at the top or the bottom.
    Source: MisAlgnAug of wangguanan's PCB, of which only probability, ratio and edges are known.
    """
    strip = rng.uniform(-ratio, ratio, n) * (rng.random(n) < probability)  # positive: cut off, negative: added
    return 1 - strip, np.where(rng.random(n) < 0.5, strip, 0) * height


def draw_channels(rng: np.random.Generator, n: int, probability: float = 0.5) -> np.ndarray:
    """Draw the channel that n images are shown through: (n,) int64, 0, 1, 2, or 3 for grey, -1 for all as they are."""
    return np.where(rng.random(n) < probability, rng.integers(0, 4, n), -1)
