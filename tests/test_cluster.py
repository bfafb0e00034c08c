"""A grid on a Ray cluster of two machines, played by two nodes with a folder each: results come home, none is lost."""

import contextlib
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import psutil
import pytest
from attempts import PATIENCE, is_gone, notes, wait_for

import reidlib as rl
from reidlib.runs import cluster, jobs
from reidlib.runs import grid as repeats
from reidlib.runs.jobs import grid

SMALL_STORE = 80 * 2**20  # bytes: the least that Ray takes
READY = 180  # seconds to wait for a node; Ray's 30 are too few for a slow machine
AGENTS = {  # their names for a node, and in the options of `ray start`
    "metrics_agent_port": "--dashboard-agent-grpc-port",
    "metrics_export_port": "--metrics-export-port",
    "dashboard_agent_listen_port": "--dashboard-agent-listen-port",
    "runtime_env_agent_port": "--runtime-env-agent-port",
}


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
    import ray

    wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 1)  # Ray notices a death some seconds later
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
    with pytest.raises(ImportError, match="pip install ray"):
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


# Slurm's srun: begins a command once for each task, each in a folder of its own as on machines of their own, small.
# Ray gives a node 30 s to begin, which a busy machine may exceed: ten tries.
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do
  case $1 in --ntasks=*) tasks=${1#*=} ;; -c | -w) shift ;; esac
  shift
done
for ((task = 0; task < tasks; task++)); do
  machine=machines/$(ls machines | wc -l)
  mkdir $machine
  (cd $machine && for try in {1..10}; do "$@" $(cat ../../options/${machine##*/}) && break; done) &> $machine/log &
done
wait
"""
# In place of a number of seconds: waits, the first time until the head has begun, the second until all three have.
SLEEP = """#!/bin/bash
echo >> sleeps
wanted=$(($(wc -l < sleeps) == 1 ? 1 : 3))
for ((i = 0; i < 3000; i++)); do
  /bin/sleep 0.2
  [[ $(grep -l "Ray runtime started" machines/*/log | wc -l) == $wanted ]] && break
done
"""


def slurm_script(notebook, words, port):
    """The script for Slurm of docs/running.md as it stands, but for the notebook, its parameters and the port."""
    (script,) = re.findall(
        r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", (rl.project() / "docs" / "running.md").read_text(), re.S
    )
    assert script.count("notebooks/03_train.ipynb ...") == 1
    script = script.replace("notebooks/03_train.ipynb ...", shlex.join([str(notebook), *words]))
    return script.replace("6379", str(port))


@contextlib.contextmanager
def running(script, folder, **environment):
    """A script in a session of its own, as Slurm runs it; in the end all that it began is ended, and is gone."""
    process = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=os.environ | environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        while mine := [one for one in psutil.process_iter() if folder_of(one).is_relative_to(folder)]:
            for one in mine:  # again, until none has begun another in the meantime
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            time.sleep(0.1)
        process.stdout.close()
        process.wait()


def folder_of(process):
    try:
        return Path(process.cwd())
    except (psutil.Error, OSError):
        return Path("/")


def test_the_readmes_script_for_slurm_begins_a_cluster_that_takes_its_own_driver_and_no_other(small, own, tmp_path):
    """Head, workers and driver are processes of their own, as in life: a token that one of them lacks is no use."""
    for folder in ("bin", "options", "machines"):
        (tmp_path / folder).mkdir()
    for name, text in (("srun", SRUN), ("sleep", SLEEP)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for i in range(3):
        ports = [f"{AGENTS[name]}={port}" for name, port in free_ports().items()]
        options = ["--num-cpus=1", f"--object-store-memory={SMALL_STORE}", *ports, *["--include-dashboard=false"][i:]]
        (tmp_path / "options" / str(i)).write_text(" ".join(options))
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    words = [word for name, value in (own | {"seed": 1}).items() for word in ("-p", name, str(value))]
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURMD_NODENAME": "localhost", "SLURM_CPUS_PER_TASK": "1", "PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    slurm |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent), "RAY_gcs_server_port_wait_time_s": "180"}
    script = slurm_script(small, [*words, "--runs", str(tmp_path / "home")], port)
    with running(script + "\necho ended with $?", tmp_path, **slurm) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("ended with"):
                break
        assert said[-1] == "ended with 0\n", "".join(said) + "".join(
            log.read_text() for log in tmp_path.glob("machines/*/log")
        )
        assert "Ray: 3 machines, {'num_cpus': 1} for each job\n" in said
        assert [row["seed"] for row in rl.collect(tmp_path / "home")] == [1]
        driver = [sys.executable, "-m", "reidlib.repeats", small, *words, "--ray", f"localhost:{port}"]
        stranger = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_NUM_REDIS_GET_RETRIES": "1"}
        stranger = os.environ | stranger
        done = subprocess.run(driver, env=stranger, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is its token another one? Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", [None, b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_is_not_rays_is_named_in_seconds(answer, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 1)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        if answer is not None:  # else it takes the connection and keeps silent
            pool.submit(lambda: server.accept()[0].sendall(answer))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address}.*the port of `ray start"):
            cluster._connect(address)
