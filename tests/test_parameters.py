"""A notebook checks its parameters in the cell after them: types, names, and what papermill makes of words."""

import nbformat
import pytest
from papermill.cli import _resolve_type
from papermill.parameterize import parameterize_notebook

import reidlib as rl
from reidlib.runs.parameters import Parameter, given_values, parameters_of

CELL = """dataset: str = "toy"  # a name
seed: int = 1
margin: float = 0.3
flip_test: bool = None  # None: as the model's own test
export: bool = False
anything = None
"""


def checked(*given, cell=CELL):
    """The variables of a notebook after its check, with what `papermill -p NAME WORD ...` puts into its second cell."""
    declaring = nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[declaring], metadata=kernel | {"papermill": {}})
    words = {name: _resolve_type(word) for name, word in given}
    cells = [cell.source for cell in parameterize_notebook(notebook, words).cells] if words else [cell]
    variables = {"_ih": ["", *cells, "rl.check_parameters(globals())"]}
    exec("\n".join(cells), variables)
    rl.check_parameters(variables)
    return variables


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("export", "false", False), ("export", "False", False), ("export", "0", False), ("export", "FALSE", False),
        ("export", "true", True), ("export", "True", True), ("export", "1", True),
        ("flip_test", "false", False), ("flip_test", "None", None), ("flip_test", "1", True),
        ("dataset", "2024", "2024"), ("dataset", "market", "market"), ("dataset", "false", "false"),
        ("seed", "7", 7), ("margin", "1", 1), ("margin", "1e-3", 0.001),
        ("anything", "2024", 2024), ("anything", "false", "false"),
    ],
)  # fmt: skip
def test_words_mean_what_the_notebook_declares(name, word, value):
    found = checked((name, word))[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("flip_test", "maybe", r"flip_test='maybe': the notebook's flip_test is of the type bool; write True or False"),
        ("export", "2", "export=2: .* bool"),
        ("export", "None", "export=None: .* bool.*its default is False"),
        ("seed", "one", "seed='one': .* int"),
        ("seed", "1.5", "seed=1.5: .* int"),
        ("seed", "True", "seed=True: .* int"),
        ("margin", "true", "margin='true': .* float"),
        ("dataset", "None", "dataset=None: .* str.*its default is 'toy'"),
        ("dataset", "1e5", "dataset=100000.0: .* str; papermill takes it as text with -r instead of -p"),
        ("dataset", "nan", "dataset=nan: .* str"),
        ("dataset", "True", "dataset=True: .* str"),
        ("sed", "2", "this notebook has no parameter 'sed'; did you mean 'seed'[?] it has dataset, seed, margin"),
    ],
)  # fmt: skip
def test_other_words_are_refused_with_name_value_and_type(name, word, message):
    with pytest.raises(ValueError, match=message):
        checked((name, word))


def test_defaults_pass_and_are_left_as_they_are():
    assert {name: value for name, value in checked().items() if name in ("seed", "export", "flip_test")} == {
        "seed": 1, "flip_test": None, "export": False,
    }  # fmt: skip


def test_what_a_reader_types_is_checked_too_and_an_edited_cell_counts_as_it_is_now():
    with pytest.raises(ValueError, match="seed='two'"):
        checked(cell=CELL.replace("= 1", '= "two"'))
    variables = checked(("seed", "7")) | {"seed": 3}
    variables["_ih"] += [CELL, "", "x = 1", "%%time", "rl.check_parameters(globals())"]
    rl.check_parameters(variables)
    assert variables["seed"] == 3


def test_the_command_line_of_the_grid_converts_by_the_same_rule():
    notebook = str(rl.project() / "notebooks" / "03_train.ipynb")
    assert given_values(notebook, [["flip_test", "false", "None"], ["dataset", "2024"], ["epochs", "7"]]) == {
        "flip_test": [False, None], "dataset": ["2024"], "epochs": [7],
    }  # fmt: skip
    assert parameters_of(notebook)["seed"] == Parameter("int", 1)
