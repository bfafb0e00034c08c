"""A number belongs to its recipe, data, labels, weights and code; what belongs to another run is refused by name."""

import csv
import io
import itertools
import json
import os
import pickle
import random
import shutil
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch

import reidlib as rl
from reidlib.files import locked, write_whole
from reidlib.progress import progress
from reidlib.runs.jobs import grid, plan, state, with_data
from reidlib.systems.backbones import trunk
from reidlib.train import checkpoints

TRAIN = rl.project() / "notebooks" / "03_train.ipynb"


def changed(recipe, **values):
    return rl.Recipe.from_dict(recipe.to_dict() | values)


def trained(recipe, shots, run, epochs=None):
    system = rl.build(recipe, shots, "cpu")
    rows = list(itertools.islice(rl.fit(system, shots, run), epochs))
    return system, rows


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def swap(shots, first, second):
    """The same images, with two pids exchanged on the first camera."""
    pids = shots.pids.copy()
    here = shots.camids == 1
    pids[here & (shots.pids == first)], pids[here & (shots.pids == second)] = second, first
    return replace(shots, pids=pids)


def weights(file, seed, backbone="slim"):
    torch.manual_seed(seed)
    net = trunk(backbone)
    torch.save(getattr(net, "net", net).state_dict(), file)  # those of a function of one's own are pooled
    return str(file)


# ---- the folder of a run


def test_a_folder_of_other_labels_or_cameras_is_refused(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path, 1)
    for other in (swap(crowd.train, 1, 2), replace(crowd.train, camids=crowd.train.camids[::-1].copy())):
        with pytest.raises(ValueError, match=r"digest of the images and labels is .* there and .* here"):
            trained(tiny, other, tmp_path)
        with pytest.raises(ValueError, match=r"digest of the images and labels is .* there and .* here"):
            rl.load_or_train(tiny, other, tmp_path)


def test_a_rate_of_numpys_is_kept_and_read(crowd, tiny, tmp_path):
    system = rl.build(tiny, crowd.train, "cpu")
    system.schedule = lambda epoch: np.interp(epoch, [0, 10], [1e-3, 1e-4])
    rows = list(rl.fit(system, crowd.train, tmp_path / "run"))
    assert same(rl.restore(tmp_path / "run", device="cpu"), system)
    assert list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run")) == rows


def test_the_same_data_in_another_spelling_are_the_same_run(crowd, tiny, tmp_path, monkeypatch):
    """Guards: a finished run that was trained again, because the shell had completed its data to "crowd/"."""
    monkeypatch.chdir(tmp_path)
    recipe = changed(tiny, dataset="crowd")
    _, rows = trained(recipe, crowd.train, tmp_path / "run")
    for word in ("crowd/", "./crowd", str(tmp_path / "crowd")):
        assert trained(changed(tiny, dataset=word), crowd.train, tmp_path / "run")[1] == rows
    with pytest.raises(ValueError, match="dataset is 'crowd' there and 'other' here"):
        trained(changed(tiny, dataset="other"), crowd.train, tmp_path / "run")


def test_a_run_is_found_in_the_home_folder(crowd, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    system, rows = trained(tiny, crowd.train, "~/run")
    scores = rl.measure(system, crowd, "~/run")
    rl.write_result("~/run", system, rows, {"crowd": scores})
    assert same(rl.restore("~/run", device="cpu"), system)
    assert rl.open_run("toy", "reference", "all", 1, "~/run") == (tiny, tmp_path / "home" / "run")
    assert same(rl.load_or_train(tiny, crowd.train, "~/run"), system)
    with pytest.raises(ValueError, match="holds another run: margin is"):
        rl.load_or_train(changed(tiny, margin=0.5), crowd.train, "~/run")
    assert rl.RankedBrowser(scores, run_dir="~/run").run_dir == tmp_path / "home" / "run"
    assert not (tmp_path / "~").exists()
    assert (tmp_path / "home" / "run" / "embeddings" / "crowd.npz").is_file()


def test_a_folder_of_another_weights_file_of_the_same_name_is_refused(crowd, tiny, tmp_path):
    recipe = changed(tiny, weights=weights(tmp_path / "w.pth", 0, tiny.backbone))
    trained(recipe, crowd.train, tmp_path / "run", 1)
    weights(tmp_path / "w.pth", 1, tiny.backbone)
    for go_on in (trained, rl.load_or_train):
        with pytest.raises(ValueError, match="digest of the weights is"):
            go_on(recipe, crowd.train, tmp_path / "run")


def test_a_finished_run_is_restored_where_its_weights_file_is_not(crowd, tiny, tmp_path):
    recipe = changed(tiny, weights=weights(tmp_path / "w.pth", 0, tiny.backbone))
    whole, _ = trained(recipe, crowd.train, tmp_path / "run")
    (tmp_path / "w.pth").unlink()
    assert same(rl.restore(tmp_path / "run", device="cpu"), whole)
    assert same(rl.load_or_train(recipe, crowd.train, tmp_path / "run").cpu(), whole)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"[]", b"{}", b'{"recipe": 3}', b"\xff\xfe"])
def test_a_damaged_claim_is_named_and_a_grid_sets_its_folder_aside(crowd, tiny, own, tmp_path, content):
    trained(tiny, crowd.train, tmp_path / "run", 1)
    (tmp_path / "run" / "recipe.json").write_bytes(content)
    for ask in (lambda: trained(tiny, crowd.train, tmp_path / "run"), lambda: rl.restore(tmp_path / "run")):
        with pytest.raises((ValueError, FileNotFoundError), match=r"recipe\.json cannot be read|no checkpoint"):
            ask()
    (job,) = plan(TRAIN, [own])
    assert state(job, tmp_path / "run") == "stale: recipe.json cannot be read"


# ---- checkpoints


def foreign(crowd, tiny, tmp_path):
    """A folder begun with the seed 1 that holds the checkpoints of the seed 2."""
    trained(changed(tiny, seed=2), crowd.train, tmp_path / "two")
    trained(tiny, crowd.train, tmp_path / "one", 1)
    shutil.rmtree(tmp_path / "one" / "checkpoints")
    shutil.copytree(tmp_path / "two" / "checkpoints", tmp_path / "one" / "checkpoints")
    return tmp_path / "one"


def test_a_checkpoint_of_another_run_is_refused_by_name(crowd, tiny, tmp_path):
    run = foreign(crowd, tiny, tmp_path)
    said = r"one/checkpoints/epoch_000\d\.pt is of another run: seed is 2 there and 1 here"
    for ask in (
        lambda: trained(tiny, crowd.train, run),
        lambda: rl.load_or_train(tiny, crowd.train, run),
        lambda: rl.restore(run),
        lambda: rl.restore(run, 2),
    ):
        with pytest.raises(ValueError, match=said):
            ask()
    (run / "recipe.json").unlink()
    for go_on in (trained, rl.load_or_train):
        with pytest.raises(ValueError, match=said):
            go_on(tiny, crowd.train, run)


def test_a_checkpoint_to_resume_from_of_another_run_is_refused(crowd, tiny, tmp_path):
    trained(changed(tiny, margin=0.5), crowd.train, tmp_path / "other", 1)
    trained(tiny, crowd.train, tmp_path / "run", 1)
    shutil.copy(tmp_path / "other" / "checkpoints" / "resume.pt", tmp_path / "run" / "checkpoints" / "resume.pt")
    with pytest.raises(ValueError, match=r"resume\.pt is of another run: margin is 0\.5 there and 0\.3 here"):
        trained(tiny, crowd.train, tmp_path / "run")


def test_a_checkpoint_of_another_epoch_is_refused(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path)
    folder = tmp_path / "checkpoints"
    shutil.copy(folder / "epoch_0002.pt", folder / "epoch_0003.pt")
    with pytest.raises(ValueError, match=r"epoch_0003\.pt is of another run: epoch is 2 there and 3 here"):
        rl.restore(tmp_path)


def test_other_files_among_the_checkpoints_are_ignored(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path)
    for name in ("epoch_best.pt", "epoch_0002 (copy).pt", "epoch_0004.pt.part", "epoch_2.pt"):
        shutil.copy(tmp_path / "checkpoints" / "epoch_0002.pt", tmp_path / "checkpoints" / name)
    assert rl.checkpoints(tmp_path) == [2, 3]
    assert len(trained(tiny, crowd.train, tmp_path)[1]) == 3


def test_a_folder_that_was_deleted_and_begun_anew_takes_nothing_of_the_old_process(crowd, tiny, tmp_path):
    old = rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path / "run")
    next(old)
    shutil.rmtree(tmp_path / "run")  # what the message about a folder in use may lead to
    _, rows = trained(changed(tiny, seed=2), crowd.train, tmp_path / "run", 1)
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*.*") if file.is_file()}
    with pytest.raises(ValueError, match="holds another run: seed is 2 there and 1 here"):
        next(old)
    assert {file: file.read_bytes() for file in before} == before
    assert trained(changed(tiny, seed=2), crowd.train, tmp_path / "run")[1][:1] == rows


def test_every_flipped_bit_of_a_checkpoint_is_seen(crowd, tiny, tmp_path):
    whole, _ = trained(tiny, crowd.train, tmp_path)
    file, rng = tmp_path / "checkpoints" / "epoch_0003.pt", random.Random(0)
    content = file.read_bytes()
    for place in (0, 30, *(rng.randrange(len(content)) for _ in range(20)), len(content) - 100, len(content) - 1):
        with open(file, "r+b") as stream:  # one bit, and back
            for value in (content[place] ^ 1 << rng.randrange(8), content[place]):
                stream.seek(place)
                stream.write(bytes([value]))
                stream.flush()
                if value != content[place]:
                    with pytest.raises(ValueError, match=r"epoch_0003\.pt cannot be read: it is damaged") as error:
                        rl.restore(tmp_path)
                    assert "weights_only" not in str(error.value)
    assert same(rl.restore(tmp_path, device="cpu"), whole)
    for damaged in (content[:-1], content + b"\0", b"\0" + content, b"", bytes(len(content))):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"epoch_0003\.pt cannot be read: it is damaged.*Delete it"):
            rl.restore(tmp_path)
    with pytest.warns(UserWarning, match=r"epoch_0003\.pt cannot be read.*falling back to the checkpoint before"):
        again, _ = trained(tiny, crowd.train, tmp_path)
    assert same(again, whole)
    assert same(rl.restore(tmp_path, device="cpu"), whole), "it is written anew"


# ---- the system


class Harmful:
    """Unpickled by a reader that trusts every file, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_checkpoint_cannot_run_code(crowd, tiny, tmp_path):
    """Guards: a file from somewhere else with a correct checksum, restored or resumed from."""
    run = tmp_path / "run"
    next(rl.fit(rl.build(tiny.replace(checkpoint_every=1), crowd.train, "cpu"), crowd.train, run))
    (file,) = (run / "checkpoints").glob("epoch_*.pt")
    whole = io.BytesIO()
    torch.save(torch.load(file, weights_only=True) | {"more": Harmful(tmp_path / "made")}, whole)
    file.write_bytes(whole.getvalue() + checkpoints._checksum(whole.getbuffer()))
    with pytest.raises(pickle.UnpicklingError):
        rl.restore(run, device="cpu")
    with pytest.raises(pickle.UnpicklingError):
        next(rl.fit(rl.build(tiny.replace(checkpoint_every=1), crowd.train, "cpu"), crowd.train, run))
    assert not (tmp_path / "made").exists()


def test_a_used_system_is_refused(crowd, tiny, tmp_path):
    system, _ = trained(tiny, crowd.train, tmp_path / "one")
    by_hand = rl.build(tiny, crowd.train, "cpu")
    by_hand.begin_epoch(0)
    by_hand.step(torch.rand(6, 3, 32, 16), torch.tensor([0, 0, 1, 1, 2, 2]))
    left, _ = trained(tiny, crowd.train, tmp_path / "left", 1)
    for used in (system, by_hand, left, rl.restore(tmp_path / "one", device="cpu")):
        with pytest.raises(ValueError, match=r"trained or restored before.*rl\.build\(recipe, shots\)"):
            next(rl.fit(used, crowd.train, tmp_path / "two"))
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("ids", [(1, 3, 5, 7, 9, 11), (101, 102, 103, 104, 105, 106), (1, 2, 3, 4)])
def test_a_system_for_other_identities_is_refused(crowd, tiny, tmp_path, ids):
    system = rl.build(tiny, list(ids), "cpu")
    with pytest.raises(ValueError, match=r"built for other identities than those of crowd/train: pid .* in only one"):
        next(rl.fit(system, crowd.train, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_system_that_its_recipe_does_not_name_is_refused_when_it_is_restored(crowd, tiny, tmp_path):
    class Mine(rl.BagOfTricks):
        pass

    system = rl.build(tiny, crowd.train, "cpu")
    mine = Mine.from_recipe(tiny, crowd.train.ids)
    mine.load_state_dict(system.state_dict())
    mine.recipe = tiny
    list(rl.fit(mine, crowd.train, tmp_path))
    with pytest.raises(ValueError, match=r"was trained by a system of test_identity, but model='bot' means"):
        rl.restore(tmp_path)
    with pytest.raises(ValueError, match=r"system is 'test_identity' there and 'reidlib\.systems\.bag_of_tricks' here"):
        trained(tiny, crowd.train, tmp_path)


# ---- the grid


def finished(job, split, run):
    system, rows = trained(job.recipe, split.train, run)
    rl.write_result(run, system, rows, {split.name: rl.measure(system, split, run)})


def planned(own):
    return with_data(plan(TRAIN, grid(**own, seed=[1])))[0]


def test_changed_test_images_are_tested_again_and_not_trained_again(crowd, own, tmp_path):
    job, run = planned(own), tmp_path / "run"
    finished(job, crowd, run)
    assert state(job, run) == "done"
    first = rl.collect(run)[0]["mAP"]
    for i in range(6):
        shutil.copy(crowd.gallery.file(2 * ((i + 1) % 6)), crowd.query.file(i))
    assert state(planned(own), run) == "begun"
    finished(planned(own), crowd, run)
    assert state(planned(own), run) == "done"
    assert state(planned(own | {"dataset": own["dataset"] + "/"}), run) == "done", "the same data, spelled otherwise"
    assert rl.collect(run)[0]["mAP"] < first


def test_another_weights_file_makes_a_job_stale(crowd, own, tmp_path):
    own |= {"weights": weights(tmp_path / "w.pth", 0)}
    finished(planned(own), crowd, tmp_path / "run")
    assert state(planned(own), tmp_path / "run") == "done"
    weights(tmp_path / "w.pth", 9)
    assert state(planned(own), tmp_path / "run") == "stale: other weights"


def test_corrected_labels_of_a_table_make_a_job_stale_or_test_it_again(crowd, own, tmp_path):
    file = tmp_path / "crowd" / "table.csv"

    def table(part, first, second):
        with open(file, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "pid", "camid", "split"])
            for name in ("train", "query", "gallery"):
                shots = getattr(crowd, name)
                for path, pid, camid in zip(shots.paths, shots.pids, shots.camids, strict=True):
                    other = {first: second, second: first}.get(pid, pid) if name == part and camid == 1 else pid
                    writer.writerow([path, other, camid, name])

    own |= {"dataset": str(file)}
    table("none", 0, 0)
    finished(planned(own), rl.load(file), tmp_path / "run")
    assert state(planned(own), tmp_path / "run") == "done"
    table("gallery", 7, 8)
    assert state(planned(own), tmp_path / "run") == "begun"
    table("train", 1, 2)
    assert state(planned(own), tmp_path / "run") == "stale: other training images"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"recipe": {}}'])
def test_a_damaged_result_is_tested_again(crowd, own, tmp_path, content):
    job, run = planned(own), tmp_path / "run"
    finished(job, crowd, run)
    (run / "result.json").write_bytes(content)
    assert state(job, run) == "begun"


def test_a_result_keeps_the_digests_of_its_test_sets(crowd, own, tmp_path):
    job = planned(own)
    finished(job, crowd, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["tests"] == job.tests


# ---- files


def test_a_whole_file_follows_no_planted_link_and_the_umask(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / "marks.json.tmp").symlink_to(victim)
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "marks.json", b"whole")
    finally:
        os.umask(before)
    assert victim.read_text() == "safe"
    assert (tmp_path / "marks.json").read_bytes() == b"whole"
    write_whole(tmp_path / ("\u6f22" * 80), b"a name of 240 bytes")
    assert stat.S_IMODE((tmp_path / "marks.json").stat().st_mode) == 0o640


def test_what_fails_in_the_middle_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "kept.bin"
    write_whole(file, b"before")

    def half(stream):
        stream.write(b"ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(file, half)
    assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("kept.bin", b"before")]


def _add(file, times):
    for _ in range(times):
        with locked(file):
            write_whole(file, str(int(file.read_text()) + 1).encode())


def test_read_change_write_under_a_lock_loses_nothing(tmp_path):
    import multiprocessing

    file = tmp_path / "count"
    file.write_text("0")
    processes = [multiprocessing.get_context("fork").Process(target=_add, args=(file, 100)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert file.read_text() == "300"


def test_no_bar_is_drawn_where_the_output_is_no_terminal(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert progress(range(3)).disable
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert not progress(range(3)).disable
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert progress(range(3)).disable
