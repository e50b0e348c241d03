"""Reductions: the properties that their definitions promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adlib import projection
from adlib.errors import InputError
from adlib.projection import NAMES, RANDOM, draw

D = 60


def covariance(channels: int = D, seed: int = 0) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((channels, channels))
    return factor @ factor.T


def pi(name: str, dim: int, seed: int = 0, channels: int = D) -> np.ndarray:
    return draw(name, dim, channels, seed, covariance(channels)).dense(channels)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dim", [1, 20, D])
def test_shape_and_type(name, dim):
    reduction = draw(name, dim, D, 0, covariance())
    m = D if name == "none" else dim
    assert reduction.dim == m
    assert reduction.dense(D).shape == (m, D)
    assert (reduction.indices is None) != (reduction.matrix is None)
    if reduction.matrix is not None:
        assert reduction.matrix.dtype == np.float32


@pytest.mark.parametrize("name", ["coordinate", "haar", "pca", "none"])
def test_rows_are_orthonormal(name):
    matrix = pi(name, 20)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-6)


def test_coordinates_are_sorted_and_without_repetition():
    for seed in range(20):
        indices = draw("coordinate", 30, D, seed).indices
        assert (np.diff(indices) > 0).all()
    assert np.array_equal(draw("none", 1, D, 0).indices, np.arange(D))


def test_every_channel_is_drawn_equally_often():
    draws, dim = 2000, 15
    counts = np.bincount(
        np.concatenate([draw("coordinate", dim, D, seed).indices for seed in range(draws)])
    )
    # hypergeometric: smaller spread than a multinomial, so this test is on the safe side
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", ["gaussian", "sparse"])
def test_squared_norms_are_kept_in_expectation(name):
    x = np.random.default_rng(1).standard_normal(D)
    norms = [np.sum((pi(name, 10, seed) @ x) ** 2) for seed in range(1500)]
    error = np.std(norms) / np.sqrt(len(norms))
    assert abs(np.mean(norms) - x @ x) < 4 * error
    assert error < 0.02 * (x @ x)


@pytest.mark.parametrize("name", ["coordinate", "haar"])
def test_the_variance_of_a_coordinate_is_kept_in_expectation(name):
    x = np.random.default_rng(1).standard_normal(D)
    squares = [np.mean((pi(name, 10, seed) @ x) ** 2) for seed in range(1500)]
    error = np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - x @ x / D) < 4 * error


def test_gaussian_entries_are_normal_with_variance_one_over_m():
    entries = pi("gaussian", 50, channels=200).ravel() * np.sqrt(50)
    assert stats.kstest(entries, "norm").pvalue > 1e-3


def test_sparse_entries_are_signs_with_density_one_over_root_d():
    channels, dim = 400, 100
    matrix = pi("sparse", dim, channels=channels)
    size = np.sqrt(np.sqrt(channels) / dim)
    assert np.allclose(np.abs(matrix[matrix != 0]), size, rtol=1e-6)
    share, n = 1 / np.sqrt(channels), matrix.size
    assert stats.binomtest(np.count_nonzero(matrix), n, share).pvalue > 1e-3
    assert stats.binomtest(int((matrix > 0).sum()), np.count_nonzero(matrix)).pvalue > 1e-3


def test_haar_is_uniform_on_the_sphere_signs_included():
    # a row is uniform on the sphere: its entries are symmetric, their squares Beta(1/2, (D-1)/2);
    # LAPACK's QR without the sign correction gives a first row of constant sign
    first = np.array([pi("haar", 3, seed, channels=8)[:, 0] for seed in range(1200)])
    for column in first.T:
        assert stats.binomtest(int((column > 0).sum()), len(column)).pvalue > 1e-3
        assert stats.kstest(column**2, "beta", args=(0.5, 3.5)).pvalue > 1e-3
    # determinants of square draws: both components of the orthogonal group
    signs = [np.linalg.det(pi("haar", 4, seed, channels=4)) > 0 for seed in range(400)]
    assert stats.binomtest(sum(signs), len(signs)).pvalue > 1e-3


def test_pca_holds_the_leading_directions_and_does_not_depend_on_the_seed():
    sigma = covariance()
    matrix = draw("pca", 5, D, 0, sigma).dense(D)
    values = np.sort(np.linalg.eigvalsh(sigma))[::-1]
    np.testing.assert_allclose(np.diag(matrix @ sigma @ matrix.T), values[:5], rtol=1e-5)
    assert np.array_equal(matrix, draw("pca", 5, D, 9, sigma).dense(D))
    assert (matrix[np.arange(5), np.abs(matrix).argmax(axis=1)] > 0).all()


def test_pca_without_a_covariance_is_a_programming_error():
    with pytest.raises(ValueError, match="pooled covariance"):
        draw("pca", 5, D, 0)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_fixes_the_draw_and_another_changes_it(name):
    assert np.array_equal(pi(name, 10, seed=3), pi(name, 10, seed=3))
    assert not np.array_equal(pi(name, 10, seed=3), pi(name, 10, seed=4))


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    for name in RANDOM:
        pi(name, 5)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "none"])
@pytest.mark.parametrize("dim", [0, -1, D + 1])
def test_dimensions_out_of_range_are_refused(name, dim):
    with pytest.raises(InputError, match=rf"\[1, {D}\].*found {dim}"):
        draw(name, dim, D, 0, covariance())


def test_none_ignores_the_dimension():
    assert draw("none", 10**9, D, 0).dim == D


def test_an_unknown_name_lists_the_names():
    with pytest.raises(InputError, match="coordinate.*found 'fourier'"):
        projection.draw("fourier", 3, D, 0)
