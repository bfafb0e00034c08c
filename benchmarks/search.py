"""Gallery.search beside the bare product, faiss and usearch; a million rows in memory; ONNX Runtime beside torch.

    python benchmarks/search.py            # half an hour on two cores, 6 GB
    python benchmarks/search.py --small    # the same in a minute, to see that it runs
    OMP_NUM_THREADS=1 python benchmarks/search.py --cpu   # CPU seconds of one thread, for a machine that is not quiet

faiss-cpu and usearch are peers and no dependencies: what does not import is left out. All contenders search the same
rows with the same queries, taking turns, the best of some rounds each. Memory is the peak of a fresh process, all of
it: Python, torch and the rows.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import evaluate
import numpy as np
import torch
from contenders import machine
from evaluate import clock, megabytes

import reidlib as rl
from reidlib.search.export import Embedder

DIM, K, BLOCK = 512, 10, 2**14


def people(rows: int, seed: int = 0) -> torch.Tensor:
    """Embeddings (rows, DIM) of people of 20 images each: a centre and noise, L2-normalised."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.empty(rows, DIM)
    for part in x.split(BLOCK):  # a person's images stand together
        centres = torch.randn(len(part) // 20 + 1, DIM, generator=draw).repeat_interleave(20, 0)[: len(part)]
        part.copy_(torch.nn.functional.normalize(centres + torch.randn(len(part), DIM, generator=draw)))
    return x


def asked(g: torch.Tensor, queries: int) -> torch.Tensor:
    """Further images of people of the gallery."""
    some = torch.randperm(len(g), generator=torch.Generator().manual_seed(1))[:queries]
    noise = torch.randn(queries, DIM, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(g[some] + 0.7 * noise / DIM**0.5)


def system() -> torch.nn.Module:
    recipe = rl.Recipe.for_dataset("toy", backbone="slim", weights="none")
    return rl.build(recipe, np.array([1, 1, 2, 2]), "cpu")


def gallery(g: torch.Tensor, half: bool) -> rl.Gallery:
    made = rl.Gallery(system(), half=half)
    for part in g.split(BLOCK):
        made.add(part, "somebody", more=True)
    return made


def product(g, q):
    for part in g.split(BLOCK):
        q.numpy() @ part.numpy().T


def contenders(g: torch.Tensor) -> dict:
    """Exact searches by name: each takes queries and returns positions (Q, K)."""
    found = {"product": lambda q: product(g, q)}
    for name, half in (("Gallery", False), ("Gallery, half", True)):
        made = gallery(g, half)
        found[name] = lambda q, made=made: made.search(q, K).positions
    try:
        import faiss

        flat = faiss.IndexFlatIP(DIM)
        flat.add(g.numpy())
        found["faiss flat"] = lambda q: flat.search(q.numpy(), K)[1]
    except ImportError as error:
        print(f"faiss: left out ({error})")
    try:
        from usearch.index import MetricKind, search

        found["usearch exact"] = lambda q: (
            search(g.numpy(), q.numpy(), K, MetricKind.IP, exact=True, threads=torch.get_num_threads()).keys
        )
    except ImportError as error:
        print(f"usearch: left out ({error})")
    return found


def exact(sizes, rounds: int) -> None:
    print(f"\n{'exact search, D = 512, k = 10':32}{'rows':>10}{'queries':>9}{'ms':>10}{'x product':>11}{'agree':>8}")
    for rows in sizes:
        g = people(rows)
        searches = contenders(g)
        for queries in (1, 100):
            q = asked(g, queries)
            seconds, found = clock(searches, (q,), rounds)
            for name, took in seconds.items():
                same = "" if found[name] is None else f"{(found[name] == found['Gallery']).mean():8.4f}"
                print(
                    f"{name:32}{rows:10,}{queries:9}{1000 * took:10.1f}{took / seconds['product']:11.2f}{same}",
                    flush=True,
                )


def approximate(sizes) -> None:
    """How many queries, one at a time, it takes until an approximate index has earned its building."""
    try:
        import faiss
    except ImportError:
        return
    print(f"\n{'approximate, one query at a time':32}{'rows':>10}{'build s':>9}{'ms':>8}{'recall':>8}", end="")
    print(f"{'exact ms':>10}{'pays from':>11}")
    for rows in sizes:
        g = people(rows)
        q, plain = asked(g, 100), gallery(g, False)
        truth = plain.search(q, K).positions
        lists = int(4 * rows**0.5)
        start = evaluate.now()
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 5
        index.train(g[:: max(1, rows // (40 * lists))].numpy())
        index.add(g.numpy())
        build = evaluate.now() - start
        exactly = per_query(partial(plain.search, k=K), q)
        for probes in (8, 64):
            index.nprobe = probes
            took = per_query(partial(ask, index), q)
            recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(truth, ask(index, q))])
            pays = f"{build / (exactly - took):11,.0f}" if took < exactly else f"{'never':>11}"
            name = f"faiss IVF{lists}, {probes} lists read"
            print(
                f"{name:32}{rows:10,}{build:9.1f}{1000 * took:8.2f}{recall:8.3f}{1000 * exactly:10.2f}{pays}",
                flush=True,
            )


def ask(index, q):
    return index.search(q.numpy(), K)[1]


def per_query(search, q) -> float:
    """Median seconds of one query."""
    took = []
    for one in q.split(1)[:20]:
        start = evaluate.now()
        search(one)
        took.append(evaluate.now() - start)
    return float(np.median(took))


def peak(rows: int, half: bool) -> tuple[float, float, float]:
    """Megabytes of this whole process at its peak, before anything is enrolled, and of the rows themselves."""
    made = rl.Gallery(system(), half=half)
    before = megabytes("VmRSS")
    for i, top in enumerate(range(0, rows, BLOCK)):
        made.add(people(min(BLOCK, rows - top), i), "somebody", more=True)
    made.search(people(100, 99), K)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder, "g"))
    return megabytes("VmHWM"), before, rows * DIM * (2 if half else 4) / 2**20


def memory(rows: int) -> None:
    """With glibc's threshold fixed, memory that is freed goes back at once; else holes of freed rows stay."""
    print(f"\n{'peak memory: add, search, save':36}{'rows':>10}{'MiB':>8}{'before':>8}{'of rows':>8}")
    for half, setting in ((False, ""), (True, ""), (True, "MALLOC_MMAP_THRESHOLD_")):
        if setting:
            os.environ[setting] = "1000000"
        if rows < BLOCK:
            whole, before, needed = peak(rows, half)
        else:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                whole, before, needed = pool.submit(peak, rows, half).result()
        name = f"Gallery{', half' * half}{', fixed threshold' * bool(setting)}"
        print(f"{name:36}{rows:10,}{whole:8.0f}{before:8.0f}{needed:8.0f}", flush=True)


MODELS = {
    "resnet50": dict(backbone="resnet50"),
    "mobilenet_v2": dict(backbone="mobilenet_v2"),
    "slim": dict(backbone="slim"),
    "timm:vit_tiny_patch16_224": dict(backbone="timm:vit_tiny_patch16_224"),
    "PCB, slim": dict(model="pcb", backbone="slim"),
    "AlignGAN, slim": dict(model="aligngan", dataset="sysu", backbone="slim"),
}


def onnx(models, size: tuple[int, int], rounds: int) -> None:
    """Milliseconds an image, and how far the file's embeddings are from the system's."""
    import onnxruntime

    print(f"\n{'ONNX Runtime beside torch':28}{'batch':>6}{'torch ms':>10}{'ONNX ms':>9}{'ratio':>7}", end="")
    print(f"{'float32':>10}{'half':>9}{'MB':>7}")
    for name in models:
        fields = {"dataset": "market", "precision": "float32", "weights": "none"} | MODELS[name]
        dataset = fields.pop("dataset")
        made = rl.build(
            rl.Recipe.for_dataset(dataset, height=size[0], width=size[1], **fields), np.array([1, 1, 2, 2]), "cpu"
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            try:
                halved = f"{rl.export(made, file, half=True):9.1e}"
            except ValueError:  # without trained weights some networks fade to what half precision cannot hold
                halved = f"{'refused':>9}"
            difference, megabyte = rl.export(made, file, pixels=False), file.stat().st_size / 1e6
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for batch in (1, 16):
            images = torch.randn(batch, 3, *size)
            runs = {"torch": Embedder(made, pixels=False), "onnx": partial(in_onnx, session)}
            seconds, _ = clock(runs, (images,), rounds)
            a, b = (1000 * seconds[run] / batch for run in runs)
            print(
                f"{name:28}{batch:6}{a:10.2f}{b:9.2f}{b / a:7.2f}{difference:10.1e}{halved}{megabyte:7.1f}",
                flush=True,
            )


def in_onnx(session, images):
    return session.run(None, {"images": images.numpy()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds instead of time")
    options = parser.parse_args()
    if options.cpu:
        evaluate.now = time.process_time
    print("CPU seconds;" if options.cpu else "seconds;", end=" ")
    print(machine("reidlib/search", "reidlib/evaluation", "benchmarks/search.py"))
    exact((2_000,) if options.small else (10_000, 100_000, 1_000_000), options.rounds)
    approximate((2_000,) if options.small else (10_000, 100_000, 1_000_000))
    memory(2_000 if options.small else 1_000_000)
    onnx(["slim"] if options.small else MODELS, (64, 32) if options.small else (256, 128), options.rounds)


if __name__ == "__main__":
    main()
