"""Solutions to the exercises of notebook 9. Try them yourself first; the checks say what is wrong."""

from itertools import product

import numpy as np
from scipy import stats

import reidlib as rl


def paired_interval(with_trick, without, comparisons):
    """The mean gain and both ends of its interval, from scores (S,) of the same S seeds with the trick and without."""
    gains = with_trick - without
    half = stats.t.ppf(1 - 0.025 / comparisons, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
    return gains.mean(), gains.mean() - half, gains.mean() + half


rl.exercise("reasons.paired_interval", paired_interval)


def flip_test(differences):
    """The share of all 2^S flips of signs whose mean is at least as far from zero as that of the differences (S,)."""
    flips = np.array(list(product((1, -1), repeat=len(differences))))  # (2^S, S)
    means = flips @ differences / len(differences)
    return (np.abs(means) >= abs(differences.mean()) - 1e-9).mean()


rl.exercise("reasons.flip_test", flip_test)


def trend(gains):
    """The mean slope of gains (seeds, settings) from setting to setting, and both ends of its 95 % interval."""
    steps = np.arange(gains.shape[1]) - (gains.shape[1] - 1) / 2  # the numbers of the settings, from their middle
    slopes = gains @ steps / (steps**2).sum()  # (seeds,)
    half = stats.t.ppf(0.975, len(slopes) - 1) * slopes.std(ddof=1) / len(slopes) ** 0.5
    return slopes.mean(), slopes.mean() - half, slopes.mean() + half


rl.exercise("reasons.trend", trend)
