"""Queries of a drawn crowd, drawn again in the open and behind something, and what is made of them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import reidlib as rl
from reidlib.studies import hidden
from reidlib.studies.trainings import others
from reidlib.toy import sets


def pictures(shots):
    files = shots.files()
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((32, 64)), np.int16) for file in files])


def test_only_what_stands_in_front_differs(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DATA", str(tmp_path))
    monkeypatch.setattr(sets, "SIZES", dict.fromkeys(sets.SIZES, 10))
    clear, behind = hidden.queries("toy").values()
    assert np.array_equal(clear.pids, behind.pids)
    assert np.array_equal(clear.camids, behind.camids)
    changed = np.abs(pictures(clear) - pictures(behind)).max(3) > 30  # (Q, 64, 32)
    assert (changed.mean((1, 2)) > 0.02).all(), "something stands before each"
    assert changed.mean() < 0.5, "and the rest is the same picture"


def test_a_set_without_the_knob_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="the network sysu has no knob hidden_query"):
        hidden.queries("toy-sysu")


def test_the_rows_are_scores_of_the_models_own_test(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu")
    wrong = replace(crowd.query, paths=crowd.query.paths[::-1])  # pictures of others, the same labels
    plain, other = hidden.rows(system, crowd, {"open": crowd.query, "hidden": wrong})
    expected = rl.score(rl.embed(system, crowd.query), rl.embed(system, crowd.gallery), crowd.query, crowd.gallery)
    assert plain["mAP"] == round(100 * expected.mAP, 2)
    assert list(plain) == list(rl.read_csv(rl.project() / "results" / "toy_hidden.csv")[0])
    assert other["mAP"] != plain["mAP"]
    assert (plain["queries"], plain["flip"], plain["seed"]) == ("open", "off", 1)


def test_a_run_that_is_missing_shortens_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(hidden, "run_folder", lambda recipe: tmp_path / recipe.name())
    monkeypatch.setattr(hidden, "project", lambda: tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"no result of toy-reference-all-seed1, .*50 in all.*; run make table first"
    ):
        hidden.main("toy")
    assert not list(tmp_path.iterdir())


def test_a_part_of_a_table_leaves_the_rows_of_other_sets_alone(tmp_path):
    """Guards: hours of trainings that a run of one data set wipes out of a table."""
    rl.write_csv([{"dataset": name, "mAP": 1.5} for name in ("toy", "toy-duke", "toy")], tmp_path / "t.csv")
    assert others(tmp_path / "t.csv", ["toy"]) == [{"dataset": "toy-duke", "mAP": 1.5}]
    assert others(tmp_path / "t.csv", ()) == others(tmp_path / "none.csv", ["toy"]) == []


def test_the_lead_is_taken_seed_by_seed_and_six_comparisons_are_allowed_for():
    places = {"open": 10, "hidden": 4}
    table = [
        dict(
            dataset="toy",
            model=model,
            tricks=tricks,
            seed=seed,
            queries=where,
            mAP=base + seed + (model == "pcb") * ahead,
        )
        for model in ("bot", "pcb")
        for tricks, ahead in (("all", 2), ("all-erasing", 5))
        for where, base in places.items()
        for seed in (1, 2, 3)
    ]
    found = hidden.leads(table)
    assert [gain.mean for gain in found] == [2, 2, 0, 5, 5, 0]
    assert {(gain.of, gain.low == gain.mean) for gain in found} == {(6, True)}
    with pytest.raises(ValueError, match="bot, all, toy, open: seed 1 occurs twice"):
        hidden.leads([*table, table[0]])
    assert [gain.of for gain in hidden.leads(rl.read_csv(rl.project() / "results" / "toy_hidden.csv"))] == [6] * 6
