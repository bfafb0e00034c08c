"""Known people and strangers: rates by hand, thresholds, intervals, and the threshold of a gallery."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib.evaluation import sysu
from reidlib.search.open_set import OpenSet


def crowd_of(people=40, seed=0, junk=5, distractors=30, noise=1.2, dtype=None, **rule):
    """Scores of random people: two queries of camera 1, two gallery images of camera 2 and one of camera 1 each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 16))
    q_pid = np.repeat(np.arange(1, people + 1), 2)
    g_pid = np.concatenate([np.full(junk, -1), np.zeros(distractors, int), np.repeat(np.arange(1, people + 1), 3)])
    g_cam = np.concatenate([np.full(junk + distractors, 2), np.tile([2, 2, 1], people)])
    q = centres[q_pid - 1] + noise * rng.standard_normal((len(q_pid), 16))
    g = np.where((g_pid > 0)[:, None], centres[g_pid - 1], 0) + noise * rng.standard_normal((len(g_pid), 16))
    query, gallery = (
        rl.Shots(name, Path(name), np.array([f"{i}.jpg" for i in range(len(pids))]), pids, cams)
        for name, pids, cams in (("query", q_pid, np.ones_like(q_pid)), ("gallery", g_pid, g_cam))
    )
    return rl.score(*(torch.from_numpy(x).float() for x in (q, g)), query, gallery, dtype=dtype, **rule)


def by_hand(scores, known, average):
    """The best answer of each query, from the whole matrix of similarities, one query at a time."""
    q, g = (torch.nn.functional.normalize(x.double()).numpy() for x in (scores.q, scores.g))
    best, right = [], []
    for i, (pid, cam) in enumerate(zip(scores.query.pids, scores.query.camids)):
        answers = {}
        for j, (other, camera) in enumerate(zip(scores.gallery.pids, scores.gallery.camids)):
            if other == -1 or (other == pid and camera == cam) or (other > 0 and other not in known):
                continue
            answers.setdefault((other, j if other == 0 or not average else 0), []).append(g[j])
        values = {}
        for key, rows in answers.items():
            mean = np.mean(rows, 0)
            values[key] = q[i] @ mean / np.linalg.norm(mean)
        who = max(values, key=lambda key: values[key])
        best.append(values[who])
        right.append(who[0] == pid)
    return np.array(best), np.array(right)


@pytest.mark.parametrize(("average", "dtype"), [(False, None), (True, None), (False, torch.bfloat16)])
def test_the_best_answers_are_those_by_hand(average, dtype):
    scores = crowd_of(dtype=dtype)
    found = rl.open_set(scores, seed=3, average=average)
    known = np.unique(found.pids[found.enrolled])
    assert len(known) == found.people == 20
    best, right = by_hand(scores, known, average)
    np.testing.assert_allclose(found.best, best, atol=2e-5)
    assert (found.right == right).all()
    assert 0 < found.right.mean() < 1


def test_a_threshold_lets_as_few_strangers_pass_as_was_asked_for():
    found = rl.open_set(crowd_of())
    strangers = found.best[~found.enrolled]
    for rate in (0.0, 0.02, 0.1, 0.5):
        share, threshold = found.at(rate)
        assert (strangers >= threshold).mean() <= rate
        lower = np.nextafter(np.float32(threshold), np.float32(-2))
        assert (strangers >= lower).mean() > rate, "the lowest such threshold"
        passed = (found.best >= threshold) & found.right
        assert share == passed[found.enrolled].mean()
    with pytest.raises(ValueError, match="false_alarms=1"):
        found.at(1)


def test_a_rate_that_so_few_strangers_cannot_tell_is_not_claimed(tiny):
    """Guards: 40 images of strangers, none of which passes, reported as one false alarm in a thousand."""
    scores = crowd_of()
    found = rl.open_set(scores)
    assert "at 0 % false" in repr(found)
    assert "at 10 % false" in repr(found)
    assert "at 1 % false" not in repr(found)
    gallery = rl.Gallery(rl.build(tiny, np.array([1, 1, 2, 2]), "cpu"))
    with pytest.warns(UserWarning, match="40 images of strangers cannot tell a rate of 0.01"):
        gallery.set_threshold(scores, false_alarms=0.01)
    assert gallery.threshold > found.best[~found.enrolled].max()
    assert gallery.measured["false_alarms"] == 0


def test_the_curve_goes_through_the_rates_at_every_threshold():
    found = rl.open_set(crowd_of())
    alarms, share, thresholds = found.roc()
    assert (alarms[0], share[0]) == (0, 0)
    assert alarms[-1] == 1
    assert share[-1] == found.right[found.enrolled].mean()
    for k in range(0, len(thresholds), 7):
        assert found.rates(thresholds[k]) == (share[k], alarms[k])


def test_intervals_resample_people_and_hold_the_rates():
    """Guards: images of one person resampled as if they were of many; twice the images alike are no new evidence."""
    found = rl.open_set(crowd_of())
    threshold = found.at(0.1)[1]
    for rate, (low, high) in zip(found.rates(threshold), found.intervals(threshold)):
        assert low < rate < high
    for wide, narrow in zip(found.intervals(threshold), found.intervals(threshold, level=0.5)):
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
    fields = {name: np.repeat(getattr(found, name), 5) for name in ("best", "right", "enrolled", "pids")}
    many = OpenSet(**fields, people=found.people, test="")
    np.testing.assert_allclose(many.intervals(threshold), found.intervals(threshold), atol=1e-12)


def test_rates_of_0_and_1_have_the_exact_interval_of_as_many_people():
    """Guards: no false alarm among twenty strangers, reported with the interval 0 to 0."""
    found = rl.open_set(crowd_of())
    assert found.rates(2.0) == (0, 0)
    for low, high in found.intervals(2.0):
        assert (low, (1 - high) ** 20) == (0, pytest.approx(0.025))  # Clopper and Pearson: twenty people, none
    nobody = replace(found, best=found.best[:4], right=found.right[:4], enrolled=np.ones(4, bool), pids=found.pids[:4])
    assert np.isnan(nobody.intervals(0.5)[1]).all(), "no stranger, no rate"
    low, high = found.intervals(-2.0)[1]
    assert (low**20, high) == (pytest.approx(0.025), 1)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("average", [False, True])
def test_of_a_right_and_a_wrong_answer_as_similar_the_wrong_one_is_the_best(average, kind):
    """Guards: the same picture enrolled under two names, counted as found where a sum is rounded upwards."""
    scores = crowd_of(junk=0, distractors=0, noise=0.01)
    g, pids = scores.g, scores.gallery.pids
    known = rl.open_set(scores, seed=3, average=average)
    a, b = np.unique(known.pids[known.enrolled])[:2]
    g[pids == b] = g[pids == a]
    twice = rl.score(scores.q.to(kind), g.to(kind), scores.query, scores.gallery)
    again = rl.open_set(twice, seed=3, average=average)
    assert known.right[known.pids == a].all()
    assert not again.right[again.pids == a].any()


def test_people_counted_from_0_are_people():
    """Guards: images of the first person that were strangers to each other, so that a query met its own image."""
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(20), 4)
    x = torch.from_numpy(rng.standard_normal((20, 16))[pids] + 0.05 * rng.standard_normal((80, 16))).float()
    shots = rl.Shots("s", Path("s"), np.array([f"{i}.jpg" for i in range(80)]), pids, np.zeros(80, int))
    scores = rl.score(x, x, shots, shots, same_camera="keep")
    sides = {seed: rl.open_set(scores, seed=seed, average=True) for seed in range(4)}
    assert any((found.pids[found.enrolled] == 0).any() for found in sides.values())
    assert all(found.rates(-2.0)[0] == 1 for found in sides.values())


def test_means_that_hold_ignored_images_of_other_people_are_refused():
    """SYSU-MM01 ignores all images of the probe's place."""
    rng = np.random.default_rng(0)
    pids, cams = np.repeat(np.arange(1, 9), 4), np.tile([3, 3, 6, 6], 8)
    query = rl.Shots("toy-sysu/query", Path("q"), np.array([f"{i}.jpg" for i in range(32)]), pids, cams, (3, 6))
    gallery = rl.Shots("toy-sysu/gallery", Path("g"), query.paths, pids, np.tile([1, 2, 4, 5], 8), (3, 6))
    features = (torch.from_numpy(rng.standard_normal((32, 16), np.float32)) for _ in range(2))
    scores = sysu.score(*features, query, gallery, trials=1).trial(0)
    assert rl.open_set(scores).people == 4
    with pytest.raises(ValueError, match=r"the rule of .* ignores images of other people"):
        rl.open_set(scores, average=True)


def test_a_threshold_from_re_ranked_scores_is_refused(tiny):
    """Their similarities are on another scale than the cosines of a gallery."""
    gallery, scores = rl.Gallery(rl.build(tiny, np.array([1, 1, 2, 2]), "cpu")), crowd_of(rerank=rl.rerank)
    with pytest.raises(ValueError, match="are re-ranked, and a gallery compares cosines"):
        gallery.set_threshold(scores, false_alarms=0.1)
    assert gallery.threshold is None


def test_what_cannot_be_split_is_refused(tmp_path):
    scores = crowd_of()
    with pytest.raises(ValueError, match="of 40 people: two on each side"):
        rl.open_set(scores, enrolled=0.01)
    with pytest.raises(ValueError, match="these scores come from a file"):
        rl.open_set(rl.Scores.load(scores.save(tmp_path / "scores.npz")))


@pytest.mark.parametrize("average", [False, True])
def test_a_gallery_keeps_its_threshold_with_what_it_was_measured_on(average, tiny, tmp_path):
    system, scores = rl.build(tiny, np.array([1, 1, 2, 2]), "cpu"), crowd_of()
    gallery = rl.Gallery(system, average=average)
    gallery.add(scores.g, [str(i) for i in range(len(scores.g))])
    found = gallery.set_threshold(scores, false_alarms=0.1, seed=2)
    assert gallery.threshold == found.at(0.1)[1] == rl.open_set(scores, seed=2, average=average).at(0.1)[1]
    again = rl.Gallery.load(gallery.save(tmp_path / "g"), system)
    assert again.threshold == gallery.threshold
    kept = again.measured
    assert (kept["test"], kept["people"], kept["strangers"]) == ("query, seed 2", 20, 20)
    assert kept["found"] == found.at(0.1)[0]
    assert kept["false_alarms"] <= 0.1
    assert f"{again.threshold:.3f}" in repr(again)


def test_a_threshold_from_scores_of_another_model_or_feature_is_refused(tiny, crowd, tmp_path):
    """Guards: a threshold of the feature after the neck in a gallery of the one before it, which knew all strangers."""
    system = rl.build(tiny, crowd.train, "cpu")
    system.feature = "before"
    before, gallery = rl.measure(system, crowd, tmp_path), rl.Gallery(system)
    gallery.set_threshold(before, false_alarms=0.5)
    with torch.no_grad():
        system.bnneck.running_mean += torch.rand(system.bnneck.num_features)  # an untrained neck changes nothing
    system.feature = "after"
    after = rl.measure(system, crowd, tmp_path)
    with pytest.raises(ValueError, match="the gallery is of another model"):
        gallery.set_threshold(after, false_alarms=0.5)
    system.feature = "before"
    gallery = rl.Gallery(system)
    with pytest.raises(ValueError, match="crowd/query are of another model or feature than the gallery"):
        gallery.set_threshold(after, false_alarms=0.5)
    for word in (None, "0.5"):
        with pytest.raises(ValueError, match="threshold="):
            gallery.set_threshold(word)
