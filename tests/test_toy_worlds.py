"""The knobs of the drawn crowd: what each changes in the pictures, what it leaves alone, and how a world is named."""

import json
import re
from collections import Counter
from dataclasses import fields
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from PIL import Image

import reidlib as rl
from reidlib import toy
from reidlib.toy import infrared, sets, sights
from reidlib.toy.cameras import develop
from reidlib.toy.ink import COLOURS
from reidlib.toy.people import DETAILS, LARGE
from reidlib.toy.sights import snapshot
from reidlib.toy.world import PLAIN, QUERY, TEST, TRAIN, World

PEOPLE = 30
CROWD = toy.population(PEOPLE)["market"]
SHOTS = list(sets._shots("market", CROWD, PEOPLE, Random("market shots 1")))
PLACES = {name: [i for i, shot in enumerate(SHOTS) if shot.folder == name] for name in (TRAIN, QUERY, TEST)}


def picture(i, world=PLAIN, crowd=CROWD):
    return np.asarray(snapshot("market", SHOTS[i], crowd, Random(f"market picture 1 {i}"), world), np.int16)


@pytest.fixture
def asked(monkeypatch):
    """A function: what `render` is asked to draw for every sight of a folder, apart from the world itself."""
    monkeypatch.setattr(sights, "render", lambda *args, **options: (args, options))

    def asked(folder, world=PLAIN):
        found = [
            snapshot("market", SHOTS[i], CROWD, Random(f"market picture 1 {i}"), world)
            for i, shot in enumerate(SHOTS)
            if shot.folder == folder
        ]
        return [(person, camera, size, options) for (person, camera, _, size), options in found]

    return asked


FRONT = ("occluder", "passer", "ahead", "world")


def in_front(options):
    return [options.get(name) for name in ("occluder", "passer")]


def taken(world):
    return list(sets._taken(SHOTS, "market label 1", world))


def test_a_knob_that_is_not_turned_changes_nothing():
    assert str(World()) == ""
    assert World.named("") == World()
    assert [shot for shot, *_ in taken(World())] == SHOTS
    assert {copy for *_, copy in taken(World())} == {0}
    assert toy.population(PEOPLE, 1, World(details=0.5, boxes=3))["market"] == CROWD


@pytest.mark.parametrize(("name", "folder"), [("hidden_train", TRAIN), ("hidden_query", QUERY)])
def test_people_are_hidden_in_their_own_part_only(asked, name, folder):
    shares, rest, things = {}, [], []
    for share in (0, 0.1, 0.5, 1):
        found = asked(folder, World(**{name: share}))
        things.append([in_front(options) for *_, options in found])
        shares[share] = np.mean([any(thing) for thing in things[-1]])
        rest.append([(*words, {k: v for k, v in options.items() if k not in FRONT}) for *words, options in found])
        for other in {TRAIN, QUERY, TEST} - {folder}:
            assert [in_front(options) for *_, options in asked(other, World(**{name: share}))] == [
                in_front(options) for *_, options in asked(other)
            ]
    for share, found in shares.items():
        assert abs(found - share) <= 3 * np.sqrt(share * (1 - share) / len(things[0])), "by three standard deviations"
    assert rest[0] == rest[1] == rest[2] == rest[3], "person, camera, pose, place and box are the same"
    for fewer, more in pairwise(things):
        assert all(a == b for a, b in zip(fewer, more, strict=True) if any(a)), "who is hidden stays so by the same"


def test_what_stands_in_front_leaves_the_rest_of_the_picture_as_it_is():
    changed = [np.abs(picture(i) - picture(i, World(hidden_query=1))).max(2) > 0 for i in PLACES[QUERY][:30]]
    shares = [float(mask.mean()) for mask in changed if mask.any()]
    assert 0.02 < np.median(shares) < 0.5
    assert max(shares) < 0.8, "pose, place, light and grain are the same"


def test_a_larger_obstacle_hides_more_and_shows_only_where_there_is_one():
    covered = {}
    for size in (0.5, 1, 2):
        world = World(hidden_query=1, obstacle=size)
        covered[size] = np.mean([(picture(i) != picture(i, world)).any(2).mean() for i in PLACES[QUERY][:20]])
    assert covered[0.5] < 0.7 * covered[1] < 0.7 * 0.7 * covered[2]
    clear = next(i for i in PLACES[TRAIN] if np.array_equal(picture(i), picture(i, World(hidden_train=0))))
    assert np.array_equal(picture(clear), picture(clear, World(obstacle=2)))


def test_boxes_move_and_scale_the_person_and_change_nothing_else(asked):
    plain, exact, rough = (asked(TRAIN, World(boxes=size)) for size in (0.8, 0, 2))
    assert {(*options["shift"], options["zoom"]) for *_, options in exact} == {(0, 0, 1)}
    for name in ("shift", "zoom"):
        a, b = (np.array([options[name] for *_, options in found]) - (name == "zoom") for found in (plain, rough))
        np.testing.assert_allclose(b, 2.5 * a)
    leave = {"shift", "zoom", "world", "ahead"}
    for found in (exact, rough):
        for (*words, options), (*others, known) in zip(found, plain, strict=True):
            assert words == others
            assert {k: v for k, v in options.items() if k not in leave} == {
                k: v for k, v in known.items() if k not in leave
            }


def test_the_worst_boxes_can_be_drawn(asked):
    world = World(boxes=5, obstacle=4, details=2, hidden_train=1)
    zooms = [options["zoom"] for *_, options in asked(TRAIN, world)]
    assert min(zooms) == 0.4 < 1.6 < max(zooms)
    assert all(-1 < shift < 1 for *_, options in asked(TRAIN, world) for shift in options["shift"])
    person, camera = CROWD[0], toy.NETWORKS["market"][0]
    for zoom, shift in ((0.4, (1, 1)), (0.4, (-1, -1)), (2.2, (1, -1)), (2.2, (-1, 1))):
        for front in ({"occluder": name} for name in ("pole", "bush", "bicycle")):
            assert toy.render(person, camera, zoom=zoom, shift=shift, world=world, **front).size == (64, 128)
        assert toy.render(person, camera, zoom=zoom, shift=shift, world=world, passer=CROWD[1]).size == (64, 128)


@pytest.mark.parametrize("share", [0.05, 0.3, 2.5])
def test_the_number_of_images_is_that_of_the_training_pictures_alone(share):
    drawn = taken(World(images=share))
    before, after = (
        Counter(shot.pid for shot in shots if shot.folder == TRAIN) for shots in (SHOTS, [s for s, *_ in drawn])
    )
    assert {pid: np.ceil(share * count) for pid, count in before.items()} == after
    assert [(shot, i) for shot, i, _ in drawn if shot.folder != TRAIN] == [
        (shot, i) for i, shot in enumerate(SHOTS) if shot.folder != TRAIN
    ], "a picture that stays is the same picture"
    names = [sets._name(network, *entry) for entry in drawn for network in ("market", "duke")]
    assert len(set(names)) == len(names)
    cameras = {pid: {shot.camid for shot, *_ in drawn if shot.pid == pid} for pid in before}
    assert np.mean([len(of) for of in cameras.values()]) >= (1 if share < 0.1 else 1.5), "spread over the cameras"


def test_wrong_labels_are_those_of_other_training_people_and_only_grow_in_number():
    some, more = taken(World(wrong_labels=0.2)), taken(World(wrong_labels=0.5))
    wrong = [{i for shot, i, _ in drawn if shot.pid != SHOTS[i].pid} for drawn in (some, more)]
    assert wrong[0] < wrong[1] < set(PLACES[TRAIN])
    assert [len(of) / len(PLACES[TRAIN]) for of in wrong] == pytest.approx([0.2, 0.5], abs=0.1)
    assert {shot.pid for shot, *_ in more} == {shot.pid for shot in SHOTS}
    assert all(
        (shot.person, shot.camid, shot.yaw) == (SHOTS[i].person, SHOTS[i].camid, SHOTS[i].yaw) for shot, i, _ in more
    )


def test_people_who_are_alike_differ_in_details_only():
    crowd = toy.population(PEOPLE, 1, World(alike=0.6))["market"]
    pairs = list(pairwise(crowd))
    large = [name for name in LARGE if name in toy.ATTRIBUTES]
    alike = [(a, b) for a, b in pairs if all(getattr(a, name) == getattr(b, name) for name in large)]
    assert len(alike) / len(pairs) == pytest.approx(0.6, abs=0.15)
    assert all(sum(getattr(a, name) != getattr(b, name) for name in DETAILS) >= 2 for a, b in alike)
    assert len(set(crowd)) == len(crowd)
    assert sorted(large + list(DETAILS)) == sorted(toy.ATTRIBUTES)
    same = [a == b for a, b in zip(crowd, CROWD, strict=True)]
    assert np.mean(same) == pytest.approx(0.4, abs=0.15), "the others are who they were"
    tiny = toy.population(PEOPLE, 1, World(alike=0.3))["market"]
    assert np.mean([a == b for a, b in zip(tiny, CROWD, strict=True)]) > np.mean(same)


@pytest.mark.parametrize(
    "look", [dict(pattern="stripes"), dict(pattern="logo"), dict(bag="backpack"), dict(bag="handbag")]
)
def test_details_are_larger_or_smaller_on_an_unchanged_body(look):
    camera, yaw = toy.NETWORKS["market"][0], 2.6 if look.get("bag") == "backpack" else 0.3
    plain, small, large = (
        np.asarray(
            toy.render(
                toy.Person(trim="red", bag_colour="red", **look), camera, Random(1), yaw=yaw, world=World(details=size)
            )
        )
        for size in (1, 0.4, 1.6)
    )
    shown = [(image[..., 0].astype(int) - image[..., 2] > 60).sum() for image in (small, plain, large)]
    if look != dict(pattern="stripes"):  # finer stripes cover as much
        assert shown[0] < shown[1] < shown[2]
    assert not np.array_equal(plain, small)
    assert np.array_equal(plain[:12], small[:12]), "the head, and what is above it"


def test_cameras_differ_less_or_more():
    cameras, paper = [*toy.NETWORKS["market"], *toy.NETWORKS["duke"]], Image.new("RGB", (64, 128), (150, 120, 90))

    def spread(strength):
        means = [np.asarray(develop(paper, camera, Random(1), strength)).mean((0, 1)) for camera in cameras]
        return np.std(means, 0).mean()

    assert spread(0) < 0.02 * spread(1)
    assert spread(2) > 1.5 * spread(1)
    assert not np.array_equal(picture(0), picture(0, World(cameras=2)))


def test_a_translated_picture_is_the_infrared_one_of_the_same_moment(monkeypatch):
    crowd = toy.population(PEOPLE)["sysu"]
    shots = list(sets._shots("sysu", crowd, PEOPLE, Random("sysu shots 1")))
    asked = []
    monkeypatch.setattr(sights, "render", lambda *args, **options: asked.append((args, options)))
    shares = (0, 0.4, 1)
    for share in shares:
        for i, shot in enumerate(shots):
            snapshot("sysu", shot, crowd, Random(f"sysu picture 1 {i}"), World(translated=share))
    lamps, rest = [], []
    for args, options in asked:
        lamps.append(args[1].lamp is not None)
        rest.append((args[0], repr(args[1]), args[2].getstate(), args[3], options | {"world": None, "ahead": None}))
    none, some, every = (slice(i * len(shots), (i + 1) * len(shots)) for i in range(len(shares)))
    assert rest[none] == rest[some] == rest[every], "person, place, pose, box and grain are the same"
    by_day = np.array([shot.camid not in (3, 6) for shot in shots])
    assert (np.array(lamps[none]) == ~by_day).all()
    assert np.array(lamps[some])[by_day].mean() == pytest.approx(0.4, abs=3 * np.sqrt(0.24 / by_day.sum()))
    assert all(lamps[every])


def test_a_translated_picture_shows_no_colour_and_the_materials():
    person = toy.population(PEOPLE)["sysu"][0]
    shot = sights.walk("sysu", "cam1/0001", 1, 1, person, 1, Random(1))[0]
    seen, dark = (
        np.asarray(snapshot("sysu", shot, [person], Random(5), World(translated=share)), np.int16) for share in (0, 1)
    )
    assert np.ptp(dark, 2).max() == 0
    assert np.ptp(seen, 2).mean() > 10
    assert np.abs(seen.mean(2) - dark[..., 0]).mean() > 20, "no grey copy"


def test_fabrics_follow_the_dyes_or_do_not():
    crowds = {share: toy.population(PEOPLE, 1, World(fabrics=share))["sysu"] for share in (0, 0.8, 1)}
    same = {
        share: np.mean([a.top_material == b.top_material for a, b in zip(crowd, crowds[1], strict=True)])
        for share, crowd in crowds.items()
    }
    assert same[0] < 0.5 < 0.75 < same[0.8] < 1
    assert [rl.toy.Person(**{name: getattr(p, name) for name in toy.ATTRIBUTES}) for p in crowds[0]] == [
        rl.toy.Person(**{name: getattr(p, name) for name in toy.ATTRIBUTES}) for p in crowds[1]
    ], "colours and garments are the same"
    assert crowds[0.8] == toy.population(PEOPLE)["sysu"]


def test_a_copy_in_infrared_is_as_bright_as_its_colour():
    dyes = ("black", "red", "white")
    grey = {share: [infrared.paint(dye, "cotton", share)[0] for dye in dyes] for share in (0, 0.5, 1)}
    assert grey[1] == [round(float(infrared.LUMA @ COLOURS[dye])) for dye in dyes]
    assert np.ptp(grey[0]) < 25, "black cotton is nearly as bright as white cotton"
    np.testing.assert_allclose(grey[0.5], np.add(grey[0], grey[1]) / 2, atol=1)
    person = toy.population(PEOPLE)["sysu"][0]
    shot = sights.walk("sysu", "cam3/0001", 1, 3, person, 1, Random(1))[0]
    usual, copied = (np.asarray(snapshot("sysu", shot, [person], Random(5), World(copied=c)), int) for c in (0, 1))
    changed = np.abs(usual - copied).max(2) > 20
    assert 0.02 < changed.mean() < 0.5, "the person, not the place"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("alike=2", r"World: alike=2.0; choose from 0 to 0.9"),
        ("boxes=-1", r"World: boxes=-1.0; choose from 0 to 5"),
        ("boxes=nan", r"World: boxes=nan; choose from 0 to 5"),
        ("crop=1", r"world 'crop=1': no knob 'crop'; choose from hidden_train, .*fabrics"),
        ("alike", r"world 'alike': write knob=number, not 'alike', as in alike=0.5,boxes=3"),
        ("alike=some", r"write knob=number, not 'alike=some'"),
    ],
)
def test_what_is_no_world_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        World.named(words)


def test_every_knob_has_bounds_around_its_default_and_is_named_back():
    for entry in fields(World):
        assert entry.metadata["least"] <= entry.default <= entry.metadata["most"]
        turned = World(**{entry.name: entry.metadata["most"]})
        assert World.named(str(turned)) == turned != World()
    with pytest.raises(ValueError, match="World: alike='a lot'; it must be a number"):
        World(alike="a lot")


@pytest.mark.parametrize(
    ("network", "knob"), [("sysu", "wrong_labels"), ("sysu", "hidden_query"), ("market", "fabrics")]
)
def test_a_network_without_a_knob_says_so(tmp_path, network, knob):
    with pytest.raises(ValueError, match=f"the network {network} has no knob {knob}; leave it at"):
        toy.draw(tmp_path / "toy", network, people=8, world=World(**{knob: 0.5}))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(sets, "SIZES", dict.fromkeys(sets.SIZES, 8))


def test_a_folder_remembers_its_world(few, tmp_path):
    world = World(alike=0.5)
    toy.draw(tmp_path / "toy", world=world)
    assert toy.is_current(tmp_path / "toy", world=world)
    assert not toy.is_current(tmp_path / "toy")
    assert json.loads((tmp_path / "toy" / "toy.json").read_text())["world"] == "alike=0.5"
    plain = rl.load("toy", tmp_path / "toy")
    assert plain.train.root == tmp_path / "toy", "the folder of all sets has a toy of its own"
    assert toy.is_current(tmp_path / "toy")
    assert "world" not in json.loads((tmp_path / "toy" / "toy.json").read_text())


def test_a_world_is_a_data_set_by_its_name(few, tmp_path):
    split = rl.load("toy-duke:boxes=3.0,alike=0.50", tmp_path)
    assert split.name == "toy-duke:boxes=3,alike=0.5"
    assert split.train.root == tmp_path / "toy-duke-boxes=3,alike=0.5"
    assert rl.load("toy-duke:boxes=3,alike=0.5", split.train.root).train.root == split.train.root, "its own folder"
    assert rl.load("toy-duke:", tmp_path).name == "toy-duke"
    next(split.query.root.glob("query/*.jpg")).unlink()
    with pytest.warns(UserWarning, match=re.escape("toy-duke:boxes=3,alike=0.5: query has")):
        rl.load(split.name, tmp_path)
    with pytest.raises(ValueError, match="no knob 'alik'"):
        rl.load("toy:alik=0.5", tmp_path)


@pytest.mark.parametrize("model", ["bot", "pcb", "aligngan"])
def test_the_recipe_of_a_world_is_that_of_the_toy(model):
    for name in ("toy", "toy-duke", "toy-sysu"):
        plain, other = (rl.Recipe.for_dataset(word, model=model) for word in (name, f"{name}:boxes=3"))
        assert other == plain.replace(dataset=f"{name}:boxes=3")
    assert rl.Recipe.for_dataset("toy:boxes=3").name() == "toy_boxes=3-reference-all-seed1"


def test_an_infrared_world_is_tested_by_the_protocol_of_sysu():
    with pytest.raises(ValueError, match="tested by its own protocol"):
        rl.sysu.refuse_sysu("toy-sysu:fabrics=0.2")
