"""Size, memory and time of PaDiM on WideResNet-50-2: 550 channels, 150 projected, all 1792.

The report's claim is that 150 dimensions instead of 550 save about ten times the memory and score
three times faster. Sides in turn, each run in its own process with one thread, on features that one
process computed before::

    coordinate-550      PaDiM as printed; N < m, so the smaller, dual form is kept
    covariances-550     scored with a 550 x 550 matrix a position, as other code keeps it
    gaussian-150        the report's proposal
    none                all channels: the ceiling

    python benchmarks/padim_size.py                          # random pictures
    python benchmarks/padim_size.py --root DIR --category bottle

Weights are random unless a file is given: size, memory and time do not depend on them, as long as
eps is not tiny against the variance of the features, where the dual form is kept in float64 and
takes twice the memory. Random weights give features of any scale, so eps follows: it is their mean
variance, about what 0.01 is for trained weights on real images. A side that needs more memory than
is free is left out with a sentence.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adlib import bench
from adlib.errors import InputError
from adlib.study import bench_report

FEATURES, RANDOM = "features", "random"
OVERHEAD = 2.0e9  # bytes: libraries, the backbone, a batch of features and of scores
CHECKED = 6  # positions that are compared with float64


def options() -> Namespace:
    """Read the command line."""
    parser = bench.parser(__doc__)
    parser.add_argument("--root", type=Path, help="folder of MVTec AD; default: random pictures")
    parser.add_argument("--category", default="bottle")
    parser.add_argument("--weights", default=RANDOM, help="file; default: random weights")
    parser.add_argument("--backbone", default="wide_resnet50_2")
    parser.add_argument("--images", type=int, default=209, help="N, training images")
    parser.add_argument("--test", type=int, default=32, help="test images")
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
    parser.add_argument("--dims", type=int, nargs=2, default=(550, 150), metavar=("LARGE", "SMALL"))
    parser.add_argument("--eps", type=float, help="default: 0.01, or see above with random weights")
    parser.add_argument("--store", type=Path, help="keep the features there (default: deleted)")
    return parser.parse_args()


def sides(args: Namespace) -> dict[str, tuple[str, int]]:
    """Side -> reduction and dimension."""
    large, small = args.dims
    return {
        f"coordinate-{large}": ("coordinate", large),
        f"covariances-{large}": ("coordinate", large),
        f"gaussian-{small}": ("gaussian", small),
        "none": ("none", large),
    }


class Noise(Sequence):
    """Pictures of uniform noise, made when they are asked for.

    Parameters
    ----------
    first, count : int
        Seeds are `first` ... `first` + `count` - 1.
    size : int
        Side, pixels.
    """

    def __init__(self, first: int, count: int, size: int) -> None:
        self.first, self.count, self.size = first, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng(self.first + index)
        return rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)


@dataclass
class Stored:
    """Feature levels in .npy files, read a batch at a time.

    A memory map would count the pages of the file that were read as memory of the process.
    """

    folder: Path
    split: str
    levels: int
    image_size: tuple[int, int]
    limit: int | None = None  # only the first images

    def path(self, level: int) -> Path:
        """Return the file of a level."""
        return self.folder / f"{self.split}-{level}.npy"

    def __len__(self) -> int:
        return len(np.load(self.path(0), mmap_mode="r")[: self.limit])

    def batches(self, size: int = 16) -> Iterator[list[Any]]:
        """Yield the levels of consecutive batches of at most `size` images."""
        import torch

        shapes = [np.load(self.path(level), mmap_mode="r") for level in range(self.levels)]
        places = [(array.shape[1:], array.offset) for array in shapes]
        count = len(self)
        del shapes
        for start in range(0, count, size):
            number = min(size, count - start)
            batch = []
            for level, (shape, offset) in enumerate(places):
                values = int(np.prod(shape))
                read = np.fromfile(
                    self.path(level),
                    np.float32,
                    number * values,
                    offset=offset + 4 * start * values,
                )
                batch.append(torch.from_numpy(read.reshape(number, *shape)))
            yield batch


def pictures(args: Namespace) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Return training and test images."""
    if args.root is None:
        return Noise(0, args.images, args.size), Noise(args.images, args.test, args.size)
    from adlib import datasets

    transform = datasets.Transform(args.size * 256 // 224, args.size)
    category = datasets.load("mvtec_ad", args.category, args.root, transform)
    return category.train[: args.images], category.test[: args.test]


def backbone_of(args: Namespace) -> Any:
    """Load the backbone and let it meet a first batch."""
    from adlib.backbones import Backbone

    backbone = Backbone(args.backbone, weights=args.weights, device="cpu")
    backbone(np.zeros((2, args.size, args.size, 3), np.uint8))
    return backbone


def work(side: str, args: Namespace) -> dict[str, Any]:
    """Measure one side."""
    import torch

    torch.set_num_threads(1)
    return compute_features(args) if side == FEATURES else measure(side, args)


def compute_features(args: Namespace) -> dict[str, Any]:
    """Write the feature levels of both splits to files; time the backbone."""
    from adlib.features import ImageFeatures

    backbone = backbone_of(args)
    seconds, images, variance = 0.0, 0, 0.0
    shapes: list[tuple[int, ...]] = []
    for split, chosen in zip(("train", "test"), pictures(args), strict=True):
        arrays: list[np.ndarray] = []
        done, start = 0, time.perf_counter()
        for batch in ImageFeatures(backbone, chosen).batches():
            seconds += time.perf_counter() - start
            if not arrays:
                shapes = [tuple(level.shape[1:]) for level in batch]
                whole = [(len(chosen), *shape) for shape in shapes]
                arrays = [
                    np.lib.format.open_memmap(args.store / f"{split}-{i}.npy", "w+", "f4", shape)
                    for i, shape in enumerate(whole)
                ]
            for array, level in zip(arrays, batch, strict=True):
                array[done : done + len(level)] = level.numpy()
            done += len(batch[0])
            start = time.perf_counter()
        images += done
        if split == "train":
            variance = mean_variance(arrays)
    return {
        "eps": args.eps or (variance if backbone.origin.label == RANDOM else 0.01),
        "shapes": shapes,
        "train": len(pictures(args)[0]),
        "test": len(pictures(args)[1]),
        "backbone_ms_per_image": 1000 * seconds / images,
        "peak_mb": bench.peak_mb(),
        "weights": backbone.origin.label,
    }


def mean_variance(levels: list[np.ndarray]) -> float:
    """Return the variance of a channel over images, averaged over channels and some positions."""
    sums = [level[:, ::4, ::4].var(axis=0, ddof=1).mean() * level.shape[-1] for level in levels]
    return float(sum(sums) / sum(level.shape[-1] for level in levels))


def measure(side: str, args: Namespace) -> dict[str, Any]:
    """Fit on stored features; score stored features, then the images themselves."""
    from adlib.padim import PaDiM

    reduction, dim = sides(args)[side]
    train, test = (
        Stored(args.store, split, len(list(args.store.glob(f"{split}-*.npy"))), (args.size,) * 2)
        for split in ("train", "test")
    )
    detector = PaDiM(reduction=reduction, dim=dim, eps=args.eps)
    wide = side.startswith("covariances")
    if wide:
        train.limit = 2  # only the shapes are needed
    imported = bench.peak_mb()
    fit, _ = timed(lambda: detector.fit_features(train))
    fit_peak = bench.peak_mb()
    if wide:
        widen(detector)
    score, scores = timed(lambda: detector.score_features(test))
    peak = bench.peak_mb()
    detector.backbone = backbone_of(args)
    images = pictures(args)[1]
    whole, _ = timed(lambda: detector.score(images))
    result = {
        "score_ms_per_image": 1000 * score / len(test),
        "score_ms_per_image_with_backbone": 1000 * whole / len(images),
        "model_mb": model_bytes(detector) / 1e6,
        "form": "primal" if detector.primal else "dual",
        "dimensions": int(detector.mean.shape[1]),
        "imported_mb": imported,
        "fit_peak_mb": fit_peak,
        "peak_mb": peak,
        "finite": bool(np.isfinite(scores.map).all()),
    }
    if wide:
        return result
    return {"fit_seconds": fit, "difference": difference(detector, train, test)} | result


def timed(action: Any) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def widen(detector: Any) -> None:
    """Replace the factor by one of shape (positions, m, m): the work of covariances."""
    import torch

    positions, m = detector.mean.shape
    detector.mean = detector.mean.float()
    detector.factor = torch.full((positions, m, m), 1e-3)
    detector.primal = True


def model_bytes(detector: Any) -> int:
    """Return what a fitted model has to keep."""
    reduction = detector.reduction_
    drawn = reduction.indices if reduction.matrix is None else reduction.matrix
    return detector.mean.nbytes + detector.factor.nbytes + drawn.nbytes


def difference(detector: Any, train: Stored, test: Stored) -> float:
    """Return the largest relative difference from plain float64 distances at some positions."""
    from adlib.levels import nearest

    h, w = detector.grid
    rng = np.random.default_rng(0)
    places = rng.choice(h * w, min(CHECKED, h * w), replace=False)
    pi = None

    def columns(source: Stored) -> np.ndarray:
        nonlocal pi
        parts = []
        for batch in source.batches():
            fine = [nearest(level, (h, w)).flatten(1, 2)[:, places].numpy() for level in batch]
            parts.append(np.concatenate(fine, axis=-1))
        x = np.concatenate(parts).astype(np.float64)
        if pi is None:
            pi = detector.reduction_.dense(x.shape[-1])
        return x @ pi.T

    x, t = columns(train), columns(test)
    ours = [detector.distances(batch).flatten(1)[:, places].numpy() for batch in test.batches()]
    ours = np.concatenate(ours)
    plain = np.empty_like(ours, dtype=np.float64)
    for i in range(len(places)):
        center = x[:, i].mean(axis=0)
        z = x[:, i] - center
        covariance = z.T @ z / (len(z) - 1) + detector.eps_ * np.eye(z.shape[1])
        delta = t[:, i] - center
        plain[:, i] = np.sqrt(np.einsum("id,id->i", delta, np.linalg.solve(covariance, delta.T).T))
    return float((np.abs(ours - plain) / plain).max())


def needed_bytes(side: str, args: Namespace, stored: dict[str, Any]) -> float:
    """Estimate the peak memory of a side: reduced features and factor, or the wide factor."""
    positions = int(np.prod(stored["shapes"][0][:2]))
    channels = sum(shape[-1] for shape in stored["shapes"])
    reduction, dim = sides(args)[side]
    m = channels if reduction == "none" else dim
    n = stored["train"]
    numbers = m * m if side.startswith("covariances") else n * m + min(n, m) * m
    return 4 * positions * numbers + OVERHEAD


def short_of_memory(args: Namespace, stored: dict[str, Any]) -> dict[str, str]:
    """Return the sides that do not fit into the free memory, each with a sentence."""
    import psutil

    free = psutil.virtual_memory().available
    return {
        side: f"{side} is left out: it needs about {needed / 1e9:.1f} GB of free memory, "
        f"found {free / 1e9:.1f} GB"
        for side in sides(args)
        if (needed := needed_bytes(side, args, stored)) > free
    }


def report(args: Namespace) -> None:
    """Measure all sides, print ratios, write the file."""
    if args.images < 2 or args.test < 1:
        raise InputError(
            f"at least 2 training images and 1 test image are needed, "
            f"found {args.images} and {args.test}; raise --images or --test"
        )
    with tempfile.TemporaryDirectory() as scratch:
        store = args.store or Path(scratch)
        store.mkdir(parents=True, exist_ok=True)
        passed = [*sys.argv[1:], "--store", str(store)]
        (stored,) = bench.alternate(__file__, {FEATURES: sys.executable}, passed, 1)[FEATURES]
        passed += ["--eps", str(stored["eps"])]
        skipped = short_of_memory(args, stored)
        for sentence in skipped.values():
            print(sentence)
        measured = {side: sys.executable for side in sides(args) if side not in skipped}
        everything = {side: python for side, python in measured.items() if side == "none"}
        compared = {side: python for side, python in measured.items() if side != "none"}
        runs = bench.alternate(__file__, compared, passed, args.repeats)
        runs |= bench.alternate(__file__, everything, passed, 1)  # takes minutes, is in no ratio
    content = {
        "settings": {
            "images": "random pictures" if args.root is None else f"mvtec_ad {args.category}",
            "train": stored["train"],
            "test": stored["test"],
            "size": args.size,
            "backbone": args.backbone,
            "weights": stored.pop("weights"),
            "levels": stored.pop("shapes"),
            "eps": stored.pop("eps"),
            "repeats": args.repeats,
        },
        "skipped": skipped,
        "backbone": {name: stored[name] for name in ("backbone_ms_per_image", "peak_mb")},
        "medians": bench.medians(runs),
        "ratios": ratios(runs, args),
        "runs": runs,
    }
    content |= claims(content["ratios"], args)
    aims = aims_of(content["medians"], args)
    print(bench_report.padim_size(content), bench_report.aims(bench.described(aims)), sep="\n\n")
    if args.json:
        bench.write(args.json, "padim_size", aims, content)


def ratios(runs: bench.Runs, args: Namespace) -> dict[str, Any]:
    """Compare LARGE with SMALL, in our form and with covariances."""
    large, small = f"coordinate-{args.dims[0]}", f"gaussian-{args.dims[1]}"
    wide = f"covariances-{args.dims[0]}"
    alone, whole = "score_ms_per_image", "score_ms_per_image_with_backbone"
    return {
        "speed_without_backbone": bench.ratio(runs, large, small, alone),
        "speed_with_backbone": bench.ratio(runs, large, small, whole),
        "speed_covariances_without_backbone": bench.ratio(runs, wide, small, alone),
        "speed_covariances_with_backbone": bench.ratio(runs, wide, small, whole),
        "fit": bench.ratio(runs, large, small, "fit_seconds"),
        "model": bench.ratio(runs, large, small, "model_mb"),
        "peak_memory": bench.ratio(runs, large, small, "peak_mb"),
    }


def claims(compared: dict[str, Any], args: Namespace) -> dict[str, float | None]:
    """Return the numbers that the claims ask for; ``..._covariances`` is the form of other code."""
    large, small = args.dims
    middle = {name: found and found["median"] for name, found in compared.items()}
    return {
        "memory_ratio_covariances": (large**2 + large) / (small**2 + small),
        "memory_ratio_model": middle["model"],
        "speed_ratio_without_backbone": middle["speed_without_backbone"],
        "speed_ratio_with_backbone": middle["speed_with_backbone"],
        "speed_ratio_covariances_without_backbone": middle["speed_covariances_without_backbone"],
        "speed_ratio_covariances_with_backbone": middle["speed_covariances_with_backbone"],
    }


def aims_of(medians: dict[str, dict], args: Namespace) -> list[bench.Aim]:
    """Hold model size and peak memory against what was asked for."""
    large = medians.get(f"coordinate-{args.dims[0]}", {})
    everything = medians.get("none", {})
    return [
        bench.Aim(
            f"Fitted model, {args.backbone}, {args.dims[0]} channels, GB",
            large and large["model_mb"] / 1000 or None, "at most", 1.5,
        ),
        bench.Aim(
            f"Fit and score with all channels of {args.backbone}, peak memory, GB",
            everything and everything["peak_mb"] / 1000 or None, "at most", 24.0,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
