"""embed: every image has the row of its own, however many there are and whatever they pass through."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import reidlib as rl
from reidlib.train import embedding

SIZE = (32, 16)


class Pixels(torch.nn.Module):
    """A system whose embedding is the images themselves, so that each row says which image it is of."""

    flip = False

    def __init__(self, **fields):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.recipe = rl.Recipe.for_dataset("toy", height=SIZE[0], width=SIZE[1], **fields)

    def embed(self, images):
        return F.normalize(images.flatten(1))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """1,100 images by six cameras, two of them infrared: more than are decoded at once, not a multiple of a batch."""
    folder = tmp_path_factory.mktemp("many")
    pixels = np.random.default_rng(0).integers(0, 256, (1100, *SIZE, 3), np.uint8)
    names = np.array([f"{i:04d}.png" for i in range(len(pixels))])
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / name, compress_level=1)
    camids = 1 + np.arange(len(names)) % 6
    return rl.Shots("many", folder, names, np.arange(len(names)) + 1, camids, infrared_cameras=(3, 6)), pixels


def rows_of(images):
    return F.normalize(rl.normalise(torch.from_numpy(images)).flatten(1))


def test_more_images_than_are_decoded_at_once_keep_their_order(many):
    shots, pixels = many
    assert len(shots) > embedding.CHUNK
    torch.testing.assert_close(rl.embed(Pixels(), shots), rows_of(pixels))
    torch.testing.assert_close(rl.embed(Pixels(), list(pixels), batch=7), rows_of(pixels))


def test_only_images_of_visible_cameras_pass_through_a_translation(many):
    shots, pixels = many
    expected = rows_of(pixels)
    expected[~shots.infrared] *= -1
    torch.testing.assert_close(rl.embed(Pixels(), shots, through=torch.neg), expected)
    torch.testing.assert_close(rl.embed(Pixels(), shots.files()[:9], through=torch.neg), rows_of(pixels[:9]))


def test_the_mirror_image_counts_as_much_as_the_image(many):
    _, pixels = many
    few = pixels[:5]
    both = F.normalize(rows_of(few) + rows_of(few[:, :, ::-1].copy()))
    torch.testing.assert_close(rl.embed(Pixels(), list(few), flip=True), both)
    system = Pixels()
    system.flip = True
    torch.testing.assert_close(rl.embed(system, list(few)), both)
    torch.testing.assert_close(rl.embed(system, list(few), flip=False), rows_of(few))


@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
def test_images_are_resized_as_in_training(many, resize):
    large = np.repeat(np.repeat(many[1][:3], 3, 1), 2, 2)
    small = [
        np.asarray(Image.fromarray(image).resize(SIZE[::-1], getattr(Image.Resampling, resize.upper())))
        for image in large
    ]
    system = Pixels(resize=resize)
    torch.testing.assert_close(rl.embed(system, list(large)), rows_of(np.stack(small)))


def test_one_image_alone_is_as_good_as_a_list_of_one(many):
    shots, pixels = many
    file = shots.files()[0]
    for one in (file, str(file), Image.open(file), pixels[0]):
        torch.testing.assert_close(rl.embed(Pixels(), one), rows_of(pixels[:1]))
