"""Which model made an embedding, so that those of two models are never compared."""

import hashlib
import zlib
from typing import Any

from reidlib.provenance import code_of, in_words
from reidlib.systems import System


def model_of(system: System) -> dict[str, Any]:
    """What an embedding depends on: the recipe's name, the system, its sizes, and a digest of its weights."""
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in system.state_dict().items()}
    checks = [f"{name}\0{zlib.crc32(array)}\n" for name, array in arrays.items()]  # fast: every search asks
    recipe, digest = system.recipe, hashlib.blake2b("".join(checks).encode(), digest_size=10)
    return {
        "recipe": recipe.name(), "system": code_of(system)[0], "weights": digest.hexdigest(),
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
