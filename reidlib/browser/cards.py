"""What the ranked-image browser shows, as plain values that a page draws: an image with its words, a query, a list."""

from pathlib import Path

from reidlib.browser.tour import first_match
from reidlib.figures.ranked import MATCH, found, marks
from reidlib.figures.style import person
from reidlib.figures.thumbnails import thumbnail

SMALL, LARGE = (128, 256), (512, 1024)  # pixels: the boxes of an image in a list and of one in a pair
SMALL_BYTES, LARGE_BYTES = 40_000, 30_000  # of all images of lists, of both of a pair: keep the state below 100 kB


def picture(file: Path, words: str, box: tuple[int, int], most: int) -> dict:
    """An image within `box` and its words; where it cannot be read, its name in its place."""
    image = thumbnail(file, box, most)
    missing = "" if image else file.name
    return {"image": image, "missing": missing, "alt": f"{words}, no image: {missing}" if missing else words}


def query_view(scores, i: int, title: str, most: int) -> dict:
    """Query i: its picture, and who and where."""
    who = {"person": person(scores.query.pids[i]), "camera": str(scores.query.camids[i])}
    file = scores.query.file(i)
    return (
        who
        | picture(file, f"{title}, {who['person']}, camera {who['camera']}", SMALL, most)
        | {"title": title, "file": file.name}
    )


def list_view(scores, i: int, k: int, ignored: bool, most: int) -> dict:
    """Query i's list: how it did, its cards, and where none of them is right, the card of the first match."""
    ranking = scores.ranking(i, k, ignored)
    places = zip(ranking.index.tolist(), ranking.similarity, marks(ranking))
    cards = [_card(scores, j, similarity, mark[:3], most) for j, similarity, mark in places]
    beyond = None
    if scores.valid[i] and not ranking.match.any():
        symbol, word, _ = MATCH
        beyond = _card(scores, *first_match(scores, i), (symbol, str(scores.first_match[i]), word), most)
        beyond["alt"] += ", the first match"
    return {"found": found(scores, i), "cards": cards, "beyond": beyond}


def _card(scores, j: int, similarity: float, mark: tuple[str, str, str], most: int) -> dict:
    symbol, rank, word = mark
    who = {"person": person(scores.gallery.pids[j]), "camera": str(scores.gallery.camids[j])}
    words = (
        f"rank {rank}, " * bool(rank) + f"{who['person']}, camera {who['camera']}, similarity {similarity:.2f}, {word}"
    )
    seen = {"index": j, "symbol": symbol, "rank": rank, "word": word, "similarity": f"{similarity:.2f}"}
    return seen | who | picture(scores.gallery.file(j), words, SMALL, most)
