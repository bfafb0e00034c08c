"""score(): CMC, mAP and mINP of queries against a gallery, exact and in little memory; ranked lists on demand."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import Rule, count
from reidlib.evaluation.inputs import check_features, check_shots, choose, why_no_match
from reidlib.evaluation.statistics import bootstrap, per_query

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
    """What `score` found: one value a query, and their means over the queries that have a match, as fractions."""

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
    source: object = None  # where similarities come from: Cosine or Reranked
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

    def interval(
        self, name: str = "mAP", level: float = 0.95, repeats: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
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
            counts = {f"count_{name}": value for name, value in self.counts.items()}
            np.savez_compressed(file, **{name: getattr(self, name) for name in SAVED}, **counts)
        os.replace(scratch, path)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scores":
        """Scores as saved: all numbers and intervals, but no images and no ranked lists."""
        with np.load(path) as file:
            saved = {name: value if value.ndim else value.item() for name, value in file.items()}
        counts = {name.removeprefix("count_"): saved.pop(name) for name in list(saved) if name.startswith("count_")}
        return cls(**saved, counts=counts)


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
    """Score query features q (Q, D) against gallery features g (G, D), of any length, by cosine similarity.

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
