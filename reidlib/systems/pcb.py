"""PCB: a feature for each horizontal part of a person, each with a classifier of its own; and refined part pooling.

Source: Sun, Zheng, Yang, Tian, Wang, "Beyond Part Models: Person Retrieval with Refined Part Pooling (and a Strong
Convolutional Baseline)", ECCV 2018, in the recipe of wangguanan's implementation.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from reidlib.systems.backbones import trunk, unpooled, uses_bf16

FEATURES = ("G", "H", "across")


def from_recipe(recipe, ids) -> "PCB":
    """The system of a recipe for the training pids `ids`. Raises ValueError for refined parts on several processes."""
    if recipe.rpp and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError("rpp=True on several processes: its stages train some of the weights; leave rpp out")
    tune = recipe.epochs - recipe.rpp_epochs[1]
    return PCB(
        unpooled(trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu)),
        ids,
        parts=recipe.parts,
        dim=recipe.part_dim,
        dropout=recipe.dropout,
        lr=recipe.lr,
        backbone_lr=recipe.backbone_lr or recipe.lr,
        weight_decay=recipe.weight_decay,
        schedule=lambda epoch: recipe.learning_rate(epoch) / recipe.lr,
        refine=(tune - recipe.rpp_epochs[0], tune) if recipe.rpp else None,
        refine_factor=recipe.gamma,
        precision=recipe.precision,
    )


class PCB(nn.Module):
    """`trunk` -> map (B, C, h, w) -> parts (B, P, C) -> a head for each part -> logits (B, P, num_ids).

    A head is Dropout, Linear C -> dim, BatchNorm, LeakyReLU(.1), Linear dim -> num_ids; the loss is the mean of the
    parts' cross entropies. A part is the mean of its places: of a strip of rows at first; with `refine=(a, t)` of the
    places that a part classifier gives it, which is trained alone from epoch a on, while all else is fixed, and with
    everything from epoch t on (section 3.4, algorithm 1). `schedule(epoch)` is a factor of both rates, `lr` of the
    heads and `backbone_lr`; in the two stages of the refinement it is `refine_factor`, wherever the schedule was: a
    choice of this library. `precision` is as in BagOfTricks; pooling, heads and loss are float32 always.

    What `embed` gives is chosen by `feature`: "G", the parts' features, C * P numbers; "H", what their classifiers see,
    dim * P numbers. "across" is a quirk of wangguanan's code, kept to measure it: a G in which each channel is
    normalised across the parts, instead of each part across its channels.
    """

    flip = True
    feature = "G"
    refined = False  # whether the part classifier says what a part is; a checkpoint remembers it
    replica = None  # the same network under DistributedDataParallel, where several processes train

    def __init__(
        self,
        trunk: nn.Module,
        ids,
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
    ):
        super().__init__()
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.trunk = trunk
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(trunk.channels, dim),
                nn.BatchNorm1d(dim),
                nn.LeakyReLU(0.1),
                nn.Linear(dim, len(self.ids)),
            )
            for _ in range(parts)
        )
        groups = [{"params": list(self.heads.parameters()), "rate": lr}]
        groups += [{"params": list(trunk.parameters()), "rate": backbone_lr}]
        self.schedule, self.refine, self.refine_factor, self.precision = schedule, refine, refine_factor, precision
        if refine:
            self.part_classifier = nn.Conv2d(trunk.channels, parts, 1, bias=False)
            nn.init.normal_(self.part_classifier.weight, std=0.001)  # at first every place belongs to all parts alike
            groups += [{"params": list(self.part_classifier.parameters()), "rate": lr}]
        for group in groups:
            group["lr"] = group["rate"] * schedule(0)
        self.optimizers = {"main": torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay, nesterov=True)}

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
        device = images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=uses_bf16(self.precision, device)):
            last = self.trunk(images.contiguous(memory_format=torch.channels_last))
        last = last.to(self.heads[0][1].weight.dtype)
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

        Each is of length 1 / sqrt(P), except with "across", so that the products of two images' parts add up to their
        cosine. ValueError for a feature that there is not.
        """
        feature = feature or self.feature
        if feature not in FEATURES:
            raise ValueError(f"no feature {feature!r}; choose one of {', '.join(FEATURES)}")
        training = self.training
        self.eval()
        found = self.pooled(images)
        if feature == "H":
            found = torch.stack([head[:-1](part) for head, part in zip(self.heads, found.unbind(1), strict=True)], 1)
        self.train(training)
        found = F.normalize(found.float(), dim=1 if feature == "across" else 2)
        return F.normalize(found.flatten(1)).view_as(found)

    def embed(self, images: Tensor, feature: str | None = None) -> Tensor:
        """What retrieval compares: (B, 3, H, W) to L2-normalised (B, P * D), the parts one after another."""
        return self.parts(images, feature).flatten(1)

    @torch.inference_mode()
    def attention(self, images: Tensor) -> Tensor:
        """How much of each place of the map belongs to each part: (B, 3, H, W) to (B, P, h, w), in evaluation mode."""
        training = self.training
        self.eval()
        shares = self.maps(images)[1].exp().float()
        self.train(training)
        return shares
