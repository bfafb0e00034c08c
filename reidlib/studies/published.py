"""Measured rows beside published ones: which are comparable, and a verdict with its intervals."""

from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from statistics import mean

import torchvision
from scipy.stats import ttest_ind

from reidlib.data import PUBLISHED
from reidlib.models import facts
from reidlib.recipe import TORCHVISION, Recipe, trick_fields

MARGIN = {"rank1": 1.0, "mAP": 0.5}  # percent points: what lies closer is the same result
LEVEL = 0.95  # of the intervals of rank-1 and mAP together
REPEATS = 3
MEASURES = {"rank1": "rank-1", "mAP": "mAP"}
# Fields that do not change what is trained; the reference computes in float32, auto is bf16 on devices that support it.
MANNER = ("checkpoint_every", "compile", "precision")


@dataclass(frozen=True)
class Line:
    """One line of a table: the runs of one recipe on one test set, and the published runs beside them."""

    model: str
    trained: str
    tested: str
    tricks: str
    rows: list[dict]  # of `collect`, by seed; empty if nothing was measured
    reference: list[dict]  # of results/published.csv: the reference implementation's runs
    paper: list[dict]

    @property
    def recipe(self) -> str:
        """What differs from the reference recipe of the data set, in words; empty if nothing does."""
        return unusual(self.rows[0]) if self.rows else ""

    @property
    def verdict(self) -> str:
        """`reproduced`, `different` or `open` with the differences, or `not comparable` with the reasons.

        The differences are those of the means over the runs, here and of the reference implementation, with Welch's
        intervals, which hold together at `LEVEL`. Both within `MARGIN` of zero: reproduced. Else, one that excludes
        zero, above or below: different. Else these runs cannot tell. One published run has no spread, so it gets the
        distance alone. Empty if nothing was measured or nothing was published.
        """
        if not self.rows or not (self.reference or self.paper):
            return ""
        if reasons := _reasons(self):
            return f"not comparable: {', '.join(reasons)}"
        sides = {name: [[row[name] for row in rows] for rows in (self.rows, self.reference)] for name in MEASURES}
        apart = {name: f"{mean(a) - mean(b):+.1f}" for name, (a, b) in sides.items()}
        if len(self.reference) == 1:
            return f"no verdict: {_named(apart)} from one published run"
        ends = {name: welch(a, b, 1 - (1 - LEVEL) / len(sides)) for name, (a, b) in sides.items()}
        within = all(max(map(abs, ends[name])) <= MARGIN[name] for name in ends)
        beyond = any(low > 0 or high < 0 for low, high in ends.values())
        word = "reproduced" if within else "different" if beyond else "open"
        return f"{word}: " + _named({key: f"{apart[key]} [{ends[key][0]:+.1f}, {ends[key][1]:+.1f}]" for key in apart})


def welch(a: list[float], b: list[float], level: float) -> tuple[float, float]:
    """Interval for the difference of the means of two samples of unequal spread, a - b (Welch 1947)."""
    found = ttest_ind(a, b, equal_var=False).confidence_interval(level)
    return float(found.low), float(found.high)


def compare_published(rows: list[dict], published: list[dict], sets: tuple[str, str]) -> list[Line]:
    """The lines of the table of two data sets: each model tested on both, with its own sets of tricks.

    rows: of `collect`; runs of another recipe (another preset, fewer epochs, other weights) are a line of their own.
    published: the rows of results/published.csv; those without a measured run are a line as well. Raises ValueError as
    `one_a_seed` does.
    """
    a, b = sets
    models = dict.fromkeys(row["model"] for row in (*published, *rows))
    pairs = ((a, a), (a, b), (b, b), (b, a))
    lines = []
    for model, (trained, tested) in product(models, pairs):
        for tricks in getattr(facts(model), "LINES", ("all",)):
            ours, theirs = (chosen(table, trained, tested, tricks, model) for table in (rows, published))
            reference = [row for row in theirs if row["who"] == "reference" and row["run"] != "average"]
            paper = [row for row in theirs if row["who"] == "paper"]
            for group in groups(ours) or ([[]] if theirs else []):
                lines.append(Line(model, trained, tested, tricks, group, reference, paper))
    return lines


def chosen(rows: list[dict], trained: str, tested: str, tricks: str, model: str = "bot") -> list[dict]:
    """A model's rows, measured or published, with these tricks (in any spelling), on one test set, not re-ranked."""
    fields, wanted = trick_fields(tricks, model), (model, trained, tested, "off")
    here = [row for row in rows if (row["model"], row["dataset"], row["test"], row["reranking"]) == wanted]
    return [row for row in here if trick_fields(row["tricks"], model) == fields]


def groups(rows: list[dict]) -> list[list[dict]]:
    """Rows by recipe, each group in the order of seeds; the reference recipe comes first. As `one_a_seed` otherwise."""
    rows = sorted(rows, key=lambda row: (unusual(row), row["seed"]))
    return [one_a_seed(list(group)) for _, group in groupby(rows, unusual)]


def one_a_seed(rows: list[dict]) -> list[dict]:
    """The rows of one recipe on one test set. Raises ValueError if two have one seed or different code made them."""
    seeds = [row["seed"] for row in rows]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice or len({row.get("source") for row in rows}) > 1:
        fault = f"seed {twice[0]} occurs twice" if twice else "versions of the code are mixed"
        names = ("model", "tricks", "dataset", "test", "queries", "gallery")
        cell = ", ".join(str(rows[0][name]) for name in names if name in rows[0])
        raise ValueError(f"{cell}: {fault}; keep the rows of one version of the code, one a seed")
    return rows


def of_seeds(rows: list[dict], metric: str, **cell: object) -> dict[int, float]:
    """Seed -> score of the rows that have these values. Raises ValueError as `one_a_seed` does."""
    return {row["seed"]: row[metric] for row in one_a_seed([row for row in rows if cell.items() <= row.items()])}


def unusual(row: dict) -> str:
    """What differs from the reference recipe of the data set in a measured row, in words; empty if nothing does.

    This includes the test: an earlier checkpoint, averaged mirror images, a part of the queries.
    """
    parts = [row["preset"]] if row["preset"] != "reference" else []
    parts += [changes] if (changes := _changes(row)) else []
    parts += [f"after {row['epoch']} of {row['epochs']} epochs"] if row["epoch"] != row["epochs"] else []
    if (processes := row.get("world") or 1) != 1:  # rows older than this column were trained by one
        parts.append(f"trained by {processes} processes")
    if (row["flip"] == "on") != facts(row["model"]).flip:
        parts.append("mirror images averaged" if row["flip"] == "on" else "mirror images not averaged")
    if row["test"] in PUBLISHED and row["queries"] != (queries := PUBLISHED[row["test"]]["query"][0]):
        parts.append(f"{row['queries']} queries instead of {queries}")
    return ", ".join(parts)


def _changes(row: dict) -> str:
    """The changed fields that make a row another recipe, as in "epochs=60 weights=none"."""
    changed = [part for part in row["changed"].split() if part.partition("=")[0] not in MANNER]
    return " ".join(part for part in changed if not (part.startswith("weights=") and _standard_weights(row)))


def _standard_weights(row: dict) -> bool:
    """Whether the recipe of the data set asks for ImageNet weights and the training started from them."""
    return _imagenet(row) and Recipe.for_dataset(row["dataset"], model=row["model"]).weights == "imagenet"


def _imagenet(row: dict) -> bool:
    """Whether a training started from ImageNet weights, downloaded or from torchvision's file (its name has a hash)."""
    if not row["weights"].endswith(".pth") or row["backbone"] not in TORCHVISION:
        return row["weights"] == "imagenet"
    return row["weights"] == Path(torchvision.models.get_model_weights(row["backbone"])["IMAGENET1K_V1"].url).name


def _reasons(line: Line) -> list[str]:
    """Why a line cannot be compared with the reference implementation; empty if it can."""
    found = {
        "no number of the reference implementation": not line.reference,
        "no ImageNet weights": not _imagenet(line.rows[0]) and "weights=" not in line.recipe,
        line.recipe: bool(line.recipe),
        f"{len(line.rows)} of {REPEATS} seeds": len(line.rows) < REPEATS,
    }
    return [reason for reason, holds in found.items() if holds]


def _named(values: dict[str, str]) -> str:
    return ", ".join(f"{value} {MEASURES[name]}" for name, value in values.items())
