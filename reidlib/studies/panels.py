"""Why each trick should help, and the knob that the reason speaks of: the panels of `reidlib.studies.worlds`."""

from dataclasses import dataclass
from typing import Any

from reidlib.recipe import Recipe
from reidlib.toy import World


@dataclass(frozen=True)
class Panel:
    """One trick along one knob.

    `train` and `test` are worlds in words, in which {} stands for the setting; a test of None is in the world of the
    training. `field` is the field of the recipe that holds the setting. `sides` are the tricks with and without it.
    `expected` is 1 if by the reason the gain grows with the knob, -1 if it shrinks.
    """

    trick: str
    reason: str
    knob: str
    settings: tuple[float, ...]
    sides: tuple[str, str]
    expected: int
    train: str = ""
    test: str | None = None
    field: str = ""
    model: str = "bot"
    without: tuple[tuple[str, Any], ...] = ()  # fields of the side without the trick
    names: tuple[tuple[float, str], ...] = ()  # settings that have a name
    title: str = ""  # in the figure, of a trick with several panels

    def recipe(self, setting: float, on: bool, seed: int) -> Recipe:
        """The recipe of one training, with or without the trick."""
        recipe = Recipe.for_dataset(_set(self.train, setting), tricks=self.sides[not on], seed=seed, model=self.model)
        recipe = lengthened(recipe, int(setting) if self.field == "epochs" else recipe.epochs)
        changes = {self.field: setting} if self.field not in ("", "epochs") else {}
        return recipe.replace(**changes, **({} if on else dict(self.without)))

    def label(self, setting: float) -> str:
        """A setting in the figure."""
        return dict(self.names).get(setting, f"{setting:g}")

    def tested(self, setting: float) -> str:
        """The data set of the test."""
        return _set(self.train if self.test is None else self.test, setting)


CROWD = "alike=0.4"  # the world of a panel that turns no knob of the crowd
PANELS = (
    Panel(
        "warm-up",
        "The first steps of a fresh network lead nowhere in particular: taken small they do no harm, and the larger "
        "the learning rate, the more harm there is to prevent.",
        "learning rate", (5e-4, 2e-3, 5e-3, 2e-2), ("all", "all-warmup"), 1, CROWD, field="lr",
    ),
    Panel(
        "random erasing",
        "Whoever has learned people with a piece missing knows them by the rest: it should help to find people behind "
        "something, and more the more it hides.",
        "size of what hides every query", (0.2, 0.7, 1.2, 2.0), ("all", "all-erasing"), 1,
        f"{CROWD},hidden_train=0", f"{CROWD},hidden_query=1,obstacle={{}}", title="random erasing, hidden queries",
    ),
    Panel(
        "random erasing",
        "Erasing makes each picture another one every time: that slows learning, and later keeps the network from "
        "learning the pictures by heart.",
        "epochs of training", (5, 10, 20, 40), ("all", "all-erasing"), 1, CROWD, field="epochs",
        title="random erasing, epochs",
    ),
    Panel(
        "label smoothing",
        "No label is believed entirely: that should help where labels are wrong.",
        "share of wrong labels", (0.0, 0.15, 0.3, 0.5), ("all", "all-smoothing"), 1, f"{CROWD},wrong_labels={{}}",
    ),
    Panel(
        "last stride 1",
        "A last map of twice the height and width keeps details that a coarser one averages away: it should help where "
        "only details tell people apart, and more the smaller they are.",
        "size of the details", (0.4, 0.7, 1.2, 2.0), ("all", "all-stride"), -1, "alike=0.8,details={}",
    ),
    Panel(
        "BNNeck",
        "The classifier goes by the angle between features, the triplet loss by their distance: the neck gives each a "
        "space of its own. It should help only beside a triplet loss, and more the harder that pulls.",
        "margin of the triplet loss", (-100.0, 0.3, 2.0, 8.0), ("all", "all-bnneck"), 1, CROWD, field="margin",
        names=((-100.0, "no loss"),),
    ),
    Panel(
        "center loss",
        "It draws all pictures of a person to one point: that should help where they look different, as through "
        "cameras that see light and colour differently.",
        "differences between cameras", (0.0, 1.0, 2.0, 3.0), ("all+center", "all"), 1, f"{CROWD},cameras={{}}",
    ),
    Panel(
        "PCB's parts",
        "Strips at fixed heights compare heads with heads and shoes with shoes: that should help as long as the boxes "
        "are precise.",
        "errors of the boxes", (0.0, 1.5, 3.0, 5.0), ("all", "all"), -1, f"{CROWD},boxes={{}}", model="pcb",
        without=(("parts", 1),),
    ),
    Panel(
        "RPP",
        "Refined parts follow the body where strips cannot: that should help where boxes are not precise.",
        "errors of the boxes", (0.0, 1.5, 3.0, 5.0), ("all+rpp", "all"), 1, f"{CROWD},boxes={{}}", model="pcb",
    ),
)  # fmt: skip


def lengthened(recipe: Recipe, epochs: int) -> Recipe:
    """The same schedule of learning rates in another number of epochs."""
    share = epochs / recipe.epochs
    milestones = tuple(round(share * milestone) for milestone in recipe.milestones)
    warmup = round(share * recipe.warmup_epochs)
    return recipe.replace(epochs=epochs, milestones=milestones, warmup_epochs=warmup, checkpoint_every=epochs)


def _set(words: str, setting: float) -> str:
    """The data set of a world in words, in which {} stands for a setting."""
    return f"toy:{World.named(words.format(f'{setting:g}'))}".removesuffix(":")
