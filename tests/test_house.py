"""The shape of the library: imports run one way, close no circle, files and functions are short, names lead home."""

import ast
import importlib
import io
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import reidlib as rl
from reidlib.figures.style import FILE_DPI, encode

sys.path.insert(0, str(rl.project() / "tools"))
import house
from house import FILES, GRAPH, ORDER, PACKAGE, home

FIGURE = rl.project() / "figures" / "house.png"


def test_no_import_closes_a_circle():
    left = {module: {name for name in names if name in GRAPH} for module, names in GRAPH.items()}
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these import each other: {left}"


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_a_module_imports_only_what_stands_before_it(module):
    here = ORDER.index(home(module))
    behind = {name for name in GRAPH[module] if home(name) in ORDER and ORDER.index(home(name)) > here}
    assert not behind, f"{module} is of {home(module)}, before {behind}"


def test_the_drawn_crowd_imports_nothing_of_the_rest():
    assert {home(name) for module, names in GRAPH.items() if home(module) == "toy" for name in names} == {"toy"}


def test_no_file_is_longer_than_250_lines_and_no_function_than_40():
    long = [f"{file}: {n} lines" for file in FILES.values() if (n := len(file.read_text().splitlines())) > 250]
    for file in FILES.values():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                length = node.end_lineno - (node.body[0].end_lineno if documented else node.lineno - 1)
                if length > 40:
                    long.append(f"{file}: {node.name} has {length} lines")
    assert not long


@pytest.mark.parametrize("folder", ["reidlib", "tools", "benchmarks"])
def test_text_is_read_and_written_in_a_named_encoding(folder):
    """Windows has another default. Ruff's rule, which holds in the tests too, knows a path only where it is made."""
    least = {"read_text": 1, "write_text": 2, "open": 9}  # arguments by position, of which the last is the encoding
    bare = []
    for file in (rl.project() / folder).rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        for call in calls:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name not in least or (name == "open" and isinstance(call.func, ast.Attribute)):
                continue  # Image.open and others that read no text
            binary = any("b" in getattr(word, "value", "") for word in call.args[1:2]) and name == "open"
            named = len(call.args) >= least[name] or "encoding" in {word.arg for word in call.keywords}
            if not binary and not named:
                bare.append(f"{file}:{call.lineno}")
    assert not bare


def test_every_name_of_the_stub_is_there():
    missing = [name for name in rl.__all__ if not hasattr(rl, name)]
    assert not missing
    assert len(rl.__all__) > 60


@pytest.mark.parametrize("name", sorted(rl.HOMES))
def test_a_flat_name_leads_to_the_module_in_its_home(name):
    home = f"reidlib.{rl.HOMES[name]}"
    assert importlib.import_module(f"reidlib.{name}") is importlib.import_module(home)
    assert importlib.import_module(home).__spec__.name == home


STUDIES = ("studies.tables", "studies.neck", "studies.worlds", "studies.boxes")  # with options, or that write at once
# What `python -m NAME --help` does, name after name in one process.
HELPED = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = ["", "--help"]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(name, "ended with", end.code)
"""


def test_the_commands_answer_under_their_names():
    names = [f"reidlib.{command}" for command in ("train", "repeats", "publish", "runs.grid", *STUDIES)]
    asked = subprocess.run([sys.executable, "-c", HELPED, *names], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    usages = re.findall(r"^usage: python -m (reidlib\.\S+)", asked.stdout, re.M)
    expected = ["reidlib.train", "reidlib.repeats", "reidlib.publish", "reidlib.repeats"]
    assert usages == [*expected, *(f"reidlib.{name}" for name in STUDIES)]
    assert re.findall(r"^(\S+) ended with 0$", asked.stdout, re.M) == names


def test_the_packages_are_listed_in_the_order_of_the_imports():
    text = (rl.project() / "docs" / "extending.md").read_text()
    places = [text.index(f"| `{name}/` |") for name in ORDER if (PACKAGE / name).is_dir()]
    assert all(a < b for a, b in pairwise(places))


def test_the_picture_of_the_house_is_drawn_from_the_imports():
    drawn = encode(house.draw(), FILE_DPI)
    here, kept = (np.asarray(Image.open(file).convert("RGB")) for file in (io.BytesIO(drawn), FIGURE))
    assert np.array_equal(here, kept), "run python tools/house.py"
