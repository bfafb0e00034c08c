"""check() reports every defect at once."""

import shutil

import numpy as np
import pytest
from PIL import Image

from reidlib.data import load
from reidlib.data.checks import Report, check


def image(file, seed, size=(32, 16)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path):
    """A sound data set: two people to train on, one to test, seen by two cameras."""
    seen = [("train", 1), ("train", 2), ("query", 3), ("gallery", 3), ("gallery", 0), ("gallery", -1)]
    files = [tmp_path / "own" / part / str(pid) / f"c{camera}.png" for part, pid in seen for camera in (1, 2)]
    for seed, file in enumerate(files):
        image(file, seed)
    return tmp_path / "own"


def found(report):
    return {problem.kind: problem.files for problem in report.problems}


def test_a_sound_data_set_is_ok(folder):
    report = check(load(folder))
    assert isinstance(report, Report)
    assert report.ok
    assert str(report) == "own: 12 images checked, no problems found"


def test_every_defect_is_found_in_one_go(folder):
    image(folder / "train/1/c3.png", 20, size=(15, 8))
    shutil.copy(folder / "train/1/c1.png", folder / "train/1/c4.png")
    shutil.copy(folder / "train/1/c2.png", folder / "train/2/c4.png")
    shutil.copy(folder / "gallery/3/c2.png", folder / "query/3/c4.png")
    image(folder / "train/4/c1.png", 21)
    image(folder / "train/3/c1.png", 22)
    image(folder / "train/3/c2.png", 23)
    image(folder / "query/9/c1.png", 24)
    image(folder / "query/8/c1.png", 25)
    image(folder / "gallery/8/c1.png", 26)
    image(folder / "train/1/deeper/c5.png", 27)
    damaged = (folder / "train/2/c1.png").read_bytes()
    (folder / "train/2/c1.png").write_bytes(damaged[: len(damaged) // 2])
    (folder / "train/2/c2.png").write_bytes(b"not an image")
    split = load(folder)
    (folder / "gallery/0/c1.png").unlink()

    report = check(split)
    assert found(report) == {
        "missing": ["gallery/0/c1.png"],
        "broken": ["train/2/c1.png", "train/2/c2.png"],
        "tiny": ["train/1/c3.png"],
        "duplicate within a part": ["train/1/c1.png", "train/1/c2.png", "train/1/c4.png", "train/2/c4.png"],
        "duplicate between parts": ["gallery/3/c2.png", "query/3/c4.png"],
        "duplicate of two identities": ["train/1/c2.png", "train/2/c4.png"],
        "unread": ["train/1/deeper/c5.png"],
        "identity in train and test": ["train/3/c1.png", "train/3/c2.png"],
        "identity with one image": ["train/4/c1.png"],
        "query without a match": ["query/8/c1.png", "query/9/c1.png"],  # 8: in the gallery by the same camera only
    }
    assert not report.ok
    assert [problem.kind for problem in report.problems] == list(found(report))
    assert str(check(split)) == str(report)
    text = str(report).splitlines()
    assert text[0] == "own: 22 images checked, 10 kinds of problem found"
    assert "- duplicate within a part (4): the same bytes as another file of train, query or gallery; keep one" in text
    assert "    train/1/c1.png, train/1/c2.png, train/1/c4.png, ... (4 in all)" in text


def test_a_truncated_jpeg_is_broken(tmp_path):
    (tmp_path / "people.csv").write_text("path,pid,split\na.jpg,1,train\nb.jpg,1,train\n")
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        image(tmp_path / name, seed, size=(64, 32))
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:-200])
    assert found(check(load(tmp_path / "people.csv"))) == {"broken": ["b.jpg"]}


def test_what_load_would_not_notice_is_broken(folder):
    """A file of a format that is not read, whatever its name says, and a PNG with a wrong checksum (PIL decodes it)."""
    Image.open(folder / "train/1/c1.png").save(folder / "train/1/c1.eps")
    (folder / "train/1/c1.eps").rename(folder / "train/1/c1.png")
    damaged = bytearray((folder / "train/2/c1.png").read_bytes())
    damaged[-13] ^= 1  # the last byte of the checksum of the pixels: 12 bytes of IEND follow
    (folder / "train/2/c1.png").write_bytes(damaged)
    assert np.asarray(Image.open(folder / "train/2/c1.png")).shape == (32, 16, 3)
    assert found(check(load(folder))) == {"broken": ["train/1/c1.png", "train/2/c1.png"]}


def test_a_single_camera_is_explained_and_only_strangers_lack_a_match(folder):
    for file in folder.rglob("c2.png"):
        file.rename(file.with_name("c1s2.png"))
    image(folder / "query/9/c1.png", 30)
    report = check(load(folder))
    assert found(report) == {"query without a match": ["query/9/c1.png"], "single camera": []}
    assert 'same_camera="keep"' in str(report)


def test_a_table_may_leave_images_out(folder):
    (folder / "people.csv").write_text("path,pid,split\ntrain/1/c1.png,1,train\ntrain/1/c2.png,1,train\n")
    assert check(load(folder / "people.csv")).ok


@pytest.mark.filterwarnings("ignore:.*published are")
def test_counts_that_are_not_the_published_ones_are_reported(tmp_path):
    for seed, file in enumerate(("bounding_box_train/0002_c1s1_0_0.jpg", "bounding_box_train/0002_c2s1_0_0.jpg")):
        image(tmp_path / file, seed)
    for seed, file in enumerate(("query/0001_c1s1_0_0.jpg", "bounding_box_test/0001_c2s1_0_0.jpg"), 2):
        image(tmp_path / file, seed)
    report = check(load("market", tmp_path))
    assert [problem.kind for problem in report.problems] == ["counts"] * 3
    assert "market/query has 1 images of 1 identities, published are 3,368 of 750" in str(report)
