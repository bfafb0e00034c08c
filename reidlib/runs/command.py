"""Train and test from the shell, on one device or under torchrun: python -m reidlib.train --dataset market --seed 2."""

import argparse
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin

import torch
import torch.distributed as dist

from reidlib.evaluation.score import SAME_CAMERA
from reidlib.files import made
from reidlib.provenance import PACKAGE
from reidlib.recipe import Recipe, recipe_class
from reidlib.runs.measuring import measure_all, test_sets
from reidlib.runs.results import run_folder, write_result
from reidlib.systems import build
from reidlib.train.checkpoints import BusyError, checkpoints, rank, restore
from reidlib.train.loop import fit
from reidlib.train.rows import epoch_row

FOLDERS = {
    "data-root": "the folder of all data sets; default: $REID_DATA, else data/ of the repository",
    "market-path": "the folder of Market-1501, if it is not under the data root",
    "duke-path": "the folder of DukeMTMC-reID, if it is not under the data root",
    "run-dir": "the folder of this run; default: runs/ of the repository, with the name of the recipe",
}


def stoppable(command: Callable[[], int | None], name: str = "error") -> int:
    """The exit status of a command: 2 for what cannot be done, after a sentence that says why; 130 for Ctrl-C.

    An error that code outside the library raises, such as a system of one's own, keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is written with escapes
            to_file = sys.platform == "win32" and not stream.isatty()  # else in an encoding that read_csv refuses
            stream.reconfigure(encoding="utf-8" if to_file else None, errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            status = command() or 0
            sys.stdout.flush()
            return status
        except KeyboardInterrupt:
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of a notebook's tasks, which nobody awaits now
            print("\nstopped; the same command takes up a training or a grid where it was", file=sys.stderr)
            return 130
        except BrokenPipeError:  # of reid search ... | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
            return 141
        except (ValueError, OSError, ImportError, BusyError) as error:
            raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
            if not isinstance(error, OSError) and not Path(raised_in).is_relative_to(PACKAGE):
                raise
            print(f"{name}: {error}", file=sys.stderr)
            return 2


def writable(option: str, file: str | Path) -> Path:
    """The same file, whose folder is made if it is missing; OSError before any work if it cannot be written."""
    file = Path(file)
    made(file.parent, f"{option} {file}")
    if file.is_dir():
        raise IsADirectoryError(f"{option} {file} is a folder; give the name of a file in it")
    if not os.access(file.parent, os.W_OK):
        raise PermissionError(f"{option} {file}: no right to write in {file.parent}")
    return file


def main(arguments: list[str] | None = None) -> None:
    """Train the recipe, or resume its training, test the model on every set that is here, and write result.json."""
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument("--model", default="bot")
    model = chosen.parse_known_args(arguments)[0].model
    given = vars(parser(model).parse_args(arguments))
    paths = {name: given.pop(f"{name}_path") for name in ("market", "duke")}
    root, run_dir, flip, memory = (given.pop(name) for name in ("data_root", "run_dir", "flip_test", "memory"))
    same_camera = given.pop("same_camera")
    recipe = Recipe.for_dataset(**given)
    run, device = run_folder(recipe, run_dir), _join()
    first = rank() == 0
    splits, absent = test_sets(recipe.dataset, paths, root, same_camera)
    split = next(iter(splits.values()))
    rows = []
    for row in fit(build(recipe, split.train, device), split.train, run, None if memory is None else int(memory * 1e9)):
        rows.append(row)
        if first:
            print(epoch_row(row), flush=True)
    together = _leave()
    if first:
        system = restore(run, device=device)
        scores = measure_all(system, splits, run, checkpoints(run)[-1], flip, same_camera=same_camera)
        write_result(run, system, rows, scores, flip)
        for name, value in scores.items():
            print(f"{split.name} -> {name}: {value}")
        for name, reason in absent.items():
            print(f"{name} is not here and is skipped. {reason}")
    if together:  # gloo's threads can abort a normal exit after all work is done
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def parser(model: str = "bot") -> argparse.ArgumentParser:
    """One option for every field of a model's recipe, and those that say where things are."""
    made = argparse.ArgumentParser(prog="python -m reidlib.train", description=main.__doc__)
    standing = {"dataset": "market", "preset": "reference", "tricks": "all", "seed": 1, "model": "bot"}
    for entry in fields(recipe_class(model)):
        inner = get_args(entry.type)  # of tuple[int, ...] and int | None
        options = ["--" + entry.name.replace("_", "-")]
        if len(entry.name) == 1:  # torchrun takes --p for an abbreviation of its own options, but not --P
            options.append(options[0].upper())
        help_text = entry.metadata.get("help", "").replace("%", "%%")
        if entry.type is bool:
            made.add_argument(*options, action=argparse.BooleanOptionalAction, help=help_text)
        else:
            kind, nargs = inner[0] if inner else entry.type, "+" if get_origin(entry.type) is tuple else None
            made.add_argument(
                *options, type=kind, nargs=nargs, default=standing.get(entry.name), metavar=entry.name.upper(),
                help=help_text,
            )  # fmt: skip
    for name, text in FOLDERS.items():
        made.add_argument(f"--{name}", metavar="FOLDER", help=text)
    made.add_argument("--memory", type=float, metavar="GB", help="what the decoded training images may take")
    flip = "average each test image with its mirror image; default: what the model's own test does"
    made.add_argument("--flip-test", action=argparse.BooleanOptionalAction, help=flip)
    keep = "whether images of a query's own camera are ignored, as on Market-1501, or count as matches too"
    made.add_argument("--same-camera", choices=SAME_CAMERA, default="ignore", help=keep)
    return made


def _join() -> str | None:
    """Join the other processes of torchrun, if any; returns the device of this one, None if it is alone."""
    if "WORLD_SIZE" not in os.environ:
        return None
    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu and dist.is_nccl_available() else "gloo")
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return f"cuda:{os.environ['LOCAL_RANK']}" if gpu else "cpu"


def _leave() -> bool:
    """End the group of processes after training, so that none waits for the test; returns whether there was one."""
    together = dist.is_initialized()
    if together:
        dist.barrier()
        dist.destroy_process_group()
    return together
