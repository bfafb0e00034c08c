"""How a check speaks to the reader: `expect` is an assertion whose message is a remark."""

from collections.abc import Sequence
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
    expect(hasattr(value, "__len__") and len(value) == 2, "Your function should return two things.")
    return value[0], value[1]


def slopes(loss: Any, inputs: Sequence[torch.Tensor]) -> None:
    """Raise NotYetError unless a loss has a finite gradient in every input."""
    expect(getattr(loss, "requires_grad", False), "Nothing can learn from your loss: return a tensor, not a number.")
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    expect(all(slope is not None for slope in found), "Your loss has no gradient in some of what it depends on.")
    finite = all(bool(slope.isfinite().all()) for slope in found)
    expect(finite, "The gradient is NaN: where do you take the root of a zero distance?")


def compare(found: SupportsFloat, wanted: SupportsFloat, what: str, hint: str, rtol: float = 1e-4) -> None:
    """Raise NotYetError unless a number is the wanted one: with the number, whether it is too large, and a hint."""
    mine, right = (float(x.detach() if isinstance(x, torch.Tensor) else x) for x in (found, wanted))
    side = "smaller" if mine > right else "larger"
    expect(np.isclose(mine, right, rtol=rtol, atol=1e-6), f"{what} is {mine:.4g} where it should be {side}: {hint}")
