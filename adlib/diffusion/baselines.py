"""The three methods that Wang & Tavakkoli compare with, Tables 1 and 2.

Their settings are not printed. `Autoencoder` is the compression model of the method without its
codebook; `AnoDDPM` (Wyatt et al. 2022) and `DDPM` (Graham et al. 2023) are the method's diffusion
on pixels, with simplex noise and one start, and with Gaussian noise and several starts.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from adlib.diffusion.base import Detector, Slices, check_count, numbers, spread
from adlib.diffusion.compression import CompressionModel
from adlib.diffusion.denoising import Chain, Diffusion, Noise, gaussian
from adlib.diffusion.pixels import SIDE, checksums, ink, squared_error
from adlib.diffusion.settings import (
    Batch,
    Decay,
    LearningRate,
    Precision,
    Schedule,
    Seed,
    Start,
    Steps,
    Stride,
    Timesteps,
    UnetAttention,
    UnetLayers,
    UnetWidths,
    Widths,
)
from adlib.diffusion.simplex import simplex
from adlib.diffusion.training import Plan
from adlib.errors import InputError


class Autoencoder(Detector):
    """A plain autoencoder, 32 x 32 -> 8 x 8 x 3 -> 32 x 32; the score is the squared error.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "autoencoder"
    LABEL = ("widths",)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"widths": "4+4+8", "steps": 60, "batch": 16},
        "small": {},
        "paper": {
            "widths": "64+128+256",
            "steps": 30000,
            "batch": 128,
            "lr": 2e-4,
            "precision": "bfloat16",
        },
    }

    def __init__(
        self,
        *,
        widths: Widths = "8+16+32",
        steps: Steps = 1200,
        batch: Batch = 32,
        lr: LearningRate = 2e-3,
        precision: Precision = "float32",
        seed: Seed = 0,
    ) -> None:
        given = {n: v for n, v in locals().items() if n not in ("self", "__class__")}
        super().__init__(given)
        check_count(widths, "widths", 3)

    def _build(self) -> nn.ModuleDict:
        widths = numbers(self.values["widths"], "widths")
        return nn.ModuleDict({"autoencoder": CompressionModel(self.channels, widths, 0)})

    def _train(self, slices: Slices) -> None:
        values, network = self.values, self.networks["autoencoder"]
        plan = Plan(values["steps"], values["batch"], values["lr"], precision=values["precision"])
        depends = {"widths": values["widths"]}
        self._fit_network("autoencoder", network, network.loss, slices.train, plan, depends=depends)

    def _scores(self, pixels: Tensor) -> dict[str, np.ndarray]:
        found = {"ink": ink(pixels), "pixel": squared_error(pixels, self._reconstruct(pixels))}
        return found | {"pixel_per_ink": found["pixel"] / np.maximum(found["ink"], 1e-3)}

    def _reconstruct(self, pixels: Tensor) -> Tensor:
        return self._in_batches(self.networks["autoencoder"], pixels)

    def _main(self) -> str:
        return "pixel"


class _PixelDiffusion(Detector):
    """A diffusion of pixels, trained on normal images; errors of reconstructions."""

    def _noise(self) -> Noise:
        return gaussian

    def _build(self) -> nn.ModuleDict:
        values = self.values
        diffusion = Diffusion(
            self.channels,
            SIDE,
            numbers(values["unet_widths"], "unet_widths"),
            layers=values["unet_layers"],
            attention=values["unet_attention"],
            schedule=values["schedule"],
            timesteps=values["timesteps"],
            clip=True,
            noise=self._noise(),
        )
        return nn.ModuleDict({"diffusion": diffusion})

    def _train(self, slices: Slices) -> None:
        values, network = self.values, self.networks["diffusion"]
        plan = Plan(
            values["steps"], values["batch"], values["lr"], values["ema"], values["precision"]
        )
        names = ("unet_widths", "unet_layers", "unet_attention", "schedule", "timesteps")
        depends = {
            n: values[n] for n in (*names, "octaves", "persistence", "held_out") if n in values
        }
        self._fit_network(
            "pixel diffusion", network, network.loss, slices.train, plan, depends=depends
        )
        self._measure_normal(slices.held_out)

    def _measure_normal(self, pixels: Tensor) -> None:
        """Keep what scores need of held-out normal images; nothing here."""

    def _reconstruct(self, pixels: Tensor, start: int) -> Tensor:
        values, device = self.values, self.torch_device
        return (
            self.networks["diffusion"]
            .reconstruct(
                pixels.to(device),
                start,
                seeds=checksums(pixels),
                seed=values["seed"],
                chain=Chain("ddim", values["stride"]),
            )
            .cpu()
        )

    def _check_chain(self, starts: tuple[int, ...]) -> None:
        values = self.values
        if max(starts) >= values["timesteps"] or values["timesteps"] % values["stride"]:
            raise InputError(
                f"starts must lie below timesteps = {values['timesteps']} and stride must divide "
                f"it, found {max(starts)} and {values['stride']}; change them"
            )


class AnoDDPM(_PixelDiffusion):
    """Diffusion of pixels with simplex noise; the squared error after a partial chain.

    The released code repeats one noise field over a batch and is not of unit variance; here every
    image has its own field, of unit variance.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "anoddpm"
    LABEL = ("unet_widths", "start")
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"unet_widths": "8+8+8", "steps": 40, "batch": 8, "stride": 100, "held_out": 60},
        "small": {},
        "paper": {
            "unet_widths": "128+256+256",
            "unet_layers": 2,
            "unet_attention": True,
            "steps": 50000,
            "batch": 128,
            "lr": 1e-4,
            "ema": 0.9999,
            "stride": 1,
            "held_out": 2500,
            "precision": "bfloat16",
        },
    }

    def __init__(
        self,
        *,
        unet_widths: UnetWidths = "16+32+32",
        unet_layers: UnetLayers = 1,
        unet_attention: UnetAttention = False,
        schedule: Schedule = "linear",
        timesteps: Timesteps = 1000,
        octaves: Annotated[int, Field(ge=1, le=10, description="of the simplex noise")] = 6,
        persistence: Annotated[
            float, Field(gt=0, le=1, description="amplitude of an octave, of the one before")
        ] = 0.8,
        steps: Steps = 1200,
        batch: Batch = 32,
        lr: LearningRate = 1e-3,
        ema: Decay = 0.999,
        start: Start = 250,
        stride: Stride = 50,
        held_out: Annotated[
            int, Field(ge=10, description="normal images that are not trained on")
        ] = 1000,
        precision: Precision = "float32",
        seed: Seed = 0,
    ) -> None:
        given = {n: v for n, v in locals().items() if n not in ("self", "__class__")}
        super().__init__(given)
        check_count(unet_widths, "unet_widths", 3)
        self._check_chain((start,))

    def _noise(self) -> Noise:
        octaves, persistence = self.values["octaves"], self.values["persistence"]
        return lambda shape, rng: simplex(shape, rng, octaves=octaves, persistence=persistence)

    def _scores(self, pixels: Tensor) -> dict[str, np.ndarray]:
        found = {"ink": ink(pixels)}
        made = self._reconstruct(pixels, self.values["start"])
        found["pixel"] = squared_error(pixels, made)
        return found | {"pixel_per_ink": found["pixel"] / np.maximum(found["ink"], 1e-3)}

    def _main(self) -> str:
        return "pixel"


class DDPM(_PixelDiffusion):
    """Diffusion of pixels from several starts; the mean of the z-scores of the errors.

    Of the original's two errors only the squared one: the perceptual one needs weights that are
    not at hand. Means and deviations are those of held-out normal images.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "ddpm"
    LABEL = ("unet_widths", "starts")
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {
            "unet_widths": "8+8+8",
            "steps": 40,
            "batch": 8,
            "stride": 200,
            "starts": "200+600",
            "held_out": 60,
        },
        "small": {},
        "paper": {
            "unet_widths": "128+256+256",
            "unet_layers": 2,
            "unet_attention": True,
            "schedule": "scaled_linear",
            "steps": 50000,
            "batch": 128,
            "lr": 1e-4,
            "ema": 0.9999,
            "starts": "100+200+300+400+500+600+700+800+900",
            "stride": 10,
            "held_out": 2500,
            "precision": "bfloat16",
        },
    }

    def __init__(
        self,
        *,
        unet_widths: UnetWidths = "16+32+32",
        unet_layers: UnetLayers = 1,
        unet_attention: UnetAttention = False,
        schedule: Schedule = "linear",
        timesteps: Timesteps = 1000,
        steps: Steps = 1200,
        batch: Batch = 32,
        lr: LearningRate = 1e-3,
        ema: Decay = 0.999,
        starts: Annotated[
            str, Field(description="indices t where reverse chains begin, A+B+C")
        ] = "200+400+600+800",
        stride: Stride = 100,
        held_out: Annotated[
            int, Field(ge=10, description="normal images kept for the statistics")
        ] = 1000,
        precision: Precision = "float32",
        seed: Seed = 0,
    ) -> None:
        given = {n: v for n, v in locals().items() if n not in ("self", "__class__")}
        super().__init__(given)
        check_count(unet_widths, "unet_widths", 3)
        self._check_chain(numbers(starts, "starts"))

    def _measure_normal(self, pixels: Tensor) -> None:
        self.normal = {
            start: spread(squared_error(pixels, self._reconstruct(pixels, start)))
            for start in numbers(self.values["starts"], "starts")
        }

    def _scores(self, pixels: Tensor) -> dict[str, np.ndarray]:
        found, z = {"ink": ink(pixels)}, []
        for number, (start, (mean, deviation)) in enumerate(self.normal.items()):
            if self.progress is not None:
                self.progress("scoring", number + 1, len(self.normal))
            error = squared_error(pixels, self._reconstruct(pixels, start))
            found[f"pixel_t{start}"] = error
            z.append((error - mean) / deviation)
        return found | {"zscore_pixel": np.mean(z, axis=0, dtype=np.float32)}

    def _main(self) -> str:
        return "zscore_pixel"

    def _statistics(self) -> dict[str, Any]:
        return {str(start): list(pair) for start, pair in self.normal.items()}

    def _take_statistics(self, found: dict[str, Any]) -> None:
        self.normal = {int(start): tuple(pair) for start, pair in found.items()}
