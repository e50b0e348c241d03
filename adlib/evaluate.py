"""Fit on the normal images of a category, score its test images, measure, record.

The one path to a number: the command line, the notebooks and the sweeps all call
``Experiment.run``.
"""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from adlib import datasets, ensemble, metrics, parameters, records
from adlib.backbones import Backbone
from adlib.datasets import Category, DefectCropped, EmptyMask
from adlib.datasets.arrays import ArrayImages
from adlib.datasets.folder import GroundTruth
from adlib.diffusion.base import Detector
from adlib.diffusion.baselines import DDPM, AnoDDPM, Autoencoder
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.errors import InputError
from adlib.features import Features, extract, is_cached
from adlib.nearest_image import NearestImage
from adlib.padim import PaDiM
from adlib.patchcore import PatchCore
from adlib.records import Record
from adlib.scores import Scores
from adlib.spade import SPADE
from adlib.thumbnail import Thumbnail

METHODS: dict[str, type] = {
    "padim": PaDiM,
    "patchcore": PatchCore,
    "spade": SPADE,
    "one_nn": NearestImage,
    "thumbnail": Thumbnail,
    "latent_diffusion": LatentDiffusionDetector,
    "autoencoder": Autoencoder,
    "anoddpm": AnoDDPM,
    "ddpm": DDPM,
}

MADE_HERE = ("embedded", "digits")  # data sets that take no --root


class Shots(NamedTuple):
    """A few of the normal training images, drawn at random (PatchCore, Section 4.5).

    Attributes
    ----------
    images : int
        How many.
    seed : int
        Which ones; the same for every method.
    """

    images: int
    seed: int

    def draw(self, n_train: int) -> np.ndarray:
        """Return the indices of the images that are kept, sorted.

        Raises
        ------
        InputError
            There are fewer images than asked for.
        """
        if not 1 <= self.images <= n_train:
            raise InputError(
                f"shots must lie in [1, {n_train}], the number of training images, "
                f"found {self.images}; lower it"
            )
        rng = np.random.default_rng([self.seed, self.images])
        return np.sort(rng.choice(n_train, size=self.images, replace=False))


class Run(NamedTuple):
    """What a run leaves behind.

    Attributes
    ----------
    record : dict
    path : Path or None
        Where the record is; None if it was not asked for.
    fresh : bool
        False: the record existed and was read.
    scores : Scores or None
        Image scores and maps of the test images; None if the record was read.
    """

    record: Record
    path: Path | None
    fresh: bool
    scores: Scores | None


@dataclass
class Experiment:
    """One category seen through one backbone; features and masks are read once for all its runs.

    Parameters
    ----------
    category : Category
    backbone : Backbone, Ensemble or None
        None: for methods that read images themselves.
    cache : bool
        Keep features (``adlib.features.extract``) and the checkpoints of trainings on disk.
    progress : bool
        Show bars on stderr, where that is a terminal.
    selection : callable, optional
        Told (done, total) while a coreset is selected.
    training : callable, optional
        Told (name, done, total) while a network is trained.
    device : str
        For methods that train networks of their own: ``auto``, ``cpu`` or ``cuda``.
    """

    category: Category
    backbone: Backbone | ensemble.Ensemble | None
    cache: bool = True
    progress: bool = False
    selection: Callable[[int, int], None] | None = None  # told how a coreset advances
    training: Callable[[str, int, int], None] | None = None
    device: str = "auto"
    feature_seconds: float | None = field(default=None, init=False)  # None: read from the cache

    @cached_property
    def features(self) -> tuple[Features, Features]:
        """Features of the training and of the test images (an ensemble's first network)."""
        return self.features_by_network[0]

    @cached_property
    def features_by_network(self) -> list[tuple[Features, Features]]:
        """Features of the training and of the test images, a pair a network."""
        networks = getattr(self.backbone, "members", [self.backbone])
        splits = (self.category.train, self.category.test)
        stored = self.cache and all(
            is_cached(network, images) for network in networks for images in splits
        )
        start = time.perf_counter()
        pairs = [
            tuple(
                extract(network, images, cache=self.cache, progress=self.progress)
                for images in splits
            )
            for network in networks
        ]
        self.feature_seconds = None if stored else round(time.perf_counter() - start, 3)
        return pairs

    @cached_property
    def truth(self) -> GroundTruth | None:
        """Ground truth, or None where the data set has none: then no pixel metric."""
        if not self.category.test.has_masks or not self.category.test.labels.any():
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EmptyMask)
            warnings.simplefilter("always", DefectCropped)
            truth = self.category.test.ground_truth()
        self.mask_warnings = [str(warning.message) for warning in caught]
        return truth

    @property
    def masks(self) -> np.ndarray | None:
        """Masks of the test images (N, H, W), or None where the data set has none."""
        return None if self.truth is None else self.truth.masks

    def identity(
        self, method: str, values: dict[str, Any], shots: Shots | None = None
    ) -> dict[str, Any]:
        """Return all that decides the numbers of a run; its hash is the record's key."""
        identity = {
            "protocol": records.PROTOCOL,
            "method": method,
            "parameters": METHODS[method].effective(values),
            "dataset": {
                "name": self.category.dataset,
                "category": self.category.name,
                "fingerprint": self.category.fingerprint,
            },
            "backbone": None if reads_images(method) else self.backbone.describe(),
            "transform": self.category.test.transform.describe(),
        }
        return identity if shots is None else identity | {"shots": shots._asdict()}

    def run(
        self,
        method: str,
        values: dict[str, Any] | None = None,
        *,
        shots: Shots | None = None,
        results: Path | str | None = None,
        force: bool = False,
    ) -> Run:
        """Fit, score, measure; write a record below `results`, or read it where it exists.

        Parameters
        ----------
        method : str
            A key of ``METHODS``.
        values : dict, optional
            Parameters that differ from the method's defaults.
        shots : Shots, optional
            Fit on a few training images only.
        results : Path, optional
            Folder of records; None writes none.
        force : bool
            Make the record again where it exists.

        Raises
        ------
        InputError
            Unknown method or parameter, a value out of range, or data that do not fit.
        """
        if not isinstance(method, str) or method not in METHODS:
            raise InputError(parameters.unknown("method", method, METHODS))
        checked = parameters.check(METHODS[method], values or {})
        identity = self.identity(method, checked, shots)
        target = None
        if results is not None:
            target = records.path(Path(results), identity, self.label(method, checked, shots))
            if target.exists() and not force:
                return Run(records.read(target), target, fresh=False, scores=None)
        record, scores = self._measure(method, checked, shots, identity)
        if target is not None:
            records.write(record, target)
        return Run(record, target, fresh=True, scores=scores)

    def label(self, method: str, checked: dict[str, Any], shots: Shots | None = None) -> str:
        """Return the readable part of a record's file name."""
        effective = METHODS[method].effective(checked)
        named = [effective[name] for name in METHODS[method].LABEL if effective[name] is not None]
        network = [] if reads_images(method) else [_network(self.backbone)]
        # a method that ignores the seed has one record, whatever seed was asked for
        seed = effective.get("seed") or (0 if shots is None else shots.seed)
        few = [] if shots is None else [f"shots{shots.images}"]
        return "-".join([*network, *map(str, named), *few, f"seed{seed}"])

    def _measure(
        self, method: str, checked: dict[str, Any], shots: Shots | None, identity: dict
    ) -> tuple[Record, Scores]:
        test = self.category.test
        cached_before = reads_images(method) or "features_by_network" in self.__dict__
        pairs = self._inputs(method, shots)
        truth = self.truth
        detectors = [METHODS[method](**checked) for _ in pairs]
        for detector in detectors:
            self._equip(detector)
        together = list(zip(detectors, pairs, strict=True))
        fit, score = _verbs(method)
        fit_seconds, _ = _timed(lambda: [fit(d, train) for d, (train, _) in together])
        score_seconds, found = _timed(lambda: [score(d, tested) for d, (_, tested) in together])
        scores = found[0] if len(found) == 1 else ensemble.combine(found)
        metric_seconds, measured = _timed(lambda: measure(test.labels, scores, truth))
        record = {
            "schema": records.SCHEMA,
            "key": records.key(identity),
            "identity": identity,
            "counts": self._counts(len(pairs[0][0])),
            "drawn": self._drawn(detectors),
            "metrics": measured,
            "scores": by_defect(scores.image, test.defects),
            "seconds": {
                "features": None if cached_before else self.feature_seconds,
                "fit": round(fit_seconds, 3),
                "score": round(score_seconds, 3),
                "metrics": round(metric_seconds, 3),
            },
            "peak_memory_mb": round(records.peak_memory_mb(), 1),
            "environment": records.environment(self._device(detectors[0])),
            "deviations": self._deviations(method),
            "command": self._command(method, checked, shots),
        }
        return record, scores

    def _device(self, detector: Any) -> str:
        if isinstance(detector, Detector):
            return str(detector.torch_device)
        return "cpu" if self.backbone is None else str(self.backbone.torch_device)

    def _equip(self, detector: Any) -> None:
        """Hand a detector what is no parameter: whom it tells, its device, its checkpoints."""
        trained = isinstance(detector, Detector)
        told = self.training if trained else self.selection
        if told is not None:
            detector.progress = told
        if trained:
            detector.device = self.device
            detector.checkpoints = datasets.cache_dir() / "trainings" if self.cache else None

    def _inputs(self, method: str, shots: Shots | None) -> list[tuple[Any, Any]]:
        """Return what to fit on and what to score: images, or features, a pair a network."""
        chosen = None if shots is None else shots.draw(len(self.category.train))
        if reads_images(method):
            train = self.category.train
            few = train if chosen is None else [train[int(i)] for i in chosen]
            return [(few, self.category.test)]
        pairs = self.features_by_network
        if chosen is None:
            return pairs
        return [(train.take(chosen), tested) for train, tested in pairs]

    def _drawn(self, detectors: list) -> dict[str, Any]:
        if len(detectors) == 1:
            return detectors[0].drawn()
        return {
            f"{network.name}.{name}": value
            for network, detector in zip(self.backbone.members, detectors, strict=True)
            for name, value in detector.drawn().items()
        }

    def _counts(self, n_train: int) -> dict[str, int]:
        test = self.category.test
        samples = getattr(test, "samples", ())
        with_mask = [sample.mask_path is not None for sample in samples]
        empty = 0 if self.truth is None else (~self.truth.masks[with_mask].any(axis=(1, 2))).sum()
        return {
            "train": n_train,
            "test": len(test),
            "anomalous": int(test.labels.sum()),
            "masks": int(sum(with_mask)),
            "masks_empty": int(empty),
        }

    def _deviations(self, method: str) -> list[str]:
        found = list(getattr(self, "mask_warnings", []))
        found = [_without_paths(text, self.category.test.folder) for text in found]
        found += [] if reads_images(method) else self._network_deviations()
        found += getattr(self.category, "notes", ())
        if isinstance(self.category.test, ArrayImages):
            return found  # such data sets have no masks
        if self.truth is None:
            found.append("no pixel metrics: the data set has no masks for its anomalous images")
        elif not self.truth.masks.any():
            found.append("no pixel metrics: the masks hold no pixel after resize and crop")
        return found

    def _network_deviations(self) -> list[str]:
        found = []
        if self.backbone.origin.label in ("random", "unverified"):
            found.append(f"weights are {self.backbone.origin.label}, not the pinned ones")
        if self.backbone.precision != "float32":
            found.append(f"the backbone ran in {self.backbone.precision}")
        if isinstance(self.backbone, ensemble.Ensemble):
            found.append("each network's scores were scaled to [0, 1] over the test images")
        return found

    def _network_options(self) -> dict[str, str | None]:
        backbone = self.backbone
        file = None if backbone.weights is None else "FILE"
        return {
            "backbone": backbone.name,
            "weights": "random" if backbone.weights == "random" else file,
            "precision": backbone.precision if backbone.precision != "float32" else None,
        }

    def _command(self, method: str, checked: dict[str, Any], shots: Shots | None) -> str:
        category, transform = self.category, self.category.test.transform
        fixed = isinstance(category.test, ArrayImages)  # images that take no transform
        options = {
            "root": None if category.dataset in MADE_HERE else "DIR",
            "category": shlex.quote(category.name),
            **({} if reads_images(method) else self._network_options()),
            "resize": transform.resize if transform.resize != 256 and not fixed else None,
            "crop": (transform.crop or 0) if transform.crop != 224 and not fixed else None,
            "masks": transform.masks if transform.masks != "nearest" else None,
            "shots": None if shots is None else shots.images,
        }
        words = ["adlib", "evaluate", method, "--dataset", category.dataset]
        words += [f"--{name} {value}" for name, value in options.items() if value is not None]
        words += ["--squash"] if transform.squash else []
        defaults = parameters.check(METHODS[method], {})
        words += [
            f"--set {name}={parameters.write_scalar(value)}"
            for name, value in checked.items()
            if name != "seed" and value != defaults[name]
        ]
        seed = checked.get("seed", 0 if shots is None else shots.seed)
        return " ".join([*words, f"--seed {seed}"])


def reads_images(method: str) -> bool:
    """Tell whether a method reads images itself, without a network that is handed to it."""
    return getattr(METHODS[method], "INPUT", "features") == "images"


def measure(
    labels: np.ndarray, scores: Scores, truth: GroundTruth | None
) -> dict[str, float | int]:
    """Compute every metric that the scores and the ground truth allow.

    Parameters
    ----------
    labels : ndarray of shape (N,), 0 or 1
    scores : Scores
    truth : GroundTruth or None
        None leaves the pixel metrics out; so do masks without a single pixel. Images whose defect
        is not located (``known`` False) count for the image metrics only.

    Returns
    -------
    dict
        ``image_auroc``, ``image_f1``, ``f1_misclassified`` and, with masks and maps,
        ``pixel_auroc`` and ``aupro`` (limit 0.3).
    """
    best = metrics.f1_optimal(labels, scores.image)
    measured: dict[str, float | int] = {
        "image_auroc": metrics.auroc(labels, scores.image),
        "image_f1": best.f1,
        "f1_misclassified": best.misclassified,
    }
    if truth is not None and truth.masks.any() and scores.map is not None:
        known = slice(None) if truth.known.all() else truth.known
        pixel = metrics.pixel_metrics(truth.masks[known], scores.map[known])
        measured |= {"pixel_auroc": pixel.auroc, "aupro": pixel.aupro}
    return measured | _compared(labels, scores)


def _compared(labels: np.ndarray, scores: Scores) -> dict[str, float]:
    """Measure further scores of the same images.

    ``auroc_<name>``; ``ratio_<name>``, mean of the anomalous over mean of the normal images, of
    scores that are never negative; ``ink_<name>``, rank correlation with the brightness among the
    normal images: how much of a score is the amount of ink.
    """
    from scipy.stats import spearmanr  # slow to import

    measured: dict[str, float] = {}
    normal = labels == 0
    ink = scores.others.get("ink")
    for name, score in scores.others.items():
        measured[f"auroc_{name}"] = metrics.auroc(labels, score)
        if score.min() >= 0 and score[normal].mean() > 0:
            measured[f"ratio_{name}"] = float(score[~normal].mean() / score[normal].mean())
        if ink is not None and name != "ink" and np.ptp(score[normal]) > 0 < np.ptp(ink[normal]):
            measured[f"ink_{name}"] = float(spearmanr(ink[normal], score[normal]).statistic)
    return {name: round(value, 6) for name, value in measured.items()}


def by_defect(scores: np.ndarray, defects: list[str]) -> dict[str, list[float]]:
    """Group image scores by kind of defect, in the order of the files.

    As Python floats that print as short as the float32 they were: nothing is lost in the text.
    """
    grouped: dict[str, list[float]] = {}
    for score, defect in zip(scores.astype(np.float32), defects, strict=True):
        grouped.setdefault(defect, []).append(float(str(score)))
    return grouped


def grid(values: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of a grid of parameter values, the last name varying fastest."""
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def open_experiment(
    dataset: str,
    category: str,
    *,
    root: Path | str | None = None,
    backbone: str = "resnet18",
    depth: int = 3,
    weights: Path | str | None = None,
    device: str = "auto",
    precision: str = "float32",
    resize: int | None = 256,
    crop: int | None = 224,
    cache: bool = True,
    progress: bool = False,
) -> Experiment:
    """Open a category and a backbone by name; see ``datasets.load`` and ``open_backbone``.

    `depth` is the deepest level of the backbone that a method will need, 3 or 4.
    """
    opened = datasets.load(dataset, category, root, datasets.Transform(resize, crop))
    network = ensemble.open_backbone(
        backbone, depth, weights=weights, device=device, precision=precision
    )
    return Experiment(opened, network, cache, progress)


def _verbs(method: str) -> tuple[Callable, Callable]:
    cls = METHODS[method]
    return (cls.fit, cls.score) if reads_images(method) else (cls.fit_features, cls.score_features)


def _network(backbone: Backbone | ensemble.Ensemble) -> str:
    return backbone.name + ("" if backbone.precision == "float32" else "-bf16")


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _without_paths(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), folder.name)
