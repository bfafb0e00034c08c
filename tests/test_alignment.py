"""The stated test of pixel alignment: what goes into it, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_aligngan import recipe_of
from torchvision.transforms.v2 import functional as tv

import reidlib as rl
from reidlib.data.augment import MEAN, STD
from reidlib.studies import alignment, translations
from reidlib.studies.alignment import align, grey, rows


@pytest.fixture
def crossed(crowd):
    """The crowd of six as SYSU-MM01 would have it: queries of camera 3, a gallery of cameras 1 and 5."""
    query = replace(crowd.query, camids=np.full(len(crowd.query), 3), infrared_cameras=(3, 6))
    gallery = replace(crowd.gallery, camids=np.where(crowd.gallery.camids == 1, 1, 5), infrared_cameras=(3, 6))
    return rl.Split("toy-sysu", crowd.train, query, gallery)


def system_at(epoch):
    system = rl.build(recipe_of(), np.arange(6), "cpu")
    system.begin_epoch(epoch)
    return system


def test_grey_is_torchvisions():
    pixels = torch.rand(2, 3, 8, 4, generator=torch.Generator().manual_seed(0))
    std, mean = (torch.tensor(values)[:, None, None] for values in (STD, MEAN))
    found = grey((pixels - mean) / std) * std + mean
    torch.testing.assert_close(found, tv.rgb_to_grayscale(pixels, 3), atol=1e-3, rtol=1e-3)


def test_the_true_gallery_is_that_of_the_same_moments(crossed, monkeypatch):
    asked = []
    monkeypatch.setattr(alignment, "load", lambda name: asked.append(name) or crossed)
    for name in ("toy-sysu", "toy-sysu:fabrics=1"):
        assert alignment.true_infrared(name) is crossed.gallery
    assert asked == ["toy-sysu:translated=1", "toy-sysu:fabrics=1,translated=1"]


def test_the_error_is_the_mean_distance_in_grey_from_the_true_picture(crossed, monkeypatch):
    system, seen = system_at(1), crossed.gallery
    true = replace(seen, pids=seen.pids + 1)  # the same files stand in for the true ones
    monkeypatch.setattr(alignment, "_batches", lambda _, shots: batches[shots is true])
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, len(seen), 3, 32, 16, generator=rng)  # seen, true
    std, mean = (torch.tensor(values)[:, None, None] for values in (STD, MEAN))
    normal = (images - mean) / std
    batches = [normal[side].split((3, len(seen) - 3)) for side in (0, 1)]
    made = (system.to_infrared(normal[0]) * std + mean, images[0])
    right = tv.rgb_to_grayscale(images[1])
    expected = [float((tv.rgb_to_grayscale(each).clamp(0, 1) - right).abs().mean()) for each in made]
    found = alignment.errors(system, seen, true)
    assert found == pytest.approx({"generated": expected[0], "grey": expected[1]}, abs=1e-3)
    with pytest.raises(ValueError, match="does not hold the pictures of"):
        alignment.errors(system, seen, true[::-1])


def test_three_galleries_meet_the_same_probes_and_one_of_them_is_generated(crossed):
    system = system_at(1)
    found = align(system, crossed)
    assert list(found) == ["visible", "grey", "generated"]
    assert all(torch.equal(scores.q, found["visible"].q) for scores in found.values())
    assert all(np.array_equal(scores.columns, found["visible"].columns) for scores in found.values())
    torch.testing.assert_close(found["generated"].g, rl.embed(system, crossed.gallery))
    images = rl.normalise(rl.decode(crossed.gallery.files(), system.recipe.size))
    by_hand = torch.nn.functional.normalize(system.embed(images) + system.embed(images.flip(3)))
    torch.testing.assert_close(found["visible"].g, by_hand, atol=1e-5, rtol=1e-4)


def test_the_pictures_of_a_later_generator_are_searched_by_the_same_encoder(crossed):
    system, later = system_at(1), system_at(1)
    with torch.no_grad():
        for weight in later.to_ir.parameters():
            weight.mul_(2)
    found = align(system, crossed, later=later)
    assert list(found) == ["visible", "grey", "generated", "final"]
    expected = rl.embed(system, crossed.gallery, through=later.to_infrared)
    torch.testing.assert_close(found["final"].g, expected)
    assert not torch.equal(found["final"].g, found["generated"].g)


def test_the_rows_say_how_they_were_measured(crossed):
    system = system_at(1)
    plain, table = rows(system, crossed), rows(system, crossed, crossed.gallery)
    assert [row["gallery"] for row in table] == ["visible", "grey", "generated", "true"]
    far = alignment.errors(system, crossed.gallery, crossed.gallery)
    wanted = [None, round(far["grey"], 4), round(far["generated"], 4), 0]
    assert [row["error"] for row in table] == wanted
    assert [row | {"error": None} for row in table[:3]] == plain
    assert table[3]["mAP"] == table[0]["mAP"], "the same images, untranslated"
    said = {"seed": 1, "epoch": 2, "test": "all single", "feature": "pooled", "flip": "on", "reranking": "off"}
    assert all(row | said == row for row in table)
    assert list(table[0]) == list(rl.read_csv(rl.project() / "results" / "pixel_alignment.csv")[0])
    scores = align(system_at(1), crossed)["generated"]
    assert table[2]["rank1_sd"] == round(100 * scores.spread("rank-1"), 2)


def test_a_seed_that_failed_shortens_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "run_folder", lambda recipe: tmp_path / recipe.name())
    monkeypatch.setattr(alignment, "project", lambda: tmp_path)
    for datasets, said in (
        ((), r"toy-sysu_copied=1-.*\(120 in all\)"),
        (("sysu",), r"sysu-reference-all-seed1, .*\(25 in"),
        (("float32",), r"toy-sysu-reference-all-seed1-precision=float32, .*\(15 in"),
    ):
        with pytest.raises(FileNotFoundError, match=f"no result of {said}.*; run make cross first"):
            alignment.main(*datasets)
    assert not list(tmp_path.glob("results/*"))


def test_a_generator_that_knows_nothing_is_refused(crossed):
    with pytest.raises(ValueError, match="restore it after 2 epochs or later"):
        align(system_at(0), crossed)


def test_the_rows_of_a_finished_training_name_its_last_epoch(crossed):
    system = system_at(2)
    assert {row["epoch"] for row in rows(system, crossed)} == {system.recipe.epochs} != {2}


def test_without_generators_there_is_nothing_to_test(crossed):
    system = rl.build(recipe_of(tricks="all-pixels"), np.arange(6), "cpu")
    system.begin_epoch(1)
    with pytest.raises(ValueError, match="needs an AlignGAN with trained generators"):
        align(system, crossed)


def test_the_gains_are_those_of_the_generated_gallery_seed_by_seed():
    table = [
        dict(dataset="toy-sysu", gallery=name, seed=seed, rank1=seed + gain, mAP=seed + 2 * gain)
        for name, gain in (("visible", 0), ("grey", 1), ("generated", 3), ("true", 9))
        for seed in (1, 2, 3)
    ]
    found = alignment.gains(table)
    assert [gain.mean for gain in found] == [3, 2, 6, 4]
    assert [gain.name for gain in found][:2] == ["rank-1, generated - visible", "rank-1, generated - grey"]
    assert {gain.of for gain in found} == {len(found)}


def test_each_part_is_compared_with_what_lacks_it_seed_by_seed():
    height = {"baseline": 1, "channel augmentation": 2, "pixels alone": 4, "features alone": 8, "AlignGAN": 16}
    table = [
        dict(
            dataset=dataset,
            test=f"{dataset} {test}",
            model=model,
            tricks=tricks,
            seed=seed,
            mAP=scale * seed * height[name],
        )
        for name, (model, tricks) in alignment.MODELS.items()
        for dataset, test, scale in (
            ("toy-sysu", "all single", 1),
            ("toy-sysu", "all multi", 0),
            ("toy-sysu:fabrics=1", "all single", 3),
        )
        for seed in (1, 3)
    ]
    for dataset, scale in (("toy-sysu", 1), ("toy-sysu:fabrics=1", 3)):
        found = list(alignment.parts(table, dataset).values())
        assert [gain.mean for gain in found] == [2 * scale * gain for gain in (1, 7, 15, 8, 12)]
        assert {gain.of for gain in found} == {5}
    assert found[-1].name == "AlignGAN - pixels alone"
    left = [row for row in table if row["tricks"] != "all-features"]
    assert len(alignment.parts(left)) == 4
    with pytest.raises(ValueError, match="seed"):
        alignment.parts(table + table[:1])


def test_the_figure_of_the_worlds_shows_each_person_once_by_day_then_generated_and_true(crossed, monkeypatch):
    drawn = []
    monkeypatch.setattr(translations, "load", lambda name: crossed)
    monkeypatch.setattr(translations, "true_infrared", lambda name: crossed.gallery)
    monkeypatch.setattr(translations, "image_grid", lambda *given: drawn.extend(given))
    system = system_at(1)
    translations.plot_translations(dict.fromkeys(list(alignment.KNOB)[:2], system), people=2)
    images, captions, columns, _ = drawn
    assert (len(images), len(captions), columns) == (10, 10, 5)
    assert captions[:5] == captions[5:]
    assert captions[1:3] == [("grey copy", "generated"), ("grey copy", "true")]
    first = [np.flatnonzero(crossed.gallery.pids == pid)[0] for pid in crossed.gallery.ids[:2]]
    expected = rl.decode(crossed.gallery[np.array(first)].files(), system.recipe.size, system.recipe.resize).numpy()
    for column in (0, 2, 4):  # by day, and the stand-ins for the truth
        assert np.abs(images[column::5].astype(int) - expected).max() <= 1
    assert np.abs(images[1::5].astype(int) - expected).max() > 10


def test_the_error_of_the_mean_is_that_of_one_picture_for_all(crossed, monkeypatch):
    train = replace(crossed.train, infrared_cameras=(1,))
    monkeypatch.setattr(translations, "load", lambda name: replace(crossed, train=train))
    monkeypatch.setattr(translations, "true_infrared", lambda name: crossed.gallery)
    recipe = rl.Recipe.for_dataset("toy-sysu", model="aligngan")
    weights = np.array([0.299, 0.587, 0.114])
    learned, true = (
        rl.decode(shots.files(), recipe.size, recipe.resize).numpy() @ weights / 255
        for shots in (train[train.camids == 1], crossed.gallery)
    )
    for every in (1, 3):
        expected = np.abs(true[::every] - learned.mean(0)).mean()
        assert translations.error_of_the_mean("toy-sysu", every) == pytest.approx(expected, abs=1e-5)
