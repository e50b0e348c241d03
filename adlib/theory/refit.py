r"""The detector on Gaussian patches: project, estimate mean and covariance, regularise, score.

Without eps it obeys the F-law (`adlib.theory.hotelling`). With eps, as PaDiM runs, we know of no
closed form, and the simulation stands in for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from adlib import projection
from adlib.metrics import auroc
from adlib.theory._check import numbers, require
from adlib.theory.contraction import mahalanobis2


class SimulatedAuroc(NamedTuple):
    """Mean AUROC and its standard error, across fits (as the F-law has it) and within one fit."""

    across: float
    across_se: float
    within: float
    within_se: float


def simulate_refit(
    dim: int,
    n_train: int,
    spectrum: ArrayLike,
    delta2: float,
    *,
    reduction: str = "haar",
    eps: float = 0.0,
    n_fits: int = 100,
    n_test: int = 50,
    rng: np.random.Generator,
) -> SimulatedAuroc:
    """Simulate the detector: project Gaussian patches, estimate mean and covariance, score, rank.

    Each fit draws its own projection and N training patches. Anomalies are shifted by Sigma^(1/2) u
    with |u|^2 = Delta^2 and a direction u that is uniform in whitened coordinates.

    Parameters
    ----------
    dim : int
        m; below n_train unless eps > 0.
    n_train : int
        N, at least 2.
    spectrum : array_like of shape (D,)
        Eigenvalues of Sigma, above 0.
    delta2 : float
        Delta^2, at least 0.
    reduction : str
        A random reduction of `adlib.projection`; ``coordinate`` keeps principal directions here.
    eps : float
        Regulariser, in the units of the spectrum, added after the projection (Eq. 9).
    n_fits : int
        An even number, at least 4.
    n_test : int
        Normal and anomalous patches a fit, each.
    rng : numpy.random.Generator

    Returns
    -------
    SimulatedAuroc

    Raises
    ------
    InputError
        If the covariance would be singular, or n_fits is odd or below 4.
    """
    (spectrum,) = numbers(spectrum=spectrum)
    require(np.all(spectrum > 0), "variances must be above 0", spectrum)
    require(eps > 0 or dim < n_train, f"without eps m must be below N = {n_train}", dim)
    require(n_fits >= 4 and n_fits % 2 == 0, "n_fits must be even and at least 4", n_fits)
    scores = np.array(
        [
            _one_fit(dim, n_train, spectrum, delta2, reduction, eps, n_test, rng)
            for _ in range(n_fits)
        ]
    )
    labels = np.repeat([0, 1], n_test)
    pairs = scores.reshape(n_fits // 2, 2, 2, n_test)  # (pair, fit of it, normal | anomalous, test)
    # pairs are independent of each other, so their spread gives the standard error
    across, within = (
        np.array([[auroc(labels, fit.ravel()) for fit in pair] for pair in part]).mean(axis=1)
        for part in (np.stack([pairs[:, :, 0], pairs[:, ::-1, 1]], axis=2), pairs)
    )
    root = np.sqrt(len(pairs))
    return SimulatedAuroc(
        float(across.mean()),
        float(across.std(ddof=1) / root),
        float(within.mean()),
        float(within.std(ddof=1) / root),
    )


def _one_fit(
    dim: int,
    n_train: int,
    spectrum: NDArray,
    delta2: float,
    reduction: str,
    eps: float,
    n_test: int,
    rng: np.random.Generator,
) -> NDArray:
    """Squared scores of shape (2, n_test), normal then anomalous, of one fitted position."""
    channels = len(spectrum)
    drawn = projection.draw(reduction, dim, channels, seed=int(rng.integers(2**63)))
    matrix = drawn.dense(channels) * np.sqrt(spectrum)  # acts on whitened patches
    root = linalg.cholesky(matrix @ matrix.T, lower=True)
    # a projected Gaussian patch is Gaussian: draw its m numbers instead of D and a product
    train = rng.standard_normal((n_train, dim)) @ root.T
    test = rng.standard_normal((2, n_test, dim)) @ root.T
    direction = rng.standard_normal((n_test, channels))
    direction *= np.sqrt(delta2) / np.linalg.norm(direction, axis=1, keepdims=True)
    test[1] += direction @ matrix.T
    return mahalanobis2(test - train.mean(axis=0), np.atleast_2d(np.cov(train.T)), eps=eps)
