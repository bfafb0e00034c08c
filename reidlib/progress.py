"""One progress bar for all long work, and whether anybody is there to see it."""

import os

from tqdm.auto import tqdm


def headless() -> bool:
    """Whether TQDM_DISABLE says that nobody watches: what is alive then leaves no trace in an executed notebook."""
    return bool(os.environ.get("TQDM_DISABLE"))


def progress(items=None, label: str = "", total: int | None = None, unit: str = "it", few: bool = False) -> tqdm:
    """tqdm over `items`, shown after two seconds and gone at the end; none where it is `few` or TQDM_DISABLE is set.

    (tqdm's bar for notebooks does not look at that variable itself, and leaves a widget behind even if never shown.)
    """
    return tqdm(items, label, total, unit=unit, delay=2, leave=False, disable=few or headless())
