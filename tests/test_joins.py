"""That `build` and `fit` carry out the recipe of the reference implementation: REFERENCE A.1, point by point.

`A1` at the end names the tests that guard each line of it, in this file and in others.
"""

import ast
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from golden_fill import GOLDEN as GOLDEN_FOLDER
from golden_fill import arrays, facts, fill, float_entries, sum_l2
from joins import noted, plates, read
from PIL import Image
from scipy import stats
from test_batches import P_VALUE, QUANTITIES, measure
from test_train_steps import DELTA, LOSS, PARAM

import reidlib as rl
from reidlib.data.augment import MEAN, STD
from reidlib.data.images import ImageStore
from reidlib.train import loop

ERASING, CROPS = facts("augment")["erasing_main"], facts("augment")["crop_flip_main"]
STEPS = arrays("train_steps_main")


def market(**others) -> rl.Recipe:
    """Market's recipe with a network that is built at once."""
    return rl.Recipe.for_dataset("market", **{"backbone": "trunks:small", "weights": "none"} | others)


# ---- what the network is given


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> rl.Shots:
    return plates(tmp_path_factory.mktemp("joins") / "plates", ids=20, each=3)


def fitted(shots: rl.Shots, run: Path, epochs: int, **others) -> list[SimpleNamespace]:
    """What each step is given in the first epochs of Market's recipe."""
    system = rl.build(market(**others), shots, "cpu")
    with noted(system) as steps:
        for row in rl.fit(system, shots, run):
            if row["epoch"] == epochs:
                break
    return steps


@pytest.fixture(scope="module")
def steps(shots, tmp_path_factory) -> list[SimpleNamespace]:
    """Two epochs of 8 batches of Market's recipe; else it is as it stands."""
    return fitted(shots, tmp_path_factory.mktemp("joins") / "run", 2, iterations=8)


@pytest.fixture(scope="module")
def draws(steps) -> list[SimpleNamespace]:
    """What happened to the plates of each step."""
    return [read(step.images) for step in steps]


@pytest.fixture(scope="module")
def seen(draws) -> SimpleNamespace:
    """What happened to the plates of all steps."""
    return SimpleNamespace(**{name: np.concatenate([vars(draw)[name] for draw in draws]) for name in vars(draws[0])})


def test_images_are_resized_by_pillows_bicubic_filter_to_256_x_128(shots, steps):
    with Image.open(shots.file(0)) as image:
        expected = np.asarray(image.resize((128, 256), Image.Resampling.BICUBIC))
    assert np.array_equal(steps[0].stored[0].numpy(), expected)


def test_half_of_the_images_are_flipped(seen):
    n = len(seen.flipped)
    assert abs(seen.flipped.mean() - CROPS["flip_probability"]) < 4 * np.sqrt(0.25 / n)


@pytest.mark.parametrize(("side", "column"), [("top", 0), ("left", 1)])
def test_crops_are_uniform_over_10_black_pixels_on_each_side(seen, side, column):
    """Against the golden draws: a chi-square test of the offsets."""
    moved = getattr(seen, side) + CROPS["pad"]
    offsets = np.rint(moved).astype(int)
    golden = np.bincount(arrays("augment")["crop_flip_main"][:, column], minlength=21)
    assert np.abs(moved - offsets).max() < 0.45
    counts = np.bincount(offsets, minlength=21)
    assert len(counts) == 21
    assert stats.chisquare(counts).pvalue > P_VALUE
    assert stats.chi2_contingency([counts, golden]).pvalue > P_VALUE


def test_flip_top_left_and_erasing_are_drawn_apart_from_each_other(seen):
    drawn = np.stack([seen.flipped, seen.top, seen.left, seen.box[:, 0] >= 0]).astype(float)
    off = np.corrcoef(drawn)[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 4 / np.sqrt(drawn.shape[1])


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_erased_rectangles_are_distributed_as_the_golden_draws(seen, quantity):
    golden = measure(arrays("augment")["erasing_main"])[quantity]
    assert seen.whole.all()
    assert stats.ks_2samp(measure(seen.box)[quantity], golden).pvalue > P_VALUE


def test_half_of_the_images_are_erased_in_the_imagenet_mean_of_normalised_units(seen):
    erased = seen.box[:, 0] >= 0
    assert abs(erased.mean() - ERASING["probability"]) < 4 * np.sqrt(0.25 / len(erased))
    assert np.abs(seen.fill - ERASING["fill"][0]).max() < 1e-6


def test_pixels_are_normalised_by_the_imagenet_statistics_after_the_black_border(steps):
    """Every pixel is the plate's full blue, the border's black, or the fill: nothing else comes out of the pipeline."""
    blue = torch.cat([step.images[:, 2] for step in steps[:4]])
    allowed = torch.tensor([(1 - 0.406) / 0.225, -0.406 / 0.225, 0.406])
    assert (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    nearest = (blue[..., None] - allowed).abs().min(-1)
    assert nearest.values.max() < 1e-5
    assert set(nearest.indices.unique().tolist()) == {0, 1, 2}


def test_a_batch_is_16_identities_x_4_images_with_the_labels_of_its_images(shots, steps):
    """20 identities are two batches, of 16 and of 4; a pass has each identity once."""
    assert [len(step.labels) for step in steps] == [64, 16] * 8
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        labels = torch.cat([first.labels, second.labels]).view(-1, 4)
        assert (labels == labels[:, :1]).all()
        assert labels[:, 0].sort().values.tolist() == list(range(20))
    assert all(np.array_equal(shots.pids[step.index], step.labels.numpy()) for step in steps)


def test_every_epoch_has_other_batches_and_other_augmentation(steps, draws):
    first, second = steps[:8], steps[8:]
    assert not any(np.array_equal(a.index, b.index) for a, b in zip(first, second, strict=True))
    assert len({step.random for step in steps}) == 16, "the random numbers of dropout"
    boxes = [tuple(box) for draw in draws for box in draw.box if box[0] >= 0]
    assert len(set(boxes)) > 0.99 * len(boxes), "no batch is erased as another one is"
    for i in range(0, 16, 2):
        for j in range(i):
            if len(draws[i].top) == len(draws[j].top):
                assert not np.allclose(draws[i].top, draws[j].top, atol=0.4)
                assert not np.array_equal(draws[i].flipped, draws[j].flipped)


def test_batches_augmentation_and_weights_depend_on_the_seed(shots, steps, tmp_path):
    (again, *_), (other, *_) = (fitted(shots, tmp_path / str(n), 1, iterations=1, seed=n) for n in (1, 2))
    assert np.array_equal(again.index, steps[0].index)
    assert torch.equal(again.images, steps[0].images)
    assert again.random == steps[0].random != other.random
    assert not np.array_equal(other.index, again.index)
    one, two = read(again.images), read(other.images)
    assert not np.array_equal(one.box, two.box)
    assert not np.array_equal(one.flipped, two.flipped)
    assert not np.allclose(one.top, two.top, atol=0.4)


def test_an_epoch_is_200_iterations_and_each_runs_at_the_golden_rate(shots, tmp_path):
    """The rate is set before the epoch, from its number counted from 0; milestones and warm-up are the recipe's."""
    golden = facts("schedule")["default"]["seed_lr"]
    recipe = market()
    assert (recipe.iterations, recipe.epochs, recipe.iterations * recipe.epochs) == (200, 120, 24_000)
    given = market(p=2, k=2, height=16, width=16, pad=0, iterations=1, checkpoint_every=120)
    system = rl.build(given, shots, "cpu")
    with noted(system) as steps:
        rows = list(rl.fit(system, shots, tmp_path))
    assert [step.rates["main", 0] for step in steps] == pytest.approx(golden, rel=1e-12, abs=0)
    assert [row["lr"] for row in rows] == pytest.approx(golden, rel=1e-12, abs=0)


# ---- what a step does


@pytest.mark.parametrize(("rate", "words"), [("epoch0", {}), ("full", {"warmup_epochs": 0}),
                                             ("large", {"warmup_epochs": 0, "lr": 3.5e-3})])  # fmt: skip
def test_the_steps_of_a_fit_are_the_golden_ones(rate, words, tmp_path):
    """A recipe that is built, and an epoch of `fit` on the golden images: losses, weights and what they have moved by.

    Guards: label smoothing .1 and margin .3, weights 1:1, the triplet loss before and the classifier after the neck,
    Adam with weight decay 5e-4 on all that is trained.
    """
    (tmp_path / "data").mkdir()
    names = np.array([f"{pid}.png" for pid in range(8)])
    for name in names:
        Image.new("RGB", (16, 32)).save(tmp_path / "data" / name)
    shots = rl.Shots("golden", tmp_path / "data", names, np.arange(8), np.ones(8, int))
    recipe = market(backbone="trunks:stand_in", last_stride=2, height=32, width=16, p=8, k=2, iterations=5, epochs=1,
                    precision="float32", milestones=(), **words)  # fmt: skip
    system = rl.build(recipe, shots, "cpu")
    entries = float_entries(system)
    fill(entries, [*["conv", "bn_weight", "bn_bias", "zero", "one"] * 3, "bn_weight", "zero", "zero", "one", "linear"],
         int(STEPS["hash_offset_K"]))  # fmt: skip
    start, pictures = [p.detach().double().clone() for p in system.parameters()], iter(STEPS["images"])
    batches = SimpleNamespace(epoch=lambda epoch: list(STEPS["labels"]))  # the image of a label's number
    with (
        patch.object(loop, "augment", lambda *_: torch.from_numpy(next(pictures))),
        patch.object(loop.PKSampler, "of", lambda *_: batches),
    ):
        (row,) = rl.fit(system, shots, tmp_path / "run")
    found = {
        "losses": np.array([row["ce"], row["triplet"]]),
        "param_sum_l2": np.array(sum_l2(torch.cat([p.detach().double().flatten() for p in system.parameters()]))),
        "delta_sum_l2": np.array(sum_l2(torch.cat([
            (p.detach().double() - old).flatten() for p, old in zip(system.parameters(), start, strict=True)
        ]))),
    }  # fmt: skip

    golden = {key: STEPS[f"expected_{rate}_{key}"] for key in found}
    golden["losses"] = golden["losses"].mean(0)
    bounds = {"losses": LOSS, "param_sum_l2": PARAM, "delta_sum_l2": DELTA}
    for key in found:
        assert (np.abs(found[key] - golden[key]) < bounds[key]).all(), key
    assert row["loss"] == pytest.approx(row["ce"] + row["triplet"], rel=1e-6)


def test_the_built_network_is_the_reference_implementations():
    """ResNet-50, last stride 1, no ReLU after the stem, BNNeck with a frozen bias, classifier N(0, .001) of no bias."""
    system = rl.build(rl.Recipe.for_dataset("market", weights="none"), np.arange(751), "cpu")
    entries = facts("model_entries_main")
    assert [tuple(tensor.shape) for _, tensor in float_entries(system)] == [tuple(e["shape"]) for e in entries]
    trunk = system.trunk
    assert (trunk.layer4[0].conv2.stride, trunk.layer4[0].downsample[0].stride) == ((1, 1), (1, 1))
    assert [trunk.layer3[0].conv2.stride, trunk.layer2[0].conv2.stride] == [(2, 2)] * 2
    assert isinstance(trunk.relu, torch.nn.Identity)
    assert isinstance(trunk.layer1[0].relu, torch.nn.ReLU)
    neck, classifier = system.bnneck, system.classifier
    assert (neck.weight == 1).all()
    assert not neck.bias.any()
    assert not neck.bias.requires_grad
    assert classifier.bias is None
    assert classifier.weight.std().item() == pytest.approx(0.001, rel=0.01)
    (adam,) = system.optimizers.values()
    (group,) = adam.param_groups
    assert type(adam) is torch.optim.Adam
    assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == ((0.9, 0.999), 1e-8, 5e-4, 3.5e-6)
    assert len(group["params"]) == len(list(system.parameters())) - 1
    assert not hasattr(system, "center_loss")
    assert not system.flip


def test_what_is_tested_is_the_feature_after_the_neck(shots):
    system = rl.build(market(height=32, width=16), shots, "cpu")
    torch.nn.init.uniform_(system.bnneck.running_mean)
    store = ImageStore(shots, (32, 16))
    images = rl.normalise(store.images[:9])
    feat, emb, _ = system.eval()(images)
    after = torch.nn.functional.normalize(emb).detach()
    torch.testing.assert_close(rl.embed(system, shots[:9]), after)
    assert not torch.allclose(after, torch.nn.functional.normalize(feat).detach(), atol=0.01)


# ---- the list

A1 = {
    "--image_size 256 128": "test_joins.test_images_are_resized_by_pillows_bicubic_filter_to_256_x_128",
    "--p 16 --k 4": "test_joins.test_a_batch_is_16_identities_x_4_images_with_the_labels_of_its_images",
    "--margin, rates, decay, epochs, milestones": "test_recipe.test_the_reference_preset_says_what_the_reference_"
    "implementation_does",
    "the system of the recipe has them": "test_joins_fields.test_a_field_changes_what_it_says_and_nothing_else",
    "1. Resize, bicubic": "test_joins.test_images_are_resized_by_pillows_bicubic_filter_to_256_x_128",
    "2. RandomHorizontalFlip(0.5)": "test_joins.test_half_of_the_images_are_flipped",
    "3. Pad(10), black before normalisation": "test_joins.test_pixels_are_normalised_by_the_imagenet_statistics_after_"
    "the_black_border",
    "4. RandomCrop": "test_joins.test_crops_are_uniform_over_10_black_pixels_on_each_side",
    "2. to 4. in this order": "test_batches.test_a_batch_is_flipped_then_padded_with_black_then_cropped",
    "5. and 6. ToTensor, Normalize": "test_joins.test_pixels_are_normalised_by_the_imagenet_statistics_after_the_"
    "black_border",
    "7. RandomErasing: probability, fill": "test_joins.test_half_of_the_images_are_erased_in_the_imagenet_mean_of_"
    "normalised_units",
    "REA: area, aspect, place": "test_joins.test_erased_rectangles_are_distributed_as_the_golden_draws",
    "REA: strictly smaller, both ends included": "test_batches.test_boxes_are_smaller_than_the_image_and_may_touch_"
    "its_border",
    "Test: Resize, ToTensor, Normalize": "test_joins.test_what_is_tested_is_the_feature_after_the_neck",
    "sampler: every identity once a pass": "test_samplers.test_every_identity_comes_once_a_pass_with_k_images_in_a_row",
    "sampler: fewer than k images": "test_samplers.test_few_images_are_dealt_without_replacement_from_k_copies_of_each",
    "sampler: 47 and 44 batches, the last is short": "test_samplers.test_a_pass_ends_in_a_short_batch",
    "an epoch is 200 iterations, 24,000 in all": "test_joins.test_an_epoch_is_200_iterations_and_each_runs_at_the_"
    "golden_rate",
    "4.26 passes an epoch": "test_samplers.test_an_epoch_is_200_batches_and_passes_run_on_across_epochs",
    "no seed: here one, of all that is drawn": "test_joins.test_batches_augmentation_and_weights_depend_on_the_seed",
    "random anew in every epoch": "test_joins.test_every_epoch_has_other_batches_and_other_augmentation",
    "ResNet-50, last stride, stem, pool, BNNeck, classifier": "test_joins.test_the_built_network_is_the_reference_"
    "implementations",
    "16 x 8 map": "test_model.test_a_last_stride_of_1_doubles_the_last_map",
    "features of the network": "test_model.test_evaluation_features_are_the_golden_ones",
    "train forward: feature before BN": "test_model.test_training_features_and_logits_are_the_golden_ones",
    "eval: feature after BN, no flip": "test_joins.test_what_is_tested_is_the_feature_after_the_neck",
    "losses 1:1, smoothing, triplet, no center": "test_joins.test_the_steps_of_a_fit_are_the_golden_ones",
    "CE with label smoothing": "test_losses.test_the_systems_cross_entropy_is_smoothed_as_the_golden_one",
    "triplet: batch-hard, Euclidean": "test_losses.test_the_triplet_loss_and_its_gradient_are_the_reference_"
    "implementations",
    "triplet: an image is among its positives": "test_losses.test_an_image_is_among_its_own_positives",
    "Adam on everything, decay 5e-4": "test_joins.test_the_steps_of_a_fit_are_the_golden_ones",
    "no parameter has a rate of its own": "test_train_steps.test_every_parameter_moves_as_the_reference_"
    "implementations",
    "schedule: before the epoch, from 0": "test_joins.test_an_epoch_is_200_iterations_and_each_runs_at_the_golden_rate",
    "protocol: junk, distractors, AP, queries without a match": "test_evaluate",
    "epoch n means after n epochs, the last is kept": "test_train.test_every_nth_and_the_last_checkpoint_are_kept",
    "resume with Adam's moments": "test_train.test_a_run_left_early_and_resumed_ends_bit_identical",
    "a folder of another experiment is refused": "test_train.test_a_folder_of_another_recipe_is_refused_and_left_as_"
    "it_was",
}


def test_every_line_of_the_reference_is_guarded_by_a_test_that_exists():
    """A module alone stands for all of its tests."""
    for module in {where.partition(".")[0] for where in A1.values()}:
        tree = ast.parse((GOLDEN_FOLDER.parent / f"{module}.py").read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | {""}
        named = {test for where in A1.values() for name, _, test in [where.partition(".")] if name == module}
        assert named <= names, module
