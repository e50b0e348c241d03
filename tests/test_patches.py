"""Patch features against loops over neighbourhoods and a plain unfold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool1d, interpolate, unfold

from adlib import patches


def levels(seed: int = 0, shapes=((10, 8, 6), (5, 4, 7))) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, *shape, generator=generator) for shape in shapes]


def neighbourhood_mean(level: np.ndarray, p: int, border: str) -> np.ndarray:
    """Eq. 2 with the average, position after position, float64."""
    b, h, w, c = level.shape
    out = np.zeros(level.shape)
    for i in range(h):
        for j in range(w):
            inside = [
                level[:, a, d].astype(np.float64)
                for a in range(i - p // 2, i + p // 2 + 1)
                for d in range(j - p // 2, j + p // 2 + 1)
                if 0 <= a < h and 0 <= d < w
            ]
            out[:, i, j] = sum(inside) / (len(inside) if border == "inside" else p * p)
    return out


@pytest.mark.parametrize("border", ["inside", "zeros"])
@pytest.mark.parametrize(("p", "stride"), [(1, 1), (3, 1), (3, 2), (5, 3), (13, 1)])
def test_concat_averages_each_neighbourhood_inside_or_with_zeros(p, stride, border):
    given = levels()
    got = patches.concat(given, p, stride, border).numpy()
    pooled = [neighbourhood_mean(x.numpy(), p, border)[:, ::stride, ::stride] for x in given]
    grid = pooled[0].shape[1:3]
    deeper = torch.from_numpy(pooled[1]).permute(0, 3, 1, 2)
    deeper = interpolate(deeper, size=grid, mode="bilinear", align_corners=False)
    expected = np.concatenate([pooled[0], deeper.permute(0, 2, 3, 1).numpy()], axis=-1)
    assert got.shape == expected.shape == (2, -(-10 // stride), -(-8 // stride), 13)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def released(given: list[torch.Tensor], p: int, stride: int, dim: int) -> torch.Tensor:
    """The released code's order of steps: unfold, bilinear a tap, pool, stack, pool."""
    found, grid = [], None
    for level in given:
        x = level.permute(0, 3, 1, 2)
        b, c, h, w = x.shape
        h, w = ((size + 2 * (p // 2) - p) // stride + 1 for size in (h, w))
        taps = unfold(x, p, padding=p // 2, stride=stride).view(b, c * p * p, h, w)
        grid = grid or (h, w)
        taps = interpolate(taps, size=grid, mode="bilinear", align_corners=False)
        found.append(adaptive_avg_pool1d(taps.permute(0, 2, 3, 1).flatten(0, 2)[:, None], dim))
    stacked = torch.stack(found, dim=1).flatten(1)[:, None]
    return adaptive_avg_pool1d(stacked, dim).view(len(given[0]), *grid, dim)


@pytest.mark.parametrize(
    ("p", "stride", "dim"), [(3, 1, 16), (3, 2, 33), (5, 3, 50), (1, 1, 5), (1, 1, 40), (3, 1, 54)]
)
@pytest.mark.parametrize("shapes", [((10, 8, 6), (5, 4, 7)), ((4, 4, 9),), ((8, 8, 3),) * 3])
def test_official_equals_the_order_of_steps_of_the_released_code(shapes, p, stride, dim):
    given = levels(1, shapes)
    got, expected = patches.official(given, p, stride, dim), released(given, p, stride, dim)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_official_halves_a_neighbourhood_at_the_papers_sizes():
    """WRN-50: 512 channels make two overlapping half-neighbourhoods each, 1024 one whole one."""
    first, index, weight = patches._windows(512 * 9, 1024, 0, 2)
    assert (first, index.shape) == (0, (512, 9))
    centre = index[0] == 4
    # nine taps of channel 0: the two halves share the centre
    assert set(index[0].tolist()) == set(range(9))
    assert torch.allclose(weight[0][~centre], torch.tensor(0.1))
    assert torch.allclose(weight[0][centre], torch.tensor(0.2))
    first, index, weight = patches._windows(1024 * 9, 1024, 1, 2)
    assert (
        first == 512 and index.shape == (512, 18) and torch.allclose(weight, torch.tensor(1 / 18))
    )


def test_a_constant_level_stays_constant_under_every_embedding_but_for_zeros_outside():
    constant = [torch.full((1, 12, 12, 4), 3.0), torch.full((1, 6, 6, 4), 3.0)]
    assert torch.allclose(patches.concat(constant, 3, 1, "inside"), torch.tensor(3.0))
    for got in (patches.concat(constant, 3, 1, "zeros"), patches.official(constant, 3, 1, 8)):
        assert torch.allclose(got[:, 4:8, 4:8], torch.tensor(3.0))
        assert (got[:, 0, 0] < 3).all()
