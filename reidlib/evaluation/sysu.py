"""The protocol of SYSU-MM01: infrared probes, a gallery drawn anew in each of ten trials, and the rule of one place."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch

from reidlib.data.layouts import joined_names
from reidlib.data.shots import Shots
from reidlib.evaluation.cosine import Cosine
from reidlib.evaluation.counting import ROWS, Rule, Similarity, count, ragged
from reidlib.evaluation.score import check_features, check_shots, choose
from reidlib.evaluation.scores import Scores, per_query
from reidlib.evaluation.sysu_trials import FILE, Draw, SysuScores, drawn, official, people, same_place, seeded

SYSU = ("sysu", "toy-sysu")  # data sets that are tested by this protocol
PROBES = (3, 6)  # infrared cameras
GALLERIES = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOTS = {"single": 1, "multi": 10}  # images of each camera and identity
SIZES = {"all": 301, "indoor": 112}  # pairs of camera and identity in the real gallery: images of a single-shot one
REAL_PROBES = 3803
LOWEST = -1.25  # below every similarity


def is_sysu(name: str) -> bool:
    """Whether a data set is SYSU-MM01, real or drawn, in any world."""
    return name.partition(":")[0] in SYSU


def refuse_sysu(name: str) -> None:
    """Raise ValueError for SYSU-MM01, real or drawn, also as a part of "market+sysu", and say what to call instead."""
    if any(map(is_sysu, joined_names(name))):
        raise ValueError(f"{name}: SYSU-MM01 is tested by its own protocol, call rl.measure_all or rl.sysu.score")


def score(
    q: torch.Tensor, g: torch.Tensor, query: Shots, gallery: Shots, *,
    search: str = "all", shot: str = "single", trials: int = 10, draw: Draw | None = None,
    rerank: Callable[..., Similarity] | None = None, device: torch.device | str | None = None,
) -> SysuScores:  # fmt: skip
    """Score infrared queries against visible gallery images by cosine similarity, as on SYSU-MM01.

    Each trial draws its gallery anew. A probe ignores every image of its own place (cameras 2 and 3 share one). Wrong
    answers exactly as similar as a match rank ahead of it. The similarities of all probes are held at once: 100 MB for
    SYSU-MM01. ValueError if features or labels do not fit, or if no probe has a match. Source: Wu et al., "RGB-Infrared
    Cross-Modality Person Re-Identification" (ICCV 2017), and its authors' MATLAB code.

    Parameters
    ----------
    q, g : floating point (Q, D) and (G, D), features of the infrared and of all visible test images, of any length
    query, gallery : Shots of cameras 3 and 6, and of cameras 1, 2, 4 and 5; pids count from 1
    search : "all" or "indoor", the gallery's cameras: 1, 2, 4, 5 or 1, 2
    shot : "single" or "multi", to draw one or ten images of each identity in each camera
    trials : int, galleries to draw; published numbers are means over 10
    draw : `official(folder)` or `seeded(seed)`; default: the official file in the gallery's folder, if any, or seed 0
    rerank : `reidlib.rerank` or a function like it, applied to each trial (see `reidlib.score`)
    device : where similarities are computed; default: where g is
    """
    choose("search", search, GALLERIES)
    choose("shot", shot, SHOTS)
    if trials < 1:
        raise ValueError(f"trials={trials}: at least one is needed; published numbers are means over 10")
    q, g = (torch.as_tensor(x).detach() for x in (q, g))
    check_features(q, g, query, gallery)
    check_shots(query, gallery)
    for part, shots, cameras in (("query", query, PROBES), ("gallery", gallery, GALLERIES["all"])):
        for i in np.flatnonzero(~np.isin(shots.camids, cameras)):
            raise ValueError(
                f"{part} image {i} ({shots.paths[i]}) is of camera {shots.camids[i]}: SYSU-MM01 searches infrared "
                f"images (cameras {PROBES}) among visible ones (cameras {GALLERIES['all']}); rl.score takes other data"
            )
    if draw is None:
        draw = official(gallery.root) if (gallery.root / "exp" / FILE).is_file() else seeded()
    if not hasattr(draw, "order"):
        raise ValueError(f"draw={draw!r}: pass sysu.official(folder), sysu.seeded(seed) or nothing")
    columns = np.stack([drawn(gallery, GALLERIES[search], SHOTS[shot], draw, t) for t in range(trials)])
    q, g = (x.to(device or g.device) for x in (q, g))
    sources = [rerank(q, g[torch.from_numpy(j).to(g.device)]) for j in columns] if rerank else []
    each = zip(sources or _drawn(q, g, columns), columns)
    runs = [_run(source, query, gallery[j], bool(rerank)) for source, j in each]
    if not runs[0].num_valid:
        raise ValueError(f"none of the {len(query)} probes has a match in the {search}-search gallery of other places")
    counts = dict(probes=len(query), gallery=columns.shape[1], people=len(np.unique(gallery.pids[columns[0]])))
    images = SHOTS[shot] * SIZES[search]
    if gallery.name.startswith("sysu/") and (len(query), columns.shape[1]) != (REAL_PROBES, images):
        warnings.warn(
            f"{len(query):,} probes and {columns.shape[1]:,} gallery images a trial, in SYSU-MM01 they are "
            f"{REAL_PROBES:,} and {images:,}: an incomplete copy or a part of it; these scores cannot be compared",
            stacklevel=2,
        )
    return SysuScores(search, shot, draw.name, runs, counts, query, gallery, columns, q, g, sources)


def _run(source: Similarity, query: Shots, gallery: Shots, reranked: bool) -> Scores:
    """One trial: AP and INP of images, and the rank of the right person among distinct people."""
    rule = Rule(query, gallery, same_place)
    values = per_query(*count(source, rule), len(query))
    by_person = count(Nearest(source, rule), Rule(query, people(gallery), same_place))
    values["first_match"] = per_query(*by_person, len(query))["first_match"]
    return Scores(
        **values, pids=query.pids, camids=query.camids, counts=rule.counts(), reranked=reranked, ties="pessimistic",
        same_camera="ignore", compared=None,
    )  # fmt: skip


def _drawn(q: torch.Tensor, g: torch.Tensor, columns: np.ndarray) -> Iterator["Drawn"]:
    """Cosine similarities of each trial, from one product that is held as (Q, U) float32."""
    used = np.unique(columns)
    cosine = Cosine(q, g[torch.from_numpy(used).to(g.device)])
    # Across spectra all similarities are nearly equal: a product in float32 would leave too much to `exact`.
    unit_q, unit_g = (torch.nn.functional.normalize(x.double()) for x in (cosine.q, cosine.g))
    values = torch.cat([(rows @ unit_g.T).float() for rows in unit_q.split(ROWS)])
    for trial in columns:
        yield Drawn(values, cosine, np.searchsorted(used, trial))


class Drawn:
    """The similarities of the images that a trial draws: columns (n,) of `values` (Q, U) and of `cosine`."""

    error = 2.0**-23  # a similarity rounded to float32, and much less from the product

    def __init__(self, values: torch.Tensor, cosine: Cosine, columns: np.ndarray) -> None:
        self.cosine, self.columns = cosine, columns
        self.values = values[:, torch.from_numpy(columns).to(values.device)]

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        return self.values[rows, cols]

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self.cosine.near(i, self.columns[j])

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self.cosine.exact(i, self.columns[j])


class Nearest:
    """Similarities of queries and people: that of the person's nearest image that the query does not ignore.

    The gallery is that of `people`, in its order; `source` and `rule` are those of the images.
    """

    def __init__(self, source: Similarity, rule: Rule) -> None:
        self.source, self.rule, self.error = source, rule, source.error
        self.ends = np.append(np.unique(rule.sorted, return_index=True)[1], len(rule.order))  # of people in rule.order

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        ends = self.ends[cols.start : cols.stop + 1]
        j = self.rule.order[ends[0] : ends[-1]]
        tile = self.source.tile(rows, slice(0, len(self.rule.order))).cpu().numpy()[:, j]
        tile[self.rule.ignored(np.arange(rows.start, rows.stop)[:, None], j)] = LOWEST
        return torch.from_numpy(np.maximum.reduceat(tile, ends[:-1] - ends[0], axis=1))

    def near(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self._best(self.source.near, i, j)

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self._best(self.source.exact, i, j)

    def _best(self, similarity: Callable[..., np.ndarray], i: np.ndarray, person: np.ndarray) -> np.ndarray:
        which, position = ragged(self.ends[person], self.ends[person + 1])
        i, j = i[which], self.rule.order[position]
        values, keep = np.full(len(i), LOWEST), ~self.rule.ignored(i, j)
        values[keep] = similarity(i[keep], j[keep])
        starts = np.flatnonzero(np.diff(which, prepend=-1))  # every person has an image
        return np.maximum.reduceat(values, starts) if len(starts) else values
