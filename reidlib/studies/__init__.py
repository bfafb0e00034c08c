"""This project's own measurements, each the code behind tables of results/."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {"alignment", "hidden", "worlds"})
