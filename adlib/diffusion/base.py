"""What the four detectors of this chapter share: images in, trained networks, files.

A detector states its parameters in its constructor, and how to train and to score in `_train` and
`_scores`; the rest is here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from adlib import model_file, parameters
from adlib.backbones import pick_device
from adlib.diffusion import training
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError
from adlib.scores import Scores


class Slices(NamedTuple):
    """Normal images, split at random: most to train on, some held out."""

    train: Tensor
    held_out: Tensor


class Detector:
    """Base of the detectors that are trained from nothing on images of 32 x 32.

    Attributes
    ----------
    values : dict
        Every parameter.
    device : str
        ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``; not a parameter: it does not
        decide what is computed.
    checkpoints : Path or None
        Folder of the checkpoints of each network. Trainings with the same images and settings are
        found there again, finished or not. None: nothing is kept.
    progress : callable or None
        Told (name of the network, done, total).
    networks : nn.ModuleDict
        After `fit`.
    """

    INPUT = "images"
    METHOD: str
    progress: training.Progress | None = None
    device: str = "auto"
    checkpoints: Path | None = None

    def __init__(self, given: dict[str, Any]) -> None:
        self.values = parameters.check(type(self), given)
        self.report: dict[str, Any] = {}

    @staticmethod
    def depth(values: dict[str, Any]) -> int:
        """Return 0: no level of a pretrained network is needed."""
        return 0

    def drawn(self) -> dict[str, Any]:
        """Return what the training left behind: for the record of a run."""
        return dict(self.report)

    def fit(self, images: Sequence[np.ndarray]) -> Detector:
        """Train on normal images; labels are never asked for.

        Parameters
        ----------
        images : sequence of ndarray of shape (32, 32, 3), or array (N, 32, 32[, C]), uint8

        Raises
        ------
        InputError
            Images of the wrong size, type or number, or a training that fails.
        """
        pixels = as_pixels(images)
        self.channels = pixels.shape[1]
        self.data_key = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
        self.report = {"channels": self.channels}
        with seeded(self.values["seed"]):
            self.networks = self._build().to(self.torch_device)
        try:
            self._train(self._slices(pixels))
        except BaseException:
            del self.networks  # a training that failed or was stopped leaves nothing to score with
            raise
        self.networks.eval()
        count = sum(p.numel() for p in self.networks.parameters())
        self.report["parameters_millions"] = round(count / 1e6, 3)
        return self

    def score(self, images: Sequence[np.ndarray]) -> Scores:
        """Score images; the others of `Scores` are by name, see the method's page.

        Raises
        ------
        InputError
            The model is not fitted, or images of the wrong size or type.
        """
        self._check_fitted()
        found = self._scores(as_pixels(images, self.channels))
        return Scores(found[self._main()], None, found)

    @property
    def torch_device(self) -> torch.device:
        """Where the networks are."""
        return pick_device(self.device)

    def save(self, path: Path | str) -> None:
        """Write the fitted model to one safetensors file.

        Raises
        ------
        InputError
            The model is not fitted, or the file cannot be written.
        """
        self._check_fitted()
        description = {
            "method": self.METHOD,
            "parameters": self.values,
            "backbone": None,
            "report": self.report,
            "statistics": self._statistics(),
        }
        model_file.write(path, self.networks.state_dict(), description)

    @classmethod
    def load(cls, path: Path | str) -> Detector:
        """Read a fitted model.

        Raises
        ------
        InputError
            The file is missing, damaged or foreign.
        """
        tensors, description = model_file.read_model(
            path, cls.METHOD, set(), {"report", "statistics"}
        )
        model = cls(**description["parameters"])
        model.report = description["report"]
        model.channels = model.report["channels"]
        with seeded(0):  # weights that are replaced at once, not drawn from the global generator
            model.networks = model._build()
        try:
            model.networks.load_state_dict(tensors)
        except RuntimeError as error:
            raise InputError(
                f"{path} holds no complete {cls.METHOD} model; save the model again"
            ) from error
        model.networks.to(model.torch_device).eval()
        model._take_statistics(description["statistics"])
        return model

    @staticmethod
    def effective(values: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters; here as they are, since each has an effect."""
        return dict(values)

    def _build(self) -> nn.ModuleDict:
        raise NotImplementedError

    def _train(self, slices: Slices) -> None:
        raise NotImplementedError

    def _scores(self, pixels: Tensor) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def _main(self) -> str:
        raise NotImplementedError

    def _statistics(self) -> dict[str, Any]:
        return {}

    def _take_statistics(self, found: dict[str, Any]) -> None:
        pass

    def _slices(self, pixels: Tensor) -> Slices:
        """Hold some normal images out, drawn by the seed."""
        held = self.values.get("held_out", 0)
        if held >= len(pixels):
            raise InputError(
                f"held_out must be less than the number of normal images, found {held} of "
                f"{len(pixels)}; lower it (--set held_out=NUMBER) or add images"
            )
        order = np.random.default_rng([self.values["seed"], 1]).permutation(len(pixels))
        rows = torch.from_numpy(np.sort(order[held:])), torch.from_numpy(np.sort(order[:held]))
        return Slices(pixels[rows[0]], pixels[rows[1]])

    def _fit_network(
        self,
        name: str,
        network: nn.Module,
        loss: training.Loss,
        data: Tensor,
        plan: training.Plan,
        *,
        depends: dict[str, Any],
        opponent: tuple[nn.Module, training.Loss] | None = None,
        start: Callable[[], None] | None = None,
    ) -> None:
        """Train one network, or take it from the checkpoints; `depends` is all that decides it."""
        config = {"images": self.data_key, "seed": self.values["seed"], "method": self.METHOD}
        config |= depends
        file = self._checkpoint(name, config | asdict(plan))
        if start is not None and (file is None or not file.is_file()):
            start()
        done = training.train(
            name,
            network,
            loss,
            data,
            plan,
            seed=self.values["seed"],
            opponent=opponent,
            checkpoint=file,
            config=config,
            progress=self.progress,
        )
        self.report[f"curve_{name.replace(' ', '_')}"] = done.curve
        self.report[f"seconds_{name.replace(' ', '_')}"] = done.seconds

    def _checkpoint(self, name: str, config: dict[str, Any]) -> Path | None:
        if self.checkpoints is None:
            return None
        text = json.dumps(config, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"checkpoints cannot be written to {self.checkpoints} ({error.strerror}); make "
                "room or set ADLIB_CACHE to another folder"
            ) from error
        return self.checkpoints / f"{name.replace(' ', '_')}-{key}.safetensors"

    @torch.no_grad()
    def _in_batches(self, network: nn.Module, pixels: Tensor, batch: int = 500) -> Tensor:
        device = self.torch_device
        return torch.cat([network(part.to(device)).cpu() for part in pixels.split(batch)])

    def _check_fitted(self) -> None:
        if not hasattr(self, "networks"):
            raise InputError(
                f"{type(self).__name__} is not fitted: call fit or load a fitted model first"
            )


def numbers(text: str, name: str) -> tuple[int, ...]:
    """Read whole numbers as a parameter holds them: ``8+16+32``.

    Raises
    ------
    InputError
        The text is something else.
    """
    parts = text.split("+")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            f"{name} must be whole numbers joined by +, as 8+16+32, found {text!r}; correct it"
        )
    return tuple(int(part) for part in parts)


def check_count(text: str, name: str, count: int) -> None:
    """Refuse widths of another number of resolutions or stages than a network has.

    Raises
    ------
    InputError
        There are more or fewer, or the text holds something else.
    """
    found = len(numbers(text, name))
    if found != count:
        raise InputError(
            f"{name} must hold {count} numbers of channels, found {found} in {text!r}; correct it"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give networks that are built inside the block weights that the seed decides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def spread(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the errors of normal images; the latter not zero."""
    return float(values.mean()), max(float(values.std(ddof=1)), 1e-12)
