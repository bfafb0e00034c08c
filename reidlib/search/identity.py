"""Which model made an embedding, so that those of two models are never compared."""

from typing import Any

from torch.nn import functional as F

from reidlib.data.shots import Shots
from reidlib.evaluation.scores import Scores
from reidlib.provenance import code_of, in_words, state_digest
from reidlib.systems import System
from reidlib.train.embedding import embed

SAME = 0.99  # cosine of an image's embeddings by one model, also in half precision and on another device


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


def refuse_scores(scores: Scores, there: dict[str, Any], system: System) -> None:
    """ValueError for re-ranked scores, and of another model: the first query, if its image is here, is another."""
    refuse("the gallery", there, system)
    of = f" of {scores.query.name}" if isinstance(scores.query, Shots) else ""
    if scores.reranked:
        raise ValueError(f"the scores{of} are re-ranked, and a gallery compares cosines: measure again")
    if isinstance(scores.query, Shots) and scores.query.file(0).is_file():
        pair = [F.normalize(emb[:1].float().cpu()) for emb in (embed(system, scores.query[:1]), scores.q)]
        if pair[0].shape != pair[1].shape or float((pair[0] * pair[1]).sum()) < SAME:
            raise ValueError(
                f"the scores{of} are of another model or feature than the gallery: measure them "
                "with the system that the gallery was made with"
            )
