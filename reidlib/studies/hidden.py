"""What a model loses when people are half hidden: every query of a drawn crowd in the open, and behind an obstacle.

The runs are those of `make table`. The rows are results/toy_hidden.csv.
"""

import sys
import tempfile
from pathlib import Path
from random import Random

from reidlib import toy
from reidlib.data import TOYS, Shots, Split, load
from reidlib.evaluation.score import score
from reidlib.files import few, project, write_csv
from reidlib.provenance import code_of, environment
from reidlib.recipe import Recipe
from reidlib.runs.results import of_run, origin_columns, run_folder, score_columns
from reidlib.studies.ladder import Gain, paired
from reidlib.studies.published import one_a_seed
from reidlib.systems import System
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

NETWORKS = {name: network for name, network in TOYS.items() if network != "sysu"}  # those without infrared cameras
FRONTS = ("bush", "bicycle", "pole")
MODELS = (("bot", "all"), ("bot", "all-erasing"), ("pcb", "all"), ("pcb", "all-erasing"), ("pcb", "all+rpp"))
SEEDS = (1, 2, 3)
COLUMNS = (
    "dataset", "model", "tricks", "seed", "queries", "rank1", "mAP", "mINP", "flip", "reranking", "device", "torch",
    "source", "commit",
)  # fmt: skip


def redraw(query: Shots, folder: str | Path, hidden: bool) -> list[Path]:
    """Draw every query of a drawn set again into `folder`. Returns the files in the order of the queries.

    Person, camera, pose and position do not depend on `hidden`. If hidden, a third of the queries each are behind a
    bush, a bicycle and a pole. Raises ValueError for a set that was not drawn.
    """
    name = query.name.partition("/")[0]
    if name not in NETWORKS:
        raise ValueError(f"{name}: its queries cannot be drawn again; choose {' or '.join(NETWORKS)}")
    network, files = NETWORKS[name], []
    people, cameras = toy.identities(network), toy.NETWORKS[network]
    for i, (pid, camid) in enumerate(zip(query.pids.tolist(), query.camids.tolist(), strict=True)):
        files.append(Path(folder) / f"{i:04d}{'h' * hidden}.png")
        front = FRONTS[i % len(FRONTS)] if hidden else None
        toy.render(people[pid], cameras[camid - 1], Random(i), occluder=front).save(files[-1])
    return files


def rows(system: System, split: Split, drawn: dict[str, list[Path]]) -> list[dict]:
    """The rows of results/toy_hidden.csv for one run: its own test with each list of query files in `drawn`."""
    recipe, g, table = system.recipe, embed(system, split.gallery), []
    origin = recipe.to_dict() | origin_columns(environment(*code_of(system)))
    for name, files in drawn.items():
        scores = score(embed(system, files), g, split.query, split.gallery)
        known = origin | score_columns(scores, recipe, system.flip) | {"queries": name}
        table.append({column: known[column] for column in COLUMNS})
    return table


def leads(rows: list[dict], dataset: str = "toy") -> list[Gain]:
    """How far PCB is ahead of the Bag of Tricks in mAP in the open, hidden, and how much further when hidden.

    With random erasing, then without: six comparisons. rows: of results/toy_hidden.csv. Raises ValueError as `paired`
    and `one_a_seed` do.
    """

    def of(model: str, tricks: str, queries: str) -> dict[int, float]:
        wanted = (dataset, model, tricks, queries)
        chosen = [row for row in rows if (row["dataset"], row["model"], row["tricks"], row["queries"]) == wanted]
        return {row["seed"]: row["mAP"] for row in one_a_seed(chosen)}

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
        if undone := [run.name for run in runs if not (run / "result.json").is_file()]:
            raise FileNotFoundError(f"no result of {few(undone)}; run make table first")
        split = load(dataset)
        with tempfile.TemporaryDirectory() as folder:
            drawn = {name: redraw(split.query, folder, name == "hidden") for name in ("open", "hidden")}
            for run in runs:
                table += of_run(run, rows(restore(run), split, drawn))
                print(*(f"{row['queries']}: mAP {row['mAP']:.1f}" for row in table[-2:]), run.name)
    write_csv(table, project() / "results" / "toy_hidden.csv")


if __name__ == "__main__":  # python -m reidlib.studies.hidden [toy] [toy-duke]
    main(*sys.argv[1:])
