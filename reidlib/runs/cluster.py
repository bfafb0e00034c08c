"""The jobs of a grid side by side on a Ray cluster: one GPU each, begun again elsewhere when a worker or a host dies.

Each machine works in runs/ below the folder in which `ray start` was called there. The notebook travels to it by
value; the result, the log, the scores of every query and the executed notebook come back through Ray's object store.
No shared path is needed for that. What does need one is to go on with a half-done job on another machine, and to have
the checkpoints and embeddings in one place: call `ray start` in the same shared folder everywhere. Otherwise a job
whose host dies is begun anew, and checkpoints stay where they were made. reidlib and the data must be on every
machine: the same version, which is checked, and the data where $REID_DATA or `-p data_root` says.
"""

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from reidlib.files import write_whole
from reidlib.runs.jobs import Engine, Job, attempt, is_free, set_aside, state

RETRIES = 5  # of a job whose worker or host died; an error in the notebook is none of these
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of HTTP/2, which Ray speaks
ANSWER = 10  # seconds to wait for one
QUIET = 60  # seconds after which a line says that nothing has ended


def engine(notebook: str | Path, base: Path, address: str, say: Callable[[str], None]) -> Engine:
    """What carries out jobs on the cluster at `address` ("auto": the one that is found, else one on this machine).

    Returns a function from jobs to (job, its last error line or None), each when it has ended and its files are below
    `base`. Raises ImportError without Ray, ConnectionError if no cluster answers or it wants another token, ValueError
    for an invalid address.
    """
    import nbformat

    ray = _connect(address)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    resources = share(machines)
    say(f"Ray: {len(machines)} machines, {resources} for each job")
    remote = ray.remote(max_retries=RETRIES, **resources)(on_node)
    content = ray.put(nbformat.writes(nbformat.read(notebook, as_version=4)))
    name = Path(notebook).name

    def carry_out(jobs: Iterable[Job]) -> Iterator[tuple[Job, str | None]]:
        waiting = {remote.remote(content, name, job, job.source): job for job in jobs}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=QUIET)
            for reference in ended:
                job = waiting.pop(reference)
                yield job, _fetch(ray, reference, job, base / job.name)
            if not ended:
                say(f"{len(waiting)} jobs running or waiting, {ray.available_resources().get('CPU', 0):.0f} CPUs free")

    return carry_out


def share(machines: list[dict[str, float]]) -> dict[str, int]:
    """What one job asks of Ray: a GPU and its share of the cores of its machine, or a core if there is no GPU.

    machines: the resources of each. Ray gives a job as many threads as it asked for cores.
    """
    per_gpu = [machine.get("CPU", 1) // machine["GPU"] for machine in machines if machine.get("GPU")]
    return {"num_gpus": 1, "num_cpus": int(max(1, min(per_gpu)))} if per_gpu else {"num_cpus": 1}


def on_node(content: str, name: str, job: Job, source: str) -> tuple[str | None, dict[str, bytes]]:
    """Run a job on the machine that this is; returns its last error line, and the small files of its folder by name."""
    import nbformat

    if job.source != source:
        return f"{platform.node()} has another version of reidlib; install the same one on every machine", {}
    print(f"{job.name} begins on {platform.node()}", flush=True)  # Ray shows this where the grid was started
    folder = Path("runs", job.name).resolve()
    error = attempt(nbformat.reads(content, as_version=4), name, job, folder)
    kept = sorted(folder.glob("[!.]*")) if is_free(folder) else []  # what is still being written stays there
    return error, {file.name: file.read_bytes() for file in kept if file.is_file()}


def _connect(address: str) -> Any:
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # lines of two jobs look alike to Ray, and it would hold one back
    try:
        import ray
    except ImportError:
        raise ImportError("a grid on a cluster needs Ray: pip install ray") from None
    if address != "auto":
        _knock(address)
    if not ray.is_initialized():
        try:
            ray.init(None if address == "auto" else address, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConnectionError(
                f"Ray answers at {address} and refuses ({reason}); is its token another one? Set RAY_AUTH_MODE=token, "
                "and RAY_AUTH_TOKEN to the token that its `ray start --head` had"
            ) from None
    return ray


def _knock(address: str) -> None:
    """Raise ConnectionError if nothing answers, or something else than Ray: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"ray={address!r}; write auto, or HOST:PORT as `ray start` prints it")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER) as line:
            line.sendall(HELLO)
            answer = b"\x04" if os.environ.get("RAY_USE_TLS") else line.recv(9)[3:4]
    except OSError as error:
        answer, reason = b"", str(error)
    else:
        reason = "what answers is not Ray"
    if answer != b"\x04":  # the kind of frame that a server of HTTP/2 sends first
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({reason}); give the port of `ray start --head`, 6379 by default"
        )


def _fetch(ray: Any, reference: Any, job: Job, folder: Path) -> str | None:
    """Copy a job's files to this machine, the result last, so that it counts as done only when all are there."""
    try:
        error, files = ray.get(reference)
    except ray.exceptions.RayError as failure:  # too many retries, or a fault outside the notebook
        return str(failure).strip().splitlines()[-1]
    if files and state(job, folder).startswith("stale"):
        set_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == "result.json"):
        write_whole(folder / name, files[name])
    if error is None and (now := state(job, folder)) != "done":
        return f"the job ran to its end, but the files it left are not its result ({now})"
    return error
