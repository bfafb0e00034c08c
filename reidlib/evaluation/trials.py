"""Scores of several trials that differ in the gallery they drew, and the similarities that all of them share."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import entries
from reidlib.evaluation.score import Ranking, Scores
from reidlib.evaluation.statistics import bootstrap

ROWS = 512  # queries in one product


@dataclass(frozen=True)
class Trials:
    """One value a trial, as fractions."""

    mAP: np.ndarray  # (T,)
    mINP: np.ndarray  # (T,)
    cmc: np.ndarray  # (T, K): share of valid probes whose person is among the first k distinct people, k = 1..K


@dataclass(repr=False, eq=False)
class SysuScores:
    """What `score` found: means over the trials, as fractions, over the probes that have a match.

    CMC counts people, mAP and mINP count images.
    """

    search: str
    shot: str
    draw: str  # "official", or "seeded 0" and the like
    reranked: bool
    runs: list[Scores]  # one a trial, without features; `trial` adds them
    counts: dict[str, int]  # probes, and gallery images and people of each trial
    query: object
    gallery: object  # all visible images, drawn from
    columns: np.ndarray  # (T, n) int64: a trial's images, into the gallery
    q: torch.Tensor
    g: torch.Tensor

    pids = property(lambda self: self.runs[0].pids)
    camids = property(lambda self: self.runs[0].camids)
    valid = property(lambda self: self.runs[0].valid)  # the same in every trial
    ap = property(lambda self: self.values("mAP"))
    num_valid = property(lambda self: self.runs[0].num_valid)
    num_invalid = property(lambda self: self.runs[0].num_invalid)
    mAP = property(lambda self: float(self.per_trial("mAP").mean()))
    mINP = property(lambda self: float(self.per_trial("mINP").mean()))
    cmc = property(lambda self: self.trials.cmc.mean(0))

    @property
    def trials(self) -> Trials:
        """mAP, mINP and CMC of each trial."""
        cmc = np.stack([run.cmc[: self.counts["people"]] for run in self.runs])
        return Trials(self.per_trial("mAP"), self.per_trial("mINP"), cmc)

    def per_trial(self, name: str) -> np.ndarray:
        """ "mAP", "mINP" or "rank-k" of each trial, (T,)."""
        return np.array([run.values(name)[run.valid].mean() for run in self.runs])

    def values(self, name: str) -> np.ndarray:
        """ "mAP", "mINP" or "rank-k" of each probe, its mean over the trials: (Q,) float64, NaN without a match."""
        return np.mean([run.values(name) for run in self.runs], 0)

    def rank(self, k: int) -> float:
        """Share of valid probes whose person is among the first k distinct people, mean over the trials."""
        return float(np.mean([run.rank(k) for run in self.runs]))

    def spread(self, name: str = "mAP") -> float:
        """Standard deviation over the trials of "mAP", "mINP" or "rank-k"; NaN for a single trial."""
        return float(self.per_trial(name).std(ddof=1)) if len(self.runs) > 1 else float("nan")

    def interval(
        self, name: str = "mAP", level: float = 0.95, repeats: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Bootstrap interval over the valid probes of "mAP", "mINP" or "rank-k"."""
        return bootstrap(self.values(name)[self.valid], level, repeats, seed)

    def trial(self, t: int) -> Scores:
        """One trial as Scores, for figures and lists; its `first_match` and `cmc` count people, the rest images."""
        if not 0 <= t < len(self.runs):
            raise IndexError(f"no trial {t}: there are {len(self.runs)}, numbered from 0")
        run, g = self.runs[t], self.g[torch.from_numpy(self.columns[t]).to(self.g.device)]
        return replace(run, query=self.query, q=self.q, g=g, source=run.source or Cosine(self.q, g))

    def ranking(self, i: int, k: int = 20, trial: int = 0, ignored: bool = False) -> Ranking:
        """The first k images for probe i in a trial; `index` is into `gallery`, the set that was drawn from."""
        head = self.trial(trial).ranking(i, k, ignored)
        return replace(head, index=self.columns[trial][head.index])

    def __repr__(self) -> str:
        ranks = "".join(f"rank-{k} {100 * self.rank(k):.1f}  " for k in (1, 10, 20))
        spread = f"sd of rank-1 {100 * self.spread('rank-1'):.1f}, of mAP {100 * self.spread():.1f}"
        return (
            f"{ranks}mAP {100 * self.mAP:.1f}  mINP {100 * self.mINP:.1f}  ({self.search}-search, {self.shot}-shot, "
            f"{len(self.runs)} trials, {spread}, draw {self.draw}, {len(self.pids)} probes, "
            f"{self.num_invalid} without match, re-ranking {'on' if self.reranked else 'off'})"
        )


class Table:
    """Cosine similarities of q (Q, D) and g (U, D), computed once, in float64, and held, (Q, U) float32.

    Infrared and visible features of one person are hardly more alike than those of two: many similarities are nearly
    equal, and a product in float32 would leave too much to `exact`.
    """

    error = 2.0**-23  # a similarity rounded to float32, and much less from the product

    def __init__(self, q: torch.Tensor, g: torch.Tensor, columns: np.ndarray) -> None:
        self.columns, kept = columns, g[torch.from_numpy(columns).to(g.device)]
        self.cosine, right = Cosine(q, kept), unit(kept).T
        self.values = torch.cat([(unit(rows) @ right).float() for rows in q.split(ROWS)])


def unit(x: torch.Tensor) -> torch.Tensor:
    x = x.double()
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


class Drawn:
    """The columns of a Table that a trial drew, as a source for `counting.count`; `columns` (n,) as in the table's."""

    def __init__(self, table: Table, columns: np.ndarray) -> None:
        self.cosine, self.error, self.place = table.cosine, table.error, np.searchsorted(table.columns, columns)
        self.values = table.values[:, torch.from_numpy(self.place).to(table.values.device)]

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        return self.values[rows, cols]

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return entries(self.values, i, j)

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self.cosine.exact(i, self.place[j])
