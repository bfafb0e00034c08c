"""What is made of the counts: average precision and its kin, intervals, the difference of two models, thresholds."""

from dataclasses import dataclass

import numpy as np


def per_query(i: np.ndarray, ahead: np.ndarray, queries: int) -> dict[str, np.ndarray]:
    """AP by steps and by trapezoids, INP, rank of the first match and number of matches of every query, each (Q,).

    `i`, `ahead`: one entry a match, its query and the wrong answers ahead of it. Without a match: NaN, first_match -1.
    Sources: step AP as in the papers; trapezoid as compute_AP.m of the Market-1501 authors (Zheng et al. 2015); INP as
    Ye et al., "Deep Learning for Person Re-identification" (2021), section 3.
    """
    order = np.lexsort((ahead, i))
    i, ahead = i[order], ahead[order]
    matches = np.bincount(i, minlength=queries)
    first = np.cumsum(matches) - matches
    hit = np.arange(len(i)) - first[i] + 1  # 1 for a query's best match, 2 for the next, ...
    rank = hit + ahead
    before = np.where(rank > 1, (hit - 1) / np.maximum(rank - 1, 1), 1.0)  # precision one rank earlier
    valid = matches > 0
    share = np.where(valid, 1 / np.maximum(matches, 1), np.nan)
    inp, first_match = np.full(queries, np.nan), np.full(queries, -1)
    inp[valid] = matches[valid] / rank[(first + matches - 1)[valid]]
    first_match[valid] = rank[first[valid]]
    ap = np.bincount(i, hit / rank, queries) * share
    trapezoid = np.bincount(i, (before + hit / rank) / 2, queries) * share
    return dict(ap=ap, ap_trapezoid=trapezoid, inp=inp, first_match=first_match, matches=matches)


def bootstrap(values: np.ndarray, level: float = 0.95, repeats: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) over resampled queries (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(repeats)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
