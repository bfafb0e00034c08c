"""From indices to what the network sees: P x K batches, flip, pad and crop, normalise, random erasing.

Everything random is drawn by NumPy generators seeded with (seed, purpose, counter): a batch is a function of its
number, so a resumed run needs no stored random state, and the same images come out on every device.
"""

import numpy as np


def generator(seed: int, purpose: str, counter: int) -> np.random.Generator:
    """The random numbers of one `purpose` ("pass", "augment") for its `counter`-th use."""
    return np.random.default_rng([seed, *purpose.encode(), counter])


def _by_identity(pids: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(pids, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(pids[order])) + 1)


def _hands(pids: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k images of each identity: (I, k) positions into `pids`, in the order of the identities."""
    groups = _by_identity(pids)
    cards = [group if len(group) >= k else np.tile(group, k) for group in groups]
    return np.stack([rng.permutation(deck)[:k] for deck in cards])


def identity_pass(pids: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """One pass in which every identity occurs once, whatever its number of images, with k images in a row.

    pids (N,); returns (ids * k,) positions into `pids`. An identity with fewer than k images is drawn without
    replacement from k copies of each. Source: ClassUniformlySampler of the reference implementation.
    """
    return rng.permutation(_hands(pids, k, rng)).ravel()


def modality_pass(pids: np.ndarray, infrared: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """One pass in which every identity occurs once, with k / 2 visible images, then k / 2 infrared ones, in a row.

    pids (N,), infrared (N,) bool; returns (ids * k,) positions into `pids`, drawn within each modality as in
    `identity_pass`. Source: AlignGAN's code, whose two loaders draw the same identities.
    """
    sides = [np.flatnonzero(~infrared), np.flatnonzero(infrared)]
    hands = [side[_hands(pids[side], k // 2, rng)] for side in sides]  # (I, k / 2) each
    return rng.permutation(np.concatenate(hands, 1)).ravel()


def image_pass(pids: np.ndarray, p: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """One pass in which an identity occurs about as often as it has images.

    pids (N,); returns positions into `pids`, a multiple of p * k of them. Each identity's images are shuffled and cut
    into groups of k (fewer than k: drawn with replacement); p identities at a time are drawn among those with groups
    left, until fewer than p are left. Source: RandomIdentitySampler of the paper's code (reid-strong-baseline).
    """
    decks = []
    for group in _by_identity(pids):
        deck = rng.permutation(group) if len(group) >= k else rng.choice(group, k)
        decks.append(list(deck[: len(deck) // k * k].reshape(-1, k)))
    left, order = list(range(len(decks))), []
    while len(left) >= p:
        for i in rng.choice(left, p, replace=False):
            order.append(decks[i].pop(0))
        left = [i for i in left if decks[i]]
    return np.concatenate(order) if order else np.empty(0, np.int64)


class PKSampler:
    """Batches of P identities x K images; `epoch(e)` is a pure function of the 0-based epoch.

    order "identity" follows `identity_pass`, "modality" follows `modality_pass` (and needs `infrared`, (N,) bool), and
    their last batch may be short; "image" follows `image_pass`. With `iterations` an epoch is that many batches and
    passes run on across epochs; with None an epoch is one pass. Raises ValueError for another order, where there are
    fewer than two identities or, for "image", fewer than p, and for "modality" where one is seen in one modality only.
    """

    def __init__(
        self,
        pids,
        p: int,
        k: int,
        order: str = "identity",
        iterations: int | None = 200,
        seed: int = 1,
        infrared: np.ndarray | None = None,
    ):
        self.pids, self.p, self.k = np.asarray(pids), p, k
        self.order, self.iterations, self.seed, self.infrared = order, iterations, seed, infrared
        if order not in ("identity", "image", "modality"):
            raise ValueError(f"no order {order!r} of batches; choose one of identity, image, modality")
        if order == "modality":
            self._need_both()
        ids, needed = len(np.unique(self.pids)), p if order == "image" else 2
        if ids < needed:
            raise ValueError(f"{ids} identities to train on; batches of p={p} identities need at least {needed}")
        self._last = (-1, [])

    @classmethod
    def of(cls, recipe, shots) -> "PKSampler":
        """The batches of a recipe on its training images."""
        return cls(shots.pids, recipe.p, recipe.k, recipe.order, recipe.iterations, recipe.seed, shots.infrared)

    def epoch(self, e: int) -> list[np.ndarray]:
        """The batches of 0-based epoch `e`: arrays of positions into the training shots, (<= p * k,) each."""
        if self.iterations is None:
            return list(self._pass(e))
        batches, first = [], e * self.iterations
        j, start = self._holding(first)
        while len(batches) < self.iterations:
            offset = first + len(batches) - start
            batches += self._pass(j)[offset : offset + self.iterations - len(batches)]
            start += len(self._pass(j))
            j += 1
        return batches

    def _need_both(self) -> None:
        if self.infrared is None or self.infrared.all() or not self.infrared.any():
            raise ValueError(
                "order='modality' needs visible and infrared images to train on; use order='identity' for one modality"
            )
        visible, infrared = np.unique(self.pids[~self.infrared]), np.unique(self.pids[self.infrared])
        if len(lone := np.setxor1d(visible, infrared)):
            raise ValueError(
                f"{len(lone)} training identities are seen in one modality only, first {lone[0]}; leave them out, or "
                "train with order='identity'"
            )

    def _holding(self, batch: int) -> tuple[int, int]:
        """The pass that holds the batch of this number, and the number of that pass's first batch."""
        if self.order != "image":  # all passes are of one length: those before need not be drawn
            length = len(self._pass(0))
            return batch // length, batch // length * length
        j = start = 0
        while start + len(self._pass(j)) <= batch:
            start += len(self._pass(j))
            j += 1
        return j, start

    def _pass(self, j: int) -> list[np.ndarray]:
        if self._last[0] != j:
            rng = generator(self.seed, "pass", j)
            if self.order == "identity":
                order = identity_pass(self.pids, self.k, rng)
            elif self.order == "modality":
                order = modality_pass(self.pids, self.infrared, self.k, rng)
            else:
                order = image_pass(self.pids, self.p, self.k, rng)
            size = self.p * self.k
            self._last = (j, [order[i : i + size] for i in range(0, len(order), size)])
        return self._last[1]
