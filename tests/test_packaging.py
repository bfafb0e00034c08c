"""pyproject.toml is the one list of packages; the lock, the conda file and the README follow it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(
    line.split(";")[0].strip().split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if line
)


def wanted():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["notebooks"], *extras["cluster"], *extras["dev"]]
    return [Requirement(line) for line in lines if not line.startswith("reidlib")]


def test_the_lock_holds_every_package_of_pyproject_at_a_version_it_allows():
    for requirement in wanted():
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)]), requirement


def test_the_lock_names_no_address_and_no_file():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--|@", text)


def test_torch_and_torchvision_are_a_matching_pair():
    torch, vision = (tuple(map(int, LOCK[name].split("."))) for name in ("torch", "torchvision"))
    assert torch[1] + 15 == vision[1] or torch[2] == vision[2], "torchvision 0.N goes with torch 2.(N - 15)"


def test_conda_takes_python_from_conda_forge_and_all_else_from_pyproject():
    text = (ROOT / "environment.yml").read_text()
    named = re.findall(r"^ +- (.+?)(?: +#.*)?$", text, re.MULTILINE)
    assert named == ["conda-forge", "python=3.12", "make", "pip", "pip:", "-e .[dev]"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_library_imports_trains_and_scores_without_jupyter(tmp_path):
    """A GPU box has no Jupyter: every module of it is blocked, and the main job is done all the same."""
    script = tmp_path / "train_without_jupyter.py"
    script.write_text(WITHOUT_JUPYTER)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rank-1" in done.stdout


WITHOUT_JUPYTER = """
import sys
from pathlib import Path

for name in ("IPython", "ipykernel", "ipywidgets", "anywidget", "jupyter_client", "nbformat", "papermill", "notebook"):
    sys.modules[name] = None  # importing it raises ImportError

import reidlib as rl
from reidlib import toy

folder = Path(sys.argv[1])
toy.draw(folder / "toy", people=8)
split = rl.load(folder / "toy")
recipe = rl.Recipe.for_dataset("toy", p=2, k=2, height=32, width=16, epochs=1, iterations=2)
for row in rl.fit(rl.build(recipe, split.train), split.train, folder / "run"):
    print(rl.epoch_row(row))
print(rl.measure(rl.restore(folder / "run"), split, folder / "run"))
"""
