"""The parameters of a notebook: which there are, and whether values fit them."""

import ast
import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

KINDS: dict[str, Any] = {"int": int, "float": int | float, "str": str, "bool": bool}
BOOLS = {"true": True, "1": True, "false": False, "0": False}
HINTS = {"bool": "; write True or False", "str": "; papermill takes it as text with -r instead of -p"}
INJECTED = "# Parameters"  # how the cell begins in which papermill assigns what -p gave


class Parameter(NamedTuple):
    """What a notebook declares of a parameter: its type, "None" if it does not say, and its default."""

    kind: str
    default: Any


def parameters_of(notebook: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook, by name.

    Raises FileNotFoundError for a missing notebook and ValueError for one that a grid cannot run.
    """
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"no notebook {notebook}")
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook} is no Jupyter notebook, or is damaged") from None
    tagged = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    known = _declared("".join(tagged[0])) if tagged else {}
    if "run_dir" not in known:
        raise ValueError(
            f"{notebook}: a grid needs a notebook that trains one model, with run_dir in a cell tagged parameters: the "
            "folder of one run"
        )
    return known


def check_given(notebook: str | Path, parameters: dict[str, Any], known: dict[str, Parameter]) -> None:
    """Raise ValueError for a parameter that the notebook does not have, and for a value of another type."""
    if "run_dir" in parameters:
        raise ValueError("run_dir: a grid names the folder of each run itself; say where they are kept with runs")
    _check_names(str(notebook), parameters, known)
    for name, value in parameters.items():
        if not fits(value, known[name].kind):
            raise ValueError(f"{name}={value!r}: {_expected(name, known[name])}")


def check_parameters(variables: dict[str, Any]) -> None:
    """Check the values of a notebook's parameters, in the cell after them: `rl.check_parameters(globals())`.

    A value of another type than the notebook declares is converted in place if its meaning is plain, since papermill
    makes a text of `-p flip_test false` and a number of `-p dataset 2024`.

    Parameters
    ----------
    variables : those of the notebook. What its cells say is taken from IPython's list of the inputs so far

    Raises
    ------
    ValueError : any other value of another type; a name that papermill was given and the notebook does not have
    """
    known: dict[str, Parameter] = {}
    injected: dict[str, Parameter] = {}
    for source in variables.get("_ih", ()):
        if source.startswith(INJECTED):
            injected = _declared(source)
        elif found := _declared(source, only=True):
            known, injected = found, {}
    _check_names("this notebook", injected, known)
    for name, parameter in known.items():
        value = variables[name]
        try:
            variables[name] = _converted(value, parameter.kind)
        except (ValueError, KeyError):
            raise ValueError(f"{name}={value!r}: {_expected(name, parameter)}") from None
        if variables[name] is None and parameter.default is not None:
            raise ValueError(f"{name}=None: {_expected(name, parameter)}; its default is {parameter.default!r}")


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of a type, given by its name, "None" if the notebook does not say."""
    if isinstance(value, bool):
        return kind in ("bool", "None")
    return value is None or isinstance(value, KINDS.get(kind, object))


def given_values(notebook: str, given: list[list[str]]) -> dict[str, list[Any]]:
    """The values of parameters on the command line, [name, value, ...] each, as what the parameters are."""
    known = parameters_of(notebook)
    values: dict[str, list[Any]] = {}
    for name, *texts in given:
        if not texts or name in values:
            raise ValueError(f"-p {name}: {'given twice' if texts else 'no value'}; write -p {name} VALUE [VALUE ...]")
        parameter = known.get(name, Parameter("str", None))
        values[name] = []
        for text in texts:
            try:
                values[name].append(_converted(text, parameter.kind))
            except (ValueError, KeyError):
                raise ValueError(f"-p {name} {text}: {_expected(name, parameter)}") from None
    return values


def _converted(value: Any, kind: str) -> Any:
    """A value as a type, if its meaning is plain; ValueError or KeyError if it is not."""
    if value == "None":
        return None
    if fits(value, kind):
        return value
    if kind == "bool":
        return BOOLS[str(value).lower()]
    if isinstance(value, str):
        return int(value) if kind == "int" else float(value)
    if kind == "str" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _expected(name: str, parameter: Parameter) -> str:
    return f"the notebook's {name} is of the type {parameter.kind}{HINTS.get(parameter.kind, '')}"


def _check_names(notebook: str, names: Iterable[str], known: dict[str, Parameter]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"{notebook} has no parameter {name!r}; {meant}it has {', '.join(known)}")


def _declared(source: str, only: bool = False) -> dict[str, Parameter]:
    """What the assignments of a cell declare; with `only`, {} if it does anything else or declares no type."""
    try:
        lines = ast.parse(source).body
    except SyntaxError:
        return {}
    known = {}
    for line in lines:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and line.value:
            kind = ast.unparse(line.annotation) if isinstance(line, ast.AnnAssign) else "None"
            known[target.id] = Parameter(kind, _literal(line.value))
    typed = any(isinstance(line, ast.AnnAssign) for line in lines)
    return {} if only and not (typed and len(known) == len(lines)) else known


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:  # such as papermill's float('nan')
        return ast.unparse(value)
