"""What a run keeps: its claim on a folder and its checkpoints, and how training resumes from them."""

import hashlib
import io
import json
import re
import time
import warnings
from pathlib import Path
from typing import Any

import filelock
import torch
import torch.distributed as dist

from reidlib.files import made, write_csv, write_whole
from reidlib.models import NameNotFoundError
from reidlib.provenance import code_of, differences, in_words, joined
from reidlib.recipe import Recipe
from reidlib.settings import plain
from reidlib.systems import System, build
from reidlib.train.pretrained import SUFFIX, pretrained

SAVE_EVERY = 60.0  # seconds between checkpoints that only serve to resume
RESUME = "resume.pt"
CHECKSUM = 20  # bytes at the end of a checkpoint: the digest of all before them

Identity = dict[str, Any]  # of provenance.identity


def check_epoch(recipe: Recipe, epoch: int | None, name: str = "epoch") -> None:
    """ValueError for an epoch of which a training by `recipe` keeps no checkpoint; `name` is that of the parameter."""
    every = recipe.checkpoint_every
    if epoch not in (None, recipe.epochs) and (not 0 < epoch < recipe.epochs or epoch % every):
        raise ValueError(
            f"{name}={epoch}: checkpoints are kept of every {every} epochs and of the last, {recipe.epochs}"
        )


def restore(run_dir: str | Path, epoch: int | None = None, device: str | torch.device | None = None) -> System:
    """Load the trained system of a run, with its `recipe`: to embed with and to look at; `fit` refuses it.

    Parameters
    ----------
    run_dir : the folder of the run; or a .safetensors file, as for `pretrained`
    epoch : of the checkpoint; default: the last one kept
    device : default: the GPU if there is one

    Raises
    ------
    FileNotFoundError : no folder of a run, or no such checkpoint in it; the message lists those there are
    ValueError : the checkpoint is damaged or belongs to another run than the folder
    """
    run = Path(run_dir).expanduser()
    if run.suffix == SUFFIX:
        if epoch is not None:
            raise ValueError(f"{run_dir} holds the model of one epoch; leave epoch={epoch} out")
        return pretrained(run_dir, device)
    return restored(run, epoch, device, read_claim(run))


def restored(run: Path, epoch: int | None, device: str | torch.device | None, owner: Identity | None) -> System:
    """`restore`, where the checkpoint must belong to `owner`."""
    kept = checkpoints(run)
    if not kept or (epoch is not None and epoch not in kept):
        raise FileNotFoundError(f"{run}: {_absent(run, epoch, kept)}")
    file = _file(run, kept[-1] if epoch is None else epoch)
    try:
        state = _read(file)
    except ValueError as error:
        remedy = "Delete it and the checkpoints after it, then train again: training resumes from the one before"
        raise ValueError(f"{error}. {remedy}") from None
    _refuse_foreign(file, state, owner or state["identity"])
    recipe = Recipe.from_dict(state["identity"]["recipe"])
    system = build(recipe.replace(weights="none", compile=False), state["system"]["ids"], device)
    system.recipe = recipe
    if code_of(system)[0] != state["identity"]["system"]:
        raise ValueError(
            f"{file} was trained by a system of {state['identity']['system']}, but model={recipe.model!r} means "
            f"{code_of(system)[0]}; train a system of your own as rl.build(recipe, shots), model='package.module:Class'"
        )
    system.load_state_dict(state["system"])
    vars(system)["used"] = True
    return system


def _absent(run: Path, epoch: int | None, kept: list[int]) -> str:
    """Why there is nothing to restore, and what to do."""
    if kept:
        return f"no checkpoint of epoch {epoch!r}; it has {kept}"
    if (run / "recipe.json").is_file():
        return "this run has no checkpoint yet; train it with rl.fit"
    what = "this folder holds no run" if run.is_dir() else "no such folder"
    return f"{what}; give one that rl.fit trained in, or read a published model by its name with rl.pretrained"


def checkpoints(run_dir: str | Path) -> list[int]:
    """The epochs of the checkpoints of a run, ascending; n means after n epochs. Other files are ignored."""
    run = Path(run_dir, "checkpoints").expanduser()
    names = (re.fullmatch(r"epoch_(\d{4,})\.pt", file.name) for file in run.glob("epoch_*"))
    return sorted(int(name[1]) for name in names if name)


class Keeper:
    """Writes the checkpoints of a run: kept ones at chosen epochs, and in between one to resume from."""

    def __init__(self, system: System, run: Path, identity: Identity) -> None:
        self.system, self.run, self.identity = system, run, identity
        self.at, self.spent = time.monotonic(), 0.0
        if rank() == 0:  # what a killed process left half written; its lock is ours now
            for left in (run / "checkpoints").glob(".*.tmp"):
                left.unlink()

    def due(self) -> bool:
        return rank() == 0 and time.monotonic() - self.at > SAVE_EVERY

    def log(self, rows: list[dict]) -> None:
        if rank() == 0:
            refuse(self.run, self.identity)
            write_csv(rows, self.run / "log.csv")

    def keep(self, rows: list[dict]) -> None:
        if rank() == 0:
            self._write(_file(self.run, len(rows)), rows, None)
            (self.run / "checkpoints" / RESUME).unlink(missing_ok=True)

    def save(self, rows: list[dict], begun: dict | None = None) -> None:
        if rank() == 0:
            self._write(self.run / "checkpoints" / RESUME, rows, begun)

    def _write(self, file: Path, rows: list[dict], begun: dict | None) -> None:
        start = time.perf_counter()
        if not all(bool(parameter.isfinite().all()) for parameter in self.system.parameters()):
            raise ValueError(
                f"weights are not finite after epoch {len(rows)} or in the one after it; the checkpoint before is "
                "kept: try precision='float32' or a smaller lr"
            )
        refuse(self.run, self.identity)  # somebody may have deleted the folder and begun another run in it
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.system.optimizers.items()}
        rest = {"optimizers": optimizers, "rows": rows, "begun": begun, "identity": self.identity}
        whole = io.BytesIO()  # so that a full disk is an OSError of the write, not one of torch's own
        torch.save({"system": self.system.state_dict(), **plain(rest)}, whole)
        whole.write(_checksum(whole.getbuffer()))
        made(file.parent, "checkpoints")
        write_whole(file, whole.getbuffer())
        self.at, self.spent = time.monotonic(), self.spent + time.perf_counter() - start


def rank() -> int:
    """The number of this process among those of torchrun; 0 if it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


class BusyError(RuntimeError):
    """Another process trains in the folder."""


def lock(run: Path) -> filelock.AcquireReturnProxy:
    """A context that keeps other processes from training in a folder."""
    try:
        return filelock.FileLock(run / ".lock", timeout=0).acquire()
    except filelock.Timeout:
        raise BusyError(f"{run}: another process is training in this folder; wait for it, or choose another") from None


def read_claim(run: Path) -> Identity | None:
    """What recipe.json says that the folder of a run holds; None without one. ValueError if it cannot be read."""
    file = run / "recipe.json"
    if run.is_file():
        raise NotADirectoryError(f"{run} is a file; give the folder of a run")
    try:
        claim = json.loads(file.read_text("utf-8"))
        differences(claim, claim)
    except FileNotFoundError:
        return None
    except NameNotFoundError as error:  # the run is whole
        raise NameNotFoundError(f"{file}: {error}") from None
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise ValueError(f"{file} cannot be read ({error}); choose another folder, or delete this one") from None
    return claim


def refuse(run: Path, identity: Identity) -> None:
    """Raise ValueError if a folder is claimed by another run."""
    claim = read_claim(run)
    if claim is not None and (found := differences(identity, claim)):
        advice = "Choose another folder, or delete that one when nothing trains in it any more"
        raise ValueError(f"{run} holds another run: {in_words(found)}. {advice}")


def claim_folder(run: Path, identity: Identity, source: str, trains: bool) -> None:
    """Write in recipe.json what a folder is for and, if this code `trains` in it, its digest beside earlier ones."""
    known = read_claim(run) or {}
    sources = joined([str(known["source"]), source]) if "source" in known else source
    if (trains or not known) and sources != known.get("source"):
        write_whole(run / "recipe.json", json.dumps(identity | {"source": sources}, indent=1).encode())


def resume(system: System, run: Path, identity: Identity) -> tuple[list[dict], dict | None]:
    """Load the newest checkpoint that is whole into `system`; returns its rows and the epoch begun after them."""
    files = [_file(run, epoch) for epoch in reversed(checkpoints(run))]
    if (between := run / "checkpoints" / RESUME).is_file():  # nearly always the newest
        files.insert(0, between)
    for file in files:
        try:
            state = _read(file)
        except (OSError, ValueError) as error:
            warnings.warn(f"{error}; falling back to the checkpoint before", stacklevel=3)
            continue
        _refuse_foreign(file, state, identity)
        system.load_state_dict(state["system"])
        for name, optimizer in system.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        return state["rows"], state["begun"]
    return [], None


def _refuse_foreign(file: Path, state: dict[str, Any], owner: Identity) -> None:
    found, epoch = differences(owner, state["identity"]), len(state["rows"])
    if file.name not in (RESUME, _file(Path(), epoch).name):
        found["epoch"] = int(file.stem.removeprefix("epoch_")), epoch
    if found:
        raise ValueError(f"{file} is of another run: {in_words(found)}; delete it, or put it back where it belongs")


def _file(run: Path, epoch: int) -> Path:
    return run / "checkpoints" / f"epoch_{epoch:04d}.pt"


def _checksum(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest()


def _read(file: Path) -> dict[str, Any]:
    """The content of a checkpoint. Raises ValueError if its bytes are not those that were written."""
    content = file.read_bytes()
    if _checksum(memoryview(content)[:-CHECKSUM]) != content[-CHECKSUM:]:
        raise ValueError(f"{file} cannot be read: it is damaged, its bytes do not match its checksum")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
