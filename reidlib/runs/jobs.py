"""One job of a grid: a papermill run of a notebook in a folder of its own, done or not, carried out."""

import ast
import difflib
import itertools
import json
import os
import re
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from unittest.mock import patch

import filelock
import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from reidlib.data.batches import PKSampler
from reidlib.provenance import data_digest, source_digest
from reidlib.recipe import Recipe
from reidlib.runs.measuring import targets
from reidlib.systems import module_name

FIELDS = {field.name for field in fields(Recipe)}
PLACES = ("data_root", "market_path", "duke_path")  # where things lie: no part of a job's name
KINDS = {"int": int, "float": int | float, "str": str, "bool": bool}
LEFTOVER = 60  # seconds to wait for a kernel whose grid was killed; it ends by itself about a second later


@dataclass(frozen=True)
class Job:
    """A run of a notebook: what papermill is given, the recipe that this means, and a name that says so."""

    name: str
    recipe: Recipe
    parameters: dict
    data: str | None = None  # the digest of the training images, None where they are not on this machine
    tests: tuple[str, ...] = ()  # the sets that it is tested on, of those on this machine

    @property
    def source(self) -> str:
        """The digest of the library's sources that its result depends on, as they are now."""
        return source_digest(module_name(self.recipe.model))

    @property
    def places(self) -> tuple[dict, str | None]:
        """The folders of some data sets by name, and the folder of all: as said, each None where nothing is."""
        root, *own = map(self.parameters.get, PLACES)
        return dict(zip(("market", "duke"), own, strict=True)), root


def grid(**values) -> list[dict]:
    """The parameters of every combination of `values` (each a list, or one value), in the order given.

    Combinations that are one recipe under two words, as all-bnneck and none+warmup+erasing+smoothing+stride, are one
    job, under the first. Raises ValueError for an empty list, and for a recipe that makes no sense.
    """
    several = (list, tuple, range)
    lists = {name: list(given) if isinstance(given, several) else [given] for name, given in values.items()}
    if empty := [name for name, given in lists.items() if not given]:
        raise ValueError(f"{empty[0]}: an empty list makes no job; give one value at least")
    found = {}
    for combination in itertools.product(*lists.values()):
        job = dict(zip(lists, combination, strict=True))
        recipe = _recipe({"dataset": "toy"} | job).to_dict() | {"tricks": None}
        found.setdefault(repr((recipe, _others(job))), job)
    return list(found.values())


def parameters_of(notebook: str | Path) -> dict:
    """The parameters of a notebook: name -> {"inferred_type_name", "default", "help"}.

    Raises FileNotFoundError for a missing notebook and ValueError for one without parameters.
    """
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"no notebook {notebook}")
    found = papermill.inspect_notebook(str(notebook))
    if "run_dir" not in found:
        raise ValueError(
            f"{notebook}: a grid needs a cell tagged parameters, with run_dir: the folder of one run; 03_train.ipynb "
            "trains every model there is (-p model pcb, -p model aligngan)"
        )
    return found


def plan(notebook: str | Path, jobs: list[dict]) -> list[Job]:
    """The jobs as they will run; every mistake that can be seen before is a ValueError here.

    That is a parameter that the notebook does not have, one of another type, a recipe that makes no sense, the
    checkpoint of an epoch of which none is kept, and two jobs that would share a folder and are not the same.
    """
    known, planned = parameters_of(notebook), {}
    standard = {name: ast.literal_eval(entry["default"]) for name, entry in known.items()}
    for parameters in jobs:
        _check(notebook, parameters, known)
        recipe = _recipe(standard | parameters)
        epoch = parameters.get("resume_test_epoch") or recipe.epochs
        if epoch > recipe.epochs or (epoch < recipe.epochs and epoch % recipe.checkpoint_every):
            raise ValueError(
                f"resume_test_epoch={epoch}: checkpoints are kept of every {recipe.checkpoint_every} epochs and of the "
                f"last, {recipe.epochs}"
            )
        others = {name: value for name, value in _others(parameters).items() if value != standard[name]}
        words = [f"{key}={value}" for key, value in others.items() if key not in PLACES]
        name = "-".join([recipe.name(), *(re.sub(r"[^\w.=-]+", "_", word) for word in words)])
        first = planned.setdefault(name, (Job(name, recipe, parameters), others))
        if (first[0].recipe, first[1]) != (recipe, others):
            raise ValueError(
                f"{first[0].parameters} and {parameters} would share the folder {name}; "
                "give one of the data sets or values another name, or make two grids with a folder (runs) each"
            )
    return [job for job, _ in planned.values()]


def with_data(jobs: list[Job], here: bool = True) -> list[Job]:
    """The jobs, each with what is known of its data, which must be `here`, or may be where the job runs.

    Raises what `targets` raises where the data must be here and are not, and ValueError where they do not make the
    batches of the recipe.
    """
    known, found = {}, []
    for job in jobs:
        where = job.recipe.dataset, str(job.places)
        try:
            if where not in known:  # each set is read once, however many jobs it has
                splits, _ = targets(job.recipe.dataset, *job.places)
                train = next(iter(splits.values())).train
                known[where] = train, data_digest(train), tuple(splits)
        except FileNotFoundError:
            if here:
                raise
            found.append(job)
            continue
        train, digest, tests = known[where]
        PKSampler.of(job.recipe, train)
        found.append(replace(job, data=digest, tests=tests))
    return found


def state(job: Job, folder: Path) -> str:
    """What a folder holds of a job: "new", "begun", "done", or "stale: ..." with what differs from the job.

    Done means a result of this recipe, these training images and the library's sources as they are now, on every test
    set that is on this machine.
    """
    try:
        claim = json.loads((folder / "recipe.json").read_text())
    except FileNotFoundError:
        return "new"
    wanted = [job.recipe.to_dict(), job.data or claim["data"], source_digest(claim.get("system", ""))]
    found = [claim.get(key) for key in ("recipe", "data", "source")]
    parts = ("recipe", "training images", "library sources")
    if differ := [part for part, mine, theirs in zip(parts, wanted, found, strict=True) if mine != theirs]:
        return f"stale: other {', '.join(differ)}"
    try:
        result = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        return "begun"
    made = [result["recipe"], result["data"], result["environment"]["source"]]
    tested = [f"{name} " for name in result["scores"]]  # "sysu all single" is a test on sysu
    complete = all(any(name.startswith(f"{test} ") for name in tested) for test in job.tests)
    return "done" if made == wanted and complete else "begun"


def set_aside(folder: Path) -> Path:
    """Move what a folder holds of another recipe, other data or older code to .stale beside it; returns its place."""
    shelf = folder.parent / ".stale"
    shelf.mkdir(exist_ok=True)
    place = next(place for i in itertools.count(1) if not (place := shelf / f"{folder.name}-{i}").exists())
    return folder.rename(place)


def attempt(notebook, name: str, job: Job, folder: Path) -> str | None:
    """Run a job in its folder, from where it was left; returns None when it is done, else its last error line.

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
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}".strip().splitlines()[-1]
    except Exception as error:  # a kernel that died or did not start, a full disk: the other jobs go on
        return f"{type(error).__name__}: {error}".strip().splitlines()[-1]
    after = state(job, folder)
    return None if after == "done" else f"the notebook came to its end, but its folder is not done ({after})"


def is_free(folder: Path, seconds: float = 0) -> bool:
    """Whether nobody trains in a folder (see `fit`), or will have ended within some seconds."""
    try:
        with filelock.FileLock(folder / ".lock", timeout=seconds):
            return True
    except filelock.Timeout:
        return False


def _execute(notebook, output: Path, parameters: dict) -> None:
    unseen = {"TQDM_DISABLE": "1"} | os.environ  # a headless notebook keeps a progress bar as a widget that says 0 %
    with (
        tempfile.TemporaryDirectory(prefix="reid-") as sockets,  # the default ports are shared by all on a machine
        patch.dict(os.environ, unseen),  # papermill hands a kernel no environment of its own
    ):
        config = Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
        papermill.execute_notebook(
            notebook, output, parameters, kernel_name="python3", progress_bar=False, config=config
        )


def _recipe(parameters: dict) -> Recipe:
    return Recipe.for_dataset(**{name: value for name, value in parameters.items() if name in FIELDS})


def _others(parameters: dict) -> dict:
    return {name: value for name, value in parameters.items() if name not in FIELDS}


def _check(notebook, parameters: dict, known: dict) -> None:
    for name, value in parameters.items():
        if name == "run_dir":
            raise ValueError("run_dir: a grid names the folder of each run itself; say where they are kept with runs")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"{notebook} has no parameter {name!r}; {meant}it has {', '.join(known)}")
        kind = known[name]["inferred_type_name"]  # "None" where the notebook does not say
        if not _fits(value, kind):
            raise ValueError(f"{name}={value!r}: the notebook's {name} is of the type {kind}")


def _fits(value, kind: str) -> bool:
    if isinstance(value, bool):
        return kind in ("bool", "None")
    return value is None or isinstance(value, KINDS.get(kind, object))
