"""What a backbone starts from: ImageNet weights of torchvision, or a file."""

import hashlib
import json
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from reidlib.files import weights_file
from reidlib.progress import watched
from reidlib.recipe import BACKBONES, TORCHVISION

HEADER = "reidlib"  # the word of a published model's header under which `described` stands
HEADS = ("fc.", "classifier.", "head.", "head_dist.")  # layers that a backbone lacks: they say which class it is


def load_weights(net: nn.Module, name: str, weights: str) -> None:
    """Load the weights of a backbone, without its head, in place.

    net, name : a backbone, and its name in recipes
    weights : "imagenet", or the path of a .pth or .safetensors file in the network's own naming, or of a published
        model (see `train.pretrained`); of one that comes with the library the name will do

    Raises what `backbones.trunk` raises.
    """
    if weights == "imagenet" and name not in TORCHVISION:
        raise ValueError(f"no ImageNet weights are known for backbone={name!r}; write weights='none', or a path")
    state = _download(name) if weights == "imagenet" else _read(weights, name)
    net = getattr(net, "net", net) if name.startswith("timm:") else net
    parts = [] if name in BACKBONES else list(net.state_dict())  # torchvision's still have a head here
    body = {key: value for key, value in state.items() if key in parts or not key.startswith(HEADS)}
    if bad := [key for key, value in body.items() if not value.isfinite().all()]:
        raise ValueError(f"weights {weights}: {bad[0]!r} holds NaN or infinity; give others, imagenet or none")
    try:
        missing, unexpected = net.load_state_dict(body, strict=False)
    except RuntimeError as error:  # sizes differ; torch lists them a line each
        raise ValueError(f"weights {weights} do not fit {name}: {str(error).splitlines()[1].strip()}") from error
    if wrong := [key for key in (*missing, *unexpected) if key in parts or not key.startswith(HEADS)]:
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


def read_tensors(file: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a .safetensors file, which can hold no code, and the words of its header.

    Raises ValueError for a file of another kind or one that is cut off, OSError for one that cannot be opened.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"no file {file}")
    try:
        with safe_open(file, "pt") as content:
            return {name: content.get_tensor(name) for name in content.keys()}, content.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is no safetensors file, or it is cut off ({error}); fetch or make it again") from None


def described(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The text of a file's header: what is `said` of a model, then the digest of that and of its tensors."""
    said = {name: said[name] for name in sorted(said) if name != "digest"}
    digest = hashlib.blake2b(json.dumps(said).encode(), digest_size=10)
    for name, value in sorted(tensors.items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode() + value.numpy().tobytes())
    return json.dumps(said | {"digest": digest.hexdigest()})


def check_digest(file: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """ValueError for a published model whose content is not what its header says."""
    if (text := header.get(HEADER)) and described(json.loads(text), tensors) != text:
        raise ValueError(f"{file} is damaged: its content does not match its digest; fetch or make it again")


def _read(file: str, name: str) -> dict[str, Tensor]:
    if not (path := weights_file(file)).is_file():
        kinds = "give imagenet, none or the path of a .pth or .safetensors file"
        raise FileNotFoundError(f"weights: no file {path.absolute()}; {kinds}")
    if path.suffix == ".safetensors":
        state, header = read_tensors(path)
        check_digest(path, state, header)
        around = 2 if name.startswith("timm:") else int(name not in BACKBONES or "trunk.exponent" in state)
        start = "trunk." + "net." * around
        return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)} or state
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged file, with advice that would run its code
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise ValueError(f"weights {file}: no state dict that torch can read{why}; save net.state_dict()") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights {file}: no state dict, since not all of it are tensors; save net.state_dict()")
    return state
