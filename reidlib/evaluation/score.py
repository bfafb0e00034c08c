"""score(): CMC, mAP and mINP of queries against a gallery, exact and in little memory; what it refuses to score."""

import os
from collections.abc import Callable, Iterable

import numpy as np
import torch

from reidlib.data.shots import JUNK, Shots, same_images
from reidlib.evaluation.cosine import Cosine, without_direction
from reidlib.evaluation.counting import Rule, Similarity, count
from reidlib.evaluation.scores import Compared, Scores, per_query

# What a query ignores besides junk: Market-1501's rule (Zheng et al. 2015), and nothing for data of a single camera.
SAME_CAMERA = {
    "ignore": lambda same, q_cam, g_cam: same & (q_cam == g_cam),
    "keep": lambda same, q_cam, g_cam: np.zeros_like(same),
}
UNLABELLED = "Images of unknown identity cannot be scored: embed both sides with rl.embed and compare them by q @ g.T"
# Nobody named a camera: then "keep" may lift a score that only finds pictures of the same moment.
NO_CAMERAS = (
    "no cameras are known (all are 0), so their images are ignored as of their own camera; give camids, in a column "
    "camid or as c1 in file names: rl.load warns where it looked for them"
)


def score(
    q: torch.Tensor, g: torch.Tensor, query: Shots, gallery: Shots, *,
    same_camera: str = "ignore", ties: str = "pessimistic", rerank: Callable[..., Similarity] | None = None,
    dtype: torch.dtype | None = None, device: torch.device | str | None = None, memory: int = 2**26,
) -> Scores:  # fmt: skip
    """Score query features against gallery features by cosine similarity.

    A gallery image with the query's pid is a match unless it is of the same camera; junk (pid -1) is ignored,
    distractors (pid 0) are wrong answers. Queries without a match are counted and left out of every mean. `dtype`,
    `device` and `memory` do not change the result: similarities too close to a match are computed again in float64.
    If query and gallery are the same images in the same order, each is searched for among all others (leave one out).
    ValueError names the first thing that cannot be scored. Protocol: Zheng et al., "Scalable Person Re-identification:
    A Benchmark" (ICCV 2015).

    Parameters
    ----------
    q, g : floating point (Q, D) and (G, D), features of any length
    query, gallery : Shots, or any objects with a length, a `root` and arrays `paths`, `pids` and `camids`
    same_camera : "ignore" or "keep", whether images of the query's person in its own camera are ignored or match too
    ties : "pessimistic" or "optimistic", whether wrong answers exactly as similar as a match rank ahead of or behind it
    rerank : `reidlib.rerank`, or a function (q, g, keep) -> Similarity, where keep (G,) bool leaves out junk
    dtype, device : of the product; default: the features' own, and where g is
    memory : int, bytes for a tile of similarities and what is derived from it

    Examples
    --------
    >>> from pathlib import Path
    >>> query = Shots("query", Path("query"), np.array(["a.jpg", "b.jpg"]), np.array([1, 2]), np.array([1, 1]))
    >>> gallery = Shots("gallery", Path("gallery"), query.paths, query.pids, np.array([2, 2]))
    >>> score(torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[-1.0, 1], [0, 3]]), query, gallery)
    rank-1 50.0  rank-5 100.0  rank-10 100.0  mAP 75.0  mINP 75.0  (2 queries, 0 without match, re-ranking off)

    Each image against the rest, of data without cameras:

    >>> turtles = Shots("turtles", Path("turtles"), np.array(["a", "b", "c"]), np.array([1, 1, 2]), np.array([0, 0, 0]))
    >>> x = torch.tensor([[1.0, 0], [1, 1], [0, 1]])
    >>> score(x, x, turtles, turtles, same_camera="keep").first_match
    array([ 1,  2, -1])
    """
    choose("ties", ties, ("pessimistic", "optimistic"))
    if rerank and not callable(rerank):
        raise ValueError(f"rerank={rerank!r}: give the function, rerank=rl.rerank")
    if rerank and dtype:
        raise ValueError(f"re-ranking chooses its own precision: leave dtype={dtype} out")
    q, g = (torch.as_tensor(x).detach() for x in (q, g))
    check_features(q, g, query, gallery)
    rule, counts = rule_of(query, gallery, same_camera)
    q, g = (x.to(device or g.device) for x in (q, g))
    if rule.own is not None and bool((q == g).all()):
        q = g  # tells re-ranking that there is one set of images
    source = rerank(q, g, keep=rule.g_pid != JUNK) if rerank else Cosine(q, g, dtype)
    values = per_query(*count(source, rule, ties, memory), len(query))
    return Scores(
        **values, pids=query.pids, camids=query.camids, counts=counts, reranked=rerank is not None, ties=ties,
        compared=Compared(query, gallery, q, g, source, rule), same_camera=same_camera,
    )  # fmt: skip


def rule_of(query: Shots, gallery: Shots, same_camera: str = "ignore") -> tuple[Rule, dict[str, int]]:
    """What counts for each query, and how much. ValueError if `score` refuses these images whatever their features."""
    choose("same_camera", same_camera, SAME_CAMERA)
    for name, shots in (("query", query), ("gallery", gallery)):
        if not len(shots):
            raise ValueError(f"the {name} is empty: nothing to score")
    check_shots(query, gallery)
    own = np.arange(len(query)) if same_images(query, gallery) else None
    rule = Rule(query, gallery, SAME_CAMERA[same_camera], own)
    counts = rule.counts()
    if not counts["matches"]:
        why = f"they share no identity (query pid {query.pids[0]} ..., gallery pid {gallery.pids[0]} ...). {UNLABELLED}"
        if ignored := counts["same_camera"]:
            why = (
                f"their {ignored} images are of their own camera and ignored; data of one camera need "
                'same_camera="keep"'
            )
            why = why if query.camids.any() or gallery.camids.any() else NO_CAMERAS
        raise ValueError(f"none of the {len(query)} queries has a match in the gallery: {why}")
    return rule, counts


def choose(name: str, value: str, known: Iterable[str]) -> None:
    """ValueError if `value` is not one of `known`."""
    if value not in known:
        raise ValueError(f"no {name} {value!r}; choose one of {', '.join(known)}")


def check_features(q: torch.Tensor, g: torch.Tensor, query: Shots, gallery: Shots) -> None:
    """ValueError for features that do not fit the images or each other, or have no direction."""
    for name, x, shots in (("query", q, query), ("gallery", g, gallery)):
        if x.ndim != 2 or not x.shape[1] or not x.is_floating_point():
            raise ValueError(f"{name} features must be a floating-point (N, D) tensor, not {x.dtype} {tuple(x.shape)}")
        if len(x) != len(shots):
            raise ValueError(f"{len(x)} {name} features for {len(shots)} {name} images: one row an image is needed")
        if not len(x):
            raise ValueError(f"the {name} is empty: nothing to score")
        if bad := without_direction(x):
            raise ValueError(f"the feature of {name} image {bad[0]} ({shots.paths[bad[0]]}) {bad[1]}: check its model")
    if q.shape[1] != g.shape[1]:
        raise ValueError(f"query features have {q.shape[1]} numbers, gallery features {g.shape[1]}: they must agree")
    if len(g) > 1 and torch.equal(g[0], g[-1]) and bool((g == g[0]).all()):
        raise ValueError(f"all {len(g)} gallery features are the same: the model that made them has collapsed")


def check_shots(query: Shots, gallery: Shots) -> None:
    """ValueError for labels that are no whole numbers, for junk among the queries, and for a query in the gallery."""
    for name, shots in (("query", query), ("gallery", gallery)):
        for kind in ("pids", "camids"):
            labels = np.asarray(getattr(shots, kind))
            if labels.shape != (len(shots),) or not np.can_cast(labels.dtype, np.int64):
                raise ValueError(
                    f"{name} {kind} must be {len(shots)} whole numbers (int64), one an image, not {labels.dtype} "
                    f"{labels.shape}; number names, of query and gallery together, with "
                    "np.unique(names, return_inverse=True)[1] + 1"
                )
    if len(junk := np.flatnonzero(query.pids == JUNK)):
        i = junk[0]
        raise ValueError(f"query {i} ({query.paths[i]}) has pid -1, which marks junk: leave it out. {UNLABELLED}")
    place = {os.path.join(query.root, path): i for i, path in enumerate(query.paths.tolist())}
    twice = (j for j, path in enumerate(gallery.paths.tolist()) if os.path.join(gallery.root, path) in place)
    for j in () if same_images(query, gallery) else twice:
        path = os.path.join(gallery.root, gallery.paths[j])
        raise ValueError(
            f"query {place[path]} and gallery image {j} are one file, {path}: take it out of one of "
            "them, or give the same Shots as query and gallery, to search for each image among all others"
        )
