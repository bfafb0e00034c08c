"""What can be trained: a file or folder for each system, which holds all facts about it.

The module of a system sets `SYSTEM` to its class, with the class method `from_recipe(recipe, ids)` and the attributes
`RECIPE` (its recipe class), `LABEL` and `LINES` (its name and its rows in the published table). All but `from_recipe`
are optional in a system of your own; see docs/extending.md.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from reidlib.data.shots import Shots
from reidlib.models import facts
from reidlib.recipe import Recipe


class System(Protocol):
    """What can be trained, restored, embedded and browsed: a torch module with these members.

    Four more are optional: `to_infrared(images)`, what visible images become before they are embedded;
    `regions(images)`, what each place of the last map adds to the embedding, where it is a sum over places;
    `parts(images)`, the pieces that make up the embedding, one for each part of the body; `replica`, None in the class,
    which `fit` sets under torchrun and `step` then calls in place of the module, so that the gradients are shared.
    """

    recipe: Recipe
    ids: Tensor  # (I,) int64: the sorted training pids; a label is a position in it
    optimizers: dict[str, torch.optim.Optimizer]
    trunk: torch.nn.Module
    flip: bool  # whether its own test averages each image with its mirror image

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates, and the phase, of the 0-based epoch."""

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update on images (B, 3, H, W) and labels (B,); its losses by name, among them `loss`, and `acc`."""

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to L2-normalised rows (B, D)."""

    def parameters(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> Any: ...


def build(recipe: Recipe, shots: Shots | np.ndarray, device: str | torch.device | None = None) -> System:
    """A new system, its weights drawn from the recipe's seed.

    Parameters
    ----------
    recipe
        What is built: `recipe.model` names the system.
    shots
        The training images, or their pids (N,): the system tells their identities apart.
    device
        By default the GPU if there is one.

    Raises
    ------
    FileNotFoundError
        For pretrained weights that cannot be found or fetched.
    ValueError
        For an unknown model or backbone, weights that do not fit, a device that is not here, and other things than
        images or pids.

    Examples
    --------
    >>> recipe = Recipe.for_dataset("toy")
    >>> system = build(recipe, np.array([1, 1, 2, 2]), "cpu")
    >>> system.embed(torch.zeros(1, 3, *recipe.size)).shape
    torch.Size([1, 192])
    """
    make = facts(recipe.model).from_recipe
    device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pids = np.asarray(shots.pids if hasattr(shots, "pids") else shots)
    if pids.dtype.kind not in "iu":
        raise ValueError(f"build takes training images, as split.train, or their pids, not a {type(shots).__name__}")
    with torch.random.fork_rng(devices=[]):  # weights are drawn in main memory
        torch.manual_seed(recipe.seed)
        system = make(recipe, np.unique(pids))
    system.recipe = recipe
    system.built = True  # by its recipe: its module is that of the recipe's model
    if recipe.compile:
        system.trunk.compile(dynamic=False)  # in place: the names in a checkpoint stay
    return system.to(device, memory_format=torch.channels_last)


def _usable(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that was built without it
        why = str(error).partition("\n")[0].partition(". ")[0]
        why = "" if why.startswith("Expected one of") else f" ({why})"
        raise ValueError(f"no device {str(device)!r} here{why}; write cpu, cuda or cuda:1, or leave it out") from None


def device_settings(system: System, tuned: bool = False) -> AbstractContextManager[None]:
    """A context for training and embedding, with what makes the system's device fast and exact.

    On a GPU: convolutions keep to float32 where the recipe asks for it, instead of TF32. `tuned`: take the time to find
    the fastest algorithm for each shape, for work of few shapes, unless torch is told to be deterministic. On a CPU:
    freed memory serves the next tensors.
    """
    if next(system.parameters()).device.type != "cuda":
        return _freed_memory_kept()
    deterministic = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    exact = system.recipe.precision == "float32"
    tuned = tuned and not deterministic
    return torch.backends.cudnn.flags(True, tuned, deterministic=deterministic, allow_tf32=not exact)


@contextlib.contextmanager
def _freed_memory_kept() -> Iterator[None]:
    """A context in which glibc keeps freed memory. Else it returns it to Linux, which clears each page that it gives.

    At the end all is returned, and glibc has the settings that its own rule for large blocks arrives at. With other
    allocators it does nothing. benchmarks/train.py prints what it saves.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):  # another system, or a Linux without glibc
        yield
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # malloc.h
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)
    try:
        yield
    finally:
        libc.mallopt(mmap_max, 65_536)
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 64 << 20)
        libc.malloc_trim(0)
