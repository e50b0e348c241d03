r"""The JL report's Section 4.3: an interval argument on distances D1 > D2, Eq. 11-15.

Eq. 11 puts the projected distances d1, d2 of an anomalous and a normal item into intervals, Eq. 12
and 13 turn their overlap into a performance, Eq. 14 and 15 that into a curve over dimensions.
Eq. 12 is a ratio of lengths. `order_probability` and `consistent_curve` are what the argument gives
when the intervals carry the plainest probability, the uniform one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.theory._check import numbers, require


def length_ratio(eps: ArrayLike, gap: ArrayLike) -> NDArray[np.float64]:
    """Return r = 2k / (eps + k), the report's Eq. 12 after its algebra.

    It is the share of the hull of both intervals that only one of them covers: a ratio of lengths.

    Parameters
    ----------
    eps : array_like
        Distortion, in [gap, 1]: below the gap the intervals do not overlap.
    gap : array_like
        k, in [0, 1).

    Returns
    -------
    ndarray
        In [0, 1], broadcast.

    Raises
    ------
    InputError
        Outside that domain.
    """
    eps, gap = numbers(eps=eps, gap=gap)
    require(np.all((gap >= 0) & (gap < 1)), "the gap k must lie in [0, 1)", gap)
    require(
        np.all((eps > 0) & (eps >= gap) & (eps <= 1)), "eps must lie in [k, 1] and above 0", eps
    )
    return 2 * gap / (eps + gap)


def report_performance(eps: ArrayLike, gap: ArrayLike, overlap: float) -> NDArray[np.float64]:
    """Return y = p r + 1 - p, the report's Eq. 13.

    Domain and errors are those of `length_ratio`, and p in [0, 1].
    """
    require(0 <= overlap <= 1, "the share of overlapping pairs p must lie in [0, 1]", overlap)
    return overlap * length_ratio(eps, gap) + 1 - overlap


def report_domain(gap: float, q: float) -> tuple[float, float]:
    """Return (q, q / k^2), the dimensions for which Eq. 15 is stated.

    There eps = sqrt(q / x) falls from 1 to k. Needs k in (0, 1) and q > 0, else `InputError`.
    """
    require(0 < gap < 1, "the gap k must lie in (0, 1)", gap)
    require(q > 0, "q must be above 0", q)
    return q, q / gap**2


def report_curve(dim: ArrayLike, overlap: float, gap: float, q: float) -> NDArray[np.float64]:
    """Return the report's Eq. 15, y(x) for x projected dimensions: the curve of its Fig. 2.

    Parameters
    ----------
    dim : array_like
        x, in ``report_domain(gap, q)``, ends included.
    overlap, gap, q : float
        p in [0, 1], k in (0, 1) and q > 0.

    Returns
    -------
    ndarray
        In [0, 1]; 1 at x = q / k^2.

    Raises
    ------
    InputError
        Outside that domain.
    """
    (dim,) = numbers(dim=dim)
    low, high = report_domain(gap, q)
    inside = (dim >= low * (1 - 1e-12)) & (dim <= high * (1 + 1e-12))
    require(np.all(inside), f"Eq. 15 holds for x in [{low:g}, {high:g}]", dim)
    # rounding must not push an end of the domain over the edge of `length_ratio`
    return report_performance(np.clip(np.sqrt(q / dim), gap, 1.0), gap, overlap)


def report_shape(dim: ArrayLike, overlap: float, end: float) -> NDArray[np.float64]:
    """Return Eq. 15 in the only two quantities it depends on: p and its end s = q / k^2.

    With s, Eq. 15 reads 1 - y = p (sqrt(s) - sqrt(x)) / (sqrt(s) + sqrt(x)): k and q cannot be told
    apart by any curve. Beyond s no intervals overlap and y stays 1.

    Parameters
    ----------
    dim : array_like
        x, above 0.
    overlap : float
        p, in [0, 1].
    end : float
        s, above 0.

    Returns
    -------
    ndarray
        In [0, 1].

    Raises
    ------
    InputError
        Outside that domain.
    """
    (dim,) = numbers(dim=dim)
    require(np.all(dim > 0), "the dimension must be above 0", dim)
    require(0 <= overlap <= 1, "the share of overlapping pairs p must lie in [0, 1]", overlap)
    require(end > 0, "the end of the curve must be above 0", end)
    return 1 - overlap * _lost(dim, end)


def _lost(dim: NDArray, end: float) -> NDArray:
    root, last = np.sqrt(dim), np.sqrt(end)
    return np.maximum(last - root, 0) / (last + root)


class ReportFit(NamedTuple):
    """Eq. 15 fitted to a measured curve: p, the end s = q / k^2, root mean squared error."""

    overlap: float
    end: float
    rmse: float


def fit_report_curve(dim: ArrayLike, value: ArrayLike, largest_end: float = 1e8) -> ReportFit:
    """Fit Eq. 15 to measured values by least squares, over both of its free quantities.

    Parameters
    ----------
    dim : array_like of shape (n,)
        Projected dimensions, above 0.
    value : array_like of shape (n,)
        Measured performance, in [0, 1].
    largest_end : float
        Where the search for the end stops; a fit that stops there is a constant in practice.

    Returns
    -------
    ReportFit

    Raises
    ------
    InputError
        On shapes that differ, fewer than two points, or values outside the ranges above.
    """
    dim, value = numbers(dim=dim, value=value)
    require(dim.ndim == 1 and dim.size > 1, "a fit needs at least two dimensions", dim)
    require(value.shape == dim.shape, "a fit needs as many values as dimensions", value)
    require(np.all(dim > 0), "the dimension must be above 0", dim)
    require(np.all((value >= 0) & (value <= 1)), "performance is a fraction in [0, 1]", value)
    require(largest_end > dim.min(), "largest_end must exceed the least dimension", largest_end)

    def fit(log_end: float) -> ReportFit:
        lost = _lost(dim, np.exp(log_end))
        # linear in p once the end is fixed; lost is not all 0, since the end exceeds the least dim
        overlap = float(np.clip(lost @ (1 - value) / (lost @ lost), 0, 1))
        residual = 1 - overlap * lost - value
        return ReportFit(overlap, float(np.exp(log_end)), float(np.sqrt(np.mean(residual**2))))

    grid = np.linspace(np.log(dim.min()), np.log(largest_end), 2001)[1:]
    return min((fit(log_end) for log_end in grid), key=lambda found: found.rmse)


def order_probability(eps: ArrayLike, gap: ArrayLike) -> NDArray[np.float64]:
    """Return P(d1 > d2) for d1, d2 independent and uniform on the intervals of Eq. 11.

    For 0 <= k < eps it is 1 - (eps - k)^2 / (2 eps^2 (1 - k^2)), for k >= eps it is 1, and
    exchanging the two items gives the complement. Averaged over pairs it is an AUROC.

    Parameters
    ----------
    eps : array_like
        Distortion, in (0, 1].
    gap : array_like
        k, in (-1, 1); below 0 for a pair that is ordered wrongly before the projection.

    Returns
    -------
    ndarray
        In [0, 1], broadcast; never below 1/2 where k >= 0.

    Raises
    ------
    InputError
        Outside that domain.
    """
    eps, gap = numbers(eps=eps, gap=gap)
    require(np.all((eps > 0) & (eps <= 1)), "eps must lie in (0, 1]", eps)
    require(np.all(np.abs(gap) < 1), "the gap k must lie in (-1, 1)", gap)
    size = np.abs(gap)
    wrong = np.maximum(eps - size, 0) ** 2 / (2 * eps**2 * (1 - size**2))
    return np.where(gap >= 0, 1 - wrong, wrong)


def consistent_curve(dim: ArrayLike, gaps: ArrayLike, q: float) -> NDArray[np.float64]:
    """Return the mean of `order_probability` over pairs, at eps = sqrt(q / x) (Eq. 14).

    What Eq. 15 becomes with a probability for Eq. 12 and a share of overlapping pairs that follows
    from the gaps. Its limit is the share of pairs in order before the projection, not 1.

    Parameters
    ----------
    dim : array_like of shape (...)
        x, at least q.
    gaps : array_like of shape (n_pairs,)
        k of each pair, in (-1, 1).
    q : float
        Above 0.

    Returns
    -------
    ndarray of shape (...)
        In [0, 1].

    Raises
    ------
    InputError
        Outside that domain.
    """
    dim, gaps = numbers(dim=dim, gaps=gaps)
    require(q > 0, "q must be above 0", q)
    require(np.all(dim >= q), f"eps = sqrt(q/x) stays in (0, 1] for x of at least q = {q:g}", dim)
    return order_probability(np.sqrt(q / dim)[..., None], gaps).mean(axis=-1)


class IntervalShares(NamedTuple):
    """Monte Carlo shares: of the hull outside the overlap, and of pairs with d1 > d2."""

    outside: float
    ordered: float


def simulate_intervals(
    eps: float, gap: float, n_samples: int, rng: np.random.Generator
) -> IntervalShares:
    """Estimate by throwing points what Eq. 12 is (`outside`) and what it stands for (`ordered`).

    Parameters
    ----------
    eps, gap : float
        Distortion in (0, 1] and k in [0, 1), as in Eq. 11 with D1 + D2 = 2.
    n_samples : int
        Points and pairs, at least 1.
    rng : numpy.random.Generator

    Returns
    -------
    IntervalShares
        Both in [0, 1], with standard errors sqrt(share (1 - share) / n_samples).
    """
    low, high = np.array([1 - eps, 1 + eps])[:, None] * [1 + gap, 1 - gap]  # columns: d1, d2
    point = rng.uniform(low.min(), high.max(), n_samples)
    in_overlap = (point > low.max()) & (point < high.min())
    d1, d2 = rng.uniform(low, high, (n_samples, 2)).T
    return IntervalShares(float(1 - in_overlap.mean()), float(np.mean(d1 > d2)))
