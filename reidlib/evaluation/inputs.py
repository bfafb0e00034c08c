"""What score() refuses, each with the first offender by name."""

import numpy as np
import torch

from reidlib.evaluation.cosine import lengths


def check_features(q: torch.Tensor, g: torch.Tensor, query, gallery) -> None:
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


def check_shots(query, gallery) -> None:
    for name, shots in (("query", query), ("gallery", gallery)):
        for kind in ("pids", "camids"):
            check_labels(f"{name} {kind}", getattr(shots, kind), shots.paths)
    if len(junk := np.flatnonzero(query.pids == -1)):
        raise ValueError(f"query {junk[0]} ({query.paths[junk[0]]}) has pid -1, which marks junk: leave it out")
    seen = set(files(gallery))
    for i, path in enumerate(files(query)):
        if path in seen:
            j = files(gallery).index(path)
            raise ValueError(f"query {i} and gallery image {j} are one file, {path}: take it out of one of them")


def files(shots) -> list[str]:
    root = f"{shots.root}/"
    return [root + path for path in shots.paths.tolist()]


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
