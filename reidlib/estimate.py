"""How long a grid will take: a few steps of its recipes, measured on this machine."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace

from reidlib.batches import PKSampler
from reidlib.embedding import embed
from reidlib.jobs import Job
from reidlib.recipe import Recipe
from reidlib.results import targets
from reidlib.systems import build
from reidlib.train import fit

STEPS, IMAGES = 5, 64  # enough for a second or two on the toy data
SHAPE = ("model", "backbone", "last_stride", "height", "width", "p", "k", "precision")  # what a step's time depends on
STARTED = "import IPython, ipykernel, reidlib.train, reidlib.plots"


@dataclass(frozen=True)
class Speed:
    """Seconds: of a training step, of embedding one image, and from a kernel's start to the first cell."""

    step: float
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
        found[job.name] = speed.start + _steps(job.recipe, split) * speed.step + tested * speed.image
    return found


def measured(recipe: Recipe, split) -> Speed:
    """A run of two short epochs, the first to warm up, a few images embedded, and a Python started as a kernel is."""
    # without refined parts, and with all that AlignGAN trains at once from the first epoch on
    short = replace(recipe, epochs=2, iterations=STEPS, checkpoint_every=2, rpp=False, phases=(0, 0))
    with tempfile.TemporaryDirectory(prefix="reid-") as folder:
        system = build(short, split.train)
        last = list(fit(system, split.train, folder))[-1]
    few, begin = split.gallery[:IMAGES], time.perf_counter()
    embed(system, few)
    image, begin = (time.perf_counter() - begin) / len(few), time.perf_counter()
    subprocess.run([sys.executable, "-c", STARTED], check=True)
    return Speed(last["seconds"] / STEPS, image, time.perf_counter() - begin)


def _steps(recipe: Recipe, split) -> int:
    sampler = PKSampler(split.train.pids, recipe.p, recipe.k, recipe.order, recipe.iterations, recipe.seed)
    return recipe.epochs * len(sampler.epoch(0))
