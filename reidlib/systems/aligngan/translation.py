"""The networks that AlignGAN translates between visible and infrared images with, and those that judge the result.

Source: Wang et al., "RGB-Infrared Cross-Modality Person Re-Identification via Joint Pixel and Feature Alignment", ICCV
2019, sizes as in its authors' code (wangguanan/AlignGAN). Images are (B, 3, h, w) between -1 and 1.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import resize

from reidlib.data.augment import MEAN, STD
from reidlib.systems.losses import total

Images = dict[str, Tensor]  # {"visible", "ir"}
PATCHES = 4  # what a discriminator's answers are down to along the smaller side: 4 x 4 for images of 128 x 128


def strides(size: tuple[int, int]) -> int:
    """How often a discriminator halves images of (height, width): 5 times for 128 x 128, 3 times for 64 x 32.

    Raises ValueError where the smaller side is not 4 times a power of two, 16 at least, or does not divide the other.
    """
    smaller = min(size)
    halvings = (smaller // PATCHES).bit_length() - 1
    if smaller != PATCHES << halvings or halvings < 2 or max(size) % (smaller // PATCHES):
        raise ValueError(
            f"gan_size={size}: the smaller side must be 16, 32, 64, 128 ... pixels, and the other one a multiple of "
            "a quarter of it"
        )
    return halvings


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input goes too."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(*_block(channels, channels, 3, 1), *_block(channels, channels, 3, 1)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Sequential):
    """Images of one modality to images of the other, both (B, 3, h, w): halved twice, 4 residual blocks, up again.

    Images of 32 pixels are not halved, those of 64 once: as in the authors' code, where the smaller side has 128, the
    blocks see 32 places along it. In evaluation mode instance normalisation uses running statistics, as there.
    """

    def __init__(self, size: tuple[int, int] = (128, 128), channels: int = 64):
        halvings = min(2, max(0, strides(size) - 3))
        ways = [(channels << i, channels << i + 1) for i in range(halvings)]
        super().__init__(
            *_block(3, channels, 7, 1),  # (B, c, h, w)
            *(layer for few, many in ways for layer in _block(few, many, 4, 2)),  # (B, 4c, h/4, w/4)
            *(Residual(channels << halvings) for _ in range(4)),
            *(layer for few, many in ways[::-1] for layer in _block(many, few, 4, 2, nn.ConvTranspose2d)),
            nn.Conv2d(channels, 3, 7, padding=3, bias=False),
            nn.Tanh(),
        )
        self.apply(_start)


class Discriminator(nn.Sequential):
    """Images (B, 3, h, w) to one answer a patch, 1 for real and 0 for generated: (B, 1, 4, 4) for 128 x 128."""

    def __init__(self, size: tuple[int, int] = (128, 128), channels: int = 64):
        halvings = strides(size)
        super().__init__(*_judge(3, channels, halvings), _answer(channels << halvings - 1))
        self.apply(_start)


class JointDiscriminator(nn.Module):
    """Pairs of infrared images (B, 3, h, w) and feature maps (B, dim, y, x) to one answer a patch.

    1 is for a real image with its own features, 0 for all else. The image is
    halved until it has 16 x 16 places (of 128 x 128), the features are brought to as many, and both go on together.
    """

    def __init__(self, size: tuple[int, int] = (128, 128), dim: int = 2048, channels: int = 64):
        super().__init__()
        before = strides(size) - 2
        seen = channels << max(0, before - 1) if before else 3
        self.image = nn.Sequential(*_judge(3, channels, before))  # (B, 4c, 16, 16)
        self.feature = nn.Sequential(nn.Conv2d(dim, channels, 1), nn.LeakyReLU(0.2))  # (B, c, y, x)
        both = [*_halve(seen + channels, 2 * seen), *_halve(2 * seen, 4 * seen)]
        self.pair = nn.Sequential(*both, _answer(4 * seen))  # (B, 1, 4, 4)
        self.apply(_start)

    def forward(self, images: Tensor, maps: Tensor) -> Tensor:
        images, maps = self.image(images), self.feature(maps)
        maps = F.interpolate(maps, images.shape[2:], mode="bilinear")
        return self.pair(torch.cat([images, maps], 1))


class Judges(nn.Module):
    """The discriminators of generated images: two of images alone, then one of visible images and the joint one.

    The joint one has nothing to say before there are features, so in the second phase `warm_visible` and `warm_ir`
    judge. `real_map` (b, C, y, x) are the features of the real infrared images (b, 3, h, w).
    """

    def __init__(self, size: tuple[int, int], dim: int, channels: int) -> None:
        super().__init__()
        self.visible = Discriminator(size, channels)
        self.pair = JointDiscriminator(size, dim, channels)
        self.warm_visible, self.warm_ir = Discriminator(size, channels), Discriminator(size, channels)

    def _asked(self, joint: bool) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
        if joint:
            return self.visible, self.pair
        return self.warm_visible, lambda images, maps: self.warm_ir(images)

    def fooled(self, fake: Images, real_map: Tensor, joint: bool) -> Tensor:
        """The generators' loss: how far patches of generated images are from being taken for real ones.

        The infrared ones are judged beside the features of real images of the same people.
        """
        visible, infrared = self._asked(joint)
        return (squared_distance(visible(fake["visible"]), 1) + squared_distance(infrared(fake["ir"], real_map), 1)) / 2

    def loss(
        self, real: Images, fake: Images, real_map: Tensor, fake_map: Tensor, joint: bool, each: int
    ) -> tuple[Tensor, Tensor]:
        """The discriminators' own loss, on `each` images of a person in a row, and their accuracy.

        The accuracy is the share of patches with an answer on the right side of 1/2, the mean of all four kinds: real
        and generated, visible and infrared.
        """
        visible, infrared = self._asked(joint)
        told = [infrared(fake["ir"], real_map)]
        if joint:  # three kinds of fakes: the image, the features, or both; and a pair of two people
            told.append(infrared(real["ir"], fake_map))
            told.append(infrared(fake["ir"], fake_map))
            if len(real_map) > each:  # two people at least
                told.append(infrared(real["ir"].roll(-each, 0), real_map))
        real_ir, real_visible, fake_visible = (
            infrared(real["ir"], real_map),
            visible(real["visible"]),
            visible(fake["visible"]),
        )
        judged_ir = (squared_distance(real_ir, 1) + total(squared_distance(each, 0) for each in told) / len(told)) / 2
        judged_visible = squared_distance(real_visible, 1) + squared_distance(fake_visible, 0)
        right = [real_ir > 0.5, torch.cat(told) < 0.5, real_visible > 0.5, fake_visible < 0.5]
        return judged_ir + judged_visible / 2, torch.stack([each.float().mean() for each in right]).mean()


def _block(inside: int, outside: int, kernel: int, stride: int, kind: type = nn.Conv2d) -> list[nn.Module]:
    convolution = kind(inside, outside, kernel, stride, (kernel - 1) // 2, bias=False)
    return [convolution, nn.InstanceNorm2d(outside, affine=True, track_running_stats=True), nn.ReLU()]


def _halve(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 4, 2, 1), nn.InstanceNorm2d(outside), nn.LeakyReLU(0.2)]


def _judge(inside: int, channels: int, halvings: int) -> list[nn.Module]:
    """`halvings` convolutions of stride 2, each with twice the channels of the one before; the first not normalised."""
    if not halvings:
        return []
    first = [nn.Conv2d(inside, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
    return first + [layer for i in range(halvings - 1) for layer in _halve(channels << i, channels << i + 1)]


def _answer(channels: int) -> nn.Module:
    return nn.Conv2d(channels, 1, 3, padding=1, bias=False)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)


def kept(real: Images, fake: Images, to_ir: nn.Module, to_visible: nn.Module) -> tuple[Tensor, Tensor]:
    """Two losses of generators: there and back gives the image, and an image of the other kind stays as it is."""
    back = {"visible": to_visible(fake["ir"]), "ir": to_ir(fake["visible"])}
    same = {"visible": to_visible(real["visible"]), "ir": to_ir(real["ir"])}
    cycle, identity = (total(F.l1_loss(x[kind], real[kind]) for kind in real) / 2 for x in (back, same))
    return cycle, identity


def squared_distance(answers: Tensor, target: float) -> Tensor:
    """The mean square of a discriminator's answers from 1 (real) or 0 (Mao et al., LSGAN, ICCV 2017)."""
    return (answers - target).square().mean()


def shrink(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Normalised images (B, 3, H, W) as the generators see them: (B, 3, *size), between -1 and 1."""
    mean, std = _statistics(images)
    return resize(2 * (images * std + mean) - 1, list(size))


def stretch(images: Tensor, size: Sequence[int]) -> Tensor:
    """The inverse of `shrink`, as far as there is one."""
    mean, std = _statistics(images)
    return (resize((images + 1) / 2, list(size)) - mean) / std


def _statistics(images: Tensor) -> list[Tensor]:
    return [torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD)]
