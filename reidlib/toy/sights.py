"""Which pictures there are: walks past a camera, cropped by a detector with errors."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from PIL import Image

from .cameras import NETWORKS, Lamp
from .furniture import OCCLUDERS
from .people import Person
from .picture import render, view
from .places import WIDE
from .world import OCCLUSION, PLAIN, World

# The difficulty of the crowd, together with the knobs of World, people.PALETTE and DIFFERENCES, cameras.FLICKER,
# places.DISTANCE and SHADE: a colour histogram is several times better than chance, and a small network trained for a
# minute is far better than the histogram, but not perfect.
SMALLEST = 0.4  # a person in a box that is far too large, as a share of the size in a good one
TURN = 0.2  # standard deviation of the view within one walk past a camera, radians


@dataclass(frozen=True)
class Sight:
    """One picture to draw: its folder, its person and camera, the view, and the position along the street."""

    folder: str
    pid: int
    camid: int
    person: Person | None
    yaw: float
    place: float
    number: int = 0  # in its folder, if files are numbered


def walk(
    network: str, folder: str, pid: int, camid: int, person: Person | None, count: int, rng: Random
) -> list[Sight]:
    """The pictures of one walk past one camera, all of about the same view and position."""
    yaw, place = view(NETWORKS[network][camid - 1], rng), rng.uniform(0, WIDE)
    return [Sight(folder, pid, camid, person, yaw, place) for _ in range(count)]


def snapshot(network: str, shot: Sight, crowd: list[Person], rng: Random, world: World = PLAIN) -> Image.Image:
    """The picture of a sight, with the errors of a detector; a passer-by is one of the crowd."""
    size = (rng.randrange(128, 152, 2), rng.randrange(56, 68, 2)) if network == "duke" else (128, 64)
    error = 0.03 * world.boxes
    shift, zoom = (rng.gauss(0, error), rng.gauss(0, error)), max(SMALLEST, 1 + rng.gauss(0, 0.06 * world.boxes))
    if shot.pid < 0:  # a bad detection: a part of a body
        shift, zoom = rng.choice([(0.3, 0), (-0.3, 0), (0.1, 0.62), (-0.1, 0.7), (0, -0.6)]), rng.uniform(0.9, 1.5)
    lot = rng.random()  # drawn alike in every world; what stands in front in another one has random numbers of its own
    front = _front(crowd, rng) if lot < OCCLUSION else {}
    if lot >= world.hidden(shot.folder):
        front = {}
    elif not front:
        front = _front(crowd, own := Random(lot)) | {"ahead": own}
    yaw, place = rng.gauss(shot.yaw, TURN), rng.gauss(shot.place, 0.15)
    camera = NETWORKS[network][shot.camid - 1]
    if not camera.lamp and Random(lot).random() < world.translated:
        camera = replace(camera, lamp=Lamp())
    return render(shot.person, camera, rng, size, yaw=yaw, place=place, zoom=zoom, shift=shift, world=world, **front)


def _front(crowd: list[Person], rng: Random) -> dict[str, Any]:
    """What stands in front of a person, as arguments of `render`."""
    kind = rng.choice([*OCCLUDERS, "passer"])
    return {"passer": rng.choice(crowd)} if kind == "passer" else {"occluder": kind}
