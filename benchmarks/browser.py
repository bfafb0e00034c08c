"""How fast the ranked-image browser is at Market-1501's size, and how much it sends and keeps, beside its targets.

    python benchmarks/browser.py            # features as in benchmarks/evaluate.py; a minute on two cores, 2 GB
    python benchmarks/browser.py --small    # the same in seconds, to see that it runs

Times are what the kernel does until a message is ready to be sent, on images never read before by this process unless
it says "again". The files are Market-1501's where it lies under data/, else drawn ones under as many names.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from evaluate import Size, market
from ipywidgets.widgets.widget import _remove_buffers

import reidlib as rl
from reidlib import toy
from reidlib.data.layouts import BOXES, FOLDERS, data_root
from reidlib.figures.sheets import thumbnail

STEPS = 40


def bytes_of(state: dict) -> int:
    """What a message with this state weighs: JSON and buffers."""
    rest, _, buffers = _remove_buffers(state)
    return len(json.dumps(rest)) + sum(map(len, buffers))


def named(folder: Path, part: str, labels: rl.Shots) -> rl.Shots:
    """Labels with a file each: Market-1501's own where there are enough, else links to drawn ones below `folder`."""
    real = data_root() / FOLDERS["market"][0] / BOXES[part]
    names = sorted(file.name for file in real.glob("*.jpg")) if real.is_dir() else []
    if len(names) < len(labels):
        real, names = folder / part, [f"{i:06d}.jpg" for i in range(len(labels))]
        drawn = sorted((folder / "toy").rglob("*.jpg"))
        real.mkdir()
        for i, name in enumerate(names):
            os.link(drawn[i % len(drawn)], real / name)
    return replace(labels, name=f"market/{part}", root=real, paths=np.array(names[: len(labels)]))


def clock(run, times: int = 1) -> np.ndarray:
    """Milliseconds of each call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - start))
    return np.array(taken)


def report(name: str, values, unit: str, target: float | None = None) -> None:
    """One row: the median, the 95th percentile where there are several, and whether the median keeps the target."""
    values, digits = np.atleast_1d(values), 0 if unit == "B" else 1
    most = f"{np.quantile(values, 0.95):10,.{digits}f}" if len(values) > 1 else " " * 10
    verdict = "" if target is None else f"   < {target:,.0f}: {'met' if np.median(values) < target else 'NOT MET'}"
    print(f"{name:44}{np.median(values):10,.{digits}f}{most} {unit:2}{verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it runs")
    small = parser.parse_args().small
    size = Size(queries=60, ids=20, images=300, junk=60, distractors=60, dim=64, noise=1.0) if small else Size()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        toy.draw(folder / "toy", people=24)
        q, g, *labels = market(size)
        shots = [named(folder, part, each) for part, each in zip(("query", "gallery"), labels)]
        weights = torch.rand(size.dim, generator=torch.Generator().manual_seed(0))  # of another model, as good
        measure(rl.score(q, g, *shots), rl.score(q * weights, g * weights, *shots), folder)


def measure(scores, other, folder: Path) -> None:
    files = "drawn files" if folder in scores.query.root.parents else "files of Market-1501"
    print(f"\n{len(scores.ap):,} queries x {len(scores.g):,} gallery images x {scores.g.shape[1]}, {files}; {scores}")
    print(f"{'':44}{'median':>10}{'95 %':>10}")
    browser = None

    def opening():
        nonlocal browser
        browser = rl.RankedBrowser(scores, run_dir=folder / "run")

    report("open", clock(opening), "ms", 1000)
    report("step to the next query", clock(browser.step, STEPS), "ms", 100)
    report("step back, again", clock(lambda: browser.step(-1), STEPS), "ms", 100)
    browser.lists(k=20, ignored=True)
    report("step, 20 images and the ignored", clock(browser.step, STEPS), "ms", 100)
    report("bytes of a step", bytes_of({"view": browser.view}), "B")
    index = [card["index"] for card in browser.view["lists"][0]["cards"]]
    report("a pair", [clock(lambda j=j: browser.look(j))[0] for j in index], "ms", 100)
    report("bytes of the live state, pair and all", bytes_of(browser.get_state()), "B", 100_000)
    report("a gallery image as the query", [clock(lambda j=j: browser.make_query(j))[0] for j in index], "ms")
    report("filter by cameras and AP", clock(lambda: browser.filter(query_camera=1, match_camera=2, ap_high=0.9)), "ms")
    report("mark and save", clock(lambda: (browser.back(), browser.jump(5), browser.mark("word"))), "ms")
    files = [scores.gallery.file(j) for j in np.random.default_rng(0).permutation(len(scores.gallery))[:200]]
    report("a thumbnail", [clock(lambda file=file: thumbnail(file, (128, 256), 3300))[0] for file in files], "ms")
    two = rl.RankedBrowser(scores, other, k=10)
    two.order_by("models differ most")
    report("step, two models", clock(two.step, STEPS), "ms", 100)
    report("bytes of the live state, two models", bytes_of(two.get_state()), "B", 100_000)


if __name__ == "__main__":
    main()
