"""The benchmarks at their smallest: they run, their contenders agree, and their tables have every row."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name, *options):
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", BENCHMARKS / name, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_evaluate_runs_small_and_its_contenders_agree(tmp_path):
    printed = run("evaluate.py", "--small", "--figure", tmp_path / "growth.png")
    assert "all agree to 1e-6" in printed
    assert "distances within" in printed
    assert (tmp_path / "growth.png").exists()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("pipeline.py", ("4 workers", "float batches", "uint8 batches", "decoding included")),
        ("train.py", ("reference's way, float32", "reidlib, float32", "optimiser step", "mirror image")),
    ],
)
def test_a_benchmark_of_training_prints_every_row_small(name, rows):
    printed = run(name, "--small")
    assert all(row in printed for row in rows), printed


def test_the_real_run_is_one_command_that_goes_on_where_it_was_left(crowd, tmp_path):
    options = f"--dataset {tmp_path / 'crowd'} --epochs 1 --iterations 1 --P 2 --K 2 --height 32 --width 16"
    options += f" --milestones 1 --backbone resnet18 --runs {tmp_path / 'runs'} --csv {tmp_path / 'rows.csv'}"
    first, again = (run("market1501.py", *options.split()) for _ in range(2))
    assert (first.count("epoch    1"), again.count("epoch    1")) == (3, 0)
    assert first.splitlines()[-3:] == again.splitlines()[-3:], "the same rows"
