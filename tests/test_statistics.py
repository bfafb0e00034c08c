"""Intervals, differences and thresholds against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from test_evaluate import crowd, labels
from test_sysu import crowd as sysu_crowd

from reidlib.evaluation import sysu
from reidlib.evaluation.score import score
from reidlib.evaluation.scores import Scores, bootstrap, per_query
from reidlib.evaluation.statistics import Verification, check_paired, compare, verification


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


def drawn_scores(rng, people=60, own=0.2, rest=0.1):
    """Scores whose AP has mean 0.5: each person has one to five queries, about a mean of their own."""
    pids = np.repeat(np.arange(people) + 7, rng.integers(1, 6, people))
    ap = 0.5 + rng.normal(0, own, people)[pids - 7] + rng.normal(0, rest, len(pids))
    return scores_of(ap, pids)


def scores_of(ap, pids):
    ones = np.ones(len(ap), int)
    values = dict(ap=ap, ap_trapezoid=ap, inp=ap, first_match=ones, matches=ones, pids=pids, camids=ones)
    return Scores(**values, counts={}, reranked=False, ties="pessimistic")


def standard_error(values, pids):
    """Of a mean of queries grouped by person, by the formula for a ratio of two sums over people."""
    off = [(values[pids == pid] - values.mean()).sum() for pid in np.unique(pids)]
    return np.sqrt(len(off) / (len(off) - 1) * np.square(off).sum()) / len(values)


def test_an_interval_is_seeded_and_as_wide_as_theory_says():
    s = drawn_scores(np.random.default_rng(0), 400)
    low, high = s.interval()
    assert (low, high) == s.interval() != s.interval(seed=1)
    error = standard_error(s.ap, s.pids)
    for level in (0.5, 0.95, 0.99):
        expected = s.mAP + error * stats.t.ppf((1 - level) / 2, 399) * np.array([1, -1])
        assert s.interval(level=level, repeats=5000) == pytest.approx(expected, abs=0.1 * error)


def test_an_interval_of_skewed_values_is_that_of_plain_loops():
    """Efron's BCa with Student's tails, of few resamples too, of which all may lie on one side of the mean."""
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(9), rng.integers(1, 5, 9))
    values = rng.exponential(size=len(pids)) ** 2
    groups, mean = [values[pids == pid] for pid in range(9)], values.mean()
    without = np.array([values[pids != pid].mean() for pid in range(9)])
    pull = without.mean() - without
    skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    for repeats, seed in ((2000, 0), *((3, seed) for seed in range(20))):
        rows = np.random.default_rng(seed).integers(9, size=(repeats, 9))
        means = np.array([np.concatenate([groups[k] for k in row]).mean() for row in rows])
        below = (np.mean(means < mean - 1e-12) + np.mean(means < mean + 1e-12)) / 2  # one that is equal counts half
        below = np.clip(below, 1 / repeats, 1 - 1 / repeats)
        z = stats.norm.ppf(below) + np.sqrt(9 / 8) * stats.t.ppf([0.05, 0.95], 8)
        expected = np.quantile(means, stats.norm.cdf(stats.norm.ppf(below) + z / (1 - skew * z)))
        assert bootstrap(values, pids, 0.9, repeats, seed) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("what", ["interval", "compare"])
def test_intervals_cover_the_truth_as_often_as_they_say(what):
    """The large simulation is benchmarks/coverage.py. A share of 300 lies within 4 standard deviations of its mean."""
    held = np.zeros(2)
    for trial in range(300):
        a = drawn_scores(np.random.default_rng(trial), 40)
        b = scores_of(np.full(len(a.ap), 0.2), a.pids)
        for i, level in enumerate((0.95, 0.5)):
            truth = 0.5 if what == "interval" else 0.3
            settings = dict(level=level, repeats=400)
            low, high = (
                a.interval(**settings)
                if what == "interval"
                else compare(a, b, ["mAP"], **settings).differences["mAP"][1:]
            )
            held[i] += low <= truth <= high
    for share, level in zip(held / 300, (0.95, 0.5), strict=True):
        assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 300))


def test_people_are_resampled_and_not_their_queries():
    """Ten times the same queries of each person say nothing new, as ten times the same trials of SYSU-MM01 do not."""
    s = drawn_scores(np.random.default_rng(0))
    again = scores_of(np.tile(s.ap, 10), np.tile(s.pids, 10))
    assert again.interval() == pytest.approx(s.interval(), abs=1e-12)
    zero = scores_of(np.zeros(len(again.ap)), again.pids)
    assert compare(again, zero, ["mAP"]).differences["mAP"] == pytest.approx((s.mAP, *s.interval()), abs=1e-12)
    apart = scores_of(s.ap, np.arange(len(s.ap)))
    assert np.diff(apart.interval())[0] < 0.8 * np.diff(s.interval())[0]


def test_queries_without_a_match_are_no_part_of_an_interval():
    s = drawn_scores(np.random.default_rng(0))
    more = scores_of(np.append(s.ap, np.nan), np.append(s.pids, 999))
    more.matches[-1] = 0
    more.__post_init__()
    assert more.interval() == s.interval()


def test_an_interval_needs_two_people_and_a_share():
    assert np.isnan(scores_of(np.array([0.1, 0.9]), np.array([3, 3])).interval()).all()
    assert scores_of(np.ones(4), np.arange(4)).interval() == (1, 1)
    with pytest.raises(ValueError, match="level=95; it is a share between 0 and 1"):
        drawn_scores(np.random.default_rng(0)).interval(level=95)


def test_the_interval_of_sysu_is_of_each_probes_mean_over_the_trials():
    s = sysu.score(*sysu_crowd(), trials=3)
    expected = bootstrap(np.mean([run.ap for run in s.runs], 0)[s.valid], s.pids[s.valid], 0.9, 500, 4)
    assert s.interval("mAP", 0.9, 500, 4) == expected
    s.runs = s.runs * 4
    assert s.interval("mAP", 0.9, 500, 4) == pytest.approx(expected, abs=1e-12), "more trials are no more people"


def test_scores_have_intervals_around_their_means():
    s = score(*crowd())
    for name, value in (("mAP", s.mAP), ("rank-1", s.rank(1)), ("mINP", s.mINP), ("mAP_trapezoid", s.mAP_trapezoid)):
        low, high = s.interval(name)
        assert low <= value <= high
        assert low < high


def test_a_paired_difference_is_sharper_than_two_intervals():
    q, g, *shots = crowd(queries=100)
    noise = 0.3 * torch.randn(g.shape, generator=torch.Generator().manual_seed(0))
    a, b, query = score(q, g, *shots), score(q, g + noise, *shots), shots[0]
    found = compare(a, b)
    difference, low, high = found.differences["mAP"]
    assert difference == pytest.approx(a.mAP - b.mAP, abs=1e-12)
    assert low <= difference <= high
    assert high - low < 0.5 * (a.interval()[1] - a.interval()[0])
    assert compare(a, a).differences["mAP"] == (0, 0, 0)
    people = len(np.unique(query.pids))
    assert repr(found).endswith(f"(100 queries of {people} people, 95 % by resampling people)")
    assert repr(compare(a, b, level=0.999)).endswith("99.9 % by resampling people)")
    assert repr(compare(a, b, level=1 - 0.05 / 9)).endswith("99.44 % by resampling people)")


def test_scores_of_different_queries_are_not_compared():
    with pytest.raises(ValueError, match="same queries in the same order; got 40 and 30"):
        compare(score(*crowd()), score(*crowd(queries=30)))
    q, g, query, gallery = crowd()
    a = score(q, g, query, gallery)
    with pytest.raises(ValueError, match="same queries in the same order; got 40 and 40"):
        check_paired(a, replace(a, camids=a.camids + 1))
    gallery.pids = np.where(gallery.pids == query.pids[0], 0, gallery.pids)
    with pytest.raises(ValueError, match="query 0 has a match in one gallery only"):
        compare(a, score(q, g, query, gallery))


def test_scores_of_another_gallery_or_by_another_rule_are_not_compared():
    """Guards: a model that gains over itself because the distractors, or the images of the same camera, are gone."""
    q, g, query, gallery = crowd()
    a, known = score(q, g, query, gallery), gallery.pids != 0
    rest = labels("gallery", gallery.pids[known], gallery.camids[known])
    for b in (score(q, g[known], query, rest), score(q, g, query, gallery, same_camera="keep")):
        with pytest.raises(ValueError, match="different galleries, or different rules"):
            compare(a, b)


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


def test_pairs_of_equal_images_count_whichever_way_their_similarity_is_rounded():
    q, g, query, gallery = crowd()
    same = torch.from_numpy(query.pids)[:, None] == torch.from_numpy(gallery.pids)
    for i, row in enumerate(same):
        g[row] = q[i]
    scores = score(q, g, query, gallery)
    cosines = np.concatenate([scores.source.near(*scores.rule.matches(slice(i, i + 1))) for i in range(len(q))])
    assert cosines.max() > 1, "some are rounded upwards"
    matches = sum(len(scores.rule.matches(slice(i, i + 1))[1]) for i in range(len(q)))
    v = verification(scores, bins=500)
    assert v.true.sum() == matches > 0


def test_verification_is_told_in_percent():
    """One true pair, at 0.75; of 200 false pairs one is above it."""
    false = np.array([150, 49, 0, 1])
    v = Verification(np.array([-1.0, 0.0, 0.5, 0.75, 1.0]), np.array([0, 0, 1, 0]), false)
    assert v.roc()[1].tolist() == [0, 0, 1, 1, 1]
    assert v.at(0.004) == (0.0, 1.0)
    assert v.at(0.005) == (1.0, 0.5), "a share that is allowed may be reached"
    assert repr(v) == "TPR 100.0 at FPR 0.01 (threshold 0.500)  (1 true and 200 false pairs)", "200 pairs tell no 0.001"
