"""What can be trained: one file each. A system is a torch module with

- `recipe`, `ids` (its label map: the sorted training pids), `optimizers` (name -> torch optimizer), `trunk`;
- `begin_epoch(e)`, which sets the learning rates, and the phase, of the 0-based epoch;
- `step(images, labels)`, one update, which returns its losses by name, among them `loss`, and `acc`;
- `embed(images)`, L2-normalised rows, and `flip`: whether to average them with those of the mirror images;

and, only where it makes sense,

- `to_infrared(images)`, what visible images become before they are embedded;
- `regions(images)`, where in the image the embedding comes from, for similarity maps, if it is a sum over places;
- `parts(images)`, the pieces that the embedding is put together from, one a part of the body.

Its file has `from_recipe(recipe, ids)`, which makes one.
"""

import contextlib
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from reidlib.recipe import Recipe

FILES = {"bot": "bag_of_tricks", "pcb": "pcb", "aligngan": "aligngan"}  # by the recipe's model


class System(Protocol):
    """What can be trained, restored, embedded and browsed: a torch module with these members."""

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


def module_name(model: str) -> str:
    """The dotted name of the module of a recipe's model."""
    return f"{__name__}.{FILES[model]}"


def build(recipe: Recipe, shots, device: str | torch.device | None = None) -> torch.nn.Module:
    """A new system for the identities of `shots` (or for an array of pids), its weights drawn from the recipe's seed.

    `device` defaults to the GPU where there is one. Raises FileNotFoundError where pretrained weights cannot be had.
    """
    make = import_module(module_name(recipe.model)).from_recipe
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng(devices=[]):  # weights are drawn in main memory
        torch.manual_seed(recipe.seed)
        system = make(recipe, np.unique(getattr(shots, "pids", shots)))
    system.recipe = recipe
    if recipe.compile:
        system.trunk.compile(dynamic=False)  # in place: the names in a checkpoint stay
    return system.to(device, memory_format=torch.channels_last)


def convolutions(system, tuned: bool = False):
    """A context in which a GPU's convolutions keep to float32 where the recipe asks for it, instead of TF32.

    `tuned`: take the time to find the fastest algorithm for each shape, for work of few shapes.
    """
    if next(system.parameters()).device.type != "cuda":
        return contextlib.nullcontext()
    deterministic = torch.backends.cudnn.deterministic
    exact = system.recipe.precision == "float32"
    return torch.backends.cudnn.flags(True, tuned, deterministic=deterministic, allow_tf32=not exact)
