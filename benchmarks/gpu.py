"""Everything that a GPU is needed for, in one call: the most valuable first, and it goes on where it was left.

    python benchmarks/gpu.py --minutes 9 --weights mobilenet_v2_imagenet.pth --out runs/gpu
    python benchmarks/gpu.py --small --out runs/gpu-small      # toy sizes, on a CPU too: to see that it runs

Stages: the numbers of the GPU beside those of the CPU, and the time of an evaluation on each; MobileNetV2 by the
reference recipe on the real Market-1501 at 256 x 128; the speed of training beside the reference's way; ResNet-50 there
too; the speed of the preset laptop; where SYSU-MM01 is, ResNet-50 on its two modalities, without channel augmentation
and with it. Each training is shortened in its proportions to what the remaining minutes allow. Rows and texts are in
the folder `--out` as soon as a stage is done.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import reidlib as rl
from reidlib import toy
from reidlib.files import write_whole
from reidlib.provenance import environment
from reidlib.studies.panels import lengthened
from reidlib.systems import device_settings

ROOT = Path(__file__).parents[1]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TRIAL = 50  # batches of each of the two epochs that measure the speed
MOST = 120  # seconds that a benchmark may take
TEST = 45  # seconds that are kept for the test after a training
BACKBONE = "resnet18" if DEVICE == "cuda" else "slim"  # of the recipe of a few steps


class Call:
    """One call: its options, when it has to end, and what is done so far, kept in the folder `out`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out, self.begun = options, options.out, time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / "done.json"
        self.done: dict[str, list[str]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}

    def left(self) -> float:
        """Seconds until the minutes are over."""
        return 60 * self.options.minutes - (time.monotonic() - self.begun)

    def stage(self, name: str, run: Callable[[], list[str]], least: float) -> None:
        """Run a stage that needs at least `least` seconds, unless it is done; a fault of it stops no other.

        Where its data or its weights are not here, one line says so, and the next call looks for them again.
        """
        if self.options.only and name not in self.options.only:
            return
        if name in self.done or (self.left() < least and not self.options.small):
            print(f"{name}: {'done before' if name in self.done else 'no time is left'}", flush=True)
            return
        start = time.monotonic()
        try:
            lines = run()
        except FileNotFoundError as error:
            lines = [f"left out: {error}"]
        except Exception as error:
            lines = [f"failed: {type(error).__name__}: {error}"]
        else:
            self.done[name] = lines
        print(*(f"{name}: {line}" for line in lines), f"{name}: {time.monotonic() - start:.0f} s", sep="\n", flush=True)
        write_whole(self.out / "done.json", json.dumps(self.done | {"environment": [str(environment())]}).encode())


def tiny(dataset: str = "market", **changes) -> rl.Recipe:
    """A recipe of a few steps."""
    small = {"height": 64, "width": 32, "pad": 2, "p": 4, "epochs": 2, "iterations": 3, "checkpoint_every": 9}
    small |= {"backbone": BACKBONE, "weights": "none", "milestones": (9,), "warmup_epochs": 0, "precision": "float32"}
    return rl.Recipe.for_dataset(dataset, **{**small, **changes})


def equal_numbers() -> list[str]:
    """What the GPU computes, beside the CPU: augmentation, training steps, scores of half precision."""
    recipe, rng = tiny(), np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (16, 64, 32, 3), np.uint8))
    images = {d: rl.augment(pixels.to(d), recipe, rl.generator(1, "augment", 0)).float() for d in ("cpu", DEVICE)}
    lines = [f"augmentation differs by {(images['cpu'] - images[DEVICE].cpu()).abs().max():.1e}"]
    labels, losses = torch.arange(4).repeat_interleave(4), {}
    for device in ("cpu", DEVICE):
        system = rl.build(recipe, np.arange(4), device)
        system.begin_epoch(0)
        given = images["cpu"].to(device), labels.to(device)
        with device_settings(system):  # float32, and not TF32
            losses[device] = np.array([float(system.step(*given)["loss"]) for _ in range(5)])
    lines.append(f"losses of five steps differ by {abs(losses['cpu'] - losses[DEVICE]).max():.1e}")
    pids, camids = rng.integers(1, 40, 1200), rng.integers(1, 7, 1200)
    shots = rl.Shots("random/gallery", Path("random"), np.arange(1200).astype(str), pids, camids)
    features = torch.from_numpy(rng.standard_normal((1200, 256), np.float32))
    scores = {d: rl.score(*(features.half().to(d),) * 2, shots, shots) for d in ("cpu", DEVICE)}
    same = np.array_equal(scores["cpu"].ap, scores[DEVICE].ap)
    lines.append(f"APs of 1,200 x 1,200 half-precision features are {'equal' if same else 'NOT EQUAL'}")
    return lines


def resumed() -> list[str]:
    """How far a run that was left after an epoch and started again ends from one that was not."""
    ends = []
    with tempfile.TemporaryDirectory() as folder, torch.backends.cudnn.flags(True, deterministic=True):
        shots = rl.load("toy", ROOT / "data").train
        for name, stops in (("whole", ()), ("left", (1,))):
            for stop in (*stops, None):
                system = rl.build(tiny(), shots, DEVICE)
                for row in rl.fit(system, shots, Path(folder, name)):
                    if row["epoch"] == stop:
                        break
            ends.append(torch.cat([value.flatten().float().cpu() for value in system.state_dict().values()]))
    return [f"a resumed run ends {(ends[0] - ends[1]).abs().max():.1e} from one without a stop"]


def evaluation(small: bool) -> list[str]:
    """The scores of random features of Market-1501's sizes, on the GPU and on the CPU."""
    sizes, width, rng = ((50, 200) if small else (3368, 15_913)), 64 if small else 2048, np.random.default_rng(0)
    shots, features = [], []
    for name, count in zip(("query", "gallery"), sizes, strict=True):
        pids, camids = rng.integers(1, 751, count), rng.integers(1, 7, count)
        shots.append(rl.Shots(f"random/{name}", Path(name), np.arange(count).astype(str), pids, camids))
        features.append(torch.from_numpy(rng.standard_normal((count, width), np.float32)))
    lines, means = [], {}
    for device in (DEVICE, "cpu"):
        given = [x.to(device) for x in features]
        for _ in range(2):  # the first call also loads what the GPU needs
            start = time.perf_counter()
            means[device] = rl.score(*given, *shots).mAP
            seconds = time.perf_counter() - start
        lines.append(f"{sizes[0]:,} queries, {sizes[1]:,} images of {width} numbers: {seconds:.2f} s on {device}")
    return [*lines, f"their mAPs differ by {abs(means[DEVICE] - means['cpu']):.1e}"]


def benchmark(call: Call, name: str, *options: str) -> list[str]:
    """Run a benchmark; its output is a file in the folder `out`, and its table the lines."""
    small = ["--small"] if call.options.small else []
    python = [sys.executable, "-u", "-X", "utf8", "-W", "ignore"]
    command = [*python, str(ROOT / "benchmarks" / f"{name}.py"), *options, *small]
    limit = None if call.options.small else max(min(call.left(), MOST), 1)
    file = call.out / f"{name}{''.join(options)}.txt"
    with open(file, "wb") as stream:  # what is printed (-u: at once) is kept, however it ends
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, timeout=limit)
    lines = file.read_text("utf-8").splitlines()
    if done.returncode:
        raise RuntimeError("".join(lines[-1:]))
    return lines


def sets(call: Call, dataset: str) -> dict[str, rl.Split]:
    """The sets that a stage trains on, the first one, and tests on; in small, drawn people in its layout."""
    if not call.options.small:
        return rl.test_sets(dataset, root=call.options.data)[0]
    if dataset == "market":
        return rl.test_sets("toy", root=str(ROOT / "data"))[0]
    folder = call.out / "SYSU-MM01"
    if not toy.is_current(folder, "sysu", people=8):
        toy.draw(folder, "sysu", people=8)
    return {"toy-sysu": replace(rl.load("sysu", folder), name="toy-sysu")}


def train(call: Call, name: str, share: float, dataset: str = "market", tricks: str = "all", **changes) -> list[str]:
    """The reference recipe on a real set, as long as `share` of the seconds that are left allow; rows as lines."""
    run, small, splits = call.out / "runs" / name, call.options.small, sets(call, dataset)
    split = next(iter(splits.values()))
    if not any(run.glob("checkpoints/*.pt")):  # also where only a part of the folder came from another machine
        shutil.rmtree(run, ignore_errors=True)
    if (run / "recipe.json").is_file():  # left before its end
        recipe = rl.Recipe.from_dict(json.loads((run / "recipe.json").read_text("utf-8"))["recipe"])
    elif small:
        recipe = tiny(dataset, tricks=tricks).replace(dataset=split.name)
    else:
        recipe = fitting(rl.Recipe.for_dataset(dataset, tricks=tricks, **changes), split.train, call, share)
    rows = []
    for row in rl.fit(rl.build(recipe, split.train, DEVICE), split.train, run):
        rows.append(row)
        if call.left() < 20 and not small:
            break
    if len(rows) < recipe.epochs:
        raise RuntimeError(f"{len(rows)} of {recipe.epochs} epochs are trained; the same command goes on")
    system = rl.restore(run, device=DEVICE)
    rl.write_result(run, system, rows, rl.measure_all(system, splits, run))
    rl.write_csv(rl.collect(call.out / "runs"), call.out / "rows.csv")
    half = {key: value.half() if value.is_floating_point() else value for key, value in system.state_dict().items()}
    torch.save({key: value.cpu() for key, value in half.items()}, call.out / f"{name}.pth")
    return [rl.result_line(row) for row in rl.collect(run)] + [rl.epoch_row(rows[-1])]


def fitting(recipe: rl.Recipe, shots: rl.Shots, call: Call, share: float) -> rl.Recipe:
    """The recipe shortened in its proportions to a share of what is left, by the speed of its second short epoch.

    Market-1501's first pass ends in a smaller batch, the 47th: the first epoch has it, and a GPU tunes itself then.
    """
    with tempfile.TemporaryDirectory() as folder:
        *_, row = rl.fit(rl.build(recipe.shortened(TRIAL), shots, DEVICE), shots, folder)
    seconds = share * (call.left() - TEST)  # from now on: the images are decoded and kept
    epochs = min(recipe.epochs, int(0.9 * seconds / (row["seconds"] / TRIAL * recipe.iterations)))
    if epochs < 12:
        raise RuntimeError(f"{seconds:.0f} s are too few for 12 epochs at {row['images_per_s']:.0f} images/s")
    return lengthened(recipe, epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9, help="when to stop")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="results, and what goes on from them")
    parser.add_argument("--weights", default="imagenet", help="of MobileNetV2: imagenet, or a file of ImageNet weights")
    parser.add_argument("--sysu-weights", default="imagenet", help="of ResNet-50 on SYSU-MM01: imagenet, or a file")
    parser.add_argument("--data", metavar="FOLDER", help="of all data sets, or of the one that is trained on")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="leave the other stages out")
    parser.add_argument("--small", action="store_true", help="toy sizes, to see that it runs")
    call = Call(parser.parse_args())
    call.stage("equal", equal_numbers, 20)
    call.stage("resumed", resumed, 20)
    call.stage("evaluation", lambda: evaluation(call.options.small), 30)
    mobilenet = {"backbone": "mobilenet_v2", "weights": call.options.weights}
    call.stage("mobilenet", lambda: train(call, "mobilenet", 0.5, **mobilenet), 120)
    call.stage("training", lambda: benchmark(call, "train"), 60)
    call.stage("resnet50", lambda: train(call, "resnet50", 1.0, weights="none"), 120)
    call.stage("laptop", lambda: benchmark(call, "train", "--preset", "laptop"), 60)
    sysu = {"dataset": "sysu", "weights": call.options.sysu_weights}
    call.stage("sysu", lambda: train(call, "sysu", 0.5, **sysu), 120)
    call.stage("sysu-channels", lambda: train(call, "sysu-channels", 1.0, tricks="all+channels", **sysu), 120)


if __name__ == "__main__":
    main()
