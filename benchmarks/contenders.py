"""What benchmarks/evaluate.py compares: reidlib, the bare product, what everybody writes first, and installed peers.

Each contender takes (q, g, query, gallery) and returns (mAP, rank-1), or the re-ranked distances.
"""

import importlib
import os
import subprocess
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reidlib.evaluation import sysu
from reidlib.evaluation.reranking import rerank
from reidlib.evaluation.score import score
from reidlib.evaluation.sysu_trials import drawn
from reidlib.provenance import environment

BLOCK = 512  # queries in a block
WIDE = 2**14  # gallery images in a block of the bare product


def kept(g, gallery):
    """The gallery without junk, which every contender leaves out: features, and arrays of pids and camids."""
    keep = np.flatnonzero(gallery.pids != -1)
    whole = len(keep) == keep[-1] - keep[0] + 1  # then a view will do
    return g[keep[0] : keep[-1] + 1] if whole else g[keep], gallery.pids[keep], gallery.camids[keep]


def numpy_product(q, g, query, gallery):
    g = kept(g, gallery)[0].numpy()
    for top in range(0, len(q), BLOCK):
        for left in range(0, len(g), WIDE):
            q[top : top + BLOCK].numpy() @ g[left : left + WIDE].T


def torch_product(q, g, query, gallery):
    g = kept(g, gallery)[0]
    for top in range(0, len(q), BLOCK):
        for left in range(0, len(g), WIDE):
            q[top : top + BLOCK] @ g[left : left + WIDE].T


def ten_lines(q, g, query, gallery):
    """The strongest simple evaluator: one sort a query, and a search in it; it has no rule for ties."""
    g, pids, camids = kept(g, gallery)
    return ten_lines_of(lambda top: q[top : top + BLOCK].numpy() @ g.numpy().T, query, pids, camids)


def ten_lines_of(block, query, pids, camids):
    ap, first = [], []
    for top in range(0, len(query), BLOCK):
        for row, pid, cam in zip(block(top), query.pids[top:], query.camids[top:]):
            same = pids == pid
            wrong, matches = np.sort(row[~same]), np.sort(row[same & (camids != cam)])[::-1]
            hit = np.arange(1, len(matches) + 1)
            rank = hit + len(wrong) - np.searchsorted(wrong, matches)
            ap.append(np.mean(hit / rank))
            first.append(rank[0])
    return np.mean(ap), np.mean(np.array(first) == 1)


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


def sysu_product(q, g, query, gallery):
    """All probes and all visible images, in float64 as sysu.score has them: across spectra, cosines are all alike."""
    g = g.double()
    for rows in q.split(BLOCK):
        rows.double() @ g.T


def sysu_ours(q, g, query, gallery):
    s = sysu.score(q, g, query, gallery, draw=sysu.seeded(0))
    return s.mAP, s.rank(1)


def sysu_ten_lines(q, g, query, gallery):
    """Ten trials by one sort a probe and trial: mAP, and the share of probes whose first person is the right one."""
    x, ap, first = q.double().numpy() @ g.double().numpy().T, [], []
    places = np.array([0, 1, 2, 2, 4, 5, 6])
    for trial in range(10):
        j = drawn(gallery, (1, 2, 4, 5), 1, sysu.seeded(0), trial)
        pids, place = gallery.pids[j], places[gallery.camids[j]]
        for row, pid, here in zip(x[:, j], query.pids, places[query.camids]):
            same, seen = pids == pid, place != here
            wrong, matches = np.sort(row[~same & seen]), np.sort(row[same & seen])[::-1]
            hit = np.arange(1, len(matches) + 1)
            rank = hit + len(wrong) - np.searchsorted(wrong, matches)
            ap.append(np.mean(hit / rank))
            first.append(rank[0])  # the first image is of the right person just if the first person is
    return np.mean(ap), np.mean(np.array(first) == 1)


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


def machine(*paths):
    """One line: what printed a table, and how busy the machine was before.

    The commit is the last that changed `paths`, with "+" if they are changed now.
    """
    root = Path(__file__).parents[1]

    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    here, commit = environment(), git("log", "-1", "--format=%h", "--", *paths)
    commit += "+" if git("status", "--porcelain", "--", *paths) else ""
    return (
        f"{here['device']}, {here['cores']} cores, {torch.get_num_threads()} threads, Python {here['python']}, "
        f"NumPy {np.__version__}, torch {here['torch']}, commit {commit}, "
        f"load {os.getloadavg()[0]:.1f} before"
    )
