"""The trials of SYSU-MM01's protocol: which images each draws, which of them a probe ignores, and their scores."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from reidlib.data import infrared
from reidlib.data.shots import Shots
from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import Rule, Similarity, count
from reidlib.evaluation.scores import Compared, Interval, Ranking, Scores, bootstrap, per_query

PLACES = np.array(infrared.PLACES["sysu"])
FILE = "rand_perm_cam.mat"
REMEDY = "it comes with the code of SYSU-MM01's authors, see data/README.md; draw=sysu.seeded() does without"


def same_place(same: np.ndarray, q_cam: np.ndarray, g_cam: np.ndarray) -> np.ndarray:
    """What a probe ignores: every image of its own place, of any pid (Market's rule: only those of its own pid)."""
    return PLACES[q_cam] == PLACES[g_cam]


def people(gallery: Shots) -> Shots:
    """A gallery of one entry a person, ordered by pid; camera 0 stands for several places.

    So `same_place` ignores a person only if the gallery holds no image from outside the probe's place.
    """
    _, first, person = np.unique(gallery.pids, return_index=True, return_inverse=True)
    place = PLACES[gallery.camids]
    elsewhere = np.bincount(person, place != place[first][person])
    return replace(gallery[first], camids=np.where(elsewhere > 0, 0, gallery.camids[first]))


@dataclass(frozen=True)
class Official:
    """The permutations of a rand_perm_cam.mat: `cells` maps (camera, pid) to an array (trials, images), from 1."""

    file: Path
    cells: dict[tuple[int, int], np.ndarray] = field(repr=False)
    name = "official"

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """The images of one camera and identity, counted from 0, in the order that a trial takes them, (images,)."""
        cell = self.cells.get((camera, pid), np.empty((0, 0), int))
        if cell.shape[1] != images:
            raise ValueError(
                f"{self.file} permutes {cell.shape[1]} images of identity {pid} in camera {camera}, but the gallery "
                f"has {images}: these are not the images of SYSU-MM01, or not all of them; {REMEDY}"
            )
        if trial >= len(cell):
            raise ValueError(f"{self.file} holds {len(cell)} trials: trials={trial + 1} is more than it has")
        return cell[trial].astype(np.int64) - 1


@dataclass(frozen=True)
class Seeded:
    """Galleries drawn from a seed, 0 or more: comparable with published numbers in expectation, but not identical."""

    seed: int = 0

    @property
    def name(self) -> str:
        return f"seeded {self.seed}"

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """As `Official.order`; it depends on nothing else in the gallery."""
        return np.random.default_rng([self.seed, trial, camera, pid]).permutation(images)


seeded = Seeded
Draw = Official | Seeded


def official(path: str | Path) -> Official:
    """The authors' galleries (Wu et al., ICCV 2017), from rand_perm_cam.mat or SYSU-MM01's folder, which has it in exp.

    Images are numbered by the order of their names. FileNotFoundError without the file, ValueError if it is another.
    """
    candidates = [Path(path).expanduser() / below for below in ("", FILE, f"exp/{FILE}")]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no {FILE} at {candidates[0]} or in it or its exp: {REMEDY}")
    from scipy.io import loadmat  # slow to import, and needed for this file only

    try:
        cameras = enumerate(loadmat(file)["rand_perm_cam"].ravel(), 1)
        cells = {(camera, pid): cell for camera, ids in cameras for pid, cell in enumerate(ids.ravel(), 1) if cell.size}
        sound = all((np.sort(cell, 1) == np.arange(1, cell.shape[1] + 1)).all() for cell in cells.values())
    except Exception as error:  # SciPy raises nearly anything for a file of another kind
        raise ValueError(f"{file} is no {FILE} ({type(error).__name__}: {error}); {REMEDY}") from error
    if not sound:
        raise ValueError(f"{file}: a row of it is no permutation of 1, 2, ...; {REMEDY}")
    return Official(file, cells)


def drawn(gallery: Shots, cameras: tuple[int, ...], most: int, draw: Draw, trial: int) -> np.ndarray:
    """The gallery images of a trial, at most `most` of each camera and identity: positions (n,) int64, ascending."""
    order = np.lexsort((gallery.paths, gallery.pids, gallery.camids))
    order = order[np.isin(gallery.camids[order], cameras)]
    if not len(order):
        raise ValueError(f"the gallery has no image of cameras {cameras}: nothing to draw from")
    labels = np.stack([gallery.camids[order], gallery.pids[order]], 1)
    starts = np.flatnonzero(np.diff(labels, axis=0).any(1)) + 1  # of each camera and identity
    cells = zip(np.split(order, starts), labels[[0, *starts]].tolist(), strict=True)
    return np.sort(np.concatenate([cell[draw.order(c, pid, len(cell), trial)[:most]] for cell, (c, pid) in cells]))


class Trials(NamedTuple):
    """One value a trial, as fractions."""

    mAP: np.ndarray  # (T,)
    mINP: np.ndarray  # (T,)
    cmc: np.ndarray  # (T, K): share of valid probes whose person is among the first k distinct people, k = 1..K


@dataclass(repr=False, eq=False)
class SysuScores:
    """The result of `sysu.score`: means over the trials, as fractions, over the probes that have a match.

    CMC counts people, mAP and mINP count images. A metric of your own can be taken of each of `runs`, and of these
    scores as a whole, whose `ap` and `first_match`, (Q,) float64, are means over the trials.
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

    def __post_init__(self) -> None:
        first = self.runs[0]  # every trial has the same probes with as many matches
        self.pids, self.camids, self.matches, self.valid = first.pids, first.camids, first.matches, first.valid
        self.num_valid, self.num_invalid, self.reranked = first.num_valid, first.num_invalid, first.reranked
        self.first_match = np.mean([run.first_match for run in self.runs], 0)  # of the person; -1 without a match
        self.ap, self.mAP, self.mINP = self.values("mAP"), self.mean("mAP"), self.mean("mINP")

    @property
    def cmc(self) -> np.ndarray:
        """(K,) share of valid probes whose person is among the first k distinct people, k = 1..K."""
        return np.mean([run.cmc[: self.counts["people"]] for run in self.runs], 0)

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

    def interval(self, name: str = "mAP", level: float = 0.95, repeats: int = 2000, seed: int = 0) -> Interval:
        """Interval of "mAP", "mINP" or "rank-k" by resampling people, each with all their valid probes: `bootstrap`.

        Trials are averaged, not resampled: they are searched by the same probes. `spread` says how far they differ.
        """
        return bootstrap(self.values(name)[self.valid], self.pids[self.valid], level, repeats, seed)

    def trial(self, t: int) -> Scores:
        """One trial as Scores, for figures and lists: its ranks and `cmc` count images, those of `runs[t]` people."""
        found = self._trial(t)
        first = per_query(*count(found.source, found.rule), len(self.query))["first_match"]
        return replace(found, first_match=first)

    def _trial(self, t: int) -> Scores:
        if not 0 <= t < len(self.runs):
            raise IndexError(f"no trial {t}: there are {len(self.runs)}, numbered from 0")
        gallery, g = self.gallery[self.columns[t]], self.g[torch.from_numpy(self.columns[t]).to(self.g.device)]
        source, rule = self.sources[t] if self.reranked else Cosine(self.q, g), Rule(self.query, gallery, same_place)
        return replace(self.runs[t], compared=Compared(self.query, gallery, self.q, g, source, rule))

    def ranking(self, i: int, k: int = 20, ignored: bool = False, trial: int = 0) -> Ranking:
        """The first k images for probe i in a trial; `index` is into `gallery`, the set that was drawn from."""
        head = self._trial(trial).ranking(i, k, ignored)
        return replace(head, index=self.columns[trial][head.index])

    def __repr__(self) -> str:
        ranks = "".join(f"rank-{k} {100 * self.rank(k):.1f}  " for k in (1, 10, 20))
        spread = f"s, sd of rank-1 {100 * self.spread('rank-1'):.1f}, of mAP {100 * self.spread():.1f}"
        return (
            f"{ranks}mAP {100 * self.mAP:.1f}  mINP {100 * self.mINP:.1f}  ({self.search}-search, {self.shot}-shot, "
            f"{len(self.runs)} trial{spread if len(self.runs) > 1 else ''}, draw {self.draw}, {len(self.pids)} probes, "
            f"{self.num_invalid} without match, re-ranking {'on' if self.reranked else 'off'})"
        )
