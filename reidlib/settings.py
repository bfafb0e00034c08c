"""What a field of a recipe may hold, the grammar of tricks, and the learning rate's schedule."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, field
from operator import ge, gt, le
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

# what only the Bag of Tricks has
BAG_ONLY = ("pooling", "bnneck", "label_smoothing", "center_weight", "center_lr", "freeze")
CROSS = {"order": "modality", "p": 8, "k": 8}  # two modalities: P identities x (4 visible + 4 infrared) images
TOY = {  # fewer and smaller images, a narrow network: one core trains it from scratch in a quarter of a minute
    "height": 64, "width": 32, "pad": 2, "p": 8, "iterations": 22, "epochs": 20, "checkpoint_every": 10,
    "warmup_epochs": 2, "milestones": (15, 18), "backbone": "slim", "weights": "none", "lr": 2e-3,
}  # fmt: skip
TOY_CROSS = CROSS | TOY | {  # few people: many small batches, a larger rate and ten times the weight decay
    "p": 13, "k": 4, "iterations": 14, "epochs": 36, "warmup_epochs": 3, "milestones": (27, 32), "checkpoint_every": 12,
    "lr": 5e-3, "weight_decay": 5e-3,
}  # fmt: skip
LAPTOP = {  # a third of the reference's iterations in its proportions: 40 minutes on two cores
    "backbone": "mobilenet_v2", "height": 128, "width": 64, "pad": 5, "precision": "float32",
    "iterations": 220, "epochs": 36, "warmup_epochs": 3, "milestones": (12, 21), "checkpoint_every": 12,
}  # fmt: skip


class Trick(NamedTuple):
    """The fields that a trick sets: `off` without it, `on` with it where that is not what the recipe says anyway."""

    off: Mapping[str, Any]
    on: Mapping[str, Any] = MappingProxyType({})


def setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field of a recipe: its default, one sentence for `--help`, and what its values must satisfy.

    `bounds` are `least` and `most` (inclusive), `above` (exclusive) and `choices`; the type is that of the default, or
    a float where the default is None.
    """
    return field(default=default, metadata={"help": help, **bounds})


def plain(value: Any) -> Any:
    """The same with Python's numbers and texts in place of NumPy's, which a file without code cannot hold."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def check_value(entry: Field[Any], value: Any) -> None:
    """Raise ValueError for a value of another type than the field's default, or outside the field's bounds."""
    default: Any = entry.default
    kind: Any = float if default is None else type(default)
    if value is None and "None" in str(entry.type):
        return
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{entry.name}={value!r}; it must be of type {kind.__name__}, as in {default!r}")
    if kind is tuple and "..." not in str(entry.type) and len(value) != len(default):
        raise ValueError(f"{entry.name}={value}; it must hold {len(default)} numbers")
    sort, numbers = (type(default[0]), value) if kind is tuple and default else (kind, [value])
    if sort is int and any(type(number) is not int for number in numbers):
        raise ValueError(f"{entry.name}={value}; it must hold whole numbers, as in {default}")
    if sort is float and not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"{entry.name}={value}; it must hold finite numbers, as in {default}")
    bounds = entry.metadata
    if "choices" in bounds and value not in bounds["choices"]:
        raise ValueError(f"{entry.name}={value!r}; choose one of {', '.join(map(str, bounds['choices']))}")
    for bound, words, holds in (("least", "at least", ge), ("most", "at most", le), ("above", "above", gt)):
        if bound in bounds and not holds(value, bounds[bound]):
            raise ValueError(f"{entry.name}={value}; it must be {words} {bounds[bound]}")


def chosen_fields(word: str, tricks: Mapping[str, Trick], all_of_them: Sequence[str]) -> dict[str, Any]:
    """The fields that a word of the tricks' grammar sets.

    `all` means the tricks `all_of_them`, `none` no trick; `+name` adds and `-name` removes one: `all+center`,
    `all-erasing`, `none+warmup+bnneck`. Raises ValueError for anything else, with the names of `tricks`.
    """
    word = str(word)
    match = re.fullmatch(r"(all|none)((?:[+-]\w+)*)", word)
    changes = re.findall(r"([+-])(\w+)", match[2]) if match else []
    unknown = [name for _, name in changes if name not in tricks]
    if not match or unknown:
        problem = f": no trick {unknown[0]!r}" if unknown else ""
        raise ValueError(
            f"tricks {word!r} not understood{problem}; write all or none, then +name or -name as in all-erasing; the "
            f"names of this model are {', '.join(tricks) or 'none'}"
        )
    chosen = set(all_of_them if match[1] == "all" else ())
    for sign, name in changes:
        if (sign == "+") == (name in chosen):
            state = "on" if sign == "+" else "off"
            raise ValueError(f"tricks {word!r}: {name} is {state} already; leave {sign}{name} out")
        chosen ^= {name}
    sets = [trick.on if name in chosen else trick.off for name, trick in tricks.items()]
    return {key: value for values in sets for key, value in values.items()}


def folder_name(parts: Sequence[str]) -> str:
    """The name of a folder for some words, each of at most 80 bytes and together of at most 200; see `shortened`."""
    words = [shortened(re.sub(r"[^\w.+=-]+", "_", part), 80) for part in parts]
    return shortened("-".join(words), 200)


def shortened(word: str, most: int) -> str:
    """`word`, or if it has more than `most` bytes, as a long path has, both its ends and a digest between them."""
    name = word.encode()
    if len(name) <= most:
        return word
    end = (most - 10) // 2
    start, last = (part.decode(errors="ignore") for part in (name[:end], name[-end:]))
    return f"{start}_{hashlib.blake2b(name, digest_size=4).hexdigest()}_{last}"


def warmup_multistep(
    epoch: int,
    base: float,
    milestones: Sequence[int] = (40, 70),
    gamma: float = 0.1,
    warmup_epochs: int = 10,
    warmup_start: float = 0.01,
    first_epoch: int = 0,
) -> float:
    """The learning rate during 0-based `epoch`: a linear rise from `warmup_start`, then a drop at each milestone.

    `first_epoch=1` is the paper's code, whose schedule is one epoch ahead. Source: WarmupMultiStepLR of the reference
    implementation; Luo et al. 2019, section 3.1.

    Examples
    --------
    >>> [round(warmup_multistep(epoch, 1.0), 6) for epoch in (0, 5, 10, 40, 70)]
    [0.01, 0.505, 1.0, 0.1, 0.01]
    """
    drops = sum(epoch + first_epoch >= milestone for milestone in milestones)
    return base * _warmed(epoch + first_epoch, warmup_epochs, warmup_start) * gamma**drops


def warmup_cosine(
    epoch: int, base: float, epochs: int, warmup_epochs: int, warmup_start: float, first_epoch: int
) -> float:
    """The learning rate during 0-based `epoch` of `epochs`: a linear rise, then half a cosine, 0 after the last epoch.

    With `first_epoch` all of it comes so many epochs earlier, but for its end.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (ICLR 2017), equation 5.

    Examples
    --------
    >>> [round(warmup_cosine(epoch, 1.0, 50, 10, 0.01, 0), 6) for epoch in (0, 5, 10, 30, 49)]
    [0.01, 0.505, 1.0, 0.5, 0.001541]
    """
    epoch += first_epoch
    gone = max(0, epoch - warmup_epochs) / max(1, epochs + first_epoch - warmup_epochs)
    return base * _warmed(epoch, warmup_epochs, warmup_start) * (1 + math.cos(math.pi * gone)) / 2


def _warmed(epoch: int, warmup_epochs: int, start: float) -> float:
    """The share of the learning rate in a linear warm-up from `start`."""
    progress = min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0
    return start * (1 - progress) + progress
