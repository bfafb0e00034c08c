"""The protocol of SYSU-MM01: infrared probes, a gallery drawn anew in each of ten trials, and the rule of one place.

Source: Wu et al., "RGB-Infrared Cross-Modality Person Re-Identification" (ICCV 2017), and its authors' MATLAB code.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch

from reidlib.evaluation.counting import Rule, count
from reidlib.evaluation.distinct import Nearest, people
from reidlib.evaluation.draws import Official, Seeded, found, official, seeded, take
from reidlib.evaluation.inputs import check_features, check_shots, choose
from reidlib.evaluation.score import Scores
from reidlib.evaluation.statistics import per_query
from reidlib.evaluation.trials import Drawn, SysuScores, Table

__all__ = ["SysuScores", "official", "score", "seeded"]

PROBES = (3, 6)  # infrared
GALLERIES = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOTS = {"single": 1, "multi": 10}  # images of each camera and identity
PLACES = np.array([0, 1, 2, 2, 4, 5, 6])  # of cameras 1 to 6: 2 and 3 stand in one room; 0 is no place
SIZES = {"all": 301, "indoor": 112}  # pairs of camera and identity in the real gallery: images of a single-shot one
REAL_PROBES = 3803


def same_place(q_pid, q_cam, g_pid, g_cam) -> np.ndarray:
    """What a probe ignores: all images of its own place, of any identity (Market's rule: of its own identity only)."""
    return PLACES[q_cam] == PLACES[g_cam]


def score(
    q: torch.Tensor,
    g: torch.Tensor,
    query,
    gallery,
    *,
    search: str = "all",
    shot: str = "single",
    trials: int = 10,
    draw: Official | Seeded | None = None,
    rerank: Callable | None = None,
    device: torch.device | str | None = None,
) -> SysuScores:
    """Score infrared features q (Q, D) against visible features g (G, D) by cosine similarity, as on SYSU-MM01.

    Each trial draws from the gallery one ("single") or ten ("multi") images of each identity in each camera, of
    cameras 1, 2, 4, 5 ("all") or 1, 2 ("indoor"). A probe ignores every image of its own place (cameras 2 and 3 are
    one). `draw` is `official(folder)` or `seeded(seed)`; None takes the official file where the gallery's folder has
    it in exp, else seed 0, and the scores say which. `rerank` is `reidlib.rerank` or a function like it, applied to
    each trial. The similarities of all probes are held at once: 100 MB for SYSU-MM01. Wrong answers exactly as similar
    as a match stand ahead of it. ValueError for features or labels that do not fit and probes without any match.
    """
    choose("search", search, GALLERIES)
    choose("shot", shot, SHOTS)
    if trials < 1:
        raise ValueError(f"trials={trials}: at least one is needed; published numbers are means over 10")
    q, g = (torch.as_tensor(x).detach() for x in (q, g))
    check_features(q, g, query, gallery)
    check_shots(query, gallery)
    _check_labels(query, gallery)
    draw = found(gallery.root) if draw is None else draw
    if not hasattr(draw, "order"):
        raise ValueError(f"draw={draw!r}: pass sysu.official(folder), sysu.seeded(seed) or nothing")
    columns = np.stack([take(gallery, GALLERIES[search], SHOTS[shot], draw, t) for t in range(trials)])
    q, g = (x.to(device or g.device) for x in (q, g))
    if rerank:
        sources = (rerank(q, g[torch.from_numpy(drawn).to(g.device)]) for drawn in columns)
    else:
        table = Table(q, g, np.unique(columns))
        sources = (Drawn(table, drawn) for drawn in columns)
    runs = [_run(source, query, gallery[j], bool(rerank)) for source, j in zip(sources, columns, strict=True)]
    if not runs[0].num_valid:
        raise ValueError(
            f"none of the {len(query)} probes has a match in the {search}-search gallery outside its own place: "
            "check the pids and camids of query and gallery"
        )
    counts = dict(probes=len(query), gallery=columns.shape[1], people=len(np.unique(gallery.pids[columns[0]])))
    _warn_of_sizes(gallery.name, counts, SHOTS[shot] * SIZES[search])
    return SysuScores(search, shot, draw.name, rerank is not None, runs, counts, query, gallery, columns, q, g)


def _check_labels(query, gallery) -> None:
    visible = GALLERIES["all"]
    for part, shots, cameras in (("query", query, PROBES), ("gallery", gallery, visible)):
        wrong = np.flatnonzero(~np.isin(shots.camids, cameras))
        if len(wrong):
            i = wrong[0]
            raise ValueError(
                f"{part} image {i} ({shots.paths[i]}) is of camera {shots.camids[i]}: SYSU-MM01 searches infrared "
                f"images (cameras {PROBES}) among visible ones (cameras {visible}); for other data use rl.score"
            )
        if len(wrong := np.flatnonzero(shots.pids < 1)):
            i = wrong[0]
            raise ValueError(f"{part} image {i} ({shots.paths[i]}) has pid {shots.pids[i]}: count identities from 1")


def _run(source, query, gallery, reranked: bool) -> Scores:
    """One trial: AP and INP of images, and the rank of the right person among distinct people."""
    rule = Rule(query, gallery, same_place)
    i, j = rule.same(slice(0, len(query)))
    ignored = int(rule.ignored(i, j).sum())
    values = per_query(*count(source, rule), len(query))
    distinct = Rule(query, people(gallery, PLACES), same_place)
    values["first_match"] = per_query(*count(Nearest(source, rule), distinct), len(query))["first_match"]
    counts = dict(queries=len(query), valid=int((values["matches"] > 0).sum()), gallery=len(gallery), junk=0)
    counts |= dict(distractors=0, matches=len(i) - ignored, same_camera=ignored)
    return Scores(
        **values, pids=query.pids, camids=query.camids, counts=counts, reranked=reranked, ties="pessimistic",
        gallery=gallery, source=source if reranked else None, rule=rule,
    )  # fmt: skip


def _warn_of_sizes(name: str, counts: dict[str, int], images: int) -> None:
    if name.startswith("sysu/") and (counts["probes"], counts["gallery"]) != (REAL_PROBES, images):
        warnings.warn(
            f"{counts['probes']:,} probes and {counts['gallery']:,} gallery images a trial, in SYSU-MM01 they are "
            f"{REAL_PROBES:,} and {images:,}: an incomplete copy or a part of it; these scores cannot be compared",
            stacklevel=3,
        )


SYSU = ("sysu", "toy-sysu")  # tested by the protocol of SYSU-MM01, in four ways


def refuse_sysu(name: str) -> None:
    """Raise ValueError for SYSU-MM01, real or drawn, with what to take instead."""
    if name in SYSU:
        raise ValueError(
            f"{name}: infrared queries are tested by a protocol of their own, in four ways: take rl.measure_all or "
            "rl.sysu.score, and notebook 07_rgb_infrared in place of 04 and 05"
        )
