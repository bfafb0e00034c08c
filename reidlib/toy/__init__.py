"""The drawn crowd: people, cameras and places, and the data sets drawn from them. Imports nothing else of reidlib."""

from reidlib.toy.sets import (
    ATTRIBUTES,
    MATERIALS,
    NETWORKS,
    Camera,
    Clothed,
    Person,
    World,
    draw,
    identities,
    is_current,
    population,
    render,
)

__all__ = ["ATTRIBUTES", "MATERIALS", "NETWORKS", "Camera", "Clothed", "Person", "World", "draw", "identities",
           "is_current", "population", "render"]  # fmt: skip
