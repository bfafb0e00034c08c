"""How fast training batches are made, beside the reference implementation's way, from 128 x 64 JPEGs to 256 x 128.

    python benchmarks/pipeline.py            # as many images as Market-1501 trains on: two minutes on two cores
    python benchmarks/pipeline.py --small    # the same in seconds, to see that it runs

The images are the drawn crowd's, under as many names as Market-1501 has training images and identities. The
reference implementation decodes, resizes and transforms every image anew in worker processes; here each image is
decoded once, and batches are cut from the decoded ones. Both sides do equal work: both finish float batches, or both
stop at the bytes that a GPU is handed, before normalisation and erasing. What decoding once gives alone is measured by
the reference's transforms, image by image, of images that are decoded and resized already; the rest is what batches
give. All rates are from one run, the contenders taking turns, the best of three each.
"""

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from contenders import machine
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

import reidlib as rl
from reidlib.data.augment import MEAN, STD, crop_flip, draw_crops, draw_flips

WORKERS = (0, 1, 2, 4)  # of the reference's way; the best of them counts


@dataclass(frozen=True)
class Size:
    images: int = 12936  # Market-1501's training set (Zheng et al., ICCV 2015)
    ids: int = 751
    epoch: int = 200  # batches of p x k
    turn: int = 40  # batches of one measurement
    p: int = 16
    k: int = 4


class Erase:
    """Random erasing of one image tensor (3, H, W), image by image as Zhong et al. 2017 write it."""

    def __call__(self, image):
        _, height, width = image.shape
        for _ in range(100 if np.random.random() < 0.5 else 0):
            area, aspect = np.random.uniform(0.02, 0.4) * height * width, np.random.uniform(0.3, 1 / 0.3)
            h, w = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if h < height and w < width:
                top, left = np.random.randint(0, height - h + 1), np.random.randint(0, width - w + 1)
                image[:, top : top + h, left : left + w] = torch.tensor(MEAN)[:, None, None]
                break
        return image


class OneByOne(Dataset):
    """The reference implementation's data set: one file, one decoding, one chain of transforms an image.

    With `store`, its images take the place of the files and of Resize; `finish` says whether floats are finished.
    """

    def __init__(self, files: list[Path], finish: bool, store=None, size: tuple[int, int] = (256, 128), pad: int = 10):
        self.files, self.store = files, store
        resize = [] if store else [T.Resize(size, T.InterpolationMode.BICUBIC)]
        end = [T.ToTensor(), T.Normalize(MEAN, STD), Erase()] if finish else [T.PILToTensor()]
        self.transform = T.Compose([*resize, T.RandomHorizontalFlip(), T.Pad(pad), T.RandomCrop(size), *end])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        if self.store is None:
            return self.transform(Image.open(self.files[i]).convert("RGB"))
        return self.transform(Image.fromarray(self.store.images[i].numpy()))


def crowd(size: Size, folder: Path) -> rl.Shots:
    """The drawn crowd's training files under `size.images` names, with Market's number of identities."""
    source = rl.load("toy").train.files()
    paths = [f"{i:05d}.jpg" for i in range(size.images)]
    for i, path in enumerate(paths):
        shutil.copyfile(source[i % len(source)], folder / path)
    pids = np.sort(np.arange(size.images) % size.ids)
    return rl.Shots("crowd", folder, np.array(paths), pids, np.ones(size.images, np.int64))


def one_by_one(images: OneByOne, batches: list[np.ndarray], workers: int) -> tuple[int, float]:
    """Images and seconds of some batches the reference's way, without the start of the workers."""
    loader = DataLoader(images, batch_sampler=[b.tolist() for b in batches], num_workers=workers)
    iterator = iter(loader)
    len(next(iterator))
    start = time.perf_counter()
    count = sum(len(batch) for batch in iterator)
    return count, time.perf_counter() - start


def handed(images: torch.Tensor, recipe, rng) -> torch.Tensor:
    """The part of augmentation that is done on bytes: what a GPU would be handed."""
    n = len(images)
    return crop_flip(images, *draw_crops(rng, n, recipe.pad), draw_flips(rng, n, recipe.flip), recipe.pad)


def from_store(store, batches, recipe, finish=rl.augment) -> tuple[int, float]:
    """The same from decoded images: finished float batches, or what else `finish` makes of them."""
    start, count = time.perf_counter(), 0
    for number, index in enumerate(batches):
        rng, images = rl.generator(1, "augment", number), store.batch(index, torch.device("cpu"))
        count += len(finish(images, recipe, rng))
    return count, time.perf_counter() - start


def first_epoch(shots, batches, recipe) -> tuple[rl.ImageStore, float]:
    """A store made from files that were never seen, and the seconds of that and one epoch of float batches."""
    start = time.perf_counter()
    store = rl.ImageStore(shots, recipe.size, recipe.resize)
    opened = time.perf_counter() - start
    _, seconds = from_store(store, batches, recipe)
    print(f"first epoch: {len(shots):,} images decoded in {opened:.1f} s, {len(batches)} batches in {seconds:.1f} s")
    return store, opened + seconds


def measure(shots: rl.Shots, size: Size) -> None:
    recipe = rl.Recipe()
    sampler = rl.PKSampler(shots.pids, size.p, size.k, iterations=size.epoch)
    batches = sampler.epoch(0)
    store, first = first_epoch(shots, batches, recipe)
    rates = {}
    for turn in range(3):
        part = sampler.epoch(turn + 1)[: size.turn]
        for kind, finish in (("float", True), ("uint8", False)):
            whole, decoded = (OneByOne(shots.files(), finish, kept) for kept in (None, store))
            runs = {(f"{kind}: reference's way", n): partial(one_by_one, whole, part, n) for n in WORKERS}
            runs |= {(f"{kind}: its way, decoded once", n): partial(one_by_one, decoded, part, n) for n in WORKERS}
            runs[f"{kind}: reidlib", 0] = partial(from_store, store, part, recipe, rl.augment if finish else handed)
            for key, run in runs.items():
                count, seconds = run()
                rates[key] = max(rates.get(key, 0.0), count / seconds)
    report(rates)
    count, best = sum(map(len, batches)), max(rates["float: reference's way", n] for n in WORKERS)
    print(f"\nfirst epoch, decoding included: {count / first:,.0f} images/s, {count / first / best:.1f} x")


def report(rates: dict[tuple[str, int], float]) -> None:
    """A line for each way, with its best number of workers."""
    print(f"\n{'batches':32}{'workers':>8}{'images/s':>10}{'x reference':>13}")
    for name in dict.fromkeys(name for name, _ in rates):
        rate, workers = max((rate, n) for (other, n), rate in rates.items() if other == name)
        if name.endswith("reference's way"):
            best = rate
        if name.endswith("decoded once"):
            once = rate
        parts = f"   decoding once {once / best:.1f} x, batches {rate / once:.1f} x" if name.endswith("reidlib") else ""
        print(f"{name:32}{workers:8}{rate:10,.0f}{rate / best:13.1f}{parts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few images, to see that it runs")
    size = Size(images=96, ids=12, epoch=3, turn=3, p=4) if parser.parse_args().small else Size()
    print(machine("reidlib/data", "benchmarks"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REID_CACHE"] = str(Path(folder, "cache"))
        Path(folder, "images").mkdir()
        measure(crowd(size, Path(folder, "images")), size)


if __name__ == "__main__":
    main()
