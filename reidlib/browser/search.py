"""SearchBrowser: pick or drop an image and see who it is, in the page of the ranked-image browser."""

import base64
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from reidlib.browser.cards import MOST_IMAGES, SMALL, SMALL_BYTES, View, picture
from reidlib.browser.page import Page
from reidlib.browser.tour import is_number
from reidlib.data.shots import Shots
from reidlib.figures.pairs import explanation
from reidlib.search.gallery import Gallery
from reidlib.train.embedding import pictures_of

KNOWN, BELOW = ("✓", "known"), ("–", "below")  # symbol and word of an answer, above and below the threshold


class SearchBrowser(Page):
    """Look who is on an image: its answers with their similarities, and the threshold as a line between them.

    Images are dropped on the page or chosen from the reader's disk; a click on an answer searches with that image. The
    threshold is the gallery's until the page's field changes it, which leaves the gallery as it is.

    Parameters
    ----------
    gallery : enrolled people
    images : files to begin with: Shots, or paths
    k : answers for each image, 20 at most

    Raises
    ------
    ValueError : an empty gallery, no images, pictures in memory (the page shows files), or k that does not fit
    """

    actions = (*Page.actions, "ask", "lists", "known_from")

    def __init__(self, gallery: Gallery, images: Shots | str | Path | Iterable[str | Path], k: int = 10) -> None:
        files = pictures_of(images)
        if wrong := [each for each in files if not isinstance(each, Path)]:
            raise ValueError(f"the page shows files, not a {type(wrong[0]).__name__}: save the picture first")
        self.gallery, self.threshold, self.k, self.position = gallery, gallery.threshold, k, 0
        self.asked = [Path(str(each)) for each in files]
        self.folder = tempfile.TemporaryDirectory()  # of dropped images
        self._check(k)
        super().__init__(view=self._view())
        self.on_msg(self._receive)

    def step(self, by: int = 1) -> None:
        """Go `by` images forward, or back if it is negative."""
        self._go(min(max(self.position + by, 0), len(self.asked) - 1))

    def jump(self, to: str | int) -> None:
        """Go to an image by its number, from 0, or to the next one with `to` in its path."""
        word, count = str(to).strip(), len(self.asked)
        order = [(self.position + 1 + i) % count for i in range(count)]
        found = [int(word)] if is_number(word, count) else [i for i in order if word in self.asked[i].as_posix()]
        if not found:
            raise ValueError(f"no image {word!r}: there are {count}, numbered from 0")
        self._go(found[0])

    def ask(self, name: str | Path, data: str | None = None, size: int = 0) -> None:
        """Search with one more image: a file, or the base64 text of one that was dropped. `size`: it was too large."""
        file = Path(name)
        if size:
            raise ValueError(f"{name} has {size / 1e6:.0f} MB and a page sends up to 6: cut out the person first")
        if data is not None:
            safe = re.sub(r"[^-.\w]", "_", file.name)[-100:]
            file = Path(self.folder.name, f"{len(self.asked)}-{safe}")
            file.write_bytes(base64.b64decode(data))
        self.gallery.search(file, 1)  # an error comes before anything is changed
        self.asked.insert(self.position + 1, file)
        self._go(self.position + 1)

    def make_query(self, j: int) -> None:
        """Search with the file of enrolled image j."""
        if not 0 <= j < len(self.gallery):
            raise ValueError(f"no enrolled image {j}: there are {len(self.gallery):,}, numbered from 0")
        if not self.gallery.sources[j]:
            raise ValueError(f"enrolled image {j} has no file: it was a picture in memory or an embedding")
        self.ask(self.gallery.sources[j])

    def lists(self, k: int) -> None:
        """Show k answers."""
        self._check(k)
        self.k = k
        self.refresh()

    def known_from(self, value: float | None) -> None:
        """Draw the line at another similarity, or none."""
        self.threshold = None if value is None else float(value)
        self.refresh()

    def explain(self) -> None:
        """Show on both images of the pair what made them similar."""
        if not self.pair:
            raise ValueError("choose a pair first")
        j = self.pair["index"]
        similarity = float(self.answers.similarities[0][self.answers.positions[0] == j][0])
        self.pair = self.pair | {"says": ""} | explanation(self.gallery.system, *self._files(j), similarity)

    def _go(self, position: int) -> None:
        before, self.position = self.position, position
        try:
            self._moved()
        except Exception:
            self.position = before
            raise

    def _check(self, k: int) -> None:
        if not (isinstance(k, int) and 1 <= k <= MOST_IMAGES):
            raise ValueError(f"k={k}; the page shows 1 to {MOST_IMAGES} answers")

    def _files(self, j: int) -> tuple[Path, Path]:
        return self.asked[self.position], Path(self.gallery.sources[j] or "no file")

    def _view(self, note: str = "") -> View:
        file, count = self.asked[self.position], len(self.asked)
        self.answers = self.gallery.search(file, self.k)
        self.answers.threshold = self.threshold
        most = SMALL_BYTES // (self.k + 2)
        cards = [self._card(rank, most) for rank in range(self.answers.names.shape[1])]
        who = "" if self.threshold is None else self.answers.who[0]
        result = f"{who} · " * bool(who) + f"most similar: {cards[0]['person']}, {cards[0]['similarity']}"
        title, place = f"image {self.position}", f"{self.position + 1:,} of {count:,}"
        query = {"title": title, "file": file.name, "person": who or file.name, "camera": ""}
        known = [card["word"] == "known" for card in cards]
        line = {} if self.threshold is None else {"at": sum(known), "line": f"{self.threshold:.2f}"}
        people = len(set(self.gallery.names))
        return {
            "name": f"{people:,} enrolled people", "index": self.position, "place": place, "back": False, "note": note,
            "query": query | picture(file, f"{title}, {file.name}", SMALL, most),
            "lists": [{"result": result, "cards": cards, "beyond": None} | line],
            "status": f"{title}: {result}. {place}. {note}".strip(), "threshold": self.threshold, "k": self.k,
            "lengths": sorted({5, 10, MOST_IMAGES, self.k}), "explains": "" if self.gallery.average else "Why alike?",
        }  # fmt: skip

    def _card(self, n: int, most: int) -> View:
        """The answer at position n, and whether its similarity reaches the threshold."""
        name, similarity = str(self.answers.names[0, n]), self.answers.similarities[0, n]
        j, rank, value = int(self.answers.positions[0, n]), str(n + 1), f"{similarity:.2f}"
        limit = self.threshold
        symbol, word = ("", "answer") if limit is None else KNOWN if similarity >= np.float32(limit) else BELOW
        card = {"index": j, "symbol": symbol, "rank": rank, "word": word, "similarity": value, "person": name}
        words = f"rank {rank}, {name}, similarity {value}" + f", {word}" * bool(symbol)
        return card | {"camera": self.gallery.cameras[j]} | picture(self._files(j)[1], words, SMALL, most)

    def __repr__(self) -> str:
        shown = f"{len(self.asked):,} images, {len(set(self.gallery.names)):,} enrolled people"
        return f"SearchBrowser: {shown}. It lives in a kernel: run this cell in JupyterLab to search."
