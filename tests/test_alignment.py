"""The stated test of pixel alignment: what goes into it, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_aligngan import recipe_of
from torchvision.transforms.v2 import functional as tv

import reidlib as rl
from reidlib.data.augment import MEAN, STD
from reidlib.studies import alignment
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


def test_the_rows_say_how_they_were_measured(crossed):
    table = rows(system_at(1), crossed)
    assert [row["gallery"] for row in table] == ["visible", "grey", "generated"]
    said = {"seed": 1, "epoch": 2, "test": "all single", "feature": "pooled", "flip": "on", "reranking": "off"}
    assert all(row | said == row for row in table)
    assert list(table[0]) == list(rl.read_csv(rl.project() / "results" / "pixel_alignment.csv")[0])
    scores = align(system_at(1), crossed)["generated"]
    assert table[2]["rank1_sd"] == round(100 * scores.spread("rank-1"), 2)


def test_a_seed_that_failed_shortens_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "run_folder", lambda recipe: tmp_path / recipe.name())
    monkeypatch.setattr(alignment, "project", lambda: tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"no result of toy-sysu-reference-all-seed1, .*\(9 in all\); run make cross first"
    ):
        alignment.main()
    assert not list(tmp_path.glob("results/*"))


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_encoder_that_knows_more_than_infrared_or_a_generator_that_knows_nothing_is_refused(crossed, epoch):
    with pytest.raises(ValueError, match="restore it after 2 epochs"):
        align(system_at(epoch), crossed)


def test_the_gains_are_over_the_visible_gallery_seed_by_seed():
    table = [
        dict(dataset="toy-sysu", gallery=name, seed=seed, rank1=seed + gain, mAP=seed + 2 * gain, mINP=seed - gain)
        for name, gain in (("visible", 0), ("grey", 1), ("generated", 3))
        for seed in (1, 2, 3)
    ]
    found = alignment.gains(table)
    assert [gain.mean for gain in found] == [1, 3, 2, 6, -1, -3]
    assert [gain.name for gain in found][:2] == ["rank-1, grey - visible", "rank-1, generated - visible"]
    assert {gain.of for gain in found} == {len(found)}
