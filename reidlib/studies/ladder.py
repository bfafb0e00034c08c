"""What each trick gives, over paired seeds with intervals, beside the published steps: numbers and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, stdev

from scipy.stats import t

from reidlib.figures.style import BLUE, GREY, INK, VERMILLION, WIDTH, Picture, styled
from reidlib.presets import FIVE
from reidlib.studies.published import chosen, unusual

LABELS = {
    "warmup": "warm-up",
    "erasing": "random erasing",
    "smoothing": "label smoothing",
    "stride": "last stride 1",
    "bnneck": "BNNeck",
    "center": "center loss",
}
NAMES = {"rank1": "rank-1", "mAP": "mAP"}
RUNGS = ("none", *("none+" + "+".join(FIVE[:i]) for i in range(1, len(FIVE))), "all", "all+center")  # the paper's order
PAPER = {"market": ("s", "Market-1501"), "duke": ("D", "DukeMTMC-reID")}  # marker, name


@dataclass(frozen=True)
class Gain:
    """What a change gives: its differences in percent, one a seed, their mean, and an interval for the mean.

    In words it is a gain or a loss where the interval stays clear of zero, else open.
    """

    name: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        word = "a gain" if self.low > 0 else "a loss" if self.high < 0 else "open"
        interval = f"[{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.name:<24} {self.mean:+5.1f} {interval:<14} of {len(self.values)} seeds: {word}"


def paired(name: str, a: dict[int, float], b: dict[int, float], level: float = 0.95) -> Gain:
    """The gain a - b over the seeds that both have, with Student's interval for a mean of paired differences.

    a, b: seed -> percent. Raises ValueError where they share fewer than two seeds.
    """
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        raise ValueError(f"{name}: {len(seeds)} seeds on both sides; an interval needs two or more")
    values = [a[seed] - b[seed] for seed in seeds]
    half = t.ppf((1 + level) / 2, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return Gain(name, tuple(values), mean(values), mean(values) - half, mean(values) + half)


def by_seed(
    rows: list[dict], tricks: str, metric: str, trained: str, tested: str | None = None, model: str = "bot"
) -> dict[int, float]:
    """Seed -> score of a model's runs with these tricks, under whatever word, on one test set (default: their own).

    Runs of another than the reference recipe (fewer epochs, another preset) are left out: a table may hold both, and a
    gain is a difference of the tricks alone. Raises ValueError where none is left.
    """
    found = chosen(rows, trained, tested or trained, tricks, model)
    scores = {row["seed"]: row[metric] for row in found if not unusual(row)}
    if not scores:
        others = sorted({unusual(row) for row in found})
        but = f" but of another recipe ({'; '.join(others)})" if others else ""
        words = tricks if model == "bot" else f"{model}, {tricks}"
        raise ValueError(f"no rows of {words}, {trained} → {tested or trained}{but}; run the grid that makes them")
    return scores


def added(rows: list[dict], metric: str = "mAP", dataset: str = "toy") -> list[Gain]:
    """The gain of each trick, added in the paper's order to those before it."""
    scores = [by_seed(rows, rung, metric, dataset) for rung in RUNGS]
    return [paired(LABELS[name], b, a) for name, (a, b) in zip(LABELS, pairwise(scores), strict=True)]


def left_out(rows: list[dict], metric: str = "mAP", dataset: str = "toy") -> list[Gain]:
    """The gain of each of the five tricks: all of them against all but this one."""
    everything = by_seed(rows, "all", metric, dataset)
    return [paired(LABELS[name], everything, by_seed(rows, f"all-{name}", metric, dataset)) for name in FIVE]


def erasing_gains(rows: list[dict], sets: tuple[str, str] = ("toy", "toy-duke"), metric: str = "mAP") -> list[Gain]:
    """What random erasing gives: at home in each of two sets, then abroad in each direction."""
    a, b = sets
    pairs = ((a, a), (b, b), (a, b), (b, a))
    scores = [[by_seed(rows, tricks, metric, *pair) for tricks in ("all", "all-erasing")] for pair in pairs]
    return [paired(f"{pair[0]} → {pair[1]}", *both) for pair, both in zip(pairs, scores, strict=True)]


def published_steps(published: list[dict], dataset: str, metric: str = "mAP") -> list[float]:
    """The paper's own scores of the rungs on "market" or "duke"."""
    paper = [row for row in published if row["who"] == "paper"]
    return [chosen(paper, dataset, dataset, rung)[0][metric] for rung in RUNGS]


def published_gains(published: list[dict], dataset: str, metric: str = "mAP") -> list[float]:
    """The gain of each step of the paper's ladder, in the order of `added`."""
    return [b - a for a, b in pairwise(published_steps(published, dataset, metric))]


def published_erasing(published: list[dict], metric: str = "mAP") -> list[float]:
    """What random erasing gives in the reference implementation's tables, in the order of `erasing_gains`."""
    rows = [row for row in published if row["who"] == "reference" and row["run"] != "average"]
    pairs = (("market", "market"), ("duke", "duke"), ("market", "duke"), ("duke", "market"))
    both = [[chosen(rows, *pair, tricks) for tricks in ("all", "all-erasing")] for pair in pairs]
    return [mean(row[metric] for row in a) - mean(row[metric] for row in b) for a, b in both]


@styled
def plot_ladder(rows: list[dict], published: list[dict], metric: str = "mAP", dataset: str = "toy") -> Picture:
    """The climb by rung, then what each trick gives when it is added and when it is left out, as a Picture.

    rows: those of the ladder's grid; published: those of results/published.csv. Dots are seeds, bars standard
    deviations (of the climb) and 95 % intervals (of the gains); the paper's own steps are grey.
    """
    fig = Picture(figsize=(WIDTH, 4.6), layout="constrained")
    climb, steps, without = fig.subplots(1, 3, gridspec_kw={"width_ratios": (1.3, 1, 0.8)})
    _climb(climb, rows, published, metric, dataset)
    gains = added(rows, metric, dataset), left_out(rows, metric, dataset)
    _gains(steps, gains[0], f"Added: {NAMES[metric]} gained")
    _gains(without, gains[1], f"Left out: {NAMES[metric]} lost")
    for name, (marker, _) in PAPER.items():
        given = published_gains(published, name, metric)
        steps.plot(given, [y - 0.22 for y in range(len(given))], marker, color=GREY, fillstyle="none")
    without.set(ylim=steps.get_ylim(), yticklabels=[])  # the same rows; the center loss is none of the five
    fig.legend(*climb.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    fig.alt = (
        f"The ladder of tricks on {dataset}, {NAMES[metric]}. Added one after another: {_words(gains[0])}. "
        f"Each left out of the five: {_words(gains[1])}."
    )
    return fig


@styled
def plot_erasing(rows: list[dict], published: list[dict], metric: str = "mAP") -> Picture:
    """What random erasing gives at home and abroad: on the drawn crowds, and in the published tables, as a Picture.

    rows: those of results/toy.csv; published: those of results/published.csv. Dots are seeds, bars 95 % intervals.
    """
    fig = Picture(figsize=(WIDTH, 3.0), layout="constrained")
    ours, theirs = fig.subplots(1, 2)
    gains, given = erasing_gains(rows, metric=metric), published_erasing(published, metric)
    _gains(ours, gains, "The drawn crowds")
    names = ["Market → Market", "Duke → Duke", "Market → Duke", "Duke → Market"]
    for y, value in enumerate(given):
        theirs.plot(value, y, "o" if y < 2 else "^", color=BLUE if y < 2 else VERMILLION, markersize=8)
    _rows_of(theirs, names, "The reference implementation")
    fig.suptitle(f"{NAMES[metric]} gained by random erasing, at home (circles) and abroad (triangles)")
    fig.alt = (
        f"What random erasing gives in {NAMES[metric]}. Drawn crowds: {_words(gains)}. Published: "
        + "; ".join(f"{name} {value:+.1f}" for name, value in zip(names, given, strict=True)) + "."
    )  # fmt: skip
    return fig


def _climb(ax, rows: list[dict], published: list[dict], metric: str, dataset: str) -> None:
    x, scores = range(len(RUNGS)), [list(by_seed(rows, rung, metric, dataset).values()) for rung in RUNGS]
    for place, values in zip(x, scores, strict=True):
        ax.plot([place] * len(values), values, "o", color=BLUE, markersize=3, alpha=0.5)
    ax.errorbar(x, list(map(mean, scores)), list(map(stdev, scores)), color=BLUE, marker="o", capsize=3, label=dataset)
    for name, (marker, label) in PAPER.items():
        look = dict(color=GREY, linestyle=":", marker=marker, fillstyle="none", linewidth=1.2)
        ax.plot(x, published_steps(published, name, metric), label=f"paper, {label}", **look)
    ax.set(title=f"{NAMES[metric]}, one trick after another", ylabel=f"{NAMES[metric]} (%)")
    ax.set_xticks(x, ["baseline", *(f"+ {label}" for label in LABELS.values())], rotation=40, ha="right")


def _gains(ax, gains: Sequence[Gain], title: str) -> None:
    """Seeds as dots, means with intervals; what goes abroad has another marker and colour."""
    for y, gain in enumerate(gains):
        abroad = "→" in gain.name and len(set(gain.name.split(" → "))) == 2
        colour = VERMILLION if abroad else BLUE
        ax.plot(gain.values, [y + 0.22] * len(gain.values), "o", color=colour, markersize=3, alpha=0.5)
        bar = [[gain.mean - gain.low], [gain.high - gain.mean]]
        ax.errorbar(gain.mean, y, xerr=bar, color=colour, marker="^" if abroad else "o", markersize=8, capsize=3)
    _rows_of(ax, [gain.name for gain in gains], title)


def _rows_of(ax, names: Sequence[str], title: str) -> None:
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set(title=title, ylim=(len(names) - 0.5, -0.5), xlabel="percent points")


def _words(gains: Sequence[Gain]) -> str:
    return "; ".join(f"{gain.name} {gain.mean:+.1f}, between {gain.low:+.1f} and {gain.high:+.1f}" for gain in gains)
