"""Runs on disk: the folder of a run, and the result.json that makes it count as done."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from reidlib.evaluation.score import Scores
from reidlib.evaluation.sysu import SysuScores, refuse_sysu
from reidlib.files import project, write_whole
from reidlib.provenance import code_of, data_digest, environment, identity, joined
from reidlib.recipe import Recipe
from reidlib.runs.rows import Metrics, score_columns
from reidlib.systems import System
from reidlib.systems.backbones import uses_bf16
from reidlib.train.checkpoints import read_claim, refuse


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
