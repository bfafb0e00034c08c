"""Runs on disk: the folder of a run, the result.json that makes it count as done, and the rows of tables."""

import json
from collections.abc import Callable, Iterable, Mapping
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
from reidlib.files import few, project, write_whole
from reidlib.models import NameNotFoundError, imported
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
    """The folder of a run: `run_dir` if given, else runs/ of the repository with the name of the recipe."""
    return Path(run_dir).expanduser() if run_dir else project() / "runs" / recipe.name()


def open_run(
    dataset: str, preset: str, tricks: str, seed: int, run_dir: str | Path | None = None, model: str = "bot"
) -> tuple[Recipe, Path]:
    """The recipe and the folder of a run that is to be tested by the rule of Market-1501.

    They are what `run_dir` holds, else those of the words of `Recipe.for_dataset`. Raises ValueError for SYSU-MM01,
    which has a protocol of its own, and for a folder whose recipe.json cannot be read.
    """
    claim = read_claim(Path(run_dir).expanduser()) if run_dir else None
    recipe = Recipe.from_dict(claim["recipe"]) if claim else Recipe.for_dataset(dataset, preset, tricks, seed, model)
    refuse_sysu(recipe.dataset)
    return recipe, run_folder(recipe, run_dir)


def write_result(
    run_dir: str | Path, system: System, rows: list[dict[str, Any]], scores: Mapping[str, Scores | SysuScores],
    flip: bool | None = None, metrics: Metrics | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write `run_dir`/result.json, which makes a run count as done.

    It holds the identity of the run, the digests of its test sets, the log in brief, the scores in percent, and what
    computed them; `source` joins by "+" the digests of all code that trained and tested. Returns what was written.

    Parameters
    ----------
    run_dir, system : the folder of the run, and what was tested
    rows : those of `fit` up to the tested epoch
    scores : by the name of the test; from `measure_all`
    flip : whether embeddings were averaged with those of the mirror images; default: as in the system's own test
    metrics : functions of Scores that return a fraction; each is stored in percent and becomes a column

    Raises
    ------
    ValueError : the folder belongs to another run than the system; the system was told to search with another feature
    FileNotFoundError : nothing was trained in the folder
    """
    flip = system.flip if flip is None else flip
    run, recipe = Path(run_dir).expanduser(), system.recipe
    if (claim := read_claim(run)) is None:
        raise FileNotFoundError(f"{run}: no recipe.json; a result is written in the folder that fit trained in")
    refuse(run, identity(recipe, None, code_of(system)))
    if (feature := getattr(system, "feature", "")) != (own := getattr(type(system), "feature", "")):
        raise ValueError(
            f"feature {feature!r}; the result of a run is that of feature {own!r}: set it and measure again"
        )
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


def score_columns(
    scores: Scores | SysuScores, recipe: Recipe, flip: bool, metrics: Metrics | None = None
) -> dict[str, Any]:
    """The columns of the scores of one test set: percentages, rounded to two digits, and how they were computed.

    SysuScores add rank-20, standard deviations over the trials, the draw and the feature. `recipe` is that of the
    system tested; `flip` says whether embeddings were averaged with those of the mirror images; `metrics` maps the name
    of a column to a function of `scores` that returns a fraction. Raises ValueError if a metric has the name of another
    column or returns no finite number.
    """
    percent = {"rank1": scores.rank(1), "rank5": scores.rank(5), "rank10": scores.rank(10)}
    percent |= {"mAP": scores.mAP, "mINP": scores.mINP}
    protocol = {}
    if isinstance(scores, SysuScores):
        percent |= {"rank20": scores.rank(20), "rank1_sd": scores.spread("rank-1"), "mAP_sd": scores.spread("mAP")}
        necked = type(recipe) is Recipe and recipe.bnneck  # other models search with what they pool
        protocol = {"draw": scores.draw, "feature": "after the BNNeck" if necked else "pooled"}
    elif scores.same_camera != "ignore":  # by another rule than Market's
        protocol = {"same_camera": scores.same_camera}
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


def row_of(system: System, scores: Scores | SysuScores, columns: Iterable[str], **more: Any) -> dict[str, Any]:
    """These columns of a test: the recipe's fields, the scores, what computed them, and `more`."""
    known = system.recipe.to_dict() | environment(*code_of(system))
    known |= score_columns(scores, system.recipe, system.flip) | more
    return {column: known[column] for column in columns}


def of_run(run: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows measured with the model of a run; their source is joined with that of the code that trained it."""
    claim = read_claim(run) or {}
    return [row | {"source": joined([claim.get("source", row["source"]), row["source"]])} for row in rows]


def metrics_by_name(names: str | None) -> dict[str, Callable[..., float]]:
    """The functions that "package.module:name,name" names, for `write_result`; none for None.

    Raises ValueError for a name that cannot be imported.
    """
    module, _, functions = (names or "").partition(":")
    return {name: imported(f"{module}:{name}", "metric") for name in functions.split(",") if name}


def collect(*folders: str | Path) -> list[dict[str, Any]]:
    """Collect the results of runs as the rows of a table, one for each run and test set.

    They are sorted by data set, test set, model, preset, tricks and seed.

    Parameters
    ----------
    *folders : every result.json at any depth below them counts, except those that a grid has moved to .stale

    Raises
    ------
    FileNotFoundError, ValueError : a folder does not exist; a result.json cannot be read
    """
    rows = []
    if missing := [str(folder) for folder in folders if not Path(folder).is_dir()]:
        raise FileNotFoundError(f"no such folder of runs: {few(missing)}")
    for file in (file for folder in folders for file in Path(folder).rglob("result.json")):
        if ".stale" in file.parts:
            continue
        try:
            rows += _rows(json.loads(file.read_text("utf-8")))
        except NameNotFoundError as error:  # the result is whole
            raise NameNotFoundError(f"{file}: {error}") from None
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
    recipe, known = without_paths(Recipe.from_dict(result["recipe"])), result["environment"] | result
    common = {name: getattr(recipe, name) for name in TRAINED} | {"changed": changed(recipe)}
    common |= {name: known[name] for name in RUN}
    last = {name: known[name] for name in (*COST, *ORIGIN) if name in known}  # an older file has fewer
    return [common | {"test": name} | scores | last for name, scores in result["scores"].items()]


def without_paths(recipe: Recipe) -> Recipe:
    """A recipe as it is published: without the folders of the user's data set and of a file of weights."""
    built_in = recipe.dataset.partition(":")[0] in FOLDERS
    dataset = recipe.dataset if built_in else own_name(Path(recipe.dataset))
    return replace(recipe, dataset=dataset, weights=Path(recipe.weights).name)


def changed(recipe: Recipe) -> str:
    """The fields that differ from the standard recipe of the data set, as in "epochs=60 weights=none"."""
    return " ".join(f"{key}={here}".replace(" ", "") for key, (here, _) in recipe.changes().items())


def _switch(value: bool) -> str:
    return "on" if value else "off"
