"""The deterministic fill of the golden files: a hash for weights, sines for the rest (tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

GOLDEN = Path(__file__).parent / "golden"


def arrays(name: str) -> dict[str, np.ndarray]:
    """Read one golden .npz as a plain dict."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file}


def facts(name: str):
    """Read one golden .json."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def uniform(i: np.ndarray, k: int) -> np.ndarray:
    """The hash u(i, k) in [0, 1): 32-bit unsigned arithmetic, float64 result."""
    x = (np.asarray(i, np.uint64) + np.uint64(2654435769 * k % 2**32)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 2146121005), (15, 2221713035)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (x ^ (x >> np.uint64(16))) / 2.0**32


def values(kind: str, shape: tuple[int, ...], k: int, offset: int = 0) -> torch.Tensor:
    """The float64 values of entry k of a state dict."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    fan_in = np.prod(shape[1:])
    rules = {
        "conv": lambda: np.sqrt(6 / fan_in) * (2 * uniform(i, k + offset) - 1),
        "linear": lambda: np.sqrt(3 / fan_in) * (2 * uniform(i, k + offset) - 1),
        "bn_weight": lambda: 1 + 0.1 * np.sin(i + k + offset),
        "bn3_weight": lambda: 0.4 * (1 + 0.1 * np.sin(i + k + offset)),
        "bn_bias": lambda: 0.1 * np.cos(i + k + offset),
        "running_mean": lambda: 0.05 * np.sin(0.5 * i + k + offset),
        "running_var": lambda: 1 + 0.2 * np.cos(0.3 * i + k + offset),
        "zero": lambda: np.zeros_like(i),
        "one": lambda: np.ones_like(i),
    }
    return torch.from_numpy(rules[kind]().reshape(shape))


def float_entries(*modules: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """The float entries of the modules' state dicts, in order; they share memory with the modules."""
    return [(name, t) for m in modules for name, t in m.state_dict().items() if t.is_floating_point()]


def fill(entries: list[tuple[str, torch.Tensor]], kinds: list[str], offset: int = 0) -> None:
    """Overwrite entry k with the values of kinds[k]."""
    assert len(entries) == len(kinds), f"{len(entries)} float entries, {len(kinds)} expected: {[n for n, _ in entries]}"
    for k, ((_, tensor), kind) in enumerate(zip(entries, kinds, strict=True)):
        tensor.copy_(values(kind, tuple(tensor.shape), k, offset))


def pictures(n: int, height: int, width: int, phase: float) -> torch.Tensor:
    """The golden input images, (n, 3, height, width) float64, already "normalised"."""
    b, c, y, x = np.ogrid[:n, :3, :height, :width]
    wave = 1.2 * np.sin(0.05 * (b + 1) * y + 0.11 * (c + 1) * x + phase * b)
    return torch.from_numpy(wave + 0.5 * np.cos(0.23 * (b + 2) * x - 0.07 * y + c) + 0.2 * (b % 3 - 1))


def sum_l2(tensor: torch.Tensor) -> tuple[float, float]:
    """The sum and the L2 norm, in float64."""
    return tensor.double().sum().item(), tensor.double().norm().item()


class StandIn(nn.Module):
    """The small trunk of the training steps: 3 x 3 convolutions of stride 2, batch norm and ReLU; then a mean."""

    def __init__(self, widths):
        super().__init__()
        widths = [3, *(int(width) for width in widths)]
        self.stages, self.channels = len(widths) - 1, widths[-1]
        for j in range(1, len(widths)):
            self.add_module(f"conv{j}", nn.Conv2d(widths[j - 1], widths[j], 3, 2, 1, bias=False))
            self.add_module(f"bn{j}", nn.BatchNorm2d(widths[j]))

    def forward(self, x):
        for j in range(1, self.stages + 1):
            x = F.relu(getattr(self, f"bn{j}")(getattr(self, f"conv{j}")(x)))
        return x.mean((2, 3))
