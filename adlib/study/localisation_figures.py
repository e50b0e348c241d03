"""Segmentations as in Fig. 1 of the PatchCore paper, with the worst cases beside them.

White is the outline of the ground truth, orange that of the segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from adlib.study import figures, localisation
from adlib.study.localisation import Case, Localised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORANGE = "#ff9f1c"
COLUMNS = ("image, defect", "anomaly map", "segmented", "worst missed", "worst alarm")
_RIM = "#101010"
_SMALL = 9.5


def boundary(ax: Axes, scores: np.ndarray, threshold: float) -> None:
    """Draw in orange where an anomaly map crosses a threshold; nothing where it does not.

    Parameters
    ----------
    ax : Axes
    scores : ndarray of float, shape (H, W)
    threshold : float
    """
    if scores.min() < threshold <= scores.max():
        lines = ax.contour(scores, levels=[threshold], colors=ORANGE, linewidths=1.5)
        lines.set_path_effects([withStroke(linewidth=2.8, foreground=_RIM)])


def segmentations(rows: Mapping[str, Localised], width: float = 7.0) -> Figure:
    """Draw a row a category: one typical case in three pictures, then the two worst cases.

    The columns: an image with the outline of its defect; its anomaly map; the image with the
    contour of the map at the threshold of the best F1. Then the image whose defect is missed most
    and the normal image that is marked most, both with the contour. Which images these are, the
    rules of ``adlib.study.localisation`` say.

    Parameters
    ----------
    rows : mapping of str to Localised
        Label of the row -> images, maps, threshold.
    width : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        There is no row.
    """
    if not rows:
        raise ValueError("a figure of segmentations must have a row, found none")
    side = width / len(COLUMNS)
    fig, axes = figures.figure(width, (side + 0.36) * len(rows) + 0.3, len(rows), len(COLUMNS))
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    axes = np.reshape(axes, (len(rows), len(COLUMNS)))
    for ax, title in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(title, fontsize=_SMALL + 0.5)
    for line, (label, found) in zip(axes, rows.items(), strict=True):
        _row(line, found)
        line[0].set_ylabel(label)
    return fig


def _row(line: np.ndarray, found: Localised) -> None:
    shown = localisation.typical(found)
    if shown is None:
        for ax in line[:3]:
            _nothing(ax)
    else:
        image, mask = found.images[shown.index], found.masks[shown.index]
        figures.picture(line[0], image)
        figures.contour(line[0], mask)
        line[0].set_xlabel(_kind(found, shown), fontsize=_SMALL)
        low, high = float(found.maps.min()), float(found.maps.max())
        figures.heatmap(
            line[1], image, found.maps[shown.index], mask, vmin=low, vmax=max(high, low + 1e-12)
        )
        figures.picture(line[2], image)
        boundary(line[2], found.maps[shown.index], found.best.threshold)
        line[2].set_xlabel(_share(shown, "found"), fontsize=_SMALL)
    _worst(line[3], found, localisation.missed(found), "found")
    _worst(line[4], found, localisation.false_alarm(found), "marked")


def _worst(ax: Axes, found: Localised, case: Case | None, verb: str) -> None:
    if case is None:
        _nothing(ax)
        return
    figures.picture(ax, found.images[case.index])
    figures.contour(ax, found.masks[case.index])
    boundary(ax, found.maps[case.index], found.best.threshold)
    ax.set_xlabel(f"{_kind(found, case)}\n{_share(case, verb)}", fontsize=_SMALL)


def _kind(found: Localised, case: Case) -> str:
    return found.defects[case.index].replace("_", " ")


def _share(case: Case, verb: str) -> str:
    """Write a share, so that a little is told from nothing."""
    if case.share == 0:
        return f"nothing {verb}"
    form = ".2g" if case.share < 0.1 else ".0f"
    return f"{100 * case.share:{form}} % {verb}"


def _nothing(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", va="center")


def maps(rows: Mapping[str, Mapping[str, Localised]], width: float = 6.0) -> Figure:
    """Draw the maps of several methods on the same images, each with its own orange contour.

    Parameters
    ----------
    rows : mapping of str to mapping of str to Localised
        Label of the row -> method's title -> images, maps, threshold. The image is the typical case
        of the first method.
    width : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        There is no row.
    """
    if not rows:
        raise ValueError("a figure of maps must have a row, found none")
    titles = list(next(iter(rows.values())))
    side = width / (1 + len(titles))
    fig, axes = figures.figure(width, (side + 0.2) * len(rows) + 0.3, len(rows), 1 + len(titles))
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    axes = np.reshape(axes, (len(rows), 1 + len(titles)))
    for ax, title in zip(axes[0], ["image, defect", *titles], strict=True):
        ax.set_title(title, fontsize=_SMALL + 0.5)
    for line, (label, methods) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(label)
        first = methods[titles[0]]
        shown = localisation.typical(first)
        if shown is None:
            for ax in line:
                _nothing(ax)
            continue
        image, mask = first.images[shown.index], first.masks[shown.index]
        figures.picture(line[0], image)
        figures.contour(line[0], mask)
        line[0].set_xlabel(_kind(first, shown), fontsize=_SMALL)
        for ax, title in zip(line[1:], titles, strict=True):
            found = methods[title]
            low, high = float(found.maps.min()), float(found.maps.max())
            figures.heatmap(
                ax, image, found.maps[shown.index], vmin=low, vmax=max(high, low + 1e-12)
            )
            boundary(ax, found.maps[shown.index], found.best.threshold)
            ax.set_xlabel(f"F1 {found.best.f1:.2f}", fontsize=_SMALL)
    return fig
