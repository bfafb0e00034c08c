"""Images of nobody known, as a tracker cuts them: which show the same person."""

import numpy as np
from torch import Tensor

from reidlib.evaluation.reranking import rerank


def group(emb: Tensor, radius: float = 0.6, least: int = 4, k1: int = 20, k2: int = 6) -> np.ndarray:
    """Group images by who is on them, without names: the number of each one's group, and -1 where it fits none.

    Two images are near each other if they share k-reciprocal neighbours: Jaccard distances of Zhong et al. (CVPR 2017),
    as `rerank` computes them, sparse. DBSCAN joins what is near; it needs no number of people. Defaults after Ge et
    al., "Self-paced Contrastive Learning" (NeurIPS 2020), section 4.2: a person should have several images. Check the
    result by eye, or by the adjusted Rand index where some names are known: groups are guesses.

    Parameters
    ----------
    emb : floating point (N, D), as from `rl.embed`
    radius : the largest distance of neighbours, between 0 and 1; smaller gives purer and more groups
    least : images within the radius that make up the core of a group, the image itself among them
    k1, k2 : as in `rerank`; k1 is at most N - 1, about the number of images of a person. With k2=1, images of people
        who are seen once stay alone; a larger k2 keeps more of a person's images together, and joins such images too

    Returns
    -------
    (N,) int64: 0 is the largest group

    Raises
    ------
    ImportError : scikit-learn is not installed
    ValueError : too few images for k1, or embeddings that are not finite

    Examples
    --------
    >>> import torch
    >>> people = torch.eye(3, 8).repeat_interleave(torch.tensor([4, 5, 1]), 0)
    >>> group(people, k1=4, k2=1)
    array([ 1,  1,  1,  1,  0,  0,  0,  0,  0, -1])
    """
    try:
        from sklearn.cluster import DBSCAN
        from sklearn.neighbors import sort_graph_by_row_values
    except ImportError:
        raise ImportError("grouping needs scikit-learn: pip install scikit-learn") from None
    if emb.ndim != 2 or not len(emb) or not emb.is_floating_point() or not bool(emb.isfinite().all()):
        raise ValueError(f"embeddings must be floating point (N, D) and finite, not {emb.dtype} {tuple(emb.shape)}")
    distance = rerank(emb, emb, k1, k2).shared
    distance.data = np.clip(1 - distance.data, 0, 1)  # what is not stored shares no neighbour: a distance of 1
    graph = sort_graph_by_row_values(distance, warn_when_not_sorted=False)
    labels = DBSCAN(eps=radius, min_samples=least, metric="precomputed").fit(graph).labels_
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return np.where(labels < 0, -1, rank[labels]).astype(np.int64)
