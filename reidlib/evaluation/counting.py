"""The counter: how many wrong answers rank ahead of every true match, exactly and without a distance matrix.

A `Similarity` gives the values that are compared, a `Rule` says which gallery images are a query's matches, its wrong
answers, or neither. Every row of a tile is sorted as keys of 32 bits: a similarity's first 18 bits, then its column. A
binary search for a match in its row then counts the wrong answers that are surely ahead of it, and names the few that
are too close to tell. What this costs hardly depends on how good the model is. Products run on the features' device.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from reidlib.data.shots import DISTRACTOR, JUNK, Shots
from reidlib.evaluation.cosine import recall, unique_pairs
from reidlib.progress import progress

ROWS = 192  # queries in a tile, at least: from here on NumPy's product runs at full speed
COLUMNS = 2**14  # gallery images in a tile, at most: what 14 bits of a key can number
HIDDEN, LAST = -(2**31), 2**31 - 1  # the key of what is no wrong answer, and the highest
UNIT = 2.0**30  # of a key: similarities between -2 and 2 fit
STRIP = 32  # rows that are sorted at a time: they fit the cache
PIECE = 4096  # pairs that are looked at again at a time
TIED = 2.0**-38  # two similarities by `near` that differ by less are computed by `exact`
WIDEST = 1.5  # the largest absolute similarity that `count` takes
Pair = tuple[np.ndarray, np.ndarray]  # two arrays (n,) int64 side by side
Searched = tuple[torch.Tensor, np.ndarray]  # sorted keys (rows, cols) int32, and positions in them int64


class Similarity(Protocol):
    """Similarities of Q queries and G gallery images, between -1 and 1, higher for images that are more alike.

    `tile` gives those of some queries and some gallery images, (rows, cols) float32, which the caller only reads;
    `near` and `exact` those of the pairs (i, j), each (n,) int64, n may be 0, as (n,) float64. `exact` decides ties and
    is the same to the last bit in every call; `near` may be faster and is within 2^-40 of it, `tile` within `error`.
    `score(rerank=...)` takes any function of q (Q, D), g (G, D) and keep (G,), which is False for junk, that returns
    one, as `rerank` does.
    """

    error: float

    def tile(self, rows: slice, cols: slice) -> torch.Tensor: ...
    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray: ...
    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray: ...


class Rule:
    """Which gallery images count for a query: one of the same pid is a match, another is wrong, some are ignored.

    Junk (gallery pid -1) is ignored for every query; `ignored(same, q_cam, g_cam)`, where `same` tells pairs of one
    pid, says what else is. `own` (G,) int64 names the query that a gallery image is itself and that ignores it, -1 for
    none; default: none is one.
    """

    def __init__(
        self, query: Shots, gallery: Shots, ignored: Callable[..., np.ndarray], own: np.ndarray | None = None
    ) -> None:
        self.q_pid, self.q_cam = (np.asarray(x, np.int64) for x in (query.pids, query.camids))
        self.g_pid, self.g_cam = (np.asarray(x, np.int64) for x in (gallery.pids, gallery.camids))
        self._ignored, self.own = ignored, own
        self.order = np.argsort(self.g_pid, kind="stable")
        self.sorted = self.g_pid[self.order]
        kept = np.flatnonzero(self.g_pid != JUNK)
        self.columns = range(kept[0], kept[-1] + 1) if len(kept) else range(0)  # Market's junk comes first

    def ignored(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        """Whether gallery images j are ignored for queries i."""
        g_pid = self.g_pid[j]
        ignored = (g_pid == JUNK) | self._ignored(self.q_pid[i] == g_pid, self.q_cam[i], self.g_cam[j])
        return ignored if self.own is None else ignored | (self.own[j] == i)

    def wrong(self, rows: slice, cols: slice) -> np.ndarray:
        """Whether gallery images are wrong answers to queries, (rows, cols)."""
        cameras, which = np.unique(self.q_cam[rows], return_inverse=True)
        strangers = np.zeros((len(cameras), cols.stop - cols.start), bool)
        hidden = self._ignored(strangers, cameras[:, None], self.g_cam[cols]) | (self.g_pid[cols] == JUNK)
        wrong = ~hidden[which]
        i, j = self.same(rows)
        inside = (j >= cols.start) & (j < cols.stop)
        wrong[i[inside] - rows.start, j[inside] - cols.start] = False
        if self.own is not None:
            wrong &= self.own[cols] != np.arange(rows.start, rows.stop)[:, None]
        return wrong

    def same(self, rows: slice) -> Pair:
        """All pairs (i, j) of one pid with i in rows, ordered by i; no image with itself."""
        first, last = (np.searchsorted(self.sorted, self.q_pid[rows], side) for side in ("left", "right"))
        which, position = ragged(first, last)
        i, j = which + rows.start, self.order[position]
        others = slice(None) if self.own is None else self.own[j] != i
        return i[others], j[others]

    def matches(self, rows: slice) -> Pair:
        """All true matches (i, j) with i in rows, ordered by i: pairs of one pid that are not ignored."""
        i, j = self.same(rows)
        keep = ~self.ignored(i, j)
        return i[keep], j[keep]

    def counts(self) -> dict[str, int]:
        """Queries, those with a match, gallery images, junk, distractors, true matches and ignored pairs of one pid."""
        i, j = self.same(slice(0, len(self.q_pid)))
        ignored = self.ignored(i, j)
        counts = dict(queries=len(self.q_pid), valid=len(np.unique(i[~ignored])), gallery=len(self.g_pid))
        strangers = self.g_pid == DISTRACTOR if DISTRACTOR not in self.q_pid else np.empty(0)  # else people like others
        counts |= dict(junk=int((self.g_pid == JUNK).sum()), distractors=int(strangers.sum()))
        return counts | dict(matches=int((~ignored).sum()), same_camera=int(ignored.sum()))


def ragged(first: np.ndarray, last: np.ndarray) -> Pair:
    """The numbers first..last-1 of all ranges in one row, and before them the range that each is from."""
    count = last - first
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + (first - np.cumsum(count) + count)[which]


def count(source: Similarity, rule: Rule, ties: str = "pessimistic", memory: int = 2**26) -> Pair:
    """Count the wrong answers ahead of every true match: (i, ahead), int64, one entry a match, ordered by query i.

    A wrong answer with exactly a match's similarity ranks ahead of it ("pessimistic") or behind it ("optimistic").
    `memory`, in bytes, bounds a tile and what is derived from it; the result does not depend on it.
    """
    threads = torch.get_num_threads()
    places, few = list(tiling(rule, memory // threads)), len(rule.q_pid) * len(rule.g_pid) < 10**7
    # Each thread takes some queries and their product: the threads of a common product would run idle at the sorting.
    try:
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads, "count", torch.set_num_threads, (1,)) as pool:
            counted = pool.map(lambda place: _count_rows(source, rule, place[0], place[1], ties), places)
            i, ahead = zip(*progress(counted, "comparing", total=len(places), few=few), strict=True)
    finally:
        torch.set_num_threads(threads)
    return np.concatenate(i), np.concatenate(ahead)


def _count_rows(source: Similarity, rule: Rule, rows: slice, tiles: list[slice], ties: str) -> Pair:
    """`count` for some queries; the tiles are freed on return, so that the next queries can use their memory."""
    tile = source.tile(rows, tiles[0])
    chunk = Chunk(source, rule, rows, tile if len(tiles) == 1 else None, ties)
    chunk.add(tile, tiles[0])
    for cols in tiles[1:]:
        chunk.add(source.tile(rows, cols), cols)
    return chunk.i, chunk.ahead


def tiling(rule: Rule, memory: int) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of queries, each with slices of the gallery, so that a tile and what is derived from it fit `memory`."""
    queries, end = len(rule.q_pid), rule.columns.stop
    first, last = (np.searchsorted(rule.sorted, rule.q_pid, side) for side in ("left", "right"))
    most = int((last - first).max()) + 1  # images of one person
    rows = max(1, min(queries, max(ROWS, memory // (6 * len(rule.columns) + 1)), memory // (64 * most)))
    cols = max(1, min(COLUMNS, memory // (6 * rows)))  # 4 bytes a similarity, and 2 masks
    tiles = [slice(left, min(left + cols, end)) for left in range(rule.columns.start, end, cols)]
    for top in range(0, queries, rows):
        yield slice(top, min(top + rows, queries)), tiles


class Chunk:
    """The matches (i, j) of some queries, and how many wrong answers are ahead of each: (n,) int64.

    `whole`: the tile with all columns of these queries, and so the matches' similarities; None if there are several.
    """

    def __init__(self, source: Similarity, rule: Rule, rows: slice, whole: torch.Tensor | None, ties: str) -> None:
        self.source, self.rule, self.rows, self.pessimistic = source, rule, rows, ties == "pessimistic"
        self.i, self.j = i, j = rule.matches(rows)
        near = source.near(i, j) if whole is None else entries(whole, i - rows.start, j - rule.columns.start)
        self.level, self.error = _bounded(near), source.error + 5e-8  # and a rounding to float32
        self.ahead = np.zeros(len(i), np.int64)
        self.near, self.exact = np.full((2, len(i)), np.nan)  # of a match that a wrong answer comes close to
        self.r, first = i - rows.start, np.searchsorted(i, np.arange(rows.start, rows.stop))
        self.turn = np.arange(len(i)) - first[self.r]  # 0 for a query's first match, 1 for the next, ...
        edges = np.full((rows.stop - rows.start, 2, self.turn.max(initial=0) + 1), LAST, np.int32)
        edges[self.r, 0, self.turn] = _cell(self.level - 2 * self.error)
        edges[self.r, 1, self.turn] = _cell(self.level + 2 * self.error) + COLUMNS
        self.edges = edges

    def add(self, tile: torch.Tensor, cols: slice) -> None:
        """Count the wrong answers of one tile, on the CPU in strips that fit the cache."""
        wrong, step = self.rule.wrong(self.rows, cols), STRIP if tile.device.type == "cpu" else len(tile)
        for top in range(0, len(tile), step):
            rows = slice(top, top + step)
            self._strip(tile[rows], wrong[rows], rows, cols.start)

    def _strip(self, tile: torch.Tensor, wrong: np.ndarray, rows: slice, left: int) -> None:
        keys, at = searched(tile, wrong, self.edges[rows])
        matches = np.arange(*np.searchsorted(self.r, (rows.start, rows.stop)))
        r, turn = self.r[matches] - rows.start, self.turn[matches]
        low, high = at[r, 0, turn], at[r, 1, turn]
        self.ahead[matches] += keys.shape[1] - high
        piece = np.cumsum(high - low) // PIECE
        for some in np.unique(piece):  # the entries of a row's keys from low to high, for some matches
            k = np.arange(*np.searchsorted(piece, (some, some + 1)))
            which, position = ragged(low[k], high[k])
            c = entries(keys, r[k[which]], position) & (COLUMNS - 1)
            value = entries(tile, r[k[which]], c).astype(np.float64)
            ahead = self._ahead(matches[k[which]], c + left, value)
            self.ahead[matches[k]] += np.bincount(which[ahead], minlength=len(k))

    def _ahead(self, k: np.ndarray, j: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Whether wrong answers j, of similarity `value` in a tile, are ahead of matches k, each (n,)."""
        i, source = self.i, self.source
        gap = value - self.level[k]
        close = np.flatnonzero(abs(gap) <= 2 * self.error)
        level = recall(self.near, k[close], lambda k: source.near(i[k], self.j[k]))
        gap[close] = value[close] - level
        near = abs(gap[close]) <= self.error
        close = close[near]
        gap[close] = unique_pairs(source.near, i[k[close]], j[close]) - level[near]
        tied = np.flatnonzero(abs(gap) < TIED)
        exact = recall(self.exact, k[tied], lambda k: source.exact(i[k], self.j[k]))
        gap[tied] = unique_pairs(source.exact, i[k[tied]], j[tied]) - exact
        return (gap >= 0) if self.pessimistic else (gap > 0)


def searched(tile: torch.Tensor, wrong: np.ndarray, edges: np.ndarray) -> Searched:
    """Each row's wrong answers as ascending keys, HIDDEN for the rest, and where `edges` (rows, 2, n) are in them."""
    columns = torch.arange(tile.shape[1], dtype=torch.int32)
    _bounded(torch.stack(tile.aminmax()).cpu().numpy())
    if tile.device.type != "cpu":
        keys = (tile * UNIT).int().bitwise_and_(-COLUMNS).bitwise_or_(columns.to(tile.device))
        keys = keys.masked_fill_(torch.from_numpy(~wrong).to(tile.device), HIDDEN).sort(1).values
        position = torch.searchsorted(keys, torch.from_numpy(edges).to(tile.device).flatten(1))
        return keys, position.view(edges.shape).cpu().numpy()
    some = np.empty(tile.shape, np.int32)
    np.multiply(tile.numpy(), np.float32(UNIT), out=some, casting="unsafe")
    some &= -COLUMNS
    some |= columns.numpy()
    np.copyto(some, HIDDEN, where=~wrong)
    some.sort(axis=1)
    at = [row.searchsorted(edge) for row, edge in zip(some, edges, strict=True)]
    return torch.from_numpy(some), np.stack(at)


def _cell(values: np.ndarray) -> np.ndarray:
    """The key of similarities (n,) in column 0."""
    return np.clip(np.trunc(values * UNIT), HIDDEN + COLUMNS, LAST - COLUMNS).astype(np.int64) & -COLUMNS


def _bounded(values: np.ndarray) -> np.ndarray:
    """`values`; ValueError for NaN and for what lies so far outside [-1, 1] that the counter would be wrong."""
    if len(wide := values[~(abs(values) <= WIDEST)]):
        raise ValueError(f"a similarity is {wide[0]}: it must lie between -1 and 1, as 1 - distance / max does")
    return values


def entries(tile: torch.Tensor, r: np.ndarray, c: np.ndarray) -> np.ndarray:
    """tile[r, c] in main memory."""
    return tile[torch.from_numpy(r), torch.from_numpy(c)].cpu().numpy()
