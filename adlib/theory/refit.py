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

EPS_SCALES = ("nominal", "matched")


class SimulatedAuroc(NamedTuple):
    """Mean AUROC and its standard error, across fits (as the F-law has it) and within one fit.

    Each has the shape of the anomaly sizes that were asked for.
    """

    across: NDArray[np.float64]
    across_se: NDArray[np.float64]
    within: NDArray[np.float64]
    within_se: NDArray[np.float64]


def simulate_refit(
    dim: int,
    n_train: int,
    spectrum: ArrayLike,
    delta2: ArrayLike,
    *,
    reduction: str = "haar",
    eps: float = 0.0,
    eps_scale: str = "nominal",
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
    delta2 : array_like
        Delta^2, at least 0; several sizes share all draws.
    reduction : str
        A random reduction of `adlib.projection`; ``coordinate`` keeps principal directions here.
    eps : float
        Regulariser, in the units of the spectrum, added after the projection (Eq. 9).
    eps_scale : str
        ``nominal`` takes eps as it is, ``matched`` multiplies it by the factor by which the
        projection changes the mean variance of a coordinate.
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
        If the covariance would be singular, n_fits is odd or below 4, or eps_scale unknown.
    """
    spectrum, delta2 = numbers(spectrum=spectrum, delta2=delta2)
    require(np.all(delta2 >= 0), "Delta^2 must be at least 0", delta2)
    require(np.all(spectrum > 0), "variances must be above 0", spectrum)
    require(eps > 0 or dim < n_train, f"without eps m must be below N = {n_train}", dim)
    require(n_fits >= 4 and n_fits % 2 == 0, "n_fits must be even and at least 4", n_fits)
    require(eps_scale in EPS_SCALES, f"eps_scale must be one of {EPS_SCALES}", eps_scale)
    matched = eps_scale == "matched"
    fits = [
        _one_fit(dim, n_train, spectrum, delta2.ravel(), reduction, eps, matched, n_test, rng)
        for _ in range(n_fits)
    ]
    # fits 2i and 2i + 1 form a pair; pairs are independent, so their spread gives the error
    across = _paired(
        [_aurocs(a, b) + _aurocs(b, a) for a, b in zip(fits[::2], fits[1::2], strict=True)]
    )
    within = _paired(
        [_aurocs(a, a) + _aurocs(b, b) for a, b in zip(fits[::2], fits[1::2], strict=True)]
    )
    return SimulatedAuroc(*(part.reshape(delta2.shape) for part in (*across, *within)))


def _aurocs(normal_of: NDArray, anomalous_of: NDArray) -> NDArray:
    """AUROC for each size (S,): normal scores of one fit against anomalous scores of another."""
    normal, anomalous = normal_of[0], anomalous_of[1:]
    labels = np.repeat([0, 1], len(normal))
    return np.array([auroc(labels, np.concatenate([normal, scores])) for scores in anomalous])


def _paired(sums: list[NDArray]) -> tuple[NDArray, NDArray]:
    """Mean and standard error (S,) from the sum of two AUROCs a pair."""
    values = np.array(sums) / 2
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def refit_curve(
    dims: ArrayLike,
    n_train: int,
    spectrum: ArrayLike,
    delta2: ArrayLike,
    *,
    reduction: str = "haar",
    eps: float = 0.0,
    eps_scale: str = "nominal",
    n_fits: int = 100,
    n_test: int = 50,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the AUROC across fits for each dimension, every one from the same seed.

    The same seed gives the same draws whatever the size of the anomaly, so that the curve rises
    with `delta2` and `adlib.theory.calibrate` can invert it. Parameters and errors are those of
    `simulate_refit`.

    Returns
    -------
    ndarray of shape (len(dims), ...)
        The rest is the shape of `delta2`.
    """
    return np.array(
        [
            simulate_refit(
                int(dim),
                n_train,
                spectrum,
                delta2,
                reduction=reduction,
                eps=eps,
                eps_scale=eps_scale,
                n_fits=n_fits,
                n_test=n_test,
                rng=np.random.default_rng(seed),
            ).across
            for dim in np.atleast_1d(dims)
        ]
    )


def _one_fit(
    dim: int,
    n_train: int,
    spectrum: NDArray,
    delta2: NDArray,
    reduction: str,
    eps: float,
    matched: bool,
    n_test: int,
    rng: np.random.Generator,
) -> NDArray:
    """Squared scores (1 + S, n_test) of one fitted position: normal, then anomalous by size."""
    channels = len(spectrum)
    drawn = projection.draw(reduction, dim, channels, seed=int(rng.integers(2**63)))
    matrix = drawn.dense(channels) * np.sqrt(spectrum)  # acts on whitened patches
    covariance = matrix @ matrix.T
    if matched:
        eps *= np.trace(covariance) / dim / spectrum.mean()
    root = linalg.cholesky(covariance, lower=True)
    # a projected Gaussian patch is Gaussian: draw its m numbers instead of D and a product
    train = rng.standard_normal((n_train, dim)) @ root.T
    # every size shifts the same patches, so that AUROC rises smoothly with it
    test = rng.standard_normal((2, n_test, dim)) @ root.T
    direction = rng.standard_normal((n_test, channels))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shifted = test[1] + np.sqrt(delta2)[:, None, None] * (direction @ matrix.T)
    patches = np.concatenate([test[:1], shifted]) - train.mean(axis=0)
    return mahalanobis2(patches, np.atleast_2d(np.cov(train.T)), eps=eps)
