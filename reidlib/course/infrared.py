"""Exercises of notebook 7, visible and infrared."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from reidlib.course.remarks import array, compare, expect
from reidlib.data import augment
from reidlib.evaluation.sysu_trials import PLACES


def draw_gallery(answer: Callable[..., Any]) -> None:
    """The gallery of a trial: some images of each person in each visible camera."""
    rng = np.random.default_rng(1)
    pids, camids = rng.integers(1, 9, 400), rng.integers(1, 7, 400)
    pids[:2], camids[:2] = 20, 4  # one with two images
    for cameras, most in (((1, 2, 4, 5), 1), ((1, 2), 10), ((1, 2, 4, 5), 3)):
        seen: Counter = Counter()
        for _ in range(60):
            drawn = np.asarray(answer(pids, camids, cameras, most, rng))
            expect(drawn.ndim == 1 and drawn.dtype.kind in "iu", "Return positions in pids, one after another.")
            expect(len(set(drawn.tolist())) == len(drawn), "An image is drawn twice.")
            expect(np.isin(camids[drawn], cameras).all(), "An image is of a camera that is not searched.")
            cells = Counter(zip(pids[drawn].tolist(), camids[drawn].tolist(), strict=True))
            there = Counter((int(p), int(c)) for p, c in zip(pids, camids, strict=True) if c in cameras)
            few = [cell for cell in there if cells[cell] < min(most, there[cell])]
            expect(not few, "Of a person in a camera there are too few images: draw for each person and each camera.")
            expect(max(cells.values()) <= most, "Of a person in a camera there are more images than `most`.")
            seen.update(drawn.tolist())
        shown = len(seen) / sum(there.values())
        expect(shown > 0.9, f"Over 60 trials only {shown:.0%} of the images are ever drawn: draw at random.")


def people_rank(answer: Callable[..., Any]) -> None:
    """The rank that SYSU-MM01's CMC counts."""
    rng, cases = np.random.default_rng(2), []
    for _ in range(200):
        pids, camids = rng.integers(1, 7, 14), rng.choice([1, 2, 4, 5], 14)
        pid, camid = int(rng.integers(1, 7)), int(rng.choice([3, 6]))
        here, own = PLACES[camids] == PLACES[camid], pids == pid
        people = (_position(pids[left], pid) for left in (~here, here | True, ~(here & own)))
        images = pids[~here].tolist()
        alone = images.index(pid) + 1 if pid in images else 0
        cases.append((int(array(answer(pids, camids, pid, camid))), *people, alone))
    found, wanted, *slips = np.array(cases).T
    hints = (
        "a probe does not see its own place: cameras 2 and 3 stand in one room.",
        "whoever is seen in the probe's place is struck out, not only the right person.",
        "it counts people, each once.",
        "a person who is not in the list has the rank 0.",
    )
    slips.append(np.where(wanted == 0, found, wanted))
    close = [hint for hint, slip in zip(hints, slips, strict=True) if (found == slip).all()]
    i = int((found != wanted).argmax())
    compare(found[i], wanted[i], "A rank", (close or ["what is struck out, and what is counted?"])[0])


def _position(pids: np.ndarray, pid: int) -> int:
    """Where a person stands among the distinct people of a list, from 1; 0 if not in it."""
    people = list(dict.fromkeys(pids.tolist()))
    return people.index(pid) + 1 if pid in people else 0


def one_channel(answer: Callable[..., Any]) -> None:
    """Images of bytes through one of their channels, or in grey."""
    rng = np.random.default_rng(3)
    images = torch.from_numpy(rng.integers(0, 256, (40, 6, 4, 3), np.uint8))
    channel, before = np.tile([-1, 0, 1, 2, 3], 8), images.clone()
    found = answer(images, channel)
    expect(torch.equal(images, before), "The images that were given have changed: return new ones.")
    expect(isinstance(found, torch.Tensor) and found.dtype == torch.uint8, "Return a tensor of bytes, torch.uint8.")
    expect(found.shape == images.shape, f"Return the shape {tuple(images.shape)}, not {tuple(found.shape)}.")
    expect(torch.equal(found[channel == -1], images[channel == -1]), "With -1 an image stays as it is.")
    shown = found[channel >= 0]
    expect(bool((shown == shown[..., :1]).all()), "The three channels of what you return should be equal.")
    wanted = augment.one_channel(images, channel)
    for c in (0, 1, 2):
        expect(torch.equal(found[channel == c], wanted[channel == c]), f"With {c} another channel is shown.")
    off = (found[channel == 3].int() - wanted[channel == 3].int()).abs().max()
    near = "It is one level off: round." if off == 1 else "Which weights, and do bytes overflow on the way?"
    expect(off == 0, f"The grey is not that of the formula. {near}")
