"""The charts: splits, logs, schedules, curves and tables of numbers; each returns a Picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from reidlib.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, SKY, VERMILLION, WIDTH, Picture, styled


def _panels(count: int, height: float = 3.2, width: float = WIDTH) -> tuple[Picture, np.ndarray]:
    fig = Picture(figsize=(width, height), layout="constrained")
    return fig, np.atleast_1d(fig.subplots(1, count))


@styled
def plot_split(split) -> Picture:
    """Images per identity in the train set, and images per camera in all three sets, as a Picture."""
    fig, (left, right) = _panels(2)
    sizes = np.unique(split.train.pids, return_counts=True)[1]
    step = -(-(np.ptp(sizes) + 1) // 30)  # whole numbers of images in each of at most 30 bars
    left.hist(sizes, bins=np.arange(sizes.min() - 0.5, sizes.max() + step, step), color=BLUE, edgecolor="white")
    left.axvline(sizes.mean(), color=VERMILLION, linestyle="--", label=f"mean {sizes.mean():.1f}")
    left.set(title=f"Train: images per identity ({len(sizes):,} people)", xlabel="images", ylabel="identities")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    _camera_bars(right, split)
    sets = (split.train, split.query, split.gallery)
    fig.alt = (
        f"Two charts of {split.name}. Train images per identity: {sizes.min()} to {sizes.max()}, "
        f"mean {sizes.mean():.1f}. Images per camera: {len(_cameras(*sets))} cameras, "
        + ", ".join(f"{part} {len(shots):,}" for part, shots in zip(("train", "query", "gallery"), sets, strict=True))
        + "."
    )
    return fig


def _cameras(*sets) -> np.ndarray:
    return np.unique(np.concatenate([shots.camids for shots in sets]))


def _camera_bars(ax, split) -> None:
    """Three bars a camera; the gallery's distractors and junk lie on top of its people."""
    cameras = _cameras(split.train, split.query, split.gallery)
    place = np.arange(len(cameras))

    def bars(shots, chosen, offset, label, **look):
        count = (shots.camids[chosen][:, None] == cameras).sum(0)
        ax.bar(place + offset, count, width=0.27, edgecolor="white", label=f"{label} {count.sum():,}", **look)
        return count

    people = split.gallery.pids > 0
    bars(split.train, slice(None), -0.28, "train", color=BLUE)
    bars(split.query, slice(None), 0, "query", color=ORANGE, hatch="///")
    below = bars(split.gallery, people, 0.28, "gallery", color=SKY, hatch="...")
    if not people.all():
        bars(split.gallery, ~people, 0.28, "distractors, junk", color="#cccccc", hatch="xxx", bottom=below)
    ax.set(title="Images per camera", xlabel="camera", ylabel="images", xticks=place, xticklabels=cameras)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.3)  # room for the legend
    ax.legend(ncols=2, loc="upper left", handlelength=1.6, columnspacing=1.2)


@styled
def plot_log(rows: Sequence[Mapping]) -> Picture:
    """Losses, accuracy on the batches and learning rate over iterations, side by side, as a Picture.

    rows: those of `fit`, at least one, each with iteration, loss, acc and lr; every further number but the
    counters and the times is drawn as a part of the loss, in the epochs that have it.
    """
    if not rows:
        raise ValueError("no rows to plot; hand over the rows that fit() yielded, or those of log.csv")
    fig, (losses, accuracy, rate) = _panels(3, height=3.0)
    x = [row["iteration"] for row in rows]
    marker = "o" if len(rows) < 15 else ""
    others = {"epoch", "iteration", "acc", "lr", "ids_seen", "images_seen"}
    others |= {"world", "seconds", "images_per_s", "waiting", "saving", "peak_mb", "peak_gpu_mb"}
    for part in dict.fromkeys(key for row in rows for key in row if key not in others):
        known = [row.get(part, "") != "" for row in rows]  # the phases of a training have losses of their own
        losses.plot(
            [at for at, here in zip(x, known, strict=True) if here],
            [row[part] for row, here in zip(rows, known, strict=True) if here],
            marker=marker,
            label=part,
        )
    losses.set(title="Loss", ylim=(0, None))
    losses.legend()
    accuracy.plot(x, [100 * row["acc"] for row in rows], marker=marker, color=GREEN)
    accuracy.set(title="Accuracy on train batches (%)", ylim=(0, 103))
    rate.plot(x, [row["lr"] for row in rows], marker=marker, color=INK)
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
    """Learning rate by epoch, a line for each named schedule, on a log axis, as a Picture.

    schedules: name -> the rate during each epoch, first epoch first.
    """
    fig, (ax,) = _panels(1, height=3.2, width=7.5)
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
def plot_cmc(results: Mapping[str, object], top: int = 20) -> Picture:
    """CMC curves up to rank `top`, a line for each named Scores, as a Picture; the legend gives rank-1 and mAP.

    The band around a line is its 95 % bootstrap interval over the queries.
    """
    fig, (ax,) = _panels(1, height=3.8, width=7.5)
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
def plot_ap_histogram(scores, bins: int = 20) -> Picture:
    """How the average precision is spread over the valid queries, with their mean (mAP), as a Picture."""
    fig, (ax,) = _panels(1, height=3.0, width=7.5)
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
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    fmt: str = ".1f",
    ylabel: str = "",
    xlabel: str = "",
) -> Picture:
    """A table of numbers coloured by value (cividis), as a Picture; NaN is an empty cell.

    values (R, C), rows R names, columns C names, fmt a format such as ".1f". ValueError if the shapes differ.
    """
    values = np.asarray(values, float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"values are {values.shape}, but {len(rows)} rows and {len(columns)} columns are named")
    fig, (ax,) = _panels(1, height=1.0 + 0.5 * len(rows), width=min(WIDTH, 2.4 + 0.95 * len(columns)))
    image = ax.imshow(values, aspect="auto")
    ax.set_facecolor(PALE)
    for (i, j), value in np.ndenumerate(values):
        luminance = np.array(image.cmap(image.norm(value))[:3]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
        dark = luminance < 0.21  # where white has more contrast (WCAG) than ink
        empty = np.isnan(value)
        text, colour = ("–", GREY) if empty else (format(value, fmt), "white" if dark else INK)
        ax.text(j, i, text, color=colour, ha="center", va="center")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    cells = (
        f"{r} / {c}: {ax.texts[i * len(columns) + j].get_text()}"
        for i, r in enumerate(rows)
        for j, c in enumerate(columns)
    )
    fig.alt = f"{title or 'Table'} ({ylabel or 'row'} / {xlabel or 'column'}). " + "; ".join(cells) + "."
    return fig
