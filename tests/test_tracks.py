"""Crops of a tracker: folders of tracks, and boxes of MOT's form cut from frames once."""

import numpy as np
import pytest
from PIL import Image

import reidlib as rl


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def video(tmp_path):
    """Three frames of 60 x 40 noise, numbered from 1, and where people stand in them."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    for number, frame in enumerate(frames, 1):
        save(tmp_path / "mot" / "img1" / f"{number:06d}.png", frame)
    lines = ["1,7,11,6,10,20,1,1,0.9", "2,7,12,6,10,20,1,1,0.8", "3,7,50,20,20,30,1,1,0.5", "1,12,31,5,9,18,1,1,1"]
    lines += ["2,5,1,1,20,20,0,1,1", "2,6,1,1,20,20,1,3,1", "3,8,5,5,4,20,1,1,1"]  # unmarked, a car, too thin
    (tmp_path / "mot" / "gt").mkdir()
    (tmp_path / "mot" / "gt" / "gt.txt").write_text("\n".join(lines) + "\n\n")
    return tmp_path / "mot", frames


def test_a_folder_of_tracks_is_a_gallery_and_a_query_of_each(tmp_path):
    pixels = np.zeros((20, 10, 3), np.uint8)
    for track, frames in {"track_0012": (345, 346, 350), "track_0003": (1, 2), "track_ab": (9,)}.items():
        for frame in frames:
            save(tmp_path / "cut" / track / f"frame_{frame:06d}_c{1 + frame % 2}.jpg", pixels)
    split = rl.load(tmp_path / "cut")
    assert [len(part) for part in (split.train, split.query, split.gallery)] == [0, 3, 3]
    assert split.query.paths.tolist() == [
        "track_0003/frame_000001_c2.jpg",
        "track_0012/frame_000345_c2.jpg",
        "track_ab/frame_000009_c2.jpg",
    ]
    assert split.gallery.camids.tolist() == [1, 1, 1]
    assert split.query.pids[0] == split.gallery.pids[0] != split.query.pids[1]
    assert rl.check(split)


def test_frames_count_by_number_with_or_without_zeros_before_it(tmp_path):
    for frame in (2, 10, 100):
        save(tmp_path / "cut" / "track_1" / f"frame_{frame}.png", np.zeros((20, 10, 3), np.uint8))
    assert rl.load(tmp_path / "cut").query.paths.tolist() == ["track_1/frame_2.png"], "the first crop"


def test_boxes_are_cut_from_their_frames(video):
    folder, frames = video
    split = rl.load(folder)
    assert split.name == "mot"
    assert (split.query.pids.tolist(), split.gallery.pids.tolist()) == ([7, 12], [7, 7])
    crops = {path: np.asarray(Image.open(file)) for shots in (split.query, split.gallery)
             for path, file in zip(shots.paths.tolist(), shots.files())}  # fmt: skip
    np.testing.assert_array_equal(crops["track_0007/frame_000001_0.png"], frames[0][6:26, 11:21])
    np.testing.assert_array_equal(crops["track_0012/frame_000001_1.png"], frames[0][5:23, 31:40])
    np.testing.assert_array_equal(crops["track_0007/frame_000003_0.png"], frames[2][20:40, 50:60])
    assert len(crops) == 4, "what is unmarked, no pedestrian or too small is left out"


def test_crops_are_cut_once_and_again_when_anything_changed(video, monkeypatch):
    folder, frames = video
    root = rl.load(folder).query.root
    monkeypatch.setattr("reidlib.data.tracks._write", None)  # would fail
    assert rl.load(folder).query.root == root
    monkeypatch.undo()
    monkeypatch.setenv("REID_CACHE", str(folder.parent / "cache"))
    first = rl.load(folder).query.root
    save(folder / "img1" / "000002.png", frames[0][::-1])
    second = rl.load(folder)
    assert second.query.root != first
    table = folder / "gt" / "gt.txt"
    table.write_text(table.read_text().replace("1,12,", "1,13,"))
    assert rl.load(folder).query.pids.tolist() == [7, 13]
    assert not [path for path in (folder.parent / "cache").iterdir() if not path.name.startswith("crops-")]


def test_detections_without_tracks_are_strangers(video):
    folder, _ = video
    (folder / "gt" / "gt.txt").unlink()
    (folder / "det.txt").write_text("1,-1,11.4,6,10,20,0.9,-1,-1,-1\n2,-1,12,6,10,20,0,-1,-1,-1\n")
    split = rl.load(folder)
    assert (len(split.query), split.gallery.pids.tolist()) == (0, [0, 0])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("1,7,a,6,10,20\n", "gt.txt, line 1: not frame, id, left, top, width, height"),
        ("1,7,1,6\n", "gt.txt, line 1"),
        ("1,7,1,6,10,20\n1,7,1,6,10,inf,1\n", "gt.txt, line 2"),
        ("1,0,1,6,10,20\n1,1,1,6,10,20\n", "gt.txt has a track 0; count tracks from 1"),
        ("9,7,1,6,10,20,1\n", "frames without an image: 9"),
        ("", "gt.txt has no box of a person"),
        ("1,7,200,6,10,20,1\n", "no box of gt.txt lies inside its frame"),
    ],
)
def test_a_table_that_cannot_be_used_says_so(table, said, video):
    folder, _ = video
    (folder / "gt" / "gt.txt").write_text(table)
    with pytest.raises(ValueError, match=said):
        rl.load(folder)


def test_a_place_in_the_world_is_no_class(video):
    """MOT15 has ten columns: column 8 is the person's x in metres. From MOT16 on there are nine, and it is a class."""
    folder, _ = video
    table, boxes = folder / "gt" / "gt.txt", ("1,7,1,6,10,20,1,-8.3,4.5,0\n", "1,12,20,6,10,20,1,1.2,4.5,0\n")
    table.write_text("".join(boxes))
    assert rl.load(folder).query.pids.tolist() == [7, 12]
    table.write_text("1,7,1,6,10,20,1,8,0.9\n1,12,20,6,10,20,1,1,0.9\n")
    assert rl.load(folder).query.pids.tolist() == [12]


def test_two_images_of_one_frame_are_refused(video):
    """Guards: the frames of two cameras in one folder, of which one was taken in the order of the disk."""
    folder, frames = video
    save(folder / "img1" / "cam2_000001.png", frames[0])
    with pytest.raises(ValueError, match=r"two images of frame 1: 000001.png, cam2_000001.png; keep the frames of one"):
        rl.load(folder)


def test_a_byte_order_mark_is_read_over_and_a_damaged_frame_is_named(video):
    folder, _ = video
    table = folder / "gt" / "gt.txt"
    table.write_text("\ufeff" + table.read_text())
    assert rl.load(folder).query.pids.tolist() == [7, 12]
    (folder / "img1" / "000002.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"000002\.png cannot be decoded"):
        rl.load(folder)


def test_a_folder_of_track_0_is_refused(tmp_path):
    save(tmp_path / "video" / "track_0000" / "1.png", np.zeros((20, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="folder track_0000; count tracks from 1"):
        rl.load(tmp_path / "video")


def test_folders_beside_the_tracks_are_reported(tmp_path):
    for folder in ("track_1", "track_-1", "track 2"):
        save(tmp_path / "cut" / folder / "frame_1.jpg", np.zeros((20, 10, 3), np.uint8))
    split = rl.load(tmp_path / "cut")
    assert split.query.paths.tolist() == ["track_1/frame_1.jpg"]
    (unread,) = [each for each in rl.check(split).problems if each.kind == "unread"]
    assert sorted(unread.files) == ["track 2/frame_1.jpg", "track_-1/frame_1.jpg"]


def test_two_folders_of_one_track_are_refused(tmp_path):
    for folder in ("track_12", "track-0012"):
        save(tmp_path / "video" / folder / "1.png", np.zeros((20, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="folders track-0012 and track_12 are both of track 12; rename one"):
        rl.load(tmp_path / "video")


def test_a_folder_of_a_superscript_is_a_track_of_that_name(tmp_path):
    """It is a digit to Python, and no number."""
    save(tmp_path / "video" / "track_²" / "1.png", np.zeros((20, 10, 3), np.uint8))
    save(tmp_path / "video" / "track_3" / "1.png", np.zeros((20, 10, 3), np.uint8))
    assert len(rl.load(tmp_path / "video").query.ids) == 2


def test_frames_that_are_not_there_are_missed(video):
    folder, _ = video
    (folder / "img1").rename(folder / "frames")
    assert len(rl.load(folder).query) == 2
    save(folder / "more" / "1.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="2 sub-folders with images beside the boxes; put the frames into img1"):
        rl.load(folder)
