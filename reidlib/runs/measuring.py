"""What a model reaches: which sets it is tested on, their embeddings, which are kept, and the scores."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch

from reidlib.data.shots import load
from reidlib.evaluation import sysu
from reidlib.evaluation.score import score
from reidlib.evaluation.sysu import SYSU, refuse_sysu
from reidlib.files import write_whole
from reidlib.provenance import data_digest, source_digest
from reidlib.train.embedding import embed

PARTNERS = {"market": "duke", "duke": "market", "toy": "toy-duke", "toy-duke": "toy"}  # the other half of the table
WAYS = [(search, shot) for search in sysu.GALLERIES for shot in sysu.SHOTS]


def measure(system, split, run_dir: str | Path, epoch: int | None = None, flip: bool | None = None, **scoring):
    """Embed the query and the gallery of `split` and score them; returns Scores.

    The embeddings are kept in `run_dir`/embeddings and used again as long as the weights, the images and the library
    are the same; the scores of each query go to `run_dir`/per_query-<set>.npz. `epoch` names the files of an earlier
    checkpoint, `flip` averages each image with its mirror image, None does what the system's own test does, and
    `scoring` goes to `score`. Raises ValueError for SYSU-MM01: that is for `measure_all`.
    """
    refuse_sysu(split.name)
    flip = system.flip if flip is None else flip
    scores = score(*_embedded(system, split, run_dir, epoch, flip), split.query, split.gallery, **scoring)
    scores.save(Path(run_dir, f"per_query-{_suffix(split, epoch, flip)}.npz"))
    return scores


def measure_all(
    system, splits: dict, run_dir: str | Path, epoch: int | None = None, flip: bool | None = None, **scoring
) -> dict:
    """What a model reaches on each of `splits`, of `targets`: {name of the test: its scores}; the rest as `measure`.

    SYSU-MM01, real or drawn, is tested in four ways, as in "sysu all single", by `sysu.score`; its embeddings are kept,
    the values of each probe are not.
    """
    found, flip = {}, system.flip if flip is None else flip
    for name, split in splits.items():
        if split.name not in SYSU:
            found[name] = measure(system, split, run_dir, epoch, flip, **scoring)
            continue
        given = (*_embedded(system, split, run_dir, epoch, flip), split.query, split.gallery)
        for search, shot in WAYS:
            found[f"{name} {search} {shot}"] = sysu.score(*given, search=search, shot=shot, **scoring)
    return found


def targets(dataset: str, paths: dict[str, str | None] | None = None, root: str | None = None):
    """The splits that a model of `dataset` is tested on, and why a set is left out: ({name: Split}, {name: reason}).

    They are the set itself and its partner (Market-1501 and DukeMTMC-reID, toy and toy-duke). Only the set itself must
    be there; `paths` gives a folder for a name where it does not lie under `root`, and what is named must be there.
    """
    paths = paths or {}
    home = load(dataset, paths.get(dataset) or root)
    splits, absent = {home.name: home}, {}
    if partner := PARTNERS.get(dataset):
        try:
            splits[partner] = load(partner, paths.get(partner) or root)
        except FileNotFoundError as error:
            if paths.get(partner):
                raise
            absent[partner] = str(error)
    return splits, absent


def _suffix(split, epoch: int | None, flip: bool) -> str:
    """What tells the files of one test from those of another."""
    return split.name.replace("/", "_") + ("" if epoch is None else f"-epoch{epoch:04d}") + "-flip" * flip


def _embedded(system, split, run_dir: str | Path, epoch: int | None, flip: bool) -> list[torch.Tensor]:
    """The embeddings of query and gallery: those kept in the run's folder, or new ones, which are kept."""
    file, key = Path(run_dir, "embeddings", f"{_suffix(split, epoch, flip)}.npz"), _key(system, split)
    found = _embeddings(file, key)
    if found is None:
        found = [embed(system, shots, flip=flip) for shots in (split.query, split.gallery)]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda stream: np.savez(stream, q=found[0], g=found[1], key=key))
    return found


def _key(system, split) -> str:
    digest = hashlib.blake2b(source_digest(type(system).__module__).encode(), digest_size=10)
    digest.update(getattr(system, "feature", "").encode())  # which of its features, where it has several
    for value in system.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    for shots in (split.query, split.gallery):
        digest.update(data_digest(shots).encode())
    return digest.hexdigest()


def _embeddings(file: Path, key: str) -> list[torch.Tensor] | None:
    try:
        with np.load(file) as kept:
            return [torch.from_numpy(kept[name]) for name in "qg"] if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent, cut off, or of another kind
        return None
