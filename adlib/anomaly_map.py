"""From a coarse grid of distances to an anomaly map at image resolution."""

from __future__ import annotations

from functools import lru_cache

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn.functional import interpolate


def upsample_and_smooth(grid: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Bilinear interpolation to `size`, then a Gaussian filter, as one product per axis.

    Both steps are linear and act on rows and columns separately, so together they are
    ``A_rows @ grid @ A_columns.T``: the same numbers as the two steps in turn (up to rounding), at
    a fraction of the cost.

    Parameters
    ----------
    grid : Tensor of shape (N, h, w)
    size : (H, W)
        Size of the result, pixels.
    sigma : float
        Standard deviation of the Gaussian, pixels of the result; cut at four sigma, borders
        mirrored (``scipy.ndimage.gaussian_filter``'s defaults). 0 leaves it out.

    Returns
    -------
    Tensor of shape (N, H, W)
    """
    rows, columns = (
        _axis(grid.shape[1 + axis], size[axis], sigma).to(grid.device, grid.dtype)
        for axis in (0, 1)
    )
    return rows @ grid @ columns.T


@lru_cache(maxsize=32)
def _axis(coarse: int, fine: int, sigma: float) -> Tensor:
    identity = torch.eye(coarse, dtype=torch.float64)[None]
    # interpolating the rows of the identity gives the interpolation itself, (coarse, fine)
    bilinear = interpolate(identity, size=fine, mode="linear", align_corners=False)[0].T
    if sigma == 0:
        return bilinear.contiguous()
    return torch.from_numpy(
        gaussian_filter1d(bilinear.numpy(), sigma, axis=0, mode="reflect", truncate=4.0)
    )
