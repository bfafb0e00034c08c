"""The README's commands: its Python and its first run of a notebook are run in small, the others are looked up."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest

import reidlib as rl
from reidlib.__main__ import COMMANDS
from reidlib.runs.jobs import plan

ROOT = rl.project()
README = (ROOT / "README.md").read_text()
RUNNING = (ROOT / "docs" / "running.md").read_text()
SHELL = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.replace("\\\n", " ").splitlines()
]


def parameters(words: list[str]) -> dict[str, list]:
    """-p name value ... as a dict."""
    given, name = {}, ""
    for word in words:
        if word == "-p":
            name = ""
        elif word.startswith("--"):
            break
        elif not name:
            given[name := word] = []
        else:
            given[name].append(int(word) if word.isdigit() else word)
    return given


@pytest.mark.parametrize("line", [line for line in SHELL if "notebooks/0" in line])
def test_a_notebook_takes_the_parameters_that_the_readme_gives_it(line):
    words = shlex.split(line, comments=True)
    (notebook,) = (ROOT / word for word in words if word.startswith("notebooks/"))
    given = parameters(words[words.index("-p") :])
    assert given.keys() <= papermill.inspect_notebook(notebook).keys()
    if "03_train" in line:
        jobs = plan(notebook, [{name: values[i % len(values)] for name, values in given.items()} for i in range(3)])
        assert {job.recipe.dataset for job in jobs} == set(given["dataset"])


def test_papermill_runs_a_notebook_as_the_readme_says(crowd, tmp_path):
    """The words of the README in its shell, with a small crowd for the data set and one step for the training."""
    line = next(line for line in SHELL if line.startswith("papermill notebooks/03_train.ipynb"))
    assert "-p dataset market" in line
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    small = {"run_dir": "run", "p": 3, "k": 2, "epochs": 1, "iterations": 1, "height": 32, "width": 16}
    small |= {"backbone": "slim", "weights": "none"}
    words = " ".join(f"-p {name} {value}" for name, value in small.items())
    command = f"{line.partition('#')[0].replace('dataset market', 'dataset crowd')} {words}"
    surroundings = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TQDM_DISABLE": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.ipynb").is_file()
    assert [row["test"] for row in rl.collect(tmp_path)] == ["crowd"]


def test_the_commands_of_the_shell_and_the_files_that_are_named_exist():
    (named,) = re.findall(r"`reid ([\w |]+)`", README)
    assert named.split(" | ") == list(COMMANDS)
    files = re.findall(r"\b(?:tests|benchmarks|notebooks)/[\w/]+\.\w+", README)
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_verb_of_make_exists():
    verbs = {line.split()[1] for line in SHELL if line.startswith("make ")}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert verbs
    assert verbs <= targets


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.filterwarnings("ignore")
def test_the_python_of_the_readme_runs(crowd, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
    code = "".join(re.findall(r"```python\n(.*?)```", README, re.S))
    monkeypatch.chdir(tmp_path)
    Path("crowd").rename("shop")
    names = ["a.jpg", "b.jpg", "anna_1.jpg", "anna_2.jpg", "ben_1.jpg", "who.jpg"]
    for name, source in zip(names, rl.load("shop").gallery.files(), strict=False):
        Path(name).write_bytes(source.read_bytes())
    short = code.replace('preset="laptop",', 'preset="laptop", p=3, k=2, epochs=1, iterations=1,')
    assert short != code
    scope: dict = {}
    exec(compile(short, "README.md", "exec"), scope)
    assert scope["emb"].shape == (2, 1280)
    assert Path("model.onnx").is_file()
    assert scope["scores"].num_valid == 6
    assert scope["people"].threshold is not None
    assert "anna" in capsys.readouterr().out


def test_the_cell_for_colab_brings_all_that_the_notebooks_import():
    """What is imported after an indent is within try: a part that says which extra it needs."""
    (cell,) = re.findall(r"```ipython3\n(.*?)```", RUNNING, re.S)
    brought = {word for word in cell.split() if word.isidentifier()} | {"reidlib", "IPython", "PIL"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought |= {re.match(r"[\w-]+", needed)[0].replace("-", "_") for needed in project["dependencies"]}
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        code = "\n".join(cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code")
        imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.M))
        assert imported - set(sys.stdlib_module_names) <= brought, notebook.name
