"""Time and memory of pixel AUROC + AUPRO: ``adlib`` against scikit-learn and a global-sort PRO.

Each measurement runs in its own process on the same synthetic maps, the two sides alternating::

    python benchmarks/metrics.py                       # 83 maps of 1024 x 1024, as in the claim
    python benchmarks/metrics.py --repeats 1 --sizes 256 512 --json metrics.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from scipy import ndimage

SIDES = ("adlib", "baseline")
ROOT = Path(__file__).resolve().parent.parent


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


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def work(side: str, count: int, size: int) -> dict[str, float]:
    """One measurement: seconds, peak bytes above the inputs, and the two values."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    measured(side, *synthetic(4, 64))  # imports and first-use costs are paid here
    before = peak_bytes()
    masks, maps = synthetic(count, size)
    start = time.perf_counter()
    auroc, aupro = measured(side, masks, maps)
    seconds = time.perf_counter() - start
    above = peak_bytes() - before - masks.nbytes - maps.nbytes
    share = float(masks.mean())
    return {
        "seconds": seconds, "bytes_above": above, "auroc": auroc, "aupro": aupro, "share": share
    }  # fmt: skip


def compare(count: int, size: int, repeats: int) -> dict:
    """Both sides in turn, ``repeats`` times, each run in a fresh process."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side in SIDES:
            command = [sys.executable, __file__, "--worker", side, "--count", str(count)]
            done = subprocess.run(
                [*command, "--sizes", str(size)], check=True, capture_output=True, text=True
            )
            runs[side].append(json.loads(done.stdout))
    ours, theirs = runs["adlib"], runs["baseline"]
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True)]
    return {
        "count": count,
        "size": size,
        "pixels": count * size * size,
        "anomalous_share": ours[0]["share"],
        "seconds": {side: median(run["seconds"] for run in runs[side]) for side in SIDES},
        "gigabytes_above": {
            side: max(run["bytes_above"] for run in runs[side]) / 1e9 for side in SIDES
        },
        "time_ratio": {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "largest_difference": max(
            abs(a[key] - b[key])
            for a, b in zip(ours, theirs, strict=True)
            for key in ("auroc", "aupro")
        ),
        "runs": runs,
    }


def table(results: list[dict]) -> str:
    """Fixed-width table, one row per size."""
    lines = [
        "megapixels  adlib s  baseline s  ratio [low, high]     ns/pixel"
        "  adlib GB  baseline GB  difference"
    ]
    for row in results:
        seconds, memory, ratio = row["seconds"], row["gigabytes_above"], row["time_ratio"]
        span = f"{ratio['median']:.1f} [{ratio['lowest']:.1f}, {ratio['highest']:.1f}]"
        lines.append(
            f"{row['pixels'] / 1e6:10.1f}  {seconds['adlib']:7.2f}  {seconds['baseline']:10.2f}"
            f"  {span:20}  {1e9 * seconds['adlib'] / row['pixels']:8.1f}"
            f"  {memory['adlib']:8.2f}  {memory['baseline']:11.2f}"
            f"  {row['largest_difference']:10.0e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=83, help="number of maps (default 83)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides of the square maps"
    )
    parser.add_argument("--repeats", type=int, default=3, help="alternating runs of each side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args.worker, args.count, args.sizes[0])))
        return
    results = [compare(args.count, size, args.repeats) for size in args.sizes]
    print(table(results))
    print("Seconds are medians; GB is the peak above the inputs; ratio is baseline over adlib.")
    if args.json:
        packages = {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
        record = {"benchmark": "metrics", "packages": packages, "results": results}
        unfinished = args.json.with_name(args.json.name + ".unfinished")
        unfinished.write_text(json.dumps(record, indent=1) + "\n")
        unfinished.replace(args.json)


if __name__ == "__main__":
    main()
