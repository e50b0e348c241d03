"""Greedy k-centre selection (Roth et al., Algorithm 1), exact and lazy.

**What is computed.** Greedy selection takes, again and again, the point that is farthest from its
nearest centre. *Exact* means: the list of indices that this rule gives with squared distances of
the float32 features as stored, each summed in float64 from the first coordinate to the last, ties
to the lowest index, chosen points excluded. Duplicates then have bit-equal distances. Float32
distances by |x|^2 + |c|^2 - 2 x.c do not give this list: successive radii differ by as little as
one part in 10^9. ``tests/reference.py`` holds the rule in a dozen lines.

**Why it need not cost N n distances.** Greedy only asks for the *largest* distance, so a point that
is surely closer need not be measured. Each point i carries

- ``best[i]``, an upper bound of its distance to its nearest centre: the distance to *some* centre,
  ``near[i]``. It can only be too large, since further centres only bring it down;
- ``seen[i]``, such that none of the first ``seen[i]`` centres is closer than ``best[i]``. A point
  that has seen all centres is *up to date*: its bound is its distance.

The work goes in phases. A phase takes a threshold theta that about one point in 16 reaches
(`coreset_kernel.threshold`) and makes each of these points either up to date or smaller than theta
(`refresh`). Then all points at theta or above are up to date, and plain greedy among these few
points is greedy among all, for as long as the farthest of them stays at theta or above (`select`).

**How a point gets below theta** (`hint`). One near centre is enough. Each centre remembers the last
centres that took a point from it. A point asks its four neighbours in the image, two beside it in
the list and two a row of patches away (`_stride`), for their centres; then it walks along the links
as long as that brings it nearer, first from its own centre, at last from those of its neighbours.
More than nine in ten visits end there. ``seen`` stays as it was, so a bad guess costs time only.
The others are compared with the centres that they have not seen, 64 at a time (`scan`).

**How a comparison is spared.** Once, all points are centred, rotated to their principal axes and
rounded to 16-bit integers: their *sketch*. Rotations keep distances, so any leading coordinates,
with the norm of all others as one more, bound a distance from below: 32 numbers rule out most
centres. The whole sketch bounds it from both sides, and an upper bound below theta is all that it
takes to send a point away. Every bound is widened by what rounding can have done to it (`_slack`),
so that it errs to the safe side; whatever it leaves open is settled by the float64 distance.

**Cost.** Linear in N; in n less than linear, as most pairs are never looked at. Points without
structure, isotropic noise, are the bad case: short sketches rule out little and most pairs are
compared, at about twice the cost of one matrix product of all points with all centres, still less
than plain greedy takes. Memory beside the features: 260 bytes a point for the sketch at d = 128
(half a copy; it does not grow beyond), 16 for the state, about 900 a centre.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from adlib.errors import InputError

if TYPE_CHECKING:
    from types import ModuleType

    import torch

    from adlib.coreset_kernel import State

SHARE = 1 / 16  # of the points, about, are looked at in a phase
SLICE = 1024  # centres that one call of the kernel chooses at most: the bar moves in between
SAMPLE = 8192  # points that the principal axes are computed from
ROWS = 1024  # points that are rotated at once: they stay in the cache
WIDEST = 256  # patches in a row of an image, for hints from the row above
ALIKE = 512  # points that this width is guessed from
COORDINATES = 128  # of a sketch, at most
LEVELS = 32000  # largest entry of a sketch, in int16


class Estimate(NamedTuple):
    """What a selection will take, roughly.

    Attributes
    ----------
    seconds : float
        CPU time of one thread.
    bytes : int
        Memory beside the features.
    """

    seconds: float
    bytes: int

    def __str__(self) -> str:
        seconds = f"{self.seconds:.1f}" if self.seconds < 1 else f"{self.seconds:,.0f}"
        return f"about {seconds} s and {max(1, self.bytes / 1e6):,.0f} MB"


def estimate(N: int, d: int, n: int) -> Estimate:
    """Estimate time and memory of `k_center_greedy`, within a factor of about three.

    Fitted to features of images on one core of a current server. Points without structure take up
    to the time of N n comparisons, several times as long; a small problem takes less than the
    compilation at the very first call, which is not included.

    Parameters
    ----------
    N, d, n : int
        Number of points, their dimension, number of centres.

    Returns
    -------
    Estimate
    """
    columns = min(d, COORDINATES) + 34
    seconds = 0.02 + 1.5e-9 * N * d + 2.5e-6 * N + 9e-10 * N * n
    return Estimate(seconds, N * (2 * columns + 16 + 8) + n * (6 * columns + 76))


def k_center_greedy(
    features: np.ndarray | torch.Tensor,
    n: int,
    *,
    start: int = 0,
    progress: bool | Callable[[int, int], None] = False,
) -> np.ndarray:
    """Choose n points by greedy k-centre selection, exactly (Roth et al., Algorithm 1).

    Parameters
    ----------
    features : ndarray or CPU tensor of shape (N, d), float32
        The points; only read.
    n : int
        Number of centres, in [1, N].
    start : int
        Index of the first centre, in [0, N).
    progress : bool or callable
        True: print an estimate of time and memory, then show a bar where stderr is a terminal.
        A callable is told (number of centres so far, n) instead, now and then and at the end.

    Returns
    -------
    ndarray of shape (n,), int64
        Indices in the order of the selection, each at most once. The same for every run, machine
        and number of threads.

    Raises
    ------
    InputError
        The features are not float32 (float64 is refused: rounding it would change the list without
        a word), not two-dimensional, empty or not finite; `n` or `start` is out of its range.
    """
    points = _checked(features, n)
    if not 0 <= start < len(points):
        raise InputError(
            f"start must lie in [0, {len(points) - 1}], the indices of the points, found {start}"
        )
    from adlib import coreset_kernel as kernel  # numba, which takes a second to import

    with _telling(progress, *points.shape, n) as tell:
        state, count = _state(points, n, start, kernel), 1
        while count < n and (theta := kernel.threshold(state.best, SHARE)) > 0:
            tell(count)
            candidates = kernel.refresh(state, count, theta)
            count = kernel.select(state, candidates, count, min(n, count + SLICE), theta)
        # what is left coincides with a centre, so that every point ties: lowest index first
        state.chosen[count:] = np.flatnonzero(state.best >= 0)[: n - count]
        tell(n)
    return state.chosen


@contextmanager
def _telling(
    progress: bool | Callable[[int, int], None], N: int, d: int, n: int
) -> Iterator[Callable[[int], object]]:
    """Give what is to be told how many centres there are."""
    if callable(progress):
        yield lambda done: progress(done, n)
        return
    if progress:
        tqdm.write(f"coreset: {n:,} of {N:,} patches, {estimate(N, d, n)}", file=sys.stderr)
    hidden = None if progress else True  # None: hidden unless stderr is a terminal
    with tqdm(total=n, unit="centre", desc="coreset", disable=hidden, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n)


def approximate_k_center_greedy(
    features: np.ndarray | torch.Tensor, n: int, *, seed: int = 0, starts: int = 10
) -> np.ndarray:
    """Choose n points as the released code of PatchCore does by default.

    Its ``ApproximateGreedyCoresetSampler`` draws random starts, takes the mean distance to them for
    the distance to a first centre, and never lets go of it: the running minimum contains this mean,
    and the starts themselves are not chosen. That is not Algorithm 1. The point with the largest
    running minimum comes next; where all are at zero, a point may come more than once.

    Parameters
    ----------
    features : ndarray or CPU tensor of shape (N, d), float32
    n : int
        Number of centres, in [1, N].
    seed : int
        Seed of the starts.
    starts : int
        Number of starts, in [1, N]; they are drawn without repetition.

    Returns
    -------
    ndarray of shape (n,), int64
        Indices in the order of the selection; float32 distances, ties to the lowest index.

    Raises
    ------
    InputError
        As in `k_center_greedy`.
    """
    points = _checked(features, n)
    if not 1 <= starts <= len(points):
        raise InputError(
            f"starts must lie in [1, {len(points)}], the number of points, found {starts}"
        )
    norms = np.einsum("ij,ij->i", points, points)

    def distances(i: int) -> np.ndarray:
        squared = norms + (norms[i] - 2 * (points @ points[i]))
        return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)

    drawn = np.random.default_rng(seed).choice(len(points), starts, replace=False)
    nearest = sum(distances(i) for i in drawn) / np.float32(starts)
    chosen = np.empty(n, np.int64)
    for count in range(n):
        chosen[count] = np.argmax(nearest)
        np.minimum(nearest, distances(chosen[count]), out=nearest)
    return chosen


def _checked(features: np.ndarray | torch.Tensor, n: int) -> np.ndarray:
    """Return the points as a contiguous array, or refuse them."""
    points = np.asarray(features)
    if points.ndim != 2 or 0 in points.shape:
        raise InputError(
            f"features must have the shape (N, d) with N and d at least 1, found {points.shape}; "
            "flatten images and positions into one axis of patches"
        )
    if points.dtype != np.float32:
        raise InputError(
            f"features must be float32, whose values the selection is exact for, found "
            f"{points.dtype}; convert them with .astype(numpy.float32)"
        )
    if not 1 <= n <= len(points):
        raise InputError(f"n must lie in [1, {len(points)}], the number of points, found {n}")
    if not (np.isfinite(points.max()) and np.isfinite(points.min())):
        raise InputError(
            "features must be finite, found NaN or infinity; look for it in the images or weights"
        )
    return np.ascontiguousarray(points)


# --- what the kernel starts from ----------------------------------------------------------


def _state(points: np.ndarray, n: int, start: int, kernel: ModuleType) -> State:
    """Allocate what the kernel works on, with the first centre in place."""
    N = len(points)
    best = np.empty(N)
    kernel.measure(points, start, best)
    sketch, scale, slack = _sketch(points, start, math.sqrt(max(best.max(), 0)), kernel.SHORT)
    blocks = -(-n // kernel.LANES)
    state = kernel.State(
        features=points,
        sketch=sketch,
        best=best,
        near=np.zeros(N, np.int32),
        seen=np.ones(N, np.int32),
        chosen=np.empty(n, np.int64),
        rows=np.zeros((n, sketch.shape[1]), np.int16),
        blocks=_no_centres(blocks, sketch.shape[1], kernel),
        links=np.zeros((n, kernel.LINKS), np.int32),
        linked=np.zeros(n, np.int32),
        stride=_stride(sketch[:, : kernel.SHORT]),
        scale=scale,
        slack=slack,
        short=kernel.SHORT,
    )
    kernel.add_centre(state, 0, start)
    return state


def _sketch(
    points: np.ndarray, start: int, radius: float, short: int
) -> tuple[np.ndarray, float, float]:
    """Return sketches (N, columns) of the points, the length of one unit inverted, their slack.

    Parameters
    ----------
    points : ndarray of shape (N, d), float32
    start : int
        Index of a point.
    radius : float
        Largest distance of a point from it.
    short : int
        Columns of a short sketch.
    """
    N, d = points.shape
    # float32 squares overflow or vanish unless the largest entry is near 1; a power of two is exact
    scale = np.float32(2.0 ** min(120, -math.frexp(float(np.abs(points[start]).max()) + radius)[1]))
    sample = points[:: -(-N // SAMPLE)] * scale
    centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    axes = _principal_axes(sample - centre, min(d, COORDINATES))
    reach = radius * float(scale) + float(np.linalg.norm(points[start] * scale - centre))
    unit = np.float32(LEVELS / reach) if reach else np.float32(1)
    kept = axes.shape[1]
    lead = min(short - 1, kept)
    sketch = np.zeros((N, short + kept - lead + 1), np.int16)
    for first in range(0, N, ROWS):
        centred = points[first : first + ROWS] * scale - centre
        along = centred @ axes
        left = np.zeros(len(along), np.float32)
        if kept < d:
            left = np.linalg.norm(centred - along @ axes.T, axis=1)
        part = sketch[first : first + ROWS]
        part[:, :lead] = np.rint(along[:, :lead] * unit)
        part[:, short - 1] = np.rint(np.hypot(np.linalg.norm(along[:, lead:], axis=1), left) * unit)
        part[:, short:-1] = np.rint(along[:, lead:] * unit)
        part[:, -1] = np.rint(left * unit)
    return sketch, float(scale) * float(unit), _slack(d, reach * float(unit), sketch.shape[1])


def _no_centres(blocks: int, columns: int, kernel: ModuleType) -> np.ndarray:
    """Return blocks of centres, all of them far away until they are chosen."""
    padded = -(-columns // kernel.STEP) * kernel.STEP
    centres = np.zeros((blocks, padded, kernel.LANES), np.float32)
    centres[:, : kernel.SHORT] = kernel.FAR
    return centres


def _stride(short: np.ndarray) -> int:
    """Guess how many patches a row of an image has: points so far apart in the list are most alike.

    Only hints depend on it: a wrong guess costs time, no exactness.

    Parameters
    ----------
    short : ndarray of shape (N, SHORT), int16
        Short sketches.
    """
    widest = min(WIDEST, len(short) // 2)
    some = np.linspace(0, len(short) - 1 - widest, ALIKE).astype(np.int64)
    here = short[some].astype(np.float32)
    apart = [
        np.linalg.norm(short[some + step] - here, axis=1).sum() for step in range(2, widest + 1)
    ]
    return 2 + int(np.argmin(apart)) if apart else 1


def _principal_axes(sample: np.ndarray, kept: int) -> np.ndarray:
    """Return the leading principal axes (d, kept) of centred points, float32.

    Any orthonormal axes would do: better ones make tighter bounds.
    """
    _, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    return np.ascontiguousarray(axes[:, ::-1][:, :kept], np.float32)


def _slack(d: int, reach: float, columns: int) -> float:
    """Bound what rounding does to the distance between two sketches, in units of a sketch.

    A sketch of exact arithmetic is a rotation, and distances between its leading coordinates,
    completed by norms, are never too long. What is stored differs from it, for a point at the
    distance r from the centre, by

    - rounding to integers, at most half a unit in each column;
    - float32 products with at most d terms: d 2^-24 r in each column, the same again where the
      norm of what is left is computed from them, and once more for that norm; 64 2^-24 r covers
      what else is rounded (centring, the axes themselves, scaling).

    Both points of a pair count.
    """
    return 2 * math.sqrt(columns) * (0.5 + reach * (3 * d + 64) * 2.0**-24)
