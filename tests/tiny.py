"""A data set in MVTec AD's layout, small enough to run through the whole chain in a second."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = ["--backbone", "efficientnet_lite0", "--resize", "64", "--crop", "56"]
RANDOM = ["--backbone", "resnet18", "--weights", "random", "--resize", "64", "--crop", "56"]


def hear_ctrl_c() -> None:
    """Undo what a shell does to its background jobs, whose children would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def picture(
    path: Path, size: tuple[int, int] = (72, 64), seed: int = 0, spot: bool = False
) -> None:
    """Write noise on a gradient (height, width); `spot` paints a bright square into the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    h, w = size
    noise = np.random.default_rng(seed).integers(0, 60, (h, w, 3))
    image = noise + np.linspace(20, 120, w).astype(int)[None, :, None]
    if spot:
        image[h // 2 - 6 : h // 2 + 6, w // 2 - 6 : w // 2 + 6] = (250, 30, 30)
    Image.fromarray(image.astype(np.uint8)).save(path)


def mask(path: Path, size: tuple[int, int] = (72, 64), empty: bool = False) -> None:
    """Write the mask of the square."""
    path.parent.mkdir(parents=True, exist_ok=True)
    h, w = size
    marked = np.zeros(size, np.uint8)
    if not empty:
        marked[h // 2 - 6 : h // 2 + 6, w // 2 - 6 : w // 2 + 6] = 255
    Image.fromarray(marked).save(path)


def category(root: Path, name: str = "part", train: int = 6, masks: bool = True) -> Path:
    """Write one category: `train` normal pictures, 3 normal and 3 anomalous ones to test on."""
    folder = root / name
    for i in range(train):
        picture(folder / "train" / "good" / f"{i:03}.png", seed=i)
    for i in range(3):
        picture(folder / "test" / "good" / f"{i:03}.png", seed=100 + i)
        picture(folder / "test" / "spot" / f"{i:03}.png", seed=200 + i, spot=True)
        if masks:
            mask(folder / "ground_truth" / "spot" / f"{i:03}_mask.png")
    return folder
