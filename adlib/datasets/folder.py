"""Samples, the transform of the papers, and lazily decoded image collections."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from adlib.datasets.decode import read_mask, read_rgb
from adlib.errors import InputError

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
    """

    path: Path
    label: int
    defect: str
    mask_path: Path | None = None


@dataclass(frozen=True)
class Transform:
    """Resize the short side, then cut out the centre, as the three papers do for MVTec AD.

    Equal to torchvision's ``Resize(resize)`` and ``CenterCrop(crop)`` on Pillow images: bilinear
    with antialiasing for images, nearest neighbour for masks.

    Attributes
    ----------
    resize : int or None
        Length of the short side in pixels; None leaves the size as it is.
    crop : int or None
        Side of the central square in pixels; None keeps everything.

    Raises
    ------
    InputError
        A size is not a positive whole number, or the crop exceeds the resized image.
    """

    resize: int | None = 256
    crop: int | None = 224

    def __post_init__(self) -> None:
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            whole = isinstance(size, int) and not isinstance(size, bool) and size > 0
            if size is not None and not whole:
                raise InputError(
                    f"{name} must be a positive whole number of pixels or None, found {size!r}."
                )
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise InputError(
                f"crop must be at most resize, found crop {self.crop} of resize {self.resize}."
            )

    def image(self, image: Image.Image) -> Image.Image:
        """Apply to a picture, with Pillow's antialiased bilinear filter."""
        return self._apply(image, Image.Resampling.BILINEAR)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Apply to a boolean mask (H, W), with the nearest neighbour."""
        nearest = self._apply(Image.fromarray(mask.astype(np.uint8)), Image.Resampling.NEAREST)
        return np.asarray(nearest) > 0

    def _apply(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        width, height = image.size
        short = min(width, height)
        if self.resize is not None and short != self.resize:
            width, height = width * self.resize // short, height * self.resize // short
            image = image.resize((width, height), resampling)
        if self.crop is None:
            return image
        if self.crop > min(width, height):
            raise InputError(
                f"The crop of {self.crop} pixels must fit into the image, "
                f"found {height} x {width} (height x width): resize first."
            )
        # Python's round-half-to-even, as in torchvision
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return image.crop((left, top, left + self.crop, top + self.crop))


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
            After the same resize (nearest neighbour) and crop as the images; normal images are
            all False.

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
        if not self.has_masks:
            without = [s.path for s in self.samples if s.label and s.mask_path is None]
            raise InputError(
                f"Pixel masks need one mask for each anomalous image, found none for "
                f"{_names(without)}: add them under {self.folder / 'ground_truth'} "
                "or use image metrics only."
            )
        masks, cropped, empty = [], [], []
        for sample in self.samples:
            if sample.mask_path is None:
                masks.append(None)
                continue
            whole = read_mask(sample.mask_path)
            masks.append(self.transform.mask(whole))
            if not masks[-1].any():
                (cropped if whole.any() else empty).append(sample.path)
        if cropped:
            message = f"Resize and crop leave nothing of the defect in {_names(cropped)}."
            warnings.warn(message, DefectCropped, stacklevel=2)
        if empty:
            message = f"The mask file marks no defect for the anomalous {_names(empty)}."
            warnings.warn(message, EmptyMask, stacklevel=2)
        return self._stack(masks)

    def _stack(self, masks: list[np.ndarray | None]) -> np.ndarray:
        shapes = {mask.shape for mask in masks if mask is not None}
        square = (self.transform.crop, self.transform.crop)
        if self.transform.crop is None:
            # without a crop only the images themselves tell the size of an all-normal mask
            shapes |= {self[i].shape[:2] for i, mask in enumerate(masks) if mask is None}
        if len(shapes) > 1:
            raise InputError(
                f"All images must have one size after the transform, found {sorted(shapes)} "
                f"in {self.folder}: set a crop."
            )
        shape = shapes.pop() if shapes else square
        stacked = np.zeros((len(masks), *shape), dtype=bool)
        for target, mask in zip(stacked, masks, strict=True):
            if mask is not None:
                target[:] = mask
        return stacked

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) over relative path and sha256 of the bytes of every image and mask."""
        digest = hashlib.sha256()
        for sample in self.samples:
            for path in (sample.path, sample.mask_path):
                if path is None:
                    continue
                name = path.relative_to(self.folder).as_posix()
                content = hashlib.sha256(_bytes(path)).hexdigest()
                digest.update(f"{name}\0{content}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Category:
    """One category of a data set: normal images to learn from, and images to test on.

    Attributes
    ----------
    dataset, name : str
        For example ``mvtec_ad`` and ``bottle``.
    train, test : Images
        `train` holds normal images only.
    """

    dataset: str
    name: str
    train: Images
    test: Images

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
