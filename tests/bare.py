"""Environments of a user: a virtual environment with the wheel, what it and some extras require, and nothing else.

The packages are links to those that are installed here, so that nothing is fetched and torch is not copied.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def wheel(folder: Path) -> Path:
    """Build the wheel in `folder` from a copy of what it is made of."""
    shutil.copytree(ROOT / "reidlib", folder / "reidlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = [sys.executable, "-c", "from setuptools.build_meta import *; build_wheel('.')"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def environment(folder: Path, file: Path) -> Path:
    """Make a virtual environment in `folder` with the wheel `file` and what it requires; returns its Python."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", file]
    subprocess.run(pip, check=True, capture_output=True)
    link(site(python), site(python))
    return python


def site(python: Path) -> Path:
    """The folder of packages of a virtual environment."""
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def link(folder: Path, of: Path, *extras: str) -> Path:
    """Fill `folder` with links to what the reidlib in the folder `of` requires with some extras."""
    folder.mkdir(exist_ok=True)
    (own,) = Distribution.discover(name="reidlib", path=[str(of)])
    for needed in required(own, extras):
        for top in {path.parts[0] for path in needed.files or ()} - {"..", "__pycache__"}:
            if not (of / top).exists() and not (folder / top).exists():
                (folder / top).symlink_to(needed.locate_file(top))
    return folder


def required(own: Distribution, extras: tuple[str, ...]) -> Iterator[Distribution]:
    """The distributions that another requires, and those that they require, as they are installed here."""
    asked, seen = [(own, extras)], set()
    while asked:
        one, wanted = asked.pop()
        for requirement in map(Requirement, one.requires or ()):
            marks = requirement.marker
            key = canonicalize_name(requirement.name), *sorted(requirement.extras)
            if key in seen or (marks and not any(marks.evaluate({"extra": extra}) for extra in ("", *wanted))):
                continue
            seen.add(key)
            found = own if key[0] == "reidlib" else distribution(key[0])
            asked.append((found, tuple(requirement.extras)))
            if found is not own:
                yield found


def run(python: Path, script: Path, folder: Path, *arguments: str | Path) -> str:
    """What a script prints that runs in `folder`; AssertionError with its messages if it fails."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, script, *arguments]
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
