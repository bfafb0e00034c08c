"""export(): every system and every kind of backbone computes the same in ONNX Runtime; what cannot be exported."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib.data.augment import normalise

ort = pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
pytest.importorskip("onnxscript", reason="pip install onnx onnxscript onnxruntime")

SIZES = dict(height=32, width=16, weights="none")
# a system each, and a backbone each of torchvision, of timm and of one's own
MODELS = {
    "bot": (dict(model="bot", backbone="resnet18", precision="auto", **SIZES), {}),
    "pcb": (dict(model="pcb", backbone="trunks:small", tricks="all+rpp", **SIZES), {"pixels": False}),
    "aligngan": (dict(model="aligngan", dataset="toy-sysu", backbone="timm:convnext_atto", weights="none"), {}),
}


def built(dataset="toy", tricks="all", model="bot", **fields):
    recipe = rl.Recipe.for_dataset(dataset, tricks=tricks, model=model, **fields)
    return rl.build(recipe, np.array([1, 1, 2, 2]), "cpu")


@pytest.mark.parametrize("model", MODELS)
def test_the_file_gives_the_embeddings_of_the_system(model, crowd, tmp_path):
    fields, options = MODELS[model]
    system = built(**fields)
    for norm in (each for each in system.modules() if isinstance(each, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)  # as after a training: no longer 0 and 1
        norm.running_var.uniform_(0.5, 2)
    system.refined = model == "pcb"
    if model == "pcb":
        system.part_classifier.weight.data.normal_()
    if hasattr(system, "precision"):
        system.precision = "float32"
    difference = rl.export(system, tmp_path / "model.onnx", **options)
    assert difference <= 1e-5
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    made = {}
    for part in ("query", "gallery"):
        images = rl.decode(getattr(crowd, part).files(), system.recipe.size)
        images = images if options == {} else normalise(images)
        made[part] = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        torch.testing.assert_close(made[part], rl.embed(system, getattr(crowd, part)), rtol=0, atol=1e-5)
    ours, theirs = (
        rl.score(q, g, crowd.query, crowd.gallery)
        for q, g in (
            (made["query"], made["gallery"]),
            (rl.embed(system, crowd.query), rl.embed(system, crowd.gallery)),
        )
    )
    assert (ours.first_match == theirs.first_match).all()
    assert (ours.ap == theirs.ap).all()
    (single,) = session.run(None, {"images": images[:1].numpy()})
    torch.testing.assert_close(torch.from_numpy(single), made["gallery"][:1], rtol=0, atol=1e-5)
    about = json.loads(session.get_modelmeta().custom_metadata_map["reidlib"])
    assert about == rl.Gallery(system).model | {"pixels": not options, "half": False}


OWN = """
import numpy as np
import torch

class Own(torch.nn.Module):
    flip = False

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(3, 8, 3)

    @classmethod
    def from_recipe(cls, recipe, ids):
        return cls()

    def embed(self, images):
        with torch.inference_mode():
            return torch.nn.functional.normalize(self.net(images).mean((2, 3)).float())


class InNumPy(Own):
    def embed(self, images):
        with torch.inference_mode():
            return torch.from_numpy(np.sort(super().embed(images).numpy()))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_system.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_system")
    sys.modules.pop("own_system")


def test_a_system_from_outside_in_half_precision(own, tmp_path):
    system = built(model="own_system:Own", height=32, width=16)
    difference = rl.export(system, tmp_path / "half.onnx", half=True)
    assert 1e-5 < difference < 1e-3, "half precision is not float32"
    assert next(system.parameters()).dtype == torch.float32, "the system stays as it is"


def test_what_cannot_be_exported_says_so_and_writes_nothing(own, tmp_path):
    system = built(model="own_system:InNumPy", height=32, width=16)
    with pytest.raises(ValueError, match=r"own_system_InNumPy.* cannot be exported to ONNX \("):
        rl.export(system, tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"size=\(0, 16\): it is the height and the width"):
        rl.export(system, tmp_path / "none.onnx", size=(0, 16))
    with pytest.raises(ValueError, match=r"cannot be exported to ONNX \(RuntimeError: .*[Kk]ernel"):
        rl.export(system, tmp_path / "none.onnx", size=(1, 1))
    assert not (tmp_path / "none.onnx").exists()


def test_without_onnx_the_message_names_the_packages(own, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript onnxruntime"):
        rl.export(built(model="own_system:Own", height=32, width=16), tmp_path / "none.onnx")
