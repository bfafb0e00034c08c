"""docs/extending.md, run as it stands: parts from outside the package train, resume, restore, evaluate and browse."""

import importlib
import re
import sys
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

import reidlib as rl
from reidlib import provenance
from reidlib.provenance import modules_of, source_digest

PAGE = rl.project() / "docs" / "extending.md"
SIZES = dict(height=32, width=16, p=3, k=2, iterations=2, epochs=2, precision="float32", weights="none")
PARTS = {  # what each section of the page brings, as words of a recipe
    "a data set": {"backbone": "resnet18"},
    "a backbone": {"backbone": "mine:backbone"},
    "a trick": {"backbone": "mine:backbone", "model": "mine:Spread", "tricks": "all+spread"},
    "a system": {"backbone": "mine:backbone", "model": "mine:Classifier"},
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The module that the page's code blocks make up, and a shop's images."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 5, "a block for each of the five extensions"
    (tmp_path / "mine.py").write_text("\n\n".join(blocks))
    rng = np.random.default_rng(0)
    for part, ids, cameras in (
        ("train", range(1, 7), (1, 2)),
        ("query", range(7, 13), (1,)),
        ("gallery", range(7, 13), (2,)),
    ):
        (tmp_path / "shop" / part).mkdir(parents=True)
        for pid in ids:
            colour = np.random.default_rng(pid).integers(40, 216, 3)
            for camera in cameras:
                for frame in range(2 if part == "train" else 1):
                    pixels = np.clip(colour + rng.normal(0, 12, (48, 24, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(tmp_path / "shop" / part / f"{pid:04d}_c{camera}_{frame}.png")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the kernels that a grid starts
    monkeypatch.setenv("SHOP", str(tmp_path / "shop"))
    yield importlib.import_module("mine")
    sys.modules.pop("mine")


@pytest.mark.parametrize("part", PARTS)
def test_what_is_brought_trains_resumes_restores_evaluates_and_browses(part, mine, tmp_path):
    split = rl.load("mine:shop")
    recipe = rl.Recipe.for_dataset("mine:shop", **SIZES, **PARTS[part])
    for _ in rl.fit(rl.build(recipe, split.train, "cpu"), split.train, tmp_path / "parts"):
        break
    rows = list(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, tmp_path / "parts"))
    whole = rl.build(recipe, split.train, "cpu")
    assert [row["loss"] for row in rl.fit(whole, split.train, tmp_path / "whole")] == [row["loss"] for row in rows]
    system = rl.restore(tmp_path / "parts", device="cpu")
    assert type(system) is type(whole)
    for name, value in system.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    scores = rl.measure(system, split, tmp_path / "parts")
    assert 0 <= scores.mAP <= 1
    assert rl.RankedBrowser(scores, system=system).view["lists"][0]["cards"]
    metrics = {"found_in_three": mine.found_in_three}
    rl.write_result(tmp_path / "parts", system, rows, {split.name: scores}, metrics=metrics)
    (row,) = rl.collect(tmp_path / "parts")
    assert row["found_in_three"] == pytest.approx(100 * mine.found_in_three(scores), abs=0.01)
    assert row["dataset"] == "mine:shop"


def test_the_trick_adds_its_loss_only_where_it_is_asked_for(mine, tmp_path):
    split = rl.load("mine:shop")
    rows = {}
    for tricks in ("all", "all+spread"):
        words = PARTS["a trick"] | {"tricks": tricks}
        recipe = rl.Recipe.for_dataset("mine:shop", **SIZES, **words)
        rows[tricks] = next(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, tmp_path / tricks))
    assert "spread" not in rows["all"]
    assert rows["all+spread"]["spread"] != 0


def test_a_split_of_ones_own_may_not_pass_for_a_built_in_set(mine, monkeypatch):
    """Guards: rows, counts and protocols go by the name of the data set."""
    renamed = replace(mine.shop(), name="duke")
    monkeypatch.setattr(mine, "shop", lambda: renamed)
    with pytest.raises(ValueError, match="mine:shop gives a Split named 'duke'"):
        rl.load("mine:shop")


def test_a_grid_runs_all_of_them_at_once(mine, tmp_path):
    notebook = nbformat.read(rl.project() / "notebooks" / "03_train.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "parameters" in cell["metadata"].get("tags", [])]
    body = """
import reidlib as rl
recipe = rl.Recipe.for_dataset(dataset, preset, tricks, seed, model=model, height=height, width=width, p=p, k=k,
                               epochs=epochs, iterations=iterations, precision=precision, backbone=backbone,
                               weights=weights)
split = rl.load(dataset)
rows = list(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, run_dir))
system = rl.restore(run_dir, device="cpu")
scores = {split.name: rl.measure(system, split, run_dir)}
rl.write_result(run_dir, system, rows, scores, metrics=rl.metrics_by_name(metrics))
"""
    notebook.cells.append(nbformat.v4.new_code_cell(body))
    nbformat.write(notebook, tmp_path / "small.ipynb")
    jobs = rl.grid(
        dataset="mine:shop", model="mine:Spread", tricks=["all", "all+spread"], metrics="mine:found_in_three",
        **SIZES | {"backbone": "mine:backbone"},
    )  # fmt: skip
    outcomes = rl.run_grid(tmp_path / "small.ipynb", jobs, tmp_path / "runs", say=lambda line: None)
    assert [outcome.error for outcome in outcomes] == [None, None]
    rows = rl.collect(tmp_path / "runs")
    assert [row["tricks"] for row in rows] == ["all", "all+spread"]
    assert all(0 <= row["found_in_three"] <= 100 for row in rows)
    again = []
    rl.run_grid(tmp_path / "small.ipynb", jobs, tmp_path / "runs", say=again.append)
    assert "2 of them done before" in again[0]


def test_a_changed_source_of_ones_own_makes_the_run_stale(mine, tmp_path):
    """Guards: the code of a system from outside is part of the identity of its numbers."""
    recipes = [rl.Recipe.for_dataset("mine:shop", **SIZES, **PARTS[part]) for part in ("a backbone", "a trick")]
    before = [source_digest(*modules_of(recipe)) for recipe in recipes]
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "\n# another version\n")
    after = [source_digest(*modules_of(recipe)) for recipe in recipes]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_run_whose_system_is_out_of_reach_is_not_called_damaged(mine, tmp_path, monkeypatch):
    """Guards: the remedy is PYTHONPATH, and never to delete a run that is whole."""
    split, run = rl.load("mine:shop"), tmp_path / "run"
    recipe = rl.Recipe.for_dataset("mine:shop", **SIZES, **PARTS["a system"])
    rows = list(rl.fit(rl.build(recipe, split.train, "cpu"), split.train, run))
    system = rl.restore(run, device="cpu")
    rl.write_result(run, system, rows, {split.name: rl.measure(system, split, run)})
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "mine", None)  # as if its folder were not on the path
        for use in (rl.restore, rl.collect):
            with pytest.raises(ValueError, match=r"\.json: no model 'mine:Classifier'.*PYTHONPATH") as error:
                use(run)
            assert "delete" not in str(error.value)
    assert rl.collect(run)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224"])
def test_backbones_of_timm_by_name(name):
    """A convolutional network, a MobileNet and a small ViT, with random weights: no network is needed."""
    pytest.importorskip("timm")
    images = torch.randn(2, 3, 64, 32)
    nets = {stride: rl.trunk(name, "none", stride, size=(64, 32)).eval() for stride in (1, 2)}
    with torch.inference_mode():
        maps = {stride: net.net(images) for stride, net in nets.items()}
        assert nets[1](images).shape == (2, nets[1].channels)
    assert maps[2].shape[1] == nets[2].channels
    places = {stride: value.shape[2] * value.shape[3] for stride, value in maps.items()}
    assert places[1] == places[2] * (1 if "vit" in name else 4)


def test_a_transformer_of_timm_is_loaded_at_its_own_size_and_at_that_of_the_images(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    source = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    torch.save(source.state_dict(), tmp_path / "vit.pth")
    loaded = rl.trunk("timm:vit_tiny_patch16_224", str(tmp_path / "vit.pth"), size=(64, 32))
    source.set_input_size(img_size=(64, 32))
    assert torch.equal(loaded.net.net.pos_embed, source.pos_embed)
    torch.save(source.state_dict(), tmp_path / "sized.pth")
    again = rl.trunk("timm:vit_tiny_patch16_224", str(tmp_path / "sized.pth"), size=(64, 32))
    assert torch.equal(again.net.net.pos_embed, source.pos_embed)
    with pytest.raises(ValueError, match="do not fit timm:vit_tiny_patch16_224"):
        rl.trunk("timm:vit_tiny_patch16_224", str(tmp_path / "sized.pth"), size=(128, 64))


@pytest.mark.parametrize(("name", "stride"), [("resnetblur18", 1), ("xcit_nano_12_p16_224", 2)])
def test_a_model_of_timm_that_makes_no_map_is_refused_when_it_is_built(name, stride):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=f"backbone='timm:{name}' makes no map of images of 64 x 32 with last_stride="):
        rl.trunk(f"timm:{name}", "none", stride, size=(64, 32))


def test_the_stride_of_timms_resnet_is_removed_where_torchvisions_is():
    pytest.importorskip("timm")
    ours, theirs = rl.trunk("resnet18"), rl.trunk("timm:resnet18")
    strided = [
        [layer.stride for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)] for net in (ours, theirs)
    ]
    assert strided[0] == strided[1]


@pytest.mark.parametrize("model", ["bot", "pcb"])
def test_timm_backbones_serve_every_system(model, crowd, tmp_path):
    pytest.importorskip("timm")
    words = SIZES | {"height": 64, "width": 32, "backbone": "timm:vit_tiny_patch16_224"}
    recipe = rl.Recipe.for_dataset("shop", model=model, parts=2, **words) if model == "pcb" else None
    recipe = recipe or rl.Recipe.for_dataset("shop", **words)
    rows = list(rl.fit(rl.build(recipe, crowd.train, "cpu"), crowd.train, tmp_path / "run"))
    assert np.isfinite(rows[-1]["loss"])
    assert rl.embed(rl.restore(tmp_path / "run", device="cpu"), crowd.query).shape[0] == len(crowd.query)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"backbone": "timm:resnet17"}, "timm has no model 'resnet17'"),
        ({"backbone": "nowhere:net"}, "no backbone 'nowhere:net'.*PYTHONPATH"),
        ({"backbone": "math:net"}, "math has no net"),
        ({"backbone": "mine:backbone", "weights": "imagenet"}, "no ImageNet weights are known"),
        ({"model": "nowhere.at.all"}, "no model 'nowhere.at.all'.*PYTHONPATH"),
        ({"model": "math"}, "no model 'math'"),
        ({"model": "math:pi"}, "has no from_recipe"),
    ],
)
def test_what_cannot_be_found_is_named_with_the_remedy(words, message, mine):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        rl.build(rl.Recipe.for_dataset("mine:shop", **SIZES | words), [1, 2, 3], "cpu")


def test_the_line_ends_of_windows_change_no_digest_of_the_code(tmp_path, monkeypatch):
    digests = []
    for code in (b"a = 1\nb = 2\n", b"a = 1\r\nb = 2\r\n", b"a = 1\nb = 3\n"):
        (tmp_path / "a.py").write_bytes(code)
        monkeypatch.setattr(provenance, "sources", lambda *_: [("a", tmp_path / "a.py")])
        digests.append(source_digest())
    assert digests[0] == digests[1] != digests[2]
