"""docs/search.md, run as it stands on a folder of images, and what its text says of the numbers."""

import re

import numpy as np
import pytest
from PIL import Image

import reidlib as rl
from reidlib.__main__ import main

PAGE = (rl.project() / "docs" / "search.md").read_text()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """What the page speaks of: my_people, visitors, and the labelled set shop."""
    rng = np.random.default_rng(0)
    names = [f"my_people/{who}/{i}.jpg" for who in ("anna", "ben", "cleo") for i in range(3)]
    names += [f"visitors/{i:03d}.jpg" for i in range(9)] + ["one_more.jpg"]
    names += [f"shop/{part}/p{who}/{part}_c{1 + (part == 'gallery')}_{who}.jpg" for who in range(8)
              for part in ("query", "gallery")]  # fmt: skip
    names += [f"shop/train/q{who}/train_c{camera}_{who}.jpg" for who in range(2) for camera in (1, 2)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 32, 3), np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*images of strangers")
def test_the_code_of_the_page_runs(here, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    exported = []
    monkeypatch.setattr(rl, "export", lambda *given: exported.append(given))  # test_export has its own
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, names)
    assert names["people"].threshold == names["tuned"].at(0.25)[1]
    assert len(names["groups"]) == len(names["answers"]) == 9
    assert exported == [(names["system"], "model.onnx")]


def test_the_commands_of_the_page_run(here, capsys):
    (shell,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in shell.splitlines():
        if "reid export" not in line:
            command = line.partition(" >")[0].split()
            assert main(command[1:]) in (0, 1), line
    assert (here / "people.npz").is_file()
    assert (here / "visitors.npz").is_file()


def test_the_numbers_of_the_page_stand_in_the_committed_tables():
    """Guards: a table that was measured again, and a page that still has the old numbers."""
    results = rl.project() / "benchmarks" / "results"
    lines = [line.split() for line in (results / "search.txt").read_text().splitlines() if line.strip()]
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| (.* m?s) \|$", PAGE, re.M)
    assert len(rows) == 4
    for size, queries, shown in rows:
        values = re.findall(r"([\d.]+) (m?s)", shown)
        for name, (value, unit) in zip(("product", "Gallery", "faiss flat", "usearch exact"), values, strict=True):
            head = [*name.split(), size, queries]
            (ms,) = [float(line[len(head)]) for line in lines if line[: len(head)] == head]
            assert f"{ms / (1000 if unit == 's' else 1):.{len(value.partition('.')[2])}f}" == value, (size, name)
    answers = (results / "answers.txt").read_text()
    parts = dict(zip(("toy", "Market-1501"), answers.split("\n\n")[1:], strict=True))
    rows = re.findall(r"^\| (toy|Market-1501) \|.*\| (images|averages) \|(.*)\|$", PAGE, re.M)
    assert len(rows) == 4
    for test, entries, shown in rows:
        measured = re.findall(rf"^{entries} +([\d.]+) %.* ([\d.]+) +([\d.]+)$", parts[test], re.M)
        kept = [f"{mean} ± {sd}" for rate, mean, sd in measured if float(rate) >= 1]
        assert [cell.strip() for cell in shown.split("|") if "±" in cell] == kept, (test, entries)
    rows = [re.findall(rf"^{name} +(.*)$", parts["toy"], re.M)[-1].split() for name in ("mean", "sd")]
    shares = [f"{mean} ± {sd}" for i, (mean, sd) in enumerate(zip(*rows, strict=True)) if i % 5]
    notebook = (rl.project() / "notebooks" / "08_search.ipynb").read_text()
    kinds = "people of the training set", "new people"
    for who, threshold, (found, alarms, found_of_others, alarms_of_others) in zip(
        kinds, rows[0][::5], (shares[:4], shares[4:]), strict=True
    ):
        assert f"| {who} | {found} | {found_of_others} | {alarms} | {alarms_of_others} |" in PAGE
        printed = rf"{who} +{float(threshold):.2f} +{found} +{found_of_others} +{alarms_of_others}\\n"
        assert re.search(printed, notebook), "the notebook prints it"
