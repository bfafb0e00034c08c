"""The training loop: epochs, checkpoints, resume and the log. It knows no architecture.

One GPU is the default, and the published table uses it. Under torchrun every rank iterates `fit` and takes its share
of the identities of each batch: hard examples are then looked for, and BatchNorm's statistics taken, within a share,
so several GPUs are another recipe, however equal its fields.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from reidlib.data.augment import augment
from reidlib.data.batches import PKSampler, generator
from reidlib.data.images import ImageStore, on
from reidlib.data.shots import Shots
from reidlib.files import few, made
from reidlib.provenance import code_of, data_digest, identity, source_digest
from reidlib.recipe import Recipe
from reidlib.systems import System, build, device_settings
from reidlib.train.checkpoints import (
    Keeper,
    check_epoch,
    checkpoints,
    claim_folder,
    lock,
    rank,
    refuse,
    restored,
    resume,
    world,
)
from reidlib.train.rows import cost, epoch_row, means_of


def fit(system: System, shots: Shots, run_dir: str | Path, memory: int | None = None) -> Iterator[dict[str, Any]]:
    """Train a freshly built system in the folder of a run; yields a row an epoch, after its checkpoint is safe.

    A finished or interrupted run resumes: the rows already logged are yielded first. Leaving the loop early keeps
    every row that was yielded; a killed run resumes from a checkpoint at most a minute old, also within an epoch. The
    run has random numbers of its own: nothing that the caller does between two rows can change them. A row holds
    `epoch` (from 1), `iteration`, the means of the losses and of `acc`, `lr`, times and more; see `epoch_row`.

    Parameters
    ----------
    system : from `build`, for the identities of `shots`; it is trained in place and serves for one run
    shots : the training images
    run_dir : made if it is missing; it belongs to one recipe, data set and starting weights
    memory : bytes that the decoded images may take (see `ImageStore`); no result depends on it

    Raises
    ------
    ValueError : the system was trained before or is built for other identities, the folder or a checkpoint in it
        belongs to another run, or a loss is not finite
    OSError : the folder cannot be made or written, or is a file
    RuntimeError : another process trains in the folder
    """
    run, recipe = Path(run_dir).expanduser(), system.recipe
    _check(system, shots)
    sampler = PKSampler.of(recipe, shots)
    made(run, "run_dir")
    with lock(run) if rank() == 0 else contextlib.nullcontext():
        me, store, labels = _open(system, shots, run, memory)
        rows, begun = resume(system, run, me)
        vars(system)["used"] = True
        keeper = Keeper(system, run, me)
        if rank() == 0:
            claim_folder(run, me, source_digest(*code_of(system)), len(rows) < recipe.epochs)
        if world() > 1:  # past nn.Module's __setattr__: a system is not a part of its replica's state
            vars(system)["replica"] = torch.nn.parallel.DistributedDataParallel(system)
        yield from [dict(row) for row in rows]
        for epoch in range(len(rows), recipe.epochs):
            rows = [*rows, _train_epoch(store, labels, sampler.epoch(epoch), rows, begun, keeper)]
            begun = None
            keeper.log(rows)
            if kept := (epoch + 1) % recipe.checkpoint_every == 0 or epoch + 1 == recipe.epochs:
                keeper.keep(rows)
            elif keeper.due():
                keeper.save(rows)
            try:
                yield dict(rows[-1])
            except GeneratorExit:  # the caller left the loop here
                if not kept:
                    keeper.save(rows)
                raise


def load_or_train(recipe: Recipe, shots: Shots, run_dir: str | Path, epoch: int | None = None) -> System:
    """The trained system of a run, as `restore` returns it; trains to the end first if the checkpoint is missing.

    Parameters
    ----------
    recipe, shots, run_dir : what the run is, the training images, and the folder
    epoch : of the checkpoint; default: the last

    Raises
    ------
    ValueError : the folder or the checkpoint belongs to another recipe, other data or other starting weights; the
        checkpoint is missing, and a training keeps none of that epoch
    """
    run, me = Path(run_dir).expanduser(), identity(recipe, data_digest(shots))
    refuse(run, me)
    if (epoch or recipe.epochs) not in checkpoints(run):
        check_epoch(recipe, epoch)
        for row in fit(build(recipe, shots), shots, run):
            print(epoch_row(row))
    return restored(run, epoch, None, me)


def _train_epoch(
    store: ImageStore, labels: Tensor, batches: list[np.ndarray], rows: list[dict], begun: dict | None, keeper: Keeper
) -> dict[str, Any]:
    """Train the epoch after `rows`, or the rest of one that was `begun`; returns its row.

    The random state of a step is a function of the seed and the step's number; the caller's is restored.
    """
    system, recipe, device = keeper.system, keeper.system.recipe, labels.device
    iteration = rows[-1]["iteration"] if rows else 0
    begun = begun or {"losses": [], "seconds": 0.0, "waiting": 0.0}
    start = time.perf_counter() - begun["seconds"]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device_settings(system, tuned=True):
        system.begin_epoch(len(rows))
        for step in range(len(begun["losses"]), len(batches)):
            number, before = iteration + step, time.perf_counter()
            torch.manual_seed(recipe.seed * 1_000_003 + number)
            index = batches[step].reshape(-1, recipe.k)[rank() :: world()].ravel()  # this rank's identities
            rng = generator(recipe.seed, "augment", number * world() + rank())
            images = augment(store.batch(index, device), recipe, rng)
            begun["waiting"] += time.perf_counter() - before
            begun["losses"].append(system.step(images, labels[on(index, device)]))
            del images  # its memory serves the next batch
            begun["seconds"] = time.perf_counter() - start
            if keeper.due():
                means_of(begun["losses"], len(rows), batches, store.names)
                keeper.save(rows, begun)
    seconds, seen = time.perf_counter() - start, np.unique(np.concatenate(batches))
    return {
        "epoch": len(rows) + 1,
        "iteration": iteration + len(batches),
        **means_of(begun["losses"], len(rows), batches, store.names),
        "lr": next(iter(system.optimizers.values())).param_groups[0]["lr"],
        "ids_seen": len(labels[seen].unique()) / len(system.ids),
        "images_seen": len(seen) / len(labels),
        **cost(sum(map(len, batches)), seconds, begun["waiting"], keeper, device),
    }


def _open(system: System, shots: Shots, run: Path, memory: int | None) -> tuple[dict[str, Any], ImageStore, Tensor]:
    """The identity of the run, its images and their labels; a folder of another run is refused before decoding.

    Rank 0 does the work and fills the cache; then the others find it there.
    """
    device, recipe = next(system.parameters()).device, system.recipe
    if rank():
        dist.barrier()
    me = identity(recipe, data_digest(shots), code_of(system))
    refuse(run, me)
    store = ImageStore(shots, recipe.size, recipe.resize, memory).to(device)
    if world() > 1 and rank() == 0:
        dist.barrier()
    return me, store, torch.searchsorted(system.ids.cpu(), torch.as_tensor(shots.pids).contiguous()).to(device)


def _check(system: System, shots: Shots) -> None:
    """Raise ValueError for a system that is not fresh or not for `shots`, and for too many processes."""
    recipe, processes, remedy = system.recipe, world(), "build a new one by rl.build(recipe, shots)"
    if getattr(system, "used", False) or any(optimizer.state for optimizer in system.optimizers.values()):
        raise ValueError(f"this system was trained or restored before, and a run starts from a fresh one: {remedy}")
    if other := np.setxor1d(system.ids.cpu().numpy(), shots.pids).tolist():
        raise ValueError(
            f"the system is built for other identities than those of {shots.name}: pid {few(list(map(str, other)))} "
            f"in only one of the two; {remedy}"
        )
    if processes > 1 and not hasattr(system, "replica"):
        raise ValueError(
            f"model={recipe.model!r} trains in one process, not in {processes}: for several, its class needs "
            "`replica = None`, and its step calls `(self.replica or self)(...)`"
        )
    if recipe.p < 2 * processes:
        raise ValueError(f"p={recipe.p} identities a batch for {processes} processes: each needs at least two")
    if recipe.order != "image" and (last := len(system.ids) % recipe.p or recipe.p) < processes:
        raise ValueError(
            f"the last batch of a pass holds {last} of p={recipe.p} identities, too few for {processes} processes: "
            "choose another p"
        )
