r"""Locally aware patch features (PatchCore, Section 3.1).

A patch feature at (h, w) pools the p x p neighbourhood of a feature level around it (Eqs. 1 and 2);
a stride s keeps every s-th row and column (Eq. 3). Two ways to build it are in use:

``concat``
    The paper's text: the average over the neighbourhood, a channel at a time; deeper levels
    are brought to the grid of the first one bilinearly, and the channels concatenated. Whether the
    border averages over what is inside the image, or over zeros too, is the argument `border`.
``official``
    The released code: the p x p x C values of a patch are flattened channel by channel and
    average-pooled to `dim` numbers, the levels' numbers are stacked and average-pooled again to
    `dim`. The windows of the first pooling do not respect channels: with 512 channels and p = 3
    each holds five or six of the nine taps of one channel, or parts of two. Pooling is linear, so
    both poolings together are one sparse matrix a level, and it is applied before the bilinear
    step, with which it commutes. Zeros surround the image.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, unfold


def concat(levels: list[Tensor], patch_size: int, stride: int, border: str) -> Tensor:
    """Average each neighbourhood, bring all levels to the first one's grid, concatenate.

    Parameters
    ----------
    levels : list of Tensor of shape (B, h_l, w_l, C_l)
        Shallow to deep.
    patch_size : int
        p of Eq. 1, odd.
    stride : int
        s of Eq. 3.
    border : {'inside', 'zeros'}
        Average over the part of a neighbourhood that lies inside, or over zeros outside as well.

    Returns
    -------
    Tensor of shape (B, h, w, sum of C_l)
        With h = ceil(h_1 / s).
    """
    pooled = [_channels_first(level) for level in levels]
    if patch_size > 1:
        pooled = [
            avg_pool2d(level, patch_size, 1, patch_size // 2, count_include_pad=border == "zeros")
            for level in pooled
        ]
    pooled = [level[:, :, ::stride, ::stride] for level in pooled]
    grid = tuple(pooled[0].shape[2:])
    return torch.cat([_channels_last(_bilinear(level, grid)) for level in pooled], dim=-1)


def official(levels: list[Tensor], patch_size: int, stride: int, dim: int) -> Tensor:
    """Pool patches as the released code does, in closed form.

    Parameters
    ----------
    levels, patch_size, stride
        As for `concat`.
    dim : int
        Length of a patch feature.

    Returns
    -------
    Tensor of shape (B, h, w, dim)
    """
    # one image at a time: its unfolded values stay in the processor's cache
    images = [[level[i : i + 1] for level in levels] for i in range(len(levels[0]))]
    return torch.cat([_official_image(image, patch_size, stride, dim) for image in images])


def _official_image(levels: list[Tensor], patch_size: int, stride: int, dim: int) -> Tensor:
    grid = tuple(-(-size // stride) for size in levels[0].shape[1:3])
    out = levels[0].new_zeros((1, *grid, dim))
    for number, level in enumerate(levels):
        shape = tuple(-(-size // stride) for size in level.shape[1:3])
        first, index, weight = _windows(level.shape[3] * patch_size**2, dim, number, len(levels))
        flat = unfold(_channels_first(level), patch_size, padding=patch_size // 2, stride=stride)
        part = flat.new_zeros((1, len(index), flat.shape[2]))
        for column, factor in zip(index.T.to(flat.device), weight.T.to(flat), strict=True):
            part.addcmul_(flat.index_select(1, column), factor[:, None])
        part = _bilinear(part.unflatten(2, shape), grid)
        out[..., first : first + part.shape[1]] += _channels_last(part)
    return out


@lru_cache(maxsize=32)
def _windows(length: int, dim: int, number: int, levels: int) -> tuple[int, Tensor, Tensor]:
    """Compose the two poolings for level `number` of `levels`, whose patch has `length` values.

    Returns
    -------
    first : int
        The first of the output entries that this level feeds; they are consecutive.
    index : Tensor of shape (entries, k), int64
    weight : Tensor of shape (entries, k), float32
        Entry ``first + j`` is ``sum_t weight[j, t] flat[index[j, t]]``; unused places weigh 0.
    """
    inner = _pooling(length, dim)
    outer = _pooling(levels * dim, dim)[:, number * dim : (number + 1) * dim]
    fed = np.flatnonzero(outer.any(axis=1))
    matrix = outer[fed] @ inner
    widest = int((matrix > 0).sum(axis=1).max())
    index = np.argsort(matrix == 0, axis=1, kind="stable")[:, :widest]
    weight = np.take_along_axis(matrix, index, axis=1)
    return int(fed[0]), torch.from_numpy(index.copy()), torch.from_numpy(weight).float()


def _pooling(length: int, dim: int) -> np.ndarray:
    """Adaptive average pooling from `length` to `dim` values, as a matrix (dim, length).

    Entry j averages [floor(j length / dim), ceil((j + 1) length / dim)).
    """
    j = np.arange(dim)[:, None]
    start, stop = j * length // dim, -(-(j + 1) * length // dim)
    inside = (np.arange(length) >= start) & (np.arange(length) < stop)
    return inside / (stop - start)


def _bilinear(level: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(level.shape[2:]) == grid:
        return level
    return interpolate(level, size=grid, mode="bilinear", align_corners=False)


def _channels_first(level: Tensor) -> Tensor:
    return level.permute(0, 3, 1, 2)


def _channels_last(level: Tensor) -> Tensor:
    return level.permute(0, 2, 3, 1)
