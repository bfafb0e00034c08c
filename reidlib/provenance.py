"""What made a number: the digests of code, data and starting weights, and the identity of a run."""

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torchvision

from reidlib.files import cache_folder, regular, weights_file, write_whole
from reidlib.models import module_name
from reidlib.recipe import Recipe

PACKAGE = Path(__file__).parent
# The code behind every number, beside the one system: files, or folders with all their Python files.
CODE = ["recipe.py", "settings.py", "models.py", "data", "train", "evaluation", "runs/measuring.py"]
CODE += ["systems/__init__.py", "systems/losses.py", "systems/backbones.py"]
CODE += ["systems/timm_models.py", "systems/weights.py"]
# The parts of an identity beside the recipe, as a message calls them.
DIGESTED = {"data": "digest of the images and labels", "weights": "digest of the weights", "system": "system"}


class Images(Protocol):
    """What is read of `Shots`."""

    @property
    def root(self) -> Path: ...
    @property
    def paths(self) -> np.ndarray: ...
    @property
    def pids(self) -> np.ndarray: ...
    @property
    def camids(self) -> np.ndarray: ...
    @property
    def infrared(self) -> np.ndarray: ...


class Made(Protocol):
    """What is read of a system."""

    recipe: Recipe

    def state_dict(self) -> dict[str, Any]: ...


def source_digest(*modules: str) -> str:
    """A short digest of the code behind a number: `CODE`, and the modules of the system and of a backbone of your own.

    Figures, the browser, the grid and the other systems may change, and a number stays what it is. Without arguments,
    it is that of the Bag of Tricks.
    """
    digest = hashlib.blake2b(digest_size=6)
    for name, file in sources(*modules or ("reidlib.systems.bag_of_tricks",)):
        digest.update(f"{name}\0".encode() + file.read_bytes().replace(b"\r\n", b"\n"))  # Git's line ends on Windows
    return digest.hexdigest()


def sources(*modules: str) -> Iterator[tuple[str, Path]]:
    """The names and files of `source_digest`.

    A system from outside the library may subclass any of the library's: all of them count, and all Python files of its
    own top package.
    """
    paths = [PACKAGE / path for path in CODE]
    for module in modules:
        if module.startswith("reidlib."):
            paths.append(PACKAGE.joinpath(*module.split(".")[1:]))
        else:
            paths += [PACKAGE / "systems", *_outside(module.partition(".")[0])]
    for path in paths:
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path if path.is_file() else path.with_suffix(".py")]
        yield from ((file.relative_to(path.parent).as_posix(), file) for file in files)


def _outside(package: str) -> list[Path]:
    """The folders, or the one file, of a package outside the library; none of a notebook, which has no file."""
    if package == "__main__":
        file = getattr(sys.modules[package], "__file__", None)
        return [Path(file)] if file else []
    spec = find_spec(package)
    if spec is None:
        return []
    return [Path(folder) for folder in spec.submodule_search_locations or [spec.origin or ""]]


def modules_of(recipe: Recipe) -> tuple[str, ...]:
    """The modules of a recipe's system and of its backbone, if that is a function of your own."""
    own = ":" in recipe.backbone and not recipe.backbone.startswith("timm:")
    names = (module_name(recipe.model), *([recipe.backbone] if own else []))
    return tuple(name.partition(":")[0] for name in names)


def code_of(system: Made) -> tuple[str, ...]:
    """`modules_of` a system; one that `build` did not make is of the module of its class."""
    module, *own = modules_of(system.recipe)
    return (module if getattr(system, "built", False) else type(system).__module__, *own)


def identity(recipe: Recipe, data: str | None, code: tuple[str, ...] | None = None) -> dict[str, Any]:
    """What a run is: its recipe, the digests of its training data and of its starting weights, its system's module."""
    module = (code or modules_of(recipe))[0]
    return {"recipe": recipe.to_dict(), "data": data, "weights": weights_digest(recipe.weights), "system": module}


def differences(here: dict[str, Any], there: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two identities: name -> (here, there). What is None here is unknown and not compared.

    Raises ValueError for what is no identity.
    """
    try:
        found = Recipe.from_dict(here["recipe"]).differences(Recipe.from_dict(there["recipe"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no recipe in it ({error!r})") from None
    if here.get("data") is not None and here["data"] == there.get("data"):
        spellings = {Path(each["recipe"]["dataset"]).name for each in (here, there)}
        found = {name: pair for name, pair in found.items() if name != "dataset" or len(spellings) > 1}
    for key, name in DIGESTED.items():
        if here.get(key) is not None and here[key] != there.get(key):
            found[name] = here[key], there.get(key)
    return found


def in_words(found: dict[str, tuple[Any, Any]]) -> str:
    """`differences` for a message."""
    return "; ".join(f"{name} is {there!r} there and {here!r} here" for name, (here, there) in found.items())


def state_digest(system: Made) -> str:
    """A short digest of a system's own numbers, by their names; fast, since every search asks for it."""
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in system.state_dict().items()}
    checks = "".join(f"{name}\0{zlib.crc32(array)}\n" for name, array in arrays.items())
    return hashlib.blake2b(checks.encode(), digest_size=10).hexdigest()


def weights_digest(weights: str) -> str | None:
    """A short digest of the bytes of a file of weights, None if it is missing; "imagenet" and "none" as they are."""
    if weights in ("imagenet", "none"):
        return weights
    file = weights_file(weights)
    return _file_digest(str(file)).hex() if file.is_file() else None


def data_digest(*sets: Images) -> str:
    """A short digest of what training and scores depend on: names and bytes of all images, pids, camids, modalities."""
    digest = hashlib.blake2b(digest_size=10)
    for shots in sets:
        digest.update(pixels_digest(shots).encode())
        for labels in (shots.pids, shots.camids, shots.infrared):
            digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def pixels_digest(shots: Images) -> str:
    """A short digest of the names and the bytes of all images.

    Sizes and modification times are a shortcut to a digest that was computed before, never a part of it.
    """
    stats = hashlib.blake2b(str(shots.root.resolve()).encode(), digest_size=10)
    names = shots.paths.tolist()
    files = [os.path.join(shots.root, name) for name in names]
    for name, file in zip(names, files, strict=True):
        try:
            stat = os.stat(file)
        except OSError as error:
            gone = f"{error.strerror}; rl.check(split) lists every file that is gone"
            raise OSError(error.errno, gone, file) from None
        stats.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n".encode())
    known = cache_folder() / f"{stats.hexdigest()}.digest"
    if known.is_file() and re.fullmatch("[0-9a-f]{20}", text := known.read_text("utf-8")):
        return text
    content = hashlib.blake2b(digest_size=10)
    with ThreadPoolExecutor() as pool:
        for name, digest in zip(names, pool.map(_file_digest, files), strict=True):
            content.update(f"{name}\0".encode() + digest)
    with contextlib.suppress(OSError):  # only a shortcut is lost
        known.parent.mkdir(parents=True, exist_ok=True)
        write_whole(known, content.hexdigest().encode())
    return content.hexdigest()


def _file_digest(file: str) -> bytes:
    return hashlib.blake2b(regular(Path(file)).read_bytes(), digest_size=10).digest()


def joined(digests: Iterable[str]) -> str:
    """Digests of code, each once, joined by "+": a number that several versions made never passes as made by one."""
    return "+".join(dict.fromkeys(part for digest in digests for part in digest.split("+")))


def environment(*modules: str) -> dict[str, Any]:
    """What computes: `device`, `cores`, the versions of `python`, `torch` and `torchvision`, `source` and `commit`.

    modules: the dotted names of the system's module (default: the Bag of Tricks) and of a backbone of your own, for
    their `source_digest`. "+" at the end of the commit means changed files; it is empty outside a repository.
    """
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "source": source_digest(*modules),
        "commit": _commit(),
    }


@cache
def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    root = Path(__file__).parents[1]
    command = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    command += ["describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
