"""PCB: its network, losses and rates against their description; its stages, through the one training loop."""

import json

import pytest
import torch
from test_train import digest, interrupted, trained
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import reidlib as rl
from reidlib.runs.command import main
from reidlib.systems.backbones import trunk, unpooled
from reidlib.systems.pcb import PCB
from reidlib.train import checkpoints

IDS, PARTS = 751, 6  # of Market-1501


class Small(nn.Sequential):
    """A trunk that makes a map of a quarter of the images' size, 8 channels deep, within milliseconds."""

    channels = 8

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())


def small(**options) -> PCB:
    torch.manual_seed(1)
    return PCB(Small(), range(5), **{"dim": 4, "lr": 0.1, "backbone_lr": 0.01, "dropout": 0.0} | options)


def batch(height=48) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(8, 3, height, 16), torch.arange(8) % 5


@pytest.fixture
def few():
    """A recipe of four epochs for `crowd`: two with strips, one of the part classifier alone, one of everything."""
    sizes = dict(height=32, width=16, p=3, k=2, iterations=2, epochs=4, checkpoint_every=1, rpp_epochs=(1, 1))
    sizes |= dict(backbone="trunks:small")
    return rl.Recipe.for_dataset("toy", model="pcb", tricks="all+rpp", precision="float32", **sizes)


@pytest.fixture(scope="module")
def published():
    """The network of the published recipe, without ImageNet's weights."""
    return PCB(unpooled(trunk("resnet50", stem_relu=True)), range(IDS)).eval()


def test_the_published_sizes(published):
    """Guards: 384 x 192 images, last stride 1: a map of 24 x 12; G is 6 x 2048 numbers, H is 6 x 256."""
    recipe = rl.Recipe.for_dataset("market", model="pcb")
    assert recipe.size == (384, 192)
    image = torch.zeros(1, 3, *recipe.size)
    with torch.no_grad():
        last, logs = published.maps(image)
    assert (last.shape, logs.shape) == ((1, 2048, 24, 12), (1, PARTS, 24, 12))
    assert published.embed(image).shape == (1, 12_288)
    assert published.embed(image, "H").shape == (1, 1_536)


def test_the_parameters_are_counted_from_the_description(published):
    """Guards: ResNet-50 without its head; for each part 2048 -> 256, BatchNorm, 256 -> identities, nothing shared."""
    head = (2048 * 256 + 256) + 2 * 256 + (256 * IDS + IDS)
    assert sum(p.numel() for p in published.parameters()) == 23_508_032 + PARTS * head
    kinds = [type(layer) for layer in published.heads[0]]
    assert kinds == [nn.Dropout, nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Linear]
    assert (published.heads[0][0].p, published.heads[0][3].negative_slope) == (0.5, 0.1)


def test_heads_and_backbone_have_their_own_rates_and_the_same_steps():
    """Guards: .5 and .05, a tenth of both at 50, 80 and 100 of 120 epochs; SGD, Nesterov momentum .9, decay 5e-4."""
    system = PCB.from_recipe(
        rl.Recipe.for_dataset("market", model="pcb", backbone="trunks:small", weights="none"), range(3)
    )
    (sgd,) = system.optimizers.values()
    for epoch, factor in ((0, 1), (49, 1), (50, 0.1), (79, 0.1), (80, 0.01), (99, 0.01), (100, 0.001), (119, 0.001)):
        system.eval().begin_epoch(epoch)
        assert system.training
        assert [group["lr"] for group in sgd.param_groups] == pytest.approx([0.5 * factor, 0.05 * factor])
    assert {(g["momentum"], g["nesterov"], g["weight_decay"]) for g in sgd.param_groups} == {(0.9, True, 5e-4)}
    heads, backbone = ({id(p) for p in group["params"]} for group in sgd.param_groups)
    assert heads == {id(p) for p in system.heads.parameters()}
    assert backbone == {id(p) for p in system.trunk.parameters()}


def test_the_loss_is_the_mean_of_the_parts_cross_entropies_and_no_other():
    """Guards: against plain torch, layer by layer: average pooling, six heads, no smoothing, no triplet."""
    system, (images, labels) = small(), batch()
    system.begin_epoch(0)
    strips, losses, logits = F.adaptive_avg_pool2d(system.trunk(images), (PARTS, 1))[..., 0], [], []
    for part, (_, reduce, norm, _, classify) in enumerate(system.heads):
        seen = F.batch_norm(reduce(strips[:, :, part]), None, None, norm.weight, norm.bias, training=True)
        logits.append(F.leaky_relu(seen, 0.1) @ classify.weight.T + classify.bias)
        losses.append(F.cross_entropy(logits[-1], labels))
    row = system.step(images, labels)
    assert set(row) == {"loss", "acc"}
    assert row["loss"].item() == pytest.approx(sum(losses).item() / PARTS, rel=1e-5)
    assert row["acc"].item() == (sum(logits).argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize("rows", [24, 12, 7, 6, 3, 1])
def test_strips_are_adaptive_average_pooling_whatever_the_height(rows):
    system, images = small(), batch(4 * rows)[0]
    expected = F.adaptive_avg_pool2d(system.eval().trunk(images), (PARTS, 1))[..., 0].mT
    assert_close(system.pooled(images), expected)


def test_the_names_of_the_backbone_stay_so_that_its_weights_fit():
    net = trunk("resnet18", stem_relu=True)
    body = unpooled(net)
    assert list(body.state_dict()) == list(net.state_dict())
    images = torch.randn(2, 3, 64, 32)
    assert_close(body.eval()(images).mean((2, 3)), net.eval()(images))


def test_an_embedding_is_its_parts_each_of_its_own_length():
    """Guards: G is the strips' means, each normalised across its channels, one after another."""
    system, images = small().train(), batch()[0]
    emb, parts = system.embed(images), system.parts(images)
    assert system.training
    assert torch.equal(emb, parts.flatten(1))
    assert_close(parts.norm(dim=2), torch.full((8, PARTS), PARTS**-0.5))
    assert_close(emb[0] @ emb[1], (parts[0] * parts[1]).sum())
    strips = F.adaptive_avg_pool2d(system.eval().trunk(images), (PARTS, 1))[..., 0].mT
    assert_close(emb, F.normalize(F.normalize(strips, dim=2).flatten(1)).detach())


def test_the_other_features_are_what_their_names_say():
    """Guards: H is what the classifiers see; "across", the quirk, normalises each channel across the parts."""
    system, images = small().eval(), batch()[0]
    strips = F.adaptive_avg_pool2d(system.trunk(images), (PARTS, 1))[..., 0].mT  # (B, P, C)
    seen = torch.stack([head[:4](part) for head, part in zip(system.heads, strips.unbind(1), strict=True)], 1)
    assert_close(system.embed(images, "H"), F.normalize(F.normalize(seen, dim=2).flatten(1)).detach())
    quirk = system.embed(images, "across")
    assert_close(quirk, F.normalize(F.normalize(strips, dim=1).flatten(1)).detach())
    assert not torch.allclose(quirk, system.embed(images), atol=1e-2)
    system.feature = "H"
    assert torch.equal(system.embed(images), system.embed(images, "H"))
    with pytest.raises(ValueError, match=r"'F'.*G, H, across"):
        system.embed(images, "F")


def test_refined_parts_begin_as_the_whole_image():
    """Guards: a part classifier that knows nothing gives each place to all parts alike, so each part is the mean."""
    system, images = small(refine=(1, 2)), batch()[0]
    strips = system.attention(images)
    assert set(strips.unique().tolist()) == {0, 1}
    assert (strips.sum(1) == 1).all()
    system.begin_epoch(1)
    assert_close(system.attention(images), torch.full((8, PARTS, 12, 4), 1 / PARTS), atol=0.01, rtol=0)
    whole = system.trunk(images).mean((2, 3))[:, None].expand(-1, PARTS, -1)
    assert_close(system.pooled(images), whole, atol=0.01, rtol=0.01)


def test_a_part_is_the_mean_of_its_places_weighted_by_what_the_classifier_gives_it():
    system, images = small(refine=(0, 1)), batch()[0]
    system.begin_epoch(0)
    nn.init.normal_(system.part_classifier.weight)
    last, shares = system.trunk(images), system.attention(images)
    for b, part in ((0, 0), (3, 5)):
        weights = shares[b, part] / shares[b, part].sum()
        assert_close(system.pooled(images)[b, part], (last[b] * weights).sum((1, 2)))
    assert_close(shares.sum(1), torch.ones(8, 12, 4))
    system.part_classifier.weight.data *= 1e4  # so sure that some parts have no share of any place
    assert system.pooled(images).isfinite().all()


def moved(system, epoch) -> set[str]:
    """Which parts of a system an epoch of two steps changes: the first words of the names in its state."""
    before = {name: value.clone() for name, value in system.state_dict().items()}
    system.begin_epoch(epoch)
    for _ in range(2):
        system.step(*batch())
    return {name.split(".")[0] for name, value in system.state_dict().items() if not torch.equal(value, before[name])}


def test_each_stage_trains_what_it_says():
    """Guards: strips, then the part classifier alone with all else fixed, BatchNorm too, then everything."""
    system = small(refine=(1, 2), refine_factor=0.1, schedule=lambda epoch: 0.001**epoch)
    rates = []
    for epoch, parts in enumerate(({"trunk", "heads"}, {"part_classifier"}, {"trunk", "heads", "part_classifier"})):
        assert moved(system, epoch) - {"_extra_state"} == parts
        assert (system.refined, system.training) == (epoch > 0, epoch != 1)
        rates.append([group["lr"] for group in system.optimizers["main"].param_groups])
    assert rates == [pytest.approx(row) for row in ([0.1, 0.01, 0.1], [0.01, 0.001, 0.01], [0.01, 0.001, 0.01])]


def test_the_last_epochs_refine(few):
    system = rl.build(few, range(3), "cpu")
    assert system.refine == (2, 3)
    assert rl.build(rl.Recipe.from_dict(few.to_dict() | {"rpp": False}), range(3), "cpu").refine is None


def test_a_checkpoint_of_any_stage_embeds_as_it_did(crowd, few, tmp_path):
    system, found = rl.build(few, crowd.train, "cpu"), {}
    for row in rl.fit(system, crowd.train, tmp_path):
        found[row["epoch"]] = rl.embed(system, crowd.query)
    for epoch, emb in found.items():
        kept = rl.restore(tmp_path, epoch, "cpu")
        assert kept.refined == (epoch > 2)
        assert torch.equal(rl.embed(kept, crowd.query), emb)
    assert not torch.allclose(found[2], found[3], atol=1e-3), "other parts"


@pytest.mark.parametrize("at", [2, 4, 6, 8])
def test_a_run_killed_in_any_stage_ends_bit_identical(crowd, few, tmp_path, monkeypatch, at):
    whole, rows = trained(few, crowd.train, tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", -1)  # after every step
    interrupted(few, crowd.train, tmp_path / "parts", at)
    resumed, after = trained(few, crowd.train, tmp_path / "parts")
    assert digest(resumed) == digest(whole)
    assert [row["loss"] for row in after] == [row["loss"] for row in rows]


def test_the_kept_embeddings_of_one_feature_are_not_taken_for_anothers(crowd, few, tmp_path):
    trained(few, crowd.train, tmp_path)
    system, found = rl.restore(tmp_path, device="cpu"), []
    for system.feature in ("G", "H"):
        found.append(rl.measure(system, crowd, tmp_path))
    assert [scores.q.shape[1] for scores in found] == [6 * 16, 6 * few.part_dim]


def test_refined_parts_are_refused_on_several_processes(few, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="rpp=True on several processes"):
        PCB.from_recipe(few, range(3))
    assert PCB.from_recipe(rl.Recipe.from_dict(few.to_dict() | {"rpp": False}), range(3)).refine is None


def test_every_parameter_has_a_part_in_the_loss():
    """Guards: what DistributedDataParallel needs, where several processes train."""
    system, (images, labels) = small(), batch()
    F.cross_entropy(system(images).flatten(0, 1), labels.repeat_interleave(PARTS)).backward()
    assert all(parameter.grad is not None for parameter in system.parameters())


def test_bf16_is_for_the_trunk_alone():
    system, (images, labels) = small(precision="bf16"), batch()
    assert {t.dtype for t in (*system.maps(images), system(images), system.embed(images))} == {torch.float32}
    exact = small().step(images, labels)["loss"].item()
    assert system.step(images, labels)["loss"].item() == pytest.approx(exact, abs=1e-2)


def test_the_shell_trains_and_tests_it_like_any_other(crowd, tmp_path, capsys):
    sizes = "--height 32 --width 16 --p 3 --k 2 --iterations 1 --epochs 2 --backbone trunks:small --weights none"
    words = f"--dataset {tmp_path / 'crowd'} --run-dir {tmp_path / 'run'} --model pcb --lr .1 --backbone-lr .1 {sizes}"
    main(words.split())
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["recipe"]["model"], result["iterations"]) == ("pcb", 2)
    assert result["scores"]["crowd"]["flip"] == "on", "its own test averages mirror images"
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["system"] == "reidlib.systems.pcb"
    (row,) = rl.collect(tmp_path / "run")
    assert row["model"] == "pcb"
    assert "(pcb, reference, all, seed 1" in rl.result_line(row)
    assert "mirror" not in capsys.readouterr().out
