"""How a check speaks to the reader: `expect` is an assertion whose message is a remark."""

from typing import Any, SupportsFloat

import numpy as np
import torch


class NotYetError(Exception):
    """What is wrong with an answer, without the answer."""


def expect(right: bool | np.bool_, remark: str) -> None:
    """Raise NotYetError with a remark unless it is right."""
    if not right:
        raise NotYetError(remark)


def array(value: Any, shape: tuple[int, ...] = ()) -> np.ndarray:
    """An answer as a NumPy array, if it has the expected shape and no NaN."""
    expect(value is not None, "Your function returns nothing: end it with return.")
    found = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
    expect(found.shape == shape, f"Your result has the shape {found.shape} where it should have {shape}.")
    expect(found.dtype.kind not in "fc" or np.isfinite(found).all(), "Your result holds a NaN or an infinite number.")
    return found


def pair(value: Any) -> tuple[Any, Any]:
    """An answer of two parts."""
    expect(isinstance(value, tuple | list) and len(value) == 2, "Your function should return two things.")
    return value[0], value[1]


def compare(found: SupportsFloat, wanted: SupportsFloat, what: str, hint: str, rtol: float = 1e-4) -> None:
    """Raise NotYetError unless a number is the wanted one: with the number, whether it is too large, and a hint."""
    mine, right = (float(x.detach() if isinstance(x, torch.Tensor) else x) for x in (found, wanted))
    side = "smaller" if mine > right else "larger"
    expect(np.isclose(mine, right, rtol=rtol, atol=1e-6), f"{what} is {mine:.4g} where it should be {side}: {hint}")
