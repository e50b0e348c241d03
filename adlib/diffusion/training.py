"""One training loop for every network of this chapter.

Which images are in batch `k` and which noise they get follows from the seed and `k` alone, so that
a training that was stopped at any moment goes on from its last checkpoint to the same result as one
that was not. A checkpoint is one safetensors file, written in one step.
"""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from adlib import model_file
from adlib.errors import InputError

CHECK_EVERY = 20  # steps between two looks at the loss: each look waits for the device
CURVE_POINTS = 50
SAVE_SECONDS = 30.0
WARM_UP = 0.05  # share of the steps over which the learning rate rises
CLIP = 1.0  # largest norm of a gradient
GRADIENT = "gradient"

Loss = Callable[[Tensor, torch.Generator, int], dict[str, Tensor]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """How long and how fast a network learns.

    Attributes
    ----------
    steps, batch : int
        Number of updates, and images in each.
    lr : float
        Highest learning rate of Adam: it rises over the first 5 % of the steps and falls to zero
        along a cosine.
    ema : float or None
        Decay of the average of the weights over the steps that is used afterwards; None: the last
        weights.
    precision : str
        ``float32``, or ``bfloat16`` for autocast.
    """

    steps: int
    batch: int
    lr: float
    ema: float | None = None
    precision: str = "float32"

    def rate(self, step: int) -> float:
        """Return the learning rate of an update, the first being 0."""
        warm = max(1, round(WARM_UP * self.steps))
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))


class Trained(NamedTuple):
    """What a training leaves behind besides the weights.

    Attributes
    ----------
    curve : dict of str to list of float
        ``step`` and each part of the loss, averaged between two points.
    seconds : float
        Of training, over all the sittings that it took.
    """

    curve: dict[str, list[float]]
    seconds: float


def generator(seed: int, *words: str | int) -> torch.Generator:
    """Return a generator for one purpose: the same words give the same draws on any device."""
    numbers = [zlib.crc32(w.encode()) if isinstance(w, str) else w for w in words]
    state = np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


class Batches:
    """The rows of every batch: a fresh shuffle an epoch, what does not fill a batch is left out."""

    def __init__(self, n: int, batch: int, seed: int, name: str) -> None:
        if n < batch:
            raise InputError(
                f"training the {name} needs at least one batch of {batch} images, found {n}; "
                "add images or make the batch smaller"
            )
        self.n, self.batch, self.words = n, batch, [seed, zlib.crc32(name.encode())]
        self.epoch, self.order = -1, np.empty(0, dtype=np.int64)

    def rows(self, step: int) -> Tensor:
        """Return the indices of the batch of an update."""
        each = self.n // self.batch
        epoch, place = divmod(step, each)
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([*self.words, epoch]).permutation(self.n)
        return torch.from_numpy(self.order[place * self.batch : (place + 1) * self.batch])


def train(
    name: str,
    network: nn.Module,
    loss: Loss,
    data: Tensor,
    plan: Plan,
    *,
    seed: int,
    opponent: tuple[nn.Module, Loss] | None = None,
    checkpoint: Path | None = None,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Minimise a loss; afterwards `network` holds the weights to use, in evaluation mode.

    Parameters
    ----------
    name : str
        For messages, and what tells the random numbers of one network from those of another.
    network : nn.Module
        On the device where it is to be trained.
    loss : callable
        Given a batch, a generator and the number of the update, returns ``{"loss": scalar, ...}``;
        the other parts are for the curve.
    data : Tensor
        One row an example; stays where it is, batches go to the network's device.
    plan : Plan
    seed : int
    opponent : tuple of nn.Module and Loss, optional
        A second network that is updated after the first in each step (an adversary).
    checkpoint : Path, optional
        Read where it exists, written every 30 seconds and at the end.
    config : dict, optional
        What else decides the result; a checkpoint with another one is refused.
    progress : callable, optional
        Told (name, done, total).

    Raises
    ------
    InputError
        Fewer examples than a batch, a checkpoint of another configuration, or a loss that is no
        number: the last checkpoint is kept then.
    """
    batches = Batches(len(data), plan.batch, seed, name)
    state = _State(name, network, opponent, plan, checkpoint, asdict(plan) | (config or {}))
    state.resume()
    device = next(network.parameters()).device
    network.train()
    while state.step < plan.steps:
        step = state.step
        rng = generator(seed, name, step)
        batch = data[batches.rows(step)].to(device, non_blocking=True)
        for optimizer in state.optimizers:
            optimizer.param_groups[0]["lr"] = plan.rate(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            parts = loss(batch, rng, step)
        parts |= {GRADIENT: _update(state.optimizers[0], network, parts["loss"])}
        if opponent is not None:
            parts |= _oppose(opponent, state.optimizers[1], batch, rng, step)
        state.advance(parts)
        if progress is not None:
            progress(name, state.step, plan.steps)
    state.finish()
    network.eval()
    return Trained(state.curve, round(state.seconds, 1))


def _oppose(
    opponent: tuple[nn.Module, Loss],
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    rng: torch.Generator,
    step: int,
) -> dict[str, Tensor]:
    network, loss = opponent
    parts = loss(batch, rng, step)
    if not parts:
        return {}
    norm = _update(optimizer, network, parts["loss"])
    found = {f"opponent_{name}": value for name, value in parts.items()}
    return found | {f"opponent_{GRADIENT}": norm}


def _update(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return norm


class _State:
    """Weights, their average, the optimiser, the curve: all that a checkpoint holds."""

    def __init__(self, name, network, opponent, plan, checkpoint, config) -> None:
        self.name, self.plan, self.checkpoint, self.config = name, plan, checkpoint, config
        self.networks = {"network": network} | (
            {} if opponent is None else {"opponent": opponent[0]}
        )
        self.optimizers = [
            torch.optim.Adam(part.parameters(), lr=plan.lr, betas=(0.9, 0.99), fused=True)
            for part in self.networks.values()
        ]
        self.average = None if plan.ema is None else copy.deepcopy(network).eval()
        self.step, self.seconds = 0, 0.0
        self.curve: dict[str, list[float]] = {"step": []}
        self.waiting: list[dict[str, Tensor]] = []  # losses since the last look
        self.sums: dict[str, list[float]] = {}  # looked at, since the last point of the curve
        self.started = self.saved = time.perf_counter()

    def advance(self, parts: dict[str, Tensor]) -> None:
        self.waiting.append({name: value.detach() for name, value in parts.items()})
        self.step += 1
        if self.average is not None:
            self._follow()
        last = self.step == self.plan.steps
        if len(self.waiting) >= CHECK_EVERY or last:
            self._look()
        if self.step % max(1, self.plan.steps // CURVE_POINTS) == 0 or last:
            self._look()
            self._point()
        due = last or time.perf_counter() - self.saved > SAVE_SECONDS
        if self.checkpoint is not None and due and not self.waiting:
            self.save()

    def _follow(self) -> None:
        # a short memory at first, else the average would hold on to the random start
        decay = min(self.plan.ema, (1 + self.step) / (10 + self.step))
        network = self.networks["network"]
        with torch.no_grad():
            own, followed = list(self.average.parameters()), list(network.parameters())
            torch._foreach_lerp_(own, followed, 1 - decay)
            for own, followed in zip(self.average.buffers(), network.buffers(), strict=True):
                own.copy_(followed)

    def _look(self) -> None:
        for place, parts in enumerate(self.waiting):
            values = {name: float(value) for name, value in parts.items()}
            if not all(math.isfinite(value) for value in values.values()):
                step = self.step - len(self.waiting) + place + 1
                kept = "" if self.checkpoint is None else f"; {self._kept()}"
                raise InputError(
                    f"the loss of the {self.name} is no longer a number at step {step} of "
                    f"{self.plan.steps}{kept}; lower its learning rate ({self.plan.lr:g})"
                )
            for name, value in values.items():
                if name.endswith(GRADIENT):
                    continue  # only looked at: it may be no number while the loss still is one
                self.sums.setdefault(name, []).append(value)
        self.waiting = []

    def _kept(self) -> str:
        if self.checkpoint.is_file():
            return f"the last good checkpoint is {self.checkpoint.name}"
        return "no checkpoint had been written yet"

    def _point(self) -> None:
        if not self.sums:
            return
        self.curve["step"].append(self.step)
        for name, values in self.sums.items():
            short = float(f"{sum(values) / len(values):.5g}")
            self.curve.setdefault(name, []).append(short)
        self.sums = {}

    def finish(self) -> None:
        self.seconds += time.perf_counter() - self.started
        self.started = time.perf_counter()
        if self.average is not None:
            self.networks["network"].load_state_dict(self.average.state_dict())

    def save(self) -> None:
        now = time.perf_counter()
        tensors = {
            f"{part}.{name}": value
            for part, network in self.networks.items()
            for name, value in network.state_dict().items()
        }
        if self.average is not None:
            tensors |= {f"average.{name}": v for name, v in self.average.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, held in optimizer.state_dict()["state"].items():
                tensors |= {f"adam{number}.{index}.{name}": v for name, v in held.items()}
        description = {
            "checkpoint": self.name,
            "config": self.config,
            "step": self.step,
            "seconds": self.seconds + now - self.started,
            "curve": self.curve,
            "sums": self.sums,
        }
        model_file.write(self.checkpoint, tensors, description)
        self.saved = time.perf_counter()

    def resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.is_file():
            return
        tensors, found = model_file.read(
            self.checkpoint, "delete it, and the training starts from the beginning"
        )
        if found.get("checkpoint") != self.name:
            raise InputError(
                f"{self.checkpoint} is no checkpoint of the {self.name}; name another file"
            )
        self._check_config(found["config"])
        for part, network in self.networks.items():
            network.load_state_dict(_below(tensors, f"{part}."))
        if self.average is not None:
            self.average.load_state_dict(_below(tensors, "average."))
        for number, optimizer in enumerate(self.optimizers):
            held: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(tensors, f"adam{number}.").items():
                index, _, part = name.partition(".")
                held.setdefault(int(index), {})[part] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": held})
        self.step, self.seconds = found["step"], found["seconds"]
        self.curve, self.sums = found["curve"], found["sums"]

    def _check_config(self, found: dict[str, Any]) -> None:
        for name in sorted(self.config.keys() | found.keys()):
            if self.config.get(name) != found.get(name):
                raise InputError(
                    f"{self.checkpoint} is a checkpoint of another configuration: {name} is "
                    f"{found.get(name)} there and {self.config.get(name)} here; "
                    "name another file or use the same settings"
                )


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
