"""What the alignment of pixels does, by one stated test, and the table of the models of two modalities.

The test: an encoder that was trained on infrared images only looks for infrared probes in a gallery of visible images,
of the same images in grey, and of the same images turned into infrared by AlignGAN's generator. Encoder and generator
are those of one AlignGAN run after its second phase, in which the encoder rests.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from reidlib.data.augment import MEAN, STD
from reidlib.data.shots import load
from reidlib.evaluation import sysu
from reidlib.files import few, project, write_csv
from reidlib.provenance import environment
from reidlib.recipe import Recipe
from reidlib.runs.results import collect, run_folder
from reidlib.train.checkpoints import restore
from reidlib.train.embedding import embed

MODELS = (("bot", "all"), ("bot", "all+channels"), ("aligngan", "all"))  # the rows of results/rgb_infrared.csv
SEEDS = (1, 2, 3)


def grey(images: Tensor) -> Tensor:
    """Normalised images (B, 3, H, W) without their colours, by the weights of ITU-R BT.601."""
    mean, std, weights = (
        torch.tensor(x, device=images.device)[:, None, None] for x in (MEAN, STD, (0.299, 0.587, 0.114))
    )
    return (((images * std + mean) * weights).sum(1, keepdim=True) - mean) / std


def galleries(system) -> dict:
    """What visible images become before they are embedded, by name: each a function of (B, 3, H, W)."""
    return {"visible": lambda images: images, "grey": grey, "generated": system.to_infrared}


def align(system, split) -> dict:
    """The stated test: {"visible", "grey", "generated": SysuScores}, all-search, single-shot.

    `system` is an AlignGAN as restored after its second phase. Raises ValueError for one of another phase.
    """
    if int(system.phase) != 1:
        raise ValueError(
            f"the system is of phase {int(system.phase)}: the encoder has to know real infrared images only, and the "
            f"generators to be trained; restore it after {sum(system.recipe.phases)} epochs"
        )
    q = embed(system, split.query)
    shots = (split.query, split.gallery)
    return {
        name: sysu.score(q, embed(system, split.gallery, through=made), *shots)
        for name, made in galleries(system).items()
    }


def rows(system, split) -> list[dict]:
    """The rows of results/pixel_alignment.csv of one run, in percent."""
    recipe, made = system.recipe, environment(type(system).__module__)
    common = {"dataset": recipe.dataset, "seed": recipe.seed, "epoch": sum(recipe.phases)}
    last = {"feature": "pooled", "flip": "on", "reranking": "off"}
    last |= {name: made[name] for name in ("device", "torch", "source", "commit")}
    found = []
    for name, scores in align(system, split).items():
        percent = {"rank1": scores.rank(1), "rank10": scores.rank(10), "mAP": scores.mAP, "mINP": scores.mINP}
        percent |= {"rank1_sd": scores.spread("rank-1"), "mAP_sd": scores.spread("mAP")}  # over the trials
        percent = {key: round(100 * value, 2) for key, value in percent.items()}
        counts = {"probes": scores.num_valid, "draw": scores.draw}
        found.append(common | {"gallery": name, "test": "all single"} | percent | counts | last)
    return found


def main(dataset: str = "toy-sysu") -> None:
    """Collect the grid of `make cross` into results/rgb_infrared.csv, and do the test on its AlignGAN runs."""
    base, split = project() / "results", load(dataset)
    runs = [
        Recipe.for_dataset(dataset, tricks=tricks, seed=seed, model=model) for model, tricks in MODELS for seed in SEEDS
    ]
    if undone := [recipe.name() for recipe in runs if not (run_folder(recipe) / "result.json").is_file()]:
        raise FileNotFoundError(f"no result of {few(undone)}; make cross runs what is left")
    write_csv(collect(*(run_folder(recipe) for recipe in runs)), base / "rgb_infrared.csv")
    found = []
    for recipe in runs:
        if recipe.model == "aligngan":
            found += rows(restore(run_folder(recipe), sum(recipe.phases)), split)
    write_csv(found, base / "pixel_alignment.csv")
    for row in found:
        print(f"seed {row['seed']}  {row['gallery']:<9}  rank-1 {row['rank1']:.1f}  mAP {row['mAP']:.1f}")
    print(*(Path("results", name) for name in ("rgb_infrared.csv", "pixel_alignment.csv")))


if __name__ == "__main__":  # python -m reidlib.alignment [toy-sysu]
    main(*sys.argv[1:])
