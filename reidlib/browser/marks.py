"""Queries that a reader marked, kept in the run's folder."""

import itertools
import json
import os
from pathlib import Path

from reidlib.files import write_whole

LONGEST = 100  # characters of a word


class Marks:
    """Queries that a reader marked, each with a word: index -> word, kept in a JSON file if one is given.

    In the file a query goes by its path below the data root. Several readers may share it: what another has written is
    taken in before each change. What there is no query of that path for is not shown and stays in the file, so that a
    file from elsewhere can name no other file and loses nothing; one that cannot be read is set aside when the first
    mark is saved. `problem` says what could not be used. ValueError for a word of more than 100 characters.
    """

    def __init__(self, query, file: Path | None = None) -> None:
        self.query, self.file, self.words, self.others = query, file, {}, {}
        self._read()

    def _read(self) -> None:
        """Take what the file holds now; where it is gone, or cannot be read, what is known stays."""
        self.problem, self._broken = "", False
        if not self.file:
            return
        try:
            saved = json.loads(self.file.read_text(encoding="utf-8"))["marks"]
            fits = {path: isinstance(word, str) and len(word) <= LONGEST for path, word in saved.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.problem, self._broken = (
                f"{self.file.name} holds no marks that can be read ({type(error).__name__}: {error})",
                True,
            )
            return
        known = {path: i for i, path in enumerate(self.query.paths.tolist())}
        self.words = {known[path]: saved[path] for path, fit in fits.items() if fit and path in known}
        self.others = {path: saved[path] for path, fit in fits.items() if not fit or path not in known}
        if self.others:
            first = next(iter(self.others))[:LONGEST]
            left = f"{len(self.others)} of {len(saved)} marks left out, but kept in it"
            self.problem = f"{self.file.name}: {left}; no query {first!r}"

    def set(self, i: int, word: str = "") -> None:
        """Mark query i with a word, and save."""
        if len(word) > LONGEST:
            raise ValueError(f"a mark of {len(word)} characters; {LONGEST} at most")
        self._read()
        self.words[i] = word
        self._save()

    def remove(self, i: int) -> None:
        """Take the mark of query i away, and save."""
        self._read()
        self.words.pop(i, None)
        self._save()

    def _save(self) -> None:
        if not self.file:
            return
        if self._broken:
            os.replace(self.file, self._aside())
        self.file.parent.mkdir(parents=True, exist_ok=True)
        paths = {str(self.query.paths[i]): word for i, word in sorted(self.words.items())}
        text = json.dumps({"set": self.query.name, "marks": self.others | paths}, indent=1, ensure_ascii=False)
        write_whole(self.file, text.encode())

    def _aside(self) -> Path:
        """Where a file that cannot be read goes: beside the new one, and over no other."""
        places = (self.file.with_suffix(f".unused{n}.json") for n in itertools.chain([""], itertools.count(2)))
        return next(place for place in places if not place.exists())
