"""One progress bar for all long work."""

import os

from tqdm.auto import tqdm


def progress(items=None, label: str = "", total: int | None = None, unit: str = "it", few: bool = False) -> tqdm:
    """tqdm over `items`, shown after two seconds and gone at the end; none where it is `few` or TQDM_DISABLE is set.

    (tqdm's bar for notebooks does not look at that variable itself, and leaves a widget behind even if never shown.)
    """
    hidden = few or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(items, label, total, unit=unit, delay=2, leave=False, disable=hidden)
