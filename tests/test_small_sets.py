"""01, 03, 04 and 05 run to their ends on small sets of one's own: nothing in them is true of the drawn crowd only."""

import sys

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from traitlets.config import Config

import reidlib as rl
from reidlib.evaluation import score
from reidlib.figures import style

TRUNK = """
from torch import nn


def trunk():
    net = nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.ReLU())
    net.channels = 16
    return net
"""
TINY = dict(
    height=32, width=16, backbone="tiny:trunk", weights="none", precision="float32", epochs=1, iterations=2, p=3, k=2,
)  # fmt: skip
NOTEBOOKS = ("01_data", "03_train", "04_evaluate", "05_ranked_images")
# How many people are tested, whether a person looks alike everywhere, and what the files are called.
SETS = {
    "easy": dict(people=8, alike=True),
    "weak": dict(people=8),
    "one query": dict(people=1),
    "equal names": dict(people=6, name="shot_c{camera}_{shot}.png"),
    "no cameras": dict(people=6, name="{number:04d}.png"),
}


def draw(root, people, alike=False, name="p{pid}_c{camera}_{shot}.png"):
    """Write a data set: five people to train on, others to test, each twice in two cameras."""
    number = 0
    for part, pids, cameras in (
        ("train", range(1, 6), (1, 2)),
        ("query", range(11, 11 + people), (1,)),
        ("gallery", range(11, 11 + max(people, 3)), (1, 2)),
    ):
        for pid in pids:
            for camera in cameras:
                for shot in range(1 if part == "query" else 2):
                    number += 1
                    look = np.random.default_rng(pid if alike else 1000 + number).integers(30, 220, (4, 2, 3))
                    noise = np.random.default_rng(number).integers(-3, 4, (32, 16, 3))
                    pixels = (np.kron(look, np.ones((8, 8, 1))) + noise).astype(np.uint8)
                    file = root / part / f"{pid}" / name.format(pid=pid, camera=camera, shot=shot, number=number)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(file)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython in this process, far quicker than a kernel for each notebook."""
    (tmp_path / "tiny.py").write_text(TRUNK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REID_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell puts its own there
    yield InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}), colors="nocolor")
    InteractiveShell.clear_instance()
    sys.modules.pop("tiny", None)


def run(shell, name, **parameters):
    """Run the code cells of a notebook, with parameters as papermill gives them; returns its variables."""
    cells = nbformat.read(rl.project() / "notebooks" / f"{name}.ipynb", 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    code.insert(1, "\n".join(["# Parameters", *(f"{key} = {value!r}" for key, value in parameters.items())]))
    shell.reset()
    for source in code:
        shell.run_cell(source, store_history=True).raise_error()
    return dict(shell.user_ns)


@pytest.mark.parametrize("kind", SETS)
def test_a_small_set_goes_through_the_notebooks(kind, shell, tmp_path, monkeypatch):
    if kind != "one query":  # most of the time goes into drawing: once is enough
        monkeypatch.setattr(style, "encode", lambda figure, dpi: b"")
    draw(tmp_path / "people", **SETS[kind])
    same_camera = {"same_camera": "keep"} if kind == "no cameras" else {}
    given = {"dataset": str(tmp_path / "people"), "run_dir": str(tmp_path / "run")} | same_camera
    run(shell, "01_data", dataset=given["dataset"])
    scores = run(shell, "03_train", **given, **TINY)["scores"]["people"]
    assert (scores.rank(1) == 1) == (kind == "easy")
    assert len(scores.ap) == SETS[kind]["people"]
    run(shell, "04_evaluate", **given)
    found = run(shell, "05_ranked_images", **given)
    assert found["chosen"].max() < SETS[kind]["people"] == found["scores"].num_valid


def test_the_training_notebook_runs_on_a_set_that_is_tested_by_the_protocol_of_sysu(shell, tmp_path, monkeypatch):
    """Its scores have other names than the set: four tests in place of one."""
    monkeypatch.setattr(style, "encode", lambda figure, dpi: b"")
    scores = run(shell, "03_train", dataset="toy-sysu", run_dir=str(tmp_path / "run"), **TINY)["scores"]
    assert sorted(scores) == [
        f"toy-sysu {search} {shot}" for search in ("all", "indoor") for shot in ("multi", "single")
    ]


def test_images_without_cameras_are_refused_before_anything_is_trained(shell, tmp_path):
    draw(tmp_path / "people", **SETS["no cameras"])
    given = {"dataset": str(tmp_path / "people"), "run_dir": str(tmp_path / "run")}
    for name, words in (("03_train", TINY), ("04_evaluate", {}), ("05_ranked_images", {})):
        with pytest.raises(ValueError, match="no cameras are known"):
            run(shell, name, **given, **words)
    assert not (tmp_path / "run").exists()


def test_a_misspelt_word_is_refused_before_anything_is_trained(shell, tmp_path):
    draw(tmp_path / "people", **SETS["one query"])
    given = {"dataset": str(tmp_path / "people"), "run_dir": str(tmp_path / "run")} | TINY
    for wrong in ({"same_camera": "kept"}, {"flip_test": "maybe"}, {"epoch": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            run(shell, "03_train", **given | wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "change"), [("ap", -0.01), ("inp", -0.01), ("first_match", 1), ("matches", 1)])
def test_a_wrong_number_stops_the_notebooks(name, change, shell, tmp_path, monkeypatch):
    draw(tmp_path / "people", **SETS["weak"])
    monkeypatch.setattr(style, "encode", lambda figure, dpi: b"")
    given = {"dataset": str(tmp_path / "people"), "run_dir": str(tmp_path / "run")}
    split = rl.load(given["dataset"])
    recipe = rl.Recipe.for_dataset(given["dataset"], **TINY)
    rl.load_or_train(recipe, split.train, tmp_path / "run")
    right = score.per_query
    monkeypatch.setattr(score, "per_query", lambda *args: (values := right(*args)) | {name: values[name] + change})
    for notebook in ("04_evaluate", "05_ranked_images") if name in ("ap", "first_match") else ("04_evaluate",):
        with pytest.raises(AssertionError):
            run(shell, notebook, **given)
