"""Exercises of notebook 4, evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reidlib.course.remarks import array, compare, expect, pair
from reidlib.data.shots import Shots
from reidlib.evaluation.score import score
from reidlib.evaluation.scores import bootstrap

RULES = {  # what a case has beside plain matches and wrong answers, and the remark where it is scored wrongly
    "": "how do the ranks of the matches become CMC and AP?",
    "other people": "only the query's own person is struck out in the query's camera, not everybody.",
    "same camera": "what of images of the query's person in the query's own camera?",
    "junk": "what of junk, pid -1?",
    "distractors": "what of distractors, pid 0?",
    "no match": "what of a query that has no match?",
}


def evaluate(answer: Callable[..., Any]) -> None:
    """CMC and mAP of a table of similarities, by Market-1501's protocol."""
    for number, (case, hint) in enumerate(RULES.items()):
        rng = np.random.default_rng(number)
        similarity, pids, camids = rng.normal(size=(6, 40)), rng.integers(1, 4, 40), rng.integers(2, 5, 40)
        q_pids, q_camids = np.array([1, 2, 3, 1, 2, 3]), np.ones(6, int)
        if case == "same camera":
            camids[rng.integers(0, 40, 15)] = 1
        if case == "other people":
            camids, q_camids = np.where(pids == 1, 2, 1), np.array([1, 2, 2, 1, 2, 2])
        if case == "no match":
            q_pids = np.array([1, 2, 3, 1, 8, 9])
        pids[:15] = {"junk": -1, "distractors": 0}.get(case, pids[:15])
        q, g = (
            Shots(name, Path(), np.array([f"{name} {i}" for i in range(len(ids))]), ids, cameras)
            for name, ids, cameras in (("query", q_pids, q_camids), ("gallery", pids, camids))
        )
        wanted = score(torch.nn.functional.normalize(torch.tensor(similarity)), torch.eye(40).double(), q, g)
        cmc, mean_ap = pair(answer(similarity, q_pids, q_camids, pids, camids))
        cmc = array(cmc, (40,))
        expect((np.diff(cmc) >= 0).all() and cmc[-1] <= 1, "CMC is a share of queries that grows with k.")
        where = f"{f'With {case} in the test, ' if case else ''}"
        compare(array(mean_ap), wanted.mAP, f"{where}mAP", hint)
        for k in (1, 3, 5):
            compare(cmc[k - 1], wanted.rank(k), f"{where}rank-{k}", hint)


def expanded(answer: Callable[..., Any]) -> None:
    """The k-reciprocal neighbours of an image, grown by the small sets of its neighbours."""
    for seed, k in ((1, 6), (2, 7), (3, 10)):
        points = np.random.default_rng(seed).exponential(size=(40, 2))
        dist = np.linalg.norm(points[:, None] - points, axis=2)
        for i in range(40):
            found, start = set(map(int, answer(dist.copy(), i, k))), _reciprocal(dist, i, k)
            expect(start <= found, "R(i, k) is part of the result, and image i with it.")
            small = {j: _reciprocal(dist, j, round(k / 2)) for j in start}
            wanted = start.union(*(each for each in small.values() if len(each & start) > 2 / 3 * len(each)))
            expect(wanted <= found, "An image is missing: which small sets lie in R(i, k) by more than two thirds?")
            expect(found <= start.union(*small.values()), "You add images that are in no R(j, k/2) of a j in R(i, k).")
            hint = "is the share taken of the small set, and R(i, k) still as it was at the beginning?"
            expect(found == wanted, f"You add a set of which too little lies in R(i, k): {hint}")


def _reciprocal(dist: np.ndarray, i: int, k: int) -> set[int]:
    near = np.argsort(dist)[:, : k + 1].tolist()
    return {j for j in near[i] if i in near[j]}


def people_interval(answer: Callable[..., Any]) -> None:
    """An interval of mAP by resampling people."""
    rng = np.random.default_rng(1)
    level, sizes = rng.random(50), rng.integers(1, 7, 50)
    pids = np.repeat(np.arange(50), sizes)
    ap = np.clip(level[pids] * (0.6 + 0.1 * sizes[pids]) + 0.1 * rng.normal(size=len(pids)), 0, 1)
    order = rng.permutation(len(pids))
    low, high = (float(array(part)) for part in pair(answer(ap[order], pids[order], np.random.default_rng(2))))
    expect(low < ap.mean() < high, "The mean of the queries should lie in the interval.")
    wanted, single = bootstrap(ap, pids), bootstrap(ap, np.arange(len(ap)))
    width = wanted[1] - wanted[0]
    hint = "an interval for 19 of 20 leaves out the same share at both ends."
    if abs((high - low) / (single[1] - single[0]) - 1) < 0.15:
        hint = "one person's queries are alike, and you draw them one by one."
    compare(high - low, width, "The width of your interval", hint, 0.15)
    hint = "a person with many queries weighs more than one with few, in the resamples as in mAP."
    compare((low + high) / 2, sum(wanted) / 2, "The middle of your interval", hint, 0.02)
    again = answer(ap[order], pids[order], np.random.default_rng(2))
    expect(
        np.array_equal(pair(again), (low, high)),
        "Use rng for every random number: the same seed should give the same interval.",
    )
