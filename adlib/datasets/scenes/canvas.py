"""A finely divided picture on which shapes are painted one over the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adlib.datasets.scenes.shapes import FINE, Shape, cover

Colour = np.ndarray  # (3,) or (h, w, 3), red, green, blue in [0, 1]
Window = tuple[slice, slice]


@dataclass
class Canvas:
    """A picture (S, S, 3), the coordinates of each sub-pixel in the scene, and the light.

    The scene is turned and moved by a few pixels at most; `light` is its direction in radians.
    """

    image: np.ndarray
    x: np.ndarray
    y: np.ndarray
    light: float

    def near(self, cx: float, cy: float, reach: float) -> Window:
        """Return the rows and columns that hold everything within `reach` of a point."""
        low = [max(int((c - reach - 8) * FINE), 0) for c in (cy, cx)]
        high = [max(int((c + reach + 8) * FINE), 0) for c in (cy, cx)]
        return slice(low[0], high[0]), slice(low[1], high[1])

    def fill(
        self,
        shape: Shape,
        place: tuple[float, float],
        reach: float,
        colour: Colour,
        relief: float = 0.0,
    ) -> None:
        """Paint a shape; `relief` rounds its edge off in the light."""
        here = self.near(*place, reach)
        distance = shape(self.x[here], self.y[here])
        shade = 1.0
        if relief:
            rows, columns = np.gradient(FINE * np.clip(-distance / 2.2, 0, 1))
            facing = -columns * np.cos(self.light) - rows * np.sin(self.light)
            shade = 1 + relief * facing[..., None]
        self.blend(here, cover(distance, 1 / FINE), colour * shade)

    def shadow(self, shape: Shape, place: tuple[float, float], reach: float, depth: float) -> None:
        """Darken what lies behind a part of height `depth`, away from the light."""
        here = self.near(*place, reach + depth)
        dx, dy = depth * np.cos(self.light), depth * np.sin(self.light)
        distance = shape(self.x[here] + dx, self.y[here] + dy)
        self.blend(here, 0.5 * cover(distance, 2 + depth), np.zeros(3))

    def blend(self, here: Window, alpha: np.ndarray, colour: Colour) -> None:
        """Mix a colour into a part of the picture."""
        view = self.image[here]
        view += alpha[..., None] * (colour - view)
