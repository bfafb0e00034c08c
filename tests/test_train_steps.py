"""Five updates against the reference implementation's loss classes and optimiser, at three learning rates."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_fill import StandIn, arrays, fill, float_entries, sum_l2
from torch import nn
from torch.nn import functional as F

from reidlib.recipe import Recipe
from reidlib.systems.bag_of_tricks import BagOfTricks

GOLDEN = arrays("train_steps_main")
RATES = ("epoch0", "full", "large")
TRAPS = ("adamw", "bnneck_bias_trained", "normalised_triplet", "triplet_on_bn")
LOSS, FEATURE = 1e-5, 1e-5  # golden/README.md, absolute
PARAM, DELTA = (5e-5, 1e-5), (5e-5, 2e-6)  # of the sum and of the L2 norm


class Fixed(nn.Module):
    """A trunk that has nothing to learn and always gives the same features."""

    def __init__(self, feat: torch.Tensor):
        super().__init__()
        self.channels = feat.shape[1]
        self.register_buffer("feat", feat)

    def forward(self, _images):
        return self.feat


def stand_in(rate: float, kind: type = BagOfTricks, **options) -> BagOfTricks:
    system = kind(
        StandIn(GOLDEN["channels"]), np.arange(int(GOLDEN["num_classes"])), schedule=lambda epoch: rate, **options
    )
    kinds = ["conv", "bn_weight", "bn_bias", "zero", "one"] * len(GOLDEN["channels"])
    neck = ["bn_weight", "zero", "zero", "one", "linear"]
    entries = [entry for entry in float_entries(system) if not entry[0].endswith("centers")]
    fill(entries, kinds + neck, int(GOLDEN["hash_offset_K"]))
    return system


def batch(step: int, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(GOLDEN["images"][step]).to(dtype), torch.from_numpy(GOLDEN["labels"][step])


def pairs(tensors) -> list[tuple[float, float]]:
    return [sum_l2(tensor) for tensor in tensors]


def trained(system: BagOfTricks, rate: str, dtype: torch.dtype) -> SimpleNamespace:
    """All golden steps of a system: what came out."""
    system = system.to(dtype)
    parameters = [p for p in system.parameters() if p.requires_grad]
    start, norms = [p.detach().double().clone() for p in system.parameters()], []
    for optimizer in system.optimizers.values():
        optimizer.register_step_pre_hook(
            lambda *_: norms.append(torch.cat([p.grad.flatten() for p in parameters]).norm().item())
        )
    system.begin_epoch(0)
    rows = [system.step(*batch(step, dtype)) for step in range(len(GOLDEN["images"]))]
    deltas = [p.detach().double() - old for p, old in zip(system.parameters(), start, strict=True)]
    return SimpleNamespace(rate=rate, dtype=dtype, system=system, rows=rows, norms=norms, deltas=deltas)


def rate_of(rate: str) -> float:
    (value,) = set(GOLDEN[f"learning_rates_{rate}"].tolist())
    return value


@pytest.fixture(scope="module", params=[(r, d) for r in RATES for d in ("float32", "float64")], ids="-".join)
def run(request) -> SimpleNamespace:
    """All steps at one rate in one precision."""
    rate, dtype = request.param
    return trained(stand_in(rate_of(rate)), rate, getattr(torch, dtype))


def losses(run) -> np.ndarray:
    return np.array([[row["ce"].item(), row["triplet"].item()] for row in run.rows])


def whole(tensors) -> np.ndarray:
    return np.array(sum_l2(torch.cat([tensor.detach().double().flatten() for tensor in tensors])))


def meets(run, kind: str) -> dict[str, bool]:
    """Which of the golden values of one `kind` ("expected" or a trap) a run meets."""
    golden = {key: GOLDEN[f"{kind}_{run.rate}_{key}"] for key in ("losses", "param_sum_l2", "delta_sum_l2")}
    return {
        "losses": bool((np.abs(losses(run) - golden["losses"]) < LOSS).all()),
        "parameters": bool((np.abs(whole(run.system.parameters()) - golden["param_sum_l2"]) < PARAM).all()),
        "change": bool((np.abs(whole(run.deltas) - golden["delta_sum_l2"]) < DELTA).all()),
    }


def test_every_step_has_the_golden_losses_and_leads_to_the_golden_weights(run):
    """Guards: smoothed CE on the logits + batch-hard triplet on the raw feature before the neck, weights 1:1; Adam."""
    assert meets(run, "expected") == {"losses": True, "parameters": True, "change": True}


class NormalisedTriplet(BagOfTricks):
    def losses(self, feat, emb, logits, labels):
        return super().losses(F.normalize(feat), emb, logits, labels)


class TripletAfterTheNeck(BagOfTricks):
    def losses(self, feat, emb, logits, labels):
        return super().losses(emb, emb, logits, labels)


def wrong(trap: str) -> BagOfTricks:
    """A system that differs from the reference implementation's in one thing, at the largest rate."""
    kind = {"normalised_triplet": NormalisedTriplet, "triplet_on_bn": TripletAfterTheNeck}.get(trap, BagOfTricks)
    system, rate = stand_in(rate_of("large"), kind), rate_of("large")
    if trap == "bnneck_bias_trained":
        system.bnneck.bias.requires_grad_(True)
    kind, decay = (torch.optim.AdamW if trap == "adamw" else torch.optim.Adam), {"weight_decay": 5e-4}
    system.optimizers = {"main": kind([p for p in system.parameters() if p.requires_grad], rate, **decay)}
    return system


@pytest.mark.parametrize("trap", TRAPS)
def test_a_system_that_is_wrong_in_one_thing_leads_to_the_golden_values_of_that_mistake(trap):
    """What a subclass's `losses` is given is what it says, and the golden values tell each mistake from what is right.

    Of: decoupled weight decay, a trained bias of the neck, a triplet loss of the feature normalised, or after the neck.
    """
    run = trained(wrong(trap), "large", torch.float64)
    assert set(meets(run, f"trap_{trap}").values()) == {True}
    assert not all(meets(run, "expected").values())


def test_every_parameter_moves_as_the_reference_implementations(run):
    """Guards: no parameter has its own rate or decay, and the neck's bias stays 0."""
    names = [name.removeprefix("trunk.") for name, _ in run.system.named_parameters()]
    assert names == GOLDEN["param_names"].tolist()
    mine = np.hstack([pairs(p.detach() for p in run.system.parameters()), pairs(run.deltas)])
    error = np.abs(mine - GOLDEN[f"expected_{run.rate}_per_param_sum_l2"])
    assert (error < [*PARAM, *DELTA]).all(), dict(zip(names, error.tolist(), strict=True))
    assert not run.system.bnneck.bias.any()


def test_gradients_and_accuracy_are_the_golden_ones(run):
    """Guards: the gradient is that of the plain sum of both losses, not clipped; accuracy is of the batch before it."""
    assert run.norms == pytest.approx(GOLDEN[f"expected_{run.rate}_grad_l2"].tolist(), abs=LOSS)
    assert [row["acc"].item() for row in run.rows] == pytest.approx(GOLDEN[f"expected_{run.rate}_accuracy"].tolist())


def test_running_statistics_and_embeddings_after_the_steps_are_the_golden_ones(run):
    """Guards: BatchNorm momentum .1 through training; evaluation uses what it has gathered."""
    entries = dict(float_entries(run.system))
    names = [f"trunk.{n}" if f"trunk.{n}" in entries else n for n in GOLDEN["running_names"].tolist()]
    error = np.abs(np.array(pairs(entries[name] for name in names)) - GOLDEN[f"expected_{run.rate}_running_sum_l2"])
    assert (error < PARAM).all()
    images, expected = batch(0, run.dtype)[0], GOLDEN[f"expected_{run.rate}_eval_after_bnneck_batch0"]
    with torch.no_grad():
        emb = run.system.eval()(images)[1]
    assert np.abs(emb.double().numpy() - expected).max() < FEATURE
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(run.system.embed(images).double().numpy() - unit).max() < FEATURE


def test_a_step_returns_detached_numbers_and_their_sum(run):
    for row in run.rows:
        assert {"loss", "ce", "triplet", "acc"} <= set(row)
        assert not any(value.requires_grad or value.ndim for value in row.values())
        assert row["loss"].item() == pytest.approx(row["ce"].item() + row["triplet"].item(), rel=1e-6)


def test_begin_epoch_sets_the_rate_of_the_network_and_leaves_the_centers_theirs():
    """Guards: the schedule is of the 0-based epoch; the centers' SGD keeps its rate of .5."""
    recipe = Recipe.for_dataset("market", tricks="all+center")
    system = stand_in(0.0, center_weight=recipe.center_weight)
    system.schedule = recipe.learning_rate
    for epoch in (0, 1, 10, 40, 119, 3):
        system.eval().begin_epoch(epoch)
        rates = [group["lr"] for optimizer in system.optimizers.values() for group in optimizer.param_groups]
        assert sorted(rates) == pytest.approx(sorted([recipe.learning_rate(epoch), 0.5]), rel=1e-12)
        assert system.training


def test_a_step_moves_the_centers_at_their_own_rate():
    """Guards: the paper's code weights the center loss by .0005, divides that out for the centers, SGD at .5."""
    golden = arrays("losses_main")
    feat, rows = torch.from_numpy(golden["features"]), golden["center_rows"]
    ids = np.arange(int(golden["num_classes"]))
    system = BagOfTricks(Fixed(feat), ids, schedule=lambda epoch: 3.5e-4, center_weight=5e-4, center_lr=0.5)
    (centers,) = (p for name, p in system.named_parameters() if name.endswith("centers"))
    centers.data = torch.from_numpy(golden["centers"]).clone()
    row = system.step(torch.zeros(64, 3, 2, 2), torch.from_numpy(golden["labels"]))
    moved = centers.detach().double().numpy()
    assert np.abs(moved[rows] - golden["expected_centers_after_step_rows"]).max() < 1e-5
    others = np.setdiff1d(ids, rows)
    assert np.array_equal(moved[others], golden["centers"][others])
    center = row["loss"].item() - row["ce"].item() - row["triplet"].item()
    assert center == pytest.approx(5e-4 * golden["expected_center"], rel=1e-4)


def test_the_center_losss_pull_on_the_features_is_weighted():
    """Guards: dividing the weight out for the centers must not reach the network's gradients."""
    images, labels = batch(0)
    gradients = []
    for weight in (0.0, 5e-4, 1e-3):
        torch.manual_seed(0)  # the same centers
        system = stand_in(0.0, center_weight=weight)
        system.step(images, labels)
        gradients.append(system.trunk.conv1.weight.grad.clone())
    pull, double = gradients[1] - gradients[0], gradients[2] - gradients[0]
    assert pull.norm() > 0
    torch.testing.assert_close(double, 2 * pull, rtol=1e-2, atol=1e-5)


def test_without_smoothing_the_loss_is_plain_cross_entropy():
    system, (images, labels) = stand_in(0.0, label_smoothing=0.0).train(), batch(0)
    logits = system(images)[2]
    assert system.step(images, labels)["ce"].item() == pytest.approx(F.cross_entropy(logits, labels).item())


def test_bf16_is_for_the_trunk_alone():
    """Guards: neck, classifier, losses and weights stay in float32; bf16 moves the losses by less than a hundredth."""
    system = stand_in(3.5e-4, precision="bf16")
    feat, emb, logits = system(batch(0)[0])
    assert {t.dtype for t in (feat, emb, logits, *system.parameters())} == {torch.float32}
    row = system.step(*batch(0))
    assert row["triplet"].dtype == row["ce"].dtype == torch.float32
    found, exact = [row["ce"].item(), row["triplet"].item()], GOLDEN["expected_full_losses"][0].tolist()
    assert found == pytest.approx(exact, abs=1e-2)
    assert found != pytest.approx(exact, abs=LOSS)
