"""Searching before the BNNeck and after it: the rows of results/*_bnneck.csv and what they say."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import reidlib as rl
from reidlib.studies import neck


def test_after_is_the_models_own_test_and_before_is_what_the_triplet_loss_sees(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu").eval()
    torch.manual_seed(0)
    torch.nn.init.uniform_(system.bnneck.running_mean)  # a neck that changes the order
    own = rl.score(rl.embed(system, crowd.query), rl.embed(system, crowd.gallery), crowd.query, crowd.gallery)
    with torch.inference_mode():
        q, g = (
            F.normalize(system(rl.normalise(rl.decode(shots.files(), tiny.size, tiny.resize)))[0])
            for shots in (crowd.query, crowd.gallery)
        )
    by_hand = rl.score(q, g, crowd.query, crowd.gallery)
    after, before = neck.rows(system, {crowd.name: crowd})
    assert (after["feature"], before["feature"]) == ("after", "before")
    assert after["mAP"] == round(100 * own.mAP, 2) != before["mAP"]
    assert before["mAP"] == round(100 * by_hand.mAP, 2)
    assert list(after) == list(neck.COLUMNS)
    assert system.feature == "after", "the system is left as it was given"


def test_a_system_embeds_and_maps_with_the_feature_that_it_is_told(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu").eval()
    torch.nn.init.uniform_(system.bnneck.running_mean)
    images = rl.normalise(rl.decode(crowd.query.files(), tiny.size, tiny.resize))
    after = system.embed(images)
    system.feature = "before"
    before = system.embed(images)
    with torch.inference_mode():
        assert torch.equal(before, F.normalize(system(images)[0]))
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(system.regions(images).sum((1, 2)), before, atol=1e-4, rtol=1e-3)
    system.feature = "behind"
    with pytest.raises(ValueError, match="no feature 'behind'; choose one of after, before"):
        system.embed(images)


def test_a_model_without_a_neck_is_named(crowd, tiny):
    system = rl.build(replace(tiny, bnneck=False), crowd.train, "cpu")
    with pytest.raises(ValueError, match="has no BNNeck; measure runs of tricks that contain bnneck"):
        next(neck.rows(system, {crowd.name: crowd}))


def test_gains_are_paired_by_seed_and_allow_for_all_pairs_of_sets():
    table = [
        dict(dataset="a", test=test, model="bot", tricks="all", reranking="off", seed=seed, feature=feature, mAP=mAP)
        for test in "ab"
        for seed in (1, 2, 3)
        for feature, mAP in (("after", 10.0 * seed), ("before", 10.0 * seed + seed))
    ]
    home, away = neck.gains(table).values()
    assert (home.name, away.name) == ("a → a", "a → b")
    assert home.values == (1, 2, 3)
    assert home.of == 2
    with pytest.raises(ValueError, match="a → a: a seed occurs twice"):
        neck.gains([*table, table[0] | {"mAP": 0.0}])


@pytest.mark.parametrize("name", ["toy", "market1501", "market1501_strong"])
def test_the_committed_rows_after_the_neck_are_those_of_the_runs_own_tests(name):
    own, rows = (rl.read_csv(rl.project() / "results" / f"{file}.csv") for file in (name, f"{name}_bnneck"))
    known = {(row["dataset"], row["test"], row["seed"]): row for row in own if row["tricks"] == "all"}
    after, before = ([row for row in rows if row["feature"] == feature] for feature in ("after", "before"))
    assert len(after) == len(before) == len(known)
    for row in after:
        told = known[row["dataset"], row["test"], row["seed"]]
        assert [row[key] for key in ("rank1", "mAP", "mINP")] == [told[key] for key in ("rank1", "mAP", "mINP")]
