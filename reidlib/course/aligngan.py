"""Exercises of notebook 10, AlignGAN."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from reidlib.course.remarks import array, compare, expect, slopes


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


def false_pairs(answer: Callable[..., Any]) -> None:
    """The four kinds of pairs that the joint discriminator must reject."""
    for people, each in ((2, 4), (3, 2), (5, 1)):
        total = people * each
        person = torch.arange(total) // each
        real, fake = (torch.arange(total).float() + shift for shift in (0, 100))  # an image is one number, a map too
        given = (x[:, None, None, None] for x in (real, fake, real, fake))
        pairs = answer(*given, each)
        expect(len(pairs) == 4 and all(len(pair) == 2 for pair in pairs), "Return four pairs of images and maps.")
        flat = [[torch.as_tensor(part).flatten() for part in pair] for pair in pairs]
        expect(all(len(part) == total for pair in flat for part in pair), f"Each pair holds {total} images and maps.")
        kinds = ("a generated image with the real map", "a real image with the generated map", "both generated")
        for (image, its_map), (a, b), kind in zip(
            flat, ((fake, real), (real, fake), (fake, fake)), kinds, strict=False
        ):
            expect(torch.equal(image, a) and torch.equal(its_map, b), f"One pair should be {kind}, of the same person.")
        image, its_map = flat[3]
        expect(bool((image < 100).all() and (its_map < 100).all()), "In the last pair all images and maps are real.")
        same = person[image.long()] == person[its_map.long()]
        expect(not same.any(), "In the last pair an image stands beside a map of its own person.")
        expect(len(set(image.tolist())) == len(set(its_map.tolist())) == total, "In the last pair an image is missing.")


def judge_loss(answer: Callable[..., Any]) -> None:
    """The squared distance of real answers from 1 and of false ones from 0."""
    torch.manual_seed(4)
    real = torch.rand(6, 1, 4, 2, requires_grad=True)
    false = [torch.rand(n, 1, 4, 2, requires_grad=True) for n in (6, 2, 6, 3)]
    found = answer(real, false)
    hit, wrong = (real - 1).square().mean(), [answers.square().mean() for answers in false]
    every = torch.cat([answers.flatten() for answers in false]).square().mean()
    slips = {
        "the kinds of false pairs count alike, however many answers each has.": (hit + every) / 2,
        "take the mean over the kinds of false pairs, not their sum.": (hit + sum(wrong)) / 2,
        "half of each: real and false count alike.": hit + sum(wrong) / 4,
        "that is what the generators want: here real pairs should be near 1.":
            (real.square().mean() + sum((answers - 1).square().mean() for answers in false) / 4) / 2,
        "squares, not absolute distances.":
            ((real - 1).abs().mean() + sum(answers.abs().mean() for answers in false) / 4) / 2,
    }  # fmt: skip
    hints = [hint for hint, slip in slips.items() if np.isclose(float(array(found)), float(slip.detach()), rtol=1e-5)]
    right = float(((hit + sum(wrong) / 4) / 2).detach())
    compare(float(array(found)), right, "Your loss", (hints or ["a mean over the patches of what?"])[0])
    slopes(found, [real, *false])
