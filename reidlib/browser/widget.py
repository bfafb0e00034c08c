"""RankedBrowser: look through the queries of a model in a live page. `browser.js` draws it, `browser.css` styles it.

Everything is decided here: the page shows `view` and `pair` and sends back which action a reader chose.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reidlib.browser.cards import MOST_IMAGES, NO_QUERY, page_view
from reidlib.browser.marks import Marks
from reidlib.browser.page import Page
from reidlib.browser.tour import Filter, Tour, cosine
from reidlib.evaluation.scores import Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.pairs import explanation
from reidlib.figures.ranked import plot_ranked, visualize
from reidlib.figures.style import save_figure
from reidlib.settings import shortened
from reidlib.systems import System

SAME = 1e-4  # if two models' cosines of a pair differ by less, their embeddings are the same, re-ranked or not


class RankedBrowser(Page):
    """Look through ranked lists in JupyterLab or Voilà: find the failures, understand them, mark and export them.

    Each button of the page is a method here. If TQDM_DISABLE is set, only its text is left in the notebook.

    Parameters
    ----------
    scores : with embeddings, as of `score`. Of several trials the first is shown; else pass `scores.trial(t)`.
    other : scores of a second model for the same queries and gallery. Its lists are shown below those of the first.
    system : the system that computed the embeddings of `scores`, to explain pairs.
    run_dir : the run's folder, where marks, figures and lists are saved.
    k : images in a list: 20 at most, 10 with two models.
    names, seed : of the one or two models; of the random order of queries.

    Raises
    ------
    ValueError : if scores come from a file, two models have different queries or galleries, or k does not fit.
    """

    actions = (
        *Page.actions, "order_by", "filter", "lists", "back", "mark", "export_figure", "export_lists",
    )  # fmt: skip

    def __init__(
        self,
        scores: Scores | SysuScores,
        other: Scores | SysuScores | None = None,
        *,
        system: System | None = None,
        run_dir: Path | str | None = None,
        k: int = 10,
        names: Sequence[str] = ("first model", "second model"),
        seed: int = 0,
    ) -> None:
        self.tour, self.system, self.names = Tour(scores, other, seed), system, names
        self.run_dir = Path(run_dir).expanduser() if run_dir else None
        self.set = scores.query.name.split("/")[0]
        marks = shortened(f"marks-{self.set}".replace(":", "_"), 200)  # Windows has no colon in the name of a file
        self.marks = Marks(scores.query, self.run_dir and self.run_dir / f"{marks}.json")
        self._set_lists(k, False)
        super().__init__(view=self._view(), error=self.marks.problem)
        self.on_msg(self._receive)

    # what the page asks for

    def step(self, by: int = 1) -> None:
        """Go `by` queries forward, or back if it is negative."""
        self.tour.step(by)
        self._moved()

    def jump(self, to: str | int) -> None:
        """Go to a query by its number, or to the next one with `to` in its path; a filter that hides it is lifted."""
        hidden = self.tour.jump(str(to).strip())
        self._moved("The filter hid this query and is off." if hidden else "")

    def order_by(self, order: str) -> None:
        """Sort the queries by one of `tour.ORDERS`, and go to the first."""
        self.tour.select(order, self.tour.where, self.marks.words)
        self._moved()

    def filter(self, **changes: Any) -> None:
        """Show only queries that pass the `tour.Filter` with these fields changed; all queries if none is given."""
        where = replace(self.tour.where, **changes) if changes else Filter()
        self.tour.select(self.tour.order, where, self.marks.words)
        self._moved()

    def lists(self, k: int | None = None, ignored: bool | None = None) -> None:
        """Show k images in a list; show, where they would rank, the images that the metric ignores."""
        self._set_lists(self.k if k is None else k, self.ignored if ignored is None else ignored)
        self.refresh()

    def make_query(self, j: int) -> None:
        """Make gallery image j the query; `back` returns."""
        self.tour.descend(j)
        self._moved()

    def back(self) -> None:
        """Return from a gallery image to the query in whose list it was found."""
        self.tour.back()
        self._moved()

    def explain(self) -> None:
        """Show on both images of the pair what made them similar: part by part if `system` has parts, else as maps.

        ValueError without a system or a pair, and for a pair of the second model if that has other embeddings.
        """
        if self.system is None:
            raise ValueError("to explain a pair takes the model: give RankedBrowser(..., system=system)")
        if not self.pair:
            raise ValueError("choose a pair first")
        j = self.pair["index"]
        first, listed = (cosine(*self.tour.subjects[model], j) for model in (0, self.pair["model"]))
        if abs(first - listed) > SAME:
            pair = f"this pair is from the list of {self.names[1]}, and `system` made that of {self.names[0]}"
            raise ValueError(f"{pair}: open the pair there, or a browser with the other model first and its system")
        self.pair = self.pair | {"says": ""} | explanation(self.system, *self._files(j), first)

    def mark(self, word: str = "", on: bool = True, query: int | None = None) -> None:
        """Mark a query with a word, or remove its mark; `query` is the index, by default of the one that is shown."""
        i = self.view["index"] if query is None else query
        if i == NO_QUERY:
            raise ValueError("a gallery image is shown; go back to mark the query")
        if not 0 <= i < (count := len(self.tour.models[0].query)):
            raise IndexError(f"no query {i}: there are {count}, numbered from 0")
        self.marks.set(i, word) if on else self.marks.remove(i)
        saved = f"saved in {self.marks.file.name}" if self.marks.file else "not saved: no run_dir was given"
        self.refresh(f"Query {i} {'marked' if on else 'no longer marked'}, {saved}.")

    def export_figure(self) -> list[Path]:
        """Save what is shown as figures in the run's folder, one for each model; returns their files."""
        tour, files = self.tour, []
        shown = f"gallery{tour.trail[-1]:05d}" if tour.trail else f"query{tour.query:05d}"
        for name, (scores, i) in zip(self.names if len(tour.models) > 1 else [""], tour.subjects):
            title = " · ".join(filter(None, [self.set, name, shown if tour.trail else ""]))
            stem = re.sub(r"[^\w-]+", "_", f"ranked-{self.set}-{shown}" + f"-{name}" * bool(name))
            fig = plot_ranked(scores, [i], self.k, self.ignored, title)
            files.append(save_figure(fig, stem, self._run() / "figures"))
        self.refresh(f"Saved figures/{', '.join(file.name for file in files)} in the run's folder.")
        return files

    def export_lists(self) -> Path:
        """Copy the marked queries, or the shown one if none is marked, and their best 20 by `visualize`."""
        marked = sorted(self.marks.words)
        shown, i = (self.tour.models[0], 0) if marked else self.tour.subjects[0]
        folder = visualize(shown, self._run(), queries=marked or [i])
        what = f"{len(marked)} marked" if marked else "the shown"
        self.refresh(f"Copied the lists of {what} to visualization/{folder.name} in the run's folder.")
        return folder

    # how it works

    @property
    def query(self) -> int:
        """The index of the query that is shown, or was before a gallery image."""
        return self.tour.query

    def _set_lists(self, k: int, ignored: bool) -> None:
        longest = MOST_IMAGES // len(self.tour.models)
        if not (isinstance(k, int) and 1 <= k <= longest):
            raise ValueError(f"k={k}; the browser shows 1 to {longest} images in a list, plot_ranked draws longer ones")
        self.k, self.ignored = k, ignored

    def _files(self, j: int) -> tuple[Path, Path]:
        scores, i = self.tour.subjects[0]
        return scores.query.file(i), scores.gallery.file(j)

    def _run(self) -> Path:
        if not self.run_dir:
            raise ValueError("nowhere to save: give RankedBrowser(..., run_dir=run)")
        return self.run_dir

    def _view(self, note: str = "") -> dict[str, Any]:
        explains = "" if self.system is None else "Parts" if hasattr(self.system, "parts") else "Similarity map"
        return page_view(self.tour, self.names, self.k, self.ignored, self.marks.words, note) | {"explains": explains}

    def __repr__(self) -> str:
        query, gallery = self.tour.models[0].query, self.tour.models[0].gallery
        shown = f"{query.name}: {len(query):,} queries, {len(gallery):,} gallery images"
        return f"RankedBrowser of {shown}. It lives in a kernel: run this cell in JupyterLab to look through them."
