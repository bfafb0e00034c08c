"""The digest of a result covers the files it depends on, and no others."""

import shutil

import pytest

from reidlib import provenance as sources
from reidlib.provenance import source_digest


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the library whose files can be edited."""
    shutil.copytree(sources.PACKAGE, tmp_path / "reidlib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "reidlib")
    sources.sources.cache_clear()
    yield tmp_path / "reidlib"
    sources.sources.cache_clear()


def edited(file):
    file.write_text(file.read_text() + "\n# another line\n")


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "losses",
        "batches",
        "counting",
        "systems/bag_of_tricks",
        "recipe",
        "layouts",
        "measuring",
        "sysu",
        "draws",
    ],
)
def test_a_file_that_a_result_depends_on_changes_the_digest(name, copy):
    before = source_digest()
    edited(copy / f"{name}.py")
    assert source_digest() != before


@pytest.mark.parametrize(
    "name", ["figures", "plots", "ladder", "repeats", "jobs", "cluster", "published", "results", "toy"]
)
def test_a_file_that_it_does_not_depend_on_does_not(name, copy):
    before = source_digest()
    edited(copy / f"{name}.py")
    assert source_digest() == before


def test_another_system_changes_the_digest_of_its_own_results_only(copy):
    (copy / "systems" / "other.py").write_text("import math\nfrom reidlib.losses import CenterLoss\n")
    before, theirs = source_digest(), source_digest("reidlib.systems.other")
    edited(copy / "systems" / "other.py")
    assert source_digest() == before
    assert source_digest("reidlib.systems.other") != theirs


def test_a_system_of_ones_own_needs_none_of_the_librarys(copy):
    own = source_digest("mine.network")
    edited(copy / "systems" / "bag_of_tricks.py")
    assert source_digest("mine.network") == own


def test_imports_within_functions_do_not_count():
    names = {file.name for file in sources.sources("reidlib.systems.bag_of_tricks")}
    assert {"train.py", "evaluate.py", "embedding.py", "data.py", "bag_of_tricks.py", "losses.py"} <= names
    assert not {"command.py", "toy.py", "figures.py", "results.py", "checks.py"} & names
