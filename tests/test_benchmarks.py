"""The benchmarks at their smallest: they run, their contenders agree, and their tables have every row."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from attempts import PATIENCE

import reidlib as rl

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name, *options):
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", BENCHMARKS / name, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_evaluate_runs_small_and_its_contenders_agree(tmp_path):
    printed = run("evaluate.py", "--small", "--figure", tmp_path / "growth.png")
    assert "all agree to 1e-6" in printed
    for table in ("model quality", "gallery", "SYSU-MM01, ten trials", "re-ranked similarities"):
        assert f"\n{table}" in printed
    assert "distances within" in printed
    assert (tmp_path / "growth.png").exists()


def test_pipeline_prints_every_row_small():
    printed = run("pipeline.py", "--small")
    for row in ("float: reidlib", "uint8: reidlib", "its way, decoded once", "decoding included"):
        assert row in printed, printed


def test_search_runs_small_and_its_contenders_agree():
    pytest.importorskip("onnxruntime")
    printed = run("search.py", "--small", "--rounds", "1")
    rows = [line for line in printed.splitlines() if line.startswith("Gallery  ") and "." in line]
    assert [line.split()[-1] for line in rows] == ["1.0000", "1.0000"]
    for table in ("exact search", "peak memory", "ONNX Runtime beside torch"):
        assert f"\n{table}" in printed


@pytest.fixture
def gpu(monkeypatch, capsys):
    """benchmarks/gpu.py with some options, in this process; returns what it prints."""

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, options)])
        runpy.run_path(str(BENCHMARKS / "gpu.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_one_call_for_a_gpu_trains_and_tests_and_goes_on_where_it_was_left(gpu, tmp_path):
    first, again = (gpu("--small", "--out", tmp_path) for _ in range(2))
    assert "failed" not in first
    assert "left out" not in first
    assert "a resumed run ends 0.0e+00 from one without a stop" in first, "on a CPU"
    assert "APs of 1,200 x 1,200 half-precision features are equal" in first
    assert "50 queries, 200 images of 64 numbers: 0." in first
    assert "their mAPs differ by 0.0e+00" in first
    assert "toy -> toy-duke: rank-1" in first
    assert "toy-sysu -> toy-sysu all single: rank-1" in first
    for row in ("reference's way, float32", "reidlib, float32", "optimiser step", "mirror image"):
        assert [line.split(":")[0] for line in first.splitlines() if row in line] == ["training", "laptop"]
    stages = ["equal", "resumed", "evaluation", "mobilenet", "training", "resnet50", "laptop", "sysu", "sysu-channels"]
    assert again == "".join(f"{stage}: done before\n" for stage in stages)
    rows = rl.read_csv(tmp_path / "rows.csv")
    ways = {f"toy-sysu {search} {shot}" for search in ("all", "indoor") for shot in ("single", "multi")}
    assert {row["test"] for row in rows} == {"toy", "toy-duke"} | ways
    assert {row["tricks"] for row in rows if row["test"] in ways} == {"all", "all+channels"}
    assert {row["draw"] for row in rows if row["test"] in ways} == {"seeded 0"}


def test_a_stage_without_its_data_is_left_out_in_one_line(gpu, tmp_path):
    line, _ = gpu("--only", "sysu", "--data", tmp_path, "--out", tmp_path / "out").splitlines()
    assert line.startswith(f"sysu: left out: sysu: cam1 not found under {tmp_path / 'SYSU-MM01'}; put it there")
    assert "sysu" not in json.loads((tmp_path / "out/done.json").read_text()), "the next call looks for it again"


def test_a_run_of_which_no_checkpoint_came_back_is_begun_anew(monkeypatch, tmp_path):
    """A machine that was lent may give back recipe.json alone."""
    train = runpy.run_path(str(BENCHMARKS / "gpu.py"))["train"]
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "recipe.json").write_text("{}")
    fitted = []
    train.__globals__["fitting"] = lambda recipe, *_: fitted.append(recipe) or recipe.replace(epochs=0)
    call = SimpleNamespace(out=tmp_path, options=SimpleNamespace(small=False, data=None))
    train.__globals__["sets"] = lambda *_: {"market": rl.load("toy")}
    with pytest.raises(ValueError, match="epochs=0"):
        train(call, "x", 0.5, weights="none")
    assert [recipe.weights for recipe in fitted] == ["none"]
    assert not (tmp_path / "runs" / "x").exists()


def test_a_recipe_is_shortened_in_its_proportions_to_the_seconds_that_are_left_after_the_trial(monkeypatch):
    left = iter([2045.0, 145.0])  # of each trial, whose second short epoch takes 5 s: 20 s for an epoch of 200 batches
    monkeypatch.setattr(rl, "build", lambda *_: None)
    monkeypatch.setattr(rl, "fit", lambda *_: iter([{"seconds": 99.0}, {"seconds": 5.0, "images_per_s": 640.0}]))
    fitting = runpy.run_path(str(BENCHMARKS / "gpu.py"))["fitting"]
    call, recipe = SimpleNamespace(left=lambda: next(left)), rl.Recipe.for_dataset("sysu", tricks="all+channels")
    found = fitting(recipe, None, call, 0.5)  # 0.9 x 0.5 x 2000 s: 45 of 120 epochs
    shorter = {"epochs": 45, "milestones": (15, 26), "warmup_epochs": 4, "checkpoint_every": 45}
    assert found == recipe.replace(**shorter)
    with pytest.raises(RuntimeError, match="50 s are too few for 12 epochs at 640 images/s"):
        fitting(recipe, None, call, 0.5)
