"""A recipe is everything that decides a training run: one frozen dataclass, every trick one field."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reidlib.presets import BACKBONES, MODELS, PRESETS, READERS, standard


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults are those of the reference implementation.

    Lengths are in pixels, rates per step, `warmup_epochs`, `milestones` and `epochs` in epochs of `iterations`
    batches. Raises ValueError where a value makes no sense. Source: the reference implementation (wangguanan 2019)
    and Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019.
    """

    dataset: str = "market"
    model: str = "bot"  # or "pcb", "aligngan": see `systems`
    preset: str = "reference"
    tricks: str = "all"
    seed: int = 1
    # images
    height: int = 256
    width: int = 128
    resize: str = "bicubic"
    flip: float = 0.5
    pad: int = 10
    misalign: float = 0.0  # probability of a strip lost or added at the head or the feet: PCB
    channels: float = 0.0  # probability that an image is shown through one channel or as grey; Ye et al. 2021
    erasing: float = 0.5  # probability; Zhong et al. 2017
    erasing_area: tuple[float, float] = (0.02, 0.4)
    erasing_ratio: float = 0.3
    erasing_fill: tuple[float, ...] = (0.485, 0.456, 0.406)  # in normalised units, as the reference implementation does
    # batches: p identities x k images; an epoch is a number of iterations, None for one pass over the data
    p: int = 16
    k: int = 4
    order: str = "identity"  # or "image", or "modality": k / 2 visible images and k / 2 infrared ones
    iterations: int | None = 200
    epochs: int = 120
    checkpoint_every: int = 40
    # network
    backbone: str = "resnet50"
    weights: str = "imagenet"  # or "none", or the path of a .pth file
    last_stride: int = 1
    stem_relu: bool = False  # the reference implementation and the paper's code both leave it out
    bnneck: bool = True
    # losses
    label_smoothing: float = 0.1
    margin: float = 0.3
    center_weight: float = 0.0
    center_lr: float = 0.5
    # optimiser: Adam for the Bag of Tricks, SGD for the others
    lr: float = 3.5e-4
    backbone_lr: float | None = None  # where it differs from that of the heads
    weight_decay: float = 5e-4
    warmup_epochs: int = 10
    warmup_start: float = 0.01
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    first_epoch: int = 0  # what the schedule calls the first epoch: 0 here, 1 in the paper's code
    precision: str = "auto"  # auto, float32 or bf16
    compile: bool = False  # the backbone by torch.compile: some minutes at the start, for a faster GPU
    # PCB
    parts: int = 6
    part_dim: int = 256
    dropout: float = 0.5
    rpp: bool = False  # refined part pooling in the last epochs: the part classifier alone, then everything
    rpp_epochs: tuple[int, int] = (5, 10)
    # AlignGAN
    phases: tuple[int, int] = (50, 100)  # epochs of warming up the features, then the pixels; the rest trains both
    gan_size: tuple[int, int] = (128, 128)
    gan_p: int = 4  # identities of a batch that the generators see
    gan_channels: int = 64
    gan_lr: float = 2e-4

    def __post_init__(self):
        for name in ("erasing_area", "erasing_fill", "milestones", "rpp_epochs", "phases", "gan_size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check(self)

    @classmethod
    def for_dataset(cls, dataset: str, preset: str = "reference", tricks: str = "all", seed: int = 1, **overrides):
        """The recipe of a data set; an override that is None means "what the recipe says".

        Raises ValueError for an unknown model, preset, trick or field, with the names there are, and for a field that
        the model does not read.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        model = given.get("model", "bot")
        values = standard(dataset, model, preset, tricks) | given
        _known(values)
        recipe = cls(dataset=dataset, preset=preset, tricks=tricks, seed=seed, **values)
        plain = cls(**standard(dataset, model, preset, tricks))
        for name in given:
            if model not in READERS.get(name, (model,)) and getattr(recipe, name) != getattr(plain, name):
                raise ValueError(f"{name}={given[name]!r}: the model {model} has no {name}")
        return recipe

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that the network sees."""
        return self.height, self.width

    def learning_rate(self, epoch: int) -> float:
        """The rate during 0-based `epoch`."""
        return warmup_multistep(
            epoch, self.lr, self.milestones, self.gamma, self.warmup_epochs, self.warmup_start, self.first_epoch
        )

    def to_dict(self) -> dict:
        """As plain values that JSON can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The inverse of `to_dict`. Raises ValueError for fields that a recipe does not have."""
        _known(values)
        return cls(**values)

    def differences(self, other: "Recipe") -> dict[str, tuple]:
        """The fields in which two recipes differ: name -> (mine, the other's)."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def changes(self) -> dict[str, tuple]:
        """What is not as the data set, the model, the preset and the tricks say: name -> (here, there)."""
        words = (self.dataset, self.preset, self.tricks, self.seed)
        return self.differences(Recipe.for_dataset(*words, model=self.model))

    def name(self) -> str:
        """A short name for a run's folder: data set, model, preset, tricks, seed, and what else is not the standard."""
        extra = [f"{key}={value[0]}" for key, value in self.changes().items()]
        model = [] if self.model == "bot" else [self.model]
        parts = [Path(self.dataset).stem, *model, self.preset, self.tricks, f"seed{self.seed}", *extra]
        return re.sub(r"[^\w.+=-]+", "_", "-".join(parts))


def warmup_multistep(
    epoch: int,
    base: float,
    milestones: tuple[int, ...] = (40, 70),
    gamma: float = 0.1,
    warmup_epochs: int = 10,
    warmup_start: float = 0.01,
    first_epoch: int = 0,
) -> float:
    """The learning rate during 0-based `epoch`: a linear rise from `warmup_start`, then a drop at each milestone.

    `first_epoch=1` is the paper's code, whose schedule is one epoch ahead. Source: the reference implementation's
    WarmupMultiStepLR; Luo et al. 2019, section 3.1.
    """
    epoch += first_epoch
    progress = min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0
    drops = sum(epoch >= milestone for milestone in milestones)
    return base * (warmup_start * (1 - progress) + progress) * gamma**drops


def preset_table() -> str:
    """The fields in which the presets differ, as a Markdown table."""
    recipes = [Recipe.for_dataset("market", preset) for preset in PRESETS]
    names = [f.name for f in fields(Recipe) if len({getattr(recipe, f.name) for recipe in recipes}) > 1]
    names.remove("preset")
    rows = [[f"`{name}`", *(str(getattr(recipe, name)) for recipe in recipes)] for name in names]
    head = [["field", *(f"`{preset}`" for preset in PRESETS)], ["---"] * (1 + len(PRESETS))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*head, *rows))


def _known(values: dict) -> None:
    names = [f.name for f in fields(Recipe)]
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"a recipe has no field {unknown[0]!r}; its fields are {', '.join(names)}")


def _check(recipe: Recipe) -> None:
    choices = {
        "preset": tuple(PRESETS),
        "resize": ("bicubic", "bilinear"),
        "model": tuple(MODELS),
        "backbone": BACKBONES,
        "order": ("identity", "image", "modality"),
        "precision": ("auto", "float32", "bf16"),
        "last_stride": (1, 2),
        "first_epoch": (0, 1),
    }
    for name, allowed in choices.items():
        if getattr(recipe, name) not in allowed:
            raise ValueError(f"{name}={getattr(recipe, name)!r}; choose one of {', '.join(map(str, allowed))}")
    if recipe.weights not in ("imagenet", "none") and not recipe.weights.endswith(".pth"):
        raise ValueError(f"weights={recipe.weights!r}; write imagenet, none, or the path of a .pth file")
    least = {
        "height": 16,
        "width": 16,
        "p": 2,
        "k": 2,
        "epochs": 1,
        "checkpoint_every": 1,
        "pad": 0,
        "warmup_epochs": 0,
        "parts": 1,
        "part_dim": 1,
        "gan_p": 2,
        "gan_channels": 1,
    }
    least |= {"iterations": 1} if recipe.iterations is not None else {}
    for name, smallest in least.items():
        if getattr(recipe, name) < smallest:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must be at least {smallest}")
    for name in ("flip", "erasing", "label_smoothing", "misalign", "channels", "dropout"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must lie between 0 and 1")
    if recipe.pad > min(recipe.size):
        raise ValueError(f"pad={recipe.pad}; it must be at most the smaller side of the images, {min(recipe.size)}")
    for name, length in (("erasing_area", 2), ("erasing_fill", 3), ("rpp_epochs", 2), ("phases", 2), ("gan_size", 2)):
        if len(getattr(recipe, name)) != length:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must hold {length} numbers")
    for name in ("lr", "backbone_lr", "gan_lr"):
        if getattr(recipe, name) is not None and not getattr(recipe, name) > 0:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must be positive")
    if recipe.order == "modality" and recipe.k % 2:
        raise ValueError(
            f"k={recipe.k} with order='modality': half of them are visible, half infrared; it must be even"
        )
    stages = {"pcb": ("rpp_epochs", recipe.rpp), "aligngan": ("phases", True)}
    name, used = stages.get(recipe.model, ("", False))
    if used and not sum(getattr(recipe, name)) < recipe.epochs:
        raise ValueError(f"{name}={getattr(recipe, name)}; they must leave some of the {recipe.epochs} epochs")
