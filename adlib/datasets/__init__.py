"""Data sets: folders of real images, small pictures in classes, and a set made on the spot.

``load`` and ``categories`` find a data set by name; `READERS` is the register. A reader is a
module with ``categories(root) -> list[str]`` and ``category(name, root, transform) -> Category``.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from adlib.datasets import cifar10, digits, embedded, magnetic_tile, mnist, mstc, mvtec_ad
from adlib.datasets.arrays import ArrayImages
from adlib.datasets.cache import cache_dir
from adlib.datasets.folder import (
    Category,
    DefectCropped,
    EmptyMask,
    GroundTruth,
    Images,
    Sample,
    Transform,
)
from adlib.datasets.mvtec_ad import MissingMasks
from adlib.errors import InputError

__all__ = [
    "READERS",
    "ArrayImages",
    "Category",
    "DefectCropped",
    "EmptyMask",
    "GroundTruth",
    "Images",
    "MissingMasks",
    "Sample",
    "Transform",
    "cache_dir",
    "categories",
    "load",
]

READERS: dict[str, ModuleType] = {
    "embedded": embedded,
    "mvtec_ad": mvtec_ad,
    "magnetic_tile": magnetic_tile,
    "mstc": mstc,
    "mnist": mnist,
    "cifar10": cifar10,
    "digits": digits,
}


def load(
    dataset: str,
    category: str,
    root: Path | str | None = None,
    transform: Transform = Transform(),  # noqa: B008 (frozen)
) -> Category:
    """Open one category of a data set; images are decoded when they are asked for.

    Parameters
    ----------
    dataset
        A name in `READERS`: ``mvtec_ad`` for any folder in the layout of MVTec AD, ``embedded``
        for the generated set; ``mnist``, ``cifar10`` and ``digits`` have classes instead of
        defects, and small images that are read at once.
    category
        A name that ``categories(dataset, root)`` lists; of ``magnetic_tile`` any
        ``split<number>``, of a data set with classes the digits of any anomalous ones, ascending.
    root
        Folder that holds the categories; None for ``embedded`` and ``digits``.
    transform
        Resize and crop.

    Returns
    -------
    Category

    Raises
    ------
    InputError
        Unknown names, or a folder that does not hold what it should.
    """
    return _reader(dataset).category(category, _folder(root), transform)


def categories(dataset: str, root: Path | str | None = None) -> list[str]:
    """List the categories of a data set, sorted; parameters and errors as for `load`."""
    return _reader(dataset).categories(_folder(root))


def _reader(dataset: str) -> ModuleType:
    if not isinstance(dataset, str) or dataset not in READERS:
        raise InputError(f"The data set must be one of {', '.join(READERS)}, found {dataset!r}.")
    return READERS[dataset]


def _folder(root: Path | str | None) -> Path | None:
    if root is None:
        return None
    if not isinstance(root, str | Path) or not str(root).strip():
        raise InputError(f"root must be the path of a folder or None, found {root!r}.")
    return Path(root).expanduser().absolute()
