"""How often a Gallery's answer is right, who is taken for somebody else, and how well groups without names are people.

    python benchmarks/answers.py                 # the drawn crowd and, where it is here, Market-1501: six minutes
    python benchmarks/answers.py --data toy      # the drawn crowd only

On toy the model is the course's (runs/toy-reference-all-seed1, and for thresholds from training people those of ten
seeds; trained first if they are not there), on Market-1501 it is `market-laptop`, which comes with the library. None of
them has seen the people of the test sets.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from contenders import machine
from sklearn.metrics import adjusted_rand_score

import reidlib as rl

DRAWS = 10  # of who is enrolled
SEEDS = range(1, 11)  # of the toy's models
RATES = (0.001, 0.01, 0.05, 0.1)


def toy_model(split: rl.Split, seed: int = 1) -> tuple:
    """The course's model of a seed and the folder of its run."""
    recipe = rl.Recipe.for_dataset("toy", seed=seed)
    run = rl.project() / "runs" / recipe.name()
    return rl.load_or_train(recipe, split.train, run), run


def scores_of(data: str, root: str | None) -> rl.Scores:
    split = rl.load(data, root)
    if data == "toy":
        system, run = toy_model(split)
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


def training_people(root: str | None, most: float = 0.05) -> None:
    """A threshold from people of the training set, and one from new people: what each promises, and gives on others.

    The test's people are halved in each of some draws: one half chooses a threshold, the other half is new to both. As
    many people are enrolled in each of the three groups, and a row is a model's mean over the draws.
    """
    split = rl.load("toy", root)
    print(f"a threshold for at most {100 * most:g} % false alarms, mean of {DRAWS} draws: found and false alarms in %")
    print(f"{'':8}{'from people of the training set':>42}{'from new people':>42}")
    columns = "".join(f"{name:>{width}}" for name, width in (("threshold", 12), ("promised", 15), ("on others", 15)))
    print(f"{'model':8}{columns}{columns}")
    rows = []
    for seed in SEEDS:
        system, run = toy_model(split, seed)
        emb, test = rl.embed(system, split.train), rl.measure(system, split, run)
        seen = rl.score(emb, emb, split.train, split.train)
        rows.append(np.mean([_promised_and_given(seen, test, draw, most) for draw in range(DRAWS)], 0))
        _print_row(f"seed {seed}", rows[-1])
    for name, values in (("mean", np.mean(rows, 0)), ("sd", np.std(rows, 0, ddof=1))):
        _print_row(name, values)


def _promised_and_given(seen: rl.Scores, test: rl.Scores, draw: int, most: float) -> np.ndarray:
    """(2, 5): threshold, and found and false alarms of those who chose it and of others; of training and new people."""
    people = np.random.default_rng(draw).permutation(np.unique(test.pids[test.valid]))
    halves = [rl.open_set(among(test, half), seed=draw) for half in np.array_split(people, 2)]
    share = halves[0].people / len(np.unique(seen.pids[seen.valid]))
    chosen = [(each, each.at(most)[1]) for each in (rl.open_set(seen, share, draw), halves[0])]
    return np.array([(threshold, *each.rates(threshold), *halves[1].rates(threshold)) for each, threshold in chosen])


def among(scores: rl.Scores, pids: np.ndarray) -> rl.Scores:
    """The scores of some people among themselves."""
    q, g = np.isin(scores.query.pids, pids), np.isin(scores.gallery.pids, pids)
    return rl.score(scores.q[q], scores.g[g], scores.query[q], scores.gallery[g])


def _print_row(name: str, values: np.ndarray) -> None:
    print(f"{name:8}", end="")
    for threshold, *shares in values:
        print(f"{threshold:12.3f}" + "".join(f"{100 * x:{n}.1f}" for x, n in zip(shares, (9, 6, 9, 6))), end="")
    print(flush=True)


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
        if data == "toy":
            training_people(options.root)


if __name__ == "__main__":
    main()
