"""What a run keeps: its claim on a folder, checkpoints, and how a training goes on from them."""

import csv
import io
import json
import pickle
import time
import warnings
import zipfile
from pathlib import Path

import filelock
import torch
import torch.distributed as dist

from reidlib.files import write_whole
from reidlib.provenance import source_digest
from reidlib.recipe import Recipe
from reidlib.systems import build

SAVE_EVERY = 60.0  # seconds between checkpoints that only serve to resume

RESUME = "resume.pt"


def restore(run_dir: str | Path, epoch: int | None = None, device: str | torch.device | None = None):
    """The system of a run after `epoch` epochs, or after the last one saved.

    Raises FileNotFoundError with the epochs that there are.
    """
    run = Path(run_dir)
    kept = checkpoints(run)
    if not kept or (epoch is not None and epoch not in kept):
        raise FileNotFoundError(
            f"{run}: no checkpoint{'' if epoch is None else f' of epoch {epoch}'}; it has {kept or 'none'}"
        )
    state = _read(_file(run, kept[-1] if epoch is None else epoch))
    recipe = Recipe.from_dict(state["recipe"] | {"weights": "none", "compile": False})  # only training needs them
    system = build(recipe, state["system"]["ids"], device)
    system.recipe = Recipe.from_dict(state["recipe"])
    system.load_state_dict(state["system"])
    return system


def checkpoints(run_dir: str | Path) -> list[int]:
    """The epochs of which a run has a checkpoint, ascending; n means after n epochs."""
    return sorted(int(file.stem.removeprefix("epoch_")) for file in Path(run_dir, "checkpoints").glob("epoch_*.pt"))


class Keeper:
    """Writes the checkpoints of a run: kept ones at chosen epochs, and in between one to resume from."""

    def __init__(self, system, run: Path, digest: str):
        self.system, self.folder, self.digest = system, run / "checkpoints", digest
        self.at, self.spent = time.monotonic(), 0.0

    def due(self) -> bool:
        return rank() == 0 and time.monotonic() - self.at > SAVE_EVERY

    def log(self, rows: list[dict]) -> None:
        text = io.StringIO()
        columns = dict.fromkeys(name for row in rows for name in row)  # phases of a training have losses of their own
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if rank() == 0:
            write_whole(self.folder.parent / "log.csv", text.getvalue().encode())

    def keep(self, rows: list[dict]) -> None:
        self._write(_file(self.folder.parent, len(rows)), rows, None)
        if rank() == 0:  # only after its own write: another rank may be here before it
            (self.folder / RESUME).unlink(missing_ok=True)

    def save(self, rows: list[dict], begun: dict | None = None) -> None:
        self._write(self.folder / RESUME, rows, begun)

    def _write(self, file: Path, rows: list[dict], begun: dict | None) -> None:
        if rank():
            return
        start = time.perf_counter()
        if not all(bool(parameter.isfinite().all()) for parameter in self.system.parameters()):
            raise ValueError(
                f"weights are not finite after epoch {len(rows)} or in the one after it; the checkpoint before is "
                "kept: try precision='float32' or a smaller lr"
            )
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.system.optimizers.items()}
        state = {"system": self.system.state_dict(), "optimizers": optimizers, "rows": rows, "begun": begun}
        state |= {"recipe": self.system.recipe.to_dict(), "data": self.digest}
        whole = io.BytesIO()  # so that a full disk is an OSError of the write, not one of torch's own
        torch.save(state, whole)
        self.folder.mkdir(exist_ok=True)
        write_whole(file, whole.getbuffer())
        self.at, self.spent = time.monotonic(), self.spent + time.perf_counter() - start


def rank() -> int:
    """The number of this process among those of torchrun, 0 where it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _lock(run: Path):
    lock = filelock.FileLock(run / ".lock", timeout=0)
    try:
        return lock.acquire()
    except filelock.Timeout:
        raise RuntimeError(
            f"{run}: another process is training in this folder; wait for it, or choose another"
        ) from None


def _refuse(run: Path, recipe: Recipe, digest: str) -> None:
    """Raise ValueError where the folder is of another recipe or other data."""
    if (file := run / "recipe.json").is_file():
        claimed = json.loads(file.read_text())
        differences = recipe.differences(Recipe.from_dict(claimed["recipe"]))
        if claimed["data"] != digest:
            differences["data digest"] = (digest, claimed["data"])
        if differences:
            lines = "; ".join(
                f"{name} is {theirs!r} there and {mine!r} here" for name, (mine, theirs) in differences.items()
            )
            raise ValueError(f"{run} holds another run: {lines}. Choose another folder, or delete that one")


def _claim(run: Path, system, digest: str) -> None:
    """Write what the folder is for, unless it is for something else, and which code began it."""
    _refuse(run, system.recipe, digest)
    module, file = type(system).__module__, run / "recipe.json"
    begun = json.loads(file.read_text()) if file.is_file() else {"system": module, "source": source_digest(module)}
    claim = begun | {"recipe": system.recipe.to_dict(), "data": digest}
    write_whole(file, json.dumps(claim, indent=1).encode())


def _file(run: Path, epoch: int) -> Path:
    return run / "checkpoints" / f"epoch_{epoch:04d}.pt"


def _resume(system, run: Path) -> tuple[list[dict], dict | None]:
    """Load the newest checkpoint that can be read into `system`; returns its rows and the epoch begun after them."""
    files = [_file(run, epoch) for epoch in reversed(checkpoints(run))]
    if (between := run / "checkpoints" / RESUME).is_file():  # nearly always the newest
        files.insert(0, between)
    for file in files:
        try:
            state = _read(file)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError) as error:
            warnings.warn(f"{file} cannot be read ({error}); falling back to the one before", stacklevel=3)
            continue
        system.load_state_dict(state["system"])
        for name, optimizer in system.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        return state["rows"], state["begun"]
    return [], None


def _read(file: Path) -> dict:
    return torch.load(file, map_location="cpu", weights_only=True)
