"""What load() makes of CUHK01 and CUHK03."""

import numpy as np
import pytest
from PIL import Image

from reidlib.data import load
from reidlib.data.checks import check

OTHER_COUNTS = pytest.mark.filterwarnings("ignore:.*published are")


def write(folder, names):
    rng = np.random.default_rng(len(str(folder)))
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(rng.integers(0, 255, (32, 16, 3), np.uint8)).save(folder / name)


@OTHER_COUNTS
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_cuhk01_is_tested_on_alone_across_its_two_cameras(tmp_path, ending):
    write(tmp_path / "CUHK01" / "campus", [f"{pid:04d}{n:03d}.{ending}" for pid in (1, 971) for n in (1, 2, 3, 4)])
    split = load("cuhk01", tmp_path)
    assert len(split.train) == 0
    assert split.query.paths.tolist() == [f"campus/0001001.{ending}", f"campus/0971001.{ending}"]
    assert split.gallery.paths.tolist() == [f"campus/{pid}00{n}.{ending}" for pid in ("0001", "0971") for n in (3, 4)]
    assert (split.query.pids.tolist(), split.gallery.pids.tolist()) == ([1, 971], [1, 1, 971, 971])
    assert {*split.query.camids} == {1}
    assert {*split.gallery.camids} == {2}
    assert {problem.kind for problem in check(split).problems} == {"counts"}, "image 2 is left out on purpose"


def test_a_name_of_cuhk01_without_a_number_of_its_image_is_an_error(tmp_path):
    write(tmp_path / "campus", ["0001001.png", "0001005.png"])
    with pytest.raises(ValueError, match=r"no identity and camera in names in campus: 0001005\.png"):
        load("cuhk01", tmp_path)


@OTHER_COUNTS
def test_cuhk03_takes_the_boxes_of_the_detector(tmp_path):
    names = {"bounding_box_train": "0003_c1_21.png", "query": "0700_c1_1.png", "bounding_box_test": "0700_c2_6.png"}
    for boxes in ("detected", "labeled"):
        for folder, name in names.items():
            write(tmp_path / "cuhk03-np" / boxes / folder, [name])
    split = load("cuhk03", tmp_path)
    assert split.train.paths.tolist() == ["detected/bounding_box_train/0003_c1_21.png"]
    assert (split.train.pids.tolist(), split.gallery.pids.tolist()) == ([3], [700])
    assert (split.query.camids.tolist(), split.gallery.camids.tolist()) == ([1], [2])
    assert {problem.kind for problem in check(split).problems} == {"counts", "identity with one image"}
    assert load(tmp_path / "cuhk03-np" / "labeled").train.paths.tolist() == ["bounding_box_train/0003_c1_21.png"]


def test_a_missing_set_says_where_it_goes(tmp_path):
    for name in ("cuhk01", "cuhk03"):
        with pytest.raises(FileNotFoundError, match=f"{name}: .* not found under .*see data/README.md"):
            load(name, tmp_path)
