"""Figures of PatchCore's ablations and of its low-shot study, drawn from tables of runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from adlib.study import figures, low_shot, subsampler_ablation
from adlib.study.patchcore_ablation import METRICS, Sweep
from adlib.study.subsampler_ablation import percent

GREY = "0.5"
OF_ARM = dict(zip(subsampler_ablation.ARMS, figures.PALETTE, strict=False))
OF_METHOD = dict(zip(low_shot.METHODS, figures.PALETTE, strict=False))
LABEL_SIZE = 9  # of tick labels where three panels share 7 inches


def sweep_panels(
    sweep: Sweep,
    curves: dict[str, pd.DataFrame],
    differences: dict[str, pd.DataFrame],
    printed: dict[str, dict[str, float]] | None = None,
) -> Figure:
    """Draw one choice: values by category above, paired differences from the default below.

    Parameters
    ----------
    sweep : Sweep
    curves : dict of str to DataFrame
        Metric -> ``patchcore_ablation.curve()``; a column of panels a metric.
    differences : dict of str to DataFrame
        Metric -> ``patchcore_ablation.differences()``.
    printed : dict of str to dict, optional
        Metric -> label -> the paper's own difference from its default, percentage points.
    """
    fig, axes = figures.figure(7, 5.4, 2, len(curves), sharex=True)
    axes = np.reshape(axes, (2, len(curves)))
    for column, (metric, measured) in zip(axes.T, curves.items(), strict=True):
        _by_category(column[0], measured)
        _differences(column[1], sweep, differences[metric], (printed or {}).get(metric, {}))
        column[0].set_title(METRICS.get(metric, metric))
        column[1].set_xticks(
            range(len(sweep.points)),
            labels=list(sweep.points),
            fontsize=LABEL_SIZE,
            rotation=45 if max(map(len, sweep.points)) > 3 else 0,
        )
        for ax in column:
            ax.tick_params(axis="y", labelsize=LABEL_SIZE)
    axes[0, 0].set_ylabel("value [%]")
    axes[1, 0].set_ylabel("difference [points]")
    axes[1, len(curves) // 2].set_xlabel(f"{sweep.name} (default: {sweep.default})")
    _legend_below(fig, axes)
    return fig


def subsampler_panels(curves: dict[str, pd.DataFrame]) -> Figure:
    """Draw Fig. 5: a row a category, a column a metric, a line a subsampler.

    Parameters
    ----------
    curves : dict of str to DataFrame
        Metric -> ``subsampler_ablation.curve()``.
    """
    categories = sorted(set().union(*(curve["category"] for curve in curves.values())))
    fig, axes = figures.figure(
        7, 2.6 * max(1, len(categories)) + 0.6, max(1, len(categories)), len(curves)
    )
    axes = np.reshape(axes, (max(1, len(categories)), len(curves)))
    for row, category in zip(axes, categories, strict=False):
        for ax, (metric, measured) in zip(row, curves.items(), strict=True):
            _arms(ax, measured[measured["category"] == category])
            ax.set_title(f"{category}: {METRICS.get(metric, metric)}", fontsize=LABEL_SIZE + 1)
        row[0].set_ylabel("value [%]")
    for ax in axes[-1]:
        ax.set_xlabel("patches kept")
    _legend_below(fig, axes)
    return fig


def used_panels(curve: pd.DataFrame, printed: dict[float, float] | None = None) -> Figure:
    """Draw the share of the bank that was ever nearest to a test patch, a panel a category.

    Parameters
    ----------
    curve : DataFrame
        ``subsampler_ablation.curve()`` of ``bank_used``.
    printed : dict of float to float, optional
        Fraction -> the share the paper prints, percent.
    """
    categories = sorted(curve["category"].unique())
    fig, axes = figures.figure(7, 3.4, 1, max(1, len(categories)), sharey=True)
    axes = np.reshape(axes, -1)
    for ax, category in zip(axes, categories, strict=False):
        of = curve[curve["category"] == category]
        _arms(ax, of, whole_as_line=False)
        for fraction, share in (printed or {}).items():
            ax.plot(
                fraction, share, "*", color=GREY, markersize=11, zorder=4, label="paper, as printed"
            )
        ax.set(title=category, xlabel="patches kept", ylim=(-3, 103))
        ax.tick_params(labelsize=LABEL_SIZE)
    axes[0].set_ylabel("share of the bank used [%]")
    _legend_below(fig, axes)
    return fig


def shot_panels(
    curves: dict[str, pd.DataFrame], levels: dict[str, pd.DataFrame], by_category: bool = False
) -> Figure:
    """Draw Fig. 6: detection against the number of normal images, a line a method.

    Parameters
    ----------
    curves : dict of str to DataFrame
        Metric -> ``low_shot.curve()``.
    levels : dict of str to DataFrame
        Metric -> ``low_shot.ceiling()``, drawn dashed.
    by_category : bool
        A row a category; else one row, the mean over the categories that all methods have.
    """
    shared = sorted(set().union(*(low_shot.common(curve) for curve in curves.values())))
    every = sorted(set().union(*(curve["category"] for curve in curves.values())))
    groups = {name: [name] for name in every} if by_category else {"": shared}
    rows = max(1, len(groups))
    fig, axes = figures.figure(7, 2.5 * rows + 0.7, rows, len(curves), sharex=True)
    axes = np.reshape(axes, (rows, len(curves)))
    for row, (title, categories) in zip(axes, groups.items(), strict=False):
        for ax, (metric, measured) in zip(row, curves.items(), strict=True):
            _shots(ax, measured, levels[metric], categories)
            name = METRICS.get(metric, metric)
            ax.set_title(f"{title}: {name}" if title else name, fontsize=LABEL_SIZE + 1)
        row[0].set_ylabel("value [%]")
    for ax in axes[-1]:
        ax.set_xlabel("normal images")
    _legend_below(fig, axes)
    return fig


def _by_category(ax: Axes, curve: pd.DataFrame) -> None:
    for color, (category, of) in zip(figures.PALETTE, curve.groupby("category"), strict=False):
        cells = of.pivot_table(index="position", columns="seed", values="value") * 100
        figures.line_with_spread(ax, cells.index, cells.to_numpy(), category, color)


def _differences(
    ax: Axes, sweep: Sweep, differences: pd.DataFrame, printed: dict[str, float]
) -> None:
    ax.axhline(0, color=GREY, linewidth=1)
    if len(differences):
        mean = differences["mean"]
        ax.errorbar(
            differences["position"],
            mean,
            yerr=[mean - differences["low"], differences["high"] - mean],
            fmt="o",
            color=figures.PALETTE[4],
            capsize=3,
            label="mean over categories, 95 % interval",
        )
    default = list(sweep.points).index(sweep.default)
    ax.plot(default, 0, "o", markerfacecolor="none", color=GREY, label="default")
    places = [(list(sweep.points).index(label), value) for label, value in printed.items()]
    if places:
        ax.plot(*zip(*places, strict=True), "*", color=GREY, markersize=10, label="paper")


def _arms(ax: Axes, of: pd.DataFrame, whole_as_line: bool = True) -> None:
    for (arm, color), marker in zip(OF_ARM.items(), figures.MARKERS, strict=False):
        cells = (
            of[of["arm"] == arm].pivot_table(index="fraction", columns="seed", values="value") * 100
        )
        if len(cells):
            figures.line_with_spread(ax, cells.index, cells.to_numpy(), arm, color, marker=marker)
    whole = of.loc[of["arm"] == "whole bank", "value"]
    if len(whole) and whole_as_line:
        ax.axhline(
            whole.mean() * 100, linestyle="--", color=GREY, linewidth=1.2, label="whole bank"
        )
    elif len(whole):
        ax.plot(1, whole.mean() * 100, "s", color=GREY, label="whole bank")
    ticks = [t for t in (0.001, 0.01, 0.1, 1) if len(of) and t <= of["fraction"].max() * 1.01]
    _log_axis(ax, ticks, [percent(t) for t in ticks])


def _shots(ax: Axes, curve: pd.DataFrame, levels: pd.DataFrame, categories: list[str]) -> None:
    full = levels[levels["category"].isin(categories)]
    for (method, color), marker in zip(OF_METHOD.items(), figures.MARKERS, strict=False):
        cells = low_shot.by_shots(curve, method, categories) * 100
        if len(cells):
            figures.line_with_spread(
                ax, cells.index, cells.to_numpy(), method, color, marker=marker
            )
        own = full[full["method"] == method]
        if len(own) == len(categories) > 0:
            ax.axhline(own["value"].mean() * 100, linestyle="--", color=color, linewidth=1.2)
    if len(full):
        ax.plot([], [], "--", color=GREY, linewidth=1.2, label="all images")
    most = curve["shots"].max() if len(curve) else low_shot.SHOTS[-1]
    ticks = [n for n in low_shot.SHOTS if n <= most and n != 16]  # too near to 20 for its label
    _log_axis(ax, ticks, [str(n) for n in ticks])


def _log_axis(ax: Axes, ticks: Sequence[float], labels: Sequence[str]) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, labels=labels)
    ax.tick_params(labelsize=LABEL_SIZE)


def _legend_below(fig: Figure, axes: np.ndarray) -> None:
    """Put one legend under all panels: inside, it would hide what is drawn."""
    named = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        columns = 4 if len(named) == 4 else min(3, len(named))
        fig.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns)
