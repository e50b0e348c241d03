"""Subsamplers: sizes, seeds, and what proxies are learned to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import k_center_greedy

from adlib import coreset, projection, subsampling


def points(n: int = 200, d: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("n", "fraction", "kept"),
    [(1000, 0.01, 10), (784, 0.001, 1), (3, 0.1, 1), (10, 1.0, 10), (163_856, 0.25, 40_964)],
)
def test_size_rounds_and_keeps_at_least_one(n, fraction, kept):
    assert subsampling.size(n, fraction) == kept


@pytest.mark.parametrize("dim", [None, 4])
def test_greedy_selects_in_the_projection_and_from_the_seeds_start(dim):
    bank = points()
    got = subsampling.greedy("coreset", bank, 20, dim, "random", 5)
    start = int(np.random.default_rng([5, 1]).integers(len(bank)))
    seen = bank.numpy()
    if dim is not None:
        matrix = projection.draw("gaussian", dim, 12, 5).matrix
        seen = (bank @ torch.from_numpy(matrix.T)).numpy()
    assert got.tolist() == k_center_greedy(seen, 20, start).tolist()
    assert subsampling.greedy("coreset", bank, 20, dim, "first", 5)[0] == 0
    others = [subsampling.greedy("coreset", bank, 20, dim, "random", s).tolist() for s in (5, 6)]
    assert others[0] == got.tolist() != others[1]


def test_a_projection_that_would_not_reduce_is_left_out():
    bank = points()
    assert np.array_equal(subsampling.project(bank, 12, 0), bank.numpy())
    assert subsampling.project(bank, 3, 0).shape == (200, 3)


def test_the_approximate_variant_is_named_and_another():
    bank = points()
    got = subsampling.greedy("approximate", bank, 20, None, "random", 1)
    assert got.tolist() == coreset.approximate_k_center_greedy(bank.numpy(), 20, seed=1).tolist()
    assert set(got) != set(subsampling.greedy("coreset", bank, 20, None, "random", 1))


def test_random_draws_without_replacement_by_seed():
    first, again, other = (subsampling.random(100, 30, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(set(first)) == 30 and (np.diff(first) > 0).all()
    assert np.array_equal(subsampling.random(5, 5, 0), np.arange(5))


def loss(bank: torch.Tensor, proxies: torch.Tensor, sign: float) -> float:
    """Eq. 8 in float64, the sign of its exponent given."""
    x, p = bank.double().numpy(), proxies.double().numpy()
    distance = np.linalg.norm(x[:, None] - p, axis=2)
    weight = np.exp(sign * distance - (sign * distance).max(axis=1, keepdims=True))
    rebuilt = (weight / weight.sum(axis=1, keepdims=True)) @ p
    return float(((x - rebuilt) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize(("sign", "value"), [("minus", -1.0), ("plus", 1.0)])
def test_proxies_lower_the_loss_of_their_sign(sign, value):
    centres = 4 * points(5, 8, seed=1)
    bank = centres.repeat_interleave(60, dim=0) + 0.1 * points(300, 8, seed=2)
    start = subsampling.proxies(bank, 8, 0, sign, 0)
    learned = subsampling.proxies(bank, 8, 200, sign, 0)
    assert {tuple(row) for row in start.tolist()} <= {tuple(row) for row in bank.tolist()}
    assert loss(bank, learned, value) < 0.7 * loss(bank, start, value)
    assert torch.equal(learned, subsampling.proxies(bank, 8, 200, sign, 0))


def test_the_printed_sign_weighs_the_farthest_proxy_most():
    """The finding behind `proxy_sign`: with +, a point is rebuilt from what is farthest from it."""
    proxies = torch.tensor([[0.0], [1.0], [10.0]])
    bank = torch.tensor([[0.0]])
    assert loss(bank, proxies, -1.0) < 1 < 90 < loss(bank, proxies, 1.0)


def test_proxies_of_equal_points_stay_finite():
    bank = torch.ones(50, 4)
    assert torch.isfinite(subsampling.proxies(bank, 3, 5, "minus", 0)).all()
