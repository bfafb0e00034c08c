"""Names that lead to code: the system of a model, and "package.module:name" of your own."""

from importlib import import_module
from typing import Any


class NameNotFoundError(ValueError):
    """A name that leads to no code here. What was stored under it is whole: only its module is out of reach."""


def imported(name: str, kind: str) -> Any:
    """The object that "package.module:name" means, or the module that "package.module" means.

    `kind` says in the message of the NameNotFoundError what was looked for.
    """
    module_part, _, attribute = name.partition(":")
    try:
        module = import_module(module_part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_part}.".startswith(f"{error.name}."):
            raise  # an import within that module failed
        raise NameNotFoundError(f"no {kind} {name!r}: {error}; is the folder of its package on PYTHONPATH?") from None
    if attribute and not hasattr(module, attribute):
        raise NameNotFoundError(f"no {kind} {name!r}: {module_part} has no {attribute}")
    return getattr(module, attribute) if attribute else module


def module_name(model: str) -> str:
    """The dotted name of a model's module, with ":Class" where the model names one."""
    if "." in model or ":" in model:
        return model
    return f"reidlib.systems.{'bag_of_tricks' if model == 'bot' else model}"


def facts(model: str) -> Any:
    """Where the facts about a model stand, with its `from_recipe`: the `SYSTEM` of its module, else the module.

    A model is "bot", the name of a module of `reidlib.systems`, or one of your own: "package.module", or
    "package.module:Class" (in a notebook "__main__:Class"). Raises NameNotFoundError where there is none.
    """
    try:
        found = imported(module_name(model), "model")
    except NameNotFoundError as error:
        own = "." in model or ":" in model
        remedy = str(error) if own else f"no model {model!r}"
        raise NameNotFoundError(
            f"{remedy}; choose one of bot, pcb, aligngan, or write package.module[:Class]"
        ) from None
    system = getattr(found, "SYSTEM", found)
    if not hasattr(system, "from_recipe"):
        raise NameNotFoundError(
            f"no model {model!r}: it has no from_recipe(recipe, ids); choose one of bot, pcb, aligngan"
        )
    return system
