"""The world of a drawn crowd: a few knobs, each of which changes one thing in the pictures and leaves the rest."""

from dataclasses import Field, dataclass, field, fields
from typing import Self

TRAIN, TEST, QUERY = "bounding_box_train", "bounding_box_test", "query"  # the folders of Market's and Duke's layout
OCCLUSION = 0.10  # share of pictures with a pole, a bush, a bicycle or a passer-by in front
MOSTLY = 0.8  # share of garments of the usual fabric of their dye


def knob(default: float, least: float, most: float, only: str = "") -> float:
    """A field of `World`; `only` says which networks have it: "colour" (market, duke), "infrared" (sysu), "" all."""
    return field(default=default, metadata={"least": least, "most": most, "only": only})


@dataclass(frozen=True)
class World:
    """What makes a drawn crowd easy or hard; `World()` is the crowd of `toy`.

    Each aspect has random numbers of its own: people, poses, cameras and places stay the same when another knob is
    turned. In words, as in "alike=0.5,boxes=3", it follows the name of a toy set: `load("toy:alike=0.5,boxes=3")`.

    Parameters
    ----------
    hidden_train, hidden_query
        Shares of the training pictures and of the queries with something in front. In the gallery it is 0.1 always.
    obstacle
        The size of what stands in front; 1 is that of a pole, a bush, a bicycle or a passer-by.
    boxes
        Errors of the detector: 0 centres every person, 2 often cuts off heads and feet.
    images
        Training pictures, as a multiple of the 11 to 17 that most people have. Each person keeps one at least.
    wrong_labels
        Share of the training pictures that carry the identity of somebody else.
    alike
        Share of people who wear the clothes, build and skin of somebody else and differ from them in details only:
        hair, print, shoes and bag.
    details
        The size of shoes, bags and prints; with 0.5 they are half as large.
    cameras
        How far the cameras differ in light, cast, contrast and colour, within a network and between networks: 0 not at
        all, 2 twice as far.
    fabrics
        Share of garments of the usual fabric of their dye, so that infrared brightness follows from colour.
    copied
        How far people keep the brightness of their colours in infrared: 0 only by their fabrics, 1 as a grey copy.
    translated
        Share of the pictures by day that are drawn in infrared instead, as a perfect translation would make them.

    Raises
    ------
    ValueError
        For a value outside its bounds.

    Examples
    --------
    >>> print(World(boxes=3, alike=0.5))
    boxes=3,alike=0.5
    >>> World.named("alike=0.5").alike
    0.5
    """

    hidden_train: float = knob(OCCLUSION, 0, 1, "colour")
    hidden_query: float = knob(OCCLUSION, 0, 1, "colour")
    obstacle: float = knob(1.0, 0.2, 4)
    boxes: float = knob(0.8, 0, 5)
    images: float = knob(1.0, 0.01, 8, "colour")
    wrong_labels: float = knob(0.0, 0, 0.9, "colour")
    alike: float = knob(0.0, 0, 0.9)
    details: float = knob(1.0, 0.2, 2)
    cameras: float = knob(1.0, 0, 3)
    fabrics: float = knob(MOSTLY, 0, 1, "infrared")
    copied: float = knob(0.0, 0, 1, "infrared")
    translated: float = knob(0.0, 0, 1, "infrared")

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, bounds = getattr(self, entry.name), entry.metadata
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"World: {entry.name}={value!r}; it must be a number")
            if not bounds["least"] <= value <= bounds["most"]:
                raise ValueError(f"World: {entry.name}={value}; choose from {bounds['least']} to {bounds['most']}")

    def __str__(self) -> str:
        return ",".join(f"{entry.name}={getattr(self, entry.name):g}" for entry in self._turned())

    @classmethod
    def named(cls, words: str) -> Self:
        """The world of words as `str` writes them. Raises ValueError for other words, with the knobs there are."""
        known, values = [entry.name for entry in fields(cls)], {}
        for word in filter(None, words.split(",")):
            name, _, number = word.partition("=")
            try:
                values[name] = float(number)
            except ValueError:
                raise ValueError(f"world {words!r}: write knob=number, not {word!r}, as in alike=0.5,boxes=3") from None
            if name not in known:
                raise ValueError(f"world {words!r}: no knob {name!r}; choose from {', '.join(known)}")
        return cls(**values)

    def check(self, network: str, infrared: bool) -> None:
        """Raise ValueError for a knob that was turned and that the network does not have."""
        for entry in self._turned():
            if entry.metadata["only"] == ("colour" if infrared else "infrared"):
                raise ValueError(f"World: the network {network} has no knob {entry.name}; leave it at {entry.default}")

    def hidden(self, folder: str) -> float:
        """The share of pictures with something in front in a folder of the layout."""
        return {TRAIN: self.hidden_train, QUERY: self.hidden_query}.get(folder, OCCLUSION)

    def _turned(self) -> list[Field[float]]:
        return [entry for entry in fields(self) if getattr(self, entry.name) != entry.default]


PLAIN = World()
