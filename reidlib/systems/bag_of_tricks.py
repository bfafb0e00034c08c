"""The Bag of Tricks: a ResNet with last stride 1, a BNNeck, label smoothing and the batch-hard triplet loss.

Source: Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019, and the
reference implementation (wangguanan, 2019).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reidlib.systems.backbones import trunk, uses_bf16
from reidlib.systems.losses import CenterLoss, batch_hard_triplet


def from_recipe(recipe, ids) -> "BagOfTricks":
    """The system of a recipe for the training pids `ids`."""
    return BagOfTricks(
        trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu),
        ids,
        bnneck=recipe.bnneck,
        label_smoothing=recipe.label_smoothing,
        margin=recipe.margin,
        center_weight=recipe.center_weight,
        center_lr=recipe.center_lr,
        weight_decay=recipe.weight_decay,
        schedule=recipe.learning_rate,
        precision=recipe.precision,
    )


class BagOfTricks(nn.Module):
    """The baseline and its losses: `trunk` -> feat (B, C) -> BNNeck -> emb (B, C) -> classifier -> logits (B, num_ids).

    `ids` are the training pids; labels are positions in their sorted order. Without the BNNeck emb is feat, and the
    classifier keeps its bias and torch's initialisation, as in the paper's baseline. `schedule(epoch)` gives the
    learning rate of a 0-based epoch. `precision` "auto" means bf16 where the device computes it, else float32; the
    neck, the classifier and all losses are float32 always.
    """

    flip = False
    replica = None  # the same network under DistributedDataParallel, where several processes train

    def __init__(
        self,
        trunk: nn.Module,
        ids,
        *,
        bnneck: bool = True,
        label_smoothing: float = 0.1,
        margin: float = 0.3,
        center_weight: float = 0.0,
        center_lr: float = 0.5,
        weight_decay: float = 5e-4,
        schedule: Callable[[int], float],
        precision: str = "float32",
    ):
        super().__init__()
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.trunk = trunk
        self.bnneck = nn.BatchNorm1d(trunk.channels) if bnneck else nn.Identity()
        self.classifier = nn.Linear(trunk.channels, len(self.ids), bias=not bnneck)
        if bnneck:
            self.bnneck.bias.requires_grad_(False)  # section 3.5: the embedding stays centred on the origin
            nn.init.normal_(self.classifier.weight, std=0.001)
        self.label_smoothing, self.margin, self.center_weight = label_smoothing, margin, center_weight
        self.schedule, self.precision = schedule, precision
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        # L2 on everything that is trained, BatchNorm and biases too: the reference implementation's choice
        self.optimizers = {"main": torch.optim.Adam(trained, schedule(0), weight_decay=weight_decay, fused=True)}
        if center_weight:
            self.center_loss = CenterLoss(len(self.ids), trunk.channels)
            self.optimizers["center"] = torch.optim.SGD(self.center_loss.parameters(), center_lr)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of 0-based `epoch` and training mode."""
        self.train()
        for group in self.optimizers["main"].param_groups:
            group["lr"] = self.schedule(epoch)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images (B, 3, H, W) to feat (B, C) before the BNNeck, emb (B, C) after it and logits (B, num_ids)."""
        device = images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=uses_bf16(self.precision, device)):
            feat = self.trunk(images.contiguous(memory_format=torch.channels_last))
        feat = feat.to(self.classifier.weight.dtype)
        emb = self.bnneck(feat)
        return feat, emb, self.classifier(emb)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update on images (B, 3, H, W) and labels (B,); returns its losses and accuracy, detached."""
        feat, _, logits = (self.replica or self)(images)
        ce = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        triplet = batch_hard_triplet(feat, labels, self.margin)
        losses = {"ce": ce, "triplet": triplet}
        if self.center_weight:
            losses["center"] = self.center_weight * self.center_loss(feat, labels)
        loss = sum(losses.values())
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        if self.center_weight:
            self.center_loss.centers.grad /= self.center_weight  # the centers learn at their own rate
        for optimizer in self.optimizers.values():
            optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        return {name: value.detach() for name, value in {"loss": loss, **losses, "acc": accuracy}.items()}

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """What retrieval compares: (B, 3, H, W) to L2-normalised (B, C), in evaluation mode."""
        training = self.training
        self.eval()
        _, emb, _ = self(images)
        self.train(training)
        return F.normalize(emb.float())

    @torch.inference_mode()
    def regions(self, images: Tensor) -> Tensor:
        """What each place of the last feature map adds to `embed`: (B, 3, H, W) to (B, h, w, C), which sum to it.

        The map is pooled by its mean and the BNNeck is linear in evaluation mode: the embedding is a sum over places.
        Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks" (WACV 2019), section 3.
        """
        maps = []
        last = self.trunk.layer4 if hasattr(self.trunk, "layer4") else self.trunk.features
        hook = last.register_forward_hook(lambda module, inputs, output: maps.append(output))
        training = self.training
        self.eval()
        self(images)
        places = maps[0].permute(0, 2, 3, 1).float()
        shares = self.bnneck(places.flatten(0, 2)).view_as(places)
        self.train(training)
        hook.remove()
        return shares / torch.linalg.vector_norm(shares.sum((1, 2), keepdim=True), dim=3, keepdim=True)
