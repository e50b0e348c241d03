"""Brick, grass and gravel: crops of photographs, train and test from disjoint parts of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, spline_filter

from adlib.datasets.scenes import shapes
from adlib.datasets.scenes.shapes import SIZE

SPLIT_COLUMN = 316  # columns to the left are for training, from here on for testing
_MARGIN = 56.0  # defects start this far from the border, the central crop keeps them


@dataclass(frozen=True)
class Crop:
    """Where one picture lies in its photograph, and its light."""

    split: str
    matrix: np.ndarray
    offset: np.ndarray
    gain: float
    gamma: float
    tilt: tuple[float, float]
    haze: np.ndarray


@dataclass(frozen=True)
class Texture:
    """A photographed surface.

    Attributes
    ----------
    photo_name : str
        Function of ``skimage.data`` that returns the photograph, uint8 (512, 512).
    kinds : tuple of str
        Defects; each is the name of a function of this module.
    side : tuple of float
        Shortest and longest side of a crop, in pixels of the photograph.
    turns : bool
        Whether the surface looks alike from every side, so that quarter turns are natural.
    noise : float
        Standard deviation of the camera's noise, on [0, 1].
    """

    photo_name: str
    kinds: tuple[str, ...]
    side: tuple[float, float]
    turns: bool
    noise: float = 0.012

    @cached_property
    def _parts(self) -> dict[str, np.ndarray]:
        """Both parts of the photograph as cubic spline coefficients."""
        import skimage.data

        photo = getattr(skimage.data, self.photo_name)() / 255.0
        parts = {"train": photo[:, :SPLIT_COLUMN], "test": photo[:, SPLIT_COLUMN:]}
        return {split: spline_filter(part, order=3) for split, part in parts.items()}

    def look(self, rng: np.random.Generator, split: str) -> Crop:
        """Draw a crop that lies inside its part, and its light."""
        rows, columns = self._parts[split].shape
        side = rng.uniform(*self.side)
        angle = rng.normal(0, 0.015) + (rng.integers(4) * np.pi / 2 if self.turns else 0)
        mirror = rng.choice((-1.0, 1.0))
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = side / SIZE * np.array([[cos, -sin * mirror], [sin, cos * mirror]])
        reach = side / 2 * (abs(cos) + abs(sin)) + 1
        centre = np.array([rng.uniform(reach, rows - reach), rng.uniform(reach, columns - reach)])
        return Crop(
            split,
            matrix,
            centre - matrix @ np.full(2, (SIZE - 1) / 2),
            gain=rng.normal(1, 0.05),
            gamma=np.exp(rng.normal(0, 0.05)),
            tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
            haze=0.02 * shapes.clouds(rng, 45),
        )

    def render(
        self, look: Crop, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, grey (256, 256) in [0, 1]."""
        part = self._parts[look.split]
        image = affine_transform(
            part, look.matrix, look.offset, (SIZE, SIZE), order=3, prefilter=False, mode="reflect"
        )
        image = np.clip(image, 0, 1) ** look.gamma
        if kind is not None:
            image = DEFECTS[kind](image, rng)
        x, y = shapes.grid()
        light = look.gain + look.tilt[0] * (x / SIZE - 0.5) + look.tilt[1] * (y / SIZE - 0.5)
        return np.clip(image * (light + look.haze), 0, 1)


def _spot(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(_MARGIN, SIZE - _MARGIN, 2)
    return float(x), float(y)


def crack(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a thin, dark, branching line."""
    points = shapes.walk(rng, _spot(rng), int(rng.integers(7, 12)), 11.0, 0.45)
    width = np.linspace(rng.uniform(2.4, 3.6), 0.8, len(points))
    branch = shapes.walk(rng, points[len(points) // 2], 4, 8.0, 0.5)
    x, y = shapes.grid()
    distance = np.minimum(shapes.line(points, width)(x, y), shapes.line(branch, 1.3)(x, y))
    return image * (1 - rng.uniform(0.45, 0.7) * shapes.cover(distance, 1.5))


def hole(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Break out a piece: darker towards one side, its texture smoothed."""
    cx, cy = _spot(rng)
    x, y = shapes.grid()
    outline = shapes.blob(rng, cx, cy, rng.uniform(8, 15), 0.22)(x, y)
    alpha = shapes.cover(outline, 2.0)
    side = rng.uniform(0, 2 * np.pi)
    slope = np.clip(((x - cx) * np.cos(side) + (y - cy) * np.sin(side)) / 25, -0.5, 0.5)
    inside = gaussian_filter(image, 1.2) * (rng.uniform(0.5, 0.65) + 0.5 * slope)
    return image * (1 - alpha) + inside * alpha


def stain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken a damp patch; the texture stays visible."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(18, 30), 0.2)(x, y)
    alpha = shapes.cover(outline, 5.0) * (1 + 0.15 * shapes.clouds(rng, 8))
    return image * (1 - rng.uniform(0.22, 0.36) * np.clip(alpha, 0, 1))


def paint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Splash light paint in drops of several sizes; it evens out the texture."""
    x, y = shapes.grid()
    cx, cy = _spot(rng)
    distance = shapes.blob(rng, cx, cy, rng.uniform(6, 10), 0.25)(x, y)
    for _ in range(int(rng.integers(4, 8))):
        dx, dy = rng.normal(0, 16, 2)
        distance = np.minimum(distance, shapes.disc(cx + dx, cy + dy, rng.uniform(1.5, 4))(x, y))
    alpha = 0.55 * shapes.cover(distance, 1.5)
    return image * (1 - alpha) + (0.45 + 0.5 * image.mean()) * alpha


def cut(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a straight slit that opens in the middle."""
    (x0, y0), angle, length = _spot(rng), rng.uniform(0, np.pi), rng.uniform(45, 75)
    ends = np.linspace(-0.5, 0.5, 9)
    points = [(x0 + t * length * np.cos(angle), y0 + t * length * np.sin(angle)) for t in ends]
    width = rng.uniform(3.0, 4.5) * (1 - 3.6 * ends**2) + 0.5
    x, y = shapes.grid()
    alpha = shapes.cover(shapes.line(points, width)(x, y), 1.5)
    return image * (1 - rng.uniform(0.5, 0.75) * alpha)


def bald(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wear a patch thin: the blades lose contrast, and soil of their mean brightness shows."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(13, 22), 0.25)(x, y)
    alpha = rng.uniform(0.55, 0.75) * shapes.cover(outline, 8.0)
    soil = gaussian_filter(image, 6) + 0.05 * shapes.clouds(rng, 1.3)
    return image * (1 - alpha) + soil * alpha


def thread(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drop a thin, curved, light thread with its shadow."""
    points = shapes.walk(rng, _spot(rng), int(rng.integers(9, 15)), 8.0, 0.3)
    x, y = shapes.grid()
    shade = shapes.cover(shapes.line(points, 2.6)(x - 1.5, y - 1.5), 3.0)
    alpha = shapes.cover(shapes.line(points, rng.uniform(1.6, 2.4))(x, y), 1.2)
    image = image * (1 - 0.3 * shade)
    return image * (1 - 0.8 * alpha) + rng.uniform(0.6, 0.75) * 0.8 * alpha


def fines(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a patch by the same stones at half their size."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(17, 27), 0.22)(x, y)
    small = np.tile(shapes.reduce(image, 2), (2, 2))
    alpha = shapes.cover(outline, 4.0)
    return image * (1 - alpha) + small * alpha


DEFECTS = {f.__name__: f for f in (crack, hole, stain, paint, cut, bald, thread, fines)}

BRICK = Texture("brick", ("crack", "hole", "paint", "stain"), (164, 178), turns=False)
GRASS = Texture("grass", ("bald", "cut", "stain", "thread"), (156, 178), turns=True)
GRAVEL = Texture("gravel", ("fines", "hole", "stain", "thread"), (156, 178), turns=True)
