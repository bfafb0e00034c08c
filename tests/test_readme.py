"""The README's commands: its Python is run, its notebooks' parameters are taken as a grid takes them."""

import re
import shlex
from pathlib import Path

import papermill
import pytest

import reidlib as rl
from reidlib.runs.jobs import plan

ROOT = rl.project()
README = (ROOT / "README.md").read_text()
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
    pytest.importorskip("onnxruntime", reason="pip install reidlib[export]")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
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
    assert "anna" in capsys.readouterr().out
