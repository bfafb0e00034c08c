"""Repeats of a notebook: a grid of papermill runs, here or on a Ray cluster; run again, it goes on.

python -m reidlib.repeats notebooks/03_train.ipynb -p dataset toy toy-duke -p tricks all all-erasing -p seed 1 2 3
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock

from reidlib.files import project, write_csv
from reidlib.runs.command import stoppable, writable
from reidlib.runs.estimate import estimate
from reidlib.runs.jobs import Engine, Job, attempt, grid, plan, state, with_data
from reidlib.runs.parameters import given_values
from reidlib.runs.results import collect

RESULT = {"dataset", "test", "model", "seed", "rank1", "mAP"}  # columns that every table of results has


@dataclass(frozen=True)
class Outcome:
    """How a job ended: in which folder, and its last error line, None if it is done."""

    job: Job
    folder: Path
    error: str | None


def run_grid(
    notebook: str | Path, jobs: list[dict[str, Any]], runs: str | Path | None = None, ray: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Outcome]:  # fmt: skip
    """Run a notebook once for each job, and return how each ended, in order; run again, it does what is left.

    A job that is done is not run again, and one that was begun resumes. A folder of other code, data or weights is
    moved to `runs`/.stale. A job that fails does not stop the others. Two grids may share the folder: each job is run
    by one of them.

    Parameters
    ----------
    notebook, jobs : a notebook with a cell tagged parameters, and the parameters of each job, from `grid`
    runs : where each run has a folder, named by its recipe, with the executed notebook; default: the repository's runs/
    ray : the address of a Ray cluster, or "auto", to run jobs side by side, see `reidlib.cluster`; default: one by one
    say : what to do with a line of progress

    Raises
    ------
    ValueError, FileNotFoundError : a mistake in the parameters; missing data. Nothing has run then
    ImportError : papermill is not installed, or Ray where a cluster is asked for
    """
    if find_spec("papermill") is None:
        raise ImportError("a grid runs notebooks by papermill: pip install papermill jupyterlab")
    planned, base = with_data(plan(notebook, jobs), here=not ray), _base(runs)
    if ray:
        from reidlib.runs.cluster import engine

        carry_out = engine(notebook, base, ray, say)
    else:
        carry_out = _one_by_one(Path(notebook), base, say)
    done = sum(state(job, base / job.name) == "done" for job in planned)
    say(f"{len(planned)} jobs in {base}, {done} of them done before")
    return _run(planned, base, carry_out, say)


run = run_grid  # `reidlib.repeats.run`, for those who call it so


def _run(planned: list[Job], base: Path, carry_out: Engine, say: Callable[[str], None]) -> list[Outcome]:
    errors: dict[str, str | None] = {}
    locks: dict[str, filelock.BaseFileLock] = {}
    start = time.monotonic()
    try:
        for wait in (False, True):  # first what is free; then what another grid is running, if that leaves it undone
            left = [job for job in planned if job.name not in errors]
            for job, error in carry_out(_claim(left, base, locks, errors, wait)):
                errors[job.name] = error
                locks.pop(job.name).release()
                minutes = (time.monotonic() - start) / 60
                say(f"[{len(errors)}/{len(planned)}, {minutes:.1f} min] {job.name}: {error or 'done'}")
    finally:
        for lock in locks.values():  # of jobs that were interrupted; a notebook keeps this frame with the traceback
            lock.release()
    return [Outcome(job, base / job.name, errors[job.name]) for job in planned]


def _claim(
    jobs: list[Job], base: Path, locks: dict[str, filelock.BaseFileLock], errors: dict[str, str | None], wait: bool
) -> Iterator[Job]:
    """The jobs that are not done, each locked; `errors` notes those that are done, or that another grid has done."""
    shelf = base / ".locks"
    shelf.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        lock = filelock.FileLock(shelf / f"{job.name}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            continue
        if state(job, base / job.name) == "done":
            errors[job.name] = None
            lock.release()
        else:
            locks[job.name] = lock
            yield job


def _one_by_one(notebook: Path, base: Path, say: Callable[[str], None]) -> Engine:
    def carry_out(jobs: Iterable[Job]) -> Iterator[tuple[Job, str | None]]:
        for job in jobs:
            say(f"{job.name} ...")
            yield job, attempt(notebook, notebook.name, job, base / job.name)

    return carry_out


def main(arguments: list[str] | None = None) -> int:
    """Run a notebook once for every combination of the parameters; run again, it does what is left."""
    made = parser()
    given = made.parse_args(arguments)
    try:
        if given.csv:
            _refuse_csv(Path(given.csv))
        jobs = grid(**given_values(given.notebook, given.parameter))
        if given.dry_run:
            _preview(given.notebook, jobs, _base(given.runs))
            return 0
        outcomes = run_grid(given.notebook, jobs, given.runs, given.ray, lambda line: print(line, flush=True))
    except (ValueError, OSError, ImportError) as error:
        made.error(str(error))
    return _report(outcomes, Path(given.notebook).name, given.csv)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    made = argparse.ArgumentParser(prog="python -m reidlib.repeats", description=main.__doc__)
    made.add_argument("notebook", help="one with a cell tagged parameters that trains a model")
    made.add_argument(
        "-p", dest="parameter", nargs="+", action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebook and one or more values",
    )  # fmt: skip
    made.add_argument("--runs", metavar="FOLDER", help="where the folders of the runs are; runs/ of the repository")
    made.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster; auto finds one, or starts one here")
    made.add_argument("--csv", metavar="FILE", help="when all are done, write their results, one row a test set")
    made.add_argument("--dry-run", action="store_true", help="print the jobs and how long they will take, measured")
    return made


def _preview(notebook: str, jobs: list[dict], base: Path) -> None:
    planned = with_data(plan(notebook, jobs))
    states = {job.name: state(job, base / job.name) for job in planned}
    left = [job for job in planned if states[job.name] != "done"]
    seconds = estimate(left)
    wide = max(map(len, states))
    for name, now in states.items():
        print(f"{name:<{wide}}  {f'{seconds[name] / 60:5.1f} min' if name in seconds else ' ' * 9}  {now}")
    total = sum(seconds.values()) / 60
    print(f"{len(left)} of {len(planned)} jobs to run, about {total:.0f} minutes one after another on this machine")


def _refuse_csv(file: Path) -> None:
    """Refuse a table that could not be written after hours, or would replace another; makes its folder."""
    writable("--csv", file)
    header = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if file.exists() else ""
    if header and (lacks := sorted(RESULT - set(header.split(",")))):
        raise ValueError(f"--csv {file} exists and is no table of results (no column {lacks[0]}); choose another file")


def _report(outcomes: list[Outcome], notebook: str, csv: str | None) -> int:
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"failed: {outcome.job.name}\n    {outcome.error}\n    see {outcome.folder / notebook}")
    again = "; run again to try the others" if failed else ""
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} jobs are done{again}")
    if csv and not failed:
        shelf = outcomes[0].folder.parent / ".locks"
        with filelock.FileLock(shelf / "csv.lock"):  # grids that share the jobs end together
            write_csv(collect(*(outcome.folder for outcome in outcomes)), csv)
        print(f"{csv} is written")
    return 1 if failed else 0


def _base(runs: str | Path | None) -> Path:
    return Path(runs or project() / "runs").expanduser().resolve()


if __name__ == "__main__":
    sys.exit(stoppable(main))
