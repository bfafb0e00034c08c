"""AlignGAN part by part: the table of the models of two modalities, what each part gains, and two measures of pixels.

The test of pixel alignment: an encoder that was trained on infrared images only searches for infrared probes in a
gallery of visible images, of the same images in grey, of the same translated to infrared by AlignGAN's generator and,
where the set is drawn, of the true infrared pictures, and of what a perfect translator could make of the colours.
Encoder and generator are those of one AlignGAN run after its second phase, which does not train the encoder, or at its
end. The error of a translation is its mean distance from the true infrared picture. Both are measured in the worlds of
`KNOB`, along which brightness in the dark follows less and less from colour.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reidlib.data import Shots, Split, load
from reidlib.data.augment import MEAN, STD, normalise
from reidlib.data.images import decode
from reidlib.evaluation import sysu
from reidlib.evaluation.sysu import SysuScores
from reidlib.files import project, write_csv
from reidlib.recipe import Recipe
from reidlib.runs.results import collect, of_run, row_of, run_folder
from reidlib.studies.gains import Gain, paired
from reidlib.studies.published import MEASURES, of_seeds
from reidlib.studies.trainings import finished, others
from reidlib.systems import System
from reidlib.systems.aligngan import AlignGAN
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

MODELS = {  # the rows of results/rgb_infrared.csv: name -> model and tricks
    "baseline": ("bot", "all"),
    "channel augmentation": ("bot", "all+channels"),
    "pixels alone": ("aligngan", "all-features"),
    "features alone": ("aligngan", "all-pixels"),
    "AlignGAN": ("aligngan", "all"),
}
PAIRS = (  # what each part gains: with it, without it
    ("channel augmentation", "baseline"), ("features alone", "baseline"), ("AlignGAN", "baseline"),
    ("AlignGAN", "features alone"), ("AlignGAN", "pixels alone"),
)  # fmt: skip
KNOB = {  # data set: how the brightness of clothes in the dark follows from their colour
    "toy-sysu:copied=1": "grey copy", "toy-sysu:copied=0.5": "half", "toy-sysu": "fabrics",
    "toy-sysu:fabrics=0": "unrelated",
}  # fmt: skip
SEEDS = (1, 2, 3, 4, 5)
COLUMNS = (
    "dataset", "seed", "epoch", "gallery", "test", "error", "rank1", "rank10", "mAP", "mINP", "rank1_sd", "mAP_sd",
    "probes", "draw", "feature", "flip", "reranking", "device", "torch", "source", "commit",
)  # fmt: skip


def grey(images: Tensor) -> Tensor:
    """Normalised images (B, 3, H, W) in grey, by the weights of ITU-R BT.601."""
    mean, std, weights = (
        torch.tensor(x, device=images.device)[:, None, None] for x in (MEAN, STD, (0.299, 0.587, 0.114))
    )
    return (((images * std + mean) * weights).sum(1, keepdim=True) - mean) / std


def end_of_pixels(recipe: Recipe) -> int:
    """The last epoch of the second phase."""
    return sum(recipe.phase_lengths[:2])


def drawn(dataset: str) -> bool:
    """Whether a data set is drawn: then its visible pictures can be drawn in infrared, too."""
    return dataset.partition(":")[0] == "toy-sysu"


def translated(dataset: str = "toy-sysu") -> str:
    """The name of a drawn set whose cameras of the day record infrared too, at the same moments: the upper bound."""
    kind, _, words = dataset.partition(":")
    return f"{kind}:{','.join(filter(None, (words, 'translated=1')))}"


def planned(dataset: str = "toy-sysu") -> list[Recipe]:
    """The runs of `make cross`: all of `MODELS` with each seed and, on a drawn set, the baseline's upper bound."""
    kinds = [(dataset, *kind) for kind in MODELS.values()]
    kinds += [(translated(dataset), *MODELS["baseline"])] if drawn(dataset) else []
    return [
        Recipe.for_dataset(name, tricks=tricks, seed=seed, model=model)
        for name, model, tricks in kinds
        for seed in SEEDS
    ]


def true_infrared(dataset: str = "toy-sysu") -> Shots:
    """The gallery of a drawn set as infrared cameras would have recorded it at the same moments, in the same order."""
    return load(translated(dataset)).gallery


def usual_infrared() -> Shots:
    """The gallery of toy-sysu as `true_infrared`, but each garment as bright as the usual fabric of its dye is.

    It is what a perfect translation could make of visible pictures: they show dyes.
    """
    return true_infrared("toy-sysu:fabrics=1")


def align(
    system: System, split: Split, true: Shots | None = None, usual: Shots | None = None, later: AlignGAN | None = None
) -> dict[str, SysuScores]:
    """The scores of the test, all-search and single-shot, by gallery: "visible", "grey", "generated", then those given.

    true, usual: `true_infrared` and `usual_infrared` of a drawn set; None where there is none. later: the same run at
    its end, for the gallery "final": its pictures, searched by the encoder of `system`. Raises ValueError for a system
    other than an AlignGAN whose generators have begun to learn.
    """
    system = with_generators(system)
    q, changes = embed(system, split.query), translations(system) | ({"final": later.to_infrared} if later else {})
    galleries = {name: embed(system, split.gallery, through=change) for name, change in changes.items()}
    for name, shots in (("usual", usual), ("true", true)):
        if shots is not None:
            galleries[name] = embed(system, shots, through=lambda images: images)
    return {name: sysu.score(q, g, split.query, split.gallery) for name, g in galleries.items()}


def with_generators(system: System) -> AlignGAN:
    if not isinstance(system, AlignGAN) or int(system.phase) == 0 or not system.recipe.pixels:
        last = end_of_pixels(system.recipe)
        raise ValueError(f"the test needs an AlignGAN with trained generators; restore it after {last} epochs or later")
    return system


def translations(system: AlignGAN) -> dict[str, Callable[[Tensor], Tensor]]:
    """What a visible image may become before it is searched, from normalised images (B, 3, H, W) to such images."""
    return {"visible": lambda images: images, "grey": grey, "generated": system.to_infrared}


def errors(system: AlignGAN, seen: Shots, true: Shots) -> dict[str, float]:
    """The mean absolute difference of "grey" and "generated" from the true infrared pictures, in shares of full light.

    Both sides are compared in grey, at the size that the system sees. ValueError where they show other moments.
    """
    if not np.array_equal(seen.paths, true.paths):
        raise ValueError(f"{true.root} does not hold the pictures of {seen.root} under the same names")
    found = dict.fromkeys(("grey", "generated"), 0.0)
    for images, right in zip(_batches(system, seen), _batches(system, true), strict=True):
        for name in found:
            difference = light(translations(system)[name](images)) - light(right)
            found[name] += float(difference.abs().mean()) * len(images) / len(seen)
    return found


def _batches(system: System, shots: Shots, size: int = 256) -> Iterator[Tensor]:
    for start in range(0, len(shots), size):
        images = normalise(decode(shots[start : start + size].files(), system.recipe.size, system.recipe.resize))
        yield images.to(system.ids.device)


def light(images: Tensor) -> Tensor:
    """Normalised images as grey levels between 0 and 1, (B, H, W)."""
    mean, std = (torch.tensor(x, device=images.device)[:, None, None] for x in (MEAN, STD))
    return (grey(images) * std + mean)[:, 0].clamp(0, 1)


def rows(system: AlignGAN, split: Split, true: Shots | None = None, *more: Any) -> list[dict]:
    """The rows of results/pixel_alignment.csv for one run; `more` and true as in `align`."""
    epoch = system.recipe.epochs if int(system.phase) == 2 else end_of_pixels(system.recipe)
    far = errors(system, split.gallery, true) | {"true": 0.0} if true is not None else {}
    table = []
    for name, scores in align(system, split, true, *more).items():
        known = {"epoch": epoch, "test": "all single", "gallery": name, "probes": scores.num_valid}
        error = round(far[name], 4) if name in far else None
        table.append(row_of(system, scores, COLUMNS, **known, error=error))
    return table


def gains(rows: list[dict], dataset: str = "toy-sysu") -> list[Gain]:
    """What the generated gallery gains over the visible and the grey one in rank-1 and mAP: four comparisons.

    rows: of results/pixel_alignment.csv. Raises ValueError as `paired` and `one_a_seed` do.
    """

    def of(gallery: str, metric: str) -> dict[int, float]:
        return of_seeds(rows, metric, dataset=dataset, gallery=gallery)

    return [
        paired(f"{words}, generated - {name}", of("generated", metric), of(name, metric), of=4)
        for metric, words in MEASURES.items()
        for name in ("visible", "grey")
    ]


def parts(
    rows: list[dict], dataset: str = "toy-sysu", test: str = "all single", metric: str = "mAP", of: int = len(PAIRS)
) -> dict[str, Gain]:
    """What each part gains, over paired seeds: the comparisons of `PAIRS` on one data set, by their names.

    rows: of results/rgb_infrared.csv; a comparison of fewer than two seeds is left out. The intervals allow for `of`.
    """
    here = {"dataset": dataset, "test": f"{dataset} {test}"}
    sides = {name: of_seeds(rows, metric, **here, model=model, tricks=t) for name, (model, t) in MODELS.items()}
    compared = {f"{a} - {b}": (sides[a], sides[b]) for a, b in PAIRS}
    return {name: paired(name, *pair, of=of) for name, pair in compared.items() if len(pair[0].keys() & pair[1]) > 1}


def pixel_rows(recipes: list[Recipe], usual: Shots | None = None, at_end: bool = False) -> list[dict]:
    """The test with the finished runs of these recipes, after their second phase, or also at their end."""
    table = []
    for recipe in recipes:
        run, true = run_folder(recipe), true_infrared(recipe.dataset) if drawn(recipe.dataset) else None
        early, split = with_generators(restore(run, end_of_pixels(recipe))), load(recipe.dataset)
        late = with_generators(restore(run, recipe.epochs)) if at_end else None
        for system, more in ((early, late), (late, None)):
            table += of_run(run, rows(system, split, true, usual, more)) if system else []
    return table


def main(*datasets: str) -> None:
    """Collect the runs of `make cross` in results/rgb_infrared.csv and do the test with those of AlignGAN.

    datasets: those of `KNOB` by default; "float32": the runs in float32 on toy-sysu, and the test with them, twice.
    """
    base, exact = project() / "results", datasets == ("float32",)
    names = ("toy-sysu",) if exact else datasets or tuple(KNOB)
    runs = [recipe for name in names for recipe in planned(name)]
    if exact:
        kinds = [("toy-sysu", *MODELS[name]) for name in ("baseline", "channel augmentation", "AlignGAN")]
        runs = [run.replace(precision="float32") for run in runs if (run.dataset, run.model, run.tricks) in kinds]
    results = collect(*finished(map(run_folder, runs), "make cross"))
    whole = [recipe for recipe in runs if (recipe.model, recipe.tricks) == MODELS["AlignGAN"]]
    table = pixel_rows(whole, usual_infrared() if exact else None, at_end=exact)
    files = [f"{name}{'_float32' * exact}.csv" for name in ("rgb_infrared", "pixel_alignment")]
    for found, file in zip((results, table), files, strict=True):  # not before: a changed file would mark the commit
        sets = {*datasets, *map(translated, datasets)} if datasets and not exact else ()
        write_csv(others(base / file, sets) + found, base / file)
    for name in names:
        early = [row for row in table if row["epoch"] == end_of_pixels(whole[0])]
        print(name, *parts(results, name).values(), *gains(early, name), sep="\n")


if __name__ == "__main__":  # python -m reidlib.studies.alignment [sysu | float32]
    main(*sys.argv[1:])
