"""The learning rate of every epoch, against the reference implementation's and the paper's code."""

import numpy as np
import pytest
import torch
from golden_fill import facts

import reidlib as rl
from reidlib.recipe import Recipe
from reidlib.settings import warmup_multistep

# The file's own names for the two codes' rates.
GOLDEN_RATES = {"reference": "seed_lr", "paper": "strong_baseline_lr", "fixed": "seed_lr"}
FIRST_EPOCH = {"reference": 0, "paper": 1, "fixed": 0}


@pytest.mark.parametrize("preset", GOLDEN_RATES)
def test_every_epochs_rate_is_the_golden_one(preset):
    """Guards: linear warm-up over 10 epochs from 0.01 of the base rate, counted from 0; x 0.1 from epochs 40 and 70.

    The paper's code is one epoch ahead of the reference implementation.
    """
    for case in facts("schedule").values():
        rates = [
            warmup_multistep(
                e, case["base_lr"], case["milestones"], case["gamma"],
                case["warmup_epochs"], case["warmup_factor"], FIRST_EPOCH[preset],
            )
            for e in range(case["epochs"])
        ]  # fmt: skip
        assert rates == pytest.approx(case[GOLDEN_RATES[preset]], rel=1e-12, abs=0)


@pytest.mark.parametrize("preset", GOLDEN_RATES)
@pytest.mark.parametrize("dataset", ["market", "duke"])
def test_the_presets_recipe_has_the_golden_rates(dataset, preset):
    """Guards: base rate 3.5e-4, 120 epochs, milestones 40 and 70 as the presets' own values."""
    recipe = Recipe.for_dataset(dataset, preset)
    golden = facts("schedule")["default"]
    rates = [recipe.learning_rate(e) for e in range(recipe.epochs)]
    assert rates == pytest.approx(golden[GOLDEN_RATES[preset]], rel=1e-12, abs=0)


def test_the_first_rates_are_those_written_in_the_reference():
    """Guards: epochs 0, 1, 2, 9, 10 run at 3.5e-6, 3.815e-5, 7.28e-5, 3.1535e-4, 3.5e-4."""
    rates = [warmup_multistep(e, 3.5e-4) for e in (0, 1, 2, 9, 10)]
    assert rates == pytest.approx([3.5e-6, 3.815e-5, 7.28e-5, 3.1535e-4, 3.5e-4], rel=1e-12)


@pytest.mark.parametrize(("first_epoch", "drops"), [(0, [40, 70]), (1, [39, 69])])
def test_the_rate_drops_tenfold_at_the_milestones_and_nowhere_else(first_epoch, drops):
    rates = [warmup_multistep(e, 1.0, first_epoch=first_epoch) for e in range(120)]
    falling = [e for e in range(1, 120) if rates[e] < rates[e - 1]]
    assert falling == drops
    assert [rates[e] / rates[e - 1] for e in drops] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("preset", ["reference", "paper"])
def test_without_the_warmup_trick_the_first_epoch_runs_at_the_full_rate(preset):
    recipe = Recipe.for_dataset("market", preset, tricks="all-warmup")
    with_warmup = Recipe.for_dataset("market", preset)
    assert recipe.learning_rate(0) == recipe.lr
    assert [recipe.learning_rate(e) for e in range(10, 120)] == [with_warmup.learning_rate(e) for e in range(10, 120)]


def test_the_rate_is_a_pure_function_of_the_epoch():
    """A resumed run must find the rate of its epoch without having lived through the ones before."""
    forward = [warmup_multistep(e, 3.5e-4) for e in range(120)]
    backward = [warmup_multistep(e, 3.5e-4) for e in reversed(range(120))]
    assert forward == backward[::-1]


def test_a_cosine_falls_from_the_base_rate_to_nothing_after_a_linear_warm_up():
    recipe = Recipe.for_dataset("market", tricks="all+cosine")
    rates = [recipe.learning_rate(e) / recipe.lr for e in range(recipe.epochs)]
    assert rates[:11] == pytest.approx([0.01 * (1 - e / 10) + e / 10 for e in range(11)])
    assert rates[65] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-3
    assert rates[10 + 55 - 20] + rates[10 + 55 + 20] == pytest.approx(1)


def test_a_backbone_that_rests_goes_on_resting_after_an_embedding():
    """Guards: an embedding between two steps that woke the BatchNorms' statistics."""
    system = rl.build(Recipe.for_dataset("toy", tricks="all+freeze"), np.arange(4), "cpu")
    system.begin_epoch(0)
    modes = {name: part.training for name, part in system.named_modules()}
    assert len(set(modes.values())) == 2, "some train, some rest"
    system.embed(torch.zeros(2, 3, 64, 32))
    assert {name: part.training for name, part in system.named_modules()} == modes


def test_freeze_doubles_the_warm_up():
    recipe = Recipe.for_dataset("market", tricks="all+freeze")
    rates = [recipe.learning_rate(e) / recipe.lr for e in range(recipe.epochs)]
    assert rates[:21] == pytest.approx([0.01 * (1 - e / 20) + e / 20 for e in range(21)])
    assert rates[40:] == [Recipe().learning_rate(e) / recipe.lr for e in range(40, 120)]
    with pytest.raises(ValueError, match="freeze=True with warmup_epochs=0"):
        recipe.replace(warmup_epochs=0)
