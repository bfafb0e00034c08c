"""reid check | train | grid | embed | search | export: what each prints, writes and returns."""

import csv
import errno
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib.__main__ import main
from reidlib.runs.command import stoppable


@pytest.fixture
def model(tmp_path):
    """A published model's file."""
    from reidlib.systems.osnet import x0_25

    torch.manual_seed(0)
    network = x0_25()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain mean: with fresh statistics the cosine of any two images rounds to 1
    network.train()(torch.randn(8, 3, 64, 32))
    torch.save(network.state_dict(), tmp_path / "tiny.pth")
    return str(tmp_path / "tiny.pth")


def said(capsys):
    return capsys.readouterr().out


def test_check_says_by_its_status_whether_all_is_well(crowd, tmp_path, capsys):
    folder = str(tmp_path / "crowd")
    assert main(["check", folder]) == 0
    assert "no problems found" in said(capsys)
    crowd.query.files()[0].write_bytes(b"")
    assert main(["check", folder, "--json"]) == 1
    assert json.loads(said(capsys))["problems"][0]["files"] == [crowd.query.paths[0]]
    assert main(["check", folder]) == 1


def test_embed_writes_what_rl_embed_gives(crowd, model, tmp_path, capsys):
    files, folder = crowd.query.files(), str(tmp_path / "crowd" / "query")
    assert main(["embed", model, folder, "--out", str(tmp_path / "emb.npz")]) == 0
    expected = rl.embed(rl.foreign(model), files).numpy()
    with np.load(tmp_path / "emb.npz") as kept:
        assert (kept["embeddings"] == expected).all()
        assert kept["paths"].tolist() == [str(file) for file in files]
    assert main(["embed", model, str(files[0]), "--out", str(tmp_path / "emb.csv")]) == 0
    (row,) = rl.read_csv(tmp_path / "emb.csv")
    assert row["path"] == str(files[0])
    np.testing.assert_allclose([row[f"x{i}"] for i in range(512)], expected[0], atol=1e-6)


def test_a_checkpoint_of_torchreids_training_is_a_model(crowd, model, tmp_path):
    path = Path(model).rename(tmp_path / "model.pth.tar-60")
    state = {"state_dict": torch.load(path), "epoch": 60, "rank1": np.float64(0.9)}
    torch.save(state, path)
    assert main(["embed", str(path), str(crowd.query.files()[0]), "--out", str(tmp_path / "emb.npz")]) == 0


def test_the_feature_is_the_one_that_is_asked_for(crowd, tmp_path, monkeypatch, capsys):
    """Guards: a shell that could search after the BNNeck only, where the feature before it is the better one."""
    system, file, out = rl.pretrained("market-laptop"), str(crowd.query.files()[0]), str(tmp_path / "emb.npz")
    found = {}
    for feature in ("before", "after"):
        assert main(["embed", "market-laptop", file, "--out", out, "--feature", feature]) == 0
        with np.load(out) as kept:
            found[feature] = kept["embeddings"]
        system.feature = feature
        assert (found[feature] == rl.embed(system, [file]).numpy()).all()
    assert np.abs(found["before"] - found["after"]).max() > 0.01
    gallery = str(tmp_path / "people.npz")
    people = str(tmp_path / "crowd" / "gallery")
    assert main(["search", "market-laptop", people, file, "--feature", "before", "--save", gallery]) == 0
    assert main(["search", "market-laptop", gallery, file, "--feature", "before"]) == 0
    said(capsys)
    assert main(["search", "market-laptop", gallery, file]) == 2
    assert "feature" in capsys.readouterr().err
    monkeypatch.setattr(rl, "pretrained", lambda *_, **__: object())
    assert main(["embed", "market-laptop", file, "--out", out, "--feature", "before"]) == 2
    assert "--feature: object has one feature only" in capsys.readouterr().err


def test_an_image_beside_the_folders_of_people_is_refused(crowd, model, tmp_path, capsys):
    """Guards: somebody who was not enrolled without a word."""
    people, file = tmp_path / "crowd" / "gallery", crowd.query.files()[0]
    (people / "carl.png").write_bytes(file.read_bytes())
    assert main(["search", model, str(people), str(file)]) == 2
    assert "holds sub-folders and loose images: carl.png" in capsys.readouterr().err


def test_search_prints_a_row_for_each_answer_and_says_whether_anybody_is_known(crowd, model, tmp_path, capsys):
    people, file = str(tmp_path / "crowd" / "gallery"), str(crowd.query.files()[0])
    assert main(["search", model, people, file, "-k", "3", "--save", str(tmp_path / "g")]) == 0
    rows = list(csv.DictReader(io.StringIO(said(capsys))))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["query"] == file
    assert rows[0]["name"] in {f"{pid:04d}" for pid in range(7, 13)}
    assert main(["search", model, str(tmp_path / "g"), file, "--json", "--threshold", "-1"]) == 0
    again = json.loads(said(capsys))
    assert [row["name"] for row in again[:3]] == [row["name"] for row in rows]
    assert again[0]["known"] is True
    assert main(["search", model, str(tmp_path / "g"), file, "--threshold", "1"]) == 1
    said(capsys)
    assert main(["search", model, people, file, "--average", "-k", "9", "--json"]) == 0
    assert len(json.loads(said(capsys))) == 6, "an answer is a person"


def test_a_run_is_a_model(crowd, tiny, tmp_path, capsys):
    list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run"))
    file = str(crowd.query.files()[0])
    assert main(["search", str(tmp_path / "run"), str(tmp_path / "crowd" / "gallery"), file, "--device", "cpu"]) == 0


def test_export_passes_on_what_was_asked_for(model, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(rl, "export", lambda *words: asked.append(words[1:]) or 2e-7)
    assert main(["export", model, "m.onnx"]) == 0
    assert json.loads(said(capsys)) == {"file": "m.onnx", "largest_difference": 2e-7}
    assert main(["export", model, "m.onnx", "--size", "64", "32", "--normalised", "--half"]) == 0
    assert asked == [(Path("m.onnx"), None, True, False), (Path("m.onnx"), (64, 32), False, True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nothing-here"], "reid check: "),
        (["train", "--dataset", "nothing-here"], "reid train: no data set 'nothing-here'"),
        (["train", "--dataset", "toy", "--epochs", "0"], "reid train: epochs=0"),
        (["embed", "no-model", "GALLERY", "--out", "x.npz"], "no model 'no-model'"),
        (["embed", "runs/gone", "GALLERY", "--out", "x.npz"], "runs/gone: no such file or folder; a model is"),
        (["embed", "MODEL", "GALLERY", "--out", "x.txt"], "write .npz or .csv"),
        (
            ["embed", "MODEL", "GALLERY", "--out", "x.npz", "--feature", "G"],
            "no feature 'G'; choose one of after, before",
        ),
        (["embed", "MODEL", "GALLERY", "--out", "folder.npz"], "--out folder.npz is a folder"),
        (["embed", "MODEL", "GALLERY", "--out", "file.txt/x.npz"], "x.npz: folder file.txt cannot be made"),
        (["embed", "MODEL", ".", "--out", "x.npz"], "holds no images"),
        (["embed", "MODEL", "file.txt", "--out", "x.npz"], "file.txt: not a readable image"),
        (["search", "MODEL", "GALLERY", "gone.jpg"], "gone.jpg: no such file or folder"),
        (["search", "MODEL", "no.gallery", "GALLERY"], "no.gallery: no such gallery"),
        (["search", "MODEL", "file.txt", "GALLERY"], "file.txt is no gallery"),
        (["search", "MODEL", "GALLERY/0007", "GALLERY"], "0007 has no sub-folders: it needs one for each person"),
        (["search", "MODEL", "GALLERY/..", "GALLERY"], "sub-folders that are no person: gallery, query"),
        (["search", "MODEL", "junk", "GALLERY"], "sub-folders that are no person: -1, 0. Give the folder"),
        (["search", "MODEL", "GALLERY", "GALLERY", "--save", "folder.npz"], "--save folder.npz is a folder"),
        (["search", "MODEL", "GALLERY", "GALLERY", "--threshold", "60"], "threshold=60.0: similarities are cosines"),
        (["search", "MODEL", "GALLERY", "GALLERY", "-k", "0"], "k=0: ask for one or more"),
        (["export", "MODEL", "folder.npz"], "out folder.npz is a folder"),
        (["export", "MODEL", "m.onnx", "--device", "nowhere"], "no device 'nowhere' here"),
        (["export", "MODEL", "m.onnx", "--device", "cuda:99"], "no device 'cuda:99' here"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_2(words, message, crowd, model, tmp_path, monkeypatch, capsys):
    """Guards: a traceback, and a path that is refused only after the work."""
    (tmp_path / "here" / "folder.npz").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "file.txt").touch()
    for name in ("-1", "0", "anna"):
        (tmp_path / "here" / "junk" / name).mkdir(parents=True)
    monkeypatch.setattr(rl, "export", None)
    people = str(tmp_path / "crowd" / "gallery")
    assert main([word.replace("MODEL", model).replace("GALLERY", people) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_averages_are_not_asked_of_a_file_that_was_saved_without_them(crowd, model, tmp_path, capsys):
    """Guards: an option that is ignored without a word."""
    people, file = str(tmp_path / "crowd" / "gallery"), str(crowd.query.files()[0])
    assert main(["search", model, people, file, "--average", "--save", str(tmp_path / "new" / "g")]) == 0
    assert main(["search", model, str(tmp_path / "new" / "g"), file, "--average"]) == 0
    assert main(["search", model, people, file, "--save", str(tmp_path / "g")]) == 0
    assert main(["search", model, str(tmp_path / "g"), file, "--average"]) == 2
    assert "was saved without it" in capsys.readouterr().err


def test_files_that_a_system_hides_in_folders_are_no_images(crowd, model, tmp_path, capsys):
    people = tmp_path / "crowd" / "gallery"
    (people / "0007" / "._c1.png").write_bytes(b"of macOS")
    for folder in (people / ".cache", people / "0007" / ".thumbnails"):
        shutil.copytree(people / "0007", folder)
    assert main(["search", model, str(people), str(people / "0007"), "-k", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_an_error_in_code_of_ones_own_keeps_its_traceback():
    """Guards: a mistake in a system from outside, told in one sentence without the place."""
    with pytest.raises(ValueError, match="invalid literal"):
        stoppable(lambda: int("three"))


def test_a_warning_is_one_line_and_a_closed_pipe_is_no_error(crowd, tmp_path, capsys):
    for file in (tmp_path / "crowd").rglob("*.png"):
        file.rename(file.with_name(file.name.replace("c", "x", 1)))
    assert main(["check", str(tmp_path / "crowd")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: crowd: no cameras")
    code = "from reidlib.runs.command import stoppable; print(stoppable(lambda: print('y' * 10**7)), flush=True)"
    closed = subprocess.run(f"{sys.executable} -c {code!r} | head -c 1", shell=True, capture_output=True, text=True)
    assert closed.stderr == ""


@pytest.mark.parametrize("words", [[], ["check"], ["train"], ["grid"], ["embed"], ["search"], ["export"]])
def test_every_command_has_help(words, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*words, "--help"])
    assert exit.value.code == 0
    assert said(capsys).startswith("usage: ")


def test_a_folder_that_is_being_trained_in_is_a_sentence_and_status_2(crowd, tiny, tmp_path, capsys):
    training = rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run")
    next(training)
    assert stoppable(lambda: next(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run"))) == 2
    assert "another process is training in this folder" in capsys.readouterr().err
    training.close()


def test_embeddings_on_a_full_disk_leave_the_file_that_was_there(crowd, model, tmp_path, monkeypatch, capsys):
    out, file = tmp_path / "emb.npz", str(crowd.query.files()[0])
    assert main(["embed", model, file, "--out", str(out)]) == 0
    before = out.read_bytes()

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert main(["embed", model, file, "--out", str(out)]) == 2
    assert str(out) in capsys.readouterr().err
    assert out.read_bytes() == before


def test_names_that_the_terminal_cannot_show_are_written_with_escapes(crowd, model, tmp_path, monkeypatch):
    file = tmp_path / "日本.png"
    file.write_bytes(crowd.query.files()[0].read_bytes())
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="strict")
    monkeypatch.setattr("sys.stdout", shown)
    assert main(["search", model, str(tmp_path / "crowd" / "gallery"), str(file), "-k", "2"]) == 0
    shown.flush()
    rows = shown.buffer.getvalue().decode("latin-1").splitlines()
    assert len(rows) == 3
    assert r"\u65e5\u672c.png" in rows[1]


@pytest.mark.parametrize(("system", "encoding"), [("win32", "utf-8"), ("linux", "cp1252")])
def test_what_goes_into_a_file_on_windows_can_be_read_as_a_table(system, encoding, monkeypatch):
    """There its default is a code page, which `read_csv` refuses."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setattr("sys.platform", system)
    assert stoppable(lambda: print("café")) == 0
    assert shown.buffer.getvalue().decode(encoding).strip() == "café"
