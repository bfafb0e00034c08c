"""The losses against golden values of the reference implementation, and against loops that anyone can check."""

import numpy as np
import pytest
import torch
from golden_fill import arrays

from reidlib.recipe import Recipe
from reidlib.systems.bag_of_tricks import BagOfTricks
from reidlib.systems.losses import CenterLoss, batch_hard_triplet, hardest

GOLDEN = arrays("losses_main")
LABELS = torch.from_numpy(GOLDEN["labels"])
VALUE, GRADIENT, CENTER_GRADIENT = 1e-5, 1e-6, 1e-5  # golden/README.md: relative, absolute, absolute


def leaf(name: str, dtype=torch.float32) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name]).to(dtype).requires_grad_()


def worst(tensor: torch.Tensor, name: str) -> float:
    return float(np.abs(tensor.detach().double().numpy() - GOLDEN[name]).max())


def crowd(*counts: int, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features of len(counts) identities with so many images each, in mixed order."""
    random = torch.Generator().manual_seed(3)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=random)]
    return torch.randn(len(labels), dim, generator=random), labels


def loops(feat: np.ndarray, labels: np.ndarray) -> tuple[list[float], list[float]]:
    """Hardest distances in the plainest words."""
    d_pos, d_neg = [], []
    for a, mine in enumerate(labels):
        dist = [np.sqrt(((feat[a] - other) ** 2).sum()) for other in feat]
        d_pos.append(max(d for d, other in zip(dist, labels, strict=True) if other == mine))
        d_neg.append(min(d for d, other in zip(dist, labels, strict=True) if other != mine))
    return d_pos, d_neg


def test_the_systems_cross_entropy_is_smoothed_as_the_golden_one():
    """Guards: smoothed target (1 - 0.1) one-hot + 0.1 / N, mean over the batch, as the recipe's system takes it."""
    logits, feat, ids = leaf("logits"), leaf("features"), np.arange(int(GOLDEN["num_classes"]))
    recipe = Recipe.for_dataset("market", backbone="trunks:small", weights="none")
    loss = BagOfTricks.from_recipe(recipe, ids).losses(feat, feat, logits, LABELS)["ce"]
    loss.backward()
    assert loss.item() == pytest.approx(float(GOLDEN["expected_ce"]), rel=VALUE)
    assert worst(logits.grad, "expected_ce_grad_logits") < GRADIENT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_triplet_loss_and_its_gradient_are_the_reference_implementations(dtype):
    """Guards: batch-hard, Euclidean and not squared, features not normalised, margin 0.3, mean over all anchors."""
    feat = leaf("features", dtype)
    loss = batch_hard_triplet(feat, LABELS, margin=float(GOLDEN["margin"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(GOLDEN["expected_triplet"]), rel=VALUE)
    assert worst(feat.grad, "expected_triplet_grad_features") < GRADIENT


def test_the_margin_is_the_papers_unless_told():
    feat = leaf("features")
    assert batch_hard_triplet(feat, LABELS) == batch_hard_triplet(feat, LABELS, margin=0.3)
    assert batch_hard_triplet(feat, LABELS, margin=0.5) > batch_hard_triplet(feat, LABELS)


@pytest.mark.parametrize("counts", [(4, 4, 4), (1, 2, 5), (2, 1)])
def test_hardest_distances_are_what_plain_loops_find(counts):
    """Guards: the farthest of the same identity, the nearest of another; identities of any size, in any order."""
    feat, labels = crowd(*counts)
    d_pos, d_neg = hardest(feat, labels)
    expected_pos, expected_neg = loops(feat.double().numpy(), labels.numpy())
    assert d_pos.tolist() == pytest.approx(expected_pos, rel=1e-5, abs=2e-6)
    assert d_neg.tolist() == pytest.approx(expected_neg, rel=1e-5)


def test_the_triplet_loss_of_four_points_on_a_line_is_the_one_worked_out_by_hand():
    feat = torch.tensor([[0.0], [1.0], [1.5], [4.0]])  # d_pos 1, 1, 2.5, 2.5; d_neg 1.5, .5, .5, 3
    labels = torch.tensor([0, 0, 1, 1])
    hinges = [0.0, 0.8, 2.3, 0.0]
    assert batch_hard_triplet(feat, labels).item() == pytest.approx(sum(hinges) / 4)


def test_identities_that_lie_apart_cost_nothing():
    feat = torch.tensor([[0.0], [0.1], [9.0], [9.1]], requires_grad=True)
    loss = batch_hard_triplet(feat, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == 0
    assert not feat.grad.any()


def test_an_image_is_among_its_own_positives():
    """Guards: an identity with one image has a positive distance of about 0, and still costs through its negatives."""
    feat, labels = torch.tensor([[0.0], [0.1], [0.2]]), torch.tensor([0, 1, 1])
    d_pos, d_neg = hardest(feat, labels)
    assert d_pos.tolist() == pytest.approx([0, 0.1, 0.1], abs=2e-6)
    assert d_neg.tolist() == pytest.approx([0.1, 0.1, 0.2], abs=2e-6)


def test_copies_of_one_image_leave_the_gradient_finite():
    """An identity with fewer than k images comes with copies: the root of a distance of 0 has no finite slope."""
    feat, labels = crowd(1, 1)
    feat, labels = feat.repeat(4, 1).requires_grad_(), labels.repeat(4)
    batch_hard_triplet(feat, labels, margin=9.0).backward()
    assert feat.grad.isfinite().all()
    assert feat.grad.any()


def test_a_batch_of_one_identity_costs_nothing_and_breaks_nothing():
    """Guards: without another identity the nearest negative is infinitely far; the short last batch may be so."""
    feat = crowd(4)[0].requires_grad_()
    loss = batch_hard_triplet(feat, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert not feat.grad.any()


def test_the_center_loss_and_its_gradients_are_those_of_the_papers_code():
    """Guards: mean over the batch of the squared distance to the identity's center, not halved."""
    center, feat, rows = CenterLoss(int(GOLDEN["num_classes"]), 128), leaf("features"), GOLDEN["center_rows"]
    center.centers.data = torch.from_numpy(GOLDEN["centers"]).clone()
    loss = center(feat, LABELS)
    loss.backward()
    assert loss.item() == pytest.approx(float(GOLDEN["expected_center"]), rel=VALUE)
    assert worst(feat.grad, "expected_center_grad_features") < CENTER_GRADIENT
    assert worst(center.centers.grad[rows], "expected_center_grad_rows") < CENTER_GRADIENT
    others = np.setdiff1d(np.arange(len(center.centers)), rows)
    assert not center.centers.grad[others].any()


def test_centers_have_one_trained_row_for_each_identity():
    center = CenterLoss(7, 3)
    assert [(name, tuple(p.shape)) for name, p in center.named_parameters()] == [("centers", (7, 3))]


def test_distances_are_computed_in_float32_whatever_the_network_runs_in():
    """Guards: bf16 may round the features, but not the distances between them."""
    feat = leaf("features").detach().bfloat16()
    center = CenterLoss(int(GOLDEN["num_classes"]), 128)
    exact = batch_hard_triplet(feat.float(), LABELS).item(), center(feat.float(), LABELS).item()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = batch_hard_triplet(feat, LABELS), center(feat, LABELS)
    assert [loss.dtype for loss in mixed] == [torch.float32] * 2
    assert [loss.item() for loss in mixed] == pytest.approx(exact, rel=1e-6)


def test_labels_of_another_length_are_refused():
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        batch_hard_triplet(torch.zeros(4, 2), torch.tensor([0, 0, 1]))


def test_a_label_beyond_the_centers_is_refused():
    with pytest.raises((ValueError, IndexError)):
        CenterLoss(3, 2)(torch.zeros(1, 2), torch.tensor([3]))
