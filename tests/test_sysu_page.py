"""The section on SYSU-MM01 of docs/results.md: its settings are those of the code, its numbers those of the file."""

import re

import numpy as np

import reidlib as rl

SECTION = (rl.project() / "docs" / "results.md").read_text().split("\n## SYSU-MM01\n")[1]
SETTINGS, PUBLISHED = (
    [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    for table in re.findall(r"^(?:\|.*\n)+", SECTION, re.M)
)
OURS = ("all", "all+channels")


def test_the_table_of_settings_shows_our_recipe_as_it_is():
    recipes = [rl.Recipe.for_dataset("sysu", tricks=tricks) for tricks in OURS]
    named = []
    for what, *cells in SETTINGS:
        names = re.findall(r"`(\w+)`", what)
        named += names
        if names:
            first, second = (", ".join(str(getattr(recipe, name)) for name in names) for recipe in recipes)
            assert cells[:2] == [first, "the same" if second == first else second], what
    assert len(named) == len(set(named))
    market = rl.Recipe.for_dataset("market")
    differ = {name for recipe in recipes for name in recipe.differences(market)} - {"dataset", "tricks"}
    assert differ <= set(named), "what tells these recipes from the one for one modality is in the table"


def test_the_table_of_settings_shows_our_system_as_it_is():
    rows = {what: cells[0] for what, *cells in SETTINGS}
    recipe = rl.Recipe.for_dataset("sysu", backbone="slim", weights="none")
    system = rl.build(recipe, np.arange(4), "cpu")
    assert rows["optimiser"] == type(system.optimizers["main"]).__name__
    assert rows["averaged with the mirror image"] == ("yes" if system.flip else "no")


def test_every_published_number_stands_in_the_page():
    rows = rl.read_csv(rl.project() / "results" / "published_infrared.csv")
    names = ("rank1", "rank10", "rank20", "mAP", "mINP")
    expected = [
        [row["who"], f"{row['repository']} at {row['commit']}", row["test"], *(row[name] for name in names)]
        + [row[name] or "not stated" for name in ("draw", "feature")]
        for row in rows
    ]
    found = [[*cells[:3], *(float(x) if x.strip() else "" for x in cells[3:8]), *cells[8:]] for cells in PUBLISHED]
    assert found == expected
