"""AlignGAN: its networks' shapes, each loss against a plain computation, what each phase trains, and resuming."""

import copy
import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_train import digest, interrupted, trained
from torch.nn import functional as F

import reidlib as rl
from reidlib.data.augment import MEAN, STD
from reidlib.systems.aligngan import system as aligngan
from reidlib.systems.aligngan.translation import Discriminator, Generator, JointDiscriminator, strides
from reidlib.train import checkpoints

WARM, JUDGES = ("judges.warm_visible", "judges.warm_ir"), ("judges.visible", "judges.pair")
ENCODER, GENERATORS = ("trunk", "embedder", "bottle", "classifier"), ("to_ir", "to_visible")
# one image of each modality hides how a batch is laid out, two show it
LAYOUTS = pytest.mark.parametrize("k", [2, 4])


@pytest.fixture
def crossed(crowd):
    """The crowd of six, its second camera infrared."""
    return replace(crowd, **{part: infrared(getattr(crowd, part)) for part in ("train", "query", "gallery")})


def infrared(shots):
    return replace(shots, infrared_cameras=(2,))


@pytest.fixture
def small():
    """A recipe of four epochs of two iterations: one of each warm-up, two of both; P 3 x (1 visible + 1 infrared)."""
    return recipe_of()


def recipe_of(**fields):
    given = dict(height=32, width=16, p=3, k=2, iterations=2, epochs=4, phases=(1, 1), checkpoint_every=1)
    given |= dict(milestones=(3,), gan_size=(32, 16), gan_channels=4, gan_p=2, lr=0.2, backbone_lr=0.02)
    given |= dict(precision="float32", backbone="trunks:small", gan_lr=2e-4, gan_weights=(10.0, 5.0, 0.1, 0.1))
    given |= dict(bnneck=False, together=False)
    return rl.Recipe.for_dataset("toy-sysu", model="aligngan", **given | fields)


def system_at(epoch, recipe=None, ids=6):
    system = rl.build(recipe or recipe_of(), np.arange(ids), "cpu")
    system.begin_epoch(epoch)
    return system


def batch(recipe=None, ids=3, seed=0):
    """Images (P * K, 3, H, W) and labels (P * K,)."""
    recipe = recipe or recipe_of()
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(ids * recipe.k, 3, *recipe.size, generator=rng)
    return (images - 0.45) / 0.225, torch.arange(ids).repeat_interleave(recipe.k)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_networks_have_the_shapes_of_the_authors_code():
    images, maps = torch.zeros(1, 3, 128, 128), torch.zeros(1, 2048, 24, 12)
    generator, judge, pair = Generator(), Discriminator(), JointDiscriminator()
    assert generator(images).shape == (1, 3, 128, 128)
    assert judge(images).shape == pair(images, maps).shape == (1, 1, 4, 4)
    assert pair.image(images).shape == (1, 256, 16, 16), "three convolutions"
    assert pair.feature(maps).shape == (1, 64, 24, 12)
    # two 7 x 7 convolutions, two down and two up of 4 x 4, eight of 3 x 3, and 2 numbers for each normalised channel
    convolutions = 2 * 49 * 3 * 64 + 2 * 16 * (64 * 128 + 128 * 256) + 8 * 9 * 256 * 256
    assert parameters(generator) == convolutions + 2 * (2 * (64 + 128) + 256 * 9)
    assert parameters(judge) == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 1984 + 9 * 1024


@pytest.mark.parametrize(("size", "patches"), [((64, 32), (8, 4)), ((32, 16), (8, 4)), ((64, 64), (4, 4))])
def test_the_networks_fit_smaller_images(size, patches):
    images, maps = torch.zeros(2, 3, *size), torch.zeros(2, 512, 4, 2)
    assert Generator(size, 4)(images).shape == images.shape
    assert Discriminator(size, 4)(images).shape == JointDiscriminator(size, 512, 4)(images, maps).shape
    assert Discriminator(size, 4)(images).shape[2:] == patches


@pytest.mark.parametrize("size", [(24, 24), (8, 8), (50, 32)])
def test_a_size_that_cannot_be_halved_is_refused(size):
    with pytest.raises(ValueError, match="gan_size="):
        strides(size)


def test_the_third_phase_has_what_the_others_leave():
    recipe = rl.Recipe.for_dataset("toy-sysu", model="aligngan")
    assert recipe.phases == recipe.phase_lengths[:2]
    assert sum(recipe.phase_lengths) == recipe.epochs


def test_the_triplet_loss_across_modalities_is_what_plain_loops_find():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 7, generator=rng), torch.randn(6, 7, generator=rng)
    a_labels, b_labels = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 1, 2, 2, 0])
    found = []
    for x, of in zip(a, a_labels, strict=True):
        near = [float(x @ y / x.norm() / y.norm()) for y in b]
        same = [s for s, label in zip(near, b_labels, strict=True) if label == of]
        other = [s for s, label in zip(near, b_labels, strict=True) if label != of]
        found.append(max(0.0, max(other) - min(same) + 1.0))
    assert rl.cross_triplet(a, b, a_labels, b_labels).item() == pytest.approx(np.mean(found), abs=1e-6)


def test_one_identity_alone_costs_no_triplet_loss_and_breaks_nothing():
    feat = torch.randn(3, 4, requires_grad=True)
    loss = rl.cross_triplet(feat, feat, torch.zeros(3), torch.zeros(3))
    loss.backward()
    assert loss == 0
    assert feat.grad.isfinite().all()
    recipe = recipe_of(k=4)
    assert all(value.isfinite() for value in system_at(2, recipe).step(*batch(recipe, ids=1)).values())


def shrunk(images):
    """By hand: out of ImageNet's normalisation, to -1..1; the small recipe's gan_size is that of the images."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 2 * (images * std + mean) - 1


def stretched(images):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((images + 1) / 2 - mean) / std


def sides(images, labels, k, ids=3):
    """By hand, of the first `ids` identities of a batch: visible images, infrared ones, and the labels of either."""
    visible, infrared = [], []
    for person in range(ids):
        for shot in range(k):
            (visible if shot < k // 2 else infrared).append(person * k + shot)
    assert labels[visible].tolist() == labels[infrared].tolist()
    return images[visible], images[infrared], labels[visible]


def false_pairs(real, fake, real_map, fake_map, pids):
    """By hand: an infrared image and a feature map that do not belong together, or of which one is generated."""
    count = len(pids)
    others = [(i + count // 2) % count for i in range(count)]  # of two people: the other one
    assert all(pids[i] != pids[j] for i, j in enumerate(others))
    return [(fake, real_map), (real, fake_map), (fake, fake_map), (real[others], real_map)]


def far(answers, target):
    return F.mse_loss(answers, torch.full_like(answers, target))


def heads(system, maps, dropped=None):
    feat = maps.mean((2, 3))
    kept = feat if dropped is None else F.dropout(feat, 0.5)
    return system.embedder(feat), system.classifier(system.bottle(kept))


@LAYOUTS
def test_the_first_phase_is_cross_entropy_and_triplet_loss_of_real_infrared_images(k):
    recipe = recipe_of(k=k)
    system, (images, labels) = system_at(0, recipe), batch(recipe)
    _, infrared, pids = sides(images, labels, k)
    torch.manual_seed(1)
    emb, logits = heads(system, system.trunk(infrared), dropped=True)
    ce, triplet = F.cross_entropy(logits, pids), rl.cross_triplet(emb, emb, pids, pids, 1.0)
    torch.manual_seed(1)
    found = system.step(images, labels)
    expected = {"loss": ce + triplet, "ce": ce, "triplet": triplet, "acc": (logits.argmax(1) == pids).float().mean()}
    cosine, same = F.cosine_similarity(emb[:, None], emb[None], dim=2), pids[:, None] == pids
    expected |= {"own": cosine[same].mean(), "others": cosine[~same].mean()}
    assert list(found) == list(expected)
    torch.testing.assert_close(found, {name: value.detach() for name, value in expected.items()})


@LAYOUTS
@pytest.mark.parametrize("epoch", [1, 2])
def test_the_losses_of_the_pixels_are_those_of_the_paper(epoch, k):
    """Least squares against 1, 10 x cycle, 5 x identity, .1 x both triplets, .1 x cross entropy; in both phases.

    The judges learn that what is real is 1 and what is not is 0; the joint one from the mean over four false kinds.
    """
    recipe = recipe_of(k=k)
    system, (images, labels) = system_at(epoch, recipe), batch(recipe)
    if epoch == 2:  # the pixels alone: the features would be trained before
        system._align_features = lambda *_: {"loss": torch.zeros(()), "acc": torch.zeros(())}
    for name in JUDGES + WARM:  # answers far apart: at first they are about 0 whatever the image
        list(system.get_submodule(name).modules())[-1].weight.data *= 10
    seen, dark, pids = sides(images, labels, k, recipe.gan_p)  # of three identities the generators get two
    visible, infrared = shrunk(seen), shrunk(dark)
    to_ir, to_visible = system.to_ir, system.to_visible
    fake_ir, fake_visible = to_ir(visible), to_visible(infrared)
    system.trunk.eval(), system.bottle.eval()
    real_map, fake_map = system.trunk(dark), system.trunk(stretched(fake_ir))
    real_emb, fake_emb = heads(system, real_map)[0], heads(system, fake_map)[0]
    logits = heads(system, fake_map)[1]
    if epoch == 1:
        judge_visible, judge_ir, false = (
            system.judges.warm_visible,
            lambda image, _: system.judges.warm_ir(image),
            [(fake_ir, None)],
        )
    else:
        judge_visible, judge_ir = system.judges.visible, system.judges.pair
        false = false_pairs(infrared, fake_ir, real_map, fake_map, pids)
    gan = (far(judge_visible(fake_visible), 1) + far(judge_ir(fake_ir, real_map), 1)) / 2
    told_false = torch.stack([far(judge_ir(*pair), 0) for pair in false]).mean()
    discriminators = (far(judge_visible(visible), 1) + far(judge_visible(fake_visible), 0)) / 2
    discriminators += (far(judge_ir(infrared, real_map), 1) + told_false) / 2
    cycle = (F.l1_loss(to_visible(fake_ir), visible) + F.l1_loss(to_ir(fake_visible), infrared)) / 2
    identity = (F.l1_loss(to_visible(visible), visible) + F.l1_loss(to_ir(infrared), infrared)) / 2
    triplet = rl.cross_triplet(fake_emb, real_emb, pids, pids) + rl.cross_triplet(real_emb, fake_emb, pids, pids)
    expected = {"pixel_gan": gan, "cycle": 10 * cycle, "identity": 5 * identity, "pixel_triplet": 0.1 * triplet}
    expected |= {"pixel_ce": 0.1 * F.cross_entropy(logits, pids)}
    expected |= {"loss": sum(expected.values()), "discriminators": discriminators}
    system.train()
    found = system.step(images, labels)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@LAYOUTS
def test_the_joint_discriminator_learns_from_a_true_pair_and_four_false_ones(monkeypatch, k):
    recipe = recipe_of(k=k)
    system, (images, labels) = system_at(2, recipe), batch(recipe)
    system._align_features = lambda *_: {"loss": torch.zeros(()), "acc": torch.zeros(())}
    asked, forward = [], system.judges.pair.forward
    monkeypatch.setattr(system.judges.pair, "forward", lambda *pair: asked.append(pair) or forward(*pair))
    system.step(images, labels)
    _, dark, pids = sides(images, labels, k, recipe.gan_p)
    real = shrunk(dark)
    fooled, *asked = asked  # the generator's question comes first: a generated image beside the features of a real one
    fake, real_map = fooled
    assert not torch.allclose(fake, real)
    (_, fake_map) = asked[1]
    kinds = [*false_pairs(real, fake, real_map, fake_map, pids), (real, real_map)]
    assert len(asked) == 5
    for (image, maps), (wanted_image, wanted_map) in zip(asked, kinds, strict=True):
        torch.testing.assert_close(image, wanted_image.detach())
        torch.testing.assert_close(maps, wanted_map.detach())
        assert not image.requires_grad
        assert not maps.requires_grad


@LAYOUTS
def test_the_features_of_both_phases_are_those_of_the_paper(k):
    """Cross entropy of both modalities, triplets both ways, and .1 x what the joint discriminator is told."""
    recipe = recipe_of(k=k)
    system, (images, labels) = system_at(2, recipe), batch(recipe)
    system._align_pixels = lambda *_: {"loss": torch.zeros(()), "acc": torch.zeros(())}
    visible, infrared, pids = sides(images, labels, k)
    state = {name: value.clone() for name, value in system.state_dict().items()}
    torch.manual_seed(1)
    real, fake = system.trunk(infrared), system.trunk(stretched(system.to_ir(shrunk(visible)).detach()))
    (a, a_logits), (b, b_logits) = heads(system, real, dropped=True), heads(system, fake, dropped=True)
    answers = system.judges.pair(shrunk(infrared), fake)
    expected = {
        "ce": F.cross_entropy(a_logits, pids) + F.cross_entropy(b_logits, pids),
        "triplet": rl.cross_triplet(a, b, pids, pids) + rl.cross_triplet(b, a, pids, pids),
        "feature_gan": 0.1 * F.mse_loss(answers, torch.ones_like(answers)),
    }
    expected["loss"] = sum(expected.values())
    system.load_state_dict(state)
    torch.manual_seed(1)
    found = system.step(images, labels)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@LAYOUTS
def test_pixels_alone_the_features_of_either_kind_are_learned_within_it(k):
    """The images are translated; triplets stay within a kind, and nothing judges features."""
    recipe = recipe_of(k=k, tricks="all-features")
    system, (images, labels) = system_at(2, recipe), batch(recipe)
    visible, infrared, pids = sides(images, labels, k)
    torch.manual_seed(1)
    real, fake = system.trunk(infrared), system.trunk(stretched(system.to_ir(shrunk(visible)).detach()))
    (a, a_logits), (b, b_logits) = heads(system, real, dropped=True), heads(system, fake, dropped=True)
    ce = F.cross_entropy(a_logits, pids) + F.cross_entropy(b_logits, pids)
    triplet = rl.cross_triplet(a, a, pids, pids) + rl.cross_triplet(b, b, pids, pids)
    system = system_at(2, recipe)
    asked = []
    system.judges.pair.register_forward_hook(lambda *_: asked.append("pair"))
    torch.manual_seed(1)
    found = system.step(images, labels)
    torch.testing.assert_close(found["ce"], ce.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["triplet"], triplet.detach(), atol=1e-5, rtol=1e-4)
    assert "feature_gan" not in found
    assert not asked
    assert found["cycle"] > 0


def test_features_alone_visible_images_reach_the_encoder_as_they_are():
    recipe = recipe_of(tricks="all-pixels")
    system, (images, labels) = system_at(2, recipe), batch(recipe)
    visible, infrared, pids = sides(images, labels, recipe.k)
    torch.manual_seed(1)
    (a, _), (b, _) = (heads(system, system.trunk(each), dropped=True) for each in (infrared, visible))
    triplet = rl.cross_triplet(a, b, pids, pids) + rl.cross_triplet(b, a, pids, pids)
    system, made = system_at(2, recipe), []
    before = {name: value.clone() for name, value in system.state_dict().items()}
    for generator in (system.to_ir, system.to_visible):
        generator.register_forward_hook(lambda *_: made.append("image"))
    torch.manual_seed(1)
    found = system.step(images, labels)
    torch.testing.assert_close(found["triplet"], triplet.detach(), atol=1e-5, rtol=1e-4)
    assert torch.equal(system.to_infrared(images), images)
    assert not made
    assert not {"cycle", "identity", "pixel_gan", "pixel_ce", "pixel_triplet"} & found.keys()
    changed = {network(name) for name, value in system.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {*ENCODER, *JUDGES}


@LAYOUTS
def test_together_both_kinds_of_images_meet_the_same_statistics_and_a_neck_centres_the_embeddings(k):
    recipe = recipe_of(k=k, together=True, bnneck=True)
    system, (images, labels) = system_at(2, recipe), batch(recipe)
    system._align_pixels = lambda *_: {"loss": torch.zeros(()), "acc": torch.zeros(())}
    visible, infrared, pids = sides(images, labels, k)
    state = {name: value.clone() for name, value in system.state_dict().items()}
    torch.manual_seed(1)
    both = torch.cat([infrared, stretched(system.to_ir(shrunk(visible)).detach())])
    a, b = (heads(system, maps, dropped=True)[0] for maps in system.trunk(both).chunk(2))
    triplet = rl.cross_triplet(a, b, pids, pids) + rl.cross_triplet(b, a, pids, pids)
    torch.testing.assert_close(a.mean(0), torch.zeros(256), atol=1e-4, rtol=0)
    system.load_state_dict(state)
    torch.manual_seed(1)
    torch.testing.assert_close(system.step(images, labels)["triplet"], triplet.detach(), atol=1e-4, rtol=1e-3)


def test_one_of_the_two_alignments_is_needed():
    with pytest.raises(ValueError, match="nothing aligns the two kinds of images"):
        recipe_of(tricks="none")


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_accuracy_of_the_discriminators_is_the_share_of_patches_on_the_right_side(monkeypatch, epoch):
    system, (images, labels) = system_at(epoch), batch()
    given, loss = [], system.judges.loss
    monkeypatch.setattr(system.judges, "loss", lambda *args: given.append(args) or loss(*args))
    for name in JUDGES + WARM:
        list(system.get_submodule(name).modules())[-1].weight.data *= 10
    names = {1: ("judges.warm_visible", "judges.warm_ir"), 2: JUDGES}[epoch]
    copies = [copy.deepcopy(system.get_submodule(name)) for name in names]
    found = system.step(images, labels)["judged"]
    real, fake, real_map, fake_map, joint, each = given[0]
    if epoch == 1:
        true, false = [(real["ir"],)], [(fake["ir"],)]
    else:
        mixed = real["ir"].roll(-each, 0)
        true = [(real["ir"], real_map)]
        false = [(fake["ir"], real_map), (real["ir"], fake_map), (fake["ir"], fake_map), (mixed, real_map)]
    right = [torch.cat([copies[1](*x) for x in pairs]) for pairs in (true, false)]
    right += [copies[0](images["visible"]) for images in (real, fake)]
    shares = [((answers > 0.5) == wanted).float().mean() for answers, wanted in zip(right, (1, 0, 1, 0), strict=True)]
    assert found == pytest.approx(float(sum(shares)) / 4, abs=1e-6)
    assert joint == (epoch == 2)
    assert 0 < found < 1


def network(parameter):
    """The network that a parameter is of: its first word, or judges.<which>."""
    return ".".join(parameter.split(".")[: 2 if parameter.startswith("judges.") else 1])


@pytest.mark.parametrize(
    ("epoch", "trained"),
    [(0, ENCODER), (1, GENERATORS + WARM), (2, ENCODER + GENERATORS + JUDGES)],
    ids=aligngan.PHASES,
)
def test_a_phase_trains_its_networks_and_no_others(epoch, trained):
    system, (images, labels) = system_at(epoch), batch()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    system.step(images, labels)
    after = system.state_dict()
    changed = {network(name) for name in after if not torch.equal(before[name], after[name])}
    assert changed == set(trained)
    system.step(*batch(seed=1))
    still = [name for name, p in system.named_parameters() if torch.equal(before[name], p) and name.startswith(trained)]
    assert not still, "of what is trained, everything is"


def test_each_optimiser_has_its_rates_and_they_drop_together():
    system, rates = rl.build(recipe_of(), np.arange(6), "cpu"), []
    for epoch in range(4):
        system.begin_epoch(epoch)
        rates.append([group["lr"] for optimizer in system.optimizers.values() for group in optimizer.param_groups])
        assert system.phase == min(epoch, 2)
    start = [0.2, 0.02, 2e-4, 2e-4]
    assert rates[0] == rates[2] == start[:1] + rates[0][1:]
    recipe = recipe_of()
    assert rates[0] == pytest.approx([recipe.lr, recipe.backbone_lr, recipe.gan_lr, recipe.gan_lr])
    assert rates[3] == pytest.approx([rate / 10 for rate in rates[0]])
    held = [id(p) for o in system.optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, system.parameters())), "every weight has one optimiser"


def test_the_optimisers_are_those_of_the_authors_code():
    """Guards: REFERENCE C.2, on networks that build at once."""
    recipe = rl.Recipe.for_dataset("sysu", model="aligngan", weights="none", backbone="trunks:small", gan_channels=4)
    system, adam = rl.build(recipe, np.arange(6), "cpu"), {"betas": (0.5, 0.999), "weight_decay": 0, "amsgrad": False}
    sgd = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "dampening": 0}
    gan = (torch.optim.Adam, adam, {GENERATORS: 2e-4}), (torch.optim.Adam, adam, {JUDGES + WARM: 2e-4})
    wanted = [(torch.optim.SGD, sgd, {ENCODER[1:]: 0.2, ENCODER[:1]: 0.02}), *gan]
    for optimizer, (kind, options, rates) in zip(system.optimizers.values(), wanted, strict=True):
        assert type(optimizer) is kind
        for group, (networks, rate) in zip(optimizer.param_groups, rates.items(), strict=True):
            assert {name: group[name] for name in options} == options
            assert group["lr"] == rate
            weights = [p for name in networks for p in system.get_submodule(name).parameters()]
            assert {id(p) for p in group["params"]} == {id(p) for p in weights}, networks


@pytest.mark.parametrize("at", [2, 4, 6])
def test_a_run_stopped_in_the_middle_of_any_phase_ends_bit_identical(crossed, small, tmp_path, monkeypatch, at):
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", -1)  # after every step
    whole, rows = trained(small, crossed.train, tmp_path / "whole")
    interrupted(small, crossed.train, tmp_path / "parts", at)
    resumed, after = trained(small, crossed.train, tmp_path / "parts")
    assert digest(resumed) == digest(whole)
    assert [row["loss"] for row in after] == [row["loss"] for row in rows]


def test_the_log_has_the_losses_of_every_phase(crossed, small, tmp_path):
    system, rows = trained(small, crossed.train, tmp_path)
    with open(tmp_path / "log.csv", encoding="utf-8", newline="") as stream:
        logged = list(csv.DictReader(stream))
    features, pixels = {"ce", "triplet"}, {"pixel_gan", "cycle", "identity", "pixel_triplet", "pixel_ce"}
    assert features | pixels | {"feature_gan", "discriminators", "acc", "loss"} <= set(logged[0])
    filled = [{name for name in features | pixels | {"feature_gan"} if row[name]} for row in logged]
    assert filled == [features, pixels, *2 * [features | pixels | {"feature_gan"}]]
    assert [row["lr"] for row in rows] == [small.learning_rate(epoch) for epoch in range(4)]
    for given in (rows, rl.read_csv(tmp_path / "log.csv")):
        lines = {line.get_label(): line for line in rl.plot_log(given).axes[0].lines}
        assert {name: len(lines[name].get_xdata()) for name in ("loss", "ce", "cycle", "feature_gan")} == {
            "loss": 4, "ce": 3, "cycle": 3, "feature_gan": 2
        }  # fmt: skip
    assert digest(rl.restore(tmp_path, device="cpu")) == digest(system)


def test_visible_images_go_through_the_generator_before_they_are_embedded(crossed, small, tmp_path):
    trained(small, crossed.train, tmp_path)
    first, last = (rl.restore(tmp_path, epoch, device="cpu") for epoch in (1, 4))
    images = rl.normalise(rl.decode(crossed.gallery.files(), small.size))
    assert torch.equal(first.to_infrared(images), images), "no generator has learned anything yet"
    generated = last.to_infrared(images)
    torch.testing.assert_close(generated, stretched(last.to_ir.eval()(shrunk(images)).detach()))
    seen = crossed.gallery.infrared
    by_hand = torch.where(torch.from_numpy(seen)[:, None, None, None], images, generated)
    emb = sum(F.normalize(last.trunk.eval()(x).mean((2, 3))) for x in (by_hand, by_hand.flip(3)))
    torch.testing.assert_close(rl.embed(last, crossed.gallery), F.normalize(emb).detach(), atol=1e-5, rtol=1e-4)
    assert last.flip, "the mirror image is a part of its test"


def test_the_encoder_sees_every_image_at_the_resolution_of_the_generated_ones():
    recipe = recipe_of(height=64, width=32)
    system, (images, _) = system_at(2, recipe), batch(recipe)
    small = F.interpolate(shrunk(images), (32, 16), mode="bilinear", antialias=True)
    large = F.interpolate((small + 1) / 2, (64, 32), mode="bilinear", antialias=True)
    system.eval()
    torch.testing.assert_close(system.encode(images), system.trunk(stretched(2 * large - 1)))
    assert system.to_infrared(images).shape == images.shape
    assert system.embed(images).shape == (6, 16)


def test_using_a_system_leaves_it_in_the_mode_that_it_was_in():
    system, (images, _) = system_at(2), batch()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    system.to_infrared(images), system.embed(images)
    assert all(module.training for module in system.modules())
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())


def test_what_it_cannot_be_trained_on_is_refused(crossed, crowd, small, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="order='identity': AlignGAN needs visible and infrared images"):
        rl.build(recipe_of(order="identity"), np.arange(6), "cpu")
    with pytest.raises(ValueError, match="order='modality' needs visible and infrared images"):
        trained(small, crowd.train, tmp_path)
    monkeypatch.setattr(aligngan.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(aligngan.dist, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="one process"):
        rl.build(small, np.arange(6), "cpu")


def test_steps_are_a_function_of_torchs_seed_and_the_batch(small):
    systems = [system_at(2) for _ in range(2)]
    for system, count in itertools.product(systems, range(2)):
        torch.manual_seed(count)
        system.step(*batch(seed=count))
    assert digest(systems[0]) == digest(systems[1])
