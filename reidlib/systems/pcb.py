"""PCB: a feature for each horizontal part of a person, each with a classifier of its own; and refined part pooling.

Source: Sun, Zheng, Yang, Tian, Wang, "Beyond Part Models: Person Retrieval with Refined Part Pooling (and a Strong
Convolutional Baseline)", ECCV 2018, in the recipe of wangguanan's implementation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from reidlib.recipe import Recipe
from reidlib.settings import BAG_ONLY, CROSS, TOY, Trick, setting
from reidlib.systems.backbones import autocast, channels_of, evaluating, trunk_of, unpooled

FEATURES = ("G", "H", "across")
_TOY = TOY | {  # a row of the last map for each part; from scratch the backbone needs the rate of the heads
    "height": 96, "pad": 0, "warmup_epochs": 0, "lr": 0.1, "backbone_lr": 0.1, "epochs": 17, "milestones": (11, 14),
    "rpp_epochs": (3, 4), "rpp_rate": 0.5, "checkpoint_every": 10, "part_dim": 96,
}  # fmt: skip


@dataclass(frozen=True)
class PCBRecipe(Recipe):
    """The recipe of PCB; its defaults are those of wangguanan's implementation."""

    backbone_lr: float | None = setting(0.05, "learning rate of the backbone; None: that of the heads", above=0)
    parts: int = setting(6, "horizontal parts of a person", least=1)
    part_dim: int = setting(256, "numbers that the classifier of a part sees", least=1)
    dropout: float = setting(0.5, "dropout in the head of a part", least=0, most=1)
    rpp: bool = setting(False, "refined part pooling in the last epochs")
    rpp_epochs: tuple[int, int] = setting((5, 10), "epochs of the part classifier alone, then of everything")
    rpp_rate: float = setting(0.1, "share of both learning rates in these epochs", above=0)

    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "height": 384, "width": 192, "pad": 0, "misalign": 0.5, "p": 18, "stem_relu": True, "bnneck": False,
        "label_smoothing": 0.0, "lr": 0.5, "warmup_epochs": 0, "milestones": (50, 80, 100),
        "checkpoint_every": 35,  # the one before the refinement is kept
    }  # fmt: skip
    UNUSED: ClassVar[tuple[str, ...]] = (*BAG_ONLY, "margin")
    SIZES: ClassVar[Mapping[str, dict[str, Any]]] = dict.fromkeys(("sysu", "regdb"), CROSS | {"p": 18}) | {
        "toy": _TOY, "toy-duke": _TOY, "toy-sysu": CROSS | _TOY
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {"reference": {}}
    TRICKS: ClassVar[Mapping[str, Trick]] = {
        "erasing": Recipe.TRICKS["erasing"],
        "stride": Recipe.TRICKS["stride"],
        "rpp": Trick({"rpp": False}, {"rpp": True}),
    }
    ALL: ClassVar[tuple[str, ...]] = ("erasing", "stride")

    def check(self) -> None:
        """Raise ValueError for fields that do not fit each other."""
        super().check()
        if self.rpp and not sum(self.rpp_epochs) < self.epochs:
            raise ValueError(f"rpp_epochs={self.rpp_epochs}; they must leave some of the {self.epochs} epochs")

    def shortened(self, iterations: int) -> Recipe:
        """Two short epochs without the refinement."""
        return self.replace(rpp=False, epochs=2, iterations=iterations, checkpoint_every=9)


class PCB(nn.Module):
    """`trunk` -> map (B, C, h, w) -> parts (B, P, C) -> a head for each part -> logits (B, P, I).

    A head is Dropout, Linear C -> dim, BatchNorm, LeakyReLU(.1), Linear dim -> I; the loss is the mean of the parts'
    cross entropies. A part is the mean of its places, at first of a strip of rows. With `refine=(a, t)` a part
    classifier assigns the places to the parts: it is trained alone from epoch a on, and with everything from epoch t on
    (section 3.4, algorithm 1).

    Parameters
    ----------
    trunk
        Images (B, 3, H, W) to feature maps (B, C, h, w), with an int attribute `channels`; see `backbones.unpooled`.
    ids
        The I training pids; labels are positions in their sorted order.
    parts, dim, dropout, lr, backbone_lr, weight_decay, precision
        As in `PCBRecipe`; pooling, heads and loss are float32 always.
    schedule
        A factor of both rates for each 0-based epoch; in the refinement it is `refine_factor`, our own choice.

    `feature` chooses what `embed` gives: "G", the parts' features, C * P numbers; "H", what their classifiers see,
    dim * P numbers; "across", a G normalised across the parts instead of across channels, as in wangguanan's code.
    """

    ids: Tensor
    heads: nn.ModuleList
    LABEL = "PCB"  # in tables
    LINES = ("all", "all-erasing", "all+rpp", "all-erasing+rpp")  # the tricks whose rows the published table compares
    RECIPE = PCBRecipe
    flip = True
    feature = "G"
    refined = False  # whether the part classifier says what a part is; a checkpoint remembers it
    replica: nn.Module | None = None  # the same network under DistributedDataParallel, where several processes train

    def __init__(
        self,
        trunk: nn.Module,
        ids: Sequence[int] | np.ndarray,
        *,
        parts: int = 6,
        dim: int = 256,
        dropout: float = 0.5,
        lr: float = 0.5,
        backbone_lr: float = 0.05,
        weight_decay: float = 5e-4,
        schedule: Callable[[int], float] = lambda epoch: 1.0,
        refine: tuple[int, int] | None = None,
        refine_factor: float = 0.1,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.trunk, channels = trunk, channels_of(trunk)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(channels, dim),
                nn.BatchNorm1d(dim),
                nn.LeakyReLU(0.1),
                nn.Linear(dim, len(self.ids)),
            )
            for _ in range(parts)
        )
        groups: list[dict[str, Any]] = [{"params": list(self.heads.parameters()), "rate": lr}]
        groups += [{"params": list(trunk.parameters()), "rate": backbone_lr}]
        self.schedule, self.refine, self.refine_factor, self.precision = schedule, refine, refine_factor, precision
        if refine:
            self.part_classifier = nn.Conv2d(channels, parts, 1, bias=False)
            nn.init.normal_(self.part_classifier.weight, std=0.001)  # at first every place belongs to all parts alike
            groups += [{"params": list(self.part_classifier.parameters()), "rate": lr}]
        for group in groups:
            group["lr"] = group["rate"] * schedule(0)
        sgd = torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay, nesterov=True)
        self.optimizers: dict[str, torch.optim.Optimizer] = {"main": sgd}

    @classmethod
    def from_recipe(cls, recipe: PCBRecipe, ids: Sequence[int] | np.ndarray) -> Self:
        """The system of a recipe for the training pids `ids`. ValueError for refined parts on several processes."""
        if recipe.rpp and dist.is_initialized() and dist.get_world_size() > 1:
            raise ValueError("rpp=True on several processes: its stages train some of the weights; leave rpp out")
        tune = recipe.epochs - recipe.rpp_epochs[1]
        return cls(
            unpooled(trunk_of(recipe)),
            ids,
            parts=recipe.parts,
            dim=recipe.part_dim,
            dropout=recipe.dropout,
            lr=recipe.lr,
            backbone_lr=recipe.backbone_lr or recipe.lr,
            weight_decay=recipe.weight_decay,
            schedule=recipe.schedule_factor,
            refine=(tune - recipe.rpp_epochs[0], tune) if recipe.rpp else None,
            refine_factor=recipe.rpp_rate,
            precision=recipe.precision,
        )

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.refined)

    def set_extra_state(self, state: Tensor) -> None:
        self.refined = bool(state)

    def begin_epoch(self, epoch: int) -> None:
        """Set what is trained in 0-based `epoch`, and at which rates."""
        alone_from, all_from = self.refine or (torch.inf, torch.inf)
        self.refined, alone = epoch >= alone_from, alone_from <= epoch < all_from
        self.train(not alone)  # alone: dropout and BatchNorm's statistics stand still too
        self.requires_grad_(not alone)
        if self.refined:
            self.part_classifier.requires_grad_(True)
        factor = self.refine_factor if self.refined else self.schedule(epoch)
        for group in self.optimizers["main"].param_groups:
            group["lr"] = group["rate"] * factor

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) to the last feature map (B, C, h, w) and the log of each place's share in each part.

        The shares (B, P, h, w) are 0 or 1 for strips; refined, they sum to 1 over the parts. Their logarithms never
        leave a part empty, however sure the part classifier is.
        """
        with autocast(self.precision, images):
            last = self.trunk(images.contiguous(memory_format=torch.channels_last))
        last = last.to(next(self.heads.parameters()).dtype)
        if self.refined:
            return last, self.part_classifier(last).log_softmax(1)
        (b, _, h, w), parts = last.shape, len(self.heads)
        row, part = torch.arange(h, device=last.device), torch.arange(parts, device=last.device)[:, None]
        strips = (row >= part * h // parts) & (row < -(-(part + 1) * h // parts))  # (P, h), the rows of a strip
        return last, strips.to(last.dtype).log()[None, :, :, None].expand(b, parts, h, w)

    def pooled(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) to a feature of each part (B, P, C): the mean of the map, weighted by the shares."""
        last, logs = self.maps(images)
        return logs.flatten(2).softmax(2) @ last.flatten(2).mT  # (B, P, h * w) @ (B, h * w, C)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) to logits (B, P, num_ids), each part's own."""
        parts = self.pooled(images).unbind(1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], 1)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update on images (B, 3, H, W) and labels (B,); returns the loss and the accuracy, detached.

        The accuracy is that of the parts' mean logits.
        """
        logits = (self.replica or self)(images)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(len(self.heads)))
        optimizer = self.optimizers["main"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (logits.mean(1).argmax(1) == labels).float().mean()
        return {"loss": loss.detach(), "acc": accuracy}

    @torch.inference_mode()
    def parts(self, images: Tensor, feature: str | None = None) -> Tensor:
        """The pieces of `embed`: (B, 3, H, W) to (B, P, D), D = C or dim, in evaluation mode.

        Each has the length 1 / sqrt(P), except with "across", so that the products of two images' parts add up to their
        cosine. ValueError for an unknown feature.
        """
        feature = feature or self.feature
        if feature not in FEATURES:
            raise ValueError(f"no feature {feature!r}; choose one of {', '.join(FEATURES)}")
        with evaluating(self):
            pooled = self.pooled(images)
            if feature == "H":
                heads = zip(self.heads, pooled.unbind(1), strict=True)
                pooled = torch.stack([cast(nn.Sequential, head)[:-1](part) for head, part in heads], 1)
        parts = F.normalize(pooled.float(), dim=1 if feature == "across" else 2)
        return F.normalize(parts.flatten(1)).view_as(parts)

    def embed(self, images: Tensor, feature: str | None = None) -> Tensor:
        """What retrieval compares: (B, 3, H, W) to L2-normalised (B, P * D), the parts one after another."""
        return self.parts(images, feature).flatten(1)

    @torch.inference_mode()
    def attention(self, images: Tensor) -> Tensor:
        """How much of each place of the map belongs to each part: (B, 3, H, W) to (B, P, h, w), in evaluation mode."""
        with evaluating(self):
            return self.maps(images)[1].exp().float()


SYSTEM = PCB
