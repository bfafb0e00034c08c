"""Repeats of a notebook: a grid of papermill runs, here or on a Ray cluster; run again, it goes on.

python -m reidlib.repeats notebooks/03_train.ipynb -p dataset toy toy-duke -p tricks all all-erasing -p seed 1 2 3
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from reidlib.files import project, write_csv
from reidlib.runs.estimate import estimate
from reidlib.runs.jobs import Job, attempt, grid, parameters_of, plan, state, with_data
from reidlib.runs.results import collect


@dataclass(frozen=True)
class Outcome:
    """How a job ended: in which folder, and its last error line, None where it is done."""

    job: Job
    folder: Path
    error: str | None


def run(
    notebook: str | Path,
    jobs: list[dict],
    runs: str | Path | None = None,
    ray: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Run a notebook once for each job (a dict of its parameters, see `grid`); returns how each ended, in order.

    Each run has a folder below `runs` (default: runs/ of the repository), named by its recipe, where the executed
    notebook is kept too. A job that is done is not run again; one that was begun goes on; what a folder holds of older
    code or other data is moved to `runs`/.stale. A job that fails does not stop the others. Two grids may share the
    folder: each job is run by one of them. One after another; `ray`: side by side on a cluster, see `cluster.py`.
    Raises ValueError for any mistake in the parameters and FileNotFoundError for missing data, before anything runs.
    """
    planned, base = with_data(plan(notebook, jobs), here=not ray), _base(runs)
    if ray:
        from reidlib.runs.cluster import engine

        carry_out = engine(notebook, base, ray, say)
    else:
        carry_out = _one_by_one(Path(notebook), base, say)
    done = sum(state(job, base / job.name) == "done" for job in planned)
    say(f"{len(planned)} jobs in {base}, {done} of them done before")
    return _run(planned, base, carry_out, say)


def _run(planned: list[Job], base: Path, carry_out, say) -> list[Outcome]:
    errors, locks, start = {}, {}, time.monotonic()
    for wait in (False, True):  # first what is free; then what another grid is running, if that one leaves it undone
        left = [job for job in planned if job.name not in errors]
        for job, error in carry_out(_claim(left, base, locks, errors, wait)):
            errors[job.name] = error
            locks.pop(job.name).release()
            minutes = (time.monotonic() - start) / 60
            say(f"[{len(errors)}/{len(planned)}, {minutes:.1f} min] {job.name}: {error or 'done'}")
    return [Outcome(job, base / job.name, errors[job.name]) for job in planned]


def _claim(jobs: list[Job], base: Path, locks: dict, errors: dict, wait: bool) -> Iterator[Job]:
    """The jobs that are not done, each locked; those that are done, or that another grid does meanwhile, are noted."""
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


def _one_by_one(notebook: Path, base: Path, say):
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
        jobs = grid(**_values(given.notebook, given.parameter))
        if given.dry_run:
            _preview(given.notebook, jobs, _base(given.runs))
            return 0
        outcomes = run(given.notebook, jobs, given.runs, given.ray, lambda line: print(line, flush=True))
    except (ValueError, FileNotFoundError, ImportError, ConnectionError) as error:
        made.error(str(error))
    return _report(outcomes, Path(given.notebook).name, given.csv)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    made = argparse.ArgumentParser(prog="python -m reidlib.repeats", description=main.__doc__)
    made.add_argument("notebook", help="such as notebooks/03_train.ipynb")
    made.add_argument(
        "-p", dest="parameter", nargs="+", action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebook and one or more values",
    )  # fmt: skip
    made.add_argument("--runs", metavar="FOLDER", help="where the folders of the runs are; runs/ of the repository")
    made.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster; auto finds one, or starts one here")
    made.add_argument("--csv", metavar="FILE", help="when all are done, write their results, one row a test set")
    made.add_argument("--dry-run", action="store_true", help="print the jobs and how long they will take, measured")
    return made


def _values(notebook: str, given: list[list[str]]) -> dict[str, list]:
    known, values = parameters_of(notebook), {}
    for name, *texts in given:
        if not texts or name in values:
            raise ValueError(f"-p {name}: {'given twice' if texts else 'no value'}; write -p {name} VALUE [VALUE ...]")
        kind = known[name]["inferred_type_name"] if name in known else "str"
        values[name] = [_value(name, text, kind) for text in texts]
    return values


def _value(name: str, text: str, kind: str):
    """A word of the command line as what the notebook's parameter is."""
    kinds = {"int": int, "float": float, "bool": {"True": True, "False": False}.__getitem__}
    try:
        return None if text == "None" else kinds.get(kind, str)(text)
    except (ValueError, KeyError):
        raise ValueError(f"-p {name} {text}: the notebook's {name} is of the type {kind}") from None


def _preview(notebook: str, jobs: list[dict], base: Path) -> None:
    planned = with_data(plan(notebook, jobs))
    states = {job.name: state(job, base / job.name) for job in planned}
    left = [job for job in planned if states[job.name] != "done"]
    seconds = estimate(left)
    wide = max(map(len, states))
    for name, found in states.items():
        print(f"{name:<{wide}}  {f'{seconds[name] / 60:5.1f} min' if name in seconds else ' ' * 9}  {found}")
    total = sum(seconds.values()) / 60
    print(f"{len(left)} of {len(planned)} jobs to run, about {total:.0f} minutes one after another on this machine")


def _report(outcomes: list[Outcome], notebook: str, csv: str | None) -> int:
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"failed: {outcome.job.name}\n    {outcome.error}\n    see {outcome.folder / notebook}")
    print(
        f"{len(outcomes) - len(failed)} of {len(outcomes)} jobs are done"
        + ("; run again to try the others" * bool(failed))
    )
    if csv and not failed:
        shelf = outcomes[0].folder.parent / ".locks"
        with filelock.FileLock(shelf / "csv.lock"):  # grids that share the jobs end together
            write_csv(collect(*(outcome.folder for outcome in outcomes)), csv)
        print(f"{csv} is written")
    return 1 if failed else 0


def _base(runs: str | Path | None) -> Path:
    return Path(runs or project() / "runs").expanduser().resolve()


if __name__ == "__main__":
    sys.exit(main())
