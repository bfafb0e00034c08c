"""Rows of tables: the columns of scores, and the rows collected from the results of many runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

from reidlib.data.layouts import FOLDERS, own_name
from reidlib.evaluation.score import Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.models import imported
from reidlib.provenance import joined
from reidlib.recipe import Recipe
from reidlib.train.checkpoints import read_claim

# Columns of a row, beside those of the scores: fields of the recipe, of the run, of its cost, and of what computed it.
TRAINED = ("dataset", "model", "preset", "tricks", "seed", "backbone", "weights", "height", "width", "epochs")
RUN = ("epoch", "iterations", "precision", "world")
COST = ("seconds", "images_per_s", "peak_mb", "peak_gpu_mb")
ORIGIN = ("device", "torch", "data", "source", "commit", "date")

Metrics = Mapping[str, Callable[..., float]]  # name -> a function of Scores, or of SysuScores, that returns a fraction


def score_columns(
    scores: Scores | SysuScores, recipe: Recipe, flip: bool, metrics: Metrics | None = None
) -> dict[str, Any]:
    """The columns of the scores of one test set: percentages, rounded to two digits, and how they were computed.

    Parameters
    ----------
    scores
        Of one test set. SysuScores add rank-20, standard deviations over the trials, the draw and the feature.
    recipe
        Of the system that was tested.
    flip
        Whether embeddings were averaged with those of the mirror images.
    metrics
        Name of a column -> function of `scores` that returns a fraction.

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


def origin_columns(known: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of what computed a number: those of `ORIGIN` that `known` has, an `environment()` and more."""
    return {name: known[name] for name in ORIGIN if name in known}


def of_run(run: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows measured with the model of a run; their source is joined with that of the code that trained it."""
    claim = read_claim(run) or {}
    return [row | {"source": joined([claim.get("source", row["source"]), row["source"]])} for row in rows]


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
