"""What the page of the ranked-image browser shows, as plain values: images with their words, lists, pairs, the tour."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reidlib.browser.tour import Tour, first_match, histogram
from reidlib.evaluation.scores import Scores
from reidlib.figures.ranked import MATCH, Mark, marks_and_ranks, result_in_words
from reidlib.figures.sheets import person, thumbnail

SMALL, LARGE = (128, 256), (512, 1024)  # pixels: the boxes of an image in a list and of one in a pair
SMALL_BYTES, LARGE_BYTES = 40_000, 30_000  # of all images of lists, of both of a pair: keep the state below 100 kB
MOST_IMAGES = 20  # in a list, or in two lists together
NO_QUERY = -1  # the index of the query while a gallery image is shown in its stead

View = dict[str, Any]


def picture(file: Path, words: str, box: tuple[int, int], most: int) -> View:
    """An image within `box` of at most `most` bytes and its words; if it cannot be read, its name."""
    image = thumbnail(file, box, most)
    missing = "" if image else file.name
    return {"image": image, "missing": missing, "alt": f"{words}, no image: {missing}" if missing else words}


def _query_card(scores: Scores, i: int, title: str, most: int) -> View:
    who, camera, file = person(scores.query.pids[i]), str(scores.query.camids[i]), scores.query.file(i)
    card = {"title": title, "file": file.name, "person": who, "camera": camera}
    return card | picture(file, f"{title}, {who}, camera {camera}", SMALL, most)


def _list(scores: Scores, i: int, k: int, ignored: bool, most: int) -> View:
    """Query i's result and the cards of its list; if none of them is right, also the card of its first match."""
    ranking = scores.ranking(i, k, ignored)
    images = zip(ranking.index.tolist(), ranking.similarity, marks_and_ranks(ranking))
    cards = [_card(scores, j, similarity, *marked, most) for j, similarity, marked in images]
    beyond = None
    if scores.valid[i] and not ranking.match.any():
        beyond = _card(scores, *first_match(scores, i), MATCH, str(scores.first_match[i]), most)
        beyond["alt"] += ", the first match"
    return {"result": result_in_words(scores, i), "cards": cards, "beyond": beyond}


def _card(scores: Scores, j: int, similarity: float, mark: Mark, rank: str, most: int) -> View:
    who, camera = person(scores.gallery.pids[j]), str(scores.gallery.camids[j])
    words = f"{who}, camera {camera}, similarity {similarity:.2f}, {mark.word}"
    card = {"index": j, "symbol": mark.symbol, "rank": rank, "word": mark.word, "similarity": f"{similarity:.2f}"}
    image = picture(scores.gallery.file(j), f"rank {rank}, {words}" if rank else words, SMALL, most)
    return card | {"person": who, "camera": camera} | image


def pair_view(query: View, card: View, files: tuple[Path, Path]) -> View:
    """A query and an image of its list side by side, each within 512 x 1024 pixels and 15 kB."""
    cards = [each | picture(file, each["alt"], LARGE, LARGE_BYTES // 2) for each, file in zip((query, card), files)]
    says = f"Pair: {cards[0]['alt']}; {cards[1]['alt']}."
    return {"index": card["index"], "cards": cards, "maps": [], "parts": [], "words": "", "says": says}


def page_view(tour: Tour, names: Sequence[str], k: int, ignored: bool, marks: dict[int, str], note: str) -> View:
    """The whole page but the pair, below 100 kB."""
    most = SMALL_BYTES // ((k + 1) * len(tour.models) + 1)
    title = f"gallery image {tour.trail[-1]}" if tour.trail else f"query {tour.query}"
    query = _query_card(*tour.subjects[0], title, most)
    lists = [_list(*subject, k, ignored, most) for subject in tour.subjects]
    for each, name in zip(lists, names if len(lists) > 1 else ()):
        each["result"] = f"{name}: {each['result']}"
    results = "; ".join(each["result"] for each in lists)
    position, count, scores = tour.position + 1, len(tour.chosen), tour.models[0]
    shown = {"name": scores.query.name, "index": NO_QUERY if tour.trail else tour.query, "query": query, "lists": lists}
    words = {"status": f"{query['alt']}: {results}. {position} of {count}. {note}".strip(), "note": note}
    place = {"place": f"{position:,} of {count:,}", "back": bool(tour.trail)}
    lengths = sorted({5, 10, MOST_IMAGES // len(lists), k})
    settings = {"order": tour.order, "orders": tour.orders, "k": k, "lengths": lengths, "ignored": ignored}
    cameras = [np.unique(shots.camids).tolist() for shots in (scores.query, scores.gallery)]
    chosen = {"filter": asdict(tour.where), "cameras": cameras, "histogram": histogram(scores, tour.where, marks)}
    marked = {"mark": None if tour.trail else marks.get(tour.query), "marked": len(marks)}
    return shown | words | place | settings | chosen | marked
