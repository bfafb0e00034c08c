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
SHOWN = 20  # queries that a notebook shows, at most
CELL = 'style="text-align:center;vertical-align:top;padding:4px 8px"'


@dataclass(repr=False, eq=False)
class Answers:
    """The k most similar gallery entries of each of Q queries, best first; `rows()` are plain values for a table.

    `known` says for each query whether its best similarity reaches the gallery's threshold; it is None where the
    gallery has none.
    """

    names: np.ndarray  # (Q, k) str
    similarities: np.ndarray  # (Q, k) float32, cosines
    positions: np.ndarray  # (Q, k) int64, entries of the gallery
    threshold: float | None
    queries: list[Any]  # (Q,) files, pictures in memory, or None where embeddings were given
    pictures: list[list[Any]]  # (Q, k) likewise, of the gallery

    @property
    def known(self) -> np.ndarray | None:
        """(Q,) bool, or None without a threshold."""
        return None if self.threshold is None else self.similarities[:, 0] >= np.float32(self.threshold)

    @property
    def who(self) -> list[str]:
        """The name for each query, or "nobody". ValueError without a threshold."""
        if self.known is None:
            raise ValueError(
                "the gallery has no threshold, so nobody is known or unknown: gallery.set_threshold(scores) finds one "
                "on people whom the model has not seen; .names[:, 0] are the most similar"
            )
        return [str(name) if known else NOBODY for name, known in zip(self.names[:, 0], self.known)]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each query and each of its answers: query, rank, name, similarity and, with a threshold, known."""
        rows = []
        for i, names in enumerate(self.names):
            for rank, (name, similarity) in enumerate(zip(names, self.similarities[i]), 1):
                row = {"query": label(self.queries[i], i), "rank": rank, "name": str(name)}
                row["similarity"] = round(float(similarity), 6)
                rows.append(row if self.known is None else row | {"known": bool(self.known[i])})
        return rows

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        lines = [f"{'query':24}{'' if self.known is None else 'who':16}most similar"]
        for i, (names, similarities) in enumerate(zip(self.names[:SHOWN], self.similarities)):
            first = "" if self.known is None else self.who[i]
            best = "  ".join(f"{name} {value:.3f}" for name, value in zip(names, similarities))
            lines.append(f"{label(self.queries[i], i)[-23:]:24}{first[:15]:16}{best}")
        return "\n".join(lines) + self._more()

    def _repr_html_(self) -> str:
        rows = []
        for i in range(min(len(self), SHOWN)):
            who = "" if self.known is None else f"<b>{html.escape(self.who[i])}</b>"
            cells = [f"{thumbnail(self.queries[i], f'query {label(self.queries[i], i)}')}<br>{who}"]
            for name, value, picture in zip(self.names[i], self.similarities[i], self.pictures[i]):
                text = f"{html.escape(str(name))}<br>{value:.3f}"
                cells.append(f"{thumbnail(picture, f'{name}, similarity {value:.3f}')}<br>{text}")
            rows.append("<tr>" + "".join(f"<td {CELL}>{cell}</td>" for cell in cells) + "</tr>")
        threshold = "" if self.threshold is None else f"<p>known from a similarity of {self.threshold:.3f} on</p>"
        return f"<table>{''.join(rows)}</table>{threshold}<p>{html.escape(self._more().strip())}</p>"

    def _more(self) -> str:
        return f"\n... {len(self):,} queries in all" if len(self) > SHOWN else ""


def label(picture: Any, i: int) -> str:
    """What a query is called: its file, or its number."""
    return str(picture) if isinstance(picture, Path) else f"query {i}"


def thumbnail(picture: Any, alt: str) -> str:
    """An image as HTML, HEIGHT pixels high; its words alone if there is no picture, or its file is gone."""
    alt = html.escape(alt, quote=True)
    try:
        pixels = None if picture is None else decode_all([picture], (HEIGHT, HEIGHT // 2), "bilinear")[0].numpy()
    except (OSError, ValueError):
        pixels = None
    if pixels is None:
        return f"<small>{alt}</small>"
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{data}">'
