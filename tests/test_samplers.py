"""Which images a batch holds: the reference implementation's identity-uniform pass, and the paper's code's pass."""

import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from golden_fill import facts
from scipy import stats
from test_toy import shots_of
from test_toy_sysu import DARK, counts

import reidlib as rl
from reidlib.data import TOYS, Shots
from reidlib.data.batches import PKSampler, identity_pass, image_pass, modality_pass
from reidlib.recipe import Recipe

GOLDEN = facts("augment")["sampler_main"]
PIDS, K = np.array(GOLDEN["sample_pids_in_dataset_order"]), GOLDEN["k"]
PASSES = 3000
# images per identity -> identities, of Market-1501's training set: 751 identities, 12,936 images
MARKET = {
    2: 3, 3: 12, 4: 12, 5: 31, 6: 24, 7: 40, 8: 39, 9: 36, 10: 36, 11: 27, 12: 36, 13: 24, 14: 29, 15: 38, 16: 34,
    17: 36, 18: 25, 19: 21, 20: 26, 21: 19, 22: 20, 23: 20, 24: 10, 25: 16, 26: 20, 27: 14, 28: 12, 29: 9, 30: 5,
    31: 3, 32: 8, 33: 9, 34: 8, 35: 2, 36: 2, 37: 3, 38: 5, 39: 5, 40: 3, 41: 4, 42: 1, 43: 1, 44: 3, 46: 2, 47: 1,
    48: 2, 49: 2, 50: 1, 51: 1, 52: 2, 54: 2, 55: 1, 56: 1, 59: 1, 63: 1, 67: 1, 70: 1, 72: 1,
}  # fmt: skip


def crowd(*counts: int) -> np.ndarray:
    """Labels, in mixed order, of identities with so many images each."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.fixture(scope="module")
def market() -> np.ndarray:
    return crowd(*chain.from_iterable([count] * ids for count, ids in MARKET.items()))


@pytest.fixture(scope="module")
def passes() -> np.ndarray:
    """Many passes over the golden identities: (passes, ids, k) positions."""
    rng = np.random.default_rng(1)
    return np.stack([identity_pass(PIDS, K, rng) for _ in range(PASSES)]).reshape(PASSES, -1, K)


def blocks(order: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(order).reshape(-1, k)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_identity_comes_once_a_pass_with_k_images_in_a_row(passes):
    """Guards: identity-uniform, whatever the number of images: 72 images count no more than one."""
    assert passes[0].size == GOLDEN["length_per_pass"]
    assert (PIDS[passes] == PIDS[passes][:, :, :1]).all()
    assert (np.sort(PIDS[passes[:, :, 0]], axis=1) == np.unique(PIDS)).all()


@pytest.mark.parametrize("fact", GOLDEN["ids"], ids=lambda fact: f"{fact['count']} images")
def test_few_images_are_dealt_without_replacement_from_k_copies_of_each(passes, fact):
    """Guards: how many different images an identity shows; k of them where it has k, hypergeometric below that."""
    dealt = passes[PIDS[passes[:, :, 0]] == fact["pid"]]
    distinct = np.array([len(np.unique(hand)) for hand in dealt])
    rates = {n: float((distinct == n).mean()) for n in range(1, K + 1)}
    exact = {n: fact["distinct_exact"].get(str(n), 0.0) for n in rates}
    error = {n: 5 * np.sqrt(p * (1 - p) / PASSES) for n, p in exact.items()}
    assert all(abs(rates[n] - exact[n]) <= error[n] for n in rates)
    if fact["count"] > 1:  # numpy's choice with replacement would show
        plain = fact["distinct_if_plain_replacement"]
        beside = [n for n in rates if abs(plain.get(str(n), 0.0) - exact[n]) > 1e-5]
        assert all(abs(rates[n] - plain.get(str(n), 0.0)) > error[n] for n in beside)


@pytest.mark.parametrize("pid", np.unique(PIDS)[1:])  # the first identity has one image
def test_the_images_of_an_identity_come_equally_often(passes, pid):
    mine = np.flatnonzero(pid == PIDS)
    counts = np.bincount(passes.ravel(), minlength=len(PIDS))[mine]
    assert stats.chisquare(counts).pvalue > 1e-4  # drawing without replacement only makes it more even


def test_identities_come_in_random_order(passes):
    """Guards: a pass is shuffled; every identity is as likely to be the first, and the last."""
    for place in (0, -1):
        counts = np.unique(PIDS[passes[:, place, 0]], return_counts=True)[1]
        assert len(counts) == len(GOLDEN["counts"])
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("ids", "batches", "last"), [(751, 47, 60), (702, 44, 56)])
def test_a_pass_ends_in_a_short_batch(ids, batches, last):
    """Guards: Market's 751 identities x 4 are 47 batches with 60 images in the last, Duke's 702 are 44 with 56."""
    sizes = [len(b) for b in PKSampler(np.repeat(np.arange(ids), 3), 16, 4, iterations=None).epoch(0)]
    assert sizes == [64] * (batches - 1) + [last]


def test_an_epoch_is_200_batches_and_passes_run_on_across_epochs(market):
    """Guards: "200 iterations are an epoch", 4.26 passes over Market; the next epoch goes on where this one stopped."""
    sampler = PKSampler(market, 16, 4)
    epochs = [sampler.epoch(e) for e in range(3)]
    assert [len(epoch) for epoch in epochs] == [200] * 3
    stream = list(chain.from_iterable(epochs))
    for start in range(0, len(stream) - 46, 47):
        one_pass = np.concatenate(stream[start : start + 47])
        assert np.array_equal(np.sort(market[one_pass[::4]]), np.arange(751))
        assert len(stream[start + 46]) == 60


@pytest.mark.parametrize("order", ["identity", "image"])
@pytest.mark.parametrize("iterations", [None, 1, 7, 40])
def test_an_epoch_is_a_pure_function_of_its_number(order, iterations):
    """A resumed run draws epoch 5 without having drawn the four before it."""
    make = lambda seed=1: PKSampler(crowd(*range(2, 12)), 3, 4, order, iterations, seed)  # noqa: E731
    sampler = make()
    forward = [[b.copy() for b in sampler.epoch(e)] for e in range(6)]
    sampler.epoch(3).clear()
    assert same(sampler.epoch(3), forward[3])
    assert all(same(sampler.epoch(e), forward[e]) for e in reversed(range(6)))
    assert same(make().epoch(5), forward[5])
    assert not same(forward[1], forward[0])
    assert not same(make(seed=2).epoch(0), forward[0])


def test_drawing_leaves_numpys_global_generator_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    first = PKSampler(PIDS, 2, 4).epoch(0)
    assert np.random.rand() == expected
    assert same(PKSampler(PIDS, 2, 4).epoch(0), first)


@pytest.mark.parametrize("draw", range(4))
def test_the_papers_pass_over_market_has_182_to_184_batches(market, draw):
    """Guards: the paper's code sees identities about in proportion to their images, 183 full batches a pass."""
    order = image_pass(market, 16, 4, np.random.default_rng(draw))
    assert len(order) % 64 == 0
    assert 182 <= len(order) // 64 <= 184
    images, seen = np.unique(order, return_counts=True)
    assert (np.bincount(market)[market[images[seen > 1]]] < 4).all()


def test_the_papers_pass_draws_p_identities_while_so_many_have_groups_left():
    """Guards: groups of k of an identity's shuffled images, p identities a batch, until fewer than p are left."""
    counts, p, k = np.array([1, 2, 3, 4, 7, 8, 9, 20, 30]), 3, 4
    pids = crowd(*counts)
    for draw in range(50):
        groups = blocks(image_pass(pids, p, k, np.random.default_rng(draw)), k)
        ids = pids[groups[:, 0]]
        used = np.bincount(ids, minlength=len(counts))
        assert (pids[groups] == ids[:, None]).all()
        assert all(len(set(batch)) == p for batch in ids.reshape(-1, p))
        limit = np.maximum(counts // k, 1)
        assert (used <= limit).all()
        assert (used < limit).sum() < p
        for pid in np.flatnonzero(counts >= k):
            assert len(np.unique(groups[ids == pid])) == used[pid] * k


def test_the_papers_pass_draws_few_images_with_replacement():
    """Guards: an identity with fewer than k images fills its one group by plain drawing with replacement."""
    rng = np.random.default_rng(1)
    hands = np.concatenate([blocks(image_pass(crowd(2, 2), 2, 4, rng), 4) for _ in range(1500)])
    rate = np.mean([len(np.unique(hand)) == 1 for hand in hands])
    plain = GOLDEN["ids"][1]["distinct_if_plain_replacement"]["1"]
    assert abs(rate - plain) < 5 * np.sqrt(plain * (1 - plain) / len(hands))


def test_the_papers_first_batch_favours_no_identity():
    """Guards: the p identities are drawn uniformly among those with groups left, not by their number of images."""
    counts, rng = (4, 4, 8, 16, 40, 80), np.random.default_rng(1)
    pids = crowd(*counts)
    first = np.concatenate([pids[image_pass(pids, 3, 4, rng)[:12:4]] for _ in range(1000)])
    assert stats.chisquare(np.bincount(first, minlength=len(counts))).pvalue > 1e-4


def test_the_sampler_follows_the_order_that_it_is_told(market):
    by_identity, by_image = (PKSampler(market, 16, 4, order, None).epoch(0) for order in ("identity", "image"))
    assert (len(by_identity), len(by_image) in range(182, 185)) == (47, True)


@pytest.mark.parametrize("options", [{"order": "identity"}, {"order": "image", "p": 3}])
def test_too_few_identities_are_refused(options):
    pids = crowd(4) if options["order"] == "identity" else crowd(4, 4)
    with pytest.raises(ValueError, match="identit"):
        PKSampler(pids, options.get("p", 2), 4, options["order"])


def test_a_training_set_that_is_too_small_is_named(crowd, tiny):
    one = crowd.train[crowd.train.pids == crowd.train.pids[0]]
    with pytest.raises(ValueError, match=f"^{re.escape(one.name)}: identities to train on: 1; batches of p="):
        PKSampler.of(tiny, one)


def test_an_unknown_order_is_refused_with_the_two_there_are():
    with pytest.raises(ValueError, match=r"imgae.*identity.*image"):
        PKSampler(PIDS, 2, 4, order="imgae")


def two_modalities() -> tuple[np.ndarray, np.ndarray]:
    """Labels of ten identities with 3 to 12 images, and which of those are infrared: at least one, never all."""
    pids = crowd(*range(3, 13))
    infrared = np.zeros(len(pids), bool)
    for pid in range(10):
        mine = np.flatnonzero(pids == pid)
        infrared[mine[: 1 + pid // 2]] = True
    return pids, infrared


def test_a_pass_of_two_modalities_has_each_identity_once_visible_first_then_infrared():
    pids, infrared = two_modalities()
    order = modality_pass(pids, infrared, 4, np.random.default_rng(0)).reshape(-1, 4)
    assert (pids[order] == pids[order][:, :1]).all()
    assert sorted(pids[order[:, 0]]) == list(range(10))
    assert (infrared[order] == [False, False, True, True]).all()
    plenty = pids[order[:, 0]] >= 4  # two infrared images at least, and more visible ones
    assert (order[plenty, 2] != order[plenty, 3]).all(), "no image twice where there are others"
    assert (order[~plenty & (pids[order[:, 0]] < 2), 2] == order[~plenty & (pids[order[:, 0]] < 2), 3]).all()


def test_the_images_of_a_modality_come_equally_often():
    pids, infrared = two_modalities()
    rng = np.random.default_rng(1)
    drawn = np.concatenate([modality_pass(pids, infrared, 2, rng) for _ in range(2000)])
    for side in (infrared, ~infrared):
        counts = np.bincount(drawn, minlength=len(pids))[side & (pids == 9)]
        assert stats.chisquare(counts).pvalue > 1e-4


def test_batches_of_two_modalities_hold_p_identities_and_are_a_function_of_the_epoch():
    pids, infrared = two_modalities()
    sampler = PKSampler(pids, 4, 4, "modality", 7, seed=3, infrared=infrared)
    epoch = sampler.epoch(2)
    assert same(epoch, PKSampler(pids, 4, 4, "modality", 7, seed=3, infrared=infrared).epoch(2))
    assert {len(batch) for batch in epoch} == {16, 8}, "the last of a pass over ten is short"
    assert all((infrared[batch].reshape(-1, 4) == [False, False, True, True]).all() for batch in epoch)


def test_one_modality_or_an_identity_of_one_modality_is_refused():
    pids, infrared = two_modalities()
    for missing in (None, np.zeros_like(infrared), np.ones_like(infrared)):
        with pytest.raises(ValueError, match="order='modality' needs visible and infrared images"):
            PKSampler(pids, 2, 4, "modality", infrared=missing)
    with pytest.raises(ValueError, match="1 training identities are seen in one modality only, first 5"):
        PKSampler(pids, 2, 4, "modality", infrared=infrared & (pids != 5))


def drawn(dataset: str) -> Shots:
    """Who is seen by which camera in a drawn set's training images; nothing is drawn."""
    if dataset == "toy-sysu":
        seen, parts = counts()
        known = parts["train"] + parts["val"]
        pairs = [(pid, camid) for pid, camid in seen.elements() if pid in known]
    else:
        pairs = [(shot.pid, shot.camid) for shot in shots_of(TOYS[dataset]) if shot.folder == "bounding_box_train"]
    pids, camids = np.array(pairs, np.int64).T
    return Shots(dataset, Path(), np.full(len(pids), ""), pids, camids, DARK if dataset == "toy-sysu" else ())


def fewest(recipe: rl.Recipe) -> int:
    """The identities of the smallest batch of a drawn set's first epochs."""
    shots = drawn(recipe.dataset)
    sampler = PKSampler.of(recipe, shots)
    return min(len(np.unique(shots.pids[batch])) for e in range(4) for batch in sampler.epoch(e))


@pytest.mark.parametrize(
    ("dataset", "model"),
    [("toy", "bot"), ("toy", "pcb"), ("toy-duke", "bot"), ("toy-duke", "pcb"), ("toy-sysu", "bot"),
     ("toy-sysu", "aligngan")],
)  # fmt: skip
def test_no_batch_of_a_drawn_set_leaves_an_identity_alone(dataset, model):
    """Guards: triplets and mismatched pairs in a pass's last batch too; PCB, left out on toy-sysu, needs neither."""
    for preset in Recipe.PRESETS if model == "bot" else ("reference",):
        assert fewest(rl.Recipe.for_dataset(dataset, preset, model=model)) >= 2
    if dataset == "toy-sysu":
        assert fewest(rl.Recipe.for_dataset(dataset, model=model, p=8)) == 1, "65 people are 8 x 8 and one"
