"""Weights of the projects that people come from, by a table of name changes: no code of theirs is run."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reidlib.data.augment import MEAN, STD
from reidlib.files import few
from reidlib.recipe import Recipe
from reidlib.systems import System
from reidlib.systems.weights import read_tensors
from reidlib.train.pretrained import SUFFIX, assembled

WIDTHS = {64: "x1_0", 48: "x0_75", 32: "x0_5", 16: "x0_25"}  # of OSNet, by the channels of its stem
REMEDY = "load it once with the project that wrote it, and save model.state_dict() alone"


class Project(NamedTuple):
    """How a project's weights are recognised, renamed and used."""

    mark: str  # a name that only its weights have
    renamed: dict[str, str]  # beginnings of names, tried in this order; "" drops what begins so
    fields: dict[str, Any]  # of the recipe


# reid-strong-baseline (Luo et al. 2019): no ReLU in the stem. torchreid (Zhou and Xiang 2019): no neck, stride 2, and
# the pooled features are compared. fast-reid (He et al. 2020): the feature behind the neck is compared.
PROJECTS = {
    "reid-strong-baseline": Project(
        "base.conv1.weight",
        {"base.": "trunk.", "bottleneck.": "bnneck.", "classifier.": ""},
        {"backbone": "resnet50", "resize": "bilinear"},
    ),
    "fast-reid": Project(
        "backbone.conv1.weight",
        {"backbone.": "trunk.net.", "heads.bottleneck.0.": "bnneck.", "heads.pool_layer.p": "trunk.exponent",
         "heads.weight": "", "heads.classifier.": "", "pixel_": ""},
        {"backbone": "reidlib.systems.fastreid:resnet50"},
    ),
    "torchreid OSNet": Project(
        "conv5.conv.weight",
        {"classifier.": "", "": "trunk.net."},
        {"last_stride": 2, "bnneck": False, "resize": "bilinear"},
    ),
    "torchreid ResNet-50": Project(
        "conv1.weight",
        {"classifier.": "", "": "trunk."},
        {"backbone": "resnet50", "last_stride": 2, "stem_relu": True, "bnneck": False, "resize": "bilinear"},
    ),
}  # fmt: skip


# NumPy's numbers, such as the rank-1 of torchreid's checkpoints, by their names of NumPy 2 and 1
SCALAR = np.float64(0).__reduce__()[0]
KINDS = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
NUMBERS: list[Any] = [SCALAR, (SCALAR, "numpy.core.multiarray.scalar"), np.dtype, *KINDS]


def foreign(path: str | Path, device: str | torch.device | None = None, **fields: Any) -> System:
    """A model that another project trained, to embed with and to look at; like `pretrained`, it has no classifier.

    Weights of torchreid (ResNet-50, OSNet), fast-reid (BoT, AGW and SBS with ResNet-50) and reid-strong-baseline
    (ResNet-50) are told by their names. The file is read as tensors only: what it holds beside them is left out.

    Parameters
    ----------
    path : a .pth, .pt or .tar file of torch.save, or a .safetensors file
    device : default: the GPU if there is one
    **fields : of the recipe where the model differs from its project's defaults, as last_stride=2. The size is 256 x
        128, that of SBS 384 x 128: no file holds it, so check it against how yours was trained. Non-local blocks
        without a learned exponent of GeM pooling are taken for AGW, whose exponent is 3

    Raises
    ------
    FileNotFoundError : there is no such file
    ValueError : a file that cannot be read without running its code, or weights of another network
    """
    file = Path(path).expanduser()
    state = _tensors(file)
    name = next((name for name, project in PROJECTS.items() if project.mark in state), None)
    if name is None:
        raise ValueError(
            f"{file}: weights of no project that is known ({', '.join(PROJECTS)}); it holds "
            f"{few(sorted(state)) or 'no weights'}. Of a run of this library give the folder, not a checkpoint"
        )
    project = PROJECTS[name]
    for key, values in (("pixel_mean", MEAN), ("pixel_std", STD)):
        if key in state and not torch.allclose(state[key].flatten().float(), 255 * torch.tensor(values), atol=0.01):
            raise ValueError(f"{file}: its {key} is not ImageNet's; such a model needs a system of your own")
    chosen = {"height": 256, "width": 128} | project.fields | _seen(name, state) | fields
    recipe = Recipe.for_dataset(file.stem, weights="none", **chosen)
    tensors = _renamed(state, project.renamed)
    if recipe.pooling == "gem" and name != "fast-reid":
        raise ValueError(f"{file}: weights of {name} have no GeM pooling")
    if recipe.pooling == "gem":
        tensors.setdefault("trunk.exponent", torch.tensor([3.0]))  # a constant there
    try:
        return assembled(recipe, tensors, device)
    except ValueError as error:
        raise ValueError(f"{file}: weights of {name}, but {error}; is it of another depth or variant?") from None


def _tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, alone or as `model` or `state_dict` of a checkpoint, without "module." in names."""
    if not file.is_file():
        raise FileNotFoundError(f"weights: no file {file.absolute()}")
    if file.suffix == SUFFIX:
        state: Any = read_tensors(file)[0]
    else:
        try:
            with torch.serialization.safe_globals(NUMBERS):
                state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # torch raises nearly anything, with advice that would run the file's code
            raise ValueError(
                f"{file} is no file of torch.save, or cannot be read without running its code; {REMEDY}"
            ) from None
    for word in ("state_dict", "model"):
        state = state.get(word, state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise ValueError(f"{file} holds a {type(state).__name__} and no state dict; {REMEDY}")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if bad := [key for key, value in tensors.items() if not value.isfinite().all()]:
        raise ValueError(f"{file}: {bad[0]!r} holds NaN or infinity")
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def _seen(name: str, state: dict[str, Tensor]) -> dict[str, Any]:
    """What the weights themselves say of the recipe."""
    if name == "torchreid OSNet":
        variant = WIDTHS.get(len(state["conv1.conv.weight"]), "?")
        return {"backbone": f"reidlib.systems.osnet:{'ibn_' if 'conv2.0.IN.weight' in state else ''}{variant}"}
    if name == "fast-reid":
        learned = {"pooling": "gem"} if "heads.pool_layer.p" in state else {}
        if not any(key.startswith("backbone.NL_") for key in state):
            return learned
        non_local = {"backbone": "reidlib.systems.fastreid:resnet50_nl", "pooling": "gem"}
        return non_local | ({"height": 384} if learned else {})  # SBS or AGW
    return {"bnneck": "bottleneck.weight" in state} if name == "reid-strong-baseline" else {}


def _renamed(state: dict[str, Tensor], renamed: dict[str, str]) -> dict[str, Tensor]:
    """Tensors by this library's names, in float32; counters that old files lack are added."""
    tensors = {}
    for key, value in state.items():
        old = next((old for old in renamed if key.startswith(old)), None)
        if old is None or renamed[old]:
            new = key if old is None else renamed[old] + key[len(old) :]
            tensors[new] = value.float() if value.is_floating_point() else value
    for key in [key for key in tensors if key.endswith("running_var")]:
        tensors.setdefault(re.sub("running_var$", "num_batches_tracked", key), torch.tensor(0))
    return tensors
