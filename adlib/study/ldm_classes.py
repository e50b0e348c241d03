"""What a knowledge of classes would add: an examination of the pair classifier with labels.

The method never sees a label. To learn why its classifier works or fails, this study looks from
outside: a support vector machine that knows the classes says how often a reconstruction keeps the
class of its image, and how often a sample from noise happens to have it; and the pair classifier is
trained again on pairs that labels have cleaned, or made. Every other test image serves for that,
the rest for the comparison.

``python -m adlib.study.ldm_classes --root DIR --category 0`` writes ``results/studies/``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from adlib import datasets, metrics, parameters, records
from adlib.atomic import replacement
from adlib.diffusion import pairs, training
from adlib.diffusion.base import numbers, seeded
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.diffusion.pair_classifier import PairClassifier
from adlib.diffusion.pixels import as_images, as_pixels
from adlib.errors import InputError
from adlib.study import study_files
from adlib.sweep import writable

STARTS = (100, 200, 300, 400, 500)
COMPARED = (200, 400, 500)
FOLDER = Path("results/studies")
# what the two halves of a pair are: as printed, cleaned by labels, made by labels
VARIANTS = ("noise", "noise of another class", "other", "other of another class", "same class")


def examine(
    dataset: str, category: str, root: Path | None, preset: str, seed: int = 0
) -> dict[str, Any]:
    """Fit a detector (or find it among the checkpoints) and look at its pairs with labels.

    Parameters
    ----------
    dataset, category, root
        As for ``datasets.load``; a data set whose images are in classes.
    preset : str
        Of ``LatentDiffusionDetector``.
    seed : int

    Returns
    -------
    dict
        ``kept``: start -> share of normal and of anomalous images whose reconstruction has the
        class of the image; ``same_class``: share of samples that have the class of their partner;
        ``auroc``: variant -> start -> image AUROC on the rest; ``labeller_accuracy``.
    """
    values = parameters.preset(LatentDiffusionDetector, preset, {"seed": seed})
    opened = datasets.load(dataset, category, root)
    if not isinstance(opened.test, datasets.ArrayImages):
        raise InputError(f"this study needs images in classes, as mnist has them, found {dataset}")
    detector = LatentDiffusionDetector(**values)
    detector.checkpoints = datasets.cache_dir() / "trainings"
    detector.fit(opened.train)
    # alternately: the two halves of MNIST's test set come from different writers
    first, second = opened.test[::2], opened.test[1::2]
    labeller, accuracy = _labeller(first, second)
    kept = _kept(detector, labeller, second)
    normal = first.labels == 0
    images = as_pixels(first.pixels[normal], detector.channels)
    classes = np.array(first.defects)[normal]
    samples = as_pixels(detector.sample(len(images)), detector.channels)
    drawn = labeller.predict(_flat(samples))
    tested = {start: detector.reconstruct(second.pixels, start) for start in COMPARED}
    made = as_pixels(detector.reconstruct(as_images(images), 200), detector.channels)
    auroc = {
        variant: _compare(
            detector, _pairs(variant, images, classes, made, samples, drawn, seed), second, tested
        )
        for variant in VARIANTS
    }
    return {
        "schema": study_files.SCHEMA,
        "dataset": dataset,
        "category": category,
        "preset": preset,
        "seed": seed,
        "environment": records.environment("cpu"),
        "images": {"pairs": int(normal.sum()), "tested": len(second)},
        "labeller_accuracy": accuracy,
        "kept": kept,
        "same_class": round(float((drawn == classes).mean()), 4),
        "expected_same_class": round(float(_chance(classes, drawn)), 4),
        "auroc": auroc,
        "command": f"python -m adlib.study.ldm_classes --dataset {dataset} "
        f"{'' if root is None else '--root DIR '}--category {category} --preset {preset} "
        f"--seed {seed}",
    }


def _labeller(first: datasets.ArrayImages, second: datasets.ArrayImages) -> tuple[Any, float]:
    """Fit a support vector machine on the classes of the first half; its accuracy on the second."""
    from sklearn.svm import SVC

    machine = SVC(C=5, gamma="scale").fit(_flat(as_pixels(first)), first.defects)
    right = machine.predict(_flat(as_pixels(second))) == np.array(second.defects)
    return machine, round(float(right.mean()), 4)


def _kept(
    detector: LatentDiffusionDetector, labeller: Any, images: datasets.ArrayImages
) -> dict[str, dict[str, float]]:
    classes, labels = np.array(images.defects), images.labels
    found = {}
    for start in (0, *STARTS):
        made = as_pixels(detector.reconstruct(images.pixels, start), detector.channels)
        same = labeller.predict(_flat(made)) == classes
        found[str(start)] = {
            "normal": round(float(same[labels == 0].mean()), 4),
            "anomalous": round(float(same[labels == 1].mean()), 4),
        }
    return found


def _pairs(
    variant: str,
    images: Tensor,
    classes: np.ndarray,
    made: Tensor,
    samples: Tensor,
    drawn: np.ndarray,
    seed: int,
) -> pairs.Pairs:
    """Make the pairs of a variant from images, their reconstructions and samples."""
    rng = np.random.default_rng([seed, 3])
    n = len(images)
    own = np.arange(n)
    positive, negative = own, np.roll(own, 1)
    source, kind = made, classes
    if variant.startswith("noise"):
        negative, source, kind = own, samples, drawn
    if variant == "same class":
        positive = _partners(classes, classes, rng, same=True)
    if variant.endswith("another class") or variant == "same class":
        negative = _partners(classes, kind, rng, same=False)
    return pairs.Pairs(
        torch.cat([images, images]),
        torch.cat([made[torch.from_numpy(positive)], source[torch.from_numpy(negative)]]),
        torch.cat([torch.zeros(n), torch.ones(n)]),
        np.concatenate([positive, negative]),
    )


def _partners(
    classes: np.ndarray, kinds: np.ndarray, rng: np.random.Generator, *, same: bool
) -> np.ndarray:
    """Draw for each image a partner of its own class, or of any other class."""
    found = np.empty(len(classes), dtype=np.int64)
    for name in np.unique(classes):
        of_class = np.flatnonzero(classes == name)
        pool = np.flatnonzero((kinds == name) == same)
        if not len(pool):
            raise InputError(
                f"pairs need images of {'the same' if same else 'another'} class for each class, "
                f"found none for {name}; train longer or take more images"
            )
        found[of_class] = rng.choice(pool, size=len(of_class))
    return found


def _compare(
    detector: LatentDiffusionDetector,
    shown: pairs.Pairs,
    images: datasets.ArrayImages,
    tested: dict[int, np.ndarray],
) -> dict[str, float]:
    values = detector.values
    with seeded(values["seed"]):
        widths = numbers(values["classifier_widths"], "classifier_widths")
        classifier = PairClassifier(detector.channels, widths, values["stem"])
    plan = training.Plan(
        values["classifier_steps"], values["classifier_batch"], values["classifier_lr"]
    )
    rows = torch.arange(len(shown.first))
    training.train(
        "classifier", classifier, pairs.loss(classifier, shown), rows, plan, seed=values["seed"]
    )
    pixels = as_pixels(images, detector.channels)
    return {
        str(start): round(
            metrics.auroc(
                images.labels,
                classifier.probability(pixels, as_pixels(made, detector.channels)),
            ),
            4,
        )
        for start, made in tested.items()
    }


def _flat(pixels: Tensor) -> np.ndarray:
    return pixels.flatten(1).numpy()


def _chance(first: np.ndarray, second: np.ndarray) -> float:
    """Return how often two independent draws from these classes agree."""
    names = np.union1d(first, second)
    return sum(float((first == n).mean() * (second == n).mean()) for n in names)


def main(
    dataset: Annotated[str, typer.Option(help="mnist or digits.")] = "mnist",
    root: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    category: Annotated[str, typer.Option(help="The anomalous classes.")] = "0",
    preset: Annotated[str, typer.Option(help="Of the detector: tiny, small, paper.")] = "small",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = FOLDER,
) -> None:
    """Look at the pairs of the classifier with labels, and write what is found."""
    try:
        writable(out, "--out")
        found = examine(dataset, category, root, preset, seed)
    except InputError as error:
        print(f"adlib: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    target = out / f"ldm_classes-{dataset}-{category}-{preset}-seed{seed}.json"
    with replacement(target) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    typer.run(main)
