"""A grid on a Ray cluster of two machines, played by two nodes with a folder each: results come home, none is lost."""

import contextlib
import os
import secrets
import socket
import time

import filelock
import pytest
from attempts import PATIENCE, is_gone, notes, wait_for

import reidlib as rl
from reidlib.runs import cluster, jobs
from reidlib.runs import grid as repeats
from reidlib.runs.jobs import grid

SMALL_STORE = 80 * 2**20  # bytes: the least that Ray takes
READY = 180  # seconds to wait for a node; Ray's 30 are too few for a slow machine
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def free_ports():
    """A port for each of a node's agents; one that Ray chooses must be known within 15 s, see ray-project/ray#65983."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("", 0))) for _ in AGENTS]
        return {name: one.getsockname()[1] for name, one in zip(AGENTS, taken, strict=True)}


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A cluster of two nodes of one core each, working in the folders one and two; the second can be killed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", str(READY))
    import ray  # after the environment is set
    from ray.cluster_utils import Cluster

    made, found = Cluster(), []
    try:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)  # as `ray start` would be called there
            given = dict(num_cpus=1, object_store_memory=SMALL_STORE, include_dashboard=False) | free_ports()
            found.append(made.add_node(wait=False, **given))
        made.wait_for_nodes(timeout=READY)
        monkeypatch.chdir(tmp_path)
        yield made.address, lambda: made.remove_node(found[1], allow_graceful=False)
    finally:
        ray.shutdown()
        made.shutdown()


def on_second(folder):
    """What the second node has noted."""
    return [note for note in notes(folder) if note.place == str(folder / "two")]


def test_a_node_is_killed_and_every_job_comes_home(nodes, small, own, tmp_path, monkeypatch):
    """Both nodes hold their first job until both have one; then the first goes on, and the second never does."""
    address, kill = nodes
    holds = [tmp_path / name / "hold" for name in ("one", "two")]
    for hold in holds:
        hold.touch()
    monkeypatch.setattr(cluster, "QUIET", 0.5)  # as long as nothing ends, a line is said this often
    said, deadline = [], time.monotonic() + PATIENCE

    def say(line):
        said.append(line)
        assert time.monotonic() < deadline, said
        if on_second(tmp_path):
            holds[0].unlink(missing_ok=True)
        if line.startswith("[1/4"):  # the first job is home, and the second node in the middle of another
            kill()

    outcomes = repeats.run_grid(small, grid(**own, seed=[1, 2, 3, 4]), tmp_path / "home", ray=address, say=say)
    (orphan,) = on_second(tmp_path)
    assert orphan.word == "begin", "killed before it came to its end"
    wait_for(lambda: is_gone(orphan.pid))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    rows = rl.collect(tmp_path / "home")
    assert [row["seed"] for row in rows] == [1, 2, 3, 4], "one row for every job"
    elsewhere = [note for note in notes(tmp_path) if note.place == str(tmp_path / "one")]
    assert [note.seed for note in elsewhere if note.word == "end"].count(orphan.seed) == 1
    assert len(elsewhere) == 2 * 4, "begun and ended on the other node"
    for outcome in outcomes:
        names = {file.name for file in outcome.folder.iterdir()}
        assert {"result.json", "recipe.json", "log.csv", "small.ipynb", "per_query-crowd.npz"} <= names
        assert "checkpoints" not in names, "large files stay where they were made"
    said = []
    again = repeats.run_grid(small, grid(**own, seed=[1, 2]), tmp_path / "home", "auto", said.append)
    assert [outcome.error for outcome in again] == [None, None]
    assert said[0].startswith("Ray: 1 machines"), "the dead one is not counted"
    assert "2 of them done before" in said[-1]


def test_a_gpu_and_its_share_of_the_cores_for_each_job():
    assert cluster.share([{"CPU": 8}, {"CPU": 4}]) == {"num_cpus": 1}
    assert cluster.share([{"CPU": 4}, {"CPU": 64, "GPU": 4}, {"CPU": 48, "GPU": 8}]) == {"num_gpus": 1, "num_cpus": 6}
    assert cluster.share([{"CPU": 2, "GPU": 4}]) == {"num_gpus": 1, "num_cpus": 1}


def test_without_ray_the_remedy_is_named(small, own, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install reidlib\[cluster\]"):
        repeats.run_grid(small, [own], tmp_path / "runs", ray="auto")


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [("127.0.0.1:9", ConnectionError, "no Ray cluster answers at 127.0.0.1:9"), ("here", ValueError, "HOST:PORT")],
)
def test_a_cluster_that_is_not_there_is_named_at_once(small, own, tmp_path, address, kind, message):
    with pytest.raises(kind, match=message):
        repeats.run_grid(small, [own], tmp_path / "runs", ray=address)
    assert not (tmp_path / "runs").exists()


def test_another_version_on_a_node_is_named(small, own, tmp_path):
    from reidlib.runs.jobs import plan

    error, files = cluster.on_node(small.read_text(), "small.ipynb", plan(small, [own])[0], "0123456789ab")
    assert "another version of reidlib" in error
    assert not files


def test_files_come_back_but_folders_and_hidden_files_do_not(small, own, tmp_path, monkeypatch):
    from reidlib.provenance import source_digest
    from reidlib.runs.jobs import plan

    monkeypatch.chdir(tmp_path)
    job = plan(small, [own | {"seed": 13}])[0]
    error, files = cluster.on_node(small.read_text(), "small.ipynb", job, source_digest())
    assert error == "is unlucky"
    assert list(files) == ["small.ipynb"], "a failed job's notebook comes home too"
    assert os.path.isdir(tmp_path / "runs" / job.name)


def test_what_somebody_trains_by_hand_on_a_node_stays_there(small, own, tmp_path, monkeypatch):
    from reidlib.provenance import source_digest
    from reidlib.runs.jobs import plan

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "LEFTOVER", 0.1)
    job = plan(small, [own])[0]
    folder = tmp_path / "runs" / job.name
    folder.mkdir(parents=True)
    (folder / "log.csv").touch()
    with filelock.FileLock(folder / ".lock"):
        error, files = cluster.on_node(small.read_text(), "small.ipynb", job, source_digest())
    assert "another process is training in this folder" in error
    assert not files
