"""Greedy k-centre selection, exact and lazy (Roth et al., Algorithm 1).

(docstring to come)
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from adlib.errors import InputError

if TYPE_CHECKING:
    from adlib.coreset_kernel import State

SHARE = 1 / 16  # of the points, about, are looked at in a phase
SLICE = 1024  # centres chosen in one call of the kernel, at most: the bar moves in between
SAMPLE = 8192  # points that the rotation is computed from
ROWS = 4096  # points that are rotated at once


def k_center_greedy(
    features: np.ndarray, n: int, *, start: int = 0, progress: bool = False
) -> np.ndarray:
    """Choose points by exact greedy k-centre selection."""
    points = _checked(features, n)
    if not 0 <= start < len(points):
        raise InputError(
            f"start must lie in [0, {len(points) - 1}], the indices of the points, found {start}"
        )
    if progress:
        tqdm.write(str(estimate(*points.shape, n)), file=sys.stderr)
    from adlib import coreset_kernel as kernel

    state = _state(points, n, kernel)
    kernel.begin(state, start)
    count = 1
    with tqdm(
        total=n, initial=1, unit="centre", desc="coreset", leave=False, disable=None if progress else True
    ) as bar:
        while count < n:
            theta = kernel.threshold(state, SHARE)
            if theta == 0:
                break
            candidates = kernel.refresh(state, count, theta)
            reached = kernel.select(state, candidates, count, min(n, count + SLICE), theta)
            bar.update(reached - count)
            count = reached
    # what is left coincides with a centre, so that every point ties: lowest index first
    state.chosen[count:] = np.flatnonzero(state.best >= 0)[: n - count]
    return state.chosen


class Estimate(NamedTuple):
    seconds: float
    bytes: int


def estimate(N: int, d: int, n: int) -> Estimate:
    return Estimate(1e-9 * N * n, N * 160 + n * 300)


def _checked(features, n):
    points = np.asarray(features)
    if points.ndim != 2 or points.dtype != np.float32 or 0 in points.shape:
        raise InputError(
            f"features must be a float32 array of shape (N, d) with N, d >= 1, found {points.dtype} "
            f"{points.shape}; convert them with .astype(numpy.float32)"
        )
    if not 1 <= n <= len(points):
        raise InputError(f"n must lie in [1, {len(points)}], the number of points, found {n}")
    if not math.isfinite(float(points.max()) - float(points.min())):
        raise InputError(
            "features must be finite, found NaN or infinity; look for them in the images or weights"
        )
    return np.ascontiguousarray(points)


def _state(points: np.ndarray, n: int, kernel) -> State:
    N = len(points)
    short, scale, slack = _short_rows(points, kernel.COLUMNS)
    blocks = -(-n // kernel.LANES)
    return kernel.State(
        features=points,
        short=short,
        best=np.full(N, np.inf),
        near=np.zeros(N, np.int32),
        seen=np.zeros(N, np.int32),
        chosen=np.zeros(n, np.int64),
        blocks=np.full((blocks, kernel.COLUMNS, kernel.LANES), kernel.FAR),
        rows=np.zeros((n, kernel.COLUMNS), np.float32),
        links=np.zeros((n, kernel.LINKS), np.int32),
        linked=np.zeros(n, np.int32),
        scale=scale,
        slack=slack,
    )


def _short_rows(points: np.ndarray, columns: int) -> tuple[np.ndarray, float, float]:
    N, d = points.shape
    largest = max(float(points.max()), -float(points.min()))
    scale = np.float32(2.0 ** min(120, -math.frexp(largest)[1]))
    sample = points[:: -(-N // SAMPLE)] * scale
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample -= mean
    leading = np.linalg.eigh((sample.T @ sample).astype(np.float64))[1][:, ::-1][:, : columns - 1]
    axes = np.ascontiguousarray(leading, np.float32)
    short = np.zeros((N, columns), np.float32)
    largest = 0.0
    for first in range(0, N, ROWS):
        part = slice(first, first + ROWS)
        centred = points[part] * scale - mean
        along = centred @ axes
        rest = centred - along @ axes.T
        short[part, : axes.shape[1]] = along
        short[part, -1] = np.linalg.norm(rest, axis=1)
        largest = max(largest, float(np.linalg.norm(centred, axis=1).max()))
    slack = 2 * largest * math.sqrt(32) * (3 * d + 64) * 2.0**-24 + 1e-30
    return short, float(scale), slack
