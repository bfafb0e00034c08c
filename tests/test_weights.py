"""Backbones and where their weights come from: a file, torchvision's server, or nowhere."""

import urllib.error

import pytest
import torch
import torchvision
from torch import nn

from reidlib.systems import osnet
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


def test_a_layer_that_is_called_as_a_head_is_loaded_where_the_backbone_has_it(tmp_path):
    """Guards: OSNet's own layer `fc`, which kept its random weights; a file without it is refused."""
    state = osnet.x0_25().state_dict()
    torch.save(state | {"classifier.weight": torch.zeros(9, 512)}, tmp_path / "own.pth")
    loaded = trunk("reidlib.systems.osnet:x0_25", weights=str(tmp_path / "own.pth"), last_stride=2)
    assert all(torch.equal(loaded.net.state_dict()[name], value) for name, value in state.items())
    del state["fc.0.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"1 entries missing or unknown, first 'fc\.0\.weight'"):
        trunk("reidlib.systems.osnet:x0_25", weights=str(tmp_path / "less.pth"))


class Inside(nn.Module):
    """A backbone of one's own whose layers lie in an attribute `net`."""

    channels = 8

    def __init__(self):
        super().__init__()
        self.net, self.norm = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1)), nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(self.net(images))


def test_a_backbone_of_ones_own_is_loaded_in_its_own_naming(tmp_path):
    source = Inside()
    torch.save(source.state_dict(), tmp_path / "own.pth")
    loaded = trunk(f"{__name__}:Inside", weights=str(tmp_path / "own.pth"))
    assert all(torch.equal(loaded.net.state_dict()[name], value) for name, value in source.state_dict().items())


def test_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "deeper.pth")
    torch.save({name: t[:1] for name, t in trunk("resnet18").state_dict().items() if t.ndim}, tmp_path / "narrow.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("deeper", "narrow", "text"):
        with pytest.raises(ValueError, match=f"{name}.pth"):
            trunk("resnet18", weights=str(tmp_path / f"{name}.pth"))


def test_a_missing_weights_file_is_named_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pth").mkdir()
    for name in ("gone.pth", "folder.pth"):
        with pytest.raises(FileNotFoundError, match=rf"no file {tmp_path}/{name}; give imagenet, none or"):
            trunk("resnet18", weights=name)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = torchvision.models.resnet18().state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = value
    torch.save(state, tmp_path / "diverged.pth")
    with pytest.raises(ValueError, match=r"diverged.pth: 'layer2.0.conv1.weight' holds NaN or infinity; give others"):
        trunk("resnet18", weights=str(tmp_path / "diverged.pth"))
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = 0
    state["fc.bias"][0] = value  # of the head, which is left out
    torch.save(state, tmp_path / "sound.pth")
    trunk("resnet18", weights=str(tmp_path / "sound.pth"))


def test_what_is_no_state_dict_is_refused_without_advice_to_run_its_code(tmp_path):
    net = torch.nn.Linear(2, 2)
    torch.save(net, tmp_path / "whole.pth")  # a pickled module
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "wrapped.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    torch.save(net.state_dict(), tmp_path / "cut.pth")
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.pth").touch()
    for name in ("whole", "wrapped", "list", "cut", "empty"):
        with pytest.raises(ValueError, match=rf"{name}.pth: no state dict.*; save net.state_dict\(\)") as caught:
            trunk("resnet18", weights=str(tmp_path / f"{name}.pth"))
        assert "weights_only" not in str(caught.value)


def test_without_a_network_imagenet_weights_say_where_they_can_be_fetched(tmp_path, monkeypatch):
    def unplugged(*_args, **_options):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", unplugged)
    with pytest.raises(FileNotFoundError, match=r"https://.*resnet18.*pth"):
        trunk("resnet18", weights="imagenet")
