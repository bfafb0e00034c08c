"""Which model made an embedding, so that those of two models are never compared."""

from typing import Any

from reidlib.provenance import code_of, in_words, state_digest
from reidlib.systems import System


def model_of(system: System) -> dict[str, Any]:
    """What an embedding depends on: the recipe's name, the system, its sizes, and a digest of its weights."""
    recipe = system.recipe
    return {
        "recipe": recipe.name(), "system": code_of(system)[0], "weights": state_digest(system),
        "size": list(recipe.size), "resize": recipe.resize, "flip": system.flip,
        "feature": getattr(system, "feature", ""),
    }  # fmt: skip


def refuse(where: str, there: dict[str, Any], system: System) -> None:
    """ValueError if `where` is of another model, `there`, than the system."""
    found = {name: (value, there.get(name)) for name, value in model_of(system).items() if there.get(name) != value}
    if found:
        raise ValueError(
            f"{where} is of another model, {there.get('recipe')}: {in_words(found)}. Embeddings of two models cannot "
            "be compared: restore the one that it was made with, or enrol its people again"
        )
