"""Which pairs train a classifier that helps? The chapter's central question, without labels.

The same compression model and diffusion, the same reconstructions of the same test images: only the
pairs that the classifier learns from differ, and what it says is compared at every start.

``python -m adlib.study.ldm_pairs --root DIR --category 0`` writes ``results/studies/``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from adlib import datasets, metrics, parameters, records
from adlib.atomic import replacement
from adlib.diffusion import pairs
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.diffusion.pixels import as_pixels
from adlib.errors import InputError
from adlib.study import study_files
from adlib.sweep import writable

FOLDER = Path("results/studies")
STARTS = (0, 100, 200, 300, 400, 500)
ALL = "100+200+300+400+500"
# name -> what differs from the paper's pairs
VARIANTS: dict[str, dict[str, Any]] = {
    "noise": {},
    "other": {"negatives": "other"},
    "later": {"negatives": "later"},
    "noise+other": {"negatives": "noise+other", "draws": 4},
    "noise, all starts": {"positives": ALL, "draws": 5},
    "other, all starts": {"negatives": "other", "positives": ALL, "draws": 5},
    "noise, seen images": {"seen": True},
    "noise, imagenet stem": {"stem": "imagenet"},
}


def run(
    dataset: str,
    category: str,
    root: Path | None,
    *,
    preset: str = "small",
    seed: int = 0,
    names: tuple[str, ...] = tuple(VARIANTS),
    out: Path = FOLDER,
    console: Console | None = None,
) -> Path:
    """Train a classifier on each kind of pairs; what the file holds already is not run again.

    Returns
    -------
    Path
        A JSON file: ``variants`` maps a name to ``auroc`` (start -> image AUROC, ``itself`` for
        score(x, x)), ``less_itself`` (start -> image AUROC of what the logit of a pair exceeds that
        of the image with itself), ``pair_auroc`` (held-out pairs), ``changes``, and the version of
        the pairs and commit that made it.

    Raises
    ------
    InputError
        A variant or preset that does not exist, data that do not fit, or a file in the way.
    """
    parameters.preset(LatentDiffusionDetector, preset, {})
    unknown = sorted(set(names) - set(VARIANTS))
    if unknown:
        raise InputError(f"variants are {', '.join(VARIANTS)}; found {', '.join(unknown)}")
    writable(out, "--out")
    target = out / f"ldm_pairs-{dataset}-{category}-{preset}-seed{seed}.json"
    found = _read(target, dataset, category, preset, seed, root)
    left = [
        name
        for name in names
        if found["variants"].get(name, {}).get("pairs_version") != pairs.VERSION
    ]
    if not left:
        return target
    opened = datasets.load(dataset, category, root)
    made: dict[int, Any] = {}
    for name in left:
        if console is not None:
            console.print(f"{category}: {name}", highlight=False)
        detector = _fitted(opened, preset, seed, VARIANTS[name])
        pixels = as_pixels(opened.test, detector.channels)
        for start in STARTS:
            if start not in made:  # the classifier has no part in it
                made[start] = detector.reconstruct(opened.test.pixels, start)
        itself = detector.classifier.logit(pixels, pixels)
        logits = {
            str(start): detector.classifier.logit(pixels, as_pixels(images))
            for start, images in made.items()
        }

        def aurocs(
            scores: dict[str, np.ndarray], labels: np.ndarray = opened.test.labels
        ) -> dict[str, float]:
            return {key: round(metrics.auroc(labels, score), 4) for key, score in scores.items()}

        found["variants"][name] = {
            "changes": VARIANTS[name],
            "pairs_version": pairs.VERSION,
            "commit": records.environment("cpu")["commit"],
            "pair_auroc": detector.report["pair_auroc"],
            "auroc": aurocs(logits | {"itself": itself}),
            "less_itself": aurocs({key: logit - itself for key, logit in logits.items()}),
        }
        with replacement(target) as part:
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return target


def _fitted(
    opened: datasets.Category, preset: str, seed: int, changes: dict[str, Any]
) -> LatentDiffusionDetector:
    values = LatentDiffusionDetector.PRESETS[preset] | changes
    detector = LatentDiffusionDetector(**values, seed=seed)
    detector.checkpoints = datasets.cache_dir() / "trainings"
    return detector.fit(opened.train)


def _read(
    target: Path, dataset: str, category: str, preset: str, seed: int, root: Path | None
) -> dict[str, Any]:
    if target.is_file():
        return study_files.read(target)
    folder = "" if root is None else "--root DIR "
    return {
        "schema": study_files.SCHEMA,
        "dataset": dataset,
        "category": category,
        "preset": preset,
        "seed": seed,
        "variants": {},
        "command": f"python -m adlib.study.ldm_pairs --dataset {dataset} {folder}"
        f"--category {category} --preset {preset} --seed {seed}",
    }


def main(
    dataset: Annotated[str, typer.Option(help="mnist, cifar10 or digits.")] = "mnist",
    root: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    category: Annotated[str, typer.Option(help="The anomalous classes.")] = "0",
    preset: Annotated[str, typer.Option(help="Of the detector: tiny, small, paper.")] = "small",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    variant: Annotated[
        list[str] | None, typer.Option(help="Of the pairs; repeat it. Default: all of them.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = FOLDER,
) -> None:
    """Train the pair classifier on each kind of pairs, and write how well each one detects."""
    names = tuple(variant) if variant else tuple(VARIANTS)
    options = {"preset": preset, "seed": seed, "names": names, "out": out}
    try:
        print(run(dataset, category, root, console=Console(stderr=True), **options))
    except InputError as error:
        print(f"adlib: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
