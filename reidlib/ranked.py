"""Ranked lists: as a static picture, and as folders of copied files."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .figures import BLUE, GAP, GREY, INK, LINE, SMALL, VERMILLION, WIDTH, Picture, caption, person, sheet, styled, thumb

QUERY = ("", "query", dict(edgecolor=INK, linestyle="-", linewidth=3.0))
MATCH = ("✓", "right", dict(edgecolor=BLUE, linestyle="-", linewidth=2.4))
WRONG = ("✗", "wrong", dict(edgecolor=VERMILLION, linestyle=(0, (3, 1.4)), linewidth=2.4))
IGNORED = ("–", "ignored", dict(edgecolor=GREY, linestyle=(0, (1, 1.2)), linewidth=2.4))
MARKS = (MATCH, WRONG, IGNORED)
SPACE = 0.12  # inches between neighbours in a list


@styled
def plot_ranked(
    scores, queries: Sequence[int], k: int = 10, ignored: bool = False, title: str | None = None, columns: int = 10
) -> Picture:
    """The k gallery images most alike to each query, best first, marked right, wrong or ignored, as a Picture.

    At the left stand AP and the rank of the first match; under each image its mark and rank, similarity and camera.
    ignored: show, in their places, what the metric leaves out (same person in the same camera, junk); they have no
    rank. Lists longer than `columns` go on in the next line. Images are read from the Shots on demand.
    """
    queries, columns = np.atleast_1d(queries), min(k, columns)
    left, pair = 1.0, 1.05  # inches: room for the AP, for the query image
    width = min(0.8, (WIDTH - left - pair) / columns - SPACE)
    size = (width, 2 * width)
    step = size[1] + 2 * LINE + 0.2
    rankings = [scores.ranking(int(i), k, ignored) for i in queries]
    lines = [max(1, -(-len(ranking.index) // columns)) for ranking in rankings]
    fig, ax, top = sheet(left + pair + columns * (width + SPACE), step * sum(lines) + 0.25, title)
    for i, ranking, count in zip(queries, rankings, lines, strict=True):
        _query(ax, scores, i, k, (left, top), size)
        for j, (symbol, rank, _, frame) in enumerate(_marks(ranking)):
            x, y = left + pair + j % columns * (width + SPACE), top + j // columns * step
            thumb(ax, scores.gallery.file(ranking.index[j]), x, y, size, frame)
            below = f"{ranking.similarity[j]:.2f} · c{scores.gallery.camids[ranking.index[j]]}"
            caption(ax, x + width / 2, y + size[1], f"{symbol} {rank}", color=frame["edgecolor"], fontweight="bold")
            caption(ax, x + width / 2, y + size[1] + LINE, below)
        top += step * count
    _legend(ax, left + pair, top + 0.02, ignored)
    fig.alt = " ".join([f"{title}."] * bool(title) + [_words(scores, *each) for each in zip(queries, rankings)])
    return fig


def _marks(ranking):
    """For each place of a list: symbol, rank ("" where ignored), word, frame."""
    rank = np.cumsum(~ranking.ignored)
    for j, (match, left_out) in enumerate(zip(ranking.match, ranking.ignored, strict=True)):
        symbol, word, frame = IGNORED if left_out else MATCH if match else WRONG
        yield symbol, "" if left_out else str(rank[j]), word, frame


def _query(ax, scores, i: int, k: int, place: tuple[float, float], size: tuple[float, float]) -> None:
    """The query image with its frame, who and where under it, and its AP and first match at the left."""
    x, y = place
    thumb(ax, scores.query.file(i), x, y, size, QUERY[2])
    caption(ax, x + size[0] / 2, y + size[1], person(scores.query.pids[i]), f"camera {scores.query.camids[i]}", color=INK)
    ax.text(GAP, y, f"query {i}", fontsize=SMALL, color=GREY, va="top")
    if not scores.valid[i]:
        ax.text(GAP, y + 0.3, "no match in\nthe gallery", fontsize=SMALL, va="top")
        return
    first = scores.first_match[i]
    ax.text(GAP, y + 0.24, "AP", fontsize=SMALL, color=GREY, va="top")
    ax.text(GAP, y + 0.4, f"{100 * scores.ap[i]:.0f} %", fontsize=14, fontweight="bold", va="top")
    ax.text(GAP, y + 0.74, "first match", fontsize=SMALL, color=GREY, va="top")
    ax.text(GAP, y + 0.9, f"rank {first}", fontsize=10, va="top", color=VERMILLION if first > k else INK)


def _legend(ax, x: float, y: float, ignored: bool) -> None:
    for symbol, word, look in MARKS[: 2 + ignored]:
        ...


def _words(scores, i, ranking) -> str:
    found = f"AP {100 * scores.ap[i]:.0f} %, first match at rank {scores.first_match[i]}"
    return (
        f"Query {i}, {person(scores.query.pids[i])}, camera {scores.query.camids[i]}: "
        f"{found if scores.valid[i] else 'no match in the gallery'}; "
        f"the list reads {', '.join(word for _, _, word, _ in _marks(ranking))}."
    )


def extremes(scores, n: int = 2) -> np.ndarray:
    """The n best, n median and n worst valid queries by AP, best first, each query once; equal APs by index.

    Returns (3n,) query indices, fewer where there are fewer valid queries. ValueError if none is valid.
    """
    valid = np.flatnonzero(scores.valid)
    if not len(valid):
        raise ValueError("no query has a match in the gallery, so none is best or worst; check pids and camids")
    order = valid[np.argsort(-scores.ap[valid], kind="stable")]
    middle = max(0, (len(order) - n) // 2)
    places = [*range(n), *range(middle, middle + n), *range(len(order) - n, len(order))]
    return order[sorted({p for p in places if 0 <= p < len(order)})]


def visualize(scores, folder: Path | str, k: int = 20, queries: Sequence[int] | None = None) -> Path:
    """Copy queries and their k best gallery images into the folders of the reference implementation's visualize mode.

    Writes `folder`/visualization/<set>/<query name>/ with query_top000_name_<file> and gallery_topNNN_name_<file>,
    NNN from 001; <set> is the part of the query Shots' name before "/". Unlike the reference's, the lists hold what the
    metric ranks: no junk. queries: indices, by default all. Returns the set's folder. FileNotFoundError, before
    anything is written, if an image is missing.
    """
    place = Path(folder) / "visualization" / scores.query.name.split("/")[0]
    queries = range(len(scores.query)) if queries is None else queries
    lists = {}
    for i in queries:
        query = scores.query.file(i)
        ...
    return place
