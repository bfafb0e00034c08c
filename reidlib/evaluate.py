"""score(): CMC, mAP and mINP of a set of queries against a gallery, exact, in little memory, and ranked lists on demand."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch

from .counting import Cosine, Rule, count
from .statistics import bootstrap, per_query

# Which gallery images a query ignores besides junk: Market-1501's rule (Zheng et al. 2015), and the way out for data
# of a single camera.
SAME_CAMERA = {
    "ignore": lambda q_pid, q_cam, g_pid, g_cam: (q_pid == g_pid) & (q_cam == g_cam),
    "keep": lambda q_pid, q_cam, g_pid, g_cam: np.zeros(g_pid.shape, bool),
}
SAVED = ("ap", "ap_trapezoid", "inp", "first_match", "matches", "pids", "camids", "reranked", "ties")


@dataclass(frozen=True)
class Ranking:
    """The head of one query's list, best first; each field is (k,)."""

    index: np.ndarray  # int64, into the gallery
    similarity: np.ndarray  # float32: cosine, or 1 - re-ranked distance
    match: np.ndarray  # bool
    ignored: np.ndarray  # bool


@dataclass(repr=False, eq=False)
class Scores:
    """Results of `score`: one value a query, and their means over the queries that have a match. Fractions, not percent."""

    ap: np.ndarray  # (Q,) float64, by steps; NaN without a match
    ap_trapezoid: np.ndarray  # (Q,) as the Market-1501 MATLAB code
    inp: np.ndarray  # (Q,) matches / rank of the last one
    first_match: np.ndarray  # (Q,) int64, 1-based; -1 without a match
    matches: np.ndarray  # (Q,) int64
    pids: np.ndarray  # (Q,) of the queries
    camids: np.ndarray  # (Q,)
    counts: dict[str, int]
    reranked: bool
    ties: str
    query: object = None  # Shots; None, as all below, when loaded from a file
    gallery: object = None
    q: torch.Tensor | None = None
    g: torch.Tensor | None = None
    source: object = field(default=None)  # where similarities come from
    rule: Rule | None = None

    valid = property(lambda self: self.matches > 0)
    num_valid = property(lambda self: int(self.valid.sum()))
    num_invalid = property(lambda self: int((~self.valid).sum()))
    mAP = property(lambda self: float(self.ap[self.valid].mean()))
    mAP_trapezoid = property(lambda self: float(self.ap_trapezoid[self.valid].mean()))
    mINP = property(lambda self: float(self.inp[self.valid].mean()))

    @property
    def cmc(self) -> np.ndarray:
        """(K,) share of valid queries with a match among the first k, k = 1..K, K the gallery without junk."""
        found = np.bincount(self.first_match[self.valid] - 1, minlength=self.counts["gallery"] - self.counts["junk"])
        return found.cumsum() / self.num_valid

    def rank(self, k: int) -> float:
        """Share of valid queries with a match among the first k."""
        if k < 1:
            raise ValueError(f"rank({k}): ranks begin at 1")
        return float((self.first_match[self.valid] <= k).mean())

    def interval(self, name: str = "mAP", level: float = 0.95, repeats: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Bootstrap interval over the valid queries of "mAP", "mINP" or "rank-k"."""
        return bootstrap(self.values(name)[self.valid], level, repeats, seed)

    def values(self, name: str) -> np.ndarray:
        """What "mAP", "mAP_trapezoid", "mINP" or "rank-k" is the mean of: (Q,) float64, NaN without a match."""
        known = {"mAP": self.ap, "mAP_trapezoid": self.ap_trapezoid, "mINP": self.inp}
        if name in known:
            return known[name]
        if not (name.startswith("rank-") and name[5:].isdigit() and int(name[5:])):
            raise ValueError(f"no score {name!r}; choose one of {', '.join(known)}, rank-1, rank-5, ...")
        return np.where(self.valid, self.first_match <= int(name[5:]), np.nan)

    def __repr__(self) -> str:
        ranks = "".join(f"rank-{k} {100 * self.rank(k):.1f}  " for k in (1, 5, 10))
        return (
            f"{ranks}mAP {100 * self.mAP:.1f}  mINP {100 * self.mINP:.1f}  ({len(self.ap)} queries, "
            f"{self.num_invalid} without match, re-ranking {'on' if self.reranked else 'off'})"
        )

    def ranking(self, i: int, k: int = 20, ignored: bool = False) -> Ranking:
        """The first k gallery images for query i in the order that was scored; ignored ones too if asked for."""
        if self.source is None:
            raise ValueError("these scores come from a file, without embeddings: call score() again to rank a query")
        if not 0 <= i < len(self.ap):
            raise IndexError(f"no query {i}: there are {len(self.ap)}, numbered from 0")
        j = np.arange(len(self.gallery))
        hidden = self.rule.ignored(i, j)
        near = self.source.tile(slice(i, i + 1), slice(0, len(j)))[0].cpu().numpy()
        if not ignored:
            j = j[~hidden]
        k = min(k, len(j))
        if k < len(j):  # whoever can be among the first k
            j = j[near[j] >= np.partition(near[j], -k)[-k] - 2 * self.source.error]
        exact, hidden = self.source.exact(np.full_like(j, i), j), hidden[j]
        match = self.rule.g_pid[j] == self.rule.q_pid[i]
        behind = match & ~hidden if self.ties == "pessimistic" else ~match
        order = np.lexsort((j, behind, -exact))[:k]
        return Ranking(j[order], exact[order].astype(np.float32), (match & ~hidden)[order], hidden[order])

    def save(self, path: str | os.PathLike) -> Path:
        """Write the per-query values and the counts to `path` (.npz); `Scores.load` brings them back."""
        path = Path(path)
        scratch = path.with_name(f".{os.getpid()}-{path.name}")
        with open(scratch, "wb") as file:
            np.savez_compressed(file, **{name: getattr(self, name) for name in SAVED}, **self.counts)
        os.replace(scratch, path)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scores":
        """Scores as saved: all numbers and intervals, but no images and no ranked lists."""
        with np.load(path) as file:
            saved = {name: file[name] if file[name].ndim else file[name].item() for name in file.files}
        return cls(**{name: saved.pop(name) for name in SAVED}, counts=saved)


def score(
    q: torch.Tensor,
    g: torch.Tensor,
    query,
    gallery,
    *,
    same_camera: str = "ignore",
    ties: str = "pessimistic",
    rerank: Callable | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    memory: int = 2**26,
) -> Scores:
    """Score query features q (Q, D) against gallery features g (G, D) by cosine similarity, of whatever length they are.

    A gallery image with the query's pid is a match, unless it is of the same camera (`same_camera="keep"` lets those
    match too); junk (pid -1) is ignored, distractors are wrong answers. `rerank` is `reidlib.rerank` or a function
    like it. The product runs in `dtype` (the features' own) on `device` (where g is) in `memory` bytes; none of them
    changes the result: what comes too close to a match is computed again in float64. Wrong answers exactly as similar
    as a match stand ahead of it (`ties="pessimistic"`) or behind. Queries without a match are counted and left out of
    every mean. Raises ValueError on anything that cannot be scored, naming the first offender. Protocol: Zheng et al.,
    "Scalable Person Re-identification" (ICCV 2015).
    """
    choose("same_camera", same_camera, SAME_CAMERA)
    choose("ties", ties, ("pessimistic", "optimistic"))
    q, g = (torch.as_tensor(x).detach() for x in (q, g))
    check_features(q, g, query, gallery)
    check_shots(query, gallery)
    device = device or g.device
    q, g = q.to(device), g.to(device)
    rule = Rule(query, gallery, SAME_CAMERA[same_camera])
    i, j = rule.same(slice(0, len(query)))
    ignored = rule.ignored(i, j)
    if ignored.all():
        raise ValueError(why_no_match(query, gallery, len(i)))
    keep = rule.g_pid != -1
    source = rerank(q, g, keep=keep) if rerank else Cosine(q, g, dtype)
    values = per_query(*count(source, rule, ties, memory), len(query))
    counts = dict(
        queries=len(query),
        valid=int((values["matches"] > 0).sum()),
        gallery=len(gallery),
        junk=int((~keep).sum()),
        distractors=0 if (query.pids == 0).any() else int((gallery.pids == 0).sum()),
        matches=int((~ignored).sum()),
        same_camera=int(ignored.sum()),
    )
    return Scores(
        **values, pids=query.pids, camids=query.camids, counts=counts, reranked=rerank is not None, ties=ties,
        query=query, gallery=gallery, q=q, g=g, source=source, rule=rule,
    )  # fmt: skip


def choose(name: str, value: str, known) -> None:
    if value not in known:
        raise ValueError(f"no {name} {value!r}; choose one of {', '.join(known)}")


def why_no_match(query, gallery, same: int) -> str:
    head = f"none of the {len(query)} queries has a match in the gallery"
    if not same:
        return f"{head}: they share no identity (query pid {query.pids[0]} ..., gallery pid {gallery.pids[0]} ...)"
    return (
        f"{head} under another camera: each of the {same} images of the same person is from the query's own camera "
        'and is ignored. For data of a single camera pass same_camera="keep"'
    )


def check_features(q: torch.Tensor, g: torch.Tensor, query, gallery) -> None:
    for name, x, shots in (("query", q, query), ("gallery", g, gallery)):
        if x.ndim != 2 or not x.is_floating_point():
            raise ValueError(f"{name} features must be a floating-point (N, D) tensor, not {x.dtype} {tuple(x.shape)}")
        if len(x) != len(shots):
            raise ValueError(f"{len(x)} {name} features for {len(shots)} {name} images: one row an image is needed")
        if not len(x):
            raise ValueError(f"the {name} is empty: nothing to score")
        length = torch.linalg.vector_norm(x, dim=1, dtype=torch.float32)
        if not bool((good := (length > 0) & length.isfinite()).all()):
            i = int((~good).nonzero()[0, 0])
            wrong = "is all zeros" if length[i] == 0 else "holds NaN or infinity"
            raise ValueError(f"the feature of {name} image {i} ({shots.paths[i]}) {wrong}: check the model that made it")
    if q.shape[1] != g.shape[1]:
        raise ValueError(f"query features have {q.shape[1]} numbers, gallery features {g.shape[1]}: one model makes both")
    if len(g) > 1 and bool((g == g[0]).all()):
        raise ValueError(f"all {len(g)} gallery features are the same: the model that made them has collapsed")


def check_shots(query, gallery) -> None:
    for name, shots in (("query", query), ("gallery", gallery)):
        for kind in ("pids", "camids"):
            check_labels(f"{name} {kind}", getattr(shots, kind), shots.paths)
    if len(junk := np.flatnonzero(query.pids == -1)):
        raise ValueError(f"query {junk[0]} ({query.paths[junk[0]]}) has pid -1, which marks junk: leave it out")
    where = {f"{gallery.root}/{path}": j for j, path in enumerate(gallery.paths)}
    for i, path in enumerate(query.paths):
        if (j := where.get(f"{query.root}/{path}")) is not None:
            raise ValueError(f"query {i} and gallery image {j} are one file, {path}: take it out of one of them")


def check_labels(name: str, labels: np.ndarray, paths: np.ndarray) -> None:
    labels = np.asarray(labels)
    if len(labels) != len(paths):
        raise ValueError(f"{len(labels)} {name} for {len(paths)} images")
    for i, label in enumerate(labels.tolist() if labels.dtype.kind not in "i" else []):
        if not isinstance(label, int):
            raise ValueError(
                f"{name} must be whole numbers, but image {i} ({paths[i]}) has {label!r}: number them, for example "
                "with np.unique(names, return_inverse=True) over query and gallery together"
            )
        if abs(label) >= 2**63:
            raise ValueError(f"{name}: {label} of image {i} ({paths[i]}) does not fit into 64 bits: number them from 1")
