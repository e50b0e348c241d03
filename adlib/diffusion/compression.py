"""The compression model: images of 32 x 32 become latents of 8 x 8 x 3 and come back.

Wang & Tavakkoli, Section 3.2, "Compression Model": an autoencoder with a codebook (vector
quantisation, van den Oord et al. 2017) after Esser et al. 2021. The layers are those of diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from adlib._torchvision import ensure_torchvision

LATENT_CHANNELS = 3
RESTART_EVERY = 50  # steps between two looks for codes that nothing uses
RESTART_UNTIL = 0.6  # share of the training after which codes are left alone

Term = Callable[[Tensor, Tensor, int], Tensor]


class CompressionModel(nn.Module):
    """Encoder, codebook and decoder.

    Parameters
    ----------
    channels : int
        Of the images, 1 or 3.
    widths : tuple of int
        Channels at each resolution; every step halves the image: three of them give 32 -> 8.
    codes : int
        Size of the codebook; 0: no codebook, a plain autoencoder.
    commitment : float
        Weight of the term that pulls the encoder to the codes.
    edges : bool
        The decoder predicts the edges of the image instead of the image (the paper's variant).

    Attributes
    ----------
    counts : Tensor of shape (codes,), int64
        How often each code was used since the last look.
    restarted : Tensor of shape (), int64
        Codes that were given a new place during training.
    terms : dict of str to callable
        Further terms of the loss, given reconstruction, target and step.
    restart_until : int
        Step of the training after which unused codes are left alone.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        codes: int,
        *,
        commitment: float = 0.25,
        edges: bool = False,
    ) -> None:
        ensure_torchvision()
        from diffusers import VQModel  # a second of import that other methods need not wait for

        super().__init__()
        self.codes, self.commitment, self.edges = codes, commitment, edges
        self.terms: dict[str, Term] = {}
        self.restart_until = 0
        self.network = VQModel(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=1,
            latent_channels=LATENT_CHANNELS,
            num_vq_embeddings=max(codes, 1),
            norm_num_groups=math.gcd(32, *widths),
            mid_block_add_attention=widths[-1] >= 128,
        )
        self.register_buffer("counts", torch.zeros(max(codes, 1), dtype=torch.int64))
        self.register_buffer("restarted", torch.zeros((), dtype=torch.int64))

    @property
    def codebook(self) -> Tensor:
        """The codes (codes, 3)."""
        return self.network.quantize.embedding.weight

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latents before quantisation (N, 3, 8, 8): diffusion works on these."""
        return self.network.encode(pixels, return_dict=False)[0]

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the index of the nearest code of each position (N, 8, 8), int64."""
        vectors = latents.movedim(1, -1)
        codes = self.codebook
        # |z - e|^2 without |z|^2, which is the same for all codes; bfloat16 would confuse them
        with torch.autocast(codes.device.type, enabled=False):
            distance = codes.square().sum(dim=1) - 2 * vectors.float() @ codes.T
        return distance.argmin(dim=-1)

    def quantise(self, latents: Tensor) -> Tensor:
        """Replace each position by its nearest code (N, 3, 8, 8); itself without a codebook."""
        if not self.codes:
            return latents
        return self.codebook[self.nearest(latents)].movedim(-1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Quantise, then decode: images (N, C, 32, 32)."""
        return self._decode(self.quantise(latents))

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode, quantise and decode: what is left of an image without any diffusion."""
        return self.decode(self.encode(pixels))

    def target(self, pixels: Tensor) -> Tensor:
        """Return what the decoder has to give back: the image, or its edges."""
        return edge_map(pixels) if self.edges else pixels

    def loss(self, pixels: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        """L1 of the reconstruction, plus the two terms of the codebook; squares without one.

        The commitment weight belongs to ``|z - sg(e)|^2``, which moves the encoder; the codes
        follow with weight 1. diffusers' quantiser has them the other way round by default.
        """
        latents = self.encode(pixels)
        target = self.target(pixels)
        if not self.codes:
            error = functional.mse_loss(self._decode(latents).float(), target)
            return {"loss": error, "reconstruction": error}
        indices = self.nearest(latents.detach())
        chosen = self.codebook[indices].movedim(-1, 1)
        moved = functional.mse_loss(chosen, latents.detach().float())
        committed = functional.mse_loss(latents.float(), chosen.detach())
        # the gradient of the decoder passes the quantiser unchanged
        straight = latents + (chosen - latents).detach()
        made = self._decode(straight).float()
        error = functional.l1_loss(made, target)
        others = {name: term(made, target, step) for name, term in self.terms.items()}
        if self.training:
            self._count(indices)
            self._restart(latents.detach(), rng, step)
        share = torch.bincount(indices.flatten(), minlength=self.codes) / indices.numel()
        return {
            "loss": error + moved + self.commitment * committed + sum(others.values()),
            **others,
            "reconstruction": error,
            "codebook": moved,
            "perplexity": perplexity(share),
        }

    @torch.no_grad()
    def place_codes(self, pixels: Tensor, seed: int) -> None:
        """Start the codebook from the latents of some images, by k-means.

        Codes that start far from every latent are never chosen, so they never move.
        """
        from sklearn.cluster import KMeans

        if not self.codes:
            return
        vectors = self.encode(pixels).movedim(1, -1).reshape(-1, LATENT_CHANNELS).float().cpu()
        distinct = torch.unique(vectors, dim=0)
        found = KMeans(min(self.codes, len(distinct)), n_init=1, max_iter=20, random_state=seed)
        centres = torch.from_numpy(found.fit(distinct.numpy()).cluster_centers_)
        rows = torch.arange(self.codes) % len(centres)
        self.codebook.copy_(centres[rows].to(self.codebook))

    def _decode(self, quantised: Tensor) -> Tensor:
        network = self.network
        return network.decoder(network.post_quant_conv(quantised))

    def _count(self, indices: Tensor) -> None:
        self.counts += torch.bincount(indices.flatten(), minlength=self.codes)

    @torch.no_grad()
    def _restart(self, latents: Tensor, rng: torch.Generator, step: int) -> None:
        """Move codes that nothing chose in the last steps onto latents of this batch."""
        if (step + 1) % RESTART_EVERY:
            return
        unused = (self.counts == 0).nonzero().flatten()
        if step < self.restart_until and len(unused):
            vectors = latents.movedim(1, -1).reshape(-1, LATENT_CHANNELS).float()
            rows = torch.randint(len(vectors), (len(unused),), generator=rng)
            self.codebook[unused] = vectors[rows.to(vectors.device)]
            self.restarted += len(unused)
        self.counts.zero_()


def perplexity(share: Tensor) -> Tensor:
    """Return the exponential of the entropy of usage: between 1 and the number of codes."""
    return torch.exp(-(share * share.clamp(min=1e-12).log()).sum())


def usage(model: CompressionModel, latents: Tensor) -> dict[str, float]:
    """Measure how much of the codebook some latents use.

    Returns
    -------
    dict
        ``codes_used``: share of the codes that are ever chosen; ``perplexity``.
    """
    counts = torch.bincount(model.nearest(latents).flatten(), minlength=model.codes).double()
    return {
        "codes_used": round(float((counts > 0).double().mean()), 4),
        "perplexity": round(float(perplexity(counts / counts.sum())), 2),
    }


def edge_map(pixels: Tensor) -> Tensor:
    """Return the length of the Sobel gradient of each channel, scaled into [-1, 1].

    The largest possible length, of a step from black to white, becomes 1.
    """
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=pixels.device) / 8
    kernels = torch.stack([across, across.T])[:, None]
    n, channels, height, width = pixels.shape
    flat = functional.pad(pixels.reshape(n * channels, 1, height, width), (1, 1, 1, 1), "replicate")
    with torch.autocast(pixels.device.type, enabled=False):
        gradient = functional.conv2d(flat, kernels)
    length = gradient.square().sum(dim=1).clamp(min=1e-12).sqrt()
    return (2 * length - 1).clamp(max=1).reshape(n, channels, height, width)
