"""Detectors of the third chapter that learn next to nothing in a second, and what they look at."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adlib.datasets import digits as handwriting
from adlib.diffusion.base import Detector
from adlib.diffusion.baselines import DDPM, AnoDDPM, Autoencoder
from adlib.diffusion.detector import LatentDiffusionDetector

DETECTORS = {d.METHOD: d for d in (LatentDiffusionDetector, Autoencoder, AnoDDPM, DDPM)}

_PIXELS = {"unet_widths": "8+8+8", "steps": 3, "batch": 4, "held_out": 12}
QUICK: dict[str, dict[str, Any]] = {
    "latent_diffusion": {
        "widths": "4+4+4",
        "codes": 24,
        "compression_steps": 4,
        "compression_batch": 4,
        "unet_widths": "8+8+8",
        "diffusion_steps": 3,
        "diffusion_batch": 4,
        "start": 200,
        "grid": "100",
        "stride": 100,
        "classifier_widths": "4+4+4+4",
        "classifier_steps": 2,
        "classifier_batch": 4,
        "held_out": 12,
        "draws": 1,
    },
    "autoencoder": {"widths": "4+4+4", "steps": 4, "batch": 4},
    "anoddpm": {**_PIXELS, "start": 200, "stride": 100},
    "ddpm": {**_PIXELS, "starts": "200+400", "stride": 200},
}


def digits(n: int = 40, first: int = 0) -> np.ndarray:
    """Return handwritten digits 1 to 9, uint8 (n, 32, 32, 1)."""
    return handwriting.category("0").train.pixels[first : first + n]


def coloured(n: int = 40, seed: int = 0) -> np.ndarray:
    """Return digits in a colour each, uint8 (n, 32, 32, 3)."""
    tint = np.random.default_rng(seed).integers(1, 5, (n, 1, 1, 3))
    return (digits(n) // tint).astype(np.uint8)


def detector(method: str, **changes: Any) -> Detector:
    """Return a detector that is fitted in about a second."""
    return DETECTORS[method](**{**QUICK[method], **changes})


@cache
def fitted(method: str) -> Detector:
    """Return one that is fitted on 40 digits; the same for every test: do not change it."""
    return detector(method).fit(digits())


def latents(n: int, channels: int = 3, side: int = 8, seed: int = 0) -> Tensor:
    """Return standard normal values (n, channels, side, side), float32."""
    return torch.randn((n, channels, side, side), generator=torch.Generator().manual_seed(seed))


class Predictor(nn.Module):
    """Stands in for the U-net: predicts by a rule and remembers what it was asked.

    Parameters
    ----------
    rule : callable
        Given the noised examples and the time, an integer, returns the noise.
    """

    def __init__(self, rule: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.rule = rule
        self.times: list[int] = []
        self.seen: list[Tensor] = []

    def forward(self, noised: Tensor, time: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        (one,) = set(time.tolist())
        assert len(time) == len(noised)
        self.times.append(one)
        self.seen.append(noised)
        return (self.rule(noised, one),)
