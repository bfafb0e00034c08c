"""Rows of small trainings on drawn people: those of a plan that a table in results/ lacks are trained and tested.

A row belongs to a recipe, a test set, the digest of the code and that of the images; what was made by other code or of
other images is made again, so a study goes on where it was stopped.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from reidlib.data import load
from reidlib.evaluation.score import score
from reidlib.files import few, project, read_csv, write_csv
from reidlib.provenance import data_digest, modules_of, source_digest
from reidlib.recipe import Recipe
from reidlib.runs import estimate
from reidlib.runs.estimate import SHAPE
from reidlib.runs.results import changed, row_of
from reidlib.systems import build
from reidlib.train.embedding import embed
from reidlib.train.loop import fit

SEEDS = tuple(range(1, 11))
PROCESSES = 2
KEY = ("dataset", "test", "model", "tricks", "changed", "seed")  # what a row is about; "" changed: the toy's own recipe
COLUMNS = (
    *KEY, "iterations", "rank1", "mAP", "mINP", "queries", "flip", "reranking", "seconds", "device", "torch", "data",
    "source", "commit",
)  # fmt: skip


def key(recipe: Recipe, test: str) -> tuple:
    """What the row of a training and a test is about: the values of `KEY`."""
    return recipe.dataset, test, recipe.model, recipe.tricks, changed(recipe), recipe.seed


def by_key(rows: list[dict], metric: str) -> dict[tuple, float]:
    """The values of rows by their `KEY`. ValueError for two rows of one, and for several versions of a model's code."""
    found = {tuple(row[name] for name in KEY): row[metric] for row in rows}
    models = [model for model, _ in {(row["model"], row["source"]) for row in rows}]
    if len(found) < len(rows) or len(set(models)) < len(models):
        fault = "two rows are of one training" if len(found) < len(rows) else "versions of the code are mixed"
        raise ValueError(f"{fault}; keep the rows of one version of the code, each training once")
    return found


def others(file: Path, datasets: Collection[str]) -> list[dict]:
    """The rows of a table about other data sets than these, which a new part of it leaves alone; none for no sets."""
    return [row for row in read_csv(file) if row["dataset"] not in datasets] if datasets and file.is_file() else []


def trained(recipe: Recipe, tests: Iterable[str]) -> list[dict[str, Any]]:
    """Train by a recipe in a folder that is thrown away; the rows of its tests."""
    split = load(recipe.dataset)
    system = build(recipe, split.train)
    with tempfile.TemporaryDirectory(prefix="reid-") as folder:
        log = list(fit(system, split.train, folder))
    cost = {"iterations": log[-1]["iteration"], "seconds": round(sum(row["seconds"] for row in log), 1)}
    table = []
    for test in tests:
        on = load(test)
        scores = score(embed(system, on.query), embed(system, on.gallery), on.query, on.gallery)
        about = dict(zip(KEY, key(recipe, test), strict=True), data=data_of(recipe.dataset, test))
        table.append(row_of(system, scores, COLUMNS, **cost, **about))
    return table


def data_of(dataset: str, test: str) -> str:
    """The digest of the training images of one data set and of the test images of another."""
    split = load(test)
    return data_digest(load(dataset).train, split.query, split.gallery)


def missing(rows: list[dict], planned: dict[Recipe, tuple[str, ...]]) -> dict[Recipe, tuple[str, ...]]:
    """The trainings, and their tests, that no row is about, or one of other code or images."""
    known = {tuple(row[name] for name in (*KEY, "data", "source")) for row in rows}
    digests = {pair: data_of(*pair) for pair in {(r.dataset, t) for r, tests in planned.items() for t in tests}}
    left = {}
    for recipe, tests in planned.items():
        source = source_digest(*modules_of(recipe))
        undone = [t for t in tests if (*key(recipe, t), digests[recipe.dataset, t], source) not in known]
        if undone:
            left[recipe] = tuple(undone)
    return left


def _ready() -> None:
    """What a process does before its first training: one thread, so that two do not wait for each other."""
    torch.set_num_threads(1)


def duration(planned: Iterable[Recipe]) -> float:
    """The seconds that trainings take in one process on this machine: each shape of network is tried for some steps."""
    speeds: dict[tuple, float] = {}
    seconds = 0.0
    for recipe in planned:
        shape = tuple(getattr(recipe, name) for name in SHAPE)
        if shape not in speeds:
            speeds[shape] = estimate.measured(recipe, load(recipe.dataset))[0][-1]
        seconds += recipe.epochs * (recipe.iterations or 1) * speeds[shape]
    return seconds


def finished(runs: Iterable[Path], command: str) -> list[Path]:
    """The folders of finished runs. FileNotFoundError if some are not: it names them and the command to run first."""
    runs = list(runs)
    if undone := [run.name for run in runs if not (run / "result.json").is_file()]:
        raise FileNotFoundError(f"no result of {few(undone)}; run {command} first")
    return runs


def measured(
    plan: Callable[[Sequence[int]], dict[Recipe, tuple[str, ...]]],
    table: str,
    module: str,
    words: str | None = None,
    arguments: list[str] | None = None,
) -> list[dict]:
    """The rows of results/`table`, after the trainings that it lacks; each row is written as it comes.

    plan: the recipes of some seeds, each with the data sets of its tests; module: of `reidlib.studies`, words: what it
    does, for --help. With --dry-run nothing is trained, it prints how long that would take and returns no rows.
    """
    parser = argparse.ArgumentParser(prog=f"python -m reidlib.studies.{module}", description=words)
    parser.add_argument("--dry-run", action="store_true", help="say how many trainings are missing, and how long")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="the paired seeds (default: 1 to 10)")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="trainings at a time, one thread each")
    options, file = parser.parse_args(arguments), project() / "results" / table
    rows = read_csv(file) if file.is_file() else []
    planned = plan(options.seeds)
    left = missing(rows, planned)
    print(f"{len(planned) - len(left)} of {len(planned)} trainings are in {table}", flush=True)
    if options.dry_run:
        _ready()
        minutes = duration(left) / 60 / options.processes
        print(
            f"{len(left)} are missing: {minutes:.0f} minutes in {options.processes} processes on this machine as it is"
        )
        return []
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(options.processes, get_context("spawn"), _ready)
    try:
        for job in as_completed([pool.submit(trained, *pair) for pair in left.items()]):
            new = {tuple(row[name] for name in KEY): row for row in job.result()}
            rows = [row for row in rows if tuple(row[name] for name in KEY) not in new] + list(new.values())
            write_csv(sorted(rows, key=lambda row: [row[name] for name in KEY]), file)
            print(*(f"{row['test']} {row['mAP']:.1f}" for row in new.values()), *next(iter(new)), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return rows
