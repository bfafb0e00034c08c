"""How often a Gallery's answer is right, who is taken for somebody else, and how well groups without names are people.

    python benchmarks/answers.py                 # the drawn crowd and, where it is here, Market-1501: six minutes
    python benchmarks/answers.py --data toy      # the drawn crowd only

On toy the model is the course's (runs/toy-reference-all-seed1, trained first if it is not there), on Market-1501 it is
`market-laptop`, which comes with the library. Neither has seen the people of the test sets.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from contenders import machine
from sklearn.metrics import adjusted_rand_score

import reidlib as rl

DRAWS = 10  # of who is enrolled
RATES = (0.001, 0.01, 0.05, 0.1)


def scores_of(data: str, root: str | None) -> rl.Scores:
    split, run = rl.load(data, root), rl.project() / "runs" / f"{data}-reference-all-seed1"
    if data == "toy":
        system = rl.load_or_train(rl.Recipe.for_dataset(data), split.train, run)
    else:
        system, run = rl.pretrained(f"{data}-laptop"), rl.project() / "runs" / f"{data}-laptop"
    scores = rl.measure(system, split, run)
    print(f"\n{data}, {system.recipe.name()}: {scores}")
    return scores


def open_set(scores: rl.Scores) -> None:
    """Half of the people enrolled: one draw with its interval over people, and the spread over draws."""
    print(f"{'entries':12}{'false alarms':>13}{'threshold':>11}{'found':>8}{'95 % over people':>20}", end="")
    print(f"{f'mean of {DRAWS} draws':>18}{'sd':>6}")
    for average in (False, True):
        found = [rl.open_set(scores, seed=seed, average=average) for seed in range(DRAWS)]
        strangers = min(int((~each.enrolled).sum()) for each in found)
        for rate in (rate for rate in RATES if rate * strangers >= 1):
            share, threshold = found[0].at(rate)
            low, high = found[0].intervals(threshold)[0]
            all_shares = 100 * np.array([each.at(rate)[0] for each in found])
            name, interval = "averages" if average else "images", f"{100 * low:.1f} to {100 * high:.1f}"
            print(f"{name:12}{100 * rate:11.1f} %{threshold:11.3f}{100 * share:8.1f}{interval:>20}", end="")
            print(f"{all_shares.mean():18.1f}{all_shares.std(ddof=1):6.1f}", flush=True)
    print(f"draw 0: {found[0]}")


def larger(scores: rl.Scores) -> None:
    """The threshold of one gallery in others: how false alarms grow with the number of people enrolled."""
    whole = rl.open_set(scores, enrolled=0.5)
    people = np.unique(scores.pids[scores.valid])
    strangers = np.setdiff1d(people, np.unique(whole.pids[whole.enrolled]))
    known = np.random.default_rng(0).permutation(np.setdiff1d(people, strangers))
    best, sizes = {}, [len(known) // 8, len(known) // 4, len(known) // 2, len(known)]
    asked = torch.from_numpy(np.isin(scores.query.pids, strangers))
    for size in sizes:
        there = torch.from_numpy(np.isin(scores.gallery.pids, known[:size]))
        best[size] = (scores.q[asked] @ scores.g[there].T).max(1).values.numpy()
    threshold = np.quantile(best[sizes[0]], 0.99)
    rates = ", ".join(f"{100 * (best[size] >= threshold).mean():.1f} % of {size:,}" for size in sizes)
    print(f"false alarms at the threshold of 1 % of {sizes[0]} people ({threshold:.3f}): {rates}")


def groups(scores: rl.Scores) -> None:
    """Grouping of all images of people, names unused; an image that fits nowhere counts as a group of its own."""
    some = scores.gallery.pids > 0
    emb = torch.cat([scores.q, scores.g[torch.from_numpy(some)]])
    pids = np.concatenate([scores.query.pids, scores.gallery.pids[some]])
    sizes = np.unique(pids, return_counts=True)[1]
    print(f"groups of {len(pids):,} images of {len(sizes):,} people, {np.median(sizes):.0f} images in the median")
    print(f"{'k1':>4}{'k2':>4}{'groups':>8}{'alone':>7}{'adjusted Rand':>15}")
    for k1, k2 in ((5, 6), (5, 3), (10, 6), (10, 3), (20, 6), (30, 6), (40, 6)):
        labels = rl.group(emb, k1=k1, k2=min(k1, k2))
        alone = labels < 0
        whole = np.where(alone, -1 - np.arange(len(labels)), labels)
        score = adjusted_rand_score(pids, whole)
        print(f"{k1:4}{k2:4}{labels.max() + 1:8,}{alone.sum():7,}{score:15.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["toy", "market"], choices=["toy", "market"])
    parser.add_argument("--root", type=Path, help="the folder of all data sets")
    options = parser.parse_args()
    print(machine("reidlib/search", "reidlib/evaluation", "reidlib/train", "benchmarks/answers.py"))
    for data in options.data:
        try:
            scores = scores_of(data, options.root)
        except FileNotFoundError as error:
            print(f"\n{data} is left out: {error}")
            continue
        open_set(scores)
        larger(scores)
        groups(scores)


if __name__ == "__main__":
    main()
