"""The compiled part of `adlib.coreset`: one phase of the lazy greedy selection, in four steps.

The module docstring of `adlib.coreset` explains the algorithm; the names here are those used there.
Everything works on one `State`, whose arrays are changed in place. Distances are squared, in
float64, of the features as stored; the bounds that spare most of them are float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

COLUMNS = 32  # of a short row: leading coordinates, then the norm of the rest
LANES = 64  # short rows that are compared at once, stored column by column
LINKS = 8  # centres that a centre remembers as its neighbours
CHUNK = 128  # points that share one pass over the centres: their short rows fit in the L1 cache
BINS = 4096  # of the histogram behind the threshold
FAR = np.float32(1e15)  # a place that no point is near to, for unused lanes
ROUNDING = 1e-5  # relative error of a float32 bound, far above COLUMNS * 2^-24
CONTRACT = {"contract"}  # allows fused multiply-add: bounds have a margin, distances must not


class State(NamedTuple):
    """What is known about the points (N of them) and the centres (n, of which `count` exist).

    Attributes
    ----------
    features : ndarray of shape (N, d), float32
    short : ndarray of shape (N, COLUMNS), float32
        Short rows, in units of 1 / scale.
    best : ndarray of shape (N,), float64
        Squared distance to the nearest centre that was tried: an upper bound; -1 once chosen.
    near : ndarray of shape (N,), int32
        Which centre that is.
    seen : ndarray of shape (N,), int32
        How many of the first centres are known to be no nearer than `best`.
    chosen : ndarray of shape (n,), int64
        Index of each centre among the points.
    blocks : ndarray of shape (ceil(n / LANES), COLUMNS, LANES), float32
        Short rows of the centres, LANES side by side.
    rows : ndarray of shape (n, COLUMNS), float32
        The same, one after the other.
    links : ndarray of shape (n, LINKS), int32
        A ring: the last centres that took a point from each centre.
    linked : ndarray of shape (n,), int32
        How many were ever written there.
    scale, slack : float
        Unit of the short rows; absolute error of the distance between two of them.
    """

    features: np.ndarray
    short: np.ndarray
    best: np.ndarray
    near: np.ndarray
    seen: np.ndarray
    chosen: np.ndarray
    blocks: np.ndarray
    rows: np.ndarray
    links: np.ndarray
    linked: np.ndarray
    scale: float
    slack: float


def compiled(**options: Any) -> Callable:
    """Compile a function on its first call and keep the machine code on disk where one can."""

    def decorate(function: Callable) -> Callable:
        try:
            return njit(function, cache=True, nogil=True, **options)
        except RuntimeError:  # neither beside the source nor in the user's cache
            return njit(function, nogil=True, **options)

    return decorate


# --- distances and bounds -----------------------------------------------------------------


@compiled()
def squared_distance(features, i, j, enough):
    """Squared distance of two points in float64, summed from the first coordinate to the last.

    The sum stops once it reaches `enough`: its terms are not negative, so it cannot come back.
    """
    total = 0.0
    channels = features.shape[1]
    for start in range(0, channels, 32):
        for c in range(start, min(start + 32, channels)):
            delta = np.float64(features[i, c]) - np.float64(features[j, c])
            total += delta * delta
        if total >= enough:
            break
    return total


@compiled()
def limit(state, i):
    """Squared distance of short rows from which on no centre can be nearer than `best[i]`."""
    reach = (math.sqrt(state.best[i]) * state.scale + state.slack) * (1 + ROUNDING)
    return np.float32(reach * reach * (1 + 1e-6))  # rounding to float32 must not lower it


@compiled(fastmath={"contract", "reassoc"})
def bound(rows, i, others, j):
    """Squared distance of two short rows."""
    total = np.float32(0)
    for c in range(COLUMNS):
        delta = rows[i, c] - others[j, c]
        total += delta * delta
    return total


@compiled(fastmath=CONTRACT)
def add_columns(blocks, b, rows, i, c, sums):
    """Add eight columns to the squared distances of short row i from the LANES rows of block b.

    Written out so that the loop over the lanes becomes vector instructions, without a sum across
    one vector.
    """
    x0, x1, x2, x3 = rows[i, c], rows[i, c + 1], rows[i, c + 2], rows[i, c + 3]
    x4, x5, x6, x7 = rows[i, c + 4], rows[i, c + 5], rows[i, c + 6], rows[i, c + 7]
    for k in range(LANES):
        d0, d1 = blocks[b, c, k] - x0, blocks[b, c + 1, k] - x1
        d2, d3 = blocks[b, c + 2, k] - x2, blocks[b, c + 3, k] - x3
        d4, d5 = blocks[b, c + 4, k] - x4, blocks[b, c + 5, k] - x5
        d6, d7 = blocks[b, c + 6, k] - x6, blocks[b, c + 7, k] - x7
        left = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        sums[k] += left + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7))


@compiled()
def any_below(blocks, b, rows, i, limits, row, sums):
    """Bound the distances of short row i from block b; False as soon as all reach their limits."""
    for k in range(LANES):
        sums[k] = np.float32(0)
    for c in range(0, COLUMNS, 8):
        add_columns(blocks, b, rows, i, c, sums)
        below = 0
        for k in range(LANES):
            below += sums[k] < limits[row, k]
        if below == 0:
            return False
    return True


# --- one point and one centre -------------------------------------------------------------


@compiled()
def link(state, centre, other):
    """Let a centre remember another one, in place of the oldest."""
    state.links[centre, state.linked[centre] % LINKS] = other
    state.linked[centre] += 1


@compiled()
def offer(state, i, centre):
    """Give point i a centre if that is nearer than its own; tell whether it was."""
    value = squared_distance(state.features, i, state.chosen[centre], state.best[i])
    if value >= state.best[i]:
        return False
    link(state, state.near[i], centre)
    state.best[i] = value
    state.near[i] = centre
    return True


@compiled()
def offer_if_near(state, i, centre):
    """Offer a centre unless the bound forbids it."""
    if bound(state.short, i, state.rows, centre) >= limit(state, i):
        return False
    return offer(state, i, centre)


@compiled()
def walk(state, i, theta):
    """Step from centre to linked centre while that brings point i nearer; True below theta."""
    moved = True
    while moved:
        moved = False
        here = state.near[i]
        for q in range(min(LINKS, state.linked[here])):
            if offer_if_near(state, i, state.links[here, q]):
                if state.best[i] < theta:
                    return True
                moved = True
                break
    return False


@compiled()
def hint(state, i, theta):
    """Look for a centre that brings point i below theta where one is likely."""
    if walk(state, i, theta):
        return True
    for q in (i - 1, i + 1):  # neighbours in the image
        if 0 <= q < len(state.near) and offer_if_near(state, i, state.near[q]):
            if state.best[i] < theta or walk(state, i, theta):
                return True
    return False


# --- the steps of a phase -----------------------------------------------------------------


@compiled()
def add_centre(state, count, i):
    """Make point i the centre number `count`."""
    if count:
        link(state, state.near[i], count)
        link(state, count, state.near[i])
    state.chosen[count] = i
    state.best[i] = -1.0
    state.near[i] = count
    for c in range(COLUMNS):
        state.blocks[count // LANES, c, count % LANES] = state.short[i, c]
        state.rows[count, c] = state.short[i, c]


@compiled()
def begin(state, start):
    """Make point `start` the first centre and measure every point's distance to it."""
    add_centre(state, 0, start)
    for i in range(len(state.best)):
        if i != start:
            state.best[i] = squared_distance(state.features, i, start, np.inf)
    state.seen[:] = 1


@compiled()
def threshold(state, share):
    """Return theta > 0 with about `share` of the points at or above it; 0 if all are at zero."""
    top = 0.0
    for i in range(len(state.best)):
        top = max(top, state.best[i])
    if top == 0:
        return 0.0
    counts = np.zeros(BINS + 1, np.int64)
    for i in range(len(state.best)):
        if state.best[i] > 0:
            counts[int(state.best[i] / top * BINS)] += 1
    above, b = counts[BINS], BINS
    while b > 1 and above + counts[b - 1] <= share * len(state.best):
        b -= 1
        above += counts[b]
    return min(top, top * (b / BINS))


@compiled()
def refresh(state, count, theta):
    """Bring every point at or above theta up to date or below theta; return the former."""
    waiting = np.empty(len(state.best), np.int64)
    many = 0
    for i in range(len(state.best)):
        if state.best[i] >= theta and state.seen[i] < count and not hint(state, i, theta):
            waiting[many] = i
            many += 1
    for first in range(0, many, CHUNK):
        scan(state, waiting[first : min(first + CHUNK, many)], count, theta)
    points = np.flatnonzero(state.best >= theta)
    state.seen[points] = count
    return points


@compiled()
def scan(state, points, count, theta):
    """Compare points with all centres that they have not seen, until they are below theta."""
    limits = np.empty((1, LANES), np.float32)
    sums = np.empty(LANES, np.float32)
    for b in range(state.seen[points].min() // LANES, (count - 1) // LANES + 1):
        end = min(count, (b + 1) * LANES)
        for i in points:
            if state.best[i] < theta or state.seen[i] >= end:
                continue
            limits[:] = limit(state, i)
            if any_below(state.blocks, b, state.short, i, limits, 0, sums):
                for k in range(LANES):
                    if sums[k] < limits[0, k]:
                        offer(state, i, b * LANES + k)
            state.seen[i] = end


@compiled()
def select(state, points, count, stop, theta):
    """Run plain greedy among up-to-date points until all are below theta; return the new count.

    The points are the only ones at or above theta, so the farthest of them is the farthest of all.
    They ascend, so the first of several at the maximum has the lowest index.
    """
    groups = (len(points) + LANES - 1) // LANES
    blocks = np.zeros((groups, COLUMNS, LANES), np.float32)
    limits = np.zeros((groups, LANES), np.float32)
    top = np.empty(groups)
    for p in range(len(points)):
        for c in range(COLUMNS):
            blocks[p // LANES, c, p % LANES] = state.short[points[p], c]
    for b in range(groups):
        top[b] = settle(state, points, b, theta, limits)
    sums = np.empty(LANES, np.float32)
    while count < stop and groups:
        lead = np.argmax(top)
        if top[lead] < theta:
            break
        p = lead * LANES
        while state.best[points[p]] != top[lead]:
            p += 1
        add_centre(state, count, points[p])
        top[lead] = settle(state, points, lead, theta, limits)
        for b in range(groups):
            if top[b] >= theta and any_below(blocks, b, state.rows, count, limits, b, sums):
                for k in range(LANES):
                    if sums[k] < limits[b, k]:
                        offer(state, points[b * LANES + k], count)
                top[b] = settle(state, points, b, theta, limits)
        count += 1
    for i in points:
        if state.best[i] >= theta:
            state.seen[i] = count
    return count


@compiled()
def settle(state, points, b, theta, limits):
    """Renew the limits of a group of points, 0 below theta, and return its largest distance."""
    top = -1.0
    for k in range(min(LANES, len(points) - b * LANES)):
        i = points[b * LANES + k]
        limits[b, k] = limit(state, i) if state.best[i] >= theta else np.float32(0)
        top = max(top, state.best[i])
    return top
