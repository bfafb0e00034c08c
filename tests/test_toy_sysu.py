"""toy: the crowd in SYSU-MM01's layout, and what its infrared cameras see of materials and not of colours."""

from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations
from random import Random

import numpy as np
import pytest
from PIL import Image

from reidlib import toy
from reidlib.toy import infrared, sets, sysu
from reidlib.toy.ink import COLOURS, Cloth
from reidlib.toy.people import DIFFERENCES, TEXTILES
from reidlib.toy.places import panorama

DAY, DARK = (1, 2, 4, 5), (3, 6)
CAMERAS = toy.NETWORKS["sysu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "sysu"
    toy.draw(folder, "sysu", people=10)
    return folder


def ids(folder, part):
    return [int(pid) for pid in (folder / "exp" / f"{part}_id.txt").read_text().split(",")]


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def counts(people=100, seed=1):
    """Pictures of each (pid, camid), and the parts."""
    name = f"sysu shots {seed}"
    shots = sysu.shots(toy.population(people, seed)["sysu"], people, Random(name))
    return Counter((shot.pid, shot.camid) for shot in shots), sysu.parts(people, Random(name))


def chest(person, camera, moment=1):
    """The middle grey of a patch of the chest, seen from the front without anything before it."""
    picture = toy.render(person, camera, Random(moment), yaw=0.0, place=1.0, phase=0.5).convert("L")
    return float(np.median(np.asarray(picture)[36:54, 26:38]))


def test_the_files_lie_as_those_of_sysu(folder):
    pictures = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.jpg"))
    assert {path.split("/")[0] for path in pictures} == {f"cam{camid}" for camid in range(1, 7)}
    for shot in {path.rsplit("/", 1)[0] for path in pictures}:
        names = sorted(f.name for f in (folder / shot).iterdir())
        assert names == [f"{k:04d}.jpg" for k in range(1, len(names) + 1)]
    assert {Image.open(folder / path).size for path in pictures} == {(64, 128)}


def test_the_lists_part_the_identities(folder):
    known = {part: ids(folder, part) for part in ("train", "val", "test", "available")}
    assert all(pids == sorted(set(pids)) for pids in known.values())
    assert sorted(known["train"] + known["val"] + known["test"]) == known["available"]
    assert known["available"] == sorted({int(f.name) for f in folder.glob("cam?/*")})
    assert all((folder / "exp" / f"{part}_id.txt").read_text().count("\n") == 1 for part in known)


def test_identities_are_those_of_the_lists(folder):
    who = toy.identities("sysu", people=10)
    assert sorted(who) == ids(folder, "available")
    assert list(who.values()) == toy.population(10)["sysu"][:10]
    assert all(isinstance(person, toy.Clothed) for person in who.values())


def test_infrared_pictures_have_three_equal_channels_and_others_do_not(folder):
    for path in folder.rglob("0001.jpg"):
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        spread = np.ptp(picture, axis=2)
        assert (spread.max() == 0) == (int(path.parts[-3][-1]) in DARK), path


@pytest.mark.parametrize("seed", [1, 2])
def test_the_whole_crowd_serves_the_protocol(seed):
    count, parts = counts(seed=seed)
    assert [len(parts[part]) for part in ("train", "val", "test")] == [49, 16, 35]
    assert 3000 < count.total() < 4500
    for pid in parts["train"] + parts["val"]:
        assert min(sum(count[pid, camid] for camid in modality) for modality in (DAY, DARK)) >= 4
    assert min(count[pid, camid] for pid, camid in count if pid in parts["test"]) >= 10  # multi-shot draws ten
    for pid in parts["test"]:
        assert any(count[pid, camid] for camid in DARK)
        assert any(count[pid, camid] for camid in (1, 4, 5))  # camera 2 is not in the gallery of a query of 3
    seen = [sum(count[pid, camid] > 0 for pid in parts["test"]) for camid in range(1, 7)]
    assert min(seen) >= 10
    assert sum(seen) < 6 * 35


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(folder, tmp_path):
    toy.draw(tmp_path / "again", "sysu", people=10)
    assert contents(tmp_path / "again") == contents(folder)
    toy.draw(tmp_path / "other", "sysu", seed=2, people=8)
    jpegs = {bytes for name, bytes in contents(folder).items() if name.endswith("jpg")}
    assert not jpegs & set(contents(tmp_path / "other").values())


def test_a_folder_is_current_for_the_arguments_that_drew_it(folder):
    assert toy.is_current(folder, "sysu", 1, people=10)
    assert not toy.is_current(folder, "sysu", 1)
    assert not toy.is_current(folder, "sysu", 2, people=10)
    assert not toy.is_current(folder, "market", 1, people=10)
    assert not toy.is_current(folder, "regdb", 1)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no toy network 'sysu2'; choose one of market, duke, sysu"):
        toy.draw(tmp_path / "toy", "sysu2")
    for people in (0, 7):
        with pytest.raises(ValueError, match=f"people={people}"):
            toy.draw(tmp_path / "toy", "sysu", people=people)
    with pytest.raises(ValueError, match="no top_material 'velvet'; choose one of linen, cotton"):
        toy.Clothed(top_material="velvet")
    assert not list(tmp_path.iterdir())


def test_a_drawing_cut_short_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_name", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.draw(tmp_path / "toy", "sysu", people=8)
    assert not list(tmp_path.iterdir())


def test_no_two_people_look_alike():
    people = [tuple(getattr(p, name) for name in toy.ATTRIBUTES) for p in toy.population()["sysu"]]
    assert min(sum(a != b for a, b in zip(p, q)) for p, q in combinations(people, 2)) >= DIFFERENCES


@pytest.mark.parametrize("name", [*toy.ATTRIBUTES, "top_material", "trim_material", "bag_material"])
def test_everybody_shares_each_attribute_with_somebody(name):
    assert min(Counter(asdict(person)[name] for person in toy.population()["sysu"]).values()) >= 2


def test_cameras_two_and_three_look_at_one_room():
    assert CAMERAS[2] == replace(CAMERAS[1], lamp=CAMERAS[2].lamp)
    day, dark = (np.asarray(panorama(CAMERAS[k], 100).convert("L")).astype(float) for k in (1, 2))
    edges = [np.abs(np.diff(place, axis=0))[20:120] > 4 for place in (day, dark)]
    shifted = np.roll(edges[1], 60, axis=1)
    assert (edges[0] & edges[1]).mean() > 1.3 * (edges[0] & shifted).mean()


@pytest.mark.parametrize("camid", DARK)
def test_equal_colours_of_different_materials_differ_only_in_infrared(camid):
    linen = toy.Clothed(top="tee", top_material="linen")
    leather = replace(linen, top_material="leather")
    assert chest(linen, CAMERAS[camid - 1]) > chest(leather, CAMERAS[camid - 1]) + 80
    assert abs(chest(linen, CAMERAS[0]) - chest(leather, CAMERAS[0])) < 30  # leather shines


@pytest.mark.parametrize("camid", DARK)
def test_a_black_and_a_white_shirt_are_nearly_the_same_in_infrared(camid):
    black, white = toy.Clothed(top_colour="black"), toy.Clothed(top_colour="white")
    assert abs(chest(black, CAMERAS[camid - 1]) - chest(white, CAMERAS[camid - 1])) < 30
    assert chest(white, CAMERAS[0]) > chest(black, CAMERAS[0]) + 100


def test_visible_brightness_says_little_of_infrared_brightness():
    crowd = [replace(p, bag="none") for p in toy.population()["sysu"]]
    day = [chest(person, CAMERAS[0]) for person in crowd]
    for camid in DARK:
        dark = [chest(person, CAMERAS[camid - 1]) for person in crowd]
        assert abs(np.corrcoef(day, dark)[0, 1]) < 0.3
        assert np.std(dark) > 30  # and yet they differ


def test_a_pattern_shows_in_infrared_where_its_material_differs():
    plain = toy.Clothed(top="shirt", top_colour="black", trim="white", top_material="cotton", trim_material="cotton")
    printed = replace(plain, pattern="stripes")
    woven = replace(printed, trim_material="nylon")
    views = [
        np.asarray(toy.render(p, CAMERAS[2], Random(1), yaw=0.0).crop((26, 36, 38, 54)).convert("L")).astype(float)
        for p in (plain, printed, woven)
    ]
    assert np.abs(views[1] - views[0]).mean() < 20 < 30 < np.abs(views[2] - views[0]).mean()


def test_one_person_is_seen_by_day_and_in_the_dark_at_any_size():
    person = toy.population()["sysu"][0]
    for camera in CAMERAS:
        assert toy.render(person, camera, Random(1), (256, 128)).size == (128, 256)
    plain = toy.Person(**{name: getattr(person, name) for name in toy.ATTRIBUTES})  # of the usual materials
    assert toy.render(plain, CAMERAS[2], Random(1)).getextrema()[0][1] > 100
    for occluder in ("pole", "bush", "bicycle"):
        hidden = np.asarray(toy.render(person, CAMERAS[5], Random(1), occluder=occluder))
        assert np.ptp(hidden, axis=2).max() == 0


def test_leaves_glow_and_glass_and_sky_are_dark():
    leaf, glass, sky = (infrared.surface(rgb)[0] for rgb in ((70, 112, 62), (132, 160, 172), (176, 182, 188)))
    assert leaf > 200
    assert max(glass, sky) < 40


def test_every_material_that_is_worn_reflects():
    assert set(TEXTILES) <= set(infrared.NEAR)
    assert {textile for choice in toy.MATERIALS.values() for textile in choice} == set(TEXTILES)
    assert all(0 <= infrared.paint(colour, material)[0] <= 255 for colour in COLOURS for material in infrared.NEAR)
    assert Cloth("black", "cotton").thread is None
