"""The most similar rows of a large gallery, exact, in blocks: the product and the rule for ties of `score`."""

from collections.abc import Iterable

import numpy as np
import torch

from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import ROWS

CROWDED = 4  # candidates for each of the k places of a query, from which on a tile is narrowed down first


def nearest(q: torch.Tensor, blocks: Iterable[Cosine], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of all blocks that are most similar to each query, best first.

    Similarities are cosines, exact in float64 of the rows as they are stored. Of two rows exactly as similar, the one
    of the lower position comes first, as in `Scores.ranking`. One tile of similarities is in memory at a time.

    Parameters
    ----------
    q : float32 (Q, D), features of any length
    blocks : similarities of any queries and some rows each, at most 2^14 of them, so that a tile fits the memory
    k : at most as many as there are rows

    Returns
    -------
    positions (Q, k) int64, counted through all blocks, and similarities (Q, k) float64
    """
    index, best = np.full((len(q), k), -1), np.full((len(q), k), -np.inf)
    first = 0
    for block in blocks:
        cosine = block.of_queries(q)
        for top in range(0, len(q), ROWS):
            rows = slice(top, min(top + ROWS, len(q)))
            i, j = _candidates(cosine, rows, best[rows, -1], k)
            exact = cosine.exact(i + top, j)
            index[rows], best[rows] = _merged(index[rows], best[rows], i, j + first, exact)
        first += len(block.g)
    return index, best


def _candidates(cosine: Cosine, rows: slice, least: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) that may be among the k best of their query, i counted from `rows.start`.

    least (n,): the similarity of each query's last place so far, -inf while there are free ones.
    """
    tile = cosine.tile(rows, slice(0, len(cosine.g))).numpy()
    error = cosine.error + 2**-23  # and what float32 rounds
    passed = tile >= (least - error).astype(np.float32)[:, None]
    if tile.shape[1] > k and np.count_nonzero(passed) > CROWDED * k * len(tile):
        here = np.partition(tile, -k, axis=1)[:, -k]
        passed = tile >= (np.maximum(least, here - error) - error).astype(np.float32)[:, None]
    return np.divmod(np.flatnonzero(passed), tile.shape[1])


def _merged(
    index: np.ndarray, best: np.ndarray, i: np.ndarray, j: np.ndarray, exact: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the places so far, (n, k) each, and of new pairs (i, j)."""
    n, k = index.shape
    i, j = np.concatenate([np.repeat(np.arange(n), k), i]), np.concatenate([index.ravel(), j])
    exact = np.concatenate([best.ravel(), exact])
    order = np.lexsort((j, -exact, i))
    head = order[(np.searchsorted(i[order], np.arange(n))[:, None] + np.arange(k)).ravel()]
    return j[head].reshape(n, k), exact[head].reshape(n, k)
