"""Backbones: networks without their heads, of torchvision, of timm or of your own, and their ImageNet weights."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from reidlib.models import imported
from reidlib.recipe import BACKBONES, Recipe
from reidlib.systems.timm_models import sized, timm_model
from reidlib.systems.weights import load_weights


def trunk(
    name: str = "resnet50",
    weights: str | None = None,
    last_stride: int = 1,
    stem_relu: bool = False,
    size: tuple[int, int] = (256, 128),
    pooling: str = "mean",
) -> nn.Module:
    """A backbone without its head: images (B, 3, H, W) to pooled features (B, C).

    Parameters
    ----------
    name
        One of `recipe.BACKBONES`, torchvision's or `Slim`; "timm:NAME", any image model of timm; or
        "package.module:function", your own function without arguments. It returns a module with an int `channels`, C,
        that maps images (B, 3, H, W) to feature maps (B, C, h, w).
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
    pooling
        "mean" of the last map, or "gem"; see `Pooled`.

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
        net = Slim() if name == "slim" else torchvision.models.get_model(name, weights=None)
    elif source == "timm":
        net = timm_model(rest, weights == "imagenet")
    elif rest:
        net = imported(name, "backbone")()
    else:
        raise ValueError(f"no backbone {name!r}; choose one of {', '.join(BACKBONES)}, timm:NAME or module:function")
    if weights not in (None, "none") and not (source == "timm" and weights == "imagenet"):
        try:
            load_weights(net, name, str(weights))
        except ValueError:
            if not sized(net, size):
                raise
            load_weights(net, name, str(weights))  # of a published model, whose transformer has the size already
    sized(net, size)
    net = _headless(net, name, stem_relu) if name in BACKBONES else Pooled(net)
    try:
        if last_stride == 1:
            _keep_resolution(net, size)
        if source == "timm":
            with torch.inference_mode(), evaluating(net):
                net(torch.zeros(1, 3, *size))
    except (RuntimeError, AttributeError, AssertionError) as error:
        if source != "timm":
            raise
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        tried = f"images of {size[0]} x {size[1]} with last_stride={last_stride}"
        raise ValueError(f"backbone={name!r} makes no map of {tried} ({why}); choose other ones or another") from error
    return net if pooling == "mean" else Pooled(unpooled(net), gem=True)


def trunk_of(recipe: Recipe) -> nn.Module:
    """The backbone that a recipe describes."""
    return trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu, recipe.size, recipe.pooling)


class Slim(ResNet):
    """A ResNet of 0.7 million weights for small images: 24 channels for 64, one block a stage, 3 x 3 stem of stride 1.

    Its maps are twice as high and wide as those of torchvision's ResNets for images of the same size.
    """

    WIDTH = 24

    def __init__(self) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=1)
        self.conv1 = nn.Conv2d(3, self.WIDTH, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.fc = nn.BatchNorm2d(self.WIDTH), nn.Linear(8 * self.WIDTH, 1)

    def _make_layer(self, block: Any, planes: int, *args: Any, **options: Any) -> nn.Sequential:
        """A stage of torchvision's ResNet with fewer channels; the first one continues the narrow stem."""
        self.inplanes: int = self.inplanes if planes > 64 else self.WIDTH
        return super()._make_layer(block, planes * self.WIDTH // 64, *args, **options)


class Pooled(nn.Module):
    """The mean over the places of the feature map that `net` gives: (B, 3, H, W) to (B, C).

    With `gem` it is a generalised mean, whose exponent, 3 at the start, is learned: 1 is the mean, infinity the largest
    value. Source: Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (TPAMI 2018).
    """

    def __init__(self, net: nn.Module, gem: bool = False) -> None:
        super().__init__()
        self.net, self.channels = net, channels_of(net)
        self.exponent = nn.Parameter(torch.full((1,), 3.0)) if gem else None

    def forward(self, images: Tensor) -> Tensor:
        maps = self.net(images)
        if self.exponent is None:
            return maps.mean((2, 3))
        return maps.float().clamp(min=1e-6).pow(self.exponent).mean((2, 3)).pow(1 / self.exponent)


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
    """Evaluation mode for as long as the block runs; then each part is in its own mode again, as a resting backbone."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


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
    flags = cpu.read_text("utf-8") if device == "cpu" and cpu.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
