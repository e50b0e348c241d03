"""Brick, grass and gravel: crops of photographs, train and test from disjoint parts of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, spline_filter

from adlib.datasets.scenes import shapes
from adlib.datasets.scenes.shapes import SIZE

SPLIT_COLUMN = 316  # columns to the left are for training, from here on for testing
_SAND = np.array([0.62, 0.55, 0.42])
_MARGIN = 56.0  # defects start this far from the border, the central crop keeps them


@dataclass(frozen=True)
class Crop:
    """Where one picture lies in its photograph, and its light."""

    split: str
    matrix: np.ndarray
    offset: np.ndarray
    gain: float
    gamma: np.ndarray
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
    tint : tuple of float
        Exponents that turn the grey photograph into red, green and blue.
    side : tuple of float
        Shortest and longest side of a crop, in pixels of the photograph.
    turns : bool
        Whether the surface looks alike from every side, so that quarter turns are natural.
    noise : float
        Standard deviation of the camera's noise, on [0, 1].
    """

    photo_name: str
    kinds: tuple[str, ...]
    tint: tuple[float, float, float]
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
            gamma=np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.015, 3)),
            tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
            haze=0.02 * shapes.clouds(rng, 45),
        )

    def render(
        self, look: Crop, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, colour (256, 256, 3) in [0, 1]."""
        part = self._parts[look.split]
        image = affine_transform(
            part, look.matrix, look.offset, (SIZE, SIZE), order=3, prefilter=False, mode="reflect"
        )
        image = np.clip(image, 0, 1)[..., None] ** (look.gamma * np.array(self.tint))
        if kind is not None:
            image = DEFECTS[kind](image, rng)
        x, y = shapes.grid()
        light = look.gain + look.tilt[0] * (x / SIZE - 0.5) + look.tilt[1] * (y / SIZE - 0.5)
        return np.clip(image * (light + look.haze)[..., None], 0, 1)


def _spot(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(_MARGIN, SIZE - _MARGIN, 2)
    return float(x), float(y)


def _mix(image: np.ndarray, alpha: np.ndarray, colour: np.ndarray | float) -> np.ndarray:
    """Lay a colour (or a picture) over the image, `alpha` (256, 256) thick."""
    return image + alpha[..., None] * (colour - image)


def crack(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a thin, dark, branching line."""
    points = shapes.walk(rng, _spot(rng), int(rng.integers(5, 9)), 11.0, 0.45)
    width = np.linspace(rng.uniform(2.0, 3.0), 0.8, len(points))
    branch = shapes.walk(rng, points[len(points) // 2], 4, 8.0, 0.5)
    x, y = shapes.grid()
    distance = np.minimum(shapes.line(points, width)(x, y), shapes.line(branch, 1.3)(x, y))
    return _mix(image, rng.uniform(0.35, 0.6) * shapes.cover(distance, 1.5), 0.0)


def hole(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Break out a piece: darker towards one side, its texture smoothed."""
    cx, cy = _spot(rng)
    x, y = shapes.grid()
    outline = shapes.blob(rng, cx, cy, rng.uniform(7, 13), 0.16)(x, y)
    side = rng.uniform(0, 2 * np.pi)
    slope = np.clip(((x - cx) * np.cos(side) + (y - cy) * np.sin(side)) / 25, -0.5, 0.5)
    inside = (
        gaussian_filter(image, (1.2, 1.2, 0)) * (rng.uniform(0.5, 0.65) + 0.5 * slope)[..., None]
    )
    return _mix(image, shapes.cover(outline, 2.0), inside)


def stain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken a damp patch; the texture stays visible."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(16, 27), 0.18)(x, y)
    alpha = shapes.cover(outline, 5.0) * (1 + 0.15 * shapes.clouds(rng, 8))
    return _mix(image, rng.uniform(0.35, 0.6) * np.clip(alpha, 0, 1), np.array([0.05, 0.08, 0.16]))


def paint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Splash light paint in drops of several sizes; it evens out the texture."""
    x, y = shapes.grid()
    cx, cy = _spot(rng)
    distance = shapes.blob(rng, cx, cy, rng.uniform(5, 9), 0.2)(x, y)
    for _ in range(int(rng.integers(4, 8))):
        dx, dy = rng.normal(0, 16, 2)
        distance = np.minimum(distance, shapes.disc(cx + dx, cy + dy, rng.uniform(1.5, 4))(x, y))
    return _mix(image, 0.55 * shapes.cover(distance, 1.5), np.array([0.74, 0.73, 0.66]))


def cut(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a straight slit that opens in the middle and shows the dark ground."""
    (x0, y0), angle, length = _spot(rng), rng.uniform(0, np.pi), rng.uniform(50, 80)
    ends = np.linspace(-0.5, 0.5, 9)
    points = [(x0 + t * length * np.cos(angle), y0 + t * length * np.sin(angle)) for t in ends]
    width = rng.uniform(5.0, 8.0) * (1 - 3.6 * ends**2) + 0.5
    x, y = shapes.grid()
    alpha = rng.uniform(0.75, 0.9) * shapes.cover(shapes.line(points, width)(x, y), 2.0)
    return _mix(image, alpha, np.array([0.10, 0.07, 0.05]))


def bald(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wear a patch thin: brown soil shows between the remaining blades."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(13, 22), 0.2)(x, y)
    alpha = rng.uniform(0.55, 0.75) * shapes.cover(outline, 8.0)
    grain = 1 + 0.12 * shapes.clouds(rng, 1.2)[..., None]
    return _mix(image, alpha, np.array([0.46, 0.34, 0.22]) * grain)


def thread(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drop a curved red thread with its shadow."""
    points = shapes.walk(rng, _spot(rng), int(rng.integers(7, 12)), 8.0, 0.3)
    x, y = shapes.grid()
    shade = shapes.cover(shapes.line(points, 3.0)(x - 1.5, y - 1.5), 3.0)
    alpha = shapes.cover(shapes.line(points, rng.uniform(2.0, 3.0))(x, y), 1.2)
    return _mix(_mix(image, 0.3 * shade, 0.0), 0.8 * alpha, np.array([0.62, 0.22, 0.20]))


def leaf(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drop a dry leaf: pointed, with a rib, and a shadow."""
    (cx, cy), turn, length = _spot(rng), rng.uniform(0, 2 * np.pi), rng.uniform(15, 22)
    x, y = shapes.grid()

    def outline(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / length
        across = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        half = 0.42 * length * (1 - along**2) * (1 + 0.35 * along)
        return np.where(np.abs(along) < 1, np.abs(across) - half, length)

    dx, dy = length * np.cos(turn), length * np.sin(turn)
    rib = shapes.line([(cx - dx, cy - dy), (cx + 0.8 * dx, cy + 0.8 * dy)], (1.6, 0.6))(x, y)
    colour = np.array([0.56, 0.42, 0.24]) * (1 + 0.08 * shapes.clouds(rng, 3)[..., None])
    image = _mix(image, 0.35 * shapes.cover(outline(x - 2, y - 2), 3.0), 0.0)
    colour = colour * (1 - 0.3 * shapes.cover(rib, 1.0))[..., None]
    return _mix(image, 0.85 * shapes.cover(outline(x, y), 1.2), colour)


def fines(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a patch by the same stones at half their size, mixed with sand."""
    x, y = shapes.grid()
    outline = shapes.blob(rng, *_spot(rng), rng.uniform(17, 27), 0.2)(x, y)
    small = np.tile(shapes.reduce(image, 2), (2, 2, 1))
    return _mix(image, shapes.cover(outline, 4.0), _mix(small, np.full_like(x, 0.5), _SAND))


DEFECTS = {f.__name__: f for f in (crack, hole, stain, paint, cut, bald, thread, leaf, fines)}

BRICK = Texture(
    "brick", ("crack", "hole", "paint", "stain"), (0.85, 1.15, 1.25), (164, 178), turns=False
)
GRASS = Texture(
    "grass", ("bald", "cut", "leaf", "thread"), (1.25, 0.9, 1.8), (156, 178), turns=True
)
GRAVEL = Texture(
    "gravel", ("fines", "leaf", "stain", "thread"), (0.96, 1.0, 1.06), (156, 178), turns=True
)
