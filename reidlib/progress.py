"""One progress bar for all long work, and whether anybody is there to see it."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def headless() -> bool:
    """Whether TQDM_DISABLE says that nobody watches: what is alive then leaves no trace in an executed notebook."""
    return bool(os.environ.get("TQDM_DISABLE"))


def watched() -> bool:
    """Whether somebody may see a progress bar: in a terminal or in a notebook, and not in a log file."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return not headless() and (sys.stderr.isatty() or hasattr(shell, "kernel"))


def progress(
    items: Iterable[Any] | None = None, label: str = "", total: int | None = None, unit: str = "it", few: bool = False
) -> tqdm:
    """tqdm over `items`, shown after two seconds and gone at the end; none if there are `few` or nobody watches.

    (tqdm's bar for notebooks ignores TQDM_DISABLE and leaves a widget behind even if it was never shown.)
    """
    return tqdm(items, label, total, unit=unit, delay=2, leave=False, disable=few or not watched())
