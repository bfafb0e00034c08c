"""score(): CMC, mAP and mINP of a set of queries against a gallery, exact, in little memory, and ranked lists on demand."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch

from .counting import Cosine, Rule, count
from .statistics import bootstrap, per_query

# Which gallery images a query ignores besides junk: Market-1501's rule (Zheng et al. 2015), and the way out for data
# of a single camera.
SAME_CAMERA = {
    "ignore": lambda q_pid, q_cam, g_pid, g_cam: (q_pid == g_pid) & (q_cam == g_cam),
    "keep": lambda q_pid, q_cam, g_pid, g_cam: torch.zeros_like(g_pid, dtype=torch.bool),
}
PER_QUERY = ("ap", "ap_trapezoid", "inp", "first_match", "matches", "pids", "camids")


@dataclass(frozen=True)
class Ranking:
    """The head of one query's list, best first; each field is (k,)."""

    index: np.ndarray  # int64, into the gallery
    similarity: np.ndarray  # float32: cosine, or 1 - re-ranked distance
    match: np.ndarray  # bool
    ignored: np.ndarray  # bool


@dataclass(repr=False, eq=False)
class Scores:
    """Results of `score`: one value a query, and their means over the queries that have a match. Fractions, not percent."""

    ap: np.ndarray  # (Q,) float64, by steps; NaN without a match
    ap_trapezoid: np.ndarray  # (Q,) as the Market-1501 MATLAB code
    inp: np.ndarray  # (Q,) matches / rank of the last one
    first_match: np.ndarray  # (Q,) int64, 1-based; -1 without a match
    matches: np.ndarray  # (Q,) int64
    pids: np.ndarray  # (Q,) of the queries
    camids: np.ndarray  # (Q,)
    counts: dict[str, int]
    reranked: bool
    ties: str
    query: object = None  # Shots; None, as all below, when loaded from a file
    gallery: object = None
    q: torch.Tensor | None = None
    g: torch.Tensor | None = None
    source: object = field(default=None)  # where similarities come from
    rule: Rule | None = None

    valid = property(lambda self: self.matches > 0)
    num_valid = property(lambda self: int(self.valid.sum()))
    num_invalid = property(lambda self: int((~self.valid).sum()))
    mAP = property(lambda self: float(self.ap[self.valid].mean()))
    mAP_trapezoid = property(lambda self: float(self.ap_trapezoid[self.valid].mean()))
    mINP = property(lambda self: float(self.inp[self.valid].mean()))

    @property
    def cmc(self) -> np.ndarray:
        """(K,) share of valid queries with a match among the first k, k = 1..K, K the gallery without junk."""
        found = np.bincount(self.first_match[self.valid] - 1, minlength=self.counts["gallery"] - self.counts["junk"])
        return found.cumsum() / self.num_valid

    def rank(self, k: int) -> float:
        """Share of valid queries with a match among the first k."""
        if k < 1:
            raise ValueError(f"rank({k}): ranks begin at 1")
        return float((self.first_match[self.valid] <= k).mean())

    def interval(self, name: str = "mAP", level: float = 0.95, repeats: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Bootstrap interval over the valid queries of "mAP", "mINP" or "rank-k"."""
        return bootstrap(self.values(name)[self.valid], level, repeats, seed)

    def values(self, name: str) -> np.ndarray:
        """What "mAP", "mAP_trapezoid", "mINP" or "rank-k" is the mean of: (Q,) float64, NaN without a match."""
        known = {"mAP": self.ap, "mAP_trapezoid": self.ap_trapezoid, "mINP": self.inp}
        if name in known:
            return known[name]
        if not (name.startswith("rank-") and name[5:].isdigit() and int(name[5:])):
            raise ValueError(f"no score {name!r}; choose one of {', '.join(known)}, rank-1, rank-5, ...")
        return np.where(self.valid, self.first_match <= int(name[5:]), np.nan)

    def __repr__(self) -> str:
        ranks = "".join(f"rank-{k} {100 * self.rank(k):.1f}  " for k in (1, 5, 10))
        return (
            f"{ranks}mAP {100 * self.mAP:.1f}  mINP {100 * self.mINP:.1f}  ({len(self.ap)} queries, "
            f"{self.num_invalid} without match, re-ranking {'on' if self.reranked else 'off'})"
        )

    def ranking(self, i: int, k: int = 20, ignored: bool = False) -> Ranking:
        """The first k gallery images for query i, ordered as they were counted; `ignored` ones shown on request."""
        if self.source is None:
            raise ValueError("these scores were loaded from a file, without embeddings: call score() to rank a query")
        if not -len(self.ap) <= i < len(self.ap):
            raise IndexError(f"no query {i}: there are {len(self.ap)}, counted from 0")
        i %= len(self.ap)
        device = self.rule.g_pid.device
        near = self.source.tile(slice(i, i + 1), slice(0, len(self.rule.g_pid)))[0]
        everyone = torch.arange(len(near), device=device)
        hidden = self.rule.ignored(torch.full_like(everyone, i), everyone)
        near = near if ignored else near.masked_fill(hidden, -torch.inf)
        k = min(k, int((near > -torch.inf).sum()))
        j = (near >= near.topk(k).values.min(initial=torch.inf) - 2 * self.source.error).nonzero()[:, 0]
        return self._ranked(i, j, hidden[j], k)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the per-query values to `path` (.npz); `Scores.load` brings them back."""
        path = Path(path)
        arrays = {name: getattr(self, name) for name in PER_QUERY}
        counts = {f"count_{name}": value for name, value in self.counts.items()}
        with open(scratch := path.with_name(f".{path.name}.{os.getpid()}"), "wb") as file:
            np.savez_compressed(file, reranked=self.reranked, ties=self.ties, **arrays, **counts)
        os.replace(scratch, path)
        return path
