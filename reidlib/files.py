"""Files: written whole or not at all, locks, CSV rows, and where the project lies."""

import contextlib
import csv
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import filelock

# Columns of text, whatever a cell looks like; in the others a cell is a number if it is written as one.
TEXT = {"dataset", "test", "model", "preset", "tricks", "backbone", "weights", "changed", "data", "source", "commit"}
TEXT |= {"date", "torch", "device"}
WEIGHTS = Path(__file__).parent / "weights"  # the models that come with the library, each with its card
WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
UNWRITTEN = {  # what stands in the way of a file, in an error of `write_whole`
    errno.ENOENT: "not written; its folder may be missing",
    errno.ENOTDIR: "not written; a part of this path is a file",
    errno.EISDIR: "not written; this is a folder, and a file was to be written",
}
DECIMAL = re.compile(r"-?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=e))(e[+-]?[0-9]+)?")


def few(items: list[str], most: int = 3) -> str:
    """The first few of a list and how many there are, for a message."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items):,} in all)"


def project() -> Path:
    """The folder of data/, runs/ and figures/: the repository, or the current one if only the package is installed."""
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def cache_folder() -> Path:
    """Where decoded images are kept: $REID_CACHE, else ~/.cache/reidlib. Safe to delete at any time."""
    return Path(os.environ.get("REID_CACHE") or "~/.cache/reidlib").expanduser()


def weights_file(name: str | Path) -> Path:
    """A file of weights by its path, or by its bare name if it comes with the library and no file here is called so."""
    shipped = WEIGHTS / Path(name).name
    return shipped if Path(name).name == str(name) and shipped.is_file() and not Path(name).exists() else Path(name)


def regular(file: Path) -> Path:
    """The same file; OSError if it is missing or no regular file: to open a pipe or a device may wait for ever."""
    if not stat.S_ISREG(mode := file.stat().st_mode):
        raise OSError(f"{file} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}")
    return file


def made(folder: Path, what: str) -> Path:
    """The same folder, made if it is missing; OSError, with `what` it is for, if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        files = (path for path in (folder, *folder.parents) if path.exists() and not path.is_dir())
        why = next((f"{path} is a file" for path in files), error.strerror)
        raise type(error)(f"{what}: folder {folder} cannot be made ({why}); give another") from None
    return folder


def write_whole(file: Path, content: bytes | memoryview | Callable[[BinaryIO], Any]) -> None:
    """Write bytes, or what `content(stream)` writes, so that `file` holds all of it or is left as it was.

    The temporary file has a name of its own, is created exclusively (an existing file or link is never opened) and is
    removed if anything fails. An OSError names `file`.
    """
    temporary = file.with_name(f".{file.name[:50]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise OSError(error.errno, UNWRITTEN.get(error.errno, error.strerror), str(file)) from None
        raise


def locked(file: Path) -> filelock.BaseFileLock:
    """A context in which no other process, and no other thread, is in `locked(file)`: to read, change and write it."""
    return filelock.FileLock(file.with_name(f".{file.name}.lock"), thread_local=False)


def write_csv(rows: list[dict], file: str | Path) -> None:
    """Write rows to a CSV file that `read_csv` reads; the whole file or nothing.

    The columns are the keys of all rows; a cell is empty if its row lacks the key. Raises ValueError if there are none.
    """
    if not rows:
        raise ValueError(f"{file}: no rows to write; has any run finished? each leaves a result.json in its folder")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(Path(file), text.getvalue().encode(errors="backslashreplace"))


def read_csv(file: str | Path) -> list[dict]:
    """The rows of a CSV file (UTF-8, with or without a byte-order mark); its first line names the columns.

    A cell that is written as a plain decimal number is an int or a float, except in the columns of text, such as
    "dataset"; every other cell, "nan" and "1_000" among them, is a str. ValueError for a file of another kind.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, restval="", restkey=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no CSV file in UTF-8 ({error})") from None
    if longer := [i for i, row in enumerate(rows, 2) if isinstance(row.get(""), list)]:
        raise ValueError(f"{file}: row {longer[0]} has more cells than the first, which names the columns")
    return [{key: _value(key, text) for key, text in row.items()} for row in rows]


def _value(key: str, text: str) -> int | float | str:
    if key in TEXT:
        return text
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else text
