"""What a search answers: a small table, shown with pictures in a notebook."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reidlib.train.embedding import decode_all

NOBODY = "nobody"
HEIGHT = 96  # pixels of a thumbnail
SHOWN = 20  # queries that are shown, at most
CELL = '<td style="text-align:center;vertical-align:top;padding:4px 8px">'


@dataclass(repr=False, eq=False)
class Answers:
    """The k most similar gallery entries of each of Q queries, best first."""

    names: np.ndarray  # (Q, k) str
    similarities: np.ndarray  # (Q, k) float32, cosines
    positions: np.ndarray  # (Q, k) int64: enrolled images; of averages each person's first
    threshold: float | None
    queries: list[Any]  # (Q,) files, pictures in memory, or None where embeddings were given
    pictures: list[list[Path | None]]  # (Q, k) files of the gallery, None of those that were none

    @property
    def known(self) -> np.ndarray | None:
        """Whether each query's best similarity reaches the threshold, (Q,) bool; None without a threshold."""
        return None if self.threshold is None else self.similarities[:, 0] >= np.float32(self.threshold)

    @property
    def who(self) -> list[str]:
        """The name for each query, or "nobody". ValueError without a threshold."""
        if self.known is None:
            raise ValueError(
                "the gallery has no threshold: gallery.set_threshold(scores) finds one on people whom the model has "
                "not seen; .names[:, 0] are the most similar"
            )
        return [str(name) if known else NOBODY for name, known in zip(self.names[:, 0], self.known)]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each query and answer, for a table: query, rank, name, similarity and, with a threshold, known."""
        rows: list[dict[str, Any]] = []
        for i, (names, values) in enumerate(
            zip(self.names.tolist(), self.similarities.astype(float).round(6).tolist())
        ):
            known = {} if self.known is None else {"known": bool(self.known[i])}
            for rank, (name, value) in enumerate(zip(names, values), 1):
                rows.append({"query": self._label(i), "rank": rank, "name": name, "similarity": value} | known)
        return rows

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        who = [""] * len(self) if self.known is None else self.who
        lines = [f"{len(self):,} queries" + f", the first {SHOWN} of them" * (len(self) > SHOWN)]
        for i, (names, values) in enumerate(zip(self.names[:SHOWN], self.similarities)):
            best = "  ".join(f"{name} {value:.3f}" for name, value in zip(names, values))
            lines.append(f"{self._label(i)[-23:]:24}{who[i][:15]:16}{best}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        who = [""] * len(self) if self.known is None else self.who
        rows = []
        for i, (names, values) in enumerate(zip(self.names[:SHOWN], self.similarities)):
            cells = [thumbnail(self.queries[i], Path(self._label(i)).name) + f"<br><b>{html.escape(who[i])}</b>"]
            for name, value, picture in zip(names, values, self.pictures[i]):
                cells.append(f"{thumbnail(picture, name)}<br>{html.escape(name)}<br>{value:.3f}")
            rows.append(f"<tr>{CELL}" + f"</td>{CELL}".join(cells) + "</td></tr>")
        threshold = "" if self.threshold is None else f", known from a similarity of {self.threshold:.3f} on"
        return f"<table>{''.join(rows)}</table><p>{html.escape(repr(self).partition(chr(10))[0])}{threshold}</p>"

    def _label(self, i: int) -> str:
        return str(self.queries[i]) if isinstance(self.queries[i], Path) else f"query {i}"


def thumbnail(picture: Any, alt: str) -> str:
    """An image as HTML, HEIGHT pixels high; nothing if there is no picture, or its file is gone."""
    try:
        pixels = None if picture is None else decode_all([picture], (HEIGHT, HEIGHT // 2), "bilinear")[0].numpy()
    except (OSError, ValueError):
        pixels = None
    if pixels is None:
        return ""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=80)
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}">'
