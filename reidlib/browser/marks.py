"""Queries that a reader marked, kept in the run's folder."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

from reidlib.data.shots import Shots
from reidlib.files import locked, write_whole

LONGEST_WORD = 100  # characters


class Marks:
    """Queries that a reader marked, each with a word; kept in a JSON file if one is given.

    The file names a query by its path below the data root. Several readers may share it: each change locks the file
    and starts from what it holds. Marks of unknown queries are not shown but stay in the file. A file that cannot be
    read is renamed when the first mark is saved. `words` (query index to word) changes only after a mark has been
    saved; `problem` says what could not be read.
    """

    def __init__(self, query: Shots, file: Path | None = None) -> None:
        self.query, self.file, self.problem = query, file, ""
        self._marks: dict[str, Any] = {}  # by path, as in the file
        self.words: dict[int, str] = {}
        try:
            self._show(self._read())
        except ValueError as error:
            self.problem = str(error)
        if file and (left_out := len(self._marks) - len(self.words)):
            hidden = f"{left_out} of {len(self._marks)} marks are not shown"
            self.problem = f"{file.name}: {hidden}: no such query, or no word"

    def set(self, i: int, word: str = "") -> None:
        """Mark query i with a word and save; ValueError if it has more than 100 characters."""
        if len(word) > LONGEST_WORD:
            raise ValueError(f"a mark of {len(word)} characters; {LONGEST_WORD} at most")
        self._change(i, {str(self.query.paths[i]): _printable(word)})

    def remove(self, i: int) -> None:
        """Remove the mark of query i and save."""
        self._change(i, {})

    def _change(self, i: int, mark: dict[str, str]) -> None:
        """Replace the mark of query i by `mark`, which maps its path to a word or is empty; in the file first."""
        if self.file is None:
            return self._show(self._without(i, self._marks) | mark)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.file):
            try:
                marks = self._read()
            except ValueError:
                marks = self._marks
                names = (self.file.with_suffix(f".unused{n}.json") for n in itertools.chain([""], itertools.count(2)))
                os.replace(self.file, next(name for name in names if not name.exists()))  # over no other
            marks = self._without(i, marks) | mark
            text = json.dumps({"set": self.query.name, "marks": marks}, indent=1, ensure_ascii=False)
            write_whole(self.file, text.encode("utf-8", "backslashreplace"))  # a lone surrogate becomes JSON's escape
        self._show(marks)

    def _without(self, i: int, marks: dict[str, Any]) -> dict[str, Any]:
        return {path: word for path, word in marks.items() if path != self.query.paths[i]}

    def _read(self) -> dict[str, Any]:
        """The marks in the file, or those known if it does not exist; ValueError if it cannot be read."""
        if self.file is None or not self.file.exists():
            return self._marks
        try:
            return dict(json.loads(self.file.read_text("utf-8"))["marks"])
        except Exception as error:  # also RecursionError, for lists within lists
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.file.name} holds no marks that can be read ({reason})") from error

    def _show(self, marks: dict[str, Any]) -> None:
        index = {path: i for i, path in enumerate(self.query.paths.tolist())}
        fit = {path: isinstance(word, str) and len(word) <= LONGEST_WORD for path, word in marks.items()}
        self.words = {index[path]: _printable(marks[path]) for path in marks if path in index and fit[path]}
        self._marks = marks


def _printable(word: str) -> str:
    """The word with "?" for each lone surrogate, which cannot be sent to a page."""
    return word.encode("utf-8", "replace").decode()
