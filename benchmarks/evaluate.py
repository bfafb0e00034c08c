"""How fast score() is, and in how much memory, beside the bare product, a plain evaluator and installed peers.

    python benchmarks/evaluate.py            # Market-1501's size: some minutes on two cores, 4 GB
    python benchmarks/evaluate.py --small    # the same in seconds, to see that it runs

All times of a table are from one run, the contenders taking turns, the best of three each; every memory is the peak of
a fresh process beyond what it held with the features loaded.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from contenders import argsorted, bare, dense_distances, ours, peers, sparse_distances, timed_product

from reidlib.evaluation.reranking import rerank
from reidlib.figures.style import STYLE

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclass
class Labels:
    name: str
    pids: np.ndarray
    camids: np.ndarray

    def __post_init__(self):
        self.root, self.paths = Path("data"), np.array([f"{self.name}/{i:07d}.jpg" for i in range(len(self.pids))])

    def __len__(self):
        return len(self.pids)


@dataclass(frozen=True)
class Size:
    """A set built like Market-1501: by default its published counts (Zheng et al., ICCV 2015)."""

    queries: int = 3368
    ids: int = 750
    images: int = 13115  # of these ids, in the gallery
    junk: int = 3819
    distractors: int = 2798
    dim: int = 2048
    noise: float = 1.45  # against centres of 1: gives the mAP and mINP of a good model


def market(size: Size) -> tuple[torch.Tensor, torch.Tensor, Labels, Labels]:
    """Features and labels: a query is one of a person and camera, and has matches under another camera."""
    rng = np.random.default_rng(0)
    cameras = np.argsort(rng.random((size.ids, 6)), axis=1)  # of each person, in the order in which they are used
    place = np.concatenate([np.arange(2 * size.ids), 2 * size.ids + rng.permutation(4 * size.ids)])[: size.queries]
    person, turn = place % size.ids, place // size.ids
    q_pid, q_cam = person + 1, cameras[person, turn] + 1
    seen = np.bincount(person, minlength=size.ids)
    person = np.concatenate([np.tile(np.arange(size.ids), 2), rng.integers(0, size.ids, size.images - 2 * size.ids)])
    turn = np.concatenate([np.repeat([0, 1], size.ids), rng.integers(0, seen[person[2 * size.ids :]])])
    order = np.argsort(person, kind="stable")
    g_pid = np.concatenate([np.full(size.junk, -1), np.zeros(size.distractors, int), person[order] + 1])
    g_cam = np.concatenate([rng.integers(1, 7, size.junk + size.distractors), cameras[person, turn][order] + 1])
    # A spectrum that falls as in trained embeddings: wrong pairs then spread by about 0.08 around 0.
    spectrum = np.arange(1, size.dim + 1, dtype=np.float32) ** -0.4
    centres = rng.standard_normal((size.ids + 1, size.dim), dtype=np.float32)
    features = []
    for pid in (q_pid, g_pid):
        x = np.empty((len(pid), size.dim), np.float32)
        for part in np.array_split(np.arange(len(pid)), 1 + len(pid) // 4096):
            known = (pid[part] > 0)[:, None]
            y = size.noise * rng.standard_normal((len(part), size.dim), dtype=np.float32) + known * centres[pid[part]]
            y *= spectrum
            x[part] = y / np.linalg.norm(y, axis=1, keepdims=True)
        features.append(torch.from_numpy(x))
    return *features, Labels("query", q_pid, q_cam), Labels("gallery", g_pid, g_cam)


def megabytes(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def peak_afresh(make, run) -> float:
    """Megabytes that run(*make()) takes at its peak beyond make(), in a process of its own so that none is reused."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_here, make, run).result()


def peak_here(make, run) -> float:
    inputs = make()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the highest resident size so far
    before = megabytes("VmRSS")
    run(*inputs)
    return megabytes("VmHWM") - before


def clock(contenders: dict, inputs, rounds: int = 3) -> tuple[dict, dict]:
    """Best seconds of each contender, taking turns, and what each found."""
    seconds, found = {}, {}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            found[name] = run(*inputs)
            seconds[name] = min(seconds.get(name, np.inf), time.perf_counter() - start)
    return seconds, found


def compare_evaluators(size: Size, peak) -> None:
    inputs = market(size)
    own = timed_product(ours)
    contenders = {"bare product": bare, "reidlib.score": own, "plain argsort": argsorted, **peers()}
    seconds, found = clock(contenders, inputs)
    memory = {name: peak(partial(market, size), ours if run is own else run) for name, run in contenders.items()}
    found.pop("bare product")
    for name, values in found.items():
        np.testing.assert_allclose(np.array(values, float), found["plain argsort"], rtol=0, atol=1e-6, err_msg=name)
    mean_ap, rank1 = found["reidlib.score"]
    print(f"\n{size.queries} x {len(inputs[3])} x {size.dim}, mAP {mean_ap:.4f}, rank-1 {rank1:.4f}: all agree to 1e-6")
    print(f"{'':20}{'seconds':>9}{'x product':>11}{'MB':>7}")
    for name in contenders:
        print(f"{name:20}{seconds[name]:9.2f}{seconds[name] / seconds['bare product']:11.2f}{memory[name]:7.0f}")
    print(f"{'  of it, ranking':20}{own.ranking:9.2f}{own.ranking / seconds['bare product']:11.2f}")


def growth(sizes: list[Size], figure: Path, peak) -> None:
    """Time and memory as the gallery grows by strangers."""
    rows = []
    for size in sizes:
        inputs = market(size)
        seconds, _ = clock({"product": bare, "score": ours}, inputs, rounds=2)
        images = len(inputs[3])
        del inputs
        rows.append((images, seconds["score"], seconds["product"], peak(partial(market, size), ours)))
    print(f"\n{'gallery':>9}{'score s':>9}{'product s':>11}{'us an image':>13}{'MB':>7}   (D = {sizes[0].dim})")
    for images, score_s, product_s, mb in rows:
        print(f"{images:9}{score_s:9.2f}{product_s:11.2f}{1e6 * score_s / images:13.1f}{mb:7.0f}")
    images, score_s, _, mb = map(np.array, zip(*rows))
    with plt.style.context(STYLE):
        _, (left, right) = plt.subplots(1, 2, layout="constrained")
        left.plot(images, score_s, marker="o")
        left.set(title="Time grows with the gallery", xlabel="gallery images", ylabel="seconds", ylim=(0, None))
        right.plot(images, mb, marker="o")
        right.set(title="Memory does not", xlabel="gallery images", ylabel="MB beyond the features", ylim=(0, 200))
        figure.parent.mkdir(parents=True, exist_ok=True)
        plt.savefig(figure)
        plt.close()


def compare_reranking(small: Size, full: Size, peak) -> None:
    inputs = market(small)
    contenders = {"dense reference": dense_distances, "reidlib.rerank": sparse_distances}
    seconds, found = clock(contenders, inputs, rounds=1)
    worst = abs(found["dense reference"] - found["reidlib.rerank"]).max()
    if worst > 2e-6:
        raise SystemExit(f"re-ranked distances differ by {worst:.1e} from the dense reference")
    print(f"\nre-ranking {len(inputs[2])} x {len(inputs[3])} x {small.dim}, distances within {worst:.0e}:")
    for name, run in contenders.items():
        print(f"{name:20}{seconds[name]:9.2f} s{peak(partial(market, small), run):7.0f} MB")
    print(f"{'ratio':20}{seconds['dense reference'] / seconds['reidlib.rerank']:9.1f} x")
    inputs, again = market(full), partial(ours, rerank=rerank)
    seconds, found = clock({"off": ours, "on": again}, inputs, rounds=1)
    for name, (mean_ap, rank1) in found.items():
        print(f"{full.queries} x {len(inputs[3])}, re-ranking {name}: mAP {mean_ap:.4f}, rank-1 {rank1:.4f}", end="")
        print(f", {seconds[name]:.1f} s")
    print(f"{'re-ranked score':20}{peak(partial(market, full), again):18.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "figures" / "evaluate_growth.png")
    options = parser.parse_args()
    if options.small:
        full = part = Size(queries=60, ids=20, images=300, junk=60, distractors=60, dim=64, noise=1.0)
        sizes = [Size(60, 20, 300, 60, 60 + extra, 64, 1.0) for extra in (0, 1680, 10080)]
    else:
        full, part = Size(), Size(queries=1000, ids=250, images=4000, junk=0, distractors=1000)
        sizes = [Size(dim=512, distractors=2798 + extra) for extra in (268, 80268, 480268)]  # 20,000 x 1, 5, 25
    peak = peak_here if options.small else peak_afresh
    compare_evaluators(full, peak)
    growth(sizes, options.figure, peak)
    compare_reranking(part, full, peak)


if __name__ == "__main__":
    main()
