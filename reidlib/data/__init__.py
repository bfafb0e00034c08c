"""Data sets: which images there are and who is on them, how they are decoded, and the batches made of them."""

from reidlib.data.layouts import TOYS
from reidlib.data.loading import PUBLISHED, load
from reidlib.data.shots import DISTRACTOR, JUNK, Shots, Split

__all__ = ["DISTRACTOR", "JUNK", "PUBLISHED", "TOYS", "Shots", "Split", "load"]
