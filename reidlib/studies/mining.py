"""What the search for the hardest triplets gives: the Bag of Tricks with random triplets in their place.

`make table` trains ten seeds of it; the rows are results/toy_mining.csv. Those of the hardest triplets are in
results/toy.csv.
"""

from torch import Tensor
from torch.nn import functional as F

from reidlib.studies.gains import Gain, paired
from reidlib.studies.ladder import by_seed
from reidlib.systems.bag_of_tricks import BagOfTricks

NAME = "reidlib.studies.mining:RandomTriplets"


class RandomTriplets(BagOfTricks):
    """The Bag of Tricks with one random triplet for each anchor: the first positive and the first negative after it.

    The sampler draws the identities of a batch, their order and their images at random, so these are random too. They
    follow from the batch alone, and a run that was interrupted goes on with the same ones.
    """

    def losses(self, feat: Tensor, emb: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Of a batch in groups of K images: features (P * K, C), labels (P * K,)."""
        k = int((labels == labels[0]).sum())
        groups = feat.float().unflatten(0, (-1, k))  # (P, K, C)
        d_pos = (groups - groups.roll(1, 1)).norm(dim=2)
        d_neg = (groups - groups.roll(1, 0)).norm(dim=2)
        return super().losses(feat, emb, logits, labels) | {"triplet": F.relu(d_pos - d_neg + self.margin).mean()}


def gain(random: list[dict], hardest: list[dict]) -> Gain:
    """The mAP of the hardest triplets over random ones on toy. Rows of results/toy_mining.csv and results/toy.csv."""
    sides = by_seed(hardest, "all", "mAP", "toy"), by_seed(random, "all", "mAP", "toy", model=NAME)
    return paired("hardest - random", *sides)
