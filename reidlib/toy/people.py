"""The people: what they can wear, the wardrobe of each network, and identities that differ from each other."""

from dataclasses import asdict, dataclass, replace
from random import Random
from typing import TypeVar

from .cameras import NETWORKS
from .ink import COLOURS
from .world import MOSTLY, PLAIN, World

PEOPLE = 126  # identities of a network: a little over half are for training, the others for testing
PALETTE = 12  # number of colours of clothes: with fewer, more people look alike
DIFFERENCES = 5  # least number of attributes in which any two identities differ

DYES = tuple(COLOURS)[:16]
# attribute: its possible values. A wardrobe gives their odds.
ATTRIBUTES = {
    "skin": ("porcelain", "peach", "tan", "umber", "ebony"),
    "hair": ("black", "brown", "auburn", "blond", "silver"),
    "cut": ("short", "bald", "bob", "long", "ponytail", "bun", "curls", "cap", "beanie"),
    "build": ("slim", "regular", "broad"),
    "top": ("tee", "shirt", "hoodie", "jacket", "coat"),
    "top_colour": DYES,
    "pattern": ("plain", "stripes", "checks", "band", "logo"),
    "trim": DYES,  # stripes, logo, the shirt under a jacket, the hat
    "bottom": ("trousers", "jeans", "shorts", "skirt"),
    "bottom_colour": DYES,
    "shoes": DYES,
    "bag": ("none", "backpack", "shoulder bag", "handbag"),
    "bag_colour": DYES,
}


@dataclass(frozen=True)
class Person:
    """The looks of one identity: a value of `ATTRIBUTES` for each field."""

    skin: str = "peach"
    hair: str = "brown"
    cut: str = "short"
    build: str = "regular"
    top: str = "tee"
    top_colour: str = "blue"
    pattern: str = "plain"
    trim: str = "white"
    bottom: str = "jeans"
    bottom_colour: str = "navy"
    shoes: str = "white"
    bag: str = "none"
    bag_colour: str = "black"

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ValueError(f"Person: no {name} {getattr(self, name)!r}; choose one of {', '.join(values)}")

    def material(self, part: str) -> str:
        """The usual material of a part: top, thread (that of the top), trim, hat, bottom, shoes or bag."""
        return USUAL[{"top": self.top, "thread": self.top, "bottom": self.bottom}.get(part, part)]

    def visible(self) -> dict[str, str]:
        """The attributes that can be seen: not the colour of a bag that is not there, or the trim of a plain tee."""
        trimmed = self.pattern != "plain" or self.top in ("hoodie", "jacket", "coat") or self.cut in ("cap", "beanie")
        absent = {"hair": self.cut == "bald", "trim": not trimmed, "bag_colour": self.bag == "none"}
        return {name: getattr(self, name) for name in ATTRIBUTES if not absent.get(name)}


Wearer = TypeVar("Wearer", bound=Person)
# What a world makes alike in some people, and what still tells them apart.
LARGE = ("skin", "build", "top", "top_colour", "bottom", "bottom_colour", "top_material", "bottom_material")
DETAILS = ("hair", "cut", "pattern", "trim", "shoes", "bag", "bag_colour")

USUAL = {"tee": "cotton", "shirt": "cotton", "hoodie": "cotton", "jacket": "nylon", "coat": "wool", "jeans": "denim",
         "trousers": "cotton", "shorts": "cotton", "skirt": "cotton", "trim": "cotton", "hat": "wool",
         "shoes": "leather", "bag": "leather"}  # fmt: skip

TEXTILES = ("linen", "cotton", "denim", "wool", "polyester", "nylon", "leather")
# What each garment may be made of.
MATERIALS = {
    "tee": ("linen", "cotton", "polyester", "nylon"), "shirt": ("linen", "cotton", "denim", "nylon"),
    "hoodie": ("cotton", "wool", "polyester", "nylon"), "jacket": ("denim", "polyester", "nylon", "leather"),
    "coat": ("linen", "wool", "nylon", "leather"), "jeans": ("denim",),
    "trousers": ("linen", "cotton", "wool", "polyester", "leather"), "shorts": ("linen", "cotton", "denim", "nylon"),
    "skirt": ("linen", "cotton", "wool", "leather"), "trim": ("linen", "cotton", "wool", "polyester", "nylon"),
    "shoes": ("cotton", "polyester", "leather"), "bag": ("linen", "cotton", "nylon", "leather"),
}  # fmt: skip
# The usual fabric of a dye in this crowd. Because of this link a model can predict infrared brightness from colour; the
# order differs from that of light and dark. Without the link, colours would say nothing about the infrared image.
DYED = {
    "black": "cotton", "navy": "leather", "brown": "wool", "red": "linen", "purple": "nylon", "blue": "denim",
    "green": "polyester", "olive": "linen", "teal": "leather", "grey": "cotton", "orange": "nylon", "pink": "wool",
    "sky": "cotton", "beige": "linen", "yellow": "polyester", "white": "denim",
}  # fmt: skip


@dataclass(frozen=True)
class Clothed(Person):
    """A person whose clothes have known materials (keys of `infrared.NEAR`), which tell people apart in infrared."""

    top_material: str = "cotton"
    trim_material: str = "cotton"  # of pattern, lining and hat; a pattern of the top's material is invisible
    bottom_material: str = "denim"
    shoes_material: str = "leather"
    bag_material: str = "leather"

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in ("top", "trim", "bottom", "shoes", "bag"):
            if self.material(part) not in TEXTILES:
                known = ", ".join(TEXTILES)
                raise ValueError(f"Clothed: no {part}_material {self.material(part)!r}; choose one of {known}")

    def material(self, part: str) -> str:
        return getattr(self, {"thread": "trim", "hat": "trim"}.get(part, part) + "_material")


# attribute: odds of each value. `PALETTE` cuts these lists of colours from the end.
CLOTHES = ("black", "white", "red", "blue", "grey", "green", "beige", "pink", "yellow", "navy", "orange", "teal")
DARKS = ("black", "navy", "grey", "beige", "brown", "white", "olive", "blue", "red", "teal", "purple", "green")
WARDROBES: dict[str, dict[str, dict[str, float]]] = {
    "market": {
        "skin": {"porcelain": 2, "peach": 3, "tan": 3, "umber": 2, "ebony": 1},
        "hair": {"black": 5, "brown": 4, "auburn": 1, "blond": 2, "silver": 1},
        "cut": {"short": 5, "bald": 1, "bob": 2, "long": 3, "ponytail": 3, "bun": 1, "curls": 1, "cap": 2},
        "top": {"tee": 8, "shirt": 4, "hoodie": 1, "jacket": 2},
        "pattern": {"plain": 6, "stripes": 2, "checks": 2, "band": 1, "logo": 3},
        "bottom": {"trousers": 3, "jeans": 4, "shorts": 5, "skirt": 3},
        "bag": {"none": 5, "backpack": 3, "shoulder bag": 3, "handbag": 2},
        "top_colour": dict.fromkeys(CLOTHES[:PALETTE], 1), "trim": dict.fromkeys(CLOTHES[:PALETTE], 1),
        "bottom_colour": dict.fromkeys(DARKS[: PALETTE - 2], 1),
    },
    "duke": {
        "skin": {"porcelain": 3, "peach": 3, "tan": 2, "umber": 2, "ebony": 2},
        "hair": {"black": 4, "brown": 5, "auburn": 2, "blond": 3, "silver": 1},
        "cut": {"short": 5, "bald": 1, "bob": 2, "long": 3, "ponytail": 2, "curls": 1, "cap": 1, "beanie": 4},
        "top": {"shirt": 1, "hoodie": 4, "jacket": 5, "coat": 5},
        "pattern": {"plain": 8, "stripes": 1, "checks": 2, "band": 2, "logo": 1},
        "bottom": {"trousers": 5, "jeans": 6, "skirt": 1},
        "bag": {"none": 4, "backpack": 6, "shoulder bag": 2, "handbag": 2},
        "top_colour": dict.fromkeys(DARKS[:PALETTE], 1), "trim": dict.fromkeys(CLOTHES[:PALETTE], 1),
        "bottom_colour": dict.fromkeys(DARKS[: PALETTE - 3], 1),
    },
    "sysu": {
        "skin": {"porcelain": 2, "peach": 4, "tan": 4, "umber": 1, "ebony": 1},
        "hair": {"black": 6, "brown": 3, "auburn": 1, "blond": 1, "silver": 1},
        "cut": {"short": 3, "bald": 1, "bob": 2, "long": 3, "ponytail": 2, "bun": 1, "curls": 2, "cap": 3, "beanie": 2},
        "top": {"tee": 3, "shirt": 3, "hoodie": 3, "jacket": 3, "coat": 3},
        "pattern": {"plain": 2, "stripes": 2, "checks": 2, "band": 2, "logo": 2},
        "bottom": {"trousers": 4, "jeans": 3, "shorts": 4, "skirt": 4},
        "bag": {"none": 3, "backpack": 3, "shoulder bag": 3, "handbag": 3},
        "top_colour": dict.fromkeys(CLOTHES[:PALETTE], 1), "trim": dict.fromkeys(CLOTHES[:PALETTE], 1),
        "bottom_colour": dict.fromkeys(DARKS[: PALETTE - 2], 1),
    },
}  # fmt: skip
EVERYWHERE = {
    "build": {"slim": 3, "regular": 4, "broad": 3},
    "shoes": {"white": 3, "black": 4, "brown": 2, "red": 1},
    "bag_colour": {"black": 3, "red": 1, "blue": 1, "beige": 2},
}


def population(people: int = PEOPLE, seed: int = 1, world: World = PLAIN) -> dict[str, list[Person]]:
    """The identities of every network: `people` and a third more, the distractors.

    No two are alike, unless the world wants it. People of a network with infrared cameras are `Clothed`.
    """
    crowd: dict[str, list[Person]] = {}
    known: list[tuple] = []
    for network in NETWORKS:
        rng, crowd[network] = Random(f"{network} people {seed}"), []
        while len(crowd[network]) < people + people // 3:
            person = _dress(network, rng)
            if any(camera.lamp for camera in NETWORKS[network]):
                person = _clothe(person, rng, world.fabrics)
            looks = tuple(getattr(person, name) for name in ATTRIBUTES)
            if all(sum(a != b for a, b in zip(looks, other)) >= DIFFERENCES for other in known):
                crowd[network].append(person)
                known.append(looks)
    return {network: _assimilated(network, people, seed, world.alike) for network, people in crowd.items()}


def _assimilated(network: str, crowd: list[Person], seed: int, share: float) -> list[Person]:
    """The crowd with a share of it in what the person before wears; two details or more tell them apart."""
    group: list[Person] = []
    changed = []
    for k, person in enumerate(crowd):
        rng = Random(f"{network} alike {seed} {k}")
        group = group if rng.random() < share else []
        if group:
            large = {name: value for name, value in asdict(group[0]).items() if name in LARGE}
            person = _seen(network, replace(person, **large), rng)
        while any(sum(getattr(person, name) != getattr(other, name) for name in DETAILS) < 2 for other in group):
            fresh = asdict(_dress(network, rng))
            person = _seen(network, replace(person, **{name: fresh[name] for name in DETAILS}), rng)
        group.append(person)
        changed.append(person)
    return changed


def _dress(network: str, rng: Random) -> Person:
    """A random person from the wardrobe."""
    odds = WARDROBES[network] | EVERYWHERE
    person = Person(**{name: rng.choices(list(odds[name]), list(odds[name].values()))[0] for name in ATTRIBUTES})
    return _seen(network, person, rng)


def _seen(network: str, person: Wearer, rng: Random) -> Wearer:
    """The person with a fixed value for attributes that would be invisible, and a trim that can be seen."""
    if person.bag == "none":
        person = replace(person, bag_colour="black")
    if person.cut == "bald":
        person = replace(person, hair="black")
    hidden = person.pattern == "plain" and person.top not in ("jacket", "coat") and person.cut not in ("cap", "beanie")
    while not hidden and person.trim == person.top_colour:
        person = replace(person, trim=rng.choice(list(WARDROBES[network]["trim"])))
    return replace(person, trim="white") if hidden else person


def _clothe(person: Person, rng: Random, share: float) -> Clothed:
    """The same person with materials: a share of them the usual ones of the dyes, else any that the garment allows."""
    worn = {
        "top": (person.top, person.top_colour), "trim": ("trim", person.trim), "bag": ("bag", person.bag_colour),
        "bottom": (person.bottom, person.bottom_colour), "shoes": ("shoes", person.shoes),
    }  # fmt: skip
    fabrics = {}
    for part, (garment, colour) in worn.items():
        usual = min(MATERIALS[garment], key=lambda fabric: abs(TEXTILES.index(fabric) - TEXTILES.index(DYED[colour])))
        lot = rng.random()  # drawn alike in every world; the fabrics of another one have random numbers of their own
        other = None if lot < MOSTLY else rng.choice(MATERIALS[garment])
        fabrics[f"{part}_material"] = usual if lot < share else other or Random(lot).choice(MATERIALS[garment])
    return Clothed(**asdict(person), **fabrics)
