"""From embeddings to scores: exact counting, both protocols, re-ranking, statistics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {"sysu"})
