"""The notebooks as files: what a reader, GitHub, papermill and nbval rely on. That they run is nbval's part."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
RUNS = ("dataset", "seed", "model", "preset", "tricks")  # these need a value; all others mean "as published"

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def is_picture(output):
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def test_the_course_is_complete():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_data", "02_tricks_ablation", "03_train", "04_evaluate", "05_ranked_images", "06_pcb",
        "07_rgb_infrared",
    ]  # fmt: skip


@each
def test_a_notebook_was_run_top_to_bottom_without_errors(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert any(cell["outputs"] for cell in code)


@each
def test_a_notebook_is_small_and_clean(path):
    notebook = json.loads(path.read_text())
    assert path.stat().st_size <= 500_000
    assert len(notebook["cells"]) <= 45
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]
    assert not [cell for cell in notebook["cells"] if "execution" in cell["metadata"]], (
        "times of a run are noise in a diff"
    )
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@each
def test_a_notebook_holds_no_path_of_a_machine(path):
    text = path.read_text()
    assert not re.findall(r"/(?:home|root|Users|tmp|work|mnt|opt)/\w+|[A-Z]:\\\\\w+", text)


@each
def test_no_code_cell_is_longer_than_25_lines(path):
    assert not [source(cell) for cell in cells(path, "code") if len(source(cell).splitlines()) > 25]


@each
def test_there_is_one_cell_of_typed_and_explained_scalars(path):
    (parameters,) = [cell for cell in cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])]
    explained = False
    for line in source(parameters).splitlines():
        found = re.fullmatch(r"(\w+): (int|str|float|bool) = ([^#]+?)(  # .+)?", line)
        assert found, line
        explained = explained or bool(found[4])
        if found[2] != "bool" and found[1] not in RUNS:
            assert found[3] == "None", f"{line}: a default that is not None hides what the data set's recipe says"
    assert explained


@each
def test_a_cell_that_is_not_compared_is_followed_by_one_that_asserts(path):
    code = cells(path, "code")
    loose = ["nbval-ignore-output" in cell["metadata"].get("tags", []) for cell in code]
    figures = [any(map(is_picture, cell["outputs"])) for cell in code]
    for place, (cell, ignored, figure) in enumerate(zip(code, loose, figures)):
        later = [source(following) for following in code[place + 1 : place + 4]]
        assert not ignored or figure or any("assert" in text for text in later), source(cell)


@each
def test_the_head_and_the_tail_follow_the_form_of_a_chapter(path):
    text = [source(cell) for cell in cells(path, "markdown")]
    head = text[0]
    assert head.startswith(f"# {int(path.stem[:2])} · ")
    assert all(word in head for word in ("**Expect**", "**Time**", ".ipynb)"))
    assert any("## Summary" in part for part in text)
    assert any("## Exercises" in part for part in text)
    assert "not answered yet" in source(cells(path, "code")[-1]), "the last cell checks an answer"


@each
def test_links_between_chapters_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^):#]+)\)", source(cell)):
            assert (path.parent / target).exists(), target


@each
def test_every_figure_has_words_for_those_who_do_not_see_it(path):
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            if is_picture(output):
                words = "".join(output["data"].get("text/plain", ""))
                assert len(words) > 20, source(cell)
                assert "<Figure size" not in words, source(cell)
    for cell in cells(path, "markdown"):
        assert "![](" not in source(cell)


def test_the_data_set_alone_switches_to_the_published_recipe():
    import reidlib as rl

    for name in ("market", "duke"):
        recipe = rl.Recipe.for_dataset(name)
        published = (120, 200, (256, 128), "resnet50", "imagenet", 16, 4)
        found = (recipe.epochs, recipe.iterations, recipe.size, recipe.backbone, recipe.weights, recipe.p, recipe.k)
        assert found == published
