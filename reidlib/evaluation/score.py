"""score(): CMC, mAP and mINP of queries against a gallery, exact and in little memory; what it refuses to score."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from reidlib.data.shots import DISTRACTOR, JUNK, Shots
from reidlib.evaluation.cosine import Cosine, lengths
from reidlib.evaluation.counting import Rule, Similarity, count
from reidlib.evaluation.scores import Compared, Scores, per_query

# Which gallery images a query ignores besides junk: Market-1501's rule (Zheng et al. 2015), and none for data of a
# single camera.
SAME_CAMERA = {
    "ignore": lambda q_pid, q_cam, g_pid, g_cam: (q_pid == g_pid) & (q_cam == g_cam),
    "keep": lambda q_pid, q_cam, g_pid, g_cam: np.zeros(g_pid.shape, bool),
}


def score(
    q: torch.Tensor,
    g: torch.Tensor,
    query: Shots,
    gallery: Shots,
    *,
    same_camera: str = "ignore",
    ties: str = "pessimistic",
    rerank: Callable[..., Similarity] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    memory: int = 2**26,
) -> Scores:
    """Score query features against gallery features by cosine similarity.

    A gallery image with the query's pid is a match unless it is of the same camera; junk (pid -1) is ignored,
    distractors (pid 0) are wrong answers. Queries without a match are counted and left out of every mean. `dtype`,
    `device` and `memory` do not change the result: similarities too close to a match are computed again in float64.

    Parameters
    ----------
    q, g : Tensor (Q, D) and (G, D), floating point
        Features, of any length.
    query, gallery : Shots
        Their labels: any object with arrays `paths`, `pids` and `camids`, a `root` and a length will do.
    same_camera : {"ignore", "keep"}
        Whether images of the query's person in the query's camera are ignored or match too.
    ties : {"pessimistic", "optimistic"}
        Whether wrong answers exactly as similar as a match rank ahead of it or behind it.
    rerank : callable, optional
        `reidlib.rerank`, or a function (q, g, keep) -> Similarity, where keep (G,) bool leaves out junk.
    dtype : torch.dtype, optional
        What the product runs in; default: the features' own.
    device : optional
        Where the product runs; default: where g is.
    memory : int
        Bytes for a tile of similarities and what is derived from it.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        If something cannot be scored; the message names the first offender.

    References
    ----------
    Zheng et al., "Scalable Person Re-identification: A Benchmark" (ICCV 2015): evaluation protocol.

    Examples
    --------
    >>> from pathlib import Path
    >>> def shots(name, pids, camids):
    ...     paths = np.array([f"{name}/{i}.jpg" for i in range(len(pids))])
    ...     return Shots(name, Path("shop"), paths, np.array(pids), np.array(camids))
    >>> query, gallery = shots("query", [1, 2], [1, 1]), shots("gallery", [1, 2, 0], [2, 2, 3])
    >>> q, g = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[2.0, 1], [1, 1], [0, 3]])
    >>> score(q, g, query, gallery)
    rank-1 50.0  rank-5 100.0  rank-10 100.0  mAP 75.0  mINP 75.0  (2 queries, 0 without match, re-ranking off)
    """
    choose("same_camera", same_camera, SAME_CAMERA)
    choose("ties", ties, ("pessimistic", "optimistic"))
    if rerank and dtype:
        raise ValueError(f"re-ranking chooses its own precision: leave dtype={dtype} out")
    q, g = (torch.as_tensor(x).detach() for x in (q, g))
    check_features(q, g, query, gallery)
    check_shots(query, gallery)
    device = device or g.device
    q, g = q.to(device), g.to(device)
    rule = Rule(query, gallery, SAME_CAMERA[same_camera])
    i, j = rule.same(slice(0, len(query)))
    ignored = rule.ignored(i, j)
    if ignored.all():
        raise ValueError(_why_no_match(query, gallery, len(i)))
    keep = rule.g_pid != JUNK
    source = rerank(q, g, keep=keep) if rerank else Cosine(q, g, dtype)
    values = per_query(*count(source, rule, ties, memory), len(query))
    counts = dict(queries=len(query), valid=int((values["matches"] > 0).sum()), gallery=len(gallery))
    counts |= dict(junk=int((~keep).sum()), distractors=_distractors(rule))
    counts |= dict(matches=int((~ignored).sum()), same_camera=int(ignored.sum()))
    return Scores(
        **values, pids=query.pids, camids=query.camids, counts=counts, reranked=rerank is not None, ties=ties,
        compared=Compared(query, gallery, q, g, source, rule),
    )  # fmt: skip


def _distractors(rule: Rule) -> int:
    """Gallery images of pid 0, unless queries have it too, where it is a person like others."""
    return 0 if (rule.q_pid == DISTRACTOR).any() else int((rule.g_pid == DISTRACTOR).sum())


def choose(name: str, value: str, known: Iterable[str]) -> None:
    """ValueError if `value` is not one of `known`."""
    if value not in known:
        raise ValueError(f"no {name} {value!r}; choose one of {', '.join(known)}")


def check_features(q: torch.Tensor, g: torch.Tensor, query: Shots, gallery: Shots) -> None:
    """ValueError for features that do not fit the images or each other, or have no direction."""
    for name, x, shots in (("query", q, query), ("gallery", g, gallery)):
        if x.ndim != 2 or not x.is_floating_point():
            raise ValueError(f"{name} features must be a floating-point (N, D) tensor, not {x.dtype} {tuple(x.shape)}")
        if len(x) != len(shots):
            raise ValueError(f"{len(x)} {name} features for {len(shots)} {name} images: one row an image is needed")
        if not len(x):
            raise ValueError(f"the {name} is empty: nothing to score")
        length = lengths(x)
        if not bool((good := (length > 0) & length.isfinite()).all()):
            i = int((~good).nonzero()[0, 0])
            wrong = "is all zeros" if length[i] == 0 else "holds NaN or infinity"
            raise ValueError(
                f"the feature of {name} image {i} ({shots.paths[i]}) {wrong}: check the model that made it"
            )
    if q.shape[1] != g.shape[1]:
        raise ValueError(
            f"query features have {q.shape[1]} numbers, gallery features {g.shape[1]}: one model makes both"
        )
    if len(g) > 1 and torch.equal(g[0], g[-1]) and bool((g == g[0]).all()):
        raise ValueError(f"all {len(g)} gallery features are the same: the model that made them has collapsed")


def check_shots(query: Shots, gallery: Shots) -> None:
    """ValueError for labels that are no whole numbers, for junk among the queries, and for a query in the gallery."""
    for name, shots in (("query", query), ("gallery", gallery)):
        for kind, labels in (("pids", np.asarray(shots.pids)), ("camids", np.asarray(shots.camids))):
            if labels.shape != (len(shots),) or not np.can_cast(labels.dtype, np.int64):
                raise ValueError(
                    f"{name} {kind} must be {len(shots)} whole numbers (int64), one an image, not {labels.dtype} "
                    f"{labels.shape}; number names with np.unique(names, return_inverse=True) over query and gallery"
                )
    if len(junk := np.flatnonzero(query.pids == JUNK)):
        raise ValueError(f"query {junk[0]} ({query.paths[junk[0]]}) has pid -1, which marks junk: leave it out")
    position = {path: j for j, path in enumerate(_files(gallery))}
    for i, path in enumerate(_files(query)):
        if path in position:
            raise ValueError(
                f"query {i} and gallery image {position[path]} are one file, {path}: take it out of one of them"
            )


def _files(shots: Shots) -> list[str]:
    root = f"{shots.root}/"
    return [root + path for path in shots.paths.tolist()]


def _why_no_match(query: Shots, gallery: Shots, same: int) -> str:
    head = f"none of the {len(query)} queries has a match in the gallery"
    if not same:
        return f"{head}: they share no identity (query pid {query.pids[0]} ..., gallery pid {gallery.pids[0]} ...)"
    return (
        f"{head} under another camera: each of the {same} images of the same person is from the query's own camera "
        'and is ignored. For data of a single camera pass same_camera="keep"'
    )
