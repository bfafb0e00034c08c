"""The ranked-image browser without a screen: what is shown, in which order, what is kept, and how errors are said."""

import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reidlib as rl
from reidlib.browser.marks import Marks
from reidlib.browser.tour import Filter, Tour, first_match, gallery_query, histogram
from reidlib.data.augment import normalise
from reidlib.data.images import read
from reidlib.figures import sheets, style
from reidlib.figures.pairs import DIM, _map_as_png, _map_in_words, part_similarities, plot_parts, similarity_maps
from reidlib.figures.sheets import UNREADABLE, thumbnail

ROOT = Path(__file__).parents[1]


def drawn(folder: Path, part: str, people: list[tuple[int, int]]) -> rl.Shots:
    """Shots of (pid, camid) pairs, a noisy picture each."""
    (folder / part).mkdir(parents=True)
    names = [f"{part}/{pid:04d}_c{cam}s1_{n:06d}_00.jpg" for n, (pid, cam) in enumerate(people)]
    for n, name in enumerate(names):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (128, 64, 3), np.uint8)).save(
            folder / name, quality=95
        )
    pids, camids = (np.array(column, np.int64) for column in zip(*people))
    return rl.Shots(f"tiny/{part}", folder, np.array(names), pids, camids)


def features(shots, seed: int, noise: float = 0.35) -> torch.Tensor:
    spread = np.random.default_rng(seed).normal(0, noise, (len(shots), 16))
    return torch.from_numpy(np.eye(16)[shots.pids % 16] + spread).float()


@pytest.fixture
def shots(tmp_path):
    query = drawn(tmp_path / "data", "query", [(p, c) for p in range(4, 12) for c in (1, 2)] + [(13, 1)])  # 13: nobody
    people = [(p, c) for p in range(4, 12) for c in (1, 2, 3)]
    gallery = drawn(tmp_path / "data", "gallery", [*people, (0, 1), (0, 2), (0, 3), (-1, 1), (-1, 2)])
    return query, gallery


@pytest.fixture
def scores(shots):
    return rl.score(features(shots[0], 0), features(shots[1], 1), *shots)


@pytest.fixture
def other(shots):
    return rl.score(features(shots[0], 2, 0.6), features(shots[1], 3, 0.6), *shots)


@pytest.fixture
def browser(scores, tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return rl.RankedBrowser(scores, run_dir=tmp_path / "run", k=5)


NUMBERS = itertools.count()


def ask(browser, action: str, **arguments) -> str:
    """As a page does; returns the error that it would show."""
    me = f"a:{next(NUMBERS)}"
    browser._handle_custom_msg({"action": action, "id": me, **arguments}, [])
    assert browser.answered == me
    return browser.error


def alts(browser, model: int = 0) -> list[str]:
    return [card["alt"] for card in browser.view["lists"][model]["cards"]]


# which queries, in which order


def test_the_orders_are_what_they_say_and_queries_without_a_match_come_last(scores, other):
    tour, orders = Tour(scores, other, seed=3), {}
    for order in tour.orders:
        tour.select(order, Filter())
        orders[order] = tour.chosen
        assert sorted(tour.chosen) == list(range(17))
    ap = scores.ap
    assert (np.diff(ap[orders["worst first"][:-1]]) >= 0).all()
    assert (np.diff(ap[orders["best first"][:-1]]) <= 0).all()
    assert (np.diff(np.abs(ap - other.ap)[orders["models differ most"][:-1]]) <= 0).all()
    assert {order: list(chosen)[-1] for order, chosen in orders.items() if order != "at random"} == dict.fromkeys(
        ("worst first", "best first", "by index", "models differ most"), 16
    )
    again = Tour(scores, other, seed=3)
    again.select("at random", Filter())
    assert np.array_equal(again.chosen, orders["at random"])
    assert "models differ most" not in Tour(scores).orders


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        (Filter(query_camera=2), lambda s: s.camids == 2),
        (Filter(match_camera=1), lambda s: (s.camids != 1) & s.valid),
        (Filter(query_camera=1, match_camera=1), None),
        (Filter(ap_low=0.4, ap_high=0.9), lambda s: (s.ap >= 0.4) & (s.ap < 0.9)),
        (Filter(ap_low=0.9), lambda s: s.ap >= 0.9),
        (Filter(beyond=1), lambda s: s.first_match > 1),
        (Filter(pid=5), lambda s: s.pids == 5),
        (Filter(marked=True), lambda s: np.isin(np.arange(17), [2, 7])),
        (Filter(), lambda s: np.ones(17, bool)),
    ],
)
def test_a_filter_lets_through_what_it_says_and_is_refused_where_nothing_passes(scores, where, passes):
    tour = Tour(scores)
    if passes is None:
        before = tour.chosen
        with pytest.raises(ValueError, match="no query passes"):
            tour.select("by index", where)
        assert (tour.where, tour.order) == (Filter(), "worst first")
        assert tour.chosen is before
    else:
        tour.select("by index", where, {2: "", 7: ""})
        assert np.array_equal(tour.chosen, np.flatnonzero(passes(scores)))


@pytest.mark.parametrize("wrong", [{"ap_low": 0.5, "ap_high": 0.5}, {"ap_high": 1.2}, {"ap_low": -1}, {"beyond": 0}])
def test_a_filter_that_no_query_can_pass_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"must rise|begin at 1"):
        Filter(**wrong)


def test_a_bar_of_the_histogram_counts_what_its_filter_shows(scores):
    counts = histogram(scores, Filter(query_camera=1, ap_low=0.5), ())
    assert sum(counts) == 8
    for i in np.flatnonzero(counts):
        tour = Tour(scores)
        tour.select("by index", Filter(query_camera=1, ap_low=i / 10, ap_high=(i + 1) / 10))
        assert len(tour.chosen) == counts[i]


def test_jumping_takes_a_number_or_a_part_of_a_name_and_lifts_a_filter_that_hides_it(scores):
    tour = Tour(scores)
    assert not tour.jump("3")
    assert tour.query == 3
    assert not tour.jump("0006_c")  # both queries of person 6, in turn
    assert tour.query == 4
    tour.jump("0006_c")
    assert tour.query == 5
    tour.jump("0006_c")
    assert tour.query == 4
    tour.select("by index", Filter(query_camera=1))
    assert tour.jump("1")
    assert (tour.query, tour.where) == (1, Filter())
    for nothing in ("17", "nobody", ""):
        with pytest.raises(ValueError, match="give a number below 17, or a part of a file name"):
            tour.jump(nothing)


def test_the_first_match_is_the_one_whose_rank_is_known(scores):
    for i in np.flatnonzero(scores.valid):
        ranking = scores.ranking(int(i), 99)
        j, similarity = first_match(scores, int(i))
        place = scores.first_match[i] - 1
        assert j == ranking.index[place]
        assert similarity == pytest.approx(ranking.similarity[place], abs=1e-6)


@pytest.mark.parametrize("same_camera", ["ignore", "keep"])
def test_a_gallery_image_as_a_query_is_scored_as_score_would_without_it(shots, same_camera):
    query, gallery = shots
    q, g = features(query, 0), features(gallery, 1)
    scores = rl.score(q, g, query, gallery, same_camera=same_camera)
    for j in (0, 7, 23):
        rest = np.delete(np.arange(len(gallery)), j)
        expected = rl.score(g[[j]], g[rest], gallery[j], gallery[rest], same_camera=same_camera)
        found = gallery_query(scores, j)
        assert (found.ap[0], found.first_match[0]) == (expected.ap[0], expected.first_match[0])
        ranking = found.ranking(0, 5)
        assert np.array_equal(ranking.index, rest[expected.ranking(0, 5).index])
        assert j not in found.ranking(0, 99).index
        itself = found.ranking(0, 1, ignored=True)
        assert (itself.index[0], bool(itself.ignored[0])) == (j, True)


@pytest.mark.parametrize("j", [24, 25, 27, 28])
def test_a_stranger_as_a_query_has_no_match_not_even_another_stranger(scores, j):
    found = gallery_query(scores, j)
    assert not found.valid[0]
    assert not found.ranking(0, 99).match.any()


class Own:
    """Similarities of a user's own: those of a table."""

    error = 0.0

    def __init__(self, q, g, keep):
        self.table = (torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(g).T).float()

    def tile(self, rows, cols):
        return self.table[rows, cols]

    def near(self, i, j):
        return self.table.numpy()[i, j].astype(np.float64)

    exact = near


def test_scores_by_similarities_of_the_users_own_are_browsed_too(shots, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    q, g = features(shots[0], 0), features(shots[1], 1)
    plain, own = rl.score(q, g, *shots), rl.score(q, g, *shots, rerank=Own)
    browser = rl.RankedBrowser(own, plain, k=5)
    assert alts(browser) == alts(browser, 1)
    assert not ask(browser, "make_query", j=3)
    assert alts(browser) == alts(browser, 1)


def test_a_reranked_list_has_gallery_queries_by_cosine(shots):
    plain = rl.score(features(shots[0], 0), features(shots[1], 1), *shots)
    reranked = rl.score(
        features(shots[0], 0), features(shots[1], 1), *shots, rerank=lambda q, g, keep: rl.rerank(q, g, 5, 2, keep=keep)
    )
    found = gallery_query(reranked, 3)
    assert not found.reranked
    assert np.array_equal(found.ranking(0, 9).index, gallery_query(plain, 3).ranking(0, 9).index)
    with pytest.raises(IndexError, match="no gallery image 99"):
        gallery_query(plain, 99)


# what is shown


def test_it_begins_with_the_worst_query_and_says_everything_in_words(browser, scores):
    worst = int(np.nanargmin(scores.ap))
    assert browser.query == worst
    person, camera = int(scores.pids[worst]), int(scores.camids[worst])
    first = f"first match at rank {scores.first_match[worst]}"
    expected = (
        f"query {worst}, person {person:04d}, camera {camera}: AP {100 * scores.ap[worst]:.1f} %, {first}. 1 of 17."
    )
    assert browser.view["status"] == expected
    ranking = scores.ranking(worst, 5)
    for rank, (alt, j) in enumerate(zip(alts(browser), ranking.index), 1):
        who = sheets.person(scores.gallery.pids[j])
        word = "right" if ranking.match[rank - 1] else "wrong"
        similarity = f"{ranking.similarity[rank - 1]:.2f}"
        assert alt == f"rank {rank}, {who}, camera {scores.gallery.camids[j]}, similarity {similarity}, {word}"


def test_the_first_match_beyond_the_list_is_shown_with_its_rank(scores):
    late = int(np.argmax(scores.first_match))
    browser = rl.RankedBrowser(scores, k=1)
    browser.jump(late)
    beyond = browser.view["lists"][0]["beyond"]
    assert beyond["rank"] == str(scores.first_match[late])
    assert beyond["word"] == "right"
    assert beyond["alt"].endswith("right, the first match")
    browser.jump(int(np.nanargmax(scores.ap)))
    assert browser.view["lists"][0]["beyond"] is None


def test_the_metrics_own_mask_hides_the_ignored_and_shows_them_on_request(browser):
    browser.jump(0)
    assert not [alt for alt in alts(browser) if "ignored" in alt]
    browser.lists(k=20, ignored=True)
    ignored = [alt for alt in alts(browser) if alt.endswith("ignored")]
    assert ignored
    assert not [alt for alt in ignored if "rank" in alt]
    assert {card["symbol"] for card in browser.view["lists"][0]["cards"]} == {"✓", "✗", "–"}


def test_a_gallery_image_becomes_the_query_and_back_retraces_every_step(browser):
    start = browser.view
    for _ in range(2):
        assert not ask(browser, "make_query", j=browser.view["lists"][0]["cards"][0]["index"])
    assert browser.view["query"]["alt"].startswith("gallery image ")
    assert browser.view["back"]
    second = browser.tour.trail[0]
    assert "go back to mark" in ask(browser, "mark")
    assert not ask(browser, "back")
    assert browser.tour.trail == [second]
    assert not ask(browser, "back")
    assert browser.view == start
    ask(browser, "make_query", j=2)
    ask(browser, "step", by=1)
    assert not browser.view["back"], "a step leaves the gallery image"


def test_two_models_are_shown_on_the_same_query(scores, other):
    browser = rl.RankedBrowser(scores, other, names=("mine", "theirs"), k=10)
    browser.order_by("models differ most")
    i = browser.query
    assert i == int(np.nanargmax(np.abs(scores.ap - other.ap)))
    assert [shown["result"].split(":")[0] for shown in browser.view["lists"]] == ["mine", "theirs"]
    found = [[card["index"] for card in shown["cards"]] for shown in browser.view["lists"]]
    assert found == [scores.ranking(i, 10).index.tolist(), other.ranking(i, 10).index.tolist()]
    with pytest.raises(ValueError, match="1 to 10 images"):
        browser.lists(k=20)


def test_of_several_trials_the_first_is_shown(tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    query = drawn(tmp_path, "query", [(1, 3), (2, 6), (3, 3)])
    gallery = drawn(tmp_path, "gallery", [(pid, cam) for pid in (1, 2, 3, 4) for cam in (1, 1, 2, 2, 4, 5)])
    scores = rl.sysu.score(features(query, 0), features(gallery, 1), query, gallery, trials=3, draw=rl.sysu.seeded(0))
    browser, first = rl.RankedBrowser(scores, k=3), rl.RankedBrowser(scores.trial(0), k=3)
    assert browser.view == first.view
    assert not ask(browser, "make_query", j=2)
    assert not ask(first, "make_query", j=2)
    assert browser.view == first.view


def test_steps_stop_at_both_ends(browser):
    for by, place in ((-1, "1 of 17"), (1e9, "17 of 17"), (1, "17 of 17"), (-3, "14 of 17"), (-1e9, "1 of 17")):
        assert not ask(browser, "step", by=by)
        assert browser.view["place"] == place


def test_what_cannot_be_browsed_is_refused_with_the_remedy(scores, other, shots, tmp_path):
    saved = rl.Scores.load(scores.save(tmp_path / "scores.npz"))
    with pytest.raises(ValueError, match=r"call score\(\) or measure\(\) again"):
        rl.RankedBrowser(saved)
    query, gallery = shots
    with pytest.raises(ValueError, match="same queries in the same order"):
        rl.RankedBrowser(scores, rl.score(features(query[:5], 0), features(gallery, 1), query[:5], gallery))
    fewer = np.arange(len(gallery) - 1)
    with pytest.raises(ValueError, match="different galleries"):
        rl.RankedBrowser(scores, rl.score(features(query, 0), features(gallery[fewer], 1), query, gallery[fewer]))
    for k in (0, 21):
        with pytest.raises(ValueError, match=f"k={k}; the browser shows 1 to 20"):
            rl.RankedBrowser(scores, k=k)


# why two images are alike


def test_similarity_maps_sum_to_the_cosine_of_the_embeddings(crowd, tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    system = rl.build(tiny.replace(backbone="resnet18"), crowd.train, "cpu")
    scores = rl.score(rl.embed(system, crowd.query), rl.embed(system, crowd.gallery), crowd.query, crowd.gallery)
    maps = similarity_maps(system, crowd.query.file(2), crowd.gallery.file(3))
    assert maps.shape[0] == 2
    assert maps.sum((1, 2)) == pytest.approx(float(scores.q[2] @ scores.g[3]), abs=1e-4)

    browser = rl.RankedBrowser(scores, system=system, k=3)
    card = browser.view["lists"][0]["cards"][1]
    assert "choose a pair first" in ask(browser, "explain")
    assert not ask(browser, "look", j=card["index"])
    assert [each["alt"] for each in browser.pair["cards"]] == [browser.view["query"]["alt"], card["alt"]]
    assert browser.pair["says"] == f"Pair: {browser.view['query']['alt']}; {card['alt']}."
    assert not ask(browser, "explain")
    assert browser.pair["words"].startswith(f"Cosine {card['similarity']}.")
    assert not browser.pair["says"], "what was said when the pair was opened"
    assert all(Image.open(io.BytesIO(png)).format == "PNG" for png in browser.pair["maps"])
    assert not ask(browser, "look_away")
    assert browser.pair == {}

    with torch.no_grad():  # another system: its embeddings are centred
        pictures = torch.from_numpy(np.stack([read(crowd.gallery.file(j), tiny.size) for j in range(12)]))
        system.bnneck.running_mean.copy_(system.eval()(normalise(pictures))[0].mean(0))
    ask(browser, "look", j=card["index"])
    assert "not its own" in ask(browser, "explain")
    assert "give RankedBrowser(..., system=system)" in _explained(scores, None)
    assert "Linear has no regions()" in _explained(scores, torch.nn.Linear(2, 2))


def test_a_second_models_pair_is_explained_only_where_its_embeddings_are_the_first_ones(crowd, tiny, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    system = rl.build(tiny, crowd.train, "cpu")
    q, g = rl.embed(system, crowd.query), rl.embed(system, crowd.gallery)
    scores = rl.score(q, g, crowd.query, crowd.gallery)
    reranked = rl.score(q, g, crowd.query, crowd.gallery, rerank=lambda q, g, keep: rl.rerank(q, g, 5, 2, keep=keep))
    another = rl.score(q - q.mean(0), g - g.mean(0), crowd.query, crowd.gallery)
    for other, error in ((reranked, ""), (another, "`system` made that of first model")):
        browser = rl.RankedBrowser(scores, other, system=system, k=3)
        assert not ask(browser, "look", j=browser.view["lists"][1]["cards"][1]["index"], model=1)
        assert error in ask(browser, "explain")
        assert bool(browser.pair["maps"]) == (not error)


def _explained(scores, system) -> str:
    browser = rl.RankedBrowser(scores, system=system, k=3)
    ask(browser, "look", j=browser.view["lists"][0]["cards"][0]["index"])
    return ask(browser, "explain")


class Parted(torch.nn.Module):
    """A system whose embedding is put together from what equal bands of an image have, at `places` of their width."""

    def __init__(self, recipe, flip: bool, count: int = 4, places: int = 3):
        super().__init__()
        self.recipe, self.flip, self.places = recipe, flip, places
        self.mix = torch.nn.Parameter(torch.randn(count, 3 * places, 5, generator=torch.Generator().manual_seed(0)))

    def parts(self, images):
        means = torch.nn.functional.adaptive_avg_pool2d(images, (len(self.mix), self.places))  # (B, 3, P, places)
        parts = torch.einsum("bcpw,pcwd->bpd", means, self.mix.view(len(self.mix), 3, self.places, -1))
        return parts / torch.linalg.vector_norm(parts, dim=(1, 2), keepdim=True)

    @torch.inference_mode()
    def embed(self, images):
        return self.parts(images).flatten(1)


@pytest.mark.parametrize("flip", [False, True])
def test_what_parts_add_sums_to_the_cosine_of_the_embeddings(crowd, tiny, flip):
    system = Parted(tiny, flip)
    pair = crowd.query.file(2), crowd.gallery.file(3)
    a, b = rl.embed(system, pair)
    cosines, adds = part_similarities(system, *pair)
    assert adds.sum() == pytest.approx(float(a @ b), abs=1e-5)
    for part, own, add in zip(range(4), cosines, adds):
        x, y = a.view(4, -1)[part], b.view(4, -1)[part]
        assert add == pytest.approx(float(x @ y), abs=1e-5)
        assert own == pytest.approx(float(x @ y / x.norm() / y.norm()), abs=1e-5)
    assert part_similarities(system, pair[0], pair[0])[0] == pytest.approx(np.ones(4), abs=1e-5)
    with pytest.raises(ValueError, match=r"Linear has no parts\(\)"):
        part_similarities(torch.nn.Linear(2, 2), *pair)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        part_similarities(system, pair[0], crowd.gallery.root / "gone.png")


def test_a_pair_is_explained_by_its_parts_in_one_message_where_the_system_has_them(crowd, tiny, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    system = Parted(tiny, flip=True)
    scores = rl.score(rl.embed(system, crowd.query), rl.embed(system, crowd.gallery), crowd.query, crowd.gallery)
    browser = rl.RankedBrowser(scores, system=system, k=3)
    assert browser.view["explains"] == "Parts"
    j = browser.view["lists"][0]["cards"][1]["index"]
    ask(browser, "look", j=j)
    assert browser.pair["parts"] == []
    sent = []
    monkeypatch.setattr(browser, "_send", lambda message, buffers=None: sent.append(message))
    assert not ask(browser, "explain")
    assert len(sent) == 1
    assert state_size(browser) < 100_000
    cosines, adds = part_similarities(system, *browser._files(j))
    assert browser.pair["parts"] == [f"{own:z.2f}" for own in cosines]
    assert browser.pair["maps"] == []
    lines = browser.pair["words"].splitlines()
    assert lines[0] == f"Cosine {adds.sum():.2f}, which 4 parts add up to, from the top:"
    assert lines[2] == f"Part 2: cosine {cosines[1]:z.2f}, adds {adds[1]:z.2f}."
    with torch.no_grad():
        system.mix.copy_(system.mix.flip(2))
        system.mix[:, :3] *= -9
    assert "not its own" in ask(browser, "explain")


def test_a_figure_of_two_images_by_their_parts(crowd, tiny):
    system, pair = Parted(tiny, flip=False), (crowd.query.file(2), crowd.gallery.file(3))
    fig = plot_parts(system, *pair, title="Wrong")
    cosines, adds = part_similarities(system, *pair)
    shown = [text.get_text() for text in fig.axes[0].texts]
    for value in (*cosines, *adds):
        assert f"{value:z.2f}" in shown
    assert f"sum {adds.sum():.2f}" in shown
    assert fig.alt.startswith(f"Wrong. Cosine {adds.sum():.2f}, which 4 parts add up to")
    assert f"Part 4: cosine {cosines[3]:z.2f}, adds {adds[3]:z.2f}." in fig.alt
    bands = fig.axes[0].patches
    assert len(bands) == 2 * 4
    darkness = [band.get_facecolor()[3] for band in bands[::2]]
    thickness = [line.get_linewidth() for line in fig.axes[0].lines]
    assert np.argsort(darkness).tolist() == np.argsort(-cosines).tolist() == np.argsort(-np.array(thickness)).tolist()


def test_a_map_in_words_and_colours():
    place = np.zeros((4, 2), np.float32)
    place[0, 1], place[3, 0] = 0.3, 0.1
    assert _map_in_words(place) == "upper half 75 %, lower half 25 %; strongest 12 % down, right"
    assert _map_in_words(-place) == "nothing speaks for it"
    assert _map_in_words(np.ones((3, 3))).startswith("upper half 50 %, lower half 50 %")
    pixels = np.asarray(Image.open(io.BytesIO(_map_as_png(place, 0.3))).convert("RGB"), int)
    assert pixels[0, -1].sum() > pixels[0, 0].sum(), "bright where it is much"
    dark = np.asarray(Image.open(io.BytesIO(_map_as_png(-place, 0.0))).convert("RGB"))
    assert len(np.unique(dark.reshape(-1, 3), axis=0)) == 1, "nothing speaks for it"


# what is kept


def test_marks_are_kept_in_the_run_and_found_again(browser, scores, tmp_path):
    i = browser.query
    assert not ask(browser, "mark", word="behind a car")
    assert browser.view["mark"] == "behind a car"
    assert f"Query {i} marked, saved in marks-tiny.json." in browser.view["status"]
    ask(browser, "step")
    ask(browser, "mark")
    ask(browser, "mark", on=False)
    again = rl.RankedBrowser(scores, run_dir=tmp_path / "run")
    assert again.marks.words == {i: "behind a car"}
    assert not ask(again, "filter", marked=True)
    assert again.view["place"] == "1 of 1"
    saved = json.loads((tmp_path / "run" / "marks-tiny.json").read_text())
    assert saved == {"set": "tiny/query", "marks": {str(scores.query.paths[i]): "behind a car"}}
    assert "100 at most" in ask(again, "mark", word="x" * 101)
    assert "no query 17: there are 17" in ask(again, "mark", query=17)
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_the_marks_of_a_world_are_in_a_file_without_a_colon_which_windows_refuses(scores, tmp_path):
    world = replace(scores, compared=replace(scores.compared, query=replace(scores.query, name="toy:alike=1/query")))
    assert not ask(rl.RankedBrowser(world, run_dir=tmp_path / "run"), "mark", word="odd")
    assert [file.name for file in (tmp_path / "run").glob("*.json")] == ["marks-toy_alike=1.json"]
    assert list(rl.RankedBrowser(world, run_dir=tmp_path / "run").marks.words.values()) == ["odd"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"marks": 3}',
        '{"marks": ["query/a.jpg"]}',
        "\0\1",
        '{"words": {}}',
        b"\xff\xfe",
    ],
    ids=lambda content: repr(content)[:12],
)
def test_a_broken_file_of_marks_is_named_and_set_aside_not_lost(scores, tmp_path, content):
    file = tmp_path / "marks-tiny.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = file.read_bytes()
    browser = rl.RankedBrowser(scores, run_dir=tmp_path)
    assert browser.error.startswith("marks-tiny.json holds no marks that can be read")
    assert not ask(browser, "mark", word="new")
    assert (tmp_path / "marks-tiny.unused.json").read_bytes() == before
    assert list(json.loads(file.read_text())["marks"].values()) == ["new"]


def test_a_mark_is_of_the_query_that_the_page_shows(browser, scores):
    seen = browser.view["index"]
    browser.step()
    assert not ask(browser, "mark", query=seen)
    assert browser.marks.words == {seen: ""}
    assert browser.view["mark"] is None
    browser.make_query(0)
    assert "go back to mark" in ask(browser, "mark", query=browser.view["index"])
    assert not ask(browser, "mark", query=seen, on=False), "a page that has not yet drawn the gallery image"
    assert not browser.marks.words


def test_two_readers_of_a_run_keep_each_others_marks(scores, tmp_path):
    mine, yours = (Marks(scores.query, tmp_path / "run" / "marks.json") for _ in range(2))
    mine.set(1, "one")
    yours.set(2, "two")
    mine.set(3, "three")
    yours.remove(1)
    mine.set(4)
    assert mine.words == {2: "two", 3: "three", 4: ""}
    assert Marks(scores.query, mine.file).words == mine.words


def test_of_marks_that_two_readers_set_at_one_moment_none_is_lost(scores, tmp_path):
    def read(marks, queries):
        for i in queries:
            marks.set(i, "a word")
            marks.remove(i)
            marks.set(i, f"word {i}")

    file = tmp_path / "marks.json"
    readers = [Marks(scores.query, file) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, readers, (range(0, 17, 2), range(1, 17, 2))))
    assert Marks(scores.query, file).words == {i: f"word {i}" for i in range(17)}


def test_a_mark_that_could_not_be_saved_is_not_shown(browser, monkeypatch):
    def full(file, content):
        raise OSError(28, "No space left on device")

    i = browser.query
    ask(browser, "mark", word="before")
    with monkeypatch.context() as disk:
        disk.setattr("reidlib.browser.marks.write_whole", full)
        assert "No space left" in ask(browser, "mark", word="lost")
        assert "No space left" in ask(browser, "mark", on=False)
        assert "No space left" in ask(browser, "mark", query=(i + 1) % 17)
        assert not ask(browser, "refresh")
        assert (browser.view["mark"], browser.view["marked"]) == ("before", 1)
    assert not ask(browser, "mark", query=(i + 1) % 17)
    assert browser.marks.words == {i: "before", (i + 1) % 17: ""}


def test_half_a_character_blocks_no_later_mark(browser, scores):
    assert not ask(browser, "mark", word="\ud83d")  # a page can send half of an emoji
    assert browser.view["mark"] == "?"
    file, strange, i = browser.marks.file, "query/\ud800.jpg", browser.query
    file.write_text(json.dumps({"marks": {strange: "of elsewhere", str(scores.query.paths[3]): "\udfff"}}))
    assert not ask(browser, "mark", word="schräg")
    assert browser.marks.words == {3: "?", i: "schräg"}
    assert "schräg" in file.read_text("utf-8")
    assert json.loads(file.read_text("utf-8"))["marks"][strange] == "of elsewhere"


def test_a_file_of_marks_that_breaks_again_or_goes_away_costs_no_mark(scores, tmp_path):
    file = tmp_path / "marks.json"
    file.write_text("{")
    marks = Marks(scores.query, file)
    file.unlink()  # by hand, the message having been read
    marks.set(1, "one")
    for n in ("first", "second"):
        file.write_text(n)
        marks.set(2, n)
    assert (tmp_path / "marks.unused.json").read_text() == "first"
    assert (tmp_path / "marks.unused2.json").read_text() == "second"
    file.unlink()
    marks.set(3)
    assert Marks(scores.query, file).words == {1: "one", 2: "second", 3: ""}


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "/etc/passwd", "query/../../secret.jpg", "..\\secret.jpg", "gallery/0004_c1s1_000000_00.jpg"],
)
def test_a_path_in_a_file_of_marks_names_a_query_or_nothing_and_stays(scores, tmp_path, path):
    good, odd = str(scores.query.paths[3]), str(scores.query.paths[4])
    file = tmp_path / "marks.json"
    file.write_text(json.dumps({"marks": {path: "look here", good: "fine", odd: 7}}))
    marks = Marks(scores.query, file)
    assert marks.words == {3: "fine"}
    assert marks.problem.startswith("marks.json: 2 of 3 marks are not shown")
    marks.set(5, "new")
    new = str(scores.query.paths[5])
    assert json.loads(file.read_text())["marks"] == {path: "look here", odd: 7, good: "fine", new: "new"}
    assert [each.name for each in tmp_path.glob("*.json")] == ["marks.json"]
    marks.set(4, "a word now")
    assert Marks(scores.query, file).words == {3: "fine", 4: "a word now", 5: "new"}


def test_figures_and_lists_are_exported_to_the_run(browser, scores, other, tmp_path):
    run = tmp_path / "run"
    assert not ask(browser, "export_figure")
    assert (run / "figures" / f"ranked-tiny-query{browser.query:05d}.jpg").is_file()
    ask(browser, "export_lists")
    folder = run / "visualization" / "tiny"
    assert [each.name for each in folder.iterdir()] == [scores.query.file(browser.query).name]
    browser.jump(2)
    ask(browser, "mark")
    browser.jump(5)
    ask(browser, "mark")
    assert not ask(browser, "export_lists")
    assert {scores.query.file(i).name for i in (2, 5)} <= {each.name for each in folder.iterdir()}
    assert "Copied the lists of 2 marked" in browser.view["note"]
    browser.make_query(3)
    (file,) = browser.export_figure()
    assert file.name == "ranked-tiny-gallery00003.jpg"
    two = rl.RankedBrowser(scores, other, names=("../mine", "a b/c"), run_dir=run)
    names = [file.name for file in two.export_figure()]
    assert names == [f"ranked-tiny-query{two.query:05d}-{name}.jpg" for name in ("_mine", "a_b_c")]
    homeless = rl.RankedBrowser(scores)
    assert "give RankedBrowser(..., run_dir=run)" in ask(homeless, "export_figure")
    assert "not saved: no run_dir was given" in (homeless.mark() or homeless.view["note"])


# how it behaves


@pytest.mark.parametrize(
    ("action", "arguments", "message"),
    [
        ("filter", {"pid": 4711}, "no query passes"),
        ("filter", {"colour": "red"}, "colour"),
        ("order_by", {"order": "by name"}, "no order 'by name'"),
        ("jump", {"to": "nobody"}, "no query 'nobody'"),
        ("lists", {"k": 99}, "k=99"),
        ("look", {"j": 0, "model": 7}, "IndexError"),
        ("look", {"j": 999}, "not in the list"),
        ("make_query", {"j": -1}, "no gallery image -1"),
        ("step", {"by": "two"}, "TypeError"),
        ("__init__", {}, "no action '__init__'"),
        ("_receive", {}, "no action '_receive'"),
    ],
)
def test_what_goes_wrong_in_a_handler_is_shown_and_the_browser_goes_on(browser, action, arguments, message):
    before = browser.view
    assert message in ask(browser, action, **arguments)
    assert browser.view == before
    assert not ask(browser, "step")
    assert browser.view["place"] == "2 of 17"


def test_an_update_is_one_message(browser, monkeypatch):
    sent = []
    monkeypatch.setattr(browser, "_send", lambda message, buffers=None: sent.append(message))
    for action, arguments in (("step", {}), ("look", {"j": None}), ("step", {"by": -1}), ("jump", {"to": "x"})):
        if "j" in arguments:
            arguments = {"j": browser.view["lists"][0]["cards"][0]["index"]}
        ask(browser, action, **arguments)
        assert len(sent) == 1, action
        sent.clear()


def state_size(browser) -> int:
    from ipywidgets.widgets.widget import _remove_buffers

    state, _, buffers = _remove_buffers(browser.get_state())
    return len(json.dumps(state)) + sum(map(len, buffers))


def test_the_state_stays_below_100_kb_with_pictures_of_noise_a_full_list_and_a_pair(scores, other):
    for browser in (rl.RankedBrowser(scores, k=20), rl.RankedBrowser(scores, other, k=10)):
        browser.lists(ignored=True)
        browser.look(browser.view["lists"][-1]["cards"][-1]["index"], len(browser.tour.models) - 1)
        browser.pair = browser.pair | {"maps": [_map_as_png(np.random.default_rng(0).random((16, 8)), 1.0)] * 2}
        assert state_size(browser) < 100_000
        assert all(card["image"] for card in browser.pair["cards"])


def test_it_keeps_no_matrix_and_reads_only_the_images_that_it_shows(browser, monkeypatch):
    read = []
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda file, **options: read.append(Path(file).name) or opened(file, **options))
    browser.jump(9)
    assert 0 < len(read) <= 2 + 5
    again = len(read)
    browser.refresh()
    assert len(read) == again, "the second time from the cache"
    arrays = [value for value in vars(browser).values() if isinstance(value, (np.ndarray, torch.Tensor))]
    assert not arrays


def test_an_image_that_is_missing_or_broken_leaves_its_name_and_comes_back(browser, scores):
    browser.jump(0)
    cards = browser.view["lists"][0]["cards"][:2]
    files = [scores.gallery.file(card["index"]) for card in cards]
    body = files[0].read_bytes()
    files[0].unlink()
    files[1].write_bytes(b"no image")
    browser.refresh()
    for card, file in zip(browser.view["lists"][0]["cards"], files):
        assert (card["image"], card["missing"]) == (None, file.name)
        assert card["alt"].endswith(f"no image: {file.name}")
    assert not ask(browser, "look", j=cards[0]["index"])
    assert browser.pair["cards"][1]["missing"] == files[0].name
    files[0].write_bytes(body)
    browser.refresh()
    assert browser.view["lists"][0]["cards"][0]["image"]


def test_thumbnails_fit_their_box_and_their_bytes_and_are_never_enlarged(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    for name, mode in (("a.jpg", "RGB"), ("b.png", "RGBA"), ("c.png", "L")):
        Image.fromarray(noise).convert(mode).save(tmp_path / name)
        body = thumbnail(tmp_path / name, (128, 256), 3000)
        assert len(body) <= 3000
        picture = Image.open(io.BytesIO(body))
        assert (picture.mode, picture.format) == ("RGB", "JPEG")
        assert max(picture.width / 128, picture.height / 256) <= 1
    Image.new("RGB", (20, 40)).save(tmp_path / "small.png")
    assert Image.open(io.BytesIO(thumbnail(tmp_path / "small.png", (128, 256), 3000))).size == (20, 40)


def test_whatever_pil_raises_for_a_file_is_no_image(tmp_path, monkeypatch):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"")
    for error in UNREADABLE:
        monkeypatch.setattr(Image, "open", lambda file, formats, error=error: (_ for _ in ()).throw(error("broken")))
        assert thumbnail(file, (128, 256), 3000) is None
        assert sheets._read(file) is None


def test_in_a_notebook_it_says_what_it_is_and_how_to_wake_it(browser, scores, monkeypatch):
    text = (
        "RankedBrowser of tiny/query: 17 queries, 29 gallery images. "
        "It lives in a kernel: run this cell in JupyterLab to look through them."
    )
    assert repr(browser) == text
    data, _ = browser._repr_mimebundle_()
    assert data["text/plain"] == text
    assert "application/vnd.jupyter.widget-view+json" in data
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setattr("ipywidgets.widgets.widget.comm.create_comm", lambda **_: pytest.fail("a state to be saved"))
    asleep = rl.RankedBrowser(scores)
    assert asleep._repr_mimebundle_() == {"text/plain": text}
    assert asleep.comm is None
    asleep.step()
    assert asleep.view["place"] == "2 of 17"


def test_its_colours_are_those_of_the_figures():
    css = (ROOT / "reidlib" / "browser" / "browser.css").read_text().lower()
    assert f"rgb(0 0 0 / calc({DIM} * (1 - var(--like))))" in css
    light, dark = re.findall(r"--right: (#\w+);\s+--wrong: (#\w+)", css)
    assert light == (style.BLUE.lower(), style.VERMILLION.lower())
    assert dark[0] == style.SKY.lower()


def test_the_page_itself():
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else ""
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (20, 19):
        pytest.skip(f"node 20.19 or newer runs the page's own tests; here is {version.strip() or 'none'}")
    done = subprocess.run([node, "--test", "tests/browser.test.js"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_the_benchmark_runs_small_and_its_sizes_keep_their_targets():
    done = subprocess.run(
        [sys.executable, "benchmarks/browser.py", "--small"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    sizes = [line for line in done.stdout.splitlines() if line.startswith("bytes of the live state")]
    assert len(sizes) == 2
    assert all(line.endswith(": met") for line in sizes)
