"""One look for every figure of the book, on light and dark pages and for a screen reader.

``fig, ax = figure(6, 3)``, draw, and end the cell with ``svg(fig, title=..., desc=...)``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from IPython.display import SVG
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, the pale ones darkened: at least 3:1 on white and on #14181e
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#8a6d00", "#cc6699", "#3d8fc7")
MARKERS = ("o", "s", "^", "D", "v", "P")
HEAT = "inferno"

_GREY = "#808890"
_HALO = "#101010"  # not pure black, which svg() hands over to the page
_WIDEST = 7.0
_DPI = 144
_RC = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 11.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GREY,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "image.cmap": HEAT,
    "svg.fonttype": "path",
    "svg.hashsalt": "adlib",
}
# the root takes the page's text colour; a page that embeds the file as <img> passes its mode on
_MODES = (
    "<style>:root{color:#1f2328;color-scheme:light dark}"
    "@media (prefers-color-scheme:dark){:root{color:#e6e6e6}}</style>"
)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the book's style inside a ``with`` block, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.style.use(["default", _RC])
        yield


def figure(
    width: float = 6.0,
    height: float = 3.5,
    rows: int = 1,
    columns: int = 1,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, Axes | np.ndarray]:
    """Make a figure in the book's style, outside pyplot: nothing is shown twice or left open.

    Sets the style for the rest of the process, so that legends and texts added later follow it.

    Parameters
    ----------
    width, height : float
        Inches; at most 7 wide, since text of 11 points must stay readable on a phone.
    rows, columns : int
        The grid of axes.
    sharex, sharey : bool
        Whether the axes share their scales.

    Returns
    -------
    fig : matplotlib.figure.Figure
    axes : Axes or ndarray of Axes
        One Axes for a 1 x 1 grid, else an array of shape (rows, columns) without axes of length 1.

    Raises
    ------
    ValueError
        If the figure is wider than 7 inches.
    """
    if not 0 < width <= _WIDEST:
        raise ValueError(f"a figure must be at most {_WIDEST:g} inches wide, found {width:g}")
    mpl.style.use(["default", _RC])
    fig = Figure(figsize=(width, height))
    return fig, fig.subplots(rows, columns, sharex=sharex, sharey=sharey)


def svg(fig: Figure, title: str, desc: str) -> SVG:
    """Turn a figure into an SVG that follows the page's light or dark mode.

    Text and lines drawn in black take the page's text colour. The same figure gives the same
    bytes: no dates, no random ids. Pictures inside are embedded as PNG at 144 dots an inch.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    title : str
        A few words; browsers show them on hovering.
    desc : str
        What there is to see, in one or two sentences, for those who cannot see it.

    Returns
    -------
    IPython.display.SVG

    Raises
    ------
    ValueError
        If title or description is empty.
    """
    from IPython.display import SVG

    if not title.strip() or not desc.strip():
        raise ValueError("a figure must have a title and a description, found an empty one")
    # constrained layout moves a little with every drawing: settle it once
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    buffer = io.StringIO()
    with mpl.rc_context({key: _RC[key] for key in ("svg.fonttype", "svg.hashsalt")}):
        fig.savefig(
            buffer,
            format="svg",
            transparent=True,
            dpi=_DPI,
            metadata={"Date": None, "Creator": None, "Type": None, "Format": None},
        )
    text = re.sub(r"(fill|stroke): ?#(?:000000|000)\b", r"\1: currentColor", buffer.getvalue())
    head = f"<title>{escape(title)}</title><desc>{escape(desc)}</desc>{_MODES}"
    # glyphs carry no colour of their own: they take the root's
    text = re.sub(
        r"(<svg\b[^>]*)>",
        lambda root: f'{root[1]} role="img" fill="currentColor">{head}',
        text,
        count=1,
    )
    return SVG(data=text)


def line_with_spread(
    ax: Axes,
    x: Sequence[float],
    values: np.ndarray,
    label: str,
    color: str | None = None,
    *,
    marker: str | None = None,
    linestyle: str = "-",
    spread: str = "range",
) -> Line2D:
    """Draw the mean over seeds as a line, its spread as a band, and every seed as a point.

    Parameters
    ----------
    ax : Axes
    x : sequence of float, length K
    values : ndarray of shape (K, S)
        One row an x, one column a seed; NaN where a seed is missing.
    label : str
        For the legend.
    color : str, optional
        The next of the palette if not given.
    marker : str, optional
        The next of `MARKERS` if not given: colour alone does not reach everybody.
    linestyle : str
        As in matplotlib.
    spread : {"range", "sd"}
        The band: lowest to highest seed, or mean -/+ one standard deviation (n - 1; none where
        there are fewer than two seeds).

    Returns
    -------
    Line2D
        The line of means.

    Raises
    ------
    ValueError
        If the shapes do not fit, an x has no value, or ``spread`` is unknown.
    """
    x, values = np.asarray(x, float), np.asarray(values, float)
    if values.ndim != 2 or len(values) != len(x):
        raise ValueError(f"values must have shape ({len(x)}, seeds), found {values.shape}")
    counts = np.isfinite(values).sum(axis=1)
    if not counts.all():
        raise ValueError(f"every x must have a value, found none at {x[counts == 0].tolist()}")
    mean = np.nanmean(values, axis=1)
    low, high = _band(values, mean, counts, spread)
    named = sum(not str(other.get_label()).startswith("_") for other in ax.lines)
    marker = marker or MARKERS[named % len(MARKERS)]
    (line,) = ax.plot(x, mean, color=color, marker=marker, linestyle=linestyle, label=label)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if values.shape[1] > 1:
        seeds = np.broadcast_to(x[:, None], values.shape)
        ax.plot(
            seeds.ravel(), values.ravel(), ".", color=line.get_color(), alpha=0.45, markersize=3
        )
    return line


def _band(
    values: np.ndarray, mean: np.ndarray, counts: np.ndarray, spread: str
) -> tuple[np.ndarray, np.ndarray]:
    if spread == "range":
        return np.nanmin(values, axis=1), np.nanmax(values, axis=1)
    if spread == "sd":
        squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
        half = np.sqrt(squares / np.maximum(counts - 1, 1))
        return mean - half, mean + half
    raise ValueError(f"spread must be 'range' or 'sd', found {spread!r}")


def contour(ax: Axes, mask: np.ndarray) -> None:
    """Draw the outline of a mask: white on a dark rim, visible on any picture.

    Parameters
    ----------
    ax : Axes
    mask : ndarray of bool, shape (H, W)
        Nothing is drawn if it is empty or full.
    """
    mask = np.asarray(mask) > 0
    if mask.any() and not mask.all():
        ax.contour(
            mask.astype(float),
            levels=[0.5],
            colors="white",
            linewidths=1.2,
            negative_linestyles="solid",
        ).set_path_effects([withStroke(linewidth=2.6, foreground=_HALO)])


def overlay(
    image: np.ndarray, scores: np.ndarray, vmin: float, vmax: float, alpha: float = 0.6
) -> np.ndarray:
    """Lay an anomaly map in colour over its image in grey.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB. Only its luminance (ITU-R BT.601) is kept, so that every colour is the map's.
    scores : ndarray of float, shape (H, W)
    vmin, vmax : float
        The scores that get the first and the last colour; beyond them the colour stays.
    alpha : float in [0, 1]
        Weight of the map.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    ValueError
        If the shapes differ, or vmin is not below vmax.
    """
    image, scores = np.asarray(image), np.asarray(scores, float)
    if image.shape != (*scores.shape, 3):
        raise ValueError(f"image must have shape {(*scores.shape, 3)}, found {image.shape}")
    if not vmin < vmax:
        raise ValueError(f"vmin must be below vmax, found {vmin:g} and {vmax:g}")
    grey = image @ np.array([0.299, 0.587, 0.114])
    heat = mpl.colormaps[HEAT]((scores - vmin) / (vmax - vmin))[..., :3] * 255
    return np.rint((1 - alpha) * grey[..., None] + alpha * heat).astype(np.uint8)


def heatmap(
    ax: Axes,
    image: np.ndarray,
    scores: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    vmin: float,
    vmax: float,
) -> AxesImage:
    """Draw an image under its anomaly map, with the outline of the ground truth.

    Parameters
    ----------
    ax : Axes
    image : ndarray of uint8, shape (H, W, 3)
    scores : ndarray of float, shape (H, W)
    mask : ndarray of bool, shape (H, W), optional
    vmin, vmax : float
        Limits of the colours; see `overlay`.

    Returns
    -------
    AxesImage
    """
    drawn = picture(ax, overlay(image, scores, vmin, vmax))
    if mask is not None:
        contour(ax, mask)
    return drawn


def picture(ax: Axes, image: np.ndarray) -> AxesImage:
    """Draw an image without ticks and frame."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax.imshow(image)


def gallery(
    rows: Sequence[tuple[np.ndarray, np.ndarray | None, Mapping[str, np.ndarray]]],
    *,
    labels: Sequence[str] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    width: float = 6.0,
) -> Figure:
    """Draw images beside the anomaly maps of several methods, one image a row.

    The first column is the image with the outline of its mask, then comes one column a method.
    Scores of different methods have different units: colours are comparable down a column, not
    along a row.

    Parameters
    ----------
    rows : sequence of (image, mask, maps)
        image uint8 (H, W, 3); mask bool (H, W) or None; maps from the method's name, which becomes
        the column's title, to float (H, W). All rows have the same methods.
    labels : sequence of str, optional
        One text a row, written at its left.
    limits : mapping from method to (vmin, vmax), optional
        Limits of the colours; lowest and highest score among the rows if not given.
    width : float
        Inches.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no row, the rows differ in their methods, or labels are not one a row.
    """
    methods = list(rows[0][2]) if rows else []
    if not methods or any(list(maps) != methods for _, _, maps in rows):
        raise ValueError("every row of a gallery must have maps of the same methods, at least one")
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"labels must be one for each of {len(rows)} rows, found {len(labels)}")
    limits = dict(limits or {})
    for method in methods:
        maps = [row[2][method] for row in rows]
        lowest, highest = float(np.min(maps)), float(np.max(maps))
        limits.setdefault(method, (lowest, highest if highest > lowest else lowest + 1))
    side = width / (1 + len(methods))
    fig, axes = figure(width, side * len(rows) + 0.3, len(rows), 1 + len(methods))
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = np.reshape(axes, (len(rows), 1 + len(methods)))
    for line, (image, mask, maps) in zip(axes, rows, strict=True):
        picture(line[0], image)
        if mask is not None:
            contour(line[0], mask)
        for ax, method in zip(line[1:], methods, strict=True):
            low, high = limits[method]
            heatmap(ax, image, maps[method], mask, vmin=low, vmax=high)
    for ax, title in zip(axes[0], ["image", *methods], strict=True):
        ax.set_title(title)
    for ax, label in zip(axes[:, 0], labels or [""] * len(rows), strict=True):
        ax.set_ylabel(label)
    return fig
