"""What a model loses when people are half hidden: every query of a drawn crowd in the open, and behind an obstacle.

The runs are those of `make table`. The rows are results/toy_hidden.csv.
"""

import sys

from reidlib.data import TOYS, Shots, Split, load
from reidlib.evaluation.score import score
from reidlib.files import project, write_csv
from reidlib.recipe import Recipe
from reidlib.runs.results import of_run, row_of, run_folder
from reidlib.studies.gains import Gain, paired
from reidlib.studies.published import of_seeds
from reidlib.studies.trainings import finished, others
from reidlib.systems import System
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

NETWORKS = [name for name, network in TOYS.items() if network != "sysu"]  # those without infrared cameras
MODELS = (("bot", "all"), ("bot", "all-erasing"), ("pcb", "all"), ("pcb", "all-erasing"), ("pcb", "all+rpp"))
SEEDS = range(1, 11)
COLUMNS = (
    "dataset", "model", "tricks", "seed", "queries", "rank1", "mAP", "mINP", "flip", "reranking", "device", "torch",
    "source", "commit",
)  # fmt: skip


def queries(dataset: str) -> dict[str, Shots]:
    """The queries of a drawn set, all in the open and all hidden: the same people, cameras, poses and boxes.

    Raises ValueError for a set without the knob hidden_query.
    """
    return {name: load(f"{dataset}:hidden_query={share}").query for name, share in (("open", 0), ("hidden", 1))}


def rows(system: System, split: Split, drawn: dict[str, Shots]) -> list[dict]:
    """The rows of results/toy_hidden.csv for one run: its own test with each of the queries in `drawn`."""
    g = embed(system, split.gallery)
    return [
        row_of(system, score(embed(system, query), g, query, split.gallery), COLUMNS, queries=name)
        for name, query in drawn.items()
    ]


def leads(rows: list[dict], dataset: str = "toy") -> list[Gain]:
    """How far PCB is ahead of the Bag of Tricks in mAP in the open, hidden, and how much further when hidden.

    With random erasing, then without: six comparisons. rows: of results/toy_hidden.csv. Raises ValueError as `paired`
    and `one_a_seed` do.
    """

    def of(model: str, tricks: str, where: str) -> dict[int, float]:
        return of_seeds(rows, "mAP", dataset=dataset, model=model, tricks=tricks, queries=where)

    gains = []
    for tricks, words in (("all", "with erasing"), ("all-erasing", "without")):
        sides = {where: (of("pcb", tricks, where), of("bot", tricks, where)) for where in ("open", "hidden")}
        gains += [paired(f"{words}, {where}", *pair, of=6) for where, pair in sides.items()]
        ahead = [{seed: pcb[seed] - bot[seed] for seed in pcb.keys() & bot.keys()} for pcb, bot in sides.values()]
        gains.append(paired(f"{words}, hidden - open", ahead[1], ahead[0], of=6))
    return gains


def main(*datasets: str) -> None:
    """Test the models of `make table` on hidden people and write results/toy_hidden.csv."""
    table = []
    for dataset in datasets or NETWORKS:
        runs = [
            run_folder(Recipe.for_dataset(dataset, tricks=tricks, seed=seed, model=model))
            for model, tricks in MODELS
            for seed in SEEDS
        ]
        finished(runs, "make table")
        split = load(dataset)
        drawn = queries(dataset)
        for run in runs:
            table += of_run(run, rows(restore(run), split, drawn))
            print(*(f"{row['queries']}: mAP {row['mAP']:.1f}" for row in table[-2:]), run.name)
    file = project() / "results" / "toy_hidden.csv"
    write_csv(others(file, datasets) + table, file)


if __name__ == "__main__":  # python -m reidlib.studies.hidden [toy] [toy-duke]
    main(*sys.argv[1:])
