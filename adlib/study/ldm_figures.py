"""Figures of the latent-diffusion chapter, drawn from tables of records and from pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from adlib.study import figures, ldm_tables
from adlib.study.ldm_pictures import Pictures
from adlib.study.ldm_tables import KINDS, START
from adlib.study.tables import NOT_RUN

GREY = "0.5"
SMALL = 10
BLUE, RED, GREEN, BROWN, PINK, SKY = figures.PALETTE
STYLES = {
    f"classifier, t = {START}": (RED, "*"),
    f"pixel error, t = {START}": (BLUE, "o"),
    f"latent error, t = {START}": (GREEN, "^"),
    "pixel error, z-scores over t": (BROWN, "P"),
    "latent error, z-scores over t": (PINK, "X"),
    "VQ model alone": (GREY, "s"),
    "autoencoder": (BROWN, "D"),
    "AnoDDPM": (PINK, "v"),
    "DDPM, z-scores": (SKY, "P"),
}
"""Colour and marker of each score, in every figure that shows scores side by side."""
KIND_COLORS = {"pixel": BLUE, "latent": GREEN, "classifier": RED}
MARGIN = 3  # points of AUROC
WIDE = 8  # ratio of losses from which an axis is logarithmic
GAP = 2  # pixels between two images of a mosaic
PER_ROW = 8  # samples
NETWORKS = {
    "curve_compression_model": "compression model",
    "curve_diffusion": "diffusion",
    "curve_classifier": "classifier",
}


def strip(found: pd.DataFrame, what: str, control: str) -> Figure:
    """Draw the AUROC of every score, a row a category, with the control as a line through them.

    Rows are ordered by the control: a score that follows it lies along the line.

    Parameters
    ----------
    found : DataFrame
        ``ldm_tables.scores()``.
    what : str
        What a row is, for its axis.
    control : str
        Name of the control.
    """
    order = found.groupby("category")["control"].first().sort_values().index.tolist()
    fig, ax = figures.figure(6, 2.2 + 0.4 * max(len(order), 3))
    if not order:
        return _empty(fig, ax)
    places = {name: place for place, name in enumerate(order)}
    ink = found.groupby("category")["control"].first()[order]
    ax.axvline(50, color=GREY, linewidth=1)
    ax.plot(ink, range(len(order)), "-", color="black", linewidth=1.6, label=f"{control}: no model")
    for title, of in found.groupby("score", sort=False):
        color, marker = STYLES[title]
        size = 9 if marker == "*" else 6.5
        ax.plot(
            of["auroc"], of["category"].map(places), marker, color=color, markersize=size,
            markeredgecolor="white", markeredgewidth=0.5, label=title,
        )  # fmt: skip
    ax.set_yticks(range(len(order)), labels=order)
    values = [50, *ink, *found["auroc"]]
    across = (max(0, min(values) - MARGIN), min(100, max(values) + MARGIN))
    ax.set(xlabel="AUROC [%]", ylabel=what, xlim=across, ylim=(len(order) - 0.5, -0.5))
    fig.legend(loc="outside lower center", ncols=2, fontsize=SMALL)
    return fig


def against_start(found: pd.DataFrame) -> Figure:
    """Draw AUROC against the start t: a panel a kind of score, categories thin, their mean thick.

    Parameters
    ----------
    found : DataFrame
        ``ldm_tables.by_start()``. The mean is over the categories; t = 0 is the VQ model alone.
    """
    fig, axes = figures.figure(7, 3.4, 1, len(KINDS), sharey=True)
    for ax, kind in zip(axes, KINDS, strict=True):
        of, color = found[found["kind"] == kind], KIND_COLORS[kind]
        ax.axhline(50, color=GREY, linewidth=1)
        ax.axvline(START, color=GREY, linewidth=1.2, linestyle="--")
        for _, one in of.groupby("category"):
            ax.plot(one["t"], one["auroc"], "-", color=color, linewidth=0.8, alpha=0.55)
        if of.empty:
            _empty(fig, ax)
        else:
            mean = of.groupby("t")["auroc"].mean()
            ax.plot(mean.index, mean, "o-", color=color, linewidth=2.6)
            ax.set_xticks([0, START, 400] if 400 in mean.index else [0, START])
        ax.set_title("pair classifier" if kind == "classifier" else f"{kind} error")
        ax.set_xlabel("start t")
    axes[0].set_ylabel("AUROC [%]")
    return fig


def ratios(found: pd.DataFrame, what: str) -> Figure:
    """Draw the pixel error of anomalous over normal images, with and without diffusion.

    Parameters
    ----------
    found : DataFrame
        ``ldm_tables.by_start()``.
    what : str
        What a row is, for its axis.
    """
    of = found[(found["kind"] == "pixel") & found["ratio"].notna()]
    cells = of.pivot_table(index="category", columns="t", values="ratio")
    cells = cells.sort_values(0) if 0 in cells else cells
    fig, ax = figures.figure(6, 1.9 + 0.34 * max(len(cells), 3))
    if cells.empty:
        return _empty(fig, ax)
    ax.axvline(1, color=GREY, linewidth=1)
    rows = np.arange(len(cells))
    ax.hlines(rows, cells.min(axis=1), cells.max(axis=1), color=GREY, linewidth=1, alpha=0.6)
    shown = [t for t in (0, START, max(cells)) if t in cells]
    for t in dict.fromkeys(shown):
        label = f"after diffusion from t = {t}" if t else "VQ model alone"
        color, marker = STYLES[f"pixel error, t = {START}" if t else label]
        filled = color if t in (0, START) else "none"
        style = {"markersize": 7, "markerfacecolor": filled}
        ax.plot(cells[t], rows, marker, color=color, label=label, **style)
    ax.set_yticks(rows, labels=list(cells.index))
    ax.set(xlabel="pixel error, anomalous / normal", ylabel=what, ylim=(len(cells) - 0.5, -0.5))
    fig.legend(loc="outside lower center", ncols=3 if len(shown) < 3 else 2, fontsize=SMALL)
    return fig


def curves(drawn: Sequence[Mapping[str, Mapping[str, Sequence[float]]]]) -> Figure:
    """Draw the loss of the three networks, a thin line a run.

    Parameters
    ----------
    drawn : sequence of mapping
        What a detector's ``drawn()`` says, or a row of ``records.table()``: the keys of `NETWORKS`
        hold ``step`` and ``loss``.
    """
    fig, axes = figures.figure(7, 2.9, 1, len(NETWORKS))
    colors = (GREY, GREEN, RED)  # as the scores that the networks stand for
    for ax, (key, title), color in zip(axes, NETWORKS.items(), colors, strict=True):
        ax.set(title=title, xlabel="updates")
        lines = [each[key] for each in drawn if isinstance(each.get(key), Mapping)]
        for line in lines:
            ax.plot(line["step"], line["loss"], color=color, linewidth=1.1, alpha=0.75)
        if lines:
            losses = np.concatenate([np.asarray(line["loss"], float) for line in lines])
            if losses.min() > 0 and losses.max() > WIDE * losses.min():
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                ax.yaxis.set_minor_locator(NullLocator())
            ax.tick_params(which="both", labelsize=SMALL)
            ax.locator_params(axis="x", nbins=3)
        else:
            _empty(fig, ax)
    axes[0].set_ylabel("loss")
    return fig


def trained(runs: pd.DataFrame, layout: ldm_tables.Layout) -> list[dict]:
    """Return what `curves` reads, of every recorded run of the method."""
    found = [
        ldm_tables.chosen(runs, layout.dataset, "latent_diffusion", name)
        for name in layout.categories
    ]
    return [row for each in found if len(each) for row in each.to_dict("records")]


def reconstructions(shown: Pictures | None, width: float = 7.0) -> Figure:
    """Draw Fig. 3: a column an image, its reconstructions below it, a row a start t; then samples.

    Parameters
    ----------
    shown : Pictures or None
        None draws an empty figure that says so.
    width : float
        Inches.
    """
    if shown is None:
        return _empty(*figures.figure(width, 1.2))
    rows = [shown.images, *shown.reconstructions]
    labels = ["input", *(f"t = {t}" for t in shown.starts)]
    step, side = shown.images.shape[1] + GAP, shown.images.shape[1]
    # a wider gap where another kind of image begins, and above the samples
    changes = np.cumsum([0, *(a != b for a, b in zip(shown.kinds, shown.kinds[1:], strict=False))])
    left = [i * step + int(change) * 3 * GAP for i, change in enumerate(changes)]
    below = len(rows) * step + 3 * GAP
    places = [(y * step, x) for y in range(len(rows)) for x in left]
    places += [
        (below + (i // PER_ROW) * step, (i % PER_ROW) * step) for i in range(len(shown.samples))
    ]
    pictures = [*(image for row in rows for image in row), *shown.samples]
    mosaic = _mosaic(pictures, places)
    height, across = mosaic.shape[:2]
    fig, ax = figures.figure(width, (width - 0.7) * height / across + 0.3)
    figures.picture(ax, mosaic).set_interpolation("nearest")
    centres = [y * step + side / 2 for y in range(len(rows))]
    last = -(-len(shown.samples) // PER_ROW) * step / 2
    ax.set_yticks([*centres, below + last], labels=[*labels, "samples"], fontsize=SMALL)
    ax.tick_params(length=0)
    for kind in dict.fromkeys(shown.kinds):
        own = [x for x, each in zip(left, shown.kinds, strict=True) if each == kind]
        middle = (own[0] + own[-1] + side) / 2
        ax.text(middle, -4, kind, ha="center", va="bottom", fontsize=SMALL + 0.5)
    return fig


def _mosaic(pictures: Sequence[np.ndarray], places: Sequence[tuple[int, int]]) -> np.ndarray:
    """Lay images (H, W, C) of 1 or 3 channels at (row, column) on a transparent ground: RGBA."""
    high = max(y + image.shape[0] for (y, _), image in zip(places, pictures, strict=True))
    wide = max(x + image.shape[1] for (_, x), image in zip(places, pictures, strict=True))
    ground = np.zeros((high, wide, 4), dtype=np.uint8)
    for (y, x), image in zip(places, pictures, strict=True):
        part = ground[y : y + image.shape[0], x : x + image.shape[1]]
        part[..., :3] = image  # grey is repeated
        part[..., 3] = 255
    return ground


def _empty(fig: Figure, ax: Axes) -> Figure:
    ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center")
    ax.set(xticks=[], yticks=[])
    return fig
