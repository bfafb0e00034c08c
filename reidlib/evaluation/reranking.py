"""Sparse re-ranking by k-reciprocal neighbours, as similarities that the counter reads; query expansion."""

import numpy as np
import torch
from scipy import sparse

from reidlib.evaluation.cosine import Cosine, near_one, product, without_direction
from reidlib.evaluation.counting import ROWS, ragged
from reidlib.progress import progress

COARSE = 2**-4  # a tile's error from which on it is computed exactly: a counter's thresholds would run into each other
ROUNDING = 2**-40  # above the error of a cosine from a product in float64
NOTHING = 2**-50  # a squared distance of unit vectors that is nothing but rounding


class Reranked:
    """Re-ranked similarities, 1 - re-ranked distance, of Q queries and G gallery images: a `Similarity` (see counting).

    `shared` (Q, G) sparse: 1 - Jaccard distance; `scale` (Q,): weight of the original distance over its row's maximum.
    """

    def __init__(self, cosine: Cosine, shared: sparse.csr_array, farthest: np.ndarray, lam: float) -> None:
        self.cosine, self.shared, self.lam = cosine, shared, lam
        self.scale = 2 * lam / farthest  # squared Euclidean distance of unit vectors: 2 - 2 cos
        self.error = float(self.scale.max()) * cosine.error + 2**-22  # and a few roundings of values below 1
        self.coarse = self.error > COARSE  # for features that have all but collapsed
        self.error = 2**-22 if self.coarse else self.error

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        tile = self.cosine.tile(rows, cols)
        if self.coarse:
            i, j = (x.ravel() for x in np.mgrid[rows.start : rows.start + len(tile), cols])
            return torch.from_numpy(self.exact(i, j)).to(tile).view(tile.shape)
        scale = torch.from_numpy(self.scale[rows, None]).float().to(tile.device)
        tile.sub_(1).mul_(scale).add_(self.lam)
        part = self.shared[rows, cols].tocoo()
        i, j = (torch.from_numpy(x.astype(np.int64)).to(tile.device) for x in part.coords)
        tile[i, j] += torch.from_numpy((1 - self.lam) * part.data).float().to(tile.device)
        return tile

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self._mix(self.cosine.near(i, j), i, j)

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self._mix(self.cosine.exact(i, j), i, j)

    def _mix(self, cosine: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        shared = np.asarray(self.shared[i, j]).ravel() if len(i) else np.empty(0)
        return self.lam - self.scale[i] * (1 - cosine) + (1 - self.lam) * shared


def rerank(
    q: torch.Tensor, g: torch.Tensor, k1: int = 20, k2: int = 6, lam: float = 0.3, keep: np.ndarray | None = None
) -> Reranked:
    """Re-rank a gallery by how many k-reciprocal neighbours its images share with the queries.

    Returns 1 - distance as a `Similarity` of Q queries and G gallery images, sparse and never N x N; the distance is
    (1 - lam) Jaccard + lam squared Euclidean over its row's maximum, in [0, 1]. Queries and gallery images are
    neighbours of each other, so that a score depends on all queries. ValueError if k1, k2 or lam does not fit, or if a
    feature is all zeros or not finite.
    Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017), section 3.

    Parameters
    ----------
    q, g : floating point (Q, D) and (G, D), features of any length, on one device
        The same tensor twice is one set of images, in which each is a query.
    k1, k2 : int, neighbours of the reciprocal sets, and of the local query expansion (1: none), at most k1 + 1
    lam : float, the share of the original distance, from 0 (Jaccard alone) to 1 (no re-ranking)
    keep : bool (G,), the gallery images that count as neighbours; `score` leaves out junk. Default: all

    Examples
    --------
    >>> rerank(torch.eye(3, 8) + 0.1, torch.eye(6, 8), k1=2, k2=1).tile(slice(0, 3), slice(0, 6)).argmax(1)
    tensor([0, 1, 2])
    """
    keep = np.ones(len(g), bool) if keep is None else np.asarray(keep)
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"re-ranking with k1={k1}, k2={k2}: k2 must be between 1 and k1 + 1")
    kept, together = int(keep.sum()), q is g and bool(keep.all())
    if (images := kept if together else len(q) + kept) <= k1:
        raise ValueError(f"rerank() with k1={k1} needs more than {k1} images; there are {images}: choose a smaller k1")
    if not 0 <= lam <= 1:
        raise ValueError(f"re-ranking with lam={lam}: lam is a share, from 0 (Jaccard alone) to 1 (no re-ranking)")
    x = g if together else torch.cat([q, g[torch.from_numpy(keep).to(g.device)]])
    if bad := without_direction(x):
        raise ValueError(f"re-ranking: feature {bad[0]} of {len(x)}, queries first, {bad[1]}: check its model")
    cosine = Cosine(x, x, torch.float32)
    nearest, farthest = neighbours(cosine, [k2, round(k1 / 2) + 1, k1 + 1])
    weights = encode(cosine, nearest, farthest, k1)
    if k2 > 1:  # local query expansion
        weights = links(nearest[:, :k2]).astype(np.float64) @ weights / k2
    shared = overlap(weights[: len(q)], weights[images - kept :].tocsc())
    columns = np.flatnonzero(keep)
    shared = sparse.csr_array((shared.data, columns[shared.indices], shared.indptr), shape=(len(q), len(g)))
    return Reranked(Cosine(q, g), shared, farthest[: len(q)], lam)


def expand(q: torch.Tensor, g: torch.Tensor, k: int = 5) -> torch.Tensor:
    """Average query expansion: each query becomes the mean of itself and its k nearest in g, L2-normalised (Q, D).

    Source: Chum et al., "Total Recall: Automatic Query Expansion" (ICCV 2007), section 3. ValueError unless k is 1..G.
    """
    if not 1 <= k <= len(g):
        raise ValueError(f"expand() with k={k}: choose 1 to {len(g)}, the size of the gallery")
    q, g = unit(q), unit(g)
    nearest = [product(rows, g).topk(k).indices for rows in q.split(ROWS)]
    return unit(torch.cat([rows + g[index].sum(1) for rows, index in zip(q.split(ROWS), nearest)]))


def unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(near_one(x).float(), dim=1)


def neighbours(cosine: Cosine, cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of N images to each: (N, max(cuts)) int64; and its largest squared distance of unit vectors (N,).

    An image itself comes first, then the nearest; of images exactly as near, that of the lower position. The first n of
    a row are exact for each n of `cuts`, on every device and with any number of threads; their order is not.
    """
    n, k = len(cosine.g), max(cuts)
    nearest, lowest, close = np.empty((n, k), np.int64), np.empty(n, np.int64), np.empty(n, bool)
    inner = torch.tensor([cut for cut in cuts if cut < n], dtype=torch.int64, device=cosine.g.device)
    for top in progress(range(0, n, ROWS), "neighbours", few=n < 5000):
        rows = slice(top, min(top + ROWS, n))
        similarity = cosine.tile(rows, slice(0, n))
        values, indices = similarity.topk(min(k + 1, n), dim=1)
        least, position = similarity.min(1)
        undecided = (values[:, inner - 1] - values[:, inner] <= 2 * cosine.error).any(1)
        undecided |= (similarity <= least[:, None] + 2 * cosine.error).sum(1) > 1
        nearest[rows], lowest[rows], close[rows] = (x.cpu().numpy() for x in (indices[:, :k], position, undecided))
    settle(cosine, np.flatnonzero(close), nearest, lowest)
    return nearest, np.maximum(2 - 2 * cosine.exact(np.arange(n), lowest), NOTHING)


def settle(cosine: Cosine, images: np.ndarray, nearest: np.ndarray, lowest: np.ndarray) -> None:
    """Fill in the rows of images whose neighbours a product in float32 cannot tell apart, by exact similarities."""
    for some in np.split(images, range(ROWS, len(images), ROWS)):
        rows = torch.nn.functional.normalize(cosine.g[torch.from_numpy(some).to(cosine.g.device)].double())
        parts = [rows @ torch.nn.functional.normalize(part.double()).T for part in cosine.g.split(8 * ROWS)]
        for i, row in zip(some, torch.cat(parts, 1).cpu().numpy(), strict=True):
            row[i] = 2  # itself comes first
            j = np.flatnonzero(row >= np.partition(row, -nearest.shape[1])[-nearest.shape[1]] - ROUNDING)
            exact = np.where(j == i, 2, cosine.exact(np.full_like(j, i), j))
            nearest[i] = j[np.lexsort((j, -exact))[: nearest.shape[1]]]
            j = np.flatnonzero(row <= row.min() + ROUNDING)
            lowest[i] = j[cosine.exact(np.full_like(j, i), j).argmin()]


def links(nearest: np.ndarray) -> sparse.csr_array:
    """A neighbour list (N, k) as a 0/1 matrix (N, N)."""
    n, k = nearest.shape
    return sparse.csr_array((np.ones(n * k, np.float32), nearest.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def encode(cosine: Cosine, nearest: np.ndarray, farthest: np.ndarray, k1: int) -> sparse.csr_array:
    """Each image as weights (N, N) on its expanded k-reciprocal neighbours (sections 3.2 and 3.3)."""
    whole, half = (links(nearest[:, : k + 1]) for k in (k1, round(k1 / 2)))
    whole, half = (forward.multiply(forward.T).tocsr() for forward in (whole, half))
    # A neighbour adds its own half-size set if more than two thirds of that set are in already.
    common = (whole @ half.T).multiply(whole).tocsr()
    size = half.sum(1)
    common.data = (common.data > 2 / 3 * size[common.indices]).astype(np.float32)
    common.eliminate_zeros()
    reach = (whole + common @ half).tocsr()
    i, j = reach.nonzero()
    weight = np.exp((2 * cosine.exact(i, j) - 2) / farthest[i])
    weight /= np.bincount(i, weight)[i]
    return sparse.csr_array((weight, (i, j)), shape=reach.shape)


def overlap(q: sparse.csr_array, g: sparse.csc_array) -> sparse.csr_array:
    """Jaccard similarity (Q, G) of weight vectors (Q, N) and (G, N): sum of minima over sum of maxima."""
    data, indices, lengths = [], [], []
    for i in progress(range(q.shape[0]), "re-ranking", few=q.shape[1] < 5000):
        line = slice(q.indptr[i], q.indptr[i + 1])
        own, first, last = q.data[line], g.indptr[q.indices[line]], g.indptr[q.indices[line] + 1]
        which, position = ragged(first, last)
        minima = np.bincount(g.indices[position], np.minimum(own[which], g.data[position]), minlength=g.shape[0])
        indices.append(np.flatnonzero(minima))
        data.append((shared := minima[indices[-1]]) / (2 - shared))  # both vectors sum to 1
        lengths.append(len(indices[-1]))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((np.concatenate(data), np.concatenate(indices), indptr), shape=(q.shape[0], g.shape[0]))
