"""Images as the networks of this chapter see them: 32 x 32, grey or colour, values in [-1, 1]."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adlib.errors import InputError

SIDE = 32  # pixels; MNIST is padded to it, CIFAR-10 has it (Wang & Tavakkoli, Section 4.3)


def as_pixels(images: Sequence[np.ndarray] | np.ndarray, channels: int | None = None) -> Tensor:
    """Turn images into a tensor of values in [-1, 1].

    Parameters
    ----------
    images : sequence of ndarray of shape (32, 32, 3) or array of shape (N, 32, 32[, C]), uint8
        C is 1 or 3.
    channels : int, optional
        What a fitted model needs, 1 or 3. None: 1 where every image is grey, else 3.

    Returns
    -------
    Tensor of shape (N, C, 32, 32), float32

    Raises
    ------
    InputError
        There is no image, a size or a range differs, or colour meets a model of grey images.
    """
    array = _stacked(images)
    if array.dtype != np.uint8:
        raise InputError(
            "images must be whole numbers from 0 to 255 (uint8), found "
            f"{array.dtype} in [{array.min():g}, {array.max():g}]; rescale and convert them"
        )
    if array.ndim != 4 or array.shape[1:3] != (SIDE, SIDE) or array.shape[3] not in (1, 3):
        height, width = (*array.shape, 0, 0)[1:3]
        raise InputError(
            f"images must be {SIDE} x {SIDE} with 1 or 3 channels, found {height} x {width} of "
            f"shape {array.shape}; resize them, on the command line by --resize {SIDE} "
            f"--crop {SIDE}"
        )
    grey = array.shape[3] == 1 or _is_grey(array)
    if channels == 1 and not grey:
        raise InputError(
            "this model was fitted on grey images, found images in colour; "
            "convert them to grey or fit on colour"
        )
    if (channels or (1 if grey else 3)) == 1:
        array = array[..., :1]
    elif array.shape[3] == 1:
        array = np.repeat(array, 3, axis=3)
    moved = np.ascontiguousarray(array.transpose(0, 3, 1, 2), dtype=np.float32)
    return torch.from_numpy(moved).div_(127.5).sub_(1)


def as_images(pixels: Tensor) -> np.ndarray:
    """Turn values in [-1, 1] back into images (N, 32, 32, C), uint8; others are clipped."""
    levels = ((pixels.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def ink(pixels: Tensor) -> np.ndarray:
    """Return the mean brightness of each image in [0, 1]: the control that needs no model.

    On MNIST it is the amount of ink; an error score that only follows it says nothing of shape.
    """
    return ((pixels.flatten(1).double().mean(dim=1) + 1) / 2).float().cpu().numpy()


def squared_error(first: Tensor, second: Tensor) -> np.ndarray:
    """Return the mean squared difference of each pair (N, ...) as float32 (N,)."""
    return (first - second).square().flatten(1).mean(dim=1).float().cpu().numpy()


def checksums(pixels: Tensor) -> list[int]:
    """Return a checksum of each image: the seed of its own noise.

    So the score of an image depends on the image, the model and the seed, and not on its place
    among others.
    """
    return [zlib.crc32(image.tobytes()) for image in as_images(pixels)]


def _stacked(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    if len(images) == 0:
        raise InputError("at least one image is needed, found none; add images")
    native = getattr(images, "pixels", images)
    if not isinstance(native, np.ndarray):
        arrays = [np.asarray(image) for image in native]
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) > 1:
            raise InputError(
                f"images must have one size, found {' and '.join(map(str, shapes[:3]))}; "
                f"resize them, on the command line by --resize {SIDE} --crop {SIDE}"
            )
        native = np.stack(arrays)
    return native[..., None] if native.ndim == 3 else native


def _is_grey(array: np.ndarray) -> bool:
    first = array[..., :1]
    return bool((array[..., 1:] == first).all())
