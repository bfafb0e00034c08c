"""How long a grid will take: a few steps of its recipes, measured on this machine."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace

from reidlib.data.batches import PKSampler
from reidlib.recipe import Recipe
from reidlib.runs.jobs import Job
from reidlib.runs.measuring import targets
from reidlib.systems import build
from reidlib.train.embedding import embed
from reidlib.train.loop import fit

STEPS, IMAGES = 5, 64  # enough for a second or two on the toy data
SHAPE = ("model", "backbone", "last_stride", "height", "width", "p", "k", "precision")  # what a step's time depends on
STARTED = "import IPython, ipykernel, reidlib.train, reidlib.plots"


@dataclass(frozen=True)
class Speed:
    """Seconds: of a training step in each phase, of embedding one image, from a kernel's start to the first cell."""

    steps: tuple[float, ...]
    image: float
    start: float


def estimate(jobs: list[Job]) -> dict[str, float]:
    """The seconds that each job takes on this machine, by name: its steps, its test images and a kernel's start.

    Each shape of network is measured once, by a short run in a folder that is thrown away.
    """
    speeds, found = {}, {}
    for job in jobs:
        shape = tuple(getattr(job.recipe, name) for name in SHAPE)
        splits, _ = targets(job.recipe.dataset, *job.places)
        split = next(iter(splits.values()))
        if shape not in speeds:
            speeds[shape] = measured(job.recipe, split)
        speed, tested = speeds[shape], sum(len(s.query) + len(s.gallery) for s in splits.values())
        length = len(PKSampler.of(job.recipe, split.train).epoch(0))
        training = sum(n * length * step for n, step in zip(_phases(job.recipe), speed.steps, strict=True))
        found[job.name] = speed.start + training + tested * speed.image
    return found


def measured(recipe: Recipe, split) -> Speed:
    """A short epoch of each phase after one to warm up, a few images embedded, a Python started as a kernel is."""
    count = len(_phases(recipe))
    short = replace(recipe, epochs=1 + count, iterations=STEPS, checkpoint_every=9, rpp=False, phases=(2, 1))
    with tempfile.TemporaryDirectory(prefix="reid-") as folder:
        system = build(short, split.train)
        rows = list(fit(system, split.train, folder))
    few, begin = split.gallery[:IMAGES], time.perf_counter()
    embed(system, few)
    image, begin = (time.perf_counter() - begin) / len(few), time.perf_counter()
    subprocess.run([sys.executable, "-c", STARTED], check=True)
    return Speed(tuple(row["seconds"] / STEPS for row in rows[1:]), image, time.perf_counter() - begin)


def _phases(recipe: Recipe) -> tuple[int, ...]:
    """The epochs of each phase that takes a time of its own: AlignGAN's three, else all (refined parts cost little)."""
    return (*recipe.phases, recipe.epochs - sum(recipe.phases)) if recipe.model == "aligngan" else (recipe.epochs,)
