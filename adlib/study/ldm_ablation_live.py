"""A few pairs as the classifier sees them, made while the page is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from adlib import datasets, metrics, parameters
from adlib.diffusion import pairs
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.diffusion.pixels import as_images, as_pixels
from adlib.errors import InputError
from adlib.study.ldm_ablation import number
from adlib.study.ldm_tables import START


class LivePairs(NamedTuple):
    """Pairs that were just made, and what the classifier that learned from their kind says.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, 32, 32, C)
        Normal test images, the first of N classes.
    same : ndarray of uint8, shape (N, 32, 32, C)
        Their reconstructions from t = 200.
    different : dict of str to ndarray of uint8, shape (N, 32, 32, C)
        Kind of negatives -> what stands beside the image.
    said : dict of (str, str) to ndarray of float, shape (N,)
        (kind, ``same`` or ``different``) -> P(different), in [0, 1].
    table : DataFrame
        A row a kind: AUROC on held-out pairs and on test images, percent.
    """

    images: np.ndarray
    same: np.ndarray
    different: dict[str, np.ndarray]
    said: dict[tuple[str, str], np.ndarray]
    table: pd.DataFrame


def live(
    dataset: str,
    category: str,
    root: Path | str | None = None,
    preset: str = "tiny",
    seed: int = 0,
    kinds: Sequence[str] = ("noise", "other"),
    n_images: int = 6,
) -> LivePairs:
    """Train the classifier on some kinds of pairs, and show both sides of a few pairs.

    Raises
    ------
    InputError
        Unknown names, or data that do not fit.
    """
    if preset not in LatentDiffusionDetector.PRESETS:
        known = LatentDiffusionDetector.PRESETS
        raise InputError(parameters.unknown("preset", preset, known))
    opened = datasets.load(dataset, category, root)
    images = _first_of_classes(opened, n_images)
    different, said, rows = {}, {}, {}
    same = images
    for kind in kinds:
        values = LatentDiffusionDetector.PRESETS[preset] | {"negatives": kind, "seed": seed}
        detector = LatentDiffusionDetector(**values)
        detector.checkpoints = datasets.cache_dir() / "trainings"
        detector.fit(opened.train)
        made = _pairs(detector, images, kind, seed)
        n = len(images)
        probability = detector.classifier.probability(made.first, made.second)
        said[kind, "same"], said[kind, "different"] = probability[:n], probability[n : 2 * n]
        same, different[kind] = as_images(made.second[:n]), as_images(made.second[n : 2 * n])
        rows[kind] = _live_row(detector, opened)
    return LivePairs(images, same, different, said, pd.DataFrame(rows).T)


def _pairs(
    detector: LatentDiffusionDetector, images: np.ndarray, kind: str, seed: int
) -> pairs.Pairs:
    """Make the pairs of a few images as the detector makes those it learns from."""

    def pixels(made: np.ndarray) -> Tensor:
        return as_pixels(made, detector.channels)

    with torch.no_grad():
        return pairs.make(
            pixels(images),
            lambda some, start, draw: pixels(detector.reconstruct(as_images(some), start)),
            lambda n, draw: pixels(detector.sample(n)),
            positives=(START,),
            negatives=kind,
            later=detector.values["later"],
            draws=1,
            seed=seed,
        )


def _first_of_classes(opened: datasets.Category, n: int) -> np.ndarray:
    """Choose by rule: the first normal test image of each of the first `n` normal classes."""
    test = opened.test
    classes, normal = np.array(test.defects), test.labels == 0
    names = np.unique(classes[normal])[:n]
    rows = [int(np.flatnonzero((classes == name) & normal)[0]) for name in names]
    return test.pixels[rows]


def _live_row(detector: LatentDiffusionDetector, opened: datasets.Category) -> dict[str, str]:
    pixels = as_pixels(opened.test, detector.channels)
    made = as_pixels(detector.reconstruct(opened.test.pixels, START), detector.channels)
    scores = {
        "image with itself": detector.classifier.probability(pixels, pixels),
        f"classifier, t = {START}": detector.classifier.probability(pixels, made),
    }
    found = {name: metrics.auroc(opened.test.labels, score) for name, score in scores.items()}
    found = {"held-out pairs": detector.report["pair_auroc"]} | found
    return {name: number(value * 100) for name, value in found.items()}
