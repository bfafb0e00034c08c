"""How fast a training step is beside the reference implementation's: P16 x K4, 256 x 128, ResNet-50, last stride 1.

    python benchmarks/train.py                    # on a GPU if there is one: two minutes; on two CPU cores ten
    python benchmarks/train.py --preset laptop    # MobileNetV2 on 128 x 64: two minutes on two CPU cores
    python benchmarks/train.py --small            # a tiny network in seconds, to see that it runs

The reference's way: float32, memory as torch lays it out, Adam with one parameter group for each tensor, every image
decoded and transformed anew by worker processes. All rows are from one run. A step is a whole one: batch, forward,
losses, backward, update. The device's peak is what a large bf16 (on a CPU float32) matrix product reaches in this run.
"""

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from pipeline import OneByOne, Size, crowd
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import reidlib as rl
from reidlib.data.images import on
from reidlib.provenance import environment
from reidlib.systems import device_settings
from reidlib.systems.backbones import uses_bf16

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
WORKERS = 8 if GPU else 2


def reference_way(recipe, shots, batches, tf32: bool) -> Iterator:
    """Each `next` is one training step as the reference implementation does it."""
    system = rl.build(replace(recipe, precision="float32"), shots, DEVICE)
    system = system.to(memory_format=torch.contiguous_format)
    trained = [parameter for parameter in system.parameters() if parameter.requires_grad]
    groups = [{"params": [parameter]} for parameter in trained]
    adam = torch.optim.Adam(groups, recipe.lr, weight_decay=recipe.weight_decay, foreach=False)
    labels = torch.searchsorted(system.ids.cpu(), torch.as_tensor(shots.pids))
    loader = DataLoader(
        OneByOne(shots.files(), True, size=recipe.size, pad=recipe.pad),
        batch_sampler=[batch.tolist() for batch in batches],
        num_workers=WORKERS,
        pin_memory=GPU,
    )
    system.begin_epoch(recipe.epochs // 4)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
        for images, batch in zip(loader, batches):
            images, target = images.to(DEVICE), labels[torch.from_numpy(batch)].to(DEVICE)
            feat = system.trunk(images)
            logits = system.classifier(system.bnneck(feat))
            loss = F.cross_entropy(logits, target, label_smoothing=0.1) + rl.batch_hard_triplet(feat, target)
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield


def this_way(recipe, shots, batches) -> Iterator:
    """The same as `fit` does it: batches from decoded images, the system's own step."""
    system = rl.build(recipe, shots, DEVICE)
    store = rl.ImageStore(shots, recipe.size, recipe.resize).to(DEVICE)
    labels = torch.searchsorted(system.ids.cpu(), torch.as_tensor(shots.pids)).to(DEVICE)
    system.begin_epoch(recipe.epochs // 4)
    torch.set_float32_matmul_precision("highest")
    with device_settings(system, tuned=True):
        for number, batch in enumerate(batches):
            images = rl.augment(store.batch(batch, DEVICE), recipe, rl.generator(1, "augment", number))
            system.step(images, labels[on(batch, DEVICE)])
            yield


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def seconds(steps: Iterator, warm: int, timed: int) -> float:
    """Seconds of one step, after `warm` that do not count."""
    for _ in itertools.islice(steps, warm):
        pass
    wait()
    start = time.perf_counter()
    for _ in itertools.islice(steps, timed):
        pass
    wait()
    return (time.perf_counter() - start) / timed


def contenders(recipe, shots, batches) -> dict:
    """Name -> how to make its steps."""
    found = {"reference's way, float32": lambda: reference_way(recipe, shots, batches, tf32=False)}
    if GPU:
        found["reference's way, TF32"] = lambda: reference_way(recipe, shots, batches, tf32=True)
    choices = {"float32": {"precision": "float32"}, "bf16": {"precision": "bf16"}}
    if GPU or recipe.backbone != "slim":  # a CPU compiles for half a minute: not to see that it runs
        choices["default, compiled"] = {"compile": True}
    if not uses_bf16("auto", DEVICE.type):
        del choices["bf16"]  # a CPU without bf16 instructions only imitates them
    for name, choice in choices.items():
        found[f"reidlib, {name}"] = lambda choice=choice: this_way(replace(recipe, **choice), shots, batches)
    return found


def flops(recipe, shots) -> float:
    """Floating-point operations of one step for one image; backward is twice forward.

    The counter is right for forward only: backward through a depthwise convolution it counts as one of all channels.
    """
    system = rl.build(replace(recipe, precision="float32"), shots, "cpu")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        system(torch.zeros(2, 3, *recipe.size))
    return 3 * counter.get_total_flops() / 2


def peak() -> float:
    """Operations a second of a large matrix product, in the precision that training takes here."""
    n, dtype = (8192, torch.bfloat16) if GPU else (2048, torch.float32)
    a = torch.randn(n, n, device=DEVICE, dtype=dtype)
    return 2 * n**3 / seconds(iter(lambda: a @ a, None), 3, 10)


def optimiser_step(recipe, shots) -> None:
    """The update alone: one group a tensor, one after another, against one fused pass."""
    system = rl.build(recipe, shots, DEVICE)
    fused = system.optimizers["main"]
    trained = fused.param_groups[0]["params"]
    plain = torch.optim.Adam([{"params": [p]} for p in trained], recipe.lr, weight_decay=5e-4, foreach=False)
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    slow, fast = (seconds(iter(lambda one=one: one.step() or 1, None), 2, 10) for one in (plain, fused))
    print(f"\noptimiser step: {1e3 * slow:.1f} ms one group a tensor, {1e3 * fast:.1f} ms fused: {slow / fast:.1f} x")


def embedding(recipe, shots, count: int) -> None:
    """What averaging with the mirror image costs, and, on a CPU, giving freed memory back to the system."""
    system, some = rl.build(recipe, shots, DEVICE), shots[:count]
    rl.embed(system, some[: min(count, 64)])

    def rate(flip: bool) -> float:
        start = time.perf_counter()
        rl.embed(system, some, flip=flip)
        return count / (time.perf_counter() - start)

    plain, mirrored = rate(False), rate(True)
    print(f"embedding, decoding included: {plain:.0f} images/s, with the mirror image {mirrored:.0f}", end="")
    print(f": {plain / mirrored:.2f} x the time")
    if not GPU:
        with mock.patch("reidlib.systems._freed_memory_kept", nullcontext):
            returned = rate(False)
        kept = rate(False)
        print(
            f"{returned:.0f} images/s where freed memory goes back to the system, {kept:.0f} where it is kept", end=""
        )
        print(f": {kept / returned:.2f} x")


def measure(recipe, shots, warm: int, timed: int) -> None:
    count = 2 * (warm + timed) + 2 * WORKERS
    sampler = rl.PKSampler(shots.pids, recipe.p, recipe.k, iterations=count)
    images = recipe.p * recipe.k
    batches = [batch for batch in sampler.epoch(0) if len(batch) == images]  # a pass ends in a smaller one
    rl.ImageStore(shots, recipe.size, recipe.resize)  # decoding is not a part of a step: benchmarks/pipeline.py
    cost, most, first = flops(recipe, shots), peak(), None
    made, steps = environment(), recipe.epochs * recipe.iterations
    print(f"{made['device']}, torch {made['torch']}, {recipe.backbone}, {images} images of {recipe.size}: ", end="")
    print(f"{cost / 1e9:.2f} GFLOP an image, a large product {most / 1e12:.2f} TFLOP/s")
    print(f"\n{'':28}{'ms/step':>9}{'images/s':>10}{'x':>6}{'of peak':>9}{f'{steps:,} steps':>14}{'GPU MB':>8}")
    for name, make in contenders(recipe, shots, batches).items():
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        one = seconds(make(), warm, timed)
        first = first or one
        memory = torch.cuda.max_memory_allocated() / 2**20 if GPU else 0
        print(f"{name:28}{1e3 * one:9.1f}{images / one:10.1f}{first / one:6.2f}", end="")
        print(f"{images * cost / one / most:9.1%}{steps * one / 60:10.1f} min{memory:8.0f}", flush=True)
    print(f"main memory at its peak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tiny network, to see that it runs")
    parser.add_argument("--preset", default="reference", help="reference or laptop")
    options = parser.parse_args()
    recipe, small = rl.Recipe.for_dataset("market", options.preset, weights="none"), options.small
    size, warm, timed = Size(), *((20, 100) if GPU else (1, 2) if recipe.backbone == "resnet50" else (4, 24))
    if small:
        recipe, size = replace(recipe, backbone="slim", height=32, width=16, pad=2, p=4), Size(images=96, ids=12)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REID_CACHE"] = str(Path(folder, "cache"))
        Path(folder, "images").mkdir()
        shots = crowd(size, Path(folder, "images"))
        measure(recipe, shots, warm, timed)
        optimiser_step(recipe, shots)
        embedding(recipe, shots, 96 if small else 4096 if GPU else 512)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
