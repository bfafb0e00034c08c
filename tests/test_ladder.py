"""What each trick gives: differences over the seeds, intervals, and the figures drawn from rows."""

import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import reidlib as rl
from reidlib.figures.style import FILE_DPI, encode
from reidlib.studies import ladder
from reidlib.studies.gains import Gain, paired
from reidlib.studies.ladder import LABELS, RUNGS, SWITCHED, by_seed
from reidlib.studies.tables import of_ladder

RESULTS = rl.project() / "results"
PUBLISHED = rl.read_csv(RESULTS / "published.csv")
ALL = ("warmup", "erasing", "smoothing", "stride", "bnneck")
RECIPE = dict(preset="reference", changed="", epoch=20, epochs=20, reranking="off", flip="off")


def rows(words, seeds=(1, 2, 3), dataset="toy", tests=("toy",)):
    """Rows whose mAP is 50 plus one for each trick, and a little of the seed's."""
    rng = np.random.default_rng(0)
    found = []
    for word in words:
        on = len(ALL) if word.startswith("all") else 0
        base = 50 + on + word.count("+") - word.count("-")
        for seed in seeds:
            score = base + 3 * seed + rng.normal(0, 0.1)
            common = RECIPE | dict(model="bot", dataset=dataset, tricks=word, seed=seed, mAP=score, rank1=score + 5)
            found += [common | {"test": test} for test in tests]
    return found


@pytest.fixture
def climbed():
    return rows([*RUNGS, *(f"all-{name}" for name in ALL if name != "bnneck")])


def test_a_gain_is_paired_and_its_interval_is_students():
    a, b = {1: 60.0, 2: 63.0, 3: 70.0, 9: 1.0}, {3: 66.0, 1: 59.0, 2: 60.5}
    gain = paired("warm-up", a, b)
    assert gain.values == (1.0, 2.5, 4.0)
    for level, of in ((0.95, 1), (0.9, 1), (0.95, 12)):
        expected = stats.ttest_1samp(gain.values, 0).confidence_interval(1 - (1 - level) / of)
        found = paired("warm-up", a, b, level, of)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert str(gain) == "warm-up                   +2.5 [-1.2, +6.2]   of 3 seeds: open"
    assert str(paired("x", {1: 3.0, 2: 3.1}, {1: 1.0, 2: 1.1})).endswith("2 seeds: a gain")
    assert str(paired("x", {1: 1.0, 2: 1.1}, {1: 3.0, 2: 3.1})).endswith("2 seeds: a loss")
    for low, high, verdict in (
        (0.0, 4.0, "open"), (0.19, 4.19, "open, at the border"), (0.21, 4.19, "a gain"), (-4.19, -0.21, "a loss"),
        (-4.19, -0.19, "open, at the border"), (-1.0, 2.0, "open"),
    ):  # fmt: skip
        assert Gain("x", (1.0, 2.0), (low + high) / 2, low, high).verdict == verdict
    assert str(paired("x", a, b, of=12)).endswith(" of 3 seeds, 12 comparisons: open")


def test_twelve_comparisons_of_nothing_find_something_in_one_table_of_twenty():
    """Of 500 ladders in which no trick does anything, those with a gain or a loss: at most 5 %, by 3 deviations."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(500):
        scores = rng.normal(70, 2, (11, 5))  # eleven recipes, five seeds
        sides = [*itertools.pairwise(range(7)), *((5, i) for i in range(7, 11)), (0, 5), (0, 6)]
        found = [paired("x", *(dict(enumerate(scores[i])) for i in pair), of=ladder.COMPARED) for pair in sides]
        wrong += any(gain.low > 0 or gain.high < 0 for gain in found)
    assert len(sides) == ladder.COMPARED
    assert wrong / 500 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="warm-up: 1 seeds on both sides"):
        paired("warm-up", {1: 60.0, 2: 61.0}, {1: 59.0, 3: 60.0})


def test_the_rungs_are_the_papers(climbed):
    assert RUNGS[0] == "none"
    assert RUNGS[4] == "none+warmup+erasing+smoothing+stride"
    assert ladder.published_steps(PUBLISHED, "market") == [74.0, 75.2, 79.3, 80.3, 81.7, 85.7, 85.9]
    assert ladder.published_steps(PUBLISHED, "duke", "rank1")[-2:] == [86.2, 86.4]
    assert [gain.name for gain in rl.gains_added(climbed)] == list(LABELS.values())
    assert [round(gain.mean) for gain in rl.gains_added(climbed)] == [1] * 6
    assert [round(gain.mean) for gain in rl.gains_left_out(climbed)] == [1] * 4
    assert [round(gain.mean) for gain in rl.gains_whole(climbed)] == [5, 6]
    shown = [*rl.gains_added(climbed), *rl.gains_left_out(climbed), *rl.gains_whole(climbed)]
    assert {gain.of for gain in shown} == {len(shown)}, "the intervals allow for all that are shown together"
    assert len({gain.values for gain in shown}) == len(shown), "no comparison is counted twice"
    assert max(gain.high - gain.low for gain in shown) < 6, "the seeds' own spread cancels"


def test_a_seed_twice_is_refused(climbed):
    with pytest.raises(ValueError, match=r"bot, none, toy, toy: seed 1 occurs twice"):
        rl.gains_added([*climbed, climbed[0]])


def test_a_missing_rung_is_named(climbed):
    left = [row for row in climbed if row["tricks"] != "all-stride"]
    with pytest.raises(ValueError, match="no rows of all-stride, toy → toy"):
        rl.gains_left_out(left)
    with pytest.raises(ValueError, match="no rows of none, market → market"):
        by_seed(climbed, "none", "mAP", "market")


@pytest.mark.parametrize("other", [dict(changed="epochs=2", epochs=2, epoch=2), dict(preset="paper"), dict(flip="on")])
def test_another_recipe_of_the_same_tricks_is_no_part_of_a_gain(climbed, other):
    short = [row | {"mAP": 1.0} | other for row in climbed]
    assert rl.gains_added(climbed + short) == rl.gains_added(climbed) == rl.gains_added(short + climbed)
    assert [gain.mean for gain in rl.gains_added(short)] == [0] * 6, "a table of another recipe has gains of its own"
    third = [row | {"changed": "iterations=9"} for row in short]
    with pytest.raises(ValueError, match=r"no rows of none, toy → toy but of another recipe \(.+; .+\); run the grid"):
        rl.gains_added(short + third)


def test_a_gain_is_of_one_model(climbed):
    parts = [row | {"mAP": 1.0, "model": "pcb", "flip": "on"} for row in climbed if row["tricks"] == "all"]
    assert rl.gains_added(climbed + parts) == rl.gains_added(climbed)
    assert set(by_seed(climbed + parts, "all", "mAP", "toy", model="pcb").values()) == {1.0}
    with pytest.raises(ValueError, match=r"no rows of pcb, all\+rpp, toy → toy"):
        by_seed(climbed + parts, "all+rpp", "mAP", "toy", model="pcb")


def test_erasing_at_home_and_abroad():
    both = rows(["all", "all-erasing"], tests=("toy", "toy-duke"))
    both += rows(["all", "all-erasing"], dataset="toy-duke", tests=("toy", "toy-duke"))
    found = rl.erasing_gains(both)
    assert [gain.name for gain in found][1:3] == ["toy-duke → toy-duke", "toy → toy-duke"]
    assert ladder.published_erasing(PUBLISHED) == pytest.approx([3.43, 5.17, -10.83, -5.1], abs=0.01)
    assert {gain.of for gain in found} == {len(found)}
    real = rows(["all", "all-erasing"], dataset="market", tests=("market", "cuhk01"))
    real = [row | {"queries": {"market": 3368, "cuhk01": 971}[row["test"]]} for row in real]
    assert [gain.name for gain in rl.erasing_gains(real)] == ["market → market", "market → cuhk01"]
    figure = rl.plot_erasing(both, PUBLISHED)
    assert "toy → toy-duke +1." in figure.alt
    assert "Market → Duke -10.8" in figure.alt


def test_the_ladders_figure_names_every_gain(climbed):
    figure = rl.plot_ladder(climbed, PUBLISHED)
    assert [figure.alt.count(f"{label} +") for label in LABELS.values()] == [2, 2, 2, 2, 1, 1]
    climb, steps, without = figure.axes
    labels = climb.get_legend_handles_labels()[1]
    assert "paper, Market-1501, from 74.0" in labels
    drawn = {line.get_label(): line.get_ydata() for line in climb.get_lines()}
    assert np.allclose(
        drawn["paper, Market-1501, from 74.0"], np.subtract([74.0, 75.2, 79.3, 80.3, 81.7, 85.7, 85.9], 74)
    )
    assert steps.get_xlim() == without.get_xlim(), "gains of the same size are bars of the same length"


def test_the_page_of_results_has_a_line_for_each_comparison_once_all_recipes_have_two_seeds():
    recipes = [*RUNGS, *(f"all-{name}" for name in ALL if name != "bnneck")]
    found = rows([*recipes, *SWITCHED[1:]], dataset="market", tests=("market", "cuhk01"))
    found = [row | {"queries": 3368} | ({"mAP": 50.0} if row["test"] == "cuhk01" else {}) for row in found]
    every = [of(found, dataset="market") for of in (rl.gains_added, rl.gains_left_out, rl.gains_whole)]
    tricks, switches = [gain for gains in every for gain in gains], rl.gains_switched(found)
    ways = 6 * ["added to those before it"] + 4 * ["added to the other four"] + 2 * ["at once"]
    lines = [
        [f"| {gain.name} | {way} | {bold(gain)} | +0.0 [+0.0, +0.0] |" for gain, way in zip(gains, how, strict=True)]
        for gains, how in ((tricks, ways), (switches, 5 * ["added to the five"]))
    ]
    parts = of_ladder(found)
    assert [part.splitlines()[2:] for part in parts[1::2]] == lines
    assert "**" in "".join(lines[0])
    assert [re.search(r"for (\d+) comparisons", part)[1] for part in parts[::2]] == ["12", "5"]
    assert [gain.of for gain in (*tricks, *switches)] == [12] * 12 + [5] * 5
    for one, left in (("all-stride", 1), ("all+gem", 0)):
        assert of_ladder([row for row in found if row["tricks"] != one or row["seed"] == 1]) == parts[2 * left :][:2]
    home = [line.rpartition(" | ")[0] + " |" for line in lines[1]]
    without_cuhk01 = of_ladder([row for row in found if row["test"] == "market"])
    assert without_cuhk01[3].splitlines()[2:] == home
    with pytest.raises(ValueError, match="seed 1 occurs twice"):
        of_ladder([*found, found[0]])
    assert of_ladder([]) == []


def bold(gain):
    return gain.interval if gain.verdict.startswith("open") else f"**{gain.interval}**"


def test_the_makefile_runs_the_rungs_that_are_drawn():
    makefile = (rl.project() / "Makefile").read_text().replace("\\\n", " ")
    for table in ("toy", "market1501"):
        (line,) = re.findall(rf"{table}_ladder\.csv -p tricks (.+)", makefile)
        assert set(line.rstrip(")").split()) == {*RUNGS, *(f"all-{name}" for name in ALL if name != "bnneck")}
    (line,) = re.findall(r"market1501_switches\.csv -p tricks (.+)", makefile)
    assert set(line.rstrip(")").split()) == {*SWITCHED[1:]}


def test_the_lesson_tells_the_papers_numbers():
    """The table in 02 is prose; it says what results/published.csv says."""
    text = (rl.project() / "notebooks" / "02_tricks_ablation.ipynb").read_text()
    for row in PUBLISHED:
        if row["commit"] == "3da7e6f" and row["reranking"] == "off":
            assert f"{row['rank1']:.1f} ({row['mAP']:.1f})" in text


@pytest.mark.parametrize(
    ("name", "table", "of"),
    [
        ("ladder_market", "market1501_ladder.csv", {"dataset": "market"}),
        ("ladder_toy", "toy_ladder.csv", {}),
        ("erasing", "toy.csv", {}),
    ],
)
def test_the_committed_figures_are_drawn_from_the_committed_rows(name, table, of):
    rows = rl.read_csv(RESULTS / table) if (RESULTS / table).is_file() else []
    if not any(row["tricks"] == "all-erasing" for row in rows):
        pytest.skip(f"results/{table} has not been measured in full: make table, make ladder, make market")
    figure = getattr(rl, f"plot_{name.partition('_')[0]}")(rows, PUBLISHED, **of)
    kept = rl.project() / "figures" / f"{name}.png"
    drawn, kept = (np.asarray(Image.open(file).convert("RGB")) for file in (io.BytesIO(encode(figure, FILE_DPI)), kept))
    assert np.array_equal(drawn, kept), f"run the notebook that draws figures/{name}.png"
