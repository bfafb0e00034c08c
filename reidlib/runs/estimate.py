"""How long a grid will take: a few steps of its recipes, measured on this machine."""

import subprocess
import sys
import tempfile
import time
from dataclasses import fields

from reidlib.data import Split
from reidlib.data.batches import PKSampler
from reidlib.recipe import Recipe
from reidlib.runs.jobs import Job
from reidlib.runs.measuring import test_sets
from reidlib.systems import build
from reidlib.train.embedding import embed
from reidlib.train.loop import fit

STEPS, IMAGES = 5, 64  # enough for a second or two on the toy data
# What a step's time depends on, beside the fields that only a model's own recipe has.
SHAPE = ("model", "backbone", "last_stride", "pooling", "height", "width", "p", "k", "order", "precision", "compile")
SHARED = {field.name for field in fields(Recipe)}
STARTED = "import IPython, ipykernel, reidlib.train, reidlib.figures.plots"


def estimate(jobs: list[Job]) -> dict[str, float]:
    """The seconds that each job takes on this machine, by name: its steps, its test images and a kernel's start.

    Each shape of network is measured once, by a short run in a folder that is thrown away.
    """
    speeds: dict[str, tuple[list[float], float, float]] = {}
    seconds = {}
    for job in jobs:
        shape = repr([item for item in job.recipe.to_dict().items() if item[0] in SHAPE or item[0] not in SHARED])
        splits, _ = test_sets(job.recipe.dataset, *job.places, job.same_camera)
        split = next(iter(splits.values()))
        if shape not in speeds:
            speeds[shape] = measured(job.recipe, split)
        (steps, image, start), tested = speeds[shape], sum(len(s.query) + len(s.gallery) for s in splits.values())
        length = len(PKSampler.of(job.recipe, split.train).epoch(0))
        training = sum(n * length * step for n, step in zip(job.recipe.phase_lengths, steps, strict=True))
        seconds[job.name] = start + training + tested * image
    return seconds


def measured(recipe: Recipe, split: Split) -> tuple[list[float], float, float]:
    """Seconds of a training step in each phase, of embedding one image, and from a kernel's start to its first cell."""
    with tempfile.TemporaryDirectory(prefix="reid-") as folder:
        system = build(recipe.shortened(STEPS), split.train)
        rows = list(fit(system, split.train, folder))
    images, start = split.gallery[:IMAGES], time.perf_counter()
    embed(system, images)
    image, start = (time.perf_counter() - start) / len(images), time.perf_counter()
    subprocess.run([sys.executable, "-c", STARTED], check=True)
    return [row["seconds"] / STEPS for row in rows[1:]], image, time.perf_counter() - start
