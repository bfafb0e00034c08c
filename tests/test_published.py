"""The published table beside the measured rows."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
from scipy import stats

import reidlib as rl
from reidlib.studies.published import chosen, welch
from reidlib.studies.tables import TABLES, in_page, listed, spread
from reidlib.systems.backbones import trunk
from reidlib.systems.pcb import PCB

PUBLISHED = rl.read_csv(rl.project() / "results" / "published.csv")
INFRARED = rl.read_csv(rl.project() / "results" / "published_infrared.csv")
SETS = ("market", "duke")
RUN = dict(
    dataset="market", test="market", tricks="all", preset="reference", weights="imagenet", changed="", epochs=120
)
RUN |= dict(epoch=120, reranking="off", flip="off", model="bot", backbone="resnet50", queries=3368, world=1)
PARTS = dict(model="pcb", flip="on")
TOYS = {"toy.csv": ("bot", {"all", "all-erasing"}), "toy_pcb.csv": ("pcb", {"all", "all+rpp"})}  # at the least


def runs(*scores, **other):
    return [RUN | {"seed": seed, "rank1": a, "mAP": b} | other for seed, (a, b) in enumerate(scores, 1)]


def line(rows, position=0):
    return rl.compare_published(rows, PUBLISHED, SETS)[position]


HOME = (94.0, 85.8), (94.4, 85.9), (94.2, 85.8)


def test_a_few_runs_are_listed_and_many_are_counted():
    few = [{"rank1": 80.0 + seed, "mAP": 70.0 + seed} for seed in range(5)]
    assert listed(few[:2]) == "80.0 / 70.0 · 81.0 / 71.0"
    assert listed(few).count(" · ") == 4
    assert listed([*few, {"rank1": 1.0, "mAP": 99.0}]) == "6 runs, mAP 70.0 to 99.0"


def test_reproduced_means_within_a_point_of_rank_1_and_half_a_point_of_map():
    for nearer, word in ((0.3, "reproduced"), (0.6, "different")):
        assert line(runs(*((a, b - nearer) for a, b in HOME))).verdict.startswith(f"{word}: ")
    assert line(runs(*HOME)).verdict == "reproduced: +0.0 [-0.6, +0.7] rank-1, +0.0 [-0.2, +0.2] mAP"
    for name, ours, theirs in (("rank1", (94.0, 94.4, 94.2), (93.9, 94.4, 94.2)), ("mAP", (9, 7, 8.5), (1, 2, 2.5))):
        expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.975)
        assert welch(ours, theirs, 0.975) == pytest.approx((expected.low, expected.high)), name
    assert np.diff(welch([1, 2], [1, 3], 0.9)) < np.diff(welch([1, 2], [1, 3], 0.95))


@pytest.mark.parametrize(("more", "better"), [(0, -1.5), (0, 1.5), (-3, 0), (3, 0)])
def test_what_lies_apart_is_different_above_as_below(more, better):
    found = line(runs(*((a + more, b + better) for a, b in HOME))).verdict
    assert found.startswith("different: ")
    assert f"{more + 0.03:+.1f} [" in found
    assert f"{better:+.1f} [" in found.replace("-0.0", "+0.0")


def test_what_the_runs_cannot_tell_is_open():
    assert line(runs((91.0, 84.0), (96.0, 88.0), (94.0, 85.0))).verdict.startswith("open: -0.5 [-")


def test_one_published_run_gives_a_distance_and_no_verdict():
    (found,) = [
        x for x in rl.compare_published(runs(*[(94.6, 82.0)] * 3, tricks="all-erasing"), PUBLISHED, SETS) if x.rows
    ]
    assert found.verdict == "no verdict: +1.0 rank-1, -0.4 mAP from one published run"


@pytest.mark.parametrize("tested", ["market", "duke"])
def test_an_exact_reproduction_is_seldom_called_different(tested):
    """With the spread of the reference's runs at home and abroad: at most 5 in 100, within 3 standard deviations."""
    rng, trials = np.random.default_rng(0), 300
    (found,) = [x for x in rl.compare_published([], PUBLISHED, SETS)[:3] if (x.tested, x.tricks) == (tested, "all")]
    truth = np.array([[row["rank1"], row["mAP"]] for row in found.reference])
    verdicts, queries = [], {"market": 3368, "duke": 2228}[tested]
    for _ in range(trials):
        theirs, ours = (rng.normal(truth.mean(0), truth.std(0, ddof=1), (3, 2)) for _ in range(2))
        reference = [dict(rank1=a, mAP=b) for a, b in theirs]
        verdicts.append(
            replace(found, rows=runs(*ours.tolist(), test=tested, queries=queries), reference=reference).verdict
        )
    words = Counter(verdict.partition(":")[0] for verdict in verdicts)
    assert set(words) <= {"reproduced", "different", "open"}
    assert words["different"] <= trials * 0.05 + 3 * np.sqrt(trials * 0.05 * 0.95)
    assert words["reproduced"] > 0.5 * trials or tested == "duke"


def test_a_seed_twice_or_mixed_versions_of_the_code_are_refused():
    with pytest.raises(ValueError, match=r"bot, all, market, market, 3368: seed 1 occurs twice; keep the rows of one"):
        line(runs(*HOME) + runs(*HOME)[:1])
    rows = [row | {"source": source} for row, source in zip(runs(*HOME), "aab", strict=True)]
    with pytest.raises(ValueError, match="versions of the code are mixed"):
        line(rows)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (dict(weights="none", changed="weights=none"), "weights=none"),
        (dict(weights="none"), "no ImageNet weights"),
        (dict(preset="fixed"), "fixed"),
        (dict(changed="epochs=60", epochs=60, epoch=60), "epochs=60"),
        (dict(epoch=40), "after 40 of 120 epochs"),
        (dict(flip="on"), "mirror images averaged"),
        (dict(queries=1000), "1000 queries instead of 3368"),
        (dict(world=4), "trained by 4 processes"),
        (dict(changed="checkpoint_every=10 epochs=60", epochs=60, epoch=60), "epochs=60"),
        (
            dict(weights="resnet50-11ad3fa6.pth", changed="weights=resnet50-11ad3fa6.pth"),
            "weights=resnet50-11ad3fa6.pth",
        ),
        (dict(weights="mine.pth", changed="weights=mine.pth"), "weights=mine.pth"),
    ],
)
def test_what_cannot_be_compared_says_why(other, reason):
    assert line(runs((94.2, 85.8), (94.2, 85.8), (94.2, 85.8), **other)).verdict == f"not comparable: {reason}"


@pytest.mark.parametrize(
    "other",
    [
        dict(weights="resnet50-0676ba61.pth", changed="weights=resnet50-0676ba61.pth"),
        dict(weights="resnet50-0676ba61.pth", changed="compile=True weights=resnet50-0676ba61.pth"),
        dict(changed="checkpoint_every=10"),
        dict(changed="checkpoint_every=1 precision=float32 compile=True"),
        dict(world=""),
        dict(world=None),
    ],
)
def test_what_is_the_reference_recipe_all_the_same_is_compared(other):
    found = line(runs(*HOME, **other))
    assert (found.recipe, found.verdict.partition(":")[0]) == ("", "reproduced")


def test_rows_older_than_the_number_of_processes_are_of_one():
    rows = [{key: value for key, value in row.items() if key != "world"} for row in runs((94.2, 85.8))]
    assert not line(rows).recipe


def test_the_file_that_a_failed_download_names_is_the_one_that_counts(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(FileNotFoundError) as error:
        trunk("resnet50", "imagenet")
    (name,) = re.findall(r"/(resnet50-\w+\.pth)", str(error.value))
    assert not line(runs((94.2, 85.8), weights=name, changed=f"weights={name}")).recipe


def test_a_toy_that_begins_from_imagenet_is_another_recipe():
    rows = runs((80.0, 75.0), dataset="toy", test="toy", backbone="resnet18", queries=169)
    for weights in ("imagenet", "resnet18-f37072fd.pth"):
        other = [row | {"weights": weights, "changed": f"weights={weights}"} for row in rows]
        (found,) = rl.compare_published(other, PUBLISHED, ("toy", "toy-duke"))
        assert found.recipe == f"weights={weights}"


def test_without_a_published_number_there_is_no_verdict():
    rows = runs((80.0, 75.0), (81.0, 75.0), (82.0, 75.0), dataset="toy", test="toy", weights="none")
    found = rl.compare_published(rows, PUBLISHED, ("toy", "toy-duke"))
    assert [entry.verdict for entry in found] == [""]
    assert "verdict" not in rl.markdown(found)


def test_a_model_of_ones_own_has_a_line_under_its_name():
    found = rl.compare_published(runs((1, 1), model="reidlib.systems.pcb", flip="on"), PUBLISHED, SETS)
    lines = [entry for entry in found if entry.rows]
    assert [(entry.model, entry.tricks, entry.verdict) for entry in lines] == [("reidlib.systems.pcb", "all", "")]


def test_each_set_has_its_own_number_of_queries():
    found = [entry for entry in rl.compare_published(runs((1, 1), test="duke"), PUBLISHED, SETS) if entry.rows]
    assert [entry.recipe for entry in found] == ["3368 queries instead of 2228"]
    mixed = runs((1, 1), (2, 2)) + runs((3, 3), queries=100)
    found = [entry for entry in rl.compare_published(mixed, PUBLISHED, SETS) if entry.rows]
    assert [len(entry.rows) for entry in found] == [2, 1], "a part of a test set is a line of its own"


def test_two_seeds_are_too_few():
    assert line(runs((94.2, 85.8), (94.2, 85.8))).verdict == "not comparable: 2 of 3 seeds"


def test_a_re_ranked_row_is_in_no_line():
    assert not line(runs((95.4, 94.2), reranking="on")).rows


def test_what_is_unmeasured_stays_empty():
    lines = rl.compare_published([], PUBLISHED, SETS)
    assert [(found.trained, found.tested, found.tricks) for found in lines[:3]] == [
        ("market", "market", "all"),
        ("market", "market", "all-erasing"),
        ("market", "duke", "all"),
    ]
    assert [found.model for found in lines] == ["bot"] * 8 + ["pcb"] * 10
    assert {found.verdict for found in lines} == {""}
    assert "| Bag of Tricks | market → duke | no |  |  | 42.7 / 26.4 | 41.4 / 25.7 |" in rl.markdown(lines)
    assert "| PCB | market → market | no |  |  | 93.4 / 80.9 | 92.3 / 77.4 |" in rl.markdown(lines)
    assert "| PCB + RPP | duke → duke | no |  |  |  | 83.3 / 69.2 |" in rl.markdown(lines)
    assert not rl.compare_published([], PUBLISHED, ("toy", "toy-duke")), "neither measured nor published: no line"
    assert "verdict" not in rl.markdown(lines), "a column without an entry is left out"


def test_another_recipe_is_a_line_of_its_own():
    scratch = runs((60.0, 40.0), weights="none", changed="weights=none")
    found = rl.compare_published(runs((94.2, 85.8)) + scratch, PUBLISHED, SETS)[:2]
    assert [entry.recipe for entry in found] == ["", "weights=none"]
    assert "| Bag of Tricks | market → market | yes | weights=none | 60.0 / 40.0 | 60.0 / 40.0 |" in rl.markdown(found)


def test_the_same_tricks_under_another_word_are_the_same_line():
    assert line(runs((94.2, 85.8), tricks="none+warmup+erasing+smoothing+stride+bnneck")).rows


def test_each_model_has_lines_of_its_own():
    rows = runs((94.2, 85.8)) + runs((93.9, 83.2), (93.9, 83.2), (93.9, 83.2), **PARTS) + runs((93.8, 81.6), **PARTS)
    rows[-1]["tricks"] = "all+rpp"
    found = [entry for entry in rl.compare_published(rows, PUBLISHED, SETS) if entry.rows]
    assert [(entry.model, entry.tricks) for entry in found] == [("bot", "all"), ("pcb", "all"), ("pcb", "all+rpp")]
    verdicts = [entry.verdict for entry in found[1:]]
    assert verdicts == ["no verdict: +0.0 rank-1, +0.0 mAP from one published run", ""], "the last is unpublished"
    assert "| PCB + RPP | market → market | yes |" in rl.markdown(found)
    rows[-1]["tricks"] = "all-erasing+rpp"
    found = [entry for entry in rl.compare_published(rows, PUBLISHED, SETS) if entry.rows]
    assert found[-1].verdict == "not comparable: no number of the reference implementation, 1 of 3 seeds"


def test_a_model_is_measured_as_its_own_test_does():
    (found,) = [entry for entry in rl.compare_published(runs((1, 1), **PARTS), PUBLISHED, SETS) if entry.rows]
    assert not found.recipe
    rows = runs((1, 1), **(PARTS | {"flip": "off"}))
    (found,) = [entry for entry in rl.compare_published(rows, PUBLISHED, SETS) if entry.rows]
    assert found.recipe == "mirror images not averaged"


def test_means_have_a_spread_from_two_runs_on():
    assert spread([]) == ""
    assert spread(runs((94.0, 85.0))) == "94.0 / 85.0"
    assert spread(runs((94.0, 85.0), (95.0, 85.0))) == "94.5 ± 0.7 / 85.0 ± 0.0"


def test_the_published_averages_are_those_of_the_runs():
    """The table is copied by hand; its own averages check it."""
    averages = [row for row in PUBLISHED if row["run"] == "average"]
    assert len(averages) == 4
    for average in averages:
        key = ("who", "dataset", "test", "model", "tricks")
        found = [row for row in PUBLISHED if all(row[k] == average[k] for k in key) and row["run"] != "average"]
        assert len(found) == 3
        for name in ("rank1", "mAP"):
            assert average[name] == pytest.approx(mean(row[name] for row in found), abs=0.06)


# who, commit, model, tricks, run, then rank-1 and mAP: market -> market, market -> duke, duke -> duke, duke -> market
COPY = """
reference 0d1a895 bot all 1               .939 .858  .290 .159  .874 .767  .486 .210
reference 0d1a895 bot all 2               .944 .858  .295 .156  .868 .765  .492 .223
reference 0d1a895 bot all 3               .942 .859  .281 .152  .863 .765  .485 .221
reference 0d1a895 bot all average         .942 .858  .289 .156  .868 .766  .488 .218
reference 0d1a895 bot all-erasing 1       .936 .824  .427 .264  .849 .714  .556 .269
paper     0d1a895 bot all-erasing 1       -    -     .414 .257  -    -     .543 .255
paper     3da7e6f bot none 1              .877 .740  -    -     .797 .638  -    -
paper     3da7e6f bot none+warmup 1       .887 .752  -    -     .806 .651  -    -
paper     3da7e6f bot none+warmup+erasing 1 .913 .793  -  -     .815 .683  -    -
paper     3da7e6f bot none+warmup+erasing+smoothing 1 .914 .803 - - .824 .693 - -
paper     3da7e6f bot none+warmup+erasing+smoothing+stride 1 .920 .817 - - .826 .706 - -
paper     3da7e6f bot all 1               .941 .857  -    -     .862 .759  -    -
paper     3da7e6f bot all+center 1        .945 .859  -    -     .864 .764  -    -
paper     3da7e6f bot all+center re-ranked .954 .942 -    -     .903 .891  -    -
reference 6bc07c5 pcb all 1               .939 .832  .384 .237  .856 .753  .555 .285
reference 6bc07c5 pcb all-erasing 1       .934 .809  .440 .265  .867 .746  .592 .308
paper     8c8aecf pcb all-erasing 1       .923 .774  -    -     -    -     -    -
paper     8c8aecf pcb all-erasing+rpp 1   .938 .816  -    -     -    -     -    -
paper     6bc07c5 pcb all-erasing 1       -    -     -    -     .819 .653  -    -
paper     00781c3 pcb all-erasing+rpp 1   -    -     -    -     .833 .692  -    -
"""
REPOSITORIES = {
    "0d1a895": "wangguanan/Pytorch-Person-REID-Baseline-Bag-of-Tricks", "3da7e6f": "michuanhaohao/reid-strong-baseline",
    "6bc07c5": "wangguanan/Pytorch-Person-ReID-Baseline-PCB-Beyond-Part-Models", "8c8aecf": "Xiaoccer/ReID-PCB_RPP",
    "00781c3": "nickhuang1996/HJL-re-id", "b376862": "wangguanan/AlignGAN", "441bdde": "LuckyDC/RGB-IR-ReID-Baseline",
    "034453a": "mangye16/Cross-Modal-Re-ID-baseline", "5548522": "mangye16/DDAG",
    "910c650": "mangye16/Cross-Modal-Re-ID-baseline",
}  # fmt: skip
# commit, search, shot, rank-1, rank-10, rank-20, mAP, mINP
COPY_INFRARED = """
b376862 all    single 42.4  85.0  93.7  40.7  -
b376862 all    multi  51.5  89.4  95.7  33.9  -
b376862 indoor single 45.9  87.6  94.4  54.3  -
b376862 indoor multi  57.1  92.7  97.4  45.3  -
441bdde all    single 46.20 86.17 93.77 45.40 -
034453a all    single 47.50 -     -     47.65 35.30
5548522 indoor single 54.17 -     -     62.97 59.23
910c650 all    single 69.88 -     -     66.89 53.61
"""


def test_the_published_numbers_are_those_of_a_second_copy():
    pairs = [("market", "market"), ("market", "duke"), ("duke", "duke"), ("duke", "market")]
    copied = set()
    for line in COPY.strip().splitlines():
        who, commit, model, tricks, run, *numbers = line.split()
        for pair, a, b in zip(pairs, numbers[::2], numbers[1::2], strict=True):
            if a != "-":
                copied.add((who, commit, model, tricks, run, *pair, round(100 * float(a), 2), round(100 * float(b), 2)))
    names = ("who", "commit", "model", "tricks")
    runs = ["re-ranked" if row["reranking"] == "on" else str(row["run"]) for row in PUBLISHED]
    ends = [(row["dataset"], row["test"], row["rank1"], row["mAP"]) for row in PUBLISHED]
    found = [(*(row[name] for name in names), run, *end) for row, run, end in zip(PUBLISHED, runs, ends, strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == copied


def test_the_published_numbers_of_infrared_are_those_of_a_second_copy():
    number = ("rank1", "rank10", "rank20", "mAP", "mINP")
    found = [(row["commit"], row["test"], *(row[name] for name in number)) for row in INFRARED]
    copied = []
    for line in COPY_INFRARED.strip().splitlines():
        commit, search, shot, *numbers = line.split()
        copied.append((commit, f"sysu {search} {shot}", *(None if x == "-" else float(x) for x in numbers)))
    assert [tuple(x if x != "" else None for x in row) for row in found] == copied


def test_every_published_number_says_where_it_stands():
    for row in (*PUBLISHED, *INFRARED):
        assert REPOSITORIES[row["commit"]] == row["repository"]
        assert re.fullmatch(r"\S+\.(md|png), .*row .+", row["where"])
    assert {row["who"] for row in PUBLISHED} == {"reference", "paper"}
    assert {row["reranking"] for row in INFRARED} == {"off"}
    assert sum(row["note"] != "" for row in PUBLISHED) == 5, "the slips of the sources are named"


def test_every_number_of_the_papers_pcb_says_which_feature_it_is_of():
    rows = [row for row in PUBLISHED if (row["who"], row["model"]) == ("paper", "pcb")]
    assert len({(row["dataset"], row["tricks"]) for row in rows}) == len(rows) == 4, "one a cell: they are averaged"
    assert all("feature" in row["note"] and f"{row['rank1']} ({row['mAP']})" in row["note"] for row in rows)
    market = {row["tricks"]: (row["rank1"], row["mAP"]) for row in rows if row["dataset"] == "market"}
    assert PCB.feature == "G"
    assert market == {"all-erasing": (92.3, 77.4), "all-erasing+rpp": (93.8, 81.6)}, "those of G"


def test_the_page_of_results_and_the_readme_show_what_the_committed_rows_say():
    text = (rl.project() / "docs" / "results.md").read_text()
    assert in_page(text, rl.results_tables()) == text, "run python -m reidlib.studies.tables"
    toy = rl.read_csv(rl.project() / "results" / "toy.csv")
    rows = {test: chosen(toy, "toy", test, "all") for test in ("toy", "toy-duke")}
    readme = (rl.project() / "README.md").read_text()
    cells = {"toy": "rank-1 of {} % and a mAP of {} % (60 new people)", "toy-duke": "network {} % and {} % (60 people)"}
    for test, words in cells.items():
        means = [f"{mean(row[metric] for row in rows[test]):.1f}" for metric in ("rank1", "mAP")]
        query, gallery = (split := rl.load(test)).query, split.gallery
        chances = []
        for pid, camid in zip(query.pids, query.camids, strict=True):
            right = (gallery.pids == pid) & (gallery.camids != camid)
            counted = right | ((gallery.pids != pid) & (gallery.pids != -1))
            chances.append(100 * right.sum() / counted.sum())
        chance = f"{np.mean([share for share in chances if share]):.1f}"
        assert words.format(*means) in readme
        assert f"By chance rank-1 would be {chance} %" in readme
    for name in ("market1501", "market1501_strong"):
        market = rl.read_csv(rl.project() / "results" / f"{name}.csv")
        rows = [chosen(market, "market", test, "all") for test in ("market", "cuhk01")]
        means = [f"{mean(row['rank1'] for row in at):.1f} / {mean(row['mAP'] for row in at):.1f}" for at in rows]
        assert f"| 128 × 64 | {' | '.join(means)} | [measured](results/{name}.csv), mean of three seeds |" in readme
        assert {len(at) for at in rows} == {3}
    longer = rl.read_csv(rl.project() / "results" / "market1501_longer_bnneck.csv")
    for feature in ("after", "before"):
        at = [[x for x in longer if (x["test"], x["feature"]) == (t, feature)] for t in ("market", "cuhk01")]
        scores = " | ".join(f"{row['rank1']:.1f} / {row['mAP']:.1f}" for (row,) in at)
        assert f"| 128 × 64 | {scores} | [measured](results/market1501_longer" in readme
    gained = [[x["mAP"] for x in longer if x["test"] == test] for test in ("market", "cuhk01")]
    words = [f"{before - after:+.1f}" for after, before in gained]
    assert f"mAP {words[0]} on Market-1501, {words[1]} on CUHK01" in readme
    kinds = [(name, feature) for name in ("market1501", "market1501_strong") for feature in ("after", "before")]
    for name, feature in kinds:
        searched = rl.read_csv(rl.project() / "results" / f"{name}_bnneck.csv")
        both = [[x for x in searched if (x["test"], x["feature"]) == (t, feature)] for t in ("market", "cuhk01")]
        means = [f"{mean(row['rank1'] for row in at):.1f} / {mean(row['mAP'] for row in at):.1f}" for at in both]
        assert f"| 128 × 64 | {' | '.join(means)} | [measured](results/market1501" in readme


@pytest.mark.parametrize("name", TABLES["toy", "toy-duke"])
def test_the_committed_rows_are_whole_lines_of_the_table_of_the_toys(name):
    """Ten seeds on both sets of all that `make table` makes, by one model and one version of the library."""
    model, least = TOYS[name]
    makefile = (rl.project() / "Makefile").read_text().replace("\\\n", " ")
    (words,) = re.findall(rf"-p tricks ((?:[^-\s]\S*\s+)+)[^\n]*--csv results/{name}", makefile)
    measured = set(words.split())
    assert measured >= least
    rows = rl.read_csv(rl.project() / "results" / name)
    sets = ("toy", "toy-duke")
    cells = [(row["dataset"], row["test"], row["tricks"], row["seed"]) for row in rows]
    assert sorted(cells) == sorted(itertools.product(sets, sets, measured, range(1, 11)))
    assert {row["model"] for row in rows} == {model}
    assert len({row["source"] for row in rows}) == 1


def test_another_recipe_is_a_line_of_the_real_table_and_not_comparable(tmp_path):
    (tmp_path / "published.csv").write_text((rl.project() / "results" / "published.csv").read_text())
    rows = runs((60.0, 40.0), weights="none", changed="weights=none")
    rows += runs((50.0, 30.0), weights="none", backbone="mobilenet_v2", changed="backbone=mobilenet_v2 weights=none")
    rl.write_csv(rows, tmp_path / "market_duke.csv")
    text = rl.results_tables(tmp_path)
    assert "**market and duke**, 2 rows of results/market_duke.csv" in text
    lines = [line for line in text.splitlines() if "weights=none" in line]
    assert len(lines) == 2
    assert all(line.startswith("| Bag of Tricks | market → market | yes | ") for line in lines)
    assert lines[1].endswith("not comparable: weights=none, 1 of 3 seeds |")
    assert text.count("reproduced") == 0


def test_runs_on_a_laptop_have_a_table_with_a_column_for_each_test_set(tmp_path):
    (tmp_path / "published.csv").write_text((rl.project() / "results" / "published.csv").read_text())
    rows = [row | {"preset": "laptop"} for row in runs((70.0, 50.0), (72.0, 52.0), (74.0, 51.0))]
    rows += [row | {"test": "cuhk01", "queries": 971, "rank1": 20.0} for row in rows]
    rl.write_csv(rows, tmp_path / "market1501.csv")
    lines = rl.results_tables(tmp_path).splitlines()
    assert lines[0].startswith("**Market-1501 without a GPU**, 6 rows")
    assert lines[2] == "| tricks | recipe | market | cuhk01 |"
    cells = "70.0 / 50.0 · 72.0 / 52.0 · 74.0 / 51.0; **72.0 ± 2.0 / 51.0 ± 1.0**"
    assert lines[4].startswith(f"| all | laptop | {cells} | 20.0 / 50.0 · ")
    assert len([line for line in lines if "laptop |" in line]) == 1, "and no line beside the reference's"


def test_a_readme_without_marks_is_an_error():
    with pytest.raises(ValueError, match="no pair of marks"):
        in_page("# reidlib\n", "tables")


def test_a_folder_without_runs_has_a_table_all_the_same(tmp_path):
    (tmp_path / "published.csv").write_text((rl.project() / "results" / "published.csv").read_text())
    assert rl.results_tables(tmp_path).count("not measured yet") == 2
