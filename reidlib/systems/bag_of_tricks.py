"""The Bag of Tricks: a ResNet with last stride 1, a BNNeck, label smoothing and the batch-hard triplet loss.

Source: Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019, and the
reference implementation (wangguanan, 2019).
"""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reidlib.recipe import Recipe
from reidlib.systems.backbones import autocast, channels_of, evaluating, trunk_of, unpooled
from reidlib.systems.backbones import trunk as trunk  # its backbone: a name that others import from here
from reidlib.systems.losses import CenterLoss, batch_hard_triplet, total

FEATURES = ("after", "before")  # the BNNeck: what a search compares


class BagOfTricks(nn.Module):
    """The baseline and its losses: `trunk` -> feat (B, C) -> BNNeck -> emb (B, C) -> classifier -> logits (B, I).

    A loss of your own overrides `losses`; see docs/extending.md.

    Parameters
    ----------
    trunk
        Images (B, 3, H, W) to features (B, C), with an int attribute `channels`, C; see `backbones.trunk`.
    ids
        The I training pids; labels are positions in their sorted order.
    bnneck
        Without it emb is feat, and the classifier keeps its bias and torch's initialisation, as in the paper's
        baseline.
    label_smoothing, margin, center_weight, center_lr, weight_decay
        As in `Recipe`.
    schedule
        The learning rate of a 0-based epoch.
    frozen_epochs
        Epochs at the start in which the trunk rests: it neither learns nor updates its BatchNorms' statistics.
    precision
        Of the trunk: float32, bf16, or auto, bf16 where the device computes in it. The neck, the classifier and all
        losses are float32 always.

    `feature` chooses what `embed` gives: "after" the BNNeck, as the paper searches, or "before" it, what the triplet
    loss sees. Set it on a trained system; `python -m reidlib.studies.neck` compares the two.

    References
    ----------
    Luo et al. 2019, section 3; wangguanan's reference implementation.
    """

    ids: Tensor
    LABEL = "Bag of Tricks"  # in tables
    LINES = ("all", "all-erasing")  # the tricks whose rows the published table compares
    RECIPE = Recipe
    flip = False
    feature = "after"
    frozen = False  # whether the trunk rests in this epoch
    replica: nn.Module | None = None  # the same network under DistributedDataParallel, where several processes train

    def __init__(
        self,
        trunk: nn.Module,
        ids: Sequence[int] | np.ndarray,
        *,
        bnneck: bool = True,
        label_smoothing: float = 0.1,
        margin: float = 0.3,
        center_weight: float = 0.0,
        center_lr: float = 0.5,
        weight_decay: float = 5e-4,
        schedule: Callable[[int], float],
        frozen_epochs: int = 0,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.trunk, channels = trunk, channels_of(trunk)
        self.bnneck = nn.BatchNorm1d(channels) if bnneck else nn.Identity()
        self.classifier = nn.Linear(channels, len(self.ids), bias=not bnneck)
        if isinstance(self.bnneck, nn.BatchNorm1d):
            self.bnneck.bias.requires_grad_(False)  # section 3.5: the embedding stays centred on the origin
            nn.init.normal_(self.classifier.weight, std=0.001)
        self.label_smoothing, self.margin, self.center_weight = label_smoothing, margin, center_weight
        self.schedule, self.frozen_epochs, self.precision = schedule, frozen_epochs, precision
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        # L2 on everything that is trained, BatchNorm and biases too: the reference implementation's choice
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "main": torch.optim.Adam(trained, schedule(0), weight_decay=weight_decay, fused=True)
        }
        if center_weight:
            self.center_loss = CenterLoss(len(self.ids), channels)
            self.optimizers["center"] = torch.optim.SGD(self.center_loss.parameters(), center_lr)

    @classmethod
    def from_recipe(cls, recipe: Recipe, ids: Sequence[int] | np.ndarray) -> Self:
        """The system of a recipe for the training pids `ids`."""
        return cls(
            trunk_of(recipe),
            ids,
            bnneck=recipe.bnneck,
            label_smoothing=recipe.label_smoothing,
            margin=recipe.margin,
            center_weight=recipe.center_weight,
            center_lr=recipe.center_lr,
            weight_decay=recipe.weight_decay,
            schedule=recipe.learning_rate,
            frozen_epochs=recipe.freeze * recipe.warmup_epochs,
            precision=recipe.precision,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of 0-based `epoch`, training mode, and whether the trunk rests."""
        self.frozen = epoch < self.frozen_epochs
        self.train()
        self.trunk.train(not self.frozen)
        for group in self.optimizers["main"].param_groups:
            group["lr"] = self.schedule(epoch)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images (B, 3, H, W) to feat (B, C) before the BNNeck, emb (B, C) after it and logits (B, I)."""
        with autocast(self.precision, images):
            feat = self.trunk(images.contiguous(memory_format=torch.channels_last))
        feat = feat.to(self.classifier.weight.dtype)
        emb = self.bnneck(feat)
        return feat, emb, self.classifier(emb)

    def losses(self, feat: Tensor, emb: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms that are summed to the loss, each with its weight: what a subclass overrides or adds to.

        feat (B, C) before the BNNeck, emb (B, C) after it, logits (B, I), labels (B,) in 0..I-1; scalars by name.
        """
        losses = {
            "ce": F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing),
            "triplet": batch_hard_triplet(feat, labels, self.margin),
        }
        if self.center_weight:
            losses["center"] = self.center_weight * self.center_loss(feat, labels)
        return losses

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update on images (B, 3, H, W) and labels (B,); returns its losses and accuracy, detached."""
        feat, emb, logits = (self.replica or self)(images)
        losses = self.losses(feat, emb, logits, labels)
        loss = total(losses.values())
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        if self.frozen:
            self.trunk.zero_grad()  # a parameter without a gradient is left alone, by the weight decay too
        if self.center_weight:
            assert self.center_loss.centers.grad is not None
            self.center_loss.centers.grad /= self.center_weight  # the centers learn at their own rate
        for optimizer in self.optimizers.values():
            optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        return {name: value.detach() for name, value in {"loss": loss, **losses, "acc": accuracy}.items()}

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """What retrieval compares: (B, 3, H, W) to L2-normalised (B, C), in evaluation mode."""
        before = self._before()
        with evaluating(self):
            feat, emb, _ = self(images)
        return F.normalize((feat if before else emb).float())

    def _before(self) -> bool:
        if self.feature not in FEATURES:
            raise ValueError(f"no feature {self.feature!r}; choose one of {', '.join(FEATURES)}")
        return self.feature == "before"

    @torch.inference_mode()
    def regions(self, images: Tensor) -> Tensor:
        """What each place of the last feature map adds to `embed`: (B, 3, H, W) to (B, h, w, C), which sum to it.

        The map is pooled by its mean and the BNNeck is linear in evaluation mode: the embedding is a sum over places.
        Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks" (WACV 2019), section 3.
        """
        if getattr(self.trunk, "exponent", None) is not None:
            raise ValueError("pooling='gem' is no mean: the embedding is not a sum over the places of the map")
        with evaluating(self):
            with autocast(self.precision, images):
                maps = unpooled(self.trunk)(images.contiguous(memory_format=torch.channels_last))
            places = maps.permute(0, 2, 3, 1).float()
            shares = places if self._before() else self.bnneck(places.flatten(0, 2)).view_as(places)
        return shares / torch.linalg.vector_norm(shares.sum((1, 2), keepdim=True), dim=3, keepdim=True)


SYSTEM = BagOfTricks
