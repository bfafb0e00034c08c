"""Solutions to the exercises of notebook 10. Try them yourself first; the checks say what is wrong."""

import torch

import reidlib as rl


def cycle_loss(to_infrared, to_visible, visible, infrared):
    """Mean absolute difference between images and themselves, translated there and back; the mean of both ways."""
    first = (to_visible(to_infrared(visible)) - visible).abs().mean()
    second = (to_infrared(to_visible(infrared)) - infrared).abs().mean()
    return (first + second) / 2


rl.exercise("aligngan.cycle_loss", cycle_loss)


def false_pairs(image, image_of_g, maps, maps_of_g, each):
    """Four pairs (images, maps) that are false, of real and generated images and maps, `each` of a person in a row."""
    return [(image_of_g, maps), (image, maps_of_g), (image_of_g, maps_of_g), (torch.roll(image, each, 0), maps)]


rl.exercise("aligngan.false_pairs", false_pairs)


def judge_loss(real, false):
    """The loss of a discriminator: answers to real pairs, and a list of answers to each kind of false pairs."""
    wrong = [answers.square().mean() for answers in false]
    return ((real - 1).square().mean() + sum(wrong) / len(wrong)) / 2


rl.exercise("aligngan.judge_loss", judge_loss)
