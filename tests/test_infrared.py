"""What load() and check() make of SYSU-MM01's and RegDB's layouts, and what they say where they cannot."""

import shutil

import numpy as np
import pytest
from PIL import Image

from reidlib.data import load, loading
from reidlib.data.checks import check, is_colour

pytestmark = pytest.mark.filterwarnings("ignore:.*published are")
IDS = {"train": "1, 2\n", "val": "4", "test": "6,\n10 ,17,"}  # the official files are one line; be lenient


def picture(file, seed, grey):
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 16, 1 if grey else 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(pixels, (32, 16, 3)).copy()).save(file)


def sysu_folder(folder):
    """Six people, two images in each camera that saw them: person 10 is absent from camera 2, 17 from camera 3."""
    for camera in range(1, 7):
        for pid in (1, 2, 4, 6, 10, 17, 30):  # 30 is in no list
            for image in (1, 2) if (pid, camera) not in ((10, 2), (17, 3)) else ():
                file = folder / f"cam{camera}/{pid:04d}/{image:04d}.jpg"
                picture(file, 1000 * camera + 10 * pid + image, camera in (3, 6))
    (folder / "cam2" / "0010").mkdir()  # empty, as for absent people in the official archive
    (folder / "cam1" / "Thumbs.db").write_bytes(b"")
    (folder / "exp").mkdir()
    for which, text in IDS.items():
        (folder / f"exp/{which}_id.txt").write_text(text)
    return folder


@pytest.fixture
def sysu(tmp_path):
    return sysu_folder(tmp_path / "SYSU-MM01")


@pytest.fixture
def regdb(tmp_path):
    folder = tmp_path / "RegDB"
    for trial, train, test in ((1, 1, 2), (2, 2, 1)):
        for part, person in (("train", train), ("test", test)):
            for side, letter in (("Visible", "v"), ("Thermal", "t")):
                path = f"{side}/{person}/male_back_{letter}_0000{person}_1.bmp"
                picture(folder / path, 10 * person + len(letter + side), side == "Thermal")
                file = folder / f"idx/{part}_{side.lower()}_{trial}.txt"
                file.parent.mkdir(exist_ok=True)
                file.write_text(f"{path} 0\n")
    return folder


def test_sysu_trains_on_train_and_val_and_searches_infrared_people_among_visible_ones(sysu, tmp_path):
    split = load("sysu", tmp_path)
    assert (split.name, split.train.root) == ("sysu", sysu)
    assert split.train.ids.tolist() == [1, 2, 4]
    assert np.unique(split.train.camids).tolist() == [1, 2, 3, 4, 5, 6]
    assert len(split.train) == 3 * 6 * 2
    assert np.unique(split.query.camids).tolist() == [3, 6]
    assert np.unique(split.gallery.camids).tolist() == [1, 2, 4, 5]
    assert split.query.ids.tolist() == split.gallery.ids.tolist() == [6, 10, 17]
    assert (len(split.query), len(split.gallery)) == (10, 22)
    assert split.gallery.paths.tolist()[:3] == ["cam1/0006/0001.jpg", "cam1/0006/0002.jpg", "cam1/0010/0001.jpg"]


def test_shots_know_which_images_are_infrared(sysu):
    train = load("sysu", sysu).train
    assert train.infrared_cameras == (3, 6)
    assert np.array_equal(train.infrared, (train.camids == 3) | (train.camids == 6))
    some = train[::5]
    assert some.infrared.tolist() == train.infrared[::5].tolist()


def test_toy_sysu_is_drawn_at_the_first_load(tmp_path, monkeypatch):
    drawn = []

    def draw(folder, network, seed, world):
        assert world == loading.toy.World()
        drawn.append((folder.name, network, seed))
        sysu_folder(folder)

    monkeypatch.setattr(loading.toy, "draw", draw)
    monkeypatch.setattr(loading.toy, "is_current", lambda folder, *given, world: (folder.name, *given) in drawn)
    splits = [load("toy-sysu", tmp_path) for _ in range(2)]
    assert drawn == [("toy-sysu", "sysu", 1)]
    assert splits[1].query.infrared.all()
    assert not splits[1].gallery.infrared.any()


@pytest.mark.parametrize("missing", ["cam1", "cam3", "exp/val_id.txt"])
def test_what_is_missing_is_named_with_the_remedy(sysu, tmp_path, missing):
    shutil.rmtree(sysu / missing) if missing.startswith("cam") else (sysu / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"sysu: {missing} not found under .*SYSU-MM01; .*data/README.md"):
        load("sysu", tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train", "1,two", "exp/train_id.txt should hold whole numbers between commas, .*; it holds two"),
        ("train", "", "exp/train_id.txt should hold whole numbers between commas, .*; it is empty"),
    ],
)
def test_a_list_that_holds_no_identities_is_an_error(sysu, file, text, message):
    (sysu / f"exp/{file}_id.txt").write_text(text)
    with pytest.raises(ValueError, match=f"sysu: {message}"):
        load("sysu", sysu)


def test_a_list_that_is_no_plain_text_is_named(sysu):
    (sysu / "exp" / "test_id.txt").write_text("10,17", encoding="utf-16")
    with pytest.raises(ValueError, match=r"sysu: exp/test_id\.txt should hold whole numbers"):
        load("sysu", sysu)


def test_people_whom_a_list_names_without_images_show_in_the_counts(sysu):
    (sysu / "exp/test_id.txt").write_text("6,10,17,300,301")
    shutil.rmtree(sysu / "cam3")
    (sysu / "cam3").mkdir()
    with pytest.warns(UserWarning, match="sysu/query has 6 images of 3 identities, published are 3,803 of 96"):
        assert load("sysu", sysu).query.ids.tolist() == [6, 10, 17]


def test_images_that_are_not_read_are_reported(sysu):
    (sysu / "cam4" / "people").mkdir()
    picture(sysu / "cam4/people/0001.jpg", 1, grey=False)
    (sysu / "cam5/0006/0001.jpg").rename(sysu / "cam5/0006/0001.png")
    report = check(load("sysu", sysu))
    (unread,) = [problem.files for problem in report.problems if problem.kind == "unread"]
    assert set(unread) == {"cam4/people/0001.jpg", "cam5/0006/0001.png"}


def test_swapped_camera_folders_are_reported(sysu):
    (sysu / "cam3").rename(sysu / "spare")
    (sysu / "cam4").rename(sysu / "cam3")
    (sysu / "spare").rename(sysu / "cam4")
    report = check(load("sysu", sysu))
    (colour,) = [problem.files for problem in report.problems if problem.kind == "colour"]
    assert len(colour) == 2 * 6
    assert all(file.startswith("cam3/") for file in colour)


def test_check_names_single_colour_images_of_infrared_cameras(sysu):
    for pid in (1, 6):
        shutil.copy(sysu / f"cam4/{pid:04d}/0001.jpg", sysu / f"cam3/{pid:04d}/0002.jpg")
        picture(sysu / f"cam4/{pid:04d}/0001.jpg", pid, grey=False)
    shutil.copy(sysu / "cam4/0001/0001.jpg", sysu / "cam4/0001/0001.png")
    report = check(load("sysu", sysu))
    found = {problem.kind: problem.files for problem in report.problems}
    assert found["colour"] == ["cam3/0001/0002.jpg", "cam3/0006/0002.jpg"]
    assert set(found) == {"colour", "unread", "counts"}
    assert found["unread"] == ["cam4/0001/0001.png"], "and not person 30, whom no list names"
    assert "though their camera is infrared" in str(report)


def test_check_counts_an_image_of_the_same_room_as_no_match(sysu):
    """Cameras 2 and 3 of SYSU-MM01 are in one room, so a probe of camera 3 is not matched by camera 2."""
    for camera in (1, 4, 5, 6):
        shutil.rmtree(sysu / f"cam{camera}/0006")
    report = check(load("sysu", sysu))
    (lost,) = [problem.files for problem in report.problems if problem.kind == "query without a match"]
    assert lost == ["cam3/0006/0001.jpg", "cam3/0006/0002.jpg"]


def test_grey_is_no_colour_in_any_coding(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (64, 32), np.uint8)
    for mode in ("L", "RGB"):
        for quality in (10, 75, 95):
            Image.fromarray(grey).convert(mode).save(tmp_path / "grey.jpg", quality=quality)
            assert not is_colour(Image.open(tmp_path / "grey.jpg"))
    drab = np.stack([grey // 4 + 100, grey // 4 + 98, grey // 4 + 95], -1)
    assert is_colour(Image.fromarray(drab))


def test_regdb_follows_the_lists_of_a_trial(regdb, tmp_path):
    split = load("regdb", tmp_path)
    assert split.train.paths.tolist() == ["Thermal/1/male_back_t_00001_1.bmp", "Visible/1/male_back_v_00001_1.bmp"]
    assert split.train.camids.tolist() == [2, 1]
    assert split.train.infrared.tolist() == [True, False]
    assert (split.train.pids.tolist(), split.query.pids.tolist(), split.gallery.pids.tolist()) == ([1, 1], [207], [207])
    assert (split.query.camids.tolist(), split.gallery.camids.tolist()) == ([1], [2])
    assert load("regdb", regdb, trial=2).train.paths.tolist()[0] == "Thermal/2/male_back_t_00002_1.bmp"


def test_the_trials_of_regdb_can_be_reached_by_name(regdb):
    first, second = load("regdb:1", regdb), load("regdb:2", regdb)
    assert (first.name, first.train.name) == ("regdb", "regdb/train")
    assert (second.name, second.train.name) == ("regdb:2", "regdb:2/train")
    assert load("regdb", regdb, trial=2).name == "regdb:2"
    assert second.train.paths.tolist() == load("regdb", regdb, trial=2).train.paths.tolist()
    assert second.train.infrared.tolist() == [True, False]
    with pytest.warns(UserWarning, match="regdb:2/train has 2 images of 1 identities, published are 4,120 of 206"):
        load("regdb:2", regdb)


def test_a_regdb_trial_that_is_not_there_is_named(regdb):
    with pytest.raises(FileNotFoundError, match=r"regdb: idx/train_visible_3\.txt not found under"):
        load("regdb", regdb, trial=3)
    with pytest.raises(ValueError, match="regdb: no trial 11; choose one of 1 to 10"):
        load("regdb", regdb, trial=11)
    with pytest.raises(ValueError, match="regdb: no trial 0; choose one of 1 to 10"):
        load("regdb:0", regdb)
    with pytest.raises(ValueError, match="regdb:2 has no trial 3"):
        load("regdb:2", regdb, trial=3)
    with pytest.raises(ValueError, match="market has no trial 2: only regdb is split in several ways"):
        load("market", regdb, trial=2)


@pytest.mark.parametrize("line", ["Visible/1/a.bmp", "Visible/1/a.bmp one"])
def test_a_regdb_line_that_is_no_path_and_label_is_an_error(regdb, line):
    (regdb / "idx/test_visible_1.txt").write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match=r"regdb: idx/test_visible_1.txt, line 2: expected a path and a label, as in"):
        load("regdb", regdb)
