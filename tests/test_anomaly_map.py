"""Upsampling and smoothing as one product: equal to the two steps by torch and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import smoothed

from adlib.anomaly_map import upsample_and_smooth

side = st.integers(1, 9)


@settings(max_examples=60, deadline=None)
@given(side, side, st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.0, 0.4, 2.0, 4.0]))
def test_equals_interpolation_and_filter_in_turn(h, w, height, width, sigma):
    grid = np.random.default_rng(h * 10 + w).random((2, h, w))
    found = upsample_and_smooth(torch.from_numpy(grid), (height, width), sigma).numpy()
    expected = [smoothed(image, (height, width), sigma) for image in grid]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_float32_at_the_size_of_the_paper():
    grid = np.random.default_rng(0).random((3, 56, 56)).astype(np.float32) * 50
    found = upsample_and_smooth(torch.from_numpy(grid), (224, 224), 4.0)
    assert found.dtype == torch.float32
    expected = [smoothed(image, (224, 224), 4.0) for image in grid]
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6)


@pytest.mark.parametrize("sigma", [0.0, 4.0])
def test_a_constant_stays_constant(sigma):
    found = upsample_and_smooth(torch.full((1, 7, 5), 3.0), (28, 33), sigma)
    np.testing.assert_allclose(found.numpy(), 3.0, rtol=1e-6)
