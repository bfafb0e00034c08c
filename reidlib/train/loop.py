"""The training loop: epochs, checkpoints, resume and the log. It knows no architecture.

One GPU is the default, and the published table uses it. Under torchrun every rank iterates `fit` and takes its share
of the identities of each batch: hard examples are then looked for, and BatchNorm's statistics taken, within a share,
so several GPUs are another recipe, however equal its fields.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from reidlib.data.augment import augment
from reidlib.data.batches import PKSampler, generator
from reidlib.data.images import ImageStore, on
from reidlib.provenance import data_digest
from reidlib.recipe import Recipe
from reidlib.systems import build, convolutions
from reidlib.train.checkpoints import Keeper, _claim, _lock, _refuse, _resume, checkpoints, rank, restore, world


def fit(system, shots, run_dir: str | Path, memory: int | None = None) -> Iterator[dict]:
    """Train `system` on `shots` by its recipe, in the folder `run_dir`; yields one row (a dict) per epoch.

    A finished or interrupted run goes on by itself: the rows already logged are yielded first. A loop that is left
    early keeps every row it got; a run that is killed goes on from a checkpoint at most a minute old, from the middle
    of an epoch too. The run's random numbers are its own: what the caller does between two rows cannot change them.
    `memory` is how many bytes the decoded images may take (see ImageStore); no result depends on it.
    Raises ValueError where the folder holds another recipe or other data, or where a loss is not finite; RuntimeError
    where another process trains in the folder.
    """
    run, recipe = Path(run_dir), system.recipe
    device = next(system.parameters()).device
    run.mkdir(parents=True, exist_ok=True)
    with _lock(run) if rank() == 0 else contextlib.nullcontext():
        store = _first_then_others(lambda: _open(shots, system, run, memory)).to(device)
        rows, begun = _resume(system, run)
        keeper = Keeper(system, run, store.digest)
        if not rows and not begun:
            keeper.save(rows)  # what it begins from: an interrupt within the first minute comes back to it
        if world() > 1:  # past nn.Module's __setattr__: a system is not a part of its replica's state
            vars(system)["replica"] = torch.nn.parallel.DistributedDataParallel(system)
        yield from [dict(row) for row in rows]
        labels = torch.searchsorted(system.ids.cpu(), torch.as_tensor(shots.pids)).to(device)
        sampler = PKSampler.of(recipe, shots)
        for epoch in range(len(rows), recipe.epochs):
            rows = [*rows, _train_epoch(system, store, labels, sampler.epoch(epoch), rows, begun, keeper)]
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


def load_or_train(recipe: Recipe, shots, run_dir: str | Path, epoch: int | None = None):
    """The system of a run after `epoch` epochs, or after its last; where that is not there, training goes on first.

    Raises ValueError where the folder holds another recipe or other data.
    """
    _refuse(Path(run_dir), recipe, data_digest(shots))
    if (epoch or recipe.epochs) not in checkpoints(run_dir):
        for row in fit(build(recipe, shots), shots, run_dir):
            print(epoch_row(row))
    return restore(run_dir, epoch)


def epoch_row(row: dict) -> str:
    """One aligned line of a row that `fit` yielded."""
    return (
        f"epoch {row['epoch']:4d}  iteration {row['iteration']:6d}  loss {row['loss']:7.4f}  acc {row['acc']:6.1%}  "
        f"lr {row['lr']:.2e}  ids {row['ids_seen']:4.0%}  images {row['images_seen']:4.0%}  "
        f"{row['images_per_s']:6.0f} images/s  {row['seconds']:6.1f} s"
    )


# The columns of a row that the loop fills in; the others, the losses and `acc`, are means of what `step` returns.
BOOKKEEPING = ("epoch", "iteration", "lr", "ids_seen", "images_seen", "world", "seconds", "images_per_s", "waiting")
BOOKKEEPING += ("saving", "peak_mb", "peak_gpu_mb")


def _train_epoch(system, store, labels, batches, rows: list[dict], begun: dict | None, keeper: Keeper) -> dict:
    """The epoch after `rows`, or the rest of one that was `begun`; returns its row.

    Every step's random state is a function of the seed and the step's number, and the caller's comes back.
    """
    iteration, device, recipe = rows[-1]["iteration"] if rows else 0, labels.device, system.recipe
    begun = begun or {"losses": [], "seconds": 0.0, "waiting": 0.0}
    start = time.perf_counter() - begun["seconds"]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), convolutions(system, tuned=True):
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
                _means(begun["losses"], len(rows), batches, store.names)
                keeper.save(rows, begun)
    means = _means(begun["losses"], len(rows), batches, store.names)
    seconds, seen = time.perf_counter() - start, np.unique(np.concatenate(batches))
    saving, keeper.spent = keeper.spent, 0.0
    return {
        "epoch": len(rows) + 1,
        "iteration": iteration + len(batches),
        **means,
        "lr": next(iter(system.optimizers.values())).param_groups[0]["lr"],
        "ids_seen": len(labels[seen].unique()) / len(system.ids),
        "images_seen": len(seen) / len(labels),
        "world": world(),  # processes
        "seconds": seconds,
        "images_per_s": sum(map(len, batches)) / seconds,
        "waiting": begun["waiting"] / seconds,  # for batches: of the host's time, which a GPU works through meanwhile
        "saving": saving / seconds,
        "peak_mb": _peak_mb(),
        "peak_gpu_mb": torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0,
    }


def _peak_mb() -> float:
    """The most main memory that this process has held so far, in MB; 0 on a system that does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _means(losses: list[dict], epoch: int, batches: list[np.ndarray], names: np.ndarray) -> dict[str, float]:
    """Each loss, averaged over the steps. Raises ValueError at the first that is not finite, before it is saved."""
    for step, values in enumerate(losses):
        if not values["loss"].isfinite():
            raise ValueError(
                f"the loss is {values['loss'].item()} at epoch {epoch + 1}, iteration {step + 1} of it; the checkpoint "
                "before it is kept: try precision='float32' or a smaller lr. The batch: "
                f"{', '.join(names[batches[step]])}"
            )
    return {name: sum(values[name].item() for values in losses) / len(losses) for name in losses[0]}


def _first_then_others(make):
    """Rank 0 does the work and fills the cache, then the others find it there."""
    if rank():
        dist.barrier()
    made = make()
    if world() > 1 and rank() == 0:
        dist.barrier()
    return made


def _open(shots, system, run: Path, memory: int | None) -> ImageStore:
    recipe = system.recipe
    if recipe.p < 2 * world():
        raise ValueError(f"p={recipe.p} identities a batch for {world()} processes: each needs at least two")
    if recipe.order != "image" and (last := len(system.ids) % recipe.p or recipe.p) < world():
        raise ValueError(
            f"the last batch of a pass holds {last} of p={recipe.p} identities, too few for {world()} processes: "
            "choose another p"
        )
    store = ImageStore(shots, recipe.size, recipe.resize, memory)
    if rank() == 0:
        _claim(run, system, store.digest)
    return store
