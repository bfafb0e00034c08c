"""Exercises of notebook 2, the tricks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from reidlib.course.remarks import array, compare, expect, slopes
from reidlib.data.augment import draw_erasing


def batch_all(answer: Callable[..., Any]) -> None:
    """The triplet loss of all triplets of a batch, the mean over those that are not zero."""
    rng = torch.Generator().manual_seed(1)
    for labels in (torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2]), torch.tensor([3, 4, 3, 4])):
        feat = 0.2 * (labels[:, None] + torch.randn(len(labels), 3, generator=rng))
        feat.requires_grad_()
        dist, n = (feat.detach()[:, None] - feat.detach()).norm(dim=2), range(len(labels))
        triplets = [(a, p, g) for a in n for p in n for g in n if labels[a] == labels[p] != labels[g]]
        hinge, proper = [torch.tensor([max(0.0, float(dist[a, p] - dist[a, g]) + 0.3) for a, p, g in some])
                         for some in (triplets, [t for t in triplets if t[0] != t[1]])]  # fmt: skip
        found, wanted = answer(feat, labels, 0.3), proper[proper > 0].mean()
        value, hint = float(array(found)), "which triplets are in the mean, and which of them are zero?"
        if np.isclose(value, hinge[hinge > 0].mean(), atol=1e-5):
            hint = "is an image a positive of itself?"
        if np.isclose(value, proper.mean(), atol=1e-5):
            hint = "triplets that keep the margin are in your mean."
        compare(value, wanted, "Your loss", hint)
        slopes(found, [feat])
    apart = answer(torch.tensor([[0.0], [0.1], [9.0], [9.1]]), torch.tensor([0, 0, 1, 1]), 0.3)
    expect(float(array(apart)) == 0.0, "Where every triplet keeps the margin the loss should be 0.")


def neck(answer: Callable[..., Any]) -> None:
    """The BNNeck as a module, without torch's BatchNorm."""
    mine, ours = answer(8), nn.BatchNorm1d(8)
    expect(not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in mine.modules()), "No nn.BatchNorm.")
    rng = torch.Generator().manual_seed(2)
    for _ in range(40):
        feat = 3 * torch.randn(64, 8, generator=rng) + torch.arange(8)
        found, wanted = mine(feat), ours(feat)
        array(found, (64, 8))
        compare(found.mean(0).abs().max(), 0, "In training the mean of a dimension", "subtract the batch's mean.", 1e-3)
        compare(found.std(0).mean(), wanted.std(0).mean(), "In training the spread", "divide by what?", 1e-2)
    sizes = [tuple(p.shape) for p in mine.parameters() if p.requires_grad]
    expect(sizes == [(8,)], f"Learned parameters have the shapes {sizes}; there should be one scale and no shift.")
    expect(len(mine.state_dict()) > 2, "A checkpoint would lose the running mean and variance: make them buffers.")
    one = feat[:1]
    found, wanted = mine.eval()(one), ours.eval()(one)
    alone = "In evaluation your neck uses the batch's own statistics: a single image becomes zero or NaN."
    expect(bool(found.isfinite().all() and found.abs().max() > 1e-3), alone)
    hint = "In evaluation the result is far off: how do the running statistics follow the batches?"
    expect(torch.allclose(found, wanted, atol=0.05), hint)
    mine(one + 100)
    expect(torch.allclose(mine(one), found), "The running statistics move in evaluation too.")
    with torch.no_grad():
        for scale in (next(mine.parameters()), ours.weight):
            scale.copy_(torch.arange(1, 9) / 4)
    expect(torch.allclose(mine(one), ours(one), atol=0.2), "The learned scale does not multiply its dimension.")
    expect(mine(feat).requires_grad, "The scale does not learn: no gradient reaches it.")


def draw_box(answer: Callable[..., Any]) -> None:
    """The rectangle of random erasing."""
    size, rng = (256, 128), np.random.default_rng(3)
    boxes = np.stack([array(answer(rng, *size), (4,)) for _ in range(3000)])
    expect(boxes.dtype.kind in "iu", "Top, left, height and width should be whole pixels.")
    top, left, h, w = boxes.T
    inside = (boxes >= 0).all() and (top + h <= size[0]).all() and (left + w <= size[1]).all()
    expect(inside, "A rectangle reaches beyond the image: the top and left depend on its height and width.")
    full = float(((h == size[0]) | (w == size[1])).mean())
    expect(full < 0.01, f"{full:.0%} of your rectangles span the image: one that does not fit is drawn again, not cut.")
    share, aspect = h * w / np.prod(size), h / w
    expect(0.017 < share.min() < share.max() < 0.43, f"You erase {share.min():.1%} to {share.max():.0%} of the image.")
    _, _, ours_h, ours_w = draw_erasing(rng, 3000, size, probability=1.0).T
    hint = "the aspect is height over width, and it is uniform, not its logarithm."
    compare(aspect.mean(), (ours_h / ours_w).mean(), "Your mean aspect", hint, 0.06)
    compare(share.mean(), (ours_h * ours_w).mean() / np.prod(size), "Your mean share", "uniform in what?", 0.06)
    for places, room in ((top, size[0] - h), (left, size[1] - w)):
        expect(abs((places / room).mean() - 0.5) < 0.05, "The rectangles lie more often on one side of the image.")
        expect(bool((places == room).any()), "No rectangle touches the last row and the last column: which places fit?")
        expect(abs((places / room).std() - 12**-0.5) < 0.03, "Some places come more often than others.")
