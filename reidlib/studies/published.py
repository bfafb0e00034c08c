"""Measured rows beside the published table: repeats, means, spreads and a verdict; and the table in the README."""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torchvision

from reidlib.data.shots import PUBLISHED
from reidlib.files import project, read_csv, write_whole
from reidlib.presets import standard, trick_fields

# How far means may lie from the reference implementation's, in percent. Its own three runs lie within 1.1 rank-1 and
# 0.2 mAP of each other at home.
TOLERANCE = {"rank1": 1.0, "mAP": 0.5}
REPEATS = 3
MEASURES = tuple(TOLERANCE)
TABLES = {  # files below results/: one a model, and what benchmarks/market1501.py writes
    ("toy", "toy-duke"): ("toy.csv", "toy_pcb.csv"),
    ("market", "duke"): ("market_duke.csv", "market_duke_pcb.csv", "market1501.csv"),
}
# Fields of a recipe that say how it is carried out and not what is trained. The reference implementation computes in
# float32; auto is that or bf16, as the device has it.
MANNER = ("checkpoint_every", "compile", "precision")
NAMES = {"bot": "Bag of Tricks", "pcb": "PCB"}
# the lines of each
WORDS = {"bot": ("all", "all-erasing"), "pcb": ("all", "all-erasing", "all+rpp", "all-erasing+rpp")}
MIRRORED = {"pcb", "aligngan"}  # the models whose own test averages mirror images
BLOCK = re.compile(r"(?<=<!-- results: written by python -m reidlib.published -->\n).*?(?=<!-- results end -->)", re.S)


@dataclass(frozen=True)
class Line:
    """One line of the table: runs of one recipe on one test set, and what was published for it."""

    model: str
    trained: str
    tested: str
    tricks: str
    rows: list[dict]  # of results.collect, by seed; empty where nothing was measured
    reference: list[dict]  # of results/published.csv: the reference implementation's runs
    paper: list[dict]

    @property
    def recipe(self) -> str:
        """What is not as the reference recipe of the data set says, in words; empty where nothing is."""
        return unusual(self.rows[0]) if self.rows else ""

    @property
    def verdict(self) -> str:
        """`reproduced`, `differs by ...`, or `not comparable: ...` with the reasons; empty where nothing was measured.

        Means over the seeds are compared with the mean of the reference implementation's runs, by TOLERANCE in percent.
        """
        if not self.rows:
            return ""
        if reasons := _reasons(self):
            return f"not comparable: {', '.join(reasons)}"
        apart = {name: _mean(self.rows, name) - _mean(self.reference, name) for name in MEASURES}
        if all(abs(apart[name]) <= TOLERANCE[name] + 1e-9 for name in MEASURES):
            return "reproduced"
        return f"differs by {apart['rank1']:+.1f} rank-1, {apart['mAP']:+.1f} mAP"


def compare_published(rows: list[dict], published: list[dict], sets: tuple[str, str]) -> list[Line]:
    """The lines of the table of two data sets: each model tested on both, with random erasing and without.

    rows: those of `results.collect`; published: those of results/published.csv. Runs of another recipe (no ImageNet
    weights, another preset, fewer epochs) are a line of their own; a line without runs stands for what was published
    and is unmeasured.
    """
    found, (a, b) = [], sets
    for model, words in WORDS.items():
        for (trained, tested), tricks in product(((a, a), (a, b), (b, b), (b, a)), words):
            mine, theirs = (chosen(table, trained, tested, tricks, model) for table in (rows, published))
            runs = {who: [row for row in theirs if row["who"] == who] for who in ("reference", "paper")}
            runs["reference"] = [row for row in runs["reference"] if row["run"] != "average"]
            for group in _groups(mine) or ([[]] if theirs else []):
                found.append(Line(model, trained, tested, tricks, group, **runs))
    return found


def markdown(lines: list[Line]) -> str:
    """The lines as a table in Markdown, rank-1 / mAP in percent; a column that is empty throughout is left out."""
    head = ("model", "trained → tested", "erasing", "recipe", "each run", "mean ± sd", "reference", "paper", "verdict")
    table = [
        (
            NAMES[line.model] + (" + RPP" if "+rpp" in line.tricks else ""),
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
    """Rank-1 / mAP over rows, mean ± standard deviation where there are two or more, empty where there is none."""
    return " / ".join(_spread([row[name] for row in rows]) for name in MEASURES) if rows else ""


def results_tables(folder: str | Path | None = None) -> str:
    """Every table of results/ (or of `folder`) in Markdown, each with a heading: what README and notebook 4 show."""
    base = Path(folder or project() / "results")
    published, found = read_csv(base / "published.csv"), []
    for sets, names in TABLES.items():
        tables = {name: read_csv(base / name) for name in names if (base / name).is_file()}
        lines = compare_published([row for rows in tables.values() for row in rows], published, sets)
        made = " and ".join(f"{len(rows)} rows of results/{name}" for name, rows in tables.items())
        notes = [f"{row['note']}\n" for line in lines for row in line.paper if row["note"]]
        found += [f"**{sets[0]} and {sets[1]}**, {made or 'not measured yet'}\n", markdown(lines) + "\n", *notes]
    return "\n".join(found)


def in_readme(text: str, tables: str) -> str:
    """The README's `text` with `tables` between its two marks. Raises ValueError where they are missing."""
    if not BLOCK.search(text):
        raise ValueError("README.md has no pair of marks for the results; see reidlib/published.py, BLOCK")
    return BLOCK.sub(lambda _: f"\n{tables}\n", text)


def chosen(rows: list[dict], trained: str, tested: str, tricks: str, model: str = "bot") -> list[dict]:
    """A model's rows, measured or published, with these tricks under whatever word, on one test set, not re-ranked.

    Rows that name no model are of the Bag of Tricks, which was the only one for a time.
    """
    on, wanted = trick_fields(tricks, model), (model, trained, tested, "off")
    here = [row for row in rows if (row.get("model", "bot"), row["dataset"], row["test"], row["reranking"]) == wanted]
    return [row for row in here if trick_fields(row["tricks"], model) == on]


def _groups(rows: list[dict]) -> list[list[dict]]:
    """Rows by recipe, the seeds of each in order; the reference recipe comes first."""
    found = {}
    for row in sorted(rows, key=lambda row: (unusual(row), row["seed"])):
        found.setdefault(unusual(row), []).append(row)
    return list(found.values())


def unusual(row: dict) -> str:
    """What is not as the reference recipe of the data set says in a measured row, in words; empty where nothing is.

    The words tell of the test as well: a checkpoint before the last, mirror images, a part of the queries.
    """
    parts = [row["preset"]] if row["preset"] != "reference" else []
    parts += [changes] if (changes := _changes(row)) else []
    parts += [f"after {row['epoch']} of {row['epochs']} epochs"] if row["epoch"] != row["epochs"] else []
    if (processes := row.get("world") or 1) != 1:  # rows older than this column were trained by one
        parts.append(f"trained by {processes} processes")
    if (row["flip"] == "on") != (row.get("model", "bot") in MIRRORED):
        parts.append("mirror images averaged" if row["flip"] == "on" else "mirror images not averaged")
    whole = PUBLISHED[row["test"]]["query"][0] if row["test"] in PUBLISHED else None
    if whole and row["queries"] != whole:
        parts.append(f"{row['queries']} queries instead of {whole}")
    return ", ".join(parts)


def _changes(row: dict) -> str:
    """The changed fields that make it another recipe, as in "epochs=60 weights=none"."""
    changed = [part for part in row["changed"].split() if part.partition("=")[0] not in MANNER]
    return " ".join(part for part in changed if not (part.startswith("weights=") and _standard_weights(row)))


def _standard_weights(row: dict) -> bool:
    """Whether the recipe says ImageNet and the training began there, be it from a file."""
    return _imagenet(row) and standard(row["dataset"], row.get("model", "bot")).get("weights", "imagenet") == "imagenet"


def _imagenet(row: dict) -> bool:
    """Whether a training began from torchvision's IMAGENET1K_V1, fetched or as its file, whose name ends in a hash."""
    if not row["weights"].endswith(".pth"):
        return row["weights"] == "imagenet"
    return row["weights"] == Path(torchvision.models.get_model_weights(row["backbone"])["IMAGENET1K_V1"].url).name


def _reasons(line: Line) -> list[str]:
    """Why a line cannot be held against the reference implementation's numbers; none where it can."""
    seeds = len({row["seed"] for row in line.rows})
    missing = "no number of the reference implementation" if line.paper else "no published number"
    reasons = [] if line.reference else [missing]
    if not _imagenet(line.rows[0]) and "weights=" not in line.recipe:  # the toy recipe has none
        reasons.append("no ImageNet weights")
    reasons += [line.recipe] if line.recipe else []
    return reasons + ([f"{seeds} of {REPEATS} seeds"] if seeds < REPEATS else [])


def _mean(rows: list[dict], name: str) -> float:
    return mean(row[name] for row in rows)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":  # python -m reidlib.published: the tables of results/ into the README
    readme = project() / "README.md"
    write_whole(readme, in_readme(readme.read_text(), results_tables()).encode())
