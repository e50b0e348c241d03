"""Small pictures as files in folders of classes: ``{train,test}/<class>/<number>.png``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from adlib.datasets.classes import Labelled
from adlib.datasets.decode import read_rgb
from adlib.datasets.listing import contents, folders, images, is_folder
from adlib.errors import InputError

SPLITS = ("train", "test")


def fits(root: Path) -> bool:
    """Tell whether a folder holds ``train`` and ``test``."""
    return all(is_folder(root / name) for name in SPLITS)


def read(root: Path, names: Sequence[str], side: int, channels: int) -> tuple[Labelled, Labelled]:
    """Read both splits.

    Parameters
    ----------
    root
        Holds ``train`` and ``test``, and each a folder of every class, named by its number, its
        name, or both: ``3``, ``cat``, ``3_cat``.
    names
        Of the ten classes.
    side
        Height and width that every image must have, pixels.
    channels
        1 for grey images, 3 for RGB.

    Returns
    -------
    train, test : Labelled
        Pixels (N, side, side, channels). In order of the number in the file name, whatever the
        class: the order of the official files, where the names tell it. Then in order of class.

    Raises
    ------
    InputError
        Folders of other names, an image of another size, a damaged one, or a split without images.
    """
    train, test = (_read_split(root / split, names, side, channels) for split in SPLITS)
    return train, test


def _read_split(folder: Path, names: Sequence[str], side: int, channels: int) -> Labelled:
    by_class = _by_class(folder, names)
    found = [(path, number) for number, name in by_class.items() for path in images(folder / name)]
    if not found:
        raise InputError(
            f"{folder} must hold a folder of images for each class, as {_example(names)}/1.png, "
            f"found {contents(folder)} and no image in it."
        )
    found.sort(key=lambda one: (_position(one[0]), one[1], one[0].name))
    paths = tuple(path for path, _ in found)
    stamps = tuple((status.st_size, status.st_mtime_ns) for status in map(Path.stat, paths))
    classes = np.array([number for _, number in found], dtype=np.int64)
    return Labelled(_decode(paths, stamps, side, channels), classes)


@lru_cache(maxsize=2)
def _decode(
    paths: tuple[Path, ...], stamps: tuple[tuple[int, int], ...], side: int, channels: int
) -> np.ndarray:
    """Decode once for all the categories of a sweep; `stamps` notices files that change."""
    pixels = np.empty((len(paths), side, side, channels), dtype=np.uint8)
    for target, path in zip(pixels, paths, strict=True):
        image = read_rgb(path)
        if image.size != (side, side):
            width, height = image.size
            raise InputError(
                f"{path} must be {side} x {side} pixels, found {height} x {width} "
                "(height x width): give the images as they were published."
            )
        rgb = np.asarray(image)
        if channels == 1 and (rgb != rgb[:, :, :1]).any():
            raise InputError(f"{path} must be grey, found colours: replace it.")
        target[:] = rgb[:, :, :channels]
    pixels.flags.writeable = False
    return pixels


def _by_class(folder: Path, names: Sequence[str]) -> dict[int, str]:
    """Return the name of the folder of each class."""
    by_class: dict[int, str] = {}
    for name in folders(folder):
        number = _class(name, names, folder)
        if number in by_class:
            raise InputError(
                f"A class must have one folder, found {by_class[number]} and {name} in {folder}."
            )
        by_class[number] = name
    return by_class


def _class(folder: str, names: Sequence[str], above: Path) -> int:
    """Return the class that a folder is named after."""
    found = re.fullmatch(r"(?:([0-9])(?:[ _-]+|$))?(\D*)", folder)
    number, name = (found[1], found[2].lower()) if found else (None, "")
    if number is None and name in names:
        return names.index(name)
    spelt = not name or name == names[int(number or 0)] or names[0] == "0"
    if number is None or not spelt:
        raise InputError(
            f"The folders in {above} must be named after the classes, as {_example(names)}, "
            f"found {folder}."
        )
    return int(number)


def _position(path: Path) -> int:
    """Return the last number in a file name, without which a file comes first."""
    numbers = re.findall(r"[0-9]+", path.stem)
    return int(numbers[-1]) if numbers else -1


def _example(names: Sequence[str]) -> str:
    return names[0] if names[0] == "0" else f"0_{names[0]}"
