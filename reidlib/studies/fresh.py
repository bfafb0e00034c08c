"""Ten fresh seeds for one question: do generated pictures help a search where a translation can be learned?

In the world of grey copies the generated gallery was ahead of the visible one in all of five seeds, and the interval
held zero (results/pixel_alignment.csv). What was found by looking is tested on runs that had no part in it: other
seeds, in float32, trained to the end of the second phase and one epoch more, and compared as those before them. The
rows are results/pixel_alignment_fresh.csv.
"""

from reidlib.files import project, write_csv
from reidlib.recipe import Recipe
from reidlib.runs.results import run_folder
from reidlib.studies.alignment import MODELS, end_of_pixels, gains, pixel_rows
from reidlib.studies.trainings import finished

TABLE = "pixel_alignment_fresh.csv"
WORLD = "toy-sysu:copied=1"
SEEDS = range(6, 16)  # alignment.SEEDS are 1 to 5


def planned() -> list[Recipe]:
    """The runs: of each seed one, as short as a recipe with three phases can be."""
    model, tricks = MODELS["AlignGAN"]
    recipes = [Recipe.for_dataset(WORLD, tricks=tricks, seed=seed, model=model) for seed in SEEDS]
    return [recipe.replace(epochs=end_of_pixels(recipe) + 1, precision="float32") for recipe in recipes]


def main() -> None:
    """Test the runs of `make cross` and write results/pixel_alignment_fresh.csv."""
    finished(map(run_folder, planned()), "make cross")
    table = pixel_rows(planned())
    write_csv(table, project() / "results" / TABLE)
    print(*gains(table, WORLD), sep="\n")


if __name__ == "__main__":  # python -m reidlib.studies.fresh
    main()
