"""The compiled part of `adlib.coreset`: one phase of the lazy greedy selection.

The module docstring of `adlib.coreset` explains the algorithm; the names here are those used there.
Everything works on one `State`, whose arrays are changed in place. Distances are squared and in
float64, from the features as stored; what spares most of them are float32 bounds from sketches.

Three habits of the compiler shape the code. A sum becomes vector instructions if its length is not
known when it is compiled, hence ``state.short``. A loop over lanes with eight columns written out
does so without a sum across a vector. Counting references to arrays costs more than the arithmetic
of a hint, so functions that allocate nothing are compiled without (`lean`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit

SHORT = 32  # columns of a short sketch: leading coordinates, then the norm of all others
LANES = 64  # sketches that are compared at once, stored column by column
STEP = 8  # columns that are added at once, written out
LINKS = 16  # centres that a centre remembers as its neighbours
BATCH = 16  # points whose sketches are fetched together
CHUNK = 64  # points that share one pass over the centres: their share fits in the L1 cache
BINS = 4096  # of the histogram behind the threshold
FAR = np.float32(1e15)  # a place that no point is near to, for lanes without a centre
ROUNDING = 1e-4  # relative error of a float32 sum of 300 squares is below 300 * 2^-24 = 2e-5


class State(NamedTuple):
    """What is known about N points and n centres, of which ``count`` exist.

    Attributes
    ----------
    features : ndarray of shape (N, d), float32
    sketch : ndarray of shape (N, columns), int16
        Rotated points in units of 1 / scale: SHORT - 1 leading coordinates, the norm of all others,
        then these others one by one, last the norm of what is left.
    best : ndarray of shape (N,), float64
        Squared distance to `near`, or a little more; -1 once the point is chosen.
    near : ndarray of shape (N,), int32
        The nearest centre that was tried.
    seen : ndarray of shape (N,), int32
        None of so many first centres is nearer than `best`.
    chosen : ndarray of shape (n,), int64
        Index of each centre among the points.
    rows : ndarray of shape (n, columns), int16
        Sketches of the centres, close together in memory.
    blocks : ndarray of shape (ceil(n / LANES), columns, LANES), float32
        The same, LANES side by side; columns of zeros make up a multiple of STEP.
    links : ndarray of shape (n, LINKS), int32
        A ring for each centre: the last centres that took a point from it, each once.
    linked : ndarray of shape (n,), int32
        How many were ever written there.
    stride : int
        Patches in a row of an image: points i and i + stride, too, are likely to be alike.
    scale, slack : float
        Units a sketch has in the length 1; error of a distance between sketches, in these units.
    short : int
        SHORT.
    """

    features: np.ndarray
    sketch: np.ndarray
    best: np.ndarray
    near: np.ndarray
    seen: np.ndarray
    chosen: np.ndarray
    rows: np.ndarray
    blocks: np.ndarray
    links: np.ndarray
    linked: np.ndarray
    stride: int
    scale: float
    slack: float
    short: int


def compiled(**options: Any) -> Callable:
    """Compile a function on its first call and keep the machine code on disk where one can."""

    def decorate(function: Callable) -> Callable:
        try:
            return njit(function, cache=True, nogil=True, **options)
        except RuntimeError:  # neither beside the source nor in the user's cache
            return njit(function, nogil=True, **options)

    return decorate


lean = partial(compiled, _nrt=False)
REORDERED = {"contract", "reassoc"}  # for bounds, which have a margin; never for distances

# --- distances and bounds -----------------------------------------------------------------


@lean()
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


@lean()
def limit(state, i):
    """Squared distance between sketches from which on a centre is no nearer than `best[i]`."""
    reach = (math.sqrt(state.best[i]) * state.scale + state.slack) * (1 + ROUNDING)
    return np.float32(reach * reach)


@lean()
def ceiling(state, squared):
    """Squared distance that two points have at most, from an upper bound between sketches."""
    reach = (math.sqrt(squared) * (1 + ROUNDING) + state.slack) / state.scale
    return reach * reach


@lean(fastmath=REORDERED)
def between(sketch, i, rows, j, first, stop):
    """Squared distance of two sketches over some of their columns."""
    total = np.float32(0)
    for c in range(first, stop):
        delta = np.float32(sketch[i, c]) - np.float32(rows[j, c])
        total += delta * delta
    return total


@lean(fastmath=REORDERED)
def add_columns(blocks, b, rows, i, c, sums, limits, row):
    """Add STEP columns to the squared distances of sketch i from those of block b.

    Tells whether one of the sums is still below its limit.
    """
    x0, x1, x2, x3 = rows[i, c], rows[i, c + 1], rows[i, c + 2], rows[i, c + 3]
    x4, x5, x6, x7 = rows[i, c + 4], rows[i, c + 5], rows[i, c + 6], rows[i, c + 7]
    below = False
    for k in range(LANES):
        d0, d1 = blocks[b, c, k] - x0, blocks[b, c + 1, k] - x1
        d2, d3 = blocks[b, c + 2, k] - x2, blocks[b, c + 3, k] - x3
        d4, d5 = blocks[b, c + 4, k] - x4, blocks[b, c + 5, k] - x5
        d6, d7 = blocks[b, c + 6, k] - x6, blocks[b, c + 7, k] - x7
        left = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        total = sums[k] + (left + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7)))
        sums[k] = total
        below = below | (total < limits[row, k])  # `or` would end the vector instructions
    return below


@lean()
def any_below(blocks, b, rows, i, sums, limits, row):
    """Bound the distances of sketch i from block b; False once all reach their limits.

    The short sketches decide on most blocks. For the others the norms that complete these give way
    to what they are the norms of, which is at least as far apart.
    """
    for k in range(LANES):
        sums[k] = np.float32(0)
    for c in range(0, SHORT, STEP):
        if not add_columns(blocks, b, rows, i, c, sums, limits, row):
            return False
    for k in range(LANES):
        norms = blocks[b, SHORT - 1, k] - rows[i, SHORT - 1]
        sums[k] -= norms * norms
    for c in range(SHORT, blocks.shape[1], STEP):
        if not add_columns(blocks, b, rows, i, c, sums, limits, row):
            return False
    return True


# --- one point and one centre -------------------------------------------------------------


@lean()
def link(state, centre, other):
    """Let a centre remember another one as the latest, in place of the oldest if it is new."""
    newest = (state.linked[centre] - 1) % LINKS
    for q in range(min(LINKS, state.linked[centre])):
        if state.links[centre, q] == other:
            state.links[centre, q] = state.links[centre, newest]
            state.links[centre, newest] = other
            return
    state.links[centre, state.linked[centre] % LINKS] = other
    state.linked[centre] += 1


@lean()
def take(state, i, centre, value):
    """Make a centre the nearest one of point i."""
    link(state, state.near[i], centre)
    state.best[i] = value
    state.near[i] = centre


@lean()
def offer(state, i, centre, enough):
    """Give point i a centre if that is nearer than its own; tell whether it was.

    An upper bound below `enough` will do in place of the distance: should the point be asked for
    its distance later, it meets the centre again, which is not among those that it has seen.
    """
    short, last = state.short, state.sketch.shape[1] - 1
    least = limit(state, i)
    inner = between(state.sketch, i, state.rows, centre, 0, short)
    if inner >= least:
        return False
    norms = np.float32(state.sketch[i, short - 1]) - np.float32(state.rows[centre, short - 1])
    inner += between(state.sketch, i, state.rows, centre, short, last) - norms * norms
    inner = max(inner, np.float32(0))
    left, right = np.float64(state.sketch[i, last]), np.float64(state.rows[centre, last])
    if inner + (left - right) ** 2 >= least:
        return False
    value = ceiling(state, inner + (left + right) ** 2)
    if value >= enough:
        value = squared_distance(state.features, i, state.chosen[centre], state.best[i])
    if value >= state.best[i]:
        return False
    take(state, i, centre, value)
    return True


@lean()
def propose(state, i, centre):
    """Offer a centre that is likely to be near, without measuring; tell whether it was taken."""
    return centre != state.near[i] and offer(state, i, centre, np.inf)


@lean()
def walk(state, i, here, theta):
    """Try the centres linked to one, the latest first, and go on from any that is nearer.

    Tells whether that brings point i below theta.
    """
    q = state.linked[here]
    last = max(q - LINKS, 0)
    while q > last:
        q -= 1
        if propose(state, i, state.links[here, q % LINKS]):
            if state.best[i] < theta:
                return True
            here = state.near[i]
            q = state.linked[here]
            last = max(q - LINKS, 0)
    return False


@lean()
def hint(state, i, theta):
    """Look for a centre that brings point i below theta where one is likely; tell if it did.

    Its neighbours in the image are asked for their centres; then it walks along the links, from its
    own centre and from those of the neighbours.
    """
    steps = (-1, 1, -state.stride, state.stride)
    for step in steps:
        if 0 <= i + step < len(state.near):
            propose(state, i, state.near[i + step])
            if state.best[i] < theta:
                return True
    if walk(state, i, state.near[i], theta):
        return True
    for step in steps:
        if 0 <= i + step < len(state.near):
            here = state.near[i + step]
            if here != state.near[i] and walk(state, i, here, theta):
                return True
    return False


@lean()
def touch(rows, points, first, stop):
    """Read from every cache line of some rows, so that they arrive together, not one by one.

    The sum has no other use, but has to go somewhere: else the compiler leaves the reading out.
    """
    total = 0
    for p in range(first, stop):
        for c in range(0, rows.shape[1], 32):
            total += rows[points[p], c]
    return total


# --- the steps of a phase -----------------------------------------------------------------


@lean()
def measure(features, start, best):
    """Write every point's squared distance from the first centre, -1 for the centre."""
    for i in range(len(best)):
        best[i] = squared_distance(features, i, start, np.inf)
    best[start] = -1.0


@lean()
def add_centre(state, count, i):
    """Make point i the centre number `count`."""
    if count:
        link(state, state.near[i], count)
        link(state, count, state.near[i])
    state.chosen[count] = i
    state.best[i] = -1.0
    state.near[i] = count
    for c in range(state.sketch.shape[1]):
        state.blocks[count // LANES, c, count % LANES] = state.sketch[i, c]
        state.rows[count, c] = state.sketch[i, c]


@compiled()
def threshold(best, share):
    """Return theta > 0 with about a share of the points at or above it; 0 if none is above 0."""
    top = 0.0
    for value in best:
        top = max(top, value)
    if top == 0:
        return 0.0
    counts = np.zeros(BINS + 1, np.int64)
    for value in best:
        if value > 0:
            counts[int(value / top * BINS)] += 1
    b = BINS
    above = counts[b]
    while b > 1 and above + counts[b - 1] <= share * len(best):
        b -= 1
        above += counts[b]
    return min(top, top * (b / BINS))


@compiled()
def refresh(state, count, theta):
    """Bring all points at or above theta up to date or below it; return those that stay above."""
    fetched = np.zeros(1, np.int64)
    waiting = np.flatnonzero((state.best >= theta) & (state.seen < count))
    many = 0
    for first in range(0, len(waiting), BATCH):
        stop = min(first + BATCH, len(waiting))
        fetched[0] += touch(state.sketch, waiting, first, stop)
        for p in range(first, stop):
            if not hint(state, waiting[p], theta):
                waiting[many] = waiting[p]
                many += 1
    for first in range(0, many, CHUNK):
        scan(state, waiting[first : min(first + CHUNK, many)], count, theta)
    points = np.flatnonzero(state.best >= theta)
    state.seen[points] = count
    return points


@compiled()
def scan(state, points, count, theta):
    """Compare points with all centres that they have not seen, until they are below theta."""
    rows = np.zeros((len(points), state.blocks.shape[1]), np.float32)
    limits = np.empty((len(points), LANES), np.float32)
    sums = np.empty(LANES, np.float32)
    for p in range(len(points)):
        for c in range(state.sketch.shape[1]):
            rows[p, c] = state.sketch[points[p], c]
        limits[p] = limit(state, points[p])
    for b in range(state.seen[points].min() // LANES, (count - 1) // LANES + 1):
        for p in range(len(points)):
            i, seen = points[p], min(count, (b + 1) * LANES)
            if state.best[i] < theta or state.seen[i] >= seen:
                continue
            if any_below(state.blocks, b, rows, p, sums, limits, p):
                for k in range(LANES):
                    centre = b * LANES + k
                    taken = sums[k] < limits[p, 0] and offer(state, i, centre, theta)
                    if taken and state.best[i] < theta:
                        seen = max(state.seen[i], centre)  # it may be nearer than its upper bound
                        break
                limits[p] = limit(state, i)
            state.seen[i] = seen


@compiled()
def select(state, points, count, stop, theta):
    """Run plain greedy among up-to-date points until all are below theta; return the new count.

    The points are the only ones at or above theta, so the farthest of them is the farthest of all.
    They ascend, so the first of several at the maximum has the lowest index.
    """
    groups = (len(points) + LANES - 1) // LANES
    blocks = np.zeros((groups, state.blocks.shape[1], LANES), np.float32)
    limits = np.zeros((groups, LANES), np.float32)
    top = np.empty(groups)
    for p in range(len(points)):
        for c in range(state.sketch.shape[1]):
            blocks[p // LANES, c, p % LANES] = state.sketch[points[p], c]
    for b in range(groups):
        top[b] = settle(state, points, b, theta, limits)
    sums = np.empty(LANES, np.float32)
    row = np.zeros((1, state.blocks.shape[1]), np.float32)
    while count < stop and groups:
        lead = np.argmax(top)
        if top[lead] < theta:
            break
        p = lead * LANES
        while state.best[points[p]] != top[lead]:
            p += 1
        add_centre(state, count, points[p])
        top[lead] = settle(state, points, lead, theta, limits)
        row[0, : state.rows.shape[1]] = state.rows[count]
        for b in range(groups):
            if top[b] >= theta and any_below(blocks, b, row, 0, sums, limits, b):
                for k in range(LANES):
                    if sums[k] < limits[b, k]:
                        offer(state, points[b * LANES + k], count, 0.0)
                top[b] = settle(state, points, b, theta, limits)
        count += 1
    for i in points:
        if state.best[i] >= theta:
            state.seen[i] = count
    return count


@lean()
def settle(state, points, b, theta, limits):
    """Renew the limits of a group of points, 0 below theta, and return its largest distance."""
    top = -1.0
    for k in range(min(LANES, len(points) - b * LANES)):
        i = points[b * LANES + k]
        limits[b, k] = limit(state, i) if state.best[i] >= theta else np.float32(0)
        top = max(top, state.best[i])
    return top
