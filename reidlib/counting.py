"""The counter: how many wrong answers stand ahead of every true match, with no sort and no distance matrix.

A source gives similarities in [-1, 1]: fast in tiles, exact for the few pairs that need it (`Cosine` here, `Reranked`
in rerank.py). A `Rule` says which gallery images are a query's matches, its wrong answers, or neither. Products run
on the features' device; what is left of a tile, little, is counted on the CPU.
"""

from collections.abc import Callable

import numpy as np
import torch
from tqdm.auto import tqdm

ROWS = 512  # queries in a tile: from here on NumPy's product runs at full speed


class Cosine:
    """Cosine similarities of q (Q, D) and g (G, D), features of any length on one device; never held as one matrix.

    `tile` is within `error` of `exact`. `dtype` is what the product runs in, by default the features' own.
    """

    def __init__(self, q: torch.Tensor, g: torch.Tensor, dtype: torch.dtype | None = None) -> None:
        self.q, self.g = q, g
        self.dtype = dtype or g.dtype
        self.q_length, self.g_length = (torch.linalg.vector_norm(x, dim=1, dtype=torch.float32) for x in (q, g))
        self.unit = bool(((self.g_length - 1).abs() < 2**-20).all())
        self.work = g if self.dtype == g.dtype else (g / self.g_length[:, None]).to(self.dtype)
        self.error = self._error(g.shape[1])
        self.lengths = [np.full(len(x), np.nan) for x in (q, g)]  # in float64, filled where needed

    def _error(self, dim: int) -> float:
        """A bound on |tile - exact|, relative to sum |q_d g_d| <= 1.

        Inputs rounded to the product's format: twice its unit roundoff (TF32, which any accelerator may use for
        float32, may even truncate). A float32 sum of D products: below 8 sqrt(D) 2^-24 but for a chance of 3e-14
        (Higham and Mary 2019, Theorem 2.4 with lambda = 8; the certain bound, D 2^-24, is never near). The result
        rounded once more on the way out, and lengths within 2^-20 of one left as they are.
        """
        tf32 = self.dtype == torch.float32 and self.g.device.type != "cpu"
        roundoff = 2**-10 if tf32 else max(torch.finfo(self.dtype).eps / 2, 2**-24)
        return 3 * roundoff + 8 * dim**0.5 * 2**-24 + 2**-20

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        """Similarities of some queries and some gallery images, (rows, cols) float32."""
        similarity = product((self.q[rows] / self.q_length[rows, None]).to(self.dtype), self.work[cols])
        return similarity if self.unit or self.work is not self.g else similarity.div_(self.g_length[cols])

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Similarities of the pairs (i, j), (n,) float64, within `error`."""
        dot = pairwise(lambda x, y: np.einsum("nd,nd->n", x, y), self.q, self.g, i, j)
        return dot / (self.q_length.cpu().numpy()[i] * self.g_length.cpu().numpy()[j]).astype(np.float64)

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Similarities of the pairs (i, j), (n,) float64, equal to the last bit on every device and in every chunk."""
        lengths = [
            recall(known, k, lambda k, x=x: np.sqrt(pairwise(fold, x, x, k, k)))
            for known, x, k in zip(self.lengths, (self.q, self.g), (i, j), strict=True)
        ]
        return pairwise(fold, self.q, self.g, i, j) / (lengths[0] * lengths[1])


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b.T in float32; half precision is accumulated in float32."""
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        return torch.mm(a, b.T, out_dtype=torch.float32)
    if a.device.type == "cpu" and a.dtype == torch.float32:  # NumPy's OpenBLAS is 1.3 to 2 times torch.mm on AMD
        return torch.from_numpy(a.numpy() @ b.numpy().T)
    return (a @ b.T).float()


def pairwise(dot: Callable, x: torch.Tensor, y: torch.Tensor, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """dot(x[i], y[j]) row by row, (n,), in pieces that stay in a processor's cache."""
    step = max(1, 2**18 // x.shape[1])
    parts = [dot(take(x, i[k : k + step]), take(y, j[k : k + step])) for k in range(0, len(i), step)]
    return np.concatenate([np.empty(0), *parts])


def take(x: torch.Tensor, i: np.ndarray) -> np.ndarray:
    """Rows i of x as a NumPy array; half precision widened without loss."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return x.numpy()[i]  # torch's own x[i] wakes every thread for each small piece
    rows = x[torch.from_numpy(i).to(x.device)]
    return (rows if x.dtype == torch.float64 else rows.float()).cpu().numpy()


def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Row by row x . y in float64, halves added to halves: an order of additions that no library can choose anew."""
    z = np.multiply(x, y, dtype=np.float64)
    while (width := z.shape[1]) > 1:
        half = (width + 1) // 2
        z[:, : width - half] += z[:, half:]
        z = z[:, :half]
    return z[:, 0].copy()


def recall(known: np.ndarray, index: np.ndarray, make: Callable) -> np.ndarray:
    """known[index], after filling in what is still NaN there with make(missing indices)."""
    missing = np.unique(index[np.isnan(known[index])])
    if len(missing):
        known[missing] = make(missing)
    return known[index]


class Rule:
    """Who counts for whom: same identity is a match, another is wrong, unless the image is ignored for that query.

    Junk (gallery pid -1) is ignored for every query; `ignored(q_pid, q_cam, g_pid, g_cam)` names the rest.
    """

    def __init__(self, query, gallery, ignored: Callable[..., np.ndarray]) -> None:
        self.q_pid, self.q_cam = (np.asarray(x, np.int64) for x in (query.pids, query.camids))
        self.g_pid, self.g_cam = (np.asarray(x, np.int64) for x in (gallery.pids, gallery.camids))
        self._ignored = ignored
        self.order = np.argsort(self.g_pid, kind="stable")
        self.sorted = self.g_pid[self.order]
        kept = np.flatnonzero(self.g_pid != -1)
        self.columns = range(kept[0], kept[-1] + 1) if len(kept) else range(0)  # Market's junk stands at the front

    def ignored(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        g_pid = self.g_pid[j]
        return (g_pid == -1) | self._ignored(self.q_pid[i], self.q_cam[i], g_pid, self.g_cam[j])

    def wrong(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        return (self.q_pid[i] != self.g_pid[j]) & ~self.ignored(i, j)

    def same(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """All pairs (i, j) of one identity with i in rows, ordered by i."""
        first, last = (np.searchsorted(self.sorted, self.q_pid[rows], side) for side in ("left", "right"))
        which, place = ragged(first, last)
        return which + rows.start, self.order[place]

    def matches(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        i, j = self.same(rows)
        keep = ~self.ignored(i, j)
        return i[keep], j[keep]


def ragged(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers first..last-1 of all ranges in one row, and before them the range that each is from."""
    count = last - first
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + (first - np.cumsum(count) + count)[which]


def count(source, rule: Rule, ties: str = "pessimistic", memory: int = 2**26) -> tuple[np.ndarray, np.ndarray]:
    """Count the wrong answers ahead of every true match.

    Returns (i, ahead), int64, one entry a match, ordered by query i. A wrong answer with exactly a match's similarity
    stands ahead of it (pessimistic) or behind it (optimistic). `memory`, in bytes, bounds a tile and what is made of
    it; no result depends on it.
    """
    queries, span = len(rule.q_pid), rule.columns
    cols = max(1, memory // (8 * min(ROWS, queries)))  # 4 bytes a similarity, 1 a comparison, the rest for what passes
    found = []
    for start in tqdm(range(0, queries, ROWS), desc="scoring", delay=3, leave=False):
        chunk = Chunk(source, rule, slice(start, min(start + ROWS, queries)), ties == "pessimistic")
        for left in range(span.start, span.stop, cols):
            chunk.add(slice(left, min(left + cols, span.stop)))
        found.append((chunk.i, chunk.ahead()))
    i, ahead = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, ahead


class Chunk:
    """The matches of some queries as thresholds, and how many wrong answers pass each of them."""

    def __init__(self, source, rule: Rule, rows: slice, pessimistic: bool) -> None:
        self.source, self.rule, self.rows, self.pessimistic = source, rule, rows, pessimistic
        i, j = rule.matches(rows)
        # All thresholds on one axis: similarities lie in [-1, 1], so 4 units a query keep the queries apart.
        axis = 4 * (i - rows.start) + source.near(i, j)
        order = np.argsort(axis)
        self.i, self.j, axis = i[order], j[order], axis[order]
        slack = 2 * source.error + 1e-7  # the error of the match and that of the wrong answer
        self.low, self.high = axis - slack, axis + slack
        self.exact = np.full(len(axis), np.nan)  # filled where a wrong answer comes close
        self.first = np.searchsorted(i, np.arange(rows.start, rows.stop + 1))  # of each query's thresholds, its worst
        self.floor = np.full(rows.stop - rows.start, np.inf)
        has = np.diff(self.first) > 0
        self.floor[has] = (self.low[self.first[:-1][has]] - 4 * np.flatnonzero(has)).astype(np.float32)
        self.passing = np.zeros(len(i) + 1, np.int64)  # entries by the number of thresholds they surely pass
        self.entries = np.zeros(len(self.floor), np.int64)  # entries by query
        self.single = np.zeros(len(i), np.int64)  # entries counted for one threshold alone

    def add(self, cols: slice) -> None:
        """Count the wrong answers of one tile; only those above a query's worst match are looked at."""
        tile = self.source.tile(self.rows, cols)
        r, c, values, crowded = above(tile, self.floor)
        wrong = self.rule.wrong(r + self.rows.start, c + cols.start)
        r, c = r[wrong], c[wrong]
        unsure = [self._search(r, c + cols.start, 4 * r + values[wrong].astype(np.float64))]
        for r in crowded:
            unsure.append(self._compare(r, tile[r].cpu().numpy(), cols))
            if sum(map(len, unsure)) > 2**20:  # only where features have all but collapsed
                self._settle(np.concatenate(unsure))
                unsure.clear()
        if unsure:
            self._settle(np.concatenate(unsure))

    def _search(self, r: np.ndarray, j: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Look up how many thresholds each entry (query row r, gallery j, its place on the axis) passes.

        Returns what is too close to say: (n, 3) of row, gallery image, threshold.
        """
        passed, most = np.searchsorted(self.high, place), np.searchsorted(self.low, place, side="right")
        self.passing += np.bincount(passed, minlength=len(self.passing))
        self.entries += np.bincount(r, minlength=len(self.entries))
        close = np.flatnonzero(most > passed)
        which, k = ragged(passed[close], most[close])
        return np.stack([r[close][which], j[close][which], k], 1)

    def _compare(self, r: int, row: np.ndarray, cols: slice) -> np.ndarray:
        """The same for all of row r, one threshold after another: faster where many entries pass."""
        j = np.flatnonzero(self.rule.wrong(self.rows.start + r, cols))
        row, unsure = row[j], [np.empty((0, 3), np.int64)]
        for k in range(self.first[r], self.first[r + 1]):
            low, high = float(self.low[k] - 4 * r), float(self.high[k] - 4 * r)
            reach = row >= low
            self.single[k] += (passed := np.count_nonzero(row > high))
            if np.count_nonzero(reach) > passed:
                close = j[reach & (row <= high)] + cols.start
                unsure.append(np.stack([np.full_like(close, r), close, np.full_like(close, k)], 1))
        return np.concatenate(unsure)

    def _settle(self, unsure: np.ndarray) -> None:
        """Decide by exact similarities which entries pass which thresholds: (n, 3) of row, gallery image, threshold."""
        r, j, k = unsure.T
        entry, again = np.unique(r * len(self.rule.g_pid) + j, return_inverse=True)
        r, j = np.divmod(entry, len(self.rule.g_pid))
        own = self.source.exact(r + self.rows.start, j)[again]
        level = recall(self.exact, k, lambda k: self.source.exact(self.i[k], self.j[k]))
        self.single += np.bincount(k[own >= level if self.pessimistic else own > level], minlength=len(self.single))

    def ahead(self) -> np.ndarray:
        """Wrong answers ahead of each match, in the order of `i`."""
        # An entry of one query passes all thresholds of the queries before it and none of those after it.
        return self.entries.cumsum()[self.i - self.rows.start] - self.passing.cumsum()[:-1] + self.single


def above(tile: torch.Tensor, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Rows, columns and values of a tile's entries at or above their row's floor, but of crowded rows only the number."""
    limit = tile.shape[1] // 32  # beyond that, comparing is faster than searching
    if tile.device.type == "cpu":
        tile = tile.numpy()
        mask = tile >= floor.astype(np.float32)[:, None]
        crowded = np.flatnonzero([np.count_nonzero(row) > limit for row in mask])
        mask[crowded] = False
        flat = np.flatnonzero(mask)
        values = tile.ravel()[flat]
    else:
        mask = tile >= torch.from_numpy(floor.astype(np.float32)).to(tile.device)[:, None]
        crowded = (mask.sum(1, dtype=torch.int32) > limit).nonzero()[:, 0].cpu().numpy()
        mask[crowded] = False
        flat = mask.view(-1).nonzero()[:, 0]
        flat, values = flat.cpu().numpy(), tile.view(-1)[flat].cpu().numpy()
    r, c = np.divmod(flat, tile.shape[1])
    return r, c, values, crowded.tolist()
