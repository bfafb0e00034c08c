"""Whole runs: measured, kept as results, repeated as a grid here or on a cluster."""
