"""Images of one split that are held in memory: small pictures, tens of thousands of them."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np

from adlib.datasets.transform import Transform
from adlib.errors import InputError


class ArrayImages(Sequence):
    """Images of one split as one array; to the methods they look like `Images` of a folder.

    ``images[i]`` is a uint8 array (H, W, 3), RGB in [0, 255], a copy; a slice gives another
    `ArrayImages`, which shares the pixels.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, H, W, C)
        C is 1 (grey) or 3 (RGB).
    labels : ndarray of int, shape (N,)
        0 normal, 1 anomalous.
    kinds : sequence of str, length N
        What each image shows, its class for example.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (N, H, W, C)
        As they were given, read-only, since splits share them.
    labels : ndarray of int64, shape (N,)
    transform : Transform
        Nothing is resized or cropped.
    samples : tuple
        Empty: no image lies in a file of its own.
    has_masks : bool
        False: where an image is anomalous is not known.

    Raises
    ------
    InputError
        The three do not fit together.
    """

    transform = Transform(None, None)
    samples: tuple[()] = ()
    has_masks = False

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, kinds: Sequence[str]) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
            raise InputError(
                "Images must be uint8 of shape (N, H, W, 1) or (N, H, W, 3), "
                f"found {pixels.dtype} of shape {pixels.shape}."
            )
        labels = np.asarray(labels)
        if labels.shape != pixels.shape[:1] or not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"The labels of {len(pixels)} images must be as many zeros and ones, "
                f"found shape {labels.shape}."
            )
        if len(kinds) != len(pixels):
            raise InputError(f"{len(pixels)} images need as many kinds, found {len(kinds)}.")
        self.pixels = pixels.view()
        self.pixels.flags.writeable = False
        self.labels = labels.astype(np.int64)
        self._kinds = tuple(kinds)

    def __repr__(self) -> str:
        height, width, channels = self.pixels.shape[1:]
        return f"ArrayImages({len(self)} of {height} x {width} x {channels})"

    def __len__(self) -> int:
        return len(self.pixels)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> ArrayImages: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return ArrayImages(self.pixels[index], self.labels[index], self._kinds[index])
        image = self.pixels[operator.index(index)]
        return np.repeat(image, 3 // image.shape[2], axis=2)

    @property
    def defects(self) -> list[str]:
        """What each image shows; normal images too carry the name of their class."""
        return list(self._kinds)

    def ground_truth(self) -> None:
        """Refuse: there are no masks.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("These images have no pixel masks: use image metrics only.")

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) over shape, labels, kinds and pixels, whatever files they came from."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update("\0".join(self._kinds).encode())
        digest.update(np.ascontiguousarray(self.pixels))
        return digest.hexdigest()
