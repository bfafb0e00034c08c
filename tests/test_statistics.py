"""Intervals, differences and thresholds against plain loops."""

import numpy as np
import pytest
import torch
from test_evaluate import crowd

from reidlib.evaluation.score import score
from reidlib.evaluation.scores import bootstrap, per_query
from reidlib.evaluation.statistics import compare, verification


def test_trapezoid_ap_is_what_a_walk_down_the_list_gives():
    rank, matches = np.array([1, 2, 5, 9]), 4
    ap, recall, precision = 0.0, 0.0, 1.0
    for n in range(1, 10):  # one step a rank, as compute_AP.m of the Market-1501 code walks
        hits = (rank <= n).sum()
        ap += (hits / matches - recall) * (precision + hits / n) / 2
        recall, precision = hits / matches, hits / n
    found = per_query(np.zeros(4, int), rank - np.arange(1, 5), 1)
    assert found["ap_trapezoid"][0] == pytest.approx(ap, abs=1e-12)
    assert found["ap"][0] == pytest.approx(np.mean([1, 1, 3 / 5, 4 / 9]), abs=1e-12)
    assert (found["inp"][0], found["first_match"][0]) == (4 / 9, 1)


def test_an_interval_is_seeded_and_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(0.5, 0.2, 2000)
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values)
    assert (low, high) != bootstrap(values, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.2 / np.sqrt(2000), rel=0.1)
    assert bootstrap(values, level=0.5)[0] > low


def test_scores_have_intervals_around_their_means():
    s = score(*crowd())
    for name, value in (("mAP", s.mAP), ("rank-1", s.rank(1)), ("mINP", s.mINP), ("mAP_trapezoid", s.mAP_trapezoid)):
        low, high = s.interval(name)
        assert low <= value <= high
        assert low < high


def test_a_paired_difference_is_sharper_than_two_intervals():
    q, g, *shots = crowd(queries=100)
    noise = 0.3 * torch.randn(g.shape, generator=torch.Generator().manual_seed(0))
    a, b = score(q, g, *shots), score(q, g + noise, *shots)
    found = compare(a, b)
    difference, low, high = found.differences["mAP"]
    assert difference == pytest.approx(a.mAP - b.mAP, abs=1e-12)
    assert low <= difference <= high
    assert high - low < 0.5 * (a.interval()[1] - a.interval()[0])
    assert compare(a, a).differences["mAP"] == (0, 0, 0)
    assert "(100 queries, paired bootstrap)" in repr(found)


def test_scores_of_different_queries_are_not_compared():
    with pytest.raises(ValueError, match="same queries in the same order; got 40 and 30"):
        compare(score(*crowd()), score(*crowd(queries=30)))
    q, g, query, gallery = crowd()
    a = score(q, g, query, gallery)
    gallery.pids = np.where(gallery.pids == query.pids[0], 0, gallery.pids)
    with pytest.raises(ValueError, match="query 0 has a match in one gallery only"):
        compare(a, score(q, g, query, gallery))


@pytest.mark.parametrize("memory", [2**26, 2**12])
def test_verification_counts_the_pairs_that_the_rule_allows(memory):
    q, g, query, gallery = crowd()
    v = verification(score(q, g, query, gallery), bins=500, memory=memory)
    similarity = torch.nn.functional.cosine_similarity(q.double()[:, None], g.double(), dim=2).numpy()
    same = query.pids[:, None] == gallery.pids
    left_out = (gallery.pids == -1) | (same & (query.camids[:, None] == gallery.camids))
    true, false = similarity[same & ~left_out], similarity[~same & ~left_out]
    assert (v.true.sum(), v.false.sum()) == (len(true), len(false))
    for fpr in (1e-2, 0.1, 0.5):
        tpr, threshold = v.at(fpr)
        assert (false >= threshold).mean() <= fpr
        assert (false >= threshold - 2 / 500).mean() > fpr
        assert tpr == pytest.approx((true >= threshold).mean(), abs=1e-12)
    rate, tpr, threshold = v.roc()
    assert (rate[0], tpr[0], rate[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(rate) >= 0).all()
    assert (np.diff(threshold) < 0).all()
    assert "TPR" in repr(v)
