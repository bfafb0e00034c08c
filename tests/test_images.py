"""Decoding and the store: each image read once, kept by what it is, and named where it cannot be read."""

import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import reidlib as rl
from reidlib.data import images
from reidlib.files import cache_folder
from reidlib.provenance import data_digest


def cache_file(shots):
    """The cache file of the images at 32 x 16."""
    (file,) = cache_folder().glob(f"{images.pixels_digest(shots)}-32x16-*")
    return file


@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
def test_an_image_is_resized_as_torchvision_resizes_it(crowd, resize):
    """Guards: resize first, bicubic in the reference implementation and bilinear in the paper's code."""
    mode = torchvision.transforms.InterpolationMode(resize)
    expected = torchvision.transforms.Resize((256, 128), mode)(Image.open(crowd.train.file(0)).convert("RGB"))
    assert np.array_equal(rl.decode([crowd.train.file(0)], (256, 128), resize)[0].numpy(), np.asarray(expected))


def test_images_come_in_the_order_of_the_files(crowd):
    files = crowd.train.files()
    together, reverse = rl.decode(files, (32, 16)), rl.decode(files[::-1], (32, 16))
    assert together.shape == (24, 32, 16, 3)
    assert torch.equal(together, reverse.flip(0))


def test_a_grey_image_becomes_three_channels(tmp_path):
    Image.new("L", (8, 16), 77).save(tmp_path / "grey.png")
    assert rl.decode([tmp_path / "grey.png"], (16, 8)).unique().tolist() == [77]


def test_a_broken_and_a_missing_image_are_named_with_the_count_before_them(crowd):
    crowd.train.file(5).write_bytes(b"\xff\xd8 cut off")
    with pytest.raises(ValueError, match=rf"{crowd.train.file(5).name}.*not a readable image.*\(5 of 24"):
        rl.decode(crowd.train.files())
    crowd.train.file(5).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{crowd.train.file(5).name}: no such file"):
        rl.decode(crowd.train.files())


def test_a_store_is_read_from_its_cache_the_second_time(crowd, monkeypatch):
    first = rl.ImageStore(crowd.train, (32, 16))
    monkeypatch.setattr(images, "_decoded", lambda *_: pytest.fail("decoded again"))
    again = rl.ImageStore(crowd.train, (32, 16))
    assert torch.equal(first.images, again.images)
    assert first.digest == again.digest


def test_absolute_paths_are_read_everywhere_as_they_stand(crowd):
    """Guards: a check that finds every image, and a store that looks for /data//data/a.png."""
    shots = replace(crowd.train, paths=np.array([str(file) for file in crowd.train.files()]))
    assert rl.check(replace(crowd, train=shots, complete=False)).ok
    stores = [rl.ImageStore(each, (32, 16)) for each in (shots, crowd.train)]
    assert torch.equal(stores[0].images, stores[1].images)


def test_a_store_of_nothing_is_read_from_its_cache_too_and_the_cache_may_be_below_home(crowd, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REID_CACHE", "~/cache")
    assert [len(rl.ImageStore(crowd.train[:0], (32, 16))) for _ in range(2)] == [0, 0]
    assert len(list((tmp_path / "cache").glob("*-32x16-*"))) == 1


def test_a_changed_pixel_is_noticed(crowd):
    before = rl.ImageStore(crowd.train, (32, 16))
    file, stat = crowd.train.file(0), os.stat(crowd.train.file(0))
    pixels = np.asarray(Image.open(file)).copy()
    Image.fromarray(255 - pixels).save(file)
    after = rl.ImageStore(crowd.train, (32, 16))
    assert before.digest != after.digest
    assert not torch.equal(before.images[0], after.images[0])
    assert torch.equal(before.images[1:], after.images[1:])
    Image.fromarray(pixels).save(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert rl.ImageStore(crowd.train, (32, 16)).digest == before.digest


def test_the_digest_is_of_names_and_bytes_and_not_of_the_place(crowd, tmp_path):
    before = data_digest(crowd.train)
    moved = rl.load((tmp_path / "crowd").rename(tmp_path / "moved"))
    assert data_digest(moved.train) == before
    first = moved.train.file(0)
    first.rename(first.with_name("c1_renamed.png"))
    assert data_digest(rl.load(tmp_path / "moved").train) != before


def blackened(i):
    """Damage that sets all pixels of image `i` to zero."""
    at = slice(i * 32 * 16 * 3, (i + 1) * 32 * 16 * 3)
    return lambda whole: whole[: at.start] + bytes(at.stop - at.start) + whole[at.stop :]


def flipped(byte, bit):
    """Damage to one bit."""
    return lambda whole: whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1 :]


DAMAGES = {
    "cut off": lambda whole: whole[:500],
    "empty": lambda whole: b"",
    "one byte short": lambda whole: whole[:-1],
    "too long": lambda whole: whole + bytes(4),
    "zeros": lambda whole: bytes(len(whole)),
    "zeros from 128 on": lambda whole: whole[:128] + bytes(len(whole) - 128),
    "checksum": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
}
DAMAGES |= {f"image {i} black": blackened(i) for i in range(24)}
DAMAGES |= {f"bit {bit} of byte {byte}": flipped(byte, bit) for byte, bit in ((0, 0), (20_000, 3), (36_863, 7))}


@pytest.mark.parametrize("memory", [None, 1000], ids=["held", "mapped"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_file_is_decoded_anew(crowd, damage, memory):
    """Every image counts: 16 of these 24 black ones were once trained on."""
    first = rl.ImageStore(crowd.train, (32, 16))
    file = cache_file(crowd.train)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert torch.equal(rl.ImageStore(crowd.train, (32, 16), memory=memory).images, first.images)
    assert file.read_bytes() == whole, "and mended"


def test_a_cache_made_by_another_decoder_is_decoded_anew(crowd, monkeypatch):
    first = rl.ImageStore(crowd.train, (32, 16))
    cache_file(crowd.train).unlink()
    with monkeypatch.context() as another:
        another.setattr(images, "read", lambda file, size, resize, read=images.read: read(file, size, resize) // 2)
        assert not torch.equal(rl.ImageStore(crowd.train, (32, 16)).images, first.images)
    assert torch.equal(rl.ImageStore(crowd.train, (32, 16)).images, first.images)


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(crowd, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("REID_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.warns(UserWarning, match="not cached"):
        store = rl.ImageStore(crowd.train, (32, 16))
    assert len(store) == 24


def test_images_that_memory_does_not_hold_give_the_same_batches(crowd):
    index = np.array([3, 0, 23])
    held, mapped = rl.ImageStore(crowd.train, (32, 16)), rl.ImageStore(crowd.train, (32, 16), memory=1000)
    assert (held.mapped, mapped.mapped) == (False, True)
    held.images = held.images.to("meta:0")
    assert held.batch(index, torch.device("meta")).device.type == "meta", "the current GPU, however it is written"
    held = rl.ImageStore(crowd.train, (32, 16))
    assert torch.equal(held.batch(index, torch.device("cpu")), mapped.batch(index, torch.device("cpu")))
    cache_file(crowd.train).unlink()
    again = rl.ImageStore(crowd.train, (32, 16), memory=1000)
    assert torch.equal(again.images, held.images), "decoded into the file"
    assert not list(cache_folder().glob("*.tmp"))


def test_what_a_killed_process_left_is_swept_away_and_a_cache_folder_may_vanish(crowd, monkeypatch):
    whole = rl.ImageStore(crowd.train, (32, 16))
    cached = cache_file(crowd.train)
    cached.unlink()
    old, fresh = (cached.with_name(f"{cached.name}.elsewhere-{i}.tmp") for i in (1, 2))
    old.touch(), fresh.touch()
    os.utime(old, (0, 0))
    monkeypatch.setattr(os, "replace", lambda *_: os.rename(cached.with_name("gone"), cached))
    with pytest.warns(UserWarning, match="not cached"):
        assert torch.equal(rl.ImageStore(crowd.train, (32, 16)).images, whole.images)
    assert (old.exists(), fresh.exists()) == (False, True)
    fresh.unlink()


def test_a_disk_that_is_full_costs_the_cache_and_for_what_memory_does_not_hold_is_an_error(crowd, monkeypatch):
    whole = rl.ImageStore(crowd.train, (32, 16))

    def full(stream, shares):
        next(shares)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "SHARE", 5)
    monkeypatch.setattr(images, "_save", full)
    cached = cache_file(crowd.train)
    cached.unlink()
    with pytest.warns(UserWarning, match="not cached .*No space left"):
        assert torch.equal(rl.ImageStore(crowd.train, (32, 16)).images, whole.images)
    with pytest.raises(OSError, match="No space left"):
        rl.ImageStore(crowd.train, (32, 16), memory=1000)
    assert not [file for file in cache_folder().iterdir() if cached.name in file.name]


def test_a_missing_image_of_a_set_that_memory_does_not_hold_is_named(crowd, monkeypatch):
    def absent(file, size, resize):
        raise FileNotFoundError(f"{file}: no such file")

    monkeypatch.setattr(images, "read", absent)
    with pytest.raises(FileNotFoundError, match=r"no such file \(0 of 24 images decoded before it\)"):
        rl.ImageStore(crowd.train, (48, 16), memory=1000)


def test_embedding_plain_files_equals_embedding_the_shots(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emb = rl.embed(system, crowd.gallery)
        plain = rl.embed(system, [str(file) for file in crowd.gallery.files()])
    assert torch.equal(emb, plain)
    assert emb.shape == (12, 16)
    assert emb.dtype == torch.float32
    assert torch.allclose(emb.norm(dim=1), torch.ones(12), atol=1e-5)
    assert system.training, "the mode is as it was"


def test_embeddings_do_not_depend_on_the_batch(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu")
    assert torch.allclose(rl.embed(system, crowd.gallery, batch=1), rl.embed(system, crowd.gallery, batch=5), atol=1e-5)


def test_flip_averages_an_image_with_its_mirror(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu")
    image = rl.normalise(rl.decode(crowd.gallery.files()[:1], tiny.size))
    by_hand = torch.nn.functional.normalize(system.embed(image) + system.embed(image.flip(3)))
    assert torch.allclose(rl.embed(system, crowd.gallery[:1], flip=True), by_hand, atol=1e-6)


def test_pictures_in_memory_are_embedded_as_their_files_are(crowd, tiny, tmp_path):
    system, files = rl.build(tiny, crowd.train, "cpu"), crowd.gallery.files()
    emb = rl.embed(system, crowd.gallery)
    pictures = [Image.open(file) for file in files]
    arrays = [np.asarray(picture) for picture in pictures]
    mixed = [files[0], str(files[1]), pictures[2], *arrays[3:]]
    for given in (pictures, tuple(arrays), np.stack(arrays), mixed, iter(files), crowd.gallery.files()):
        assert torch.equal(rl.embed(system, given), emb)
    first = rl.embed(system, crowd.gallery[:1])
    for given in (files[0], str(files[0]), pictures[0], arrays[0], np.str_(files[0])):
        assert torch.equal(rl.embed(system, given), first)
    bgr = arrays[0][..., ::-1]
    assert torch.equal(rl.embed(system, bgr[..., ::-1]), first)
    assert torch.allclose(rl.embed(system, pictures[0].convert("RGBA")), first)
    phone, thermal, exif = tmp_path / "phone.jpg", tmp_path / "thermal.png", Image.Exif()
    exif[0x0112] = 6  # on its side
    pictures[0].save(phone, exif=exif)
    Image.fromarray(np.arange(0, 65536, 32, np.uint16).reshape(64, 32)).save(thermal)
    for file in (phone, thermal):
        assert torch.equal(rl.embed(system, Image.open(file)), rl.embed(system, file))
    large = Image.effect_noise((90, 140), 80).convert("RGB")
    by_hand = np.asarray(large.resize(tiny.size[::-1], Image.Resampling.BICUBIC))
    assert torch.equal(rl.embed(system, large), rl.embed(system, by_hand))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no images to embed: the list is empty"),
        (7, "no images to embed: embed takes Shots, or one or several paths, PIL images or uint8 arrays .* not a int"),
        (None, "embed takes Shots, .* not a NoneType"),
        ([b"a.png"], r"image 0 is a bytes b'a\.png': embed takes"),
        (np.zeros((4, 4)), r"image 0 is a ndarray of float64 \(4,\): embed takes .* uint8 arrays \(H, W, 3\)"),
        (np.zeros((4, 4, 3)), r"image 0 is a ndarray of float64 \(4, 4, 3\)"),
        ([np.zeros((4, 4, 4), np.uint8)], r"image 0 is a ndarray of uint8 \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"image 0 is a ndarray of uint8 \(0, 4, 3\)"),
        (torch.zeros(2, 3, 4, 4), r"image 0 is a Tensor of torch.float32 \(3, 4, 4\)"),
        ([Image.new("L", (4, 4)), Image.new("F", (4, 4))], "image 1 has floating-point pixels, .*: scale it to 8 bits"),
    ],
)
def test_what_is_no_image_is_refused_with_what_is_accepted(given, message, crowd, tiny):
    with pytest.raises(ValueError, match=message):
        rl.embed(rl.build(tiny, crowd.train, "cpu"), given)


def test_only_images_of_visible_cameras_go_through_what_is_given(crowd, tiny):
    system, shots = rl.build(tiny, crowd.train, "cpu"), replace(crowd.gallery, infrared_cameras=(2,))
    seen = []

    def dark(images):
        seen.append(len(images))
        return images * 0

    whole, changed = rl.embed(system, crowd.gallery), rl.embed(system, shots, batch=5, through=dark)
    assert sum(seen) == 6, "half of twelve"
    assert torch.allclose(changed[shots.infrared], whole[shots.infrared], atol=1e-5)
    assert torch.allclose(changed[~shots.infrared], changed[~shots.infrared][:1].expand(6, -1), atol=1e-6)
    system.to_infrared = dark
    assert torch.allclose(rl.embed(system, shots), changed, atol=1e-5), "what a system has is taken by default"
    same = rl.embed(system, shots, through=lambda images: images)
    assert torch.allclose(same, whole, atol=1e-5)
    files = rl.embed(system, [str(file) for file in shots.files()])
    assert torch.allclose(files, whole, atol=1e-5), "of plain files nobody knows the camera: they are as they are"
