"""Flip, crop and erasing against raw draws of the reference implementation's transforms."""

import importlib

import numpy as np
import pytest
import torch
from golden_fill import arrays, facts
from scipy import stats
from torchvision.transforms.v2 import functional as tv

from reidlib.data.augment import (
    MEAN,
    STD,
    augment,
    crop_flip,
    draw_channels,
    draw_crops,
    draw_erasing,
    draw_flips,
    draw_misalignment,
    erase,
    misalign,
    normalise,
)
from reidlib.recipe import Recipe

AUGMENT = importlib.import_module("reidlib.data.augment")  # the module; its name is that of a function too
ERASING, CROPS = facts("augment")["erasing_main"], facts("augment")["crop_flip_main"]
H, W, N = ERASING["height"], ERASING["width"], ERASING["draws"]
PAD = CROPS["pad"]
RANDOM = 1  # every test draws from its own generator with this start
P_VALUE = 1e-4  # golden/README.md
QUANTITIES = ("height", "width", "area", "aspect", "top", "left", "top share", "left share")


def rng() -> np.random.Generator:
    return np.random.default_rng(RANDOM)


def drawn_boxes() -> np.ndarray:
    names = {"probability": "probability", "ratio": "r1"}
    options = {mine: ERASING[theirs] for mine, theirs in names.items()}
    return draw_erasing(rng(), N, (H, W), area=(ERASING["sl"], ERASING["sh"]), **options)


def measure(boxes: np.ndarray) -> dict[str, np.ndarray]:
    """What a box can be measured by; shares are of the room that the box leaves."""
    top, left, h, w = boxes[boxes[:, 0] >= 0].astype(float).T
    return dict(zip(QUANTITIES, (h, w, h * w, h / w, top, left, top / (H - h), left / (W - w)), strict=True))


def within(rate: float, probability: float, n: int, errors: float = 4) -> bool:
    return abs(rate - probability) < errors * np.sqrt(probability * (1 - probability) / n)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_erased_boxes_are_distributed_as_the_reference_implementations(quantity):
    """Guards: area uniform in [.02, .4], aspect uniform in [.3, 1/.3] and not in its logarithm, place uniform."""
    golden = measure(arrays("augment")["erasing_main"])[quantity]
    assert stats.ks_2samp(measure(drawn_boxes())[quantity], golden).pvalue > P_VALUE


def test_an_aspect_is_not_uniform_in_its_logarithm():
    """As torchvision's RandomErasing draws it."""
    random = rng()
    area = random.uniform(ERASING["sl"], ERASING["sh"], N) * H * W
    aspect = np.exp(random.uniform(np.log(ERASING["r1"]), -np.log(ERASING["r1"]), N))
    h, w = np.sqrt(area * aspect), np.sqrt(area / aspect)
    aspect = (h / w)[(h < H) & (w < W)]
    assert stats.ks_2samp(measure(drawn_boxes())["aspect"], aspect).pvalue < P_VALUE


def test_half_of_the_images_are_erased():
    """Guards: probability .5; a rejected image comes out whole, with -1 in all four places."""
    boxes = drawn_boxes()
    assert boxes.shape == (N, 4)
    assert boxes.dtype == np.int64
    assert within((boxes[:, 0] >= 0).mean(), ERASING["probability"], N)
    assert (boxes[boxes[:, 0] < 0] == -1).all()


def test_boxes_are_smaller_than_the_image_and_may_touch_its_border():
    """Guards: height and width strictly below the image's; top and left drawn with both ends included."""
    boxes = draw_erasing(rng(), N, (24, 12), probability=1.0)
    top, left, h, w = boxes[boxes[:, 0] >= 0].T
    assert (h.min(), w.min()) >= (1, 1)
    assert (h.max(), w.max()) <= (23, 11)
    assert (top.min(), left.min()) == (0, 0)
    assert ((24 - h - top).min(), (12 - w - left).min()) == (0, 0)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_no_image_or_every_image_is_erased_when_asked(probability):
    """A single try fits in nine of ten cases at 256 x 128, so a hundred tries leave no image whole."""
    boxes = draw_erasing(rng(), 2000, (H, W), probability=probability)
    assert (boxes[:, 0] >= 0).mean() == probability


def test_by_default_one_image_of_two_is_erased():
    assert (draw_erasing(rng(), 2000, (H, W))[:, 0] >= 0).mean() == pytest.approx(0.5, abs=0.05)


def test_erasing_paints_the_box_and_nothing_else():
    images, boxes = torch.randn(3, 3, 8, 6), np.array([[1, 2, 3, 4], [-1, -1, -1, -1], [0, 0, 8, 5]])
    before, fill = images.clone(), (0.485, 0.456, 0.406)
    assert erase(images, boxes, fill) is None
    inside = torch.zeros(3, 1, 8, 6, dtype=torch.bool)
    inside[0, :, 1:4, 2:6] = inside[2, :, :8, :5] = True
    expected = torch.where(inside, torch.tensor(fill)[None, :, None, None], before)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("preset", ["reference", "paper"])
def test_the_fill_is_the_imagenet_mean_in_normalised_units(preset):
    """Guards: erasing comes after normalisation, so the red fill .485 is pixel value .596 and not the mean pixel."""
    images = torch.zeros(1, 3, 4, 4)
    erase(images, np.array([[0, 0, 3, 3]]), Recipe.for_dataset("market", preset).erasing_fill)
    assert images[0, :, 0, 0].tolist() == pytest.approx(ERASING["fill"][0], abs=1e-6)
    assert images[0, 0, 0, 0].item() * STD[0] + MEAN[0] == pytest.approx(0.596, abs=1e-3)


def test_the_fixed_preset_fills_with_the_mean_pixel():
    images = torch.ones(1, 3, 4, 4)
    erase(images, np.array([[0, 0, 3, 3]]), Recipe.for_dataset("market", "fixed").erasing_fill)
    assert not images[0, :, 0, 0].any()


@pytest.mark.parametrize("side", [0, 1])
def test_crop_offsets_are_uniform(side):
    """Guards: padding 10, crop of the image's own size, every offset 0..20 alike (20 degrees of freedom)."""
    offsets = draw_crops(rng(), N, PAD)[side]
    counts = np.bincount(offsets, minlength=2 * PAD + 1)
    golden = np.bincount(arrays("augment")["crop_flip_main"][:, side], minlength=2 * PAD + 1)
    assert len(counts) == 2 * PAD + 1
    assert stats.chisquare(counts).pvalue > P_VALUE
    assert stats.chi2_contingency([counts, golden]).pvalue > P_VALUE


def test_top_and_left_are_drawn_apart_from_each_other():
    top, left = draw_crops(rng(), N, PAD)
    assert abs(np.corrcoef(top, left)[0, 1]) < 4 / np.sqrt(N)


@pytest.mark.parametrize("probability", [0.0, CROPS["flip_probability"], 1.0])
def test_flips_have_their_probability(probability):
    """Guards: horizontal flip with probability .5."""
    flips = draw_flips(rng(), N, probability)
    assert flips.dtype == bool
    assert within(flips.mean(), probability, N) or flips.mean() == probability


def test_a_batch_is_flipped_then_padded_with_black_then_cropped():
    """Guards: the order of the reference implementation's transforms, checked image by image with torchvision's."""
    images = torch.from_numpy(rng().integers(1, 256, (64, 24, 12, 3), dtype=np.uint8))
    top, left = draw_crops(rng(), 64, 3)
    top[:2], left[:2], flipped = (0, 6), (6, 0), draw_flips(rng(), 64, 0.5)
    out = crop_flip(images, top, left, flipped, 3)
    for image, y, x, flip, mine in zip(images.permute(0, 3, 1, 2), top, left, flipped, out, strict=True):
        mirrored = tv.horizontal_flip(image) if flip else image
        expected = tv.crop(tv.pad(mirrored, [3] * 4, fill=0), int(y), int(x), 24, 12)
        assert torch.equal(mine, expected.permute(1, 2, 0))
    assert out.dtype == torch.uint8


def test_cropping_leaves_the_stored_images_alone():
    """The images are decoded once and used for every epoch."""
    images = torch.full((2, 8, 4, 3), 200, dtype=torch.uint8)
    out = crop_flip(images, np.array([0, 1]), np.array([1, 1]), np.array([True, False]), 1)
    out += 1
    augment(images, Recipe.for_dataset("market", height=16, width=16, pad=1), rng())
    assert (images == 200).all()


def test_a_gpu_cuts_and_erases_what_a_cpu_does():
    """The one way is by slices, the other by an index for each pixel; both run here on the same device."""
    random, n = rng(), 40
    images = torch.from_numpy(random.integers(0, 256, (n, 24, 12, 3), np.uint8))
    (top, left), flipped = draw_crops(random, n, 5), draw_flips(random, n, 0.5)
    where = top, left, flipped, 5
    assert torch.equal(AUGMENT._slide(images, *where), AUGMENT._gather(images, *where))
    painted, masked = normalise(images), normalise(images)
    boxes, colour = draw_erasing(random, n, (24, 12)), np.array([1, 2, 3], np.float32)
    AUGMENT._paint(painted, boxes, colour)
    AUGMENT._mask(masked, boxes, colour)
    assert torch.equal(painted, masked)


def test_normalising_is_torchvisions():
    images = torch.from_numpy(rng().integers(0, 256, (4, 16, 8, 3), dtype=np.uint8))
    expected = tv.normalize(images.permute(0, 3, 1, 2).float() / 255, MEAN, STD)
    assert (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(normalise(images), expected, rtol=0, atol=1e-6)


def test_a_training_batch_is_padded_before_and_erased_after_normalising():
    """Guards: Pad fills with black pixels before Normalize; RandomErasing is the last step."""
    recipe = Recipe.for_dataset("market", erasing=1.0)
    out = augment(torch.full((16, H, W, 3), 100, dtype=torch.uint8), recipe, rng())[:, 0]
    allowed = torch.tensor([(100 / 255 - 0.485) / 0.229, -0.485 / 0.229, 0.485])
    nearest = (out[..., None] - allowed).abs().min(-1)
    assert nearest.values.max() < 1e-6
    assert set(nearest.indices.unique().tolist()) == {0, 1, 2}


def test_boxes_and_images_must_be_as_many():
    with pytest.raises(ValueError, match="3 boxes for 2 images"):
        erase(torch.zeros(2, 3, 4, 4), np.full((3, 4), -1), (0.0, 0.0, 0.0))


def test_half_of_the_boxes_miss_the_person_by_a_strip_uniform_up_to_a_twentieth():
    """Guards: PCB's misalignment: probability .5, ratio .05, cut off or added, at the top or the bottom alike."""
    scale, shift = draw_misalignment(rng(), N, 384)
    strip = 1 - scale
    missed = np.abs(strip) > 1e-12
    assert within(missed.mean(), 0.5, N)
    assert stats.kstest(strip[missed] / 0.05, stats.uniform(-1, 2).cdf).pvalue > P_VALUE
    top = shift != 0
    assert not (top & ~missed).any()
    assert within(top[missed].mean(), 0.5, missed.sum())
    np.testing.assert_allclose(shift[top], 384 * strip[top])
    assert stats.ks_2samp(strip[top], strip[missed & ~top]).pvalue > P_VALUE


def test_a_box_that_misses_nothing_shows_what_it_showed():
    images = torch.from_numpy(rng().integers(0, 256, (3, 24, 12, 3), dtype=np.uint8))
    out = misalign(images, np.ones(3), np.zeros(3))
    assert torch.equal(out, images)
    assert out.data_ptr() != images.data_ptr()


@pytest.mark.parametrize(
    ("scale", "shift", "shown"),
    [
        (0.5, 0, [100] * 19),  # the lower half is cut off: the upper one fills the box
        (0.5, 10, [200] * 19),  # the upper half is cut off
        (1.25, 0, [100] * 8 + [200] * 8 + [0] * 4),  # a quarter is added below, black
        (1.25, -5, [0] * 4 + [100] * 8 + [200] * 8),  # and above
    ],
)
def test_a_strip_is_cut_off_or_added_at_the_head_or_the_feet(scale, shift, shown):
    image = torch.full((1, 20, 2, 3), 100, dtype=torch.uint8)
    image[:, 10:] = 200
    rows = misalign(image, np.array([scale]), np.array([shift]))[0, :, 0, 0].tolist()
    rows = rows[1:] if shift == 10 else rows[: len(shown)]  # between the halves one row may show some of both
    assert rows == pytest.approx(shown, abs=1)


def test_a_recipe_that_asks_for_misalignment_gets_it_and_no_other_does():
    images = torch.from_numpy(rng().integers(0, 256, (16, 40, 16, 3), dtype=np.uint8))
    plain = dict(height=40, width=16, pad=0, flip=0.0, erasing=0.0)
    same = augment(images, Recipe.for_dataset("market", **plain), rng())
    assert torch.equal(same, normalise(images))
    moved = augment(images, Recipe.for_dataset("market", **plain, misalign=1.0), rng())
    assert not (moved == same).flatten(1).all(1).any()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_an_image_is_shown_through_each_channel_and_as_grey_equally_often(probability):
    channel = draw_channels(rng(), 20_000, probability)
    assert (channel >= 0).mean() == pytest.approx(probability, abs=0.02)
    if probability:
        assert stats.chisquare(np.bincount(channel[channel >= 0], minlength=4)).pvalue > P_VALUE


def test_one_channel_becomes_all_three_and_grey_is_torchvisions():
    images = torch.from_numpy(rng().integers(0, 256, (5, 8, 4, 3), dtype=np.uint8))
    before = images.clone()
    shown = AUGMENT.one_channel(images, np.array([-1, 0, 1, 2, 3]))
    assert torch.equal(images, before)
    assert torch.equal(shown[0], images[0])
    for channel in range(3):
        assert torch.equal(shown[channel + 1], images[channel + 1, ..., [channel]].expand(-1, -1, 3))
    grey = tv.rgb_to_grayscale(images[4].permute(2, 0, 1).float())[0]
    assert (shown[4].float() - grey[..., None]).abs().max() <= 0.51
    assert (shown[1:] == shown[1:, ..., :1]).all()


def test_infrared_images_stay_as_they_are_and_a_recipe_without_it_draws_nothing():
    grey = torch.from_numpy(rng().integers(0, 256, (4, 8, 4, 1), dtype=np.uint8)).expand(-1, -1, -1, 3)
    assert torch.equal(AUGMENT.one_channel(grey, np.array([0, 1, 2, 3])), grey)
    plain, shown = (Recipe.for_dataset("sysu", tricks=f"all{word}", height=16, width=16, pad=0, erasing=0.0, flip=0.0)
                    for word in ("", "+channels"))  # fmt: skip
    images = torch.from_numpy(rng().integers(0, 256, (64, 16, 16, 3), dtype=np.uint8))
    colourless = augment(images, shown, rng()) * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert within(float((colourless.std(1).amax((1, 2)) < 1e-5).float().mean()), 0.5, 64)
    torch.testing.assert_close(augment(images, plain, rng()), normalise(images))
