"""RankedBrowser: look through the queries of a model in a live page. `browser.js` draws it, `browser.css` dresses it.

All that is decided is decided here; the page shows `view` and `pair` and sends back which action a reader chose.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from reidlib.browser.cards import LARGE, LARGE_BYTES, SMALL_BYTES, list_view, picture, query_view
from reidlib.browser.marks import Marks
from reidlib.browser.tour import Filter, Tour, check_browsable, cosine, gallery_query, histogram
from reidlib.figures.pairs import explanation
from reidlib.figures.ranked import plot_ranked, visualize
from reidlib.figures.style import save
from reidlib.progress import headless

LONGEST = 20  # images in a list, or in two lists together
NO_QUERY = -1  # the index of what is shown, where that is a gallery image
SAME = 1e-4  # two models whose cosines of a pair differ by less are one, re-ranked or not
ACTIONS = (
    "step", "jump", "order_by", "filter", "lists", "make_query", "back", "look", "explain", "look_away", "mark",
    "export_figure", "export_lists", "refresh",
)  # fmt: skip


class RankedBrowser(anywidget.AnyWidget):
    """Look through ranked lists in JupyterLab or Voilà: find the failures, understand them, mark and export them.

    other: Scores of a second model for the same queries and gallery, its lists shown below. system: what made `scores`,
    to explain pairs. run_dir: the run's folder, which marks, figures and lists are saved in. k: images in a list, 20
    at most, or 10 with two models. names: of the one or two models. seed: of the random order. Every button of the page
    is a method here. A run without readers (TQDM_DISABLE) leaves only the text in the notebook. ValueError for scores
    from a file, for two models of different queries or galleries, and for a k that is not shown.
    """

    _esm = Path(__file__).with_name("browser.js")
    _css = Path(__file__).with_name("browser.css")
    view = traitlets.Dict().tag(sync=True)
    pair = traitlets.Dict().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    answered = traitlets.Unicode().tag(sync=True)  # the id of the last message from a page

    def __init__(
        self,
        scores,
        other=None,
        *,
        system=None,
        run_dir: Path | str | None = None,
        k: int = 10,
        names: Sequence[str] = ("first model", "second model"),
        seed: int = 0,
    ):
        check_browsable(scores, other)
        self.models = [scores] if other is None else [scores, other]
        self.tour, self.system, self.names = Tour(scores, other, seed), system, names
        self.run_dir = Path(run_dir) if run_dir else None
        self.set = scores.query.name.split("/")[0]
        self.marks = Marks(scores.query, self.run_dir and self.run_dir / f"marks-{self.set}.json")
        self._show(k, False)
        self._at()
        super().__init__(view=self._view(), error=self.marks.problem)
        self.on_msg(self._receive)

    # what the page asks for

    def step(self, by: int = 1) -> None:
        """Go `by` queries on, or back where it is negative."""
        self.tour.step(by)
        self._at()
        self.refresh()

    def jump(self, to: str | int) -> None:
        """Go to a query by its number, or to the next one with `to` in its file name; filters that hide it go."""
        lifted = self.tour.jump(str(to).strip())
        self._at()
        self.refresh("The filter hid this query and is off." if lifted else "")

    def order_by(self, order: str) -> None:
        """Sort the queries by one of `browsing.ORDERS`, and go to the first."""
        self._select(order, self.tour.where)

    def filter(self, **changes) -> None:
        """Show only what passes the `browsing.Filter` with these fields changed, or everything where none is given."""
        self._select(self.tour.order, replace(self.tour.where, **changes) if changes else Filter())

    def lists(self, k: int | None = None, ignored: bool | None = None) -> None:
        """Show k images in a list; show, in their places, the images that the metric ignores."""
        self._show(self.k if k is None else k, self.ignored if ignored is None else ignored)
        self.refresh()

    def make_query(self, j: int) -> None:
        """Take gallery image j as the query; `back` leads back."""
        self._descend(j)
        self.refresh()

    def back(self) -> None:
        """Back from a gallery image to what it was found with."""
        before = self.trail[:-1]
        self._at()
        for j in before:
            self._descend(j)
        self.refresh()

    def look(self, j: int, model: int = 0) -> None:
        """Show the query and gallery image j of a shown list side by side.

        Each is as large as its file, within 512 x 1024 pixels and 15 kB.
        """
        shown = self.view["lists"][model]
        cards = [card for card in [*shown["cards"], shown["beyond"]] if card and card["index"] == j]
        if not cards:
            raise ValueError(f"gallery image {j} is not in the list that is shown")
        files = self._files(j)
        cards = [self.view["query"], cards[0]]
        large = [card | picture(file, card["alt"], LARGE, LARGE_BYTES // 2) for card, file in zip(cards, files)]
        says = f"Pair: {cards[0]['alt']}; {cards[1]['alt']}."
        self.pair = {"index": j, "model": model, "cards": large, "maps": [], "parts": [], "words": "", "says": says}

    def explain(self) -> None:
        """Show on both images of the pair what made them alike: how alike parts are, or what each place adds.

        By `pairs.part_similarities` where `system` has parts, else by `pairs.similarity_maps`. ValueError for a pair
        from a second model's list where that has other embeddings: `system` is not of it.
        """
        if self.system is None:
            raise ValueError("to explain a pair takes the model: give RankedBrowser(..., system=system)")
        if not self.pair:
            raise ValueError("choose a pair first")
        j = self.pair["index"]
        first, listed = (cosine(*self._subjects[model], j) for model in (0, self.pair["model"]))
        if abs(first - listed) > SAME:
            raise ValueError(
                f"this pair is from the list of {self.names[1]}, and `system` made that of {self.names[0]}: "
                "open the pair there, or a browser with the other model first and its system"
            )
        self.pair = self.pair | {"says": ""} | explanation(self.system, *self._files(j), first)

    def look_away(self) -> None:
        """Close the pair."""
        self.pair = {}

    def mark(self, word: str = "", on: bool = True, query: int | None = None) -> None:
        """Mark a query with a word, or take its mark away: the one that is shown, or `query`, which a page shows."""
        i = self._index() if query is None else query
        if i == NO_QUERY:
            raise ValueError("a gallery image is shown; go back to mark the query")
        if not 0 <= i < len(self.models[0].query):
            raise IndexError(f"no query {i}: there are {len(self.models[0].query)}, numbered from 0")
        if on:
            self.marks.set(i, word)
        else:
            self.marks.remove(i)
        kept = f"saved in {self.marks.file.name}" if self.marks.file else "not saved: no run_dir was given"
        self.refresh(f"Query {i} {'marked' if on else 'no longer marked'}, {kept}.")

    def export_figure(self) -> list[Path]:
        """Save what is shown as figures in the run's folder, one for each model; returns their files."""
        shown = f"gallery{self.trail[-1]:05d}" if self.trail else f"query{self.query:05d}"
        files = []
        for name, (scores, i) in zip(self.names if len(self.models) > 1 else [""], self._subjects):
            title = " · ".join(filter(None, [self.set, name, shown if self.trail else ""]))
            stem = re.sub(r"[^\w-]+", "_", "-".join(filter(None, ["ranked", self.set, shown, name])))
            files.append(save(plot_ranked(scores, [i], self.k, self.ignored, title), stem, self._run() / "figures"))
        self.refresh(f"Saved figures/{', '.join(file.name for file in files)} in the run's folder.")
        return files

    def export_lists(self) -> Path:
        """Copy the marked queries, or the shown one where none is marked, and their best 20 by `visualize`."""
        queries = sorted(self.marks.words)
        scores, i = (self.models[0], queries) if queries else (self._subjects[0][0], [self._subjects[0][1]])
        folder = visualize(scores, self._run(), queries=i)
        what = f"{len(queries)} marked" if queries else "the shown"
        self.refresh(f"Copied the lists of {what} to visualization/{folder.name} in the run's folder.")
        return folder

    def refresh(self, note: str = "") -> None:
        """Draw again."""
        with self.hold_sync():
            self.view, self.error = self._view(note), ""

    # how it is kept

    @property
    def query(self) -> int:
        """The index of the query that is shown, or was before a gallery image."""
        return self.tour.query

    def _receive(self, _, message: dict, buffers: list) -> None:
        """Do what the page asks. A front end shows no exception of a handler, so the page is told what went wrong."""
        with self.hold_sync():
            try:
                self._do(**message)
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}"
            self.answered = str(message.get("id"))

    def _do(self, action: str, id: str, **arguments) -> None:
        if action not in ACTIONS:
            raise ValueError(f"no action {action!r}; there are {', '.join(ACTIONS)}")
        self.error = ""
        getattr(self, action)(**arguments)

    def _at(self) -> None:
        """Show the query that the tour is at."""
        self.trail, self.pair = [], {}
        self._subjects = [(scores, self.tour.query) for scores in self.models]

    def _descend(self, j: int) -> None:
        self._subjects = [(gallery_query(scores, j), 0) for scores in self.models]
        self.trail, self.pair = [*self.trail, j], {}

    def _select(self, order: str, where: Filter) -> None:
        self.tour.select(order, where, self.marks.words)
        self._at()
        self.refresh()

    def _show(self, k: int, ignored: bool) -> None:
        longest = LONGEST // len(self.models)
        if not 1 <= k <= longest:
            raise ValueError(f"k={k}; the browser shows 1 to {longest} images in a list, plot_ranked draws longer ones")
        self.k, self.ignored = k, ignored

    def _index(self) -> int:
        return NO_QUERY if self.trail else self.query

    def _files(self, j: int) -> tuple[Path, Path]:
        scores, i = self._subjects[0]
        return scores.query.file(i), scores.gallery.file(j)

    def _run(self) -> Path:
        if not self.run_dir:
            raise ValueError("nowhere to save: give RankedBrowser(..., run_dir=run)")
        return self.run_dir

    def _view(self, note: str = "") -> dict:
        """What the page shows, below 100 kB."""
        tour, scores, marked = self.tour, self.models[0], self.marks.words
        most = SMALL_BYTES // ((self.k + 1) * len(self.models) + 1)
        title = f"gallery image {self.trail[-1]}" if self.trail else f"query {self.query}"
        query = query_view(*self._subjects[0], title, most)
        lists = [list_view(*subject, self.k, self.ignored, most) for subject in self._subjects]
        for shown, name in zip(lists, self.names if len(lists) > 1 else [""]):
            shown["found"] = f"{name}: {shown['found']}" if name else shown["found"]
        did = "; ".join(shown["found"] for shown in lists)
        return {
            "name": scores.query.name,
            "index": self._index(),
            "place": f"{tour.place + 1:,} of {len(tour.chosen):,}",
            "query": query,
            "back": bool(self.trail),
            "lists": lists,
            "status": f"{query['alt']}: {did}. {tour.place + 1} of {len(tour.chosen)}. {note}".strip(),
            "note": note,
            "order": tour.order,
            "orders": tour.orders,
            "k": self.k,
            "lengths": sorted({5, 10, LONGEST // len(lists), self.k}),
            "ignored": self.ignored,
            "filter": asdict(tour.where),
            "cameras": [np.unique(shots.camids).tolist() for shots in (scores.query, scores.gallery)],
            "histogram": histogram(scores, tour.where, marked),
            "mark": None if self.trail else marked.get(self.query),
            "marked": len(marked),
            "explains": "" if self.system is None else "Parts" if hasattr(self.system, "parts") else "Similarity map",
        }

    # how it stands in a notebook

    def open(self) -> None:
        """Begin to talk to a page, unless nobody watches."""
        if not headless():
            super().open()

    def __repr__(self) -> str:
        query, gallery = self.models[0].query, self.models[0].gallery
        return (
            f"RankedBrowser of {query.name}: {len(query):,} queries, {len(gallery):,} gallery images. It lives in a "
            "kernel: run this cell in JupyterLab to look through them."
        )

    def _repr_mimebundle_(self, **kwargs):
        return {"text/plain": repr(self)} if headless() else super()._repr_mimebundle_(**kwargs)
