"""Backbones: networks without their heads, of torchvision, of timm or of your own, and their ImageNet weights."""

import urllib.error
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from reidlib.models import imported
from reidlib.progress import watched
from reidlib.recipe import BACKBONES, Recipe

HEADS = ("fc.", "classifier.", "head.")  # layers that are left out: they have another number of classes


def trunk(
    name: str = "resnet50",
    weights: str | None = None,
    last_stride: int = 1,
    stem_relu: bool = False,
    size: tuple[int, int] = (256, 128),
) -> nn.Module:
    """A backbone without its head: images (B, 3, H, W) to pooled features (B, C).

    Parameters
    ----------
    name
        One of `recipe.BACKBONES` (torchvision); "timm:NAME", any image model of timm; or "package.module:function",
        your own function without arguments. It returns a module with an int `channels`, C, that maps images
        (B, 3, H, W) to feature maps (B, C, h, w).
    weights
        "imagenet" (torchvision's IMAGENET1K_V1, or timm's default), None or "none", or the path of a .pth file in the
        network's own naming.
    last_stride
        1 keeps the last feature map at twice the resolution: 16 x 8 for 256 x 128 (Luo et al. 2019, section 3.4). A
        network that does not halve its maps, such as a ViT, stays as it is.
    stem_relu
        False leaves out the ReLU after a torchvision ResNet's first BatchNorm, as the reference implementation does.
    size
        (height, width) of the images, which a ViT is built for.

    Returns
    -------
    nn.Module
        With `channels`, C. `unpooled` gives the same network up to its last feature map.

    Raises
    ------
    ValueError
        For an unknown name and for weights that do not fit.
    FileNotFoundError
        For weights that cannot be found or fetched.

    Examples
    --------
    >>> trunk("resnet18")(torch.zeros(2, 3, 64, 32)).shape
    torch.Size([2, 512])
    """
    source, _, rest = name.partition(":")
    if name in BACKBONES:
        net = torchvision.models.get_model(name, weights=None)
    elif source == "timm":
        net = _timm(rest, weights == "imagenet", size)
    elif rest:
        net = imported(name, "backbone")()
    else:
        raise ValueError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}, timm:NAME or module:function")
    if weights not in (None, "none") and not (source == "timm" and weights == "imagenet"):
        _load(net, name, str(weights))
    net = _headless(net, name, stem_relu) if name in BACKBONES else Pooled(net)
    if last_stride == 1:
        _keep_resolution(net, size)
    return net


def trunk_of(recipe: Recipe) -> nn.Module:
    """The backbone that a recipe describes."""
    return trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu, recipe.size)


class Pooled(nn.Module):
    """The mean over the places of the feature map that `net` gives: (B, 3, H, W) to (B, C)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.channels = net, channels_of(net)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).mean((2, 3))


class TimmMaps(nn.Module):
    """The last feature map of a timm model, (B, 3, H, W) to (B, C, h, w); of a transformer its patch tokens."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.channels = net, net.num_features

    def forward(self, images: Tensor) -> Tensor:
        maps = self.net.forward_features(images)
        if maps.ndim == 3:  # (B, tokens, C), the class token first
            tokens = maps[:, getattr(self.net, "num_prefix_tokens", 0) :]
            return tokens.mT.unflatten(2, self.net.patch_embed.grid_size)
        return maps if maps.shape[1] == self.channels else maps.permute(0, 3, 1, 2)


def unpooled(net: nn.Module) -> nn.Module:
    """A backbone of `trunk` up to its last feature map: (B, 3, H, W) to (B, C, h, w), with the same parameter names."""
    if isinstance(net, Pooled):
        return net.net
    stages = [(name, stage) for name, stage in net.named_children() if name not in ("avgpool", "fc", "classifier")]
    body: Any = nn.Sequential(OrderedDict(stages))
    body.channels = channels_of(net)
    return body


def channels_of(net: nn.Module) -> int:
    """C, the channels of the feature maps of a backbone."""
    return cast(int, net.channels)


def _headless(net: Any, name: str, stem_relu: bool) -> nn.Module:
    """A torchvision network with its head replaced by nothing; the names of its other parameters stay."""
    if name == "mobilenet_v2":  # it has a ReLU6 in its stem, and no reference without one
        net.channels, net.classifier = net.last_channel, nn.Identity()
    else:
        net.channels, net.fc = net.fc.in_features, nn.Identity()
        if not stem_relu:
            net.relu = nn.Identity()  # torchvision's ResNet uses this one in its stem only
    return net


def _timm(name: str, pretrained: bool, size: tuple[int, int]) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ImportError(f"backbone='timm:{name}' needs timm: pip install reidlib[timm]") from None
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}; timm.list_models() names them")
    try:
        net: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # timm's hub raises many kinds, and none without a download
        if not pretrained:
            raise
        raise FileNotFoundError(
            f"the ImageNet weights of timm:{name} could not be fetched ({error}). Give the path of a .pth file as "
            "weights, or train from scratch with weights='none'"
        ) from error
    if hasattr(net, "patch_embed") and hasattr(net, "set_input_size"):
        net.set_input_size(img_size=size)
    return TimmMaps(net)


def _keep_resolution(net: nn.Module, size: tuple[int, int]) -> None:
    """Give stride 1 to the layers that halve the feature map last; leave a network that has none as it is."""
    halving: dict[int, list[Any]] = {}  # by the number of places of their input

    def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        if layer.stride in (2, (2, 2)):
            halving.setdefault(inputs[0].shape[-2] * inputs[0].shape[-1], []).append(layer)

    kinds = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
    hooks = [layer.register_forward_pre_hook(note) for layer in net.modules() if isinstance(layer, kinds)]
    with torch.inference_mode(), evaluating(net):
        net(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()
    last = halving[min(halving)] if halving else []
    if any(isinstance(layer, nn.Conv2d) and layer.kernel_size[0] % 2 == 0 for layer in last):
        return  # patches that do not overlap, as in ConvNeXt: with stride 1 it would be another network
    for layer in last:
        if not isinstance(layer, nn.Conv2d):
            layer.kernel_size, layer.padding = 1, 0  # a pool of a shortcut
        layer.stride = (1, 1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for as long as the block runs."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def autocast(precision: str, images: Tensor) -> torch.autocast:
    """bfloat16 where `precision` means it on the device of `images`; float32 elsewhere."""
    device = images.device.type
    return torch.autocast(device, torch.bfloat16, enabled=uses_bf16(precision, device))


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
    if weights == "imagenet" and name not in BACKBONES:
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
