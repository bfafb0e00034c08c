"""Exercises of notebook 9, reasons put to the test."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from reidlib.course.remarks import array, compare, expect
from reidlib.studies.gains import paired


def paired_interval(answer: Callable[..., Any]) -> None:
    """The mean of paired differences and Student's interval, widened for several comparisons."""
    rng = np.random.default_rng(1)
    for seeds, comparisons in ((10, 1), (5, 1), (10, 36)):
        level = rng.normal(70, 8, seeds)  # hard and easy seeds, which both sides share
        a, b = level + 3 + rng.normal(0, 1, seeds), level + rng.normal(0, 1, seeds)
        mean, low, high = array(answer(a, b, comparisons), (3,))
        right = paired("", dict(enumerate(a)), dict(enumerate(b)), of=comparisons)
        compare(mean, right.mean, "The mean difference", "with the trick minus without it.")
        expect(np.isclose(high - mean, mean - low), "Your interval is not symmetric about its mean.")
        error, half, wanted = (a - b).std(ddof=1) / seeds**0.5, (high - low) / 2, right.high - right.mean
        hint = "which quantile of which distribution?"
        if np.isclose(half, wanted * seeds**0.5):
            hint = "it is the interval of the mean, not of one difference."
        elif half > 3 * wanted:
            hint = "pair the scores seed by seed before you take a spread."
        elif np.isclose(half * (seeds / (seeds - 1)) ** 0.5, wanted):
            hint = "the spread of a sample divides by one less than its size."
        elif np.isclose(half, stats.norm.ppf(1 - 0.025 / comparisons) * error):
            hint = "with so few seeds the normal distribution is too narrow."
        elif comparisons > 1 and np.isclose(half, stats.t.ppf(0.975, seeds - 1) * error):
            hint = f"it should allow for {comparisons} comparisons."
        compare(half, wanted, f"Half of your interval for {seeds} seeds and m = {comparisons}", hint)


def flip_test(answer: Callable[..., Any]) -> None:
    """The share of all ways to flip signs whose mean is at least as far from zero as the measured one."""
    rng = np.random.default_rng(2)
    samples = [rng.normal(shift, 2, size) for shift, size in ((1, 6), (0, 7), (3, 8), (-3, 6))]
    for differences in [*samples, np.array([1.0, 1.0, 2.0, -1.0])]:
        means = np.array([np.mean(signs * differences) for signs in product((1, -1), repeat=len(differences))])
        far = abs(differences.mean()) - 1e-12
        found, wanted = float(array(answer(differences))), (np.abs(means) >= far).mean()
        hint = "count the flips that give a mean at least as far from zero."
        if np.isclose(found, (means >= differences.mean() - 1e-12).mean()):
            hint = "a loss as large as this gain would be as surprising: count both sides."
        elif np.isclose(found, (np.abs(means) > far + 2e-12).mean()):
            hint = "the measured mean itself is one of the flips, and so are its equals."
        compare(found, wanted, f"The share for {len(differences)} differences", hint)


def trend(answer: Callable[..., Any]) -> None:
    """The slope of each seed's gains along a knob, its mean and Student's interval."""
    rng = np.random.default_rng(3)
    for seeds, settings in ((10, 4), (6, 5)):
        level = rng.normal(0, 6, (seeds, 1))  # a seed that is good everywhere
        gains = level + 2.0 * np.arange(settings) + rng.normal(0, 1, (seeds, settings))
        mean, low, high = array(answer(gains), (3,))
        slopes = np.polyfit(np.arange(settings), gains.T, 1)[0]
        ends = (gains[:, -1] - gains[:, 0]) / (settings - 1)
        hint = "a line through the gains of a seed, against the number of the setting."
        if np.isclose(mean, ends.mean()):
            hint = "use all settings, not the two at the ends."
        compare(mean, slopes.mean(), "Your mean slope", hint)
        right = paired("", dict(enumerate(slopes)), dict.fromkeys(range(seeds), 0.0))
        expect(np.isclose(high - mean, mean - low), "Your interval is not symmetric about its mean.")
        hint = "each seed gives one slope, and the interval is that of their mean."
        compare((high - low) / 2, right.high - right.mean, "Half of your interval", hint)
