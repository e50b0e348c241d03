"""A populated circuit board: aligned, many small parts that each sit a little differently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.ndimage import affine_transform

from adlib.datasets.scenes import layout, shapes
from adlib.datasets.scenes.canvas import Canvas
from adlib.datasets.scenes.shapes import FINE, SIZE, cover

_BODY = {"resistor": np.array([0.10, 0.10, 0.11]), "capacitor": np.array([0.62, 0.50, 0.36])}


@dataclass(frozen=True)
class Look:
    """Pose and light of one board, and where each part sits."""

    centre: tuple[float, float]
    angle: float
    light: float
    gain: float
    tilt: tuple[float, float]
    tint: np.ndarray
    weave: np.ndarray
    parts: tuple[layout.Part, ...]
    shades: np.ndarray
    polarity: float


@dataclass(frozen=True)
class Circuit:
    """The category ``circuit``."""

    kinds: tuple[str, ...] = ("cut_trace", "flux", "missing_part", "skewed_part")
    noise: float = 0.012

    def look(self, rng: np.random.Generator, split: str) -> Look:
        """Draw pose, light and the place of each part; both splits alike."""
        del split
        parts = tuple(
            replace(
                part,
                x=part.x + rng.normal(0, 0.7),
                y=part.y + rng.normal(0, 0.7),
                angle=part.angle + rng.normal(0, 0.04),
            )
            for part in layout.PARTS
        )
        return Look(
            centre=tuple(rng.normal(0, 1.2, 2)),
            angle=rng.normal(0, 0.008),
            light=-2.3 + rng.normal(0, 0.25),
            gain=rng.normal(1, 0.05),
            tilt=tuple(rng.normal(0, 0.06, 2)),
            tint=1 + rng.normal(0, 0.02, 3),
            weave=shapes.clouds(rng, 0.7) + 0.6 * shapes.clouds(rng, 25),
            parts=parts,
            shades=1 + rng.normal(0, 0.05, len(parts)),
            polarity=rng.normal(0, 0.06),
        )

    @cached_property
    def _bare(self) -> np.ndarray:
        """The bare board, colour, on the sub-pixel grid of an unmoved board."""
        x, y = shapes.grid(FINE)
        image = np.broadcast_to(layout.GREEN, (*x.shape, 3)).copy()
        for shapes_of_layer, colour, rim in layout.artwork():
            distance = _union(shapes_of_layer, x, y)
            # lacquer is thicker beside copper: a faint dark rim lifts it off the board
            image *= (1 - rim * cover(distance - 0.8, 2.0))[..., None]
            image += cover(distance, 1 / FINE)[..., None] * (colour - image)
        return image

    def render(
        self, look: Look, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, colour (256, 256, 3) in [0, 1]."""
        parts = list(zip(look.parts, look.shades, strict=True))
        if kind == "missing_part":
            parts.pop(int(rng.integers(len(parts))))
        elif kind == "skewed_part":
            index = int(rng.integers(len(parts)))
            parts[index] = (_skewed(parts[index][0], rng), parts[index][1])
        canvas = self._board(look)
        if kind == "cut_trace":
            _cut(canvas, rng)
        for part, shade in parts:
            _draw_part(canvas, part, shade)
        _draw_chip(canvas)
        _draw_can(canvas, look.polarity)
        _draw_crystal(canvas)
        if kind == "flux":
            _flux(canvas, rng)
        image = shapes.reduce(canvas.image, FINE) * look.tint
        x, y = shapes.grid()
        level = look.gain + look.tilt[0] * (x / SIZE - 0.5) + look.tilt[1] * (y / SIZE - 0.5)
        return np.clip(image * level[..., None], 0, 1)

    def _board(self, look: Look) -> Canvas:
        """Put the bare board into its pose."""
        x, y = shapes.grid(FINE)
        cos, sin = np.cos(look.angle), np.sin(look.angle)
        u, v = x - SIZE / 2 - look.centre[0], y - SIZE / 2 - look.centre[1]
        u, v = cos * u + sin * v + SIZE / 2, cos * v - sin * u + SIZE / 2
        matrix = np.array([[cos, -sin], [sin, cos]])  # (row, column) of the picture to the board
        offset = FINE * np.array([v[0, 0], u[0, 0]]) - 0.5
        weave = 1 + 0.05 * shapes.enlarge(look.weave)
        image = np.empty_like(self._bare)
        for channel in range(3):
            image[..., channel] = weave * affine_transform(
                self._bare[..., channel], matrix, offset, order=1, mode="nearest"
            )
        return Canvas(image, u, v, look.light)


def _union(layer: list, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest shape, cut off at 8 pixels."""
    coarse = (x[::16, ::16], y[::16, ::16])
    field = np.full(x.shape, 8.0)
    for shape in layer:
        rows, columns = np.nonzero(shape(*coarse) < 8.0 + 12.0)
        here = (
            slice(16 * rows.min(), 16 * rows.max() + 16),
            slice(16 * columns.min(), 16 * columns.max() + 16),
        )
        field[here] = np.minimum(field[here], shape(x[here], y[here]))
    return field


def _draw_part(canvas: Canvas, part: layout.Part, shade: float) -> None:
    place, reach = (part.x, part.y), part.width
    whole = shapes.box(part.x, part.y, part.width, part.height, part.angle, 1.0)
    canvas.shadow(whole, place, reach, 2.5)
    canvas.fill(whole, place, reach, layout.TIN * 1.04 * shade, relief=0.5)
    body = shapes.box(part.x, part.y, part.width - 7, part.height, part.angle, 0.6)
    canvas.fill(body, place, reach, _BODY[part.kind] * shade, relief=0.5)
    if part.kind == "resistor":  # the printed value
        mark = shapes.box(part.x, part.y, 7, 2.2, part.angle)
        canvas.fill(mark, place, reach, np.full(3, 0.55))


def _draw_chip(canvas: Canvas) -> None:
    cx, cy = layout.CHIP
    half = layout.CHIP_SIDE / 2
    for x, y, dx, dy in layout.pins():
        x, y = x - 5.0 * dx, y - 5.0 * dy
        pin = shapes.box(x, y, 11 if dx else 3.4, 11 if dy else 3.4, 0.0, 0.8)
        canvas.fill(pin, (x, y), 6, layout.TIN, relief=0.5)
    body = shapes.box(cx, cy, layout.CHIP_SIDE, layout.CHIP_SIDE, 0.0, 2.0)
    canvas.shadow(body, layout.CHIP, half * 1.5, 4.0)
    canvas.fill(body, layout.CHIP, half * 1.5, np.array([0.13, 0.13, 0.14]), relief=0.9)
    canvas.fill(shapes.disc(cx - 27, cy - 27, 3.2), (cx - 27, cy - 27), 4, np.full(3, 0.08))
    for row, length in enumerate((34, 26, 30)):  # the printed name, too small to read
        for i in range(length // 5):
            x, y = cx - length / 2 + 5 * i + 2.5, cy - 9 + 9 * row
            letter = shapes.box(x, y, 3.2 - (i * 7 + row) % 3 * 0.6, 4.6, 0.0, 0.5)
            canvas.fill(letter, (x, y), 4, np.full(3, 0.42))


def _draw_can(canvas: Canvas, turn: float) -> None:
    """Draw an electrolytic capacitor from above: aluminium, its negative side marked."""
    place = (56.0, 52.0)
    base = shapes.box(*place, 46, 46, 0.0, 6.0)
    canvas.shadow(base, place, 40, 6.0)
    canvas.fill(base, place, 40, np.array([0.12, 0.12, 0.13]), relief=0.8)
    canvas.fill(shapes.disc(*place, 20.5), place, 24, np.array([0.70, 0.71, 0.72]), relief=0.5)

    def sector(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = x - place[0], y - place[1]
        chord = 9.5 - (u * np.cos(turn + np.pi) + v * np.sin(turn + np.pi))
        return np.maximum(np.hypot(u, v) - 17.5, chord)

    canvas.fill(sector, place, 24, np.array([0.16, 0.17, 0.20]))
    for i in range(3):
        angle = turn + np.pi / 2 + i * np.pi / 3
        dx, dy = 6 * np.cos(angle), 6 * np.sin(angle)
        ends = [(place[0] - dx, place[1] - dy), (place[0] + dx, place[1] + dy)]
        canvas.fill(shapes.line(ends, 0.9), place, 12, np.full(3, 0.52))


def _draw_crystal(canvas: Canvas) -> None:
    place = (196.0, 46.0)
    can = shapes.box(*place, 54, 24, 0.0, 12.0)
    canvas.shadow(can, place, 34, 5.0)
    canvas.fill(can, place, 34, np.array([0.66, 0.66, 0.65]), relief=0.6)
    canvas.fill(shapes.box(*place, 46, 16, 0.0, 8.0), place, 30, np.array([0.78, 0.78, 0.77]), 0.4)
    for i in range(5):
        x = place[0] - 14 + 7 * i
        canvas.fill(shapes.box(x, place[1], 4, 5, 0.0, 0.6), (x, place[1]), 5, np.full(3, 0.45))


def _skewed(part: layout.Part, rng: np.random.Generator) -> layout.Part:
    turn = rng.choice((-1, 1)) * rng.uniform(0.12, 0.3)
    dx, dy = rng.uniform(-2, 2, 2)
    return replace(part, angle=part.angle + turn, x=part.x + dx, y=part.y + dy)


def _cut(canvas: Canvas, rng: np.random.Generator) -> None:
    """Scrape through one of the traces, down to the laminate."""
    routes = layout.traces()
    start, (x0, y0), (x1, y1), end = routes[int(rng.integers(len(routes)))]
    along = np.arctan2(end[1] - start[1], end[0] - start[0])
    turn = along + np.pi / 2 + rng.normal(0, 0.4)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    dx, dy = np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(4, 8)
    scrape = shapes.line([(x - dx, y - dy), (x + dx, y + dy)], (1.5, 4.0))
    canvas.fill(scrape, (x, y), 12, 0.6 * layout.LAMINATE + 0.4 * layout.GREEN)


def _flux(canvas: Canvas, rng: np.random.Generator) -> None:
    """Leave flux on the board: an amber film, denser along its edge."""
    cx, cy = rng.uniform(50, SIZE - 50, 2)
    outline = shapes.blob(rng, cx, cy, rng.uniform(16, 24), 0.15)
    here = canvas.near(cx, cy, 60)
    distance = outline(canvas.x[here], canvas.y[here])
    film = cover(distance, 3.0) * (0.75 + 0.25 * np.exp(-((distance / 3) ** 2)))
    canvas.blend(here, rng.uniform(0.12, 0.24) * film, np.array([0.62, 0.5, 0.26]))


CIRCUIT = Circuit()
