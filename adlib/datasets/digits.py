"""The 1,797 handwritten digits that scikit-learn brings along: a stand-in for MNIST.

They need no download, so that pages and tests run anywhere in seconds; no paper reports on them.
Their 8 x 8 pixels are enlarged to 32 x 32.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from adlib.datasets import classes
from adlib.datasets.classes import SIDE, TRANSFORM, Labelled
from adlib.datasets.folder import Category
from adlib.datasets.transform import Transform
from adlib.errors import InputError

__all__ = ["NAMES", "OFFICIAL", "TRANSFORM", "categories", "category"]

NAME = "digits"
NAMES = tuple("0123456789")
OFFICIAL = (1198, 599)  # training and test images under the rule here
TEST_EVERY = 3  # the third image, the sixth, ... are test images
BRIGHTEST = 16  # of the values as they are stored


def categories(root: Path | None = None) -> list[str]:
    """List the many-versus-one categories.

    Raises
    ------
    InputError
        A root was given: the images are part of scikit-learn.
    """
    _check_root(root)
    return classes.one_each()


def category(name: str, root: Path | None = None, transform: Transform = TRANSFORM) -> Category:
    """Make a category.

    Parameters
    ----------
    name
        The anomalous digits, ascending: ``0``, ``01234``.
    root
        Must be left out: the images are part of scikit-learn.
    transform
        Must ask for nothing.

    Returns
    -------
    Category
        Grey images, 32 x 32. The data set has no split: every third image is a test image.

    Raises
    ------
    InputError
        Unknown category, or a root is given or a size asked for.
    """
    _check_root(root)
    classes.check_transform(NAME, transform)
    classes.check(NAME, name, NAMES)
    pixels, digits = _all()
    tested = np.arange(len(digits)) % TEST_EVERY == TEST_EVERY - 1
    train, test = (Labelled(pixels[part], digits[part]) for part in (~tested, tested))
    return classes.split(NAME, name, NAMES, train, test, OFFICIAL)


def _check_root(root: Path | None) -> None:
    if root is not None:
        raise InputError(
            f"the data set {NAME} is part of scikit-learn and takes no root, found {root}; "
            "leave the root out, or name the data set mnist to read a folder"
        )


@lru_cache(maxsize=1)
def _all() -> Labelled:
    from sklearn.datasets import load_digits

    stored = load_digits()
    grey = np.rint(stored.images * (255 / BRIGHTEST)).astype(np.uint8)
    bilinear = Image.Resampling.BILINEAR
    large = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), bilinear)) for one in grey]
    return Labelled(np.stack(large)[..., np.newaxis], stored.target.astype(np.int64))
