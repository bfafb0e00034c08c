"""A recipe is everything that decides a training run: one frozen dataclass, each trick one field."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from reidlib import settings
from reidlib.models import facts
from reidlib.settings import CROSS, LAPTOP, TOY, TOY_CROSS, Trick, check_value, chosen_fields, plain, setting

TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2")  # with ImageNet weights
BACKBONES = (*TORCHVISION, "slim")
ORDERS = ("identity", "image", "modality")  # modality: k / 2 visible and k / 2 infrared images of each identity
PRECISIONS = ("auto", "float32", "bf16")
POOLINGS, SCHEDULES = ("mean", "gem"), ("steps", "cosine")


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults are those of the reference implementation of the Bag of Tricks.

    `python -m reidlib.train --help` describes each field. Epochs are of `iterations` batches, rates per step. A system
    with settings of its own subclasses Recipe (see `reidlib.systems.pcb`).

    Raises
    ------
    ValueError
        For a value of another type or outside its bounds, with the field and the value.

    References
    ----------
    wangguanan/Pytorch-Person-REID-Baseline-Bag-of-Tricks at 0d1a895 (2019). Luo et al., "Bag of Tricks and a Strong
    Baseline for Deep Person Re-identification", CVPRW 2019.

    Examples
    --------
    >>> recipe = Recipe.for_dataset("market", tricks="all-erasing", seed=2)
    >>> recipe.erasing, recipe.epochs, recipe.name()
    (0.0, 120, 'market-reference-all-erasing-seed2')
    """

    dataset: str = setting("market", "a built-in data set, a folder, a CSV table, or package.module:function")
    model: str = setting("bot", "bot (the Bag of Tricks), pcb, aligngan, or a system of your own: package.module")
    preset: str = setting("reference", "reference; paper or fixed, where published code differs; laptop, strong")
    tricks: str = setting("all", "all or none, then +name or -name, as in all-erasing or none+warmup")
    seed: int = setting(1, "the seed of every random number of the run", least=0, most=2**32 - 1)
    # images
    height: int = setting(256, "the height of the images that the network sees, in pixels", least=16)
    width: int = setting(128, "the width of the images that the network sees, in pixels", least=16)
    resize: str = setting("bicubic", "the filter that resizes images", choices=("bicubic", "bilinear"))
    flip: float = setting(0.5, "probability that a training image is mirrored", least=0, most=1)
    pad: int = setting(10, "black pixels added on each side before the random crop", least=0)
    misalign: float = setting(0.0, "probability of a strip lost or added at head or feet (PCB)", least=0, most=1)
    channels: float = setting(0.0, "probability of showing one channel, or grey (Ye et al. 2021)", least=0, most=1)
    erasing: float = setting(0.5, "probability of random erasing (Zhong et al. 2017)", least=0, most=1)
    erasing_area: tuple[float, float] = setting((0.02, 0.4), "smallest and largest share of the image that is erased")
    erasing_ratio: float = setting(0.3, "smallest aspect ratio of the erased rectangle", above=0, most=1)
    erasing_fill: tuple[float, float, float] = setting((0.485, 0.456, 0.406), "erased pixels' normalised colour")
    # batches
    p: int = setting(16, "identities in a batch", least=2)
    k: int = setting(4, "images of each identity in a batch", least=2)
    order: str = setting("identity", "each identity once a pass, or each image", choices=ORDERS)
    iterations: int | None = setting(200, "batches in an epoch; None: one pass over the data", least=1)
    epochs: int = setting(120, "epochs to train", least=1)
    checkpoint_every: int = setting(40, "epochs between checkpoints that are kept", least=1)
    # network
    backbone: str = setting("resnet50", f"{', '.join(BACKBONES)}, timm:NAME, or package.module:function")
    weights: str = setting("imagenet", "what training starts from: imagenet, none, or a .pth or .safetensors file")
    last_stride: int = setting(1, "the stride of the backbone's last stage", choices=(1, 2))
    stem_relu: bool = setting(False, "the ReLU after the first BatchNorm; both codes of the Bag of Tricks leave it out")
    pooling: str = setting("mean", "of the last map; gem has a learned exponent (Radenovic 2018)", choices=POOLINGS)
    bnneck: bool = setting(True, "a BatchNorm between the feature and the classifier")
    # losses
    label_smoothing: float = setting(0.1, "share of the target spread over all identities", least=0, most=1)
    margin: float = setting(0.3, "the margin of the triplet loss")
    center_weight: float = setting(0.0, "weight of the center loss", least=0)
    center_lr: float = setting(0.5, "learning rate of the centers", above=0)
    # optimiser: Adam for the Bag of Tricks
    lr: float = setting(3.5e-4, "learning rate after the warm-up", above=0)
    weight_decay: float = setting(5e-4, "the weight decay of all trained parameters", least=0)
    warmup_epochs: int = setting(10, "epochs in which the learning rate rises linearly", least=0)
    warmup_start: float = setting(0.01, "the share of the learning rate that the warm-up starts from", least=0, most=1)
    milestones: tuple[int, ...] = setting((40, 70), "epochs after which the learning rate is multiplied by gamma")
    gamma: float = setting(0.1, "what the learning rate is multiplied by at each milestone", above=0)
    schedule: str = setting("steps", "after the warm-up: drops at milestones, or a cosine to 0", choices=SCHEDULES)
    freeze: bool = setting(False, "warm up for twice as long; the backbone rests in the first half of it")
    first_epoch: int = setting(0, "what the schedule calls the first epoch; the paper's code: 1", choices=(0, 1))
    precision: str = setting("auto", "the backbone's; auto: bf16 where the device has it", choices=PRECISIONS)
    compile: bool = setting(False, "compile the backbone: some minutes at the start for a faster GPU")

    # facts about the model, for subclasses to override
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}  # fields of Recipe that have another default for this model
    UNUSED: ClassVar[tuple[str, ...]] = ()  # fields of Recipe that this model does not read
    SIZES: ClassVar[Mapping[str, dict[str, Any]]] = {
        "sysu": CROSS, "regdb": CROSS, "toy": TOY, "toy-duke": TOY, "toy-sysu": TOY_CROSS
    }  # fmt: skip
    PRESETS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "reference": {},
        "paper": {"resize": "bilinear", "order": "image", "iterations": None, "first_epoch": 1},
        "fixed": {"stem_relu": True, "erasing_fill": (0.0, 0.0, 0.0)},
        "laptop": LAPTOP,
        "strong": LAPTOP,  # and more tricks
    }
    TRICKS: ClassVar[Mapping[str, Trick]] = {
        "warmup": Trick({"warmup_epochs": 0}),
        "erasing": Trick({"erasing": 0.0}),
        "smoothing": Trick({"label_smoothing": 0.0}),
        "stride": Trick({"last_stride": 2}),
        "bnneck": Trick({"bnneck": False}),
        "center": Trick({"center_weight": 0.0}, {"center_weight": 5e-4}),  # Luo et al. 2019, section 3.6
        "channels": Trick({"channels": 0.0}, {"channels": 0.5}),
        "gem": Trick({"pooling": "mean"}, {"pooling": "gem"}),  # these three: fast-reid's strong baseline, "SBS"
        "cosine": Trick({"schedule": "steps"}, {"schedule": "cosine"}),
        "freeze": Trick({"freeze": False}, {"freeze": True}),
    }
    ALL: ClassVar[tuple[str, ...]] = ("warmup", "erasing", "smoothing", "stride", "bnneck")  # what "all" means
    MORE: ClassVar[Mapping[str, tuple[str, ...]]] = {"strong": ("cosine", "freeze")}  # in "all" of a preset, too

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = plain(getattr(self, entry.name))
            object.__setattr__(self, entry.name, tuple(value) if isinstance(value, list) else value)
            check_value(entry, getattr(self, entry.name))
        self.check()

    def check(self) -> None:
        """Raise ValueError for fields that do not fit each other; a subclass adds its own rules."""
        if self.weights not in ("imagenet", "none") and not self.weights.endswith((".pth", ".safetensors")):
            raise ValueError(f"weights={self.weights!r}; write imagenet, none, or a .pth or .safetensors file's path")
        if self.backbone not in BACKBONES and ":" not in self.backbone:
            known = ", ".join(BACKBONES)
            raise ValueError(f"backbone={self.backbone!r}; choose one of {known}, timm:NAME or module:function")
        if self.pad > min(self.size):
            raise ValueError(f"pad={self.pad}; it must be at most the smaller side of the images, {min(self.size)}")
        if not 0 <= self.erasing_area[0] <= self.erasing_area[1] <= 1:
            raise ValueError(f"erasing_area={self.erasing_area}; give two shares of the image, the smaller one first")
        if self.freeze and not 0 < 2 * self.warmup_epochs < self.epochs:
            rest = "it makes the warm-up twice as long, so give some, and fewer than half of epochs"
            raise ValueError(f"freeze=True with warmup_epochs={self.warmup_epochs}; {rest}={self.epochs}")
        if self.order == "modality" and self.k % 2:
            raise ValueError(f"k={self.k} with order='modality'; it must be even, half visible, half infrared")

    @staticmethod
    def for_dataset(
        dataset: str, preset: str = "reference", tricks: str = "all", seed: int = 1, model: str | None = None,
        **changes: Any,
    ) -> "Recipe":  # fmt: skip
        """The recipe of a data set.

        Parameters
        ----------
        dataset, preset, tricks, seed, model
            The five words that choose a recipe; see the fields of the same names.
        **changes
            Fields that differ from it. None means "what the recipe says".

        Raises
        ------
        ValueError
            For an unknown model, preset, trick or field, with those that exist, and for a field that the model ignores.
        """
        model = model or "bot"
        kind = recipe_class(model)
        if preset not in kind.PRESETS:
            raise ValueError(f"no preset {preset!r} of this model; choose one of {', '.join(kind.PRESETS)}")
        given = {name: value for name, value in changes.items() if value is not None}
        dataset = os.fspath(dataset)
        words = {"dataset": dataset, "model": model, "preset": preset, "tricks": tricks, "seed": seed}
        sizes = kind.SIZES.get(re.split("[:+]", dataset)[0], {})  # regdb:3 is regdb, of a+b it is a that counts
        chosen = chosen_fields(tricks, kind.TRICKS, (*kind.ALL, *kind.MORE.get(preset, ())))
        standard = kind.from_dict({**words, **kind.DEFAULTS, **sizes, **kind.PRESETS[preset], **chosen})
        recipe = standard.replace(**given)
        for name in standard.differences(recipe):
            if name in kind.UNUSED:
                raise ValueError(f"{name}={given[name]!r}: the model {model} has no {name}")
        return recipe

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that the network sees."""
        return self.height, self.width

    @property
    def phase_lengths(self) -> tuple[int, ...]:
        """The epochs of each phase whose steps take a time of their own: one phase, unless a subclass has more."""
        return (self.epochs,)

    def shortened(self, iterations: int) -> "Recipe":
        """Two short epochs, the second of which shows how long a step takes; of a model of phases one more for each."""
        return self.replace(epochs=2, iterations=iterations, checkpoint_every=9, freeze=False)

    def learning_rate(self, epoch: int) -> float:
        """The learning rate during 0-based `epoch`."""
        warmup = (self.warmup_epochs * (1 + self.freeze), self.warmup_start, self.first_epoch)
        if self.schedule == "cosine":
            return settings.warmup_cosine(epoch, self.lr, self.epochs, *warmup)
        return settings.warmup_multistep(epoch, self.lr, self.milestones, self.gamma, *warmup)

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with some fields changed; ValueError for an unknown field."""
        return Recipe.from_dict(self.to_dict() | changes)

    def schedule_factor(self, epoch: int) -> float:
        """The learning rate during 0-based `epoch` as a share of `lr`."""
        return self.learning_rate(epoch) / self.lr

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Recipe":
        """The inverse of `to_dict`. Raises ValueError for a field that the recipe of the model does not have."""
        model = values.get("model", "bot")
        kind = recipe_class(model)
        names = [entry.name for entry in fields(kind)]
        if unknown := [name for name in values if name not in names]:
            raise ValueError(f"a recipe of {model} has no field {unknown[0]!r}; its fields are {', '.join(names)}")
        return kind(**values)

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """The fields in which two recipes differ: name -> (here, there), None where a recipe has no such field."""
        names = dict.fromkeys(entry.name for recipe in (self, other) for entry in fields(recipe))
        pairs = {name: (getattr(self, name, None), getattr(other, name, None)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """What differs from the recipe that the five words choose: name -> (here, there)."""
        return self.differences(Recipe.for_dataset(self.dataset, self.preset, self.tricks, self.seed, self.model))

    def name(self) -> str:
        """A short name for a run's folder: data set, model, preset, tricks, seed, and what else was changed."""
        changed = [f"{key}={value[0]}" for key, value in self.changes().items()]
        model = [] if self.model == "bot" else [self.model]
        dataset = Path(self.dataset).name.removesuffix(".csv")
        return settings.folder_name([dataset, *model, self.preset, self.tricks, f"seed{self.seed}", *changed])


def recipe_class(model: str) -> type[Recipe]:
    """The recipe class of a model: the `RECIPE` of its system, else `Recipe`."""
    return getattr(facts(model), "RECIPE", Recipe)


def trick_fields(tricks: str, model: str = "bot") -> dict[str, Any]:
    """The fields that a word of the tricks' grammar sets in recipes of a model; see `settings.chosen_fields`."""
    kind = recipe_class(model)
    return chosen_fields(tricks, kind.TRICKS, kind.ALL)
