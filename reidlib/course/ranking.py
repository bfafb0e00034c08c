"""Exercises of notebook 5, ranked images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from reidlib.course.remarks import array, compare, expect, pair


def threshold(answer: Callable[..., Any]) -> None:
    """The similarity from which on two images pass for one person."""
    for seed, most in ((1, 0.01), (2, 0.1), (3, 0.0)):
        rng = np.random.default_rng(seed)
        same = rng.random(2000) < 0.2
        similarity = np.round(0.4 * same + rng.normal(size=2000) / 5, 2)  # with ties
        value, hits = (float(array(part)) for part in pair(answer(similarity, same, most)))
        passed = similarity >= value
        false = passed[~same].mean()
        expect(false <= most, f"{false:.1%} of the pairs of different people pass, where at most {most:.0%} should.")
        best = max(float((similarity[same] >= t).mean()) for t in np.unique(similarity)
                   if (similarity[~same] >= t).mean() <= most)  # fmt: skip
        hint = "could the threshold be lower, with no more false alarms than allowed?"
        compare(passed[same].mean(), best, "The share of true pairs that pass", hint)
        compare(hits, best, "The share of true pairs that you return", "a share of which pairs?")


def contributions(answer: Callable[..., Any]) -> None:
    """What each place of a feature map adds to the cosine of two images."""
    rng = torch.Generator().manual_seed(1)
    for c, h, w in ((5, 4, 2), (16, 8, 4)):
        maps, other = torch.randn(c, h, w, generator=rng) + 0.5, torch.randn(c, generator=rng) + 0.5
        cosine = F.cosine_similarity(maps.mean((1, 2)), other, dim=0)
        found = array(answer(maps, other), (h, w))
        wanted = torch.einsum("chw,c->hw", maps, F.normalize(other, dim=0)) / maps.mean((1, 2)).norm() / (h * w)
        places = F.cosine_similarity(maps, other[:, None, None], dim=0)
        hint = "the sum over all places should be the cosine. Which lengths do you divide by?"
        if np.allclose(found / found.sum(), places / places.sum(), atol=1e-4):
            hint = "a place with a long feature adds more: only the pooled feature is brought to length 1."
        compare(found.sum(), cosine, "The sum of what the places add", hint)
        expect(np.allclose(found, wanted, atol=1e-5), "The sum is right, but the places do not add what they should.")


class _Gallery:
    """Embeddings on a disk: an array of which at most `most` rows can be read at once."""

    def __init__(self, rows: np.ndarray, most: int) -> None:
        self.rows, self.most, self.shape = rows, most, rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: Any) -> np.ndarray:
        read = self.rows[part]
        expect(read.ndim < 2 or len(read) <= self.most, f"You read {len(read)} rows at once; block is {self.most}.")
        return read

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self[:]


def nearest(answer: Callable[..., Any]) -> None:
    """The k nearest gallery images, of a gallery that is read block by block."""
    for size, k, block in ((40, 5, 10), (43, 5, 10), (9, 4, 3), (50, 12, 7)):
        rng = np.random.default_rng(size)
        rows = rng.normal(size=(size, 6))
        rows, query = rows / np.linalg.norm(rows, axis=1, keepdims=True), rng.normal(size=6)
        query /= np.linalg.norm(query)
        index, similarity = pair(answer(query, _Gallery(rows, block), k, block))
        index, similarity = array(index, (k,)), array(similarity, (k,))
        agree = np.allclose(rows[index] @ query, similarity)
        expect(agree, "An index does not belong to its similarity: is it counted in the gallery or in its block?")
        expect(len(set(index.tolist())) == k, "A gallery image comes twice.")
        expect((np.diff(similarity) <= 0).all(), "The most similar should come first.")
        order = np.argsort(-(rows @ query))[:k]
        missing = set(order.tolist()) - set(index.tolist())
        expect(not missing or min(missing) < size - size % block, "You skip the last rows, a block that is not full.")
        expect(not missing, "One of the k most similar is missing.")
