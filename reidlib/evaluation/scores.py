"""Scores: one value a query, their means and intervals, and ranked lists on demand."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import ndtr, ndtri, stdtrit

from reidlib.data.shots import Shots
from reidlib.evaluation.counting import Rule, Similarity
from reidlib.files import write_whole

Interval = tuple[float, float]  # low, high
SAVED = ("ap", "ap_trapezoid", "inp", "first_match", "matches", "pids", "camids", "reranked", "ties", "same_camera")


@dataclass(frozen=True)
class Ranking:
    """The head of one query's list, best first; each field is (k,)."""

    index: np.ndarray  # int64, into the gallery
    similarity: np.ndarray  # float32: cosine, or 1 - re-ranked distance
    match: np.ndarray  # bool
    ignored: np.ndarray  # bool


@dataclass(frozen=True, eq=False)
class Compared:
    """What scores were computed from; needed to rank images, and not saved with the scores."""

    query: Shots
    gallery: Shots
    q: torch.Tensor  # (Q, D)
    g: torch.Tensor  # (G, D)
    source: Similarity
    rule: Rule


@dataclass(repr=False, eq=False)
class Scores:
    """The result of `score`: one value a query, and their means over the queries that have a match, as fractions.

    `query`, `gallery`, `q`, `g`, `source` and `rule` are what was scored; they raise ValueError if the scores come from
    a file, which keeps none of them. A metric of your own is a function of Scores that returns a fraction.

    Examples
    --------
    >>> values = per_query(np.array([0, 0, 1]), np.array([0, 1, 4]), 3)  # two queries with matches, one without
    >>> scores = Scores(**values, pids=np.arange(3), camids=np.ones(3), counts={}, reranked=False, ties="optimistic")
    >>> scores.ap.round(3), scores.first_match, float((scores.first_match[scores.valid] <= 3).mean())
    (array([0.833, 0.2  ,   nan]), array([ 1,  5, -1]), 0.5)
    """

    ap: np.ndarray  # (Q,) float64, by steps; NaN without a match
    ap_trapezoid: np.ndarray  # (Q,) as the Market-1501 MATLAB code
    inp: np.ndarray  # (Q,) matches / rank of the last one
    first_match: np.ndarray  # (Q,) int64: rank of the best match, from 1; -1 without a match
    matches: np.ndarray  # (Q,) int64: gallery images that match
    pids: np.ndarray  # (Q,) of the queries
    camids: np.ndarray  # (Q,)
    counts: dict[str, int]
    reranked: bool
    ties: str
    compared: Compared | None = None  # None if loaded from a file
    same_camera: str = "ignore"

    def __post_init__(self) -> None:
        if kept := self.compared:
            self.query, self.gallery, self.q, self.g = kept.query, kept.gallery, kept.q, kept.g
            self.source, self.rule = kept.source, kept.rule
        self.valid = self.matches > 0  # (Q,) bool
        self.num_valid, self.num_invalid = int(self.valid.sum()), int((~self.valid).sum())
        self.mAP, self.mAP_trapezoid, self.mINP = (self.mean(name) for name in ("mAP", "mAP_trapezoid", "mINP"))

    @property
    def cmc(self) -> np.ndarray:
        """(K,) share of valid queries with a match among the first k, k = 1..K, K the gallery without junk."""
        size = self.counts["gallery"] - self.counts["junk"]
        return np.bincount(self.first_match[self.valid] - 1, minlength=size).cumsum() / self.num_valid

    def rank(self, k: int) -> float:
        """Share of valid queries with a match among the first k."""
        return self.mean(f"rank-{k}")

    def mean(self, name: str) -> float:
        """Mean of `values(name)` over the valid queries; NaN if there are none."""
        return float(self.values(name)[self.valid].mean()) if self.num_valid else float("nan")

    def values(self, name: str) -> np.ndarray:
        """The values whose mean is "mAP", "mAP_trapezoid", "mINP" or "rank-k": (Q,) float64, NaN without a match."""
        known = {"mAP": self.ap, "mAP_trapezoid": self.ap_trapezoid, "mINP": self.inp}
        if name in known:
            return known[name]
        if not (name.startswith("rank-") and name[5:].isdecimal() and int(name[5:])):
            raise ValueError(f"no score {name!r}; choose one of {', '.join(known)} and rank-k, where ranks begin at 1")
        return np.where(self.valid, self.first_match <= int(name[5:]), np.nan)

    def interval(self, name: str = "mAP", level: float = 0.95, repeats: int = 2000, seed: int = 0) -> Interval:
        """Interval of "mAP", "mINP" or "rank-k" by resampling people, each with all their valid queries: `bootstrap`.

        The gallery and the trained model stay as they are.
        """
        return bootstrap(self.values(name)[self.valid], self.pids[self.valid], level, repeats, seed)

    def __repr__(self) -> str:
        ranks = "".join(f"rank-{k} {100 * self.rank(k):.1f}  " for k in (1, 5, 10))
        return (
            f"{ranks}mAP {100 * self.mAP:.1f}  mINP {100 * self.mINP:.1f}  ({len(self.ap)} queries, "
            f"{self.num_invalid} without match, re-ranking {'on' if self.reranked else 'off'}"
            f"{', same camera kept' * (self.same_camera == 'keep')})"
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name):  # of a field of Compared only if there is none
            if name not in Compared.__annotations__:
                raise AttributeError(f"Scores have no {name!r}")
            raise ValueError(
                "these scores come from a file, without embeddings: call score() or measure() again to rank images or "
                "compare pairs (of SysuScores.runs[t], take trial(t))"
            )

    def ranking(self, i: int, k: int = 20, ignored: bool = False) -> Ranking:
        """The first k gallery images for query i as they were scored; with `ignored`, also those that are not scored.

        IndexError if there is no query i, ValueError for scores from a file.
        """
        if not 0 <= i < len(self.ap):
            raise IndexError(f"no query {i}: there are {len(self.ap)}, numbered from 0")
        source, rule, j = self.source, self.rule, np.arange(len(self.gallery))
        hidden = rule.ignored(i, j)
        near = source.tile(slice(i, i + 1), slice(0, len(j)))[0].cpu().numpy()
        if not ignored:
            j = j[~hidden]
        k = min(k, len(j))
        if k < len(j):  # only those that can be among the first k
            j = j[near[j] >= np.partition(near[j], -k)[-k] - 2 * source.error]
        exact, hidden = source.exact(np.full_like(j, i), j), hidden[j]
        match = rule.g_pid[j] == rule.q_pid[i]
        behind = match & ~hidden if self.ties == "pessimistic" else ~match
        order = np.lexsort((j, behind, -exact))[:k]
        return Ranking(j[order], exact[order].astype(np.float32), (match & ~hidden)[order], hidden[order])

    def save(self, path: str | os.PathLike) -> Path:
        """Write the values of each query and the counts to `path` (.npz), for `Scores.load`."""
        values = {name: getattr(self, name) for name in SAVED} | {f"count_{name}": n for name, n in self.counts.items()}
        write_whole(Path(path), lambda stream: np.savez_compressed(stream, allow_pickle=False, **values))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scores":
        """Scores as saved: all numbers and intervals, without images and ranked lists.

        Raises FileNotFoundError for a missing file and ValueError for one that `save` did not write, or a damaged one.
        """
        try:
            with np.load(path) as file:
                saved = {name: value if value.ndim else value.item() for name, value in file.items()}
            counts = {name.removeprefix("count_"): saved.pop(name) for name in list(saved) if name.startswith("count_")}
            return cls(**saved, counts=counts)
        except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
            raise
        except Exception as error:  # on a damaged archive zipfile and NumPy raise nearly anything
            raise ValueError(f"{path} holds no scores, or is damaged or cut off: measure the model again") from error


def per_query(i: np.ndarray, ahead: np.ndarray, queries: int) -> dict[str, np.ndarray]:
    """AP by steps and by trapezoids, INP, rank of the first match and number of matches of every query, each (Q,).

    `i`, `ahead`: for each match its query and the wrong answers ahead of it, as from `count`. Without a match: NaN,
    first_match -1. Sources: step AP as in the papers; trapezoid as compute_AP.m of the Market-1501 authors
    (Zheng et al. 2015); INP as Ye et al., "Deep Learning for Person Re-identification" (2021), section 3.
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


def bootstrap(
    values: np.ndarray, pids: np.ndarray, level: float = 0.95, repeats: int = 2000, seed: int = 0
) -> Interval:
    """Interval of the mean of `values` (n,) by resampling people: each person is drawn with all their values.

    Queries of one person are alike, so intervals that resample queries are too narrow. `pids` (n,) says whose each
    value is. The interval is the BCa interval (Efron, "Better bootstrap confidence intervals", 1987), its tails widened
    for few people (Hesterberg, "What teachers should know about the bootstrap", 2015, section 4.2).
    From 60 people on, 94 to 96 of 100 intervals at 95 % hold the truth (benchmarks/results/coverage.txt); with 20, 92
    to 95 do. NaN with fewer than two people.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}; it is a share between 0 and 1, as 0.95")
    _, person = np.unique(pids, return_inverse=True)
    size, total = np.bincount(person), np.bincount(person, values)  # (P,) values of each person, and their sum
    if (people := len(size)) < 2:
        return float("nan"), float("nan")
    who = np.random.default_rng(seed).integers(people, size=(repeats, people)) + people * np.arange(repeats)[:, None]
    drawn = np.bincount(who.ravel(), minlength=repeats * people).reshape(repeats, people)  # (R, P) how often each
    means, mean = drawn @ total / (drawn @ size), total.sum() / size.sum()
    below = ((means < mean - 1e-12).mean() + (means < mean + 1e-12).mean()) / 2  # half of those that are equal
    bias = ndtri(np.clip(below, 1 / repeats, 1 - 1 / repeats))
    without = (total.sum() - total) / (size.sum() - size)  # (P,) the mean without each person
    pull = without.mean() - without
    skew = (pull**3).sum() / max(6 * (pull**2).sum() ** 1.5, np.finfo(float).tiny)
    z = bias + (people / (people - 1)) ** 0.5 * stdtrit(people - 1, np.array([1 - level, 1 + level]) / 2)
    low, high = np.quantile(means, ndtr(bias + z / np.maximum(1 - skew * z, 1e-3)))
    return float(low), float(high)
