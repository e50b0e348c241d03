"""Time and memory of pixel AUROC + AUPRO: ``adlib`` against scikit-learn and a global-sort PRO.

Each measurement runs in its own process on the same synthetic maps, the two sides alternating::

    python benchmarks/metrics.py                       # 83 maps of 1024 x 1024, as in the claim
    python benchmarks/metrics.py --repeats 1 --sizes 256 512 --json metrics.json
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from statistics import median
from typing import Any

import numpy as np
from scipy import ndimage

from adlib import bench
from adlib.study import bench_report

SIDES = ("adlib", "baseline")
CLAIMED = 1024  # side of the maps for which the aims were set


def synthetic(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks (count, size, size) bool and maps float32: smooth noise, raised where the mask is set.

    Three images of four have three discs each, some of which touch: about 3 % of all pixels.
    """
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), dtype=bool)
    maps = np.empty((count, size, size), dtype=np.float32)
    grid = np.arange(size, dtype=np.float32)
    for index, (mask, scores) in enumerate(zip(masks, maps, strict=True)):
        if index % 4:
            for _ in range(3):
                y, x = rng.uniform(0.1 * size, 0.9 * size, 2)
                radius = size * rng.uniform(0.04, 0.09)
                mask |= (grid[:, None] - y) ** 2 + (grid - x) ** 2 < radius**2
        noise = rng.standard_normal((size, size), dtype=np.float32)
        ndimage.gaussian_filter(noise, 4.0, output=scores)
        scores *= 1.0 / scores.std()
        scores[mask] += rng.uniform(0.5, 2.5)
    return masks, maps


def measured(side: str, masks: np.ndarray, maps: np.ndarray) -> tuple[float, float]:
    """(pixel AUROC, AUPRO) of one side."""
    if side == "adlib":
        from adlib.metrics import pixel_metrics

        return pixel_metrics(masks, maps)
    from reference import global_sort_pro
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(masks.ravel(), maps.ravel())), global_sort_pro(masks, maps)


def work(side: str, count: int, size: int) -> dict[str, float]:
    """One measurement: seconds, peak MB above the inputs, and the two values."""
    sys.path.insert(0, str(bench.ROOT / "tests"))  # the plain versions to compare with
    measured(side, *synthetic(4, 64))  # imports and first-use costs are paid here
    before = bench.peak_mb()
    masks, maps = synthetic(count, size)
    start = time.perf_counter()
    auroc, aupro = measured(side, masks, maps)
    seconds = time.perf_counter() - start
    above = bench.peak_mb() - before - (masks.nbytes + maps.nbytes) / 1e6
    share = float(masks.mean())
    return {
        "seconds": seconds, "mb_above": above, "auroc": auroc, "aupro": aupro, "share": share
    }  # fmt: skip


def compare(count: int, size: int, repeats: int) -> dict[str, Any]:
    """Both sides in turn, ``repeats`` times, each run in a fresh process."""
    passed = ["--count", str(count), "--sizes", str(size)]
    runs = bench.alternate(__file__, dict.fromkeys(SIDES, sys.executable), passed, repeats)
    ours, theirs = runs["adlib"], runs["baseline"]
    return {
        "count": count,
        "size": size,
        "pixels": count * size * size,
        "anomalous_share": ours[0]["share"],
        "seconds": {side: median(run["seconds"] for run in runs[side]) for side in SIDES},
        "gigabytes_above": {
            side: max(0.0, *(run["mb_above"] for run in runs[side])) / 1000 for side in SIDES
        },
        "time_ratio": bench.ratio(runs, "baseline", "adlib", "seconds"),
        "largest_difference": max(
            abs(a[key] - b[key])
            for a, b in zip(ours, theirs, strict=True)
            for key in ("auroc", "aupro")
        ),
        "runs": runs,
    }


def aims_of(results: list[dict[str, Any]]) -> list[bench.Aim]:
    """Hold the largest maps against what was asked for."""
    found = [row for row in results if row["size"] == CLAIMED]
    row = found[0] if found else None
    maps = f"maps of {CLAIMED} x {CLAIMED}"
    return [
        bench.Aim(
            f"AUROC and AUPRO of {maps}, scikit-learn and a global sort over adlib",
            row and row["time_ratio"]["median"], "at least", 10.0,
        ),
        bench.Aim(
            f"AUROC and AUPRO of {maps}, peak memory above the inputs, GB",
            row and row["gigabytes_above"]["adlib"], "at most", 0.5,
        ),
    ]  # fmt: skip


def options() -> Namespace:
    """Read the command line."""
    parser = bench.parser(__doc__)
    parser.add_argument("--count", type=int, default=83, help="number of maps (default 83)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides of the square maps"
    )
    return parser.parse_args()


def report(args: Namespace) -> None:
    """Measure every size, print ratios, write the file."""
    results = [compare(args.count, size, args.repeats) for size in args.sizes]
    aims = aims_of(results)
    content = {"results": results}
    print(bench_report.metrics(content), bench_report.aims(bench.described(aims)), sep="\n\n")
    if args.json:
        bench.write(args.json, "metrics", aims, content)


if __name__ == "__main__":
    arguments = options()
    bench.main(
        arguments,
        lambda side: work(side, arguments.count, arguments.sizes[0]),
        lambda: report(arguments),
    )
