"""Ranks among distinct people in place of images: a person stands where the nearest of the person's images stands."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from reidlib.evaluation.counting import Rule, ragged


class Nearest:
    """Similarities of queries and people: of the nearest of a person's images that the query's rule does not ignore.

    A source for `counting.count` whose gallery is the people, in the order of their pids. `rule` is that of the images.
    """

    def __init__(self, source, rule: Rule) -> None:
        self.source, self.rule, self.error = source, rule, source.error
        first = np.unique(rule.sorted, return_index=True)[1]  # of each person's images in rule.order
        self.ends = np.append(first, len(rule.order))

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        """Similarities of some queries and some people, (rows, cols) float32."""
        ends = self.ends[cols.start : cols.stop + 1]
        j = self.rule.order[ends[0] : ends[-1]]
        tile = self.source.tile(rows, slice(0, len(self.rule.order))).cpu().numpy()[:, j]
        tile[self.rule.ignored(np.arange(rows.start, rows.stop)[:, None], j)] = -2  # below every similarity
        return torch.from_numpy(np.maximum.reduceat(tile, ends[:-1] - ends[0], axis=1))

    def near(self, i: np.ndarray, k: np.ndarray) -> np.ndarray:
        return self._best(self.source.near, i, k)

    def exact(self, i: np.ndarray, k: np.ndarray) -> np.ndarray:
        return self._best(self.source.exact, i, k)

    def _best(self, similarity: Callable, i: np.ndarray, k: np.ndarray) -> np.ndarray:
        which, place = ragged(self.ends[k], self.ends[k + 1])
        i, j = i[which], self.rule.order[place]
        values, keep = np.full(len(i), -2.0), ~self.rule.ignored(i, j)
        values[keep] = similarity(i[keep], j[keep])
        starts = np.flatnonzero(np.diff(which, prepend=-1))  # nobody is without an image
        return np.maximum.reduceat(values, starts) if len(starts) else values


def people(gallery, places: np.ndarray) -> SimpleNamespace:
    """The people of a gallery, as a gallery for a `Rule`: pids (I,) and camids (I,).

    `places` maps cameras to places. Who is in one place only has its camera, who is in several has camera 0, so that a
    rule that ignores a place ignores just those of whom nothing is left outside it.
    """
    pids, first, person = np.unique(gallery.pids, return_index=True, return_inverse=True)
    place = places[gallery.camids]
    elsewhere = np.bincount(person, place != place[first][person])
    return SimpleNamespace(pids=pids, camids=np.where(elsewhere > 0, 0, gallery.camids[first]))
