"""The effect of AlignGAN's pixel alignment in one test, and the table of the models of two modalities.

The test: an encoder that was trained on infrared images only searches for infrared probes in a gallery of visible
images, of the same images in grey, and of the same images translated to infrared by AlignGAN's generator. Encoder and
generator are those of one AlignGAN run after its second phase, which does not train the encoder.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from reidlib.data import Split, load
from reidlib.data.augment import MEAN, STD
from reidlib.evaluation import sysu
from reidlib.evaluation.sysu import SysuScores
from reidlib.files import few, project, write_csv
from reidlib.provenance import code_of, environment
from reidlib.recipe import Recipe
from reidlib.runs.results import collect, of_run, origin_columns, run_folder, score_columns
from reidlib.studies.ladder import Gain, paired
from reidlib.studies.published import one_a_seed
from reidlib.systems import System
from reidlib.systems.aligngan import AlignGAN
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

MODELS = (("bot", "all"), ("bot", "all+channels"), ("aligngan", "all"))  # the rows of results/rgb_infrared.csv
SEEDS = (1, 2, 3)
COLUMNS = (
    "dataset", "seed", "epoch", "gallery", "test", "rank1", "rank10", "mAP", "mINP", "rank1_sd", "mAP_sd", "probes",
    "draw", "feature", "flip", "reranking", "device", "torch", "source", "commit",
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


def align(system: System, split: Split) -> dict[str, SysuScores]:
    """The scores of the test, all-search and single-shot, with the gallery "visible", "grey" and "generated".

    Raises ValueError for a system other than an AlignGAN in its second phase.
    """
    if not isinstance(system, AlignGAN) or int(system.phase) != 1:
        raise ValueError(
            "the test needs an AlignGAN with trained generators and an encoder that knows real infrared images only; "
            f"restore it after {end_of_pixels(system.recipe)} epochs"
        )
    translations: dict[str, Callable[[Tensor], Tensor]] = {
        "visible": lambda images: images, "grey": grey, "generated": system.to_infrared,
    }  # fmt: skip
    q = embed(system, split.query)
    return {
        name: sysu.score(q, embed(system, split.gallery, through=translation), split.query, split.gallery)
        for name, translation in translations.items()
    }


def rows(system: System, split: Split) -> list[dict]:
    """The rows of results/pixel_alignment.csv for one run."""
    recipe, table = system.recipe, []
    origin = recipe.to_dict() | origin_columns(environment(*code_of(system)))
    origin |= {"epoch": end_of_pixels(recipe), "test": "all single"}
    for name, scores in align(system, split).items():
        known = origin | score_columns(scores, recipe, system.flip) | {"gallery": name, "probes": scores.num_valid}
        table.append({column: known[column] for column in COLUMNS})
    return table


def gains(rows: list[dict], dataset: str = "toy-sysu") -> list[Gain]:
    """What the grey and the generated gallery gain over the visible one in rank-1, mAP and mINP: six comparisons.

    rows: of results/pixel_alignment.csv. Raises ValueError as `paired` and `one_a_seed` do.
    """

    def of(gallery: str, metric: str) -> dict[int, float]:
        chosen = [row for row in rows if (row["dataset"], row["gallery"]) == (dataset, gallery)]
        return {row["seed"]: row[metric] for row in one_a_seed(chosen)}

    return [
        paired(f"{words}, {name} - visible", of(name, metric), of("visible", metric), of=6)
        for metric, words in (("rank1", "rank-1"), ("mAP", "mAP"), ("mINP", "mINP"))
        for name in ("grey", "generated")
    ]


def main(dataset: str = "toy-sysu") -> None:
    """Collect the runs of `make cross` in results/rgb_infrared.csv and do the test with those of AlignGAN."""
    base, split = project() / "results", load(dataset)
    runs = [
        Recipe.for_dataset(dataset, tricks=tricks, seed=seed, model=model) for model, tricks in MODELS for seed in SEEDS
    ]
    if undone := [recipe.name() for recipe in runs if not (run_folder(recipe) / "result.json").is_file()]:
        raise FileNotFoundError(f"no result of {few(undone)}; run make cross first")
    write_csv(collect(*(run_folder(recipe) for recipe in runs)), base / "rgb_infrared.csv")
    table = []
    for recipe in runs:
        if recipe.model == "aligngan":
            run = run_folder(recipe)
            table += of_run(run, rows(restore(run, end_of_pixels(recipe)), split))
    write_csv(table, base / "pixel_alignment.csv")
    for row in table:
        print(f"seed {row['seed']}  {row['gallery']:<9}  rank-1 {row['rank1']:.1f}  mAP {row['mAP']:.1f}")
    print(*(Path("results", name) for name in ("rgb_infrared.csv", "pixel_alignment.csv")))


if __name__ == "__main__":  # python -m reidlib.studies.alignment [toy-sysu]
    main(*sys.argv[1:])
