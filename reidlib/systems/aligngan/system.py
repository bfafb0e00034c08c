"""AlignGAN: visible images are turned into infrared ones, and one network learns from generated and real infrared.

Source: Wang et al., "RGB-Infrared Cross-Modality Person Re-Identification via Joint Pixel and Feature Alignment", ICCV
2019, section 3, and its authors' code (wangguanan/AlignGAN) for what the paper leaves open. Three parts, trained one
after another and then together:

- pixel alignment (`_align_pixels`): two generators, visible -> infrared and back, and what judges their images;
- feature alignment (`_align_features`): encoder, embedder and classifier, on real infrared and generated infrared;
- the joint discriminator, on pairs of an infrared image and a feature map, which ties the two.

Details differ from the authors' code, beside those named below: new layers start as torch starts them, except for the
weights set below; real images go through the encoder before generated ones, or in one batch with them (`together`); the
embeddings may have a neck (`bnneck`); the generators' images are made from the encoder's instead of being read at their
own size. Either part can be left out: `pixels`, `features`.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from reidlib.systems.aligngan.recipe import AlignGANRecipe
from reidlib.systems.aligngan.translation import Generator, Judges, kept, shrink, squared_distance, stretch
from reidlib.systems.backbones import autocast, channels_of, evaluating, trunk_of, unpooled
from reidlib.systems.losses import cross_triplet, total

PHASES = ("features", "pixels", "joint")
BESIDE = ("cycle", "identity", "pixel_triplet", "pixel_ce")  # the generators' losses beside the adversarial one
FEATURE_GAN = 0.1  # what it weighs in the feature alignment, from the authors' code


class AlignGAN(nn.Module):
    """Generators, discriminators, and an encoder with its heads: `embed` gives the encoder's pooled features (B, C).

    A batch holds P identities with `each` visible images, then `each` infrared ones of each, (B, 3, H, W), normalised
    by ImageNet's mean and standard deviation. All of it is for the features; the generators get its first `gan_p`
    identities, at `gan_size` and between -1 and 1 (the authors' code draws the two batches apart). The encoder too sees
    every image, real or generated, at the resolution of `gan_size`, stretched to H x W, so that sharpness tells it
    nothing. `phases` are the epochs of the first two of PHASES; the state dict holds the one that was reached.
    `schedule(epoch)` is the share of `rates` ("heads", "trunk", "gan") of a 0-based epoch.
    """

    ids: Tensor
    phase: Tensor
    recipe: Any  # an AlignGANRecipe, where a System has some Recipe
    LABEL = "AlignGAN"  # in tables
    LINES = ("all",)
    RECIPE = AlignGANRecipe
    flip = True

    def __init__(self, trunk: nn.Module, recipe: AlignGANRecipe, ids: Sequence[int] | np.ndarray) -> None:
        super().__init__()
        self.recipe, self.each, self.gan_size = recipe, recipe.k // 2, recipe.gan_size
        self.precision = recipe.precision
        self.rates = {"heads": recipe.lr, "trunk": recipe.backbone_lr or recipe.lr, "gan": recipe.gan_lr}
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.register_buffer("phase", torch.zeros((), dtype=torch.int64))
        self.trunk, channels = trunk, channels_of(trunk)  # (B, 3, H, W) -> (B, C, H/16, W/16)
        neck = [nn.BatchNorm1d(256)] if recipe.bnneck else []
        self.embedder = nn.Sequential(nn.Linear(channels, 256), *neck)
        first = nn.Linear(channels, 256)
        self.bottle = nn.Sequential(first, nn.BatchNorm1d(256), nn.LeakyReLU(0.1))
        self.classifier = nn.Linear(256, len(self.ids))
        nn.init.kaiming_normal_(first.weight, mode="fan_out")
        nn.init.normal_(self.classifier.weight, std=0.001)
        sizes = (recipe.gan_size, recipe.gan_channels)
        self.to_ir, self.to_visible = Generator(*sizes), Generator(*sizes)
        self.judges = Judges(recipe.gan_size, channels, recipe.gan_channels)
        self.optimizers = self._optimizers(recipe.weight_decay)

    @classmethod
    def from_recipe(cls, recipe: AlignGANRecipe, ids: Sequence[int] | np.ndarray) -> Self:
        """The system of a recipe for the training pids `ids`. ValueError for one modality and for several processes."""
        if recipe.order != "modality":
            raise ValueError(
                f"order={recipe.order!r}: AlignGAN needs visible and infrared images of each identity in a batch; take "
                "order='modality' and a data set with infrared cameras: sysu, regdb or toy-sysu"
            )
        if dist.is_initialized() and dist.get_world_size() > 1:
            raise ValueError("AlignGAN trains in one process, as its losses need several networks; use no torchrun")
        return cls(unpooled(trunk_of(recipe)), recipe, ids)

    def _optimizers(self, weight_decay: float) -> dict[str, torch.optim.Optimizer]:
        def weights(*networks: nn.Module) -> list[nn.Parameter]:
            return [parameter for network in networks for parameter in network.parameters()]

        heads = {"params": weights(self.embedder, self.bottle, self.classifier), "lr": self.rates["heads"]}
        encoder = {"params": weights(self.trunk), "lr": self.rates["trunk"]}
        rate, betas = self.rates["gan"], (0.5, 0.999)
        return {
            "features": torch.optim.SGD([heads, encoder], momentum=0.9, nesterov=True, weight_decay=weight_decay),
            "generators": torch.optim.Adam(weights(self.to_ir, self.to_visible), rate, betas),
            "judges": torch.optim.Adam(weights(self.judges), rate, betas),
        }

    def begin_epoch(self, epoch: int) -> None:
        """Set the phase and the learning rates of 0-based `epoch`, and training mode."""
        self.train()
        phases = self.recipe.phases
        self.phase.fill_((epoch >= phases[0]) + (epoch >= sum(phases)))
        share = self.recipe.schedule_factor(epoch)
        for name, optimizer in self.optimizers.items():
            kinds = ("heads", "trunk") if name == "features" else ("gan",)
            for group, kind in zip(optimizer.param_groups, kinds, strict=True):
                group["lr"] = share * self.rates[kind]

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update of what the phase trains, on images (B, 3, H, W) and labels (B,); its losses, detached.

        Always `loss` (what encoder and generators are trained on) and `acc`, the classifier's accuracy on infrared
        images: on real ones in the first phase, on generated ones in the second, on both in the third.
        """
        visible, infrared = images.unflatten(0, (-1, 2, self.each)).unbind(1)  # (P, each, 3, H, W), twice
        pids = labels.unflatten(0, (-1, 2, self.each))[:, 0]  # (P, each), the same for both
        phase, few = PHASES[int(self.phase)], slice(0, self.recipe.gan_p)
        joint, parts = phase == "joint", []
        if phase != "pixels":
            parts.append(self._align_features(visible.flatten(0, 1), infrared.flatten(0, 1), pids.flatten(), joint))
        if phase != "features":
            some = (visible[few].flatten(0, 1), infrared[few].flatten(0, 1), pids[few].flatten())
            parts.append(self._align_pixels(*some, joint))
        losses = {name: value.detach() for part in reversed(parts) for name, value in part.items()}
        return losses | {"loss": total(part["loss"].detach() for part in parts)}

    def _align_features(self, visible: Tensor, infrared: Tensor, labels: Tensor, joint: bool) -> dict[str, Tensor]:
        """Feature alignment (section 3): one identity has one feature, be the infrared image real or generated.

        visible, infrared (b, 3, H, W), labels (b,) of both. The first phase knows real infrared only.
        """
        given = [infrared]
        if joint:
            with torch.no_grad():
                given.append(stretch(self._translated(shrink(visible, self.gan_size)), visible.shape[2:]))
        if self.recipe.together:  # BatchNorm sees both kinds in training as it does in the test
            maps = list(self.encode(torch.cat(given)).chunk(len(given)))  # (b, C, h, w), float32
        else:
            maps = [self.encode(images) for images in given]
        embs, logits = zip(*(self._heads(each) for each in maps), strict=True)  # (b, 256), (b, ids)
        ce = total(F.cross_entropy(each, labels) for each in logits)
        tied = joint and self.recipe.features
        pairs = zip(embs, embs[::-1] if tied else embs, strict=True)  # across the two kinds, or each within itself
        triplet = total(cross_triplet(a, b, labels, labels, self.recipe.margin) for a, b in pairs)
        losses = {"ce": ce, "triplet": triplet}
        if tied:  # the features of a generated image should pass for those of the real one beside it
            answers = self.judges.pair(shrink(infrared, self.gan_size), maps[1])
            losses["feature_gan"] = FEATURE_GAN * squared_distance(answers, 1)
        loss = total(losses.values())
        self._update("features", loss)
        hits = torch.stack([(each.argmax(1) == labels).float().mean() for each in logits])
        return {"loss": loss, **losses, "acc": hits.mean(), **likeness(embs[0], embs[-1], labels)}

    def _align_pixels(self, visible: Tensor, infrared: Tensor, labels: Tensor, joint: bool) -> dict[str, Tensor]:
        """Pixel alignment (section 3): generators that keep the person, against discriminators.

        visible, infrared (b, 3, H, W), labels (b,) of both. The encoder is a fixed judge here, in evaluation mode (the
        authors' code leaves it in training mode, in which generated images move its statistics). Without generators the
        images are judged as they are.
        """
        real = {"visible": shrink(visible, self.gan_size), "ir": shrink(infrared, self.gan_size)}  # (b, 3, h, w)
        fake = {
            "visible": self.to_visible(real["ir"]) if self.recipe.pixels else real["ir"],
            "ir": self._translated(real["visible"]),
        }
        self._fix(True)
        with torch.no_grad():
            real_map = self.encode(infrared)  # (b, C, y, x)
            real_emb, _ = self._heads(real_map)
        fake_map = self.encode(stretch(fake["ir"], infrared.shape[2:]))
        fake_emb, logits = self._heads(fake_map)
        self._fix(False)
        joint, losses = joint and self.recipe.features, {}
        if self.recipe.pixels:
            across = ((fake_emb, real_emb), (real_emb, fake_emb))
            triplet = total(cross_triplet(a, b, labels, labels, self.recipe.margin) for a, b in across)
            beside = (*kept(real, fake, self.to_ir, self.to_visible), triplet, F.cross_entropy(logits, labels))
            losses = {"pixel_gan": self.judges.fooled(fake, real_map, joint)}
            losses |= {n: w * x for n, w, x in zip(BESIDE, self.recipe.gan_weights, beside, strict=True)}
            losses["loss"] = total(losses.values())
            self._update("generators", losses["loss"])
        fake = {kind: images.detach() for kind, images in fake.items()}
        told, judged = self.judges.loss(real, fake, real_map, fake_map.detach(), joint, self.each)
        self._update("judges", told)
        acc = (logits.argmax(1) == labels).float().mean()
        return {"loss": torch.zeros_like(told)} | losses | {"discriminators": told, "judged": judged, "acc": acc}

    def _translated(self, images: Tensor) -> Tensor:
        """Visible images (b, 3, h, w) between -1 and 1 as the encoder gets them: through the generator, if any."""
        return self.to_ir(images) if self.recipe.pixels else images

    def _update(self, name: str, loss: Tensor) -> None:
        """One step of one optimiser; the other networks that the loss went through are left as they are."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward(inputs=[parameter for group in optimizer.param_groups for parameter in group["params"]])
        optimizer.step()

    def _fix(self, fixed: bool) -> None:
        for network in (self.trunk, self.embedder, self.bottle):
            network.train(not fixed)

    def _heads(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps (b, C, h, w) to embeddings (b, 256) for the triplet loss and logits (b, ids)."""
        feat = maps.mean((2, 3))
        return self.embedder(feat), self.classifier(self.bottle(F.dropout(feat, 0.5, self.bottle.training)))

    def encode(self, images: Tensor) -> Tensor:
        """Infrared images (B, 3, H, W), real or generated, normalised, to feature maps (B, C, H/16, W/16), float32."""
        images = stretch(shrink(images, self.gan_size), images.shape[2:])
        with autocast(self.precision, images):
            return self.trunk(images.contiguous(memory_format=torch.channels_last)).float()

    @torch.inference_mode()
    def to_infrared(self, images: Tensor) -> Tensor:
        """What the generator makes of visible images (B, 3, H, W), normalised like them, in evaluation mode.

        In the first phase, while it has learned nothing, the images are returned as they are; so they are without it.
        """
        if PHASES[int(self.phase)] == "features" or not self.recipe.pixels:
            return images
        with evaluating(self.to_ir):
            return stretch(self.to_ir(shrink(images, self.gan_size)), images.shape[2:])

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """What retrieval compares: infrared images (B, 3, H, W) to L2-normalised (B, C), in evaluation mode."""
        with evaluating(self):
            return F.normalize(self.encode(images).mean((2, 3)))


def likeness(a: Tensor, b: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The mean cosine of the pairs of one identity and of two, "own" and "others", of a (B, D) with b (B, D)."""
    cosine = (F.normalize(a.detach()) @ F.normalize(b.detach()).T).float()
    same = labels[:, None] == labels
    return {
        name: (cosine * pairs).sum() / pairs.sum().clamp(min=1) for name, pairs in (("own", same), ("others", ~same))
    }
