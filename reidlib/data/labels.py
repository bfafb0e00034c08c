"""What a label means, however it is spelled: the one place where identities and cameras become numbers."""

import re
import unicodedata
from collections import defaultdict

import numpy as np

from reidlib.files import few

DIGITS = 18  # of the longest number that int64 holds
INVISIBLE = dict.fromkeys((0xAD, 0x200B, 0x2060, 0xFEFF))  # soft hyphen, blanks of no width, byte order mark
MINUS = dict.fromkeys(map(ord, "‐‑‒–—−﹣－"), "-")  # what fonts, Excel and keyboards make of a minus
WHOLE = re.compile(r"[+-]?\d{1,300}(?:\.0*)?")  # 4, 007, -1, and 4.0 as pandas writes it
MISSING = {"", "?", "-", "--", ".", "nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "nil", "inf", "-inf"}
MISSING |= {"#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!"}  # Excel's errors
MISSING |= {"infinity", "-infinity", "undefined", "unknown", "missing", "junk", "distractor", "distractors"}
NUMERIC = re.compile(  # what looks like a number wherever it stands: 00-1, 1.5, 1,000, 1e+05, - 1 and --1
    r"[+-]*\s*(?:0+-+\d+|\d*[.,]\d+|\d{1,3}(?:[ ,']\d{3})+|\d+\.?\d*e[+-]\d+|\d+\.\d*e\d+)"
    r"|[+-]+\s+\d+|[+-]{2,}\d+",
    re.I,
)
NUMERIC_TOO = re.compile(r"[\W\d_]+|\d+e\d+|0x[\da-f]+", re.I)  # what does so only beside numbers: 12-3, 1_000, 1e5
REMEDY = {
    "pid": "give their identity or leave them out; in the gallery write -1 for junk and 0 for a stranger",
    "camid": "give every image its camera, or none",
}
NO_NUMBER = "it looks like a number and is no whole one, or too low: write 12 or -1, or begin a name with a letter"


def spelled(name: str) -> str:
    """The one spelling of a name: in Unicode's form NFC, without invisible letters and blanks around it."""
    return unicodedata.normalize("NFC", name.translate(INVISIBLE)).strip()


def clean(label: str) -> str:
    """The one spelling of a label: " 007" and "7.0" are "7", "−1" is "-1", and a name is as `spelled`."""
    text = spelled(label)
    number = text.translate(MINUS)
    return str(int(number.partition(".")[0])) if WHOLE.fullmatch(number) else text


def numbers(name: str, kind: str, labels: list[str], places: list[str]) -> np.ndarray:
    """Labels as int64 (N,): whole numbers stay as they are, unless a name or a very long number is among them.

    Then all but -1, 0 and other negative numbers are counted from 1: first the numbers by size, then the names sorted.

    Parameters
    ----------
    name, kind : str, the data set, and "pid" or "camid", for messages
    labels, places : N labels as they are written, and where each stands: a line or a file

    Raises
    ------
    ValueError
        For a missing value and for what looks like a number and is none, with the places.
    """
    meaning = {label: clean(label) for label in set(labels)}
    values = {text: int(text) for text in meaning.values() if WHOLE.fullmatch(text)}
    among_numbers = any(value > 0 for value in values.values())
    names = {text for text in meaning.values() if text not in values}
    missing = {text for text in names if text.translate(MINUS).casefold() in MISSING}
    odd = {text for text in names - missing if NUMERIC.fullmatch(text.translate(MINUS))}
    odd |= {text for text in names - missing if among_numbers and NUMERIC_TOO.fullmatch(text)}
    odd |= {text for text, value in values.items() if value <= -(10**DIGITS)}
    what = "identity" if kind == "pid" else "camera"
    for refused, remedy in ((missing, f"no {what}: {REMEDY[kind]}"), (odd, NO_NUMBER)):
        if refused:
            raise ValueError(_refusal(name, kind, [label for label in meaning if meaning[label] in refused], labels,
                                      places, remedy))  # fmt: skip
    if names or any(len(text.lstrip("-")) > DIGITS for text in values):
        positive = sorted((text for text in values if values[text] > 0), key=lambda text: values[text])
        values |= {text: i for i, text in enumerate([*positive, *sorted(names)], 1)}
    return np.array([values[meaning[label]] for label in labels], np.int64)


def _refusal(name: str, kind: str, spellings: list[str], labels: list[str], places: list[str], remedy: str) -> str:
    """The message about some spellings, with where each of them stands."""
    where = defaultdict(list)
    for label, place in zip(labels, places, strict=True):
        where[label].append(place)
    seen = [f"{kind} {label!r} in {few(where[label])}" for label in sorted(spellings)]
    if kind == "pid" and any(clean(label).translate(MINUS).endswith("-1") for label in spellings):
        remedy += "; if it is junk, as MARS's 00-1 is, rename it to -1"
    return f"{name}: {few(seen)}: {remedy}"
