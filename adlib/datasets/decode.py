"""Image and array files: 8-bit RGB pictures and boolean masks."""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from adlib.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_SIXTEEN_BIT = 65535


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file, turned upright as its EXIF tag says, and translate every failure."""
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            yield image
    except InputError:
        raise
    except _BROKEN as error:
        reason = f"{error}".rstrip(".") or type(error).__name__
        raise InputError(
            f"{path} cannot be read as an image ({reason}): replace the damaged file "
            "or take it out of the folder."
        ) from error


def _deep_to_grey(image: Image.Image, path: Path) -> Image.Image:
    """Scale 16-bit or floating-point grey values to 8 bits by one fixed factor.

    Stretching each image to its own range would hide differences in brightness between images,
    and Pillow's own conversion clips everything above 255.
    """
    values = np.asarray(image, dtype=np.float64)
    top = 1.0 if image.mode == "F" else float(_SIXTEEN_BIT)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= top):
        raise InputError(
            f"{path} must hold grey values in [0, {top:g}] for its pixel type, "
            f"found [{low:g}, {high:g}]: rescale it."
        )
    return Image.fromarray(np.rint(values * (255.0 / top)).astype(np.uint8))


def _is_deep(image: Image.Image) -> bool:
    return image.mode in {"I", "F"} or image.mode.startswith("I;16")


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as 8-bit RGB.

    Parameters
    ----------
    path
        File in one of the formats of `SUFFIXES`.

    Returns
    -------
    PIL.Image.Image
        Mode RGB. Grey values are repeated in three channels, an alpha channel is dropped, 16-bit
        grey is divided by 257, floating-point grey in [0, 1] is multiplied by 255.

    Raises
    ------
    InputError
        The file is damaged, truncated or no image.
    """
    with _opened(path) as image:
        if _is_deep(image):
            image = _deep_to_grey(image, path)
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")


def read_mask(path: Path, above: int = 0, index: int | None = None) -> np.ndarray:
    """Read a ground-truth mask.

    Parameters
    ----------
    path
        File in one of the formats of `SUFFIXES`, a lossless one; with `index` an array file.
    above
        A pixel counts as defect where its value is larger.
    index
        Place of the mask in an array file (T, H, W).

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where any colour channel is above the limit; an alpha channel is ignored.

    Raises
    ------
    InputError
        The file is damaged, truncated or something else, or the place lies outside of it.
    """
    if index is not None:
        masks = open_array(path, 3)
        if not 0 <= index < len(masks):
            raise InputError(f"{path} must hold mask {index}, found {len(masks)} masks.")
        return masks[index] > above
    with _opened(path) as image:
        if _is_deep(image) or image.mode in {"1", "L"}:
            return np.asarray(image) > above
        return (np.asarray(image.convert("RGB")) > above).any(axis=2)


def open_array(path: Path, ndim: int) -> np.ndarray:
    """Map an array file (.npy) of whole numbers or truth values; nothing in it is executed.

    Parameters
    ----------
    path
        Written by ``numpy.save``.
    ndim
        Number of axes that it must have.

    Returns
    -------
    ndarray
        Read when it is indexed.

    Raises
    ------
    InputError
        The file is damaged, truncated, no array file, or holds something else.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (*_BROKEN, OverflowError, tokenize.TokenError) as error:
        reason = f"{error}".rstrip(".") or type(error).__name__
        raise InputError(
            f"{path} cannot be read as an array file ({reason}): replace it."
        ) from error
    if array.ndim != ndim or array.dtype.kind not in "bui":
        raise InputError(
            f"{path} must hold whole numbers or truth values along {ndim} axes, "
            f"found {array.dtype} of shape {array.shape}."
        )
    return array


def read_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file from its header, upright as its EXIF tag says.

    Raises
    ------
    InputError
        The file is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            quarter_turned = image.getexif().get(0x0112, 1) >= 5
    except _BROKEN as error:
        raise InputError(
            f"{path} cannot be read as an image ({f'{error}'.rstrip('.')}): replace the damaged "
            "file or take it out of the folder."
        ) from error
    return (width, height) if quarter_turned else (height, width)
