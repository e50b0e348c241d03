r"""Subsamplers of a memory bank (PatchCore, Section 3.2 and Fig. 5).

===============  =====================================================  =======================
name             which l of the N patch features are kept               source
===============  =====================================================  =======================
``coreset``      greedy k-centre selection, exact                       Eq. 5, Algorithm 1
``approximate``  greedy from the mean distance to ten random points     the released code
``random``       l without replacement                                  Fig. 5
``proxies``      none: l points that are learned to rebuild the bank    Eq. 8
``none``         all                                                    PatchCore-100 %
===============  =====================================================  =======================

The two greedy ones see the features through a Johnson-Lindenstrauss projection psi to a lower
dimension (Algorithm 1); what they select are the unprojected features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from adlib import coreset, projection

Name = Literal["coreset", "approximate", "random", "proxies", "none"]
NAMES: tuple[str, ...] = get_args(Name)
Progress = bool | Callable[[int, int], None]
PROXY_BATCH = 1024
PROXY_RATE = 0.01  # of Adam, relative to the standard deviation of a channel


def size(n_patches: int, fraction: float) -> int:
    """Return l = fraction N rounded to the nearest whole number, at least 1."""
    return max(1, min(n_patches, round(fraction * n_patches)))


def greedy(
    name: str,
    bank: Tensor,
    n: int,
    dim: int | None,
    start: str,
    seed: int,
    progress: Progress = False,
) -> np.ndarray:
    """Select by one of the two greedy rules.

    Parameters
    ----------
    name : {'coreset', 'approximate'}
    bank : Tensor of shape (N, D), float32
    n : int
        l, in [1, N].
    dim : int or None
        d*, dimensions after psi; None or a number not below D: no projection.
    start : {'random', 'first'}
        First centre of ``coreset``: drawn with the seed, or index 0.
    seed : int
        Seed of psi and of the start.
    progress : bool or callable
        As for ``coreset.k_center_greedy``.

    Returns
    -------
    ndarray of shape (n,), int64
        In the order of selection.
    """
    points = project(bank, dim, seed)
    if name == "approximate":
        return coreset.approximate_k_center_greedy(points, n, seed=seed)
    first = int(np.random.default_rng([seed, 1]).integers(len(bank))) if start == "random" else 0
    return coreset.k_center_greedy(points, n, start=first, progress=progress)


def project(bank: Tensor, dim: int | None, seed: int) -> np.ndarray:
    """Apply psi: G / sqrt(d*) with standard normal G, or nothing where it would not reduce."""
    if dim is None or dim >= bank.shape[1]:
        return bank.cpu().numpy()
    matrix = torch.from_numpy(projection.draw("gaussian", dim, bank.shape[1], seed).matrix)
    return (bank @ matrix.T.to(bank.device)).cpu().numpy()


def random(n_patches: int, n: int, seed: int) -> np.ndarray:
    """Draw n of n_patches indices without replacement, sorted."""
    return np.sort(np.random.default_rng([seed, 1]).choice(n_patches, size=n, replace=False))


def proxies(bank: Tensor, n: int, steps: int, sign: str, seed: int) -> Tensor:
    r"""Learn n points that rebuild the bank as softmax-weighted means of themselves (Eq. 8).

    The paper prints the weights as exp(+|m - p|): that weighs far proxies most. `sign` chooses
    between what is printed (``plus``) and what must be meant (``minus``).

    Parameters
    ----------
    bank : Tensor of shape (N, D), float32
    n : int
        Number of proxies; they start as n random members of the bank.
    steps : int
        Steps of Adam on batches of 1024 members; 0 leaves the start.
    sign : {'minus', 'plus'}
    seed : int

    Returns
    -------
    Tensor of shape (n, D), float32
    """
    rng = np.random.default_rng([seed, 1])
    points = bank[torch.from_numpy(np.sort(rng.choice(len(bank), size=n, replace=False)))].clone()
    points.requires_grad_(True)
    scale = bank[:: max(1, len(bank) // 4096)].std(dim=0).mean().item()
    optimizer = torch.optim.Adam([points], lr=PROXY_RATE * (scale or 1.0))
    direction = -1.0 if sign == "minus" else 1.0
    for _ in range(steps):
        batch = bank[torch.from_numpy(rng.integers(len(bank), size=PROXY_BATCH))]
        distances = torch.cdist(batch, points, compute_mode="use_mm_for_euclid_dist")
        rebuilt = torch.softmax(direction * distances, dim=1) @ points
        loss = (batch - rebuilt).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return points.detach()
