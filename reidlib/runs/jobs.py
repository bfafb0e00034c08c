"""One job of a grid: a papermill run of a notebook in a folder of its own, done or not, carried out."""

import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import filelock

from reidlib.data.batches import PKSampler
from reidlib.provenance import DIGESTED, data_digest, differences, identity, modules_of, source_digest
from reidlib.recipe import Recipe, recipe_class
from reidlib.runs.measuring import test_sets
from reidlib.runs.parameters import check_given, parameters_of
from reidlib.runs.results import metrics_by_name
from reidlib.settings import shortened
from reidlib.train.checkpoints import check_epoch, read_claim

PLACES = ("data_root", "market_path", "duke_path")  # where data lie: no part of a job's name
LEFTOVER = 60  # seconds to wait for a kernel whose grid was killed; it ends by itself about a second later
PARTS = {DIGESTED["data"]: "training images", DIGESTED["weights"]: "weights", DIGESTED["system"]: "system"}


@dataclass(frozen=True)
class Job:
    """A run of a notebook: what papermill is given, the recipe that this means, and a name that says so."""

    name: str
    recipe: Recipe
    parameters: dict[str, Any]
    data: str | None = None  # the digest of the training set, None if it is not on this machine
    tests: Mapping[str, str] = field(default_factory=dict)  # the digests of the test sets on this machine, by name

    @property
    def source(self) -> str:
        """The digest of the code that its result depends on, as it is now."""
        return source_digest(*modules_of(self.recipe))

    @property
    def places(self) -> tuple[dict[str, str | None], str | None]:
        """The folders of some data sets by name, and the folder of all; None where nothing is given."""
        root, *own = map(self.parameters.get, PLACES)
        return dict(zip(("market", "duke"), own, strict=True)), root

    @property
    def same_camera(self) -> str:
        """The rule that its test sets are scored by, as in `score`."""
        return self.parameters.get("same_camera") or "ignore"


Engine = Callable[[Iterable[Job]], Iterator[tuple[Job, str | None]]]  # carries out jobs: each and its last error line


def grid(**values: Any) -> list[dict[str, Any]]:
    """Combine values of a notebook's parameters into jobs: the parameters of every combination, in the order given.

    Combinations that are one recipe under two words, such as all-bnneck and none+warmup+erasing+smoothing+stride, or
    none of the presets laptop and strong, are one job, under the first.

    Parameters
    ----------
    **values : for each parameter a list of values, or one value

    Raises
    ------
    ValueError : an empty list, or an invalid recipe

    Examples
    --------
    >>> import reidlib as rl
    >>> rl.grid(dataset="toy", seed=[1, 2])
    [{'dataset': 'toy', 'seed': 1}, {'dataset': 'toy', 'seed': 2}]
    """
    several = (list, tuple, range)
    lists = {name: list(given) if isinstance(given, several) else [given] for name, given in values.items()}
    if empty := [name for name, given in lists.items() if not given]:
        raise ValueError(f"{empty[0]}: an empty list makes no job; give at least one value")
    jobs: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*lists.values()):
        job = dict(zip(lists, combination, strict=True))
        recipe, others = _split({"dataset": "toy"} | job)
        jobs.setdefault(repr((recipe.to_dict() | {"tricks": None, "preset": None}, others)), job)
    return list(jobs.values())


def plan(notebook: str | Path, jobs: list[dict[str, Any]]) -> list[Job]:
    """The jobs as they will run. Raises ValueError for every mistake that can be seen before.

    Mistakes are an unknown parameter, one of another type, an invalid recipe, the checkpoint of an epoch that is not
    kept, a metric that cannot be imported, and two different jobs that would share a folder.
    """
    known = parameters_of(notebook)
    standard = {name: parameter.default for name, parameter in known.items()}
    planned: dict[str, tuple[Job, dict[str, Any]]] = {}
    for parameters in jobs:
        check_given(notebook, parameters, known)
        recipe, _ = _split(standard | parameters)
        check_epoch(recipe, parameters.get("resume_test_epoch"), "resume_test_epoch")
        metrics_by_name(parameters.get("metrics"))
        others = {name: value for name, value in _split(parameters, recipe)[1].items() if value != standard[name]}
        words = [f"{key}={value}" for key, value in others.items() if key not in PLACES]
        name = "-".join([recipe.name(), *(shortened(re.sub(r"[^\w.=-]+", "_", word), 80) for word in words)])
        first = planned.setdefault(name, (Job(name, recipe, parameters), others))
        if (first[0].recipe, first[1]) != (recipe, others):
            raise ValueError(
                f"{first[0].parameters} and {parameters} would share the folder {name}; "
                "give one of the data sets or values another name, or make two grids with a folder (runs) each"
            )
    return [job for job, _ in planned.values()]


def with_data(jobs: list[Job], here: bool = True) -> list[Job]:
    """The jobs with the digests of their data. Without `here`, the data may also be where the job runs.

    Raises what `test_sets` raises if the data must be here and are not, or cannot be scored, and ValueError if they do
    not make the batches of the recipe.
    """
    known: dict[tuple, tuple] = {}
    ready = []
    for job in jobs:
        key = job.recipe.dataset, str(job.places), job.same_camera
        try:
            if key not in known:  # each set is read once, however many jobs it has
                splits, _ = test_sets(job.recipe.dataset, *job.places, job.same_camera)
                train = next(iter(splits.values())).train
                tests = {name: data_digest(split.query, split.gallery) for name, split in splits.items()}
                known[key] = train, data_digest(train), tests
        except FileNotFoundError:
            if here:
                raise
            ready.append(job)
            continue
        train, digest, tests = known[key]
        PKSampler.of(job.recipe, train)
        ready.append(replace(job, data=digest, tests=tests))
    return ready


def state(job: Job, folder: Path) -> str:
    """What a folder holds of a job: "new", "begun", "done", or "stale: ..." with what differs from the job.

    "done" means a result of this recipe, training set, starting weights and code, on every test set that is on this
    machine, as they are now. If only test sets differ the folder is "begun": it is tested again, not trained again.
    """
    wanted = identity(job.recipe, job.data)
    try:
        claim = read_claim(folder)
    except ValueError:
        return "stale: recipe.json cannot be read"
    if claim is None:
        return "new"
    others = dict.fromkeys(PARTS.get(name, "recipe") for name in differences(wanted, claim))
    if claim.get("source") != job.source:
        others["library sources"] = None
    if others:
        return f"stale: other {', '.join(others)}"
    return "done" if _is_result(folder / "result.json", job, wanted) else "begun"


def _is_result(file: Path, job: Job, wanted: dict[str, Any]) -> bool:
    """Whether a file is the whole result of a job; one that cannot be read is none."""
    try:
        result = json.loads(file.read_text("utf-8"))
        same = not differences(wanted, result) and result["environment"]["source"] == job.source
        tested = {name: digest for name, digest in result["tests"].items() if name in result["scores"]}
    except Exception:  # missing, damaged, or of another kind
        return False
    for name, digest in job.tests.items():  # "sysu all single" is a test on sysu
        same &= {tested[test] for test in tested if f"{test} ".startswith(f"{name} ")} == {digest}
    return same


def set_aside(folder: Path) -> Path:
    """Move a folder of another recipe, other data or other code to .stale beside it; returns where it lies then."""
    shelf = folder.parent / ".stale"
    shelf.mkdir(exist_ok=True)
    free = next(path for i in itertools.count(1) if not (path := shelf / f"{folder.name}-{i}").exists())
    return folder.rename(free)


def attempt(notebook: Path | dict[str, Any], name: str, job: Job, folder: Path) -> str | None:
    """Run a job in its folder, or resume it; returns None if it is done, else its last error line.

    notebook: a path, or the notebook itself as nbformat reads it; name: of the executed notebook, kept in the folder.
    """
    try:
        if not is_free(folder, LEFTOVER):
            return f"{folder}: another process is training in this folder; wait for its end or stop it, then run again"
        before = state(job, folder)
        if before == "done":
            return None
        if before.startswith("stale"):
            set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _execute(notebook, folder / name, job.parameters | {"run_dir": str(folder)})
    except Exception as error:  # also a kernel that died or did not start, a full disk: the other jobs go on
        kind = getattr(error, "ename", type(error).__name__)  # papermill's error names the notebook's own
        return f"{kind}: {getattr(error, 'evalue', error)}".strip().splitlines()[-1]
    after = state(job, folder)
    return None if after == "done" else f"the notebook ran to its end, but its folder is not done ({after})"


def is_free(folder: Path, seconds: float = 0) -> bool:
    """Whether no process trains in a folder (see `fit`), now or within some seconds."""
    try:
        with filelock.FileLock(folder / ".lock", timeout=seconds):
            return True
    except filelock.Timeout:
        return False


def _execute(notebook: Path | dict[str, Any], output: Path, parameters: dict[str, Any]) -> None:
    import papermill  # here, since the library trains and is imported without it
    import zmq
    from traitlets.config import Config

    unseen = {"TQDM_DISABLE": "1"} | os.environ  # a headless notebook keeps a progress bar as a widget that says 0 %
    with (
        tempfile.TemporaryDirectory(prefix="reid-") as sockets,  # the default ports are shared by all on a machine
        patch.dict(os.environ, unseen),  # papermill hands a kernel no environment of its own
    ):
        local = {"transport": "ipc", "ip": f"{sockets}/kernel"} if zmq.has("ipc") else {}  # Windows has none
        config = Config(KernelManager=local)
        given = dict(kernel_name="python3", language="python", progress_bar=False, config=config)  # of any name
        quiet = ["--log-level=CRITICAL"]  # Ctrl-C interrupts a kernel, which would log a traceback
        papermill.execute_notebook(notebook, output, parameters, extra_arguments=quiet, **given)


def _split(parameters: dict[str, Any], recipe: Recipe | None = None) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that parameters of a notebook mean, unless it is given, and those that are no fields of it."""
    names = {entry.name for entry in fields(recipe or recipe_class(parameters.get("model") or "bot"))}
    others = {name: value for name, value in parameters.items() if name not in names}
    return recipe or Recipe.for_dataset(**{name: parameters[name] for name in parameters if name in names}), others
