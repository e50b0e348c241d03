"""Figures of the coreset page: subsets of points, the lazy selection, its cost, patches kept.

The two figures of cost take rows of ``results/bench/coreset.json``, which
``benchmarks/coreset.py`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import NullLocator

from adlib.study import figures
from adlib.study.coreset_demo import nearest_kept
from adlib.study.coreset_trace import BOUNDED, MEASURED, NEVER, Phase, Trace

POINT, KEPT, PALE = figures.PALETTE[0], figures.PALETTE[1], figures.PALETTE[5]
GREY = "0.5"
SMALL = 9  # of labels in dense panels
PAIRS = {NEVER: "never looked at", BOUNDED: "ruled out by a bound", MEASURED: "measured"}
SIDES = {
    "adlib": "ours, exact",
    "product": "one matrix product",
    "plain": "plain greedy, float32",
    "anomalib": "anomalib",
}


def subsets(data: Mapping[str, np.ndarray], kept: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw subsets of points in the plane and where each covers worst (the paper's Fig. 3).

    Parameters
    ----------
    data : mapping of str to ndarray of shape (N, 2)
        A column each.
    kept : mapping of str to mapping of str to ndarray of int
        Way of choosing -> name of the data -> indices; a row each. The circle is empty of kept
        points, its radius is the covering radius.
    """
    fig, axes = figures.figure(7, 3.5 * len(kept) + 0.2, len(kept), len(data))
    axes = np.reshape(axes, (len(kept), len(data)))
    for line, (way, chosen) in zip(axes, kept.items(), strict=True):
        for ax, (name, points) in zip(line, data.items(), strict=True):
            nearest = nearest_kept(points, chosen[name])
            worst = int(np.argmax(nearest))
            ax.plot(*points.T, ".", color=POINT, alpha=0.3, markersize=2.5, rasterized=True)
            ax.plot(*points[chosen[name]].T, "o", color=KEPT, markersize=3.5)
            ax.add_patch(Circle(points[worst], nearest[worst], fill=False, lw=1.4, color="black"))
            ax.set(xticks=[], yticks=[], title=f"{name}: {way}\nradius {nearest[worst]:.2f}")
            ax.set_aspect("equal")
            ax.grid(False)
            ax.spines[:].set_visible(False)
            low, high = points.min(axis=0), points.max(axis=0)
            edge = 0.1 * (high - low).max()  # the same below each other, whatever the circles
            ax.set_xlim(low[0] - edge, high[0] + edge)
            ax.set_ylim(low[1] - edge, high[1] + edge)
    return fig


def radius_panels(curves: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw the covering radius against the number kept, and half the first curve as the limit.

    Parameters
    ----------
    curves : mapping of str to mapping of str to ndarray of shape (S, n)
        Name of the data, a panel each -> way of choosing -> radius after 1..n kept, a row a seed.
        No subset whatsoever lies below half of ``coreset``.
    """
    fig, axes = figures.figure(7, 3.4, 1, len(curves), sharey=True)
    for ax, (name, ways) in zip(np.ravel(axes), curves.items(), strict=True):
        for (way, values), color, style in zip(
            ways.items(), (POINT, KEPT, *figures.PALETTE[2:]), ("-", "--", ":", "-."), strict=False
        ):
            x = np.arange(1, values.shape[1] + 1)
            ax.plot(x, values.mean(axis=0), style, color=color, label=way)
            low, high = values.min(axis=0), values.max(axis=0)
            ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
            if way == "coreset":
                bound = values.max(axis=0) / 2
                ax.fill_between(x, 0, bound, color=GREY, alpha=0.25, lw=0, label="impossible")
        ax.set(xscale="log", yscale="log", xlabel="points kept", title=name)
    np.ravel(axes)[0].set_ylabel("covering radius")
    _legend(fig, np.ravel(axes)[0], 3)
    return fig


def selection(trace: Trace, phase: Phase) -> Figure:
    """Draw which pairs a lazy selection looked at, and one of its phases.

    Parameters
    ----------
    trace : Trace
    phase : Phase
        One of ``trace.phases``.
    """
    fig, axes = figures.figure(7, 4.6, 1, 2)
    _pairs(axes[0], trace)
    _phase(axes[1], phase)
    return fig


def _pairs(ax: Axes, trace: Trace) -> None:
    shown = {NEVER: to_rgba("black", 0), BOUNDED: to_rgba(PALE), MEASURED: to_rgba(KEPT)}
    N, n = trace.pairs.shape
    ax.imshow(
        trace.pairs,
        cmap=ListedColormap(list(shown.values())),
        vmin=NEVER,
        vmax=MEASURED,
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, n + 0.5, N - 0.5, -0.5),
    )
    ax.spines[:].set_visible(True)
    ax.grid(False)
    ax.set(xlabel="centre, in the order of selection", ylabel="patch, row by row")
    labels = [
        Patch(facecolor=shown[kind], edgecolor=GREY, label=f"{name}, {trace.share(kind):.0%}")
        for kind, name in PAIRS.items()
    ]
    ax.legend(handles=labels, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _phase(ax: Axes, phase: Phase) -> None:
    rank = np.argsort(-phase.before, kind="stable")
    before, after = phase.before[rank], phase.after[rank]
    stale = (before >= phase.theta) & ~phase.current[rank]
    shown = max(8, int(2.2 * (before >= phase.theta).sum()))
    x = np.arange(1, len(rank) + 1)
    ax.plot(x[:shown], before[:shown], ".", color=GREY, markersize=4, label="upper bound u")
    ax.vlines(x[stale], after[stale], before[stale], color=GREY, lw=0.6, alpha=0.6)
    hinted = phase.hinted[rank]
    groups = {
        "brought below by a hint": (stale & hinted, "v", figures.PALETTE[2]),
        "below after a scan": (stale & ~hinted & (after < phase.theta), "D", figures.PALETTE[3]),
        "true distance: candidate": (after >= phase.theta, "o", KEPT),
    }
    for label, (which, marker, color) in groups.items():
        if which.any():
            ax.plot(x[which], after[which], marker, color=color, ls="", markersize=4, label=label)
    ax.axhline(phase.theta, color="black", ls="--", lw=1.2, label=r"threshold $\theta$")
    ax.set(xlabel="patch, largest bound first", ylabel="distance to the nearest centre")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def cost_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the seconds of each side, a group of bars a case, on a logarithmic scale.

    Parameters
    ----------
    rows : sequence of mapping
        ``results`` of the measurement. A side of which fewer steps were measured than there are
        centres was extrapolated and gets a star.
    """
    sides = [side for side in SIDES if any(side in row["medians"] for row in rows)]
    fig, ax = figures.figure(7, 0.8 + 0.28 * (len(sides) + 1) * len(rows))
    for i, side in enumerate(sides):
        at = [k for k, row in enumerate(rows) if side in row["medians"]]
        spent = [rows[k]["medians"][side]["seconds"] for k in at]
        y = [k * (len(sides) + 1) + i for k in at]
        bars = ax.barh(y, spent, color=figures.PALETTE[i], label=SIDES[side])
        ax.bar_label(bars, [_seconds(rows[k], side) for k in at], padding=3, fontsize=SMALL)
    names = [
        f"{row['name']} {row['fraction']:.0%}\n{row['points'][0]:,} x {row['centres']:,}"
        for row in rows
    ]
    middle = (len(sides) - 1) / 2
    ax.set_yticks([k * (len(sides) + 1) + middle for k in range(len(rows))], names)
    ax.set(xscale="log", xlabel="processor seconds, one thread")
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    _legend(fig, ax, 2)
    return fig


def _seconds(row: Mapping[str, Any], side: str) -> str:
    found = row["medians"][side]
    value = found["seconds"]
    star = "*" if found.get("measured_steps", row["centres"]) < row["centres"] else ""
    return f"{value:,.0f} s{star}" if value >= 100 else f"{value:.2g} s{star}"


def growth_panels(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw seconds against points at a share kept, and against centres at a number of points.

    Parameters
    ----------
    rows : sequence of mapping
        ``growth`` of the measurement; rows with a ``kind`` (of points) get lines of their own.
        Dashed lines are the matrix product.
    """
    fig, axes = figures.figure(7, 3.8, 1, 2, sharey=True)
    for ax, x in zip(axes, ("points", "centres"), strict=True):
        for i, (name, line) in enumerate(_lines(rows, x).items()):
            color, at = figures.PALETTE[i % len(figures.PALETTE)], [row[x] for row in line]
            ours, product = ([row["seconds"][s] for row in line] for s in ("adlib", "product"))
            marker = figures.MARKERS[i % len(figures.MARKERS)]
            ax.plot(at, ours, marker=marker, color=color, label=name)
            ax.plot(at, product, "--", color=color, lw=1.1)
        ax.set(xscale="log", yscale="log", xlabel=x)
        if ax.lines:
            ticks = sorted({int(value) for line in ax.lines for value in line.get_xdata()})
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=SMALL)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.legend(fontsize=SMALL, loc="upper left")
    axes[0].set_ylabel("processor seconds, one thread")
    return fig


def _lines(rows: Sequence[Mapping[str, Any]], x: str) -> dict[str, list[Mapping[str, Any]]]:
    """Group rows that differ in `x` only: the same share kept, or the same number of points."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row[x]):
        share, N = row["centres"] / row["points"], row["points"]
        fixed = f"{share * 100:.2g} % kept" if x == "points" else f"{N:,} points"
        name = f"{row['kind']}, {fixed}" if row.get("kind") else fixed
        groups.setdefault(name, []).append(row)
    return {name: line for name, line in groups.items() if len({row[x] for row in line}) > 1}


def kept_patches(
    images: Sequence[np.ndarray], kept: Mapping[str, np.ndarray], grid: tuple[int, int]
) -> Figure:
    """Draw kept patches as squares on the images that they come from.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (H, W, 3)
        The first images of the bank, a column each.
    kept : mapping of str to ndarray of int, shape (n, 3)
        Way of choosing, a row each -> image, row and column of every patch (``places``).
    grid : tuple of int
        Rows and columns of patches in an image.
    """
    side = 7 / len(images)
    fig, axes = figures.figure(7, (side + 0.12) * len(kept) + 0.2, len(kept), len(images))
    axes = np.reshape(axes, (len(kept), len(images)))
    for line, (way, all_places) in zip(axes, kept.items(), strict=True):
        line[0].set_ylabel(way)
        for number, (ax, image) in enumerate(zip(line, images, strict=True)):
            figures.picture(ax, image)
            height, width = image.shape[0] / grid[0], image.shape[1] / grid[1]
            for _, row, column in all_places[all_places[:, 0] == number]:
                corner = (column * width - 0.5, row * height - 0.5)
                for color, lw in (("#101010", 2.2), ("white", 1.0)):
                    ax.add_patch(Rectangle(corner, width, height, fill=False, color=color, lw=lw))
            ax.set_xlabel(f"{(all_places[:, 0] == number).sum()} kept", fontsize=SMALL)
    return fig


def _legend(fig: Figure, ax: Axes, columns: int) -> None:
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=columns)
