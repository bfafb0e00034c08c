"""What every test shares: one thread, a cache of its own, and a crowd small enough to train on in a second."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy begins; of the processes and kernels that tests start too

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

import reidlib as rl

torch.set_num_threads(1)  # most nets here are tiny, and a second thread spins where other processes work


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache of decoded images."""
    monkeypatch.setenv("REID_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def crowd(tmp_path):
    """Six people in two colours each, two cameras, as a folder of one's own: a Split of 24 + 6 + 12 images."""
    rng = np.random.default_rng(0)
    for part, ids, per_camera in (("train", range(1, 7), 2), ("query", range(7, 13), 1), ("gallery", range(7, 13), 1)):
        for pid in ids:
            top, bottom = np.random.default_rng(pid).integers(40, 216, (2, 3))
            for camera in (1,) if part == "query" else (1, 2):
                for shot in range(per_camera):
                    body = np.concatenate([np.tile(top, (24, 24, 1)), np.tile(bottom, (24, 24, 1))])
                    image = np.clip(body + 25 * (camera - 1) + rng.normal(0, 12, body.shape), 0, 255).astype(np.uint8)
                    file = tmp_path / "crowd" / part / f"{pid:04d}" / f"c{camera}_{part}_{shot}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(file)
    return rl.load(tmp_path / "crowd")


@pytest.fixture
def tiny():
    """A recipe of three epochs of two iterations, for `crowd`."""
    return rl.Recipe.for_dataset(
        "toy",
        height=32,
        width=16,
        p=3,
        k=2,
        iterations=2,
        epochs=3,
        checkpoint_every=2,
        precision="float32",
        backbone="trunks:small",
    )


SMALL = dict(height=32, width=16, p=3, k=2, iterations=2, epochs=2, precision="float32", backbone="slim")
SMALL |= dict(weights="none")

# What 03 does, without its figures; it notes where it began and ended, and fails for the seed 13. Once trained it waits
# as long as there is a file hold<seed> beside the notes, or a file hold where it works.
BODY = """
import os
import time
from pathlib import Path

import reidlib as rl

notes = Path(dataset).parent / "attempts.txt"


def note(word):
    with open(notes, "a") as stream:
        stream.write(f"{word} {seed} {os.getcwd()} {os.getpid()}\\n")


note("begin")
if seed == 13:
    raise RuntimeError(f"seed {seed}\\nis unlucky")
recipe = rl.Recipe.for_dataset(dataset, preset, tricks, seed, model=model, height=height, width=width, p=p, k=k,
                               epochs=epochs, iterations=iterations, precision=precision, backbone=backbone,
                               weights=weights)
split = rl.load(dataset)
rows = list(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, run_dir))
while Path("hold").exists() or (notes.parent / f"hold{seed}").exists():
    time.sleep(0.05)
system = rl.restore(run_dir, device="cpu")
rl.write_result(run_dir, system, rows, {split.name: rl.measure(system, split, run_dir)})
note("end")
"""


@pytest.fixture
def small(crowd, tmp_path):
    """A notebook with the parameters of 03 that trains on six people in a second; returns its path."""
    notebook = nbformat.read(rl.project() / "notebooks" / "03_train.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "parameters" in cell["metadata"].get("tags", [])]
    notebook.cells.append(nbformat.v4.new_code_cell(BODY))
    nbformat.write(notebook, tmp_path / "small.ipynb")
    return tmp_path / "small.ipynb"


@pytest.fixture
def own(crowd, tmp_path):
    """The parameters of that notebook's jobs."""
    return SMALL | {"dataset": str(tmp_path / "crowd")}
