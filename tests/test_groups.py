"""Grouping without names: people come out whole, strangers alone, and in the order of their size."""

import sys

import numpy as np
import pytest
import torch

import reidlib as rl

metrics = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")


def people(noise, people=12, alone=6, seed=0):
    """Embeddings and pids: people of 5 to 16 images in two cameras, then images of somebody else each."""
    rng = np.random.default_rng(seed)
    pids = np.concatenate([np.full(5 + pid, pid) for pid in range(people)] + [np.arange(people, people + alone)])
    centres, cameras = rng.standard_normal((people + alone, 32)), rng.standard_normal((2, 32))
    x = centres[pids] + 0.4 * cameras[rng.integers(0, 2, len(pids))] + noise * rng.standard_normal((len(pids), 32))
    order = rng.permutation(len(pids))
    return torch.from_numpy(x[order]).float(), pids[order]


def test_groups_are_people_and_the_rest_is_alone():
    x, pids = people(noise=0.7)
    labels = rl.group(x, k1=8, k2=3)
    known = pids < 12
    assert metrics.adjusted_rand_score(pids[known], labels[known]) > 0.95
    assert (rl.group(x, k1=8, k2=1)[~known] == -1).all()
    sizes = np.bincount(labels[labels >= 0])
    assert (np.diff(sizes) <= 0).all(), "0 is the largest group"


def test_noise_without_people_gives_no_groups_that_agree_with_labels():
    """Guards: a score that is high whatever the embeddings are."""
    x, pids = people(noise=50.0)
    assert abs(metrics.adjusted_rand_score(pids, rl.group(x, k1=8, k2=3))) < 0.1


def test_the_same_image_many_times_is_one_group():
    """Guards: distances of exactly 0, which a sparse matrix may take for none."""
    x = torch.eye(4, 8).repeat_interleave(6, 0)
    assert rl.group(x, k1=5, k2=1).tolist() == np.repeat(np.arange(4), 6).tolist()


def test_what_cannot_be_grouped_says_so(monkeypatch):
    x, _ = people(noise=0.5)
    with pytest.raises(ValueError, match="needs more than 20 images; there are 9"):
        rl.group(x[:9])
    with pytest.raises(ValueError, match="finite"):
        rl.group(x * torch.nan)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        rl.group(x)
