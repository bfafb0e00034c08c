"""What a model loses when a person is half hidden: every query of a drawn crowd in the open, and behind something.

The runs are those of the grids of `make table`; the rows are results/toy_hidden.csv.
"""

import sys
import tempfile
from pathlib import Path
from random import Random

from reidlib import toy
from reidlib.data.shots import TOYS, load
from reidlib.evaluation.score import score
from reidlib.files import few, project, write_csv
from reidlib.provenance import environment
from reidlib.recipe import Recipe
from reidlib.runs.results import run_folder
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

NETWORKS = {name: network for name, network in TOYS.items() if network != "sysu"}  # all cameras see visible light
FRONTS = ("bush", "bicycle", "pole")
MODELS = (("bot", "all"), ("bot", "all-erasing"), ("pcb", "all"), ("pcb", "all-erasing"), ("pcb", "all+rpp"))
SEEDS = (1, 2, 3)


def redraw(query, folder: str | Path, hidden: bool) -> list[Path]:
    """Every query of a drawn set, drawn again into `folder`: the files, in order.

    Person, camera, pose and place are the same with `hidden` and without; hidden, a bush, a bicycle and a pole stand
    before one query in three each. Raises ValueError for a set that is not drawn.
    """
    if query.root.name not in NETWORKS:
        raise ValueError(f"{query.root.name}: nobody can draw its queries again; take {' or '.join(NETWORKS)}")
    network, files = NETWORKS[query.root.name], []
    people, cameras = toy.identities(network), toy.NETWORKS[network]
    for i, (pid, camid) in enumerate(zip(query.pids.tolist(), query.camids.tolist(), strict=True)):
        files.append(Path(folder) / f"{i:04d}{'h' * hidden}.png")
        front = FRONTS[i % len(FRONTS)] if hidden else None
        toy.render(people[pid], cameras[camid - 1], Random(i), occluder=front).save(files[-1])
    return files


def rows(system, split, drawn: dict[str, list[Path]]) -> list[dict]:
    """The rows of results/toy_hidden.csv of one run: its own test, on each of the lists of queries in `drawn`."""
    recipe, made = system.recipe, environment(type(system).__module__)
    common = {"dataset": recipe.dataset, "model": recipe.model, "tricks": recipe.tricks, "seed": recipe.seed}
    last = {"flip": "on" if system.flip else "off", "reranking": "off"}
    last |= {name: made[name] for name in ("device", "torch", "source", "commit")}
    g, found = embed(system, split.gallery), []
    for name, files in drawn.items():
        scores = score(embed(system, files), g, split.query, split.gallery)
        percent = {"rank1": scores.rank(1), "mAP": scores.mAP, "mINP": scores.mINP}
        percent = {key: round(100 * float(value), 2) for key, value in percent.items()}
        found.append(common | {"queries": name} | percent | last)
    return found


def main(*datasets: str) -> None:
    """Test the models of `make table` on hidden people, into results/toy_hidden.csv."""
    found = []
    for dataset in datasets or NETWORKS:
        runs = [
            run_folder(Recipe.for_dataset(dataset, tricks=tricks, seed=seed, model=model))
            for model, tricks in MODELS
            for seed in SEEDS
        ]
        if undone := [run.name for run in runs if not (run / "result.json").is_file()]:
            raise FileNotFoundError(f"no result of {few(undone)}; make table runs what is left")
        split = load(dataset)
        with tempfile.TemporaryDirectory() as folder:
            drawn = {name: redraw(split.query, folder, name == "hidden") for name in ("open", "hidden")}
            for run in runs:
                found += rows(restore(run), split, drawn)
                print(*(f"{row['queries']}: mAP {row['mAP']:.1f}" for row in found[-2:]), run.name)
    write_csv(found, project() / "results" / "toy_hidden.csv")


if __name__ == "__main__":  # python -m reidlib.hidden [toy] [toy-duke]
    main(*sys.argv[1:])
