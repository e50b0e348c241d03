"""Figures of latent diffusion's ablation, drawn from the tables of ``ldm_ablation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adlib.study import figures, ldm_ablation, ldm_classes
from adlib.study.ldm_ablation import ITSELF, TITLES
from adlib.study.ldm_ablation_live import LivePairs
from adlib.study.ldm_figures import STYLES
from adlib.study.ldm_tables import CIFAR10, MNIST, START
from adlib.study.tables import NOT_RUN

GREY = "0.5"
SMALL = 9.5
SELF = -130  # where score(x, x) stands on an axis of t
PANELS = 4  # a row
SHORT = {
    "noise": "noise (paper)",
    "other": "another image",
    "later": "own, t = 600",
    "noise+other": "noise + another",
    "noise, all starts": "noise, all t",
    "other, all starts": "another, all t",
    "noise, seen images": "noise, seen",
    "noise, imagenet stem": "noise, ImageNet",
}


def pairs_against_images(
    found: pd.DataFrame, controls: pd.DataFrame, asked: Sequence[str] = ldm_ablation.ASKED
) -> Figure:
    """Draw how well pairs are told apart, and what that is worth on test images at t = 200.

    Parameters
    ----------
    found : DataFrame
        ``ldm_ablation.pair_runs()``.
    controls : DataFrame
        ``ldm_ablation.controls()``: rows below the variants.
    asked : sequence of str
        Digits, a colour each.
    """
    titles = [*TITLES.values(), *controls.index]
    fig, ax = figures.figure(7, 1.6 + 0.46 * len(titles))
    ax.axvline(50, color=GREY, linewidth=1.2, linestyle="--")
    ax.axhline(len(TITLES) - 0.5, color=GREY, linewidth=0.8)
    places = np.arange(len(titles))
    for number, category in enumerate(asked):
        color, marker = figures.PALETTE[number], figures.MARKERS[number]
        rows = places + 0.25 * (number - (len(asked) - 1) / 2)
        of = found[found["category"] == category]
        told = of.groupby("variant")["pairs"].mean().reindex(list(TITLES))
        seen = of[of["start"] == str(START)].groupby("variant")["auroc"].mean()
        beside = controls[category] if category in controls else pd.Series(dtype=float)
        seen = np.concatenate([seen.reindex(list(TITLES)), beside.reindex(controls.index)])
        ax.hlines(rows[: len(told)], told, seen[: len(told)], color=color, linewidth=0.9, alpha=0.6)
        ax.plot(told, rows[: len(told)], marker, color=color, markerfacecolor="none", markersize=6)
        ax.plot(seen, rows, marker, color=color, markersize=6.5, label=f"digit {category}")
    for place, name in enumerate(TITLES if len(found) else ()):
        if name not in set(found["variant"]):
            ax.text(50, place, NOT_RUN, ha="center", va="center", fontsize=SMALL)
    ax.plot([], [], "o", color=GREY, markerfacecolor="none", label="held-out pairs")
    ax.set_yticks(places, labels=titles)
    ax.tick_params(axis="y", labelsize=SMALL)
    ax.set(xlabel="AUROC [%]", xlim=(0, 103), ylim=(len(titles) - 0.5, -0.5))
    fig.legend(loc="outside lower center", ncols=len(asked) + 1, fontsize=SMALL)
    return _note(fig, ax) if found.empty else fig


def over_starts(
    found: pd.DataFrame, plain: pd.DataFrame, asked: Sequence[str] = ldm_ablation.ASKED
) -> Figure:
    """Draw AUROC against the start t, a panel a kind of pairs, a line a digit.

    Parameters
    ----------
    found : DataFrame
        ``ldm_ablation.pair_runs()``.
    plain : DataFrame
        ``ldm_tables.by_start()``: the pixel error of the same reconstructions, dotted.
    asked : sequence of str
    """
    rows = -(-len(TITLES) // PANELS)
    fig, axes = figures.figure(7, 2.5 * rows + 0.5, rows, PANELS, sharex=True, sharey=True)
    for ax, name in zip(axes.ravel(), TITLES, strict=False):
        of = found[found["variant"] == name]
        ax.axhline(50, color=GREY, linewidth=1.2, linestyle="--")
        ax.axvline(START, color=GREY, linewidth=0.8)
        for number, category in enumerate(asked):
            color = figures.PALETTE[number]
            error = plain[(plain["category"] == category) & (plain["kind"] == "pixel")]
            ax.plot(error["t"], error["auroc"], ":", color=color, linewidth=1.2)
            means = of[of["category"] == category].groupby("start")["auroc"].mean()
            line = means.drop(ITSELF, errors="ignore")
            line.index = line.index.astype(int)
            line = line.sort_index()
            style = {"color": color, "marker": figures.MARKERS[number], "markersize": 4}
            ax.plot(line.index, line, **style, label=f"digit {category}")
            if ITSELF in means:
                ax.plot(SELF, means[ITSELF], **style | {"markerfacecolor": "none"})
        ax.set_title(SHORT[name], fontsize=10.5)
        ax.set_xticks([SELF, 0, START, 400], labels=["x", "0", str(START), "400"], fontsize=SMALL)
        ax.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
        if of.empty:
            _note(fig, ax)
    for ax in axes[-1]:
        ax.set_xlabel("start t")
    for ax in axes[:, 0]:
        ax.set_ylabel("AUROC [%]")
    axes[0, 0].plot([], [], ":", color=GREY, label="pixel error")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=SMALL)
    return fig


def kept_classes(
    found: Mapping[str, dict[str, Any]], asked: Sequence[str] = ldm_ablation.ASKED
) -> Figure:
    """Draw how often a reconstruction keeps the class of its image, a panel a held-out digit.

    Parameters
    ----------
    found : mapping
        ``ldm_ablation.class_runs()``.
    asked : sequence of str
    """
    fig, axes = figures.figure(7, 3.3, 1, len(asked), sharey=True)
    starts = (0, *ldm_classes.STARTS)
    for ax, category in zip(np.atleast_1d(axes), asked, strict=True):
        ax.set(title=f"digit {category} held out", xlabel="start t", ylim=(0, 103))
        ax.set_xticks([0, START, 400])
        if category not in found:
            ax.set_xlim(-20, 520)
            _note(fig, ax)
            continue
        study = found[category]
        ceiling = study["labeller_accuracy"] * 100
        ax.axhline(ceiling, color=GREY, linewidth=1.2, linestyle="--", label="labeller on images")
        for kind, color, marker in zip(
            ("normal", "anomalous"), figures.PALETTE, "os", strict=False
        ):
            shares = [study["kept"][str(t)][kind] * 100 for t in starts]
            label = "normal digits" if kind == "normal" else "held-out digit"
            ax.plot(starts, shares, color=color, marker=marker, label=label)
    np.atleast_1d(axes)[0].set_ylabel("class kept [%]")
    return _legend(fig)


def by_category(runs: pd.DataFrame) -> Figure:
    """Draw the classifier and the plain errors of the same run, a row a category of both sets."""
    parts = [ldm_ablation.by_score(runs, layout, ldm_ablation.PLAIN) for layout in (MNIST, CIFAR10)]
    found = pd.concat(parts)
    fig, ax = figures.figure(7, 1.9 + 0.34 * max(len(found), 3))
    if found.empty:
        return _note(fig, ax)
    rows = np.arange(len(found))
    scores = found[list(ldm_ablation.PLAIN)]
    ax.axvline(50, color=GREY, linewidth=1.2, linestyle="--")
    ax.hlines(rows, scores.min(axis=1), scores.max(axis=1), color=GREY, linewidth=0.8, alpha=0.7)
    for title in scores:
        color, marker = STYLES[title]
        size = 10 if marker == "*" else 6.5
        ax.plot(scores[title], rows, marker, color=color, markersize=size, label=title)
    names = [f"MNIST {name}" for name in parts[0].index]
    names += [f"CIFAR-10 {name}" for name in parts[1].index]
    ax.set_yticks(rows, labels=names)
    ax.set(xlabel="AUROC [%]", xlim=(0, 100), ylim=(len(found) - 0.5, -0.5))
    return _legend(fig, 2)


def against_ink(runs: pd.DataFrame) -> Figure:
    """Draw the AUROC of each score against that of the mean ink: a panel a score, a digit a point.

    On the diagonal a score says what the ink says; CIFAR-10's sets are small grey squares.
    """
    shown = list(ldm_ablation.INKED)
    rows = -(-len(shown) // 2)
    fig, axes = figures.figure(5.6, 2.7 * rows + 0.3, rows, 2, sharex=True, sharey=True)
    digits, sets = (
        ldm_ablation.by_score(runs, layout, ldm_ablation.INKED) for layout in (MNIST, CIFAR10)
    )
    for ax, title in zip(axes.ravel(), shown, strict=False):
        ax.plot([0, 100], [0, 100], color=GREY, linewidth=1)
        ax.axhline(50, color=GREY, linewidth=1.2, linestyle="--")
        ax.plot(sets["control"], sets[title], "s", color=GREY, markersize=4)
        for digit, row in digits.iterrows():
            at = (row["control"], row[title])
            ax.plot(*at, "o", color=figures.PALETTE[0], alpha=0.25, markersize=11)
            ax.text(*at, digit, ha="center", va="center_baseline", fontsize=8)
        ax.set_title(title, fontsize=10.5)
        ax.set(xlim=(0, 100), ylim=(0, 100), xticks=[0, 50, 100], yticks=[0, 50, 100])
        if digits.empty and sets.empty:
            _note(fig, ax)
    for ax in axes[-1]:
        ax.set_xlabel("AUROC of the ink [%]")
    for ax in axes[:, 0]:
        ax.set_ylabel("AUROC of the score [%]")
    return fig


def live_pairs(shown: LivePairs) -> Figure:
    """Draw a few pairs: the images, what is called the same, and what is called different.

    Below each pair stands what the classifier says of it, P(different) in percent.
    """
    n = len(shown.images)
    rows = [("image", shown.images, "")]
    for kind, made in shown.different.items():
        rows += [(f"{kind}:\nsame", shown.same, f"{kind}/same")]
        rows += [(f"{kind}:\ndifferent", made, kind)]
    fig, axes = figures.figure(7, 1.12 * len(rows) + 0.2, len(rows), n)
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for line, (label, pictures, what) in zip(axes, rows, strict=True):
        kind, _, same = what.partition("/")
        said = shown.said[kind, "same" if same else "different"] if kind else [None] * n
        for ax, one, probability in zip(line, pictures, said, strict=True):
            figures.picture(ax, np.repeat(one, 3 // one.shape[2], axis=2))
            if probability is not None:
                ax.set_xlabel(f"{probability * 100:.0f}", fontsize=SMALL, labelpad=1)
        line[0].set_ylabel(label, fontsize=SMALL, rotation=0, ha="right", va="center")
    return fig


def _legend(fig: Figure, columns: int = 3) -> Figure:
    """Put one legend below: each label once, whichever panel it is from."""
    named = {}
    for ax in fig.axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    if named:
        fig.legend(named.values(), named, loc="outside lower center", ncols=columns, fontsize=SMALL)
    return fig


def _note(fig: Figure, ax: Axes) -> Figure:
    ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center")
    return fig
