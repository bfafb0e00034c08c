"""What is made of the counts: average precision and its kin, intervals, the difference of two models, thresholds."""

from dataclasses import dataclass

import numpy as np
import torch

from reidlib.evaluation.counting import tiling


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


@dataclass(frozen=True)
class Comparison:
    """Paired differences a - b, as fractions: name -> (difference, low, high)."""

    differences: dict[str, tuple[float, float, float]]
    queries: int

    def __repr__(self) -> str:
        parts = (
            f"{name} {100 * d:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            for name, (d, low, high) in self.differences.items()
        )
        return f"{'  '.join(parts)}  ({self.queries} queries, paired bootstrap)"


def compare(a, b, names=("rank-1", "mAP"), level: float = 0.95, repeats: int = 1000, seed: int = 0) -> Comparison:
    """The differences of two Scores of the same queries, a - b, with paired bootstrap intervals over the queries."""
    check_paired(a, b)
    found = {}
    for name in names:
        difference = (a.values(name) - b.values(name))[a.valid]
        found[name] = (float(difference.mean()), *bootstrap(difference, level, repeats, seed))
    return Comparison(found, a.num_valid)


def check_paired(a, b) -> None:
    """Raise ValueError unless two Scores are of the same queries against the same gallery."""
    if not (np.array_equal(a.pids, b.pids) and np.array_equal(a.camids, b.camids)):
        raise ValueError(
            f"two models are compared on the same queries in the same order; got {len(a.ap)} and {len(b.ap)}"
        )
    if len(differ := np.flatnonzero(a.valid != b.valid)):
        raise ValueError(f"query {differ[0]} has a match in one gallery only: score both against the same gallery")


@dataclass(frozen=True)
class Verification:
    """Same person or not, by a threshold on the similarity: counts of true and false pairs in bins of similarity."""

    edges: np.ndarray  # (B + 1,) rising; `true` and `false` count pairs from one edge to the next
    true: np.ndarray  # (B,) pairs of one person
    false: np.ndarray  # (B,) pairs of two

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """FPR, TPR and threshold, (B + 1,) each, thresholds falling: shares of pairs at or above the threshold."""
        rates = (np.append(0, x[::-1].cumsum()) / max(1, x.sum()) for x in (self.false, self.true))
        return (*rates, self.edges[::-1])

    def at(self, fpr: float) -> tuple[float, float]:
        """TPR and the lowest threshold at which at most `fpr` of the false pairs pass."""
        rate, tpr, threshold = self.roc()
        k = np.searchsorted(rate, fpr, side="right") - 1
        return float(tpr[k]), float(threshold[k])

    def __repr__(self) -> str:
        found = ((fpr, *self.at(fpr)) for fpr in (1e-4, 1e-3, 1e-2))
        parts = (f"TPR {100 * tpr:.1f} at FPR {fpr:g} (threshold {t:.3f})" for fpr, tpr, t in found)
        return f"{'  '.join(parts)}  ({self.true.sum()} true and {self.false.sum()} false pairs)"


def verification(scores, bins: int = 20_000, memory: int = 2**26) -> Verification:
    """True and false pairs by similarity under the rule of `scores`, by streaming; `bins` over [-1, 1].

    A threshold belongs to the model and the data it was found on: take it from a validation set.
    """
    source, rule = scores.source, scores.rule
    true = false = 0
    for rows, tiles in tiling(rule, memory):
        true += np.histogram(source.near(*rule.matches(rows)).clip(-1, 1), bins, (-1, 1))[0]
        for cols in tiles:
            wrong = rule.wrong(np.arange(rows.start, rows.stop)[:, None], cols)
            tile = source.tile(rows, cols).clamp_(-1, 1)
            tile[torch.from_numpy(~wrong).to(tile.device)] = 2  # outside the bins
            false += tile.histc(bins, -1, 1).cpu().numpy().astype(np.int64)
    return Verification(np.linspace(-1, 1, bins + 1), true, false)
