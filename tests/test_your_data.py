"""docs/your_data.md, run as it stands, with what it prints; and each image against the rest."""

import contextlib
import io
import re
import shutil
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import reidlib as rl

PAGE = rl.project() / "docs" / "your_data.md"
SHOP = [
    "train/anna/door_c1_0001.jpg", "train/anna/till_c2_0001.jpg", "train/ben/door_c1_0002.jpg",
    "train/ben/till_c2_0002.jpg", "query/cleo/door_c1_0003.jpg", "gallery/cleo/till_c2_0003.jpg",
    "gallery/0/till_c2_0004.jpg", "gallery/-1/till_c2_0005.jpg",
]  # fmt: skip


class Columns(dict):
    """A DataFrame as far as the page uses one, where there is no pandas."""

    columns = property(dict.keys)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what the page speaks of: shop, crops and thermal images."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(SHOP):
        for folder in ("shop", "thermal"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 32, 3), np.uint8)).save(tmp_path / "shop" / name)
        counts = rng.integers(7000 + 100 * i, 9000, (64 + i, 32)).astype(np.uint16)
        Image.fromarray(counts).save((tmp_path / "thermal" / name).with_suffix(".png"))
    folder = tmp_path / "shop/train/anna"
    shutil.copy(folder / "till_c2_0001.jpg", folder / "till_c2_0001 (copy).jpg")
    (tmp_path / "shop/gallery/cleo/notes.txt").write_text("back on Monday")
    (tmp_path / "crops").mkdir()
    for track, frame in ((track, frame) for track in (7, 17) for frame in range(0, 30, 5)):
        crop = rng.integers(0, 255, (64, 32, 3), np.uint8)
        Image.fromarray(crop).save(tmp_path / "crops" / f"track{track}_{frame:06d}.jpg")
    monkeypatch.chdir(tmp_path)
    try:
        import pandas  # noqa: F401
    except ImportError:
        stand_in = ModuleType("pandas")
        stand_in.DataFrame, stand_in.__spec__ = Columns, ModuleSpec("pandas", None)
        monkeypatch.setitem(sys.modules, "pandas", stand_in)
    return tmp_path


@pytest.mark.filterwarnings("ignore:shop. no cameras")
def test_the_page_prints_what_it_shows(here):
    cells = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", PAGE.read_text(), re.S)
    assert len(cells) == PAGE.read_text().count("```python") == 7
    names = {}
    for code, shown in cells:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        assert printed.getvalue() == shown, code


def test_each_image_against_the_rest_is_no_duplicate_of_itself(here):
    """Guards: every image listed as a duplicate, and counted twice."""
    shop = rl.load("shop")
    rest = replace(shop, query=shop.train, gallery=shop.train, train=shop.train[:0])
    report = rl.check(rest)
    copies = {problem.kind: problem.files for problem in report.problems if "duplicate" in problem.kind}
    names = ["train/anna/till_c2_0001 (copy).jpg", "train/anna/till_c2_0001.jpg"]
    assert (report.images, copies) == (5, {"duplicate within a part": names})


def test_each_image_against_the_rest_needs_a_second_one_of_its_identity(here):
    shop = rl.load("shop")
    alone = shop.train[[0, 1, 3]]
    for camids in (alone.camids, np.zeros(3, np.int64)):
        some = replace(alone, camids=camids)
        kinds = {problem.kind: problem.files for problem in rl.check(rl.Split("rest", some[:0], some, some)).problems}
        assert kinds["query without a match"] == ["train/ben/door_c1_0002.jpg"], camids
