"""What a run leaves behind, and the rows made of many runs."""

import json
from statistics import mean, stdev

import pytest

import reidlib as rl
from reidlib import results


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
    assert {"device", "python", "torch", "torchvision", "source"} <= set(result["environment"])
    assert len(result["data"]) == 20
    assert (folder / "per_query-crowd.npz").is_file()


def test_runs_become_sorted_rows_that_survive_a_csv_file(crowd, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = rl.measure(system, crowd, folder)
    rl.write_result(folder, system, rows, {"b": scores, "a": scores})
    found = rl.collect(tmp_path / "runs")
    assert [row["test"] for row in found] == ["a", "b"]
    rl.write_csv(found, tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == found
    assert "toy -> a: rank-1" in rl.result_line(found[0])
    assert "re-ranking off" in rl.result_line(found[0])


def test_the_readme_shows_what_the_committed_rows_say():
    rows = rl.read_csv(rl.project() / "results" / "toy.csv")
    text = (rl.project() / "README.md").read_text()
    for trained in ("toy", "toy-duke"):
        cells = []
        for tested in ("toy", "toy-duke"):
            found = [row for row in rows if (row["dataset"], row["test"]) == (trained, tested)]
            assert sorted(row["seed"] for row in found) == [1, 2, 3]
            columns = ([row[name] for row in found] for name in ("rank1", "mAP"))
            cells.append(" / ".join(f"{mean(column):.1f} ± {stdev(column):.1f}" for column in columns))
        assert f"| {trained} | {' | '.join(cells)} |" in text


def test_a_digest_that_looks_like_a_number_stays_a_text(tmp_path):
    rl.write_csv([{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}], tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == [{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}]


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
    recipe, found = rl.open_run("market", "reference", "all-erasing", 3)
    assert (recipe.height, found.name) == (256, "market-reference-all-erasing-seed3")
