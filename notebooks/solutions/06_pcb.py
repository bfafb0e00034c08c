"""Solutions to the exercises of notebook 6. Try them yourself first; the checks say what is wrong."""

import torch
from torch.nn import functional as F

import reidlib as rl


class PartHead(torch.nn.Module):
    """The head of one part: features (B, C) to logits (B, ids)."""

    def __init__(self, channels, dim, ids):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)
        self.down, self.norm = torch.nn.Linear(channels, dim), torch.nn.BatchNorm1d(dim)
        self.classifier = torch.nn.Linear(dim, ids)

    def forward(self, part):
        seen = F.leaky_relu(self.norm(self.down(self.dropout(part))), 0.1)
        return self.classifier(seen)


rl.exercise("parts.part_head", PartHead)


def shared_parts(a, b, seen_a, seen_b):
    """Mean cosine over the parts that both show, 0 without any: (Q, P, C), (G, P, C), (Q, P), (G, P) to (Q, G)."""
    cosines = torch.einsum("qpc,gpc->qgp", F.normalize(a, dim=2), F.normalize(b, dim=2))
    both = seen_a[:, None] & seen_b  # (Q, G, P)
    return (cosines * both).sum(2) / both.sum(2).clamp(min=1)


rl.exercise("parts.shared_parts", shared_parts)


def shifted(a, b, most):
    """The highest mean cosine of overlapping parts, when b (P, C) is shifted against a (P, C) by up to `most` parts."""
    cosines = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T  # (P, P)
    return max(cosines.diagonal(shift).mean() for shift in range(-most, most + 1))


rl.exercise("parts.shifted", shifted)
