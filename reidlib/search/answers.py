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
        return np.where(self.known, self.names[:, 0], NOBODY).tolist()

    def rows(self) -> list[dict[str, Any]]:
        """A row for each query and answer, for a table: query, rank, name and similarity.

        With a threshold also known: whether this similarity reaches it.
        """
        least = None if self.threshold is None else np.float32(self.threshold)
        return [
            {"query": self._label(i), "rank": rank, "name": name, "similarity": round(value, 6)}
            | ({} if least is None else {"known": bool(value >= least)})
            for i in range(len(self))
            for rank, (name, value) in enumerate(zip(self.names[i].tolist(), self.similarities[i].tolist()), 1)
        ]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        lines = [f"{len(self):,} queries" + f", the first {SHOWN} of them" * (len(self) > SHOWN)]
        lines.append(f"{'query':24}{'' if self.threshold is None else 'who':16}the most similar, best first")
        for i, who in enumerate(self._shown()):
            best = "  ".join(f"{name} {value:.3f}" for name, value in zip(self.names[i], self.similarities[i]))
            lines.append(f"{self._label(i)[-23:]:24}{who[:15]:16}{best}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        k = self.names.shape[1]
        rows = [f"<tr><th>query, who</th><th colspan={k}>the most similar, best first</th></tr>"]
        for i, who in enumerate(self._shown()):
            cells = [f"{thumbnail(self.queries[i], Path(self._label(i)).name)}<br><b>{html.escape(who)}</b>"]
            for name, value, picture in zip(self.names[i], self.similarities[i], self.pictures[i]):
                cells.append(f"{thumbnail(picture, name)}<br>{html.escape(name)}<br>{value:.3f}")
            rows.append(f"<tr>{CELL}" + f"</td>{CELL}".join(cells) + "</td></tr>")
        threshold = "" if self.threshold is None else f", known from a similarity of {self.threshold:.3f} on"
        return f"<table>{''.join(rows)}</table><p>{repr(self).partition(chr(10))[0]}{threshold}</p>"

    def _shown(self) -> list[str]:
        """Who is on the first queries; "" without a threshold."""
        return [""] * min(len(self), SHOWN) if self.known is None else self.who[:SHOWN]

    def _label(self, i: int) -> str:
        return str(self.queries[i]) if isinstance(self.queries[i], Path) else f"query {i}"


def thumbnail(picture: Any, alt: str) -> str:
    """An image as HTML, HEIGHT pixels high; nothing if there is no picture, or its file is gone."""
    if picture is None:
        return ""
    try:
        pixels = decode_all([picture], (HEIGHT, HEIGHT // 2), "bilinear")[0].numpy()
    except (OSError, ValueError):
        return ""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=80)
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}">'
