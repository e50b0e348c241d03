"""Simplex noise: the moments it promises, computed by integration, and fields that are separate."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from adlib.diffusion.simplex import VARIANCE, simplex
from adlib.errors import InputError

FIELDS = 2000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def overlap(lag: float, cells: int = 400) -> float:
    """Integrate k(d) . k(d + lag e_x) over the plane for k(d) = (2 - |d|^2)^4 d, by midpoints."""
    axis = (np.arange(cells) + 0.5) / cells * 3 - 1.5
    x, y = np.meshgrid(axis, axis)

    def weight(u: np.ndarray) -> np.ndarray:
        return np.clip(2 - u**2 - y**2, 0, None) ** 4

    return float((weight(x) * weight(x + lag) * (x * (x + lag) + y * y)).sum() * (3 / cells) ** 2)


def expected_correlation(pixels: float, octaves: int, persistence: float, wavelength: float):
    power = persistence ** (2.0 * np.arange(octaves))
    lags = pixels * 2.0 ** np.arange(octaves) / wavelength
    return power @ [overlap(lag) / overlap(0) for lag in lags] / power.sum()


def estimate(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of independent values and its standard error."""
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_shape_type_and_determinism():
    noise = simplex((3, 2, 20, 24), seeded(7))
    assert noise.shape == (3, 2, 20, 24)
    assert noise.dtype == torch.float32
    assert noise.is_contiguous()
    assert torch.isfinite(noise).all()
    assert torch.equal(noise, simplex((3, 2, 20, 24), seeded(7)))
    assert not torch.equal(noise, simplex((3, 2, 20, 24), seeded(8)))


def test_a_generator_moves_on_and_the_global_one_is_left_alone():
    generator, state = seeded(), torch.get_rng_state()
    assert not torch.equal(simplex((1, 1, 8, 8), generator), simplex((1, 1, 8, 8), generator))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_number_of_threads_is_put_back():
    before = numba.get_num_threads()
    simplex((1, 1, 8, 8), seeded())
    assert numba.get_num_threads() == before


# numba starts its threads once a process, so this needs a process of its own
FIRST_NOISE = """
import torch
from adlib.diffusion.simplex import simplex
before = torch.get_num_threads()
simplex((1, 1, 8, 8), torch.Generator().manual_seed(0))
assert torch.get_num_threads() == before == 1, (before, torch.get_num_threads())
"""


def test_the_first_noise_leaves_the_threads_of_torch_alone():
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", FIRST_NOISE], env={**os.environ, **threads}, check=True)


def test_the_variance_of_one_octave_is_the_integral():
    # one lattice point per area sqrt(3), gradients (5, 2) with all signs and orders, norm 47
    assert overlap(0) * 14.5 / (47**2 * np.sqrt(3)) == pytest.approx(VARIANCE, rel=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"octaves": 1}, {"octaves": 2, "persistence": 0.5, "wavelength": 32.0}]
)
def test_mean_0_and_variance_1_over_the_ensemble(options):
    # several calls, since the fields of one call share a permutation
    calls = [simplex((FIELDS // 20, 1, 16, 16), seeded(s), **options).double() for s in range(20)]
    fields = torch.cat(calls).numpy()
    mean, error = estimate(fields.mean(axis=(1, 2, 3)))
    assert abs(mean) < 4 * error
    variance, error = estimate((fields**2).mean(axis=(1, 2, 3)))
    assert abs(variance - 1) < 4 * error + 0.005  # 0.002: gradients without replacement
    assert error < 0.03
    pixels, errors = (fields**2).mean(axis=0), (fields**2).std(axis=0) / np.sqrt(FIELDS)
    assert (abs(pixels - 1) < 5 * errors).all()  # the same at every pixel


def test_one_image_is_not_normalised():
    means = simplex((200, 1, 16, 16), seeded(), wavelength=64.0, octaves=1).mean(dim=(1, 2, 3))
    assert means.std() > 0.5


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("pixels", [1, 4])
def test_correlation_between_pixels_is_the_integral(axis, pixels):
    options = {"octaves": 3, "persistence": 0.8, "wavelength": 8.0}
    calls = [simplex((FIELDS // 20, 1, 16, 16), seeded(s), **options).double() for s in range(20)]
    fields = torch.cat(calls)
    near, far = fields.narrow(axis, 0, 16 - pixels), fields.narrow(axis, pixels, 16 - pixels)
    found, error = estimate((near * far).mean(dim=(1, 2, 3)).numpy())
    wanted = expected_correlation(pixels, **options)
    assert abs(found - wanted) < 4 * error + 0.01
    if pixels == 1:  # white noise has 0
        assert found > 0.5


def test_neighbours_a_wavelength_apart_are_opposed():
    """One octave of wavelength 1: the lobes of the kernel overlap with opposite signs."""
    fields = simplex((FIELDS, 1, 16, 16), seeded(5), octaves=1, wavelength=1.0).double()
    found, error = estimate((fields[..., 1:] * fields[..., :-1]).mean(dim=(1, 2, 3)).numpy())
    wanted = expected_correlation(1, 1, 0.8, 1.0)
    assert wanted < -0.1
    assert abs(found - wanted) < 4 * error + 0.01


def test_shorter_first_waves_correlate_less():
    def neighbours(**options: float) -> float:
        noise = simplex((200, 1, 32, 32), seeded(), **options)
        return float((noise[..., 1:] * noise[..., :-1]).mean())

    assert neighbours(wavelength=32.0) > neighbours() > neighbours(wavelength=1.0)
    assert neighbours() == pytest.approx(neighbours(wavelength=8.0), abs=0)  # the default at 32


def test_images_and_channels_have_fields_of_their_own():
    n, channels = 60, 3
    fields = simplex((n, channels, 32, 32), seeded(3), octaves=2).double().flatten(2)
    fields = fields.reshape(n * channels, -1)
    gram = (fields @ fields.T / fields.shape[1]).numpy()
    pairs = gram[np.triu_indices(len(gram), 1)]
    # as large as chance makes it: E[gram^2] is the mean squared correlation between pixels
    correlation = (fields.T @ fields / len(fields)).numpy()
    assert np.sqrt((pairs**2).mean()) < 1.3 * np.sqrt((correlation**2).mean())
    assert abs(pairs.mean()) < 4 * pairs.std() / np.sqrt(len(gram))
    assert abs(pairs).max() < 0.8  # a repeated field has 1


def test_no_field_is_cut_or_turned():
    noise = simplex((2, 2, 8, 12), seeded(1), octaves=1, wavelength=16.0)
    steps_x, steps_y = noise.diff(dim=3).abs(), noise.diff(dim=2).abs()
    # the waves are long: only a seam between two fields could make a large step
    assert max(steps_x.max(), steps_y.max()) < 0.8
    assert noise.flatten(2).std(dim=2).min() > 0


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 1, 8), {}, "four positive integers"),
        ((2, 0, 8, 8), {}, "four positive integers"),
        ((2, 1, -8, 8), {}, "four positive integers"),
        ((2, 1, 8.0, 8), {}, "four positive integers"),
        ((2, 1, 8, 8), {"octaves": 0}, "octaves must be"),
        ((2, 1, 8, 8), {"octaves": 1.5}, "octaves must be"),
        ((2, 1, 8, 8), {"persistence": 0.0}, "persistence must be"),
        ((2, 1, 8, 8), {"persistence": float("nan")}, "persistence must be"),
        ((2, 1, 8, 8), {"wavelength": -1.0}, "wavelength must be"),
        ((2, 1, 8, 8), {"wavelength": float("inf")}, "wavelength must be"),
    ],
)
def test_bad_input(shape, options, message):
    with pytest.raises(InputError, match=message):
        simplex(shape, seeded(), **options)
