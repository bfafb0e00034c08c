"""The counter: how many wrong answers rank ahead of every true match, without a sort and without a distance matrix.

A `Similarity` gives the values that are compared, a `Rule` says which gallery images are a query's matches, its wrong
answers, or neither. Products run on the features' device; the few entries that remain of a tile are counted on the CPU.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch

from reidlib.data.shots import DISTRACTOR, JUNK, Shots
from reidlib.evaluation.cosine import recall
from reidlib.progress import progress

ROWS = 512  # queries in a tile: from here on NumPy's product runs at full speed
CROWDED = 8  # a row with more than this part of its tile above its worst match is compared, not searched: it is faster
WIDEST = 1.5  # the largest absolute similarity that `count` can tell from another query's
Pair = tuple[np.ndarray, np.ndarray]  # two arrays (n,) int64 side by side


class Similarity(Protocol):
    """Similarities of Q queries and G gallery images, between -1 and 1, higher for images that are more alike.

    `tile` gives those of some queries and some gallery images, (rows, cols) float32, which the caller only reads;
    `near` and `exact` those of the pairs (i, j), each (n,) int64, n may be 0, as (n,) float64. `exact` decides ties and
    is the same to the last bit in every call; `tile` and `near` are within `error` of it. `score(rerank=...)` takes any
    function of q (Q, D), g (G, D) and keep (G,), which is False for junk, that returns one, as `rerank` does.
    """

    error: float

    def tile(self, rows: slice, cols: slice) -> torch.Tensor: ...
    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray: ...
    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray: ...


class Rule:
    """Which gallery images count for a query: one of the same pid is a match, another is wrong, some are ignored.

    Junk (gallery pid -1) is ignored for every query; `ignored(q_pid, q_cam, g_pid, g_cam)` says what else is. `own`
    (G,) int64 names the query that a gallery image is itself and that ignores it, -1 for none; default: none is one.
    """

    def __init__(
        self, query: Shots, gallery: Shots, ignored: Callable[..., np.ndarray], own: np.ndarray | None = None
    ) -> None:
        self.q_pid, self.q_cam = (np.asarray(x, np.int64) for x in (query.pids, query.camids))
        self.g_pid, self.g_cam = (np.asarray(x, np.int64) for x in (gallery.pids, gallery.camids))
        self._ignored, self.own = ignored, own
        self.order = np.argsort(self.g_pid, kind="stable")
        self.sorted = self.g_pid[self.order]
        kept = np.flatnonzero(self.g_pid != -1)
        self.columns = range(kept[0], kept[-1] + 1) if len(kept) else range(0)  # Market's junk comes first

    def ignored(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        """Whether gallery images j are ignored for queries i."""
        g_pid = self.g_pid[j]
        ignored = (g_pid == -1) | self._ignored(self.q_pid[i], self.q_cam[i], g_pid, self.g_cam[j])
        return ignored if self.own is None else ignored | (self.own[j] == i)

    def wrong(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        """Whether gallery images j are wrong answers to queries i."""
        return (self.q_pid[i] != self.g_pid[j]) & ~self.ignored(i, j)

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
        strangers = (
            0 if DISTRACTOR in self.q_pid else int((self.g_pid == DISTRACTOR).sum())
        )  # else a person like others
        counts |= dict(junk=int((self.g_pid == JUNK).sum()), distractors=strangers)
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
    counted = [_count_rows(source, rule, rows, tiles, ties) for rows, tiles in tiling(rule, memory)]
    i, ahead = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    return i, ahead


def _count_rows(source: Similarity, rule: Rule, rows: slice, tiles: list[slice], ties: str) -> Pair:
    """`count` for some queries; the tiles are freed on return, so that the next queries can use their memory."""
    tile = source.tile(rows, tiles[0])
    chunk = Chunk(source, rule, rows, tile if len(tiles) == 1 else None, ties)
    chunk.add(tile, tiles[0])
    for cols in tiles[1:]:
        chunk.add(source.tile(rows, cols), cols)
    return chunk.i, chunk.ahead()


def tiling(rule: Rule, memory: int) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of queries, each with slices of the gallery, so that a tile and what is derived from it fit `memory`."""
    rows, end = min(ROWS, len(rule.q_pid)), rule.columns.stop
    cols = max(1, memory // (8 * rows))  # 4 bytes a similarity, 1 a comparison, the rest for the entries that remain
    tiles = [slice(left, min(left + cols, end)) for left in range(rule.columns.start, end, cols)]
    few = len(rule.q_pid) * len(rule.g_pid) < 10**7
    for top in progress(range(0, len(rule.q_pid), rows), "comparing", few=few):
        yield slice(top, min(top + rows, len(rule.q_pid))), tiles


class Chunk:
    """The matches of some queries as thresholds, and how many wrong answers pass each of them.

    `whole`: the tile with all columns of these queries, and so the matches' similarities; None if there are several.
    """

    def __init__(self, source: Similarity, rule: Rule, rows: slice, whole: torch.Tensor | None, ties: str) -> None:
        self.source, self.rule, self.rows, self.pessimistic = source, rule, rows, ties == "pessimistic"
        i, j = rule.matches(rows)
        near = source.near(i, j) if whole is None else entries(whole, i - rows.start, j - rule.columns.start)
        # All thresholds on one axis: similarities lie in [-1, 1], so 4 units a query keep the queries apart.
        axis = 4 * (i - rows.start) + _bounded(near)
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

    def add(self, tile: torch.Tensor, cols: slice) -> None:
        """Count the wrong answers of one tile; only those above a query's worst match are looked at."""
        r, c, values, crowded = above(tile, self.floor)
        wrong = self.rule.wrong(r + self.rows.start, c + cols.start)
        r, c = r[wrong], c[wrong]
        unsure = [self._search(r, c + cols.start, 4 * r + _bounded(values[wrong]).astype(np.float64))]
        for row in crowded:
            unsure.append(self._compare(row, tile[row].cpu().numpy(), cols))
            if sum(map(len, unsure)) > 2**20:  # only where features have all but collapsed
                self._settle(np.concatenate(unsure))
                unsure.clear()
        if unsure:
            self._settle(np.concatenate(unsure))

    def _search(self, r: np.ndarray, j: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Look up how many thresholds each entry passes; returns what is too close to decide, as for `_settle`."""
        passed, most = np.searchsorted(self.high, position), np.searchsorted(self.low, position, side="right")
        self.passing += np.bincount(passed, minlength=len(self.passing))
        self.entries += np.bincount(r, minlength=len(self.entries))
        close = np.flatnonzero(most > passed)
        which, k = ragged(passed[close], most[close])
        return np.stack([r[close][which], j[close][which], k], 1)

    def _compare(self, r: int, row: np.ndarray, cols: slice) -> np.ndarray:
        """The same for all of row r, one threshold after another: faster where many entries pass."""
        j = np.flatnonzero(self.rule.wrong(self.rows.start + r, cols))
        row, unsure = row[j], [np.empty((0, 3), np.int64)]
        for k in range(self.first[r], self.first[r + 1]):  # rising: what does not reach one reaches none after it
            reach = row >= float(self.low[k] - 4 * r)
            row, j = row[reach], j[reach]
            passed = row > float(self.high[k] - 4 * r)
            self.single[k] += (sure := np.count_nonzero(passed))
            if sure < len(row):
                close = j[~passed] + cols.start
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


def _bounded(values: np.ndarray) -> np.ndarray:
    """`values`; ValueError for NaN and for what lies so far outside [-1, 1] that the counter would be wrong."""
    if len(wrong := values[~(abs(values) <= WIDEST)]):
        raise ValueError(
            f"a similarity is {wrong[0]}: similarities must lie between -1 and 1, such as 1 - distance / max"
        )
    return values


def entries(tile: torch.Tensor, r: np.ndarray, c: np.ndarray) -> np.ndarray:
    """tile[r, c] as float64 in main memory."""
    return tile[torch.from_numpy(r), torch.from_numpy(c)].double().cpu().numpy()


def above(tile: torch.Tensor, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Rows, columns and values of a tile's entries above their row's floor; of crowded rows, the number of the row."""
    limit, floor = tile.shape[1] // CROWDED, floor.astype(np.float32)[:, None]
    if tile.device.type == "cpu":
        dense = tile.numpy()
        mask = dense >= floor
        crowded = np.flatnonzero([np.count_nonzero(row) > limit for row in mask])
        mask[crowded] = False
        flat = np.flatnonzero(mask)
        values = dense.ravel()[flat]
    else:
        over = tile >= torch.from_numpy(floor).to(tile.device)
        full = (over.sum(1, dtype=torch.int32) > limit).nonzero()[:, 0]
        over[full] = False
        chosen = over.view(-1).nonzero()[:, 0]
        flat, values, crowded = (x.cpu().numpy() for x in (chosen, tile.reshape(-1)[chosen], full))
    r, c = np.divmod(flat, tile.shape[1])
    return r, c, values, crowded.tolist()
