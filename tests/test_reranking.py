"""Re-ranking against the golden distances, in any tiling, with junk out of the way."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluate import crowd, equal, labels

from reidlib.evaluation import cosine, reranking
from reidlib.evaluation.reranking import expand, rerank
from reidlib.evaluation.score import score
from reidlib.search.groups import group

z = np.load(Path(__file__).parent / "golden" / "rerank_main.npz")
Q, G = (torch.from_numpy(z[f"{part}_features"]) for part in ("query", "gallery"))
SHOTS = [labels(part, z[f"{part}_pids"], z[f"{part}_cams"]) for part in ("query", "gallery")]


def with_params(k):
    k1, k2, lam = z[f"params_{k}"]
    return partial(rerank, k1=int(k1), k2=int(k2), lam=float(lam))


def whole(source):
    return source.tile(slice(0, source.shared.shape[0]), slice(0, source.shared.shape[1])).numpy()


@pytest.mark.parametrize("k", [0, 1])
def test_golden_distances_and_scores_hold(k):
    source = with_params(k)(Q, G)
    np.testing.assert_allclose(1 - whole(source), z[f"expected_dist_{k}"], rtol=0, atol=2e-6)
    s = score(Q, G, *SHOTS, rerank=with_params(k))
    assert s.mAP == pytest.approx(float(z[f"expected_mAP_{k}"]), abs=1e-5)
    np.testing.assert_allclose(s.cmc[[0, 4, 9]], z[f"expected_cmc_1_5_10_{k}"], rtol=0, atol=1e-6)
    assert score(Q, G, *SHOTS).mAP == pytest.approx(float(z["expected_mAP_before"]), abs=1e-5)


def test_every_printed_score_says_whether_it_was_re_ranked():
    assert "re-ranking on" in repr(score(Q, G, *SHOTS, rerank=rerank))
    assert "re-ranking off" in repr(score(Q, G, *SHOTS))


def test_tiles_single_pairs_and_blocks_agree():
    source = rerank(Q, G)
    i, j = np.divmod(np.arange(60 * 300), 300)
    exact = source.exact(i, j).reshape(60, 300)
    assert abs(whole(source) - exact).max() < source.error
    assert abs(source.near(i, j).reshape(60, 300) - exact).max() < source.error
    part = source.tile(slice(7, 20), slice(31, 200)).numpy()
    assert abs(part - exact[7:20, 31:200]).max() < source.error
    s = score(Q, G, *SHOTS, rerank=rerank)
    assert equal(score(Q, G, *SHOTS, rerank=rerank, memory=2**13), s)


def test_lambda_one_is_the_plain_ranking():
    assert equal(score(Q, G, *SHOTS, rerank=partial(rerank, lam=1.0)), score(Q, G, *SHOTS))


def test_junk_is_nobodys_neighbour():
    q, g, query, gallery = crowd(images=200)
    junk = gallery.pids == -1
    assert junk.any()
    clean = labels("gallery", gallery.pids[~junk], gallery.camids[~junk])
    with_junk, without = (score(q, x, query, y, rerank=rerank) for x, y in ((g, gallery), (g[~junk], clean)))
    np.testing.assert_allclose(with_junk.ap, without.ap, rtol=0, atol=1e-12)
    assert len(with_junk.ranking(0, k=200, ignored=True).index) == 200


def test_a_re_ranked_list_is_read_from_the_re_ranked_row():
    s = score(Q, G, *SHOTS, rerank=rerank)
    for i in np.flatnonzero(s.valid):
        ranking = s.ranking(i, k=300)
        assert np.argmax(ranking.match) + 1 == s.first_match[i]
        np.testing.assert_allclose(ranking.similarity, 1 - z["expected_dist_0"][i, ranking.index], rtol=0, atol=2e-6)


def test_query_expansion_averages_a_query_with_its_nearest():
    q, g = Q[:5], G
    nearest = (q @ g.T).argsort(dim=1, descending=True)[:, :3]
    want = torch.nn.functional.normalize(q + g[nearest].sum(1), dim=1)
    torch.testing.assert_close(expand(3 * q, g, k=3), want)
    assert score(expand(Q, G), G, *SHOTS).mAP > score(Q, G, *SHOTS).mAP


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 360}, "k1=360 needs more than 360 images; there are 360"),
        ({"k2": 0}, "k2=0: k2 must be between 1 and k1"),
        ({"k1": 4}, "k1=4, k2=6"),
        ({"lam": 1.5}, "lam=1.5: lam is a share"),
    ],
)
def test_impossible_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rerank(Q, G, **options)


@pytest.mark.parametrize(("value", "why"), [(0, "is all zeros"), (float("nan"), "holds NaN or infinity")])
def test_a_feature_without_a_direction_is_refused_by_its_number(value, why):
    g = G.clone()
    g[7] = value
    with pytest.raises(ValueError, match=f"feature {len(Q) + 7} of {len(Q) + len(G)}, queries first, {why}"):
        rerank(Q, g)
    with pytest.raises(ValueError, match=f"feature 7 of {len(G)}, queries first, {why}|must be floating point"):
        group(g, k1=5)


def test_expansion_beyond_the_gallery_is_refused():
    with pytest.raises(ValueError, match="k=301: choose 1 to 300"):
        expand(Q, G, k=301)


def dense(x, queries, k1=20, k2=6, lam=0.3):
    """Re-ranking as in the paper, with all distances of x (N, D) in float64: similarities of the first images to all.

    Of images exactly as near that of the lower position comes first, after the image itself.
    """
    x = x.double().numpy()
    x = x / np.sqrt((x**2).sum(1))[:, None]
    cosine = np.array([[math.fsum(a * b) for b in x] for a in x])
    distance = (2 - 2 * cosine) / (2 - 2 * cosine).max(1)[:, None]
    n = len(x)
    order = np.array([np.lexsort((np.arange(n), distance[i], np.arange(n) != i)) for i in range(n)])

    def reciprocal(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    weights = np.zeros((n, n))
    for i in range(n):
        reach = own = reciprocal(i, k1)
        for j in own:
            half = reciprocal(j, round(k1 / 2))
            reach = reach | half if len(half & own) > 2 / 3 * len(half) else reach
        j = sorted(reach)
        weights[i, j] = np.exp(-distance[i, j]) / np.exp(-distance[i, j]).sum()
    weights = np.array([weights[order[i, :k2]].mean(0) for i in range(n)])
    shared = np.array([[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in weights] for a in weights[:queries]])
    return lam * (1 - distance[:queries]) + (1 - lam) * shared


@pytest.mark.parametrize("spread", [1, 1e-2, 1e-4, 1e-6])
def test_nearly_collapsed_features_are_re_ranked_by_the_same_rule(spread):
    q, g, query, gallery = crowd(queries=20, images=80, dim=32)
    gallery.pids = np.maximum(gallery.pids, 0)
    q, g = (1 + spread * x.double() for x in (q, g))
    want = dense(torch.cat([q, g]), 20)[:, 20:]
    source = rerank(q, g)
    i, j = np.divmod(np.arange(20 * 80), 80)
    np.testing.assert_allclose(source.exact(i, j).reshape(20, 80), want, rtol=0, atol=max(1e-12, 1e-14 / spread**2))
    np.testing.assert_allclose(whole(source), want, rtol=0, atol=max(source.error, 1e-14 / spread**2))
    s = score(q, g, query, gallery, rerank=rerank)
    ap, _, first = ranked_by(want, query, gallery)
    np.testing.assert_allclose(s.ap, ap, rtol=0, atol=1e-12)
    assert np.array_equal(s.first_match, first)


def ranked_by(similarity, query, gallery):
    """AP, INP and first match by sorting given similarities, ties pessimistic."""
    rows = []
    for row, pid, cam in zip(similarity, query.pids, query.camids):
        seen = (gallery.pids != -1) & ((gallery.pids != pid) | (gallery.camids != cam))
        match = gallery.pids[seen] == pid
        rank = np.flatnonzero(match[np.lexsort((match, -row[seen]))]) + 1
        hits = np.arange(1, len(rank) + 1)
        rows.append((np.mean(hits / rank), len(rank) / rank[-1], rank[0]) if len(rank) else (np.nan, np.nan, -1))
    return np.array(rows).T


def test_images_of_one_direction_are_re_ranked_without_nan():
    _, _, query, gallery = crowd(queries=20, images=80)
    lengths = torch.rand(100, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    x = lengths * torch.ones(100, 32)
    s = score(x[:20], x[20:], query, gallery, rerank=rerank)
    assert np.isfinite(s.ap[s.valid]).all()


def test_copies_of_images_are_re_ranked_alike_whatever_the_rounding(monkeypatch):
    # Threads, tiles and devices change the last bits of a product; here they are changed at random.
    q, g, query, gallery = crowd(queries=20, images=120, dim=32)
    g[40:70], g[70:75], q[5] = g[3], g[9], g[3]
    wanted = score(q, g, query, gallery, rerank=rerank)
    rng = torch.Generator().manual_seed(0)
    exact = cosine.product
    noisy = lambda a, b: (x := exact(a, b)) + 1e-6 * (torch.rand(x.shape, generator=rng) - 0.5)  # noqa: E731
    monkeypatch.setattr(cosine, "product", noisy)
    for rows in (7, 512, 512):
        monkeypatch.setattr(reranking, "ROWS", rows)
        assert equal(score(q, g, query, gallery, rerank=rerank), wanted)
    gallery.pids = np.maximum(gallery.pids, 0)
    i, j = np.divmod(np.arange(20 * 120), 120)
    want = dense(torch.cat([q, g]), 20)[:, 20:]
    np.testing.assert_allclose(rerank(q, g).exact(i, j).reshape(20, 120), want, rtol=0, atol=1e-12)


def test_re_ranking_each_image_against_the_rest_counts_every_image_once():
    _, x, _, shots = crowd(images=90)
    shots.pids = np.where(shots.pids < 1, 1, shots.pids)
    s = score(x, x.clone(), shots, shots, rerank=rerank)
    want = dense(x, 90)
    np.fill_diagonal(want, -np.inf)
    source = s.source.exact(*np.divmod(np.arange(90 * 90), 90)).reshape(90, 90)
    np.fill_diagonal(source, -np.inf)
    np.testing.assert_allclose(source, want, rtol=0, atol=1e-12)
