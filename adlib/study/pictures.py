"""Figures that more than one place shows: a page and the README draw the same one."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from adlib.study import ablation, figures

COLORS = dict(zip(("coordinate", "gaussian", "haar"), figures.PALETTE, strict=False))


def dimension_panels(curve: pd.DataFrame, ylabel: str) -> Figure:
    """Draw the dimension ablation, a panel a category: mean, range and every seed.

    Parameters
    ----------
    curve : DataFrame
        ``report.dimension_curve()``.
    ylabel : str
        Name of the metric; the axis is in percent.
    """
    categories = sorted(curve["category"].unique())
    rows = max(1, math.ceil(len(categories) / 2))
    fig, axes = figures.figure(7, 3 * rows, rows=rows, columns=2)
    for ax, category in zip(axes.flat, categories, strict=False):
        of_category = curve[curve["category"] == category]
        for reduction, color in COLORS.items():
            runs = ablation.arm(of_category, reduction)
            cells = runs.pivot_table(index="dim", columns="seed", values="value") * 100
            if len(cells):
                figures.line_with_spread(ax, cells.index, cells.to_numpy(), reduction, color)
        ceiling = ablation.ceiling(of_category) * 100
        if len(ceiling):
            ax.axhline(ceiling.iloc[0], linestyle="--", color="0.5", linewidth=1.2)
        ax.set(title=category, xlabel="dimensions m", ylabel=f"{ylabel} [%]")
    for ax in axes.flat[len(categories) :]:
        ax.set_visible(False)
    if categories:
        axes.flat[0].legend(loc="lower right")
    return fig


def gain(gains: pd.DataFrame, ylabel: str) -> Figure:
    """Draw what a projection gains over the choice of coordinates against dimension.

    Parameters
    ----------
    gains : DataFrame
        ``ablation.gains()``, may be empty.
    ylabel : str
        Name of the metric; the axis is in percentage points.
    """
    fig, ax = figures.figure(7, 4)
    ax.axhline(0, color="0.5", linewidth=1)
    ax.set(xlabel="dimensions m", ylabel=f"gain in {ylabel} [points]", xscale="log")
    if gains.empty:
        return fig
    for offset, ((reduction, eps_scale), name) in enumerate(ablation.ARMS.items()):
        points = gains[(gains["reduction"] == reduction) & (gains["eps_scale"] == eps_scale)]
        nominal = eps_scale == "nominal"
        if len(points):
            ax.errorbar(
                points["dim"] * (0.965 + 0.014 * offset),  # side by side: intervals stay readable
                points["gain"],
                yerr=[points["gain"] - points["low"], points["high"] - points["gain"]],
                label=name,
                color=COLORS[reduction],
                marker="o",
                capsize=3,
                linestyle="-" if nominal else ":",
                markerfacecolor=None if nominal else "none",
            )
    ticks = sorted(gains["dim"].unique())
    ax.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.legend()
    return fig
