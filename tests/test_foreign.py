"""Weights of other projects: state dicts with their names and shapes, made on the spot, compute what theirs compute."""

import pickle

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import reidlib as rl
from reidlib.data.augment import MEAN, STD

SIZE = dict(height=64, width=32)


def shaken(state, seed=0):
    """The same names and shapes, with the values of a trained network: nothing is 0 or 1."""
    draw = torch.Generator().manual_seed(seed)
    for key, value in state.items():
        if value.ndim == 1:  # all but kernels, which are random anyway
            noise = torch.rand(value.shape, generator=draw)
            state[key] = value + 0.1 * (noise if "running_var" in key else noise - 0.5)
    return state


@pytest.fixture(scope="module")
def body():
    """A ResNet-50 of torchvision, and its state dict without the head."""
    net = torchvision.models.resnet50(weights=None)
    net.fc = nn.Identity()
    net.load_state_dict(shaken(net.state_dict()))
    return net.eval(), {key: value.clone() for key, value in net.state_dict().items()}


def named(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def neck(prefix):
    return named(shaken(nn.BatchNorm1d(2048).state_dict()), prefix)


def normed(feat, state, prefix):
    x = (feat - state[f"{prefix}running_mean"]) / (state[f"{prefix}running_var"] + 1e-5).sqrt()
    return F.normalize(x * state[f"{prefix}weight"] + state[f"{prefix}bias"])


@torch.inference_mode()
def features(net, images, relu=True, pool=None, non_local=None):
    """The last map of a ResNet, step by step."""
    x = net.bn1(net.conv1(images))
    x = F.relu(x) if relu else x
    x = net.layer1(net.maxpool(x) if pool is None else pool(x))
    for name, stage in (("2", net.layer2), ("3", net.layer3)):
        blocks = list(stage)
        for i, block in enumerate(blocks):
            x = block(x)
            if non_local and i >= len(blocks) - {"2": 2, "3": 3}[name]:
                x = non_local(x, f"backbone.NL_{name}.{i - len(blocks) + {'2': 2, '3': 3}[name]}.")
    return net.layer4(x)


def one_stride(net, stride):
    for layer in (net.layer4[0].conv2, net.layer4[0].downsample[0]):
        layer.stride = (stride, stride)


def images():
    return torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def close(system, expected):
    torch.testing.assert_close(system.embed(images()), expected, rtol=0, atol=2e-6)


def test_reid_strong_baseline(body, tmp_path):
    net, weights = body
    state = named(weights, "base.") | neck("bottleneck.") | {"classifier.weight": torch.zeros(751, 2048)}
    torch.save(state, tmp_path / "rsb.pth")
    system = rl.foreign(tmp_path / "rsb.pth", "cpu", precision="float32", **SIZE)
    one_stride(net, 1)
    close(system, normed(features(net, images(), relu=False).mean((2, 3)), state, "bottleneck."))
    assert (system.recipe.resize, system.recipe.stem_relu, system.flip) == ("bilinear", False, False)
    without = {key: value for key, value in state.items() if not key.startswith("bottleneck")}
    torch.save(without, tmp_path / "no_neck.pth")
    close(
        rl.foreign(tmp_path / "no_neck.pth", "cpu", precision="float32", **SIZE),
        F.normalize(features(net, images(), relu=False).mean((2, 3))),
    )
    with pytest.raises(ValueError, match="no classifier"):
        system.step(images(), torch.tensor([0, 0]))


def test_torchreid_resnet50_in_a_checkpoint(body, tmp_path):
    net, weights = body
    state = named(
        weights | {"classifier.weight": torch.zeros(751, 2048), "classifier.bias": torch.zeros(751)}, "module."
    )
    torch.save(
        {"state_dict": state, "epoch": np.int64(60), "rank1": np.float32(0.9), "optimizer": {"lr": [np.float64(1)]}},
        tmp_path / "model.pth.tar-60",
    )
    system = rl.foreign(tmp_path / "model.pth.tar-60", "cpu", precision="float32", **SIZE)
    one_stride(net, 2)
    close(system, F.normalize(features(net, images()).mean((2, 3))))


@pytest.mark.parametrize("variant", ["BoT", "AGW", "SBS"])
def test_fast_reid(variant, body, tmp_path):
    net, weights = body
    state = named(weights, "backbone.") | neck("heads.bottleneck.0.") | {"heads.weight": torch.zeros(751, 2048)}
    state |= {
        f"pixel_{name}": 255 * torch.tensor(value).view(1, 3, 1, 1) for name, value in (("mean", MEAN), ("std", STD))
    }
    for stage, channels in ((2, 512), (2, 512), (3, 1024), (3, 1024), (3, 1024)) if variant != "BoT" else ():
        i = sum(key.startswith(f"backbone.NL_{stage}.") and key.endswith("g.bias") for key in state)
        layers = nn.ModuleDict({name: nn.Conv2d(channels, 1, 1) for name in ("g", "theta", "phi")})
        layers["W"] = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))
        state |= named(shaken(layers.state_dict(), i), f"backbone.NL_{stage}.{i}.")
    state |= {"heads.pool_layer.p": torch.tensor([2.5])} if variant == "SBS" else {}
    torch.save({"model": state, "iteration": 9, "trainer": {"epoch": 1}}, tmp_path / "best.pth")
    system = rl.foreign(tmp_path / "best.pth", "cpu", precision="float32", **SIZE)

    def non_local(x, at):
        flat = {
            name: F.conv2d(x, state[f"{at}{name}.weight"], state[f"{at}{name}.bias"]).flatten(1)
            for name in ("g", "theta", "phi")
        }
        seen = torch.einsum("bi,bj,bj->bi", flat["theta"], flat["phi"], flat["g"]) / flat["g"].shape[1]
        y = F.conv2d(seen.view(len(x), 1, *x.shape[2:]), state[f"{at}W.0.weight"], state[f"{at}W.0.bias"])
        return x + F.batch_norm(
            y, *(state[f"{at}W.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        )

    one_stride(net, 1)
    pool = lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)  # noqa: E731
    maps = features(net, images(), pool=pool, non_local=non_local if variant != "BoT" else None)
    p = {"BoT": 1, "AGW": 3, "SBS": 2.5}[variant]  # Base-AGW.yml says gempool, Base-SBS.yml a pooling that is learned
    feat = maps.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p) if p > 1 else maps.mean((2, 3))
    close(system, normed(feat, state, "heads.bottleneck.0."))
    if variant == "BoT":
        torch.save(state | {"pixel_mean": torch.full((1, 3, 1, 1), 127.5)}, tmp_path / "half.pth")
        with pytest.raises(ValueError, match="pixel_mean is not ImageNet's"):
            rl.foreign(tmp_path / "half.pth")
    else:
        assert rl.foreign(tmp_path / "best.pth", "cpu").recipe.size == {"AGW": (256, 128), "SBS": (384, 128)}[variant]


STREAM = ("conv1.weight", "conv2.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
CONV = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


def osnet_names(width):
    """Names and shapes of all tensors of torchreid's OSNet but its counters, from the paper's table of layers."""
    a, b, c, d = (round(width * channels) for channels in (64, 256, 384, 512))
    shapes = {}

    def conv(at, inside, outside, size=1):
        shapes.update(dict.fromkeys((f"{at}.{name}" for name in CONV[1:]), (outside,)))
        shapes[f"{at}.conv.weight"] = (outside, inside, size, size)

    conv("conv1", 3, a, 7)
    for stage, inside, outside in (("conv2", a, b), ("conv3", b, c), ("conv4", c, d)):
        for i in (0, 1):
            at, m = f"{stage}.{i}", outside // 4
            conv(f"{at}.conv1", outside if i else inside, m)
            streams = [f"{at}.conv2a"] + [
                f"{at}.conv2{s}.{j}" for s, n in (("b", 2), ("c", 3), ("d", 4)) for j in range(n)
            ]
            for stream in streams:
                shapes.update(dict.fromkeys((f"{stream}.{name}" for name in STREAM[2:]), (m,)))
                shapes |= {f"{stream}.conv1.weight": (m, m, 1, 1), f"{stream}.conv2.weight": (m, 1, 3, 3)}
            shapes |= {f"{at}.gate.fc1.weight": (m // 16, m, 1, 1), f"{at}.gate.fc1.bias": (m // 16,)}
            shapes |= {f"{at}.gate.fc2.weight": (m, m // 16, 1, 1), f"{at}.gate.fc2.bias": (m,)}
            conv(f"{at}.conv3", m, outside)
            if not i:
                conv(f"{at}.downsample", inside, outside)
        if stage != "conv4":
            conv(f"{stage}.2.0", outside, outside)
    conv("conv5", d, d)
    shapes |= {"fc.0.weight": (512, d), "fc.0.bias": (512,)} | {f"fc.1.{name[3:]}": (512,) for name in CONV[1:]}
    return shapes | {"classifier.weight": (751, 512), "classifier.bias": (751,)}


@pytest.mark.parametrize(("variant", "width", "millions"), [("x1_0", 1.0, 2.2), ("x0_25", 0.25, 0.2)])
def test_torchreid_osnet(variant, width, millions, tmp_path):
    rng = np.random.default_rng(0)
    state = {
        name: torch.from_numpy(rng.uniform(0.1, 0.3, shape).astype(np.float32))
        for name, shape in osnet_names(width).items()
    }
    state = {name: value - 0.2 if name.endswith("conv.weight") else value for name, value in state.items()}
    torch.save(state, tmp_path / "osnet.pth")
    system = rl.foreign(tmp_path / "osnet.pth", "cpu", precision="float32", **SIZE)
    assert system.recipe.backbone == f"reidlib.systems.osnet:{variant}"
    trunk = sum(parameter.numel() for parameter in system.trunk.parameters())
    assert round(trunk / 1e6, 1) == millions, "as in table 2 and figure 5 of its paper"
    emb = system.embed(images())
    assert emb.shape == (2, 512)
    assert bool((emb >= 0).all()), "the layer behind the mean ends in a ReLU"
    block, wide = system.trunk.net.conv4[1].double(), {name: value.double() for name, value in state.items()}
    x = torch.rand(1, round(512 * width), 4, 2, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(block(x), osnet_block(x, wide, "conv4.1"))


def osnet_block(x, state, at):
    """A block of OSNet from its equations (section 3.2), from the weights alone."""

    def bn(y, name):
        return F.batch_norm(
            y, *(state[f"{at}.{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        )

    def light(y, name):
        y = F.conv2d(y, state[f"{at}.{name}.conv1.weight"])
        return bn(F.conv2d(y, state[f"{at}.{name}.conv2.weight"], padding=1, groups=y.shape[1]), name).relu()

    y, total = bn(F.conv2d(x, state[f"{at}.conv1.conv.weight"]), "conv1").relu(), 0
    for stream, depth in zip("abcd", (1, 2, 3, 4)):
        z = y
        for j in range(depth):
            z = light(z, f"conv2{stream}" if stream == "a" else f"conv2{stream}.{j}")
        gate = F.conv2d(
            z.mean((2, 3), keepdim=True), state[f"{at}.gate.fc1.weight"], state[f"{at}.gate.fc1.bias"]
        ).relu()
        gate = F.conv2d(gate, state[f"{at}.gate.fc2.weight"], state[f"{at}.gate.fc2.bias"])
        total = total + z * torch.sigmoid(gate)
    return (bn(F.conv2d(total, state[f"{at}.conv3.conv.weight"]), "conv3") + x).relu()


def test_the_instance_normalised_osnet_is_told_by_its_names(tmp_path):
    from reidlib.systems.osnet import ibn_x1_0

    state = ibn_x1_0().state_dict()
    assert {"conv2.0.IN.weight", "conv2.1.IN.bias", "conv1.bn.weight"} <= state.keys()
    assert "conv1.bn.running_mean" not in state
    assert "conv3.0.IN.weight" not in state
    save_file(state, tmp_path / "osnet.safetensors")
    system = rl.foreign(tmp_path / "osnet.safetensors", "cpu", **SIZE)
    assert system.recipe.backbone == "reidlib.systems.osnet:ibn_x1_0"


def test_a_foreign_model_fills_a_gallery(tmp_path, crowd):
    from reidlib.systems.osnet import x0_25

    torch.save(x0_25().state_dict(), tmp_path / "tiny.pth")
    gallery = rl.Gallery(rl.foreign(tmp_path / "tiny.pth", "cpu", **SIZE))
    gallery.add(crowd.gallery)
    again = rl.Gallery.load(gallery.save(tmp_path / "g"), rl.foreign(tmp_path / "tiny.pth", "cpu", **SIZE))
    assert again.search(crowd.query, k=2).names.shape == (6, 2)


class Evil:
    def __reduce__(self):
        return (print, ("this code ran",))


def test_what_does_not_fit_says_so(tmp_path, capsys):
    from reidlib.systems.osnet import x0_25

    good = x0_25().state_dict()
    wide, deep = dict(good), dict(good)
    wide["conv3.0.conv1.conv.weight"] = torch.zeros(48, 16, 1, 1)
    deep["conv4.2.conv1.conv.weight"] = torch.zeros(3)
    files = {
        "wide": (wide, r"torchreid OSNet, but 1 tensors do not fit .* first 'trunk.net.conv3.0.conv1.conv.weight'"),
        "deep": (deep, "first 'trunk.net.conv4.2.conv1.conv.weight'"),
        "nan": (good | {"fc.0.bias": torch.full((512,), torch.nan)}, "'fc.0.bias' holds NaN"),
        "other": (
            {"encoder.weight": torch.zeros(2)},
            r"no project that is known \(reid-strong-baseline.*encoder.weight",
        ),
        "list": ([torch.zeros(2)], "holds a list and no state dict"),
        "evil": ({"state_dict": good, "extra": Evil()}, "without running its code.*save model.state_dict"),
    }
    for name, (content, said) in files.items():
        torch.save(content, tmp_path / f"{name}.pth", pickle_protocol=2)
        with pytest.raises(ValueError, match=said):
            rl.foreign(tmp_path / f"{name}.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="without running its code"):
        rl.foreign(tmp_path / "raw.pth")
    assert "this code ran" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.pth"):
        rl.foreign(tmp_path / "gone.pth")
