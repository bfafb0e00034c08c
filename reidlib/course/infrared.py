"""Exercises of notebook 7, visible and infrared."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from reidlib.course.remarks import array, compare, expect, slopes
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


def cycle_loss(answer: Callable[..., Any]) -> None:
    """How far images are from themselves after both translations."""
    torch.manual_seed(3)
    there, back = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    visible, infrared = torch.rand(2, 3, 8, 4), torch.rand(5, 3, 8, 4)
    ways = [(back(there(visible)), visible), (there(back(infrared)), infrared)]
    first, second = (float((image - real).abs().mean().detach()) for image, real in ways)
    squares = sum(float(((image - real) ** 2).mean().detach()) for image, real in ways) / 2
    found = answer(there, back, visible, infrared)
    slips = {
        "infrared images go there and back too.": first,
        "visible images go there and back too.": second,
        "take the mean of the two ways, not their sum.": first + second,
        "absolute differences, not squares.": squares,
        "both translations are in each way: the result is compared with where it began.":
            float(((there(visible) - visible).abs().mean() + (back(infrared) - infrared).abs().mean()).detach()) / 2,
    }  # fmt: skip
    hints = [hint for hint, slip in slips.items() if np.isclose(float(array(found)), slip, rtol=1e-5)]
    compare(float(array(found)), (first + second) / 2, "Your loss", (hints or ["a mean over pixels of what?"])[0])
    slopes(found, [*there.parameters(), *back.parameters()])
