"""Tables of images: CSV files and DataFrames with columns path, pid, split and, if known, camid."""

import codecs
import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, Protocol

from reidlib.data.layouts import PARTS, YOURS, Row, no_cameras
from reidlib.files import few, regular

NEEDED = ("path", "pid", "split")
CAMERA_WORDS = ("cam", "view", "device", "sensor")  # in the name of a column that may hold cameras
SAVE = "save it as 'CSV UTF-8' (comma delimited)"


class Frame(Protocol):
    """A table in memory: a DataFrame of pandas or polars, a Table of pyarrow."""

    @property
    def columns(self) -> Iterable[Any]:
        """The names of the columns."""
        ...

    def __getitem__(self, column: Any, /) -> Iterable[Any]: ...


def read_table(file: Path) -> list[Row]:
    """Rows of a CSV table, whose paths are below its folder.

    ValueError names the file and the lines that cannot be used, and why.
    """
    text = _text(file)
    for strict in (False, True):  # a cell of several lines is one only if it ends as a cell does
        table = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=strict)
        records, begins = [], 1
        try:
            for cells in table:
                records.append((f"line {table.line_num}", cells))
                begins = table.line_num + 1
        except csv.Error as error:
            remedy = "does a quotation mark open a cell and none close it?"
            raise ValueError(f"{file.name}, line {begins}: {error}; {remedy}") from None
        if not any("\n" in cell for _, cells in records for cell in cells):
            break
    return _rows(file.name, file.parent, "line 1", records[0][1] if records else [], records[1:])


def _text(file: Path) -> str:
    content = regular(file).read_bytes()
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        remedy = f"in Excel {SAVE}, or give load() the DataFrame that pandas.read_excel returns"
        raise ValueError(f"{file.name}: a workbook of Excel and no text; {remedy}")
    head = content[:1000]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0.4 < head.count(0) / (len(head) or 1) < 0.6:
        raise ValueError(f"{file.name}: its encoding is UTF-16, not UTF-8; {SAVE}")
    if b"\0" in head:
        raise ValueError(f"{file.name}: an image or another binary file, and no table; {YOURS}")
    try:
        return content.decode("utf-8-sig")  # -sig: Excel begins a file with a byte order mark
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        encoding = f"byte 0x{byte:02x} is not UTF-8; the encoding is probably cp1252 (Excel's 'CSV')"
        raise ValueError(f"{file.name}, line {line}: {encoding}; {SAVE}") from None


def read_frame(frame: Frame, root: str | Path | None) -> tuple[Path, list[Row]]:
    """The folder and the rows of a table in memory; paths are below `root`, or absolute and below their common folder.

    ValueError names the rows, counted from 0, that cannot be used.
    """
    columns = list(getattr(frame, "column_names", frame.columns))  # pyarrow's columns are the values
    header = [str(column) for column in columns]
    cells = {column: [str(value) for value in frame[column]] for column in columns}
    for column in columns:
        if _fold(str(column)) == "path":
            root, cells[column] = _below(root, cells[column])
    folder = Path(os.path.abspath(Path(root or "").expanduser()))
    records = [(f"row {i}", list(record)) for i, record in enumerate(zip(*cells.values(), strict=True))]
    return folder, _rows(folder.name or "table", folder, "the table", header, records)


def _below(root: str | Path | None, paths: list[str]) -> tuple[str | Path | None, list[str]]:
    """The folder of images and their paths below it; without a root that is the common folder of absolute paths."""
    if root is None and paths and all(os.path.isabs(path) for path in paths):
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    top = os.path.join(os.path.abspath(Path(root or "").expanduser()), "")
    return root, [path.replace("/", os.sep).removeprefix(top) for path in paths]


def _fold(column: str) -> str:
    return column.strip().casefold()


def _rows(name: str, folder: Path, top: str, header: list[str], records: list[tuple[str, list[str]]]) -> list[Row]:
    """Rows of records, each with its place; `top` is where the header stands."""
    columns = [_fold(column) for column in header]
    if missing := [column for column in NEEDED if column not in columns]:
        comma = "; separate columns by commas" if len(columns) == 1 and set(columns[0]) & set(";\t|") else ""
        raise ValueError(f"{name}, {top}: no column {', '.join(missing)}; found: {', '.join(header)}{comma}")
    if twice := [column for column in (*NEEDED, "camid") if columns.count(column) > 1]:
        raise ValueError(f"{name}, {top}: more than one column {twice[0]}; found: {', '.join(header)}")
    if "camid" not in columns:
        near = [f"column {column.strip()!r}" for column in header if any(w in _fold(column) for w in CAMERA_WORDS)]
        no_cameras(name, "column camid", near, depth=6)
    rows, bad = [], []
    for place, values in records:
        if not any(value.strip() for value in values):
            continue
        cells = dict.fromkeys(columns, "") | {c: value.strip() for c, value in zip(columns, values, strict=False)}
        cells["split"] = cells["split"].casefold()
        problem = _problem(folder, cells, values[len(columns) :])
        bad += [f"{place}: {problem}"] if problem else []
        path = PurePath(cells["path"]).as_posix()
        rows.append(Row(cells["split"], path, cells["pid"], cells.get("camid", ""), place))
    if bad:
        raise ValueError(f"{name}: {few(bad)}")
    return rows


def _problem(folder: Path, cells: dict[str, str], more: list[str]) -> str | None:
    """What is wrong with one record of a table. A path may not leave the table's folder, so that both can be moved."""
    path = PurePath(cells["path"])
    if empty := [column for column in ("path", "pid", "camid") if cells.get(column) == ""]:
        return f"{empty[0]} is empty" + "; leave the column out if no camera is known" * (empty[0] == "camid")
    if any(more):
        return f"more cells than columns: {', '.join(more)}; put a cell that holds a comma into quotation marks"
    if cells["split"] not in PARTS:
        return f"split is {cells['split']!r}, not train, query or gallery"
    if path.anchor or ".." in path.parts:
        return f"path {cells['path']!r} leaves the table's folder; put the table above its images, write paths from it"
    slashes = "; write / between folders" if "\\" in cells["path"] else ""
    return None if (folder / path).is_file() else f"no file {cells['path']!r}{slashes}"
