"""A grid of notebooks: what it plans, what counts as done, and that no job is lost or run twice."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import filelock
import nbformat
import papermill
import pytest
from attempts import is_gone, notes, seeds, wait_for

import reidlib as rl
from reidlib.provenance import data_digest, identity, source_digest
from reidlib.runs import cluster, estimate, jobs
from reidlib.runs import grid as repeats
from reidlib.runs.jobs import grid, plan, state, with_data
from reidlib.runs.parameters import fits, parameters_of

TRAIN = rl.project() / "notebooks" / "03_train.ipynb"


def test_a_grid_is_every_combination_in_order():
    found = grid(dataset=["toy", "toy-duke"], tricks="all", seed=range(1, 3))
    assert found == [
        {"dataset": "toy", "tricks": "all", "seed": 1},
        {"dataset": "toy", "tricks": "all", "seed": 2},
        {"dataset": "toy-duke", "tricks": "all", "seed": 1},
        {"dataset": "toy-duke", "tricks": "all", "seed": 2},
    ]


def test_one_recipe_under_two_words_is_one_job():
    words = ["none+warmup+erasing+smoothing+stride", "all", "all-bnneck", "none+bnneck+stride+smoothing+erasing+warmup"]
    assert [job["tricks"] for job in grid(tricks=words, seed=[1])] == words[:2]
    presets = grid(dataset="market", preset=["laptop", "strong"], tricks=["none", "all"])
    assert [(job["preset"], job["tricks"]) for job in presets] == [
        ("laptop", "none"),
        ("laptop", "all"),
        ("strong", "all"),
    ]
    assert len(grid(flip_test=[True, False])) == 2, "what is no part of the recipe still makes another job"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(seed=[]), "seed: an empty list"),
        (dict(tricks=["all-erasin"]), "no trick 'erasin'"),
        (dict(preset=["papper"]), "no preset 'papper'"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        grid(**values)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(sed=1), "has no parameter 'sed'; did you mean 'seed'"),
        (dict(seed="1"), "seed='1': the notebook's seed is of the type int"),
        (dict(seed=True), "seed=True"),
        (dict(flip_test=1), "flip_test=1"),
        (dict(run_dir="here"), "say where they are kept with runs"),
        (dict(epochs=0), "epochs=0"),
        (dict(tricks="al"), "tricks 'al' not understood"),
        (dict(backbone="resnet81"), "backbone='resnet81'; choose one of resnet18"),
        (dict(weights="imagenett"), "weights='imagenett'; write imagenet"),
        (
            dict(resume_test_epoch=15),
            "checkpoints are kept of every 10 epochs and of the last, 20",
        ),
        (dict(resume_test_epoch=30), "resume_test_epoch=30"),
        (dict(model="aligngan", dataset="toy"), "needs visible and infrared images"),
    ],
)
def test_a_mistyped_job_is_refused_before_anything_runs(parameters, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        repeats.run_grid(TRAIN, [{"dataset": "toy"}, parameters], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_notebook_that_is_missing_or_has_no_parameters_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebook"):
        plan(tmp_path / "04.ipynb", [])
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "empty.ipynb")
    with pytest.raises(ValueError, match="a cell tagged parameters"):
        plan(tmp_path / "empty.ipynb", [])


def test_the_chapter_of_parts_makes_a_grid_and_that_of_three_models_says_what_does():
    (job,) = plan(TRAIN.with_name("06_pcb.ipynb"), grid(dataset="toy", tricks="all-erasing", model="pcb"))
    assert (job.recipe.model, job.recipe.rpp, job.recipe.erasing) == ("pcb", False, 0)
    with pytest.raises(ValueError, match=r"07_rgb_infrared\.ipynb: a grid needs a notebook that trains one model"):
        plan(TRAIN.with_name("07_rgb_infrared.ipynb"), [{}])


def free_notebook(folder):
    text = 'dataset: str = "toy"\nanything = None\nrun_dir: str = None'
    cell = nbformat.v4.new_code_cell(text, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "free.ipynb")
    return folder / "free.ipynb"


def test_a_parameter_without_a_type_takes_any_value(tmp_path):
    known = parameters_of(free_notebook(tmp_path))
    assert all(fits(value, known["anything"].kind) for value in (1, "one", 1.5, True, None))
    assert not fits("one", "float")
    assert fits(1, "float")


def test_data_that_are_not_here_are_named_before_anything_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="market: bounding_box_train not found"):
        repeats.run_grid(TRAIN, grid(dataset="market", data_root=str(tmp_path), seed=[1, 2]), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_named_by_what_differs():
    names = [job.name for job in plan(TRAIN, grid(dataset="toy", seed=2, epochs=[None, 3], flip_test=[None, True]))]
    assert names == [
        "toy-reference-all-seed2",
        "toy-reference-all-seed2-flip_test=True",
        "toy-reference-all-seed2-epochs=3",
        "toy-reference-all-seed2-epochs=3-flip_test=True",
    ]


def test_two_data_sets_of_one_name_cannot_share_a_folder():
    with pytest.raises(ValueError, match="would share the folder crowd-reference"):
        plan(TRAIN, [{"dataset": "one/crowd"}, {"dataset": "two/crowd"}])
    with pytest.raises(ValueError, match="would share the folder toy-reference-all-seed1"):
        plan(TRAIN, grid(dataset="toy", data_root=["one", "two"]))


def test_two_values_of_one_spelling_cannot_share_a_folder(tmp_path):
    free = free_notebook(tmp_path)
    assert len(plan(free, [{"anything": "a b"}, {"anything": "a b"}])) == 1, "the same job twice is one"
    with pytest.raises(ValueError, match=r"'a b'.*'a/b'.*would share the folder toy-reference-all-seed1-anything=a_b"):
        plan(free, grid(anything=["a b", "a/b"]))


def test_where_data_lie_is_said_once_for_all():
    (job,) = plan(TRAIN, [{"dataset": "market", "data_root": "all", "duke_path": "there"}])
    assert job.places == ({"market": None, "duke": "there"}, "all")
    (job,) = plan(TRAIN, [{"dataset": "market", "data_root": "all", "market_path": "nearer"}])
    with pytest.raises(FileNotFoundError, match="not found under nearer"):
        with_data([job])


def test_a_set_is_read_once_for_all_its_jobs(own, monkeypatch):
    read = []
    monkeypatch.setattr(jobs, "test_sets", lambda *given: read.append(given) or rl.test_sets(*given))
    found = with_data(plan(TRAIN, grid(**own, seed=[1, 2, 3])))
    assert len(read) == 1
    split = rl.load(own["dataset"])
    assert all(job.data == data_digest(split.train) for job in found)
    assert all(job.tests == {"crowd": data_digest(split.query, split.gallery)} for job in found)


def test_a_grid_run_again_does_what_is_left(small, own, tmp_path):
    """A failed job keeps its notebook and stops no other; a done one is not run again, until its sources change."""
    todo, said = grid(**own, seed=[1, 13]), []
    outcomes = repeats.run_grid(small, todo, tmp_path / "runs", say=said.append)
    assert [outcome.error for outcome in outcomes] == [None, "is unlucky"]
    assert "is unlucky" in outcomes[1].folder.joinpath("small.ipynb").read_text()
    assert "[2/2" in " ".join(said)
    assert "is unlucky" in " ".join(said)
    assert {"result.json", "log.csv", "small.ipynb", "per_query-crowd.npz"} <= {
        file.name for file in outcomes[0].folder.iterdir()
    }
    assert seeds(tmp_path) == [1, 13]

    first = outcomes[0].folder / "recipe.json"
    older = json.loads(first.read_text()) | {"source": "0123456789ab"}
    first.write_text(json.dumps(older))
    (job,) = with_data(plan(small, todo[:1]))
    assert state(job, outcomes[0].folder) == "stale: other library sources"
    again = repeats.run_grid(small, todo, tmp_path / "runs", say=said.append)
    assert seeds(tmp_path) == [1, 1, 13, 13]
    assert [outcome.error for outcome in again] == [None, "is unlucky"]
    aside = tmp_path / "runs" / ".stale" / f"{job.name}-1"
    assert json.loads((aside / "recipe.json").read_text()) == older, "nothing is lost"
    scores = [json.loads((folder / "result.json").read_text())["scores"] for folder in (aside, outcomes[0].folder)]
    assert scores[0] == scores[1], "a repeated run gives the same scores"
    assert [row["seed"] for row in rl.collect(tmp_path / "runs")] == [1], "what was set aside is in no table"


def test_another_model_is_a_job_like_any_other(small, own, tmp_path):
    (outcome,) = repeats.run_grid(small, [own | {"model": "pcb", "tricks": "all-erasing"}], tmp_path / "runs")
    assert outcome.error is None
    (row,) = rl.collect(outcome.folder)
    assert (row["model"], row["tricks"], row["test"]) == ("pcb", "all-erasing", "crowd")
    assert row["source"] == outcome.job.source == source_digest("reidlib.systems.pcb") != source_digest()


def test_what_a_folder_holds_of_a_job(own, tmp_path):
    (job,) = with_data(plan(TRAIN, [own]))
    finish(job, tmp_path)
    assert state(job, tmp_path) == "done"
    assert state(job, tmp_path / "nowhere") == "new"
    assert state(plan(TRAIN, [own | {"epochs": 5}])[0], tmp_path) == "stale: other recipe"
    assert state(replace(job, data="0" * 20), tmp_path) == "stale: other training images"
    assert state(replace(job, data=None), tmp_path) == "done", "the images need not be on this machine"
    result = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(result | {"environment": {"source": "0123456789ab"}}))
    assert state(job, tmp_path) == "begun", "scored by other sources: scored again, not trained again"
    finish(replace(job, tests={"other": "0" * 20}), tmp_path)
    assert state(job, tmp_path) == "begun", "not tested yet on a set that is here"
    finish(replace(job, tests={"crowd": "0" * 20}), tmp_path)
    assert state(job, tmp_path) == "begun", "tested on other images: tested again, not trained again"
    (tmp_path / "result.json").unlink()
    assert state(job, tmp_path) == "begun"
    claim = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({key: claim[key] for key in claim if key != "source"}))
    assert state(job, tmp_path) == "stale: other library sources", "nobody knows which"


def test_changed_images_change_the_job(crowd, own):
    (before,) = with_data(plan(TRAIN, [own]))
    crowd.train.file(0).write_bytes(crowd.train.file(1).read_bytes())
    assert with_data([before])[0].data != before.data


def finish(job, folder):
    """Leave in a folder what a run of the job leaves there."""
    folder.mkdir(parents=True, exist_ok=True)
    common, source = identity(job.recipe, job.data), source_digest()
    (folder / "recipe.json").write_text(json.dumps(common | {"source": source}))
    result = common | {"environment": {"source": source}, "scores": {name: {} for name in job.tests}}
    result |= {"tests": dict(job.tests)}
    (folder / "result.json").write_text(json.dumps(result))


def test_what_another_grid_runs_is_waited_for_and_not_run_again(own, tmp_path, monkeypatch):
    one, two, three = with_data(plan(TRAIN, grid(**own, seed=[1, 2, 3])))
    (tmp_path / ".locks").mkdir()
    others = [filelock.FileLock(tmp_path / ".locks" / f"{job.name}.lock") for job in (one, two)]
    for lock in others:
        lock.acquire()
    ran = []

    def attempt(notebook, name, job, folder):
        ran.append(job.name)
        finish(job, folder)
        if job == three:  # meanwhile the other grid does one job, and fails at another
            finish(one, tmp_path / one.name)
            for lock in others:
                lock.release()

    monkeypatch.setattr(repeats, "attempt", attempt)
    outcomes = repeats.run_grid(TRAIN, grid(**own, seed=[1, 2, 3]), tmp_path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert ran == [three.name, two.name]


def test_a_folder_that_somebody_trains_in_is_one_failed_job(own, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "LEFTOVER", 0.1)
    monkeypatch.setattr(jobs, "_execute", lambda notebook, output, given: finish(planned[given["seed"]], output.parent))
    todo = grid(**own, seed=[1, 2])
    planned = {job.recipe.seed: job for job in with_data(plan(TRAIN, todo))}
    busy = tmp_path / planned[1].name
    finish(replace(planned[1], data="0" * 20), busy)  # stale, yet nobody's to move while it is written
    with filelock.FileLock(busy / ".lock"):
        outcomes = repeats.run_grid(TRAIN, todo, tmp_path)
    assert outcomes[0].error.startswith(f"{busy}: another process is training in this folder")
    assert outcomes[1].error is None
    assert not (tmp_path / ".stale").exists()
    assert [outcome.error for outcome in repeats.run_grid(TRAIN, todo, tmp_path)] == [None, None]


def test_only_the_kernels_of_a_grid_go_without_progress_bars(own, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: seen.append(os.environ["TQDM_DISABLE"]))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    repeats.run_grid(TRAIN, [own], tmp_path)
    assert "TQDM_DISABLE" not in os.environ
    monkeypatch.setenv("TQDM_DISABLE", "")
    repeats.run_grid(TRAIN, [own], tmp_path)
    assert os.environ["TQDM_DISABLE"] == ""
    assert seen == ["1", ""], "who wants bars has them"


def command(small, own, runs, *options):
    words = [word for name, value in own.items() for word in ("-p", name, str(value))]
    return [sys.executable, "-m", "reidlib.repeats", str(small), *words, "--runs", str(runs), *options]


def test_a_grid_that_is_killed_and_started_again_runs_no_job_twice(small, own, tmp_path):
    hold = tmp_path / "hold2"
    hold.touch()
    whole = command(small, own, tmp_path / "runs", "-p", "seed", "1", "2", "--csv", str(tmp_path / "rows.csv"))
    first = subprocess.Popen(whole, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: 2 in seeds(tmp_path) or first.poll() is not None)
        assert first.poll() is None, "it is in the middle of the second job"
    finally:
        first.kill()
        first.wait()
    (orphan,) = [note.pid for note in notes(tmp_path) if note.seed == 2]
    wait_for(lambda: is_gone(orphan))
    assert seeds(tmp_path, "end") == [1]
    hold.unlink()
    done = subprocess.run(whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 jobs" in done.stdout
    assert "1 of them done before" in done.stdout
    assert seeds(tmp_path, "end") == [1, 2], "each came to its end once"
    assert [row["seed"] for row in rl.read_csv(tmp_path / "rows.csv")] == [1, 2]


def test_the_command_line_says_what_is_wrong(small, own, tmp_path, capsys):
    for words, message in (
        (["-p", "sed", "1"], "has no parameter 'sed'; did you mean 'seed'"),
        (["-p", "seed", "one"], "-p seed one: the notebook's seed is of the type int"),
        (["-p", "flip_test", "yes"], "the type bool"),
        (["-p", "seed"], "-p seed: no value"),
        (["-p", "seed", "1", "-p", "seed", "2"], "-p seed: given twice"),
    ):
        with pytest.raises(SystemExit) as left:
            repeats.main([str(TRAIN), *words, "--runs", str(tmp_path / "runs")])
        assert left.value.code == 2
        assert message in capsys.readouterr().err
    words = command(small, own, tmp_path / "runs", "-p", "seed", "13", "--csv", str(tmp_path / "rows.csv"))[3:]
    assert repeats.main(words) == 1
    said = capsys.readouterr().out
    assert "is unlucky" in said
    assert "small.ipynb" in said
    assert "0 of 1 jobs are done; run again" in said
    assert not (tmp_path / "rows.csv").exists()


def test_a_dry_run_lists_the_jobs_and_measures_how_long_they_take(small, own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "STARTED", "pass")  # seconds of imports that every kernel of these tests takes anyway
    words = command(small, own, tmp_path / "runs", "-p", "seed", "1", "2", "--dry-run")[3:]
    assert repeats.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert all("min  new" in line for line in said[:2])
    assert "2 of 2 jobs to run, about" in said[2]
    assert not (tmp_path / "runs").exists()
    assert not notes(tmp_path)


@pytest.mark.parametrize("model", ["bot", "pcb", "aligngan"])
def test_a_short_run_of_every_model_is_measured(model, monkeypatch):
    if model != "bot":  # a process that imports the library takes the same for each
        monkeypatch.setattr(estimate, "STARTED", "pass")
    tricks = "all+rpp" if model == "pcb" else "all"
    recipe = rl.Recipe.for_dataset("toy-sysu", model=model, tricks=tricks, backbone="slim")
    steps, *_ = estimate.measured(recipe, rl.load("toy-sysu"))
    assert len(steps) == (3 if model == "aligngan" else 1)
    assert all(step > 0 for step in steps)


def test_each_phase_is_charged_what_it_takes(monkeypatch):
    recipe = rl.Recipe.for_dataset("toy-sysu", model="aligngan")
    (job,) = plan(TRAIN, [{"dataset": "toy-sysu", "model": "aligngan"}])
    free = replace(recipe, phases=(recipe.epochs - 2, 1))
    steps = (1.0, 100.0, 10000.0)
    monkeypatch.setattr(estimate, "measured", lambda recipe, split: (steps, 0.0, 0.0))
    (seconds,) = estimate.estimate([replace(job, recipe=free)]).values()
    assert seconds == free.iterations * ((free.epochs - 2) * 1 + 100 + 10000)


def test_what_only_one_model_has_is_measured_for_itself(monkeypatch):
    jobs = plan(TRAIN, [{"dataset": "toy-sysu", "model": "aligngan", "tricks": x} for x in ("all", "all-pixels")])
    jobs += plan(TRAIN, [{"dataset": "toy-sysu", "model": "aligngan", "seed": 2}])
    asked = []
    monkeypatch.setattr(estimate, "measured", lambda recipe, _: asked.append(recipe.tricks) or ([1.0] * 3, 0.0, 0.0))
    monkeypatch.setattr(type(jobs[0].recipe), "phase_lengths", (1, 1, 1))
    assert len(estimate.estimate(jobs)) == 3
    assert asked == ["all", "all-pixels"]


def test_an_interrupted_grid_runs_again_where_the_traceback_is_kept(small, own, tmp_path, monkeypatch):
    """As in a notebook, whose last traceback holds the frame of the grid and its locks."""
    names = []

    def attempt(notebook, name, job, folder):
        names.append(name)
        if len(names) == 1:
            raise KeyboardInterrupt
        return "no training here"

    monkeypatch.setattr(repeats, "attempt", attempt)
    jobs = [own | {"seed": seed} for seed in (1, 2)]
    with pytest.raises(KeyboardInterrupt) as kept:
        repeats.run_grid(small, jobs, tmp_path / "runs")
    assert [outcome.error for outcome in repeats.run_grid(small, jobs, tmp_path / "runs")] == ["no training here"] * 2
    assert kept.traceback


def test_an_estimate_counts_steps_images_and_starts(small, own, monkeypatch):
    monkeypatch.setattr(estimate, "measured", lambda recipe, split: ((10.0,), 1.0, 0.5))
    found = estimate.estimate(plan(small, [own, own | {"epochs": 4}]))
    assert list(found.values()) == [0.5 + 2 * 2 * 10 + 18, 0.5 + 4 * 2 * 10 + 18]


def test_the_real_chapter_runs_as_a_job(own, tmp_path):
    (outcome,) = repeats.run_grid(TRAIN, [own], tmp_path / "runs")
    assert outcome.error is None
    executed = nbformat.read(outcome.folder / "03_train.ipynb", as_version=4)
    assert "injected-parameters" in str(executed.cells)
    assert rl.collect(outcome.folder)[0]["changed"].startswith("height=32 width=16")


def test_a_machine_of_a_cluster_needs_the_sources_of_the_jobs_own_model(own):
    (job,) = plan(TRAIN, [own | {"model": "pcb"}])
    error, files = cluster.on_node("", "03_train.ipynb", job, source_digest())
    assert "has another version of reidlib" in error
    assert not files


def test_what_a_cluster_brings_home_must_be_the_jobs_result(own, tmp_path):
    (job,) = with_data(plan(TRAIN, [own]))
    finish(job, tmp_path / "there")
    files = {file.name: file.read_bytes() for file in (tmp_path / "there").iterdir()}
    ray = SimpleNamespace(get=lambda brought: (None, brought), exceptions=SimpleNamespace(RayError=RuntimeError))
    assert cluster._fetch(ray, files, job, tmp_path / "home") is None
    other = replace(job, data="0" * 20)
    assert "are not its result (stale: other training images)" in cluster._fetch(ray, files, other, tmp_path / "else")
