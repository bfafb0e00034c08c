"""Published models: one .safetensors file each, made by `python -m reidlib.publish` and read without data.

The file holds a system without what belongs to the identities that it was trained on: their pids and the classifier.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn

from reidlib import files
from reidlib.models import NameNotFoundError
from reidlib.recipe import Recipe
from reidlib.systems import System, build
from reidlib.systems.weights import HEADER, check_digest, read_tensors

SUFFIX = ".safetensors"
FORMAT = 1  # raise it when code of before could not read the files any more


def pretrained(name: str | Path, device: str | torch.device | None = None) -> System:
    """A published model with its `recipe`, in evaluation mode: to embed with and to look at.

    Its `ids` and its classifier are empty: `fit` and `step` refuse it. To train from it, give its file as `weights` of
    a recipe.

    Parameters
    ----------
    name : a model that comes with the library, as "market-laptop"; or the path of a .safetensors file, which can hold
        no code (a model or backbone that its recipe names as package.module is imported from your Python path)
    device : default: the GPU if there is one

    Raises
    ------
    FileNotFoundError : there is no such file
    ValueError : an unknown name; a file of another kind, of a newer format or damaged; its model cannot be imported
    """
    file = files.weights_file(Path(name).expanduser())
    if file.suffix != SUFFIX and not (file := files.WEIGHTS / f"{name}{SUFFIX}").is_file():
        known = ", ".join(sorted(file.stem for file in files.WEIGHTS.glob(f"*{SUFFIX}"))) or "none"
        ways = f"give the path of a {SUFFIX} file; rl.restore reads the folder of a run, rl.foreign a .pth file"
        raise ValueError(f"no model {str(name)!r}; choose one of {known}, or {ways}")
    tensors, header = read_tensors(file)
    said = json.loads(header.get(HEADER, "{}"))
    if "format" not in said:
        raise ValueError(f"{file} was not made by python -m reidlib.publish; is it a backbone for Recipe's weights?")
    if said["format"] > FORMAT:
        raise ValueError(f"{file} is of format {said['format']} and this reidlib reads {FORMAT}: install a newer one")
    check_digest(file, tensors, header)
    try:
        return assembled(Recipe.from_dict(said["recipe"]), tensors, device)
    except NameNotFoundError as error:
        raise NameNotFoundError(f"{file}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def headless(recipe: Recipe, device: str | torch.device | None = None) -> System:
    """A fresh system of a recipe for no identity at all: its classifier is empty."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return build(recipe.replace(weights="none", compile=False), np.empty(0, np.int64), device)


def assembled(recipe: Recipe, tensors: Mapping[str, Tensor], device: str | torch.device | None = None) -> System:
    """The system of a recipe for no identity, with these weights; ValueError if they do not fit."""
    system = headless(recipe, device)
    state = system.state_dict()
    wanted = {name: value.shape for name, value in state.items() if value.numel()}
    given = {name: value.shape for name, value in tensors.items()}
    if wrong := sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)):
        raise ValueError(f"{len(wrong)} tensors do not fit the model of its recipe, first {wrong[0]!r}")
    system.load_state_dict(state | dict(tensors))
    system.recipe = recipe
    vars(system).update(used=True, step=_no_step)
    cast(nn.Module, system).eval()
    return system


def _no_step(*_: Any) -> NoReturn:
    raise ValueError("a published model has no classifier; rl.build(recipe.replace(weights=FILE), shots) starts there")
