"""Where to search, before the BNNeck or after it: finished runs with the neck, tested with both features.

The paper (Luo et al. 2019, section 3.5) searches after the neck. The rows are results/toy_bnneck.csv and, of the runs
on Market-1501, results/market1501_bnneck.csv.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from reidlib.data import Split
from reidlib.evaluation.score import score
from reidlib.files import write_csv
from reidlib.runs.measuring import test_sets
from reidlib.runs.results import of_run, row_of
from reidlib.studies.gains import Gain, paired
from reidlib.studies.published import chosen
from reidlib.systems import System
from reidlib.systems.bag_of_tricks import FEATURES, BagOfTricks
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

COLUMNS = (
    "dataset", "test", "model", "backbone", "tricks", "seed", "feature", "rank1", "mAP", "mINP", "flip",
    "reranking", "device", "torch", "source", "commit",
)  # fmt: skip


def rows(system: System, tests: dict[str, Split]) -> Iterator[dict]:
    """Two rows of results/toy_bnneck.csv for each test set, `after` the neck and `before` it.

    Raises ValueError for a system that was trained without a BNNeck.
    """
    if not isinstance(system, BagOfTricks) or not system.recipe.bnneck:
        raise ValueError(f"{system.recipe.name()} has no BNNeck; measure runs of tricks that contain bnneck")
    for feature in FEATURES:
        system.feature = feature
        for test, split in tests.items():
            scores = score(embed(system, split.query), embed(system, split.gallery), split.query, split.gallery)
            yield row_of(system, scores, COLUMNS, test=test, feature=feature)
    system.feature = FEATURES[0]


def gains(rows: list[dict], metric: str = "mAP") -> dict[tuple[str, str], Gain]:
    """What searching before the neck gains, for each pair of training and test set. rows: of results/toy_bnneck.csv.

    ValueError if two rows are of one seed.
    """
    pairs = list(dict.fromkeys((row["dataset"], row["test"]) for row in rows))
    found = {}
    for pair in pairs:
        here = chosen(rows, *pair, "all")
        sides = [[row for row in here if row["feature"] == feature] for feature in FEATURES]
        after, before = ({row["seed"]: row[metric] for row in side} for side in sides)
        if len(after) + len(before) < len(here):
            raise ValueError(f"{' → '.join(pair)}: a seed occurs twice; keep the rows of one run a seed")
        found[pair] = paired(" → ".join(pair), before, after, of=len(pairs))
    return found


def main(file: str, *runs: str) -> None:
    """Test finished runs with both features and write their rows to a CSV file."""
    table: list[dict] = []
    for run in runs:
        system = restore(run)
        tests, _ = test_sets(system.recipe.dataset)
        found = of_run(Path(run), list(rows(system, tests)))
        table += found
        print(Path(run).name, *(f"{row['test']} {row['feature']}: mAP {row['mAP']:.1f}" for row in found), sep="  ")
    write_csv(table, Path(file))


if __name__ == "__main__":  # python -m reidlib.studies.neck results/toy_bnneck.csv runs/toy-reference-all-seed*
    parser = argparse.ArgumentParser(prog="python -m reidlib.studies.neck", description=main.__doc__)
    parser.add_argument("file", help="the CSV file to write")
    parser.add_argument("runs", nargs="+", help="folders of finished runs")
    options = parser.parse_args()
    main(options.file, *options.runs)
