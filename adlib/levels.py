"""Feature levels brought to one grid: reduced, pooled, measured.

A level is a tensor of shape (B, h, w, C), the deeper the coarser. Level 1 sets the grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adlib.errors import InputError
from adlib.features import Source
from adlib.projection import Reduction


class NotFinite(InputError):  # noqa: N818 - a sentence for a person, as its parent
    """Features hold NaN or infinity."""

    def __init__(self) -> None:
        super().__init__(
            "features must be finite, found NaN or infinity; "
            "check the images and the weights of the backbone"
        )


def reduce_levels(levels: list[Tensor], reduction: Reduction, grid: tuple[int, int]) -> Tensor:
    """Concatenate levels over channels on one grid and apply Pi, level by level (Eq. 7).

    Parameters
    ----------
    levels : list of Tensor of shape (B, h, w, C)
    reduction : Reduction
        With D = the sum of all C.
    grid : (h, w)
        Deeper levels are brought to it by nearest neighbour.

    Returns
    -------
    Tensor of shape (B, h, w, m)
    """
    first = levels[0]
    out = first.new_zeros((len(first), *grid, reduction.dim))
    start = 0
    for level in levels:
        stop = start + level.shape[-1]
        if reduction.matrix is None:
            # indices are sorted, so the channels of one level fill a run of columns
            first_column, last_column = np.searchsorted(reduction.indices, [start, stop])
            chosen = torch.from_numpy(reduction.indices[first_column:last_column] - start)
            _add_nearest(out[..., first_column:last_column], level[..., chosen.to(level.device)])
        else:
            matrix = torch.from_numpy(reduction.matrix[:, start:stop]).to(level)
            _add_nearest(out, level @ matrix.T)
        start = stop
    return out


def nearest(level: Tensor, grid: tuple[int, int]) -> Tensor:
    """Upsample (B, h, w, C) to a grid by nearest neighbour: row i comes from floor(i h / H).

    As torch's ``interpolate``, which in float32 misses that row for a few odd pairs of sizes.
    """
    if tuple(level.shape[1:3]) == tuple(grid):
        return level
    rows, columns = (
        torch.arange(fine, device=level.device) * coarse // fine
        for fine, coarse in zip(grid, level.shape[1:3], strict=True)
    )
    return level[:, rows][:, :, columns]


def _add_nearest(out: Tensor, level: Tensor) -> None:
    b, h, w, m = level.shape
    rows, columns = out.shape[1] // h, out.shape[2] // w
    if (h * rows, w * columns) != tuple(out.shape[1:3]):
        out += nearest(level, tuple(out.shape[1:3]))
        return
    # whole factors: broadcast instead of building the upsampled array
    out.unflatten(2, (w, columns)).unflatten(1, (h, rows)).add_(level.reshape(b, h, 1, w, 1, m))


def pooled_covariance(features: Source, grid: tuple[int, int]) -> np.ndarray:
    """Covariance of the concatenated levels around each position's mean, averaged over positions.

    Returns
    -------
    ndarray of shape (D, D), float64
    """
    total: Tensor | None = None
    sums: Tensor | None = None
    for batch in features.batches():
        x = torch.cat([nearest(level, grid) for level in batch], dim=-1)
        if total is None:
            total = x.new_zeros((x.shape[-1], x.shape[-1]), dtype=torch.float64)
            sums = x.new_zeros(x.shape[1:], dtype=torch.float64)
        for image in x:
            flat = image.flatten(0, 1)
            total += (flat.T @ flat).double()
        sums += x.sum(dim=0)
    n, means = len(features), sums.flatten(0, 1) / len(features)
    covariance = (total - n * means.T @ means) / ((n - 1) * len(means))
    if not torch.isfinite(covariance).all():
        raise NotFinite
    return covariance.cpu().numpy()


class Moments:
    """Sums of one level, for the variance of each of its channels at each position."""

    def __init__(self) -> None:
        self.n = 0
        self.sum: Any = 0.0
        self.squares: Any = 0.0

    def add(self, level: Tensor) -> None:
        x = level.double()
        self.n += len(x)
        self.sum = self.sum + x.sum(dim=0)
        self.squares = self.squares + x.square().sum(dim=0)

    @property
    def positions(self) -> int:
        return self.sum.shape[0] * self.sum.shape[1]

    def variance(self) -> Tensor:
        return (self.squares - self.sum.square() / self.n) / (self.n - 1)
