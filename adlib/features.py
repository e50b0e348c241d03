"""Feature levels of a set of images: computed in batches, streamed or cached on disk.

Three forms, one protocol: ``len(source)``, ``source.image_size`` and ``source.batches(size)``,
which yields a list with one tensor of shape (B, h, w, C) a level. A method asks no more, so it runs
the same on images, on a memory-mapped cache and on arrays in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adlib.backbones import Backbone
from adlib.datasets import Images, Transform
from adlib.datasets.cache import cache_dir
from adlib.errors import InputError

FORMAT = 1  # raise when the meaning of cached features changes


class Source(Protocol):
    """What a feature method reads: sized, re-iterable batches of levels."""

    image_size: tuple[int, int]

    def __len__(self) -> int: ...

    def batches(self, size: int = 16) -> Iterator[list[Tensor]]: ...


@dataclass
class Features:
    """Feature levels that were computed before.

    Parameters
    ----------
    levels : list of ndarray of shape (N, h, w, C), float32
        Shallow to deep; may be memory maps.
    image_size : (H, W)
        Size of the images they came from, pixels: the size of the anomaly maps.

    Raises
    ------
    InputError
        The levels disagree in N, there is none, or one has not four axes.
    """

    levels: list[np.ndarray]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.levels or len({len(level) for level in self.levels}) != 1:
            counts = [len(level) for level in self.levels]
            raise InputError(f"feature levels must hold the same number of images, found {counts}")
        shapes = [tuple(level.shape) for level in self.levels]
        if any(len(shape) != 4 or 0 in shape[1:] for shape in shapes):
            raise InputError(f"a feature level has the shape (N, h, w, C), found {shapes}")

    def __len__(self) -> int:
        return len(self.levels[0])

    def take(self, indices: np.ndarray) -> Features:
        """Return the features of some of the images, in memory."""
        return Features([np.array(level[indices]) for level in self.levels], self.image_size)

    def batches(self, size: int = 16) -> Iterator[list[Tensor]]:
        """Yield consecutive batches of at most `size` images."""
        for start in range(0, len(self), size):
            stop = start + size
            yield [torch.from_numpy(np.array(x[start:stop], np.float32)) for x in self.levels]


@dataclass
class ImageFeatures:
    """Feature levels computed from images on the way, a batch at a time; nothing is kept.

    Parameters
    ----------
    backbone : Backbone
    images : sequence of ndarray of shape (H, W, 3), uint8
        All of one size.
    progress : bool
        Show a bar with an estimate of the time left on stderr, where that is a terminal.

    Raises
    ------
    InputError
        There is no image.
    """

    backbone: Backbone
    images: Sequence[np.ndarray]
    progress: bool = False

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise InputError("at least one image is needed, found none; check the folder")
        self.image_size = tuple(self.images[0].shape[:2])

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int = 16) -> Iterator[list[Tensor]]:
        """Yield the levels of consecutive batches of at most `size` images."""
        hidden = None if self.progress else True  # None: hidden unless stderr is a terminal
        with tqdm(
            total=len(self), unit="image", desc=self.backbone.name, disable=hidden, leave=False
        ) as bar:
            for start in range(0, len(self), size):
                stop = min(start + size, len(self))
                batch = [self.images[i] for i in range(start, stop)]
                sizes = {image.shape for image in batch} | {(*self.image_size, 3)}
                if len(sizes) > 1:
                    raise InputError(
                        f"images must share one size, found {sorted(sizes)}; set resize and crop"
                    )
                yield self.backbone(np.stack(batch))
                bar.update(stop - start)


def extract(
    backbone: Backbone,
    images: Images,
    *,
    cache: bool = True,
    batch_size: int = 16,
    progress: bool = False,
) -> Features:
    """Compute the feature levels of a set of images, or read them from the cache.

    The cache is keyed by the weights, the levels, the precision, the transform and the content of
    the files, so a sweep over seeds and dimensions pays for the backbone once. An entry is written
    beside its place and renamed: it is complete or absent.

    Parameters
    ----------
    backbone : Backbone
    images : Images
    cache : bool
        False keeps the levels in memory and touches no disk.
    batch_size : int
    progress : bool

    Returns
    -------
    Features
        Memory-mapped where cached.
    """
    source = ImageFeatures(backbone, images, progress)
    if not cache:
        return Features(_in_memory(source, batch_size), source.image_size)
    folder = _folder(backbone, images)
    found = _open(folder, backbone, source)
    if found is not None:
        return found
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
        _to_files(source, batch_size, part)
        found = _open(folder, backbone, source)  # another process may have been faster
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged entry, if any
            os.rename(part, folder)
    except OSError as error:
        found = _open(folder, backbone, source)
        if found is None:
            raise InputError(
                f"features could not be cached in {folder.parent} ({error.strerror or error}); "
                "free some space, set ADLIB_CACHE to another folder, or pass --no-cache"
            ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return found or _open(folder, backbone, source)


def is_cached(backbone: Backbone, images: Images) -> bool:
    """Tell whether `extract` would read these features instead of computing them."""
    return _folder(backbone, images).exists()


def key(backbone: Backbone, images: Images) -> str:
    """Return the cache key of a set of images seen through a backbone."""
    identity = {
        "format": FORMAT,
        "backbone": backbone.describe(),
        "transform": _pixels(images.transform),
        "images": images.fingerprint,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def _pixels(transform: Transform) -> list[int | bool | None]:
    """Return what of a transform touches images."""
    return [transform.resize, transform.crop, *([True] if transform.squash else [])]


def _folder(backbone: Backbone, images: Images) -> Path:
    return cache_dir() / "features" / key(backbone, images)


def _open(folder: Path, backbone: Backbone, source: ImageFeatures) -> Features | None:
    """Open an entry; None where there is none, or where it is damaged."""
    try:
        levels = [
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in backbone.levels
        ]
        found = Features(levels, source.image_size)
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == len(source) else None


def _in_memory(source: ImageFeatures, batch_size: int) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    start = 0
    for batch in source.batches(batch_size):
        arrays = arrays or [np.empty((len(source), *x.shape[1:]), np.float32) for x in batch]
        for array, level in zip(arrays, batch, strict=True):
            array[start : start + len(level)] = level.cpu().numpy()
        start += len(batch[0])
    return arrays


def _to_files(source: ImageFeatures, batch_size: int, folder: Path) -> None:
    """Write one .npy file a level, batch after batch.

    Not through a memory map: where the disk is full, a write to a map kills the process, a write to
    a file raises.
    """
    with ExitStack() as stack:
        paths = [folder / f"{name}.npy" for name in source.backbone.levels]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for number, batch in enumerate(source.batches(batch_size)):
            for file, level in zip(files, batch, strict=True):
                if number == 0:
                    shape = (len(source), *level.shape[1:])
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(level.cpu().numpy().astype("<f4", copy=False).data)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
