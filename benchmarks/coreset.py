"""Exact greedy k-centre selection: ``adlib``, plain float32 greedy, anomalib and one product.

Sides in turn, each run in its own process with one thread, on the same points from the same start::

    adlib      the exact list
    plain      every distance to every centre in float32, |x|^2 + |c|^2 - 2 x.c; a part of the steps
    anomalib   the steps of its KCenterGreedy on the same points (its own projection, to other
               dimensions, is left out); a part of the steps
    product    the yardstick: one float32 product of all points with as many centres

Each step of the two in the middle costs the same, so a part of them is timed and the rest is
extrapolated. Seconds are processor time: others may use the machine. The first call of ``adlib`` in
each process, on a few points, is timed apart: it loads the compiled code, or makes it.

Without ``--root`` the points are generated: clusters, and isotropic noise, the bad case. With it
they are patches of real images: levels 2 and 3, pooled 3 x 3, projected to 128 dimensions::

    python benchmarks/coreset.py --root DIR --weights FILE --peer-python peer/bin/python
    python benchmarks/coreset.py --points tile=FILE.npy --fraction 0.01

anomalib is optional; it may live in an environment of its own (see ``padim.py``).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np

from adlib import bench, bench_peer

SIDES = ("adlib", "plain", "anomalib", "product")
DIM = 128
LARGEST = 20_000  # centres: beyond, a case is left out
STEPS = 12  # of a side that is extrapolated
BLOCK = 4096  # rows of the product at once: it needs no memory for the whole
GROWTH = (16_000, 64_000, 250_000, 1_000_000)  # points, as far as there are so many
TIMES = {"bottle 0.01": 1.3, "bottle 0.1": 0.5, "tile 0.01": 0.7}  # aims, in units of the product
PEER = {"bottle 0.01": 80, "bottle 0.1": 250}


def options() -> Namespace:
    """Read the command line."""
    parser = bench.parser(__doc__)
    parser.add_argument("--root", type=Path, help="folder of MVTec AD; default: generated points")
    parser.add_argument("--category", default="bottle")
    parser.add_argument("--weights", default="random", help="file; default: random weights")
    parser.add_argument("--points", action="append", default=[], metavar="NAME=FILE.npy",
                        help="also measure these points, float32 (N, d)")  # fmt: skip
    parser.add_argument("--fraction", type=float, nargs="+", default=(0.01, 0.1))
    parser.add_argument("--count", type=int, default=20_000, help="number of generated points")
    parser.add_argument("--growth", type=int, default=64_000, help="largest N of the growth")
    parser.add_argument("--peer-python", default=sys.executable, help="has anomalib")
    parser.add_argument("--case", nargs=2, metavar=("FILE", "N"), help="of a worker")
    return parser.parse_args()


def work(side: str, args: Namespace) -> dict[str, float]:
    """Measure one side on the points of a file."""
    points, n = np.load(args.case[0]), int(args.case[1])
    measured = {"adlib": ours, "plain": plain, "anomalib": theirs, "product": product}
    return measured[side](points, n)


def ours(points: np.ndarray, n: int) -> dict[str, float]:
    """Load or compile on a few points, then select."""
    from adlib.coreset import estimate, k_center_greedy

    start = time.process_time()
    k_center_greedy(points[:300], min(30, len(points)))
    first = time.process_time() - start
    before, start = bench.peak_mb(), time.process_time()
    k_center_greedy(points, n)
    return {
        "seconds": time.process_time() - start,
        "first_call_seconds": first,
        "added_peak_mb": bench.peak_mb() - before,
        "estimated_seconds": estimate(*points.shape, n).seconds,
    }


def plain(points: np.ndarray, n: int) -> dict[str, float]:
    """Run plain greedy for some steps."""
    norms = np.einsum("ij,ij->i", points, points)
    nearest, centre = np.full(len(points), np.inf, np.float32), 0
    steps = min(STEPS, n)
    start = time.process_time()
    for _ in range(steps):
        distances = points @ points[centre]
        distances *= -2
        distances += norms
        distances += norms[centre]
        np.minimum(nearest, distances, out=nearest)
        centre = int(nearest.argmax())
    return extrapolated(time.process_time() - start, steps, n)


def theirs(points: np.ndarray, n: int) -> dict[str, float]:
    """Run the steps of anomalib's KCenterGreedy that come after its projection."""
    import torch

    from adlib._torchvision import ensure_torchvision

    ensure_torchvision()  # before anomalib imports torchvision
    from anomalib.models.components.sampling import KCenterGreedy

    torch.set_num_threads(1)
    sampler = KCenterGreedy(torch.from_numpy(points), n / len(points))
    sampler.features = torch.from_numpy(points)
    sampler.reset_distances()
    index, steps = torch.tensor(0), min(STEPS, n)
    sampler.update_distances(index)
    start = time.process_time()
    for _ in range(steps):
        sampler.update_distances(index)
        index = sampler.get_new_idx()
        sampler.min_distances.scatter_(0, index.unsqueeze(0).unsqueeze(1), 0.0)
    return extrapolated(time.process_time() - start, steps, n)


def product(points: np.ndarray, n: int) -> dict[str, float]:
    """Multiply all points with n of them, in blocks into the same memory."""
    centres = np.ascontiguousarray(points[:: len(points) // n][:n].T)
    block = np.zeros((min(BLOCK, len(points)), n), np.float32)
    start = time.process_time()
    for first in range(0, len(points), BLOCK):
        part = points[first : first + BLOCK]
        np.matmul(part, centres, out=block[: len(part)])
    return {"seconds": time.process_time() - start}


def extrapolated(seconds: float, steps: int, n: int) -> dict[str, float]:
    """Scale the time of some steps up to n."""
    return {"seconds": seconds / steps * n, "measured_seconds": seconds, "measured_steps": steps}


def cases(args: Namespace) -> dict[str, np.ndarray]:
    """Return the points by name."""
    found = {}
    if args.root:
        found[args.category] = patches(args)
    for item in args.points:
        name, _, file = item.partition("=")
        found[name] = np.load(file, allow_pickle=False)
    return found or {"clusters": clusters(args.count), "isotropic": isotropic(args.count)}


def clusters(N: int) -> np.ndarray:
    """Points near a thousand places on an eight-dimensional plane, in runs as patches come."""
    rng = np.random.default_rng(0)
    places = rng.standard_normal((1000, 8)) @ rng.standard_normal((8, DIM))
    which = rng.integers(0, 1000, -(-N // 16)).repeat(16)[:N]
    return (places[which] + 0.3 * rng.standard_normal((N, DIM))).astype(np.float32)


def isotropic(N: int) -> np.ndarray:
    """Points without structure."""
    return np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)


def patches(args: Namespace) -> np.ndarray:
    """Compute the patches of the training images and project them to 128 dimensions."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    from adlib import datasets, projection
    from adlib.backbones import Backbone
    from adlib.features import ImageFeatures

    torch.set_num_threads(1)
    backbone = Backbone("resnet18", weights=args.weights)
    train = datasets.load("mvtec_ad", args.category, args.root).train
    found = []
    for levels in ImageFeatures(backbone, train).batches():
        pooled = [
            avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False) for x in levels[-2:]
        ]
        deep = interpolate(pooled[1], pooled[0].shape[2:], mode="bilinear", align_corners=False)
        whole = torch.cat([pooled[0], deep], 1).permute(0, 2, 3, 1).flatten(0, 2)
        matrix = projection.draw("gaussian", DIM, whole.shape[1], 0).matrix
        found.append((whole @ torch.from_numpy(matrix).T).numpy())
    return np.concatenate(found)


def measure(points: np.ndarray, n: int, sides: list[str], args: Namespace, folder: str) -> Any:
    """Measure sides in turn on some points."""
    path = Path(folder, "points.npy")
    np.save(path, points)
    pythons = {s: args.peer_python if s == "anomalib" else sys.executable for s in sides}
    passed = ["--case", str(path), str(n)]
    return bench.alternate(__file__, pythons, passed, args.repeats)


def compared(name: str, points: np.ndarray, fraction: float, sides: list[str],
             args: Namespace, folder: str) -> dict[str, Any]:  # fmt: skip
    """Measure all sides at one fraction."""
    n = max(1, int(fraction * len(points)))
    runs = measure(points, n, sides, args, folder)
    return {
        "name": name,
        "fraction": fraction,
        "points": list(points.shape),
        "centres": n,
        "medians": bench.medians(runs),
        "adlib_over_product": bench.ratio(runs, "adlib", "product", "seconds"),
        "plain_over_adlib": bench.ratio(runs, "plain", "adlib", "seconds"),
        "anomalib_over_adlib": bench.ratio(runs, "anomalib", "adlib", "seconds"),
        "runs": runs,
    }


def growth(args: Namespace, folder: str) -> list[dict[str, Any]]:
    """Measure at 1 % with growing N, and with growing n at the smallest N; points are generated."""
    rows = []
    sizes = [N for N in GROWTH if args.growth >= N]
    wanted = [(N, N // 100) for N in sizes] + [(N, N // s) for N in sizes[:1] for s in (1000, 10)]
    for N, n in wanted:
        runs = measure(clusters(N), n, ["adlib", "product"], args, folder)
        seconds = {side: values["seconds"] for side, values in bench.medians(runs).items()}
        rows.append({"points": N, "centres": n, "seconds": seconds})
    return rows


def compilation(folder: str) -> dict[str, float]:
    """Return the seconds of the first call in a process that compiles, and in the next one."""
    code = (
        "import time, numpy as np; from adlib.coreset import k_center_greedy as f;"
        "x = np.random.default_rng(0).standard_normal((300, 9), np.float32);"
        "t = time.process_time(); f(x, 30); print(time.process_time() - t)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(folder, "compiled"))}
    environment["PYTHONPATH"] = str(bench.ROOT)
    command = [sys.executable, "-c", code]
    first, second = (
        float(run(command, env=environment, capture_output=True, check=True).stdout)
        for _ in range(2)
    )
    return {"first_process_seconds": first, "second_process_seconds": second}


def aims(results: list[dict[str, Any]]) -> list[bench.Aim]:
    """Hold ratios of the cases that have one against their limit."""
    wanted = []
    for row in results:
        key = f"{row['name']} {row['fraction']:g}"
        for limits, ratio, words, sense in [
            (TIMES, "adlib_over_product", "adlib over one product", "at most"),
            (PEER, "anomalib_over_adlib", "anomalib over adlib", "at least"),
            ({"tile 0.01": 20}, "plain_over_adlib", "plain greedy over adlib", "at least"),
        ]:
            if key in limits:
                value = row[ratio] and row[ratio]["median"]
                wanted.append(bench.Aim(f"coreset, {key}: {words}", value, sense, limits[key]))
    return wanted


def report(args: Namespace) -> None:
    """Measure, print a table, write the file."""
    sides = [s for s in SIDES if s != "anomalib" or bench_peer.has_anomalib(args.peer_python)]
    skipped = {} if "anomalib" in sides else {"anomalib": bench_peer.ABSENT}
    with tempfile.TemporaryDirectory() as folder:
        compiled = compilation(folder)
        found = cases(args)
        results = [
            compared(name, points, fraction, sides, args, folder)
            for name, points in found.items()
            for fraction in args.fraction
            if fraction * len(points) <= LARGEST
        ]
        grown = growth(args, folder)
    rows = [["Points", "N", "n", *(f"{s} s" for s in SIDES), "adlib / product"]]
    for row in results:
        seconds = [row["medians"].get(s, {}).get("seconds") for s in SIDES]
        cells = ["–" if value is None else f"{value:.2f}" for value in seconds]
        sizes = [str(row["points"][0]), str(row["centres"])]
        rows.append([row["name"], *sizes, *cells, bench.span(row["adlib_over_product"])])
    print(bench.table(rows))
    for row in grown:
        print("growth:", row)
    print("first call:", compiled)
    if args.json:
        settings = {"dim": DIM, "repeats": args.repeats, "steps": STEPS}
        content = {"settings": settings, "skipped": skipped, "compilation": compiled}
        bench.write(
            args.json, "coreset", aims(results), content | {"results": results, "growth": grown}
        )


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
