"""Greedy k-centre selection, slowly: points in the plane, radii, and the rule written down.

`adlib.coreset` selects fast; `plain_greedy` is the rule that it follows, in plain NumPy, and
`adlib.study.coreset_trace` shows which distances it needs.

The covering radius of a subset is the objective of PatchCore's Eq. 5: the largest distance of any
point to the nearest one that is kept.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adlib.bench import span
from adlib.errors import InputError

CLUSTERS = 8


# --- points in the plane ------------------------------------------------------------------


def multimodal(n_points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw clusters of which each has half as many points as the one before (the paper's Fig. 3a).

    Parameters
    ----------
    n_points : int
        At least 256, so that the smallest of `CLUSTERS` has two points or more.
    seed : int

    Returns
    -------
    points : ndarray of shape (n_points, 2), float32
    cluster : ndarray of shape (n_points,), int64
        Which cluster a point belongs to, 0 the largest.

    Raises
    ------
    InputError
        Fewer points.
    """
    if n_points < 2**CLUSTERS:
        raise InputError(
            f"{CLUSTERS} clusters need at least {2**CLUSTERS} points, found {n_points}; add points"
        )
    rng = np.random.default_rng(seed)
    sizes = n_points // 2 ** np.arange(1, CLUSTERS + 1)
    sizes[0] += n_points - sizes.sum()
    cells = rng.permutation(9)[:CLUSTERS]
    places = 4.0 * np.stack([cells % 3, cells // 3], axis=1) + rng.uniform(-1, 1, (CLUSTERS, 2))
    widths = rng.uniform(0.15, 0.6, CLUSTERS)
    cluster = np.repeat(np.arange(CLUSTERS), sizes)
    noise = rng.standard_normal((n_points, 2))
    return (places[cluster] + widths[cluster, None] * noise).astype(np.float32), cluster


def uniform(n_points: int, seed: int) -> np.ndarray:
    """Draw points (n_points, 2), float32, evenly from a square of side 10 (the paper's Fig. 3b)."""
    return np.random.default_rng(seed).uniform(0, 10, (n_points, 2)).astype(np.float32)


# --- how well a subset covers -------------------------------------------------------------


def nearest_kept(points: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the distance of every point to the nearest kept one.

    Parameters
    ----------
    points : ndarray of shape (N, d), float32
    kept : ndarray of shape (n,), int
        Indices, n >= 1.

    Returns
    -------
    ndarray of shape (N,), float64
    """
    columns, nearest = columns_of(points), np.full(len(points), np.inf)
    for index in kept:
        nearest = np.minimum(nearest, squared_distances(columns, index))
    return np.sqrt(nearest)


def covering_radius(points: np.ndarray, kept: np.ndarray) -> float:
    """Return the largest distance of any point to the nearest kept one (Eq. 5)."""
    return float(nearest_kept(points, kept).max())


def radii(points: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the covering radius of the first 1, 2, ..., n of an order of indices, shape (n,)."""
    columns, nearest, found = columns_of(points), np.full(len(points), np.inf), []
    for index in order:
        nearest = np.minimum(nearest, squared_distances(columns, index))
        found.append(nearest.max())
    return np.sqrt(found)


def columns_of(points: np.ndarray) -> np.ndarray:
    """Return points (N, d) as (d, N) in float64, each coordinate contiguous in memory."""
    return np.ascontiguousarray(points.T, np.float64)


def squared_distances(columns: np.ndarray, centre: int) -> np.ndarray:
    """Return the squared distances (N,) of all points to one, summed coordinate by coordinate."""
    total = np.zeros(columns.shape[1])
    for column in columns:
        delta = column - column[centre]
        total += delta * delta
    return total


# --- the selection, written down ----------------------------------------------------------


def plain_greedy(features: np.ndarray, n: int, start: int = 0) -> np.ndarray:
    """Select n indices by measuring every point against every centre: what *exact* means.

    Parameters
    ----------
    features : ndarray of shape (N, d), float32
    n : int
        In [1, N].
    start : int
        The first centre.

    Returns
    -------
    ndarray of shape (n,), int64
    """
    columns, nearest = columns_of(features), np.full(len(features), np.inf)
    chosen = [start]
    while len(chosen) < n:
        nearest = np.minimum(nearest, squared_distances(columns, chosen[-1]))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


def float32_greedy(features: np.ndarray, n: int, start: int = 0) -> np.ndarray:
    """Select as `plain_greedy`, but by |x|^2 + |c|^2 - 2 x.c in float32, as libraries do."""
    norms = np.einsum("nd,nd->n", features, features)
    nearest = np.full(len(features), np.inf, np.float32)
    chosen = [start]
    while len(chosen) < n:
        c = chosen[-1]
        nearest = np.minimum(nearest, norms + norms[c] - 2 * (features @ features[c]))
        nearest[chosen] = -np.inf
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


# --- for a page ---------------------------------------------------------------------------


def places(indices: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return (image, row, column) of patches counted image by image, row by row: shape (n, 3)."""
    image, patch = np.divmod(np.asarray(indices), grid[0] * grid[1])
    return np.stack([image, *np.divmod(patch, grid[1])], axis=1)


def contrast(images: Sequence[np.ndarray], grid: tuple[int, int]) -> np.ndarray:
    """Return the standard deviation of the grey values in the square of each patch.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (H, W, 3)
        H and W are multiples of the grid's rows and columns.
    grid : tuple of int

    Returns
    -------
    ndarray of shape (images * rows * columns,), float64
        Patches counted image by image, row by row.
    """
    grey = np.stack([image.mean(axis=2) for image in images])
    squares = grey.reshape(len(grey), grid[0], -1, grid[1], grey.shape[2] // grid[1])
    return squares.std(axis=(2, 4)).ravel()


def cost_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Lay out what ``benchmarks/coreset.py`` measured: ratios as median [lowest, highest].

    Parameters
    ----------
    rows : sequence of mapping
        ``results`` of the measurement.

    Returns
    -------
    DataFrame
        Text, one row a case.
    """
    ratios = {
        "ours over one product": "adlib_over_product",
        "plain over ours": "plain_over_adlib",
        "anomalib over ours": "anomalib_over_adlib",
    }
    return pd.DataFrame(
        {
            "points": f"{row['name']}, {row['points'][0]:,}",
            "kept": f"{row['centres']:,} ({row['fraction']:.0%})",
            "ours, s": f"{row['medians']['adlib']['seconds']:.3g}",
            **{name: span(row.get(key)) for name, key in ratios.items()},
            "memory added, MB": f"{row['medians']['adlib']['added_peak_mb']:.0f}",
        }
        for row in rows
    )


def code(*functions: Callable) -> str:
    """Return the source of functions, compiled ones too, as a fold that Markdown shows.

    Of a docstring only the first line is kept.
    """
    names = ", ".join(f"<code>{function.__name__}</code>" for function in functions)
    listing = "\n\n\n".join(_source(function) for function in functions)
    return (
        f"<details><summary>The code: {names}</summary>\n\n```python\n{listing}\n```\n\n</details>"
    )


def _source(function: Callable) -> str:
    lines = inspect.getsource(getattr(function, "py_func", function)).rstrip().splitlines()
    text = ast.parse("\n".join(lines)).body[0].body[0]
    if text.end_lineno > text.lineno:
        lines[text.lineno - 1 : text.end_lineno] = [lines[text.lineno - 1].rstrip() + '"""']
    return "\n".join(lines)
