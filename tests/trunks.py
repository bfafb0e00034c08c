"""Backbones that train within milliseconds: `backbone="trunks:small"` in a recipe."""

from torch import nn


def small() -> nn.Sequential:
    """Images (B, 3, H, W) to maps (B, 16, H / 4, W / 4), twice as high and wide with last stride 1."""
    stages = [(3, 8), (8, 16)]
    layers = [layer for sizes in stages for layer in (conv(*sizes), nn.BatchNorm2d(sizes[1]), nn.ReLU())]
    net = nn.Sequential(*layers)
    net.channels = 16
    return net


def wide() -> nn.Sequential:
    """Another network of the same kind."""
    net = nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU())
    net.channels = 16
    return net


def conv(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)


def stand_in() -> nn.Sequential:
    """The small network of the golden training steps (tests/golden/README.md), up to its last map."""
    stages = [(3, 8), (8, 16), (16, 32)]
    net = nn.Sequential(*[layer for a, b in stages for layer in (conv(a, b), nn.BatchNorm2d(b), nn.ReLU())])
    net.channels = 32
    return net
