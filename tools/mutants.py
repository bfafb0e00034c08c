"""Change the library in one place at a time and see whether a test fails: `make mutants`.

The changes are those of mutmut (a number + 1, < for <=, an argument left out, None in place of a value, a condition
turned round), applied to whole files, so that defaults and class bodies change too, which mutmut's own command leaves
alone. Annotations, imports, decorators, messages and other texts of several words stay.

Each change is tried in a process of its own, in a copy of the working tree under build/mutants, by the tests that
[tool.mutants] of pyproject.toml names for its module, the fastest first. The verdicts are kept in
build/mutants/verdicts.jsonl: a run that was stopped goes on where it was. What was killed is tried again when its
module has changed, what survived also when its tests have; after `make clean` all is tried. tools/equivalent.tsv lists
changes that alter no result, or none on a CPU: the module, the line before and after, the reason.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from itertools import islice
from pathlib import Path

import hypothesis  # noqa: F401  # imported once, before the forks, like the other large packages
import libcst as cst
import matplotlib.pyplot  # noqa: F401
import nbformat  # noqa: F401
import pytest
import scipy.sparse  # noqa: F401
import torch
import torchvision  # noqa: F401
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "mutants"
TESTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutants"]
SILENT = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.Raise)
VERDICTS = {0: "survived", None: "too long"}  # of pytest's exit code; any other: killed


def digest(*contents):
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


class Changes(cst.CSTVisitor):
    """Collects every change of a file as (line, node, node in its place)."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self):
        self.found = []

    def on_visit(self, node):
        code = cst.Module([]).code_for_node(node) if isinstance(node, cst.Call | cst.Assign) else ""
        prose = isinstance(node, cst.SimpleString) and " " in node.value
        if prose or isinstance(node, SILENT) or code.startswith(("__all__", "warn")):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and (position := self.get_metadata(PositionProvider, node, None)):
                self.found += [(position.start.line, node, new) for new in operator(node)]
        return True


def changes_of(folder, module, tests, most):
    """At most `most` changes of a module, drawn by a digest of what each changes; and how many there are."""
    wrapper = MetadataWrapper(cst.parse_module((folder / "reidlib" / f"{module}.py").read_text("utf-8")))
    changes, before = Changes(), wrapper.module.code.splitlines()
    wrapper.visit(changes)
    guard = digest(*((folder / test).read_bytes() for test in tests))
    jobs, order, same = [], {}, Counter()
    for line, node, new in changes.found:  # an edit elsewhere in the module draws no others
        what = digest(module.encode(), *(wrapper.module.code_for_node(each).encode() for each in (node, new)))
        order[digest(f"{what} {same[what]}".encode())] = line, node, new
        same[what] += 1
    for key in sorted(order)[:most]:
        line, node, new = order[key]
        source = wrapper.module.deep_replace(node, new).code
        text = next(([a.strip(), b.strip()] for a, b in zip(before, source.splitlines()) if a != b), ["", ""])
        name = {"module": module, "line": line, "text": text, "code": digest(source.encode()), "guard": guard}
        jobs.append({"name": name, "module": module, "source": source, "tests": tests})
    return jobs, len(order)


class Order:
    """A pytest plugin: the fastest test goes first, and how long each takes is noted."""

    def __init__(self, seconds):
        self.seconds, self.taken = seconds, Counter()

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report):
        self.taken[report.nodeid] += report.duration


def run_tests(folder, job):
    """In a process of its own: run the tests in the folder, leave pytest's exit code and the seconds in answer.json."""
    try:
        os.setsid()
        os.chdir(folder)
        out = os.open("tests.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        os.environ |= dict(PYTHONPATH=str(folder), OMP_NUM_THREADS="1", TQDM_DISABLE="1", PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(folder))
        torch.set_num_threads(1)
        torch.set_num_threads = lambda count: None
        order = Order(job["seconds"])
        code = int(pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", *job["tests"]], plugins=[order]))
        (folder / "answer.json").write_text(json.dumps([code, order.taken]), "utf-8")
    finally:
        os._exit(0)


def work(jobs, folders):
    """Run jobs, one at a time in each folder; yield (job, exit code or None if it took too long, seconds per test)."""
    free, busy, jobs = list(folders), {}, iter(jobs)
    try:
        while True:
            for job in islice(jobs, len(free)):
                folder = free.pop()
                (folder / "answer.json").unlink(missing_ok=True)
                file = folder / "reidlib" / f"{job['module']}.py"
                before = file.read_text("utf-8")
                file.write_text(job.get("source", before), "utf-8")
                pid = os.fork()
                if not pid:
                    run_tests(folder, job)
                busy[pid] = (job, folder, file, before, time.monotonic() + job["limit"])
            if not busy:
                return
            time.sleep(0.05)
            for pid, (job, folder, file, before, deadline) in list(busy.items()):
                if late := time.monotonic() > deadline:
                    os.killpg(pid, signal.SIGKILL)
                if os.waitpid(pid, 0 if late else os.WNOHANG)[0]:
                    answer = folder / "answer.json"
                    code, taken = None if late else -1, {}
                    if answer.exists():
                        code, taken = json.loads(answer.read_text("utf-8"))
                    file.write_text(before, "utf-8")
                    free.append(busy.pop(pid)[1])
                    yield job, code, taken
    finally:
        for pid in busy:
            os.killpg(pid, signal.SIGKILL)


def copy_of_the_tree(number):
    """A folder with the files that git knows or would add, as they are now."""
    folder = WORK / f"copy{number}"
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def lines_of(log):
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def seconds_of(files, folders):
    """How long each test takes on the code as it is, and the files in which one fails."""
    log, seconds, failing, jobs = WORK / "baseline.jsonl", {}, set(), []
    tree = [file.read_bytes() for file in sorted((folders[0] / "reidlib").rglob("*.py"))]
    known = {row["key"]: row for row in lines_of(log)}
    for file in files:
        key = digest(*tree, (folders[0] / file).read_bytes())
        jobs.append(dict(key=key, module="recipe", tests=[file], seconds={}, limit=1800))
    with open(log, "a", encoding="utf-8") as stream:
        for job, code, taken in work([job for job in jobs if job["key"] not in known], folders):
            known[job["key"]] = {"key": job["key"], "code": code, "taken": taken}
            print(json.dumps(known[job["key"]]), file=stream, flush=True)
    for job in jobs:
        seconds |= known[job["key"]]["taken"]
        if known[job["key"]]["code"]:
            failing |= set(job["tests"])
            print(f"{job['tests'][0]} fails on the code as it is and is left out", file=sys.stderr)
    return seconds, failing


def try_all(modules, most, workers):
    """Each module's drawn changes with their verdicts, and how many changes it has."""
    folders = [copy_of_the_tree(number) for number in range(workers)]
    found = {m: [sorted((folders[0] / "tests").glob(f"test_{word}.py")) for word in TESTS[m].split()] for m in modules}
    tests = {m: [f"tests/{file.name}" for files in found[m] for file in files] for m in modules}
    seconds, failing = seconds_of(sorted({file for m in modules for file in tests[m]}), folders)
    drawn = {m: changes_of(folders[0], m, [file for file in tests[m] if file not in failing], most) for m in modules}
    log = WORK / "verdicts.jsonl"
    known = {(row["code"], row["verdict"] == "survived" and row["guard"]): row["verdict"] for row in lines_of(log)}
    jobs = []
    for job in (job for changes, _ in drawn.values() for job in changes):
        name = job["name"]
        name["verdict"] = known.get((name["code"], False)) or known.get((name["code"], name["guard"]))
        longest = sum(taken for test, taken in seconds.items() if test.split("::")[0] in job["tests"])
        jobs += [] if name["verdict"] else [job | {"seconds": seconds, "limit": 30 + 4 * longest}]
    with open(log, "a", encoding="utf-8") as stream:
        for done, (job, code, _) in enumerate(work(jobs, folders), 1):
            name = job["name"]
            name["verdict"] = VERDICTS.get(code, "killed")
            print(json.dumps(name), file=stream, flush=True)
            print(f"{done}/{len(jobs)} {name['module']}:{name['line']} {name['verdict']}", file=sys.stderr)
    return {m: ([job["name"] for job in changes], count) for m, (changes, count) in drawn.items()}


def report(tried):
    """Print the table of the modules, then every change that survived."""
    excused = [row.split("\t")[:3] for row in (ROOT / "tools" / "equivalent.tsv").read_text("utf-8").splitlines()]
    columns = ("changes", "tried", "killed", "too long", "equivalent", "survived")
    print(f"{'module':28}" + "".join(f"{name:>12}" for name in columns))
    total, survivors = Counter(), []
    for module, (rows, count) in [*tried.items(), ("all", ([], 0))]:
        tally = Counter(changes=count, tried=len(rows))
        for row in rows:
            alters = row["verdict"] != "survived" or [module, *row["text"]] not in excused
            tally[row["verdict"] if alters else "equivalent"] += 1
            survivors += [row] if alters and row["verdict"] == "survived" else []
        total += tally
        tally = total if module == "all" else tally
        altering = tally["tried"] - tally["equivalent"]
        share = f"{1 - tally['survived'] / altering:.0%}" if altering else "-"
        print(f"{module:28}" + "".join(f"{tally[name]:12}" for name in columns) + f"{share:>8}")
    for row in survivors:
        print("\n{module}.py:{line}\n- {text[0]}\n+ {text[1]}".format(**row))


if __name__ == "__main__":
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("modules", nargs="*", help="modules to change, such as systems/losses; without any, all of them")
    ask.add_argument("--most", type=int, default=15, help="changes of each module; 0 means all (15)")
    ask.add_argument("--workers", type=int, default=2, help="changes tried at once, one thread each (2)")
    asked = ask.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    start = time.monotonic()
    tried = try_all(asked.modules or list(TESTS), asked.most or None, asked.workers)
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, text=True).strip()
    print(f"commit {commit}, {time.strftime('%Y-%m-%d')}, {(time.monotonic() - start) / 60:.0f} minutes\n")
    report(tried)
