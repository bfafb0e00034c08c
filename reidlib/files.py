"""Files: written whole or not at all, locks, CSV rows, and where the project lies."""

import csv
import io
import os
from pathlib import Path


def few(items: list[str], most: int = 3) -> str:
    """The first few of a list and how many there are, for a message."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items):,} in all)"


def project() -> Path:
    """The folder that data/, runs/ and figures/ lie in: the repository, or here where only the package is installed."""
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def write_whole(file: Path, content) -> None:
    """Write bytes, or what `content(stream)` writes, under a temporary name, then rename: all of the file or none.

    For one writer at a time.
    """
    temporary = file.with_name(file.name + ".tmp")
    try:
        with open(temporary, "wb") as stream:
            content(stream) if callable(content) else stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


# Columns that may look like numbers and are none.
TEXT = ("changed", "data", "source", "commit", "date", "torch", "device")


def write_csv(rows: list[dict], file: str | Path) -> None:
    """Write rows for `read_csv`, a column for each key, empty where a row has none; whole or not at all."""
    if not rows:
        raise ValueError(f"{file}: no rows to write; has any run finished? each leaves a result.json in its folder")
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(Path(file), text.getvalue().encode())


def read_csv(file: str | Path) -> list[dict]:
    """The rows of a CSV file, numbers as numbers."""
    with open(file, newline="") as stream:
        return [{key: _value(key, text) for key, text in row.items()} for row in csv.DictReader(stream)]


def _value(key: str, text: str):
    for kind in () if key in TEXT else (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def cache_folder() -> Path:
    """Where decoded images are kept: $REID_CACHE, else ~/.cache/reidlib. Safe to delete at any time."""
    return Path(os.environ.get("REID_CACHE") or Path.home() / ".cache" / "reidlib")
