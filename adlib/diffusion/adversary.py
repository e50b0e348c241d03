"""The adversarial and the perceptual term of the compression model's loss; both are optional.

Esser et al. 2021, whose loss Section 3.2 refers to: a small network judges patches, and starts late
because an early judge spoils the reconstructions; a network trained on photographs compares images
by their features. At 32 x 32 both are of doubtful use, hence off in the small preset.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from adlib._torchvision import ensure_torchvision
from adlib.diffusion.compression import CompressionModel
from adlib.errors import InputError

VGG = "vgg16-397923af.pth"  # the name that torchvision's download has


class Adversary(nn.Module):
    """A judge of patches: real image or reconstruction? (PatchGAN, two strided layers.)

    Parameters
    ----------
    model : CompressionModel
        What it judges; its own weights are not the adversary's.
    channels : int
    weight : float
        Of the term in the compression model's loss.
    start : int
        Step from which it takes part.
    """

    def __init__(self, model: CompressionModel, channels: int, weight: float, start: int) -> None:
        super().__init__()
        self.weight, self.start = weight, start
        self.judge = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.GroupNorm(8, 64),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 1, 3, 1, 1),
        )
        self.judged = [model]  # in a list: not a sub-module

    def against(self, reconstruction: Tensor, target: Tensor, step: int) -> Tensor:
        """Return the term for the compression model: how sure the judge is, negated."""
        if step < self.start:
            return reconstruction.new_zeros(())
        return -self.weight * self.judge(reconstruction).mean()

    def loss(self, pixels: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """Hinge loss of the judge; nothing before its start."""
        if step < self.start:
            return {}
        model = self.judged[0]
        with torch.no_grad():
            made = model(pixels)
        real, fake = self.judge(model.target(pixels)), self.judge(made)
        return {"loss": (functional.relu(1 - real) + functional.relu(1 + fake)).mean() / 2}


class Perceptual(nn.Module):
    """Distance of VGG-16 features after each of its first three blocks (weights: torchvision's).

    Raises
    ------
    InputError
        The weights are not in torch's cache: nothing is downloaded here.
    """

    def __init__(self) -> None:
        super().__init__()
        ensure_torchvision()
        from torchvision.models import vgg16

        file = Path(torch.hub.get_dir()) / "checkpoints" / VGG
        if not file.is_file():
            raise InputError(
                f"the perceptual term needs VGG-16's weights, found no {VGG} in torch's cache; "
                "put the file there, or set perceptual=0"
            )
        network = vgg16(weights=None)
        network.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
        blocks = list(network.features[:16])
        self.blocks = nn.ModuleList(
            nn.Sequential(*blocks[a:b]) for a, b in ((0, 4), (4, 9), (9, 16))
        )
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, first: Tensor, second: Tensor, step: int = 0) -> Tensor:
        """Return the mean distance of two batches of images in [-1, 1], (N, 1 or 3, H, W)."""
        total = first.new_zeros(())
        a, b = (((p.expand(-1, 3, -1, -1) + 1) / 2 - self.mean) / self.std for p in (first, second))
        for block in self.blocks:
            a, b = block(a), block(b)
            total = total + (functional.normalize(a) - functional.normalize(b)).square().mean()
        return total
