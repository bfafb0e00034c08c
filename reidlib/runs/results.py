"""What a run leaves behind, one result.json, and the rows collected from many runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from reidlib.data.layouts import FOLDERS, own_name
from reidlib.evaluation.score import Scores
from reidlib.evaluation.sysu import SysuScores, refuse_sysu
from reidlib.files import project, write_whole
from reidlib.models import imported
from reidlib.provenance import code_of, data_digest, environment, identity, joined
from reidlib.recipe import Recipe
from reidlib.systems import System
from reidlib.systems.backbones import uses_bf16
from reidlib.train.checkpoints import read_claim, refuse

# Columns of a row, beside those of the scores: fields of the recipe, of the run, of its cost, and of what computed it.
TRAINED = ("dataset", "model", "preset", "tricks", "seed", "backbone", "weights", "height", "width", "epochs")
RUN = ("epoch", "iterations", "precision", "world")
COST = ("seconds", "images_per_s", "peak_mb", "peak_gpu_mb")
ORIGIN = ("device", "torch", "data", "source", "commit", "date")

Metrics = Mapping[str, Callable[..., float]]  # name -> a function of Scores, or of SysuScores, that returns a fraction


def run_folder(recipe: Recipe, run_dir: str | Path | None = None) -> Path:
    """The folder of a run.

    Parameters
    ----------
    recipe : Recipe
        What the run is.
    run_dir : str or Path, optional
        A folder of your own choice.

    Returns
    -------
    Path
        `run_dir` if given, else runs/ of the repository with the name of the recipe.

    Examples
    --------
    >>> import reidlib as rl
    >>> rl.run_folder(rl.Recipe.for_dataset("toy", seed=3)).name
    'toy-reference-all-seed3'
    """
    return Path(run_dir).expanduser() if run_dir else project() / "runs" / recipe.name()


def open_run(
    dataset: str, preset: str, tricks: str, seed: int, run_dir: str | Path | None = None, model: str = "bot"
) -> tuple[Recipe, Path]:
    """Find the recipe and the folder of a run that is to be tested by the rule of Market-1501.

    Parameters
    ----------
    dataset, preset, tricks, seed, model
        The words of `Recipe.for_dataset`. They are ignored if `run_dir` holds a run.
    run_dir : str or Path, optional
        The folder of the run; by default that of the recipe.

    Returns
    -------
    recipe : Recipe
        What the folder holds, else the recipe of the words.
    folder : Path
        Its folder.

    Raises
    ------
    ValueError
        For SYSU-MM01, which has a protocol of its own, and for a folder whose recipe.json cannot be read.
    """
    claim = read_claim(Path(run_dir)) if run_dir else None
    if claim:
        recipe = Recipe.from_dict(claim["recipe"])
    else:
        recipe = Recipe.for_dataset(dataset, preset, tricks, seed, model=model)
    refuse_sysu(recipe.dataset)
    return recipe, run_folder(recipe, run_dir)


def write_result(
    run_dir: str | Path,
    system: System,
    rows: list[dict[str, Any]],
    scores: Mapping[str, Scores | SysuScores],
    flip: bool | None = None,
    metrics: Metrics | None = None,
) -> dict[str, Any]:
    """Write `run_dir`/result.json, which makes a run count as done.

    Parameters
    ----------
    run_dir : str or Path
        The folder of the run.
    system : System
        What was tested.
    rows : list of dict
        The rows of `fit` up to the tested epoch.
    scores : dict of str to Scores
        By the name of the test; from `measure_all`.
    flip : bool, optional
        Whether embeddings were averaged with those of the mirror images; by default as in the system's own test.
    metrics : dict of str to callable, optional
        Functions of Scores that return a fraction. Each is stored in percent and becomes a column.

    Returns
    -------
    dict
        What was written: the identity of the run, the digests of its test sets, the log in brief, the scores in
        percent, and what computed them. ``source`` joins by "+" the digests of all code that trained and tested.

    Raises
    ------
    ValueError
        If the folder belongs to another run than the system.
    FileNotFoundError
        If nothing was trained in the folder.
    """
    flip = system.flip if flip is None else flip
    run, recipe, claim = Path(run_dir), system.recipe, read_claim(Path(run_dir))
    if claim is None:
        raise FileNotFoundError(f"{run}: no recipe.json; a result is written in the folder that fit trained in")
    refuse(run, identity(recipe, None, code_of(system)))
    made = environment(*code_of(system))
    device = next(system.parameters()).device.type
    result = {name: claim[name] for name in ("recipe", "data", "weights", "system")} | {
        "tests": {name: data_digest(s.query, s.gallery) for name, s in scores.items() if s.query and s.gallery},
        "epoch": rows[-1]["epoch"],
        "iterations": rows[-1]["iteration"],
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "images_per_s": round(float(np.median([row["images_per_s"] for row in rows])), 1),
        "world": max(row["world"] for row in rows),
        "precision": "bf16" if uses_bf16(recipe.precision, device) else "float32",
        "peak_mb": round(max(row["peak_mb"] for row in rows)),
        "peak_gpu_mb": round(max(row["peak_gpu_mb"] for row in rows)),
        "scores": {name: score_columns(value, recipe, flip, metrics or {}) for name, value in scores.items()},
        "environment": made | {"source": joined([claim.get("source", ""), made["source"]])},
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_whole(run / "result.json", json.dumps(result, indent=1).encode())
    return result


def collect(*folders: str | Path) -> list[dict[str, Any]]:
    """Collect the results of runs as the rows of a table.

    Parameters
    ----------
    *folders : str or Path
        Every result.json at any depth below them counts, except those that a grid has moved to .stale.

    Returns
    -------
    list of dict
        One row for each run and test set, sorted by data set, test set, model, preset, tricks and seed.

    Raises
    ------
    ValueError
        For a result.json that cannot be read.

    Examples
    --------
    >>> import reidlib as rl
    >>> rl.collect("no/such/folder")
    []
    """
    rows = []
    for file in (file for folder in folders for file in Path(folder).rglob("result.json")):
        if ".stale" in file.parts:
            continue
        try:
            rows += _rows(json.loads(file.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} cannot be read ({error!r}); delete it and test the run again") from error
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
    built_in = recipe.dataset.partition(":")[0] in FOLDERS
    dataset = recipe.dataset if built_in else own_name(Path(recipe.dataset))
    recipe = replace(recipe, dataset=dataset, weights=Path(recipe.weights).name)  # rows are published: no paths
    common = {name: getattr(recipe, name) for name in TRAINED} | {"changed": _changed(recipe)}
    common |= {name: result[name] for name in RUN}
    last = {name: result[name] for name in COST} | origin_columns(result["environment"] | result)
    return [common | {"test": name} | scores | last for name, scores in result["scores"].items()]


def _changed(recipe: Recipe) -> str:
    """The fields that differ from the standard recipe of the data set, as in "epochs=60 weights=none"."""
    return " ".join(f"{key}={here}".replace(" ", "") for key, (here, _) in recipe.changes().items())


def _switch(value: bool) -> str:
    return "on" if value else "off"


def metrics_by_name(names: str | None) -> dict[str, Callable[..., float]]:
    """The functions that "package.module:name,name" names, for `write_result`; none for None.

    Raises ValueError for a name that cannot be imported.

    Examples
    --------
    >>> metrics_by_name("math:fsum,sqrt")
    {'fsum': <built-in function fsum>, 'sqrt': <built-in function sqrt>}
    """
    module, _, functions = (names or "").partition(":")
    return {name: imported(f"{module}:{name}", "metric") for name in functions.split(",") if name}
