"""Where presets, models, data sets and tricks differ from a recipe's defaults: the reference implementation's."""

import re

PRESETS = {
    "reference": {},
    "paper": {"resize": "bilinear", "order": "image", "iterations": None, "first_epoch": 1},
    "fixed": {"stem_relu": True, "erasing_fill": (0.0, 0.0, 0.0)},
}

# What is trained, and where its own recipe differs from that of the Bag of Tricks. PCB: wangguanan's implementation of
# Sun et al., ECCV 2018. AlignGAN: Wang et al., ICCV 2019, and its authors' code; its epoch is 100 iterations.
MODELS = {
    "bot": {},
    "pcb": {
        "height": 384, "width": 192, "pad": 0, "misalign": 0.5, "p": 18, "stem_relu": True, "bnneck": False,
        "label_smoothing": 0.0, "lr": 0.5, "backbone_lr": 0.05, "warmup_epochs": 0, "milestones": (50, 80, 100),
        "checkpoint_every": 35,  # so that the one before the refinement is kept
    },
    "aligngan": {
        "height": 384, "width": 192, "pad": 0, "erasing": 0.0, "p": 18, "k": 8, "order": "modality",
        "iterations": 100, "epochs": 250, "checkpoint_every": 50, "stem_relu": True, "bnneck": False,
        "label_smoothing": 0.0, "margin": 1.0, "lr": 0.2, "backbone_lr": 0.02, "warmup_epochs": 0,
        "milestones": (200,),
    },
}  # fmt: skip

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2")

# Fields that not every model reads, and which do.
_HEAD = ("bnneck", "label_smoothing", "center_weight", "center_lr")
_PARTS = ("parts", "part_dim", "dropout", "rpp", "rpp_epochs")
_GAN = ("phases", "gan_size", "gan_p", "gan_channels", "gan_lr")
READERS = dict.fromkeys(_HEAD, ("bot",)) | dict.fromkeys(_PARTS, ("pcb",)) | dict.fromkeys(_GAN, ("aligngan",))
READERS |= {"margin": ("bot", "aligngan"), "backbone_lr": ("pcb", "aligngan")}

# Two modalities: P identities x (4 visible + 4 infrared) images.
_CROSS = {"order": "modality", "p": 8, "k": 8}
DATASETS = {"sysu": _CROSS, "regdb": _CROSS, "toy-sysu": _CROSS}

# The same recipes on fewer and smaller images: what a laptop trains in about a minute, from scratch.
_TOY = {
    "height": 64, "width": 32, "pad": 2, "p": 8, "iterations": 22, "epochs": 20, "checkpoint_every": 10,
    "warmup_epochs": 2, "milestones": (15, 18), "backbone": "resnet18", "weights": "none",
}  # fmt: skip
_TOY_PCB = {  # a row of the last map for each part; from scratch the backbone needs the rate of the heads
    "height": 96, "pad": 0, "warmup_epochs": 0, "lr": 0.1, "backbone_lr": 0.1, "epochs": 17, "milestones": (11, 14),
    "rpp_epochs": (2, 2), "checkpoint_every": 13,
}  # fmt: skip
_TOY_ALIGNGAN = {  # 65 people to train on: batches of 13, so that the last of a pass is whole
    "p": 13, "pad": 0, "lr": 0.02, "backbone_lr": 0.02, "epochs": 20, "checkpoint_every": 4, "warmup_epochs": 0,
    "milestones": (19,), "phases": (10, 6), "gan_size": (64, 32), "gan_p": 2, "gan_channels": 8,
}  # fmt: skip
TOYS = {
    "bot": _TOY,
    "pcb": _TOY | _TOY_PCB,
    "aligngan": _TOY | _TOY_ALIGNGAN,
}

# Notebook 7 trains three models: fewer epochs, at a larger rate.
_SHORT = {
    "p": 13, "k": 4, "iterations": 14, "epochs": 12, "milestones": (9, 11), "checkpoint_every": 6, "lr": 1e-3,
    "warmup_epochs": 1,
}  # fmt: skip
SHORT = {("toy-sysu", "bot"): _SHORT}

# What each trick is when it is off, and when it is on if that differs from what the recipe says.
TRICKS = {
    "warmup": {"warmup_epochs": 0},
    "erasing": {"erasing": 0.0},
    "smoothing": {"label_smoothing": 0.0},
    "stride": {"last_stride": 2},
    "bnneck": {"bnneck": False},
    "center": {"center_weight": 0.0},
    "channels": {"channels": 0.0},
    "rpp": {"rpp": False},
}
ON = {
    "center": {"center_weight": 5e-4},  # Luo et al. 2019, section 3.6
    "channels": {"channels": 0.5},
    "rpp": {"rpp": True},
}
FIVE = ("warmup", "erasing", "smoothing", "stride", "bnneck")  # the tricks of the reference implementation
# The tricks of each model: those that "all" means, then those that are to be asked for.
OF_MODEL = {"bot": (FIVE, ("center", "channels")), "pcb": (("erasing", "stride"), ("rpp",)), "aligngan": ((), ())}


def standard(dataset: str, model: str = "bot", preset: str = "reference", tricks: str = "all") -> dict:
    """The fields in which the recipe of these four words differs from the defaults.

    Raises ValueError for a model, a preset or a trick that there is not.
    """
    for name, value, known in (("model", model, MODELS), ("preset", preset, PRESETS)):
        if value not in known:
            raise ValueError(f"no {name} {value!r}; choose one of {', '.join(known)}")
    if model != "bot" and preset != "reference":
        raise ValueError(f"preset {preset!r} is one of the model bot; {model} has the preset reference only")
    sizes = TOYS[model] if dataset == "toy" or dataset.startswith("toy-") else {}
    sizes = sizes | SHORT.get((dataset, model), {})
    return DATASETS.get(dataset, {}) | MODELS[model] | sizes | PRESETS[preset] | trick_fields(tricks, model)


def trick_fields(tricks: str, model: str = "bot") -> dict:
    """The fields that a word of the tricks' grammar sets.

    `all` is what the model's reference has (of the Bag of Tricks the five), `none` is none of them; `+name` adds and
    `-name` removes: `all+center`, `all-erasing`, `none+warmup+bnneck`. Raises ValueError with the grammar for
    anything else.
    """
    own, more = OF_MODEL[model]
    found = re.fullmatch(r"(all|none)((?:[+-]\w+)*)", tricks)
    changes = re.findall(r"([+-])(\w+)", found[2]) if found else []
    unknown = [name for _, name in changes if name not in own + more]
    if not found or unknown:
        raise ValueError(
            f"tricks {tricks!r} not understood{': no trick ' + repr(unknown[0]) if unknown else ''}; "
            f"write all or none, then +name or -name with a name of {', '.join(own + more) or 'no trick'} "
            f"(those of the model {model}), as in all-erasing"
        )
    on = set(own if found[1] == "all" else ())
    for sign, name in changes:
        if (sign == "+") == (name in on):
            raise ValueError(
                f"tricks {tricks!r}: {name} is {'on' if sign == '+' else 'off'} already; leave {sign}{name} out"
            )
        on ^= {name}
    fields = [ON.get(name, {}) if name in on else TRICKS[name] for name in own + more]
    return {key: value for item in fields for key, value in item.items()}
