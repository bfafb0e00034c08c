"""The ResNet-50 of fast-reid, for its weights: another pooling in the stem, and non-local blocks if asked for.

Source: He et al., "FastReID: A Pytorch Toolbox for General Instance Re-identification" (2020) and what its code
computes; non-local blocks of Wang et al. (CVPR 2018) with one channel inside, as there.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet


class NonLocal(nn.Module):
    """Adds to each place of a map what all places are like, weighted by their products: (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, 1, 1) for _ in range(3))
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)  # at first it adds nothing
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), norm)

    def forward(self, maps: Tensor) -> Tensor:
        theta, phi, g = (layer(maps).flatten(2) for layer in (self.theta, self.phi, self.g))  # (B, 1, h * w)
        seen = (theta.mT @ phi) @ g.mT / g.shape[2]
        return maps + self.W(seen.mT.unflatten(2, maps.shape[2:]))


class FastResNet(ResNet):
    """Images (B, 3, H, W) to maps (B, 2048, h, w); `non_local` blocks stand behind the last of stages 2 and 3."""

    channels = 2048

    def __init__(self, non_local: bool) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
        del self.avgpool, self.fc
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.NL_2 = nn.ModuleList(NonLocal(512) for _ in range(2 * non_local))
        self.NL_3 = nn.ModuleList(NonLocal(1024) for _ in range(3 * non_local))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        stages: list[tuple[Any, nn.ModuleList]] = [(self.layer2, self.NL_2), (self.layer3, self.NL_3)]
        for stage, behind in stages:
            for i, block in enumerate(stage, len(behind) - len(stage)):
                maps = block(maps)
                maps = behind[i](maps) if i >= 0 else maps
        return torch.as_tensor(self.layer4(maps))


resnet50, resnet50_nl = (partial(FastResNet, blocks) for blocks in (False, True))  # of its BoT; of its AGW and SBS
