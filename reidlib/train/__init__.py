"""The training loop, its checkpoints, and embeddings; `python -m reidlib.train` is the command line."""

from reidlib.train.checkpoints import checkpoints, restore
from reidlib.train.embedding import embed
from reidlib.train.loop import epoch_row, fit, load_or_train

__all__ = ["checkpoints", "embed", "epoch_row", "fit", "load_or_train", "restore"]
