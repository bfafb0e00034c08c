"""score() against the golden values, a brute-force evaluator and itself in other chunks, dtypes and tie rules."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.evaluation import counting
from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.reranking import expand, rerank
from reidlib.evaluation.score import score
from reidlib.evaluation.scores import Scores
from reidlib.evaluation.statistics import verification

GOLDEN = Path(__file__).parent / "golden"


class Labels(SimpleNamespace):
    def __len__(self):
        return len(self.paths)


def labels(part, pids, camids):
    paths = np.array([f"{part}/{i:05d}.jpg" for i in range(len(pids))])
    return Labels(name=part, root=Path("data"), paths=paths, pids=np.asarray(pids), camids=np.asarray(camids))


def golden(case):
    """Features and labels of a golden market file, ready for score(), and the file."""
    z = np.load(GOLDEN / f"market_protocol_{case}.npz")
    shots = (labels(part, z[f"{part}_pids"], z[f"{part}_cams"]) for part in ("query", "gallery"))
    return (torch.from_numpy(z["query_features"]), torch.from_numpy(z["gallery_features"]), *shots), z


def crowd(seed=0, queries=40, images=300, dim=48, ids=12):
    """Random features with some structure, of lengths between 0.5 and 2, with junk and distractors."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((ids + 1, dim))
    q_pid, g_pid = rng.integers(1, ids + 1, queries), rng.integers(-1, ids + 1, images)
    features = [
        torch.from_numpy((centre[pid] + 2 * rng.standard_normal((len(pid), dim))) * rng.uniform(0.5, 2, (len(pid), 1)))
        for pid in (q_pid, g_pid)
    ]
    shots = (labels("query", q_pid, rng.integers(1, 4, queries)), labels("gallery", g_pid, rng.integers(1, 4, images)))
    return (*(x.float() for x in features), *shots)


def equal(a, b):
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=True) for n in ("ap", "inp", "first_match"))


@pytest.mark.parametrize("case", ["main", "unnormalised"])
def test_golden_market_values_hold(case):
    inputs, z = golden(case)
    s = score(*inputs)
    assert np.array_equal(s.first_match, z["expected_first_match_rank"])
    assert np.array_equal(s.matches, z["expected_num_positives"])
    for got, want in ((s.ap, "ap_step"), (s.inp, "inp"), (s.ap_trapezoid, "ap_trapezoid")):
        np.testing.assert_allclose(got, z[f"expected_{want}"], rtol=0, atol=1e-9)
    assert (s.num_valid, s.num_invalid) == (z["expected_num_valid"], z["expected_num_invalid"])
    for peer in ("strong", "torchreid", "fastreid", "seed"):
        assert s.mAP == pytest.approx(float(z[f"expected_{peer}_valid_mAP"]), abs=1e-6)
        np.testing.assert_allclose(s.cmc[z["topk"] - 1], z[f"expected_{peer}_valid_cmc"], rtol=0, atol=1e-6)
    assert s.mINP == pytest.approx(float(z["expected_fastreid_valid_mINP"]), abs=1e-6)
    assert s.mAP_trapezoid == pytest.approx(float(z["expected_layumi_valid_mAP_trapezoid"]), abs=1e-6)


def test_wrong_protocols_give_other_values():
    inputs, z = golden("main")
    s = score(*inputs)
    for trap in ("junk_kept", "same_camera_kept", "distractors_dropped"):
        assert abs(s.mAP - z[f"trap_{trap}_mAP"]) > 0.01
    kept = score(*inputs, same_camera="keep")
    assert repr(kept).endswith("re-ranking off, same camera kept)")
    assert kept.mAP == pytest.approx(float(z["trap_same_camera_kept_mAP"]), abs=1e-6)


@pytest.mark.parametrize("rule", ["pessimistic", "optimistic"])
def test_golden_ties_hit_the_stated_rule(rule):
    inputs, z = golden("ties")
    s = score(*inputs, ties=rule)
    np.testing.assert_allclose(s.ap, z[f"expected_{rule}_ap"], rtol=0, atol=1e-9)
    assert np.array_equal(s.first_match, z[f"expected_{rule}_first_match_rank"])
    assert s.mINP == pytest.approx(float(z[f"expected_{rule}_mINP"]), abs=1e-9)
    assert s.mAP_trapezoid == pytest.approx(float(z[f"expected_{rule}_mAP_trapezoid"]), abs=1e-9)


def brute(q, g, query, gallery, pessimistic, keep_camera):
    """AP, INP and first match of every query by sorting; NaN, NaN, -1 without a match."""
    rows = []
    for feature, pid, cam in zip(q.astype(float), query.pids, query.camids):
        seen = (gallery.pids != -1) & ((gallery.pids != pid) | (gallery.camids != cam) | keep_camera)
        match = gallery.pids[seen] == pid
        similarity = g[seen] @ feature / (np.sqrt(feature @ feature) * np.sqrt((g[seen] ** 2).sum(1)))
        order = np.lexsort((match if pessimistic else ~match, -similarity))
        rank = np.flatnonzero(match[order]) + 1
        hits = np.arange(1, len(rank) + 1)
        rows.append((np.mean(hits / rank), len(rank) / rank[-1], rank[0]) if len(rank) else (np.nan, np.nan, -1))
    return np.array(rows).T


@st.composite
def cases(draw):
    # Few small whole numbers in few dimensions: their products are exact and many similarities tie.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images, dim = draw(st.integers(1, 12)), draw(st.integers(1, 60)), draw(st.integers(1, 4))
    features = [rng.integers(-2, 3, (n, dim)).astype(np.float32) for n in (queries, images)]
    for x in features:
        x[(x == 0).all(1)] = 1
    q_pid, g_pid = rng.integers(1, 4, queries), rng.integers(-1, 5, images)
    return (
        *features,
        labels("query", q_pid, rng.integers(1, 4, queries)),
        labels("g", g_pid, rng.integers(1, 4, images)),
    )


@settings(max_examples=300, deadline=None)
@given(cases(), st.booleans(), st.booleans(), st.sampled_from([1, 200, 2**26]))
def test_score_agrees_with_brute_force(case, pessimistic, keep_camera, memory):
    q, g, query, gallery = case
    ap, inp, first = brute(*case, pessimistic, keep_camera)
    options = {
        "ties": "pessimistic" if pessimistic else "optimistic",
        "same_camera": "keep" if keep_camera else "ignore",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "ROWS", 5)
        if np.isnan(ap).all() or (len(g) > 1 and (g == g[0]).all()):
            with pytest.raises(ValueError, match=r"none of the|all .* the same"):
                score(torch.from_numpy(q), torch.from_numpy(g), query, gallery, memory=memory, **options)
            return
        s = score(torch.from_numpy(q), torch.from_numpy(g), query, gallery, memory=memory, **options)
    np.testing.assert_allclose(s.ap, ap, rtol=0, atol=1e-12)
    np.testing.assert_allclose(s.inp, inp, rtol=0, atol=1e-12)
    assert np.array_equal(s.first_match, first)


def test_no_result_depends_on_the_chunks(monkeypatch):
    inputs = crowd()
    whole = score(*inputs)
    for rows, memory in ((1, 2**26), (7, 2**10), (16, 2**13), (40, 1)):
        monkeypatch.setattr(counting, "ROWS", rows)
        assert equal(score(*inputs, memory=memory), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_product_in_another_precision_gives_the_same_result(dtype):
    inputs = crowd()
    assert equal(score(*inputs, dtype=dtype), score(*inputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision_score_as_the_same_numbers_in_float32(dtype):
    q, g, *shots = crowd()
    q, g = q.to(dtype), (3000 * g).to(dtype)  # longer than float16 can tell
    assert equal(score(q, g, *shots), score(q.float(), g.float(), *shots))
    assert equal(score(q, g, *shots), score(q.double(), g.double(), *shots))


@pytest.mark.parametrize("ranked", [None, rerank])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.float32, 1e-22), (torch.float32, 1e-42), (torch.float32, 1e37), (torch.float16, 1e-6), (torch.float16, 3e3),
     (torch.bfloat16, 1e-30), (torch.float64, 1e-300), (torch.float64, 1e300)],
)  # fmt: skip
def test_features_of_any_finite_scale_are_scored_by_their_directions(dtype, scale, ranked):
    q, g, *shots = crowd()
    q, g = ((x.double() * scale).to(dtype) for x in (q, g))
    assert q.isfinite().all()
    near_one = [x.double() / x.double().abs().max() for x in (q, g)]
    extreme, wanted = (score(*x, *shots, rerank=ranked) for x in ((q, g), near_one))
    assert equal(extreme, wanted)
    mixed = torch.where(torch.arange(len(g))[:, None] % 2 == 0, g.double(), near_one[1])  # some rows only
    assert equal(score(near_one[0], mixed, *shots, rerank=ranked), wanted)
    if dtype == torch.float32:
        torch.testing.assert_close(expand(q, g), expand(*near_one), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_tile_is_within_its_error_of_the_exact_similarity(dtype):
    rng = torch.Generator().manual_seed(0)
    for shift in (0.0, 3.0):  # of both signs; all positive and so nearly parallel that sums grow large
        q, g = (torch.randn(n, 2048, generator=rng) + shift for n in (8, 50))
        source = Cosine(q, g, dtype)
        i, j = np.divmod(np.arange(400), 50)
        exact = source.exact(i, j)
        want = torch.nn.functional.cosine_similarity(q.double()[i], g.double()[j]).numpy()
        np.testing.assert_allclose(exact, want, rtol=0, atol=1e-14)
        assert abs(source.tile(slice(0, 8), slice(0, 50)).double().numpy().ravel() - exact).max() < source.error
        assert abs(source.near(i, j) - exact).max() < source.error
        around = source.of_queries(source.g[[7]])  # an image of the gallery as the only query
        np.testing.assert_array_equal(
            around.exact(np.zeros(50, int), np.arange(50)), Cosine(g[[7]], g).exact(0 * j[:50], j[:50])
        )
        assert abs(around.tile(slice(0, 1), slice(0, 50)).double().numpy()[0, 7] - 1) < source.error


def test_copies_of_a_match_under_a_wrong_name_follow_the_tie_rule():
    g = torch.randn(50, 2048, generator=torch.Generator().manual_seed(1))
    g[10:14] = g[3]  # image 3 is the match, four strangers look exactly like it
    query, gallery = labels("query", [1], [1]), labels("gallery", [0] * 3 + [1] + [0] * 46, [2] * 50)
    for rule, first in (("pessimistic", 5), ("optimistic", 1)):
        s = score(g[3:4] + 0.1, g, query, gallery, ties=rule)
        assert s.first_match[0] == first
        assert s.ranking(0).index[first - 1] == 3


def test_wrong_answers_rank_ahead_in_a_tie_unless_one_says_otherwise():
    inputs, z = golden("ties")
    assert not np.array_equal(z["expected_pessimistic_ap"], z["expected_optimistic_ap"])
    assert equal(score(*inputs), score(*inputs, ties="pessimistic"))
    assert score(*inputs).ties == "pessimistic"


@pytest.mark.parametrize("bits", [8, 12, 16, 20])
@pytest.mark.parametrize("dim", [16, 64])
def test_lengths_that_are_nearly_one_are_divided_by_or_within_the_error(bits, dim):
    """Images at angles whose cosines differ by less than their lengths do; the order is that of the angles."""
    rng, n = np.random.default_rng(bits), 400
    angle = np.arccos(0.5 - np.cumsum(rng.uniform(0, 2.0 ** (1 - bits), n)) / 4)
    plane = np.linalg.qr(rng.standard_normal((dim, 2)))[0].T
    directions = np.stack([np.cos(angle), np.sin(angle)], 1) @ plane
    g = torch.from_numpy(directions * (1 + rng.uniform(-1, 1, (n, 1)) * 2.0**-bits)).float()
    q = torch.from_numpy(plane[:1]).float()
    gallery = labels("gallery", rng.integers(1, 3, n), np.full(n, 2))
    s = score(q, g, labels("query", [1], [1]), gallery)
    x, y = q.double().numpy()[0], g.double().numpy()
    order = np.argsort(-(y @ x) / np.linalg.norm(y, axis=1), kind="stable")
    rank = np.flatnonzero(gallery.pids[order] == 1) + 1
    assert s.ap[0] == pytest.approx(np.mean(np.arange(1, len(rank) + 1) / rank), abs=1e-12)


def test_a_model_at_chance_is_counted_exactly():
    """Many near ties: images of three people around one direction, closer than a tile in float32 can tell."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(64) + 1e-4 * rng.standard_normal((220, 64))
    q, g = torch.from_numpy(x[:20]).float(), torch.from_numpy(x[20:]).float()
    query, gallery = (
        labels("query", rng.integers(1, 4, 20), np.ones(20, int)),
        labels("gallery", *rng.integers(2, 5, (2, 200))),
    )
    gallery.pids -= 1
    ap, inp, first = brute(q.numpy(), g.numpy().astype(float), query, gallery, True, False)
    for threads, memory in ((1, 2**26), (2, 2**15)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        s = score(q, g, query, gallery, memory=memory)
        torch.set_num_threads(before)
        np.testing.assert_allclose(s.ap, ap, rtol=0, atol=1e-12)
        np.testing.assert_allclose(s.inp, inp, rtol=0, atol=1e-12)
        assert np.array_equal(s.first_match, first)


def test_queries_without_a_match_are_counted_and_not_averaged():
    q, g, query, gallery = crowd()
    some = score(q, g, query, gallery)
    lonely = labels("query", np.append(query.pids, [77, 78]), np.append(query.camids, [1, 1]))
    s = score(torch.cat([q, q[:2]]), g, lonely, gallery)
    assert (s.num_valid, s.num_invalid, s.mAP, s.rank(1)) == (some.num_valid, 2, some.mAP, some.rank(1))
    assert np.isnan(s.ap[-2:]).all()
    assert (s.first_match[-2:] == -1).all()
    assert "42 queries, 2 without match, re-ranking off" in repr(s)


def test_counts_add_up_and_the_curve_ends_at_one():
    inputs, z = golden("main")
    s = score(*inputs)
    assert s.counts == {
        "queries": 300,
        "valid": 283,
        "gallery": 1500,
        "junk": (z["gallery_pids"] == -1).sum(),
        "distractors": (z["gallery_pids"] == 0).sum(),
        "matches": z["expected_num_positives"].sum(),
        "same_camera": 940,
    }
    assert (len(s.cmc), s.cmc[-1], s.cmc[4]) == (1350, 1, s.rank(5))


def test_a_ranking_tells_the_same_story_as_the_numbers():
    for inputs in (crowd(), golden("ties")[0]):
        for rule in ("pessimistic", "optimistic"):
            s = score(*inputs, ties=rule)
            for i in np.flatnonzero(s.valid):
                rank = np.flatnonzero(s.ranking(i, k=10**6).match) + 1
                assert np.mean(np.arange(1, len(rank) + 1) / rank) == pytest.approx(s.ap[i], abs=1e-12)
                head = s.ranking(i, k=5)
                assert np.array_equal(head.index, s.ranking(i, k=10**6).index[:5])
                assert (np.diff(head.similarity) <= 0).all()


def test_a_short_list_is_the_head_of_the_long_one_where_similarities_crowd():
    noise = torch.randn(200, 2048, generator=torch.Generator().manual_seed(2))
    g = torch.randn(1, 2048, generator=torch.Generator().manual_seed(3)) + 1e-3 * noise  # cosines differ by 1e-8
    query, gallery = labels("query", [1], [1]), labels("gallery", np.arange(200), [2] * 200)
    s = score(g[:1] + 0.5 * torch.randn(1, 2048, generator=torch.Generator().manual_seed(4)), g, query, gallery)
    for k in range(1, 200, 10):
        assert np.array_equal(s.ranking(0, k).index, s.ranking(0, 200).index[:k])
    assert s.ranking(0, 200).index[s.first_match[0] - 1] == 1


def test_ignored_images_show_in_a_ranking_only_when_asked_for():
    s = score(*crowd())
    hidden, shown = s.ranking(0, k=300), s.ranking(0, k=300, ignored=True)
    assert not hidden.ignored.any()
    assert len(shown.index) == 300
    assert np.array_equal(shown.index[~shown.ignored], hidden.index)
    pid, cam = s.gallery.pids[shown.index], s.gallery.camids[shown.index]
    assert np.array_equal(shown.ignored, (pid == -1) | ((pid == s.query.pids[0]) & (cam == s.query.camids[0])))
    assert not (shown.match & shown.ignored).any()


def test_saved_scores_come_back_without_their_images(tmp_path):
    s = score(*crowd())
    back = Scores.load(s.save(tmp_path / "per_query.npz"))
    assert equal(back, s)
    assert (repr(back), back.counts, back.interval()) == (repr(s), s.counts, s.interval())
    assert [p.name for p in tmp_path.iterdir()] == ["per_query.npz"]
    for use in (lambda: back.ranking(0), lambda: back.gallery, lambda: back.q @ back.g.T, lambda: verification(back)):
        with pytest.raises(ValueError, match=r"from a file, without embeddings: call score\(\) or measure\(\) again"):
            use()


class Table:
    """A Similarity of one's own: values (Q, G) float32 of any origin."""

    error = 0.0

    def __init__(self, values):
        self.values = values

    def tile(self, rows, cols):
        return self.values[rows, cols]

    def near(self, i, j):
        return self.values[i, j].double().numpy()

    exact = near


@pytest.mark.parametrize("memory", [2**26, 2**12])
def test_a_similarity_of_ones_own_is_scored_ranked_and_left_as_it_is(memory):
    q, g, query, gallery = crowd()
    values = 1 / (1 + torch.cdist(q, g))
    given = []
    s = score(q, g, query, gallery, memory=memory, rerank=lambda q, g, keep: given.append(keep) or Table(values))
    assert np.array_equal(given[0], gallery.pids != -1)
    for i in range(0, 40, 7):
        seen = np.flatnonzero(
            (gallery.pids != -1) & ~((gallery.pids == query.pids[i]) & (gallery.camids == query.camids[i]))
        )
        order = seen[np.argsort(-values[i].numpy()[seen], kind="stable")]
        rank = np.flatnonzero(gallery.pids[order] == query.pids[i]) + 1
        assert s.ap[i] == pytest.approx(np.mean(np.arange(1, len(rank) + 1) / rank), abs=1e-12)
        assert s.ranking(i, 300).index.tolist() == order.tolist()
    before = values.clone()
    verification(s, memory=memory)
    assert torch.equal(values, before)


@pytest.mark.parametrize("memory", [2**26, 2**12])
@pytest.mark.parametrize("values", [lambda x: -x, lambda x: torch.full_like(x, torch.nan)])
def test_similarities_outside_the_range_are_refused(values, memory):
    q, g, *shots = crowd()
    with pytest.raises(ValueError, match="must lie between -1 and 1"):
        score(q, g, *shots, memory=memory, rerank=lambda q, g, keep: Table(values(torch.cdist(q, g))))


def test_scores_know_their_means_and_what_a_metric_needs():
    s = score(*crowd())
    assert (s.mAP, s.mINP) == (s.mean("mAP"), s.mean("mINP"))
    assert s.rank(5) == s.mean("rank-5") == (s.first_match[s.valid] <= 5).mean()
    assert s.matches.sum() == s.counts["matches"]


def test_data_of_a_single_camera_is_explained_and_can_be_scored():
    q, g, query, gallery = crowd()
    query.camids, gallery.camids = np.ones_like(query.camids), np.ones_like(gallery.camids)
    with pytest.raises(ValueError, match=r'none of the 40 queries .* own camera .* same_camera="keep"'):
        score(q, g, query, gallery)
    assert score(q, g, query, gallery, same_camera="keep").num_valid == 40
    gallery.pids = gallery.pids + 100
    with pytest.raises(ValueError, match="share no identity"):
        score(q, g, query, gallery)


@pytest.mark.parametrize("same_camera", ["keep", "ignore"])
def test_each_image_is_searched_for_among_the_rest_where_query_and_gallery_are_the_same(same_camera):
    _, x, _, shots = crowd(images=120)
    shots.pids = np.where(shots.pids < 1, 1, shots.pids)
    s = score(x, x, shots, shots, same_camera=same_camera)
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        others = labels("others", shots.pids[rest], shots.camids[rest])
        alone = score(
            x[[i]], x[rest], labels("one", shots.pids[[i]], shots.camids[[i]]), others, same_camera=same_camera
        )
        assert (s.ap[i], s.inp[i], s.first_match[i]) == (alone.ap[0], alone.inp[0], alone.first_match[0])
        assert s.matches[i] == alone.matches[0]
        assert i not in s.ranking(i, 120).index
        shown = s.ranking(i, 120, ignored=True)
        assert shown.ignored[shown.index == i].all()
    pairs = (shots.pids[:, None] == shots.pids) & ~np.eye(120, dtype=bool)
    own_camera = pairs & (shots.camids[:, None] == shots.camids) & (same_camera == "ignore")
    assert (s.counts["matches"], s.counts["same_camera"]) == ((pairs & ~own_camera).sum(), own_camera.sum())
    assert verification(s).true.sum() == s.counts["matches"]
    equal_list = Labels(**{**vars(shots), "paths": shots.paths.copy()})
    assert equal(score(x, x, equal_list, shots, same_camera=same_camera), s)


def test_people_of_one_image_have_no_match_among_the_rest():
    shots = labels("all", [1, 2, 3], [0, 0, 0])
    with pytest.raises(ValueError, match=r"share no identity .* embed both sides with rl.embed"):
        score(torch.eye(3), torch.eye(3), shots, shots, same_camera="keep")


def bad(change):
    q, g, query, gallery = crowd(images=20)
    inputs = {"q": q, "g": g, "query": query, "gallery": gallery}
    change(inputs)
    return inputs


def put(name, key, value):
    def change(inputs):
        target = inputs[name]
        if isinstance(target, Labels):
            array = getattr(target, key[0])
            array = array.astype(array.dtype if isinstance(value, int) and value < 2**63 else object)
            array[key[1]] = value
            setattr(target, key[0], array)
        else:
            target[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("q", (3, 1), torch.nan), r"query image 3 \(query/00003.jpg\) holds NaN"),
        (put("g", (7, 0), torch.inf), r"gallery image 7 \(gallery/00007.jpg\) holds NaN or infinity"),
        (put("g", 5, 0.0), r"gallery image 5 \(gallery/00005.jpg\) is all zeros"),
        (put("g", slice(None), 1.0), "all 20 gallery features are the same"),
        (lambda x: x.update(q=x["q"][:-1]), "39 query features for 40 query images"),
        (lambda x: x.update(g=x["g"][:, :-1]), "query features have 48 numbers, gallery features 47"),
        (lambda x: x.update(q=x["q"][0]), r"query features must be .* \(N, D\)"),
        (lambda x: x.update(q=x["q"].long()), "floating-point"),
        (lambda x: x.update(g=x["g"][:0], gallery=labels("gallery", [], [])), "the gallery is empty"),
        (put("gallery", ("pids", 4), 2**63), r"gallery pids must be 20 whole numbers .* not object"),
        (put("query", ("pids", 2), -1), r"query 2 \(query/00002.jpg\) has pid -1.*with rl.embed"),
        (
            put("query", ("paths", 6), "gallery/00009.jpg"),
            "query 6 and gallery image 9 are one file, .*00009.jpg: .* give the same Shots as query and gallery",
        ),
        (
            lambda x: setattr(x["gallery"], "pids", x["gallery"].pids.astype(str)),
            r"gallery pids must be 20 whole numbers .* not <U.*number names, .* with np.unique",
        ),
        (
            lambda x: setattr(x["query"], "camids", x["query"].camids + 0.5),
            r"query camids must be 40 whole numbers .* not float64 \(40,\)",
        ),
        (
            lambda x: setattr(x["query"], "pids", x["query"].pids[1:]),
            r"query pids must be 40 whole numbers .* not int64 \(39,\)",
        ),
        (lambda x: x.update(ties="random"), "no ties 'random'; choose one of pessimistic, optimistic"),
        (lambda x: x.update(rerank=rerank, dtype=torch.float16), "leave dtype=torch.float16 out"),
        (lambda x: x.update(same_camera=True), "no same_camera True; choose one of ignore, keep"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        score(**bad(change))


def test_ranks_and_queries_out_of_range_are_refused():
    s = score(*crowd())
    with pytest.raises(ValueError, match="ranks begin at 1"):
        s.rank(0)
    with pytest.raises(IndexError, match="no query 40: there are 40"):
        s.ranking(40)
    with pytest.raises(ValueError, match="no score 'rank-0'"):
        s.interval("rank-0")


def test_a_gpu_is_taken_for_coarse_only_where_torch_lets_it_be():
    """Guards: hundreds of times as many pairs that are computed again, each fetched from the GPU."""
    features = SimpleNamespace(dtype=torch.float32, g=SimpleNamespace(device=torch.device("cuda")))
    assert Cosine._error(features, 2048) < 2e-5
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32"  # where it is set, torch's older switch raises
    try:
        assert 2e-3 < Cosine._error(features, 2048) < 4e-3
    finally:
        matmul.fp32_precision = before
