"""Reader of CIFAR-10: the official binary batches, or pictures in folders of classes.

A category is the text of its anomalous classes. The latent-diffusion paper prints four sets of
classes in Table 2. Its head calls them anomalous; the text speaks of five classes that were chosen
as normal, which may be these. Both readings are listed here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from adlib.datasets import class_folders, classes
from adlib.datasets.classes import SIDE, TRANSFORM, Labelled
from adlib.datasets.folder import Category
from adlib.datasets.listing import contents, entries, is_folder, near_miss
from adlib.datasets.transform import Transform
from adlib.errors import InputError

__all__ = [
    "NAMES",
    "OFFICIAL",
    "PRINTED",
    "READINGS",
    "TRANSFORM",
    "categories",
    "category",
    "download",
]

NAME = "cifar10"
NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
OFFICIAL = (50_000, 10_000)  # training and test images as published
PRINTED = ("01234", "23456", "45678", "67890")  # the sets of Table 2
_ANOMALOUS = tuple("".join(sorted(printed)) for printed in PRINTED)
READINGS = {  # categories; entry i of both belongs to printed set i
    "anomalous": _ANOMALOUS,  # the head of the table: these classes are the anomalies
    "normal": tuple(classes.complement(name) for name in _ANOMALOUS),  # the text: the normal ones
}
OBTAIN = "'adlib download cifar10 --root DIR' fetches the binary version"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
BELOW = ("", "cifar-10-batches-bin")
TRAIN = re.compile(r"data_batch_[1-5]\.bin")
TEST = "test_batch.bin"
RECORD = 1 + 3 * SIDE**2  # bytes: the class, then red, green and blue, row by row
MOST = 10_000  # images in a batch


def categories(root: Path | None) -> list[str]:
    """List the eight categories of Table 2 in both readings; only names of files are looked at.

    Raises
    ------
    InputError
        No root, or it does not hold the data set.
    """
    _layout(root)
    return sorted(name for reading in READINGS.values() for name in reading)


def category(name: str, root: Path | None, transform: Transform = TRANSFORM) -> Category:
    """Read a category.

    Parameters
    ----------
    name
        The anomalous classes, ascending: ``0``, ``01234``.
    root
        Folder with the binary batches or with ``cifar-10-batches-bin``; or a folder with ``train``
        and ``test``, of folders of classes. A part of the training images will do.
    transform
        Must ask for nothing.

    Returns
    -------
    Category
        RGB images, 32 x 32; ``notes`` says which part of the data set there was.

    Raises
    ------
    InputError
        Unknown category, a size is asked for, or a file is missing, damaged or foreign.
    """
    classes.check_transform(NAME, transform)
    folder = _layout(root)
    classes.check(NAME, name, NAMES)
    if _is_binary(folder):
        train = _batches([path for path in entries(folder) if TRAIN.fullmatch(path.name)])
        test = _batches([folder / TEST])
    else:
        train, test = class_folders.read(folder, NAMES, SIDE, 3)
    return classes.split(NAME, name, NAMES, train, test, OFFICIAL)


def download(root: Path) -> None:
    """Fetch the binary version with its checksum; needs a network.

    torchvision's own CIFAR10 fetches pickled batches, and files from outside are never unpickled.

    Raises
    ------
    InputError
        It cannot be fetched.
    """
    from adlib.datasets.fetch import torchvision_datasets

    with torchvision_datasets("CIFAR-10", root) as torchvision:
        torchvision.utils.download_and_extract_archive(URL, download_root=str(root), md5=MD5)


def _layout(root: Path | None) -> Path:
    """Return the folder that holds the binary batches, or the folders of splits."""
    needs = (
        f"The data set {NAME} needs the folder (--root DIR) that holds data_batch_1.bin and so on "
        f"and {TEST}, or train/<class>/*.png and test/<class>/*.png"
    )
    if root is None:
        raise InputError(f"{needs}, and none was given; {OBTAIN}.")
    if not is_folder(root):
        what = "a file" if root.is_file() else "nothing"
        raise InputError(f"{needs}; found {what} at {root}; {OBTAIN}.")
    if folder := _found(root):
        return folder
    pickled = [path for path in (root, root / "cifar-10-batches-py") if _is_pickled(path)]
    if pickled:
        raise InputError(
            f"{pickled[0]} holds the Python version of CIFAR-10, whose pickle files can run any "
            f"code and are never opened here: take the binary version instead; {OBTAIN}."
        )
    raise InputError(
        f"{needs}; found {contents(root)} in {root}{near_miss(root, _fits)}; {OBTAIN}."
    )


def _found(root: Path) -> Path | None:
    """Return the folder that holds the images of a root: binary batches, else splits."""
    below = [root / name for name in BELOW if is_folder(root / name)]
    whole = (folder for folder in below if _is_binary(folder))
    return next(whole, root if class_folders.fits(root) else None)


def _is_binary(folder: Path) -> bool:
    names = {path.name for path in entries(folder)}
    return TEST in names and any(TRAIN.fullmatch(name) for name in names)


def _fits(root: Path) -> bool:
    return _found(root) is not None


def _is_pickled(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("data_batch_1", "test_batch"))


def _batches(paths: list[Path]) -> Labelled:
    stamps = tuple((status.st_size, status.st_mtime_ns) for status in map(Path.stat, paths))
    return Labelled(*_decode(tuple(paths), stamps))


@lru_cache(maxsize=2)
def _decode(
    paths: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Read batches once for all the categories of a sweep; `stamps` notices changed files."""
    records = np.concatenate([_records(path) for path in paths])
    pixels = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1).copy()
    pixels.flags.writeable = False
    return pixels, records[:, 0].astype(np.int64)


def _records(path: Path) -> np.ndarray:
    """Read a batch as records (n, 3073)."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST * RECORD + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    if not data or len(data) % RECORD:
        what = f"more than {MOST}" if len(data) > MOST * RECORD else f"{len(data) / RECORD:.2f}"
        raise InputError(
            f"{path} must hold 1 to {MOST} images of {RECORD} bytes each, found {what}: "
            "fetch it again."
        )
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() > 9:
        raise InputError(f"Classes of {NAME} are 0 to 9, found {records[:, 0].max()} in {path}.")
    return records
