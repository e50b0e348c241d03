"""The lazy selection of `adlib.coreset`, slowly, with books kept of what it looks at.

`lazy_greedy` takes the steps of the compiled code in plain NumPy, under the same names, and notes
for each pair of a point and a centre whether it was measured, only bounded, or never looked at.
Two things are left out: upper bounds from sketches, and comparing in blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adlib.study.coreset_demo import columns_of, squared_distances

NEVER, BOUNDED, MEASURED = 0, 1, 2  # what became of a pair of a point and a centre
SHARE = 1 / 16  # of the points, about, that a phase looks at
COLUMNS = 32  # of a sketch: leading coordinates, then the norm of all others
LINKS = 16  # centres that a centre remembers


class Phase(NamedTuple):
    """One phase of a lazy selection; bounds and theta are distances, not squared.

    Attributes
    ----------
    first, last : int
        Number of centres when it began and when it ended.
    theta : float
    before, after : ndarray of shape (N,), float64
        Upper bounds when it began, and once no stale one reached theta; 0 for centres.
    current : ndarray of shape (N,), bool
        Which points were up to date with all centres before the phase began.
    hinted : ndarray of shape (N,), bool
        Which points a hint brought below theta.
    """

    first: int
    last: int
    theta: float
    before: np.ndarray
    after: np.ndarray
    current: np.ndarray
    hinted: np.ndarray


class Trace(NamedTuple):
    """A lazy selection and what it looked at.

    Attributes
    ----------
    chosen : ndarray of shape (n,), int64
    pairs : ndarray of shape (N, n), uint8
        `NEVER`, `BOUNDED` or `MEASURED` for each point and each centre.
    phases : list of Phase
    """

    chosen: np.ndarray
    pairs: np.ndarray
    phases: list[Phase]

    def share(self, kind: int) -> float:
        """Return the share of all pairs that are `kind`."""
        return float((self.pairs == kind).mean())


def lazy_greedy(
    features: np.ndarray, n: int, start: int = 0, *, share: float = SHARE, columns: int = COLUMNS
) -> Trace:
    """Select what `plain_greedy` selects and note which pairs that took; slow, for small sets.

    Parameters
    ----------
    features : ndarray of shape (N, d), float32
        Neighbours in the list should be neighbours in the image: hints ask them.
    n, start : int
    share : float in (0, 1]
        Share of the points that a phase looks at.
    columns : int
        Length of a sketch, at least 2.

    Returns
    -------
    Trace
    """
    work = _Lazy(features, n, columns)
    work.begin(start)
    phases = []
    while work.count < n:
        theta = work.threshold(share)
        if theta == 0:  # all that is left coincides with a centre
            left = np.flatnonzero(work.best >= 0)[: n - work.count]
            work.chosen.extend(int(i) for i in left)
            break
        first, before, current = work.count, work.bounds(), work.seen == work.count
        hinted = work.refresh(theta)
        after = work.bounds()
        work.select(n, theta)
        phases.append(Phase(first, work.count, theta**0.5, before, after, current, hinted))
    return Trace(np.array(work.chosen), work.pairs, phases)


class _Lazy:
    """The state of `adlib.coreset_kernel`, with the same names; `best` and theta are squared."""

    def __init__(self, features: np.ndarray, n: int, columns: int) -> None:
        N = len(features)
        self.points = features.astype(np.float64)
        self.sketch, self.slack = _sketch(self.points, columns)
        self.best = np.full(N, np.inf)
        self.near, self.seen = np.zeros(N, int), np.zeros(N, int)
        self.chosen: list[int] = []
        self.links: list[list[int]] = []
        self.pairs = np.full((N, n), NEVER, np.uint8)

    @property
    def count(self) -> int:
        return len(self.chosen)

    def bounds(self) -> np.ndarray:
        return np.sqrt(np.maximum(self.best, 0))

    def begin(self, start: int) -> None:
        self.add_centre(start)
        others = np.arange(len(self.best)) != start
        self.best[others] = squared_distances(columns_of(self.points), start)[others]
        self.pairs[others, 0] = MEASURED
        self.seen[:] = 1

    def add_centre(self, i: int) -> None:
        self.links.append([])
        if self.chosen:
            self.links[self.near[i]].append(self.count)
            self.links[-1].append(self.near[i])
        self.best[i], self.near[i] = -1, self.count
        self.chosen.append(int(i))

    def threshold(self, share: float) -> float:
        """Return theta > 0 that about `share` of the points reach; 0 if all are at zero."""
        falling = np.sort(self.best)[::-1]
        theta = falling[max(1, round(share * len(falling))) - 1]
        return max(theta, falling[falling > 0].min(initial=np.inf)) if falling[0] > 0 else 0.0

    def offer(self, i: int, centre: int) -> bool:
        """Give point i a centre if that is nearer; its sketch may rule that out beforehand."""
        delta = self.sketch[i] - self.sketch[self.chosen[centre]]
        if delta @ delta >= (self.best[i] ** 0.5 + self.slack) ** 2:
            self.pairs[i, centre] = max(self.pairs[i, centre], BOUNDED)
            return False
        self.pairs[i, centre] = MEASURED
        delta = self.points[i] - self.points[self.chosen[centre]]
        value = np.cumsum(delta * delta)[-1]  # in order, as the other sums
        if value >= self.best[i]:
            return False
        self.links[self.near[i]].append(centre)
        self.best[i], self.near[i] = value, centre
        return True

    def hint(self, i: int, theta: float) -> bool:
        """Look for a centre below theta where one is likely: along links, then at neighbours."""
        if self.walk(i, theta):
            return True
        for q in (i - 1, i + 1):
            inside = 0 <= q < len(self.near)
            if inside and self.offer(i, self.near[q]) and self.walk(i, theta):
                return True
        return False

    def walk(self, i: int, theta: float) -> bool:
        moved = True
        while moved and self.best[i] >= theta:
            linked = self.links[self.near[i]][-LINKS:]
            moved = any(self.offer(i, centre) for centre in linked)
        return self.best[i] < theta

    def refresh(self, theta: float) -> np.ndarray:
        """Make every point at or above theta up to date or smaller; return which a hint did."""
        hinted = np.zeros(len(self.best), bool)
        for i in np.flatnonzero((self.best >= theta) & (self.seen < self.count)):
            hinted[i] = self.hint(i, theta)
            while self.best[i] >= theta and self.seen[i] < self.count:
                self.offer(i, self.seen[i])
                self.seen[i] += 1
        return hinted

    def select(self, stop: int, theta: float) -> None:
        """Run plain greedy among the points at or above theta, all of them up to date."""
        points = np.flatnonzero(self.best >= theta)
        while self.count < stop:
            points = points[self.best[points] >= theta]
            if len(points) == 0:
                break
            self.add_centre(points[np.argmax(self.best[points])])
            for i in points[self.best[points] >= theta]:
                self.offer(i, self.count - 1)
                self.seen[i] = self.count


def _sketch(points: np.ndarray, columns: int) -> tuple[np.ndarray, float]:
    """Leading principal coordinates and the norm of the rest, and how much rounding may matter."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : columns - 1]
    along = centred @ axes
    rest = np.linalg.norm(centred - along @ axes.T, axis=1)
    return np.column_stack([along, rest]), 1e-10 * float(np.linalg.norm(centred, axis=1).max())
