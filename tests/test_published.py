"""The published table beside the measured rows."""

import itertools
import re
from statistics import mean

import pytest

import reidlib as rl
from reidlib.studies.published import TABLES, in_readme, spread
from reidlib.systems.backbones import trunk
from reidlib.systems.pcb import PCB

PUBLISHED = rl.read_csv(rl.project() / "results" / "published.csv")
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


def test_means_within_the_tolerance_are_reproduced():
    assert line(runs((94.0, 85.6), (94.4, 85.9), (94.1, 85.7))).verdict == "reproduced"
    edge = mean((93.9, 94.4, 94.2)) + 1.0, mean((85.8, 85.8, 85.9)) - 0.5
    assert line(runs(edge, edge, edge)).verdict == "reproduced"


def test_means_outside_say_by_how_much():
    assert line(runs((94.2, 85.0), (94.2, 85.2), (94.1, 85.1))).verdict == "differs by +0.0 rank-1, -0.7 mAP"
    assert line(runs((92.2, 85.8), (92.2, 85.8), (92.2, 85.8))).verdict == "differs by -2.0 rank-1, -0.0 mAP"


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
    found = line(runs((94.2, 85.8), (94.2, 85.8), (94.2, 85.8), **other))
    assert (found.recipe, found.verdict) == ("", "reproduced")


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


def test_two_seeds_are_too_few_however_often_they_run():
    rows = runs((94.2, 85.8), (94.2, 85.8))
    assert line([*rows, *rows]).verdict == "not comparable: 2 of 3 seeds"


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
    assert [entry.verdict for entry in found[1:]] == ["reproduced", ""], "nothing was published for the last"
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


def test_rows_that_name_no_model_are_of_the_bag_of_tricks():
    rows = [{key: value for key, value in row.items() if key != "model"} for row in runs((94.2, 85.8))]
    assert [entry.model for entry in rl.compare_published(rows, PUBLISHED, SETS) if entry.rows] == ["bot"]


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


def test_every_published_number_has_a_source():
    assert all(row["who"] in ("reference", "paper") and row["repository"] and row["where"] for row in PUBLISHED)
    noted = {(row["model"], row["dataset"], row["tricks"]): row for row in PUBLISHED if row["note"]}
    slips = [
        (noted[key]["rank1"], noted[key]["mAP"]) for key in (("bot", "duke", "all"), ("pcb", "duke", "all-erasing"))
    ]
    assert slips == [(86.2, 75.9), (81.9, 65.3)], "the slips are named, and not copied"
    assert 64.2 not in {row["rank1"] for row in PUBLISHED}


def test_every_number_of_the_papers_pcb_says_which_feature_it_is_of():
    rows = [row for row in PUBLISHED if (row["who"], row["model"]) == ("paper", "pcb")]
    assert len({(row["dataset"], row["tricks"]) for row in rows}) == len(rows) == 4, "one a cell: they are averaged"
    assert all("feature" in row["note"] and f"{row['rank1']} ({row['mAP']})" in row["note"] for row in rows)
    market = {row["tricks"]: (row["rank1"], row["mAP"]) for row in rows if row["dataset"] == "market"}
    assert PCB.feature == "G"
    assert market == {"all-erasing": (92.3, 77.4), "all-erasing+rpp": (93.8, 81.6)}, "those of G"


def test_the_readme_shows_what_the_committed_rows_say():
    text = (rl.project() / "README.md").read_text()
    assert in_readme(text, rl.results_tables()) == text, "run python -m reidlib.studies.published"


@pytest.mark.parametrize("name", TABLES["toy", "toy-duke"])
def test_the_committed_rows_are_whole_lines_of_the_table_of_the_toys(name):
    """Three seeds on both sets of all that `make table` makes, by one model and one version of the library."""
    model, least = TOYS[name]
    makefile = (rl.project() / "Makefile").read_text().replace("\\\n", " ")
    (words,) = re.findall(rf"-p tricks ((?:[^-\s]\S*\s+)+)[^\n]*--csv results/{name}", makefile)
    measured = set(words.split())
    assert measured >= least
    rows = rl.read_csv(rl.project() / "results" / name)
    sets = ("toy", "toy-duke")
    cells = [(row["dataset"], row["test"], row["tricks"], row["seed"]) for row in rows]
    assert sorted(cells) == sorted(itertools.product(sets, sets, measured, (1, 2, 3)))
    assert {row["model"] for row in rows} == {model}
    assert len({row["source"] for row in rows}) == 1


def test_runs_from_scratch_are_lines_of_the_real_table(tmp_path):
    """What benchmarks/market1501.py writes is shown, and is not comparable."""
    (tmp_path / "published.csv").write_text((rl.project() / "results" / "published.csv").read_text())
    rows = runs((60.0, 40.0), weights="none", changed="weights=none")
    rows += runs((50.0, 30.0), weights="none", backbone="mobilenet_v2", changed="backbone=mobilenet_v2 weights=none")
    rl.write_csv(rows, tmp_path / "market1501.csv")
    text = rl.results_tables(tmp_path)
    assert "**market and duke**, 2 rows of results/market1501.csv" in text
    lines = [line for line in text.splitlines() if "weights=none" in line]
    assert len(lines) == 2
    assert all(line.startswith("| Bag of Tricks | market → market | yes | ") for line in lines)
    assert lines[1].endswith("not comparable: weights=none, 1 of 3 seeds |")
    assert text.count("reproduced") == 0


def test_a_readme_without_marks_is_an_error():
    with pytest.raises(ValueError, match="no pair of marks"):
        in_readme("# reidlib\n", "tables")


def test_a_folder_without_runs_has_a_table_all_the_same(tmp_path):
    (tmp_path / "published.csv").write_text((rl.project() / "results" / "published.csv").read_text())
    assert rl.results_tables(tmp_path).count("not measured yet") == 2
