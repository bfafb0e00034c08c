"""Exercises of notebook 8, search."""

from collections.abc import Callable
from typing import Any

import numpy as np

from reidlib.course.remarks import array, compare, expect, pair


def rates(answer: Callable[..., Any]) -> None:
    """The share of images of enrolled people that are found, and of strangers' images that are false alarms."""
    for seed, threshold in ((1, 0.5), (2, 0.3), (3, 0.62)):
        rng = np.random.default_rng(seed)
        enrolled = rng.random(300) < 0.7
        best = np.round(0.3 * enrolled + 0.2 + rng.random(300) / 2, 2)  # some are exactly at the threshold
        right = enrolled & (rng.random(300) < 0.8)
        found, alarms = (float(array(part)) for part in pair(answer(best, right, enrolled, threshold)))
        passed = best >= threshold
        wanted = (passed & right)[enrolled].mean(), passed[~enrolled].mean()
        hint = "which images is it a share of, and who counts as found?"
        slips = {
            "somebody who is taken for another person is not found.": passed[enrolled].mean(),
            "a share of the images of enrolled people, not of all.": (passed & right).mean(),
            "a similarity equal to the threshold passes.": ((best > threshold) & right)[enrolled].mean(),
        }
        hint = next((slip for slip, value in slips.items() if np.isclose(found, value)), hint)
        compare(found, wanted[0], "The share that is found", hint)
        if np.isclose(alarms, (passed & ~enrolled).mean()):
            hint = "a share of the strangers' images, not of all."
        compare(alarms, wanted[1], "The share of false alarms", hint)


def entries(answer: Callable[..., Any]) -> None:
    """One entry for each person: the normalised mean of the embeddings."""
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        names = rng.permutation(np.repeat(["eve", "adam", "zoe", "bob"], (4, 1, 6, 3)))
        emb = rng.normal(size=(len(names), 8))
        emb /= np.linalg.norm(emb, axis=1, keepdims=True)
        given = emb.copy()
        who, rows = pair(answer(emb, names))
        people = list(dict.fromkeys(names.tolist()))
        who = [str(name) for name in who]
        expect(sorted(who) == sorted(people), f"You return the names {who}: each person once.")
        expect(who == people, "The names should be in the order in which they were enrolled.")
        rows = array(rows, (len(people), 8))
        means = np.stack([emb[names == name].mean(0) for name in people])
        expect(not np.allclose(rows, means), "A mean of several directions is shorter than 1; a search takes cosines.")
        wanted = means / np.linalg.norm(means, axis=1, keepdims=True)
        expect(np.allclose(rows, wanted, atol=1e-6), "A row is not the mean of its own person's embeddings.")
        expect(np.array_equal(emb, given), "You change the embeddings that were given.")


def rand_index(answer: Callable[..., Any]) -> None:
    """The adjusted Rand index of two groupings."""
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        pids = rng.integers(0, 6, 40)
        groups = np.where(rng.random(40) < 0.7, pids, rng.integers(0, 9, 40))
        same, together = (x[:, None] == x for x in (pids, groups))
        upper = np.triu(np.ones((40, 40), bool), 1)
        both, a, b = ((x & upper).sum() for x in (same & together, same, together))
        chance, most = a * b / upper.sum(), (a + b) / 2
        hint = "count pairs of two different images, each pair once."
        if np.isclose(found := float(array(answer(pids, groups))), (same == together)[upper].mean()):
            hint = "this is the plain Rand index, which is not corrected for chance."
        if np.isclose(found, both / most):
            hint = "what chance gives is still in it: subtract it."
        compare(found, (both - chance) / (most - chance), "The index", hint)
    hint = "only which images are together counts."
    compare(float(array(answer(pids, 7 - pids))), 1, "The index of a grouping with itself under other numbers", hint)
