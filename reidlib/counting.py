"""The counter: how many wrong answers stand ahead of every true match, with no sort and no distance matrix.

A source gives similarities, fast in tiles and exact for the few pairs that need it (`Cosine` here, `Reranked` in
rerank.py); a `Rule` says which gallery images are a query's matches, its wrong answers, or neither.
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
        self.lengths = [x.new_full((len(x),), torch.nan, dtype=torch.float64) for x in (q, g)]  # filled where needed

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

    def near(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Similarities of the pairs (i, j), (n,) float64, within `error`."""
        near = dots(self.q, self.g, i, j, lambda x, y: np.einsum("nd,nd->n", x, y))
        return near.double() / (self.q_length[i] * self.g_length[j])

    def exact(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Similarities of the pairs (i, j), (n,) float64, equal to the last bit on every device and in every chunk."""
        q_length, g_length = (
            recall(known, k, lambda k, x=x: dots(x, x, k, k, fold).sqrt())
            for known, k, x in zip(self.lengths, (i, j), (self.q, self.g))
        )
        return dots(self.q, self.g, i, j, fold) / (q_length * g_length)


def dots(x: torch.Tensor, y: torch.Tensor, i: torch.Tensor, j: torch.Tensor, dot: Callable) -> torch.Tensor:
    """Dot products (n,) of the rows x[i] and y[j], by NumPy, in pieces that stay in a processor's cache."""
    step = max(1, 2**18 // x.shape[1])
    parts = [dot(host(x, a), host(y, b)) for a, b in zip(i.split(step), j.split(step))]
    return torch.from_numpy(np.concatenate(parts)).to(x.device)


def host(x: torch.Tensor, i: torch.Tensor) -> np.ndarray:
    """Rows i of x as a NumPy array; half precision widened without loss."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return x.numpy()[i.numpy()]  # torch's own x[i] wakes every thread for each small piece
    return (x[i] if x.dtype == torch.float64 else x[i].float()).cpu().numpy()


def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Row by row x . y in float64, halves added to halves: an order of additions that no machine's library can choose."""
    z = np.multiply(x, y, dtype=np.float64)
    while (width := z.shape[1]) > 1:
        half = (width + 1) // 2
        z[:, : width - half] += z[:, half:]
        z = z[:, :half]
    return z[:, 0].copy()


def recall(known: torch.Tensor, index: torch.Tensor, make: Callable) -> torch.Tensor:
    """known[index], after filling in what is still NaN there with make(missing indices)."""
    missing = index[known[index].isnan()].unique()
    if len(missing):
        known[missing] = make(missing)
    return known[index]


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b.T in float32; half precision is accumulated in float32."""
    if a.is_cuda and a.dtype in (torch.float16, torch.bfloat16):
        return torch.mm(a, b.T, out_dtype=torch.float32)
    if a.device.type == "cpu" and a.dtype == torch.float32:  # NumPy's OpenBLAS is 1.3 to 2 times torch.mm on AMD
        return torch.from_numpy(a.numpy() @ b.numpy().T)
    return (a @ b.T).float()


class Rule:
    """Who counts for whom: same identity is a match, another is wrong, unless the image is ignored for that query.

    Junk (gallery pid -1) is ignored for every query; `ignored(q_pid, q_cam, g_pid, g_cam)` names the rest.
    """

    def __init__(self, query, gallery, ignored: Callable[..., torch.Tensor], device: torch.device | str = "cpu") -> None:
        tensors = (torch.from_numpy(np.asarray(x, np.int64)).to(device) for s in (query, gallery) for x in (s.pids, s.camids))
        self.q_pid, self.q_cam, self.g_pid, self.g_cam = tensors
        self._ignored = ignored
        self.sorted, self.order = self.g_pid.sort(stable=True)
        kept = (self.g_pid != -1).nonzero()[:, 0]
        self.columns = range(int(kept[0]), int(kept[-1]) + 1) if len(kept) else range(0)  # Market's junk comes first

    def ignored(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        g_pid = self.g_pid[j]
        return (g_pid == -1) | self._ignored(self.q_pid[i], self.q_cam[i], g_pid, self.g_cam[j])

    def wrong(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (self.q_pid[i] != self.g_pid[j]) & ~self.ignored(i, j)

    def same(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """All pairs (i, j) of one identity with i in rows, ordered by i."""
        pid = self.q_pid[rows]
        start = torch.searchsorted(self.sorted, pid)
        count = torch.searchsorted(self.sorted, pid, right=True) - start
        i, within = ragged(count)
        return i + rows.start, self.order[start[i] + within]

    def matches(self, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        i, j = self.same(rows)
        keep = ~self.ignored(i, j)
        return i[keep], j[keep]


def ragged(count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For counts (n,): which list each of the count.sum() entries belongs to, and its place within that list."""
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return which, torch.arange(len(which), device=count.device) - (count.cumsum(0) - count)[which]


def count(source, rule: Rule, ties: str = "pessimistic", memory: int = 2**26) -> tuple[np.ndarray, np.ndarray]:
    """Count the wrong answers ahead of every true match.

    Returns (i, ahead), int64, one entry a match, ordered by query i. A wrong answer with exactly a match's similarity
    stands ahead of it (pessimistic) or behind it (optimistic). `memory`, in bytes, bounds
    a tile and what is made of it; no result depends on it.
    """
    queries, span = len(rule.q_pid), rule.columns
    cols = max(1, memory // (8 * min(ROWS, queries)))  # 4 bytes a similarity, 1 a comparison, the rest for what passes
    found = []
    for start in tqdm(range(0, queries, ROWS), desc="scoring", delay=3, leave=False):
        chunk = Chunk(source, rule, slice(start, min(start + ROWS, queries)), ties == "pessimistic")
        for left in range(span.start, span.stop, cols):
            chunk.add(slice(left, min(left + cols, span.stop)))
        found.append((chunk.i, chunk.ahead()))
    i, ahead = (torch.cat(parts).cpu().numpy() for parts in zip(*found))
    return i, ahead


class Chunk:
    """The matches of some queries as thresholds, and how many of them each wrong answer passes."""

    def __init__(self, source, rule: Rule, rows: slice, pessimistic: bool) -> None:
        self.source, self.rule, self.rows, self.pessimistic = source, rule, rows, pessimistic
        i, j = rule.matches(rows)
        level = source.near(i, j)
        # All thresholds on one axis: similarities lie in [-1, 1], so 4 units a query keep the queries apart.
        axis, order = (4 * (i - rows.start) + level).sort()
        self.i, self.j = i[order], j[order]
        slack = 2 * source.error + 1e-7  # the error of the match and that of the wrong answer
        self.low, self.high = axis - slack, axis + slack
        self.exact = torch.full_like(axis, torch.nan)  # filled where a wrong answer comes close
        self.floor = axis.new_full((rows.stop - rows.start,), torch.inf)
        self.floor.scatter_reduce_(0, i - rows.start, level - slack, "amin")
        self.passing = torch.zeros(len(i) + 1, dtype=torch.int64, device=i.device)  # by number of thresholds passed
        self.entries = torch.zeros(len(self.floor), dtype=torch.int64, device=i.device)  # by query
        self.direct = torch.zeros_like(self.i)
        self.first = torch.searchsorted(self.i, torch.arange(rows.start, rows.stop + 1, device=i.device))

    def add(self, cols: slice) -> None:
        """Count the wrong answers of one tile; only those above a query's worst match are looked at."""
        tile = self.source.tile(self.rows, cols)
        above = tile >= self.floor.float()[:, None]
        if tile.device.type == "cpu":
            many = above.count_nonzero(1) > tile.shape[1] // 32  # where comparing costs less than searching
            for r in many.nonzero()[:, 0].tolist():
                self._compare(r, tile[r], cols)
            above[many] = False
        r, c = above.nonzero(as_tuple=True)
        wrong = self.rule.wrong(r + self.rows.start, c + cols.start)
        r, c = r[wrong], c[wrong]
        self._search(r, c + cols.start, 4 * r + tile[r, c].double())

    def _search(self, r: torch.Tensor, j: torch.Tensor, place: torch.Tensor) -> None:
        """Look up how many thresholds each entry (query row r, gallery j, its place on the axis) passes."""
        passed = torch.searchsorted(self.high, place)
        most = torch.searchsorted(self.low, place, right=True)
        close = (most > passed).nonzero()[:, 0]
        if len(close):
            for part in close.split(max(1, 2**20 // int((most - passed).max()))):
                passed[part] += self._settle(r[part], j[part], passed[part], most[part])
        self.passing += passed.bincount(minlength=len(self.passing))
        self.entries += r.bincount(minlength=len(self.entries))

    def _compare(self, r: int, row: torch.Tensor, cols: slice) -> None:
        """Count the entries of one row above one threshold after another."""
        wrong = self.rule.wrong(self.rows.start + r, cols)
        values, first = row[wrong].numpy(), int(self.first[r])
        for k in range(first, int(self.first[r + 1])):
            low, high = float(self.low[k]) - 4 * r, float(self.high[k]) - 4 * r
            reach, pass_ = np.count_nonzero(values >= low), np.count_nonzero(values > high)
            self.direct[k] += pass_
            if reach > pass_:
                close = torch.from_numpy(np.flatnonzero((values >= low) & (values <= high)))
                j = wrong.nonzero()[:, 0][close] + cols.start
                r_, k_ = torch.full_like(j, r), torch.full_like(j, k)
                self.direct[k] += self._settle(r_, j, k_, k_ + 1).sum()

    def _settle(self, r: torch.Tensor, j: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """How many of the thresholds first..last-1 each entry passes, by exact similarities."""
        entry, within = ragged(last - first)
        threshold = first[entry] + within
        level = recall(self.exact, threshold, lambda k: self.source.exact(self.i[k], self.j[k]))
        own = self.source.exact(r + self.rows.start, j)[entry]
        return entry[own >= level if self.pessimistic else own > level].bincount(minlength=len(r))

    def ahead(self) -> torch.Tensor:
        """Wrong answers ahead of each match, in the order of `i`."""
        # An entry of one query passes all thresholds of the queries before it and none of those after it.
        return self.entries.cumsum(0)[self.i - self.rows.start] - self.passing.cumsum(0)[:-1] + self.direct
