r"""What a projection does to a Mahalanobis distance that is refitted after it: it shrinks.

The JL lemma keeps Euclidean distances up to 1 +- eps. The detector ranks by

    M'^2 = delta^T Pi^T (Pi Sigma Pi^T)^-1 Pi delta,

the squared length of a projection of Sigma^(-1/2) delta onto m dimensions: M' <= M, exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats

from adlib.theory._check import numbers, require


def mahalanobis2(
    delta: ArrayLike, sigma: ArrayLike, matrix: ArrayLike | None = None, eps: float = 0.0
) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distance, before or after a projection (report, Eq. 5 and 10).

    Without eps it is the largest (v^T delta)^2 / (v^T Sigma v) over v in the row space of the
    projection, hence M' <= M, and any invertible map of the projected coordinates leaves it alone.

    Parameters
    ----------
    delta : array_like of shape (..., D)
        Difference from the mean.
    sigma : array_like of shape (D, D)
        Covariance, positive definite after projection and regularisation.
    matrix : array_like of shape (m, D), optional
        Pi; none: no projection.
    eps : float
        Regulariser added to the covariance after the projection.

    Returns
    -------
    ndarray of shape (...)
        M^2.
    """
    delta, sigma = numbers(delta=delta, sigma=sigma)
    if matrix is not None:
        matrix = np.asarray(matrix, dtype=np.float64)
        delta, sigma = delta @ matrix.T, matrix @ sigma @ matrix.T
    root = linalg.cholesky(sigma + eps * np.eye(len(sigma)), lower=True)
    flat = delta.reshape(-1, delta.shape[-1]).T
    whitened = linalg.solve_triangular(root, flat, lower=True)
    return np.sum(whitened**2, axis=0).reshape(delta.shape[:-1])


def contraction_law(dim: int, channels: int) -> stats.rv_continuous:
    """Return the law of M'^2 / M^2 for a row space that is uniform in whitened coordinates.

    Parameters
    ----------
    dim, channels : int
        1 <= m < D.

    Returns
    -------
    scipy frozen distribution
        Beta(m/2, (D - m)/2): mean m/D, variance 2 m (D - m) / (D^2 (D + 2)).

    Raises
    ------
    InputError
        Outside that range; at m = D the ratio is 1.
    """
    require(1 <= dim < channels, f"the dimension must lie in [1, {channels - 1}]", dim)
    return stats.beta(dim / 2, (channels - dim) / 2)


def contraction_spread(dim: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return sd / mean of M'^2 / M^2, sqrt(2 (D - m) / (m (D + 2))), for 1 <= m <= D."""
    (dim,) = numbers(dim=dim)
    require(np.all((dim >= 1) & (dim <= channels)), f"dim must lie in [1, {channels}]", dim)
    return np.sqrt(2 * (channels - dim) / (dim * (channels + 2)))


def contraction_by_direction(matrix: ArrayLike, spectrum: ArrayLike) -> NDArray[np.float64]:
    """Return M'^2 / M^2 of shifts along each principal direction of the covariance.

    Parameters
    ----------
    matrix : array_like of shape (m, D)
        Pi in the basis of the principal directions, of full row rank.
    spectrum : array_like of shape (D,)
        Variances along them, above 0.

    Returns
    -------
    ndarray of shape (D,)
        In [0, 1]; they sum to m, so what one direction keeps another loses.
    """
    matrix, spectrum = numbers(matrix=matrix, spectrum=spectrum)
    require(np.all(spectrum > 0), "variances must be above 0", spectrum)
    basis, _ = np.linalg.qr((matrix * np.sqrt(spectrum)).T)
    return np.sum(basis**2, axis=1)


def power_spectrum(channels: int, decay: float) -> NDArray[np.float64]:
    """Return variances i^-decay, i = 1..D, scaled to mean 1; decay 0 is the isotropic case."""
    require(channels >= 1, "channels must be at least 1", channels)
    variances = np.arange(1, channels + 1.0) ** -decay
    return variances / variances.mean()
