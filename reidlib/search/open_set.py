"""Open set: is the person on an image one of the people I know, or nobody? Rates, thresholds and intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reidlib.data.shots import DISTRACTOR, JUNK
from reidlib.evaluation.cosine import in_float32
from reidlib.evaluation.counting import tiling
from reidlib.evaluation.scores import Interval, Scores, bootstrap


@dataclass(frozen=True, eq=False)
class OpenSet:
    """The best answer for each of Q images, of people who are enrolled and of strangers. `print` shows its rates.

    An image of an enrolled person is found if its best answer is that person and reaches the threshold. A stranger
    whose best answer reaches it is a false alarm. Source: Grother, Micheals, Phillips, "Face Recognition Vendor Test
    2002 Performance Metrics" (AVBPA 2003), section 3: detection and identification rate, and false alarm rate.
    """

    best: np.ndarray  # (Q,) float32: similarity of the best answer
    right: np.ndarray  # (Q,) bool: it is the person on the image
    enrolled: np.ndarray  # (Q,) bool: that person is in the gallery
    pids: np.ndarray  # (Q,)
    people: int  # in the gallery
    test: str  # what the images are

    def rates(self, threshold: float) -> tuple[float, float]:
        """Share of images of enrolled people that are found, and share of strangers' images that are false alarms."""
        found, alarm = self._marks(threshold)
        return float(found.mean()), float(alarm.mean())

    def at(self, false_alarms: float) -> tuple[float, float]:
        """Share that is found, and the lowest threshold at which at most this share of strangers' images pass."""
        if not 0 <= false_alarms < 1:
            raise ValueError(f"false_alarms={false_alarms}; it is a share of strangers' images, as 0.01")
        strangers = np.sort(self.best[~self.enrolled])[::-1]
        highest = strangers[int(false_alarms * len(strangers) + 1e-9)]  # the first that must not pass
        threshold = float(np.nextafter(highest, np.float32(2)))
        return self.rates(threshold)[0], threshold

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False alarms, found and threshold, (n,) each, thresholds descending from where nothing passes."""
        threshold = np.append(np.float32(2), np.unique(self.best)[::-1])
        found, alarms = np.array([self.rates(value) for value in threshold]).T
        return alarms, found, threshold

    def intervals(self, threshold: float, level: float = 0.95, seed: int = 0) -> tuple[Interval, Interval]:
        """Intervals of both `rates` at a threshold, by resampling people, each with all their images: `bootstrap`.

        Model, enrolled images and threshold stay as they are. Of a threshold that was found on the same people, the
        interval of false alarms says how far it may be off for others. Where none of the images or all of them count,
        resampling shows no spread: the far end is then the bound of Clopper and Pearson (1934) for as many people.
        """
        found, alarms = self._marks(threshold)
        of_found, of_alarms = self.pids[self.enrolled], self.pids[~self.enrolled]
        return _interval(found, of_found, level, seed), _interval(alarms, of_alarms, level, seed)

    def summary(self, false_alarms: float) -> dict[str, Any]:
        """What a threshold rests on, as plain values: rates with their intervals, and how many images and people."""
        found, threshold = self.at(false_alarms)
        return {
            "test": self.test, "threshold": threshold, "found": found, "false_alarms": self.rates(threshold)[1],
            "intervals": self.intervals(threshold), "people": self.people, "images": int(self.enrolled.sum()),
            "strangers": len(np.unique(self.pids[~self.enrolled])), "their_images": int((~self.enrolled).sum()),
        }  # fmt: skip

    def _marks(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        passed = self.best >= np.float32(threshold)
        return (passed & self.right)[self.enrolled], passed[~self.enrolled]

    def __repr__(self) -> str:
        images, strangers = self.enrolled.sum(), (~self.enrolled).sum()
        points = ((rate, *self.at(rate)) for rate in (0, 0.001, 0.01, 0.1) if not 0 < rate < 1 / strangers)
        parts = (f"{100 * found:.1f} found at {100 * rate:g} % false alarms ({t:.3f})" for rate, found, t in points)
        return f"{'  '.join(parts)}  ({images:,} images of {self.people:,} people, {strangers:,} of strangers)"


def _interval(marks: np.ndarray, pids: np.ndarray, level: float, seed: int) -> Interval:
    low, high = bootstrap(marks, pids, level, seed=seed)
    if low != high or marks.any() != marks.all():  # NaN, too
        return low, high
    bound = ((1 - level) / 2) ** (1 / len(np.unique(pids)))
    return (bound, 1.0) if marks.all() else (0.0, 1 - bound)


def open_set(scores: Scores, enrolled: float = 0.5, seed: int = 0, average: bool = False) -> OpenSet:
    """Enrol some people of a test set, and take the others for strangers: every query, and its best answer.

    The gallery is that of `scores` without the strangers' images; its rule says what a query ignores. Similarities are
    within 1e-5 of exact ones; of a right and a wrong answer that differ by no more than that, the wrong one is the
    best. Take people whom the model has not seen.

    Parameters
    ----------
    scores : of `rl.score` or `rl.measure`, with their embeddings
    enrolled : share of the queries' people who are enrolled, drawn from `seed`
    average : compare with each person's mean embedding, as `Gallery(average=True)` does

    Raises
    ------
    ValueError : scores from a file; fewer than two people on one of the sides; `average` with a rule that ignores
        images of other people, as SYSU-MM01's
    """
    rule, people = scores.rule, np.unique(scores.pids[scores.valid])
    count = round(enrolled * len(people))
    if min(count, len(people) - count) < 2:
        raise ValueError(f"enrolled={enrolled} of {len(people)} people: two on each side are needed at least")
    known = np.random.default_rng(seed).permutation(people)[:count]
    strangers = np.setdiff1d(people, known)
    there = ~np.isin(rule.g_pid, np.append(strangers, JUNK))  # distractors stay: they are wrong answers
    own, others = (_averaged if average else _best)(scores, there)
    valid, at = scores.valid, np.isin(scores.pids, known)
    best = np.where(at, np.maximum(own, others), others)[valid].astype(np.float32)
    right = (at & (own > others + 1e-5))[valid]
    test = f"{getattr(scores.query, 'name', 'test')}, seed {seed}"
    return OpenSet(best, right, at[valid], scores.pids[valid], count, test)


def _best(scores: Scores, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest similarity of each query's matches, and of the wrong answers that are `there`: (Q,) each."""
    source, rule = in_float32(scores.source), scores.rule
    own, others = np.full((2, len(rule.q_pid)), -np.inf)
    for rows, tiles in tiling(rule, 2**26):
        i, j = rule.matches(rows)
        np.maximum.at(own, i, source.near(i, j))
        for cols in tiles:
            tile = np.where(rule.wrong(rows, cols) & there[cols], source.tile(rows, cols).cpu().numpy(), -np.inf)
            others[rows] = np.maximum(others[rows], tile.max(1))
    return own, others


def _averaged(scores: Scores, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of people's mean embeddings; that of the query's own person is of the images that it does not ignore."""
    rule = scores.rule
    for rows, tiles in tiling(rule, 2**26):
        for cols in tiles:
            people = (rule.g_pid[cols] != JUNK) & (rule.g_pid[cols] != rule.q_pid[rows, None])
            if (rule.wrong(rows, cols) != people).any():
                raise ValueError(
                    "average=True: the rule of this test ignores images of other people, whose means would hold them; "
                    "leave average out"
                )
    q, g = (torch.nn.functional.normalize(x.double().cpu()) for x in (scores.q, scores.g))
    strangers = (rule.g_pid == DISTRACTOR) & (DISTRACTOR not in rule.q_pid)  # each by itself; else people like others
    alone = np.where(strangers, -2 - np.arange(len(g)), rule.g_pid)
    pids, which = np.unique(alone[there], return_inverse=True)
    total = torch.zeros(len(pids), g.shape[1], dtype=torch.float64)
    total.index_add_(0, torch.from_numpy(which), g[torch.from_numpy(there)])
    cosine = (q @ torch.nn.functional.normalize(total).T).numpy()
    cosine[rule.q_pid[:, None] == pids] = -np.inf
    i, j = rule.matches(slice(0, len(q)))
    mine = torch.zeros_like(q).index_add_(0, torch.from_numpy(i), g[torch.from_numpy(j)])
    own = (q * torch.nn.functional.normalize(mine)).sum(1).numpy()
    return own, cosine.max(1)
