"""Which images make a batch: P identities x K images.

Everything random is drawn by NumPy generators seeded with (seed, purpose, counter): a batch is a function of its
number, so a resumed run needs no stored random state, and every device gets the same images.
"""

import numpy as np

from reidlib.data.shots import Shots
from reidlib.recipe import ORDERS, Recipe


def generator(seed: int, purpose: str, counter: int) -> np.random.Generator:
    """The random numbers of one purpose ("pass", "augment") for its use number `counter`, the same on every machine."""
    return np.random.default_rng([seed, *purpose.encode(), counter])


def _by_identity(pids: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(pids, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(pids[order])) + 1)


def _hands(pids: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k images of each identity: (I, k) positions into `pids`, in the order of the identities."""
    groups = _by_identity(pids)
    decks = [group if len(group) >= k else np.tile(group, k) for group in groups]
    return np.stack([rng.permutation(deck)[:k] for deck in decks])


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
    into groups of k (fewer than k: drawn with replacement). Then p of the identities that have groups left are drawn at
    a time, while there are p. Source: RandomIdentitySampler of the paper's code (reid-strong-baseline).
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
    """Batches of P identities x K images; those of an epoch are a pure function of its number.

    ValueError for an unknown order, for too few identities and, with "modality", for an identity of one modality only.

    Parameters
    ----------
    pids : int (N,), the identities of the training images
    p, k : int, the identities in a batch and the images of each
    order : {"identity", "image", "modality"}
        How one pass over the data is drawn: as `identity_pass` (every identity once), `image_pass` (as often as it has
        images) or `modality_pass` says. Only the last batch of a pass may be short, and with "image" none is.
    iterations : int or None
        Batches of an epoch; passes then continue across epochs. None means that an epoch is one pass.
    seed : int, the run's
    infrared : bool (N,), which images are infrared; needed for "modality"

    Examples
    --------
    >>> sampler = PKSampler(np.array([1, 1, 1, 2, 2, 2, 3, 3]), p=2, k=2, iterations=3)
    >>> [sampler.pids[batch].tolist() for batch in sampler.epoch(0)]
    [[3, 3, 2, 2], [1, 1], [2, 2, 1, 1]]
    """

    def __init__(
        self,
        pids: np.ndarray,
        p: int,
        k: int,
        order: str = "identity",
        iterations: int | None = 200,
        seed: int = 1,
        infrared: np.ndarray | None = None,
    ) -> None:
        self.pids, self.p, self.k = np.asarray(pids), p, k
        self.order, self.iterations, self.seed = order, iterations, seed
        self.infrared = np.zeros(len(self.pids), bool) if infrared is None else infrared
        if order not in ORDERS:
            raise ValueError(f"no order {order!r} of batches; choose one of {', '.join(ORDERS)}")
        if order == "modality" and len(lone := np.setxor1d(self.pids[~self.infrared], self.pids[self.infrared])):
            seen = f"{len(lone)} training identities are seen in one modality only, first {lone[0]}; leave them out"
            raise ValueError(f"order='modality' needs visible and infrared images, but {seen}, or use order='identity'")
        ids, needed = len(np.unique(self.pids)), p if order == "image" else 2
        if ids < needed:
            raise ValueError(f"identities to train on: {ids}; batches of p={p} identities need at least {needed}")

    @classmethod
    def of(cls, recipe: Recipe, shots: Shots) -> "PKSampler":
        """The sampler that a recipe asks for on its training images. Raises ValueError with the name of the set."""
        try:
            return cls(shots.pids, recipe.p, recipe.k, recipe.order, recipe.iterations, recipe.seed, shots.infrared)
        except ValueError as error:
            raise ValueError(f"{shots.name}: {error}") from None

    def epoch(self, e: int) -> list[np.ndarray]:
        """The batches of 0-based epoch `e`: arrays of positions into the training images, (<= p * k,) each."""
        if self.iterations is None:
            return self._pass(e)
        j, taken = 0, e * self.iterations  # the pass that this epoch begins in, and its batches that are taken already
        if self.order != "image":  # all passes have one length, so earlier ones need not be drawn
            j, taken = divmod(taken, len(self._pass(0)))
        while taken >= (length := len(self._pass(j))):
            j, taken = j + 1, taken - length
        batches = self._pass(j)[taken:]
        while len(batches) < self.iterations:
            j += 1
            batches += self._pass(j)
        return batches[: self.iterations]

    def _pass(self, j: int) -> list[np.ndarray]:
        """The batches of pass `j`."""
        rng, size = generator(self.seed, "pass", j), self.p * self.k
        if self.order == "identity":
            order = identity_pass(self.pids, self.k, rng)
        elif self.order == "modality":
            order = modality_pass(self.pids, self.infrared, self.k, rng)
        else:
            order = image_pass(self.pids, self.p, self.k, rng)
        return [order[i : i + size] for i in range(0, len(order), size)]
