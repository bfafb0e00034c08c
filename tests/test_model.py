"""The network's outputs with the golden weights, and its parts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_fill import arrays, facts, fill, float_entries, pictures, sum_l2
from torch import nn

from reidlib.recipe import Recipe
from reidlib.systems import backbones, build
from reidlib.systems.backbones import trunk
from reidlib.systems.bag_of_tricks import BagOfTricks
from reidlib.systems.timm_models import TimmMaps

GOLDEN, ENTRIES = arrays("model_main"), facts("model_entries_main")
EVAL, TRAIN = 1e-5, 1e-4  # golden/README.md: of the largest absolute value
RUNNING = 3e-5  # of the norm; the file states none: float32 came within 6e-6 of it
VARIANTS = {"no_relu": False, "with_relu": True}


def system_of(net: nn.Module, num_ids: int = 3, **options) -> BagOfTricks:
    return BagOfTricks(net, np.arange(num_ids), schedule=lambda epoch: 3.5e-4, **options)


def golden_images(n: int) -> torch.Tensor:
    return pictures(n, int(GOLDEN["height"]), int(GOLDEN["width"]), float(GOLDEN["phase"])).float()


def watch(net: nn.Module, names: list[str]) -> dict[str, list[float]]:
    """A dict that fills with the mean and standard deviation of each named stage's output."""
    seen = {}

    def note(name: str, out: torch.Tensor) -> None:
        seen.setdefault(name, [out.mean().item(), out.std().item()])

    for name in names:
        net.get_submodule(name).register_forward_hook(lambda _module, _inputs, out, name=name: note(name, out))
    return seen


@pytest.fixture(scope="module", params=VARIANTS)
def run(request) -> SimpleNamespace:
    """The golden weights' outputs: evaluation mode first, then one forward in training mode."""
    net = trunk("resnet50", stem_relu=VARIANTS[request.param])
    system = system_of(net, int(GOLDEN["num_classes"]))
    fill(float_entries(system), [entry["kind"] for entry in ENTRIES], int(GOLDEN["hash_offset_K"]))
    filled = [(tuple(tensor.shape), *sum_l2(tensor)) for _, tensor in float_entries(system)]
    stages = watch(net, GOLDEN[f"stage_names_{request.param}"].tolist())
    images = golden_images(int(GOLDEN["batch_train"]))
    np.testing.assert_allclose(images[:2, :, ::37, ::29], GOLDEN["image_probe_values"], atol=1e-6)
    with torch.no_grad():
        evaluated = system.eval()(images[: int(GOLDEN["batch_eval"])])
        trained = system.train()(images)
    running = [sum_l2(tensor) for name, tensor in float_entries(system) if "running" in name]
    golden = {key.removeprefix(f"{request.param}_"): value for key, value in GOLDEN.items()}
    return SimpleNamespace(
        filled=filled, stages=stages, evaluated=evaluated, trained=trained, running=running, golden=golden
    )


def deviation(tensor: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(tensor.double().numpy() - expected).max() / np.abs(expected).max())


def test_the_network_has_the_reference_implementations_entries_in_order(run):
    """Guards: ResNet-50 without its head, BNNeck, classifier without bias; every entry's shape, and the golden fill."""
    assert [entry[0] for entry in run.filled] == [tuple(entry["shape"]) for entry in ENTRIES]
    sums, norms = ([entry[i] for entry in run.filled] for i in (1, 2))
    assert norms == pytest.approx([entry["l2"] for entry in ENTRIES], rel=1e-6)
    assert sums == pytest.approx([entry["sum"] for entry in ENTRIES], rel=1e-4, abs=1e-3)


def test_every_stage_computes_what_the_reference_implementations_does(run):
    """Guards: the stem with and without its ReLU, the last stride of 1, as mean and spread of each stage's output."""
    np.testing.assert_allclose(list(run.stages.values()), run.golden["stage_mean_std"], rtol=EVAL, atol=EVAL)


def test_evaluation_features_are_the_golden_ones(run):
    """Guards: global average pool, BNNeck with running statistics; the feature after it is what retrieval compares."""
    feat, emb, _ = run.evaluated
    assert deviation(feat, run.golden["eval_before_bnneck"]) < EVAL
    assert deviation(emb, run.golden["eval_after_bnneck"]) < EVAL


def test_training_features_and_logits_are_the_golden_ones(run):
    """Guards: in training the triplet loss gets the feature before the BNNeck, the classifier the one after it."""
    feat, _, logits = run.trained
    assert deviation(feat, run.golden["train_features"]) < TRAIN
    assert deviation(logits, run.golden["train_logits"]) < TRAIN


def test_running_statistics_move_as_the_reference_implementations(run):
    """Guards: BatchNorm momentum .1 and unbiased variance in every layer, after one forward in training mode."""
    expected = run.golden["running_sum_l2_after_train_forward"]
    assert (np.abs(np.array(run.running) - expected) < RUNNING * expected[:, 1:]).all()


def test_the_golden_outputs_tell_the_stem_relu_apart(run):
    """Guards: the reference implementation leaves the ReLU after the stem out; the other variant's values are far."""
    others = [GOLDEN[f"{name}_eval_after_bnneck"] for name in VARIANTS]
    assert sum(deviation(run.evaluated[1], other) < EVAL for other in others) == 1


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "slim"])
@pytest.mark.parametrize(("last_stride", "shape"), [(1, (4, 2)), (2, (2, 1))])
def test_a_last_stride_of_1_doubles_the_last_map(name, last_stride, shape):
    """Guards: 16 x 8 instead of 8 x 4 places for 256 x 128 images, here at a quarter of that size.

    The stem of the slim network has stride 1: its maps are those of images twice as large.
    """
    shape = tuple(2 * side for side in shape) if name == "slim" else shape
    net, seen = trunk(name, last_stride=last_stride).eval(), []
    last = net.features if name == "mobilenet_v2" else net.layer4
    last.register_forward_hook(lambda _module, _inputs, out: seen.append(tuple(out.shape[2:])))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 32)).shape == (1, net.channels)
    assert seen == [shape]


def test_the_slim_network_is_a_narrow_resnet():
    net = trunk("slim", "none")
    assert net.channels == 192
    assert sum(p.numel() for p in net.parameters()) == 690_552
    assert [len(getattr(net, f"layer{k}")) for k in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert isinstance(net.relu, nn.Identity), "without a ReLU in its stem, as the other ResNets"
    assert isinstance(trunk("slim", stem_relu=True).relu, nn.ReLU)
    with pytest.raises(ValueError, match=r"no ImageNet weights are known for backbone='slim'; write weights='none'"):
        trunk("slim", "imagenet")


@pytest.mark.parametrize(("model", "dataset"), [("bot", "toy"), ("pcb", "toy"), ("aligngan", "toy-sysu")])
def test_every_system_learns_on_the_slim_network(model, dataset):
    recipe = Recipe.for_dataset(dataset, model=model, backbone="slim", height=64, width=32)
    system, labels = build(recipe, np.arange(4)), torch.arange(4).repeat_interleave(recipe.k)
    before = [parameter.clone() for parameter in system.parameters()]
    system.begin_epoch(1)
    assert all(value.isfinite().all() for value in system.step(torch.rand(len(labels), 3, 64, 32), labels).values())
    assert not all(map(torch.equal, before, system.parameters()))
    images = torch.rand(2, 3, 64, 32)
    assert system.embed(images).shape[1] % 192 == 0


def test_the_neck_and_the_classifier_start_as_the_reference_implementations():
    """Guards: BNNeck weight 1, bias 0 and frozen; classifier without bias, normal with standard deviation .001."""
    system = system_of(trunk("trunks:small"), 4000)
    assert (system.bnneck.weight == 1).all()
    assert not system.bnneck.bias.any()
    assert not system.bnneck.bias.requires_grad
    assert system.classifier.bias is None
    assert system.classifier.weight.std().item() == pytest.approx(0.001, rel=0.02)


def test_everything_trained_is_decayed_by_one_adam():
    """Guards: Adam (betas .9, .999, eps 1e-8), weight decay 5e-4 on all that is trained, BatchNorm and biases too."""
    system = system_of(trunk("trunks:small"))
    (adam,) = system.optimizers.values()
    assert isinstance(adam, torch.optim.Adam)
    options = [(group["betas"], group["eps"], group["weight_decay"]) for group in adam.param_groups]
    assert set(options) == {((0.9, 0.999), 1e-8, 5e-4)}
    held = {id(p) for group in adam.param_groups for p in group["params"]}
    assert held == {id(p) for name, p in system.named_parameters() if name != "bnneck.bias"}


def test_without_the_bnneck_one_feature_serves_both_losses():
    system = system_of(trunk("trunks:small"), bnneck=False).eval()
    feat, emb, logits = system(torch.randn(2, 3, 64, 32))
    assert torch.equal(feat, emb)
    assert system.classifier.bias is not None
    torch.testing.assert_close(logits, system.classifier(feat))


def test_embeddings_are_unit_rows_of_the_feature_after_the_neck():
    system, images = system_of(trunk("trunks:small")).train(), torch.randn(4, 3, 64, 32)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    rows = system.embed(images)
    assert system.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())
    assert (rows.dtype, rows.requires_grad) == (torch.float32, False)
    expected = nn.functional.normalize(system.eval()(images)[1])
    torch.testing.assert_close(rows, expected.detach())
    torch.testing.assert_close(system.embed(images[:1]), rows[:1])  # a batch of one, and no other image's influence


def test_a_recipes_seed_decides_the_weights_and_nothing_outside():
    recipe = Recipe.for_dataset("toy", backbone="trunks:small")
    torch.manual_seed(0)
    systems = [build(r, np.array([7, 3, 3])) for r in (recipe, recipe, recipe.replace(seed=2))]
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    first, again, other = (system.classifier.weight.cpu() for system in systems)
    assert first.shape[0] == 2  # two identities
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["trunks:small", "mobilenet_v2"])
@pytest.mark.parametrize("bnneck", [True, False])
def test_the_embedding_is_the_sum_of_what_each_place_adds(name, bnneck):
    system = system_of(trunk(name), bnneck=bnneck)
    images = golden_images(2)
    system.train()(images)  # running statistics that are not those of the start
    regions = system.regions(images)
    assert regions.ndim == 4
    assert regions.shape[0] == 2
    torch.testing.assert_close(regions.sum((1, 2)), system.embed(images), atol=1e-5, rtol=1e-4)
    assert system.training
    assert not [hook for module in system.modules() for hook in module._forward_hooks]


@pytest.mark.parametrize("name", ["trunks:small", "resnet18", "mobilenet_v2"])
def test_gem_is_a_generalised_mean_of_the_last_map(name):
    net = trunk(name, size=(64, 32), pooling="gem").eval()
    maps = backbones.unpooled(net)(golden_images(2)).detach().numpy().astype(np.float64)
    expected = (np.maximum(maps, 1e-6) ** 3).mean((2, 3)) ** (1 / 3)
    np.testing.assert_allclose(net(golden_images(2)).detach(), expected, rtol=1e-4)
    net.exponent.data.fill_(1.0)
    np.testing.assert_allclose(net(golden_images(2)).detach(), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)
    net(golden_images(2)).sum().backward()
    assert net.exponent.grad.isfinite()
    assert net.exponent.grad != 0


def test_a_generalised_mean_is_no_sum_over_places():
    with pytest.raises(ValueError, match="pooling='gem' is no mean"):
        system_of(trunk("trunks:small", pooling="gem")).regions(golden_images(2))


def test_a_trunk_that_rests_stays_as_it_is_while_the_head_learns():
    system = system_of(trunk("trunks:small"), frozen_epochs=1)
    images, labels = golden_images(6), torch.tensor([0, 0, 1, 1, 2, 2])
    before = {name: value.clone() for name, value in system.state_dict().items()}

    def moved() -> set[str]:
        system.step(images, labels)
        state = system.state_dict()
        return {name for name, value in state.items() if not torch.equal(value, before[name])}

    system.begin_epoch(0)
    rested = moved()
    assert "classifier.weight" in rested
    assert "bnneck.running_mean" in rested
    assert not [name for name in rested if name.startswith("trunk.")]
    system.begin_epoch(1)
    assert moved() - {"ids"} == before.keys() - {"ids", "bnneck.bias"}


def test_feature_maps_with_the_channels_last_are_turned():
    """As timm's Swin gives them."""
    net = nn.Identity()
    net.num_features, net.forward_features = 5, lambda images: images.permute(0, 2, 3, 1)
    maps = torch.randn(2, 5, 4, 3)
    assert torch.equal(TimmMaps(net)(maps), maps)


@pytest.mark.parametrize(("flags", "multiplies"), [("avx2", False), ("avx2 avx512_bf16", True), ("amx_bf16 amx", True)])
def test_auto_is_half_precision_where_the_processor_multiplies_in_it(flags, multiplies, monkeypatch):
    cpu = SimpleNamespace(is_file=lambda: True, read_text=lambda _: f"flags : {flags}")
    monkeypatch.setattr(backbones, "Path", {"/proc/cpuinfo": cpu}.__getitem__)
    assert backbones.uses_bf16("auto", "cpu") == multiplies
    assert not backbones.uses_bf16("auto", "mps")
    assert (backbones.uses_bf16("bf16", "cpu"), backbones.uses_bf16("float32", "cpu")) == (True, False)
    cpu.is_file = lambda: False
    assert not backbones.uses_bf16("auto", "cpu")


@pytest.mark.parametrize(("weights", "trained"), [("imagenet", True), ("none", False)])
def test_timm_is_asked_for_trained_weights_by_name(weights, trained, monkeypatch):
    asked, net = [], nn.Identity()
    net.channels = 3
    monkeypatch.setattr(backbones, "timm_model", lambda *words: asked.append(words) or net)
    monkeypatch.setattr(backbones, "load_weights", lambda *_: None)
    trunk("timm:any", weights, 2, size=(64, 32))
    assert asked == [("any", trained)]
