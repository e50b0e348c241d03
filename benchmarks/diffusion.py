"""Latent diffusion: our loops beside plain ones of diffusers, and what a step costs.

One process for each preset, and one for the rest. The sides of a process take turns, in a new order
each turn, and a ratio is taken within a turn, of processor time of one thread::

    train, compression, classifier   a step of adlib's loop: batches, loss, clipping, Adam, average
    ... plain                        the same network in the loop that diffusers' examples show
    ... encoding, ... bfloat16       batches of images, encoded each time; the loop under autocast
    ddim, ddpm [plain]               reconstruction: noise up to t = 200, then the reverse chain
    forward, both, product           one pass, pass and gradient; a large matrix product
    score, latent, pixel             images through the detector; one denoising step in each space

The preset ``paper`` gets smaller batches and a chain of few steps: see ``SIZES``. Weights are
random, which changes no time. The last part trains the networks of ``tiny`` in both precisions::

    python benchmarks/diffusion.py --json diffusion.json
    python benchmarks/diffusion.py --quick                     # seconds, for tests
"""

from __future__ import annotations

import copy
import gc
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adlib import bench, datasets
from adlib.diffusion import training
from adlib.diffusion.base import seeded
from adlib.diffusion.denoising import Chain, Diffusion
from adlib.diffusion.detector import CodebookCollapse, LatentDiffusionDetector
from adlib.diffusion.pixels import as_pixels
from adlib.study import bench_report

Side = Callable[[], float]  # returns processor seconds of one step, image or product
START, STRIDE = 200, 50
SCORED = {  # what the detector is asked for -> settings, share of the images
    "DDIM-5, five starts as recorded": ({}, 1.0),
    "DDIM-5, start 200 alone": ({"grid": "200"}, 1.0),
    "DDIM-11 (stride 20), start 200 alone": ({"grid": "200", "stride": 20}, 1.0),
    "DDPM-201, start 200 alone": ({"grid": "200", "sampler": "ddpm"}, 0.2),
}
BASELINE = {"small": ("16+32+32", 1), "paper": ("128+256+256", 2)}  # U-net of pixels, its layers
PRODUCT = 1536  # side of the matrices
SEEDS = (0, 1, 2)
RATIOS = {  # name -> sides over and under
    "train": ("train plain", "train"),
    "compression": ("compression plain", "compression"),
    "ddim": ("ddim plain", "ddim"),
    "ddpm": ("ddpm plain", "ddpm"),
    "encoding": ("train encoding", "train"),
    "train bfloat16": ("train", "train bfloat16"),
    "compression bfloat16": ("compression", "compression bfloat16"),
    "classifier bfloat16": ("classifier", "classifier bfloat16"),
}


class Size(NamedTuple):
    """How much of a preset is measured.

    Attributes
    ----------
    batch : int or None
        Images of a training step; None: as the preset has it.
    warm, steps : int
        Of the loop, before the clock starts and under it.
    images : int
        Through DDIM.
    few : int
        Through DDPM.
    start : int
        Index where DDPM begins.
    batches : tuple of int
        Of the passes whose rate is measured, beside the training batch.
    turns : int
        At most.
    """

    batch: int | None
    warm: int
    steps: int
    images: int
    few: int
    start: int
    batches: tuple[int, ...]
    turns: int = 100


SIZES = {
    "tiny": Size(None, 2, 8, 100, 8, START, (1, 256)),
    "small": Size(None, 2, 4, 100, 8, START, (1, 256)),
    "paper": Size(8, 1, 1, 4, 4, 4, (1,), turns=2),
}
QUICK = Size(4, 1, 1, 2, 2, 3, (1,))


def options() -> Namespace:
    """Read the command line."""
    parser = bench.parser(__doc__)
    parser.add_argument(
        "--presets", nargs="+", choices=tuple(SIZES), default=tuple(SIZES), help="default: all"
    )
    parser.add_argument("--quick", action="store_true", help="sizes that take seconds")
    parser.set_defaults(repeats=4)
    return parser.parse_args()


def work(side: str, args: Namespace) -> dict[str, Any]:
    """Measure one preset, or the rest."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CodebookCollapse)  # codes of networks that learnt nothing
    wall, start = time.perf_counter(), time.process_time()
    found = preset(side, args) if side in SIZES else rest(args)
    spent = time.process_time() - start
    return found | {"wall_over_processor": (time.perf_counter() - wall) / spent}


def in_turn(sides: dict[str, Side], turns: int) -> bench.Runs:
    """Call every side once a turn, forwards and backwards."""
    runs: bench.Runs = {name: [] for name in sides}
    for turn in range(turns):
        gc.collect()
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            runs[name].append({"seconds": sides[name]()})
    return runs


def timed(function: Callable[[], Any], units: int = 1) -> Side:
    """Return a side that calls a function for so many steps or images."""

    def measured() -> float:
        start = time.process_time()
        function()
        return (time.process_time() - start) / units

    return measured


def images_of(n: int) -> Tensor:
    """Return real images as the networks see them (n, 1, 32, 32), repeated where too few."""
    pixels = as_pixels(datasets.load("digits", "0").train)
    return pixels[torch.arange(n) % len(pixels)]


def flops(function: Callable[[], Any]) -> int:
    """Count the floating-point operations of products and convolutions, two for each addition."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # the fused attention of the processor is not counted, the plain one is
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


# --- one preset ---------------------------------------------------------------------------


class Networks:
    """The untrained networks of a preset, images and latents to drive them with, the plans."""

    def __init__(self, name: str, size: Size) -> None:
        detector = LatentDiffusionDetector(**LatentDiffusionDetector.PRESETS[name])
        detector.channels = 1
        with seeded(0):
            parts = detector._build()
        self.size, self.values = size, detector.values
        self.model, self.classifier = parts["latent_diffusion"], parts["classifier"]
        self.plans = {
            network: self._plan(detector._plan(network, ema))
            for network, ema in (
                ("compression", None),
                ("diffusion", self.values["ema"]),
                ("classifier", None),
            )
        }
        self.pixels = images_of(max(64, size.images, *(p.batch for p in self.plans.values())))
        self.latents = self.model.calibrate(self.pixels)

    def _plan(self, plan: training.Plan) -> training.Plan:
        return replace(plan, batch=self.size.batch or plan.batch, precision="float32")


def preset(name: str, args: Namespace) -> dict[str, Any]:
    """Measure all sides of a preset."""
    size = QUICK if args.quick else SIZES[name]
    found = Networks(name, size)
    sides = train_sides(found) | chain_sides(found) | pass_sides(found) | product_sides(args)
    for warm in ("encode", "forward 1", "product bfloat16"):
        sides[warm]()  # first uses
    runs = in_turn(sides, min(args.repeats, size.turns))
    diffusion = found.model.diffusion
    latents = found.latents[:1]
    return {
        "runs": runs,
        "flops": {
            "forward": flops(lambda: one_pass(diffusion, latents)),
            "both": flops(lambda: one_pass(diffusion, latents, gradient=True)),
        },
        "batch": {network: plan.batch for network, plan in found.plans.items()},
        "preset_batch": {n: found.values[f"{n}_batch"] for n in found.plans},
        "preset_steps": {n: found.values[f"{n}_steps"] for n in found.plans},
        "parameters_millions": sum(p.numel() for p in diffusion.parameters()) / 1e6,
        "images": {"ddim": size.images, "ddpm": size.few},
        "indices": {"ddim": START // STRIDE + 1, "ddpm": size.start + 1},
        "share": shares(runs, found, diffusion),
    }


def train_sides(found: Networks) -> dict[str, Side]:
    """Return the loops of the three networks: ours, plain, encoding each batch, bfloat16."""
    model, plans, size = found.model, found.plans, found.size
    diffusion, compression = model.diffusion, model.compression
    n = len(found.pixels)
    first, second = found.pixels, found.pixels.roll(1, dims=0)
    label = (torch.arange(n) % 2).float()

    def encoding(pixels: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        return diffusion.loss(model.encode(pixels), rng, step)

    def of_pairs(rows: Tensor, rng: torch.Generator, step: int) -> dict[str, Tensor]:
        logit = found.classifier(first[rows], second[rows])
        return {"loss": functional.binary_cross_entropy_with_logits(logit.float(), label[rows])}

    ours = {
        "train": (diffusion, diffusion.loss, found.latents, plans["diffusion"]),
        "train encoding": (diffusion, encoding, found.pixels, plans["diffusion"]),
        "compression": (compression, compression.loss, found.pixels, plans["compression"]),
        "classifier": (found.classifier, of_pairs, torch.arange(n), plans["classifier"]),
    }
    unet, vq = copy.deepcopy(diffusion.network), copy.deepcopy(compression.network)
    plain = {
        "train": (unet, noise_loss(unet), found.latents, plans["diffusion"]),
        "compression": (vq, codebook_loss(vq), found.pixels, plans["compression"]),
    }
    sides = {}
    for name, (*parts, plan) in ours.items():
        if name in plain:
            sides[f"{name} plain"] = plain_steps(*plain[name], size)
        sides[name] = our_steps(*parts, plan, size)
        if name != "train encoding":
            half = replace(plan, precision="bfloat16")
            sides[f"{name} bfloat16"] = our_steps(*parts, half, size)
    return sides


class _EnoughError(Exception):
    """The steps that are measured have been made."""


def our_steps(
    network: nn.Module, loss: training.Loss, data: Tensor, plan: training.Plan, size: Size
) -> Side:
    """Return a side: seconds of a step of `training.train`, between two of its own reports."""

    def measured() -> float:
        clock: list[float] = []

        def progress(name: str, done: int, total: int) -> None:
            if done == size.warm + size.steps:
                clock.append(time.process_time())
                raise _EnoughError
            if done == size.warm:
                clock.append(time.process_time())

        with suppress(_EnoughError):
            training.train("benchmark", network, loss, data, plan, seed=0, progress=progress)
        return (clock[1] - clock[0]) / size.steps

    return measured


def plain_steps(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    data: Tensor,
    plan: training.Plan,
    size: Size,
) -> Side:
    """Return a side: the loop of diffusers' examples, whose batches are rows of a tensor here."""
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    def measured() -> float:
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, lr=plan.lr, betas=(0.9, 0.99))
        warm_up = round(training.WARM_UP * plan.steps)
        rate = get_cosine_schedule_with_warmup(optimizer, warm_up, plan.steps)
        average = plan.ema and EMAModel(parameters, decay=plan.ema, use_ema_warmup=True)
        order = torch.randperm(len(data))
        network.train()
        start, losses = 0.0, []
        for step in range(size.warm + size.steps):
            if step == size.warm:
                start = time.process_time()
            found = loss(data[order.roll(step)[: plan.batch]])
            found.backward()
            nn.utils.clip_grad_norm_(parameters, training.CLIP)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            if average:
                average.step(parameters)
            losses.append(found.detach().item())
        return (time.process_time() - start) / size.steps

    return measured


def noise_loss(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the loss of a U-net as diffusers' examples have it."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000)

    def loss(clean: Tensor) -> Tensor:
        noise = torch.randn_like(clean)
        time_index = torch.randint(0, 1000, (len(clean),))
        noised = scheduler.add_noise(clean, noise, time_index)
        return functional.mse_loss(network(noised, time_index).sample, noise)

    return loss


def codebook_loss(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the loss of a VQModel with the quantiser that it brings."""

    def loss(pixels: Tensor) -> Tensor:
        made, commitment = network(pixels, return_dict=False)
        return functional.l1_loss(made, pixels) + commitment.mean()

    return loss


def chain_sides(found: Networks) -> dict[str, Side]:
    """Return the two reverse chains, ours and plain, and the encoder: seconds an image."""
    size, diffusion = found.size, found.model.diffusion
    many, few = found.latents[: size.images], found.latents[: size.few]

    def ours(latents: Tensor, start: int, chain: Chain) -> Side:
        def reconstruct() -> None:
            diffusion.eval().reconstruct(latents, start, seeds=range(len(latents)), chain=chain)

        return timed(reconstruct, len(latents))

    def plain(latents: Tensor, start: int, sampler: str) -> Side:
        def reconstruct() -> None:
            noise = torch.randn_like(latents)
            plain_chain(diffusion.network.eval(), latents, noise, start, sampler)

        return timed(reconstruct, len(latents))

    return {
        "ddim": ours(many, START, Chain("ddim", STRIDE)),
        "ddim plain": plain(many, START, "ddim"),
        "ddpm": ours(few, size.start, Chain("ddpm")),
        "ddpm plain": plain(few, size.start, "ddpm"),
        "encode": timed(lambda: found.model.encode(found.pixels), len(found.pixels)),
    }


@torch.no_grad()
def plain_chain(
    network: nn.Module, clean: Tensor, noise: Tensor, start: int, sampler: str
) -> Tensor:
    """Noise up to `start`, then take it away with a scheduler of diffusers."""
    from diffusers import DDIMScheduler, DDPMScheduler

    if sampler == "ddim":
        scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
        scheduler.set_timesteps(1000 // STRIDE)
    else:
        scheduler = DDPMScheduler(clip_sample=False, variance_type="fixed_large")
        scheduler.set_timesteps(1000)
    noised = scheduler.add_noise(clean, noise, torch.full((len(clean),), start))
    for index in scheduler.timesteps:
        if index <= start:
            noised = scheduler.step(network(noised, index).sample, index, noised).prev_sample
    return noised


def one_pass(diffusion: Diffusion, latents: Tensor, gradient: bool = False) -> None:
    """Ask the U-net once; with the gradient of all its weights if wanted."""
    time_index = torch.full((len(latents),), START)
    with torch.set_grad_enabled(gradient):
        found = diffusion.predict(latents, time_index)
    if gradient:
        found.float().square().mean().backward()


def batches_of(found: Networks) -> list[int]:
    """Return the batches whose rate is measured, rising."""
    return sorted({*found.size.batches, found.plans["diffusion"].batch})


def pass_sides(found: Networks) -> dict[str, Side]:
    """Return single passes of the U-net in several batches: seconds an image."""
    diffusion, sides = found.model.diffusion, {}
    for n in batches_of(found):
        latents = found.latents[torch.arange(n) % len(found.latents)]
        again = max(1, min(found.size.steps, 256 // n))

        def repeat(gradient: bool, latents: Tensor = latents, again: int = again) -> None:
            for _ in range(again):
                one_pass(diffusion, latents, gradient)

        def half(latents: Tensor = latents, again: int = again) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                for _ in range(again):
                    one_pass(diffusion, latents, gradient=True)

        sides[f"forward {n}"] = timed(lambda f=repeat: f(False), again * n)
        sides[f"both {n}"] = timed(lambda f=repeat: f(True), again * n)
        sides[f"both bfloat16 {n}"] = timed(half, again * n)
    return sides


def product_sides(args: Namespace) -> dict[str, Side]:
    """Return one large matrix product: float32 by torch and by numpy, and bfloat16."""
    side = 64 if args.quick else PRODUCT
    first, second = torch.randn(2, side, side, generator=torch.Generator().manual_seed(0))
    a, b = first.numpy(), second.numpy()
    c, d = first.bfloat16(), second.bfloat16()
    units = 2 * side**3  # so the side returns seconds of one operation
    return {
        "product": timed(lambda: first @ second, units),
        "product numpy": timed(lambda: np.matmul(a, b), units),
        "product bfloat16": timed(lambda: c @ d, units),
    }


def shares(runs: bench.Runs, found: Networks, diffusion: Diffusion) -> list[dict[str, Any]]:
    """Return the rates of the passes, and their share of the faster product's in the same turn."""
    best = {
        "float32": [
            min(a["seconds"], b["seconds"])
            for a, b in zip(runs["product"], runs["product numpy"], strict=True)
        ],
        "bfloat16": [run["seconds"] for run in runs["product bfloat16"]],
    }
    count = {
        kind: flops(lambda g=gradient: one_pass(diffusion, found.latents[:1], g))
        for kind, gradient in (("forward", False), ("both", True))
    }
    rows = []
    for n in batches_of(found):
        for side, operations, precision in (
            ("forward", count["forward"], "float32"),
            ("both", count["both"], "float32"),
            ("both bfloat16", count["both"], "bfloat16"),
        ):
            spent = [run["seconds"] for run in runs[f"{side} {n}"]]
            of_best = [operations * b / s for s, b in zip(spent, best[precision], strict=True)]
            rate = operations / float(np.median(spent)) / 1e9
            share = float(np.median(of_best))
            rows.append({"pass": side, "batch": n, "gflops_a_second": rate, "share": share})
    return rows


# --- the detector, precision, latent space and pixels -------------------------------------


def rest(args: Namespace) -> dict[str, Any]:
    """Measure images per second of `score`, a step in either space, losses in bfloat16."""
    scoring, images = score_sides(args)
    spaces, costs = space_sides(args)
    return {
        "runs": in_turn(scoring | spaces, min(args.repeats, 3)),
        "images": images,
        "spaces": costs,
        "losses": losses(args),
    }


def score_sides(args: Namespace) -> tuple[dict[str, Side], dict[str, int]]:
    """Return the detector (preset small, hardly trained) with several chains."""
    n = 10 if args.quick else 50
    few = {f"{name}_steps": 1 for name in ("compression", "diffusion", "classifier")}
    settings = LatentDiffusionDetector.PRESETS["tiny"] if args.quick else {}
    settings = settings | few | {"held_out": 20, "draws": 1, "classifier_batch": 16}
    settings |= {"grid": "100+200+300+400+500", "stride": STRIDE}
    train = datasets.load("digits", "0").train
    detector = LatentDiffusionDetector(**settings).fit([train[i] for i in range(100)])
    sides, count = {}, {}
    for name, (changed, share) in SCORED.items():
        asked = copy.copy(detector)
        asked.values = detector.values | changed
        count[name] = max(2, round(share * n))
        images = [train[i] for i in range(count[name])]
        sides[name] = timed(lambda d=asked, i=images: d.score(i), len(images))
    return sides, count


def space_sides(args: Namespace) -> tuple[dict[str, Side], list[dict[str, Any]]]:
    """Return one denoising step, and what is done once an image, in latent space and in pixels."""
    sides, rows = {}, []
    for name in ("tiny",) if args.quick else ("small", "paper"):
        values = LatentDiffusionDetector(**LatentDiffusionDetector.PRESETS[name]).values
        found = Networks(name, QUICK)
        widths, layers = BASELINE.get(name, ("8+8+8", 1))
        own, deep = values["unet_widths"], values["unet_attention"]
        wanted = {
            "latent": (3, 8, own, values["unet_layers"]),
            "pixel, same widths": (1, 32, own, values["unet_layers"]),
            "pixel, baselines": (1, 32, widths, layers),
        }
        n = 1 if name == "paper" or args.quick else 32
        for space, (channels, side, text, blocks) in wanted.items():
            diffusion = Diffusion(
                channels, side, tuple(map(int, text.split("+"))), layers=blocks, attention=deep
            )
            batch = torch.randn(n, channels, side, side)
            label = f"{name} {space}"
            sides[label] = timed(lambda d=diffusion, b=batch: one_pass(d, b), n)
            count = flops(lambda d=diffusion, b=batch: one_pass(d, b[:1]))
            rows.append(
                {
                    "preset": name, "space": space, "widths": text, "images": n,
                    "side": label, "flops": count,
                }
            )  # fmt: skip
        pixels = found.pixels[:n]

        def once(model: Any = found.model, pixels: Tensor = pixels) -> None:
            model.decode(model.encode(pixels))

        label = f"{name} encode and decode"
        sides[label] = timed(once, n)
        rows.append(
            {
                "preset": name, "space": "encode and decode", "widths": values["widths"],
                "images": n, "side": label, "flops": flops(once) // n,
            }
        )  # fmt: skip
    return sides, rows


def losses(args: Namespace) -> list[dict[str, Any]]:
    """Train the networks of the preset tiny on digits in both precisions, from the same start."""
    rows = []
    for seed in SEEDS[:1] if args.quick else SEEDS:
        for network, parts in trainings(seed, args).items():
            build, loss_of, data, plan = parts
            plan = replace(plan, steps=2 if args.quick else 2 * plan.steps)
            for precision in ("float32", "bfloat16"):
                with seeded(seed):
                    own = build()
                done = training.train(
                    network, own, loss_of(own), data, replace(plan, precision=precision), seed=seed
                )
                tail = done.curve["loss"][-max(1, len(done.curve["loss"]) // 4) :]
                rows.append(
                    {
                        "network": network, "seed": seed, "precision": precision,
                        "steps": plan.steps, "loss": float(np.mean(tail)),
                    }
                )  # fmt: skip
    return rows


def trainings(seed: int, args: Namespace) -> dict[str, tuple]:
    """Return what the networks of one seed learn from: latents and pairs of a float32 training."""
    from adlib.diffusion import pairs

    values = LatentDiffusionDetector.PRESETS["tiny"] | {"seed": seed}
    if args.quick:
        values |= {f"{name}_steps": 1 for name in ("compression", "diffusion", "classifier")}
    train = datasets.load("digits", "0").train
    images = [train[i] for i in range(100 if args.quick else len(train))]
    detector = LatentDiffusionDetector(**values).fit(images)
    slices = detector._slices(as_pixels(images))
    latents = detector.latent_diffusion.encode(slices.train)
    shown = detector._pairs(slices.held_out, 0)

    def compression() -> nn.Module:
        model = detector._build()["latent_diffusion"].compression
        model.place_codes(slices.train, seed)
        return model

    own = (lambda m: m.loss), detector._plan
    return {
        "compression": (compression, own[0], slices.train, own[1]("compression")),
        "diffusion": (
            lambda: detector._build()["latent_diffusion"].diffusion,
            own[0], latents, own[1]("diffusion"),
        ),
        "classifier": (
            lambda: detector._build()["classifier"],
            lambda m: pairs.loss(m, shown), torch.arange(len(shown.first)), own[1]("classifier"),
        ),
    }  # fmt: skip


# --- what is reported ---------------------------------------------------------------------


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Add medians, and ratios of sides of the same turn, to what a process measured."""
    ratios = {name: bench.ratio(found["runs"], *sides, "seconds") for name, sides in RATIOS.items()}
    return found | {"medians": seconds_of(found["runs"]), "ratios": ratios}


def seconds_of(runs: bench.Runs) -> dict[str, float]:
    """Return the median of each side."""
    return {side: value["seconds"] for side, value in bench.medians(runs).items()}


def spaces(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return operations and time of a step in each space, beside a step in latent space."""
    rows, spent = found["spaces"], seconds_of(found["runs"])
    first = {row["preset"]: row for row in rows if row["space"] == "latent"}
    return [
        row
        | {
            "seconds": spent[row["side"]],
            "flops_ratio": row["flops"] / first[row["preset"]]["flops"],
            "time_ratio": bench.ratio(
                found["runs"], row["side"], first[row["preset"]]["side"], "seconds"
            ),
        }
        for row in rows
    ]


def aims_of(presets: dict[str, Any]) -> list[bench.Aim]:
    """Hold our loops against plain ones."""
    words = {
        "train": "training step of the U-net",
        "compression": "training step of the compression model",
        "ddim": "reconstruction by DDIM",
        "ddpm": "reconstruction by DDPM",
    }
    return [
        bench.Aim(
            f"latent diffusion, {name}: {what}, plain loop over adlib",
            found["ratios"][key]["median"], "at least", 1.0,
        )
        for key, what in words.items()
        for name, found in presets.items()
    ]  # fmt: skip


def report(args: Namespace) -> None:
    """Measure, print tables, write the file."""
    passed = ["--repeats", str(args.repeats), *(["--quick"] if args.quick else [])]
    parts = [*args.presets, "rest"]
    runs = bench.alternate(__file__, dict.fromkeys(parts, sys.executable), passed, 1)
    presets = {name: compared(runs[name][0]) for name in args.presets}
    (others,) = runs["rest"]
    spent = seconds_of(others["runs"])
    content = {
        "settings": {"repeats": args.repeats, "quick": args.quick, "start": START} | versions(),
        "presets": presets,
        "score": [
            {"setting": name, "images": others["images"][name], "images_a_second": 1 / spent[name]}
            for name in SCORED
        ],
        "spaces": spaces(others),
        "losses": others["losses"],
        "others": others["runs"],
        "wall_over_processor": max(
            found["wall_over_processor"] for found in (*presets.values(), others)
        ),
    }
    aims = aims_of(presets)
    print(bench_report.diffusion(content), bench_report.aims(bench.described(aims)), sep="\n\n")
    if args.json:
        bench.write(args.json, "diffusion", aims, content)


def versions() -> dict[str, str]:
    """Return the version of what is compared with."""
    from importlib.metadata import version

    return {"diffusers": version("diffusers")}


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
