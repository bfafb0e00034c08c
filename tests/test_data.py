"""What load() makes of files, and what it says where it cannot."""

import json
import os
import random
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from reidlib.data import Shots, load, loading
from reidlib.data.checks import check
from reidlib.data.layouts import data_root
from reidlib.recipe import Recipe
from reidlib.toy import sets as toy

REAL = data_root() / "Market-1501-v15.09.15"
MARKET = {
    "bounding_box_train": ("0002_c1s1_000451_03.jpg", "0007_c3s2_000001_00.jpg", "0002_c6s4_000001_01.jpg"),
    "query": ("0001_c1s1_001051_00.jpg",),
    "bounding_box_test": ("-1_c1s1_000401_03.jpg", "0000_c2s1_000401_03.jpg", "0001_c2s1_000301_00.jpg"),
}
DUKE = {
    "bounding_box_train": ("0002_c1_f0044158.jpg", "0003_c8_f0044159.jpg"),
    "query": ("0005_c2_f0046985.jpg",),
    "bounding_box_test": ("0005_c5_f0051341.jpg", "0104_c7_f0051341.jpg"),
}
OTHER_COUNTS = pytest.mark.filterwarnings("ignore:.*published are")


def write(folder, files):
    """Small images of noise, no two alike."""
    rng = np.random.default_rng(len(str(folder)))
    for sub, names in files.items():
        (folder / sub).mkdir(parents=True, exist_ok=True)
        for name in names:
            Image.fromarray(rng.integers(0, 255, (32, 16, 3), np.uint8)).save(folder / sub / name)
    return folder


def table(folder, text, images=("a.png", "b.png", "c.png", "d.png")):
    write(folder, {"images": images})
    (folder / "people.csv").write_text(text)
    return folder / "people.csv"


@pytest.fixture
def market(tmp_path):
    return write(tmp_path / "Market-1501-v15.09.15", MARKET)


@OTHER_COUNTS
def test_market_names_give_identities_cameras_junk_and_distractors(market, tmp_path):
    split = load("market", tmp_path)
    assert split.train.paths.tolist() == sorted(f"bounding_box_train/{name}" for name in MARKET["bounding_box_train"])
    assert split.train.pids.tolist() == [2, 2, 7]
    assert split.train.camids.tolist() == [1, 6, 3]
    assert split.gallery.pids.tolist() == [-1, 0, 1]
    assert split.gallery.ids.tolist() == [1]
    assert split.query.name == "market/query"
    assert split.query.file(0) == market / "query" / "0001_c1s1_001051_00.jpg"
    assert all(file.is_file() for file in split.gallery.files())


@OTHER_COUNTS
def test_duke_names_give_identities_and_cameras(tmp_path):
    write(tmp_path / "DukeMTMC-reID", DUKE)
    split = load("duke", tmp_path)
    assert split.train.pids.tolist() == [2, 3]
    assert split.train.camids.tolist() == [1, 8]
    assert split.gallery.pids.tolist() == [5, 104]


@OTHER_COUNTS
def test_the_root_may_be_the_sets_own_folder(market):
    assert load("market", market).train.pids.tolist() == [2, 2, 7]


@OTHER_COUNTS
def test_the_argument_goes_before_reid_data(market, tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DATA", str(tmp_path))
    assert load("market").train.root == market
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        load("market", tmp_path / "elsewhere")


def test_without_reid_data_the_root_is_the_repositorys_data_folder(monkeypatch):
    monkeypatch.delenv("REID_DATA", raising=False)
    assert data_root() == Path(__file__).resolve().parents[1] / "data"


@OTHER_COUNTS
def test_the_order_of_a_directory_listing_changes_nothing(market, monkeypatch):
    own = write(market.parent / "own", {f"{part}/{who}": ("c1.png", "c2.png") for part, who in OWN_PARTS})
    first = [load("market", market), load(own)]
    listdir, glob, shuffled = os.listdir, Path.glob, random.Random(1)
    monkeypatch.setattr(os, "listdir", lambda folder: shuffled.sample(found := listdir(folder), len(found)))
    monkeypatch.setattr(Path, "glob", lambda *args: shuffled.sample(found := list(glob(*args)), len(found)))
    for before, after in zip(first * 3, [load(name, market) for name in ("market", own) * 3]):
        for part in ("train", "query", "gallery"):
            for field in ("paths", "pids", "camids"):
                assert np.array_equal(getattr(getattr(before, part), field), getattr(getattr(after, part), field))


@OTHER_COUNTS
def test_a_thumbs_db_is_passed_over(market):
    (market / "bounding_box_train" / "Thumbs.db").write_bytes(b"not an image")
    assert len(load("market", market).train) == 3


def test_a_jpg_with_another_name_is_an_error_that_names_it(market):
    for i in range(5):
        (market / "query" / f"holiday{i}.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"names in query: holiday0.jpg, holiday1.jpg, holiday2.jpg, ... \(5 in all\)"):
        load("market", market)


def test_duke_files_in_markets_place_are_an_error(tmp_path):
    write(tmp_path / "Market-1501-v15.09.15", DUKE)
    with pytest.raises(ValueError, match="0002_c1_f0044158"):
        load("market", tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    known = "market, duke, msmt17, sysu, regdb, cuhk01, cuhk03, toy, toy-duke, toy-sysu"
    with pytest.raises(ValueError, match=f"no data set 'dukee'; choose one of {known} or give"):
        load("dukee", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("market", "market: bounding_box_train not found under .*Market-1501-v15.09.15; .*see data/README.md"),
        ("duke", "duke: bounding_box_train not found under .*DukeMTMC-reID .withdrawn by its authors in 2019"),
        ("msmt17", "msmt17: list_train.txt not found under .*MSMT17; .*REID_DATA"),
        ("no/such.csv", "no folder or CSV file no/such.csv"),
    ],
)
def test_missing_files_are_named_with_the_remedy(name, message, tmp_path):
    with pytest.raises(FileNotFoundError, match=message):
        load(name, tmp_path)


def test_half_a_data_set_names_the_missing_half(market):
    for file in [*(market / "query").iterdir(), market / "query"]:
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(FileNotFoundError, match="market: query not found under"):
        load("market", market)


@OTHER_COUNTS
def test_counts_that_are_not_the_published_ones_give_a_warning(market):
    with pytest.warns(UserWarning, match="market/train has 3 images of 2 identities, published are 12,936 of 751"):
        load("market", market)


class Counted(list):
    """So many images of so many people, without the images."""

    def __init__(self, name, images, people):
        super().__init__(range(images))
        self.name, self.ids = name, range(people)


@pytest.mark.parametrize(
    ("name", "train", "query", "gallery"),
    [
        ("market", (12_936, 751), (3_368, 750), (19_732, 750)),
        ("duke", (16_522, 702), (2_228, 702), (17_661, 1_110)),
        ("msmt17", (30_248 + 2_373, 1_041), (11_659, 3_060), (82_161, 3_060)),
        ("sysu", (22_258 + 11_909, 296 + 99), (1_883 + 1_920, 96), (6_775, 96)),
        ("regdb", (2 * 2_060, 206), (2_060, 206), (2_060, 206)),
    ],
)
def test_a_set_with_the_counts_of_its_paper_is_whole_and_one_image_or_person_less_is_noticed(
    name, train, query, gallery
):
    whole = {"train": train, "query": query, "gallery": gallery}

    def sentences(counts):
        parts = {part: Counted(f"{name}/{part}", *counts[part]) for part in counts}
        return loading.differences(SimpleNamespace(name=name, **parts))

    assert sentences(whole) == []
    for part, (images, people) in whole.items():
        for other in ((images - 1, people), (images, people - 1)):
            assert [sentence.split(" has")[0] for sentence in sentences(whole | {part: other})] == [f"{name}/{part}"]


@OTHER_COUNTS
def test_a_split_prints_its_counts(market):
    lines = str(load("market", market)).splitlines()
    assert [line.split() for line in lines] == [
        ["market", "images", "ids", "cameras", "junk", "distractors"],
        ["train", "3", "2", "3", "0", "0"],
        ["query", "1", "1", "1", "0", "0"],
        ["gallery", "3", "1", "2", "1", "1"],
    ]


@OTHER_COUNTS
def test_shots_are_indexed_like_arrays(market):
    train = load("market", market).train
    assert train[train.pids == 2].camids.tolist() == [1, 6]
    assert train[1:].pids.tolist() == [2, 7]
    assert train[np.array([2, 0])].pids.tolist() == [7, 2]
    assert len(train[0]) == 1
    assert repr(train) == "Shots(market/train: 3 images, 2 ids, 3 cameras)"
    with pytest.raises(IndexError):
        train[3]


@pytest.mark.parametrize(
    ("pids", "camids"), [([1], [1, 1]), ([1.0, 2.0], [1, 1]), ([[1], [2]], [1, 1]), ([1, 2], ["a", "b"])]
)
def test_shots_refuse_arrays_that_do_not_fit(pids, camids):
    with pytest.raises(ValueError, match=r"need paths str \(N,\), pids int64 \(N,\)"):
        Shots("mine/train", Path(), np.array(["a", "b"]), np.array(pids), np.array(camids))


@OTHER_COUNTS
def test_joined_sets_count_identities_and_cameras_on_and_keep_junk_and_distractors(tmp_path):
    write(tmp_path / "Market-1501-v15.09.15", MARKET)
    write(tmp_path / "DukeMTMC-reID", DUKE)
    split = load("market+duke", tmp_path)
    market, duke = load("market", tmp_path), load("duke", tmp_path)
    assert split.train.pids.tolist() == [*market.train.pids, *(duke.train.pids + 7)], "Market's largest pid is 7"
    assert split.train.camids.tolist() == [*market.train.camids, *(duke.train.camids + 6)]
    assert split.gallery.pids.tolist() == [-1, 0, 1, 5 + 7, 104 + 7]
    assert split.query.pids.tolist() == [1, 5 + 7]
    for part in ("train", "query", "gallery"):
        of_both = getattr(market, part).files() + getattr(duke, part).files()
        assert getattr(split, part).files() == of_both
        assert getattr(split, part).name == f"market+duke/{part}"
    assert Recipe.for_dataset("toy-duke+toy").size == Recipe.for_dataset("toy-duke").size
    with pytest.raises(ValueError, match="duke\\+duke: a data set cannot be joined with itself"):
        load("duke+duke", tmp_path)


@OTHER_COUNTS
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_follows_its_list_files(tmp_path, train, test):
    folder = tmp_path / "MSMT17_V1"
    name = "0000/0000_000_{}_0303morning_0008_0.jpg"
    write(folder, {f"{train}/0000": [name[5:].format("01")], f"{test}/0000": [name[5:].format("15")]})
    for which, camera in (("train", "01"), ("val", "02"), ("query", "14"), ("gallery", "15")):
        (folder / f"list_{which}.txt").write_text(f"{name.format(camera)} 0\n")
    split = load("msmt17", tmp_path)
    assert split.train.camids.tolist() == [1, 2]  # list_val is a part of the training set
    assert split.train.pids.tolist() == [1, 1]
    assert split.query.pids.tolist() == split.gallery.pids.tolist() == [1042]  # another person than train's 0
    assert split.train.file(0).is_file()
    assert split.gallery.file(0).is_file()
    (folder / "list_val.txt").write_text("0000/0000_000_02_0303morning_0008_0.jpg\n")
    with pytest.raises(ValueError, match=r"list_val\.txt, line 1"):
        load("msmt17", tmp_path)


def test_toy_is_drawn_by_the_first_load_only(tmp_path, monkeypatch):
    drawn = []

    def draw(folder, network, seed, world):
        drawn.append((folder, network, seed))
        write(folder, DUKE if network == "duke" else MARKET)

    monkeypatch.setattr(loading.toy, "draw", draw)
    monkeypatch.setattr(loading.toy, "is_current", lambda *args, world: args in drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no counts are published for these
        splits = [load(name, tmp_path) for name in ("toy", "toy", "toy-duke", "toy-duke")]
    assert drawn == [(tmp_path / "toy", "market", 1), (tmp_path / "toy-duke", "duke", 1)]
    assert splits[0].train.pids.tolist() == [2, 2, 7]
    assert splits[2].query.camids.tolist() == [2]


def drawn_crowd(folder, network, current=True):
    """What tells a drawn crowd's folder, and a Market-like data set."""
    write(folder, MARKET)
    record = {"drawing": 2 if current else 1, "network": network, "seed": 1, "people": toy.SIZES[network]}
    images = {sub: len(names) for sub, names in MARKET.items()}
    (folder / "toy.json").write_text(json.dumps(record | {"images": images}))


@pytest.mark.parametrize("current", [True, False])
def test_the_root_may_be_the_folder_of_the_crowd_itself(tmp_path, monkeypatch, current):
    drawn_crowd(tmp_path / "somewhere", "market", current)
    drawings = []
    monkeypatch.setattr(loading.toy, "draw", lambda folder, network, seed, world: drawings.append(folder))
    assert load("toy", tmp_path / "somewhere").train.root == tmp_path / "somewhere"
    assert drawings == ([] if current else [tmp_path / "somewhere"]), "an outdated crowd is drawn again where it lies"


def test_a_crowd_of_which_images_were_deleted_gives_a_warning(tmp_path):
    drawn_crowd(tmp_path / "toy", "market")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("toy", tmp_path)
    (tmp_path / "toy/bounding_box_test/0001_c2s1_000301_00.jpg").unlink()
    with pytest.warns(UserWarning, match="toy: bounding_box_test has 2 images, but 3 were drawn; delete .*toy to have"):
        split = load("toy", tmp_path)
    assert "bounding_box_test has 2 images" in str(check(split))


def test_another_crowd_is_drawn_beside_and_not_inside_the_one_given_as_root(tmp_path, monkeypatch):
    drawn_crowd(tmp_path / "toy", "market")
    monkeypatch.setattr(loading.toy, "draw", lambda folder, network, seed, world: write(folder, DUKE))
    assert load("toy-duke", tmp_path / "toy").train.root == tmp_path / "toy-duke"


OWN_PARTS = [
    ("train", "bob"),
    ("train", "ann"),
    ("query", "eve"),
    ("gallery", "eve"),
    ("gallery", "-1"),
    ("gallery", "0"),
]


def test_a_folder_per_identity_maps_names_in_sorted_order(tmp_path):
    files = {f"{part}/{who}": ("x_c1_1.png", "c2s3.JPG") for part, who in OWN_PARTS}
    split = load(write(tmp_path / "own", files))
    assert (split.name, split.train.name) == ("own", "own/train")
    assert split.train.paths.tolist()[:2] == ["train/ann/c2s3.JPG", "train/ann/x_c1_1.png"]
    assert split.train.pids.tolist() == [1, 1, 2, 2]  # ann, bob
    assert split.query.pids.tolist() == [3, 3]  # eve, the same number as in the gallery
    assert split.gallery.pids.tolist() == [-1, -1, 0, 0, 3, 3]
    assert split.gallery.camids.tolist() == [2, 1] * 3


def test_numbered_folders_keep_their_numbers(tmp_path):
    split = load(write(tmp_path / "own", {"train/0012": ("a.png",), "query/5": ("a.png",), "gallery/05": ("b.png",)}))
    assert split.train.pids.tolist() == [12]
    assert split.query.pids.tolist() == split.gallery.pids.tolist() == [5]
    assert split.train.camids.tolist() == [0]  # no camera in any name


def test_a_folder_with_market_names_loads_by_its_path(market, monkeypatch):
    monkeypatch.chdir(market.parent)
    split = load(market.name)
    assert split.name == market.name
    assert split.gallery.pids.tolist() == [-1, 0, 1]


SMALL_SET = {"train/1": ("c1.png",), "query/2": ("c1.png",), "gallery/2": ("c2.png",)}


@pytest.mark.parametrize("name", ["duke", "sysu", "regdb", "regdb:3", "toy-sysu"])
def test_an_own_folder_with_the_name_of_a_built_in_set_is_an_own_folder(tmp_path, monkeypatch, name):
    folder = write(tmp_path / name, SMALL_SET)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no published counts are compared
        for path in (folder, str(folder), f"./{name}", Path(name)):
            split = load(path)
            assert (split.name, split.query.name) == (f"own-{name}", f"own-{name}/query")
            assert not split.train.infrared_cameras
    assert "counts" not in {problem.kind for problem in check(split).problems}


def test_an_own_folder_keeps_a_name_that_only_begins_like_a_built_in_one(tmp_path):
    assert load(write(tmp_path / "toy-shop", SMALL_SET)).name == "toy-shop"


@OTHER_COUNTS
def test_a_word_is_the_built_in_set_though_a_folder_has_its_name(market, monkeypatch):
    write(market.parent / "here" / "market", SMALL_SET)
    monkeypatch.chdir(market.parent / "here")
    assert load("market", market.parent).name == "market"
    assert load("./market", market.parent).name == "own-market"


MODULE = """
from pathlib import Path
import numpy as np
from reidlib.data import Shots, Split

def part(name, pids):
    paths = np.array([f"{name}{i}.png" for i in range(len(pids))])
    return Shots(f"shop/{name}", Path("shop"), paths, np.array(pids), np.ones(len(pids), np.int64))

def shop():
    return Split("shop", part("train", [1, 1, 2]), part("query", [3]), part("gallery", [3, 0]))

def number():
    return 7

text = "no function"
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "shops.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "stores.shops"
    for name in ("stores", "stores.shops"):
        sys.modules.pop(name, None)


def test_a_function_by_its_name_returns_the_data_set(module):
    split = load(f"{module}:shop")
    assert (split.name, len(split.train), split.gallery.pids.tolist()) == ("shop", 3, [3, 0])
    assert load(split) is split


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("stores.shops:number", "stores.shops:number gives int, not a Split; see the example of reidlib.Split"),
        ("stores.shops:text", "stores.shops:text gives str, not a Split; see the example of reidlib.Split"),
        ("stores.shops:none", "no data set 'stores.shops:none': stores.shops has no none"),
        ("stores.shop:shop", "No module named 'stores.shop'; is the folder of its package on PYTHONPATH"),
    ],
)
def test_a_function_that_returns_no_data_set_is_an_error_with_the_reason(module, function, message):
    with pytest.raises(ValueError, match=message):
        load(function)


def test_a_folder_is_also_found_below_the_root(tmp_path):
    write(tmp_path / "own", {"train/1": ("a.png",), "query/2": ("a.png",), "gallery/2": ("b.png",)})
    assert load("own", tmp_path).train.pids.tolist() == [1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/1": ["a.png"], "query/2": ["a.png"]}, "own: gallery not found under"),
        ({"train": [], "query": [], "gallery": []}, "no images under"),
        ({"train/1": ["a.png"], "train": ["b.png"], "query": [], "gallery": []}, "loose images; move b.png"),
        ({"train": ["b.png"], "query": [], "gallery": []}, "no identity and camera in names in train: b.png"),
        (
            {"train/1": ["a.png", "b_c1.png"], "query": [], "gallery": []},
            "no camera in .*/a.png, though train/1/b_c1.png has camera 1; name",
        ),
        ({"train/0": ["a.png"], "query": [], "gallery": []}, "pid 0 in train .train/0/a.png.*count identities from 1"),
        ({"train/-7": ["a.png"], "query": [], "gallery": []}, "pid -7 in train"),
    ],
)
def test_a_folder_that_cannot_be_read_is_an_error_with_the_reason(files, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(write(tmp_path / "own", files))


def test_a_table_gives_paths_identities_and_cameras(tmp_path):
    rows = "split,colour,path,pid,camid\ntrain,red,images/b.png,12,3\ntrain,,images/a.png,7,1\n"
    split = load(table(tmp_path, "\ufeff" + rows + "query,,./images/c.png,9,1\ngallery,,images/d.png,-1,2\n"))
    assert split.name == "people.csv"
    assert split.train.paths.tolist() == ["images/a.png", "images/b.png"]
    assert split.train.pids.tolist() == [7, 12]
    assert split.train.camids.tolist() == [1, 3]
    assert split.gallery.pids.tolist() == [-1]
    assert split.query.file(0).is_file()


def test_a_table_may_have_names_for_identities_and_cameras_or_no_cameras(tmp_path):
    rows = ["images/a.png,zoe,door,train", "images/b.png,amy,gate,query", "images/c.png,amy,door,gallery"]
    split = load(table(tmp_path, "\n".join(["path,pid,camid,split", *rows])))
    assert [shots.pids.tolist() for shots in (split.train, split.query, split.gallery)] == [[2], [1], [1]]
    assert [shots.camids.tolist() for shots in (split.train, split.query, split.gallery)] == [[1], [2], [1]]
    split = load(table(tmp_path, "path,pid,split\nimages/a.png,zoe,train\nimages/d.png,0,gallery\n"))
    assert (split.train.camids.tolist(), split.gallery.pids.tolist(), len(split.query)) == ([0], [0], 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "people.csv, line 1: no column path, pid, split; found: "),
        ("path;pid;split\n", "line 1: no column path, pid, split; found: path;pid;split"),
        ("path,pid\n", "line 1: no column split; found: path, pid"),
        ("path,pid,split\n", "people.csv: no images"),
        ("path,pid,split\nimages/a.png,1,test\n", "line 2: split is 'test', not train, query or gallery"),
        ("path,pid,split\nimages/a.png,1,train\nimages/x.png,2,train\n", "line 3: no file 'images/x.png'"),
        ("path,pid,split\nimages/a.png,,train\n", "line 2: pid is empty"),
        ("path,pid,camid,split\nimages/a.png,1,,train\n", "line 2: camid is empty"),
        ("path,pid,split\n../a.png,1,train\n", "line 2: path '../a.png' leaves the table's folder"),
        ("path,pid,split\n/a.png,1,train\n", "line 2: path '/a.png' leaves the table's folder"),
        ("path,pid,split\nimages/../../a.png,1,train\n", "line 2: path 'images/../../a.png' leaves the table's folder"),
        ("path,pid,split\nimages/a.png,0,query\n", "pid 0 in query .images/a.png.*-1 .junk. and 0 .distractor."),
        ("path,pid,split\n" + "x.png,1,train\n" * 5, r"line 2: .*, line 3: .*, line 4: .*, ... \(5 in all\)"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error_with_line_and_value(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(table(tmp_path, text))


@pytest.mark.skipif(not REAL.exists(), reason="Market-1501 is not here: nothing may distribute it")
def test_the_real_market_has_the_published_counts():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = load("market", REAL)
    assert [int((split.gallery.pids == pid).sum()) for pid in (-1, 0)] == [3819, 2798]
    assert np.bincount(split.train.camids).tolist() == [0, 2017, 1709, 2707, 920, 2338, 3245]
