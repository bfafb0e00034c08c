"""Exercises of notebook 6, parts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from reidlib.course.remarks import array, compare, expect


def part_head(answer: Callable[..., Any]) -> None:
    """The head of one part: dropout, a layer down, BatchNorm, leaky ReLU, classifier."""
    torch.manual_seed(1)
    mine, part = answer(12, 5, 7), 5 * torch.randn(64, 12)
    ours = nn.Sequential(nn.Dropout(0.5), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.LeakyReLU(0.1), nn.Linear(5, 7))
    array(mine(part), (64, 7))
    layers, theirs = (sorted(_layers(head), key=_size) for head in (mine, ours))
    sizes, wanted = ([_size(layer) for layer in some] for some in (layers, theirs))
    expect(sizes == wanted, f"The weights of your layers have the shapes {sizes}: which layers does a head have?")
    expect(not torch.equal(mine(part), mine(part)), "Two passes in training are equal: nothing is dropped out.")
    dropped: list[float] = []  # shares of the inputs of the layer down
    down = next(layer for layer in layers if _size(layer) == (5, 12))
    down.register_forward_pre_hook(lambda _, given: dropped.append(float((given[0] == 0).float().mean())))
    mine(part)
    words = f"{dropped[0]:.0%} of what goes into the layer down is dropped out: it should be half."
    expect(0.4 < dropped[0] < 0.6, words)
    for layer, other in zip(layers, theirs, strict=True):
        changed = {name: torch.rand_like(value.float()) + 0.5 for name, value in other.state_dict().items()}
        layer.load_state_dict(changed), other.load_state_dict(changed)
    mine.eval(), ours.eval()
    expect(torch.equal(mine(part), mine(part)), "In evaluation two passes differ: does dropout stop?")
    relu = ours[4](F.relu(ours[2](ours[1](part))))
    hint = "in which order are the layers, and how steep is the leaky ReLU below zero?"
    hint = "a ReLU is not leaky." if torch.allclose(mine(part), relu, atol=1e-4) else hint
    expect(torch.allclose(mine(part), ours(part), atol=1e-4), f"In evaluation your logits are not right: {hint}")


def _layers(head: nn.Module) -> list[nn.Module]:
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.BatchNorm1d)]


def _size(layer: nn.Module) -> tuple[int, ...]:
    return tuple(layer.get_parameter("weight").shape)


def shared_parts(answer: Callable[..., Any]) -> None:
    """Similarity over the parts that both images show."""
    rng = torch.Generator().manual_seed(2)
    for queries, images, p in ((3, 4, 6), (5, 2, 3)):
        a, b = torch.randn(queries, p, 8, generator=rng), torch.randn(images, p, 8, generator=rng)
        seen_a, seen_b = (torch.rand(n, p, generator=rng) < 0.6 for n in (queries, images))
        seen_a[0], seen_b[0, 0], seen_b[0, 1:] = torch.arange(p) > 0, True, False  # nothing in common
        found = array(answer(a, b, seen_a, seen_b), (queries, images))
        for i, j in np.ndindex(queries, images):
            both, either = seen_a[i] & seen_b[j], seen_a[i] | seen_b[j]
            cosines = F.cosine_similarity(a[i], b[j], dim=1)
            wanted, slip = (float(cosines[some].mean()) if some.any() else 0.0 for some in (both, either))
            hint = "a mean over which parts, and how many of them?"
            if np.isclose(found[i, j], slip, atol=1e-5):
                hint = "your mean includes a part that one of the two hides."
            if np.isclose(found[i, j], float(cosines[both].sum()) / p, atol=1e-5):
                hint = "you divide by all parts, not by those that are shared."
            compare(found[i, j], wanted, f"With {int(both.sum())} of {p} parts shared, a similarity", hint)


def shifted(answer: Callable[..., Any]) -> None:
    """Similarity of two images whose boxes are not at the same height."""
    rng = torch.Generator().manual_seed(3)
    for p, most, shift in ((6, 2, 1), (6, 2, -2), (5, 1, 0), (6, 1, 3), (6, 0, 1)):
        a = torch.randn(p, 8, generator=rng)
        b = a.roll(shift, 0) + 0.3 * torch.randn(p, 8, generator=rng)
        cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
        diagonals = {s: cosines.diagonal(s) for s in range(-most, most + 1)}
        wanted, found = max(float(d.mean()) for d in diagonals.values()), float(array(answer(a, b, most)))
        hint = "which strips of a lie on which strips of b?"
        if np.isclose(found, max(float(d.sum()) / p for d in diagonals.values()), atol=1e-5):
            hint = "take the mean over the strips that overlap, not over all."
        if np.isclose(found, max(float(cosines[range(p), np.roll(range(p), s)].mean()) for s in diagonals), atol=1e-5):
            hint = "strips that leave at the feet do not come back at the head."
        if np.isclose(found, max(float(d.mean()) for s, d in diagonals.items() if s * shift <= 0), atol=1e-5):
            hint = "a box can hang too high or too low: shift both ways."
        compare(found, wanted, f"With shifts up to {most}, a similarity", hint)
