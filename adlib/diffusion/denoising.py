"""Diffusion: noise is added along a Markov chain, a U-net learns to take it away again.

Equations 3 to 10 of Wang & Tavakkoli, for tensors of any kind: latents (`LatentDiffusion`), or
pixels for the baselines. U-net and schedules are those of diffusers. Time is the index 0 .. T - 1
of the step whose noise was added last; the paper counts from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adlib._torchvision import ensure_torchvision
from adlib.diffusion.compression import CompressionModel
from adlib.diffusion.training import generator
from adlib.errors import InputError


@dataclass(frozen=True)
class Chain:
    """How to walk the reverse chain.

    Attributes
    ----------
    sampler : str
        ``ddpm``: every index start, start - 1, .., 0 (Equation 9 with the variance beta_t of
        Equation 6); ``ddim``: without noise, at start, start - stride, .. as long as that is not
        negative.
    stride : int
        Divides T.
    printed : bool
        Equation 9 as printed, ``beta_t z`` where Equation 6 asks for ``sqrt(beta_t) z``.
    """

    sampler: str = "ddim"
    stride: int = 20
    printed: bool = False

    def indices(self, start: int) -> range:
        """Return the indices at which the network is asked, `start` being the first."""
        return range(start, -1, -1 if self.sampler == "ddpm" else -self.stride)


Noise = Callable[[tuple[int, ...], torch.Generator], Tensor]


def gaussian(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Draw independent standard normal values, on the CPU whatever the device."""
    return torch.randn(shape, generator=rng)


class Diffusion(nn.Module):
    """A U-net that predicts noise, and the chains that use it.

    Parameters
    ----------
    channels, side : int
        Shape of one example: (channels, side, side).
    widths : tuple of int
        Channels at each resolution of the U-net.
    layers : int
        Residual blocks at each resolution.
    attention : bool
        Self-attention at every resolution below the first, and in the middle.
    schedule : str
        ``linear`` (beta from 1e-4 to 0.02) or ``scaled_linear`` (its square root is linear, from
        0.0015 to 0.0195, as in the code of latent diffusion).
    timesteps : int
        T.
    clip : bool
        Keep the predicted example in [-1, 1]: for pixels, never for latents.
    noise : callable
        Source of the noise, given shape and generator.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        widths: tuple[int, ...],
        *,
        layers: int = 1,
        attention: bool = False,
        schedule: str = "linear",
        timesteps: int = 1000,
        clip: bool = False,
        noise: Noise = gaussian,
    ) -> None:
        ensure_torchvision()
        from diffusers import DDIMScheduler, UNet2DModel  # slow to import

        super().__init__()
        self.shape, self.timesteps, self.clip, self.noise = (
            (channels, side, side),
            timesteps,
            clip,
            noise,
        )
        flags = [attention and level > 0 for level in range(len(widths))]
        self.network = UNet2DModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            layers_per_block=layers,
            down_block_types=tuple("AttnDownBlock2D" if f else "DownBlock2D" for f in flags),
            up_block_types=tuple("AttnUpBlock2D" if f else "UpBlock2D" for f in flags[::-1]),
            add_attention=attention,
            attention_head_dim=math.gcd(32, *widths[1:]),
            norm_num_groups=math.gcd(32, *widths),
        )
        first, last = {"linear": (1e-4, 0.02), "scaled_linear": (0.0015, 0.0195)}[schedule]
        self.scheduler = DDIMScheduler(
            num_train_timesteps=timesteps,
            beta_start=first,
            beta_end=last,
            beta_schedule=schedule,
            clip_sample=clip,
        )
        self.register_buffer("beta", self.scheduler.betas.clone(), persistent=False)
        self.register_buffer("alpha_bar", self.scheduler.alphas_cumprod.clone(), persistent=False)

    def predict(self, noised: Tensor, time: Tensor) -> Tensor:
        """Return the noise that the U-net sees in `noised`, for one time each (N,)."""
        return self.network(noised, time, return_dict=False)[0]

    def add_noise(self, clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Draw from q(x_t | x_0): Equations 4 and 10, with one time each (N,)."""
        kept = self.alpha_bar[time].view(-1, 1, 1, 1)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def loss(self, clean: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """Equation 8: squared error of the predicted noise at a time drawn for each example."""
        time = torch.randint(self.timesteps, (len(clean),), generator=rng).to(clean.device)
        noise = self.noise(tuple(clean.shape), rng).to(clean.device)
        predicted = self.predict(self.add_noise(clean, time, noise), time)
        return {"loss": (predicted.float() - noise).square().mean()}

    @torch.no_grad()
    def reconstruct(
        self,
        clean: Tensor,
        start: int,
        *,
        seeds: Sequence[int],
        seed: int = 0,
        draw: int = 0,
        chain: Chain = Chain(),
        batch: int = 500,
    ) -> Tensor:
        """Add noise up to index `start`, and take it away again.

        Parameters
        ----------
        clean : Tensor of shape (N, C, side, side)
        start : int
            Index in 0 .. T - 1 where the reverse chain begins.
        seeds : sequence of int
            One an example: its noise depends on it, on `start`, `seed` and `draw`, not on its
            place.
        seed, draw : int
            Other draws give the same examples other noise.
        chain : Chain
        batch : int

        Returns
        -------
        Tensor of shape (N, C, side, side)

        Raises
        ------
        InputError
            `start` lies outside the chain.
        """
        if not 0 <= start < self.timesteps:
            raise InputError(
                f"the start of the reverse chain must lie in 0 .. {self.timesteps - 1}, found "
                f"{start}; choose another"
            )
        found = torch.empty_like(clean)
        for first in range(0, len(clean), batch):
            part = clean[first : first + batch]
            rngs = [generator(seed, draw, start, s) for s in seeds[first : first + batch]]
            noise = self._each(rngs, clean.device)
            time = torch.full((len(part),), start, device=clean.device)
            noised = self.add_noise(part, time, noise)
            found[first : first + batch] = self.denoise(noised, start, rngs, chain)
        return found

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        draw: int = 0,
        chain: Chain = Chain(),
        batch: int = 500,
    ) -> Tensor:
        """Make new examples from pure noise (Equation 5): the whole chain, from index T - 1.

        With DDIM the first index is the largest multiple of `stride` below T; pure noise stands for
        it, since next to nothing of an example is left there. Other draws give other examples.
        """
        device = self.beta.device
        last = self.timesteps - 1
        start = last if chain.sampler == "ddpm" else last // chain.stride * chain.stride
        parts = []
        for first in range(0, n, batch):
            rngs = [generator(seed, "sample", draw, i) for i in range(first, min(n, first + batch))]
            noise = self._each(rngs, device)
            parts.append(self.denoise(noise, start, rngs, chain))
        return torch.cat(parts)

    @torch.no_grad()
    def denoise(
        self,
        noised: Tensor,
        start: int,
        rngs: Sequence[torch.Generator],
        chain: Chain = Chain(),
    ) -> Tensor:
        """Walk the reverse chain from index `start` to the end.

        Parameters
        ----------
        noised : Tensor of shape (N, C, side, side)
            At index `start`.
        start : int
        rngs : sequence of torch.Generator
            One an example, for the noise of the chain.
        chain : Chain

        Raises
        ------
        InputError
            The stride does not divide T.
        """
        if self.timesteps % chain.stride:
            raise InputError(
                f"stride must divide the {self.timesteps} steps of the chain, found "
                f"{chain.stride}; take 1, 2, 4, 5, 8, 10, 20, 25, 40, 50 or 100"
            )
        # set_timesteps would put the indices on a grid of its own, which need not hold `start`
        self.scheduler.num_inference_steps = self.timesteps // chain.stride
        for index in chain.indices(start):
            time = torch.full((len(noised),), index, device=noised.device)
            predicted = self.predict(noised, time)
            if chain.sampler == "ddpm":
                noised = self._ancestral(noised, predicted, index, rngs, chain.printed)
            else:
                noised = self.scheduler.step(predicted, index, noised, return_dict=False)[0]
        return noised

    def _ancestral(
        self,
        noised: Tensor,
        predicted: Tensor,
        index: int,
        rngs: Sequence[torch.Generator],
        printed: bool,
    ) -> Tensor:
        beta, kept = self.beta[index], self.alpha_bar[index]
        if self.clip:
            clean = (noised - (1 - kept).sqrt() * predicted) / kept.sqrt()
            predicted = (noised - kept.sqrt() * clean.clamp(-1, 1)) / (1 - kept).sqrt()
        mean = (noised - beta / (1 - kept).sqrt() * predicted) / (1 - beta).sqrt()  # Eq. 7
        if index == 0:
            return mean
        scale = beta if printed else beta.sqrt()
        return mean + scale * self._each(rngs, noised.device)  # Eq. 9

    def _each(self, rngs: Sequence[torch.Generator], device: torch.device) -> Tensor:
        return torch.cat([self.noise((1, *self.shape), rng) for rng in rngs]).to(device)


class LatentDiffusion(nn.Module):
    """A diffusion in the latent space of a compression model (Section 3.2).

    Parameters
    ----------
    compression : CompressionModel
        Fitted.
    diffusion : Diffusion
        Over (3, side / 4, side / 4).

    Attributes
    ----------
    offset : Tensor of shape (3, 1, 1), float32
    scale : Tensor of shape (), float32
        Latents are ``(z - offset) * scale``: mean 0 in each channel and variance 1 in all, as the
        end of the forward chain assumes. Measured once on the training images.
    """

    def __init__(self, compression: CompressionModel, diffusion: Diffusion) -> None:
        super().__init__()
        self.compression, self.diffusion = compression, diffusion
        self.register_buffer("offset", torch.zeros(diffusion.shape[0], 1, 1))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> Tensor:
        """Measure offset and scale on training images; returns their latents (N, 3, 8, 8)."""
        self.offset.zero_(), self.scale.fill_(1)
        raw = self.encode(pixels)
        self.offset.copy_(raw.mean(dim=(0, 2, 3)).view(-1, 1, 1))
        self.scale.copy_(1 / (raw - self.offset).std())
        return (raw - self.offset) * self.scale

    @torch.no_grad()
    def encode(self, pixels: Tensor, batch: int = 500) -> Tensor:
        """Return scaled latents (N, 3, 8, 8), before quantisation."""
        device = self.scale.device
        parts = [self.compression.encode(part.to(device)) for part in pixels.split(batch)]
        return (torch.cat(parts) - self.offset) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor, batch: int = 500) -> Tensor:
        """Quantise and decode scaled latents: images (N, C, 32, 32), on the CPU."""
        raw = latents / self.scale + self.offset
        return torch.cat([self.compression.decode(part).cpu() for part in raw.split(batch)])
