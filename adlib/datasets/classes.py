"""Anomaly detection out of classification: some classes are normal, the others anomalous.

Many-versus-one makes one class anomalous and learns from the others, many-versus-many makes
several anomalous. A category is named after its anomalous classes: their digits, ascending.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from adlib.datasets.arrays import ArrayImages
from adlib.datasets.folder import GOOD, Category
from adlib.datasets.transform import Transform
from adlib.errors import InputError

TRANSFORM = Transform(None, None)
SIDE = 32  # pixels, of every image that comes out


class Labelled(NamedTuple):
    """Images of one official split with their classes.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (N, 32, 32, C)
    classes : ndarray of int64, shape (N,)
        In [0, 9].
    """

    pixels: np.ndarray
    classes: np.ndarray


def one_each() -> list[str]:
    """List the many-versus-one categories: each of ten classes is the anomalous one once."""
    return [str(digit) for digit in range(10)]


def complement(name: str) -> str:
    """Return the category whose anomalous classes are normal in another, and the reverse."""
    return "".join(digit for digit in "0123456789" if digit not in name)


def split(
    dataset: str,
    name: str,
    names: tuple[str, ...],
    train: Labelled,
    test: Labelled,
    official: tuple[int, int],
) -> Category:
    """Split a data set of ten classes into normal and anomalous ones.

    Parameters
    ----------
    dataset
        Its name.
    name
        Digits of the anomalous classes, ascending.
    names
        Names of the ten classes.
    train, test
        The official splits, in order.
    official
        Number of images that the published splits have.

    Returns
    -------
    Category
        ``train`` holds the training images of the normal classes, all called ``good``: their
        classes are not handed on. ``test`` is the whole test set, each image called by its class.
        ``notes`` says where the files hold only a part of the data set.

    Raises
    ------
    InputError
        No such category, or a class without images.
    """
    anomalous = np.isin(np.arange(len(names)), list(check(dataset, name, names)))
    _check_images(dataset, names, anomalous, train, test)
    normal = ~anomalous[train.classes]
    labels = anomalous[test.classes].astype(np.int64)
    return Category(
        dataset,
        name,
        ArrayImages(train.pixels[normal], np.zeros(normal.sum(), np.int64), [GOOD] * normal.sum()),
        ArrayImages(test.pixels, labels, [names[one] for one in test.classes]),
        notes=_notes((len(train.classes), len(test.classes)), official),
    )


def check(dataset: str, name: str, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the anomalous classes that a category is named after.

    Parameters
    ----------
    dataset, name, names
        As for `split`.

    Raises
    ------
    InputError
        The name is not made of ascending digits, or names every class.
    """
    if name in names and not name.isdecimal():
        digit = names.index(name)
        raise InputError(f"{name} is class {digit} of {dataset}, write --category {digit}.")
    rule = f"The category of {dataset} must be the digits of the anomalous classes"
    if not isinstance(name, str) or not re.fullmatch("[0-9]+", name):
        raise InputError(f"{rule}, as 0 or 01234, found {name!r}.")
    ascending = "".join(sorted(set(name)))
    if name != ascending:
        raise InputError(f"{rule}, ascending and each once, found {name!r}: write {ascending}.")
    if len(name) == len(names):
        raise InputError(f"{rule}, found all {len(names)}: leave at least one out, to learn from.")
    return tuple(int(digit) for digit in name)


def check_transform(dataset: str, transform: Transform) -> None:
    """See that nobody asked for another size.

    Raises
    ------
    InputError
        The transform is neither what ``evaluate`` does unasked nor nothing at all.
    """
    usual = Transform()
    sizes = transform.resize in (usual.resize, None) and transform.crop in (usual.crop, None)
    if not sizes or transform.squash or transform.masks != usual.masks:
        raise InputError(
            f"Images of {dataset} come as {SIDE} x {SIDE} pixels and take no --resize, --crop, "
            "--squash or --masks: leave them out."
        )


def _check_images(
    dataset: str, names: tuple[str, ...], anomalous: np.ndarray, train: Labelled, test: Labelled
) -> None:
    missing = np.setdiff1d(np.flatnonzero(~anomalous), train.classes)
    if len(missing):
        one = int(missing[0])
        called = "" if names[one] == str(one) else f" ({names[one]})"
        raise InputError(
            f"Every normal class of {dataset} needs training images, but class {one}{called} has "
            "no training image: complete the data set."
        )
    kinds = anomalous[test.classes]
    if kinds.all() or not kinds.any():
        lacking = "anomalous" if not kinds.any() else "normal"
        raise InputError(
            f"The test set of {dataset} must hold normal and anomalous images, found no {lacking} "
            f"one among {len(kinds)}: complete the data set or choose another --category."
        )


def _notes(found: tuple[int, int], official: tuple[int, int]) -> tuple[str, ...]:
    parts = zip(("training", "test"), found, official, strict=True)
    return tuple(
        f"{here:,} of the {published:,} {which} images"
        for which, here, published in parts
        if here != published
    )
