"""The training loop, its checkpoints, and embeddings; `python -m reidlib.train` is the command line."""

from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed
from reidlib.train.loop import fit, load_or_train
from reidlib.train.rows import epoch_row

__all__ = ["embed", "epoch_row", "fit", "load_or_train", "restore"]
