"""The losses that torch does not have. Label smoothing is `torch.nn.functional.cross_entropy(label_smoothing=0.1)`."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def hardest(feat: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's Euclidean distance to its farthest positive and to its nearest negative in the batch.

    feat (B, D), not normalised; labels (B,). Returns two (B,) tensors in float32, differentiable; the anchor is among
    its own positives, so an identity with one image gives 0; where a batch holds one identity only, nearest negatives
    are infinitely far. Source: Hermans et al. 2017, "In Defense of the Triplet Loss", section 2 (batch hard).
    """
    feat = feat.float()
    same = labels[:, None] == labels[None, :]  # (B, B)
    with torch.no_grad():  # the choice needs no gradient, and the B x B matrix none of autograd's memory
        dist = torch.cdist(feat, feat, compute_mode="donot_use_mm_for_euclid_dist")  # (B, B)
        positive = dist.masked_fill(~same, -1).argmax(1)
        negative = dist.masked_fill(same, torch.inf).argmin(1)
    d_neg = (feat - feat[negative]).norm(dim=1)
    return (feat - feat[positive]).norm(dim=1), d_neg.masked_fill(same.all(1), torch.inf)


def batch_hard_triplet(feat: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Batch-hard triplet loss, the mean over all anchors of max(0, d_pos - d_neg + margin).

    feat (B, D) before the BNNeck, not normalised; labels (B,). Source: Luo et al. 2019, section 2; the reference
    implementation's TripletLoss(0.3, "euclidean").
    """
    d_pos, d_neg = hardest(feat, labels)
    return F.relu(d_pos - d_neg + margin).mean()


def cross_triplet(a: Tensor, b: Tensor, a_labels: Tensor, b_labels: Tensor, margin: float = 1.0) -> Tensor:
    """Batch-hard triplet loss from anchors to images of another kind, by cosine similarity; the mean over the anchors.

    a (A, D), b (B, D), a_labels (A,), b_labels (B,): max(0, s_neg - s_pos + margin), s_pos the similarity of the least
    similar image in b of the same identity, s_neg that of the most similar one of another; anchors without either
    count 0. Source: AlignGAN's code, after Hermans et al. 2017, section 2.
    """
    similarity = F.normalize(a.float()) @ F.normalize(b.float()).T  # (A, B)
    same = a_labels[:, None] == b_labels[None, :]
    positive = similarity.masked_fill(~same, torch.inf).amin(1)
    negative = similarity.masked_fill(same, -torch.inf).amax(1)
    return F.relu(negative - positive + margin).mean()


class CenterLoss(nn.Module):
    """Mean squared distance of each feature to the learned center of its identity, not halved.

    feat (B, D), labels (B,) in 0..num_ids-1; `centers` (num_ids, D) start from a standard normal. Source: Wen et al.
    2016, in the form of Luo et al. 2019, section 3.6.
    """

    def __init__(self, num_ids: int, dim: int):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_ids, dim))

    def forward(self, feat: Tensor, labels: Tensor) -> Tensor:
        return (feat.float() - self.centers[labels]).square().sum(1).mean()


def total(losses: Iterable[Tensor]) -> Tensor:
    """The sum of one or more losses, added in their order."""
    first, *others = losses
    for loss in others:
        first = first + loss
    return first
