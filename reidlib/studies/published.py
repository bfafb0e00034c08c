"""Measured rows beside published ones: repeats, means, spreads and a verdict, and the tables of the README."""

import re
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from statistics import mean, stdev

import torchvision

from reidlib.data import PUBLISHED
from reidlib.files import project, read_csv, write_whole
from reidlib.models import facts
from reidlib.recipe import BACKBONES, Recipe, trick_fields

# Largest difference between a mean and that of the reference implementation, in percent. Within a data set, its own
# three runs differ by up to 1.1 rank-1 and 0.2 mAP.
TOLERANCE = {"rank1": 1.0, "mAP": 0.5}
REPEATS = 3
MEASURES = tuple(TOLERANCE)
TABLES = {  # pair of data sets -> files below results/: one per model, and that of benchmarks/market1501.py
    ("toy", "toy-duke"): ("toy.csv", "toy_pcb.csv"),
    ("market", "duke"): ("market_duke.csv", "market_duke_pcb.csv", "market1501.csv"),
}
# Fields of a recipe that do not change what is trained. The reference implementation computes in float32; auto is bf16
# on a device that supports it, else float32.
MANNER = ("checkpoint_every", "compile", "precision")
START, END = "<!-- results: written by python -m reidlib.studies.published -->", "<!-- results end -->"
BLOCK = re.compile(f"(?<={re.escape(START)}\n).*?(?={re.escape(END)})", re.S)


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
        """`reproduced`, `differs by ...`, or `not comparable: ...` with the reasons.

        The mean over the seeds is compared with the mean of the reference implementation's runs, by TOLERANCE. Empty if
        nothing was measured or nothing was published.
        """
        if not self.rows or not (self.reference or self.paper):
            return ""
        if reasons := _reasons(self):
            return f"not comparable: {', '.join(reasons)}"
        apart = {name: _mean(self.rows, name) - _mean(self.reference, name) for name in MEASURES}
        if all(abs(apart[name]) <= TOLERANCE[name] + 1e-9 for name in MEASURES):
            return "reproduced"
        return f"differs by {apart['rank1']:+.1f} rank-1, {apart['mAP']:+.1f} mAP"


def compare_published(rows: list[dict], published: list[dict], sets: tuple[str, str]) -> list[Line]:
    """The lines of the table of two data sets: each model tested on both, with its own sets of tricks.

    rows: of `collect`; runs of another recipe (another preset, fewer epochs, other weights) are a line of their own.
    published: the rows of results/published.csv; those without a measured run are a line as well.
    """
    a, b = sets
    models = dict.fromkeys(_model(row) for row in (*published, *rows))
    pairs = ((a, a), (a, b), (b, b), (b, a))
    lines = []
    for model, (trained, tested) in product(models, pairs):
        for tricks in getattr(facts(model), "LINES", ("all",)):
            ours, theirs = (chosen(table, trained, tested, tricks, model) for table in (rows, published))
            reference = [row for row in theirs if row["who"] == "reference" and row["run"] != "average"]
            paper = [row for row in theirs if row["who"] == "paper"]
            for group in _groups(ours) or ([[]] if theirs else []):
                lines.append(Line(model, trained, tested, tricks, group, reference, paper))
    return lines


def markdown(lines: list[Line]) -> str:
    """The lines as a table in Markdown, rank-1 / mAP in percent. Empty columns are left out."""
    head = ("model", "trained → tested", "erasing", "recipe", "each run", "mean ± sd", "reference", "paper", "verdict")
    table = [
        (
            getattr(facts(line.model), "LABEL", line.model) + (" + RPP" if "+rpp" in line.tricks else ""),
            f"{line.trained} → {line.tested}",
            "no" if "-erasing" in line.tricks else "yes",
            line.recipe,
            " · ".join(f"{row['rank1']:.1f} / {row['mAP']:.1f}" for row in line.rows),
            spread(line.rows),
            spread(line.reference),
            spread(line.paper),
            line.verdict,
        )
        for line in lines
    ]
    kept = [i for i in range(len(head)) if i in (4, 5) or any(cells[i] for cells in table)]
    cells = [[row[i] for i in kept] for row in (head, ["---"] * len(head), *table)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def spread(rows: list[dict]) -> str:
    """Mean rank-1 / mAP of rows, ± standard deviation from two rows on; empty without rows."""
    return " / ".join(_spread([row[name] for row in rows]) for name in MEASURES) if rows else ""


def results_tables(folder: str | Path | None = None) -> str:
    """The tables of `folder`, by default results/, in Markdown with headings: those of the README and of notebook 4.

    Raises FileNotFoundError if the folder has no published.csv.
    """
    base = Path(folder or project() / "results")
    published = read_csv(base / "published.csv")
    parts = []
    for sets, names in TABLES.items():
        tables = {name: read_csv(base / name) for name in names if (base / name).is_file()}
        lines = compare_published([row for rows in tables.values() for row in rows], published, sets)
        made = " and ".join(f"{len(rows)} rows of results/{name}" for name, rows in tables.items())
        notes = [f"{row['note']}\n" for line in lines for row in line.paper if row["note"]]
        parts += [f"**{sets[0]} and {sets[1]}**, {made or 'not measured yet'}\n", markdown(lines) + "\n", *notes]
    return "\n".join(parts)


def in_readme(text: str, tables: str) -> str:
    """The README's `text` with `tables` between its two marks. Raises ValueError if the marks are missing."""
    if not BLOCK.search(text):
        raise ValueError(f"README.md has no pair of marks for the results; put {START} and {END} on lines of their own")
    return BLOCK.sub(lambda _: f"\n{tables}\n", text)


def chosen(rows: list[dict], trained: str, tested: str, tricks: str, model: str = "bot") -> list[dict]:
    """A model's rows, measured or published, with these tricks (in any spelling), on one test set, not re-ranked."""
    fields, wanted = trick_fields(tricks, model), (model, trained, tested, "off")
    here = [row for row in rows if (_model(row), row["dataset"], row["test"], row["reranking"]) == wanted]
    return [row for row in here if trick_fields(row["tricks"], model) == fields]


def _model(row: dict) -> str:
    """The model of a row; rows that name none are older than the second model."""
    return row.get("model", "bot")


def _groups(rows: list[dict]) -> list[list[dict]]:
    """Rows by recipe, each group in the order of seeds; the reference recipe comes first."""
    rows = sorted(rows, key=lambda row: (unusual(row), row["seed"]))
    return [list(group) for _, group in groupby(rows, unusual)]


def unusual(row: dict) -> str:
    """What differs from the reference recipe of the data set in a measured row, in words; empty if nothing does.

    This includes the test: an earlier checkpoint, averaged mirror images, a part of the queries.
    """
    parts = [row["preset"]] if row["preset"] != "reference" else []
    parts += [changes] if (changes := _changes(row)) else []
    parts += [f"after {row['epoch']} of {row['epochs']} epochs"] if row["epoch"] != row["epochs"] else []
    if (processes := row.get("world") or 1) != 1:  # rows older than this column were trained by one
        parts.append(f"trained by {processes} processes")
    if (row["flip"] == "on") != facts(_model(row)).flip:
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
    return _imagenet(row) and Recipe.for_dataset(row["dataset"], model=_model(row)).weights == "imagenet"


def _imagenet(row: dict) -> bool:
    """Whether a training started from ImageNet weights, downloaded or from torchvision's file (its name has a hash)."""
    if not row["weights"].endswith(".pth") or row["backbone"] not in BACKBONES:
        return row["weights"] == "imagenet"
    return row["weights"] == Path(torchvision.models.get_model_weights(row["backbone"])["IMAGENET1K_V1"].url).name


def _reasons(line: Line) -> list[str]:
    """Why a line cannot be compared with the reference implementation; empty if it can."""
    seeds = len({row["seed"] for row in line.rows})
    reasons = [] if line.reference else ["no number of the reference implementation"]
    if not _imagenet(line.rows[0]) and "weights=" not in line.recipe:
        reasons.append("no ImageNet weights")
    reasons += [line.recipe] if line.recipe else []
    return reasons + ([f"{seeds} of {REPEATS} seeds"] if seeds < REPEATS else [])


def _mean(rows: list[dict], name: str) -> float:
    return mean(row[name] for row in rows)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":  # write the tables of results/ into the README
    readme = project() / "README.md"
    write_whole(readme, in_readme(readme.read_text(), results_tables()).encode())
