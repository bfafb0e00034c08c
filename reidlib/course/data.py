"""Exercises of notebook 1, data."""

from collections.abc import Callable
from typing import Any

import numpy as np

from reidlib.course.remarks import array, expect, pair


def true_matches(answer: Callable[..., Any]) -> None:
    """Which gallery images are matches of a query, and which are ignored."""
    rng = np.random.default_rng(1)
    for pid, camid in ((3, 2), (5, 1), (2, 4)):
        pids, camids = rng.integers(-1, 7, 300), rng.integers(1, 5, 300)
        match, ignored = (array(part, (300,)).astype(bool) for part in pair(answer(pid, camid, pids, camids)))
        same, here = pids == pid, camids == camid
        expect(not (match & here).any(), "You count an image of the query's own camera as a match.")
        expect(match[same & ~here].all(), "You miss matches: images of the same person in another camera.")
        expect(not match[~same].any(), "You count an image of another person as a match.")
        expect(ignored[pids == -1].all(), "Junk, pid -1, should be ignored in every camera.")
        expect(ignored[same & here].all(), "The query's person in the query's camera should be ignored.")
        expect(not ignored[pids == 0].any(), "Distractors, pid 0, stay in the list.")
        expect(not (ignored & ~same & (pids > 0)).any(), "Other people stay in the list, in the query's camera too.")
        expect(not (ignored & match).any(), "An image cannot be ignored and a match.")


def pk_batch(answer: Callable[..., Any]) -> None:
    """One batch of P identities with K images each."""
    pids = np.random.default_rng(2).permutation(np.repeat(np.arange(10, 40, 2), [2, 3] * 7 + [90]))  # one has 90 images
    rng, times, repeated = np.random.default_rng(3), dict.fromkeys(np.unique(pids).tolist(), 0), False
    drawn: set[int] = set()
    for _ in range(300):
        batch = array(answer(pids, 4, 3, rng), (12,))
        expect(batch.dtype.kind in "iu" and 0 <= batch.min() <= batch.max() < len(pids), "Return positions in pids.")
        expect(not np.isin(batch, pids).all(), "Return positions in pids, not pids.")
        drawn |= set(batch.tolist())
        people = pids[batch].reshape(4, 3)
        expect((people == people[:, :1]).all(), "K images in a row should be of one identity.")
        expect(len(set(people[:, 0].tolist())) == 4, "A batch should hold P different identities.")
        for row in batch.reshape(4, 3):
            times[int(pids[row[0]])] += 1
            repeated |= len(set(row.tolist())) < 3 <= (pids == pids[row[0]]).sum()
    expect(not repeated, "An image comes twice although its identity has K images or more.")
    ratio = times[38] / np.mean([count for pid, count in times.items() if pid != 38])
    expect(ratio < 2, f"The identity with 90 images comes {ratio:.0f} times as often as others: draw identities first.")
    expect(min(times.values()) > 0, "Some identity never comes: one with fewer than K images may repeat them.")
    expect(len(drawn) > 80, f"In 300 batches you use {len(drawn)} of {len(pids)} images: draw the K images at random.")
    one, two = (array(answer(pids, 4, 3, np.random.default_rng(5)), (12,)) for _ in range(2))
    expect(np.array_equal(one, two), "The same rng gives two different batches: draw every random number from it.")


def split_people(answer: Callable[..., Any]) -> None:
    """A train, query and gallery part of images that have none."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pids, camids = rng.permutation(np.repeat(np.arange(1, 21), rng.integers(2, 9, 20))), None
        camids = rng.integers(1, 4, len(pids))
        parts = array(answer(pids, camids, rng), pids.shape).astype(str)
        expect(set(parts) <= {"train", "query", "gallery"}, "Each image should be train, query or gallery.")
        train, query, gallery = (parts == name for name in ("train", "query", "gallery"))
        expect(not np.isin(pids[train], pids[~train]).any(), "A person is in train and in test.")
        expect(len(np.unique(pids[train])) == 10, "Half of the people, not of the images, should be in train.")
        asked = list(zip(pids[query].tolist(), camids[query].tolist(), strict=True))
        expect(len(asked) == len(set(asked)), "A person has two queries in one camera.")
        for pid, camid in asked:
            found = (gallery & (pids == pid) & (camids != camid)).any()
            expect(found, "A query has no match: no gallery image of the person in another camera.")
        for pid in np.unique(pids[~train]):
            seen = len(np.unique(camids[pids == pid])) > 1
            expect(not seen or (pids[query] == pid).any(), "A test person seen by two cameras has no query.")
