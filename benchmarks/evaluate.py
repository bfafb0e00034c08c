"""How fast score() is beside the bare product of the same columns, ten lines of NumPy that sort, and installed peers.

    python benchmarks/evaluate.py            # Market-1501's size and more: half an hour on two cores, 4 GB
    python benchmarks/evaluate.py --small    # the same in seconds, to see that it runs
    python benchmarks/evaluate.py --features FILE.npz   # and a real model's: q, g, q_pids, q_camids, g_pids, g_camids
    OMP_NUM_THREADS=1 python benchmarks/evaluate.py --cpu   # CPU seconds of one thread, for a machine that is not quiet

Junk is left out on both sides. The product is the faster of NumPy's and torch's. All times of a row are from one run,
the contenders taking turns, the best of some rounds each; every memory is the peak of a fresh process beyond what it
held with the features loaded.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from contenders import (
    BLOCK,
    argsorted,
    dense_distances,
    machine,
    numpy_product,
    ours,
    peers,
    sparse_distances,
    sysu_ours,
    sysu_product,
    sysu_ten_lines,
    ten_lines,
    ten_lines_of,
    torch_product,
)

from reidlib.data import Shots
from reidlib.evaluation.counting import Rule, count
from reidlib.evaluation.reranking import rerank
from reidlib.evaluation.score import SAME_CAMERA
from reidlib.evaluation.scores import per_query
from reidlib.figures.style import STYLE

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PRODUCTS = {"NumPy's product": numpy_product, "torch's product": torch_product}

now = time.perf_counter


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


def labelled(name: str, pids: np.ndarray, camids: np.ndarray) -> Shots:
    paths = np.array([f"{name}/{i:07d}.jpg" for i in range(len(pids))])
    return Shots(name, Path("data"), paths, pids.astype(np.int64), camids.astype(np.int64))


def market(size: Size) -> tuple[torch.Tensor, torch.Tensor, Shots, Shots]:
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
    return *features, labelled("query", q_pid, q_cam), labelled("gallery", g_pid, g_cam)


def megabytes(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def peak_afresh(make, run) -> float:
    """Megabytes that run(*make()) takes at its peak beyond make(), in a process of its own so that none is reused."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_here, make, run).result()


def peak_here(make, run) -> float:
    inputs = make()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM, the highest resident size so far
    before = megabytes("VmRSS")
    run(*inputs)
    return megabytes("VmHWM") - before


def clock(contenders: dict, inputs, rounds: int = 3) -> tuple[dict, dict]:
    """Best seconds of each contender, taking turns, and what each found."""
    seconds, found = {}, {}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = now()
            found[name] = run(*inputs)
            seconds[name] = min(seconds.get(name, np.inf), now() - start)
    return seconds, found


def ratios(seconds: dict) -> dict:
    """Each contender's time over that of the faster product."""
    product = min(seconds[name] for name in PRODUCTS)
    return {name: value / product for name, value in seconds.items() if name not in PRODUCTS} | {"product": product}


def agree(found: dict, tolerance: float) -> None:
    values = [np.array(value, float) for value in found.values() if value is not None]
    for value in values:
        np.testing.assert_allclose(value, values[0], rtol=0, atol=tolerance)


def compare_evaluators(size: Size, peak, rounds: int) -> None:
    inputs = market(size)
    contenders = PRODUCTS | {"reidlib.score": ours, "ten lines": ten_lines, "plain argsort": argsorted, **peers()}
    seconds, found = clock(contenders, inputs, rounds)
    agree(found, 1e-6)
    print(f"\n{size.queries} x {len(inputs[3])} x {size.dim}, mAP {found['ten lines'][0]:.4f}: all agree to 1e-6")
    print(f"{'':20}{'seconds':>9}{'x product':>11}{'MB':>7}")
    product = min(seconds[name] for name in PRODUCTS)
    for name, run in contenders.items():
        memory = peak(partial(market, size), run)
        print(f"{name:20}{seconds[name]:9.2f}{seconds[name] / product:11.2f}{memory:7.0f}", flush=True)


def row(name: str, inputs, rounds: int, spare: dict | None = None) -> dict:
    """Print and return one line of a table: seconds of the product, and the others beside it."""
    contenders = spare or PRODUCTS | {"score": ours, "ten lines": ten_lines}
    seconds, found = clock(contenders, inputs, rounds)
    agree(found, 1e-5)  # ten lines have no exact rule for near ties: of 500,000 images they miss score() by 3e-6
    x, mean_ap = ratios(seconds), found["score"][0]
    print(f"{name:28}{mean_ap:7.3f}{x['product']:12.2f}{x['score']:9.2f} x{x['ten lines']:9.2f} x", flush=True)
    return x | {"mAP": mean_ap, "images": len(inputs[3])}


def qualities(size: Size, noises: tuple, features: Path | None, rounds: int) -> list[dict]:
    """Beside the product as the model gets worse."""
    print(f"\n{'model quality':28}{'mAP':>7}{'product s':>12}{'score':>11}{'ten lines':>11}")
    rows = [row(f"synthetic, D = {size.dim}", market(replace(size, noise=noise)), rounds) for noise in noises]
    if features:
        z = np.load(features)
        q, g = (torch.nn.functional.normalize(torch.from_numpy(z[part])) for part in "qg")
        sides = (labelled(n, z[f"{n[0]}_pids"], z[f"{n[0]}_camids"]) for n in ("query", "gallery"))
        rows.append(row(f"real features, D = {q.shape[1]}", (q, g, *sides), rounds))
    return rows


def sizes_of(sizes: list[Size], peak, rounds: int) -> list[dict]:
    """Beside the product as the gallery grows by strangers."""
    print(f"\n{'gallery':28}{'mAP':>7}{'product s':>12}{'score':>11}{'ten lines':>11}{'MB':>7}   (D = {sizes[0].dim})")
    rows = []
    for size in sizes:
        rows.append(row(f"{size.images + size.junk + size.distractors:,} images", market(size), rounds))
        rows[-1]["MB"] = peak(partial(market, size), ours)
        print(f"{rows[-1]['MB']:79.0f} MB", flush=True)
    return rows


def draw(quality: list[dict], grown: list[dict], figure: Path) -> None:
    with plt.style.context(STYLE):
        _, (left, middle, right) = plt.subplots(1, 3, layout="constrained", figsize=(9, 3))
        for name, marker in (("score", "o"), ("ten lines", "s")):
            rows = sorted(quality, key=lambda row: row["mAP"])
            left.plot([x["mAP"] for x in rows], [x[name] for x in rows], marker=marker, label=name)
            middle.plot([x["images"] for x in grown], [x[name] for x in grown], marker=marker, label=name)
        for axes in (left, middle):
            axes.axhline(1, color="0.5", lw=0.8)
            axes.set(ylabel="time / bare product", ylim=(0, None))
            axes.legend()
        left.set(title="Whatever the model", xlabel="mAP")
        middle.set(title="Time, gallery growing", xlabel="gallery images", xscale="log")
        right.plot([x["images"] for x in grown], [x["MB"] for x in grown], marker="o")
        right.set(title="Memory", xlabel="gallery images", xscale="log", ylabel="MB beyond the features", ylim=(0, 200))
        for axes in (middle, right):
            axes.set_xticks([x["images"] for x in grown], [f"{x['images']:,}" for x in grown])
            axes.minorticks_off()
        figure.parent.mkdir(parents=True, exist_ok=True)
        plt.savefig(figure)
        plt.close()


def compare_sysu(people: int, images: int, dim: int, rounds: int) -> None:
    """Ten single-shot trials of all-search."""
    rng, centres = np.random.default_rng(0), np.random.default_rng(1).standard_normal((people + 1, dim))
    labels = [(c, p, k) for c in range(1, 7) for p in range(1, people + 1) for k in range(images)]
    cams, pids, _ = np.array(labels).T
    x = torch.from_numpy(centres[pids] + 3 * rng.standard_normal((len(pids), dim))).float()
    x, infrared = torch.nn.functional.normalize(x), np.isin(cams, (3, 6))
    paths = np.array([f"cam{c}/{p:04d}/{k:04d}.jpg" for c, p, k in labels])
    sides = [Shots(n, Path("data"), paths[m], pids[m], cams[m], (3, 6)) for n, m in
             (("query", infrared), ("gallery", ~infrared))]  # fmt: skip
    contenders = {"NumPy's product": sysu_product, "torch's product": sysu_product}
    print(f"\n{'SYSU-MM01, ten trials':28}{'mAP':>7}{'product s':>12}{'score':>11}{'ten lines':>11}")
    name = f"{infrared.sum()} probes, D = {dim}"
    row(
        name,
        (x[infrared], x[~infrared], *sides),
        rounds,
        contenders | {"score": sysu_ours, "ten lines": sysu_ten_lines},
    )


def compare_reranked(size: Size, rounds: int) -> None:
    """Counting in re-ranked similarities, once they can be had; their tiles take the product's part."""
    q, g, query, gallery = market(replace(size, junk=0))
    source, rule = rerank(q, g), Rule(query, gallery, SAME_CAMERA["ignore"])
    columns = slice(0, len(g))

    def block(top: int) -> np.ndarray:
        return source.tile(slice(top, min(top + BLOCK, len(q))), columns).numpy()

    def counted(*_):
        values = per_query(*count(source, rule), len(query))
        return np.nanmean(values["ap"]), (values["first_match"] == 1).mean()

    contenders = dict.fromkeys(PRODUCTS, lambda *_: [block(top) for top in range(0, len(q), BLOCK)] and None)
    contenders |= {"score": counted, "ten lines": lambda *_: ten_lines_of(block, query, gallery.pids, gallery.camids)}
    print(f"\n{'re-ranked similarities':28}{'mAP':>7}{'tiles s':>12}{'count':>11}{'ten lines':>11}")
    row(f"{len(q)} x {len(g)}, D = {size.dim}", (q, g, query, gallery), rounds, contenders)


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
    parser.add_argument("--features", type=Path, help="an .npz of a real model's features and labels, to add a row")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "figures" / "evaluate_growth.png")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds instead of time")
    options = parser.parse_args()
    if options.cpu:
        globals()["now"] = time.process_time
    if options.small:
        full = part = Size(queries=60, ids=20, images=300, junk=60, distractors=60, dim=64, noise=1.0)
        sizes = [Size(60, 20, 300, 60, 60 + extra, 64, 1.0) for extra in (0, 1680, 10080)]
        people = 6
    else:
        full, part, people = Size(), Size(queries=1000, ids=250, images=4000, junk=0, distractors=1000), 96
        sizes = [Size(dim=512, distractors=2798 + extra) for extra in (268, 80268, 480268)]  # 20,000 x 1, 5, 25
    peak, rounds = peak_here if options.small else peak_afresh, options.rounds
    print(f"{'CPU seconds' if options.cpu else 'seconds'}; {machine('reidlib/evaluation', 'benchmarks')}")
    quality = qualities(full, (1.0, 1.45, 1.7, 2.3, 1000.0), options.features, rounds)
    grown = sizes_of(sizes, peak, rounds)
    draw(quality, grown, options.figure)
    compare_sysu(people, 20 if people > 6 else 2, full.dim, rounds)
    compare_reranked(part, rounds)
    compare_evaluators(full, peak, rounds)
    compare_reranking(part, full, peak)


if __name__ == "__main__":
    main()
