"""Samples, and lazily decoded collections of them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from adlib.datasets.decode import read_mask, read_rgb
from adlib.datasets.transform import Transform
from adlib.errors import InputError

if TYPE_CHECKING:
    from adlib.datasets.arrays import ArrayImages

GOOD = "good"


class DefectCropped(UserWarning):
    """A mask marks a defect, but none of it is left after resize and crop."""


class EmptyMask(UserWarning):
    """The mask file of an anomalous image marks no pixel."""


@dataclass(frozen=True)
class Sample:
    """One image on disk.

    Attributes
    ----------
    path : Path
        The image file.
    label : int
        0 normal, 1 anomalous.
    defect : str
        Kind of defect; ``good`` for normal images.
    mask_path : Path or None
        Ground-truth mask; None for normal images and where no mask exists.
    mask_above : int
        A pixel of the mask file counts as defect where its value is larger.
    mask_index : int or None
        For an array file (.npy) with the masks of a whole clip: the place of this image in it.
    """

    path: Path
    label: int
    defect: str
    mask_path: Path | None = None
    mask_above: int = 0
    mask_index: int | None = None

    def mask(self) -> np.ndarray:
        """Read the mask as it is stored, bool (H, W); there must be one.

        Raises
        ------
        InputError
            The file is damaged or holds something else.
        """
        return read_mask(self.mask_path, self.mask_above, self.mask_index)


class GroundTruth(NamedTuple):
    """Masks of a set of images, and for which images they say anything.

    Attributes
    ----------
    masks : ndarray of bool, shape (N, H, W)
        All False for normal images, and where `known` is False.
    known : ndarray of bool, shape (N,)
        False for an anomalous image whose mask file marks nothing: it is known to have a defect,
        not where, so that none of its pixels can be called normal. Such an image counts for image
        metrics only. A defect that the crop cut off is known: what is left is normal.
    """

    masks: np.ndarray
    known: np.ndarray


class Images(Sequence):
    """Images of one split, decoded when they are asked for.

    ``images[i]`` is a uint8 array (H, W, 3), RGB in [0, 255]; a slice gives another `Images`.

    Parameters
    ----------
    samples
        What belongs to the split, in order.
    transform
        Applied to each image and mask.
    folder
        Folder of the category; paths enter the fingerprint relative to it, so that it does not
        depend on where the data lie.
    """

    def __init__(self, samples: Sequence[Sample], transform: Transform, folder: Path) -> None:
        self.samples = tuple(samples)
        self.transform = transform
        self.folder = folder

    def __repr__(self) -> str:
        return f"Images({len(self)} of {self.folder}, {self.transform})"

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return Images(self.samples[index], self.transform, self.folder)
        path = self.samples[index].path
        image = read_rgb(path)
        try:
            return np.array(self.transform.image(image))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @property
    def labels(self) -> np.ndarray:
        """Int64 array (N,): 0 normal, 1 anomalous."""
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    @property
    def defects(self) -> list[str]:
        """Kind of defect of each image, ``good`` for normal ones."""
        return [sample.defect for sample in self.samples]

    @property
    def has_masks(self) -> bool:
        """Whether every anomalous image has a mask (True where none is anomalous)."""
        return all(sample.mask_path is not None for sample in self.samples if sample.label)

    def masks(self) -> np.ndarray:
        """Read the ground truth of every image.

        Returns
        -------
        ndarray of bool, shape (N, H, W)
            After the same resize (nearest neighbour, unless the transform says otherwise) and crop
            as the images; normal images are all False.

        Raises
        ------
        InputError
            A mask is missing or unreadable, or the images differ in size.

        Warns
        -----
        DefectCropped
            Masks of which nothing is left, named in one warning.
        EmptyMask
            Mask files that mark nothing to begin with, named in one warning.
        """
        return self._ground_truth().masks

    def ground_truth(self) -> GroundTruth:
        """Read the masks, and tell for which images they can be used; errors as for `masks`."""
        return self._ground_truth()

    def _ground_truth(self) -> GroundTruth:
        if not self.has_masks:
            without = [s.path for s in self.samples if s.label and s.mask_path is None]
            raise InputError(
                f"Pixel masks need one mask for each anomalous image, found none for "
                f"{_names(without)}: add them under {self.folder / 'ground_truth'} "
                "or use image metrics only."
            )
        masks, cropped, known = [], [], np.ones(len(self), dtype=bool)
        for number, sample in enumerate(self.samples):
            if sample.mask_path is None:
                masks.append(None)
                continue
            whole = sample.mask()
            masks.append(self.transform.mask(whole))
            known[number] = whole.any()
            if known[number] and not masks[-1].any():
                cropped.append(sample.path)
        empty = [self.samples[number].path for number in np.flatnonzero(~known)]
        if cropped:
            message = f"Resize and crop leave nothing of the defect in {_names(cropped)}."
            warnings.warn(message, DefectCropped, stacklevel=3)
        if empty:
            message = f"The mask file marks no defect for the anomalous {_names(empty)}."
            warnings.warn(message, EmptyMask, stacklevel=3)
        return GroundTruth(self._stack(masks), known)

    def _stack(self, masks: list[np.ndarray | None]) -> np.ndarray:
        shapes = {mask.shape for mask in masks if mask is not None}
        if self.transform.size is None:
            # then only the images themselves tell the size of an all-normal mask
            shapes |= {self[i].shape[:2] for i, mask in enumerate(masks) if mask is None}
        if len(shapes) > 1:
            raise InputError(
                f"All images must have one size after the transform, found {sorted(shapes)} "
                f"in {self.folder}: set a crop."
            )
        shape = shapes.pop() if shapes else self.transform.size
        stacked = np.zeros((len(masks), *shape), dtype=bool)
        for target, mask in zip(stacked, masks, strict=True):
            if mask is not None:
                target[:] = mask
        return stacked

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) over relative path and sha256 of the bytes of every image and mask.

        Of an array file only the mask itself enters, so that a clip is not read whole.
        """
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(self._line(sample.path, _bytes(sample.path)))
            if sample.mask_index is not None:
                digest.update(self._line(sample.mask_path, np.packbits(sample.mask()).tobytes()))
            elif sample.mask_path is not None:
                digest.update(self._line(sample.mask_path, _bytes(sample.mask_path)))
        return digest.hexdigest()

    def _line(self, path: Path, content: bytes) -> bytes:
        name = path.relative_to(self.folder).as_posix()
        return f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode()


@dataclass(frozen=True)
class Category:
    """One category of a data set: normal images to learn from, and images to test on.

    Attributes
    ----------
    dataset, name : str
        For example ``mvtec_ad`` and ``bottle``.
    train, test : Images or ArrayImages
        `train` holds normal images only.
    notes : tuple of str
        What sets the files apart from the published data set, a few words each, for the record.
    """

    dataset: str
    name: str
    train: Images | ArrayImages
    test: Images | ArrayImages
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Sha256 (hex) over the fingerprints of both splits."""
        both = f"{self.train.fingerprint}\n{self.test.fingerprint}\n"
        return hashlib.sha256(both.encode()).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error


def _names(paths: Sequence[Path], shown: int = 8) -> str:
    """List files by their last two components, as ``crack/003.png``."""
    names = ", ".join("/".join(path.parts[-2:]) for path in paths[:shown])
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"{names}{more}"
