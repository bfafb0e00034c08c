"""Re-ranking against the golden distances, in any tiling, with junk out of the way."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluate import crowd, equal, labels

from reidlib.evaluation.reranking import expand, rerank
from reidlib.evaluation.score import score

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


def test_expansion_beyond_the_gallery_is_refused():
    with pytest.raises(ValueError, match="k=301: choose 1 to 300"):
        expand(Q, G, k=301)
