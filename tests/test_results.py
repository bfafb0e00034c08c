"""What a run leaves behind, and the rows made of many runs."""

import json
import resource
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib import provenance
from reidlib.provenance import code_of, source_digest
from reidlib.runs import measuring
from reidlib.runs.results import of_run, score_columns
from reidlib.train.rows import cost


@pytest.fixture
def run(crowd, tiny, tmp_path):
    rows = list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "runs" / "one"))
    return tmp_path / "runs" / "one", rows


def test_embeddings_are_used_again_until_the_weights_or_the_images_change(crowd, run, monkeypatch):
    folder, _ = run
    first = rl.measure(rl.restore(folder, device="cpu"), crowd, folder)
    embed = measuring.embed
    monkeypatch.setattr(measuring, "embed", lambda *args, **kwargs: pytest.fail("embedded again"))
    assert rl.measure(rl.restore(folder, device="cpu"), crowd, folder).mAP == first.mAP
    monkeypatch.setattr(measuring, "embed", lambda *args, **kwargs: calls.append(1) or embed(*args, **kwargs))
    calls = []
    rl.measure(rl.restore(folder, 2, device="cpu"), crowd, folder)
    assert len(calls) == 2, "other weights"
    crowd.query.file(0).write_bytes(crowd.query.file(1).read_bytes())
    rl.measure(rl.restore(folder, 2, device="cpu"), crowd, folder)
    assert len(calls) == 4, "other images"
    system = rl.restore(folder, 2, device="cpu")
    system.recipe = system.recipe.replace(height=64, width=32)
    rl.measure(system, crowd, folder)
    assert len(calls) == 6, "another size, which is in no weights"


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
    assert claim["source"] == result["environment"]["source"] == source_digest(*code_of(system))
    assert len(result["data"]) == 20
    assert (folder / "per_query-crowd.npz").is_file()


def test_runs_become_sorted_rows_that_survive_a_csv_file(crowd, tiny, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = rl.measure(system, crowd, folder)
    rl.write_result(folder, system, rows, {"b": scores, "a": scores}, flip=True)
    found = rl.collect(tmp_path / "runs")
    assert [row["test"] for row in found] == ["a", "b"]
    changed = "height=32 width=16 p=3 k=2 iterations=2 epochs=3 checkpoint_every=2"
    changed += f" backbone={tiny.backbone} precision=float32" if tiny.backbone != "resnet18" else " precision=float32"
    assert {(row["changed"], row["flip"], row["epochs"]) for row in found} == {(changed, "on", 3)}
    rl.write_csv(found, tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == found
    assert "toy -> a: rank-1" in rl.result_line(found[0])
    assert "re-ranking off" in rl.result_line(found[0])
    assert "(reference, all, seed 1, epoch 3" in rl.result_line(found[0])
    assert "(pcb, reference, all, seed 1" in rl.result_line(found[0] | {"model": "pcb"})


def test_each_number_stands_in_its_column(crowd, run):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    steps = np.linspace(0.5, 1.5, 40)
    q = np.stack([np.cos(steps), np.sin(steps)], 1).astype(np.float32)
    query = rl.Shots("q", folder, np.array([f"{i}" for i in range(40)]), np.arange(1, 41), np.ones(40, int))
    gallery = replace(query, paths=np.array([f"g{i}" for i in range(40)]), camids=np.full(40, 2))
    for file in (*query.files(), *gallery.files()):
        file.write_text(file.name)
    scores = rl.score(q, np.roll(q, 3, 0), query, gallery)
    assert len({scores.rank(k) for k in (1, 5, 10, 20)} | {scores.mAP, scores.mINP}) >= 4
    rows = [rows[-1] | {"epoch": n, "iteration": 10 * n, "world": n, "seconds": 1.11 * n, "images_per_s": 100.0 * n,
                        "peak_mb": 7.4 - n, "peak_gpu_mb": 5.4 + n} for n in (1, 2, 3)]  # fmt: skip
    result = rl.write_result(folder, system, rows, {"crowd": scores}, flip=True)
    (row,) = rl.collect(folder)
    percent = {f"rank{k}": scores.rank(k) for k in (1, 5, 10)} | {"mAP": scores.mAP, "mINP": scores.mINP}
    assert {name: row[name] for name in percent} == {name: round(100 * value, 2) for name, value in percent.items()}
    cost = {
        "epoch": 3,
        "iterations": 30,
        "world": 3,
        "seconds": 6.7,
        "images_per_s": 200.0,
        "peak_mb": 6,
        "peak_gpu_mb": 8,
    }
    assert {name: row[name] for name in cost} == cost
    assert (row["precision"], row["queries"], row["unmatched"], row["flip"]) == ("float32", 40, 0, "on")
    assert result["date"] == row["date"]


def test_what_an_epoch_took_is_told_in_seconds_and_as_shares_of_it():
    keeper = SimpleNamespace(spent=2.0)
    row = cost(100, 4.0, 1.0, keeper, torch.device("cpu"))
    assert [row[key] for key in ("seconds", "images_per_s", "waiting", "saving")] == [4.0, 25.0, 0.25, 0.5]
    assert (keeper.spent, row["peak_gpu_mb"]) == (0.0, 0.0), "each epoch has its own"
    assert row["peak_mb"] == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.1)


def test_a_row_has_the_precision_that_was_trained_in(crowd, tiny, tmp_path):
    system = rl.build(replace(tiny, precision="bf16"), crowd.train, "cpu")
    rows = list(rl.fit(system, crowd.train, tmp_path))
    rl.write_result(tmp_path, system, rows, {})
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["precision"], result["world"]) == ("bf16", 1)


@pytest.mark.parametrize("name", ["toy.csv", "rgb_infrared.csv"])
def test_rows_have_the_columns_of_the_committed_tables(crowd, crossed, run, tmp_path, name):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    sets = {"crowd": crowd} if name == "toy.csv" else {"toy-sysu": crossed}
    rl.write_result(folder, system, rows, rl.measure_all(system, sets, folder, 3))
    committed = rl.read_csv(rl.project() / "results" / name)
    assert list(rl.collect(folder)[0]) == list(committed[0])


def test_a_metric_of_the_users_own_is_a_column_beside_the_others(crowd, crossed, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = rl.measure_all(system, {"crowd": crowd, "toy-sysu": crossed}, folder, 3)
    metrics = {"worst_ap": lambda scores: np.nanmin(scores.ap), "rank3": lambda scores: scores.rank(3)}
    result = rl.write_result(folder, system, rows, scores, metrics=metrics)
    assert result["scores"]["crowd"]["rank3"] == round(100 * scores["crowd"].rank(3), 2)
    table = {row["test"]: row for row in rl.collect(tmp_path / "runs")}
    for name, value in scores.items():
        assert table[name]["worst_ap"] == round(100 * float(np.nanmin(value.ap)), 2)
        assert list(table[name]).index("queries") == list(table[name]).index("rank3") + 1
    rl.write_csv(list(table.values()), tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv")[0]["worst_ap"] == rl.collect(folder)[0]["worst_ap"]


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("nan", lambda scores: float("nan"), "metric 'nan' returned nan; return a fraction"),
        ("all", lambda scores: scores.ap, r"(?s)metric 'all' returned array\(.*; return a fraction"),
        ("none", lambda scores: None, "metric 'none' returned None"),
        ("mAP", lambda scores: 1.0, "metric 'mAP': a column of that name exists"),
        ("seed", lambda scores: 1.0, "metric 'seed': a column of that name exists"),
        ("changed", lambda scores: 1.0, "metric 'changed': a column of that name exists"),
    ],
)
def test_a_metric_that_cannot_be_a_column_is_refused_by_name(crowd, run, name, metric, message):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    with pytest.raises(ValueError, match=message):
        rl.write_result(folder, system, rows, {"crowd": rl.measure(system, crowd, folder)}, metrics={name: metric})
    assert not (folder / "result.json").exists()


def test_a_digest_that_looks_like_a_number_stays_a_text(tmp_path):
    rl.write_csv([{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}], tmp_path / "rows.csv")
    assert rl.read_csv(tmp_path / "rows.csv") == [{"data": "1e5", "source": "0012", "mAP": 50.25, "seed": 3}]


def rows_of_another(folder, rows, crowd, fields):
    """The rows of a run whose recipe has other fields."""
    system = rl.restore(folder, device="cpu")
    result = rl.write_result(folder, system, rows, {"crowd": rl.measure(system, crowd, folder)})
    (folder / "result.json").write_text(json.dumps(result | {"recipe": result["recipe"] | fields}))
    return rl.collect(folder)


def test_rows_name_no_folder_of_the_machine(crowd, run, tmp_path):
    folder, rows = run
    (row,) = rows_of_another(folder, rows, crowd, {"dataset": "/data/mine", "weights": "/data/net.pth"})
    assert (row["dataset"], row["weights"]) == ("mine", "net.pth")
    assert "/data" not in str(row)


def test_an_own_folder_named_like_a_built_in_set_is_not_taken_for_it(crowd, run):
    folder, rows = run
    assert rows_of_another(folder, rows, crowd, {"dataset": "/data/duke"})[0]["dataset"] == "own-duke"
    assert rows_of_another(folder, rows, crowd, {"dataset": "duke"})[0]["dataset"] == "duke"


def test_a_run_of_mixed_code_says_so_in_its_rows(crowd, tiny, tmp_path):
    system = rl.build(tiny, crowd.train, "cpu")
    here = source_digest(*code_of(system))
    next(rl.fit(system, crowd.train, tmp_path))
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"source": "0123456789ab"}))
    rows = list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))
    mixed = f"0123456789ab+{here}"
    assert json.loads(file.read_text())["source"] == mixed, "begun by one version, ended by another"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"source": "0123456789ab"}))
    assert len(list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))) == 3
    assert json.loads(file.read_text())["source"] == "0123456789ab", "nothing is left to train"
    system = rl.restore(tmp_path, device="cpu")
    rl.write_result(tmp_path, system, rows, {"crowd": rl.measure(system, crowd, tmp_path)})
    assert [row["source"] for row in rl.collect(tmp_path)] == [mixed], "trained by one version, tested by another"


def test_rows_of_another_study_name_the_code_that_trained_too(tmp_path):
    assert of_run(tmp_path, [{"source": "b"}]) == [{"source": "b"}], "nothing is known of the run"
    claim = {"recipe": rl.Recipe.for_dataset("toy").to_dict(), "source": "a"}
    (tmp_path / "recipe.json").write_text(json.dumps(claim))
    assert [row["source"] for row in of_run(tmp_path, [{"source": "b"}, {"source": "a"}])] == ["a+b", "a"]


def test_a_result_is_written_in_the_folder_of_its_own_run_only(crowd, tiny, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    scores = {"crowd": rl.measure(system, crowd, folder)}
    other = rl.Recipe.from_dict(tiny.to_dict() | {"seed": 2})
    next(rl.fit(rl.build(other, crowd.train, "cpu"), crowd.train, tmp_path / "other"))
    with pytest.raises(ValueError, match="holds another run: seed is 2 there and 1 here"):
        rl.write_result(tmp_path / "other", system, rows, scores)
    with pytest.raises(FileNotFoundError, match=r"no recipe\.json"):
        rl.write_result(tmp_path / "nowhere", system, rows, scores)
    system.feature = "before"
    with pytest.raises(ValueError, match="feature 'before'; the result of a run is that of feature 'after'"):
        rl.write_result(folder, system, rows, scores)


def test_another_scoring_has_a_file_of_its_own(crowd, run):
    folder, _ = run
    system = rl.restore(folder, device="cpu")
    rl.measure(system, crowd, folder)
    plain = (folder / "per_query-crowd.npz").read_bytes()
    rl.measure(system, crowd, folder, rerank=lambda q, g, keep: rl.rerank(q, g, k1=5, k2=2, keep=keep))
    rl.measure(system, crowd, folder, same_camera="keep", ties="optimistic")
    rl.measure(system, crowd, folder, same_camera="ignore", rerank=None)
    assert (folder / "per_query-crowd.npz").read_bytes() == plain
    kept = (folder / "embeddings" / "crowd.npz").read_bytes()
    system.feature = "before"
    rl.measure(system, crowd, folder)
    assert (folder / "per_query-crowd.npz").read_bytes() == plain
    assert (folder / "embeddings" / "crowd.npz").read_bytes() == kept
    names = {file.name for file in folder.glob("per_query-*")}
    assert names == {
        "per_query-crowd.npz", "per_query-crowd-reranked.npz", "per_query-crowd-same_camera=keep-ties=optimistic.npz",
        "per_query-crowd-before.npz",
    }  # fmt: skip


def test_a_set_whose_queries_are_its_gallery_is_measured_each_image_against_the_rest(crowd, run):
    folder, _ = run
    system, shots = rl.restore(folder, device="cpu"), crowd.gallery
    scores = rl.measure(system, rl.Split("rest", crowd.train, shots, shots), folder, same_camera="keep")
    emb = rl.embed(system, shots)
    for i in range(len(shots)):
        rest = np.arange(len(shots)) != i
        alone = rl.score(emb[[i]], emb[rest], shots[i], shots[rest], same_camera="keep")
        assert scores.ap[i] == alone.ap[0]


def test_a_damaged_result_is_named(crowd, run, tmp_path):
    (tmp_path / "runs" / "one" / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"one/result\.json cannot be read"):
        rl.collect(tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match=r"no such folder of runs: .*nowhere"):
        rl.collect(tmp_path / "runs", tmp_path / "nowhere")


def test_a_cell_is_a_number_only_if_it_is_written_as_one(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes("\ufeffdataset,who,a,b,c,d,e\n2024,1_000,nan,007,-3,1e-05,\n".encode())
    assert rl.read_csv(file) == [
        {"dataset": "2024", "who": "1_000", "a": "nan", "b": "007", "c": -3, "d": 1e-05, "e": ""}
    ]


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    assert rl.environment()["commit"] or not (rl.project() / ".git").exists()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "reidlib" / "provenance.py"))
    assert rl.environment()["commit"] == ""


def test_a_commit_has_a_plus_while_its_files_are_changed(tmp_path, monkeypatch):
    module = tmp_path / "reidlib" / "provenance.py"
    module.parent.mkdir()
    module.write_text("as committed\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.environment()["commit"] == head
    module.write_text("changed\n")
    assert provenance.environment()["commit"] == f"{head}+"


def test_no_rows_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match="has any run finished"):
        rl.write_csv(rl.collect(tmp_path), tmp_path / "rows.csv")


def test_a_partner_that_is_absent_is_named_and_skipped(tmp_path, monkeypatch):
    from reidlib import toy

    toy.draw(tmp_path / "toy", people=8)
    (tmp_path / "toy").rename(tmp_path / "Market-1501-v15.09.15")
    with pytest.warns(UserWarning, match="published"):
        splits, absent = rl.test_sets("market", root=tmp_path)
    assert list(splits) == ["market"]
    assert "duke: bounding_box_train not found" in absent["duke"]
    assert "cuhk01: campus not found" in absent["cuhk01"]


def test_market_is_tested_on_the_network_that_nobody_trains_on(crowd, monkeypatch):
    monkeypatch.setattr(measuring, "load", lambda name, place: replace(crowd, name=name))
    assert list(rl.test_sets("market")[0]) == ["market", "duke", "cuhk01"]
    assert list(rl.test_sets("toy-duke")[0]) == ["toy-duke", "toy"]


def test_a_model_of_joined_sets_is_tested_on_them_together_and_on_each(crowd, monkeypatch):
    monkeypatch.setattr(measuring, "load", lambda name, place: replace(crowd, name=name))
    splits, _ = rl.test_sets("market+cuhk03")
    assert list(splits) == ["market+cuhk03", "market", "cuhk03", "duke", "cuhk01"]
    assert len(splits["market+cuhk03"].train) == 2 * len(crowd.train)


def test_joined_sets_with_one_of_another_protocol_are_refused_before_a_training(crowd, monkeypatch, tmp_path):
    """Guards: SYSU-MM01 joined to another set was scored by Market's rule, with matches of the probe's own room."""
    monkeypatch.setattr(measuring, "load", lambda name, place: replace(crowd, name=name))
    with pytest.raises(ValueError, match=r"market\+sysu: SYSU-MM01 has a protocol of its own"):
        rl.test_sets("market+sysu")
    with pytest.raises(ValueError, match="SYSU-MM01 is tested by its own protocol"):
        rl.measure(None, replace(crowd, name="market+toy-sysu"), tmp_path)


def test_a_set_of_its_own_has_no_partner(crowd, tmp_path):
    splits, absent = rl.test_sets(str(tmp_path / "crowd"))
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


@pytest.fixture
def crossed(crowd, tmp_path):
    """The crowd of six as SYSU-MM01 would have it: queries of camera 3, a gallery of cameras 1 and 5."""
    train = replace(crowd.train, infrared_cameras=(2,))
    query = replace(crowd.query, camids=np.full(len(crowd.query), 3), infrared_cameras=(3, 6))
    gallery = replace(crowd.gallery, camids=np.where(crowd.gallery.camids == 1, 1, 5), infrared_cameras=(3, 6))
    return rl.Split("toy-sysu", train, query, gallery)


def test_sysu_is_tested_in_four_ways_and_every_row_says_how(crowd, crossed, run, tmp_path):
    folder, rows = run
    system = rl.restore(folder, device="cpu")
    found = rl.measure_all(system, {"toy-sysu": crossed, "crowd": crowd}, folder, 3)
    ways = [f"toy-sysu {search} {shot}" for search in ("all", "indoor") for shot in ("single", "multi")]
    assert list(found) == [*ways, "crowd"]
    assert (folder / "embeddings" / "toy-sysu-epoch0003.npz").is_file()
    rl.write_result(folder, system, rows, found)
    table = {row["test"]: row for row in rl.collect(tmp_path / "runs")}
    for way in ways:
        said = {key: table[way][key] for key in ("draw", "feature", "reranking", "flip", "queries")}
        assert said == {
            "draw": "seeded 0", "feature": "after the BNNeck", "reranking": "off", "flip": "off", "queries": 6
        }  # fmt: skip
        assert table[way]["rank1"] == round(100 * found[way].rank(1), 2) <= table[way]["rank20"]
        assert table[way]["mAP_sd"] == round(100 * found[way].spread("mAP"), 2)
    scores = found["toy-sysu all single"]
    other = score_columns(scores, replace(system.recipe, tricks="none", bnneck=False), flip=True)
    assert (other["feature"], other["flip"]) == ("pooled", "on")
    necked = rl.Recipe.for_dataset("toy-sysu", model="aligngan", bnneck=True)  # a neck for its triplets alone
    assert score_columns(scores, necked, flip=True)["feature"] == "pooled"
    rl.write_csv(list(table.values()), tmp_path / "rows.csv")
    assert {row["test"]: row["draw"] for row in rl.read_csv(tmp_path / "rows.csv")}["crowd"] == ""


def test_markets_rule_is_refused_for_sysu(crossed, run):
    folder, _ = run
    with pytest.raises(
        ValueError, match=r"toy-sysu: SYSU-MM01 is tested by its own protocol, .*rl.measure_all or rl.sysu.score"
    ):
        rl.measure(rl.restore(folder, device="cpu"), crossed, folder)
    with pytest.raises(ValueError, match="sysu: SYSU-MM01 is tested by its own protocol"):
        rl.open_run("sysu", "reference", "all", 1)


def test_a_partner_that_was_named_must_be_there_and_any_other_may_be_absent(crowd, monkeypatch):
    def load(name, place):
        if name == "duke":
            raise FileNotFoundError(f"duke is not under {place}")
        return replace(crowd, name=name)

    monkeypatch.setattr(measuring, "load", load)
    splits, absent = rl.test_sets("market", {"duke": None}, "all")
    assert (list(splits), absent) == (["market", "cuhk01"], {"duke": "duke is not under all"})
    with pytest.raises(FileNotFoundError, match="duke is not under nowhere"):
        rl.test_sets("market", {"duke": "nowhere"}, "all")
