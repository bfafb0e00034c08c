"""What can be trained: one file each. A system is a torch module with

- `recipe`, `ids` (its label map: the sorted training pids), `optimizers` (name -> torch optimizer);
- `begin_epoch(e)`, which sets the learning rates of the 0-based epoch;
- `step(images, labels)`, one update, which returns its losses by name;
- `embed(images)`, L2-normalised rows;
- `regions(images)`, where in the image they come from, for similarity maps; only where the embedding is a sum.
"""

import contextlib

import numpy as np
import torch

from reidlib.recipe import Recipe


def build(recipe: Recipe, shots, device: str | torch.device | None = None) -> torch.nn.Module:
    """A new system for the identities of `shots` (or for an array of pids), its weights drawn from the recipe's seed.

    `device` defaults to the GPU where there is one. Raises FileNotFoundError where pretrained weights cannot be had.
    """
    from reidlib.systems.bag_of_tricks import BagOfTricks, trunk

    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with torch.random.fork_rng(devices=[]):  # weights are drawn in main memory
        torch.manual_seed(recipe.seed)
        system = BagOfTricks(
            trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu),
            np.unique(getattr(shots, "pids", shots)),
            bnneck=recipe.bnneck,
            label_smoothing=recipe.label_smoothing,
            margin=recipe.margin,
            center_weight=recipe.center_weight,
            center_lr=recipe.center_lr,
            weight_decay=recipe.weight_decay,
            schedule=recipe.learning_rate,
            precision=recipe.precision,
        )
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
