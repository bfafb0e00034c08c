"""What the live pages have in common: their files, the traits that they show, and how a page's messages are served."""

from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from reidlib.browser.cards import pair_view
from reidlib.progress import headless


class Page(anywidget.AnyWidget):
    """A query and lists of answers. `browser.js` draws `view` and `pair`, and sends back what a reader does.

    Each word of `actions` is a method. If TQDM_DISABLE is set, only the text of a page is left in the notebook.
    """

    _esm = Path(__file__).with_name("browser.js")
    _css = Path(__file__).with_name("browser.css")
    view = traitlets.Dict().tag(sync=True)
    pair = traitlets.Dict().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    answered = traitlets.Unicode().tag(sync=True)  # the id of the last message from a page
    actions: ClassVar[tuple[str, ...]] = ("step", "jump", "make_query", "look", "explain", "look_away", "refresh")

    def look(self, j: int, model: int = 0) -> None:
        """Show the query and gallery image j of a shown list side by side."""
        shown = self.view["lists"][model]
        cards = [card for card in [*shown["cards"], shown["beyond"]] if card and card["index"] == j]
        if not cards:
            raise ValueError(f"gallery image {j} is not in the list that is shown")
        self.pair = pair_view(self.view["query"], cards[0], self._files(j)) | {"model": model}

    def look_away(self) -> None:
        """Close the pair."""
        self.pair = {}

    def refresh(self, note: str = "") -> None:
        """Draw again."""
        with self.hold_sync():
            self.view, self.error = self._view(note), ""

    def open(self) -> None:
        """Connect to a page, unless nobody watches."""
        if not headless():
            super().open()

    def _view(self, note: str = "") -> dict[str, Any]:
        raise NotImplementedError

    def _files(self, j: int) -> tuple[Path, Path]:
        """The files of the query and of gallery image j."""
        raise NotImplementedError

    def _moved(self, note: str = "") -> None:
        """Show another query, without a pair."""
        with self.hold_sync():
            self.pair = {}
            self.refresh(note)

    def _receive(self, _: object, message: dict, buffers: list) -> None:
        """Do what the page asks. A front end shows no exception of a handler, so the page is told what went wrong."""
        if str(message.get("id")) == self.answered:
            return  # it was sent again while the kernel was busy, and is done
        with self.hold_sync():
            try:
                self._do(**message)
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}"
            self.answered = str(message.get("id"))

    def _do(self, action: str, id: str, **arguments: Any) -> None:
        if action not in self.actions:
            raise ValueError(f"no action {action!r}; there are {', '.join(self.actions)}")
        self.error = ""
        getattr(self, action)(**arguments)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return {"text/plain": repr(self)} if headless() else super()._repr_mimebundle_(**kwargs)
