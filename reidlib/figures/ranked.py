"""Ranked lists as figures, which queries to look at, and how similar right and wrong answers are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from reidlib.evaluation.scores import Ranking, Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.style import (
    BLUE,
    GAP,
    GREY,
    INK,
    LINE,
    VERMILLION,
    WIDTH,
    Picture,
    Size,
    caption,
    note,
    panels,
    person,
    sheet,
    styled,
    thumb,
)


class Mark(NamedTuple):
    """How an image of a list is marked, by symbol and line style as well as by colour."""

    symbol: str
    word: str
    frame: dict[str, Any]  # properties of a matplotlib Rectangle


QUERY = {"edgecolor": INK, "linestyle": "-", "linewidth": 3.0}
MATCH = Mark("✓", "right", {"edgecolor": BLUE, "linestyle": "-", "linewidth": 2.4})
WRONG = Mark("✗", "wrong", {"edgecolor": VERMILLION, "linestyle": (0, (3, 1.4)), "linewidth": 2.4})
IGNORED = Mark("–", "ignored", {"edgecolor": GREY, "linestyle": (0, (1, 1.2)), "linewidth": 2.4})
LEGEND = {"✓ solid: same person": MATCH, "✗ dashed: someone else": WRONG, "– dotted: ignored by the metric": IGNORED}
SPACE = 0.12  # inches between neighbours in a list


@styled
def plot_ranked(
    scores: Scores | SysuScores,
    queries: Sequence[int] | np.ndarray,
    k: int = 10,
    ignored: bool = False,
    title: str | None = None,
    columns: int = 10,
) -> Picture:
    """Draw the k gallery images most similar to each query, best first, marked right, wrong or ignored.

    AP and the rank of the first match stand left of a list; mark, rank, similarity and camera stand under each image.

    Parameters
    ----------
    scores : Scores or SysuScores
        With embeddings, as `score` returns them. Of several trials the first is drawn; for another pass
        `scores.trial(t)`.
    queries : sequence of int
        Indices into the query Shots.
    k : int
        Images in a list.
    ignored : bool
        Whether to show, where they would rank, the images that the metric ignores (by Market's rule: same person in the
        same camera, and junk). They have no rank.
    title : str, optional
    columns : int
        Images in a line; longer lists continue in the next one.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If k < 1, or the scores were loaded from a file and have no embeddings.
    IndexError
        If there is no such query.
    """
    if k < 1:
        raise ValueError(f"k={k}; a ranked list shows at least 1 image")
    scores = first_trial(scores)
    queries, columns = np.atleast_1d(queries), min(k, columns)
    left, beside = 1.0, 1.05  # inches: for the AP, for the query image
    width = min(0.8, (WIDTH - left - beside) / columns - SPACE)
    size = (width, 2 * width)
    step = size[1] + 2 * LINE + 0.2
    rankings = [scores.ranking(int(i), k, ignored) for i in queries]
    lines = [max(1, -(-len(ranking.index) // columns)) for ranking in rankings]
    fig, ax, top = sheet(left + beside + columns * (width + SPACE), step * sum(lines) + 0.25, title)
    for i, ranking, count in zip(queries, rankings, lines, strict=True):
        _draw_query(ax, scores, i, k, (left, top), size)
        for n, (mark, rank) in enumerate(marks_and_ranks(ranking)):
            x, y, j = left + beside + n % columns * (width + SPACE), top + n // columns * step, ranking.index[n]
            thumb(ax, scores.gallery.file(j), x, y, size, mark.frame)
            bold = {"color": mark.frame["edgecolor"], "fontweight": "bold", "fontsize": 9.5}
            caption(ax, x + width / 2, y + size[1] + 0.02, f"{mark.symbol} {rank}", **bold)
            below = f"{ranking.similarity[n]:.2f} · c{scores.gallery.camids[j]}"
            caption(ax, x + width / 2, y + size[1] + 0.02 + LINE, below)
        top += step * count
    for n, (text, mark) in enumerate(list(LEGEND.items())[: 2 + ignored]):
        note(ax, left + beside + 2.0 * n, top + 0.02, text, color=mark.frame["edgecolor"])
    words = [_list_in_words(scores, *each) for each in zip(queries, rankings, strict=True)]
    fig.alt = " ".join([f"{title}."] * bool(title) + words)
    return fig


def first_trial(scores: Scores | SysuScores) -> Scores:
    """The scores of one gallery: of several trials, the first."""
    return scores.trial(0) if isinstance(scores, SysuScores) else scores


def marks_and_ranks(ranking: Ranking) -> list[tuple[Mark, str]]:
    """The mark of each image of a list and its rank, which is "" if the image is ignored."""
    rank = np.cumsum(~ranking.ignored)
    return [
        (IGNORED, "") if left_out else (MATCH if match else WRONG, str(rank[n]))
        for n, (match, left_out) in enumerate(zip(ranking.match, ranking.ignored, strict=True))
    ]


def _draw_query(ax: Axes, scores: Scores, i: int, k: int, corner: tuple[float, float], size: Size) -> None:
    """The query image with its frame, person and camera under it, and its AP and first match left of it."""
    x, y = corner
    middle = x + size[0] / 2
    thumb(ax, scores.query.file(i), x, y, size, QUERY)
    caption(ax, middle, y + size[1] + 0.02, person(scores.query.pids[i]), f"camera {scores.query.camids[i]}", color=INK)
    note(ax, GAP, y, f"query {i}")
    if not scores.valid[i]:
        note(ax, GAP, y + 0.3, "no match in\nthe gallery", color=INK)
        return
    first = scores.first_match[i]
    note(ax, GAP, y + 0.24, "AP")
    note(ax, GAP, y + 0.4, f"{100 * scores.ap[i]:.1f} %", color=INK, fontsize=12, fontweight="bold")
    note(ax, GAP, y + 0.74, "first match")
    note(ax, GAP, y + 0.9, f"rank {first}", color=VERMILLION if first > k else INK, fontsize=10)


def result_in_words(scores: Scores, i: int) -> str:
    """AP and first match of query i, in words."""
    if not scores.valid[i]:
        return "no match in the gallery"
    return f"AP {100 * scores.ap[i]:.1f} %, first match at rank {scores.first_match[i]}"


def _list_in_words(scores: Scores, i: int, ranking: Ranking) -> str:
    return (
        f"Query {i}, {person(scores.query.pids[i])}, camera {scores.query.camids[i]}: {result_in_words(scores, i)}; "
        f"the list reads {', '.join(mark.word for mark, _ in marks_and_ranks(ranking))}."
    )


def extremes(scores: Scores | SysuScores, n: int = 2) -> np.ndarray:
    """The n best, n median and n worst valid queries by AP.

    Parameters
    ----------
    scores : Scores or SysuScores
    n : int
        Queries of each kind.

    Returns
    -------
    (3n,) int64 array
        Query indices, best first, those of equal AP by index; fewer if fewer than 3n queries are valid.

    Raises
    ------
    ValueError
        If no query is valid, that is, has a match in the gallery.
    """
    valid = np.flatnonzero(scores.valid)
    if not len(valid):
        raise ValueError("no query has a match in the gallery, so none is best or worst; check pids and camids")
    order = valid[np.argsort(-scores.ap[valid], kind="stable")]
    middle = max(0, (len(order) - n) // 2)
    positions = {*range(n), *range(middle, middle + n), *range(len(order) - n, len(order))}
    return order[sorted(positions & set(range(len(order))))]


@styled
def plot_similarity(scores: Scores | SysuScores, most: int = 300) -> Picture:
    """Draw how similar queries are to their matches, to wrong answers, and to the nearest wrong answer.

    What the metric ignores is left out.

    Parameters
    ----------
    scores : Scores or SysuScores
        With embeddings, as `score` returns them. Of several trials, the first is drawn.
    most : int
        Of more valid queries than this, evenly spaced ones are drawn.

    Returns
    -------
    Picture
    """
    scores = first_trial(scores)
    valid = np.flatnonzero(scores.valid)
    rankings = [scores.ranking(int(i), len(scores.gallery)) for i in valid[:: -(-len(valid) // most)]]
    groups = {
        "matches": [ranking.similarity[ranking.match] for ranking in rankings],
        "wrong answers": [ranking.similarity[~ranking.match] for ranking in rankings],
        "nearest wrong answer of a query": [ranking.similarity[~ranking.match][:1] for ranking in rankings],
    }
    filled, line = {"histtype": "stepfilled", "alpha": 0.6}, {"histtype": "step", "linewidth": 2}
    looks: list[dict[str, Any]] = [filled | {"color": BLUE}, line | {"color": VERMILLION, "linestyle": "--"}]
    looks += [line | {"color": INK, "linestyle": ":"}]
    fig, (ax,) = panels(1, height=3.2, width=7.5)
    bins = np.linspace(min(values.min() for group in groups.values() for values in group if len(values)), 1, 41)
    words = []
    for (name, group), look in zip(groups.items(), looks, strict=True):
        values = np.concatenate(group)
        if not len(values):
            words.append(f"{name}: none")
            continue
        ax.hist(values, bins.tolist(), weights=np.full(len(values), 100 / len(values)), label=name, **look)
        words.append(f"{name}: {len(values):,}, median {np.median(values):.2f}")
    ax.set(title="Similarity to the query", xlabel="similarity", ylabel="% of each group")
    ax.legend()
    fig.alt = f"Histograms of similarity to the query. {'; '.join(words)}."
    return fig
