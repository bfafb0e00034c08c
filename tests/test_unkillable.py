"""A run that is killed, at any moment, loses what came after its last checkpoint, and ends as if nothing had been."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from attempts import PATIENCE

import reidlib as rl
from reidlib.train import checkpoints as train

ATTEMPTS = 20


def _train(folder, recipe, run):
    """What the killed process does: a checkpoint after every step, so that many moments are within a write."""
    train.SAVE_EVERY = -1
    split = rl.load(folder)
    for _ in rl.fit(rl.build(recipe, split.train, "cpu"), split.train, run):
        pass


@pytest.fixture
def longer(tiny):
    return rl.Recipe.from_dict(tiny.to_dict() | {"epochs": 150, "checkpoint_every": 35})


def test_a_run_killed_at_random_moments_ends_bit_identical(crowd, longer, tmp_path):
    whole = rl.build(longer, crowd.train, "cpu")
    rows = list(rl.fit(whole, crowd.train, tmp_path / "whole"))

    rng, within_a_write, killed = random.Random(1), 0, 0
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__, "reidlib.train", "reidlib.systems.bag_of_tricks"])
    run = tmp_path / "killed"
    while killed < ATTEMPTS:
        for left in run.glob("checkpoints/*.tmp"):  # of the attempt before; what is seen below is of this one
            left.unlink()
        process = forks.Process(target=_train, args=(tmp_path / "crowd", longer, run))
        process.start()
        folder, deadline = run / "checkpoints", time.monotonic() + rng.uniform(0.3, 1.5)
        while time.monotonic() < deadline and process.is_alive():
            time.sleep(0.01)
        if killed % 2:  # every other time wait for a checkpoint that is being written
            while process.is_alive() and not list(folder.glob("*.tmp")):
                time.sleep(0.0005)
        within_a_write += bool(list(folder.glob("*.tmp")))
        process.kill()  # of one that has just ended, nothing
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), "the run failed by itself"
        killed += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:  # it came to the end: begin again, elsewhere
            run = tmp_path / f"killed-{killed}"
    assert within_a_write >= 5, "the moments were not where it hurts"

    survivor = rl.build(longer, crowd.train, "cpu")
    after = list(rl.fit(survivor, crowd.train, run))
    assert [row["loss"] for row in after] == [row["loss"] for row in rows]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, survivor.state_dict()[name]), name


def test_two_processes_train_one_model_and_test_as_one(crowd, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "reidlib.train",
    ]
    options = f"--dataset {tmp_path / 'crowd'} --P 4 --K 2 --height 32 --width 16 --iterations 2 --epochs 2"
    options += f" --backbone slim --weights none --precision float32 --run-dir {tmp_path / 'run'}"
    done = subprocess.run([*command, *options.split()], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("epoch    2") == 1, "only rank 0 speaks"
    system = rl.restore(tmp_path / "run", device="cpu")
    alone = rl.score(*(rl.embed(system, part) for part in (crowd.query, crowd.gallery)), crowd.query, crowd.gallery)
    with np.load(tmp_path / "run" / "per_query-crowd-epoch0002.npz") as kept:
        assert np.allclose(kept["ap"], alone.ap, equal_nan=True)
    assert rl.collect(tmp_path / "run")[0]["iterations"] == 4


def test_a_full_disk_keeps_the_last_good_checkpoint(crowd, tiny, tmp_path, monkeypatch):
    rows = rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path)
    next(rows)
    next(rows)  # epoch 2 is kept

    sync = os.fsync

    def full(descriptor):
        if "checkpoints" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        next(rows)
    monkeypatch.undo()
    assert rl.checkpoints(tmp_path) == [2]
    assert not list((tmp_path / "checkpoints").glob("*.tmp")), "what was half written is taken away"
    assert len(list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))) == 3


def test_a_folder_that_cannot_be_made_is_named(crowd, tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        next(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "in the way"
