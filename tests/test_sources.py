"""The digest of the code covers the files that a number depends on, and no others."""

import shutil

import pytest

from reidlib import provenance
from reidlib.provenance import modules_of, source_digest
from reidlib.recipe import Recipe


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the library whose files can be edited."""
    shutil.copytree(provenance.PACKAGE, tmp_path / "reidlib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "reidlib")
    return tmp_path / "reidlib"


def edited(file):
    assert file.is_file()
    file.write_text(file.read_text() + "\n# another line\n")


def test_every_part_of_the_rule_exists():
    names = {name for name, _ in provenance.sources("reidlib.systems.bag_of_tricks")}
    assert {"recipe.py", "train/loop.py", "data/images.py", "evaluation/counting.py", "measuring.py"} <= names
    assert {"bag_of_tricks.py", "losses.py", "backbones.py"} <= names
    assert not {"pcb.py", "command.py", "results.py", "figures/plots.py"} & names


@pytest.mark.parametrize(
    "name",
    [
        "recipe",
        "settings",
        "data/layouts",
        "data/infrared",
        "data/images",
        "train/loop",
        "train/embedding",
        "evaluation/counting",
        "evaluation/sysu",
        "systems/losses",
        "systems/bag_of_tricks",
        "runs/measuring",
    ],
)
def test_a_file_that_a_result_depends_on_changes_the_digest(name, copy):
    before = source_digest()
    edited(copy / f"{name}.py")
    assert source_digest() != before


@pytest.mark.parametrize(
    "name",
    [
        "figures/plots",
        "browser/widget",
        "studies/ladder",
        "runs/grid",
        "runs/jobs",
        "runs/results",
        "toy/sets",
        "systems/pcb",
        "systems/aligngan/translation",
        "provenance",
        "files",
    ],
)
def test_a_file_that_it_does_not_depend_on_does_not(name, copy):
    before = source_digest()
    edited(copy / f"{name}.py")
    assert source_digest() == before


def test_a_system_is_all_files_of_its_package(copy):
    before = source_digest("reidlib.systems.aligngan")
    edited(copy / "systems" / "aligngan" / "translation.py")
    assert source_digest("reidlib.systems.aligngan") != before


def test_a_system_from_outside_is_all_files_of_its_package_and_any_system_that_it_may_build_on(
    copy, tmp_path, monkeypatch
):
    package = tmp_path / "own_code"
    package.mkdir()
    for name in ("__init__", "network", "parts"):
        (package / f"{name}.py").write_text(f"# {name}\n")
    (tmp_path / "one_file.py").write_text("# a module\n")
    monkeypatch.syspath_prepend(tmp_path)
    digests = [source_digest("own_code.network"), source_digest("one_file")]
    edited(package / "parts.py")
    edited(tmp_path / "one_file.py")
    digests += [source_digest("own_code.network"), source_digest("one_file")]
    edited(copy / "systems" / "bag_of_tricks.py")
    digests += [source_digest("own_code.network"), source_digest("one_file"), source_digest()]
    assert len(set(digests)) == 7


def test_a_backbone_of_ones_own_is_a_part_of_the_code():
    recipe = Recipe.for_dataset("toy", backbone="own_code.nets:small")
    assert modules_of(recipe) == ("reidlib.systems.bag_of_tricks", "own_code.nets")
    assert modules_of(Recipe.for_dataset("toy", model="pcb")) == ("reidlib.systems.pcb",)
