"""What a model reaches: which sets it is tested on, their embeddings, which are kept, and the scores."""

import json
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reidlib.data import Split, load
from reidlib.data.layouts import joined_names
from reidlib.data.shots import joined
from reidlib.evaluation import sysu
from reidlib.evaluation.score import NO_CAMERAS, rule_of, score
from reidlib.evaluation.scores import Scores
from reidlib.evaluation.sysu import SysuScores, is_sysu, refuse_sysu
from reidlib.files import write_whole
from reidlib.provenance import code_of, data_digest, source_digest, state_digest
from reidlib.settings import shortened
from reidlib.systems import System
from reidlib.train.embedding import embed

# What a model is tested on beside its own set: the other half of the table, and a network that nobody trains on
PARTNERS = {"market": ("duke", "cuhk01"), "duke": ("market", "cuhk01"), "toy": ("toy-duke",), "toy-duke": ("toy",)}
WAYS = [(search, shot) for search in sysu.GALLERIES for shot in sysu.SHOTS]
KEEP = 'same_camera="keep", whose scores are higher than those across cameras'
PLAIN = {"rerank": None, "same_camera": "ignore", "ties": "pessimistic"}  # what changes scores, and its default


def measure(
    system: System, split: Split, run_dir: str | Path, epoch: int | None = None, flip: bool | None = None,
    **scoring: Any,
) -> Scores:  # fmt: skip
    """Embed the query and the gallery of a data set and score them.

    The embeddings are kept in `run_dir`/embeddings and used again as long as the weights, the recipe, the images, the
    labels and the code are the same. The scores of each query go to `run_dir`/per_query-<set>.npz; the file of any
    other feature or scoring than the default has a name that says so, such as per_query-<set>-reranked.npz. Where the
    folder cannot be written, a warning says so, and the scores are the same.

    Parameters
    ----------
    system, split, run_dir : a trained system, the data set to test on, and the folder of the run
    epoch : names the files of an earlier checkpoint
    flip : average each embedding with that of the mirror image; default: what the system's own test does
    **scoring : arguments of `score`

    Raises
    ------
    ValueError : SYSU-MM01, which has a protocol of its own: use `measure_all`
    """
    refuse_sysu(split.name)
    run_dir = Path(run_dir).expanduser()
    flip = system.flip if flip is None else flip
    q, g = _embedded(system, split, run_dir, epoch, flip)
    scores = score(q, g, split.query, split.gallery, **scoring)
    _keep(Path(run_dir, f"per_query-{_name(system, split, epoch, flip)}{_unusual(scoring)}.npz"), scores.save)
    return scores


def measure_all(
    system: System, splits: dict[str, Split], run_dir: str | Path, epoch: int | None = None, flip: bool | None = None,
    **scoring: Any,
) -> dict[str, Scores | SysuScores]:  # fmt: skip
    """Test a model on each of several data sets; returns the scores by the name of the test, which is that of the set.

    SYSU-MM01, real or drawn, is tested in four ways by `sysu.score`, as "sysu all single"; its embeddings are kept, the
    values of each query are not.

    Parameters
    ----------
    splits : from `test_sets`
    system, run_dir, epoch, flip, **scoring : as in `measure`; SYSU-MM01 has no same_camera
    """
    results: dict[str, Scores | SysuScores] = {}
    flip = system.flip if flip is None else flip
    by_protocol = {name: value for name, value in scoring.items() if name != "same_camera"}
    for name, split in splits.items():
        if not is_sysu(split.name):
            results[name] = measure(system, split, run_dir, epoch, flip, **scoring)
            continue
        q, g = _embedded(system, split, run_dir, epoch, flip)
        for search, shot in WAYS:
            scores = sysu.score(q, g, split.query, split.gallery, search=search, shot=shot, **by_protocol)
            results[f"{name} {search} {shot}"] = scores
    return results


def test_sets(
    dataset: str,
    paths: dict[str, str | None] | None = None,  # noqa: PT028, this is no test
    root: str | None = None,  # noqa: PT028
    same_camera: str = "ignore",  # noqa: PT028
) -> tuple[dict[str, Split], dict[str, str]]:
    """Load the data sets that a model is tested on: its own and others that it was not trained on (`PARTNERS`).

    Market-1501 and DukeMTMC-reID are tested on each other and on CUHK01, toy and toy-duke on each other; a model of
    joined sets, as "market+cuhk03", on all of them together and on each. Returns the sets by name, the model's own
    first, and why a set is left out, by name.

    Parameters
    ----------
    dataset : what the model is trained on
    paths : the folders of sets that do not lie under `root`, by name
    root : the folder of all data sets, as in `load`
    same_camera : how they will be scored, as in `score`

    Raises
    ------
    FileNotFoundError : the model's own set, or one that is named in `paths`, is missing
    ValueError : a set could not be scored, so that a training would be in vain: it lacks matches or cameras, or
        SYSU-MM01 is joined with others
    """
    paths, own = paths or {}, joined_names(dataset)
    if len(own) > 1 and any(map(is_sysu, own)):
        raise ValueError(
            f"{dataset}: SYSU-MM01 has a protocol of its own, so joined sets with it have no test. Train on "
            f"load({dataset!r}).train with fit, and give measure_all each set by itself"
        )
    homes = [load(name, paths.get(name) or root) for name in own]
    home = joined(homes) if len(homes) > 1 else homes[0]
    splits, absent = {split.name: split for split in (home, *homes)}, {}
    for partner in dict.fromkeys(name for known in own for name in PARTNERS.get(known, ())):
        try:
            if partner not in own:
                splits[partner] = load(partner, paths.get(partner) or root)
        except FileNotFoundError as error:
            if paths.get(partner):
                raise
            absent[partner] = str(error)
    for split in splits.values():
        _refuse_untestable(split, same_camera)
    return splits, absent


def _refuse_untestable(split: Split, same_camera: str) -> None:
    if is_sysu(split.name):
        if same_camera != PLAIN["same_camera"]:
            raise ValueError(f"{split.name} has a protocol of its own; leave same_camera={same_camera!r} out")
        return
    try:
        rule_of(split.query, split.gallery, same_camera)
    except ValueError as error:
        hint = f". If there truly is one camera, test with {KEEP}" if NO_CAMERAS in str(error) else ""
        raise ValueError(f"{split.name} cannot be tested: {error}{hint}") from None


def _name(system: System, split: Split, epoch: int | None, flip: bool) -> str:
    """What distinguishes the files of one test from those of another."""
    name, feature = shortened(re.sub(r"[/:]", "_", split.name), 200), getattr(system, "feature", "")
    other = "" if feature == getattr(type(system), "feature", "") else f"-{feature}"
    return name + ("" if epoch is None else f"-epoch{epoch:04d}") + "-flip" * flip + other


def _unusual(scoring: dict[str, Any]) -> str:
    """How a scoring differs from the default, for the name of a file; "" if it does not."""
    changed = {name: scoring[name] for name in PLAIN if scoring.get(name, PLAIN[name]) != PLAIN[name]}
    return "".join("-reranked" if name == "rerank" else f"-{name}={value}" for name, value in changed.items())


def _embedded(system: System, split: Split, run_dir: str | Path, epoch: int | None, flip: bool) -> list[torch.Tensor]:
    """The embeddings of query and gallery: those kept in the run's folder, or new ones, which are kept."""
    file = Path(run_dir, "embeddings", f"{_name(system, split, epoch, flip)}.npz").expanduser()
    key = _key(system, split)
    if kept := _kept(file, key):
        return kept
    made = [embed(system, shots, flip=flip) for shots in (split.query, split.gallery)]
    arrays = {"q": made[0].numpy(), "g": made[1].numpy(), "key": np.array(key)}
    _keep(file, lambda file: write_whole(file, lambda stream: np.savez(stream, allow_pickle=False, **arrays)))
    return made


def _keep(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside the result; a folder that cannot be written, or a full disk, is a warning."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file)
    except OSError as error:
        warnings.warn(f"{file} is not kept: {error}", stacklevel=4)


def _key(system: System, split: Split) -> str:
    feature = getattr(system, "feature", "")  # which of its features, if it has several
    code, data = source_digest(*code_of(system)), data_digest(split.query, split.gallery)
    recipe = json.dumps(system.recipe.to_dict(), sort_keys=True)  # last stride, size and more are in no weights
    return " ".join((code, feature, state_digest(system), data, recipe))


def _kept(file: Path, key: str) -> list[torch.Tensor] | None:
    try:
        with np.load(file) as kept:
            return [torch.from_numpy(kept[name]) for name in "qg"] if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent, cut off, or of another kind
        return None
