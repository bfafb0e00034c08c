"""How often the 95 % intervals of scores hold the truth, on drawn people whose truth is known.

Every person has several queries whose scores are alike, since they share the person's own mean. The interval of
`Scores.interval` and `compare` resamples people. The same interval with every query taken for a person of its own is
beside it. The numbers depend on seeds alone, not on the machine.

Run: python benchmarks/coverage.py 4000  (benchmarks/results/coverage.txt is its output at c9107f1; 20 minutes)
"""

import sys
from collections.abc import Callable

import numpy as np

from reidlib.evaluation.scores import bootstrap

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]  # the person of each query -> its value
SETS = ((20, 2.8), (30, 2.8), (60, 2.8), (96, 40.0), (200, 4.5), (750, 4.5))  # people, queries of each on average
REPEATS = 1000


def ap(rng: np.random.Generator, person: np.ndarray) -> np.ndarray:
    """Average precision of mean 2/3: beta-distributed about the person's own, which is beta-distributed."""
    own = rng.beta(2, 1, person.max() + 1)[person]
    return rng.beta(3 * own + 1e-3, 3 * (1 - own) + 1e-3)


def rank1(mean: float) -> Draw:
    """Right or wrong, right with the person's own probability."""

    def draw(rng: np.random.Generator, person: np.ndarray) -> np.ndarray:
        own = rng.beta(4 * mean, 4 * (1 - mean), person.max() + 1)[person]
        return (rng.random(len(person)) < own).astype(float)

    return draw


def difference(rng: np.random.Generator, person: np.ndarray) -> np.ndarray:
    """What a paired comparison sees of rank-1: 1, 0 or -1, with mean 0.05."""
    own = rng.uniform(-0.1, 0.1, person.max() + 1)[person]
    u = rng.random(len(person))
    return (u < 0.15 + own / 2).astype(float) - (u > 0.9 + own / 2)


CASES: dict[str, tuple[Draw, float]] = {
    "mAP of 67": (ap, 2 / 3),
    "rank-1 of 70": (rank1(0.7), 0.7),
    "rank-1 of 94": (rank1(0.94), 0.94),
    "rank-1, a - b = 5": (difference, 0.05),
}


def people_of(rng: np.random.Generator, people: int, queries: float) -> np.ndarray:
    """The person of each query: one query or more of each, `queries` on average."""
    return np.repeat(
        np.arange(people), 1 + rng.binomial(round(2 * queries), (queries - 1) / round(2 * queries), people)
    )


def coverage(case: str, people: int, queries: float, trials: int, by_query: bool = False) -> float:
    """Share of `trials` drawn test sets in which the 95 % interval holds the truth."""
    (draw, truth), held = CASES[case], 0
    for trial in range(trials):
        rng = np.random.default_rng([people, trial])
        person = people_of(rng, people, queries)
        values = draw(rng, person)
        low, high = bootstrap(values, np.arange(len(person)) if by_query else person, repeats=REPEATS, seed=trial)
        held += low <= truth <= high
    return held / trials


def main(trials: int = 4000) -> None:
    """Print the table."""
    print(f"Share of 95 % intervals that hold the truth, in %, of {trials} drawn test sets (by query: {trials // 4})")
    print(f"95 of 100 in {trials} would be {95:.1f} +- {196 * (0.95 * 0.05 / trials) ** 0.5:.1f}\n")
    print(f"{'score':<18} {'people':>6} {'queries':>8} {'by person':>10} {'by query':>9}")
    for case in CASES:
        for people, queries in SETS:
            ours = coverage(case, people, queries, trials)
            naive = coverage(case, people, queries, trials // 4, by_query=True) if people * queries < 1000 else None
            beside = f"{100 * naive:>9.1f}" if naive is not None else f"{'':>9}"
            print(f"{case:<18} {people:>6} {people * queries:>8.0f} {100 * ours:>10.1f} {beside}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
