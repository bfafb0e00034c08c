"""What benchmarks/evaluate.py compares: reidlib, the bare product, what everybody writes first, and installed peers.

Each contender takes (q, g, query, gallery) and returns (mAP, rank-1), or the re-ranked distances.
"""

import importlib
import time
import warnings
from functools import partial

import numpy as np
import torch

from reidlib.evaluation import cosine
from reidlib.evaluation.reranking import rerank
from reidlib.evaluation.score import score


def bare(q, g, query, gallery):
    for top in range(0, len(q), 512):
        q[top : top + 512].numpy() @ g.numpy().T


def ours(q, g, query, gallery, **options):
    s = score(q, g, query, gallery, **options)
    return s.mAP, s.rank(1)


def argsorted(q, g, query, gallery):
    """The evaluator that everybody writes first: all similarities, one sort a query."""
    similarity = q.numpy() @ g.numpy().T
    ap, first = [], []
    for row, pid, cam in zip(similarity, query.pids, query.camids):
        order = np.argsort(-row)
        order = order[(gallery.pids[order] != -1) & ~((gallery.pids[order] == pid) & (gallery.camids[order] == cam))]
        rank = np.flatnonzero(gallery.pids[order] == pid) + 1
        ap.append(np.mean(np.arange(1, len(rank) + 1) / rank))
        first.append(rank[0])
    return np.mean(ap), np.mean(np.array(first) == 1)


def peer(evaluate, q, g, query, gallery):
    """A peer's evaluator of a distance matrix; none of them knows junk, so it is taken out before."""
    keep = gallery.pids != -1
    distance = 1 - q.numpy() @ g.numpy()[keep].T
    cmc, mean_ap = evaluate(distance, query.pids, gallery.pids[keep], query.camids, gallery.camids[keep])
    return mean_ap, cmc[0]


def cython(evaluate, *inputs):
    cmc, ap, _ = evaluate(*inputs, 50, False)
    return cmc, np.mean(ap)


def peers():
    """The peers that import here, by name.

    torchreid's package on PyPI has the Python evaluator alone. fastreid's cannot be imported since Python 3.10, but
    its Cython file can be built by hand; then put its folder on PYTHONPATH.
    """
    found = {}
    for name, module, function in (
        ("torchreid", "torchreid.reid.metrics.rank", lambda m: partial(m.evaluate_rank, use_cython=False)),
        ("fast-reid, Cython", "rank_cy", lambda m: partial(cython, m.evaluate_cy)),
    ):
        try:
            with warnings.catch_warnings(action="ignore"):
                found[name] = partial(peer, function(importlib.import_module(module)))
        except ImportError as error:
            print(f"{name}: left out ({error})")
    return found


def timed_product(run):
    """The same contender, and the seconds that it spends in matrix products, as an attribute of it."""

    def wrapped(*inputs):
        wrapped.seconds, plain = 0.0, cosine.product

        def product(*pair):
            start = time.perf_counter()
            result = plain(*pair)
            wrapped.seconds += time.perf_counter() - start
            return result

        cosine.product = product
        try:
            start = time.perf_counter()
            result = run(*inputs)
            wrapped.ranking = min(getattr(wrapped, "ranking", np.inf), time.perf_counter() - start - wrapped.seconds)
        finally:
            cosine.product = plain
        return result

    return wrapped


def dense_rerank(q, g, k1=20, k2=6, lam=0.3):
    """k-reciprocal re-ranking with full matrices, as the paper has it: distances (Q, G)."""
    x = torch.cat([q, g]).numpy()
    distance = 2 - 2 * (x @ x.T)
    distance /= distance.max(1, keepdims=True)
    order, n = np.argsort(distance, axis=1), len(x)

    def mutual(i, k):
        ahead = order[i, : k + 1]
        return ahead[(order[ahead, : k + 1] == i).any(1)]

    weights = np.zeros((n, n), np.float32)
    for i in range(n):
        near = mutual(i, k1)
        grown = [near]
        for c in near:
            more = mutual(c, round(k1 / 2))
            if len(np.intersect1d(more, near)) > 2 / 3 * len(more):
                grown.append(more)
        grown = np.unique(np.concatenate(grown))
        weight = np.exp(-distance[i, grown])
        weights[i, grown] = weight / weight.sum()
    weights = np.stack([weights[order[i, :k2]].mean(0) for i in range(n)])
    jaccard = np.empty((len(q), len(g)), np.float32)
    for i in range(len(q)):
        minima = np.minimum(weights[i], weights[len(q) :]).sum(1)
        jaccard[i] = 1 - minima / (2 - minima)
    return (1 - lam) * jaccard + lam * distance[: len(q), len(q) :]


def sparse_distances(q, g, *_):
    source = rerank(q, g)
    return 1 - source.tile(slice(0, len(q)), slice(0, len(g))).numpy()


def dense_distances(q, g, *_):
    return dense_rerank(q, g)
