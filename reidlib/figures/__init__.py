"""Figures that show themselves in a notebook, with alt text."""
