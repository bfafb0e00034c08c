"""Pixels are those that a viewer shows, only images are opened, and check() lists what was left out."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from attempts import PATIENCE
from PIL import Image, ImageFile, ImageOps

import reidlib as rl
from reidlib.data import images
from reidlib.figures.sheets import _read, thumbnail

NOISE = np.random.default_rng(0).integers(0, 255, (32, 16, 3), np.uint8)


def found(report):
    return {problem.kind: problem.files for problem in report.problems}


@pytest.fixture
def own(tmp_path):
    """A sound data set of one's own in a folder, with nothing to report."""
    rng = np.random.default_rng(1)
    for sub in ("train/1", "query/2", "gallery/2"):
        (tmp_path / "own" / sub).mkdir(parents=True)
        for camera in (1, 2):
            pixels = rng.integers(0, 255, (32, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / sub / f"c{camera}.png")
    assert rl.check(rl.load(tmp_path / "own")).ok
    return tmp_path / "own"


def replaced(own, array, name="c3.png", **options):
    """The pixels of one more training image, and what check says of it."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(own / "train/1" / name, **options)
    kinds = [kind for kind, files in found(rl.check(rl.load(own))).items() if f"train/1/{name}" in files]
    return images.read(own / "train/1" / name, (image.height, image.width)), kinds


@pytest.mark.parametrize("name", ["c3.png", "c3.tif"])
def test_grey_of_16_bits_is_read_by_its_257th_part_and_reported(own, name):
    levels = np.arange(512, dtype=np.uint16).reshape(32, 16) * 128 + 100
    pixels, kinds = replaced(own, levels, name)
    assert np.array_equal(pixels[..., 0], np.rint(levels / 257).astype(np.uint8))
    assert np.array_equal(pixels, np.repeat(pixels[..., :1], 3, 2))
    assert kinds == ["16 bits"]
    assert np.array_equal(_read(own / "train/1" / name), pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_scale_are_refused_with_the_remedy(own, dtype):
    Image.fromarray(np.linspace(0, 1e5, 512).reshape(32, 16).astype(dtype)).save(own / "train/1/c3.tif")
    with pytest.raises(ValueError, match=r"c3.tif: .*without a stated black and white; scale it to 8 or 16 bits"):
        rl.decode(rl.load(own).train.files())
    assert found(rl.check(rl.load(own))) == {"no scale": ["train/1/c3.tif"]}
    assert _read(own / "train/1/c3.tif") is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_an_image_stands_as_its_orientation_says(own, orientation, ending):
    tag = Image.Exif()
    tag[0x112] = orientation
    name, options = f"c3.{ending}", {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(ending, {})
    smooth = np.add.outer(np.arange(32) * 4, np.arange(16) * 8).astype(np.uint8)[..., None].repeat(3, 2)
    Image.fromarray(smooth).save(own / "train/1" / name, exif=tag, **options)
    with Image.open(own / "train/1" / name) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((16, 32, 3) if orientation > 4 else (32, 16, 3))
    assert np.array_equal(images.read(own / "train/1" / name, expected.shape[:2]), expected)
    assert np.array_equal(_read(own / "train/1" / name), expected)
    kinds = found(rl.check(rl.load(own)))
    assert kinds == ({"turned": [f"train/1/{name}"]} if orientation > 1 else {})


def test_the_thumbnail_of_a_phones_picture_stands_upright(tmp_path):
    tag = Image.Exif()
    tag[0x112] = 6
    upright = Image.new("RGB", (400, 800), "white")
    upright.paste("black", (0, 400, 400, 800))
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=tag)
    (tmp_path / "small.jpg").write_bytes(thumbnail(tmp_path / "phone.jpg", (64, 128), 10_000))
    with Image.open(tmp_path / "small.jpg") as small:
        assert small.size == (64, 128)
        assert small.getpixel((32, 20))[0] > 250
        assert small.getpixel((32, 100))[0] < 5


def test_damaged_exif_does_not_stop_an_image(own):
    assert replaced(own, NOISE, "c3.jpg", exif=b"Exif\0\0not a TIFF header")[1] == []


def test_eight_bits_are_decoded_as_ever(tmp_path):
    """Guards: what PIL's own conversion to RGB gives, of every mode of 8 bits or fewer."""
    picture = Image.fromarray(NOISE)
    for i, mode in enumerate(("1", "L", "LA", "P", "RGB", "RGBA")):
        picture.convert(mode).save(tmp_path / f"{i}.png")
    picture.convert("CMYK").save(tmp_path / "6.jpg")
    picture.save(tmp_path / "7.jpg")
    picture.save(tmp_path / "8.bmp")
    for file in tmp_path.iterdir():
        with Image.open(file) as image:
            expected = np.asarray(image.convert("RGB").resize((64, 128), Image.Resampling.BICUBIC))
        assert np.array_equal(images.read(file, (128, 64)), expected), file.name


@pytest.mark.filterwarnings("error")
def test_transparency_is_left_out_and_reported(own):
    palette = Image.fromarray(NOISE).quantize(16)
    pixels, kinds = replaced(own, palette, transparency=bytes([0, 128] * 8))
    assert np.array_equal(pixels, np.asarray(palette.convert("RGB")))
    assert kinds == ["transparent"]
    assert replaced(own, np.dstack([NOISE, NOISE[..., 0]]))[1] == ["transparent"]
    assert replaced(own, np.dstack([NOISE, np.full((32, 16), 255, np.uint8)]))[1] == []


def test_a_constant_image_and_colours_of_16_bits_are_reported(own):
    assert replaced(own, np.full((32, 16, 3), 200, np.uint8))[1] == ["constant"]
    assert replaced(own, Image.new("L", (16, 32), 7))[1] == ["constant"]


def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(own, monkeypatch):
    Image.new("1", (8001, 8000)).save(own / "train/1/c3.png")
    split = rl.load(own)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: image.size > (100, 100) and pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"c3.png: .*8,001 x 8,000 pixels, more than 64 million; make it smaller"):
        images.read(own / "train/1/c3.png", (32, 16))
    assert found(rl.check(split))["too large"] == ["train/1/c3.png"]
    assert thumbnail(own / "train/1/c3.png", (32, 64), 1000) is None


@pytest.mark.filterwarnings("ignore:.*decompression bomb")
def test_an_image_beyond_the_limit_of_pil_is_too_large_as_well(own):
    Image.new("1", (16_000, 16_000)).save(own / "train/1/c3.png")
    split = rl.load(own)
    assert found(rl.check(split)) == {"too large": ["train/1/c3.png"]}
    with pytest.raises(ValueError, match=r"c3.png: not a readable image \(Image size \(256000000 pixels\)"):
        rl.decode(split.train.files())


def test_a_picture_of_16_bit_colours_is_read_and_reported(own):
    """PIL reads colours of 16 bits by their upper bytes; it writes none, so these are written here."""
    values = np.random.default_rng(0).integers(0, 65536, (32, 16, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 16, 32, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = [
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in chunks
    ]
    (own / "train/1/c3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    assert np.array_equal(images.read(own / "train/1/c3.png", (32, 16)), values >> 8)
    assert found(rl.check(rl.load(own))) == {"16 bits": ["train/1/c3.png"]}


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 32\n%%EndComments\n{} loop\n"


def test_a_file_of_another_format_starts_nothing(own, monkeypatch):
    (own / "train/1/c3.jpg").write_bytes(EPS)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_: pytest.fail(f"started {args}"))
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **_: pytest.fail(f"started {args}"))
    with pytest.raises(ValueError, match=r"c3.jpg: not a readable image \(cannot identify"):
        images.read(own / "train/1/c3.jpg", (32, 16))
    assert found(rl.check(rl.load(own))) == {"broken": ["train/1/c3.jpg"]}
    assert _read(own / "train/1/c3.jpg") is None
    assert thumbnail(own / "train/1/c3.jpg", (32, 64), 1000) is None


def test_what_is_left_out_is_no_image_and_is_listed(own):
    before = rl.load(own)
    left = ["train/.ipynb_checkpoints/c1.png", "train/1/._c1.png", "train/1/c1.gif", "train/1/notes.txt",
            "train/1/deep/c1.png", "val/3/c1.png", "loose.png"]  # fmt: skip
    for name in left:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(b"")
    for name in ("train/Thumbs.db", "train/1/.DS_Store", "README.md"):
        (own / name).write_bytes(b"")
    os.mkfifo(own / "gallery/2/c3.png")
    split = rl.load(own)
    assert [len(part) for part in (split.train, split.query, split.gallery)] == [2, 2, 2]
    assert split.train.paths.tolist() == before.train.paths.tolist()
    assert found(rl.check(split)) == {"unread": sorted([*left, "gallery/2/c3.png"])}


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "jfif", "png", "bmp", "webp", "tif", "TIFF"])
def test_these_endings_are_read(own, ending):
    Image.fromarray(NOISE).save(own / "train/1/c3.png")
    with Image.open(own / "train/1/c3.png") as image:
        image.save(own / f"train/1/c4.{ending}")
    (own / "train/1/c3.png").unlink()
    assert f"train/1/c4.{ending}" in rl.load(own).train.paths
    assert rl.check(rl.load(own)).ok


def test_a_part_that_was_wholly_unread_is_told_as_such(own):
    for file in (own / "gallery/2").iterdir():
        file.rename(file.with_suffix(".gif"))
    (own / "query/2/c2.png").unlink()
    kinds = found(rl.check(rl.load(own)))
    assert kinds == {"unread": ["gallery/2/c1.gif", "gallery/2/c2.gif"], "query without a match": ["query/2/c1.png"]}


@pytest.mark.filterwarnings("ignore:.*published are")
def test_a_pipe_among_the_images_holds_nothing_up(tmp_path):
    """In a process of its own, since an open pipe waits for ever."""
    for sub in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / sub).mkdir()
    os.mkfifo(tmp_path / "bounding_box_train" / "0002_c1s1_000451_03.jpg")
    code = (
        "import reidlib as rl, sys; split = rl.load('market', sys.argv[1]); print(rl.check(split).problems[0].kind)\n"
        "for call in (rl.decode, rl.ImageStore):\n"
        "    try: call(split.train.files() if call is rl.decode else split.train)\n"
        "    except (OSError, ValueError) as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=PATIENCE
    ).stdout
    assert told.splitlines()[0] == "missing"
    assert told.count("0002_c1s1_000451_03.jpg is no regular file") == 2
