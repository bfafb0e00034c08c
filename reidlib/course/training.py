"""Exercises of notebook 3, training."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from reidlib.course.remarks import array, compare, expect, slopes
from reidlib.systems.bag_of_tricks import BagOfTricks
from reidlib.systems.losses import batch_hard_triplet


def _small(system: type[BagOfTricks]) -> BagOfTricks:
    """A system that trains within milliseconds, for images (B, 3, 8, 4) of four identities."""
    torch.manual_seed(4)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())
    trunk.channels = 72  # type: ignore[assignment]
    return system(trunk, range(4), schedule=lambda epoch: 1e-2)


def _batches(n: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = torch.Generator().manual_seed(5)
    return [(torch.randn(8, 3, 8, 4, generator=rng), torch.arange(4).repeat_interleave(2)) for _ in range(n)]


def resting_step(answer: Callable[..., Any]) -> None:
    """One training step of the Bag of Tricks whose trunk rests, in plain torch."""
    mine, ours = _small(BagOfTricks), _small(BagOfTricks)
    ours.frozen_epochs = 1
    ours.begin_epoch(0)
    for number, (images, labels) in enumerate(_batches(3)):
        _, emb, logits = deepcopy(ours)(images)
        wanted, before = ours.step(images, labels), deepcopy(mine.state_dict())
        value, after = array(answer(mine, images, labels)), mine.state_dict()
        moved = [name for name in before if name.startswith("trunk.") and not torch.equal(before[name], after[name])]
        statistics = any("running" in name for name in moved)
        expect(not statistics, "The trunk's running statistics moved: in which mode does it work?")
        expect(not moved, "The trunk's weights moved: a gradient of zero still leaves the weight decay.")
        ce, triplet = wanted["ce"], wanted["triplet"]
        slips = {
            "the ID loss is without label smoothing.": F.cross_entropy(logits, labels) + triplet,
            "the triplet loss sees the feature after the neck.": ce + batch_hard_triplet(emb, labels),
            "where is the triplet loss?": ce,
            "where is the ID loss?": triplet,
        }
        close = [hint for hint, slip in slips.items() if np.isclose(value, slip.detach(), rtol=1e-4)]
        late = "the first step was right: are its gradients still there in the next?" if number else "add two losses."
        compare(value, wanted["loss"], f"The loss of step {number + 1}", (close or [late])[0], 1e-3)
        still = torch.equal(before["classifier.weight"], mine.classifier.weight)
        expect(not still, "The classifier's weights do not move: a backward pass, then a step of the optimiser.")
        same = torch.allclose(mine.classifier.weight, ours.classifier.weight, atol=1e-4)
        expect(same, f"After step {number + 1} the weights are not the library's: " + (late if number else "one step?"))


def warm_cosine(answer: Callable[..., Any]) -> None:
    """A learning rate that warms up and then falls along half a cosine."""
    for epochs, warmup, base in ((60, 10, 1.0), (20, 2, 3.5e-4), (10, 0, 0.1)):
        rates = np.array([array(answer(epoch, epochs, base, warmup)) for epoch in range(epochs)], float)
        name = "of {} your rate"
        if warmup:
            compare(rates[0], base / 100, f"In epoch 0 {name.format(epochs)}", "how does warm-up start?")
            middle = base * (0.01 * (1 - 1 / warmup) + 1 / warmup)
            compare(rates[1], middle, f"In epoch 1 {name.format(epochs)}", "warm-up is a straight line.")
        compare(rates[warmup], base, f"In epoch {warmup} {name.format(epochs)}", "warm-up ends at the base rate.")
        half = warmup + (epochs - warmup) // 2
        hint = "the cosine begins after the warm-up and has half a period until the end."
        compare(rates[half], base / 2, f"In epoch {half} {name.format(epochs)}", hint, 0.02)
        last = base / 2 * (1 + np.cos(np.pi * (epochs - 1 - warmup) / (epochs - warmup)))
        compare(rates[-1], last, f"In the last epoch {name.format(epochs)}", hint)


def soft_margin(answer: Callable[..., Any]) -> None:
    """A trick of the reader's own: a system whose batch-hard triplet loss has no margin."""
    system = _small(answer)  # type: ignore[arg-type]
    for images, labels in _batches(3):
        feat, emb, logits = (part.detach().requires_grad_() for part in system(images))
        losses = system.losses(feat, emb, logits, labels)
        expect(set(losses) == {"ce", "triplet"}, f"losses() should return ce and triplet, not {sorted(losses)}.")
        dist = (feat[:, None] - feat).norm(dim=2).detach()
        same = labels[:, None] == labels
        gap = torch.stack([dist[a][same[a]].max() - dist[a][~same[a]].min() for a in range(len(labels))])
        value, wanted = float(array(losses["triplet"])), float(F.softplus(gap).mean())
        near = torch.stack([dist[a][same[a]].min() - dist[a][~same[a]].min() for a in range(len(labels))])
        zero = torch.stack([dist[a][same[a]].max() for a in range(len(labels))])
        hints = {
            "does the hardest positive include only the image itself? It is the farthest.": F.softplus(near).mean(),
            "is your nearest negative the image itself, or another of its identity?": F.softplus(zero).mean(),
            "the hinge with its margin is still there.": batch_hard_triplet(feat, labels, 0.3),
            "take the mean over the anchors.": F.softplus(gap).sum(),
        }
        close = [hint for hint, slip in hints.items() if np.isclose(value, float(slip.detach()), rtol=1e-4)]
        compare(value, wanted, "Your triplet loss", (close or ["log(1 + exp(x)) of what?"])[0], 1e-3)
        compare(array(losses["ce"]), F.cross_entropy(logits, labels, label_smoothing=0.1), "ce", "leave it as it was.")
        slopes(losses["triplet"], [feat])
