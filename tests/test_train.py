"""fit: what it logs, keeps, resumes and refuses. What it trains is held to account in test_joins."""

import csv
import hashlib
import itertools
import platform
import resource
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import reidlib as rl
from reidlib.systems import device_settings
from reidlib.train import checkpoints
from reidlib.train import loop as train


def digest(system):
    """Of all weights and buffers: equal only where two systems are equal bit for bit."""
    values = b"".join(value.numpy().tobytes() for value in system.state_dict().values())
    return hashlib.sha256(values).hexdigest()


def trained(recipe, shots, run, epochs=None):
    system = rl.build(recipe, shots, "cpu")
    rows = list(itertools.islice(rl.fit(system, shots, run), epochs))
    return system, rows


def interrupted(recipe, shots, run, at):
    """A system whose training was stopped from the keyboard at its `at`-th step."""
    system = rl.build(recipe, shots, "cpu")
    step, calls = system.step, itertools.count(1)

    def stopped(images, labels):
        if next(calls) == at:
            raise KeyboardInterrupt
        return step(images, labels)

    system.step = stopped
    with pytest.raises(KeyboardInterrupt):
        list(rl.fit(system, shots, run))
    return system


def test_two_trainings_with_the_same_seed_give_bit_identical_checkpoints(crowd, tiny, tmp_path):
    first, rows = trained(tiny, crowd.train, tmp_path / "a")
    again, _ = trained(tiny, crowd.train, tmp_path / "b")
    assert digest(first) == digest(again)
    assert digest(rl.restore(tmp_path / "a", device="cpu")) == digest(first)
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_another_seed_gives_another_checkpoint(crowd, tiny, tmp_path):
    first, _ = trained(tiny, crowd.train, tmp_path / "a")
    other, _ = trained(rl.Recipe.from_dict(tiny.to_dict() | {"seed": 2}), crowd.train, tmp_path / "b")
    assert digest(first) != digest(other)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_run_left_early_and_resumed_ends_bit_identical(crowd, tiny, tmp_path, stop):
    whole, rows = trained(tiny, crowd.train, tmp_path / "whole")
    _, before = trained(tiny, crowd.train, tmp_path / "parts", stop)
    resumed, after = trained(tiny, crowd.train, tmp_path / "parts")
    assert digest(whole) == digest(resumed)
    assert after[:stop] == before, "the rows already logged are yielded first, times included"
    assert [row["loss"] for row in after] == [row["loss"] for row in rows]


def test_what_the_caller_does_between_rows_does_not_change_the_run(crowd, tiny, tmp_path):
    quiet, _ = trained(tiny, crowd.train, tmp_path / "quiet")
    noisy = rl.build(tiny, crowd.train, "cpu")
    for _ in rl.fit(noisy, crowd.train, tmp_path / "noisy"):
        torch.manual_seed(0), np.random.seed(0), torch.rand(3)
        rl.embed(noisy, crowd.query)  # sets evaluation mode for its own duration
    assert digest(noisy) == digest(quiet)


def test_the_caller_keeps_its_own_random_state(crowd, tiny, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    trained(tiny, crowd.train, tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_a_row_counts_iterations_and_what_was_seen(crowd, tiny, tmp_path):
    _, rows = trained(tiny, crowd.train, tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["iteration"] for row in rows] == [2, 4, 6]
    assert [row["lr"] for row in rows] == [tiny.learning_rate(epoch) for epoch in range(3)]
    assert all(row["ids_seen"] == 1 and 0 < row["images_seen"] < 1 for row in rows)
    with open(tmp_path / "log.csv", encoding="utf-8", newline="") as stream:
        logged = list(csv.DictReader(stream))
    assert [float(row["loss"]) for row in logged] == [row["loss"] for row in rows]


def test_the_share_of_waiting_is_that_of_all_steps(crowd, tiny, tmp_path, monkeypatch):
    """Guards: only the last step's waiting counted, or that of an earlier epoch too."""
    ticks = itertools.count()
    monkeypatch.setattr(train.time, "perf_counter", lambda: float(next(ticks)))  # every look at the clock is a second
    _, rows = trained(tiny, crowd.train, tmp_path, 2)
    steps = rows[0]["iteration"]
    assert [row["waiting"] * row["seconds"] for row in rows] == pytest.approx([steps] * 2)


def test_every_nth_and_the_last_checkpoint_are_kept(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path)
    assert rl.checkpoints(tmp_path) == [2, 3]
    assert digest(rl.restore(tmp_path, epoch=2, device="cpu")) != digest(rl.restore(tmp_path, device="cpu"))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of epoch 1; it has \[2, 3\]"):
        rl.restore(tmp_path, epoch=1)


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_was(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()}
    other = rl.Recipe.from_dict(tiny.to_dict() | {"margin": 0.5})
    with pytest.raises(ValueError, match=r"margin is 0\.3 there and 0\.5 here"):
        trained(other, crowd.train, tmp_path)
    assert {file: file.read_bytes() for file in before} == before


def test_a_folder_of_other_data_is_refused(crowd, tiny, tmp_path):
    trained(tiny, crowd.train, tmp_path)
    with pytest.raises(ValueError, match="digest of the images and labels is"):
        trained(tiny, crowd.train[:-1], tmp_path)


def test_a_truncated_checkpoint_falls_back_to_the_one_before(crowd, tiny, tmp_path):
    whole, _ = trained(tiny, crowd.train, tmp_path)
    last = tmp_path / "checkpoints" / "epoch_0003.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"epoch_0003\.pt cannot be read"):
        resumed, rows = trained(tiny, crowd.train, tmp_path)
    assert digest(resumed) == digest(whole)
    assert len(rows) == 3


def test_two_processes_cannot_train_in_one_folder(crowd, tiny, tmp_path):
    first = rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path)
    next(first)
    with pytest.raises(RuntimeError, match="another process is training"):
        next(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))
    first.close()
    assert len(list(rl.fit(rl.build(tiny, crowd.train, "cpu"), crowd.train, tmp_path))) == 3


def test_a_loss_that_is_not_finite_names_the_iteration_and_its_images(crowd, tiny, tmp_path):
    system = rl.build(tiny, crowd.train, "cpu")
    step, calls = system.step, itertools.count(1)

    def broken(images, labels):
        losses = step(images, labels)
        return losses | {"loss": losses["loss"] * torch.nan} if next(calls) == 4 else losses

    system.step = broken
    with pytest.raises(ValueError, match=r"epoch 2, iteration 2 of it;.* The batch: (train/\S+, ){5}train/\S+\.png$"):
        list(rl.fit(system, crowd.train, tmp_path))
    again, _ = trained(tiny, crowd.train, tmp_path)
    whole, _ = trained(tiny, crowd.train, tmp_path / "whole")
    assert digest(again) == digest(whole), "nothing of the broken step is kept"


def test_a_broken_image_is_named_before_anything_is_trained(crowd, tiny, tmp_path):
    crowd.train.file(3).write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=crowd.train.paths[3]):
        trained(tiny, crowd.train, tmp_path / "run")
    assert not rl.checkpoints(tmp_path / "run")


def test_a_run_stopped_within_an_epoch_ends_bit_identical(crowd, tiny, tmp_path, monkeypatch):
    whole, rows = trained(tiny, crowd.train, tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", -1)  # after every step
    interrupted(tiny, crowd.train, tmp_path / "parts", at=4)
    resumed, after = trained(tiny, crowd.train, tmp_path / "parts")
    assert digest(resumed) == digest(whole)
    assert [row["loss"] for row in after] == [row["loss"] for row in rows]


def test_the_memory_that_images_may_take_changes_nothing(crowd, tiny, tmp_path):
    held, _ = trained(tiny, crowd.train, tmp_path / "held")
    mapped = rl.build(tiny, crowd.train, "cpu")
    list(rl.fit(mapped, crowd.train, tmp_path / "mapped", memory=1000))
    assert digest(mapped) == digest(held)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator, which keeps its own settings")
@pytest.mark.parametrize("work", ["fit", "embed"])
def test_freed_memory_serves_the_next_tensors_and_goes_back_to_the_system_at_the_end(crowd, tiny, tmp_path, work):
    system, size, faults = rl.build(tiny, crowd.train, "cpu"), 16 << 20, []
    pages = 4 * size // resource.getpagesize()  # of a tensor of 64 MiB

    def taken(call):
        def with_large_tensors(*given):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                torch.ones(size)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
            return call(*given)

        return with_large_tensors

    def held():
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])

    system.step, system.embed = taken(system.step), taken(system.embed)
    before = held()
    if work == "fit":
        next(rl.fit(system, crowd.train, tmp_path))
    else:
        rl.embed(system, crowd.train, batch=8)
    assert sum(faults) < 10 * pages * len(faults) / 2, "Linux gave the tensors new pages"
    assert held() < before + pages


@pytest.mark.parametrize("told", ["", "cudnn", "torch"])
def test_a_gpu_looks_for_the_fastest_algorithms_unless_torch_is_to_be_deterministic(told, monkeypatch):
    """Guards: algorithms that are chosen by their time, so that two runs differ although torch is deterministic."""
    weight = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    system = SimpleNamespace(parameters=lambda: iter([weight]), recipe=SimpleNamespace(precision="float32"))
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", told == "cudnn")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: told == "torch")
    with device_settings(system, tuned=True):
        flags = torch.backends.cudnn
        assert (flags.benchmark, flags.deterministic, flags.allow_tf32) == (not told, bool(told), False)


def test_a_compiled_backbone_is_one_field_trains_alike_and_leaves_the_names_in_a_checkpoint_alone(
    crowd, tiny, tmp_path, monkeypatch
):
    whole = nn.Module.compile  # as torch does it, but for the C++ in the end
    monkeypatch.setattr(nn.Module, "compile", lambda self, **given: whole(self, backend="aot_eager", **given))
    plain, rows = trained(tiny, crowd.train, tmp_path / "plain")
    compiled, same = trained(tiny.replace(compile=True), crowd.train, tmp_path / "compiled")
    assert (plain.trunk._compiled_call_impl, bool(compiled.trunk._compiled_call_impl)) == (None, True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    assert [row["loss"] for row in same] == pytest.approx([row["loss"] for row in rows], rel=1e-5)


def test_an_interrupt_before_the_first_checkpoint_begins_again_with_a_new_system(crowd, tiny, tmp_path):
    whole, _ = trained(tiny, crowd.train, tmp_path / "whole")
    system = interrupted(tiny, crowd.train, tmp_path / "parts", at=2)
    with pytest.raises(ValueError, match=r"trained or restored before.*build a new one by rl\.build\(recipe, shots\)"):
        list(rl.fit(system, crowd.train, tmp_path / "parts"))
    again, _ = trained(tiny, crowd.train, tmp_path / "parts")
    assert digest(again) == digest(whole)


def test_weights_that_are_not_finite_are_never_saved(crowd, tiny, tmp_path):
    system = rl.build(tiny, crowd.train, "cpu")
    step, calls = system.step, itertools.count(1)

    def broken(images, labels):
        losses = step(images, labels)
        if next(calls) == 4:  # after the last loss before a checkpoint
            system.classifier.weight.data[0, 0] = torch.nan
        return losses

    system.step = broken
    with pytest.raises(ValueError, match="weights are not finite after epoch 2"):
        list(rl.fit(system, crowd.train, tmp_path))
    assert rl.checkpoints(tmp_path) == []
    again, _ = trained(tiny, crowd.train, tmp_path)
    assert all(value.isfinite().all() for value in again.state_dict().values())


def test_a_run_that_was_left_is_finished_before_it_is_used(crowd, tiny, tmp_path):
    whole, _ = trained(tiny, crowd.train, tmp_path / "whole")
    trained(tiny, crowd.train, tmp_path / "left", 2)
    assert rl.checkpoints(tmp_path / "left") == [2]
    with pytest.raises(ValueError, match="epoch=1: checkpoints are kept of every 2 epochs and of the last, 3"):
        rl.load_or_train(tiny, crowd.train, tmp_path / "left", 1)
    finished = rl.load_or_train(tiny, crowd.train, tmp_path / "left")
    assert digest(finished.cpu()) == digest(whole)


def test_a_system_that_shares_no_gradients_is_refused_in_several_processes(crowd, tiny, tmp_path, monkeypatch):
    """Guards: unrelated models, each trained on a part of every batch, of which one is kept."""
    monkeypatch.setattr(train, "world", lambda: 2)
    system = rl.build(tiny, crowd.train, "cpu")
    monkeypatch.delattr(type(system), "replica")
    with pytest.raises(ValueError, match=r"trains in one process, not in 2: .*`replica = None`"):
        next(rl.fit(system, crowd.train, tmp_path))


def test_the_learning_rate_and_training_mode_are_set_for_each_epoch(crowd, tiny):
    system = rl.build(tiny, crowd.train, "cpu").eval()
    system.begin_epoch(1)
    assert system.training
    assert system.optimizers["main"].param_groups[0]["lr"] == tiny.learning_rate(1)


def test_the_center_loss_trains_its_centers_at_their_own_rate(crowd, tiny, tmp_path):
    recipe = rl.Recipe.from_dict(tiny.to_dict() | {"center_weight": 5e-4})
    system = rl.build(recipe, crowd.train, "cpu")
    centers = system.center_loss.centers.detach().clone()
    rows = list(rl.fit(system, crowd.train, tmp_path))
    assert not torch.equal(centers, system.center_loss.centers)
    assert rows[0]["loss"] == pytest.approx(rows[0]["ce"] + rows[0]["triplet"] + rows[0]["center"], rel=1e-5)


def test_a_row_prints_as_one_aligned_line(crowd, tiny, tmp_path):
    _, rows = trained(tiny, crowd.train, tmp_path)
    lines = [train.epoch_row(row) for row in rows]
    assert len({len(line) for line in lines}) == 1
    assert "epoch    3  iteration      6" in lines[-1]
