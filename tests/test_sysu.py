"""SYSU-MM01's protocol against the golden values, a plain evaluator and the real permutation file, if it is there."""

import warnings
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import reidlib as rl
from reidlib.data import Shots
from reidlib.data.layouts import data_root
from reidlib.evaluation.statistics import compare
from reidlib.evaluation.sysu_trials import Official

GOLDEN = Path(__file__).parent / "golden"
MODES = [(search, shot) for search in ("all", "indoor") for shot in ("single", "multi")]
FILE = "rand_perm_cam.mat"
REAL = next(
    (f for f in (data_root() / "SYSU-MM01/exp" / FILE, data_root() / "sysu_protocol" / FILE) if f.exists()), None
)


def shots(name, cams, pids, images, root=Path("data")):
    paths = np.array([f"cam{c}/{p:04d}/{k + 1:04d}.jpg" for c, p, k in zip(cams, pids, images)])
    return Shots(name, root, paths, np.asarray(pids, np.int64), np.asarray(cams, np.int64), (3, 6))


def golden(case):
    """Features and labels of a golden file, its draw, and the file."""
    z = np.load(GOLDEN / f"sysu_protocol_{case}.npz")
    cams, pids = z["cam"].astype(int), z["pid"].astype(int)
    pairs = set(zip(cams.tolist(), pids.tolist()))
    cells = {pair: z["perm"][:, (cams == pair[0]) & (pids == pair[1])].astype(int) + 1 for pair in pairs}
    infrared, features = np.isin(cams, (3, 6)), torch.from_numpy(z["features"])
    sides = [(part, mask) for part, mask in (("query", infrared), ("gallery", ~infrared))]
    labels = [shots(part, cams[mask], pids[mask], z["image_index"][mask]) for part, mask in sides]
    return (features[infrared], features[~infrared], *labels), Official(Path(FILE), cells), z


def crowd(seed=0, people=6, images=3, absent=(), dim=16):
    """Random features with some structure; `absent` pairs (camera, pid) have no image."""
    rng = np.random.default_rng(seed)
    rows = [(c, p, k) for c in range(1, 7) for p in range(1, people + 1) for k in range(images) if (c, p) not in absent]
    cams, pids, numbers = np.array(rows).T
    features = rng.standard_normal((people + 1, dim))[pids] + 1.5 * rng.standard_normal((len(rows), dim))
    features, infrared = torch.from_numpy(features).float(), np.isin(cams, (3, 6))
    labels = [shots(n, cams[m], pids[m], numbers[m]) for n, m in (("query", infrared), ("gallery", ~infrared))]
    return features[infrared], features[~infrared], *labels


def plain(q, g, query, gallery, columns):
    """AP, INP and rank among distinct people of every probe in one trial, by sorting; NaN, NaN, -1 without a match."""
    place, rows = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}, []
    similarity = torch.nn.functional.normalize(q.double()) @ torch.nn.functional.normalize(g.double()).T
    for i in range(len(query)):
        seen = [j for j in columns if place[gallery.camids[j]] != place[query.camids[i]]]
        ranked = sorted(seen, key=lambda j: -similarity[i, j])
        pids = gallery.pids[ranked].tolist()
        rank = np.flatnonzero(np.array(pids) == query.pids[i]) + 1
        hits = np.arange(1, len(rank) + 1)
        first = list(dict.fromkeys(pids)).index(query.pids[i]) + 1 if len(rank) else -1
        rows.append((np.mean(hits / rank), len(rank) / rank[-1], first) if len(rank) else (np.nan, np.nan, -1))
    return np.array(rows).T


@pytest.mark.parametrize("case", ["main", "missing"])
@pytest.mark.parametrize(("search", "shot"), MODES)
def test_golden_values_hold_in_every_trial(case, search, shot):
    inputs, draw, z = golden(case)
    s, mode = rl.sysu.score(*inputs, search=search, shot=shot, draw=draw), f"{search}_{shot}"
    ranks = np.stack([s.per_trial(f"rank-{k}") for k in (1, 5, 10, 20)], 1)
    np.testing.assert_allclose(ranks, z[f"expected_{mode}_cmc_1_5_10_20"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(s.trials.mAP, z[f"expected_{mode}_mAP"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(s.trials.mINP, z[f"mangye16_{mode}_mINP"], rtol=0, atol=1e-6)
    mean = [*(s.rank(k) for k in (1, 5, 10, 20)), s.mAP]
    np.testing.assert_allclose(mean, z[f"expected_{mode}_mean"], rtol=0, atol=1e-6)
    assert s.counts["gallery"] == z[f"num_gallery_{mode}"]
    assert (len(s.pids), s.num_valid) == (z[f"num_probes_{mode}"], z[f"num_valid_probes_{mode}"])
    for trap in ("cam2_kept", "image_cmc"):  # rank 1, 5, 10 and mAP of the last trial under a wrong rule
        wrong = z[f"trap_{trap}_{mode}_last_trial"]
        assert abs(np.append(ranks[-1, :3], s.trials.mAP[-1]) - wrong).max() > 1e-3


@pytest.mark.parametrize(("search", "shot"), MODES)
def test_a_plain_evaluator_finds_the_same(search, shot):
    inputs = crowd(seed=1, absent=[(1, 2), (2, 2), (4, 2), (5, 2), (1, 3), (4, 3), (5, 3), (6, 4)])
    s = rl.sysu.score(*inputs, search=search, shot=shot, trials=3, draw=rl.sysu.seeded(5))
    for t in range(3):
        ap, inp, first = plain(*inputs, s.columns[t])
        run = s.trial(t)
        np.testing.assert_allclose(run.ap, ap, rtol=0, atol=1e-12)
        np.testing.assert_allclose(run.inp, inp, rtol=0, atol=1e-12)
        assert s.runs[t].first_match.tolist() == first.tolist()
    np.testing.assert_allclose(
        s.trials.cmc[-1], [(first[first > 0] <= k).mean() for k in range(1, s.counts["people"] + 1)]
    )


@pytest.mark.parametrize("gap", [0.0, 1e-9, -1e-9])
@pytest.mark.parametrize("rerank", [None, partial(rl.rerank, k1=3, k2=1, lam=1.0)])
def test_near_ties_are_settled_exactly_and_wrong_people_rank_ahead_in_a_tie(gap, rerank):
    """For each probe of identity 1, one wrong person's image differs from the match by `gap`, or not at all."""
    _, _, query, gallery = crowd(people=3, images=1)
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    cosines = np.where(gallery.pids == 1, 0.8, np.where(gallery.pids == 2, 0.8 + gap, 0.3))
    g = cosines[:, None] * axes[0] + np.sqrt(1 - cosines**2)[:, None] * axes[1 + gallery.pids]
    if gap == 0:
        g[gallery.pids == 2] = g[gallery.pids == 1]
    q = np.tile(axes[0], (len(query), 1))
    s = rl.sysu.score(*map(torch.from_numpy, (q, g)), query, gallery, trials=1, rerank=rerank)
    of_one = query.pids == 1
    assert set(s.runs[0].first_match[of_one].tolist()) == {1 if gap < 0 else 2}
    assert (s.runs[0].ap[of_one] == 1).all() == (gap < 0)


def test_probes_without_a_match_are_counted_and_left_out():
    # 3 was seen by camera 2 alone of the visible ones: a probe of camera 3, the same place, has nothing to find
    q, g, query, gallery = crowd(absent=[(1, 3), (4, 3), (5, 3)])
    s = rl.sysu.score(q, g, query, gallery)
    lost = (query.pids == 3) & (query.camids == 3)
    assert s.valid.tolist() == (~lost).tolist()
    assert (s.num_valid, s.num_invalid) == (33, 3)
    assert s.mAP == pytest.approx(np.mean([run.ap[~lost].mean() for run in s.runs]))
    assert np.isnan(s.values("rank-1")).tolist() == lost.tolist()
    with pytest.raises(ValueError, match="none of the 3 probes has a match in the all-search gallery"):
        rl.sysu.score(q[lost], g, query[lost], gallery)


def test_single_shot_takes_one_image_of_each_camera_and_identity_and_multi_shot_ten_or_what_there_is():
    inputs = crowd(people=4, images=12, absent=[(4, 1)])
    sizes = {mode: rl.sysu.score(*inputs, search=mode[0], shot=mode[1], trials=2).counts["gallery"] for mode in MODES}
    assert list(sizes.values()) == [15, 150, 8, 80]
    few = rl.sysu.score(*crowd(people=4, images=3), shot="multi", trials=2)
    assert few.counts == {"probes": 24, "gallery": 48, "people": 4}
    assert few.columns.tolist() == [list(range(48))] * 2


def test_a_seeded_draw_depends_on_its_seed_and_on_nothing_else():
    inputs = crowd(images=5)
    first, again, other = (rl.sysu.score(*inputs, draw=rl.sysu.seeded(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first.columns, again.columns)
    assert not np.array_equal(first.columns, other.columns)
    assert (first.draw, other.draw) == ("seeded 0", "seeded 1")
    assert len({tuple(row) for row in first.columns.tolist()}) == 10  # trials differ
    q, g, query, gallery = inputs
    order = np.random.default_rng(0).permutation(len(gallery))[: len(gallery)]
    moved = rl.sysu.score(q, g[order], query, gallery[order])
    assert [set(gallery.paths[a]) for a in first.columns] == [set(gallery[order].paths[b]) for b in moved.columns]
    assert moved.mAP == first.mAP


def test_repr_names_everything_that_a_number_depends_on():
    s = rl.sysu.score(*crowd(), search="indoor", trials=4)
    assert repr(s).startswith(
        f"rank-1 {100 * s.rank(1):.1f}  rank-10 100.0  rank-20 100.0  mAP {100 * s.mAP:.1f}  mINP "
    )
    spread = f"sd of rank-1 {100 * s.spread('rank-1'):.1f}, of mAP {100 * s.spread('mAP'):.1f}"
    assert repr(s).endswith(
        f"(indoor-search, single-shot, 4 trials, {spread}, draw seeded 0, 36 probes, 0 without match, re-ranking off)"
    )
    low, high = s.interval("mAP")
    assert low < s.mAP < high
    assert s.spread("rank-1") == pytest.approx(np.std(s.per_trial("rank-1"), ddof=1))
    one = rl.sysu.score(*crowd(), trials=1)
    assert np.isnan(one.spread())
    assert "single-shot, 1 trial, draw seeded 0, " in repr(one)
    assert s.cmc[0] == pytest.approx(s.rank(1))
    other = rl.sysu.score(*crowd(seed=1), search="indoor", trials=4)
    difference, low, high = compare(s, other).differences["mAP"]
    assert difference == pytest.approx(s.mAP - other.mAP)
    assert low < difference < high


def test_other_draws_are_not_compared():
    scores = [rl.sysu.score(*crowd(), trials=2, draw=rl.sysu.seeded(seed)) for seed in (0, 1)]
    with pytest.raises(ValueError, match="different galleries"):
        rl.compare(*scores)
    assert rl.compare(scores[0], scores[0]).differences["mAP"][0] == 0


def test_a_trial_can_be_looked_at():
    q, g, query, gallery = crowd()
    s = rl.sysu.score(q, g, query, gallery, trials=2)
    i = int(np.flatnonzero(query.camids == 3)[0])
    shown, hidden = s.ranking(i, 99, trial=1), s.ranking(i, 99, trial=1, ignored=True)
    assert set(hidden.index) == set(s.columns[1])
    assert hidden.ignored.tolist() == (gallery.camids[hidden.index] == 2).tolist()  # of any identity
    assert shown.index.tolist() == hidden.index[~hidden.ignored].tolist()
    assert (np.diff(shown.similarity) <= 0).all()
    assert shown.match.tolist() == (gallery.pids[shown.index] == query.pids[i]).tolist()
    assert s.trial(1).first_match[i] == 1 + shown.match.argmax()
    assert (s.trial(1).first_match > s.runs[1].first_match).any(), "of images, not of people"
    assert s.trial(1).gallery.paths.tolist() == gallery.paths[s.columns[1]].tolist()
    again = s.ranking(i, 99, True, 1)  # the order of Scores.ranking, then the trial
    assert again.index.tolist() == hidden.index.tolist()
    with pytest.raises(IndexError, match="no trial 2: there are 2"):
        s.trial(2)
    with pytest.raises(ValueError, match=r"take trial\(t\)"):
        s.runs[0].ranking(0)
    assert rl.verification(s.trial(0)).true.sum() == s.runs[0].counts["matches"]


def images(part, folder):
    """The same Shots, with a picture for each image below `folder`."""
    for path in part.paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), "grey").save(folder / path)
    return replace(part, root=folder)


def test_a_ranked_list_can_be_drawn_with_and_without_what_is_ignored(tmp_path):
    q, g, query, gallery = crowd(people=3, images=2)
    s = rl.sysu.score(q, g, images(query, tmp_path), images(gallery, tmp_path), trials=3)
    for ignored in (False, True):
        figure = rl.plot_ranked(s, [0], k=12, ignored=ignored)
        shown = s.ranking(0, 12, ignored)
        words = np.where(shown.ignored, "ignored", np.where(shown.match, "right", "wrong"))
        assert figure.alt.endswith(f"the list reads {', '.join(words)}.")
        assert shown.ignored.any() == ignored


def test_values_over_the_trials_are_what_a_metric_of_ones_own_needs():
    s = rl.sysu.score(*crowd(absent=[(1, 3), (4, 3), (5, 3)]), trials=4)
    assert (s.mAP, s.mINP) == (s.mean("mAP"), s.mean("mINP"))
    assert np.array_equal(s.ap, s.values("mAP"), equal_nan=True)
    assert np.array_equal(s.first_match, np.mean([run.first_match for run in s.runs], 0))
    assert (s.first_match[~s.valid] == -1).all()
    assert all(np.array_equal(s.matches, run.matches) for run in s.runs)


def test_reranking_is_done_in_each_trial_and_named():
    inputs = crowd()
    s = rl.sysu.score(*inputs, trials=2, rerank=partial(rl.rerank, k1=5, k2=2))
    assert s.reranked
    assert repr(s).endswith("re-ranking on)")
    ranks = s.ranking(0, 99, trial=1)
    first = list(dict.fromkeys(inputs[3].pids[ranks.index])).index(inputs[2].pids[0]) + 1
    assert s.runs[1].first_match[0] == first
    assert s.mAP != rl.sysu.score(*inputs, trials=2).mAP


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search": "outdoor"}, "no search 'outdoor'; choose one of all, indoor"),
        ({"shot": "double"}, "no shot 'double'; choose one of single, multi"),
        ({"trials": 0}, "trials=0: at least one"),
        ({"draw": "official"}, r"draw='official': pass sysu\.official\(folder\), sysu\.seeded\(seed\) or nothing"),
    ],
)
def test_what_cannot_be_scored_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        rl.sysu.score(*crowd(), **change)


def test_images_of_the_wrong_side_are_named():
    q, g, query, gallery = crowd()
    with pytest.raises(
        ValueError, match=r"query image 0 \(cam1/0001/0001.jpg\) is of camera 1: SYSU-MM01 searches inf"
    ):
        rl.sysu.score(g, q, gallery, query)
    with pytest.raises(ValueError, match=r"gallery image 0 .* is of camera 3: .* among visible ones"):
        rl.sysu.score(q[18:], q[:18], query[18:], query[:18])
    with pytest.raises(ValueError, match=r"the gallery has no image of cameras \(1, 2\)"):
        rl.sysu.score(q, g[gallery.camids > 2], query, gallery[gallery.camids > 2], search="indoor")


def permutations(folder, images=3, people=6, trials=10, first=1):
    """A rand_perm_cam.mat as the authors', for the crowd; identity 2 has an empty cell in camera 1."""
    rng, cameras = np.random.default_rng(3), np.empty((6, 1), object)
    for camera in range(6):
        cells = np.empty((people, 1), object)
        for pid in range(people):
            count = 0 if (camera, pid) == (0, 1) else images
            cells[pid, 0] = np.array([rng.permutation(count) + first for _ in range(trials)], np.uint8)
        cameras[camera, 0] = cells
    (folder / "exp").mkdir(parents=True, exist_ok=True)
    savemat(folder / "exp" / FILE, {"rand_perm_cam": cameras})
    return folder / "exp" / FILE


def test_the_official_file_is_read_by_camera_and_identity_and_counted_from_0(tmp_path):
    file = permutations(tmp_path)
    inputs = crowd(absent=[(1, 2)])
    for place in (file, file.parent, tmp_path, str(tmp_path)):
        assert rl.sysu.official(place).file == file
    draw, rng = rl.sysu.official(file), np.random.default_rng(3)
    assert draw.cells[1, 1].tolist() == [(rng.permutation(3) + 1).tolist() for _ in range(10)]
    assert (1, 2) not in draw.cells
    s = rl.sysu.score(*inputs, draw=draw)
    gallery = inputs[3]
    at = s.columns[7][(gallery.camids[s.columns[7]] == 5) & (gallery.pids[s.columns[7]] == 4)]
    assert gallery.paths[at].tolist() == [f"cam5/0004/{draw.cells[5, 4][7, 0]:04d}.jpg"]
    assert s.draw == "official"


def test_the_official_file_of_the_data_sets_folder_is_taken_by_itself(tmp_path):
    q, g, query, gallery = crowd(absent=[(1, 2)])
    here = Shots("gallery", tmp_path, gallery.paths, gallery.pids, gallery.camids)
    assert rl.sysu.score(q, g, query, here).draw == "seeded 0"
    permutations(tmp_path)
    s = rl.sysu.score(q, g, query, here)
    assert s.draw == "official"
    assert np.array_equal(s.columns, rl.sysu.score(q, g, query, gallery, draw=rl.sysu.official(tmp_path)).columns)


def test_an_official_file_that_is_missing_or_does_not_fit_is_an_error_with_the_remedy(tmp_path):
    inputs = crowd(absent=[(1, 2)])
    with pytest.raises(FileNotFoundError, match=r"no rand_perm_cam.mat at .*data/README.md.*sysu.seeded"):
        rl.sysu.official(tmp_path)
    file = permutations(tmp_path, images=4)
    with pytest.raises(ValueError, match="permutes 4 images of identity 1 in camera 1, but the gallery has 3"):
        rl.sysu.score(*inputs, draw=rl.sysu.official(file))
    file = permutations(tmp_path, people=5)
    with pytest.raises(ValueError, match="permutes 0 images of identity 6 in camera 1, but the gallery has 3"):
        rl.sysu.score(*inputs, draw=rl.sysu.official(file))
    file = permutations(tmp_path)
    with pytest.raises(ValueError, match="holds 10 trials: trials=11 is more"):
        rl.sysu.score(*inputs, draw=rl.sysu.official(file), trials=11)
    with pytest.raises(ValueError, match="a row of it is no permutation"):
        rl.sysu.official(permutations(tmp_path, first=0))
    for other in ({"other": 1}, {"rand_perm_cam": 1}):
        savemat(file, other)
        with pytest.raises(ValueError, match=r"is no rand_perm_cam.mat|no permutation"):
            rl.sysu.official(file)
    file.write_bytes(b"no MATLAB file")
    with pytest.raises(ValueError, match=r"is no rand_perm_cam.mat \("):
        rl.sysu.official(file)


def test_a_part_of_sysu_is_not_passed_off_as_all_of_it():
    q, g, query, gallery = crowd()
    part = Shots("sysu/gallery", *(getattr(gallery, name) for name in ("root", "paths", "pids", "camids")))
    with pytest.warns(
        UserWarning, match="36 probes and 24 gallery images a trial, in SYSU-MM01 they are 3,803 and 301"
    ):
        rl.sysu.score(q, g, query, part)


@pytest.mark.skipif(REAL is None, reason="rand_perm_cam.mat is not here: its authors gave it no licence")
def test_the_real_permutations_give_the_published_sizes():
    draw = rl.sysu.official(REAL)
    listed = [f for f in (REAL.with_name("test_id.txt"), REAL.with_name("test_id.mat")) if f.exists()]
    if not listed:
        pytest.skip("no list of the test identities beside it")
    if listed[0].suffix == ".txt":
        people = [int(word) for word in listed[0].read_text().replace(",", " ").split()]
    else:
        from scipy.io import loadmat

        people = loadmat(listed[0])["id"].ravel().tolist()
    pairs = [(c, p, draw.cells[c, p].shape[1]) for c in range(1, 7) for p in people if (c, p) in draw.cells]
    rows = np.array([(c, p, k) for c, p, images in pairs for k in range(images)])
    rows, infrared = rows.T, np.isin(rows[:, 0], (3, 6))
    labels = [shots(f"sysu/{n}", *rows[:, m]) for n, m in (("query", infrared), ("gallery", ~infrared))]
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((len(infrared), 8))).float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # other sizes give one
        for search, size in (("all", 301), ("indoor", 112)):
            for shot, images in (("single", size), ("multi", 10 * size)):
                inputs = features[infrared], features[~infrared], *labels
                assert rl.sysu.score(*inputs, search=search, shot=shot, trials=1, draw=draw).counts["gallery"] == images


@pytest.mark.parametrize("name", ["sysu", "toy-sysu", "toy-sysu:copied=1", "market", "toy", "regdb", "sysu-like"])
def test_the_protocol_is_that_of_the_real_and_the_drawn_set_in_any_world(name):
    own = name.partition(":")[0] in {"sysu", "toy-sysu"}
    assert rl.sysu.is_sysu(name) == own
    with pytest.raises(ValueError, match="by its own protocol") if own else nullcontext():
        rl.sysu.refuse_sysu(name)
