"""The tables of results/ in Markdown, for docs/results.md: measured rows beside published ones."""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from reidlib.files import project, read_csv, write_whole
from reidlib.models import facts
from reidlib.studies import ladder, worlds
from reidlib.studies.gains import Gain
from reidlib.studies.published import MEASURES, Line, compare_published, one_a_seed, unusual

TABLES = {  # pair of data sets -> files below results/, one per model
    ("toy", "toy-duke"): ("toy.csv", "toy_pcb.csv"),
    ("market", "duke"): ("market_duke.csv", "market_duke_pcb.csv"),
}
LAPTOP = {  # a table of real people, from files below results/ that `make market` writes
    "Market-1501 without a GPU": ("market1501.csv", "market1501_strong.csv", "market1501_longer.csv"),
    "The ladder on Market-1501, at three tenths of the length": ("market1501_ladder.csv", "market1501_switches.csv"),
}
LADDER = {
    "added to those before it": ladder.gains_added, "added to the other four": ladder.gains_left_out,
    "at once": ladder.gains_whole,
}  # fmt: skip
GAINED = (  # what is compared there, in which ways, from rows of which recipes
    ("trick", LADDER, (*ladder.RUNGS, *ladder.LEFT_OUT)),
    ("switch of a stronger baseline", {"added to the five": ladder.gains_switched}, ladder.SWITCHED),
)
START, END = "<!-- results: written by python -m reidlib.studies.tables -->", "<!-- results end -->"
BLOCK = re.compile(f"(?<={re.escape(START)}\n).*?(?={re.escape(END)})", re.S)


def table(head: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, with a head and lines of as many cells.

    >>> print(table(["model", "mAP"], [["baseline", 23.4]]))
    | model | mAP |
    | --- | --- |
    | baseline | 23.4 |
    """
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *lines))


def markdown(lines: list[Line]) -> str:
    """The lines as a table in Markdown, rank-1 / mAP in percent. Empty columns are left out."""
    head = ("model", "trained → tested", "erasing", "recipe", "each run", "mean ± sd", "reference", "paper", "verdict")
    cells = [
        (
            getattr(facts(line.model), "LABEL", line.model) + "".join(f" + {x.upper()}" for x in added(line.tricks)),
            f"{line.trained} → {line.tested}",
            "no" if "-erasing" in line.tricks else "yes",
            line.recipe,
            listed(line.rows),
            spread(line.rows),
            spread(line.reference),
            spread(line.paper),
            line.verdict,
        )
        for line in lines
    ]
    kept = [i for i in range(len(head)) if i in (4, 5) or any(row[i] for row in cells)]
    return table([head[i] for i in kept], [[row[i] for i in kept] for row in cells])


def added(tricks: str) -> list[str]:
    """The tricks that a word adds, as ["rpp"] of "all-erasing+rpp"."""
    return re.findall(r"\+(\w+)", tricks)


def spread(rows: list[dict]) -> str:
    """Mean rank-1 / mAP of rows, ± standard deviation from two rows on; empty without rows."""
    columns = [[row[name] for row in rows] for name in MEASURES] if rows else []
    return " / ".join(f"{mean(x):.1f}" + (f" ± {stdev(x):.1f}" if len(x) > 1 else "") for x in columns)


def listed(rows: list[dict]) -> str:
    """The rank-1 / mAP of each run; of more than five how many there are, and between which mAP they lie."""
    if len(rows) <= 5:
        return " · ".join(spread([row]) for row in rows)
    return f"{len(rows)} runs, mAP {min(row['mAP'] for row in rows):.1f} to {max(row['mAP'] for row in rows):.1f}"


def plain(rows: list[dict]) -> str:
    """A table without published numbers: a line for each recipe; for each test set every run, and mean ± sd."""
    tests = list(dict.fromkeys(row["test"] for row in rows))
    cells = []
    for tricks, recipe in dict.fromkeys((row["tricks"], unusual(row)) for row in rows):
        cells.append([tricks, recipe])
        for test in tests:
            here = [row for row in rows if (row["tricks"], unusual(row), row["test"]) == (tricks, recipe, test)]
            cells[-1].append(f"{listed(one_a_seed(here))}; **{spread(here)}**")
    return table(["tricks", "recipe", *tests], cells)


def of_ladder(rows: list[dict]) -> list[str]:
    """What the tricks and the switches gave in mAP to runs on Market-1501, for each test set: titles and tables.

    A table needs two seeds or more of each of its recipes on each test set of the rows.
    """
    tests = sorted({row["test"] for row in rows}, key=lambda test: (test != "market", test))
    seeds = Counter((tricks, test) for tricks, test, _ in {(row["tricks"], row["test"], row["seed"]) for row in rows})
    parts = []
    for what, ways, recipes in GAINED:
        if not rows or min(seeds[cell] for cell in product(recipes, tests)) < 2:
            continue
        cells = [
            [gains[0].name, how, *map(_bold, gains)]
            for how, of in ways.items()
            for gains in zip(*(of(rows, dataset="market", tested=test) for test in tests), strict=True)
        ]
        title = f"**What each {what} gained there**; bold is a gain or a loss; for {len(cells)} comparisons on each set"
        parts += [f"{title}\n", table(["tricks", "how", *(f"mAP gained on {test}" for test in tests)], cells) + "\n"]
    return parts


def of_worlds(rows: list[dict]) -> str:
    """What each trick gave in mAP at each setting of its knob, and how that grows."""
    cells = []
    growth = worlds.trends(rows)
    for panel, at in worlds.gains(rows).items():
        found = "; ".join(_bold(gain, f"{panel.label(setting)}: ") for setting, gain in at.items())
        cells.append([panel.trick, panel.knob, found, _bold(growth[panel])])
    return table(["trick", "knob", "mAP gained at each setting", "growth from one setting to the next"], cells)


def _bold(gain: Gain, before: str = "") -> str:
    """A mean with its interval, in bold if it is a gain or a loss."""
    words = f"{before}{gain.interval}"
    return words if gain.verdict.startswith("open") else f"**{words}**"


def results_tables(folder: str | Path | None = None) -> str:
    """The tables of `folder`, by default results/, in Markdown with headings, for docs/results.md.

    Raises FileNotFoundError if the folder has no published.csv.
    """
    base = Path(folder or project() / "results")
    published = read_csv(base / "published.csv")
    parts = []
    for title, names in LAPTOP.items():
        there = [name for name in names if (base / name).is_file()]
        rows = [row for name in there for row in read_csv(base / name)]
        parts += [f"**{title}**, {len(rows)} rows of results/{', '.join(there)}\n", plain(rows) + "\n"] if rows else []
        parts += of_ladder(rows)
    for sets, names in TABLES.items():
        tables = {name: read_csv(base / name) for name in names if (base / name).is_file()}
        lines = compare_published([row for rows in tables.values() for row in rows], published, sets)
        made = " and ".join(f"{len(rows)} rows of results/{name}" for name, rows in tables.items())
        notes = [f"{row['note']}\n" for line in lines for row in line.paper if row["note"]]
        parts += [f"**{sets[0]} and {sets[1]}**, {made or 'not measured yet'}\n", markdown(lines) + "\n", *notes]
    if (base / worlds.TABLE).is_file():
        rows = read_csv(base / worlds.TABLE)
        title = f"**Along one knob**, {len(rows)} rows of results/{worlds.TABLE}; bold is a gain or a loss"
        allow = f"intervals of gains allow for {worlds.COMPARED} comparisons, those of growth for {len(worlds.PANELS)}"
        parts += [f"{title}; {allow}\n", of_worlds(rows) + "\n"]
    return "\n".join(parts)


def in_page(text: str, tables: str) -> str:
    """The `text` of docs/results.md with `tables` between its two marks. ValueError if the marks are missing."""
    if not BLOCK.search(text):
        raise ValueError(f"docs/results.md has no pair of marks for the tables; put {START} and {END} on own lines")
    return BLOCK.sub(lambda _: f"\n{tables}\n", text)


if __name__ == "__main__":
    words = "Write the tables of results/ into docs/results.md, in place of those that are there."
    argparse.ArgumentParser(prog="python -m reidlib.studies.tables", description=words).parse_args()
    page = project() / "docs" / "results.md"
    write_whole(page, in_page(page.read_text("utf-8"), results_tables()).encode())
