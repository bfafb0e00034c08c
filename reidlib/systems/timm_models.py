"""Image models of timm as backbones. timm is imported where one is asked for."""

from typing import Any

from torch import Tensor, nn


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


def timm_model(name: str, pretrained: bool) -> nn.Module:
    """A model of timm up to its last feature map; raises what `backbones.trunk` raises."""
    try:
        import timm
    except ImportError:
        raise ImportError(f"backbone='timm:{name}' needs timm: pip install timm") from None
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
    return TimmMaps(net)


def sized(net: nn.Module, size: tuple[int, int]) -> bool:
    """Whether it is a transformer of timm, which is of one size of images; then it has this one."""
    inner: Any = net.net if isinstance(net, TimmMaps) else None
    if not (hasattr(inner, "patch_embed") and hasattr(inner, "set_input_size")):
        return False
    inner.set_input_size(img_size=size)
    return True
