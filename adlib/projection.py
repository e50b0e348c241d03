r"""Linear reductions of patch embeddings, from D channels to m dimensions.

====================  ==========================================  ================================
name                  Pi (m x D)                                  source
====================  ==========================================  ================================
``coordinate``        m rows of the identity, without repetition  PaDiM
``gaussian``          G / sqrt(m), G_ij ~ N(0, 1)                 JL report, Eq. 6
``haar``              m orthonormal rows, uniformly distributed   JL report, Section 3
``sparse``            +-c with density 1/sqrt(D), else 0          Achlioptas 2003; Li et al. 2006
``pca``               leading directions of the pooled covariance classical
``none``              identity                                    the ceiling
====================  ==========================================  ================================

``gaussian`` and ``sparse`` keep the squared norm in expectation, E|Pi x|^2 = |x|^2, so one reduced
coordinate carries D/m times the variance of a raw one; ``coordinate`` and ``haar`` keep the
variance per coordinate. That matters wherever a fixed regulariser eps I is added after the
projection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from adlib.errors import InputError

Name = Literal["coordinate", "gaussian", "haar", "sparse", "pca", "none"]
NAMES: tuple[str, ...] = get_args(Name)
RANDOM = ("coordinate", "gaussian", "haar", "sparse")


@dataclass(frozen=True)
class Reduction:
    """A linear map from D channels to m dimensions.

    Exactly one of the two forms is set: selected channels are gathered, all else is a product.

    Attributes
    ----------
    indices : ndarray of shape (m,), int64, or None
        The channels that are kept, in order.
    matrix : ndarray of shape (m, D), float32, or None
        Pi, dense.
    """

    indices: np.ndarray | None = None
    matrix: np.ndarray | None = None

    @property
    def dim(self) -> int:
        """m, the number of dimensions after the reduction."""
        return len(self.indices if self.matrix is None else self.matrix)

    def dense(self, channels: int) -> np.ndarray:
        """Return Pi as a float64 array of shape (m, D)."""
        if self.matrix is not None:
            return self.matrix.astype(np.float64)
        return np.eye(channels)[self.indices]


def draw(
    name: str, dim: int, channels: int, seed: int, covariance: np.ndarray | None = None
) -> Reduction:
    """Draw a reduction.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    dim : int
        m, in [1, channels]; ignored by ``none``.
    channels : int
        D, the number of channels after concatenation.
    seed : int
        Seed of the random draw; ``pca`` and ``none`` do not depend on it.
    covariance : ndarray of shape (channels, channels), optional
        Pooled covariance of the features; ``pca`` needs it.

    Returns
    -------
    Reduction

    Raises
    ------
    InputError
        Unknown name, or a dimension outside [1, channels].
    """
    if name not in NAMES:
        raise InputError(
            f"reduction must be one of {', '.join(NAMES)}, found {name!r}; choose one of them"
        )
    if name == "none":
        return Reduction(indices=np.arange(channels))
    if not 1 <= dim <= channels:
        raise InputError(
            f"dim must lie in [1, {channels}], the number of channels of these features, "
            f"found {dim}; lower it or use deeper or more levels"
        )
    rng = np.random.default_rng(seed)
    if name == "coordinate":
        return Reduction(indices=np.sort(rng.choice(channels, size=dim, replace=False)))
    if name == "gaussian":
        matrix = rng.standard_normal((dim, channels)) / math.sqrt(dim)
    elif name == "haar":
        matrix = _haar(dim, channels, rng)
    elif name == "sparse":
        matrix = _sparse(dim, channels, rng)
    else:
        if covariance is None:
            raise ValueError("pca needs the pooled covariance of the features")
        matrix = _leading(covariance, dim)
    return Reduction(matrix=matrix.astype(np.float32))


def _haar(dim: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((channels, dim)))
    # QR leaves the signs of its columns to the algorithm; with diag(R) > 0 Q is Haar-distributed
    return (q * np.sign(np.diag(r))).T


def _sparse(dim: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    density = 1 / math.sqrt(channels)
    signs = rng.choice(
        [-1.0, 0.0, 1.0], size=(dim, channels), p=[density / 2, 1 - density, density / 2]
    )
    return signs / math.sqrt(density * dim)


def _leading(covariance: np.ndarray, dim: int) -> np.ndarray:
    _, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, :dim].T
    # an eigenvector's sign is arbitrary: make its largest entry positive, so that runs agree
    largest = np.take_along_axis(leading, np.abs(leading).argmax(axis=1, keepdims=True), axis=1)
    return leading * np.sign(largest)
