"""The gain of each trick over paired seeds, with intervals, beside the published steps: numbers and figures."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reidlib.figures.style import BLUE, GREY, INK, VERMILLION, WIDTH, Picture, styled
from reidlib.recipe import Recipe
from reidlib.studies.gains import Gain, paired
from reidlib.studies.published import MEASURES, chosen, one_a_seed, unusual

LABELS = {
    "warmup": "warm-up", "erasing": "random erasing", "smoothing": "label smoothing", "stride": "last stride 1",
    "bnneck": "BNNeck", "center": "center loss",
}  # fmt: skip
FIVE = Recipe.ALL
RUNGS = ("none", *("none+" + "+".join(FIVE[:i]) for i in range(1, len(FIVE))), "all", "all+center")  # the paper's order
LEFT_OUT = tuple(f"all-{name}" for name in FIVE[:-1])  # four of the five
COMPARED = 12  # the ladder's comparisons: each of six tricks added, each of four left out, five and six tricks at once
SWITCHED = ("all", "all+gem", "all+cosine", "all+freeze", "all+cosine+freeze", "all+gem+cosine+freeze")
PAPER = {"market": ("^", "Market-1501"), "duke": ("D", "DukeMTMC-reID")}  # marker, name
LOOKS = {"a gain": (BLUE, "o"), "open": (GREY, "s"), "a loss": (VERMILLION, "v")}  # colour and marker of a gain


def by_seed(
    rows: list[dict], tricks: str, metric: str, trained: str, tested: str | None = None, model: str = "bot"
) -> dict[int, float]:
    """Seed -> score of a model's runs with these tricks (in any spelling) on one test set, `trained` by default.

    Only runs of one recipe count, so that a gain is a difference of the tricks alone: of the reference recipe, or where
    no row is of that, of the only one that all rows have. Raises ValueError if there are none, or as `one_a_seed` does.
    """
    tested = tested or trained
    runs = chosen(rows, trained, tested, tricks, model)
    cell = [row for row in rows if (row["model"], row["dataset"], row["test"]) == (model, trained, tested)]
    recipes = {unusual(row) for row in cell}
    recipe = recipes.pop() if len(recipes) == 1 else ""
    scores = {row["seed"]: row[metric] for row in one_a_seed([row for row in runs if unusual(row) == recipe])}
    if not scores:
        others = sorted({unusual(row) for row in runs})
        but = f" but of another recipe ({'; '.join(others)})" if others else ""
        words = tricks if model == "bot" else f"{model}, {tricks}"
        raise ValueError(f"no rows of {words}, {trained} → {tested}{but}; run the grid that makes them")
    return scores


def gains_added(rows: list[dict], metric: str = "mAP", dataset: str = "toy", tested: str | None = None) -> list[Gain]:
    """The gain of each trick when it is added to those before it, in the paper's order: six of `COMPARED`.

    The order is that of Luo et al. 2019: michuanhaohao/reid-strong-baseline, README at 3da7e6f, table of the tricks.
    rows: of `collect` or results/toy_ladder.csv, two seeds or more of every rung of `RUNGS`, else ValueError; metric:
    "mAP" or "rank1"; dataset: of the training, and of the test unless `tested` names another.
    """
    scores = [by_seed(rows, rung, metric, dataset, tested) for rung in RUNGS]
    return [paired(LABELS[name], b, a, of=COMPARED) for name, (a, b) in zip(LABELS, pairwise(scores), strict=True)]


def gains_left_out(
    rows: list[dict], metric: str = "mAP", dataset: str = "toy", tested: str | None = None
) -> list[Gain]:
    """The gain of four of the five tricks: all five against the other four. See `gains_added`.

    All but the BNNeck: it is added last of the five, so leaving it out is the same comparison of the same runs.
    """
    five, *fours = (by_seed(rows, tricks, metric, dataset, tested) for tricks in ("all", *LEFT_OUT))
    return [paired(LABELS[name], five, four, of=COMPARED) for name, four in zip(FIVE, fours)]


def gains_whole(rows: list[dict], metric: str = "mAP", dataset: str = "toy", tested: str | None = None) -> list[Gain]:
    """The gain of the five tricks at once, and of all six: against none. See `gains_added`."""
    none, *tops = (by_seed(rows, words, metric, dataset, tested) for words in ("none", "all", "all+center"))
    return [paired(f"all {count} - none", top, none, of=COMPARED) for count, top in zip(("five", "six"), tops)]


def gains_switched(
    rows: list[dict], metric: str = "mAP", dataset: str = "market", tested: str | None = None
) -> list[Gain]:
    """The gain of each recipe of `SWITCHED` over the first, the five tricks. See `gains_added`.

    GeM pooling, a cosine schedule and a longer warm-up in whose first half the backbone rests are of fast-reid's strong
    baseline (He et al., "FastReID: A Pytorch Toolbox for General Instance Re-identification", 2020, section 3).
    """
    five, *more = (by_seed(rows, tricks, metric, dataset, tested) for tricks in SWITCHED)
    return [paired(f"{words} - all", on, five, of=len(more)) for words, on in zip(SWITCHED[1:], more, strict=True)]


def erasing_gains(rows: list[dict], metric: str = "mAP") -> list[Gain]:
    """The gain of random erasing: trained and tested on the same set, then on different ones, as the rows have them.

    rows: those of `collect`, results/toy.csv or results/market1501.csv. Raises ValueError as `gains_added` does.
    """
    cells = dict.fromkeys((row["dataset"], row["test"]) for row in rows if row["model"] == "bot")
    gains = []
    for trained, tested in sorted(cells, key=lambda cell: cell[0] != cell[1]):
        on, off = (by_seed(rows, tricks, metric, trained, tested) for tricks in ("all", "all-erasing"))
        gains.append(paired(f"{trained} → {tested}", on, off, of=len(cells)))
    return gains


def published_steps(published: list[dict], dataset: str, metric: str = "mAP") -> list[float]:
    """The paper's scores of the rungs on "market" or "duke"."""
    paper = [row for row in published if row["who"] == "paper"]
    return [chosen(paper, dataset, dataset, rung)[0][metric] for rung in RUNGS]


def published_gains(published: list[dict], dataset: str, metric: str = "mAP") -> list[float]:
    """The gain of each step of the paper's ladder on "market" or "duke", in percent, in the order of `gains_added`.

    published: the rows of results/published.csv.
    """
    return [b - a for a, b in pairwise(published_steps(published, dataset, metric))]


def published_erasing(published: list[dict], metric: str = "mAP") -> list[float]:
    """The gain of random erasing in the tables of the reference implementation, in the order of `erasing_gains`."""
    rows = [row for row in published if row["who"] == "reference" and row["run"] != "average"]
    pairs = (("market", "market"), ("duke", "duke"), ("market", "duke"), ("duke", "market"))
    both = [[chosen(rows, *pair, tricks) for tricks in ("all", "all-erasing")] for pair in pairs]
    return [mean(row[metric] for row in a) - mean(row[metric] for row in b) for a, b in both]


@styled
def plot_ladder(rows: list[dict], published: list[dict], metric: str = "mAP", dataset: str = "toy") -> Picture:
    """The score of each rung of the ladder, and the gain of each trick when it is added and when it is left out.

    rows, metric, dataset: as in `gains_added`; published: the rows of results/published.csv. Dots are seeds. Bars are
    standard deviations (of the scores) and intervals (of the gains, which hold together at 95 %). The paper is hollow.
    """
    fig = Picture(figsize=(WIDTH, 4.6), layout="constrained")
    climb, steps, without = fig.subplots(1, 3, gridspec_kw={"width_ratios": (1.2, 0.9, 0.9)})
    _climb(climb, rows, published, metric, dataset)
    gains = gains_added(rows, metric, dataset), gains_left_out(rows, metric, dataset)
    _gains(steps, gains[0], "Added to those before")
    _gains(without, gains[1], "Added to the other four")
    for name, (marker, _) in PAPER.items():
        given = published_gains(published, name, metric)
        steps.plot(given, [y - 0.22 for y in range(len(given))], marker, color=GREY, fillstyle="none")
    without.sharex(steps)
    without.set(ylim=steps.get_ylim(), yticklabels=[])  # the rows of `steps`
    for y, why in ((len(gains[1]), "as on the left"), (len(gains[1]) + 1, "not one of the five")):
        place = dict(transform=without.get_yaxis_transform(), ha="right", va="center")
        without.text(0.98, y, why, color=GREY, bbox={"color": "white"}, **place)  # over the line of zero
    for ax in (steps, without):
        ax.set_xlabel(f"{MEASURES[metric]} gained (points)")
    lines = zip(climb.get_legend_handles_labels()[0], kinds(), strict=True)  # a column holds one of each
    fig.legend(handles=[handle for column in lines for handle in column], loc="outside lower center", ncols=3)
    fig.alt = (
        f"The ladder of tricks on {dataset}, {MEASURES[metric]}, intervals for {COMPARED} comparisons. "
        f"Added one after another: {_words(gains[0])}. "
        f"Each left out of the five: {_words(gains[1])}."
    )
    return fig


@styled
def plot_erasing(rows: list[dict], published: list[dict], metric: str = "mAP") -> Picture:
    """The gain of random erasing within a data set and across data sets: measured, and as published.

    rows: as in `erasing_gains`; published: those of results/published.csv. Dots are seeds, bars intervals that hold
    together at 95 %.
    """
    fig = Picture(figsize=(WIDTH, 3.3), layout="constrained")
    ours, theirs = fig.subplots(1, 2, sharex=True)
    gains, given = erasing_gains(rows, metric), published_erasing(published, metric)
    _gains(ours, gains, "Measured here")
    names = ["Market → Market", "Duke → Duke", "Market → Duke", "Duke → Market"]
    theirs.plot(given, range(len(given)), "D", color=GREY, fillstyle="none", markersize=8)
    _rows_of(theirs, names, "The reference implementation")
    fig.legend(handles=kinds(), loc="outside lower center", ncols=3)
    fig.suptitle(f"{MEASURES[metric]} gained by random erasing")
    fig.alt = (
        f"What random erasing gives in {MEASURES[metric]}. Measured: {_words(gains)}. Published: "
        + "; ".join(f"{name} {value:+.1f}" for name, value in zip(names, given, strict=True)) + "."
    )  # fmt: skip
    return fig


def _climb(ax: Axes, rows: list[dict], published: list[dict], metric: str, dataset: str) -> None:
    """Each line from its own baseline, so that sets of unlike difficulty have one axis; baselines are in the legend."""
    x, scores = range(len(RUNGS)), [list(by_seed(rows, rung, metric, dataset).values()) for rung in RUNGS]
    base = mean(scores[0])
    for position, values in zip(x, scores, strict=True):
        ax.plot([position] * len(values), [value - base for value in values], "o", color=INK, markersize=3, alpha=0.5)
    above = [mean(values) - base for values in scores]
    ax.errorbar(
        x, above, list(map(stdev, scores)), color=INK, marker="o", capsize=3, label=f"{dataset}, from {base:.1f}"
    )
    for name, (marker, label) in PAPER.items():
        steps = published_steps(published, name, metric)
        (line,) = ax.plot(
            x, [step - steps[0] for step in steps], f":{marker}", color=GREY, fillstyle="none", linewidth=1.2
        )
        line.set_label(f"paper, {label}, from {steps[0]:.1f}")
    ax.set(title=f"{MEASURES[metric]}, one trick after another", ylabel="points above the baseline")
    ax.set_xticks(x, ["baseline", *(f"+ {label}" for label in LABELS.values())], rotation=40, ha="right")


def look(gain: Gain) -> tuple[str, str]:
    """The colour and the marker of a gain."""
    return LOOKS.get(gain.verdict, LOOKS["open"])


def kinds() -> list[Line2D]:
    """A legend of `LOOKS`."""
    words = {"open": "open, or at the border"}
    return [Line2D([], [], color=c, marker=m, label=words.get(name, name)) for name, (c, m) in LOOKS.items()]


def _gains(ax: Axes, gains: Sequence[Gain], title: str) -> None:
    """Seeds as dots, means with intervals."""
    for y, gain in enumerate(gains):
        colour, marker = look(gain)
        ax.plot(gain.values, [y + 0.22] * len(gain.values), "o", color=colour, markersize=3, alpha=0.5)
        bar = [[gain.mean - gain.low], [gain.high - gain.mean]]
        ax.errorbar(gain.mean, y, xerr=bar, color=colour, marker=marker, markersize=6, capsize=3)
    _rows_of(ax, [gain.name for gain in gains], title)


def _rows_of(ax: Axes, names: Sequence[str], title: str) -> None:
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set(title=title, ylim=(len(names) - 0.5, -0.5), xlabel="percent points")


def _words(gains: Sequence[Gain]) -> str:
    return "; ".join(f"{gain.name} {gain.mean:+.1f}, between {gain.low:+.1f} and {gain.high:+.1f}" for gain in gains)
