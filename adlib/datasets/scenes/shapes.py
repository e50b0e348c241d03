"""Plane shapes as signed distances, and random outlines for defects.

Every shape is a function ``shape(x, y)`` that returns the signed distance in pixels to its outline,
negative inside, for arrays of coordinates. Coordinates are pixels of the finished picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

SIZE = 256  # pixels a side of every picture
FINE = 2  # sub-pixels a side where edges are drawn, averaged at the end
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


@cache
def grid(supersample: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (each ``(SIZE * supersample,) * 2``) of the sub-pixel centres."""
    centres = (np.arange(SIZE * supersample) + 0.5) / supersample
    x, y = np.meshgrid(centres, centres)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def reduce(image: np.ndarray, supersample: int) -> np.ndarray:
    """Average squares of `supersample` sub-pixels a side, (S, S[, C]) -> (SIZE, SIZE[, C])."""
    rows = sum(image[i::supersample] for i in range(supersample))
    return sum(rows[:, i::supersample] for i in range(supersample)) / supersample**2


def enlarge(field: np.ndarray) -> np.ndarray:
    """Repeat each pixel of (SIZE, SIZE) as `FINE` x `FINE` sub-pixels."""
    return np.kron(field, np.ones((FINE, FINE)))


def cover(distance: np.ndarray, soft: float = 1.0) -> np.ndarray:
    """Turn signed distance into coverage in [0, 1], an edge `soft` pixels wide."""
    return np.clip(0.5 - distance / soft, 0.0, 1.0)


def disc(cx: float, cy: float, radius: float) -> Shape:
    """Return a disc."""
    return lambda x, y: np.hypot(x - cx, y - cy) - radius


def box(
    cx: float, cy: float, width: float, height: float, angle: float = 0.0, corner: float = 0.0
) -> Shape:
    """Return a rectangle turned by `angle` (radians) about its centre, corners rounded."""
    cos, sin = np.cos(angle), np.sin(angle)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = x - cx, y - cy
        a = np.abs(cos * u + sin * v) - (width / 2 - corner)
        b = np.abs(cos * v - sin * u) - (height / 2 - corner)
        outside = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
        return outside + np.minimum(np.maximum(a, b), 0) - corner

    return distance


def line(points: Sequence[tuple[float, float]], width: float | Sequence[float]) -> Shape:
    """Return a polyline with round ends; `width` in pixels, one or one for each point."""
    radii = np.broadcast_to(np.asarray(width, dtype=float) / 2, len(points))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        best = None
        for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:], strict=False):
            dx, dy = x1 - x0, y1 - y0
            along = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9)
            along = np.clip(along, 0.0, 1.0)
            near = np.hypot(x - x0 - along * dx, y - y0 - along * dy) - (r0 + along * (r1 - r0))
            best = near if best is None else np.minimum(best, near)
        return best

    return distance


def blob(rng: np.random.Generator, cx: float, cy: float, radius: float, wobble: float) -> Shape:
    """Return an irregular closed outline; `wobble` is its relative roughness."""
    waves = np.arange(2, 8)
    size = rng.normal(size=waves.size) * wobble / waves**0.7
    phase = rng.uniform(0, 2 * np.pi, waves.size)
    stretch, turn = rng.uniform(0.75, 1.3), rng.uniform(0, np.pi)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u = np.cos(turn) * (x - cx) + np.sin(turn) * (y - cy)
        v = np.cos(turn) * (y - cy) - np.sin(turn) * (x - cx)
        u, v = u / stretch, v * stretch
        angle = np.arctan2(v, u)
        outline = np.ones_like(angle)
        for k, s, p in zip(waves, size, phase, strict=True):
            outline += s * np.cos(k * angle + p)
        return np.hypot(u, v) - radius * np.clip(outline, 0.3, 2.0)

    return distance


def walk(
    rng: np.random.Generator, start: tuple[float, float], steps: int, step: float, bend: float
) -> list[tuple[float, float]]:
    """Return points of a random walk that keeps its direction up to `bend` radians a step."""
    points, heading = [start], rng.uniform(0, 2 * np.pi)
    towards = np.arctan2(SIZE / 2 - start[1], SIZE / 2 - start[0])
    if np.cos(heading - towards) < 0:  # stay in the picture
        heading += np.pi
    for _ in range(steps):
        heading += rng.normal(0, bend)
        x, y = points[-1]
        points.append((x + step * np.cos(heading), y + step * np.sin(heading)))
    return points


def clouds(rng: np.random.Generator, scale: float, size: int = SIZE) -> np.ndarray:
    """Return smooth noise (size, size) of mean 0 and deviation 1, features about `scale` pixels."""
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    gauss = np.exp(-2 * (np.pi * scale) ** 2 * (rows**2 + columns**2))
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * gauss)
    return (field - field.mean()) / field.std()
