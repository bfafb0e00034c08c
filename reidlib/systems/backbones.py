"""Backbones: torchvision's networks without their heads, and their ImageNet weights."""

import pickle
import urllib.error
from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from reidlib.presets import BACKBONES


def trunk(
    name: str = "resnet50", weights: str | None = None, last_stride: int = 1, stem_relu: bool = False
) -> nn.Module:
    """A torchvision backbone without its head: (B, 3, H, W) to pooled features (B, channels).

    `weights`: "imagenet" (torchvision's IMAGENET1K_V1), None or "none", or the path of a .pth file in torchvision's
    naming. `last_stride=1` keeps the last stage at twice the resolution (16 x 8 for 256 x 128; Luo et al. 2019,
    section 3.4). `stem_relu=False` leaves out the ReLU after the first BatchNorm, as the reference implementation does.
    Raises ValueError for a name that is not here and FileNotFoundError where the weights cannot be had.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}")
    net = torchvision.models.get_model(name, weights=None)
    if weights not in (None, "none"):
        _load(net, name, weights)
    if name == "mobilenet_v2":  # it has a ReLU6 in its stem, and no reference without one
        net.channels, net.classifier, last_stage = net.last_channel, nn.Identity(), net.features[14]
    else:
        net.channels, net.fc, last_stage = net.fc.in_features, nn.Identity(), net.layer4[0]
        if not stem_relu:
            net.relu = nn.Identity()  # torchvision's ResNet uses this one in its stem only
    if last_stride == 1:
        for module in last_stage.modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
    return net


def unpooled(net: nn.Module) -> nn.Module:
    """A backbone of `trunk` up to its last feature map: (B, 3, H, W) to (B, channels, h, w); the names of it stay."""
    stages = [(name, stage) for name, stage in net.named_children() if name not in ("avgpool", "fc", "classifier")]
    body = nn.Sequential(OrderedDict(stages))
    body.channels = net.channels
    return body


def uses_bf16(precision: str, device: str) -> bool:
    """Whether `precision` means bfloat16 on a device type; auto does where the hardware multiplies in it."""
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)  # Ampere and newer
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text() if device == "cpu" and cpu.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _load(net: nn.Module, name: str, weights: str) -> None:
    state = _download(name) if weights == "imagenet" else _read(weights)
    head = ("fc.", "classifier.")  # of another number of classes, and not used
    body = {key: value for key, value in state.items() if not key.startswith(head)}
    try:
        missing, unexpected = net.load_state_dict(body, strict=False)
    except RuntimeError as error:  # sizes differ; torch lists them a line each
        raise ValueError(f"weights {weights} do not fit {name}: {str(error).splitlines()[1].strip()}") from error
    if wrong := [key for key in (*missing, *unexpected) if not key.startswith(head)]:
        raise ValueError(
            f"weights {weights} do not fit {name}: {len(wrong)} entries missing or unknown, first {wrong[0]!r}"
        )


def _download(name: str) -> dict[str, Tensor]:
    entry = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return entry.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError) as error:
        raise FileNotFoundError(
            f"the ImageNet weights of {name} could not be fetched ({error}). On a machine with a network download "
            f"{entry.url}, then give its path as weights; or train from scratch with weights='none'"
        ) from error


def _read(file: str) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"weights: no file {file}; give imagenet, none or the path of a .pth file")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"weights {file}: not a state dict that torch can read; save one by torch.save") from error
