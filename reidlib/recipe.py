"""A recipe is everything that decides a training run: one frozen dataclass, every trick one field."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

# What each trick is when it is off, and when it is on if that differs from the field's default.
TRICKS = {
    "warmup": {"warmup_epochs": 0},
    "erasing": {"erasing": 0.0},
    "smoothing": {"label_smoothing": 0.0},
    "stride": {"last_stride": 2},
    "bnneck": {"bnneck": False},
    "center": {"center_weight": 0.0},
}
CENTER_WEIGHT = 5e-4  # Luo et al. 2019, section 3.6
FIVE = ("warmup", "erasing", "smoothing", "stride", "bnneck")  # the tricks of the reference implementation

# Where the presets differ from the fields' defaults, which are the reference implementation.
PRESETS = {
    "reference": {},
    "paper": {"resize": "bilinear", "order": "image", "iterations": None, "first_epoch": 1},
    "fixed": {"stem_relu": True, "erasing_fill": (0.0, 0.0, 0.0)},
}

# The same recipe on fewer and smaller images: what a laptop trains in about a minute, from scratch.
_TOY = {
    "height": 64, "width": 32, "pad": 2, "p": 8, "iterations": 22, "epochs": 20, "checkpoint_every": 10,
    "warmup_epochs": 2, "milestones": (15, 18), "backbone": "resnet18", "weights": "none",
}  # fmt: skip
SIZES = {"toy": _TOY, "toy-duke": _TOY}


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training run; the defaults are those of the reference implementation.

    Lengths are in pixels, rates per step, `warmup_epochs`, `milestones` and `epochs` in epochs of `iterations`
    batches. Raises ValueError where a value makes no sense. Source: the reference implementation (wangguanan 2019)
    and Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019.
    """

    dataset: str = "market"
    preset: str = "reference"
    tricks: str = "all"
    seed: int = 1
    # images
    height: int = 256
    width: int = 128
    resize: str = "bicubic"
    flip: float = 0.5
    pad: int = 10
    erasing: float = 0.5  # probability; Zhong et al. 2017
    erasing_area: tuple[float, float] = (0.02, 0.4)
    erasing_ratio: float = 0.3
    erasing_fill: tuple[float, ...] = (0.485, 0.456, 0.406)  # in normalised units, as the reference implementation does
    # batches: p identities x k images; an epoch is a number of iterations, None for one pass over the data
    p: int = 16
    k: int = 4
    order: str = "identity"
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
    # optimiser: Adam
    lr: float = 3.5e-4
    weight_decay: float = 5e-4
    warmup_epochs: int = 10
    warmup_start: float = 0.01
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    first_epoch: int = 0  # what the schedule calls the first epoch: 0 here, 1 in the paper's code
    precision: str = "auto"  # auto, float32 or bf16
    compile: bool = False  # the backbone by torch.compile: some minutes at the start, for a faster GPU

    def __post_init__(self):
        for name in ("erasing_area", "erasing_fill", "milestones"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check(self)

    @classmethod
    def for_dataset(cls, dataset: str, preset: str = "reference", tricks: str = "all", seed: int = 1, **overrides):
        """The recipe of a data set; an override that is None means "what the recipe says".

        Raises ValueError for an unknown preset, trick or field, with the names there are.
        """
        if preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; choose one of {', '.join(PRESETS)}")
        given = {name: value for name, value in overrides.items() if value is not None}
        values = SIZES.get(dataset, {}) | PRESETS[preset] | trick_fields(tricks) | given
        _known(values)
        return cls(dataset=dataset, preset=preset, tricks=tricks, seed=seed, **values)

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

    def name(self) -> str:
        """A short name for a run's folder: data set, preset, tricks, seed, and what else is not the standard."""
        standard = Recipe.for_dataset(self.dataset, self.preset, self.tricks, self.seed)
        extra = [f"{key}={value[0]}" for key, value in self.differences(standard).items()]
        parts = [Path(self.dataset).stem, self.preset, self.tricks, f"seed{self.seed}", *extra]
        return re.sub(r"[^\w.+=-]+", "_", "-".join(parts))


def trick_fields(tricks: str) -> dict:
    """The fields that a word of the tricks' grammar sets.

    `all` is the reference implementation's five, `none` the standard baseline; `+name` adds and `-name` removes:
    `all+center`, `all-erasing`, `none+warmup+bnneck`. Raises ValueError with the grammar for anything else.
    """
    found = re.fullmatch(r"(all|none)((?:[+-]\w+)*)", tricks)
    changes = re.findall(r"([+-])(\w+)", found[2]) if found else []
    unknown = [name for _, name in changes if name not in TRICKS]
    if not found or unknown:
        raise ValueError(
            f"tricks {tricks!r} not understood{': no trick ' + repr(unknown[0]) if unknown else ''}; "
            f"write all or none, then +name or -name with a name of {', '.join(TRICKS)}, as in all-erasing"
        )
    on = set(FIVE if found[1] == "all" else ())
    for sign, name in changes:
        if (sign == "+") == (name in on):
            raise ValueError(
                f"tricks {tricks!r}: {name} is {'on' if sign == '+' else 'off'} already; leave {sign}{name} out"
            )
        on ^= {name}
    off = [TRICKS[name] for name in TRICKS if name not in on]
    values = {key: value for item in off for key, value in item.items()}
    return values | ({"center_weight": CENTER_WEIGHT} if "center" in on else {})


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
        "order": ("identity", "image"),
        "precision": ("auto", "float32", "bf16"),
        "last_stride": (1, 2),
        "first_epoch": (0, 1),
    }
    for name, allowed in choices.items():
        if getattr(recipe, name) not in allowed:
            raise ValueError(f"{name}={getattr(recipe, name)!r}; choose one of {', '.join(map(str, allowed))}")
    least = {
        "height": 16,
        "width": 16,
        "p": 2,
        "k": 2,
        "epochs": 1,
        "checkpoint_every": 1,
        "pad": 0,
        "warmup_epochs": 0,
    }
    least |= {"iterations": 1} if recipe.iterations is not None else {}
    for name, smallest in least.items():
        if getattr(recipe, name) < smallest:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must be at least {smallest}")
    for name in ("flip", "erasing", "label_smoothing"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must lie between 0 and 1")
    if recipe.pad > min(recipe.size):
        raise ValueError(f"pad={recipe.pad}; it must be at most the smaller side of the images, {min(recipe.size)}")
    for name, length in (("erasing_area", 2), ("erasing_fill", 3)):
        if len(getattr(recipe, name)) != length:
            raise ValueError(f"{name}={getattr(recipe, name)}; it must hold {length} numbers")
    if not recipe.lr > 0:
        raise ValueError(f"lr={recipe.lr}; it must be positive")
