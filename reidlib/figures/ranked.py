"""Ranked lists as figures and as folders, which queries to look at, and how similar matches and others are."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from reidlib.evaluation.scores import Ranking, Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.sheets import GAP, LINE, Size, caption, note, person, sheet, thumb
from reidlib.figures.style import BLUE, GREY, INK, VERMILLION, WIDTH, Picture, panels, styled
from reidlib.progress import progress
from reidlib.settings import shortened


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
    scores : with embeddings, as of `score`. Of several trials the first is drawn; else pass `scores.trial(t)`.
    queries : indices into the query Shots.
    k, columns : images in a list, and in a line; longer lists continue in the next line.
    ignored : show, where they would rank, the images that the metric ignores (by Market's rule: same person in the same
        camera, and junk). They have no rank.

    Raises
    ------
    ValueError : if k < 1, or the scores were loaded from a file and have no embeddings.
    IndexError : if there is no such query.
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
    ranks = np.cumsum(~ranking.ignored)
    return [
        (IGNORED, "") if left_out else (MATCH if match else WRONG, str(rank))
        for rank, match, left_out in zip(ranks, ranking.match, ranking.ignored, strict=True)
    ]


def _draw_query(ax: Axes, scores: Scores, i: int, k: int, corner: tuple[float, float], size: Size) -> None:
    """The query image with its frame, person and camera under it, and its AP and first match left of it."""
    x, y = corner
    thumb(ax, scores.query.file(i), x, y, size, QUERY)
    who = person(scores.query.pids[i]), f"camera {scores.query.camids[i]}"
    caption(ax, x + size[0] / 2, y + size[1] + 0.02, *who, color=INK)
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
    marks = ", ".join(mark.word for mark, _ in marks_and_ranks(ranking))
    who = f"Query {i}, {person(scores.query.pids[i])}, camera {scores.query.camids[i]}"
    return f"{who}: {result_in_words(scores, i)}; the list reads {marks}."


def visualize(
    scores: Scores | SysuScores, folder: Path | str, k: int = 20, queries: Sequence[int] | None = None
) -> Path:
    """Copy queries and their k best gallery images into the folders of the reference implementation's visualize mode.

    Each query has a folder `folder`/visualization/<set>/<query>/ with query_top000_name_<file> and, from 001,
    gallery_topNNN_name_<file>. <set> is the name of the query Shots up to "/"; <query> is the query's file name, or its
    path if file names repeat. The lists hold what the metric ranks; the reference's hold junk too. Lists of an earlier
    call are replaced. Returns the folder of the set.

    Parameters
    ----------
    scores : with embeddings, as `score` returns them. Of several trials, the first one's lists are copied.
    folder : created if missing.
    k : gallery images in a list.
    queries : indices into the query Shots; by default all.

    Raises
    ------
    FileNotFoundError : if an image is missing; nothing is written then.

    References
    ----------
    `--mode visualize` of https://github.com/wangguanan/Pytorch-Person-REID-Baseline-Bag-of-Tricks.
    """
    scores = first_trial(scores)
    files, names = scores.query.files(), _folder_names(scores.query.paths.tolist())
    queries = range(len(files)) if queries is None else queries
    few = len(queries) < 100  # too quick for a progress bar
    copies = {}
    for i in progress(queries, "ranking", few=few):
        copies[names[i]] = [files[i], *map(scores.gallery.file, scores.ranking(int(i), k).index)]
    missing = sorted({file for images in copies.values() for file in images if not file.is_file()})
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing, {len(missing)} image(s) in all; restore them and try again")
    target = Path(folder) / "visualization" / scores.query.name.split("/")[0].replace(":", "_")
    for name, images in progress(copies.items(), "copying ranked lists", few=few):
        (target / name).mkdir(parents=True, exist_ok=True)
        for old in (target / name).glob("*_top*_name_*"):  # of another model's list
            if re.match(r"(query|gallery)_top\d{3,}_name_", old.name):
                old.unlink()
        for rank, file in enumerate(images):
            kind, copy = "gallery" if rank else "query", f"{shortened(file.stem, 180)}{file.suffix}"
            shutil.copyfile(file, target / name / f"{kind}_top{rank:03d}_name_{copy}")
    return target


def _folder_names(paths: list[str]) -> list[str]:
    """A distinct name for each path: its last part, else the whole path, else the path with its position."""
    for names in ([Path(path).name for path in paths], [path.replace("/", "_") for path in paths]):
        if len(set(names)) == len(paths):
            break
    else:
        names = [f"{i:05d}_{name}" for i, name in enumerate(names)]
    return [shortened(name, 200) for name in names]


def extremes(scores: Scores | SysuScores, n: int = 2) -> np.ndarray:
    """The n best, n median and n worst valid queries by AP: (3n,) indices, best first, those of equal AP by index.

    Fewer if fewer than 3n queries are valid; ValueError if none is, that is, has a match in the gallery.
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
    """Draw how similar queries are to their matches, to other identities, and to the nearest of these.

    What the metric ignores is left out. Of more than `most` valid queries, evenly spaced ones are drawn; of several
    trials, the first. The scores need embeddings, as `score` returns them.
    """
    scores = first_trial(scores)
    valid = np.flatnonzero(scores.valid)
    rankings = [scores.ranking(int(i), len(scores.gallery)) for i in valid[:: -(-len(valid) // most)]]
    groups = {
        "matches": [ranking.similarity[ranking.match] for ranking in rankings],
        "other identities": [ranking.similarity[~ranking.match] for ranking in rankings],
        "nearest other identity of a query": [ranking.similarity[~ranking.match][:1] for ranking in rankings],
    }
    filled, line = {"histtype": "stepfilled", "alpha": 0.6}, {"histtype": "step", "linewidth": 2}
    looks: list[dict[str, Any]] = [filled | {"color": BLUE}, line | {"color": VERMILLION, "linestyle": "--"}]
    looks += [line | {"color": INK, "linestyle": ":"}]
    fig, (ax,) = panels(1, width=7.5)
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
