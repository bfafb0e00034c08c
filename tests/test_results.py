"""What a run leaves behind, and the rows made of many runs."""

import json

import pytest

import reidlib as rl
from reidlib import results
from reidlib.sources import source_digest


@pytest.fixture
def run(crowd, tiny, tmp_path):
    rows = list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "runs" / "one"))
    return tmp_path / "runs" / "one", rows


def test_embeddings_are_used_again_until_the_weights_or_the_images_change(crowd, run, monkeypatch):
    folder, _ = run
    first = rl.measure(rl.restore(folder, device="cpu"), crowd, folder)
    embed = results.embed
    monkeypatch.setattr(results, "embed", lambda *args, **kwargs: pytest.fail("embedded again"))
    assert rl.measure(rl.restore(folder, device="cpu"), crowd, folder).mAP == first.mAP
    monkeypatch.setattr(results, "embed", lambda *args, **kwargs: calls.append(1) or embed(*args, **kwargs))
    calls = []
    rl.measure(rl.restore(folder, 2, device="cpu"), crowd, folder)
    assert len(calls) == 2, "other weights"
    crowd.query.file(0).write_bytes(crowd.query.file(1).read_bytes())
    rl.measure(rl.restore(folder, 2, device="cpu"), crowd, folder)
    assert len(calls) == 4, "other images"


def test_a_result_says_what_made_it(crowd, run):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = rl.measure(system, crowd, folder)
    rl.write_result(folder, system, rows, {"crowd": scores})
    result = json.loads((folder / "result.json").read_text())
    assert rl.Recipe.from_dict(result["recipe"]) == system.recipe
    assert (result["epoch"], result["iterations"], result["precision"]) == (3, 6, "float32")
    assert result["scores"]["crowd"]["mAP"] == round(100 * scores.mAP, 2)
    assert result["scores"]["crowd"]["reranking"] == "off"
    assert {"device", "python", "torch", "torchvision", "source", "commit"} <= set(result["environment"])
    claim = json.loads((folder / "recipe.json").read_text())
    assert claim["system"] == "reidlib.systems.bag_of_tricks"
    assert claim["source"] == result["environment"]["source"] == source_digest()
    assert len(result["data"]) == 20
    assert (folder / "per_query-crowd.npz").is_file()


def test_runs_become_sorted_rows_that_survive_a_csv_file(crowd, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = rl.measure(system, crowd, folder)
    rl.write_result(folder, system, rows, {"b": scores, "a": scores}, flip=True)
    found = rl.collect(tmp_path / "runs")
    assert [row["test"] for row in found] == ["a", "b"]
    changed = "height=32 width=16 p=3 k=2 iterations=2 epochs=3 checkpoint_every=2 precision=float32"
    assert {(row["changed"], row["flip"], row["epochs"]) for row in found} == {(changed, "on", 3)}
    rl.write_csv(found, tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == found
    assert "toy -> a: rank-1" in rl.result_line(found[0])
    assert "re-ranking off" in rl.result_line(found[0])


def test_a_digest_that_looks_like_a_number_stays_a_text(tmp_path):
    rl.write_csv([{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}], tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == [{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}]


def test_rows_name_no_folder_of_the_machine(crowd, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    system.recipe = rl.Recipe.from_dict(system.recipe.to_dict() | {"dataset": "/data/mine", "weights": "/data/net.pth"})
    rl.write_result(folder, system, rows, {"mine": rl.measure(system, crowd, folder)})
    (row,) = rl.collect(folder)
    assert (row["dataset"], row["weights"]) == ("mine", "net.pth")
    assert "/data" not in str(row)


def test_who_began_a_run_is_kept_when_it_goes_on(crowd, tiny, tmp_path):
    next(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"source": "0123456789ab"}))
    list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))
    assert json.loads(file.read_text())["source"] == "0123456789ab"


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    assert rl.environment()["commit"] or not (rl.project() / ".git").exists()
    monkeypatch.setattr(results, "__file__", str(tmp_path / "reidlib" / "results.py"))
    assert rl.environment()["commit"] == ""


def test_no_rows_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match="has any run finished"):
        rl.write_csv(rl.collect(tmp_path), tmp_path / "rows.csv")


def test_a_partner_that_is_absent_is_named_and_skipped(tmp_path, monkeypatch):
    from reidlib import toy

    toy.draw(tmp_path / "toy", people=8)
    (tmp_path / "toy").rename(tmp_path / "Market-1501-v15.09.15")
    with pytest.warns(UserWarning, match="published"):
        splits, absent = rl.targets("market", root=tmp_path)
    assert list(splits) == ["market"]
    assert "duke: bounding_box_train not found" in absent["duke"]


def test_a_set_of_its_own_has_no_partner(crowd, tmp_path):
    splits, absent = rl.targets(str(tmp_path / "crowd"))
    assert list(splits) == ["crowd"]
    assert not absent


def test_the_run_that_a_folder_holds_is_opened_whatever_else_is_asked(crowd, run):
    folder, _ = run
    recipe, found = rl.open_run("market", "reference", "all", 1, folder)
    assert (recipe.height, found) == (32, folder)
    recipe, found = rl.open_run("market", "reference", "all", 1, model="pcb")
    assert (recipe.height, found.name) == (384, "market-pcb-reference-all-seed1")
    recipe, found = rl.open_run("market", "reference", "all-erasing", 3)
    assert (recipe.height, found.name) == (256, "market-reference-all-erasing-seed3")
