"""Ranked lists: as a static picture, and as folders of copied files."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reidlib.figures.style import (
    BLUE,
    GAP,
    GREY,
    INK,
    LINE,
    VERMILLION,
    WIDTH,
    Picture,
    caption,
    note,
    person,
    sheet,
    styled,
    thumb,
)
from reidlib.progress import progress

QUERY = {"edgecolor": INK, "linestyle": "-", "linewidth": 3.0}
MATCH = ("✓", "right", {"edgecolor": BLUE, "linestyle": "-", "linewidth": 2.4})
WRONG = ("✗", "wrong", {"edgecolor": VERMILLION, "linestyle": (0, (3, 1.4)), "linewidth": 2.4})
IGNORED = ("–", "ignored", {"edgecolor": GREY, "linestyle": (0, (1, 1.2)), "linewidth": 2.4})
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
    if k < 1:
        raise ValueError(f"k={k}; a ranked list shows at least 1 image")
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
        for j, (symbol, rank, _, frame) in enumerate(marks(ranking)):
            x, y = left + pair + j % columns * (width + SPACE), top + j // columns * step
            thumb(ax, scores.gallery.file(ranking.index[j]), x, y, size, frame)
            below = f"{ranking.similarity[j]:.2f} · c{scores.gallery.camids[ranking.index[j]]}"
            mark = {"color": frame["edgecolor"], "fontweight": "bold", "fontsize": 9.5}
            caption(ax, x + width / 2, y + size[1] + 0.02, f"{symbol} {rank}", **mark)
            caption(ax, x + width / 2, y + size[1] + 0.02 + LINE, below)
        top += step * count
    _legend(ax, left + pair, top + 0.02, ignored)
    words = [_words(scores, *each) for each in zip(queries, rankings, strict=True)]
    fig.alt = " ".join([f"{title}."] * bool(title) + words)
    return fig


def marks(ranking):
    """For each place of a Ranking: symbol, rank ("" where ignored), word, frame."""
    rank = np.cumsum(~ranking.ignored)
    for j, (match, left_out) in enumerate(zip(ranking.match, ranking.ignored, strict=True)):
        symbol, word, frame = IGNORED if left_out else MATCH if match else WRONG
        yield symbol, "" if left_out else str(rank[j]), word, frame


def _query(ax, scores, i: int, k: int, place: tuple[float, float], size: tuple[float, float]) -> None:
    """The query image with its frame, who and where under it, and its AP and first match at the left."""
    x, y = place
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


def _legend(ax, x: float, y: float, ignored: bool) -> None:
    texts = ("✓ solid: same person", "✗ dashed: someone else", "– dotted: ignored by the metric")
    for text, (_, _, frame) in zip(texts[: 2 + ignored], MARKS, strict=False):
        note(ax, x, y, text, color=frame["edgecolor"])
        x += 2.0


def found(scores, i: int) -> str:
    """How query i did, in words."""
    if not scores.valid[i]:
        return "no match in the gallery"
    return f"AP {100 * scores.ap[i]:.1f} %, first match at rank {scores.first_match[i]}"


def _words(scores, i, ranking) -> str:
    return (
        f"Query {i}, {person(scores.query.pids[i])}, camera {scores.query.camids[i]}: {found(scores, i)}; "
        f"the list reads {', '.join(word for _, _, word, _ in marks(ranking))}."
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


@styled
def plot_similarity(scores, most: int = 300) -> Picture:
    """How alike queries are to their matches, to wrong answers, and to the nearest wrong answer, as a Picture.

    What the metric ignores is left out. Of more than `most` valid queries an even choice is drawn.
    """
    valid = np.flatnonzero(scores.valid)
    lists = [scores.ranking(int(i), len(scores.gallery)) for i in valid[:: -(-len(valid) // most)]]
    groups = {
        "matches": [found.similarity[found.match] for found in lists],
        "wrong answers": [found.similarity[~found.match] for found in lists],
        "nearest wrong answer of a query": [found.similarity[~found.match][:1] for found in lists],
    }
    groups = {name: np.concatenate(values) for name, values in groups.items()}
    looks = ({"color": BLUE, "alpha": 0.6}, {"color": VERMILLION, "linestyle": "--"}, {"color": INK, "linestyle": ":"})
    fig = Picture(figsize=(7.5, 3.2), layout="constrained")
    ax = fig.subplots()
    bins = np.linspace(min(map(np.min, groups.values())), 1, 41)
    for (name, values), look in zip(groups.items(), looks, strict=True):
        kind = {"histtype": "stepfilled"} if "alpha" in look else {"histtype": "step", "linewidth": 2}
        ax.hist(values, bins, weights=np.full(len(values), 100 / len(values)), label=name, **kind, **look)
    ax.set(title="Similarity to the query", xlabel="similarity", ylabel="% of each group")
    ax.legend()
    medians = (f"{name}: {len(values):,}, median {np.median(values):.2f}" for name, values in groups.items())
    fig.alt = f"Histograms of similarity to the query. {'; '.join(medians)}."
    return fig


def visualize(scores, folder: Path | str, k: int = 20, queries: Sequence[int] | None = None) -> Path:
    """Copy queries and their k best gallery images into the folders of the reference implementation's visualize mode.

    Writes `folder`/visualization/<set>/<query name>/ with query_top000_name_<file> and gallery_topNNN_name_<file>,
    NNN from 001; <set> is the part of the query Shots' name before "/". Unlike the reference's, the lists hold what the
    metric ranks: no junk. queries: indices, by default all. Returns the set's folder. FileNotFoundError, before
    anything is written, if an image is missing.
    """
    files = scores.query.files()
    queries = range(len(files)) if queries is None else queries
    few = len(queries) < 100  # no bar for a handful
    twice = len({file.name for file in files}) < len(files)
    copies = {}
    for i in progress(queries, "ranking", few=few):
        name = scores.query.paths[i].replace("/", "_") if twice else files[i].name
        gallery = map(scores.gallery.file, scores.ranking(int(i), k).index)
        copies[name] = [("query_top000", files[i])]
        copies[name] += [(f"gallery_top{rank:03d}", file) for rank, file in enumerate(gallery, start=1)]
    missing = sorted({file for pairs in copies.values() for _, file in pairs if not file.is_file()})
    if missing:
        raise FileNotFoundError(
            f"{missing[0]} is missing, {len(missing)} image(s) in all; put back what the lists need"
        )
    place = Path(folder) / "visualization" / scores.query.name.split("/")[0]
    for name, pairs in progress(copies.items(), "copying ranked lists", few=few):
        _copy(pairs, place / name)
    return place


def _copy(pairs: Sequence[tuple[str, Path]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*_top[0-9][0-9][0-9]_name_*"):  # another model's list would mix with this one
        old.unlink()
    for prefix, file in pairs:
        shutil.copyfile(file, folder / f"{prefix}_name_{file.name}")
