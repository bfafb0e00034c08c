"""The rows of a training log: what they hold, and how they are printed."""

import sys
from typing import Any

import numpy as np
import psutil
import torch

from reidlib.train.checkpoints import Keeper, world

# The columns of a row that the loop fills in; the others, the losses and `acc`, are means of what `step` returns.
BOOKKEEPING = (
    "epoch", "iteration", "lr", "ids_seen", "images_seen", "world", "seconds", "images_per_s", "waiting", "saving",
    "peak_mb", "peak_gpu_mb",
)  # fmt: skip


def epoch_row(row: dict[str, Any]) -> str:
    """A row of `fit`, or of log.csv through `read_csv`, as one aligned line.

    It has the loss, the accuracy in the batches, the learning rate, the shares of identities and images that the epoch
    has seen, and its speed.
    """
    return (
        f"epoch {row['epoch']:4d}  iteration {row['iteration']:6d}  loss {row['loss']:7.4f}  acc {row['acc']:6.1%}  "
        f"lr {row['lr']:.2e}  ids {row['ids_seen']:4.0%}  images {row['images_seen']:4.0%}  "
        f"{row['images_per_s']:6.0f} images/s  {row['seconds']:6.1f} s"
    )


def cost(images: int, seconds: float, waiting: float, keeper: Keeper, device: torch.device) -> dict[str, float]:
    """The columns of what an epoch took: times in seconds or as shares of it, memory in MB."""
    saving, keeper.spent = keeper.spent, 0.0
    return {
        "world": world(),  # processes
        "seconds": seconds,
        "images_per_s": images / seconds,
        "waiting": waiting / seconds,  # for batches: of the host's time, which a GPU works through meanwhile
        "saving": saving / seconds,
        "peak_mb": peak_memory() / 2**20,
        "peak_gpu_mb": torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0,
    }


def peak_memory() -> int:
    """The most main memory that this process has had, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def means_of(losses: list[dict], epoch: int, batches: list[np.ndarray], names: np.ndarray) -> dict[str, float]:
    """The mean of each loss over the steps. Raises ValueError at the first that is not finite, before it is saved."""
    for step, values in enumerate(losses):
        if not values["loss"].isfinite():
            raise ValueError(
                f"the loss is {values['loss'].item()} at epoch {epoch + 1}, iteration {step + 1} of it; the checkpoint "
                "before it is kept: try precision='float32' or a smaller lr. The batch: "
                f"{', '.join(names[batches[step]])}"
            )
    return {name: sum(values[name].item() for values in losses) / len(losses) for name in losses[0]}
