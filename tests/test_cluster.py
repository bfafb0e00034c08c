"""A grid on a Ray cluster of two machines, played by two nodes with a folder each: results come home, none is lost."""

import os
import secrets
import time

import pytest

import reidlib as rl
from reidlib import cluster, repeats
from reidlib.jobs import grid

SMALL_STORE = 80 * 2**20  # bytes: the least that Ray takes


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A cluster of two nodes of one core each, working in the folders one and two; the second can be killed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
    import ray  # after the environment is set
    from ray.cluster_utils import Cluster

    made, found = Cluster(), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)  # as `ray start` would be called there
        found.append(made.add_node(num_cpus=1, object_store_memory=SMALL_STORE, include_dashboard=False))
    monkeypatch.chdir(tmp_path)
    yield made.address, lambda: made.remove_node(found[1], allow_graceful=False)
    ray.shutdown()
    made.shutdown()


def notes(folder):
    """What each attempt noted: (begin or end, seed, the folder it ran in)."""
    file = folder / "attempts.txt"
    return [tuple(line.split()[:3]) for line in file.read_text().splitlines()] if file.exists() else []


def on_second(folder):
    """Whether the second node is in the middle of a job."""
    words = [word for word, _, place in notes(folder) if place == str(folder / "two")]
    return words.count("begin") > words.count("end")


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def test_a_node_is_killed_and_every_job_comes_home(nodes, small, own, tmp_path):
    address, kill = nodes
    (tmp_path / "wait.txt").write_text("3")
    killed = []

    def say(line):
        print(line)
        if "done" in line and not killed and line.startswith("["):  # the first job is home: now, in the middle
            wait_for(lambda: on_second(tmp_path))
            kill()
            killed.append(line)

    outcomes = repeats.run(small, grid(**own, seed=[1, 2, 3, 4]), tmp_path / "home", ray=address, say=say)
    assert killed
    assert [outcome.error for outcome in outcomes] == [None] * 4
    rows = rl.collect(tmp_path / "home")
    assert [row["seed"] for row in rows] == [1, 2, 3, 4], "one row for every job"
    attempted = notes(tmp_path)
    assert {place for _, _, place in attempted} == {str(tmp_path / "one"), str(tmp_path / "two")}
    assert sum(word == "begin" for word, *_ in attempted) > sum(word == "end" for word, *_ in attempted)
    for outcome in outcomes:
        names = {file.name for file in outcome.folder.iterdir()}
        assert {"result.json", "recipe.json", "log.csv", "small.ipynb", "per_query-crowd.npz"} <= names
        assert "checkpoints" not in names, "large files stay where they were made"
    said = []
    assert not [
        o for o in repeats.run(small, grid(**own, seed=[1, 2]), tmp_path / "home", "auto", said.append) if o.error
    ]
    assert "2 of them done before" in said[-1]


def test_a_gpu_and_its_share_of_the_cores_for_each_job():
    assert cluster.share([{"CPU": 8}, {"CPU": 4}]) == {"num_cpus": 1}
    assert cluster.share([{"CPU": 4}, {"CPU": 64, "GPU": 4}, {"CPU": 48, "GPU": 8}]) == {"num_gpus": 1, "num_cpus": 6}
    assert cluster.share([{"CPU": 2, "GPU": 4}]) == {"num_gpus": 1, "num_cpus": 1}


def test_without_ray_the_remedy_is_named(small, own, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install reidlib\[cluster\]"):
        repeats.run(small, [own], tmp_path / "runs", ray="auto")


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [("127.0.0.1:9", ConnectionError, "no Ray cluster answers at 127.0.0.1:9"), ("here", ValueError, "HOST:PORT")],
)
def test_a_cluster_that_is_not_there_is_named_at_once(small, own, tmp_path, address, kind, message):
    with pytest.raises(kind, match=message):
        repeats.run(small, [own], tmp_path / "runs", ray=address)
    assert not (tmp_path / "runs").exists()


def test_another_version_on_a_node_is_named(small, own, tmp_path):
    from reidlib.jobs import plan

    error, files = cluster.on_node(small.read_text(), "small.ipynb", plan(small, [own])[0], "0123456789ab")
    assert "another version of reidlib" in error
    assert not files


def test_files_come_back_but_folders_and_hidden_files_do_not(small, own, tmp_path, monkeypatch):
    from reidlib.jobs import plan
    from reidlib.sources import source_digest

    monkeypatch.chdir(tmp_path)
    job = plan(small, [own | {"seed": 13}])[0]
    error, files = cluster.on_node(small.read_text(), "small.ipynb", job, source_digest())
    assert error == "is unlucky"
    assert list(files) == ["small.ipynb"], "a failed job's notebook comes home too"
    assert os.path.isdir(tmp_path / "runs" / job.name)
