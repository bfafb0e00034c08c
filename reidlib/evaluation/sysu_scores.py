"""Scores of SYSU-MM01's protocol: trials that differ in the gallery they draw, and their means."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from reidlib.data.shots import Shots
from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import Rule, Similarity
from reidlib.evaluation.scores import Compared, Ranking, Scores, bootstrap
from reidlib.evaluation.sysu_galleries import same_place


@dataclass(frozen=True)
class Trials:
    """One value a trial, as fractions."""

    mAP: np.ndarray  # (T,)
    mINP: np.ndarray  # (T,)
    cmc: np.ndarray  # (T, K): share of valid probes whose person is among the first k distinct people, k = 1..K


@dataclass(repr=False, eq=False)
class SysuScores:
    """The result of `sysu.score`: means over the trials, as fractions, over the probes that have a match.

    CMC counts people, mAP and mINP count images. A metric of your own, a function of Scores, can be taken of each of
    `runs`, and of these scores as a whole: `ap`, `first_match` and `matches` are there too, as means over the trials.
    """

    search: str
    shot: str
    draw: str  # "official", or "seeded 0" and the like
    runs: list[Scores]  # one a trial, numbers only; `trial` gives them with images and features
    counts: dict[str, int]  # probes, and gallery images and people of each trial
    query: Shots
    gallery: Shots  # all visible images, of which each trial draws some
    columns: np.ndarray  # (T, n) int64: a trial's images, into the gallery
    q: torch.Tensor
    g: torch.Tensor
    sources: list[Similarity]  # re-ranked similarities, one a trial; empty without re-ranking

    pids: np.ndarray = field(init=False)  # (Q,) of the probes
    camids: np.ndarray = field(init=False)  # (Q,)
    valid: np.ndarray = field(init=False)  # (Q,) bool: the probe has a match, in every trial
    num_valid: int = field(init=False)
    num_invalid: int = field(init=False)
    matches: np.ndarray = field(init=False)  # (Q,) int64: gallery images that match, as many in every trial
    first_match: np.ndarray = field(init=False)  # (Q,) float64: rank of the person, mean over the trials; -1 without
    ap: np.ndarray = field(init=False)  # (Q,) float64: mean over the trials; NaN without a match
    mAP: float = field(init=False)
    mINP: float = field(init=False)
    reranked: bool = field(init=False)

    def __post_init__(self) -> None:
        for name in ("pids", "camids", "valid", "num_valid", "num_invalid", "matches", "reranked"):
            setattr(self, name, getattr(self.runs[0], name))
        self.first_match = np.mean([run.first_match for run in self.runs], 0)
        self.ap, self.mAP, self.mINP = self.values("mAP"), self.mean("mAP"), self.mean("mINP")

    @property
    def cmc(self) -> np.ndarray:
        """(K,) share of valid probes whose person is among the first k distinct people, k = 1..K."""
        return self.trials.cmc.mean(0)

    @property
    def trials(self) -> Trials:
        """mAP, mINP and CMC of each trial."""
        cmc = np.stack([run.cmc[: self.counts["people"]] for run in self.runs])
        return Trials(self.per_trial("mAP"), self.per_trial("mINP"), cmc)

    def per_trial(self, name: str) -> np.ndarray:
        """Values of "mAP", "mINP" or "rank-k", one a trial, (T,)."""
        return np.array([run.mean(name) for run in self.runs])

    def values(self, name: str) -> np.ndarray:
        """Values of "mAP", "mINP" or "rank-k", each probe's mean over the trials: (Q,) float64, NaN without a match."""
        return np.mean([run.values(name) for run in self.runs], 0)

    def mean(self, name: str) -> float:
        """Mean over the trials of "mAP", "mINP" or "rank-k"."""
        return float(self.per_trial(name).mean())

    def rank(self, k: int) -> float:
        """Share of valid probes whose person is among the first k distinct people, mean over the trials."""
        return self.mean(f"rank-{k}")

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
        gallery, g = self.gallery[self.columns[t]], self.g[torch.from_numpy(self.columns[t]).to(self.g.device)]
        source, rule = self.sources[t] if self.reranked else Cosine(self.q, g), Rule(self.query, gallery, same_place)
        return replace(self.runs[t], compared=Compared(self.query, gallery, self.q, g, source, rule))

    def ranking(self, i: int, k: int = 20, ignored: bool = False, trial: int = 0) -> Ranking:
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
