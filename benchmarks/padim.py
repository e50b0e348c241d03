"""PaDiM end to end: the backbone alone, ``adlib``, and anomalib with the same weights and crop.

Four sides in turn, each run in its own process with one thread::

    backbone         decode every training and test image, compute the feature levels
    adlib            PaDiM.fit on the training images, PaDiM.score on the test images; then metrics
    anomalib_model   anomalib's PadimModel fed by our decoder: without its engine, loaders, metrics
    anomalib_engine  anomalib's Engine.fit and Engine.test on the folder, as its users run it

Imports, weights and a first small batch are not timed. Features are streamed and not kept. Both
libraries keep the same channels, so that their anomaly maps can be compared.

anomalib is optional; it may live in an environment of its own::

    python -m venv peer && peer/bin/pip install -c constraints.txt -e . anomalib==2.7.0
    python benchmarks/padim.py --root DIR --weights FILE --peer-python peer/bin/python

Without ``--root`` the embedded data are used, without ``--weights`` random weights: the times are
those of any weights, the quality is not.

What is granted to anomalib: batches of 32, its default; no loader processes, which one thread
could not use; no pictures of results, which it would draw by default. ``Engine.fit`` validates on
the test images to find its thresholds, as its MVTec AD module does by default.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np

from adlib import bench
from adlib.study import bench_report

SIDES = ("backbone", "adlib", "anomalib_model", "anomalib_engine")
SAME_EPS = "adlib_same_eps"  # untimed: our maps with anomalib's regulariser
EPS, SECOND_EPS = 0.01, 1e-5  # anomalib adds both
BATCH = 32  # anomalib's default
BLUR_RADIUS = 16  # pixels that the border rule of a smoothed map reaches
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def options() -> Namespace:
    """Read the command line."""
    parser = bench.parser(__doc__)
    parser.add_argument("--root", type=Path, help="folder of MVTec AD; default: the embedded data")
    parser.add_argument("--category", help="default: bottle, or gear of the embedded data")
    parser.add_argument("--weights", default="random", help="file; default: random weights")
    parser.add_argument("--backbone", choices=("resnet18", "wide_resnet50_2"), default="resnet18")
    parser.add_argument("--dim", type=int, default=100, help="m, channels that are kept")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="interpreter that has anomalib"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the anomaly maps there")
    return parser.parse_args()


def category_of(args: Namespace) -> Any:
    """Open the category."""
    from adlib import datasets

    dataset = "mvtec_ad" if args.root else "embedded"
    return datasets.load(dataset, args.category or ("bottle" if args.root else "gear"), args.root)


def work(side: str, args: Namespace) -> dict[str, Any]:
    """Measure one side: seconds of its stages and the peak memory of the process."""
    import torch

    from adlib._torchvision import ensure_torchvision

    torch.set_num_threads(1)
    ensure_torchvision()  # before anomalib imports torchvision
    return {
        "backbone": backbone_alone,
        "adlib": ours,
        SAME_EPS: ours,
        "anomalib_model": their_model,
        "anomalib_engine": their_engine,
    }[side](args, side)


def backbone_alone(args: Namespace, side: str) -> dict[str, float]:
    """Decode and compute features in the batches that PaDiM asks for."""
    from adlib.features import ImageFeatures
    from adlib.padim import SCORE_BATCH

    category, backbone = category_of(args), our_backbone(args)
    imported = bench.peak_mb()
    start = time.perf_counter()
    for batch in ImageFeatures(backbone, category.train).batches():
        del batch
    for batch in ImageFeatures(backbone, category.test).batches(SCORE_BATCH):
        del batch
    return {
        "seconds": time.perf_counter() - start,
        "peak_mb": bench.peak_mb(),
        "imported_mb": imported,
    }


def ours(args: Namespace, side: str) -> dict[str, float]:
    """Fit and score; then the metrics, from the mask files to AUPRO."""
    from adlib.evaluate import measure
    from adlib.padim import PaDiM

    category, backbone = category_of(args), our_backbone(args)
    detector = PaDiM(backbone=backbone, dim=args.dim, eps=EPS + SECOND_EPS * (side == SAME_EPS))
    imported = bench.peak_mb()
    start = time.perf_counter()
    detector.fit(category.train)
    fitted = time.perf_counter()
    scores = detector.score(category.test)
    scored = time.perf_counter()
    peak = bench.peak_mb()
    quality = measure(category.test.labels, scores, category.test.ground_truth())
    measured = time.perf_counter()
    keep_maps(args, side, scores.map)
    return stages(start, fitted, scored) | {
        "metrics": measured - scored,
        "seconds_with_metrics": measured - start,
        "peak_mb": peak,
        "imported_mb": imported,
        "image_auroc": quality["image_auroc"],
        "pixel_auroc": quality["pixel_auroc"],
    }


def their_model(args: Namespace, side: str) -> dict[str, float]:
    """Drive anomalib's PadimModel by hand."""
    import torch
    from anomalib.models.image.padim.torch_model import PadimModel

    category = category_of(args)
    model = PadimModel(backbone=args.backbone, pre_trained=False, n_features=args.dim)
    equip(model, args)
    imported = bench.peak_mb()
    start = time.perf_counter()
    model.train()
    for batch in pixels(category.train):
        model(batch)
    model.fit()
    fitted = time.perf_counter()
    model.eval()
    with torch.no_grad():
        maps = [model(batch).anomaly_map for batch in pixels(category.test)]
    scored = time.perf_counter()
    peak = bench.peak_mb()
    keep_maps(args, side, torch.cat(maps)[:, 0].numpy())
    return stages(start, fitted, scored) | {"peak_mb": peak, "imported_mb": imported}


def their_engine(args: Namespace, side: str) -> dict[str, Any]:
    """Let anomalib's Engine read the folder, fit, validate, test and print its metrics."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Padim
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

    folder, defects = layout(args)
    data = Folder(
        name=folder.name,
        root=folder,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{defect}" for defect in defects],
        mask_dir=[f"ground_truth/{defect}" for defect in defects],
        val_split_mode="same_as_test",
        train_batch_size=BATCH,
        eval_batch_size=BATCH,
        num_workers=0,
    )
    steps = [Resize(256, antialias=True), CenterCrop(224), Normalize(list(MEAN), list(STD))]
    model = Padim(
        backbone=args.backbone,
        pre_trained=False,
        n_features=args.dim,
        pre_processor=PreProcessor(Compose(steps)),
        visualizer=False,
    )
    equip(model.model, args)
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        engine = Engine(
            accelerator="cpu",
            default_root_dir=scratch,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        imported = bench.peak_mb()
        start = time.perf_counter()
        engine.fit(model=model, datamodule=data)
        fitted = time.perf_counter()
        (quality,) = engine.test(model=model, datamodule=data, verbose=False)
        tested = time.perf_counter()
    return {
        "fit": fitted - start,
        "test": tested - fitted,
        "seconds_with_metrics": tested - start,
        "peak_mb": bench.peak_mb(),
        "imported_mb": imported,
        "image_auroc": quality["image_AUROC"],
        "pixel_auroc": quality["pixel_AUROC"],
        "packages": peer_versions(),
    }


def stages(start: float, fitted: float, scored: float) -> dict[str, float]:
    """Name the stages of a run."""
    return {"fit": fitted - start, "score": scored - fitted, "seconds": scored - start}


def our_backbone(args: Namespace) -> Any:
    """Load the backbone and let it meet a first batch."""
    from adlib.backbones import Backbone

    backbone = Backbone(args.backbone, weights=args.weights, device="cpu")
    backbone(np.zeros((2, 224, 224, 3), np.uint8))
    return backbone


def equip(model: Any, args: Namespace) -> None:
    """Give a PadimModel our weights and channels, and let it meet a first batch."""
    import torch

    from adlib import projection

    network = model.feature_extractor.feature_extractor
    left = network.load_state_dict(state_of(args), strict=False).missing_keys
    left = [name for name in left if not name.endswith("num_batches_tracked")]
    if left:
        raise RuntimeError(f"anomalib's backbone did not get {left}")
    channels = model.n_features_original
    model.idx = torch.from_numpy(projection.draw("coordinate", args.dim, channels, 0).indices)
    with torch.no_grad():
        network.eval()(torch.zeros(2, 3, 224, 224))


def state_of(args: Namespace) -> dict[str, Any]:
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


def layout(args: Namespace) -> tuple[Path, list[str]]:
    """Return the folder of the category and its kinds of defects."""
    category = category_of(args)
    return category.test.folder, sorted(set(category.test.defects) - {"good"})


def keep_maps(args: Namespace, side: str, maps: np.ndarray) -> None:
    """Keep anomaly maps for a comparison."""
    if args.keep:
        np.save(args.keep / f"{side}.npy", maps)


def peer_versions() -> dict[str, str]:
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


def agreement(folder: Path, args: Namespace) -> dict[str, Any] | None:
    """Compare the anomaly maps of both libraries, element by element; None if one is missing."""
    found = {path.stem: np.load(path).astype(np.float64) for path in folder.glob("*.npy")}
    if "anomalib_model" not in found:
        return None
    from adlib.metrics import pixel_auroc

    theirs = found["anomalib_model"]
    inner = (slice(None), *[slice(BLUR_RADIUS + 1, -BLUR_RADIUS - 1)] * 2)
    masks = category_of(args).test.masks()

    def largest(maps: np.ndarray, where: Any = ...) -> float:
        return float((np.abs(maps - theirs) / theirs)[where].max())

    return {
        "whole_map": largest(found["adlib"]),
        "without_border": largest(found["adlib"], inner),
        "same_eps_without_border": largest(found[SAME_EPS], inner),
        "pixel_auroc_adlib": pixel_auroc(masks, found["adlib"]),
        "pixel_auroc_anomalib": pixel_auroc(masks, theirs),
    }


def report(args: Namespace) -> None:
    """Measure all sides, print ratios, write the file."""
    category = category_of(args)
    for images in (category.train, category.test):
        _ = images.fingerprint  # reads every file: no side pays for a cold disk
    pythons = dict.fromkeys(SIDES[:2], sys.executable) | dict.fromkeys(SIDES[2:], args.peer_python)
    skipped = {}
    if not has_anomalib(args.peer_python):
        skipped = {side: "anomalib is not installed" for side in SIDES[2:]}
        print("anomalib is not installed in that Python (--peer-python): its sides are left out.")
    pythons = {side: python for side, python in pythons.items() if side not in skipped}
    with tempfile.TemporaryDirectory() as folder:
        passed = [*sys.argv[1:], "--keep", folder]
        runs = bench.alternate(__file__, pythons, passed, args.repeats)
        if not skipped:
            bench.alternate(__file__, {SAME_EPS: sys.executable}, passed, 1)
        maps = agreement(Path(folder), args)
    packages = [run.pop("packages") for run in runs.get("anomalib_engine", [])]
    ratios = {
        "adlib_over_backbone": bench.ratio(runs, "adlib", "backbone", "seconds"),
        "adlib_with_metrics_over_backbone": bench.ratio(
            runs, "adlib", "backbone", lambda run: run.get("seconds_with_metrics", run["seconds"])
        ),
        "anomalib_model_over_adlib": bench.ratio(runs, "anomalib_model", "adlib", "seconds"),
        "anomalib_engine_over_adlib": bench.ratio(
            runs, "anomalib_engine", "adlib", "seconds_with_metrics"
        ),
    }
    aims = [
        aim("fit and score over the backbone alone", ratios["adlib_over_backbone"], "at most", 1.3),
        aim(
            "anomalib's engine over adlib, both with metrics",
            ratios["anomalib_engine_over_adlib"],
            "at least",
            2.0,
        ),
    ]
    content = {
        "settings": {
            "dataset": category.dataset,
            "category": category.name,
            "images": [len(category.train), len(category.test)],
            "backbone": args.backbone,
            "weights": weights_label(args),
            "dim": args.dim,
            "repeats": args.repeats,
            "peer": packages[0] if packages else None,
        },
        "skipped": skipped,
        "medians": bench.medians(runs),
        "ratios": ratios,
        "maps": maps,
        "runs": runs,
    }
    print(bench_report.padim(content), bench_report.aims(bench.described(aims)), sep="\n\n")
    if args.json:
        bench.write(args.json, "padim", aims, content)


def aim(what: str, found: dict[str, float] | None, sense: str, limit: float) -> bench.Aim:
    """Hold the median of a ratio against its limit."""
    return bench.Aim(f"PaDiM, {what}", found and found["median"], sense, limit)


def weights_label(args: Namespace) -> str:
    """Name the weights, not the file."""
    from adlib.backbones import Backbone

    return Backbone(args.backbone, weights=args.weights, device="cpu").origin.label


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
