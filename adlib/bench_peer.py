"""What the benchmarks beside anomalib share: the data, one set of weights, its interpreter.

Their workers run in an environment of anomalib's own, so nothing here imports more than the
measurement at hand needs.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np

from adlib import bench

BATCH = 32  # anomalib's default
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ABSENT = "anomalib is not installed"


def parser(doc: str) -> ArgumentParser:
    """Return a parser for a benchmark on images; `doc` is the docstring of the script."""
    options = bench.parser(doc)
    options.add_argument("--root", type=Path, help="folder of MVTec AD; default: the embedded data")
    options.add_argument("--category", help="default: bottle, or gear of the embedded data")
    options.add_argument("--weights", default="random", help="file; default: random weights")
    options.add_argument("--backbone", choices=("resnet18", "wide_resnet50_2"), default="resnet18")
    options.add_argument(
        "--peer-python", default=sys.executable, help="interpreter that has anomalib"
    )
    return options


def category_of(args: Namespace) -> Any:
    """Open the category."""
    from adlib import datasets

    dataset = "mvtec_ad" if args.root else "embedded"
    return datasets.load(dataset, args.category or ("bottle" if args.root else "gear"), args.root)


def backbone_of(args: Namespace) -> Any:
    """Load our backbone and let it meet a first batch."""
    from adlib.backbones import Backbone

    backbone = Backbone(args.backbone, weights=args.weights, device="cpu")
    backbone(np.zeros((2, 224, 224, 3), np.uint8))
    return backbone


def equip(network: Any, args: Namespace) -> None:
    """Give a network of anomalib our weights, and let it meet a first batch."""
    import torch

    left = network.load_state_dict(_state(args), strict=False).missing_keys
    left = [name for name in left if not name.endswith("num_batches_tracked")]
    if left:
        raise RuntimeError(f"anomalib's backbone did not get {left}")
    with torch.no_grad():
        network.eval()(torch.zeros(2, 3, 224, 224))


def _state(args: Namespace) -> dict[str, Any]:
    """Return the state dict that our backbone has: a file's, or the random one of ``Backbone``."""
    import torch

    from adlib.backbones import ARCHITECTURES, RANDOM_WEIGHTS, read_state_dict

    if args.weights != RANDOM_WEIGHTS:
        return read_state_dict(Path(args.weights))
    torch.manual_seed(0)
    return ARCHITECTURES[args.backbone].build().state_dict()


def pixels(images: Any) -> Iterator[Any]:
    """Yield normalised batches (B, 3, H, W) from our decoder."""
    import torch

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    for start in range(0, len(images), BATCH):
        batch = np.stack([images[i] for i in range(start, min(start + BATCH, len(images)))])
        planes = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
        yield (planes.float().div_(255) - mean) / std


def versions() -> dict[str, str]:
    """Return the versions of anomalib and of what it stands on."""
    from importlib.metadata import version

    return {
        name: version(name) for name in ("anomalib", "lightning", "timm", "torch", "torchmetrics")
    }


def has_anomalib(python: str) -> bool:
    """Whether an interpreter finds anomalib."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('anomalib') is None)"
    try:
        return run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def weights_label(args: Namespace) -> str:
    """Name the weights, not the file."""
    from adlib.backbones import Backbone

    return Backbone(args.backbone, weights=args.weights, device="cpu").origin.label


def settings(args: Namespace) -> dict[str, Any]:
    """Return what was measured, for the file of a benchmark."""
    category = category_of(args)
    return {
        "dataset": category.dataset,
        "category": category.name,
        "images": [len(category.train), len(category.test)],
        "backbone": args.backbone,
        "weights": weights_label(args),
        "repeats": args.repeats,
    }
