"""PatchCore: time per image and its parts, fit and score beside anomalib, and memory.

Three groups of sides, the sides of a group in turn, each run in its own process with one thread::

    patchcore ..., padim ..., spade ..., one_nn ...   score images that are decoded, split in stages
    backbone, adlib-F, anomalib-F                     from files to scores: fit, then score
    memory                                            fit with 1024 numbers a patch

F is a fraction of the patches. Models of the first group are fitted and saved before; an untimed
pass over some images pays for first uses. In the second, adlib and anomalib's PatchcoreModel have
the same images, decoder, weights and settings (patches of 3 x 3 with zeros around the image,
Euclidean distances, Eq. 7 with b = 9). What remains different: their selection sees 4 ln N / 0.162
dimensions of a sparse projection, ours 128 of a Gaussian one, and their maps are upsampled to the
nearest. Each of their selection's steps costs the same, so where all of them would take more than
``--limit`` seconds, a part is timed and extrapolated, and our bank is scored with.

Times are processor seconds of the one thread, as the clock on the wall also counts what else a
machine does. Imports, weights, compilation and first small batches are not timed.

anomalib is optional; it may live in an environment of its own::

    python -m venv peer && peer/bin/pip install -c constraints.txt -e . anomalib==2.7.0
    python benchmarks/patchcore.py --root DIR --weights FILE --peer-python peer/bin/python

Without ``--root`` the embedded data are used, without ``--weights`` random weights: the times are
nearly those of any weights, the quality is not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np

from adlib import bench, bench_peer
from adlib.study import bench_report

SCORED = (
    "patchcore fraction=0.01",
    "patchcore fraction=0.1",
    "patchcore fraction=0.25",
    "patchcore subsampler=none",
    "patchcore subsampler=none search=ivfpq",
    "padim dim=100",
    "spade image_level=3",
    "one_nn image_level=3",
)
SMALL, WHOLE, IVFPQ = SCORED[0], SCORED[3], SCORED[4]
STAGES = ("backbone", "embed", "search")  # the map is the rest
FRACTIONS = (0.01, 0.1)
B = 9  # of Eq. 7, anomalib's default
MODELS, BACKBONE, MEMORY = "models", "backbone", "memory"
SAME_BANK = "anomalib_same_bank"  # untimed: anomalib's scores with our bank
PART = 100  # steps of anomalib's selection that stand for all
WARM = 16  # images of the untimed pass: a batch of PatchCore's
SEED = 0


def options() -> Namespace:
    """Read the command line."""
    parser = bench_peer.parser(__doc__)
    parser.add_argument(
        "--limit", type=float, default=300.0, metavar="SECONDS",
        help="extrapolate selections of anomalib that take longer (default 300)",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, metavar="DIR", help="keep models and scores there")
    return parser.parse_args()


def work(side: str, args: Namespace) -> dict[str, Any]:
    """Measure one side."""
    import torch

    from adlib._torchvision import ensure_torchvision

    torch.set_num_threads(1)
    ensure_torchvision()  # before anomalib imports torchvision
    if side in SCORED:
        return score(side, args)
    library, _, fraction = side.partition("-")
    measured = {
        MODELS: fit_models,
        MEMORY: fit_memory,
        BACKBONE: backbone_alone,
        "adlib": ours,
        "anomalib": theirs,
        SAME_BANK: theirs,
    }[library]
    return measured(args, float(fraction)) if fraction else measured(args)


# --- time per image -----------------------------------------------------------------------


class Clock:
    """Processor seconds by stage; a stage within another counts for itself only.

    Attributes
    ----------
    seconds : dict of str to float
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = [0.0]  # seconds of the stages within each stage that is open
        self._closed = False

    def of(self, stage: str, function: Callable, closed: bool = False) -> Callable:
        """Return `function` with its time taken; stages within a closed one are part of it."""

        def timed(*args: Any) -> Any:
            if self._closed:
                return function(*args)
            start = time.process_time()
            self._inner.append(0.0)
            self._closed = closed
            result = function(*args)
            self._closed = False
            spent = time.process_time() - start
            self.seconds[stage] += spent - self._inner.pop()
            self._inner[-1] += spent
            return result

        return timed


def stages_of(method: str, model: Any) -> list[tuple[Any, str, str]]:
    """Return what makes up the stages: owner, name and stage of functions."""
    from adlib import padim, spade
    from adlib.backbones import Backbone

    parts = {
        "patchcore": [
            (model, "embed", "embed"),
            (model, "distances", "search"),
            (model, "_image_scores", "search"),
        ],
        "padim": [(padim, "reduce_levels", "embed"), (padim, "squared_distances", "search")],
        "spade": [
            (spade, "pool", "embed"),
            (model, "pyramid", "embed"),
            (model, "nearest_images", "search"),
            (model, "distances", "search"),
            (model, "_nearest_pixels", "search"),
        ],
        "one_nn": [
            (model, "_pool", "embed"),
            (getattr(model, "searcher", None), "query", "search"),
        ],
    }
    return [(Backbone, "__call__", "backbone"), *parts[method]]


def model_of(run: str) -> Any:
    """Make the model that a text like ``patchcore fraction=0.01`` describes."""
    from adlib.evaluate import METHODS
    from adlib.parameters import read_scalar

    method, *settings = run.split()
    pairs = (text.partition("=") for text in settings)
    return METHODS[method](**{name: read_scalar(value) for name, _, value in pairs})


def fit_models(args: Namespace) -> dict[str, Any]:
    """Fit the models to be scored with, on features that are computed once."""
    from adlib.features import extract

    category = bench_peer.category_of(args)
    features = extract(bench_peer.backbone_of(args), category.train, cache=False)
    for run in scored():
        if run != IVFPQ:  # the same bank; its index is made when it is loaded
            model_of(run).fit_features(features).save(file_of(run, args))
    return {}


def scored() -> list[str]:
    """Return the runs of the first group that can be made here."""
    return [run for run in SCORED if run != IVFPQ or find_spec("faiss")]


def file_of(run: str, args: Namespace) -> Path:
    """Return the file of a fitted model."""
    return args.store / f"{run.replace(' ', '-')}.safetensors"


def load(run: str, args: Namespace) -> Any:
    """Open a fitted model."""
    if run != IVFPQ:
        return type(model_of(run)).load(file_of(run, args), bench_peer.backbone_of(args))
    model = load(WHOLE, args)
    model.search = "ivfpq"
    model._open(model.bank)
    return model


def score(run: str, args: Namespace) -> dict[str, Any]:
    """Score decoded images: milliseconds an image, by stage."""
    model = load(run, args)
    images = list(bench_peer.category_of(args).test)
    model.score(images[:WARM])  # first uses: compilation, pages of memory
    before, clock = resident_mb(), Clock()
    with ExitStack() as stack:
        for owner, name, stage in stages_of(run.split()[0], model):
            function = clock.of(stage, getattr(owner, name), name == "_nearest_pixels")
            stack.enter_context(mock.patch.object(owner, name, function))
        wall, start = time.perf_counter(), time.process_time()
        model.score(images)
        seconds = time.process_time() - start
        wall = time.perf_counter() - wall
    spent = clock.seconds | {"map": seconds - sum(clock.seconds.values()), "total": seconds}
    return {name: 1000 * value / len(images) for name, value in spent.items()} | {
        "wall_over_processor": wall / seconds,
        "loaded_mb": before,
        "peak_mb": bench.peak_mb(),
        "members": len(model.bank) if hasattr(model, "bank") else None,
        "model_mb": model.drawn()["model_mb"],
    }


def resident_mb() -> float:
    """Return the resident size of this process, in units of 10^6 bytes."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


# --- fit and score ------------------------------------------------------------------------


def backbone_alone(args: Namespace) -> dict[str, float]:
    """Decode and compute features in the batches that PatchCore asks for."""
    from adlib.features import ImageFeatures
    from adlib.patchcore import BATCH

    category, backbone = bench_peer.category_of(args), bench_peer.backbone_of(args)
    watch = Watch()
    for images in (category.train, category.test):
        for batch in ImageFeatures(backbone, images).batches(BATCH):
            del batch
    return {"seconds": watch.lap()} | watch.end()


class Watch:
    """Processor seconds between laps, clock on the wall and memory of the whole."""

    def __init__(self) -> None:
        self.library = resident_mb()
        self._wall = time.perf_counter()
        self._start = self._last = time.process_time()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        last, self._last = self._last, time.process_time()
        return self._last - last

    def end(self) -> dict[str, float]:
        """Return how busy the machine was, and memory in MB."""
        wall, spent = time.perf_counter() - self._wall, time.process_time() - self._start
        return {
            "wall_over_processor": wall / spent,
            "library_mb": self.library,
            "peak_mb": bench.peak_mb(),
        }


def patchcore_of(args: Namespace, **settings: Any) -> Any:
    """Make a PatchCore whose compiled parts have been used once."""
    from adlib.patchcore import PatchCore

    backbone = bench_peer.backbone_of(args)
    noise = np.random.default_rng(SEED).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    PatchCore(backbone=backbone, **settings | {"fraction": 0.1}).fit(noise).score(noise)
    return PatchCore(backbone=backbone, seed=SEED, **settings)


def ours(args: Namespace, fraction: float) -> dict[str, float]:
    """Fit and score."""
    category = bench_peer.category_of(args)
    detector = patchcore_of(args, fraction=fraction, reweight=B)
    selected: list[float] = []

    def select(*arguments: Any) -> Any:
        start = time.process_time()
        result = subsample(*arguments)
        selected.append(time.process_time() - start)
        return result

    subsample, detector._subsample = detector._subsample, select
    watch = Watch()
    detector.fit(category.train)
    fit = watch.lap()
    scores = detector.score(category.test)
    result = stages(fit, watch.lap()) | {"select": selected[0]} | watch.end()
    keep(args, f"adlib-{fraction}", scores.image, scores.map)
    np.save(args.store / f"indices-{fraction}.npy", detector.indices)
    return result


def fit_memory(args: Namespace) -> dict[str, float]:
    """Fit with the released code's embedding, 1024 numbers a patch."""
    category = bench_peer.category_of(args)
    detector = patchcore_of(args, embedding="official")
    watch = Watch()
    detector.fit(category.train)
    result = {"fit": watch.lap()} | watch.end()
    patches = detector.n_patches * detector.bank.shape[1] * 4 / 1e6
    return result | {"above_mb": result["peak_mb"] - watch.library, "patches_mb": patches}


def theirs(args: Namespace, fraction: float) -> dict[str, Any]:
    """Drive anomalib's PatchcoreModel by hand; a part of the selection may stand for the whole."""
    import torch

    torch.manual_seed(SEED)
    category = bench_peer.category_of(args)
    model = their_model(args)
    watch = Watch()
    for batch in bench_peer.pixels(category.train):
        model(batch)
    bank = torch.vstack(model.embedding_store)
    model.embedding_store.clear()
    fit = watch.lap()
    chosen = np.load(args.store / f"indices-{fraction}.npy")
    same = args.worker.startswith(SAME_BANK)
    select, indices = (0.0, None) if same else selection(bank, fraction, args.limit)
    model.memory_bank = bank[torch.from_numpy(chosen) if indices is None else indices]
    del bank
    model.eval()
    watch.lap()
    with torch.no_grad():
        found = [model(batch) for batch in bench_peer.pixels(category.test)]
    result = stages(fit + select, watch.lap()) | {"select": select} | watch.end()
    image = torch.cat([one.pred_score for one in found]).numpy()
    keep(args, args.worker, image, torch.cat([one.anomaly_map for one in found])[:, 0].numpy())
    return result | {"extrapolated": indices is None, "packages": bench_peer.versions()}


def their_model(args: Namespace) -> Any:
    """Make anomalib's model with our weights."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(
        layers=["layer2", "layer3"], backbone=args.backbone, pre_trained=False, num_neighbors=B
    )
    bench_peer.equip(model.feature_extractor.feature_extractor, args)
    return model.train()


def selection(bank: Any, fraction: float, limit: float) -> tuple[float, list[int] | None]:
    """Time anomalib's selection.

    Returns
    -------
    seconds : float
        Of the whole; extrapolated from the first steps where that is more than `limit`.
    indices : list of int or None
        None where it was extrapolated.
    """
    from anomalib.models.components import KCenterGreedy

    sampler = KCenterGreedy(embedding=bank, sampling_ratio=fraction)
    whole = sampler.coreset_size

    def sample(size: int) -> tuple[float, list[int]]:
        sampler.coreset_size = size
        start = time.process_time()
        indices = sampler.select_coreset_idxs()
        return time.process_time() - start, indices

    few, some = min(2, whole), min(2 + PART, whole)
    (first, _), (more, _) = sample(few), sample(some)
    expected = first + (more - first) * (whole - few) / max(1, some - few)
    return (expected, None) if expected > limit else sample(whole)


def stages(fit: float, scored: float) -> dict[str, float]:
    """Name the stages of a run."""
    return {"fit": fit, "score": scored, "seconds": fit + scored}


def keep(args: Namespace, name: str, image: np.ndarray, maps: np.ndarray) -> None:
    """Keep scores for a comparison."""
    np.savez(args.store / f"{name}.npz", image=image, map=maps)


# --- the whole ----------------------------------------------------------------------------


def report(args: Namespace) -> None:
    """Measure all sides, print ratios, write the file."""
    category = bench_peer.category_of(args)
    for images in (category.train, category.test):
        _ = images.fingerprint  # reads every file: no side pays for a cold disk
    with tempfile.TemporaryDirectory() as scratch:
        args.store = args.store or Path(scratch)
        args.store.mkdir(parents=True, exist_ok=True)
        content = measure(args, category)
    aims = aims_of(content)
    print(bench_report.patchcore(content), bench_report.aims(bench.described(aims)), sep="\n\n")
    if args.json:
        bench.write(args.json, "patchcore", aims, content)


def measure(args: Namespace, category: Any) -> dict[str, Any]:
    """Run every side in its turn."""
    passed = [*sys.argv[1:], "--store", str(args.store)]
    peer, skipped = bench_peer.has_anomalib(args.peer_python), {}
    if not peer:
        skipped = {f"anomalib-{fraction}": bench_peer.ABSENT for fraction in FRACTIONS}
        print("anomalib is not installed in that Python (--peer-python): its sides are left out.")
    if IVFPQ not in scored():
        skipped[IVFPQ] = "faiss is not installed"
        print(f"faiss is not installed: {IVFPQ} is left out.")

    def turns(sides: list[str], repeats: int = args.repeats) -> bench.Runs:
        pythons = {
            side: args.peer_python if side.startswith("anomalib") else sys.executable
            for side in sides
        }
        return bench.alternate(__file__, pythons, passed, repeats)

    turns([MODELS], 1)
    scores = turns(scored())
    theirs = [f"anomalib-{fraction}" for fraction in FRACTIONS if peer]
    whole = turns([BACKBONE, *[f"adlib-{fraction}" for fraction in FRACTIONS], *theirs])
    if peer:
        turns([f"{SAME_BANK}-{FRACTIONS[0]}"], 1)
    memory = turns([MEMORY])
    packages = [run.pop("packages") for side in theirs for run in whole[side]]
    runs = scores | whole | memory
    return {
        "settings": bench_peer.settings(args)
        | {"b": B, "limit": args.limit, "peer": packages[0] if packages else None},
        "skipped": skipped,
        "rows": [row(side, several, category, args) for side, several in scores.items()],
        "medians": bench.medians(whole | memory),
        "extrapolated": [side for side in theirs if whole[side][0]["extrapolated"]],
        "ratios": ratios(whole),
        "quality": quality(args.store, category),
        "matrix_mb": 4e-6 * scores[WHOLE][0]["members"] ** 2 / len(category.train),
        "wall_over_processor": max(
            run["wall_over_processor"] for several in runs.values() for run in several
        ),
        "runs": runs,
    }


def row(run: str, several: list[dict], category: Any, args: Namespace) -> dict[str, Any]:
    """Return what the page and the notebook show of a run that was timed by stages."""
    names = (*STAGES, "map", "total")
    over = [one["total"] / one["backbone"] for one in several]
    return {
        "method": run.split()[0],
        "setting": run,
        "dataset": category.dataset,
        "category": category.name,
        "backbone": args.backbone,
        "members": several[0]["members"],
        "model_mb": several[0]["model_mb"],
        "milliseconds_per_image": {name: median(one[name] for one in several) for name in names},
        "total_over_backbone": {"median": median(over), "lowest": min(over), "highest": max(over)},
        "score_above_mb": max(one["peak_mb"] - one["loaded_mb"] for one in several),
    }


def ratios(whole: bench.Runs) -> dict[str, Any]:
    """Compare the sides turn by turn, at each fraction."""
    found = {}
    for fraction in FRACTIONS:
        ours, theirs = f"adlib-{fraction}", f"anomalib-{fraction}"
        found |= {
            f"adlib_over_backbone-{fraction}": bench.ratio(whole, ours, BACKBONE, "seconds"),
            f"anomalib_over_adlib-{fraction}": bench.ratio(whole, theirs, ours, "seconds"),
            f"anomalib_over_adlib_score-{fraction}": bench.ratio(whole, theirs, ours, "score"),
        }
    return found


def quality(store: Path, category: Any) -> dict[str, Any]:
    """Return AUROC of what both libraries scored, and how far the scores of one bank are apart."""
    from adlib.metrics import auroc, pixel_auroc

    kept = {path.stem: np.load(path) for path in sorted(store.glob("*.npz"))}
    labels, masks = category.test.labels, category.test.masks()
    found: dict[str, Any] = {
        side: {
            "image_auroc": auroc(labels, scores["image"]),
            "pixel_auroc": pixel_auroc(masks, scores["map"]),
        }
        for side, scores in kept.items()
    }
    same = f"{SAME_BANK}-{FRACTIONS[0]}"
    if same in kept:
        ours = kept[f"adlib-{FRACTIONS[0]}"]["image"].astype(np.float64)
        found[same]["image_scores_apart"] = float((np.abs(kept[same]["image"] - ours) / ours).max())
    return found


def aims_of(content: dict[str, Any]) -> list[bench.Aim]:
    """Hold real images against what was asked for; on a few embedded ones, libraries are all."""
    rows = {row["setting"]: row for row in content["rows"]}
    real = content["settings"]["dataset"] != "embedded"
    over = rows[SMALL]["total_over_backbone"]["median"]
    above = content["medians"][MEMORY]["above_mb"] / 1000
    matrices = rows[WHOLE]["score_above_mb"] / content["matrix_mb"]
    return [
        bench.Aim(
            "PatchCore with 1 % of the patches, scoring over the backbone's part of it",
            over if real else None, "at most", 1.2,
        ),
        bench.Aim(
            "PatchCore with 1024 numbers a patch, peak memory of fit above the library, GB",
            above if real else None, "at most", 1.5,
        ),
        bench.Aim(
            "PatchCore with all patches, memory of scoring in distances of one image to the bank",
            matrices if real else None, "at most", 1.0,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    arguments = options()
    bench.main(arguments, lambda side: work(side, arguments), lambda: report(arguments))
