"""Reader of MNIST: the official IDX files, or pictures in folders of classes.

The digits of 28 x 28 pixels get a black rim of 2 pixels, as in the latent-diffusion paper. A
category is the text of its anomalous digits; the paper makes each digit anomalous once.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from adlib.datasets import class_folders, classes
from adlib.datasets.classes import TRANSFORM, Labelled
from adlib.datasets.folder import Category
from adlib.datasets.listing import contents, entries, is_folder, near_miss
from adlib.datasets.transform import Transform
from adlib.errors import InputError

__all__ = ["NAMES", "OFFICIAL", "TRANSFORM", "categories", "category", "download"]

NAME = "mnist"
NAMES = tuple("0123456789")
OFFICIAL = (60_000, 10_000)  # training and test images as published
OBTAIN = "'adlib download mnist --root DIR' fetches the data set"
FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
BELOW = ("", "raw", "MNIST/raw", "mnist/MNIST/raw")  # torchvision keeps them in MNIST/raw
SIDE, RIM = 28, 2  # pixels
MOST = 100_000  # images that a file may announce: 78 MB
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801  # uint8 along three axes, along one axis


def categories(root: Path | None) -> list[str]:
    """List the many-versus-one categories; only names of files are looked at.

    Raises
    ------
    InputError
        No root, or it does not hold the data set.
    """
    _layout(root)
    return classes.one_each()


def category(name: str, root: Path | None, transform: Transform = TRANSFORM) -> Category:
    """Read a category.

    Parameters
    ----------
    name
        The anomalous digits, ascending: ``0``, ``01234``.
    root
        Folder with the four IDX files, plain or as .gz, or a folder above them as torchvision
        makes it; or a folder with ``train`` and ``test``, of folders of classes.
    transform
        Must ask for nothing.

    Returns
    -------
    Category
        Grey images, 32 x 32.

    Raises
    ------
    InputError
        Unknown category, a size is asked for, or a file is missing, damaged or foreign.
    """
    classes.check_transform(NAME, transform)
    folder = _layout(root)
    classes.check(NAME, name, NAMES)
    if _idx_folder(folder):
        splits = tuple(_read(folder, *names) for names in FILES)
    else:
        splits = class_folders.read(folder, NAMES, SIDE, 1)
    train, test = (Labelled(_padded(pixels), digits) for pixels, digits in splits)
    return classes.split(NAME, name, NAMES, train, test, OFFICIAL)


def download(root: Path) -> None:
    """Fetch the four files with torchvision, which knows their checksums; needs a network.

    Raises
    ------
    InputError
        They cannot be fetched.
    """
    from adlib.datasets.fetch import torchvision_datasets

    with torchvision_datasets("MNIST", root) as torchvision:
        torchvision.MNIST(str(root), download=True)


def _layout(root: Path | None) -> Path:
    """Return the folder that holds the IDX files, or the folders of splits."""
    wanted = [name for pair in FILES for name in pair]
    needs = (
        f"The data set {NAME} needs the folder (--root DIR) that holds {', '.join(wanted)}, plain "
        "or as .gz, or train/<class>/*.png and test/<class>/*.png"
    )
    if root is None:
        raise InputError(f"{needs}, and none was given; {OBTAIN}.")
    if not is_folder(root):
        what = "a file" if root.is_file() else "nothing"
        raise InputError(f"{needs}; found {what} at {root}; {OBTAIN}.")
    if folder := _idx_folder(root):
        missing = [name for name in wanted if not _existing(folder, name)]
        if missing:
            raise InputError(
                f"{folder} holds only a part of {NAME}, no {', '.join(missing)}; {OBTAIN}."
            )
        return folder
    if class_folders.fits(root):
        return root
    raise InputError(
        f"{needs}; found {contents(root)} in {root}{near_miss(root, _fits)}; {OBTAIN}."
    )


def _fits(folder: Path) -> bool:
    return _idx_folder(folder) is not None or class_folders.fits(folder)


def _idx_folder(root: Path) -> Path | None:
    """Return the first folder with any of the four files."""
    below = (root / name for name in BELOW if is_folder(root / name))
    return next((f for f in below if any(_existing(f, n) for pair in FILES for n in pair)), None)


def _existing(folder: Path, name: str) -> Path | None:
    """Return the file, plain rather than packed."""
    here = {path.name: path for path in entries(folder)}
    return here.get(name) or here.get(f"{name}.gz")


def _padded(pixels: np.ndarray) -> np.ndarray:
    """Lay a black rim around digits (N, 28, 28, 1)."""
    return np.pad(pixels, ((0, 0), (RIM, RIM), (RIM, RIM), (0, 0)))


def _read(folder: Path, images_name: str, labels_name: str) -> Labelled:
    """Read a split from its two files."""
    images = _existing(folder, images_name)
    labels = _existing(folder, labels_name)
    pixels = _idx(images, IMAGES_MAGIC, (SIDE, SIDE))[..., np.newaxis]
    digits = _idx(labels, LABELS_MAGIC, ())
    if len(pixels) != len(digits):
        raise InputError(
            f"Every image needs one label, found {len(pixels)} images in {images} and "
            f"{len(digits)} labels in {labels}: fetch both files again."
        )
    if digits.max() > 9:
        raise InputError(f"Labels of {NAME} are 0 to 9, found {digits.max()} in {labels}.")
    return Labelled(pixels, digits.astype(np.int64))


def _idx(path: Path, magic: int, shape: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file of bytes whose entries have the given shape.

    The header is four bytes with the type and the number of axes, then a big-endian uint32 an
    axis. No more is unpacked than the header announces, and no more than `MOST` entries.
    """
    header = struct.Struct(f">{2 + len(shape)}I")
    again = "fetch the file again"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(header.size)
            if len(start) < header.size:
                raise InputError(f"{path} ends within its header: {again}.")
            found, count, *sides = header.unpack(start)
            if found != magic or tuple(sides) != shape or not 1 <= count <= MOST:
                wanted = " x ".join(map(str, ("n", *shape)))
                raise InputError(
                    f"{path} must be an IDX file of {wanted} bytes (magic number {magic}), found "
                    f"magic number {found} and {' x '.join(map(str, (count, *sides)))}: {again}."
                )
            size = count * int(np.prod(shape, dtype=np.int64))
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({f'{error}'.rstrip('.')}): {again}.") from error
    if len(data) != size:
        what = "more" if len(data) > size else f"only {len(data)}"
        raise InputError(f"{path} must hold {size} bytes after its header, found {what}: {again}.")
    return np.frombuffer(data, dtype=np.uint8).reshape(count, *shape)
