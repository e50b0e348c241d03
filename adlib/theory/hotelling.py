r"""The F-law: AUROC of a Mahalanobis score whose mean and covariance come from N normal patches.

By Hotelling's T^2 ("The generalization of Student's ratio", Annals of Mathematical Statistics 2,
1931) AUROC(m) has no free parameter beside the size of the anomaly. It rises while the projection
keeps more of the anomaly and falls as m approaches N: the covariance is estimated ever worse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, special, stats

from adlib.theory._check import numbers, require

# Trapezoidal rule on the normal scale: for a smooth integrand under a Gaussian weight it converges
# faster than any power of the step; at 1/4 the F-law is exact to about 1e-15.
_NORMAL_NODES = np.arange(-8.0, 8.125, 0.25)
_NORMAL_WEIGHTS = np.exp(-(_NORMAL_NODES**2) / 2) / np.exp(-(_NORMAL_NODES**2) / 2).sum()


def f_law(dim: ArrayLike, n_train: int, shift2: ArrayLike) -> NDArray[np.float64]:
    """Return P(F_lambda > F_0), the AUROC when the projected anomaly has one size.

    N/(N+1) (N-m)/(m (N-1)) M'^2 follows F(m, N-m) for a normal patch, and its noncentral relative
    with lambda = N/(N+1) Delta'^2 for a shifted one (Hotelling). Both scores are taken as
    independent: the patches come from different positions, each with its own fit, as nearly all
    pairs of pixels do in a pixel AUROC.

    Parameters
    ----------
    dim : array_like of int
        m, in [1, n_train - 1].
    n_train : int
        N, at least 2.
    shift2 : array_like
        Delta'^2, at least 0.

    Returns
    -------
    ndarray
        In [1/2, 1], broadcast.

    Raises
    ------
    InputError
        Outside that domain. From m = N on the covariance is singular and there is no law.
    """
    dim, shift2 = numbers(dim=dim, shift2=shift2)
    require(n_train >= 2, "the F-law needs at least 2 training patches", n_train)
    inside = (dim >= 1) & (dim < n_train)
    require(np.all(inside), f"the F-law needs 1 <= m < N, here N = {n_train}", dim)
    require(np.all(shift2 >= 0), "Delta'^2 must be at least 0", shift2)
    rest = n_train - dim[..., None]
    tail = special.ndtr(-np.abs(_NORMAL_NODES))
    lower, upper = stats.f.ppf(tail, dim[..., None], rest), stats.f.isf(tail, dim[..., None], rest)
    normal = np.where(_NORMAL_NODES < 0, lower, upper)
    noncentral = n_train / (n_train + 1) * shift2[..., None]
    # scipy's ncf is undefined at 0 noncentrality; there both laws are one and the answer is 1/2
    above = stats.ncf.sf(normal, dim[..., None], rest, np.maximum(noncentral, 1e-12))
    return np.where(shift2 > 0, np.minimum(above @ _NORMAL_WEIGHTS, 1.0), 0.5)


def projected_f_law(
    dim: ArrayLike, n_train: int, channels: int, delta2: ArrayLike, nodes: int = 12
) -> NDArray[np.float64]:
    """Return the F-law's AUROC as a function of m for an anomaly of one size before projection.

    Delta'^2 is Delta^2 times the Beta law of the contraction, integrated with Gauss-Jacobi nodes;
    ``nodes=1`` puts it at its mean Delta^2 m/D. For anomalies of several sizes take the mean over
    an axis of `delta2`: AUROC is linear in the mixture.

    Parameters
    ----------
    dim : array_like of int
        m, in [1, min(channels, n_train - 1)].
    n_train, channels : int
        N and D.
    delta2 : array_like
        Delta^2, at least 0.
    nodes : int
        Quadrature nodes of the Beta law, at least 1.

    Returns
    -------
    ndarray
        In [1/2, 1], broadcast.

    Raises
    ------
    InputError
        Outside that domain.
    """
    dim, delta2 = np.broadcast_arrays(*numbers(dim=dim, delta2=delta2))
    require(np.all(dim <= channels), f"the dimension must be at most D = {channels}", dim)
    require(np.all(dim >= 1), "the dimension must be at least 1", dim)
    rules = {m: _beta_nodes(m, channels, nodes) for m in np.unique(dim)}
    kept = np.array([rules[m][0] for m in dim.flat]).reshape(*dim.shape, nodes)
    weight = np.array([rules[m][1] for m in dim.flat]).reshape(*dim.shape, nodes)
    return np.sum(weight * f_law(dim[..., None], n_train, delta2[..., None] * kept), axis=-1)


def _beta_nodes(dim: float, channels: int, nodes: int) -> tuple[NDArray, NDArray]:
    """Gauss nodes and weights of Beta(m/2, (D-m)/2) from Jacobi's recurrence (Golub and Welsch).

    scipy's roots_sh_jacobi overflows at D of a few thousand.
    """
    if dim == channels:
        return np.ones(nodes), np.full(nodes, 1 / nodes)
    a, b = (channels - dim) / 2 - 1, dim / 2 - 1
    n = np.arange(nodes)
    diagonal = np.full(nodes, (b - a) / (a + b + 2))
    both = 2 * n[1:] + a + b
    diagonal[1:] = (b * b - a * a) / (both * (both + 2))
    square = 4 * n[1:] * (n[1:] + a) * (n[1:] + b) / (both**2 * (both + 1))
    # (n + a + b) / (2n + a + b - 1) is 1 at n = 1, also where it reads 0/0
    square[1:] *= (n[2:] + a + b) / (both[1:] - 1)
    root, vectors = linalg.eigh_tridiagonal(diagonal, np.sqrt(square))
    return np.clip((1 + root) / 2, 0, 1), vectors[0] ** 2


class Best(NamedTuple):
    """The dimension with the highest AUROC, and that AUROC."""

    dim: int
    auroc: float


def best_dimension(n_train: int, channels: int, delta2: float) -> Best:
    """Find the maximum of `projected_f_law` over every m in [1, min(channels, n_train - 1)].

    It lies inside: m near 1 keeps nothing of the anomaly, m near N ruins the covariance.
    """
    dims = np.arange(1, min(channels, n_train - 1) + 1)
    values = projected_f_law(dims, n_train, channels, delta2)
    return Best(int(dims[values.argmax()]), float(values.max()))


def calibrate(
    curve: Callable[[float], float], target: float, bracket: tuple[float, float] = (1e-2, 1e6)
) -> float:
    """Return the Delta^2 at which a rising curve of Delta^2 passes a measured AUROC.

    Parameters
    ----------
    curve : callable
        AUROC as a function of Delta^2: a law, or a simulation with the same draws each time.
    target : float
        The measured AUROC.
    bracket : (float, float)
        Where to look for Delta^2.

    Returns
    -------
    float
        Delta^2, to a relative 1e-9.

    Raises
    ------
    InputError
        If the curve does not pass the target inside the bracket.
    """
    low, high = (float(curve(edge)) for edge in bracket)
    require(
        low < target < high,
        f"the AUROC to calibrate on must lie in ({low:.4f}, {high:.4f})",
        target,
    )
    found = optimize.brentq(
        lambda log_delta2: float(curve(np.exp(log_delta2))) - target, *np.log(bracket), xtol=1e-9
    )
    return float(np.exp(found))


class SizesFit(NamedTuple):
    """Measured AUROCs as a mixture: a share of hidden anomalies, the others of one size."""

    hidden: float
    delta2: float
    rmse: float
    values: NDArray[np.float64]


def fit_sizes(table: ArrayLike, delta2: ArrayLike, value: ArrayLike) -> SizesFit:
    """Fit (1 - w) AUROC(m; Delta^2) + w/2 to a measured curve by least squares.

    A share w of what the ground truth calls anomalous has shift 0 and ranks like normal patches.
    This is the simplest mixture of sizes, with two free quantities, as many as Eq. 15 has.

    Parameters
    ----------
    table : array_like of shape (n, S)
        AUROC at n dimensions for S sizes: the F-law, or a simulation.
    delta2 : array_like of shape (S,)
        The sizes; one of them is chosen.
    value : array_like of shape (n,)
        Measured AUROC, in [0, 1].

    Returns
    -------
    SizesFit
        With the fitted curve of shape (n,) as `values`.

    Raises
    ------
    InputError
        On shapes that do not fit together or values outside [0, 1].
    """
    table, delta2, value = numbers(table=table, delta2=delta2, value=value)
    require(
        table.shape == (*value.shape, *delta2.shape) and table.ndim == 2,
        "the table must have one row a measured value and one column a size",
        table.shape,
    )
    require(np.all((value >= 0) & (value <= 1)), "AUROC is a fraction in [0, 1]", value)
    above = table - 0.5
    # linear in 1 - w for every size; a law that is 1/2 everywhere leaves w open
    visible = (value - 0.5) @ above / np.maximum(np.sum(above**2, axis=0), 1e-12)
    visible = np.clip(visible, 0, 1)
    curves = 0.5 + visible * above
    rmse = np.sqrt(np.mean((curves - value[:, None]) ** 2, axis=0))
    best = int(rmse.argmin())
    return SizesFit(
        float(1 - visible[best]), float(delta2[best]), float(rmse[best]), curves[:, best]
    )
