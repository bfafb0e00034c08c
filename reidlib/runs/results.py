"""What a run leaves behind, one result.json, and the rows collected from many runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from numbers import Real
from pathlib import Path

import numpy as np

from reidlib.evaluation.score import Scores
from reidlib.evaluation.sysu import SysuScores, refuse_sysu
from reidlib.files import project, write_whole
from reidlib.provenance import environment
from reidlib.recipe import Recipe
from reidlib.systems.backbones import uses_bf16

# Columns of a row, beside those of the scores: fields of the recipe, of the run, of its cost, and of what computed it.
TRAINED = ("dataset", "model", "preset", "tricks", "seed", "backbone", "weights", "height", "width", "epochs")
RUN = ("epoch", "iterations", "precision", "world")
COST = ("seconds", "images_per_s", "peak_mb", "peak_gpu_mb")
ORIGIN = ("device", "torch", "data", "source", "commit", "date")

Metrics = Mapping[str, Callable[..., float]]  # name -> a function of Scores, or of SysuScores, that returns a fraction


def run_folder(recipe, run_dir: str | Path | None = None) -> Path:
    """Where a run is kept: `run_dir`, else runs/<name of the recipe> of the repository."""
    return Path(run_dir).expanduser() if run_dir else project() / "runs" / recipe.name()


def open_run(dataset: str, preset: str, tricks: str, seed: int, run_dir: str | Path | None = None, model: str = "bot"):
    """The recipe and the folder of a run: what `run_dir` holds, else the standard recipe of the five words.

    For the notebooks 04 and 05. Raises ValueError for a set with infrared queries, which has a notebook of its own.
    """
    file = Path(run_dir or "", "recipe.json")
    if run_dir and file.is_file():
        recipe = Recipe.from_dict(json.loads(file.read_text())["recipe"])
    else:
        recipe = Recipe.for_dataset(dataset, preset, tricks, seed, model=model)
    refuse_sysu(recipe.dataset)
    return recipe, run_folder(recipe, run_dir)


def write_result(
    run_dir: str | Path,
    system,
    rows: list[dict],
    scores: dict,
    flip: bool | None = None,
    metrics: Metrics | None = None,
) -> dict:
    """Write `run_dir`/result.json: recipe, training log in brief, the scores of every test set, and what made them.

    `scores` maps the name of a test set to its Scores; `flip` says whether test images were averaged with their mirror
    images, None that it was as in the system's own test. `metrics` maps names to functions of Scores that return a
    fraction; each is stored in percent and becomes a column. Returns what was written.
    """
    flip = system.flip if flip is None else flip
    run, recipe = Path(run_dir), system.recipe
    device = next(system.parameters()).device.type
    result = {
        "recipe": recipe.to_dict(),
        "data": json.loads((run / "recipe.json").read_text())["data"],
        "epoch": rows[-1]["epoch"],
        "iterations": rows[-1]["iteration"],
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "images_per_s": round(float(np.median([row["images_per_s"] for row in rows])), 1),
        "world": max(row.get("world", 1) for row in rows),
        "precision": "bf16" if uses_bf16(recipe.precision, device) else "float32",
        "peak_mb": round(max(row["peak_mb"] for row in rows)),
        "peak_gpu_mb": round(max(row["peak_gpu_mb"] for row in rows)),
        "scores": {name: score_columns(value, recipe, flip, metrics or {}) for name, value in scores.items()},
        "environment": environment(type(system).__module__),
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_whole(run / "result.json", json.dumps(result, indent=1).encode())
    return result


def collect(*folders: str | Path) -> list[dict]:
    """One flat row for every run below `folders` that has a result.json and every set it was tested on, sorted.

    What a grid has moved to .stale is left out.
    """
    files = [file for folder in folders for file in Path(folder).rglob("result.json") if ".stale" not in file.parts]
    rows = [row for file in files for row in _rows(json.loads(file.read_text()))]
    order = ("dataset", "test", "model", "preset", "tricks", "seed")
    return sorted(rows, key=lambda row: [row[key] for key in order])


def score_columns(scores: Scores | SysuScores, recipe: Recipe, flip: bool, metrics: Metrics | None = None) -> dict:
    """The columns of the scores of one test set: percentages, rounded to two digits, and how they were computed.

    Parameters
    ----------
    scores : of one test set. SysuScores add rank-20, standard deviations over the trials, the draw and the feature.
    recipe : of the system that was tested.
    flip : whether test images were averaged with their mirror images.
    metrics : name of a column -> function of `scores` that returns a fraction.

    Raises
    ------
    ValueError
        If a metric has the name of another column or returns no finite number.
    """
    percent = {"rank1": scores.rank(1), "rank5": scores.rank(5), "rank10": scores.rank(10)}
    percent |= {"mAP": scores.mAP, "mINP": scores.mINP}
    protocol = {}
    if isinstance(scores, SysuScores):
        percent |= {"rank20": scores.rank(20), "rank1_sd": scores.spread("rank-1"), "mAP_sd": scores.spread("mAP")}
        protocol = {"draw": scores.draw, "feature": "after the BNNeck" if recipe.bnneck else "pooled"}
    counts = {"queries": scores.num_valid, "unmatched": scores.num_invalid}
    how = protocol | {"reranking": _switch(scores.reranked), "flip": _switch(flip)}
    taken = {*percent, *counts, *how, *TRAINED, *RUN, *COST, *ORIGIN, "changed", "test"}
    for name, metric in (metrics or {}).items():
        if name in taken:
            raise ValueError(f"metric {name!r}: a column of that name exists; choose another name")
        percent[name] = metric(scores)
        if not isinstance(percent[name], Real) or not isfinite(percent[name]):
            raise ValueError(f"metric {name!r} returned {percent[name]!r}; return a fraction, a finite float")
    return {name: round(100 * float(value), 2) for name, value in percent.items()} | counts | how


def origin_columns(known: dict) -> dict:
    """The columns of what computed a number, as far as they are in `known`, an `environment()` and more."""
    return {name: known[name] for name in ORIGIN if name in known}


def result_line(row: dict) -> str:
    """One line for a row of `collect`: the training set, the test set, the scores, and how they were computed."""
    model = "" if row.get("model", "bot") == "bot" else f"{row['model']}, "
    return (
        f"{row['dataset']} -> {row['test']}: rank-1 {row['rank1']:.1f}  mAP {row['mAP']:.1f}  "
        f"({model}{row['preset']}, {row['tricks']}, seed {row['seed']}, epoch {row['epoch']}, "
        f"re-ranking {row['reranking']})"
    )


def _rows(result: dict) -> list[dict]:
    recipe = Recipe.from_dict(result["recipe"])
    # Rows are published: of a path only the last part is shown.
    recipe = replace(recipe, dataset=Path(recipe.dataset).name, weights=Path(recipe.weights).name)
    common = {name: getattr(recipe, name) for name in TRAINED} | {"changed": _changed(recipe)}
    common |= {name: result[name] for name in RUN}
    last = {name: result[name] for name in COST} | origin_columns(result["environment"] | result)
    return [common | {"test": name} | scores | last for name, scores in result["scores"].items()]


def _changed(recipe: Recipe) -> str:
    """The fields that differ from the standard recipe of the data set, as in "epochs=60 weights=none"."""
    return " ".join(f"{key}={here}".replace(" ", "") for key, (here, _) in recipe.changes().items())


def _switch(value: bool) -> str:
    return "on" if value else "off"
