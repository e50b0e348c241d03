"""Latent diffusion based multi-class anomaly detection (Wang & Tavakkoli, Section 3.2).

An image is compressed, its latent is noised up to t = 200 and denoised by a network that knows
normal images only, the result is decoded; a classifier says whether image and reconstruction show
different things. Beside that score the plain errors of the same reconstruction are kept, and the
controls that need no diffusion.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from adlib import metrics
from adlib.diffusion import pairs
from adlib.diffusion.adversary import Adversary, Perceptual
from adlib.diffusion.base import Detector, Slices, check_count, numbers, seeded, spread
from adlib.diffusion.compression import (
    LATENT_CHANNELS,
    RESTART_UNTIL,
    CompressionModel,
    usage,
)
from adlib.diffusion.denoising import Chain, Diffusion, LatentDiffusion
from adlib.diffusion.pair_classifier import PairClassifier
from adlib.diffusion.pixels import SIDE, as_images, as_pixels, checksums, ink, squared_error
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
from adlib.diffusion.training import Plan
from adlib.errors import InputError

COLLAPSE = 0.02  # share of the codebook in use below which it counts as collapsed
_CODEBOOK_IMAGES = 1000
_UNSEEN = 1000  # draws from here on belong to pairs that the classifier is judged by


class Reconstruction(NamedTuple):
    """An image after noise and denoising, as latent (scaled, before the codes) and as pixels."""

    latent: Tensor
    pixels: Tensor


class LatentDiffusionDetector(Detector):
    """VQ autoencoder, diffusion of its latents, and a classifier of (image, reconstruction).

    The parameters that the paper states are those of the preset ``paper``; the defaults are the
    preset ``small``, for a processor. Whatever the paper leaves out is a choice made here.

    Raises
    ------
    InputError
        A parameter of the wrong name, type or range.
    """

    METHOD = "latent_diffusion"
    LABEL = ("unet_widths", "negatives", "start")

    def __init__(
        self,
        *,
        widths: Widths = "8+16+32",
        codes: Annotated[int, Field(ge=2, le=65536, description="size of the codebook")] = 512,
        commitment: Annotated[
            float, Field(gt=0, le=10, description="weight of the term that binds encoder to codes")
        ] = 0.25,
        adversarial: Annotated[
            float, Field(ge=0, le=10, description="weight of the adversarial term; 0: none")
        ] = 0.0,
        adversarial_start: Annotated[
            float, Field(ge=0, le=1, description="share of the training without that term")
        ] = 0.5,
        perceptual: Annotated[
            float, Field(ge=0, le=10, description="weight of the VGG-16 term; 0: none")
        ] = 0.0,
        edges: Annotated[
            bool, Field(description="the decoder predicts edges, not the image")
        ] = False,
        compression_steps: Steps = 1200,
        compression_batch: Batch = 32,
        compression_lr: LearningRate = 2e-3,
        unet_widths: UnetWidths = "32+64+96",
        unet_layers: UnetLayers = 1,
        unet_attention: UnetAttention = False,
        schedule: Schedule = "linear",
        timesteps: Timesteps = 1000,
        diffusion_steps: Steps = 1500,
        diffusion_batch: Annotated[int, Field(ge=2, description="latents an update")] = 64,
        diffusion_lr: LearningRate = 1e-3,
        ema: Decay = 0.999,
        start: Start = 200,
        grid: Annotated[
            str, Field(description="further starts whose errors are kept, A+B+C")
        ] = "100+200+300+400+500",
        sampler: Annotated[
            Literal["ddim", "ddpm"], Field(description="of the reverse chain")
        ] = "ddim",
        stride: Stride = 50,
        printed: Annotated[
            bool, Field(description="ddpm: Equation 9 as printed, without the square root")
        ] = False,
        classifier_widths: Annotated[
            str, Field(description="channels of the four stages of the ResNet-18, A+B+C+D")
        ] = "8+16+32+64",
        stem: Annotated[
            Literal["small", "imagenet"], Field(description="first layer of the classifier")
        ] = "small",
        classifier_steps: Steps = 300,
        classifier_batch: Annotated[int, Field(ge=2, description="pairs an update")] = 64,
        classifier_lr: LearningRate = 1e-3,
        positives: Annotated[
            str, Field(description="starts t of the reconstructions that count as same, A+B")
        ] = "200",
        negatives: Annotated[
            str,
            Field(description="what counts as different: noise, other, later, joined by +"),
        ] = "noise",
        later: Annotated[
            int, Field(ge=1, description="start t of the negatives called later")
        ] = 600,
        draws: Annotated[
            int, Field(ge=1, le=100, description="noises for each image of the pairs")
        ] = 2,
        seen: Annotated[
            bool, Field(description="pairs from images that the networks were trained on")
        ] = False,
        held_out: Annotated[
            int, Field(ge=10, description="normal images kept for pairs and statistics")
        ] = 1000,
        score: Annotated[
            Literal["classifier", "pixel", "latent", "zscore", "vq"],
            Field(description="what the image score is"),
        ] = "classifier",
        precision: Precision = "float32",
        seed: Seed = 0,
    ) -> None:
        given = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        }
        super().__init__(given)
        self._check_values()

    PRESETS: dict[str, dict[str, Any]] = {
        "tiny": {
            "widths": "4+4+8",
            "codes": 32,
            "compression_steps": 60,
            "compression_batch": 16,
            "unet_widths": "8+8+16",
            "diffusion_steps": 60,
            "diffusion_batch": 16,
            "stride": 100,
            "grid": "100+200+400",
            "classifier_widths": "4+4+8+8",
            "classifier_steps": 20,
            "classifier_batch": 16,
            "held_out": 60,
            "draws": 1,
        },
        "small": {},
        "paper": {
            "widths": "64+128+256",
            "codes": 8192,
            "adversarial": 0.75,
            "compression_steps": 30000,
            "compression_batch": 128,
            "compression_lr": 2e-4,
            "unet_widths": "224+448+672",
            "unet_layers": 2,
            "unet_attention": True,
            "diffusion_steps": 50000,
            "diffusion_batch": 256,
            "diffusion_lr": 1e-4,
            "ema": 0.9999,
            "sampler": "ddpm",
            "classifier_widths": "64+128+256+512",
            "classifier_steps": 5000,
            "classifier_batch": 128,
            "classifier_lr": 1e-4,
            "held_out": 2500,
            "precision": "bfloat16",
        },
    }

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters; None where one has no effect."""
        idle = {
            "adversarial_start": not values["adversarial"],
            # samples from noise are made by ddim in any case
            "stride": values["sampler"] == "ddpm" and "noise" not in values["negatives"],
            "printed": values["sampler"] != "ddpm",
            "later": "later" not in values["negatives"].split("+"),
        }
        return {name: None if idle.get(name) else value for name, value in values.items()}

    def reconstruct(self, images: Sequence[np.ndarray] | np.ndarray, start: int) -> np.ndarray:
        """Reconstruct images through noise up to index `start`; 0: through the codes alone.

        Returns
        -------
        ndarray of shape (N, 32, 32, C), uint8

        Raises
        ------
        InputError
            The model is not fitted, images that do not fit, or a start outside of the chain.
        """
        self._check_fitted()
        pixels = as_pixels(images, self.channels)
        return as_images(self._reconstruct(pixels, start).pixels)

    def sample(self, n: int) -> np.ndarray:
        """Make `n` new images from noise: uint8 (n, 32, 32, C)."""
        self._check_fitted()
        return as_images(self._sample(n))

    @property
    def latent_diffusion(self) -> LatentDiffusion:
        """Compression model and diffusion."""
        return self.networks["latent_diffusion"]

    @property
    def classifier(self) -> PairClassifier:
        """The classifier of pairs."""
        return self.networks["classifier"]

    @property
    def starts(self) -> list[int]:
        """Every start of the reverse chain whose errors are kept, rising."""
        return sorted({self.values["start"], *numbers(self.values["grid"], "grid")})

    def _check_values(self) -> None:
        values = self.values
        for name, count in (("widths", 3), ("unet_widths", 3), ("classifier_widths", 4)):
            check_count(values[name], name, count)
        pairs.check_negatives(values["negatives"])
        starts = {*self.starts, *numbers(values["positives"], "positives")}
        if "later" in values["negatives"].split("+"):
            starts.add(values["later"])
        if max(starts) >= values["timesteps"]:
            raise InputError(
                f"every start t must lie below timesteps = {values['timesteps']}, found "
                f"{max(starts)}; lower it"
            )
        if values["timesteps"] % values["stride"]:
            raise InputError(
                f"stride must divide timesteps = {values['timesteps']}, found {values['stride']}; "
                "choose a divisor"
            )

    def _build(self) -> nn.ModuleDict:
        values = self.values
        compression = CompressionModel(
            self.channels,
            numbers(values["widths"], "widths"),
            values["codes"],
            commitment=values["commitment"],
            edges=values["edges"],
        )
        diffusion = Diffusion(
            LATENT_CHANNELS,
            SIDE // 4,
            numbers(values["unet_widths"], "unet_widths"),
            layers=values["unet_layers"],
            attention=values["unet_attention"],
            schedule=values["schedule"],
            timesteps=values["timesteps"],
        )
        widths = numbers(values["classifier_widths"], "classifier_widths")
        return nn.ModuleDict(
            {
                "latent_diffusion": LatentDiffusion(compression, diffusion),
                "classifier": PairClassifier(self.channels, widths, values["stem"]),
            }
        )

    def _train(self, slices: Slices) -> None:
        self._train_compression(slices.train)
        model = self.latent_diffusion
        latents = model.calibrate(slices.train)  # once: the encoder no longer changes
        self.report |= {"latent_scale": round(float(model.scale), 5)}
        self._train_diffusion(latents.cpu())
        self._measure_codebook(slices.held_out)
        self._measure_normal(slices.held_out)
        self._train_classifier(slices)

    def _train_compression(self, pixels: Tensor) -> None:
        values, model = self.values, self.latent_diffusion.compression
        plan = self._plan("compression")
        model.restart_until = round(RESTART_UNTIL * plan.steps)
        opponent = None
        if values["adversarial"]:
            begin = round(values["adversarial_start"] * plan.steps)
            with seeded(values["seed"]):
                judge = Adversary(model, self.channels, values["adversarial"], begin)
            judge.to(self.torch_device)
            opponent = (judge, judge.loss)
            model.terms["adversarial"] = judge.against
        if values["perceptual"]:
            distance = Perceptual().to(self.torch_device)
            weight = values["perceptual"]
            model.terms["perceptual"] = lambda *pair: weight * distance(*pair)
        some = pixels[:: max(1, len(pixels) // _CODEBOOK_IMAGES)].to(self.torch_device)
        self._fit_network(
            "compression model",
            model,
            model.loss,
            pixels,
            plan,
            depends=self._only(*_COMPRESSION),
            opponent=opponent,
            start=lambda: model.place_codes(some, values["seed"]),
        )
        model.terms = {}

    def _train_diffusion(self, latents: Tensor) -> None:
        diffusion = self.latent_diffusion.diffusion
        self._fit_network(
            "diffusion",
            diffusion,
            diffusion.loss,
            latents,
            self._plan("diffusion", ema=self.values["ema"]),
            depends=self._only(*_COMPRESSION, *_DIFFUSION)
            | {"compression": asdict(self._plan("compression"))},
        )

    def _train_classifier(self, slices: Slices) -> None:
        values = self.values
        source = slices.train[: len(slices.held_out)] if values["seen"] else slices.held_out
        kept = torch.arange(len(source)) % pairs.VALIDATION == 0
        shown, unseen = self._pairs(source[~kept], 0), self._pairs(source[kept], _UNSEEN)
        self._fit_network(
            "classifier",
            self.classifier,
            pairs.loss(self.classifier, shown),
            torch.arange(len(shown.first)),
            self._plan("classifier"),
            depends=self._only(*_COMPRESSION, *_DIFFUSION, *_PAIRS)
            | {name: asdict(self._plan(name)) for name in ("compression", "diffusion")}
            | {"pairs": pairs.VERSION},
        )
        found = self.classifier.probability(unseen.first, unseen.second)
        label = unseen.different.numpy()
        self.report["pairs"] = len(shown.first)
        self.report["pair_accuracy"] = round(float(((found > 0.5) == label).mean()), 4)
        self.report["pair_auroc"] = round(metrics.auroc(label, found), 4)

    def _pairs(self, images: Tensor, first_draw: int) -> pairs.Pairs:
        values = self.values
        return pairs.make(
            images,
            lambda some, start, draw: self._reconstruct(some, start, draw=first_draw + draw).pixels,
            lambda n, draw: self._sample(n, first_draw + draw),
            positives=numbers(values["positives"], "positives"),
            negatives=values["negatives"],
            later=values["later"],
            draws=values["draws"],
            seed=values["seed"],
        )

    def _plan(self, network: str, ema: float | None = None) -> Plan:
        values = self.values
        steps, batch, lr = (values[f"{network}_{name}"] for name in ("steps", "batch", "lr"))
        return Plan(steps, batch, lr, ema, values["precision"])

    def _only(self, *names: str) -> dict[str, Any]:
        return {name: self.values[name] for name in names}

    def _measure_codebook(self, pixels: Tensor) -> None:
        found = self.latent_diffusion
        raw = found.encode(pixels) / found.scale + found.offset
        self.report |= usage(found.compression, raw)
        self.report["codes_restarted"] = int(found.compression.restarted)
        codes = self.values["codes"]
        used = round(self.report["codes_used"] * codes)
        if used <= max(1, COLLAPSE * codes):
            self.report["collapsed"] = True
            warnings.warn(
                f"the codebook has collapsed: {self.report['codes_used']:.1%} of "
                f"{self.values['codes']} codes are in use, perplexity "
                f"{self.report['perplexity']:.1f}; lower compression_lr or raise commitment",
                CodebookCollapse,
                stacklevel=2,
            )

    def _measure_normal(self, pixels: Tensor) -> None:
        """Measure mean and spread of the errors of held-out normal images, for z-scores."""
        target = self.latent_diffusion.compression.target(pixels)
        latents = self.latent_diffusion.encode(pixels)
        self.normal = {}
        for start in self.starts:
            made = self._reconstruct(pixels, start, latents)
            self.normal[start] = {
                "pixel": spread(squared_error(target, made.pixels)),
                "latent": spread(squared_error(latents, made.latent)),
            }

    def _reconstruct(
        self, pixels: Tensor, start: int, latents: Tensor | None = None, draw: int = 0
    ) -> Reconstruction:
        model, values = self.latent_diffusion, self.values
        latents = model.encode(pixels) if latents is None else latents
        if start:
            chain = Chain(values["sampler"], values["stride"], values["printed"])
            latents = model.diffusion.reconstruct(
                latents, start, seeds=checksums(pixels), seed=values["seed"], draw=draw, chain=chain
            )
        return Reconstruction(latents, model.decode(latents))

    def _sample(self, n: int, draw: int = 0) -> Tensor:
        model, values = self.latent_diffusion, self.values
        chain = Chain("ddim", values["stride"])
        return model.decode(model.diffusion.sample(n, seed=values["seed"], draw=draw, chain=chain))

    def _scores(self, pixels: Tensor) -> dict[str, np.ndarray]:
        model = self.latent_diffusion
        target, latents = model.compression.target(pixels), model.encode(pixels)
        alone = model.decode(latents)
        found = {
            "ink": ink(pixels),
            "vq": squared_error(target, alone),
            "classifier_itself": self.classifier.probability(pixels, pixels),
            "classifier_vq": self.classifier.probability(pixels, alone),
        }
        z = {"pixel": [], "latent": []}
        for number, start in enumerate(self.starts):
            if self.progress is not None:
                self.progress("scoring", number, len(self.starts))
            made = self._reconstruct(pixels, start, latents)
            errors = {
                "pixel": squared_error(target, made.pixels),
                "latent": squared_error(latents, made.latent),
            }
            found |= {f"{name}_t{start}": error for name, error in errors.items()}
            found[f"classifier_t{start}"] = self.classifier.probability(pixels, made.pixels)
            for name, error in errors.items():
                mean, deviation = self.normal[start][name]
                z[name].append((error - mean) / deviation)
        if self.progress is not None:
            self.progress("scoring", len(self.starts), len(self.starts))
        start = self.values["start"]
        found["pixel_per_ink"] = found[f"pixel_t{start}"] / np.maximum(found["ink"], 1e-3)
        found |= {f"zscore_{name}": np.mean(values, axis=0) for name, values in z.items()}
        return {name: np.asarray(score, dtype=np.float32) for name, score in found.items()}

    def _main(self) -> str:
        score, start = self.values["score"], self.values["start"]
        return {"zscore": "zscore_pixel", "vq": "vq"}.get(score, f"{score}_t{start}")

    def _statistics(self) -> dict[str, Any]:
        return {str(start): value for start, value in self.normal.items()}

    def _take_statistics(self, found: dict[str, Any]) -> None:
        self.normal = {int(start): value for start, value in found.items()}


class CodebookCollapse(UserWarning):
    """Hardly any code of the codebook is in use."""


_COMPRESSION = (
    *("widths", "codes", "commitment", "adversarial", "adversarial_start", "perceptual"),
    *("edges", "held_out"),
)
_PAIRS = (
    *("ema", "sampler", "stride", "printed", "classifier_widths", "stem"),
    *("start", "positives", "negatives", "later", "draws", "seen"),
)
_DIFFUSION = ("unet_widths", "unet_layers", "unet_attention", "schedule", "timesteps")
