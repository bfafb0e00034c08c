"""The parameters of a notebook: which there are, and whether values fit them."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill

KINDS: dict[str, Any] = {"int": int, "float": int | float, "str": str, "bool": bool}
BOOLS = {"True": True, "False": False}


def parameters_of(notebook: str | Path) -> dict[str, dict[str, str]]:
    """The parameters of a notebook: name -> {"inferred_type_name", "default", "help"}.

    Raises FileNotFoundError for a missing notebook and ValueError for one that a grid cannot run.
    """
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"no notebook {notebook}")
    known = papermill.inspect_notebook(str(notebook))
    if "run_dir" not in known:
        raise ValueError(
            f"{notebook}: a grid needs a notebook that trains one model, with run_dir in a cell tagged parameters: the "
            "folder of one run"
        )
    return known


def check_parameters(notebook: str | Path, parameters: dict[str, Any], known: dict[str, dict[str, str]]) -> None:
    """Raise ValueError for a parameter that the notebook does not have, and for a value of another type."""
    for name, value in parameters.items():
        if name == "run_dir":
            raise ValueError("run_dir: a grid names the folder of each run itself; say where they are kept with runs")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"{notebook} has no parameter {name!r}; {meant}it has {', '.join(known)}")
        kind = known[name]["inferred_type_name"]
        if not fits(value, kind):
            raise ValueError(f"{name}={value!r}: the notebook's {name} is of the type {kind}")


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of the type that papermill infers for a parameter, "None" if the notebook does not say."""
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
        kind = known[name]["inferred_type_name"] if name in known else "str"
        values[name] = [_value(name, text, kind) for text in texts]
    return values


def _value(name: str, text: str, kind: str) -> Any:
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": BOOLS.__getitem__}
    try:
        return None if text == "None" else kinds.get(kind, str)(text)
    except (ValueError, KeyError):
        raise ValueError(f"-p {name} {text}: the notebook's {name} is of the type {kind}") from None
