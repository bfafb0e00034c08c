"""Queries that a reader marked, kept in the run's folder."""

import json
import os
from pathlib import Path

from reidlib.train import write_whole

LONGEST = 100  # characters of a word


class Marks:
    """Queries that a reader marked, each with a word: index -> word, kept in a JSON file if one is given.

    In the file a query goes by its path below the data root. What there is no query of that path for is left out, so
    that a file from elsewhere can name no other file; `problem` says what could not be used, and the first saving
    keeps such a file beside the new one. ValueError for a word of more than 100 characters.
    """

    def __init__(self, query, file: Path | None = None) -> None:
        self.query, self.file, self.words, self.problem = query, file, {}, ""
        if file and file.exists():
            self._load()

    def _load(self) -> None:
        try:
            saved = json.loads(self.file.read_text())["marks"]
            known = {path: i for i, path in enumerate(self.query.paths.tolist())}
            fits = {path: isinstance(word, str) and len(word) <= LONGEST for path, word in saved.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.problem = f"{self.file.name} holds no marks that can be read ({type(error).__name__}: {error})"
            return
        self.words = {known[path]: saved[path] for path, fit in fits.items() if fit and path in known}
        if odd := [path for path in saved if not fits[path] or path not in known]:
            self.problem = f"{self.file.name}: {len(odd)} of {len(saved)} marks left out; no query {odd[0][:LONGEST]!r}"

    def set(self, i: int, word: str = "") -> None:
        """Mark query i with a word, and save."""
        if len(word) > LONGEST:
            raise ValueError(f"a mark of {len(word)} characters; {LONGEST} at most")
        self.words[i] = word
        self._save()

    def remove(self, i: int) -> None:
        self.words.pop(i, None)
        self._save()

    def _save(self) -> None:
        if not self.file:
            return
        if self.problem:
            os.replace(self.file, self.file.with_suffix(".unused.json"))
            self.problem = ""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        paths = {str(self.query.paths[i]): word for i, word in sorted(self.words.items())}
        text = json.dumps({"set": self.query.name, "marks": paths}, indent=1, ensure_ascii=False)
        write_whole(self.file, text.encode())
