"""What AlignGAN's generators made of the same people in the worlds of `alignment.KNOB`: figures/generated_worlds.jpg.

The runs are those of `make cross` with seed 1, after the phase that trains the generators alone. And the yardstick of
their errors: that of one picture for all.
"""

import numpy as np
import torch
from torch import Tensor

from reidlib.data import Shots, load
from reidlib.data.augment import MEAN, STD, normalise
from reidlib.data.images import decode
from reidlib.figures.sheets import image_grid
from reidlib.figures.style import Picture, save_figure
from reidlib.recipe import Recipe
from reidlib.runs.results import run_folder
from reidlib.studies.alignment import KNOB, end_of_pixels, light, true_infrared, with_generators
from reidlib.systems.aligngan import AlignGAN
from reidlib.train.checkpoints import restore


def plot_translations(systems: dict[str, AlignGAN], people: int = 3) -> Picture:
    """The visible image of some people, then what the generator of each world made of it and the truth; a row a person.

    systems: the name of a drawn set -> an AlignGAN that was trained there. The sets show the same images by day.
    """
    columns: list[Tensor] = []
    for name, system in systems.items():
        gallery = load(name).gallery
        first = np.array([np.flatnonzero(gallery.pids == pid)[0] for pid in gallery.ids[:people]])
        visible, true = (
            _images(system.recipe, shots[first]).to(system.ids.device) for shots in (gallery, true_infrared(name))
        )
        columns += [] if columns else [visible]
        columns += [system.eval().to_infrared(visible), true]
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))
    images = torch.stack([column.cpu() * std + mean for column in columns], 1).flatten(0, 1)  # (people * columns, ...)
    pixels = (255 * images.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).numpy()
    captions = [("", "visible"), *((KNOB[name], kind) for name in systems for kind in ("generated", "true"))]
    title = "The same people in four worlds: generated, and true infrared"
    return image_grid(pixels, captions * people, len(columns), title)


def error_of_the_mean(dataset: str, every: int = 1) -> float:
    """The error of one picture in place of every translation: the mean of the infrared images of the training set.

    Against the true infrared gallery of a drawn set, or one of `every` so many images of it, as `alignment.errors`
    measures it: the mean absolute difference in grey, in shares of full light. A translation with a larger error may
    still have learned something, but the error does not show it.
    """
    train, recipe = load(dataset).train, Recipe.for_dataset(dataset, model="aligngan")
    learned = light(_images(recipe, train[train.infrared])).mean(0)  # (H, W)
    true = true_infrared(dataset)
    return float((light(_images(recipe, true[np.arange(0, len(true), every)])) - learned).abs().mean())


def _images(recipe: Recipe, shots: Shots) -> Tensor:
    """Normalised images (N, 3, H, W) at the size that AlignGAN sees."""
    return normalise(decode(shots.files(), recipe.size, recipe.resize))


def main() -> None:
    """Draw the figure from the finished runs of `make cross`."""
    recipes = {name: Recipe.for_dataset(name, model="aligngan") for name in KNOB}
    runs = {name: restore(run_folder(recipe), end_of_pixels(recipe)) for name, recipe in recipes.items()}
    systems = {name: with_generators(system) for name, system in runs.items()}
    print(save_figure(plot_translations(systems), "generated_worlds"))


if __name__ == "__main__":  # python -m reidlib.studies.translations
    main()
