"""Looking through queries without a screen: which ones, in which order; a gallery image as the query."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reidlib.data.shots import DISTRACTOR
from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import Rule, count
from reidlib.evaluation.scores import Compared, Scores, per_query
from reidlib.evaluation.statistics import check_paired
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.ranked import first_trial

BINS = 10  # of the AP histogram
NO_PID = -2  # a pid that no image has


@dataclass(frozen=True)
class Filter:
    """Which queries to look at; a field that is None lets all of them pass. ValueError if no query could pass.

    AP goes from `ap_low` up to, but not including, `ap_high`; 1 is included.
    """

    query_camera: int | None = None
    match_camera: int | None = None  # the query has a match in this camera
    ap_low: float = 0.0
    ap_high: float = 1.0
    beyond: int | None = None  # its first match ranks beyond this one
    pid: int | None = None
    marked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ap_low < self.ap_high <= 1:
            raise ValueError(f"AP from {self.ap_low:.0%} to {self.ap_high:.0%}; it must rise, between 0 and 100 %")
        if self.beyond is not None and self.beyond < 1:
            raise ValueError(f"first match beyond rank {self.beyond}; ranks begin at 1")

    def mask(self, scores: Scores, marked: Collection[int]) -> np.ndarray:
        """(Q,) bool: the queries of `scores` that pass; `marked` holds indices."""
        passing, indices = np.ones(len(scores.ap), bool), np.arange(len(scores.ap))
        if (self.ap_low, self.ap_high) != (0, 1):  # else queries without a match, whose AP is NaN, pass too
            passing &= (scores.ap >= self.ap_low) & ((scores.ap < self.ap_high) | (self.ap_high == 1))
        if self.query_camera is not None:
            passing &= scores.camids == self.query_camera
        if self.match_camera is not None:
            i, j = scores.rule.matches(slice(0, len(passing)))
            passing &= np.isin(indices, i[scores.rule.g_cam[j] == self.match_camera])
        if self.beyond is not None:
            passing &= scores.first_match > self.beyond
        if self.pid is not None:
            passing &= scores.pids == self.pid
        if self.marked:
            passing &= np.isin(indices, list(marked))
        return passing


def histogram(scores: Scores, where: Filter, marked: Collection[int]) -> list[int]:
    """The number of queries in each tenth of AP that pass all of the filter but its limits of AP."""
    ap = scores.ap[replace(where, ap_low=0.0, ap_high=1.0).mask(scores, marked) & scores.valid]
    return np.histogram(ap, np.arange(BINS + 1) / BINS)[0].tolist()


# Name -> a permutation (Q,) of the queries; a and b are the scores of the first and the second model. NaN, the AP of
# queries without a match, comes last.
ORDERS = {
    "worst first": lambda a, b, seed: np.argsort(a.ap, kind="stable"),
    "best first": lambda a, b, seed: np.argsort(-a.ap, kind="stable"),
    "by index": lambda a, b, seed: np.arange(len(a.ap)),
    "at random": lambda a, b, seed: np.random.default_rng(seed).permutation(len(a.ap)),
    "models differ most": lambda a, b, seed: np.argsort(-np.abs(a.ap - b.ap), kind="stable"),
}


def is_number(text: str, count: int) -> bool:
    """Whether a text is the number of one of `count` images; 0012 is a part of a name."""
    return text.isdecimal() and text == str(int(text)) and int(text) < count


class Tour:
    """The queries of one or two models in an order and through a filter, and what a reader looks at.

    That is the query at `position` of the `chosen` ones, or a gallery image that was made the query: `trail` holds
    these, the last one shown. `subjects` holds (scores, query index) of what is shown, one for each model. ValueError
    for scores from a file, for two models of different queries or galleries, and for a filter that no query passes,
    which changes nothing.
    """

    def __init__(self, scores: Scores | SysuScores, other: Scores | SysuScores | None = None, seed: int = 0) -> None:
        self.models, self.seed = [first_trial(each) for each in (scores, other) if each is not None], seed
        galleries = [each.gallery.paths for each in self.models]
        check_paired(self.models[0], self.models[-1])
        if not np.array_equal(galleries[0], galleries[-1]):
            raise ValueError("the two models have different galleries; score both against the same one")
        self.orders = list(ORDERS)[: len(ORDERS) if other else -1]  # by the difference only if there are two
        self.select("worst first", Filter())

    @property
    def query(self) -> int:
        """The index of the query that is shown, or was before a gallery image."""
        return int(self.chosen[self.position])

    def select(self, order: str, where: Filter, marked: Collection[int] = ()) -> None:
        """Order and filter, and go to the first query."""
        if order not in self.orders:
            raise ValueError(f"no order {order!r}; choose one of {', '.join(self.orders)}")
        every = ORDERS[order](self.models[0], self.models[-1], self.seed)
        chosen = every[where.mask(self.models[0], marked)[every]]
        if not len(chosen):
            raise ValueError("no query passes this filter together with the others; it was not applied")
        self.order, self.where, self.chosen = order, where, chosen
        self._go(0)

    def step(self, by: int) -> None:
        """Go forward, or back, as far as the first or the last query."""
        self._go(int(np.clip(self.position + by, 0, len(self.chosen) - 1)))

    def jump(self, text: str) -> bool:
        """Go to a query by its number, or to the next with `text` in its path; returns whether a filter hid it."""
        i = self._find(text)
        hidden = i not in self.chosen
        if hidden:
            self.select(self.order, Filter())
        self._go(int(np.flatnonzero(self.chosen == i)[0]))
        return hidden

    def _find(self, text: str) -> int:
        paths = self.models[0].query.paths
        if is_number(text, len(paths)):
            return int(text)
        hits = np.flatnonzero(np.char.find(paths, text) >= 0) if text else np.empty(0, int)
        if not len(hits):
            raise ValueError(f"no query {text!r}; give a number below {len(paths)}, or a part of a file name")
        return int(hits[np.searchsorted(hits, self.query, side="right") % len(hits)])

    def _go(self, position: int) -> None:
        self.position = position
        self.trail: list[int] = []
        self.subjects = [(scores, self.query) for scores in self.models]

    def descend(self, j: int) -> None:
        """Make gallery image j the query."""
        self.subjects = [(gallery_query(scores, j), 0) for scores in self.models]
        self.trail = [*self.trail, j]

    def back(self) -> None:
        """Go back from a gallery image to the query in whose list it was found."""
        before = self.trail[:-1]
        self._go(self.position)
        for j in before:
            self.descend(j)


def gallery_query(scores: Scores, j: int) -> Scores:
    """Scores of gallery image j as the only query, against the same gallery by the same rule and cosine similarity.

    The image itself is ignored. Junk and distractors may be queries; they have no match. The list is by cosine also if
    `scores` are re-ranked, since re-ranking compares all queries with each other. IndexError if there is no image j.
    """
    if not 0 <= j < len(scores.gallery):
        raise IndexError(f"no gallery image {j}: there are {len(scores.gallery)}, numbered from 0")
    source, query = _cosine(scores), scores.gallery[j]
    source = source.of_queries(source.g[[j]])
    asked = query if query.pids[0] > DISTRACTOR else replace(query, pids=np.array([NO_PID]))
    itself = np.where(np.arange(len(scores.gallery)) == j, 0, -1)
    rule = Rule(asked, scores.gallery, scores.rule._ignored, itself)
    values: dict[str, Any] = per_query(*count(source, rule, scores.ties), 1)
    compared = Compared(query, scores.gallery, source.q, scores.g, source, rule)
    return replace(scores, **values, pids=query.pids, camids=query.camids, reranked=False, compared=compared)


def _cosine(scores: Scores) -> Cosine:
    return scores.source if isinstance(scores.source, Cosine) else Cosine(scores.q, scores.g)  # else re-ranked


def cosine(scores: Scores, i: int, j: int) -> float:
    """The cosine similarity of query i and gallery image j."""
    return float(_cosine(scores).near(np.array([i]), np.array([j]))[0])


def first_match(scores: Scores, i: int) -> tuple[int, float]:
    """The gallery image that is query i's best match, and its similarity; `scores.first_match` holds its rank."""
    _, j = scores.rule.matches(slice(i, i + 1))
    similarity = scores.source.exact(np.full_like(j, i), j)
    best = similarity.argmax()
    return int(j[best]), float(similarity[best])
