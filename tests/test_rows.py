"""The committed rows of results/: each is one that the commands of the Makefile write, and its numbers can be true."""

import re
from collections import Counter

import pytest

import reidlib as rl
from reidlib.studies import alignment, boxes, fresh, hidden, trainings

SEEDS = dict.fromkeys(("toy", "toy_pcb", "toy_hidden"), tuple(range(1, 11)))
INFRARED = ("rgb_infrared", "rgb_infrared_float32", "rgb_infrared_batches")
PIXELS = ("pixel_alignment", "pixel_alignment_float32", "pixel_alignment_fresh")
SEEDS |= dict.fromkeys((*INFRARED, *PIXELS), alignment.SEEDS)  # of the others three
SEEDS["pixel_alignment_fresh"] = tuple(fresh.SEEDS)
RECIPE = ("dataset", "model", "preset", "tricks", "seed", "backbone", "weights", "height", "width", "epochs")
QUERIES = {"toy": 169, "toy-duke": 156}  # of the drawn crowds; toy-sysu: 567 probes, 386 of them by an indoor camera
SEARCHES = {
    f"{name} {search} {shot}": n
    for name in (*alignment.KNOB, *map(alignment.translated, alignment.KNOB))
    for search, n in (("all", 567), ("indoor", 386))
    for shot in ("single", "multi")
}
TESTS = dict.fromkeys(("toy", "toy_pcb", "toy_ladder"), QUERIES) | dict.fromkeys(INFRARED, SEARCHES)
RUNS = {  # of each file: (data set, model, tricks) that are trained with each seed
    "toy": {(name, "bot", tricks) for name in QUERIES for tricks in ("all", "all-erasing")},
    "toy_pcb": {(name, "pcb", tricks) for name in QUERIES for tricks in ("all", "all-erasing", "all+rpp")},
    "rgb_infrared": {
        (recipe.dataset, recipe.model, recipe.tricks) for name in alignment.KNOB for recipe in alignment.planned(name)
    },
    "rgb_infrared_float32": {
        ("toy-sysu", *model) for model in (("bot", "all"), ("bot", "all+channels"), ("aligngan", "all"))
    },
    "rgb_infrared_batches": {("toy-sysu", "bot", "all")},
    "toy_hidden": {(name, *model) for name in hidden.NETWORKS for model in hidden.MODELS},
    "pixel_alignment": {(name, "aligngan", "all") for name in alignment.KNOB},
    "pixel_alignment_float32": {("toy-sysu", "aligngan", "all")},
    "pixel_alignment_fresh": {(fresh.WORLD, "aligngan", "all")},
}
GALLERIES = ("visible", "grey", "generated", "true")
KEYS = {"toy_hidden": ("queries", ("open", "hidden"))}
KEYS |= dict.fromkeys(("pixel_alignment", "pixel_alignment_fresh"), ("gallery", GALLERIES))
KEYS["pixel_alignment_float32"] = "gallery", (*GALLERIES, "usual")


def rows_of(name):
    return rl.read_csv(rl.project() / "results" / f"{name}.csv")


def assert_counts_of(row, queries):
    """Assert that each rank-k is a share of so many queries, or a mean of ten such shares, to two digits."""
    trials = 10 if "rank1_sd" in row else 1
    for name in ("rank1", "rank5", "rank10", "rank20"):
        hits = round(row.get(name, 0) * queries * trials / 100)
        assert row.get(name, 0) == pytest.approx(100 * hits / (queries * trials), abs=0.00501), name


@pytest.mark.parametrize("name", RUNS)
def test_every_run_of_a_table_is_there_once(name):
    key, tests = KEYS.get(name, ("test", tuple(TESTS.get(name, ()))))
    rows = [{"model": "aligngan", "tricks": "all"} | row for row in rows_of(name)]
    twice = name in ("rgb_infrared_batches", "pixel_alignment_float32")
    final = [row for row in rows if row.get("gallery") == "final"]  # the pictures of the end, searched after phase 2
    if name == "pixel_alignment_float32":
        assert [(row["seed"], row["epoch"]) for row in final] == [(seed, 36) for seed in alignment.SEEDS]
        rows = [row for row in rows if row not in final]
    found = Counter((row["dataset"], row["model"], row["tricks"], row["seed"], row[key]) for row in rows)
    once = Counter(
        (*run, seed, test)
        for run in RUNS[name]
        for seed in SEEDS.get(name, (1, 2, 3))
        for test in tests
        if name not in INFRARED or test.startswith(f"{run[0]} ")
    )
    assert found == (once + once if twice else once)
    if name == "pixel_alignment_float32":  # once after the second phase, once at the end
        assert Counter(row["epoch"] for row in rows) == {36: len(rows) / 2, 46: len(rows) / 2}
    if name == "rgb_infrared_batches":  # once in each order
        orders = Counter("order=identity" in row["changed"] for row in rows)
        assert orders[True] == orders[False] == len(rows) / 2


@pytest.mark.parametrize("name", [*RUNS, "toy_ladder"])
def test_the_numbers_of_a_row_can_be_true(name):
    for row in rows_of(name):
        queries = row.get("probes") or TESTS.get(name, QUERIES).get(row.get("test"), QUERIES.get(row["dataset"]))
        if name in TESTS:
            assert row["queries"] + row["unmatched"] == (567 if name in INFRARED else queries)
        ranks = [row[key] for key in ("rank1", "rank5", "rank10", "rank20") if key in row]
        assert ranks[0] > 0
        assert ranks == sorted(ranks)
        assert ranks[-1] <= 100
        assert 0 < row["mINP"] < row["mAP"] < 100
        assert all(0 < row[key] < 10 for key in ("rank1_sd", "mAP_sd") if key in row)
        assert_counts_of(row, queries)


@pytest.mark.parametrize("name", [*RUNS, "toy_ladder"])
def test_a_row_says_what_made_it_as_the_code_would_say(name):
    for row in rows_of(name):
        recipe = rl.Recipe.for_dataset(row["dataset"], tricks=row.get("tricks", "all"), seed=row["seed"],
                                       model=row.get("model", "aligngan"))  # fmt: skip
        assert {key: row[key] for key in RECIPE if key in row} == {
            key: getattr(recipe, key) for key in RECIPE if key in row
        }
        middle, end = alignment.end_of_pixels(recipe), recipe.epochs
        tested = {"pixel_alignment_float32": {middle, end}} | {key: {middle} for key in PIXELS[::2]}
        assert row.get("epoch", end) in tested.get(name, {end})
        assert row.get("iterations", 0) in (0, recipe.epochs * recipe.iterations)
        assert row.get("precision", "bf16") == ("float32" if name in INFRARED[1:] else "bf16")
        assert row.get("world", 1) == 1
        assert (row["reranking"], row["flip"]) == ("off", "off" if recipe.model == "bot" else "on")
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", str(row["commit"]))
        assert re.fullmatch(r"[0-9a-f+]{12,}", str(row["source"]))


def test_the_rows_of_parts_in_bad_boxes_are_those_of_its_plan():
    rows = rows_of("toy_boxes")
    planned = {trainings.key(recipe, *tests) for recipe, tests in boxes.plan(range(1, 6)).items()}
    found = [tuple(row[name] for name in trainings.KEY) for row in rows]
    assert len(found) == len(planned)
    assert set(found) == planned
    made_by = {(row["model"], row["source"]) for row in rows}
    assert len(made_by) == len({model for model, _ in made_by}), "each model by one version of the library"
    for row in rows:
        assert 0 < row["mINP"] < row["mAP"] < 100
        assert re.fullmatch(r"[0-9a-f]{7,}", str(row["commit"]))
        assert_counts_of(row, row["queries"])
