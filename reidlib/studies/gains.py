"""A gain over paired seeds and its interval.

Where several comparisons are read together, their intervals are too: all of them hold the truth in 95 of 100 tables
(Bonferroni: each by itself has the level 1 - 0.05 / m, where m is the number of comparisons).
"""

from dataclasses import dataclass
from statistics import mean, stdev

from scipy.special import stdtrit


@dataclass(frozen=True)
class Gain:
    """The gain of a change in percent: the difference for each seed, their mean, and an interval for the mean.

    `of` says how many comparisons the interval allows for.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    of: int = 1
    seeds: tuple[int, ...] = ()

    @property
    def interval(self) -> str:
        """The mean and the interval as texts quote them: "+8.2 [+0.4, +15.9]"."""
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"

    @property
    def verdict(self) -> str:
        """ "a gain" or "a loss" if the interval excludes zero, else "open".

        "open, at the border" if it misses zero by less than a twentieth of its width: so little is no evidence.
        """
        nearer = max(self.low, -self.high)
        if nearer <= 0:
            return "open"
        if nearer < (self.high - self.low) / 20:
            return "open, at the border"
        return "a gain" if self.low > 0 else "a loss"

    def __str__(self) -> str:
        interval, among = f"[{self.low:+.1f}, {self.high:+.1f}]", f", {self.of} comparisons" * (self.of > 1)
        return f"{self.name:<24} {self.mean:+5.1f} {interval:<14} of {len(self.values)} seeds{among}: {self.verdict}"


def paired(name: str, a: dict[int, float], b: dict[int, float], level: float = 0.95, of: int = 1) -> Gain:
    """The gain a - b over the seeds of both (seed -> percent), with Student's interval for the mean of the differences.

    of: the number of comparisons that are read together with this one, itself included; the interval is widened so
    that all of them hold at `level`. Raises ValueError if the sides share fewer than two seeds.
    """
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        raise ValueError(f"{name}: {len(seeds)} seeds on both sides; an interval needs two or more")
    values = [a[seed] - b[seed] for seed in seeds]
    half = stdtrit(len(values) - 1, 1 - (1 - level) / 2 / of) * stdev(values) / len(values) ** 0.5
    low, high = float(mean(values) - half), float(mean(values) + half)
    return Gain(name, tuple(values), mean(values), low, high, of, tuple(seeds))
