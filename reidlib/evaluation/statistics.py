"""Statistics of scores: the difference of two models with its interval, and thresholds for verification."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reidlib.evaluation.cosine import in_float32
from reidlib.evaluation.counting import tiling
from reidlib.evaluation.scores import Scores, bootstrap
from reidlib.evaluation.sysu_trials import SysuScores


@dataclass(frozen=True)
class Comparison:
    """Paired differences a - b, as fractions: name -> (difference, low, high)."""

    differences: dict[str, tuple[float, float, float]]
    queries: int
    people: int
    level: float  # of each interval by itself

    def __repr__(self) -> str:
        parts = (
            f"{name} {100 * d:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            for name, (d, low, high) in self.differences.items()
        )
        of = f"{self.queries} queries of {self.people} people"
        return f"{'  '.join(parts)}  ({of}, {100 * self.level:.4g} % by resampling people)"


def compare(
    a: Scores | SysuScores, b: Scores | SysuScores, names: Sequence[str] = ("rank-1", "mAP"),
    level: float = 0.95, repeats: int = 2000, seed: int = 0,
) -> Comparison:  # fmt: skip
    """Differences of two models' scores of the same queries, a - b, with intervals by resampling people: `bootstrap`.

    People are drawn with all their queries, and with the scores of both models. Each interval stands for itself: of m
    comparisons read together, ask for level=1 - 0.05 / m. ValueError if the queries differ, which of them have a match,
    the galleries, or what the rule ignores, as far as scores tell.

    Parameters
    ----------
    a, b : scores, also from files
    names : "mAP", "mAP_trapezoid", "mINP" or "rank-k"
    level, repeats, seed : the share of the interval, the number of resamples and their seed

    Examples
    --------
    >>> from reidlib.evaluation.scores import per_query
    >>> labels = dict(pids=np.arange(4), camids=np.ones(4), counts={}, reranked=False, ties="pessimistic")
    >>> ahead = [0, 0, 1, 1], [1, 1, 1, 1]  # one match a query, and the wrong answers ahead of it
    >>> compare(*(Scores(**per_query(np.arange(4), np.array(each), 4), **labels) for each in ahead))
    rank-1 +50.00 [+0.00, +100.00]  mAP +25.00 [+0.00, +50.00]  (4 queries of 4 people, 95 % by resampling people)
    """
    check_paired(a, b)
    differences, pids = {}, a.pids[a.valid]
    for name in names:
        difference = (a.values(name) - b.values(name))[a.valid]
        differences[name] = (float(difference.mean()), *bootstrap(difference, pids, level, repeats, seed))
    return Comparison(differences, a.num_valid, len(np.unique(pids)), level)


def check_paired(a: Scores | SysuScores, b: Scores | SysuScores) -> None:
    """Raise ValueError unless two Scores are of the same queries against the same gallery."""
    if not (np.array_equal(a.pids, b.pids) and np.array_equal(a.camids, b.camids)):
        raise ValueError(f"two models need the same queries in the same order; got {len(a.ap)} and {len(b.ap)}")
    if len(differ := np.flatnonzero(a.valid != b.valid)):
        raise ValueError(f"query {differ[0]} has a match in one gallery only: score both against the same gallery")
    drawn, other = (getattr(each, "columns", np.empty(0)) for each in (a, b))  # the galleries of SYSU-MM01's trials
    if a.counts != b.counts or not (np.array_equal(a.matches, b.matches) and np.array_equal(drawn, other)):
        raise ValueError("different galleries, or different rules of what is ignored: score both by the same")


@dataclass(frozen=True)
class Verification:
    """Same person or not, by a threshold on the similarity: counts of true and false pairs in bins of similarity."""

    edges: np.ndarray  # (B + 1,) ascending; `true` and `false` count pairs from one edge to the next
    true: np.ndarray  # (B,) pairs of one person
    false: np.ndarray  # (B,) pairs of two

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """FPR, TPR and threshold, (B + 1,) each, thresholds descending: shares of pairs at or above the threshold."""
        fpr, tpr = (np.append(0, x[::-1].cumsum()) / max(1, x.sum()) for x in (self.false, self.true))
        return fpr, tpr, self.edges[::-1]

    def at(self, fpr: float) -> tuple[float, float]:
        """TPR and the lowest threshold at which at most `fpr` of the false pairs pass."""
        rate, tpr, threshold = self.roc()
        k = np.searchsorted(rate, fpr, side="right") - 1
        return float(tpr[k]), float(threshold[k])

    def __repr__(self) -> str:
        points = ((fpr, *self.at(fpr)) for fpr in (1e-4, 1e-3, 1e-2) if fpr * self.false.sum() >= 1)
        parts = (f"TPR {100 * tpr:.1f} at FPR {fpr:g} (threshold {t:.3f})" for fpr, tpr, t in points)
        return f"{'  '.join(parts)}  ({self.true.sum()} true and {self.false.sum()} false pairs)"


def verification(scores: Scores, bins: int = 20_000, memory: int = 2**26) -> Verification:
    """Count true and false pairs by similarity, under the rule of `scores`.

    A threshold, as from `.at(fpr=1e-3)`, belongs to the model and the data that it was found on: take it from a
    validation set. ValueError if the scores come from a file, which holds no embeddings.

    Parameters
    ----------
    bins : int, bins of similarity over [-1, 1]
    memory : int, bytes for a tile of similarities; the result does not depend on it
    """
    source, rule = in_float32(scores.source), scores.rule
    true, false = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for rows, tiles in tiling(rule, memory):
        true += np.histogram(source.near(*rule.matches(rows)).clip(-1, 1), bins, (-1, 1))[0]
        for cols in tiles:
            wrong = rule.wrong(rows, cols)
            tile = source.tile(rows, cols).clamp(-1, 1)  # a copy: the tile may be a view of the source's own values
            tile[torch.from_numpy(~wrong).to(tile.device)] = 2  # outside the bins
            false += tile.histc(bins, -1, 1).cpu().numpy().astype(np.int64)
    return Verification(np.linspace(-1, 1, bins + 1), true, false)
