"""toy: the drawn crowd is deterministic, laid out as Market-1501 and DukeMTMC-reID are, and fair to learn from."""

import json
import os
import re
from collections import Counter, defaultdict
from dataclasses import asdict, replace
from hashlib import blake2b
from itertools import combinations
from random import Random

import numpy as np
import pytest
from PIL import Image

from reidlib import toy
from reidlib.toy import sets
from reidlib.toy.people import DIFFERENCES
from reidlib.toy.picture import view
from reidlib.toy.sights import snapshot

NAMES = {
    "market": re.compile(r"(-1|\d{4})_c([1-6])s\d_\d{6}_\d\d\.jpg"),
    "duke": re.compile(r"(-1|\d{4})_c([1-8])_f\d{7}\.jpg"),
}
FOLDERS = ("bounding_box_train", "bounding_box_test", "query")


@pytest.fixture(scope="module", params=NAMES)
def crowd(request, tmp_path_factory):
    """A small crowd of one network: its name, its folder, and (pid, camid) of every picture by folder."""
    folder = tmp_path_factory.mktemp("toy") / request.param
    toy.draw(folder, request.param, people=10)
    names = {part: sorted(f.name for f in (folder / part).glob("*.jpg")) for part in FOLDERS}
    parsed = {part: [NAMES[request.param].fullmatch(name) for name in names[part]] for part in FOLDERS}
    return request.param, folder, {p: [(int(m[1]), int(m[2])) for m in parsed[p] if m] for p in FOLDERS}, names


def shots_of(network, people=126):
    population = toy.population(people)[network]
    return list(sets._shots(network, population, people, Random(f"{network} shots 1")))


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_every_name_is_one_of_market_or_duke(crowd):
    _, _, parsed, names = crowd
    assert all(len(parsed[part]) == len(names[part]) > 0 for part in FOLDERS)


def test_each_folder_has_a_thumbs_db_and_nothing_but_pictures(crowd):
    _, folder, _, names = crowd
    for part in FOLDERS:
        assert {f.name for f in (folder / part).iterdir()} == {*names[part], "Thumbs.db"}


def test_train_and_test_identities_never_meet(crowd):
    _, _, parsed, _ = crowd
    train, test, query = ({pid for pid, _ in parsed[part]} for part in FOLDERS)
    assert not train & test
    assert query == test - {-1, 0}
    assert min(train) > 0


def test_every_query_is_found_again_by_another_camera(crowd):
    _, _, parsed, _ = crowd
    seen = defaultdict(set)
    for pid, camid in parsed["bounding_box_test"]:
        seen[pid].add(camid)
    assert all(seen[pid] - {camid} for pid, camid in parsed["query"])
    assert len(set(parsed["query"])) == len(parsed["query"])  # one query for each person and camera


def test_pictures_have_the_size_of_their_data_set(crowd):
    network, folder, _, names = crowd
    sizes = {Image.open(folder / part / name).size for part in FOLDERS for name in names[part]}
    if network == "market":
        assert sizes == {(64, 128)}
    else:
        assert len(sizes) > 20
        assert all(56 <= width <= 66 and 128 <= height <= 150 for width, height in sizes)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        toy.draw(tmp_path / name, seed=seed, people=8)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert not {bytes for name, bytes in a.items() if name.endswith("jpg")} & set(c.values())


DRAWN = {2: {"market": "d2ba0922fbe699526f6c", "duke": "063bbe967ed4ba5823e0", "sysu": "e4566550feb56d10508e"}}


@pytest.mark.parametrize("network", sets.SIZES)
def test_a_drawing_that_changes_has_a_new_version(network):
    """The names of all pictures, and the pixels of every 97th: a crowd on disk is drawn anew by its version only."""
    people = sets.SIZES[network]
    crowd, digest = toy.population(people)[network], blake2b(digest_size=10)
    shots = list(sets._shots(network, crowd, people, Random(f"{network} shots 1")))
    for i, shot in enumerate(shots):
        digest.update(f"{shot.folder}/{sets._name(network, shot, i)}\0".encode())
        if i % 97 == 0:
            digest.update(np.asarray(snapshot(network, shot, crowd, Random(f"{network} picture 1 {i}"))).tobytes())
    remedy = "the drawing is another: raise VERSION in reidlib/toy/sets.py and add its digests here"
    assert digest.hexdigest() == DRAWN.get(sets.VERSION, {}).get(network), f"{remedy} (or Pillow draws otherwise)"


@pytest.mark.parametrize("network", NAMES)
def test_the_whole_crowd_has_the_proportions_of_market(network):
    shots = shots_of(network)
    train = Counter(shot.pid for shot in shots if shot.folder == sets.TRAIN)
    test = Counter(min(shot.pid, 1) for shot in shots if shot.folder == sets.TEST)
    assert 60 <= len(train) <= 70
    assert sorted(train.values())[:3] == [2, 3, 3]
    assert 12 <= np.median(list(train.values())) <= 16
    assert test[-1] / test.total() == pytest.approx(0.19, abs=0.01)
    assert test[0] / test.total() == pytest.approx(0.14, abs=0.01)
    assert 150 <= sum(shot.folder == sets.QUERY for shot in shots) <= 200


def test_no_two_people_look_alike_in_or_across_networks():
    people = [tuple(asdict(p).values()) for crowd in toy.population().values() for p in crowd]
    assert min(sum(a != b for a, b in zip(p, q)) for p, q in combinations(people, 2)) >= DIFFERENCES


@pytest.mark.parametrize("network", NAMES)
def test_everybody_shares_each_attribute_with_somebody(network):
    people = [asdict(p) for p in toy.population()[network]]
    for name in toy.ATTRIBUTES:
        assert min(Counter(person[name] for person in people).values()) >= 2, name


def test_a_person_differs_between_cameras_and_between_views():
    person, cameras = toy.Person(bag="backpack"), toy.NETWORKS["market"]
    pictures = [np.asarray(toy.render(person, camera, Random(1), yaw=0.0)) for camera in cameras]
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in combinations(pictures, 2))
    back = np.asarray(toy.render(person, cameras[0], Random(1), yaw=3.14))
    assert np.abs(back.astype(int) - pictures[0]).mean() > 5


@pytest.mark.parametrize(
    "other",
    [dict(top_colour="red"), dict(bottom="skirt"), dict(bag="backpack"), dict(cut="cap"), dict(pattern="checks")],
)
def test_an_attribute_shows(other):
    person, camera = toy.Person(), toy.NETWORKS["market"][0]
    a, b = (np.asarray(toy.render(p, camera, Random(1), yaw=2.6)) for p in (person, replace(person, **other)))
    assert np.abs(a.astype(int) - b).max() > 60


@pytest.mark.parametrize(
    "looks",
    [dict(cut="bald"), dict(cut="cap", bag="handbag"), dict(top="hoodie"), dict(top="coat"), dict(pattern="logo")],
    ids=str,
)
def test_visible_attributes_are_those_that_change_the_picture(looks):
    person, camera = toy.Person(**looks), toy.NETWORKS["market"][0]
    other = {name: next(v for v in toy.ATTRIBUTES[name] if v != getattr(person, name)) for name in toy.ATTRIBUTES}
    pictures = [
        [toy.render(p, camera, Random(1), yaw=yaw).tobytes() for yaw in (0.0, 2.6)]
        for p in (person, *(replace(person, **{name: value}) for name, value in other.items()))
    ]
    changed = [name for name, found in zip(other, pictures[1:]) if found != pictures[0]]
    assert changed == list(person.visible())
    assert all(value == getattr(person, name) for name, value in person.visible().items())


def test_a_picture_can_be_drawn_large_and_with_something_in_front():
    camera = toy.NETWORKS["duke"][3]
    plain = toy.render(toy.Person(), camera, Random(2), (256, 128))
    assert plain.size == (128, 256)
    hidden = toy.render(toy.Person(), camera, Random(2), (256, 128), occluder="pole")
    assert np.abs(np.asarray(plain).astype(int) - np.asarray(hidden)).max() > 60
    assert toy.render(None, camera, Random(2)).size == (64, 128)


def test_a_camera_sees_the_views_it_is_said_to_see():
    camera = replace(toy.NETWORKS["market"][0], views=(0, 0, 1))
    assert all(np.cos(view(camera, Random(k))) < 0 for k in range(50))


def test_a_drawing_cut_short_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_name", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.draw(tmp_path / "toy", people=8)
    assert not list(tmp_path.iterdir())


def test_a_drawing_cut_short_leaves_the_last_good_crowd(tmp_path, monkeypatch):
    toy.draw(tmp_path / "toy", people=8)
    before = contents(tmp_path)
    monkeypatch.setattr(sets, "_name", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.draw(tmp_path / "toy", seed=2, people=8)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_crowd_that_another_process_has_just_drawn_is_left_alone(older, late, tmp_path, monkeypatch):
    """Somebody may be reading it. late: it appears between the look at the folder and the move."""
    fill, rename = sets._fill, os.rename
    if older:
        toy.draw(tmp_path / "toy", seed=2, people=8)
    placed = []

    def place(*_):
        monkeypatch.setattr(sets.os, "rename", rename)
        if older:
            rename(tmp_path / "toy", tmp_path / "older")
        fill(tmp_path / "toy", "market", 1, 8, toy.World())
        placed.extend(contents_and_numbers(tmp_path / "toy"))
        if late:
            raise OSError("not empty")

    def beaten(fresh, *args):
        fill(fresh, *args)
        if late:
            monkeypatch.setattr(sets.os, "rename", place)
        else:
            place()

    monkeypatch.setattr(sets, "_fill", beaten)
    toy.draw(tmp_path / "toy", people=8)
    assert toy.is_current(tmp_path / "toy", people=8)
    assert contents_and_numbers(tmp_path / "toy") == placed
    assert sorted(f.name for f in tmp_path.iterdir()) == ["older", "toy"][not older :]


def contents_and_numbers(folder):
    return sorted((file.as_posix(), file.stat().st_ino) for file in folder.rglob("*"))


def test_a_crowd_that_has_lost_images_is_drawn_again_in_its_place(tmp_path):
    toy.draw(tmp_path / "toy", people=8)
    before = contents(tmp_path)
    next((tmp_path / "toy" / "query").glob("*.jpg")).unlink()
    toy.draw(tmp_path / "toy", people=8)
    assert contents(tmp_path) == before


def test_a_folder_is_current_only_for_what_made_it(tmp_path, monkeypatch):
    folder = tmp_path / "toy"
    assert not toy.is_current(folder)
    toy.draw(folder, "market", seed=3, people=8)
    assert toy.is_current(folder, "market", 3, people=8)
    assert not toy.is_current(folder, "duke", 3, people=8)
    assert not toy.is_current(folder, "market", 4, people=8)
    assert not toy.is_current(folder, "market", 3)
    monkeypatch.setattr(sets, "VERSION", sets.VERSION + 1)
    assert not toy.is_current(folder, "market", 3, people=8)
    record = json.loads((folder / "toy.json").read_text())
    assert record.pop("images") == {
        sub: len([*(folder / sub).glob("*.jpg")]) for sub in (sets.TRAIN, sets.TEST, "query")
    }
    (folder / "toy.json").write_text(json.dumps(record))
    assert not toy.is_current(folder, "market", 3, people=8), "drawn before images were counted"
    (folder / "toy.json").write_text("{")
    assert not toy.is_current(folder, "market", 3, people=8)


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="holds no drawn crowd"):
        toy.draw(tmp_path, people=8)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no toy network 'dukee'; choose one of market, duke"):
        toy.draw(tmp_path / "toy", "dukee")
    with pytest.raises(ValueError, match="people=7"):
        toy.draw(tmp_path / "toy", people=7)
    with pytest.raises(ValueError, match="no bag 'suitcase'; choose one of none, backpack"):
        toy.Person(bag="suitcase")
    assert not list(tmp_path.iterdir())


def test_identities_say_who_is_on_the_pictures_of_a_drawn_folder(crowd):
    network, _, labels, _ = crowd
    who = toy.identities(network, people=10)
    assert set(who) == {pid for part in labels.values() for pid, _ in part if pid > 0}
    assert list(who.values()) == toy.population(10)[network][:10]
