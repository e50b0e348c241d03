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
from pathlib import Path
from typing import Any

import numpy as np

from adlib import bench, bench_peer
from adlib.study import bench_report

SIDES = ("backbone", "adlib", "anomalib_model", "anomalib_engine")
SAME_EPS = "adlib_same_eps"  # untimed: our maps with anomalib's regulariser
EPS, SECOND_EPS = 0.01, 1e-5  # anomalib adds both
BLUR_RADIUS = 16  # pixels that the border rule of a smoothed map reaches


def options() -> Namespace:
    """Read the command line."""
    parser = bench_peer.parser(__doc__)
    parser.add_argument("--dim", type=int, default=100, help="m, channels that are kept")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the anomaly maps there")
    return parser.parse_args()


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

    category, backbone = bench_peer.category_of(args), bench_peer.backbone_of(args)
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

    category, backbone = bench_peer.category_of(args), bench_peer.backbone_of(args)
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

    category = bench_peer.category_of(args)
    model = PadimModel(backbone=args.backbone, pre_trained=False, n_features=args.dim)
    equip(model, args)
    imported = bench.peak_mb()
    start = time.perf_counter()
    model.train()
    for batch in bench_peer.pixels(category.train):
        model(batch)
    model.fit()
    fitted = time.perf_counter()
    model.eval()
    with torch.no_grad():
        maps = [model(batch).anomaly_map for batch in bench_peer.pixels(category.test)]
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
        train_batch_size=bench_peer.BATCH,
        eval_batch_size=bench_peer.BATCH,
        num_workers=0,
    )
    steps = [
        Resize(256, antialias=True),
        CenterCrop(224),
        Normalize(list(bench_peer.MEAN), list(bench_peer.STD)),
    ]
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
        "packages": bench_peer.versions(),
    }


def stages(start: float, fitted: float, scored: float) -> dict[str, float]:
    """Name the stages of a run."""
    return {"fit": fitted - start, "score": scored - fitted, "seconds": scored - start}


def equip(model: Any, args: Namespace) -> None:
    """Give a PadimModel our weights and channels, and let it meet a first batch."""
    import torch

    from adlib import projection

    bench_peer.equip(model.feature_extractor.feature_extractor, args)
    channels = model.n_features_original
    model.idx = torch.from_numpy(projection.draw("coordinate", args.dim, channels, 0).indices)


def layout(args: Namespace) -> tuple[Path, list[str]]:
    """Return the folder of the category and its kinds of defects."""
    category = bench_peer.category_of(args)
    return category.test.folder, sorted(set(category.test.defects) - {"good"})


def keep_maps(args: Namespace, side: str, maps: np.ndarray) -> None:
    """Keep anomaly maps for a comparison."""
    if args.keep:
        np.save(args.keep / f"{side}.npy", maps)


def agreement(folder: Path, args: Namespace) -> dict[str, Any] | None:
    """Compare the anomaly maps of both libraries, element by element; None if one is missing."""
    found = {path.stem: np.load(path).astype(np.float64) for path in folder.glob("*.npy")}
    if "anomalib_model" not in found:
        return None
    from adlib.metrics import pixel_auroc

    theirs = found["anomalib_model"]
    inner = (slice(None), *[slice(BLUR_RADIUS + 1, -BLUR_RADIUS - 1)] * 2)
    masks = bench_peer.category_of(args).test.masks()

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
    category = bench_peer.category_of(args)
    for images in (category.train, category.test):
        _ = images.fingerprint  # reads every file: no side pays for a cold disk
    pythons = dict.fromkeys(SIDES[:2], sys.executable) | dict.fromkeys(SIDES[2:], args.peer_python)
    skipped = {}
    if not bench_peer.has_anomalib(args.peer_python):
        skipped = {side: bench_peer.ABSENT for side in SIDES[2:]}
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
            **bench_peer.settings(args),
            "dim": args.dim,
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


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
