"""OSNet, a small backbone of several receptive fields in each block: `backbone="reidlib.systems.osnet:x1_0"`.

Source: Zhou, Yang, Cavallaro, Xiang, "Omni-Scale Feature Learning for Person Re-Identification" (ICCV 2019), section 3;
parameters are named as in torchreid, so that its weights load.
"""

from collections import OrderedDict
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F


def conv(
    inside: int, outside: int, size: int = 1, stride: int = 1, relu: bool = True, norm: type = nn.BatchNorm2d
) -> nn.Sequential:
    """A convolution and its normalisation, with a ReLU or without."""
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(inside, outside, size, stride, size // 2, bias=False)}
    layers |= {"bn": norm(outside, affine=True)} | ({"relu": nn.ReLU()} if relu else {})
    return nn.Sequential(OrderedDict(layers))


def light(channels: int) -> nn.Sequential:
    """A 3 x 3 convolution in two cheap steps: across channels, then within each."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, channels, 1, bias=False),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
        )
    )


class Gate(nn.Module):
    """A weight between 0 and 1 for each channel of a map, from the map's mean (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, channels // 16, 1), nn.Conv2d(channels // 16, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.fc2(self.fc1(maps.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Block(nn.Module):
    """Streams of one to four light convolutions, gated and summed, beside a shortcut (figure 3)."""

    def __init__(self, inside: int, outside: int, instance: bool) -> None:
        super().__init__()
        middle = outside // 4
        self.conv1, self.conv3 = conv(inside, middle), conv(middle, outside, relu=False)
        self.conv2a = light(middle)
        for stream, depth in zip("bcd", (2, 3, 4)):
            self.add_module(f"conv2{stream}", nn.Sequential(*(light(middle) for _ in range(depth))))
        self.gate = Gate(middle)
        self.downsample = conv(inside, outside, relu=False) if inside != outside else None
        self.IN = nn.InstanceNorm2d(outside, affine=True) if instance else None

    def forward(self, maps: Tensor) -> Tensor:
        narrow = self.conv1(maps)
        streams = sum(self.gate(self.get_submodule(f"conv2{stream}")(narrow)) for stream in "abcd")
        out = self.conv3(streams) + (maps if self.downsample is None else self.downsample(maps))
        return F.relu(out if self.IN is None else self.IN(out))


class OSNet(nn.Module):
    """Images (B, 3, H, W) to (B, 512, 1, 1): the mean of the last map and a layer behind it, as one place.

    `instance`: instance normalisation in the stem and the first stage, for other cameras than those trained on.
    """

    channels = 512

    def __init__(self, width: float = 1.0, instance: bool = False) -> None:
        super().__init__()
        a, b, c, d = (round(width * channels) for channels in (64, 256, 384, 512))
        norm = nn.InstanceNorm2d if instance else nn.BatchNorm2d
        self.conv1, self.maxpool = conv(3, a, 7, 2, norm=norm), nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Sequential(Block(a, b, instance), Block(b, b, instance), self._halved(b))
        self.conv3 = nn.Sequential(Block(b, c, False), Block(c, c, False), self._halved(c))
        self.conv4 = nn.Sequential(Block(c, d, False), Block(d, d, False))
        self.conv5 = conv(d, d)
        self.fc = nn.Sequential(nn.Linear(d, 512), nn.BatchNorm1d(512), nn.ReLU())

    @staticmethod
    def _halved(channels: int) -> nn.Sequential:
        return nn.Sequential(conv(channels, channels), nn.AvgPool2d(2))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv2(self.maxpool(self.conv1(images)))
        maps = self.conv5(self.conv4(self.conv3(maps)))
        return cast(Tensor, self.fc(maps.mean((2, 3))))[:, :, None, None]


x1_0, x0_75, x0_5, x0_25 = (partial(OSNet, width) for width in (1.0, 0.75, 0.5, 0.25))
ibn_x1_0 = partial(OSNet, 1.0, True)
