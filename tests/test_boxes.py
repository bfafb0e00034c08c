"""Parts in bad boxes: what the arms of the study differ in, and the gains read from its rows."""

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib.studies import boxes, trainings


def test_each_pair_differs_in_one_thing():
    strips, whole, later, refined = (
        boxes.recipe(arm, 3, 1) for arm in ("strips", boxes.ARMS[0], boxes.ARMS[2], "refined")
    )
    assert set(whole.differences(strips)) == {"model"}
    assert set(later.differences(strips)) == {"milestones", "gamma"}
    assert set(refined.differences(strips)) == {"rpp", "tricks"}
    with pytest.raises(ValueError, match="no arm 'six'; choose one of six heads, no strips, strips"):
        boxes.recipe("six", 3, 1)


def test_the_control_has_the_rates_of_the_refinement():
    later, refined = (
        rl.build(boxes.recipe(arm, 3, 1).replace(weights="none"), rl.load("toy").train, device="cpu")
        for arm in (boxes.ARMS[2], "refined")
    )
    for epoch in range(later.recipe.epochs):
        rates = []
        for system in (later, refined):
            system.begin_epoch(epoch)
            rates.append([group["lr"] for group in system.optimizers["main"].param_groups[:2]])
        assert rates[0] == pytest.approx(rates[1]), f"epoch {epoch + 1}"


def test_six_heads_of_the_whole_person_see_the_mean_of_the_map():
    system = rl.build(boxes.recipe(boxes.ARMS[0], 0, 1), rl.load("toy").train, device="cpu").eval()
    images = torch.rand(2, 3, 96, 32)
    with torch.no_grad():
        parts = system.pooled(images)
        mean = system.trunk(images).mean((2, 3))
    assert parts.shape == (2, 6, mean.shape[1])
    for p in range(6):
        torch.testing.assert_close(parts[:, p], mean)


def test_gains_are_paired_by_seed_and_allow_for_all_comparisons():
    rng, worth = np.random.default_rng(0), dict(zip(boxes.ARMS, (10, 40, 35, 50, 45), strict=True))
    rows = []
    for recipe, tests in boxes.plan(range(1, 5)).items():
        arm = next(arm for arm in boxes.ARMS for e in boxes.ERRORS if boxes.recipe(arm, e, recipe.seed) == recipe)
        row = dict(zip(trainings.KEY, trainings.key(recipe, *tests), strict=True))
        rows.append(row | {"source": "a", "mAP": worth[arm] + 10 * recipe.seed + rng.normal(0, 0.01)})
    assert len(rows) == 4 * len(boxes.ARMS) * len(boxes.ERRORS)
    for (a, b), at in boxes.gains(rows).items():
        for gain in at.values():
            assert gain.mean == pytest.approx(worth[a] - worth[b], abs=0.05)
            assert (len(gain.values), gain.of) == (4, 12)
