"""What a label means however it is spelled, where cameras are looked for, and tables as programs write them."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reidlib as rl
from reidlib.data.labels import clean, numbers


def numbered(*labels, kind="pid"):
    return numbers("own", kind, list(labels), [f"line {i}" for i in range(2, len(labels) + 2)]).tolist()


@pytest.mark.parametrize("one", ["-1", "-1.0", " -1 ", "−1", "–1", "-01", "\ufeff-1", "－1", "-1."])
def test_junk_is_junk_however_it_is_spelled(one):
    assert numbered(one, "0", "7") == [-1, 0, 7]
    assert numbered(one, "0", "anna") == [-1, 0, 1]


@pytest.mark.parametrize("zero", ["0", "0.0", "0000", "-0.0", "+0", "0.", "\u00a00"])
def test_a_stranger_is_a_stranger_however_it_is_spelled(zero):
    assert numbered(zero, "anna", "-1", "ben") == [0, 1, -1, 2]


def test_one_number_is_one_identity_however_it_is_spelled():
    assert numbered("7", "007", "7.0", "+7", " 7 ", "٧", "７", "12") == [7] * 7 + [12]


def test_among_names_numbers_come_first_and_by_size():
    assert numbered("anna", "12", "2", "0002", "-1", "ben") == [3, 2, 1, 1, -1, 4]


def test_numbers_too_long_for_int64_are_told_apart():
    assert numbered("1" * 30, "1" * 29, "5", "-1", "0.0") == [3, 2, 1, -1, 0]


def test_a_name_in_two_unicode_forms_is_one():
    assert numbered("Jos\u00e9", "Jose\u0301", "Zo\u00eb") == [1, 1, 2]
    assert clean(" Jos\u200b\u00e9 ") == "Jos\u00e9"


@pytest.mark.parametrize(
    "label", ["nan", "NaN", "NA", "N/A", "None", "null", "<NA>", "NaT", "", " ", "-", "–", "unknown", "inf", "#REF!"]
)
def test_a_missing_value_is_refused_with_its_lines(label):
    for others in (("4", "7"), ("anna", "ben")):
        with pytest.raises(
            ValueError, match=r"own: pid .* in line 2, line 5: no identity: .*-1 for junk and 0 for a str"
        ):
            numbered(label, *others, label)
    with pytest.raises(ValueError, match=r"own: camid .* in line 2: no camera: give every image its camera, or none"):
        numbered(label, "door", kind="camid")


@pytest.mark.parametrize(
    "label",
    [
        "00-1",
        "0-1",
        "000−1",
        "--1",
        "- 1",
        "1.5",
        "1,5",
        ".5",
        "1,000",
        "1 000",
        "1e+05",
        "1.2E3",
        "-99999999999999999999",
    ],
)
def test_what_looks_like_a_number_and_is_none_is_refused_with_its_lines(label):
    for others in (("4", "7"), ("anna", "ben")):
        with pytest.raises(ValueError, match=r"own: pid .* in line 4, line 5: it looks like a number"):
            numbered(*others, label, label)


@pytest.mark.parametrize("label", ["12-3", "1_000", "1e5", "0x1F", "#4", "(4)", "2024-01-05"])
def test_beside_numbers_a_label_without_letters_is_refused_and_beside_names_it_is_a_name(label):
    with pytest.raises(ValueError, match=r"own: pid .* in line 4: it looks like a number"):
        numbered("4", "7", label)
    assert len(set(numbered("anna", label, "-1", "0"))) == 4


def picture(file, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 16, 3), np.uint8)).save(file)


def folder(root, *paths):
    for seed, path in enumerate(paths):
        picture(root / "own" / path, seed)
    return root / "own"


def test_a_folder_of_mars_names_its_junk_folder(tmp_path):
    own = folder(tmp_path, "train/0001/a_c1_.png", "query/0002/c1_.png", "gallery/00-1/c1_.png", "gallery/0000/c2_.png")
    with pytest.raises(
        ValueError, match=r"own: pid '00-1' in gallery/00-1/c1_.png: .*as MARS's 00-1 is, rename it to -1"
    ):
        rl.load(own)
    (own / "gallery/00-1").rename(own / "gallery/-1")
    assert rl.load(own).gallery.pids.tolist() == [-1, 0]


def test_a_name_beside_folder_0000_makes_no_person_of_strangers(tmp_path):
    own = folder(tmp_path, "train/anna/c1_.png", "query/ben/c1_.png", "gallery/ben/c2_.png", "gallery/0000/c2_.png")
    assert rl.load(own).gallery.pids.tolist() == [0, 2]


ROWS = [
    (1, 1, "train"),
    (1, 2, "train"),
    (2, 1, "train"),
    (4, 1, "query"),
    (4, 2, "gallery"),
    (0, 2, "gallery"),
    (-1, 2, "gallery"),
]


def table(root, kind=int, header="path,pid,camid,split", separator=","):
    for i in range(len(ROWS)):
        picture(root / f"{i}.png", i)
    lines = [header] + [separator.join([f"{i}.png", str(kind(p)), str(kind(c)), s]) for i, (p, c, s) in enumerate(ROWS)]
    (root / "people.csv").write_text("\n".join(lines))
    return root / "people.csv"


def test_ids_that_pandas_wrote_as_floats_are_the_same_ids(tmp_path):
    whole, floats = (rl.load(table(tmp_path, kind)) for kind in (int, float))
    for part in ("train", "query", "gallery"):
        for field in ("paths", "pids", "camids"):
            assert np.array_equal(getattr(getattr(whole, part), field), getattr(getattr(floats, part), field))
    assert floats.gallery.pids.tolist() == [4, 0, -1]


def test_headers_and_splits_are_read_in_any_case_and_with_blanks(tmp_path):
    file = table(tmp_path, header=" Path, PID,CamID , Split", separator=", ")
    file.write_text(file.read_text().replace("train", "Train") + "\n,,,\n\n")
    assert rl.load(file).train.camids.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,pid,split\nä.png,Jörg,train\n".encode("cp1252"), r"t\.csv, line 2: byte 0xe4 .* cp1252 .*'CSV UTF-8'"),
        ("path,pid,split\n".encode("utf-16"), r"t\.csv: its encoding is UTF-16, not UTF-8; save it as 'CSV UTF-8'"),
        ("path,pid,split\n".encode("utf-16-le"), r"t\.csv: its encoding is UTF-16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), r"t\.csv: an image .*, and no table; see docs/your_data.md"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"x" * 90, r"t\.csv: an image .*, and no table"),
        (b"PK\x03\x04\xff\xfe", r"t\.csv: a workbook of Excel .*save it as 'CSV UTF-8' .*pandas.read_excel"),
        (b'path,pid,split\na.png,"' + b"x" * 140_000, r"t\.csv, line 2: field larger .* quotation mark"),
        (b'path,pid,split\nt.csv,1,train\nt.csv,"1,train\nt.csv,2,query\n', r"line 3: unexpected end .* quotation"),
        (b'path,pid,split\nt.csv,"1,train\nt.csv,"2",query\n', r"line 2: ',' expected .* quotation"),
        (b'"path";"pid";"split"\n', r"separate columns by commas"),
        (b"path;pid;split\n", r"found: path;pid;split; separate columns by commas"),
        (b"path,pid,PID,split\n", r"t\.csv, line 1: more than one column pid"),
        (b"path,pid,split\nt.csv,1,train,2\n", r"line 2: more cells than columns: 2"),
        (b"path,pid,split\nt.csv\n", r"line 2: pid is empty"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*no cameras")
def test_a_table_of_another_kind_is_an_error_with_file_and_remedy(content, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rl.load(tmp_path / "t.csv")


@pytest.mark.filterwarnings("ignore:.*no cameras")
@pytest.mark.parametrize("note", ['"a" ', '"5" wide"', '"two\nlines"', '""', 'a "b" c'])
def test_what_stands_in_a_column_that_is_not_read_does_no_harm(note, tmp_path):
    lines = ["path,note,pid,split"]
    for part in ("train", "query", "gallery"):
        (tmp_path / f"{part}.png").touch()
        lines.append(f"{part}.png,{note},{1 + (part == 'train')},{part}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    split = rl.load(tmp_path / "t.csv")
    assert [part.pids.tolist() for part in (split.train, split.query, split.gallery)] == [[2], [1], [1]]


class Frame:
    """What every DataFrame has: columns, and a column by its name."""

    def __init__(self, **columns):
        self.columns, self.values = list(columns), columns

    def __getitem__(self, column):
        return self.values[column]


def frame(paths):
    pids, camids, splits = zip(*ROWS, strict=True)
    return Frame(path=paths, PID=[np.float64(pid) for pid in pids], camid=camids, split=splits)


def test_anything_with_columns_is_a_table(tmp_path, monkeypatch):
    expected = rl.load(table(tmp_path))
    names = [f"{i}.png" for i in range(len(ROWS))]
    full = [str(tmp_path / name) for name in names]
    monkeypatch.chdir(tmp_path)
    for split in (
        rl.load(frame(names)),
        rl.load(frame(names), tmp_path),
        rl.load(frame(full)),
        rl.load(frame(full), "."),
    ):
        assert (split.name, split.train.root) == (tmp_path.name, tmp_path)
        assert split.gallery.paths.tolist() == expected.gallery.paths.tolist()
        assert split.gallery.pids.tolist() == [4, 0, -1]
    assert rl.load(frame(names), tmp_path.parent / tmp_path.name).query.file(0).is_file()


def test_a_table_in_memory_is_refused_with_its_rows(tmp_path):
    table(tmp_path)
    values = frame([f"{i}.png" for i in range(len(ROWS))])
    values.values["PID"][2] = float("nan")
    with pytest.raises(ValueError, match=r"pid 'nan' in row 2: no identity"):
        rl.load(values, tmp_path)
    with pytest.raises(ValueError, match=r"row 0: path '/elsewhere/0.png' leaves the table's folder"):
        rl.load(frame([f"/elsewhere/{i}.png" for i in range(len(ROWS))]), tmp_path)
    with pytest.raises(ValueError, match=r"cannot load list; give a name, a path, a Split, or a table with columns"):
        rl.load([1, 2])


@pytest.mark.parametrize("column", ["camera_id", "Cam", "camera", "cam id", "view"])
def test_load_says_where_it_looked_for_cameras_and_what_may_be_one(column, tmp_path):
    with pytest.warns(
        UserWarning, match=rf"people.csv: no cameras .*: there is no column camid. If column '{column}' is meant"
    ):
        split = rl.load(table(tmp_path, header=f"path,pid,{column},split"))
    q, g = torch.eye(2)[:1], torch.eye(3)
    with pytest.raises(ValueError, match=r"no cameras are known .*camids, in a column camid or as c1") as error:
        rl.score(q, torch.ones(3, 2) * g[:, :2] + 0.1, split.query, split.gallery)
    assert "keep" not in str(error.value)
    assert "keep" not in str(rl.check(split))
    assert "single camera: every image has camera 0" in str(rl.check(split))


def test_a_folder_says_what_may_be_a_camera(tmp_path):
    own = folder(tmp_path, "train/a/x_cam2_1.png", "query/b/x_cam1_1.png", "gallery/b/x_cam2_1.png")
    with pytest.warns(
        UserWarning,
        match=r"own: no cameras .*: there is no field like _c2_ .*If 'cam1' in query/b/x_cam1_1.png, 'cam2'",
    ):
        rl.load(own)


def test_a_camera_in_capitals_is_one(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = folder(tmp_path, "train/a/x_C2_1.png", "query/b/C1_1.png", "gallery/b/x_C03.png")
        split = rl.load(own)
    assert [shots.camids.tolist() for shots in (split.train, split.query, split.gallery)] == [[2], [1], [3]]


def test_a_pipe_named_as_a_table_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(OSError, match=r"t.csv is no regular file"):
        rl.load(Path(tmp_path / "t.csv"))


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_the_warning_of_no_cameras_names_the_line_that_loads(kind, tmp_path):
    for part in ("train", "query", "gallery"):
        for pid in ("1", "2"):
            (tmp_path / part / pid).mkdir(parents=True)
            Image.new("RGB", (8, 16)).save(tmp_path / part / pid / "a.png")
    rows = [f"{part}/{pid}/a.png,{pid},{part}" for part in ("train", "query", "gallery") for pid in ("1", "2")]
    (tmp_path / "table.csv").write_text("\n".join(["path,pid,split", *rows]))
    with pytest.warns(UserWarning, match="no cameras") as warned:
        rl.load(tmp_path if kind == "folder" else tmp_path / "table.csv")
    assert warned[0].filename == __file__
