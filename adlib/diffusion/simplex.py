r"""Simplex noise: what AnoDDPM adds to an image instead of Gaussian noise (Wyatt et al., 2022).

Octave k is OpenSimplex noise of wavelength :math:`\lambda_k = \lambda_0 2^{-k}` pixels with
amplitude :math:`p^k`, p the persistence. The paper's :math:`\lambda_0` is 64 pixels on images of
256, a quarter of the side, which is what "the same noise" means here on smaller images. At 32
pixels the wavelengths are 8, 4, 2, 1, 1/2, 1/4: in the last three, which have a fifth of the
variance (p = 0.8), the correlation of neighbouring pixels is -0.13 and then 0, so they are nearly
white.

Two differences from the released code, which repeats one field over the batch and leaves the
variance at whatever the octaves sum up to. The forward process
:math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon` supposes independent
:math:`\epsilon` of unit variance, so here every image and channel has a field of its own, and the
sum is divided by the standard deviation of the ensemble.

That constant has a closed form. At a random place, noise of any wavelength is a sum over the points
of a triangular lattice with one point per area :math:`\sqrt3`, each adding
:math:`(2 - r^2)^4\,g \cdot d / 47` where its distance :math:`r = |d|` is below :math:`\sqrt2`. The
eight gradients g, (5, 2) with all signs and orders, have :math:`E[g g^T] = 14.5\,I`. With
:math:`u = r^2`

.. math:: V = \frac{14.5}{47^2 \sqrt3} \pi \int_0^2 (2 - u)^8 u\,du
            = \frac{14.5 \cdot 1024\,\pi}{90 \cdot 47^2 \sqrt3} \approx 0.1355,

and the sum of independent octaves has the variance :math:`V \sum_k p^{2k}`. (The library's
gradients come from a permutation, hence without replacement, which changes V by about 0.2 %.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numba
import numpy as np
import torch
from opensimplex import OpenSimplex
from torch import Tensor

from adlib.errors import InputError

VARIANCE = 14.5 * 1024 * math.pi / (90 * 47**2 * math.sqrt(3))  # V of one octave, amplitude 1
_REACH = 2.0**20  # lattice units; a line this long comes near every point of one period (256 x 256)


def simplex(
    shape: tuple[int, int, int, int],
    generator: torch.Generator,
    *,
    octaves: int = 6,
    persistence: float = 0.8,
    wavelength: float | None = None,
) -> Tensor:
    """Draw simplex noise: an independent field for every image and every channel.

    Mean 0 and variance 1 hold for a pixel over the ensemble, not within one image: with long waves
    the mean and the contrast of a field are themselves random. Forcing them to 0 and 1 would take
    away the part of the noise that shifts the brightness of a whole image, and would make each
    pixel depend on all others.

    Parameters
    ----------
    shape : tuple of 4 int
        (N, C, H, W), each at least 1.
    generator : torch.Generator
        Of any device; equal states give equal noise.
    octaves : int
        At least 1.
    persistence : float
        Amplitude of an octave relative to the one before, above 0.
    wavelength : float, optional
        Of the first octave, in pixels, above 0; each further one has half of it. A quarter of the
        shorter side by default.

    Returns
    -------
    Tensor of shape (N, C, H, W), float32
        On the generator's device; between about -6 and 6.

    Raises
    ------
    InputError
        The shape or a number is out of its range.
    """
    n, channels, height, width = _checked(shape, octaves, persistence, wavelength)
    first = min(height, width) / 4 if wavelength is None else wavelength
    # one grid an octave: the fields lie side by side along x, each with an offset of its own.
    # The lattice is skewed, so the line of offsets reaches all its places, not only a row of them
    source = OpenSimplex(_integer(generator))
    offsets = _uniform((octaves, n * channels, 1), generator) * _REACH
    total = np.zeros((height, n * channels * width))
    with _one_thread():
        for octave in range(octaves):
            scale = 2.0**octave / first
            x = (offsets[octave] + np.arange(width) * scale).ravel()
            total += persistence**octave * source.noise2array(x, np.arange(height) * scale)
    total /= math.sqrt(VARIANCE * sum(persistence ** (2 * octave) for octave in range(octaves)))
    fields = total.reshape(height, n, channels, width).transpose(1, 2, 0, 3).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(fields)).to(generator.device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep numba to one thread: where another process has a core, it waits longer than it works.

    numba's first call of all also sets the threads of whoever shares its OpenMP, torch included:
    the same training would then give other last digits. So both are put back.
    """
    of_torch = torch.get_num_threads()
    of_numba = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(of_numba)
        torch.set_num_threads(of_torch)


def _integer(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> np.ndarray:
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.cpu().numpy()


def _checked(
    shape: tuple[int, ...], octaves: int, persistence: float, wavelength: float | None
) -> tuple[int, ...]:
    if len(shape) != 4 or not all(isinstance(s, Integral) and s >= 1 for s in shape):
        raise InputError(
            f"noise needs a shape (N, C, H, W) of four positive integers, found {tuple(shape)}; "
            "give the shape of a batch of images"
        )
    if not isinstance(octaves, Integral) or octaves < 1:
        raise InputError(f"octaves must be an integer of at least 1, found {octaves}; raise it")
    for name, value in {"persistence": persistence, "wavelength": wavelength}.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, found {value}; change it")
    return tuple(shape)
