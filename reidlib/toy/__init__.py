"""The drawn crowd: people, cameras and places, and the data sets drawn from them. Imports nothing else of reidlib."""

from reidlib.toy.cameras import NETWORKS, Camera
from reidlib.toy.people import ATTRIBUTES, MATERIALS, Clothed, Person, population
from reidlib.toy.picture import render
from reidlib.toy.sets import draw, identities, is_current
from reidlib.toy.world import World

__all__ = ["ATTRIBUTES", "MATERIALS", "NETWORKS", "Camera", "Clothed", "Person", "World", "draw", "identities",
           "is_current", "population", "render"]  # fmt: skip
