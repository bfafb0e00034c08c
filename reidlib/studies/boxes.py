"""What strips, refined parts and the Bag of Tricks are worth in bad boxes, with the controls that tell why.

The knob is the error of the detector's boxes. Each pair of `PAIRS` differs in one thing: six strips against six heads
that all see the whole person; refined parts against strips, at the same learning rates; and, as whole recipes, refined
parts against the Bag of Tricks. The rows are results/toy_boxes.csv; `python -m reidlib.studies.boxes` makes those that
are missing, in float32, and goes on where it was stopped.
"""

from collections.abc import Iterable

from torch import Tensor

from reidlib.recipe import Recipe
from reidlib.studies.gains import Gain, paired
from reidlib.studies.trainings import SEEDS, by_key, key, measured
from reidlib.systems.pcb import PCB, PCBRecipe

TABLE = "toy_boxes.csv"
ERRORS = (0, 1.5, 3)  # World.boxes; the ordinary toy has 0.8
WHOLE = "reidlib.studies.boxes:WholePerson"
ARMS = ("six heads, no strips", "strips", "strips, higher rates at the end", "refined", "Bag of Tricks")
PAIRS = (("strips", ARMS[0]), ("refined", ARMS[2]), ("refined", "strips"), ("refined", "Bag of Tricks"))
COMPARED = len(PAIRS) * len(ERRORS)


class WholePerson(PCB):
    """PCB whose six parts are the same: each head gets the mean of the whole map. Its feature is as long as PCB's."""

    def pooled(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) to six equal features of the whole map (B, P, C)."""
        last, _ = self.maps(images)
        return last.mean((2, 3))[:, None].expand(-1, len(self.heads), -1)


def recipe(arm: str, errors: float, seed: int) -> Recipe:
    """The recipe of an arm of `ARMS` at one error of the boxes. ValueError for an unknown arm."""
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; choose one of {', '.join(ARMS)}")
    model = {ARMS[0]: WHOLE, "Bag of Tricks": "bot"}.get(arm, "pcb")
    tricks = "all+rpp" if arm == "refined" else "all"
    found = Recipe.for_dataset(f"toy:boxes={errors:g},alike=0.4", tricks=tricks, seed=seed, model=model)
    found = found.replace(precision="float32", checkpoint_every=found.epochs)
    if arm == ARMS[2] and isinstance(found, PCBRecipe):  # those of the refinement, in its epochs
        found = found.replace(milestones=(found.epochs - sum(found.rpp_epochs),), gamma=found.rpp_rate)
    return found


def plan(seeds: Iterable[int] = SEEDS) -> dict[Recipe, tuple[str, ...]]:
    """All trainings, each tested in the world of its training; a seed is complete before the next begins."""
    recipes = [recipe(arm, errors, seed) for seed in seeds for arm in ARMS for errors in ERRORS]
    return {each: (each.dataset,) for each in recipes}


def scores(rows: list[dict], arm: str, errors: float, metric: str = "mAP") -> dict[int, float]:
    """What the seeds of an arm reach at one error of the boxes: seed -> percent. rows: of results/toy_boxes.csv."""
    found = by_key(rows, metric)
    wanted = {seed: recipe(arm, errors, seed) for seed in sorted({row["seed"] for row in rows})}
    keys = {seed: key(each, each.dataset) for seed, each in wanted.items()}
    return {seed: found[k] for seed, k in keys.items() if k in found}


def gains(rows: list[dict], metric: str = "mAP") -> dict[tuple[str, str], dict[float, Gain]]:
    """The differences of each of `PAIRS` at each error, seed by seed; the intervals allow for all `COMPARED`.

    Raises ValueError as `paired` does.
    """
    found: dict[tuple[str, str], dict[float, Gain]] = {pair: {} for pair in PAIRS}
    for (a, b), at in found.items():
        for errors in ERRORS:
            sides = scores(rows, a, errors, metric), scores(rows, b, errors, metric)
            at[errors] = paired(f"{a} - {b}, {errors:g}", *sides, of=COMPARED)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing of results/toy_boxes.csv, a row for each training, and print the gains."""
    rows = measured(plan, TABLE, "boxes", main.__doc__, arguments)
    if len({row["seed"] for row in rows}) > 1:
        for pair, at in gains(rows).items():
            print("\n" + " - ".join(pair), *at.values(), sep="\n  ")


if __name__ == "__main__":  # python -m reidlib.studies.boxes [--dry-run]
    main()
