"""Train and test from the shell, on one device or under torchrun: python -m reidlib.train --dataset market --seed 2."""

import argparse
import os
import sys
from dataclasses import fields
from typing import get_args, get_origin

import torch
import torch.distributed as dist

from reidlib.recipe import Recipe
from reidlib.runs.measuring import measure_all, targets
from reidlib.runs.results import run_folder, write_result
from reidlib.systems import build
from reidlib.train.checkpoints import checkpoints, rank, restore
from reidlib.train.loop import epoch_row, fit


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe, go on where it was left, test on every set that is here, and write result.json."""
    given = vars(parser().parse_args(arguments))
    paths = {name: given.pop(f"{name}_path") for name in ("market", "duke")}
    root, run_dir, flip = given.pop("data_root"), given.pop("run_dir"), given.pop("flip_test")
    memory = given.pop("memory")
    recipe = Recipe.for_dataset(**given)
    run, device = run_folder(recipe, run_dir), _join()
    splits, absent = targets(recipe.dataset, paths, root)
    split = next(iter(splits.values()))
    rows = []
    system = build(recipe, split.train, device)
    for row in fit(system, split.train, run, None if memory is None else int(memory * 1e9)):
        rows.append(row)
        _say(epoch_row(row))
    if rank() == 0:
        system = restore(run, device=device)
        scores = measure_all(system, splits, run, checkpoints(run)[-1], flip)
        write_result(run, system, rows, scores, flip)
        for name, found in scores.items():
            _say(f"{split.name} -> {name}: {found}")
        for name, reason in absent.items():
            _say(f"{name} is not here and is skipped. {reason}")
    _leave()


def parser() -> argparse.ArgumentParser:
    """One option for every field of the recipe, and those that say where things are."""
    made = argparse.ArgumentParser(prog="python -m reidlib.train", description=main.__doc__)
    standing = {"dataset": "market", "preset": "reference", "tricks": "all", "seed": 1}
    for entry in fields(Recipe):
        inner = get_args(entry.type)  # of tuple[int, ...] and int | None
        options = ["--" + entry.name.replace("_", "-")]
        if len(entry.name) == 1:  # torchrun takes --p for an abbreviation of its own options, but not --P
            options.append(options[0].upper())
        if entry.type is bool:
            made.add_argument(*options, action=argparse.BooleanOptionalAction)
        else:
            made.add_argument(
                *options,
                type=inner[0] if inner else entry.type,
                nargs="+" if get_origin(entry.type) is tuple else None,
                default=standing.get(entry.name),
                metavar=entry.name.upper(),
            )
    for name in ("data-root", "market-path", "duke-path", "run-dir"):
        made.add_argument(f"--{name}", metavar="FOLDER")
    made.add_argument("--memory", type=float, metavar="GB", help="what the decoded training images may take")
    made.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        help="average each test image with its mirror image; default: what the model's own test does",
    )
    return made


def _join() -> str | None:
    """Join the other processes of torchrun, if any; returns this one's device."""
    if "WORLD_SIZE" not in os.environ:
        return None
    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo")
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return f"cuda:{os.environ['LOCAL_RANK']}" if gpu else "cpu"


def _leave() -> None:
    """End together. gloo's threads can abort a normal exit after all work is done, so it is cut short."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _say(line: str) -> None:
    if rank() == 0:
        print(line, flush=True)
