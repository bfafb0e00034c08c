"""Damaged files and folders: the message names the file and the remedy, and what can go on goes on."""

import errno
import os
import shutil
import struct
import zlib

import nbformat
import numpy as np
import pytest

import reidlib as rl
from reidlib import files
from reidlib.browser.marks import Marks
from reidlib.runs import jobs


@pytest.fixture
def person(crowd, tmp_path):
    """The folder of one person of the training set."""
    return tmp_path / "crowd" / "train" / "0001"


def unread(folder):
    return {problem.kind: problem.files for problem in rl.check(rl.load(folder)).problems}.get("unread")


@pytest.mark.parametrize("target", ["nowhere.png", "c1_link.png"])
def test_a_link_that_leads_nowhere_or_to_itself_is_listed_and_left_out(person, tmp_path, target):
    (person / "c1_link.png").symlink_to(target)
    assert len(rl.load(tmp_path / "crowd").train) == 24
    assert unread(tmp_path / "crowd") == ["train/0001/c1_link.png"]


def test_a_folder_that_is_in_itself_is_no_person(person, tmp_path):
    (person.parent / "again").symlink_to("..")
    assert len(rl.load(tmp_path / "crowd").train.ids) == 6


def test_an_image_that_vanished_since_it_was_loaded_is_named_with_the_remedy(crowd, tiny, person, tmp_path):
    (person / "c2_train_0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"rl\.check\(split\) lists .*c2_train_0\.png"):
        next(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run"))


@pytest.mark.parametrize("folder", [False, True])
def test_a_name_in_latin_1_is_refused_by_name(person, tmp_path, folder):
    """Guards: UnicodeEncodeError from the digest, after the images were found."""
    if folder:
        shutil.copytree(os.fsencode(person), os.fsencode(person.parent) + b"/caf\xe9")
    else:
        shutil.copy(person / "c1_train_0.png", os.fsencode(person) + b"/c1_caf\xe9.png")
    with pytest.raises(ValueError, match=r"crowd: names that are not UTF-8: b'train/.*caf\\xe9.*; rename"):
        rl.load(tmp_path / "crowd")


def text_bomb():
    """The head of a PNG whose comment of 60 kB unfolds to 60 MB."""
    chunk = b"zTXtComment\0\0" + zlib.compress(bytes(60_000_000), 9)
    header = b"IHDR" + struct.pack(">IIBBBBB", 16, 32, 8, 2, 0, 0, 0)
    chunks = (header, chunk, b"IDAT" + zlib.compress(bytes(32 * 49)), b"IEND")
    framed = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(400)


@pytest.mark.parametrize(("name", "content"), [("c1_bomb.png", text_bomb()), ("c1_broken.jpg", AVIF)])
def test_what_cannot_be_decoded_is_named_whatever_is_wrong_with_it(person, tmp_path, name, content):
    (person / name).write_bytes(content)
    split = rl.load(tmp_path / "crowd")
    assert {problem.kind: problem.files for problem in rl.check(split).problems} == {"broken": [f"train/0001/{name}"]}
    with pytest.raises(ValueError, match=rf"{name}: not a readable image .* JPEG, PNG, .*rl\.check\(split\) lists"):
        rl.ImageStore(split.train, (32, 16))


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_finished_run_is_measured_where_nothing_can_be_written(crowd, tiny, tmp_path, monkeypatch, reason):
    for row in rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run"):
        assert row["epoch"] <= tiny.epochs
    system = rl.restore(tmp_path / "run", device="cpu")
    before = rl.measure(system, crowd, tmp_path / "elsewhere")

    def refuse(*given):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.warns(UserWarning, match=rf"crowd\.npz is not kept: .*{os.strerror(reason)}") as warned:
        after = rl.measure(rl.load_or_train(tiny, crowd.train, tmp_path / "run"), crowd, tmp_path / "run")
    assert str(after) == str(before)
    assert len(warned) == 2, "the embeddings and the scores of each query"


@pytest.mark.parametrize("kernel", [{"name": "conda-env-reid-py", "display_name": "reid"}, None])
def test_a_notebook_runs_whatever_its_kernel_is_called_where_it_was_saved(tmp_path, kernel):
    cell = nbformat.v4.new_code_cell("run_dir: str = None", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel} if kernel else {})
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    jobs._execute(tmp_path / "mine.ipynb", tmp_path / "out.ipynb", {"run_dir": "here"})
    assert 'run_dir = "here"' in (tmp_path / "out.ipynb").read_text().replace("\\", "")


def test_lists_within_lists_are_damage_like_any_other(crowd, tiny, tmp_path):
    """Guards: RecursionError, which is no ValueError, stops a grid or a browser."""
    (tmp_path / "recipe.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"recipe\.json cannot be read \(maximum recursion"):
        rl.restore(tmp_path)
    (tmp_path / "marks.json").write_text("[" * 100_000)
    marks = Marks(crowd.query, tmp_path / "marks.json")
    assert "marks.json holds no marks that can be read (RecursionError" in marks.problem
    marks.set(0, "odd")
    assert Marks(crowd.query, tmp_path / "marks.json").words == {0: "odd"}


def test_a_length_of_lists_that_is_no_number_leaves_the_browser_as_it_was(crowd):
    features = [np.random.default_rng(0).normal(size=(len(part), 8)) for part in (crowd.query, crowd.gallery)]
    browser = rl.RankedBrowser(rl.score(*features, crowd.query, crowd.gallery), k=3)
    with pytest.raises(ValueError, match=r"k=2\.5; the browser shows"):
        browser.lists(k=2.5)
    browser.step()
    assert len(browser.view["lists"][0]["cards"]) == 3
