"""The notebooks as files: what a reader, GitHub, papermill and nbval rely on. That they run is nbval's part."""

import ast
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
RUNS = ("dataset", "seed", "model", "preset", "tricks", "same_camera")  # need a value; all others mean "as published"

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
        "07_rgb_infrared", "08_search", "09_reasons", "10_aligngan",
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
    prose = "\n".join(re.sub(r"```.*?```", "", source(cell), flags=re.DOTALL) for cell in cells(path, "markdown"))
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1, "a page has one heading of level 1"


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
        if line.startswith("# "):
            continue
        found = re.fullmatch(r"(\w+): (int|str|float|bool) = ([^#]+?)(  # .+)?", line)
        assert found, line
        explained = explained or bool(found[4])
        if found[2] != "bool" and found[1] not in RUNS:
            assert found[3] == "None", f"{line}: a default that is not None hides what the data set's recipe says"
    assert explained


@each
def test_a_cell_that_is_not_compared_is_checked_by_an_assertion(path):
    """Its own assertions or those of the next cell compare something that it made: a wrong number does not pass."""
    code = cells(path, "code")
    for cell, following in zip(code, [*code[1:], None]):
        if "nbval-ignore-output" in cell["metadata"].get("tags", []):
            made, checked = names_made(source(cell)), names_checked(source(cell))
            checked |= names_checked(source(following)) if following else set()
            assert made & checked, source(cell)


@pytest.mark.parametrize(
    ("cell", "following", "passes"),
    [
        ("a = score()\nprint(a)", "assert a.mAP == 0.5", True),
        ("a = score()\nassert np.isclose(a.mAP, b)", "", True),
        ("for row in fit():\n    print(row)", "assert row['loss'] < 1", True),
        ("a, (b, *c) = score()", "assert_close(c, d)", True),
        ("found['x'] = score()", "assert [s.mAP for s in found.values()] == [1]", True),
        ("a = score()\nprint(a)", "assert b.mAP == 0.5", False),
        ("print(score())", "assert a == 1", False),
        ("a = score()", "assert a", False),
        ("a = score()", "assert a is not None and isinstance(a, float)", False),
        ("a = score()", "assert True\nprint(a == 1)", False),
        ("def f():\n    a = 1", "assert a == 1", False),
        ("a = score()", "def f():\n    assert a == 1", False),
    ],
)
def test_what_counts_as_checked(cell, following, passes):
    assert bool(names_made(cell) & (names_checked(cell) | names_checked(following))) == passes


def outside_functions(text):
    """The syntax nodes of a cell that run with it, not those of the functions that it defines."""
    nodes = [ast.parse(text)]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.FunctionDef)]


def names_made(text):
    """The variables that a cell assigns, also as targets of a loop or by an item."""
    made = set()
    for node in outside_functions(text):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            made.add(node.value.id)
    return made


def names_checked(text):
    """The variables whose values the assertions of a cell compare, directly or within a loop over them."""
    checked = set()
    for node in outside_functions(text):
        if isinstance(node, ast.Assert) and compares(node.test):
            checked |= names_read(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and compares(node.value):
            checked |= names_read(node) if ast.unparse(node.value.func).startswith("assert_") else set()
        elif isinstance(node, ast.For):
            inside = names_checked("\n".join(map(ast.unparse, node.body)))
            checked |= names_read(node.iter) if names_read(node.target, ast.Store) & inside else set()
    return checked


def names_read(node, how=ast.Load):
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, how)}


def compares(node):
    """Whether an expression compares values, not only whether something is there or of which type."""
    found = ast.walk(node)
    return any(
        (isinstance(part, ast.Compare) and not isinstance(part.ops[0], ast.Is | ast.IsNot))
        or (isinstance(part, ast.Call) and re.search(r"close$|equal$", ast.unparse(part.func)))
        for part in found
    )


def test_no_notebook_writes_into_the_repository_unasked():
    """The figures of the README are drawn again only where a parameter says so; others go to the folder of the run."""
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            for node in ast.walk(ast.parse(source(cell))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "rl.save_figure":
                    assert ast.unparse(node.args[2]) in ("figures", "run"), source(cell)


@each
def test_the_first_cell_checks_the_parameters(path):
    first = cells(path, "code")[1]
    lines = source(first).splitlines()
    assert lines.count("rl.check_parameters(globals())") == 1
    before = lines[: lines.index("rl.check_parameters(globals())")]
    assert all(re.match(r"(import|from) |$", line) for line in before), "nothing is done before"


@each
def test_the_head_and_the_tail_follow_the_form_of_a_chapter(path):
    text = [source(cell) for cell in cells(path, "markdown")]
    head = text[0]
    assert head.startswith(f"# {int(path.stem[:2])} · ")
    assert all(word in head for word in ("**Expect**", "**Time**", ".ipynb)"))
    assert any("## Summary" in part for part in text)
    assert any("## Exercises" in part for part in text)
    checked = ["rl.exercise(" in source(cell) for cell in cells(path, "code")]
    first, last = checked.index(True), len(checked) - checked[::-1].index(True)
    assert all(checked[first:last]), "the exercises stand together"
    whole = "\n".join(text)
    assert "## For later" not in whole[: whole.index("## Exercises")], "what can be skipped comes last"
    assert "**At the end**" in head
    assert sum(part.count("<summary>Answer</summary>") for part in text) >= 3, "three questions to check oneself"
    assert any("**Predict" in part for part in text)


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
