"""Cosine similarity: fast in tiles, and for single pairs exact to the last bit on any device."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Cosine:
    """Cosine similarities of q (Q, D) and g (G, D), features of any length on one device, never held as one matrix.

    A `Similarity` (see counting). `dtype` is what the product of a tile runs in; default: the features' own.
    """

    def __init__(self, q: torch.Tensor, g: torch.Tensor, dtype: torch.dtype | None = None) -> None:
        self.q, self.g = q, g = near_one(q), near_one(g)
        self.dtype = dtype or g.dtype
        self.q_length, self.g_length = lengths(q), lengths(g)
        self.unit = bool(((self.g_length - 1).abs() < 2**-21).all())
        self.raw = self.dtype == g.dtype and float(self.g_length.max()) < torch.finfo(g.dtype).max / 2
        self.work = g if self.raw else (g / self.g_length[:, None]).to(self.dtype)
        self.error = self._error(g.shape[1])
        self.known = {dot: [np.full(len(x), np.nan) for x in (q, g)] for dot in (plain, fold)}  # lengths in float64

    def _error(self, dim: int) -> float:
        """A bound on |tile - exact|, relative to sum |q_d g_d| <= 1.

        Inputs rounded to the product's format: twice its unit roundoff (TF32, which a GPU takes for float32 if torch is
        told to, may truncate) and half its smallest step for each number near zero. A float32 sum of D products, each
        rounded by up to 2^-24 with a mean of zero: 4 sqrt(D) 2^-24 is 6.9 deviations of roundings that are evenly
        spread, and exceeded with probability 1e-10 (Hoeffding's inequality as in Higham and Mary 2019, Theorem 2.4; the
        certain bound, D 2^-24, is far above). One rounding of the result, and lengths within 2^-21 of one, not divided
        by.
        """
        kind = torch.finfo(self.dtype)
        coarse = self.g.device.type != "cpu" and torch.backends.cuda.matmul.fp32_precision not in ("none", "ieee")
        tf32 = coarse and self.dtype == torch.float32
        roundoff = 2**-10 if tf32 else max(kind.eps / 2, 2**-24)
        return 3 * roundoff + dim**0.5 * (4 * 2**-24 + kind.tiny * kind.eps) + 2**-21

    def of_queries(self, q: torch.Tensor) -> "Cosine":
        """The similarities of other queries, q (Q, D), and the same gallery, whose lengths are known already."""
        other = copy.copy(self)
        other.q = near_one(q)
        other.q_length = lengths(other.q)
        other.known = {dot: [np.full(len(q), np.nan), g] for dot, (_, g) in self.known.items()}
        return other

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        similarity = product((self.q[rows] / self.q_length[rows, None]).to(self.dtype), self.work[cols])
        return similarity.div_(self.g_length[cols]) if self.raw and not self.unit else similarity

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Those of pairs in float64, with D 2^-53 as the largest error of a sum."""
        return self._of_pairs(plain, i, j)

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Those of pairs, equal to the last bit on every device and in every chunk."""
        return self._of_pairs(fold, i, j)

    def _of_pairs(self, dot: Callable, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        q_length, g_length = (
            recall(known, k, lambda k, x=x: np.sqrt(pairwise(dot, x, None, k, k)))
            for known, x, k in zip(self.known[dot], (self.q, self.g), (i, j), strict=True)
        )
        return pairwise(dot, self.q, self.g, i, j) / (q_length * g_length)


def in_float32(source: Any) -> Any:
    """A `Similarity` whose tiles are no coarser than float32, for use without its exact pairs."""
    half = isinstance(source, Cosine) and torch.finfo(source.dtype).eps > torch.finfo(torch.float32).eps
    return Cosine(source.q, source.g, torch.float32) if half else source


def near_one(x: torch.Tensor) -> torch.Tensor:
    """x (N, D) with rows of extreme scale multiplied by a power of two, so that no sum of squares over- or underflows.

    Directions stay the same. x itself is returned if its scales are ordinary; else half precision becomes float32.
    """
    least, length = 2**-6 if x.dtype == torch.float16 else 2**-40, lengths(x)
    if ((length > least * x.shape[1] ** 0.5) & (length < 2**40)).all():  # then so is the largest number
        return x
    low, high = x.aminmax(dim=1, keepdim=True)
    largest = torch.maximum(-low, high)
    ordinary = (largest > least) & (largest < 2**40)
    if ordinary.all():
        return x
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    exponent = np.frexp(largest.cpu().double().numpy())[1] * ~ordinary.cpu().numpy()
    for part in (exponent // 2, exponent - exponent // 2):  # in two steps, since 2^149 is no float32
        x = x * torch.from_numpy(np.ldexp(1.0, -part)).to(x)
    return x


def lengths(x: torch.Tensor) -> torch.Tensor:
    """Euclidean lengths (N,) float32 of features (N, D)."""
    return torch.linalg.vector_norm(x, dim=1, dtype=torch.promote_types(x.dtype, torch.float32)).float()


def without_direction(x: torch.Tensor) -> tuple[int, str] | None:
    """The first row of features (N, D) that has no direction, and why; None if all have one."""
    length = lengths(near_one(x))
    bad = (~((length > 0) & length.isfinite())).nonzero()
    return (i := int(bad[0, 0]), "is all zeros" if length[i] == 0 else "holds NaN or infinity") if len(bad) else None


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b.T in float32; half precision is accumulated in float32."""
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        return torch.mm(a, b.T, out_dtype=torch.float32)
    if a.device.type == "cpu" and a.dtype == torch.float32:  # NumPy's OpenBLAS is 1.3 to 2 times torch.mm on AMD
        return torch.from_numpy(a.numpy() @ b.numpy().T)
    return (a @ b.T).float()


def pairwise(dot: Callable, x: torch.Tensor, y: torch.Tensor | None, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """dot(x[i], y[j]) row by row, (n,); without y, dot(x[i], x[i])."""
    step = max(1, 2**16 // x.shape[1])  # 0.5 MB in float64: fits the cache
    parts = [np.empty(0)]
    for k in range(0, len(i), step):
        some = take(x, i[k : k + step])
        parts.append(dot(some, some if y is None else take(y, j[k : k + step])))
    return np.concatenate(parts)


def take(x: torch.Tensor, i: np.ndarray) -> np.ndarray:
    """Rows i of x as a NumPy array; half precision widened without loss."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return x.numpy().take(i, 0)  # faster than x[i], for which torch wakes every thread for each small piece
    rows = x[torch.from_numpy(i).to(x.device)]
    return (rows if x.dtype == torch.float64 else rows.float()).cpu().numpy()


def plain(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x . y row by row in float64, in the library's order."""
    wide = x.astype(np.float64)
    return np.vecdot(wide, wide if y is x else y.astype(np.float64))


def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x . y row by row in float64, halves added to halves: a fixed order of additions, whatever the library."""
    z = np.multiply(x, y, dtype=np.float64)
    while (width := z.shape[1]) > 1:
        half = (width + 1) // 2
        z[:, : width - half] += z[:, half:]
        z = z[:, :half]
    return z[:, 0].copy()


def recall(known: np.ndarray, index: np.ndarray, make: Callable) -> np.ndarray:
    """known[index], after filling its NaNs with make(indices of NaNs)."""
    missing = np.unique(index[np.isnan(known[index])])
    if len(missing):
        known[missing] = make(missing)
    return known[index]


def unique_pairs(similarity: Callable[..., np.ndarray], i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """similarity(i, j), computed once for each different pair."""
    pairs, again = np.unique(i << 32 | j, return_inverse=True)
    return similarity(pairs >> 32, pairs & (2**32 - 1))[again]
