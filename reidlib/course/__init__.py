"""The checks behind the notebooks' exercises: hidden cases, and remarks that do not give the answer.

A check is a function of the module of its chapter. It calls the reader's answer and says with `expect` what must hold.
Solutions are in notebooks/solutions/.
"""

import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from reidlib.course.remarks import NotYetError

CHAPTERS = ("data", "tricks", "training", "evaluation", "ranking", "parts", "infrared", "search", "reasons", "aligngan")


def exercise(name: str, answer: Callable[..., Any]) -> None:
    """Try your answer to an exercise on hidden cases, and print one line: solved, not solved yet, or what is wrong.

    Raises ValueError for a name that no exercise has.

    Parameters
    ----------
    name : of the exercise, as its notebook has it: chapter.exercise
    answer : the function or class that you wrote

    Examples
    --------
    >>> exercise("training.warm_cosine", lambda epoch, epochs, base, warmup: base)
    warm_cosine: not yet. In epoch 0 of 60 your rate is 1 where it should be smaller: how does warm-up start?
    """
    chapter, _, short = name.partition(".")
    checks = [check for part in CHAPTERS for check in _names(part)]
    if name not in checks:
        raise ValueError(f"no exercise {name!r}; choose one of {', '.join(checks)}")
    try:
        with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers stay as they are
            getattr(_module(chapter), short)(answer)
    except NotImplementedError:
        said = "not solved yet"
    except NotYetError as remark:
        said = f"not yet. {remark}"
    except Exception as error:
        said = f"not yet. {type(error).__name__}{_place(error)}: {error}"
    else:
        said = "solved"
    print(f"{short}: {said}")


def _module(chapter: str) -> Any:
    return import_module(f"{__name__}.{chapter}")


def _names(chapter: str) -> list[str]:
    """The exercises of a chapter: the public functions that its module defines."""
    module = _module(chapter)
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    return [f"{chapter}.{name}" for name in own if not name.startswith("_")]


def _place(error: Exception) -> str:
    """The line of the reader's code that raised an error, for a message."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "ipykernel" in frame.filename or frame.filename.startswith("<")]
    return f" in line {own[-1].lineno} of your cell" if own else ""
