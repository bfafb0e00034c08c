"""Every field of every recipe: changing it changes what it says in the system, the batches and the steps, and no more.

`ROWS` has a line for each field of each recipe. A field without one fails a test.
"""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import trunks
from golden_fill import uniform
from joins import noted, plates, read
from torch import nn

import reidlib as rl
from reidlib.recipe import recipe_class
from reidlib.systems.aligngan import AlignGAN
from reidlib.systems.backbones import unpooled
from reidlib.systems.bag_of_tricks import BagOfTricks
from reidlib.systems.pcb import PCB

BASE = dict(
    height=40, width=32, pad=3, erasing=0.5, erasing_area=(0.02, 0.1), p=4, k=4, iterations=5, epochs=4,
    checkpoint_every=2, backbone="trunks:small", weights="none", lr=0.01, warmup_epochs=2, milestones=(3,),
    precision="float32",
)  # fmt: skip
MODELS = {
    "bot": {"center_weight": 5e-4},
    "pcb": {"backbone_lr": 0.02, "misalign": 0.0, "part_dim": 8, "parts": 4, "rpp_epochs": (1, 1)},
    "aligngan": {"backbone_lr": 0.02, "phases": (1, 1), "gan_size": (32, 16), "gan_p": 2, "gan_channels": 4},
}
TOLERANCE = {  # of shares and means over the plates of a run; whatever is not here is compared to 1e-5
    "flips": 0.1, "erased": 0.1, "area": 0.015, "aspect": 0.15, "crop top": 0.4, "crop left": 0.4, "stretch": 0.01,
    "grey": 0.1, "dropout": 0.05,
}  # fmt: skip


class Renamed(BagOfTricks):
    """The Bag of Tricks under another name."""


class Pcb(PCB):
    """PCB under another name."""


class Aligngan(AlignGAN):
    """AlignGAN under another name."""


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> rl.Shots:
    return plates(tmp_path_factory.mktemp("fields") / "plates", ids=9, each=3, size=(80, 64))


@pytest.fixture(scope="module")
def observed(shots, tmp_path_factory):
    """A function of a recipe: what it does, by name."""
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def observe(recipe: rl.Recipe) -> dict[str, Any]:
        compiled = []
        with patch.object(nn.Module, "compile", lambda self, **_: compiled.append(self)):
            system = rl.build(recipe, shots, "cpu")
        run = folder / str(len(list(folder.iterdir())))
        found = {"class": type(system).__name__, "compiled": len(compiled), "stages": stages(system)}
        found["start"] = digest(system.trunk)
        for name, optimizer in system.optimizers.items():
            for i, group in enumerate(optimizer.param_groups):
                found[f"decay {name} {i}"] = group["weight_decay"]
        return found | of_a_run(system, shots, run) | of_a_step(system)

    return observe


def digest(net: nn.Module) -> int:
    return hash(b"".join(value.numpy().tobytes() for value in net.state_dict().values()))


def stages(system) -> list[tuple]:
    """Of the first four epochs: whether parts are refined, AlignGAN's phase, whether all and the trunk are training."""
    found = []
    for epoch in range(4):
        system.begin_epoch(epoch)
        found.append(
            (
                getattr(system, "refined", False),
                int(getattr(system, "phase", 0)),
                system.training,
                system.trunk.training,
            )
        )
    return found


def of_a_run(system, shots: rl.Shots, run: Path) -> dict[str, Any]:
    """What `fit` draws, sets and keeps."""
    with noted(system) as steps:
        ends = [row["iteration"] for row in rl.fit(system, shots, run)]
    first = [steps[start] for start in (0, *ends[:-1])][:4]
    found = {f"rate {name} {i}": [step.rates[name, i] for step in first] for name, i in first[0].rates}
    found |= {"steps": np.diff([0, *ends]).tolist(), "kept": rl.checkpoints(run)}
    found["batches"] = [step.index.tolist() for step in steps[:4]]
    found["images"] = steps[0].stored.shape, hash(steps[0].stored[:2].numpy().tobytes())
    seen = read(torch.cat([step.images for step in steps]))
    box = seen.box[seen.box[:, 0] >= 0]
    _, height, width = steps[0].images.shape[1:]
    assert seen.whole.all()
    found |= {"grey": seen.grey.mean(), "flips": seen.flipped.mean(), "stretch": np.abs(seen.stretched - 1).mean()}
    found |= {"crop top": np.abs(seen.top).max(), "crop left": np.abs(seen.left).max()}
    found |= {"erased": (seen.box[:, 0] >= 0).mean(), "area": (box[:, 2] * box[:, 3]).mean() / height / width}
    return found | {"aspect": np.abs(np.log(box[:, 2] / box[:, 3])).mean(), "fill": np.median(seen.fill, 0).tolist()}


def of_a_step(system) -> dict[str, Any]:
    """What a system computes, with weights that depend on their names alone, on images that never change."""
    del system.step  # its own again
    for name, parameter in system.named_parameters():
        values = uniform(np.arange(parameter.numel()), sum(name.encode())).reshape(parameter.shape)
        centre = float(parameter.ndim == 1 and name.endswith("weight"))  # of a BatchNorm
        scale = np.sqrt(3 / parameter[0].numel()) if parameter.ndim > 1 else 0.3
        parameter.data.copy_(torch.from_numpy(scale * (2 * values - 1) + centre))
    each = 2 * getattr(system, "each", 2)
    rng, inside = torch.Generator().manual_seed(0), []
    images, labels = torch.randn(3 * each, 3, 40, 32, generator=rng), torch.arange(3).repeat_interleave(each)
    system.trunk.register_forward_hook(lambda _net, _given, out: inside.append(out.dtype))
    maps = unpooled(system.trunk) if isinstance(system, BagOfTricks) else system.trunk
    with torch.no_grad():
        features = maps.eval()(images)
    found = {"map": tuple(features.shape), "features": features.flatten()[::7].tolist()}
    found["embedding"] = system.embed(images).flatten()[::3].tolist()
    found["dtype"] = str(inside[-1])
    if isinstance(system, PCB):
        found["heads"] = [(head[1].out_features, head[4].in_features) for head in system.heads]
        found["dropout"] = (system.heads[0][0].train()(torch.ones(4000)) == 0).float().mean().item()
    if hasattr(system, "to_ir"):
        given = []
        system.to_ir.register_forward_pre_hook(lambda _net, args: given.append(tuple(args[0].shape)))
        found["generators' layers"] = [p.shape for p in system.to_ir.parameters()][:3]
    system.begin_epoch(2)
    for optimizer in system.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 0.0  # AlignGAN's pixels come after a step of its features
    torch.manual_seed(0)
    losses = system.step(images, labels)
    if hasattr(system, "to_ir"):
        found["generators' images"] = given[-1:]
    return found | {f"loss {name}": value.item() for name, value in losses.items() if name not in WATCHED}


def same(name: str, a: Any, b: Any, rtol: float) -> bool:
    first = a[0] if isinstance(a, list) and a else a
    if not isinstance(first, float):
        return a == b
    one, other = np.asarray(a), np.asarray(b)
    close = np.allclose(one, other, rtol, TOLERANCE.get(name, rtol / 100)) if one.shape == other.shape else False
    return bool(close)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The names of what differs; between two precisions only what rounding does not explain."""
    rtol = 1e-5 if before["dtype"] == after["dtype"] else 1.0
    names = before.keys() | after.keys()
    return {n for n in names if n not in before or n not in after or not same(n, before[n], after[n], rtol)}


def recipe_of(model: str, **others: Any) -> rl.Recipe:
    return rl.Recipe.for_dataset("plates", model=model, **BASE | MODELS[model] | others)


WATCHED = ("acc", "judged", "own", "others")  # what a step reports beside its losses
GAN = {
    f"loss {name}" for name in ("cycle", "discriminators", "identity", "loss", "pixel_ce", "pixel_gan", "pixel_triplet")
}
EMBEDDED = {
    "bot": {"embedding", "loss loss", "loss ce", "loss triplet", "loss center"},
    "pcb": {"embedding", "loss loss"},
    "aligngan": {"embedding", "loss ce", "loss triplet", "loss feature_gan"} | GAN - {"loss cycle", "loss identity"},
}
RATES = {
    "bot": {"rate main 0"},
    "pcb": {"rate main 0", "rate main 1"},
    "aligngan": {"rate features 0", "rate features 1", "rate generators 0", "rate judges 0"},
}
SLIM = {"backbone": "resnet18", "epochs": 3, "checkpoint_every": 9}  # a network with a stem; one checkpoint
NOTHING: set[str] = set()

# field: (another value, what changes, and fields that the others are changed in first)
SHARED = {  # of the loop and the data: the same for every model
    "dataset": ("elsewhere", NOTHING),  # these three words choose the values of other fields
    "preset": ("fixed", NOTHING),
    "tricks": ("none", NOTHING),
    "seed": (2, {"batches", "start"}),
    "height": (48, {"images"}),
    "width": (48, {"images"}),
    "resize": ("bilinear", {"images"}),
    "flip": (1.0, {"flips"}),
    "pad": (6, {"crop top", "crop left"}),
    "misalign": (1.0, {"stretch", "crop top"}),
    "channels": (0.5, {"grey"}),
    "erasing": (0.9, {"erased"}),
    "erasing_area": ((0.02, 0.03), {"area"}),
    "erasing_ratio": (1.0, {"aspect"}),
    "erasing_fill": ((0.0, 0.0, 0.0), {"fill"}),
    "p": (3, {"batches"}),
    "k": (2, {"batches"}),
    "order": ("image", {"batches"}),
    "iterations": (None, {"steps"}),
    "epochs": (5, {"steps", "kept"}),
    "checkpoint_every": (3, {"kept"}),
    "weights": ("weights.pth", {"start"}),
    "compile": (True, {"compiled"}),
    "precision": ("bf16", {"dtype"}),
}


def by_model(model: str) -> dict[str, tuple]:
    network, rates = {"features"} | EMBEDDED[model], RATES[model]
    return {
        "model": (f"test_joins_fields:{'Renamed' if model == 'bot' else model.title()}", {"class"}),
        "backbone": ("trunks:wide", network | {"start", "map"}),
        "last_stride": (2, network | {"map"}),
        "stem_relu": (not recipe_of(model).stem_relu, network, SLIM),
        "warmup_epochs": (3, rates),
        "warmup_start": (0.1, rates),
        "milestones": ((2,), rates),
        "gamma": (0.5, rates),
        "first_epoch": (1, rates),
        "schedule": ("cosine", rates),
    }


HEADS = {"embedding", "heads", "loss loss"}
UNREAD = {"bnneck": True, "label_smoothing": 0.3, "margin": 0.6, "center_weight": 1e-3, "center_lr": 0.1}
UNREAD |= {"pooling": "gem"}
ROWS: dict[str, dict[str, tuple]] = {
    "bot": SHARED | by_model("bot") | {
        "pooling": ("gem", EMBEDDED["bot"] | {"start"}),
        "bnneck": (False, {"embedding", "loss ce", "loss loss"}),
        "label_smoothing": (0.3, {"loss ce", "loss loss"}),
        "margin": (0.6, {"loss triplet", "loss loss"}),
        "center_weight": (1e-3, {"loss center", "loss loss"}),
        "center_lr": (0.1, {"rate center 0"}),
        "freeze": (True, {"stages", "rate main 0"}, {"warmup_epochs": 1}),
        "lr": (0.02, {"rate main 0"}),
        "weight_decay": (1e-3, {"decay main 0"}),
    },
    "pcb": SHARED | by_model("pcb") | {name: (value, NOTHING) for name, value in UNREAD.items()} | {
        "freeze": (True, RATES["pcb"], {"warmup_epochs": 1}),  # `for_dataset` refuses it; the schedule is for all
        "lr": (0.03, {"rate main 0"}),
        "backbone_lr": (0.03, {"rate main 1"}),
        "weight_decay": (1e-3, {"decay main 0", "decay main 1"}),
        "parts": (2, HEADS),
        "part_dim": (4, HEADS - {"embedding"}),
        "dropout": (0.9, {"dropout", "loss loss"}),
        "rpp": (True, {"stages", "embedding", "loss loss", "decay main 2", "rate main 2"} | RATES["pcb"]),
        "rpp_rate": (0.5, {"rate main 2"} | RATES["pcb"], {"rpp": True}),
        "rpp_epochs": ((1, 2), {"stages", "loss loss", "rate main 2"} | RATES["pcb"], {"rpp": True}),
    },
    "aligngan": SHARED | by_model("aligngan") | {name: (value, NOTHING) for name, value in UNREAD.items()} | {
        "freeze": (True, RATES["aligngan"], {"warmup_epochs": 1}),  # `for_dataset` refuses it; the schedule is for all
        "k": (2, {"batches", "features", "map", "generators' images"} | EMBEDDED["aligngan"] | GAN),
        "order": ("identity", "AlignGAN needs visible and infrared images"),
        "margin": (0.6, {"loss triplet", "loss pixel_triplet", "loss loss"}),
        "lr": (0.03, {"rate features 0"}),
        "backbone_lr": (0.03, {"rate features 1"}),
        "weight_decay": (1e-3, {"decay features 0", "decay features 1"}),
        "phases": ((1, 2), {"stages", "loss feature_gan"} | EMBEDDED["aligngan"] - {"embedding"}),
        "gan_size": ((16, 16), {"generators' images"} | EMBEDDED["aligngan"] | GAN),
        "gan_p": (3, {"generators' images"} | GAN),
        "gan_channels": (6, {"generators' layers", "loss ce", "loss triplet", "loss feature_gan"} | GAN),
        "gan_lr": (1e-3, {"rate generators 0", "rate judges 0"}),
        "gan_weights": ((20.0, 7.0, 0.3, 0.4), GAN - {"loss pixel_gan", "loss discriminators"}),
        "bnneck": (True, {"loss triplet", "loss pixel_triplet", "loss loss"}),
        "together": (True, {"loss ce", "loss triplet", "loss feature_gan"} | GAN - {"loss cycle", "loss identity"}),
        "pixels": (False, GAN | {"loss ce", "loss triplet", "loss feature_gan", "generators' images"}),
        "features": (False, {"loss triplet", "loss feature_gan", "loss pixel_gan", "loss discriminators", "loss loss"}),
    },
}  # fmt: skip


@pytest.mark.parametrize("model", ROWS)
def test_every_field_has_a_row(model):
    assert {row.partition(",")[0] for row in ROWS[model]} == {entry.name for entry in fields(recipe_class(model))}


@pytest.mark.parametrize(("model", "field"), [(model, field) for model in ROWS for field in ROWS[model]])
def test_a_field_changes_what_it_says_and_nothing_else(model, field, observed, tmp_path):
    value, expected, *first = ROWS[model][field]
    field = field.partition(",")[0]
    if field == "weights":
        torch.manual_seed(9)
        torch.save(trunks.small().state_dict(), value := str(tmp_path / value))
    before = recipe_of(model, **(first[0] if first else {}))
    after = before.replace(**{field: value})
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            observed(after)
    else:
        assert changed(observed(before), observed(after)) == expected
