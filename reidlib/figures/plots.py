"""Charts: logs, schedules, curves and tables of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from reidlib.evaluation.scores import Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.style import BLUE, GREEN, GREY, INK, PALE, VERMILLION, WIDTH, Picture, panels, styled
from reidlib.train.rows import BOOKKEEPING


@styled
def plot_log(rows: Sequence[Mapping]) -> Picture:
    """Draw losses, accuracy on the batches and learning rate over iterations, side by side.

    `rows` are those that `fit` yields, or those of a run's log.csv; ValueError if there are none. Each loss of the
    system, that is, each column but the accuracy and the loop's bookkeeping, has a line over the epochs that have it.
    """
    if not rows:
        raise ValueError("no rows to plot; pass the rows that fit() yielded, or those of log.csv")
    fig, (losses, accuracy, rate) = panels(3, height=3.0)
    x = [row["iteration"] for row in rows]
    marker = "o" if len(rows) < 15 else ""
    for name in dict.fromkeys(key for row in rows for key in row if key not in ("acc", *BOOKKEEPING)):
        known = [row for row in rows if row.get(name, "") != ""]  # the phases of a training have losses of their own
        losses.plot([row["iteration"] for row in known], [row[name] for row in known], marker=marker, label=name)
    losses.set(title="Loss", ylim=(0, None))
    losses.legend()
    accuracy.plot(x, [100 * row["acc"] for row in rows], marker=marker, color=GREEN)
    accuracy.set(title="Accuracy on train batches (%)", ylim=(0, 103))
    rate.step([0, *x], [row["lr"] for row in (rows[0], *rows)], color=INK)  # one rate for the whole epoch
    rate.set(title="Learning rate", yscale="log")
    for ax in (losses, accuracy, rate):
        ax.set(xlabel="iteration")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    first, last = rows[0], rows[-1]
    fig.alt = (
        f"Training over {last['iteration']:,} iterations: loss from {first['loss']:.3g} to {last['loss']:.3g}, "
        f"accuracy on the batches from {100 * first['acc']:.0f} to {100 * last['acc']:.0f} %, "
        f"learning rate between {min(r['lr'] for r in rows):.2g} and {max(r['lr'] for r in rows):.2g}."
    )
    return fig


@styled
def plot_schedule(schedules: Mapping[str, Sequence[float]]) -> Picture:
    """Draw the learning rates of each named schedule, the first epoch's first, on a logarithmic axis."""
    fig, (ax,) = panels(1, width=7.5)
    for name, rates in schedules.items():
        ax.step(range(1, len(rates) + 1), rates, where="mid", label=name)
    ax.set(title="Learning rate", xlabel="epoch", yscale="log")
    ax.legend(loc="upper right")
    fig.alt = "Learning rate by epoch: " + "; ".join(
        f"{name} starts at {rates[0]:.2g}, reaches {max(rates):.2g} and ends at {rates[-1]:.2g}"
        for name, rates in schedules.items()
    )
    return fig


@styled
def plot_cmc(results: Mapping[str, Scores | SysuScores], top: int = 20) -> Picture:
    """Draw the CMC curve of each named Scores up to rank `top`, with a 95 % interval at each rank by resampling people.

    The legend gives rank-1 and mAP.
    """
    fig, (ax,) = panels(1, height=3.8, width=7.5)
    marked = [1, *range(5, top + 1, 5)]
    for (name, scores), marker in zip(results.items(), "osD^vPX" * len(results), strict=False):
        curve = 100 * np.asarray(scores.cmc)[:top]
        label = f"{name}: rank-1 {curve[0]:.1f}, mAP {100 * scores.mAP:.1f}"
        ranks = range(1, len(curve) + 1)
        (line,) = ax.plot(ranks, curve, marker=marker, markevery=[r - 1 for r in marked if r in ranks], label=label)
        low, high = zip(*(scores.interval(f"rank-{rank}") for rank in ranks))
        ax.fill_between(ranks, 100 * np.array(low), 100 * np.array(high), color=line.get_color(), alpha=0.15, lw=0)
    ax.set(title="Queries with a match within the first ranks (CMC)", xlabel="rank", ylabel="% of queries")
    ax.set(xlim=(0.5, top + 0.5), ylim=(None, 101))
    ax.set_xticks(marked)
    ax.legend(loc="lower right")
    fig.alt = "CMC curves. " + "; ".join(line.get_label() for line in ax.lines) + "."
    return fig


@styled
def plot_ap_histogram(scores: Scores | SysuScores, bins: int = 20) -> Picture:
    """Draw how average precision is distributed over the valid queries, with its mean (mAP) and median."""
    fig, (ax,) = panels(1, height=3.0, width=7.5)
    ap = 100 * scores.ap[scores.valid]
    count, _, _ = ax.hist(ap, bins=np.linspace(0, 100, bins + 1), color=BLUE, edgecolor="white")
    ax.axvline(ap.mean(), color=VERMILLION, linestyle="--", label=f"mean (mAP) {ap.mean():.1f}")
    ax.axvline(np.median(ap), color=INK, linestyle=":", label=f"median {np.median(ap):.1f}")
    ax.set(title=f"Average precision of {len(ap):,} queries", xlabel="AP (%)", ylabel="queries", xlim=(0, 100))
    ax.legend(loc="upper left")
    fig.alt = (
        f"Histogram of the average precision of {len(ap):,} queries: mean {ap.mean():.1f} %, median "
        f"{np.median(ap):.1f} %; {count[-1]:.0f} lie in the best bin, {count[0]:.0f} in the worst."
    )
    return fig


@styled
def plot_matrix(
    values: np.ndarray | Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    fmt: str = ".1f",
    ylabel: str = "",
    xlabel: str = "",
) -> Picture:
    """Draw a table of numbers, each cell coloured by its value (cividis) and written in the format `fmt`.

    values: (R, C) float; NaN leaves a cell empty. ValueError if there is not a name for each row and each column.
    """
    table = np.asarray(values, float)
    if table.shape != (len(rows), len(columns)):
        raise ValueError(f"values are {table.shape}, but {len(rows)} rows and {len(columns)} columns are named")
    fig, (ax,) = panels(1, height=1.0 + 0.5 * len(rows), width=min(WIDTH, 2.4 + 0.95 * len(columns)))
    image = ax.imshow(table, aspect="auto")
    ax.set_facecolor(PALE)
    for (i, j), value in np.ndenumerate(table):
        luminance = np.array(image.cmap(image.norm(value))[:3]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
        dark = luminance < 0.21  # where white has more contrast (WCAG) than ink
        text, colour = ("–", GREY) if np.isnan(value) else (format(value, fmt), "white" if dark else INK)
        ax.text(j, i, text, color=colour, ha="center", va="center")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    names = [f"{row} / {column}" for row in rows for column in columns]
    cells = [f"{name}: {text.get_text()}" for name, text in zip(names, ax.texts, strict=True)]
    fig.alt = f"{title or 'Table'} ({ylabel or 'row'} / {xlabel or 'column'}). " + "; ".join(cells) + "."
    return fig
