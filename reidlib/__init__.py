"""Person re-identification as a course you can run: the Bag of Tricks baseline on a thin library.

`import reidlib as rl` gives the names below; each module is loaded at the first use of one of its names.
"""

import importlib

__version__ = "0.1.0"

_ROOMS = {
    "recipe": ("Recipe", "warmup_multistep"),
    "data": ("Shots", "Split", "load", "check"),
    "images": ("ImageStore", "decode"),
    "batches": ("PKSampler", "augment", "crop_flip", "draw_crops", "draw_erasing", "draw_flips", "erase", "normalise"),
    "losses": ("CenterLoss", "batch_hard_triplet", "hardest"),
    "systems": ("build",),
    "embedding": ("embed",),
    "train": ("fit", "restore", "epoch_row", "checkpoints"),
    "evaluate": ("Scores", "score"),
    "results": ("collect", "environment", "measure", "read_csv", "result_line", "targets", "write_csv", "write_result"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"reidlib has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return __all__
