"""The drawn crowd: its people, cameras and places, and how they are drawn as data sets. Imports nothing else."""

from reidlib.toy.sets import (
    ATTRIBUTES,
    MATERIALS,
    NETWORKS,
    Camera,
    Clothed,
    Person,
    draw,
    identities,
    is_current,
    population,
    render,
)

__all__ = ["ATTRIBUTES", "MATERIALS", "NETWORKS", "Camera", "Clothed", "Person", "draw", "identities", "is_current",
           "population", "render"]  # fmt: skip
