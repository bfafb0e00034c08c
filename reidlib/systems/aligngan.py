"""AlignGAN: visible images are turned into infrared ones, and one network learns from generated and real infrared.

Source: Wang et al., "RGB-Infrared Cross-Modality Person Re-Identification via Joint Pixel and Feature Alignment", ICCV
2019, section 3, and its authors' code (wangguanan/AlignGAN) for what the paper leaves open. Three parts, trained one
after another and then together:

- pixel alignment (`_align_pixels`): two generators, visible -> infrared and back, and what judges their images;
- feature alignment (`_align_features`): encoder, embedder and classifier, on real infrared and generated infrared;
- the joint discriminator, on pairs of an infrared image and a feature map, which ties the two.

Beside what is said where it happens, this differs from the authors' code in details: new layers start as torch starts
them, but for the weights set below; real images go through the encoder before generated ones; the generators' images
are made from the encoder's, and not read at their own size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from reidlib.data.augment import MEAN, STD
from reidlib.systems.backbones import trunk, unpooled, uses_bf16
from reidlib.systems.losses import cross_triplet
from reidlib.systems.translation import Discriminator, Generator, JointDiscriminator

PHASES = ("features", "pixels", "joint")
# What each loss weighs, from the authors' code. In the pixel alignment, beside the adversarial loss:
CYCLE, IDENTITY, PIXEL_TRIPLET, PIXEL_CE = 10.0, 5.0, 0.1, 0.1
# In the feature alignment, beside cross entropy and triplet loss:
FEATURE_GAN = 0.1


def from_recipe(recipe, ids) -> "AlignGAN":
    """The system of a recipe for the training pids `ids`. Raises ValueError for batches of one kind, or torchrun."""
    if recipe.order != "modality":
        raise ValueError(
            f"order={recipe.order!r}: AlignGAN needs visible and infrared images of each identity in a batch; take "
            "order='modality' and a data set with infrared cameras: sysu, regdb or toy-sysu"
        )
    if dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError("AlignGAN trains in one process, since its losses do not go through one replica: no torchrun")
    return AlignGAN(
        unpooled(trunk(recipe.backbone, recipe.weights, recipe.last_stride, recipe.stem_relu)),
        ids,
        each=recipe.k // 2,
        gan_p=recipe.gan_p,
        gan_size=recipe.gan_size,
        gan_channels=recipe.gan_channels,
        phases=recipe.phases,
        margin=recipe.margin,
        rates={"heads": recipe.lr, "trunk": recipe.backbone_lr or recipe.lr, "gan": recipe.gan_lr},
        schedule=lambda epoch: recipe.learning_rate(epoch) / recipe.lr,
        weight_decay=recipe.weight_decay,
        precision=recipe.precision,
    )


class AlignGAN(nn.Module):
    """Generators, discriminators, and an encoder with its heads: `embed` gives the encoder's pooled features (B, C).

    A batch holds P identities with `each` visible images, then `each` infrared ones of each, (B, 3, H, W), normalised
    by ImageNet's mean and standard deviation. All of it is for the features; the generators get its first `gan_p`
    identities, at `gan_size` and between -1 and 1 (the authors' code draws the two batches apart). The encoder too sees
    every image, real or generated, at the resolution of `gan_size`, stretched to H x W, so that sharpness tells it
    nothing. `phases` are the epochs of the first two of PHASES; the state dict holds the one that was reached.
    `schedule(epoch)` is the share of `rates` ("heads", "trunk", "gan") of a 0-based epoch.
    """

    flip = True

    def __init__(
        self,
        trunk: nn.Module,
        ids,
        *,
        each: int,
        gan_p: int = 4,
        gan_size: tuple[int, int] = (128, 128),
        gan_channels: int = 64,
        phases: tuple[int, int] = (50, 100),
        margin: float = 1.0,
        rates: dict[str, float],
        schedule: Callable[[int], float],
        weight_decay: float = 5e-4,
        precision: str = "float32",
    ):
        super().__init__()
        self.each, self.gan_p, self.gan_size, self.phases = each, gan_p, gan_size, phases
        self.margin, self.rates, self.schedule, self.precision = margin, rates, schedule, precision
        self.register_buffer("ids", torch.as_tensor(ids, dtype=torch.int64))
        self.register_buffer("phase", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.trunk = trunk  # (B, 3, H, W) -> (B, C, H/16, W/16)
        self.embedder = nn.Linear(trunk.channels, 256)
        self.bottle = nn.Sequential(nn.Linear(trunk.channels, 256), nn.BatchNorm1d(256), nn.LeakyReLU(0.1))
        self.classifier = nn.Linear(256, len(self.ids))
        nn.init.kaiming_normal_(self.bottle[0].weight, mode="fan_out")
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.to_ir, self.to_visible = Generator(gan_channels), Generator(gan_channels)
        self.judge_visible = Discriminator(gan_size, gan_channels)
        self.judge_pair = JointDiscriminator(gan_size, trunk.channels, gan_channels)
        # the joint discriminator has nothing to say before there are features: in the second phase two others judge
        self.warm_visible, self.warm_ir = Discriminator(gan_size, gan_channels), Discriminator(gan_size, gan_channels)
        self.optimizers = self._optimizers(weight_decay)

    def _optimizers(self, weight_decay: float) -> dict[str, torch.optim.Optimizer]:
        def weights(*networks):
            return [parameter for network in networks for parameter in network.parameters()]

        heads = {"params": weights(self.embedder, self.bottle, self.classifier), "lr": self.rates["heads"]}
        encoder = {"params": weights(self.trunk), "lr": self.rates["trunk"]}
        judges = weights(self.judge_visible, self.judge_pair, self.warm_visible, self.warm_ir)
        adam = {"lr": self.rates["gan"], "betas": (0.5, 0.999)}
        return {
            "features": torch.optim.SGD([heads, encoder], momentum=0.9, nesterov=True, weight_decay=weight_decay),
            "generators": torch.optim.Adam(weights(self.to_ir, self.to_visible), **adam),
            "judges": torch.optim.Adam(judges, **adam),
        }

    def begin_epoch(self, epoch: int) -> None:
        """Set the phase and the learning rates of 0-based `epoch`, and training mode."""
        self.train()
        self.phase.fill_((epoch >= self.phases[0]) + (epoch >= sum(self.phases)))
        share = self.schedule(epoch)
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
        phase, few, parts = PHASES[int(self.phase)], slice(0, self.gan_p), []
        if phase != "pixels":
            parts.append(self._align_features(visible.flatten(0, 1), infrared.flatten(0, 1), pids.flatten(), phase))
        if phase != "features":
            some = (visible[few].flatten(0, 1), infrared[few].flatten(0, 1), pids[few].flatten())
            parts.append(self._align_pixels(*some, phase))
        losses = {name: value.detach() for part in reversed(parts) for name, value in part.items()}
        return losses | {"loss": sum(part["loss"].detach() for part in parts)}

    def _align_features(self, visible: Tensor, infrared: Tensor, labels: Tensor, phase: str) -> dict[str, Tensor]:
        """Feature alignment (section 3): one identity has one feature, be the infrared image real or generated.

        visible, infrared (b, 3, H, W), labels (b,) of both. The first phase knows real infrared only.
        """
        maps = [self.encode(infrared)]  # (b, C, h, w), float32; in training each modality is normalised by itself
        if phase == "joint":
            with torch.no_grad():
                generated = self._stretch(self.to_ir(self._shrink(visible)), visible.shape[2:])
            maps.append(self.encode(generated))
        embs, logits = zip(*(self._heads(each) for each in maps), strict=True)  # (b, 256), (b, ids)
        ce = sum(F.cross_entropy(each, labels) for each in logits)
        pairs = [(embs[0], embs[-1]), (embs[-1], embs[0])] if phase == "joint" else [(embs[0], embs[0])]
        triplet = sum(cross_triplet(a, b, labels, labels, self.margin) for a, b in pairs)
        losses = {"ce": ce, "triplet": triplet}
        if phase == "joint":  # the features of a generated image should pass for those of the real one beside it
            losses["feature_gan"] = FEATURE_GAN * _far(self.judge_pair(self._shrink(infrared), maps[1]), 1)
        loss = sum(losses.values())
        self._update("features", loss)
        hits = torch.stack([(each.argmax(1) == labels).float().mean() for each in logits])
        return {"loss": loss, **losses, "acc": hits.mean()}

    def _align_pixels(self, visible: Tensor, infrared: Tensor, labels: Tensor, phase: str) -> dict[str, Tensor]:
        """Pixel alignment (section 3): generators that keep the person, against discriminators.

        visible, infrared (b, 3, H, W), labels (b,) of both. The encoder is a fixed judge here, in evaluation mode (the
        authors' code leaves it in training mode, in which generated images move its statistics).
        """
        size = infrared.shape[2:]
        real = {"visible": self._shrink(visible), "ir": self._shrink(infrared)}  # (b, 3, h, w), as all of these
        fake = {"visible": self.to_visible(real["ir"]), "ir": self.to_ir(real["visible"])}
        back = {"visible": self.to_visible(fake["ir"]), "ir": self.to_ir(fake["visible"])}
        same = {"visible": self.to_visible(real["visible"]), "ir": self.to_ir(real["ir"])}
        self._fix(True)
        with torch.no_grad():
            real_map = self.encode(infrared)  # (b, C, y, x)
            real_emb, _ = self._heads(real_map)
        fake_map = self.encode(self._stretch(fake["ir"], size))
        fake_emb, logits = self._heads(fake_map)
        self._fix(False)
        judge_visible = self.judge_visible if phase == "joint" else self.warm_visible
        judge_ir = self.judge_pair if phase == "joint" else lambda images, maps: self.warm_ir(images)

        losses = {
            # least squares: patches of generated images should be taken for real ones, the infrared ones beside the
            # features of real images of the same people
            "pixel_gan": (_far(judge_visible(fake["visible"]), 1) + _far(judge_ir(fake["ir"], real_map), 1)) / 2,
            # there and back again is where one was; and what is infrared already stays as it is
            "cycle": CYCLE * sum(F.l1_loss(back[kind], real[kind]) for kind in real) / 2,
            "identity": IDENTITY * sum(F.l1_loss(same[kind], real[kind]) for kind in real) / 2,
            # the generated image is of the same person to the encoder
            "pixel_triplet": PIXEL_TRIPLET
            * (
                cross_triplet(fake_emb, real_emb, labels, labels, self.margin)
                + cross_triplet(real_emb, fake_emb, labels, labels, self.margin)
            ),
            "pixel_ce": PIXEL_CE * F.cross_entropy(logits, labels),
        }
        loss = sum(losses.values())
        self._update("generators", loss)

        fake, fake_map = {kind: images.detach() for kind, images in fake.items()}, fake_map.detach()
        answers = [_far(judge_ir(fake["ir"], real_map), 0)]
        if phase == "joint":  # the three kinds of fakes: the image, the features, or both; and a pair of two people
            answers += [_far(self.judge_pair(real["ir"], fake_map), 0), _far(self.judge_pair(fake["ir"], fake_map), 0)]
            if len(labels) > self.each:  # of two people at least
                answers += [_far(self.judge_pair(real["ir"].roll(-self.each, 0), real_map), 0)]
        judged_ir = (_far(judge_ir(real["ir"], real_map), 1) + sum(answers) / len(answers)) / 2
        judged_visible = (_far(judge_visible(real["visible"]), 1) + _far(judge_visible(fake["visible"]), 0)) / 2
        self._update("judges", judged_ir + judged_visible)
        losses |= {"discriminators": judged_ir + judged_visible}
        return {"loss": loss, **losses, "acc": (logits.argmax(1) == labels).float().mean()}

    def _update(self, name: str, loss: Tensor) -> None:
        """One step of one optimiser; the other networks that the loss went through are left as they are."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward(inputs=[parameter for group in optimizer.param_groups for parameter in group["params"]])
        optimizer.step()

    def _fix(self, fixed: bool) -> None:
        for network in (self.trunk, self.bottle):
            network.train(not fixed)

    def _heads(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps (b, C, h, w) to embeddings (b, 256) for the triplet loss and logits (b, ids)."""
        feat = maps.mean((2, 3))
        return self.embedder(feat), self.classifier(self.bottle(F.dropout(feat, 0.5, self.bottle.training)))

    def encode(self, images: Tensor) -> Tensor:
        """Infrared images (B, 3, H, W), real or generated, normalised, to feature maps (B, C, H/16, W/16), float32."""
        images, device = self._stretch(self._shrink(images), images.shape[2:]), images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=uses_bf16(self.precision, device)):
            return self.trunk(images.contiguous(memory_format=torch.channels_last)).float()

    def _shrink(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) as the generators see them: (B, 3, h, w) of gan_size, between -1 and 1."""
        return _resize(2 * (images * self.std + self.mean) - 1, self.gan_size)

    def _stretch(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """The inverse of `_shrink`, as far as there is one."""
        return (_resize((images + 1) / 2, size) - self.mean) / self.std

    @torch.inference_mode()
    def to_infrared(self, images: Tensor) -> Tensor:
        """What the generator makes of visible images (B, 3, H, W), normalised like them, in evaluation mode.

        In the first phase, while it has learned nothing, the images are returned as they are.
        """
        if PHASES[int(self.phase)] == "features":
            return images
        training = self.to_ir.training
        generated = self.to_ir.eval()(self._shrink(images))
        self.to_ir.train(training)
        return self._stretch(generated, images.shape[2:])

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """What retrieval compares: infrared images (B, 3, H, W) to L2-normalised (B, C), in evaluation mode."""
        training = self.training
        self.eval()
        feat = self.encode(images).mean((2, 3))
        self.train(training)
        return F.normalize(feat)


def _far(answers: Tensor, target: float) -> Tensor:
    """How far the answers of a discriminator are from 1 (real) or 0: the mean square (Mao et al., LSGAN, ICCV 2017)."""
    return (answers - target).square().mean()


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[2:] == tuple(size):
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True)
