"""Random triplets in place of the hardest: what each anchor gets, and the rest of the loss."""

import torch
from torch.nn import functional as F

import reidlib as rl
from reidlib.studies import mining


def test_each_anchor_gets_the_next_image_of_its_person_and_one_of_the_next_person(crowd, tiny):
    system = rl.build(tiny.replace(model=mining.NAME), crowd.train, "cpu")
    torch.manual_seed(0)
    feat, logits, labels = torch.randn(6, 5), torch.randn(6, 4), torch.tensor([2, 2, 0, 0, 1, 1])
    found = system.losses(feat, feat, logits, labels)
    pairs = {0: (1, 4), 1: (0, 5), 2: (3, 0), 3: (2, 1), 4: (5, 2), 5: (4, 3)}  # anchor: positive, negative
    each = [F.relu((feat[a] - feat[p]).norm() - (feat[a] - feat[n]).norm() + 0.3) for a, (p, n) in pairs.items()]
    assert all(labels[a] == labels[p] != labels[n] for a, (p, n) in pairs.items())
    assert torch.isclose(found["triplet"], torch.stack(each).mean())
    plain = rl.build(tiny, crowd.train, "cpu").losses(feat, feat, logits, labels)
    assert torch.equal(found["ce"], plain["ce"])
    assert found["triplet"] < plain["triplet"]


def test_the_gain_is_paired_by_seed():
    row = next(row for row in rl.read_csv(rl.project() / "results" / "toy.csv") if row["test"] == "toy")
    hardest = [row | dict(model="bot", seed=seed, mAP=50.0 + seed) for seed in (1, 2, 3)]
    random = [row | dict(model=mining.NAME, seed=seed, mAP=40.0) for seed in (3, 2, 1)]
    assert mining.gain(random, hardest).values == (11, 12, 13)
