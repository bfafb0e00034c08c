"""When a trick helps, and when it does not: its gain along one knob of the drawn world or of the training.

Each panel gives one reason why a trick should help, turns the knob that the reason speaks of, and trains with the trick
and without it, with the same seeds. The rows are results/toy_worlds.csv; `python -m reidlib.studies.worlds` makes those
that are missing, and goes on where it was stopped.
"""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

from reidlib.figures.style import GREY, INK, WIDTH, Picture, styled
from reidlib.recipe import Recipe
from reidlib.studies.gains import Gain, paired
from reidlib.studies.ladder import kinds, look
from reidlib.studies.panels import PANELS, Panel
from reidlib.studies.trainings import SEEDS, by_key, key, measured

TABLE = "toy_worlds.csv"
COMPARED = sum(len(panel.settings) for panel in PANELS)


def plan(seeds: Iterable[int] = SEEDS) -> dict[Recipe, tuple[str, ...]]:
    """All trainings, each once although several panels may read it, and the data sets that each is tested on."""
    tests: dict[Recipe, dict[str, None]] = {}
    for seed in seeds:
        for panel in PANELS:
            for setting in panel.settings:
                for on in (True, False):
                    tests.setdefault(panel.recipe(setting, on, seed), {})[panel.tested(setting)] = None
    return {recipe: tuple(names) for recipe, names in tests.items()}


def gains(rows: list[dict], metric: str = "mAP") -> dict[Panel, dict[float, Gain]]:
    """The gain of each trick at each setting that has two seeds or more on both sides.

    The intervals allow for all `COMPARED` comparisons of the figure.
    """
    scores = by_key(rows, metric)
    seeds = sorted({row["seed"] for row in rows})
    found: dict[Panel, dict[float, Gain]] = {}
    for panel in PANELS:
        found[panel] = {}
        for setting in panel.settings:
            sides = []
            for on in (True, False):
                keys = {seed: key(panel.recipe(setting, on, seed), panel.tested(setting)) for seed in seeds}
                sides.append({seed: scores[k] for seed, k in keys.items() if k in scores})
            if len(sides[0].keys() & sides[1].keys()) > 1:
                found[panel][setting] = paired(f"{panel.trick}, {setting:g}", sides[0], sides[1], of=COMPARED)
    return found


def trends(rows: list[dict], metric: str = "mAP") -> dict[Panel, Gain]:
    """By how much each trick's gain grows from one setting of its knob to the next.

    For each seed it is the slope of the line through its gains (least squares, the settings one apart). The mean over
    the seeds has Student's interval, and the intervals of all panels hold together at 95 %. A panel is left out unless
    every setting has two seeds or more. Raises ValueError where settings have different seeds.
    """
    found = {}
    for panel, at in gains(rows, metric).items():
        if len(at) == len(panel.settings):
            if len({gain.seeds for gain in at.values()}) > 1:
                raise ValueError(f"{panel.trick}: the settings have different seeds")
            slopes = dict(enumerate(np.polyfit(range(len(at)), [gain.values for gain in at.values()], 1)[0].tolist()))
            found[panel] = paired(panel.title or panel.trick, slopes, dict.fromkeys(slopes, 0.0), of=len(PANELS))
    return found


@styled
def plot_worlds(rows: list[dict], metric: str = "mAP", trick: str = "", model: str = "") -> Picture:
    """The gain of each trick along its knob, a panel a trick: means, intervals that hold together at 95 %, seeds.

    rows: of results/toy_worlds.csv. With `trick`, a name or several with commas, only their panels are drawn, with
    `model` (bot, pcb) those of that model; their intervals allow for all comparisons all the same. Raises ValueError
    where no panel is left.
    """
    wanted, every = {name.strip() for name in trick.split(",")}, gains(rows, metric).items()
    found = {panel: at for panel, at in every if {panel.trick, ""} & wanted and model in ("", panel.model)}
    if not found:
        known = ", ".join(dict.fromkeys(panel.trick for panel in PANELS))
        raise ValueError(f"no panel for {trick or model!r}; choose from {known}")
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    width = WIDTH if lines > 1 else min(WIDTH, 1 + 3.6 * columns)
    fig = Picture(figsize=(width, 2.5 * lines + 0.3), layout="constrained")
    axes = fig.subplots(lines, columns, squeeze=False).ravel()
    for ax, (panel, at) in zip(axes, found.items(), strict=False):
        named = {panel.label(setting): at.get(setting) for setting in panel.settings}
        draw_gains(ax, named, title=panel.title or panel.trick, xlabel=panel.knob)
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    for ax in axes[::columns]:
        ax.set_ylabel(f"{metric} gained")
    fig.legend(handles=kinds(), loc="outside lower center", ncols=3)
    if not trick:
        fig.suptitle(f"What each trick gives along one knob; intervals for {COMPARED} comparisons")
    fig.alt = f"{metric} gained by each trick, intervals for {COMPARED} comparisons. " + " ".join(
        f"{panel.trick} by {panel.knob}: {'; '.join(_words(panel, *pair) for pair in at.items()) or 'not measured'}."
        for panel, at in found.items()
    )
    return fig


def draw_gains(ax: Axes, at: dict[str, Gain | None], **words: str) -> None:
    """One panel: the gain at each setting, by its name on the axis; None is not measured. words are those of the axes.

    A gain is a blue circle, a loss a vermillion triangle, a case that is open or at the border a grey square; seeds
    are dots.
    """
    ax.axhline(0, color=INK, linewidth=1)
    for x, gain in enumerate(at.values()):
        if gain:
            colour, marker = look(gain)
            bar = [[gain.mean - gain.low], [gain.high - gain.mean]]
            ax.plot([x + 0.15] * len(gain.values), gain.values, ".", color=colour, markersize=4, alpha=0.5)
            ax.errorbar(x, gain.mean, yerr=bar, color=colour, marker=marker, markersize=7, capsize=3)
    means = {x: gain.mean for x, gain in enumerate(at.values()) if gain}
    ax.plot(list(means), list(means.values()), color=GREY, linewidth=1, zorder=0)
    ax.set_xticks(range(len(at)), list(at))
    ax.set(xlim=(-0.5, len(at) - 0.5), **words)


def _words(panel: Panel, setting: float, gain: Gain) -> str:
    return f"{panel.label(setting)}: {gain.interval}"


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing of results/toy_worlds.csv, a row for each training and test, and print the gains."""
    rows = measured(plan, TABLE, "worlds", main.__doc__, arguments)
    if rows:
        for panel, at in gains(rows).items():
            print(f"\n{panel.trick}: {panel.reason}", *at.values(), sep="\n  ")
        print("\ngrowth of the gain from one setting to the next", *trends(rows).values(), sep="\n  ")


if __name__ == "__main__":  # python -m reidlib.studies.worlds [--dry-run]
    main()
