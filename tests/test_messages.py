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
from reidlib.runs.parameters import parameters_of
from reidlib.runs.publish import publish


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


@pytest.mark.parametrize(
    ("target", "error"),
    [("gone/x", FileNotFoundError), ("file/x", NotADirectoryError), ("folder", IsADirectoryError)],
)
def test_what_cannot_be_written_is_named_not_its_temporary_name(target, error, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=rf"not written; .*{target}'$") as told:
        files.write_whole(tmp_path / target, b"content")
    assert told.value.errno
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


WRONG = {
    "restore gone": (lambda split, new: rl.restore("gone"), "gone: no such folder; .*rl.pretrained"),
    "restore folder": (lambda split, new: rl.restore("folder"), "folder: this folder holds no run; give one"),
    "restore file": (lambda split, new: rl.restore("file"), "file is a file; give the folder of a run"),
    "fit in a file": (lambda split, new: next(rl.fit(new(), split.train, "file")), "run_dir: folder file cannot"),
    "fit below a file": (lambda split, new: next(rl.fit(new(), split.train, "file/x")), "folder file/x .*is a file"),
    "fit a split": (lambda split, new: next(rl.fit(new(), split, "run")), "give one of its parts, such as split.train"),
    "build a split": (lambda split, new: rl.build(new().recipe, split), "split.train, or their pids, not a Split"),
    "build nowhere": (lambda split, new: rl.build(new().recipe, split.train, "foo"), "no device 'foo' here; write cpu"),
    "check a name": (lambda split, new: rl.check("crowd"), "check takes a Split, .*not a str"),
    "load below a file": (lambda split, new: rl.load("market", root="file"), "file is a file; root and REID_DATA"),
    "load a folder": (lambda split, new: rl.load("folder"), "train not found under .*see docs/your_data.md"),
    "load no trial": (lambda split, new: rl.load("regdb:x"), "no data set 'regdb:x'; choose one of"),
    "embed a folder": (lambda split, new: rl.embed(new(), "folder"), r"not a readable image \(folder is a folder\)"),
    "no scores": (lambda split, new: rl.Scores.load("file"), "file holds no scores, or is damaged .*measure"),
    "no model": (lambda split, new: rl.pretrained("folder.safetensors"), "no file folder.safetensors"),
    "no notebook": (lambda split, new: parameters_of("file"), "file is no Jupyter notebook"),
    "longer row": (lambda split, new: rl.read_csv("longer"), "longer: row 3 has more cells than the first"),
    "no table": (lambda split, new: rl.read_csv("latin"), "latin is no CSV file in UTF-8"),
    "publish nothing": (lambda split, new: publish([], "m", "out", "terms"), "no run to publish"),
    "publish a torn result": (lambda split, new: publish(["torn"], "m", "out", "terms"), "result.json cannot be read"),
    "publish into a file": (lambda split, new: publish(["torn"], "m", "file", "terms"), "folder file .*is a file"),
    "re-rank by True": (lambda split, new: rl.measure(new(), split, "run", rerank=True), "rerank=rl.rerank"),
}


@pytest.mark.parametrize("use", WRONG)
def test_a_wrong_file_folder_or_value_is_named_with_the_remedy(use, crowd, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.safetensors", "torn"):
        (tmp_path / folder).mkdir()
    for name, content in (
        ("file", b"text"),
        ("latin", b"a,b\n\xe9,1\n"),
        ("longer", b"a,b\n1,2\n1,2,3\n"),
        ("torn/result.json", b"{"),
    ):
        (tmp_path / name).write_bytes(content)
    act, message = WRONG[use]
    with pytest.raises((ValueError, OSError, AttributeError), match=message):
        act(crowd, lambda: rl.build(tiny, crowd.train, "cpu"))


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
