"""Fig. 3 of the latent-diffusion paper: reconstructions against the start t, live or from a file.

``python -m adlib.study.ldm_pictures --root DIR --category 0`` fits a detector, or finds its
networks among the checkpoints of a recorded run, and writes a small file that a page can show
without the data. Which images are shown a rule decides: the first test image of each of the first
five normal classes, the first three anomalous ones, and thumbnails of the embedded data.
"""

from __future__ import annotations

import argparse
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adlib import datasets, evaluate, parameters, records
from adlib.atomic import replacement
from adlib.datasets import Category, embedded
from adlib.datasets.classes import SIDE
from adlib.datasets.folder import GOOD
from adlib.diffusion.detector import LatentDiffusionDetector
from adlib.errors import InputError

STARTS = (0, 100, 200, 300, 400, 500)  # t, as in Fig. 3; 0 is the VQ model alone
NORMAL, ANOMALOUS, OTHER = "normal", "held out", "other data"
COUNTS = {NORMAL: 5, ANOMALOUS: 3, OTHER: 3}
SAMPLES = 16
FOREIGN = ("brick", "circuit", "gear")  # embedded categories whose first image is "other data"
SHOWN = ("mnist", "digits")  # data sets of which pictures may be passed on


class Pictures(NamedTuple):
    """Images and what becomes of them.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, 32, 32, C)
    kinds : list of str, length N
        `NORMAL`, `ANOMALOUS` or `OTHER`.
    starts : list of int, length T
    reconstructions : ndarray of uint8, shape (T, N, 32, 32, C)
    samples : ndarray of uint8, shape (S, 32, 32, C)
        Made from noise.
    about : dict
        What was run: ``dataset``, ``category``, ``preset``, ``parameters``, ``key`` of the record
        with the same settings, ``command``, ``licence``.
    """

    images: np.ndarray
    kinds: list[str]
    starts: list[int]
    reconstructions: np.ndarray
    samples: np.ndarray
    about: dict[str, Any]


class Live(NamedTuple):
    """A detector fitted on one category, and what it reaches there.

    Attributes
    ----------
    detector : LatentDiffusionDetector
    category : Category
    metrics : dict of str to float
        ``evaluate.measure`` of its scores.
    about : dict
        As in `Pictures`.
    """

    detector: LatentDiffusionDetector
    category: Category
    metrics: dict[str, float]
    about: dict[str, Any]


def open_detector(
    dataset: str,
    category: str,
    root: Path | str | None = None,
    preset: str = "tiny",
    seed: int = 0,
    device: str = "auto",
) -> tuple[LatentDiffusionDetector, Category, dict[str, Any]]:
    """Fit a detector with the settings of a preset; checkpoints as ``adlib evaluate`` keeps them.

    Trainings of a recorded run with the same images and settings are found again and not repeated.

    Returns
    -------
    detector : LatentDiffusionDetector
    category : Category
    about : dict
        As in `Pictures`.

    Raises
    ------
    InputError
        Unknown names, or data that do not fit.
    """
    _keep_tqdm_quiet()
    if preset not in LatentDiffusionDetector.PRESETS:
        names = LatentDiffusionDetector.PRESETS
        raise InputError(parameters.unknown("preset", preset, names))
    opened = datasets.load(dataset, category, root)
    values = parameters.check(
        LatentDiffusionDetector, LatentDiffusionDetector.PRESETS[preset] | {"seed": seed}
    )
    identity = evaluate.Experiment(opened, None).identity("latent_diffusion", values)
    detector = LatentDiffusionDetector(**values)
    detector.device = device
    detector.checkpoints = datasets.cache_dir() / "trainings"
    detector.fit(opened.train)
    about = {
        "dataset": dataset,
        "category": category,
        "preset": preset,
        "parameters": identity["parameters"],
        "key": records.key(identity),
    }
    return detector, opened, about


def _keep_tqdm_quiet() -> None:
    """Import the bars of tqdm before diffusers does: in a notebook they ask for widgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


def live(
    dataset: str, category: str, root: Path | str | None = None, preset: str = "tiny", seed: int = 0
) -> Live:
    """Fit as `open_detector` does, and measure every score on the test images."""
    detector, opened, about = open_detector(dataset, category, root, preset, seed)
    scores = detector.score(opened.test)
    return Live(detector, opened, evaluate.measure(opened.test.labels, scores, None), about)


def choose(category: Category) -> tuple[np.ndarray, list[str]]:
    """Choose the images of the figure, by rule.

    Parameters
    ----------
    category : Category
        Of a data set with classes.

    Returns
    -------
    images : ndarray of uint8, shape (N, 32, 32, C)
    kinds : list of str, length N
    """
    test = category.test
    classes = np.array(test.defects)
    normal = np.unique(classes[test.labels == 0])[: COUNTS[NORMAL]]
    first = [int(np.flatnonzero((classes == name) & (test.labels == 0))[0]) for name in normal]
    held_out = np.flatnonzero(test.labels == 1)[: COUNTS[ANOMALOUS]]
    own = test.pixels[[*first, *held_out]]
    foreign = np.repeat(foreign_images()[..., None], own.shape[3], axis=3)
    kinds = [NORMAL] * len(first) + [ANOMALOUS] * len(held_out) + [OTHER] * len(foreign)
    return np.concatenate([own, foreign]), kinds


def foreign_images() -> np.ndarray:
    """Return grey thumbnails of the embedded data: uint8 (3, 32, 32)."""
    thumbnails = []
    for name in FOREIGN[: COUNTS[OTHER]]:
        image, _ = embedded.picture(name, "train", GOOD, 0)
        small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        thumbnails.append(np.asarray(small))
    return np.stack(thumbnails)


def pictures(
    detector: LatentDiffusionDetector, category: Category, about: dict[str, Any]
) -> Pictures:
    """Reconstruct the chosen images from every start, and make samples.

    The noise of an image follows from its pixels, the seed and the start.
    """
    images, kinds = choose(category)
    made = np.stack([detector.reconstruct(images, start) for start in STARTS])
    return Pictures(images, kinds, list(STARTS), made, detector.sample(SAMPLES), about)


def write(shown: Pictures, target: Path) -> None:
    """Write pictures to one compressed .npz file, in one step and without pickle.

    Raises
    ------
    InputError
        The folder cannot be written to.
    """
    arrays = {name: getattr(shown, name) for name in ("images", "reconstructions", "samples")}
    text = json.dumps({"kinds": shown.kinds, "starts": shown.starts, "about": shown.about})
    arrays["description"] = np.frombuffer(text.encode(), dtype=np.uint8)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacement(target) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise InputError(
            f"the pictures could not be written to {target} ({error.strerror or error}); choose "
            "another place with --out"
        ) from error


def read(source: Path) -> Pictures | None:
    """Read pictures; None where there is no such file.

    Raises
    ------
    InputError
        The file is damaged or of another form.
    """
    if not source.is_file():
        return None
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("images", "reconstructions", "samples")}
            described = json.loads(found["description"].tobytes().decode())
        made = arrays["reconstructions"].shape
        fits = made == (len(described["starts"]), *arrays["images"].shape)
        if not fits or len(described["kinds"]) != made[1]:
            raise ValueError("its arrays do not fit together")
        return Pictures(**arrays, **described)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source} must hold pictures as adlib.study.ldm_pictures writes them, but does not "
            f"({error}); write it again"
        ) from error


def command(about: dict[str, Any]) -> str:
    """Return the command that makes the pictures, at the place where pages look for them."""
    preset = "" if about["preset"] == "small" else f" --preset {about['preset']}"
    where = "" if about["dataset"] in evaluate.MADE_HERE else " --root DIR"
    return (
        f"python -m adlib.study.ldm_pictures --dataset {about['dataset']}{where} "
        f"--category {about['category']}{preset} --seed {about['parameters']['seed']}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the pictures of one model."""
    parser = argparse.ArgumentParser(
        prog="python -m adlib.study.ldm_pictures", description=main.__doc__
    )
    parser.add_argument("--dataset", default="mnist", choices=SHOWN)
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--category", default="0", help="the anomalous classes")
    parser.add_argument("--preset", default="small", choices=LatentDiffusionDetector.PRESETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--out", type=Path, help="default: results/pictures/ldm_DATASET_CATEGORY.npz"
    )
    given = parser.parse_args(arguments)
    out = given.out or Path(f"results/pictures/ldm_{given.dataset}_{given.category}.npz")
    try:
        detector, category, about = open_detector(
            given.dataset, given.category, given.root, given.preset, given.seed, given.device
        )
        about |= {"command": command(about)}
        write(pictures(detector, category, about), out)
    except InputError as error:
        parser.exit(2, f"{error}\n")
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
