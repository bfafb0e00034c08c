"""What can be refused is refused before the first epoch; a command that is stopped ends with a sentence."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attempts import PATIENCE, is_gone, notes, wait_for

import reidlib as rl
from reidlib.runs import command
from reidlib.runs import grid as repeats

SMALL = "--P 3 --K 2 --height 32 --width 16 --iterations 2 --epochs 2 --backbone trunks:small --weights none"


@pytest.fixture
def one_camera(crowd, tmp_path):
    """The crowd without cameras in its file names: every image is of camera 0."""
    for file in (tmp_path / "crowd").rglob("*.png"):
        file.rename(file.with_name(file.name.replace("c1_", "left_").replace("c2_", "right_")))
    return tmp_path / "crowd"


@pytest.mark.filterwarnings("ignore:crowd")
def test_a_set_without_cameras_is_refused_before_it_trains_and_kept_ones_are_named_in_the_row(one_camera, tmp_path):
    """Guards: hours of training, then ValueError and no result.json; and a score by another rule that hides it."""
    arguments = [*f"--dataset {one_camera} --precision float32 {SMALL} --run-dir".split(), str(tmp_path / "run")]
    with pytest.raises(
        ValueError, match=r"crowd cannot be tested: none of the 6 queries has a match.*give camids.*same_camera=.keep"
    ):
        command.main(arguments)
    assert not (tmp_path / "run").exists()
    command.main([*arguments, "--same-camera", "keep"])
    (row,) = rl.collect(tmp_path / "run")
    assert (row["same_camera"], row["queries"], row["unmatched"]) == ("keep", 6, 0)


def test_scores_say_where_the_same_camera_is_kept(crowd, tmp_path):
    q, g = (np.random.default_rng(0).normal(size=(len(part), 8)) for part in (crowd.query, crowd.gallery))
    kept = rl.score(q, g, crowd.query, crowd.gallery, same_camera="keep")
    assert str(kept).endswith("re-ranking off, same camera kept)")
    assert str(rl.Scores.load(kept.save(tmp_path / "kept.npz"))) == str(kept)
    assert str(rl.score(q, g, crowd.query, crowd.gallery)).endswith("re-ranking off)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: replace(split, query=split.query[:0]), "crowd cannot be tested: the query is empty"),
        (lambda split: replace(split, gallery=split.gallery[:0]), "crowd cannot be tested: the gallery is empty"),
        (lambda split: replace(split, gallery=split.train), "crowd cannot be tested: .* share no identity"),
        (lambda split: replace(split, name="toy-sysu"), "toy-sysu has a protocol of its own; leave same_camera='keep'"),
    ],
)
def test_what_cannot_be_scored_is_refused_when_it_is_loaded(crowd, change, message, monkeypatch):
    monkeypatch.setattr("reidlib.runs.measuring.load", lambda name, root: change(crowd))
    with pytest.raises(ValueError, match=message):
        rl.test_sets("crowd", same_camera="keep")


@pytest.mark.filterwarnings("ignore:crowd")
def test_a_grid_refuses_it_too(one_camera, small, own, tmp_path):
    with pytest.raises(ValueError, match="crowd cannot be tested"):
        repeats.run_grid(small, [own], tmp_path / "runs")
    for metrics in ("nowhere:metric", "math:metric"):
        with pytest.raises(ValueError, match=f"no metric '{metrics}'"):
            repeats.run_grid(small, [own | {"metrics": metrics, "same_camera": "keep"}], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_table_that_cannot_be_written_or_is_of_others_is_refused_before_any_job(small, own, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "mine.csv").write_text("dataset,note\ntoy,precious\n")
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)))
    refused = {".": "is a folder", "file/table.csv": "file", "mine.csv": "no column mAP", "binary.csv": "no table of"}
    for name, message in refused.items():
        with pytest.raises(SystemExit):
            repeats.main([str(small), "--runs", str(tmp_path / "runs"), "--csv", str(tmp_path / name)])
        assert message in capsys.readouterr().err, name
    assert (tmp_path / "mine.csv").read_text() == "dataset,note\ntoy,precious\n"
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_a_table_is_made_and_an_older_table_of_results_is_replaced(tmp_path):
    older = tmp_path / "toy.csv"
    shutil.copy(rl.project() / "results" / "toy.csv", older)
    for file in (older, tmp_path / "results" / "new" / "table.csv"):
        repeats._refuse_csv(file)
        assert file.parent.is_dir()


def stop(*arguments, until):
    """Start a command, stop it as Ctrl-C does once `until` is true; returns what it wrote as an error."""
    command = [sys.executable, "-m", *map(str, arguments)]
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}  # of trunks.py
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=paths,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )  # fmt: skip
    try:
        wait_for(lambda: until() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "stopped; the same command takes up a training" in said


def test_a_training_that_is_stopped_says_how_it_goes_on(crowd, tmp_path):
    options = f"--dataset {tmp_path / 'crowd'} {SMALL} --run-dir {tmp_path / 'run'}".replace("epochs 2", "epochs 999")
    stop("reidlib.train", *options.split(), until=(tmp_path / "run" / "log.csv").exists)


def test_a_grid_that_is_stopped_leaves_no_process(crowd, small, own, tmp_path):
    (tmp_path / "hold1").touch()  # the job waits for its end
    given = [word for name, value in (own | {"seed": 1}).items() for word in ("-p", name, value)]
    stop("reidlib.repeats", small, "--runs", tmp_path / "runs", *given, until=lambda: notes(tmp_path))
    (note,) = notes(tmp_path)
    assert note.word == "begin"
    wait_for(lambda: is_gone(note.pid))
