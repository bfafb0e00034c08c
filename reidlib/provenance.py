"""Which of the library's files a result depends on, and their digest."""

import ast
import contextlib
import hashlib
import os
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision

from reidlib.files import cache_folder, write_whole

PACKAGE = Path(__file__).parent
ROOTS = ("reidlib.data", "reidlib.train", "reidlib.measuring")  # behind every result


def source_digest(system: str = "reidlib.systems.bag_of_tricks") -> str:
    """A short digest of the library's files that a result of the module `system` depends on: which code made a number.

    They are the modules that load, train, embed and score, by both protocols, that of the system, and all that these
    import at their top. Figures, the browser, the grid and the other systems may change, and a result stays what it
    is. A system that is no part of the library is no part of the digest.
    """
    digest = hashlib.blake2b(digest_size=6)
    for file in sources(system):
        digest.update(f"{file.relative_to(PACKAGE).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


@cache
def sources(system: str) -> tuple[Path, ...]:
    """The files of `source_digest`, sorted."""
    found, waiting = set(), [*ROOTS, system]
    while waiting:
        file = _file(waiting.pop())
        if file and file not in found:
            found.add(file)
            waiting += _imports(file)
    return tuple(sorted(found))


def _file(module: str) -> Path | None:
    """The file of a module of the library; None for all else."""
    package, *names = module.split(".")
    path = PACKAGE.joinpath(*names)
    files = (path.with_suffix(".py"), path / "__init__.py") if package == "reidlib" and names else ()
    return next((file for file in files if file.is_file()), None)


def _imports(file: Path) -> list[str]:
    """What a file imports at its top, not within functions or conditions; a name that is imported may be a module."""
    found = []
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.ImportFrom) and not statement.level:
            found += [statement.module, *(f"{statement.module}.{name.name}" for name in statement.names)]
        elif isinstance(statement, ast.Import):
            found += [name.name for name in statement.names]
    return found


def environment(system: str = "reidlib.systems.bag_of_tricks") -> dict:
    """What computed a result: versions, device, and the digest of the sources that the module `system` depends on."""
    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if gpu else _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "source": source_digest(system),
        "commit": _commit(),
    }


@cache
def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the repository, "+" where its files have changed since; empty outside a repository."""
    root = Path(__file__).parents[1]
    command = ["git", "--git-dir", root / ".git", "--work-tree", root]
    command += ["describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def data_digest(shots) -> str:
    """A short digest of what training and scores depend on: names and bytes of all images, pids, camids, modalities."""
    digest = hashlib.blake2b(pixels_digest(shots).encode(), digest_size=10)
    for labels in (shots.pids, shots.camids, shots.infrared):
        digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def pixels_digest(shots) -> str:
    """A short digest of the names and the bytes of all images.

    Sizes and modification times are a shortcut to a digest that was computed before, never a part of it.
    """
    stats = hashlib.blake2b(str(shots.root.resolve()).encode(), digest_size=10)
    root, names = str(shots.root), shots.paths.tolist()
    for name in names:
        stat = os.stat(f"{root}/{name}")
        stats.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    known = cache_folder() / f"{stats.hexdigest()}.digest"
    if known.is_file() and re.fullmatch("[0-9a-f]{20}", text := known.read_text()):
        return text
    content = hashlib.blake2b(digest_size=10)
    with ThreadPoolExecutor() as pool:
        for name, digest in zip(names, pool.map(lambda name: _file_digest(f"{root}/{name}"), names), strict=True):
            content.update(f"{name}\0".encode() + digest)
    with contextlib.suppress(OSError):  # only a shortcut is lost
        known.parent.mkdir(parents=True, exist_ok=True)
        write_whole(known, content.hexdigest().encode())
    return content.hexdigest()


def _file_digest(file: str) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.blake2b(stream.read(), digest_size=10).digest()
