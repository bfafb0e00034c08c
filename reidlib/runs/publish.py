"""Make one file of a finished run for others to embed with, and a card beside it: python -m reidlib.publish RUN.

Large tensors are stored in half precision; small ones, and those with a number too large for it, stay in full. Whole
numbers stay too, such as the phase of AlignGAN. What has a size of the number of identities is left out: pids,
classifiers, centers.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from scipy.special import stdtrit
from torch import Tensor
from torch.nn import functional as F

from reidlib.files import made, write_whole
from reidlib.models import facts
from reidlib.recipe import Recipe
from reidlib.runs.command import stoppable
from reidlib.runs.results import collect, without_paths
from reidlib.systems import System
from reidlib.systems.weights import HEADER, described
from reidlib.train.checkpoints import restore
from reidlib.train.pretrained import FORMAT, SUFFIX, assembled, headless

KEPT = ("data", "weights", "system", "epoch", "iterations", "seconds", "precision", "tests", "environment", "date")
# Tensors of at most so many numbers stay in full: statistics and first layers, where rounding shows if a channel varies
# little about a large mean. After 12 epochs of a MobileNetV2 on Market-1501 the least cosine of 421 queries in half and
# in full precision was 0.9993 with none of them in full, and 0.999998 with these, which take 0.2 MB.
SMALL = 4096
ALIKE = 0.999  # the least such cosine that is published
SAME = ("data", "weights", "epoch", "system", "tests")
RULES = ("reranking", "flip", "same_camera", "draw", "feature")
CARD = Path(__file__).with_name("card.md")


def publish(runs: Sequence[str | Path], name: str, folder: str | Path, licence: str, about: str = "") -> list[Path]:
    """Write `folder`/`name`.safetensors, the model of the first run, and `name`.md, its card; returns both paths.

    Parameters
    ----------
    runs : folders of finished runs; those after the first, which differ from it in the seed alone, show the spread
    name : of the model
    licence : the terms under which others may use the model, in a sentence
    about : paragraphs in Markdown on the people and the places in the training images

    Raises
    ------
    ValueError : no run, or a result.json that cannot be read; runs that differ in more than the seed, or of one seed;
        weights that are not finite, or that half precision changes
    FileNotFoundError, FileExistsError : a run is not finished; there is a file of that name
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(f"name {name!r}: write letters and digits, with - _ . or + between them")
    files = [Path(folder, f"{name}{ending}") for ending in (SUFFIX, ".md")]
    made(Path(folder), "folder")
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} exists; delete it, or choose another name or folder")
    results = [_result(Path(run)) for run in runs]
    if not results:
        raise ValueError("no run to publish; give a list with the folder of at least one")
    for run, result in zip(runs[1:], results[1:], strict=True):
        _refuse_other(run, results[0], result)
    if len({result["recipe"]["seed"] for result in results}) < len(results):
        raise ValueError(f"{', '.join(map(str, runs))}: two have one seed; their means would count it twice")
    system = restore(runs[0], results[0]["epoch"], "cpu")
    tensors, recipe = _halved(system), without_paths(system.recipe)
    said = {key: results[0][key] for key in KEPT} | {"format": FORMAT, "name": name, "licence": licence}
    said |= {"recipe": recipe.to_dict(), "identities": len(system.ids), "cosine": _cosine(system, tensors)}
    said |= {"scores": {str(result["recipe"]["seed"]): result["scores"] for result in results}}
    content = save(tensors, {HEADER: described(said, tensors)})
    text = card(said, recipe, [collect(run) for run in runs], len(content), about)
    write_whole(files[0], content)
    write_whole(files[1], text.encode())
    return files


def card(said: dict[str, Any], recipe: Recipe, rows: list[list[dict]], size: int, about: str) -> str:
    """The card in Markdown: what the header says of a model, the rows of each of its runs, bytes, and `about`."""
    words = recipe.to_dict() | said | said["environment"] | {"start": recipe.weights, "table": _table(rows)}
    words |= {"label": getattr(facts(recipe.model), "LABEL", recipe.model)}
    words |= {"size": f"{size / 1e6:.1f} MB", "hours": f"{said['seconds'] / 3600:.1f}"}
    words |= {"changes": "; ".join(f"{key} {here}" for key, (here, _) in recipe.changes().items()) or "none"}
    words |= {"about": about.strip() or "Who made this model wrote nothing about its training images: ask."}
    return CARD.read_text("utf-8").format_map(words)


def _table(runs: list[list[dict]]) -> str:
    """A line for each test set: percentages of the first run, and means over all runs."""
    means = [f"mean {name}, {len(runs)} run{'s' * (len(runs) > 1)}" for name in ("rank-1", "mAP")]
    cells = [["test", "queries", "re-ranking", "rank-1", "mAP", "mINP", *means], ["---"] * 8]
    for row in runs[0]:
        same = [other for run in runs for other in run if other["test"] == row["test"]]
        own = [f"{row[name]:.1f}" for name in ("rank1", "mAP", "mINP")]
        spreads = [_spread([other[name] for other in same]) for name in ("rank1", "mAP")]
        rules = {"same camera kept": row.get("same_camera") == "keep", "mirror images averaged": row["flip"] == "on"}
        test = ", ".join([row["test"], *(words for words, holds in rules.items() if holds)])
        cells.append([test, f"{row['queries']:,}", row["reranking"], *own, *spreads])
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return "one run"
    half = stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.1f} ± {half:.1f}"


def _result(run: Path) -> dict[str, Any]:
    if not (file := run / "result.json").is_file():
        raise FileNotFoundError(f"{run}: no result.json; the run is not finished: train and test it to the end first")
    try:
        result = json.loads(file.read_text("utf-8"))
        Recipe.from_dict(result["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read ({error!r}); test the run again") from None
    return result


def _refuse_other(run: str | Path, first: dict[str, Any], result: dict[str, Any]) -> None:
    """Raise ValueError for the result of a run that differs from the first in more than the seed."""
    found = Recipe.from_dict(first["recipe"]).differences(Recipe.from_dict(result["recipe"]))
    one, other = _shared(first), _shared(result)
    found |= {key: (one.get(key), other.get(key)) for key in one | other if one.get(key) != other.get(key)}
    found.pop("seed", None)
    for key, (one, other) in found.items():
        raise ValueError(f"{run}: {key} is {other!r}, {one!r} in the first run; give runs of other seeds alone")


def _shared(result: dict[str, Any]) -> dict[str, Any]:
    """What runs that differ in the seed alone have in common: what they were trained by and on, and how tested."""
    rules = {f"{test}, {rule}": scores.get(rule) for test, scores in result["scores"].items() for rule in RULES}
    return {key: result[key] for key in SAME} | {"source": result["environment"]["source"]} | rules


def _halved(system: System) -> dict[str, Tensor]:
    """What is stored of a system."""
    state = system.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor) or not value.isfinite().all():
            raise ValueError(f"{name!r} holds NaN or infinity, or is no tensor: this model cannot be published")
    kept = [name for name, value in headless(system.recipe, "cpu").state_dict().items() if value.numel()]
    return {name: _stored(state[name]).contiguous() for name in kept}


def _stored(value: Tensor) -> Tensor:
    half = value.half() if value.is_floating_point() and value.numel() > SMALL else value
    return half if half.isfinite().all() else value


def _cosine(system: System, tensors: dict[str, Tensor]) -> float:
    """The least cosine between embeddings by a system and by these weights, of 64 images of two colours, one below.

    Such images show rounding as people in clothes do; on plain noise it is hardly seen.
    """
    colours = torch.randn(64, 3, 2, 1, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(colours, system.recipe.size, mode="bilinear")
    full, half = (each.embed(images).double() for each in (system, assembled(system.recipe, tensors, "cpu")))
    if not (cosine := float(F.cosine_similarity(full, half).min())) >= ALIKE:
        raise ValueError(f"half precision changes the embeddings of this model: {cosine:.4f} is a cosine with the full")
    return round(cosine, 7)


def main(arguments: list[str] | None = None) -> None:
    """Make one .safetensors file of a finished run, in half precision and without its classifier, and a card beside it.

    rl.pretrained("FOLDER/NAME.safetensors") reads it, on a machine without the data too.
    """
    made = argparse.ArgumentParser(prog="python -m reidlib.publish", description=main.__doc__)
    runs = "the folder of a finished run; further ones, of other seeds, show the spread of its scores in the card"
    made.add_argument("run", nargs="+", metavar="RUN", help=runs)
    made.add_argument("--name", required=True, help="of the model: the name of the file and the title of the card")
    made.add_argument("--out", default=".", metavar="FOLDER", help="where both files go; default: the current folder")
    terms = "the terms under which others may use the model, in a sentence"
    made.add_argument("--licence", required=True, metavar="TEXT", help=terms)
    people = "a Markdown file for the card: who is in the training images, where, and whether they agreed"
    made.add_argument("--about", metavar="FILE", help=people)
    given = made.parse_args(arguments)
    try:
        about = Path(given.about).read_text(encoding="utf-8") if given.about else ""
        file, page = publish(given.run, given.name, given.out, given.licence, about)
    except UnicodeDecodeError as error:
        made.error(f"--about {given.about} is no text in UTF-8 ({error}); save it as UTF-8")
    except (ValueError, OSError) as error:
        made.error(str(error))
    print(f"{page.read_text('utf-8')}\n{file} ({file.stat().st_size / 1e6:.1f} MB) and {page} are written")


if __name__ == "__main__":
    sys.exit(stoppable(main))
