"""What a backbone starts from: ImageNet weights of torchvision, or a file."""

import urllib.error
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from reidlib.progress import watched
from reidlib.recipe import TORCHVISION

HEADS = ("fc.", "classifier.", "head.")  # layers that are left out: they have another number of classes


def load_weights(net: nn.Module, name: str, weights: str) -> None:
    """Load the weights of a backbone, without its head, in place.

    net, name : a backbone, and its name in recipes
    weights : "imagenet", or the path of a .pth file in the network's own naming

    Raises what `backbones.trunk` raises.
    """
    if weights == "imagenet" and name not in TORCHVISION:
        raise ValueError(f"no ImageNet weights are known for backbone={name!r}; write weights='none', or a path")
    state = _download(name) if weights == "imagenet" else _read(weights)
    body = {key: value for key, value in state.items() if not key.startswith(HEADS)}
    if bad := [key for key, value in body.items() if not value.isfinite().all()]:
        raise ValueError(f"weights {weights}: {bad[0]!r} holds NaN or infinity; give others, imagenet or none")
    try:
        missing, unexpected = getattr(net, "net", net).load_state_dict(body, strict=False)
    except RuntimeError as error:  # sizes differ; torch lists them a line each
        raise ValueError(f"weights {weights} do not fit {name}: {str(error).splitlines()[1].strip()}") from error
    if wrong := [key for key in (*missing, *unexpected) if not key.startswith(HEADS)]:
        raise ValueError(
            f"weights {weights} do not fit {name}: {len(wrong)} entries missing or unknown, first {wrong[0]!r}"
        )


def _download(name: str) -> dict[str, Tensor]:
    entry = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return entry.get_state_dict(progress=watched(), check_hash=True)
    except (urllib.error.URLError, OSError) as error:
        raise FileNotFoundError(
            f"the ImageNet weights of {name} could not be fetched ({error}). On a machine with a network download "
            f"{entry.url}, then give its path as weights; or train from scratch with weights='none'"
        ) from error


def _read(file: str) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"weights: no file {Path(file).absolute()}; give imagenet, none or a .pth file's path")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged file, with advice that would run its code
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise ValueError(f"weights {file}: no state dict that torch can read{why}; save net.state_dict()") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights {file}: no state dict, since not all of it are tensors; save net.state_dict()")
    return state
