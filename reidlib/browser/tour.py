"""Looking through queries without a screen: which ones, in which order; a gallery image as the query."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from reidlib.data.shots import DISTRACTOR
from reidlib.evaluation.counting import Rule, count
from reidlib.evaluation.statistics import check_paired, per_query

BINS = 10  # of the AP histogram
ALIKE_TO_NOBODY = -2  # a pid that no image has


def check_browsable(scores, other=None) -> None:
    """ValueError for scores without embeddings, and for two of different queries or galleries."""
    for each in (scores, other):
        if each is not None and each.source is None:
            raise ValueError("these scores come from a file, without embeddings: call score() or measure() again")
    if other is not None:
        check_paired(scores, other)
        if not np.array_equal(scores.gallery.paths, other.gallery.paths):
            raise ValueError("the two models were scored against different galleries; score both against the same one")


@dataclass(frozen=True)
class Filter:
    """Which queries to look at; a field that is None lets all of them through. ValueError for what can hold for none.

    AP goes from `ap_low` up to, but not including, `ap_high`; 1 is included.
    """

    query_camera: int | None = None
    match_camera: int | None = None  # it has a match under this camera
    ap_low: float = 0.0
    ap_high: float = 1.0
    beyond: int | None = None  # its first match stands beyond this rank
    pid: int | None = None
    marked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ap_low < self.ap_high <= 1:
            raise ValueError(f"AP from {self.ap_low:.0%} to {self.ap_high:.0%}; it must rise, between 0 and 100 %")
        if self.beyond is not None and self.beyond < 1:
            raise ValueError(f"first match beyond rank {self.beyond}; ranks begin at 1")

    def mask(self, scores, marked: Collection[int]) -> np.ndarray:
        """(Q,) bool: the queries of `scores` that pass; `marked` holds indices."""
        passing = self._ap(scores.ap)
        if self.query_camera is not None:
            passing &= scores.camids == self.query_camera
        if self.match_camera is not None:
            i, j = scores.rule.matches(slice(0, len(passing)))
            passing &= np.isin(np.arange(len(passing)), i[scores.rule.g_cam[j] == self.match_camera])
        if self.beyond is not None:
            passing &= scores.first_match > self.beyond
        if self.pid is not None:
            passing &= scores.pids == self.pid
        if self.marked:
            passing &= np.isin(np.arange(len(passing)), list(marked))
        return passing

    def _ap(self, ap: np.ndarray) -> np.ndarray:
        if (self.ap_low, self.ap_high) == (0, 1):
            return np.ones(len(ap), bool)  # those without a match, whose AP is NaN, too
        return (ap >= self.ap_low) & ((ap < self.ap_high) | (self.ap_high == 1))


def histogram(scores, where: Filter, marked: Collection[int]) -> list[int]:
    """How many queries fall into each tenth of AP, all filters but the one on AP applied."""
    ap = scores.ap[replace(where, ap_low=0.0, ap_high=1.0).mask(scores, marked) & scores.valid]
    return np.histogram(ap, np.arange(BINS + 1) / BINS)[0].tolist()


def _by(value: np.ndarray) -> np.ndarray:
    return np.argsort(np.where(np.isnan(value), np.inf, value), kind="stable")  # without a match: last


ORDERS = {  # name -> a permutation (Q,) of the queries of a, where b are another model's scores
    "worst first": lambda a, b, seed: _by(a.ap),
    "best first": lambda a, b, seed: _by(-a.ap),
    "by index": lambda a, b, seed: np.arange(len(a.ap)),
    "at random": lambda a, b, seed: np.random.default_rng(seed).permutation(len(a.ap)),
    "models differ most": lambda a, b, seed: _by(-np.abs(a.ap - b.ap)),
}


class Tour:
    """The queries of `scores` in an order and through a filter, and the one among them that a reader is at.

    `other` are a second model's scores, by which "models differ most" orders. There is always a query: what would leave
    none raises ValueError and changes nothing.
    """

    def __init__(self, scores, other=None, seed: int = 0) -> None:
        self.scores, self.other, self.seed = scores, other, seed
        self.orders = [name for name in ORDERS if other or name != "models differ most"]
        self.select("worst first", Filter())

    @property
    def query(self) -> int:
        return int(self.chosen[self.place])

    def select(self, order: str, where: Filter, marked: Collection[int] = ()) -> None:
        """Order and filter, and go to the first."""
        if order not in self.orders:
            raise ValueError(f"no order {order!r}; choose one of {', '.join(self.orders)}")
        every = ORDERS[order](self.scores, self.other, self.seed)
        chosen = every[where.mask(self.scores, marked)[every]]
        if not len(chosen):
            raise ValueError("no query passes this filter together with the others; the choice before it is kept")
        self.order, self.where, self.chosen, self.place = order, where, chosen, 0

    def step(self, by: int) -> None:
        """Go on, or back, to the first or the last at most."""
        self.place = int(np.clip(self.place + by, 0, len(self.chosen) - 1))

    def jump(self, text: str) -> bool:
        """Go to a query by its number, or to the next with `text` in its path; returns whether the filter went."""
        i = self._find(text)
        hidden = i not in self.chosen
        if hidden:
            self.select(self.order, Filter())
        self.place = int(np.flatnonzero(self.chosen == i)[0])
        return hidden

    def _find(self, text: str) -> int:
        paths = self.scores.query.paths
        if text.isdecimal() and text == str(int(text)) and int(text) < len(paths):  # 0012 is a part of a name
            return int(text)
        found = np.flatnonzero(np.char.find(paths, text) >= 0) if text else np.empty(0, int)
        if not len(found):
            raise ValueError(f"no query {text!r}; give a number below {len(paths)}, or a part of a file name")
        return int(found[np.searchsorted(found, self.query, side="right") % len(found)])


class GalleryRule(Rule):
    """`rule` for gallery image j as the only query: it does not find itself, and nobody is known to be a stranger."""

    def __init__(self, rule: Rule, gallery, j: int) -> None:
        super().__init__(gallery[j], gallery, rule._ignored)
        self.itself = np.arange(len(gallery)) == j
        if self.q_pid[0] <= DISTRACTOR:  # one distractor is not the same person as another
            self.q_pid = np.array([ALIKE_TO_NOBODY])

    def ignored(self, i: np.ndarray | int, j: np.ndarray | slice) -> np.ndarray:
        return super().ignored(i, j) | self.itself[j]


def gallery_query(scores, j: int):
    """Scores of gallery image j as the only query, against the same gallery by the same rule and cosine similarity.

    The image itself is ignored. Junk and distractors may be queries and have no match. Re-ranked scores give a list by
    plain cosine, since re-ranking compares all queries with each other.
    """
    if not 0 <= j < len(scores.gallery):
        raise IndexError(f"no gallery image {j}: there are {len(scores.gallery)}, numbered from 0")
    source = _cosine(scores).of_gallery(j)
    rule, one = GalleryRule(scores.rule, scores.gallery, j), scores.gallery[j]
    values = per_query(*count(source, rule, scores.ties), 1)
    return replace(
        scores, **values, pids=one.pids, camids=one.camids, query=one, q=source.q, source=source, rule=rule,
        reranked=False,
    )  # fmt: skip


def _cosine(scores):
    return getattr(scores.source, "cosine", scores.source)  # what re-ranking began with


def cosine(scores, i: int, j: int) -> float:
    """The cosine similarity of query i and gallery image j."""
    return float(_cosine(scores).near(np.array([i]), np.array([j]))[0])


def first_match(scores, i: int) -> tuple[int, float]:
    """The gallery image that is query i's best true match, and its similarity; `scores.first_match` holds its rank."""
    _, j = scores.rule.matches(slice(i, i + 1))
    similarity = scores.source.exact(np.full_like(j, i), j)
    best = similarity.argmax()
    return int(j[best]), float(similarity[best])
