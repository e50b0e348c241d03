r"""Gaussians at many positions: fitted, kept in the smaller of two forms, and measured against.

With X the centred N x m matrix of one position and Sigma' = X^T X / (N-1) + eps I (Eq. 9):

* primal, m <= N: Sigma' = L L^T, the factor is L^-1, M^2 = |L^-1 delta|^2;
* dual, m > N: A = X X^T + eps (N-1) I = L_A L_A^T, the factor is K = L_A^-1 X, and by the Woodbury
  identity M^2 = (|delta|^2 - |K delta|^2) / eps.

Both are exact. Factors are computed in float64 and kept in float32. The difference in the dual form
cancels where eps is tiny against the variance of the features; there, and only there, float64 is
kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adlib.errors import InputError

# Below this ratio of eps to the mean variance of a coordinate the dual form is kept in float64: in
# float32, patches near the span of the training patches would lose over 1e-3 of their distance.
SMALL_EPS = 1e-2
BLOCK_BYTES = 16_000_000  # centred features of a block of positions, float64


def fit_positions(z: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and whitening factor of every position.

    Parameters
    ----------
    z : Tensor of shape (N, positions, m), float32
    eps : float
        > 0.

    Returns
    -------
    mean : Tensor of shape (positions, m)
    factor : Tensor of shape (positions, m, m) or (positions, N, m)
        L^-1 where m <= N, else K; float32, or float64 (module docstring).

    Raises
    ------
    InputError
        eps is too small: Sigma' cannot be inverted in floating point.
    """
    n, positions, m = z.shape
    primal = m <= n
    # every 16th position is enough to tell the order of magnitude
    tiny = not primal and eps < SMALL_EPS * z[:, ::16].var(dim=0).mean().item()
    dtype = torch.float64 if tiny else z.dtype
    mean = z.new_empty((positions, m), dtype=dtype)
    factor = z.new_empty((positions, m if primal else n, m), dtype=dtype)
    identity = torch.eye(min(m, n), dtype=torch.float64, device=z.device)
    # larger arrays are given back to the system after each block and paid for in page faults
    size = max(1, min(56, BLOCK_BYTES // (8 * n * m)))
    for block in position_blocks(positions, size):
        x = z[:, block].transpose(0, 1).double()  # (block, N, m)
        mean[block] = center = x.mean(dim=1)
        x -= center[:, None]
        gram = torch.bmm(x.transpose(1, 2), x) / (n - 1) if primal else torch.bmm(x, x.mT)
        gram += (eps if primal else eps * (n - 1)) * identity
        lower, failed = torch.linalg.cholesky_ex(gram)
        right = identity.expand_as(lower) if primal else x
        factor[block] = torch.linalg.solve_triangular(lower, right, upper=False)
        # beyond that 1 / diagonal leaves the range of float32
        if failed.any() or lower.diagonal(dim1=1, dim2=2).amin() < 1e-30:
            raise InputError(
                f"eps must be large enough to invert the covariance of these features, "
                f"found {eps:g}; raise it"
            )
    return mean, factor


def squared_distances(z: Tensor, mean: Tensor, factor: Tensor, eps: float) -> Tensor:
    """Squared Mahalanobis distances (Eq. 10) of B reduced images.

    Parameters
    ----------
    z : Tensor of shape (B, positions, m)
    mean, factor : Tensor
        Of `fit_positions`.
    eps : float
        The one of the fit.

    Returns
    -------
    Tensor of shape (B, positions), of the type of `z`
    """
    primal = factor.shape[1] == factor.shape[2]
    squared = torch.empty(z.shape[:2], dtype=z.dtype, device=z.device)
    for block in position_blocks(z.shape[1]):
        delta = z[:, block].transpose(0, 1).to(factor.dtype) - mean[block, None]
        inner = torch.bmm(delta, factor[block].transpose(1, 2)).square_().sum(-1)
        if not primal:
            inner = (delta.square_().sum(-1) - inner).clamp_(min=0) / eps
        squared[:, block] = inner.T
    return squared


def position_blocks(positions: int, size: int = 56) -> list[slice]:
    """Position blocks small enough that a block's matrices stay in the processor's cache."""
    return [slice(start, min(start + size, positions)) for start in range(0, positions, size)]
