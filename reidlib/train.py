"""The training loop: epochs, checkpoints, resume and the log. It knows no architecture.

One GPU is the default, and the published table uses it: data-parallel training splits the batch, which changes
batch-hard mining and the statistics of BatchNorm, so it is another recipe.
"""

import csv
import json
import os
import pickle
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import torch

from reidlib.batches import PKSampler, augment, generator
from reidlib.images import ImageStore
from reidlib.recipe import Recipe
from reidlib.systems import build

SAVE_EVERY = 60.0  # seconds between checkpoints that only serve to resume


def fit(system, shots, run_dir: str | Path) -> Iterator[dict]:
    """Train `system` on `shots` by its recipe, in the folder `run_dir`; yields one row (a dict) per epoch.

    A finished or interrupted run goes on by itself: the rows already logged are yielded first. A loop that is left
    early keeps every row it got; a run that is killed goes on from a checkpoint at most a minute (or an epoch) old.
    The run's random numbers are its own: what the caller does between two rows cannot change them. Raises ValueError where the folder holds another recipe or other data, or where a loss is
    not finite; RuntimeError where another process trains in the folder.
    """
    run, recipe = Path(run_dir), system.recipe
    device = next(system.parameters()).device
    run.mkdir(parents=True, exist_ok=True)
    with _lock(run):
        store = ImageStore(shots, recipe.size, recipe.resize).to(device)
        _claim(run, recipe, store.digest)
        rows = _resume(system, run)
        yield from [dict(row) for row in rows]
        labels = torch.searchsorted(system.ids.cpu(), torch.as_tensor(shots.pids)).to(device)
        sampler = PKSampler(shots.pids, recipe.p, recipe.k, recipe.order, recipe.iterations, recipe.seed)
        saved_at = time.monotonic()
        for epoch in range(len(rows), recipe.epochs):
            iteration = rows[-1]["iteration"] if rows else 0
            rows.append(_train_epoch(system, store, labels, sampler.epoch(epoch), epoch, iteration))
            _write_log(run, rows)
            due = (epoch + 1) % recipe.checkpoint_every == 0 or epoch + 1 == recipe.epochs
            if due or time.monotonic() - saved_at > SAVE_EVERY:
                _save(system, run, rows, store.digest)
                due, saved_at = True, time.monotonic()
            try:
                yield dict(rows[-1])
            except GeneratorExit:  # the caller left the loop here
                if not due:
                    _save(system, run, rows, store.digest)
                raise


def restore(run_dir: str | Path, epoch: int | None = None, device: str | torch.device | None = None):
    """The system of a run after `epoch` epochs, or after the last one saved.

    Raises FileNotFoundError with the epochs that there are.
    """
    run = Path(run_dir)
    kept = checkpoints(run)
    if not kept or (epoch is not None and epoch not in kept):
        raise FileNotFoundError(
            f"{run}: no checkpoint{'' if epoch is None else f' of epoch {epoch}'}; it has {kept or 'none'}"
        )
    state = _read(_file(run, kept[-1] if epoch is None else epoch))
    recipe = Recipe.from_dict(state["recipe"] | {"weights": "none"})  # what training started from is not fetched again
    system = build(recipe, state["system"]["ids"], device)
    system.recipe = Recipe.from_dict(state["recipe"])
    system.load_state_dict(state["system"])
    return system


def load_or_train(recipe: Recipe, shots, run_dir: str | Path, epoch: int | None = None):
    """The system of a run after `epoch` epochs, or after its last; where there is no checkpoint it is trained first."""
    if not checkpoints(run_dir):
        for row in fit(build(recipe, shots), shots, run_dir):
            print(epoch_row(row))
    return restore(run_dir, epoch)


def checkpoints(run_dir: str | Path) -> list[int]:
    """The epochs of which a run has a checkpoint, ascending; n means after n epochs."""
    return sorted(int(file.stem.removeprefix("epoch_")) for file in Path(run_dir, "checkpoints").glob("epoch_*.pt"))


def epoch_row(row: dict) -> str:
    """One aligned line of a row that `fit` yielded."""
    return (
        f"epoch {row['epoch']:4d}  iteration {row['iteration']:6d}  loss {row['loss']:7.4f}  acc {row['acc']:6.1%}  "
        f"lr {row['lr']:.2e}  ids {row['ids_seen']:4.0%}  images {row['images_seen']:4.0%}  "
        f"{row['images_per_s']:6.0f} images/s  {row['seconds']:6.1f} s"
    )


def _train_epoch(system, store, labels, batches, epoch: int, iteration: int) -> dict:
    """One epoch of updates; its random state is a function of the seed and the epoch, and the caller's comes back."""
    start, waiting, logged = time.perf_counter(), 0.0, []
    device, recipe = labels.device, system.recipe
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        system.begin_epoch(epoch)
        for number, index in enumerate(batches, iteration):
            began = time.perf_counter()
            images = augment(store.batch(index, device), recipe, generator(recipe.seed, "augment", number))
            waiting += time.perf_counter() - began
            logged.append(system.step(images, labels[torch.as_tensor(index, device=device)]))
    values = {name: torch.stack([losses[name] for losses in logged]).double().cpu() for name in logged[0]}
    _finite(values["loss"], epoch, batches)
    seen, seconds = np.unique(np.concatenate(batches)), time.perf_counter() - start
    return {
        "epoch": epoch + 1,
        "iteration": iteration + len(batches),
        **{name: value.mean().item() for name, value in values.items()},
        "lr": next(iter(system.optimizers.values())).param_groups[0]["lr"],
        "ids_seen": len(labels[seen].unique()) / len(system.ids),
        "images_seen": len(seen) / len(labels),
        "seconds": seconds,
        "images_per_s": sum(map(len, batches)) / seconds,
        "waiting": waiting / seconds,
    }


def _finite(losses: torch.Tensor, epoch: int, batches: list[np.ndarray]) -> None:
    bad = (~losses.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the loss is {losses[bad[0]]} at epoch {epoch + 1}, iteration {bad[0] + 1} of it, on the training images "
            f"{batches[bad[0]].tolist()}; the checkpoint before it is kept: try precision='float32' or a smaller lr"
        )


def _lock(run: Path):
    lock = filelock.FileLock(run / ".lock", timeout=0)
    try:
        return lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(
            f"{run}: another process is training in this folder; wait for it, or choose another"
        ) from None


def _claim(run: Path, recipe: Recipe, digest: str) -> None:
    """Write what the folder is for, or refuse it where it is for something else."""
    file = run / "recipe.json"
    if file.is_file():
        claimed = json.loads(file.read_text())
        differences = recipe.differences(Recipe.from_dict(claimed["recipe"]))
        if claimed["data"] != digest:
            differences["data digest"] = (digest, claimed["data"])
        if differences:
            lines = "; ".join(
                f"{name} is {theirs!r} there and {mine!r} here" for name, (mine, theirs) in differences.items()
            )
            raise ValueError(f"{run} holds another run: {lines}. Choose another folder, or delete that one")
    write_whole(file, json.dumps({"recipe": recipe.to_dict(), "data": digest}, indent=1).encode())


def _file(run: Path, epoch: int) -> Path:
    return run / "checkpoints" / f"epoch_{epoch:04d}.pt"


def _save(system, run: Path, rows: list[dict], digest: str) -> None:
    """Write a checkpoint, then delete those that are neither the last nor at a multiple of `checkpoint_every`."""
    state = {
        "system": system.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in system.optimizers.items()},
        "rows": rows,
        "recipe": system.recipe.to_dict(),
        "data": digest,
    }
    file = _file(run, len(rows))
    file.parent.mkdir(exist_ok=True)
    write_whole(file, lambda stream: torch.save(state, stream))
    for epoch in checkpoints(run):
        if epoch < len(rows) and epoch % system.recipe.checkpoint_every:
            _file(run, epoch).unlink()


def _resume(system, run: Path) -> list[dict]:
    """Load the newest checkpoint that can be read into `system`; returns its rows."""
    for epoch in reversed(checkpoints(run)):
        try:
            state = _read(_file(run, epoch))
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError) as error:
            warnings.warn(f"{_file(run, epoch)} cannot be read ({error}); falling back to the one before", stacklevel=3)
            continue
        system.load_state_dict(state["system"])
        for name, optimizer in system.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        return state["rows"]
    return []


def _read(file: Path) -> dict:
    return torch.load(file, map_location="cpu", weights_only=True)


def _write_log(run: Path, rows: list[dict]) -> None:
    with open(run / "log.csv.tmp", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(run / "log.csv.tmp", run / "log.csv")


def write_whole(file: Path, content) -> None:
    """Write bytes, or what `content(stream)` writes, under a temporary name, then rename: all of the file or none."""
    temporary = file.with_name(file.name + ".tmp")
    with open(temporary, "wb") as stream:
        content(stream) if callable(content) else stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)
