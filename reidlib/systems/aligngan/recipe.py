"""The recipe of AlignGAN; its defaults are those of its authors' code, wangguanan/AlignGAN."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from reidlib.recipe import Recipe
from reidlib.settings import BAG_ONLY, CROSS, TOY, Trick, setting

_TOY = TOY | {  # 65 people to train on: batches of 13, so that the last of a pass is whole
    "p": 13, "pad": 0, "lr": 0.05, "backbone_lr": 0.05, "epochs": 46, "checkpoint_every": 6, "warmup_epochs": 0,
    "milestones": (43,), "phases": (12, 24), "gan_size": (64, 32), "gan_p": 2, "gan_channels": 8,
    # some 500 steps of the generators in place of 10,000: five times the rate, and images that need not keep so much
    "gan_lr": 1e-3, "gan_weights": (2.0, 1.0, 0.1, 0.1),
    # without the neck all cosines come to lie near 1; apart, the test's statistics are of neither kind of images
    "bnneck": True, "together": True,
}  # fmt: skip


@dataclass(frozen=True)
class AlignGANRecipe(Recipe):
    """The recipe of AlignGAN. One of its epochs is 100 iterations."""

    backbone_lr: float | None = setting(0.02, "learning rate of the backbone; None: that of the heads", above=0)
    phases: tuple[int, int] = setting((50, 100), "epochs of features alone, then of pixels alone; the rest trains both")
    gan_size: tuple[int, int] = setting((128, 128), "height and width of the images that the generators see")
    gan_p: int = setting(4, "identities of a batch that the generators see", least=2)
    gan_channels: int = setting(64, "channels of the generators' first layer", least=1)
    gan_lr: float = setting(2e-4, "learning rate of generators and discriminators", above=0)
    gan_weights: tuple[float, float, float, float] = setting(
        (10.0, 5.0, 0.1, 0.1), "of a generator's cycle, identity, triplet and cross entropy beside its adversarial loss"
    )
    together: bool = setting(False, "both kinds of images pass through the encoder in one batch of its BatchNorms")
    pixels: bool = setting(True, "train generators; else visible images reach the encoder as they are")
    features: bool = setting(True, "bring the features of both kinds together: triplets across, joint discriminator")

    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "height": 384, "width": 192, "pad": 0, "erasing": 0.0, "p": 18, "k": 8, "iterations": 100, "epochs": 250,
        "checkpoint_every": 50, "stem_relu": True, "bnneck": False, "label_smoothing": 0.0, "margin": 1.0, "lr": 0.2,
        "order": CROSS["order"], "warmup_epochs": 0, "milestones": (200,),
    }  # fmt: skip
    UNUSED: ClassVar[tuple[str, ...]] = tuple(name for name in BAG_ONLY if name != "bnneck")
    SIZES: ClassVar[Mapping[str, dict[str, Any]]] = {"toy": _TOY, "toy-duke": _TOY, "toy-sysu": _TOY}
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {"reference": {}}
    TRICKS: ClassVar[Mapping[str, Trick]] = {"pixels": Trick({"pixels": False}), "features": Trick({"features": False})}
    ALL: ClassVar[tuple[str, ...]] = ("pixels", "features")

    @property
    def phase_lengths(self) -> tuple[int, ...]:
        """The epochs of features alone, of pixels alone, and of both."""
        return (*self.phases, self.epochs - sum(self.phases))

    def shortened(self, iterations: int) -> Recipe:
        """A short epoch to warm up, then one of each phase."""
        return self.replace(epochs=4, iterations=iterations, checkpoint_every=9, phases=(2, 1))

    def check(self) -> None:
        """Raise ValueError for fields that do not fit each other."""
        super().check()
        if not sum(self.phases) < self.epochs:
            raise ValueError(f"phases={self.phases}; they must leave some of the {self.epochs} epochs")
        if not (self.pixels or self.features):
            raise ValueError("pixels=False and features=False: nothing aligns the two kinds of images; leave one on")
