"""How fast training batches are made, beside the reference implementation's way, from 128 x 64 JPEGs to 256 x 128.

    python benchmarks/pipeline.py            # as many images as Market-1501 trains on: two minutes on two cores
    python benchmarks/pipeline.py --small    # the same in seconds, to see that it runs

The images are the drawn crowd's, under as many names as Market-1501 has training images and identities. The
reference implementation decodes, resizes and transforms every image anew in worker processes; here each image is
decoded once, and batches are cut from the decoded ones. All rates are from one run, the contenders taking turns, the
best of three each.
"""

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
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
    """The reference implementation's data set: one file, one decoding, one chain of transforms an image."""

    def __init__(self, files: list[Path], size: tuple[int, int] = (256, 128), pad: int = 10):
        self.files = files
        self.transform = T.Compose(
            [
                T.Resize(size, T.InterpolationMode.BICUBIC),
                T.RandomHorizontalFlip(),
                T.Pad(pad),
                T.RandomCrop(size),
                T.ToTensor(),
                T.Normalize(MEAN, STD),
                Erase(),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB"))


def crowd(size: Size, folder: Path) -> rl.Shots:
    """The drawn crowd's training files under `size.images` names, with Market's number of identities."""
    source = rl.load("toy").train.files()
    paths = [f"{i:05d}.jpg" for i in range(size.images)]
    for i, path in enumerate(paths):
        shutil.copyfile(source[i % len(source)], folder / path)
    pids = np.sort(np.arange(size.images) % size.ids)
    return rl.Shots("crowd", folder, np.array(paths), pids, np.ones(size.images, np.int64))


def one_by_one(shots: rl.Shots, batches: list[np.ndarray], workers: int) -> tuple[int, float]:
    """Images and seconds of some batches the reference's way, without the start of the workers."""
    loader = DataLoader(OneByOne(shots.files()), batch_sampler=[b.tolist() for b in batches], num_workers=workers)
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
    contenders = {f"reference's way, {n} workers": lambda b, n=n: one_by_one(shots, b, n) for n in WORKERS}
    contenders |= {
        "reidlib, float batches": lambda b: from_store(store, b, recipe),
        "reidlib, uint8 batches": lambda b: from_store(store, b, recipe, handed),
    }
    rates = dict.fromkeys(contenders, 0.0)
    for turn in range(3):
        part = sampler.epoch(turn + 1)[: size.turn]
        for name, run in contenders.items():
            count, seconds = run(part)
            rates[name] = max(rates[name], count / seconds)
    best = max(rates[name] for name in rates if name.startswith("reference"))
    print(f"\n{'':30}{'images/s':>10}{'x reference':>13}")
    for name, rate in rates.items():
        print(f"{name:30}{rate:10,.0f}{rate / best:13.1f}")
    theirs = sum(map(len, batches)) / best
    print(f"{'first epoch, decoding included':30}{sum(map(len, batches)) / first:10,.0f}{theirs / first:13.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few images, to see that it runs")
    size = Size(images=96, ids=12, epoch=3, turn=3, p=4) if parser.parse_args().small else Size()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REID_CACHE"] = str(Path(folder, "cache"))
        Path(folder, "images").mkdir()
        measure(crowd(size, Path(folder, "images")), size)


if __name__ == "__main__":
    main()
