"""The embedded data set: five small categories in MVTec AD's layout, made on first use.

It proves that the machinery works, without a network and in seconds; it is no benchmark. Every
picture is determined by its name and by the code in `scenes`, to the last bit.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_closing, label

from adlib.datasets import mvtec_ad, png, scenes
from adlib.datasets.cache import cache_dir
from adlib.datasets.folder import GOOD, Category, Transform
from adlib.datasets.scenes.circuit import CIRCUIT
from adlib.datasets.scenes.gear import GEAR
from adlib.datasets.scenes.textures import BRICK, GRASS, GRAVEL
from adlib.errors import InputError

NAME = "embedded"
SUBJECTS: dict[str, scenes.Subject] = {
    "brick": BRICK,
    "circuit": CIRCUIT,
    "gear": GEAR,
    "grass": GRASS,
    "gravel": GRAVEL,
}
N_TRAIN, N_GOOD, N_DEFECT = 40, 12, 6  # pictures: training, normal test, test of each defect
_SEED = 20260
_VISIBLE = 4 / 255  # a pixel counts as altered from this difference on
_SPECK = 8  # smaller connected parts of a difference are undone, not marked


def categories(root: Path | None = None) -> list[str]:
    """List the categories; nothing is generated.

    Raises
    ------
    InputError
        A root was given: the set lives in the cache.
    """
    if root is not None:
        raise InputError(
            f"The data set {NAME} is generated and takes no root, found {root}: "
            f"leave the root out, or name the data set {mvtec_ad.NAME} to read a folder."
        )
    return sorted(SUBJECTS)


def category(name: str, root: Path | None, transform: Transform) -> Category:
    """Open a category, which is generated into the cache if it is not there.

    Raises
    ------
    InputError
        Unknown name, or the cache cannot be written.
    """
    names = categories(root)
    if not isinstance(name, str) or name not in SUBJECTS:
        raise InputError(
            f"The category must be one of {', '.join(names)} of the data set {NAME}, found "
            f"{name!r}; --dataset names another data set."
        )
    folder = cache_dir() / NAME / _version()
    if not (folder / name).is_dir():
        generate(name, folder)
    found = mvtec_ad.category(name, folder, transform, dataset=NAME)
    expected = (N_TRAIN, N_GOOD + N_DEFECT * len(SUBJECTS[name].kinds))
    if (len(found.train), len(found.test)) != expected or not found.test.has_masks:
        raise InputError(
            f"The generated category must hold {expected[0]} training and {expected[1]} test "
            f"images with masks, found {len(found.train)} and {len(found.test)}: "
            f"delete {folder / name} to have it made anew."
        )
    return found


def generate(name: str, folder: Path) -> Path:
    """Write one category into ``folder/name``.

    The files appear at once, by renaming a finished temporary folder, so that an interrupted run
    leaves nothing behind and of two processes at the same time both find a whole category.

    Parameters
    ----------
    name
        A key of `SUBJECTS`.
    folder
        Created if need be.

    Returns
    -------
    Path
        ``folder/name``.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=f".{name}-", ignore_cleanup_errors=True
        ) as temporary:
            written = Path(temporary) / name
            for path, content in _files(name):
                (written / path).parent.mkdir(parents=True, exist_ok=True)
                (written / path).write_bytes(content)
            try:
                os.rename(written, target)
            except OSError:
                if not target.is_dir():  # else another process was faster
                    raise
    except OSError as error:
        raise InputError(
            f"The embedded data set cannot be written to {folder} ({error.strerror}): "
            "make room or set ADLIB_CACHE to another folder."
        ) from error
    return target


def picture(name: str, split: str, kind: str, number: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Make one picture.

    Parameters
    ----------
    name
        A key of `SUBJECTS`.
    split
        ``train`` or ``test``.
    kind
        ``good`` or a defect of the subject.
    number
        Running number in its folder.

    Returns
    -------
    image : ndarray of uint8, shape (256, 256) or (256, 256, 3)
    mask : ndarray of bool, shape (256, 256), or None
        The pixels that differ from the same picture without the defect; None for ``good``.
    """
    subject = SUBJECTS[name]
    words = "/".join((name, split, kind)).encode()
    rng = np.random.default_rng([_SEED, int.from_bytes(hashlib.sha256(words).digest()[:8]), number])
    look = subject.look(rng, split)
    image, mask = subject.render(look), None
    noise = rng.normal(0, subject.noise, image.shape)
    if kind != GOOD:
        damaged = subject.render(look, kind, rng)
        mask = _altered(image, damaged)
        image = np.where(mask if image.ndim == 2 else mask[..., None], damaged, image)
    return np.rint(255 * np.clip(image + noise, 0, 1)).astype(np.uint8), mask


def _altered(clean: np.ndarray, damaged: np.ndarray) -> np.ndarray:
    """Mark where two pictures differ visibly, without pinholes and specks."""
    difference = np.abs(damaged - clean)
    if difference.ndim == 3:
        difference = difference.max(axis=2)
    # where a defect happens to have the colour of what it covers it still is a defect
    marked = binary_closing(difference >= _VISIBLE, np.ones((3, 3)), iterations=2)
    parts, count = label(marked, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    return sizes[parts] >= _SPECK


def _files(name: str):
    """Yield path and content of every file of a category."""
    for number in range(N_TRAIN):
        image, _ = picture(name, "train", GOOD, number)
        yield f"train/{GOOD}/{number:03}.png", png.encode(image)
    for kind in (GOOD, *SUBJECTS[name].kinds):
        for number in range(N_GOOD if kind == GOOD else N_DEFECT):
            image, mask = picture(name, "test", kind, number)
            yield f"test/{kind}/{number:03}.png", png.encode(image)
            if mask is not None:
                marked = np.where(mask, 255, 0).astype(np.uint8)
                yield f"ground_truth/{kind}/{number:03}_mask.png", png.encode(marked)


@cache
def _version() -> str:
    """Hash what determines the pictures: this code and the package with the photographs."""
    here = Path(__file__).parent
    sources = [Path(__file__), here / "png.py", *sorted((here / "scenes").glob("*.py"))]
    digest = hashlib.sha256(version("scikit-image").encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
