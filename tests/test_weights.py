"""Backbones and where their weights come from: a file, torchvision's server, or nowhere."""

import urllib.error

import pytest
import torch
import torchvision

from reidlib.systems.backbones import trunk


def test_an_unknown_backbone_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'resnet5'.*resnet50"):
        trunk("resnet5")


@pytest.mark.parametrize("num_classes", [1000, 10])
def test_weights_of_a_file_are_loaded_without_their_head(tmp_path, num_classes):
    source = torchvision.models.resnet18(num_classes=num_classes)
    torch.save(source.state_dict(), tmp_path / "own.pth")
    loaded = trunk("resnet18", weights=str(tmp_path / "own.pth"))
    assert torch.equal(loaded.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert loaded.channels == 512


def test_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "deeper.pth")
    torch.save({name: t[:1] for name, t in trunk("resnet18").state_dict().items() if t.ndim}, tmp_path / "narrow.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("deeper", "narrow", "text"):
        with pytest.raises(ValueError, match=f"{name}.pth"):
            trunk("resnet18", weights=str(tmp_path / f"{name}.pth"))


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone.pth.*imagenet"):
        trunk("resnet18", weights=str(tmp_path / "gone.pth"))


def test_without_a_network_imagenet_weights_say_where_they_can_be_fetched(tmp_path, monkeypatch):
    def unplugged(*_args, **_options):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", unplugged)
    with pytest.raises(FileNotFoundError, match=r"https://.*resnet18.*pth"):
        trunk("resnet18", weights="imagenet")
