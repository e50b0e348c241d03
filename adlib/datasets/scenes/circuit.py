"""A populated circuit board: aligned, many small parts that each sit a little differently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from adlib.datasets.scenes import shapes
from adlib.datasets.scenes.shapes import SIZE, cover

_SS = 2  # sub-pixels a side
_GREEN = np.array([0.075, 0.30, 0.19])
_COPPER = np.array([0.13, 0.41, 0.25])  # copper under green lacquer
_TIN = np.array([0.74, 0.74, 0.71])
_GOLD = np.array([0.80, 0.66, 0.33])
_SILK = np.array([0.86, 0.88, 0.84])
_CHIP, _PINS, _PITCH = (128.0, 122.0), 9, 7.0  # centre, pins a side, pixels between pins
_CHIP_SIDE, _PIN_END = 72.0, 46.0


@dataclass(frozen=True)
class Part:
    """A small part with two terminals: kind, place (pixels), size, turn (radians)."""

    kind: str
    x: float
    y: float
    width: float = 20.0
    height: float = 10.0
    angle: float = 0.0


_PARTS = (
    *(Part("resistor", 52 + 27 * i, 206) for i in range(4)),
    *(Part("capacitor", 52 + 27 * i, 226) for i in range(4)),
    *(Part("capacitor", 36, 100 + 24 * i, angle=np.pi / 2) for i in range(4)),
    *(Part("resistor", 112 + 25 * i, 38) for i in range(2)),
    Part("resistor", 218, 104, angle=np.pi / 2),
    Part("capacitor", 218, 132, angle=np.pi / 2),
    Part("resistor", 218, 160, angle=np.pi / 2),
)
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
    parts: tuple[Part, ...]
    shades: np.ndarray
    polarity: float


@dataclass
class Canvas:
    """The picture at `_SS` times its size, with the board's coordinates of each sub-pixel."""

    image: np.ndarray
    x: np.ndarray
    y: np.ndarray
    light: float

    def near(self, cx: float, cy: float, reach: float) -> tuple[slice, slice]:
        """Return the rows and columns that hold everything within `reach` of a point."""
        low = [max(int((c - reach - 8) * _SS), 0) for c in (cy, cx)]
        high = [max(int((c + reach + 8) * _SS), 0) for c in (cy, cx)]
        return slice(low[0], high[0]), slice(low[1], high[1])

    def fill(
        self, shape, place: tuple[float, float], reach: float, colour, relief: float = 0.0
    ) -> None:
        """Paint a shape; `relief` rounds its edge off in the light."""
        here = self.near(*place, reach)
        distance = shape(self.x[here], self.y[here])
        shade = 1.0
        if relief:
            rows, columns = np.gradient(_SS * np.clip(-distance / 2.2, 0, 1))
            shade = 1 + relief * (columns * np.cos(self.light) + rows * np.sin(self.light))
            shade = shade[..., None]
        self.blend(here, cover(distance, 1 / _SS), np.asarray(colour) * shade)

    def shadow(self, shape, place: tuple[float, float], reach: float, depth: float) -> None:
        """Darken what lies behind a part of height `depth`, away from the light."""
        here = self.near(*place, reach + depth)
        dx, dy = depth * np.cos(self.light), depth * np.sin(self.light)
        distance = shape(self.x[here] + dx, self.y[here] + dy)
        self.blend(here, 0.5 * cover(distance, 2 + depth), np.zeros(3))

    def blend(self, here, alpha: np.ndarray, colour: np.ndarray) -> None:
        """Mix a colour into a part of the picture."""
        view = self.image[here]
        view += alpha[..., None] * (colour - view)


@dataclass(frozen=True)
class Circuit:
    """The category ``circuit``."""

    kinds: tuple[str, ...] = ("cut_trace", "missing_part", "skewed_part", "solder_bridge")
    noise: float = 0.012

    def look(self, rng: np.random.Generator, split: str) -> Look:
        """Draw pose, light and the place of each part; both splits alike."""
        del split
        parts = tuple(
            replace(
                part,
                x=part.x + rng.normal(0, 0.5),
                y=part.y + rng.normal(0, 0.5),
                angle=part.angle + rng.normal(0, 0.025),
            )
            for part in _PARTS
        )
        return Look(
            centre=tuple(rng.normal(0, 1.2, 2)),
            angle=rng.normal(0, 0.008),
            light=-2.3 + rng.normal(0, 0.25),
            gain=rng.normal(1, 0.05),
            tilt=tuple(rng.normal(0, 0.06, 2)),
            tint=1 + rng.normal(0, 0.03, 3),
            weave=shapes.clouds(rng, 0.7) + 0.6 * shapes.clouds(rng, 25),
            parts=parts,
            shades=1 + rng.normal(0, 0.05, len(parts)),
            polarity=rng.normal(0, 0.06),
        )

    @cached_property
    def _layers(self) -> dict[str, np.ndarray]:
        """Distance fields of what is printed on the bare board, on the sub-pixel grid."""
        x, y = shapes.grid(_SS)
        return {name: _union(layer, x, y) for name, layer in _artwork().items()}

    def render(
        self, look: Look, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, colour (256, 256, 3) in [0, 1]."""
        x, y = shapes.grid(_SS)
        cos, sin = np.cos(look.angle), np.sin(look.angle)
        u, v = x - SIZE / 2 - look.centre[0], y - SIZE / 2 - look.centre[1]
        u, v = cos * u + sin * v + SIZE / 2, cos * v - sin * u + SIZE / 2
        parts = list(zip(look.parts, look.shades, strict=True))
        if kind == "missing_part":
            parts.pop(int(rng.integers(len(parts))))
        elif kind == "skewed_part":
            index = int(rng.integers(len(parts)))
            parts[index] = (_skewed(parts[index][0], rng), parts[index][1])
        cut = _cut(rng) if kind == "cut_trace" else None
        canvas = Canvas(self._board(look, u, v, cut), u, v, look.light)
        for part, shade in parts:
            _draw_part(canvas, part, shade)
        _draw_chip(canvas)
        if kind == "solder_bridge":
            _bridge(canvas, rng)
        _draw_can(canvas, look.polarity)
        _draw_crystal(canvas)
        image = shapes.reduce(canvas.image, _SS) * look.tint
        x, y = shapes.grid()
        level = look.gain + look.tilt[0] * (x / SIZE - 0.5) + look.tilt[1] * (y / SIZE - 0.5)
        return np.clip(image * level[..., None], 0, 1)

    def _board(self, look: Look, u: np.ndarray, v: np.ndarray, cut) -> np.ndarray:
        """Paint lacquer, traces, pads and lettering of the bare board."""
        places = (v * _SS - 0.5, u * _SS - 0.5)
        layers = {
            name: map_coordinates(field, places, order=1, mode="nearest")
            for name, field in self._layers.items()
        }
        if cut is not None:
            layers["copper"] = np.maximum(layers["copper"], -cut(u, v))
        weave = np.kron(look.weave, np.ones((_SS, _SS)))[..., None]
        image = _GREEN * (1 + 0.05 * weave)
        # lacquer is thicker beside a trace: a faint dark rim lifts the trace off the board
        for name, colour, rim in (
            ("copper", _COPPER, 0.18),
            ("silk", _SILK, 0.0),
            ("tin", _TIN, 0.12),
            ("gold", _GOLD, 0.12),
            ("drill", np.array([0.05, 0.06, 0.06]), 0.0),
        ):
            distance = layers[name]
            image = image * (1 - rim * cover(distance - 0.8, 2.0))[..., None]
            alpha = cover(distance, 1 / _SS)[..., None]
            image = image * (1 - alpha) + colour * (1 + 0.04 * weave) * alpha
        return image


def _union(layer: list, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    field = np.full(x.shape, 30.0)
    for shape in layer:
        np.minimum(field, shape(x, y), out=field)
    return field


def _pins() -> list[tuple[float, float, float, float]]:
    """List the chip's pins: place of the outer end and outward direction."""
    offsets = (np.arange(_PINS) - (_PINS - 1) / 2) * _PITCH
    cx, cy = _CHIP
    sides = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
    return [
        (cx + dx * _PIN_END - dy * t, cy + dy * _PIN_END + dx * t, dx, dy)
        for dx, dy in sides
        for t in offsets
    ]


def _traces() -> list[list[tuple[float, float]]]:
    """Fan the pins out: straight, a bend of 45 degrees, straight to a via."""
    routes = []
    for number, (x, y, dx, dy) in enumerate(_pins()):
        slot = number % _PINS - (_PINS - 1) // 2
        straight = 3.0 + 2.0 * (4 - abs(slot))
        spread = 2.2 * slot
        bend = (x + dx * straight, y + dy * straight)
        out = (bend[0] + dx * abs(spread) - dy * spread, bend[1] + dy * abs(spread) + dx * spread)
        tail = 5.0 + 7.0 * (number % 2)
        routes.append([(x, y), bend, out, (out[0] + dx * tail, out[1] + dy * tail)])
    return routes


def _artwork() -> dict[str, list]:
    """List the shapes of each printed layer."""
    art: dict[str, list] = {"copper": [], "silk": [], "tin": [], "gold": [], "drill": []}
    for route in _traces():
        art["copper"].append(shapes.line(route, 2.0))
        art["copper"].append(shapes.disc(*route[-1], 3.0))
        art["gold"].append(shapes.disc(*route[-1], 1.9))
        art["drill"].append(shapes.disc(*route[-1], 0.9))
    for part in _PARTS:
        along = np.array([np.cos(part.angle), np.sin(part.angle)])
        for sign in (-1, 1):
            px, py = np.array([part.x, part.y]) + sign * along * (part.width / 2 - 2)
            art["tin"].append(shapes.box(px, py, 8, 11, part.angle, 1.0))
    for i in range(5):
        px, py = 178 + 12 * i, 218
        art["gold"].append(shapes.disc(px, py, 4.2))
        art["drill"].append(shapes.disc(px, py, 2.0))
    for x0, y0, x1, y1 in ((170, 209, 234, 209), (170, 227, 234, 227), (170, 209, 170, 227),
                           (234, 209, 234, 227), (82, 77, 90, 77), (82, 77, 82, 85)):
        art["silk"].append(shapes.line([(x0, y0), (x1, y1)], 1.0))
    art["copper"].append(shapes.line([(40, 216), (160, 216), (170, 226)], 3.0))
    art["copper"].append(shapes.line([(26, 86), (26, 186), (40, 200)], 3.0))
    art["copper"].append(shapes.line([(230, 90), (230, 190), (222, 198)], 3.0))
    return art


def _draw_part(canvas: Canvas, part: Part, shade: float) -> None:
    place, reach = (part.x, part.y), part.width
    whole = shapes.box(part.x, part.y, part.width, part.height, part.angle, 1.0)
    canvas.shadow(whole, place, reach, 2.5)
    canvas.fill(whole, place, reach, _TIN * 1.04 * shade, relief=0.5)
    body = shapes.box(part.x, part.y, part.width - 7, part.height, part.angle, 0.6)
    canvas.fill(body, place, reach, _BODY[part.kind] * shade, relief=0.5)
    if part.kind == "resistor":  # the printed value
        mark = shapes.box(part.x, part.y, 7, 2.2, part.angle)
        canvas.fill(mark, place, reach, np.full(3, 0.55))


def _draw_chip(canvas: Canvas) -> None:
    cx, cy = _CHIP
    half = _CHIP_SIDE / 2
    for x, y, dx, dy in _pins():
        x, y = x - 5.0 * dx, y - 5.0 * dy
        pin = shapes.box(x, y, 11 if dx else 3.4, 11 if dy else 3.4, 0.0, 0.8)
        canvas.fill(pin, (x, y), 6, _TIN, relief=0.5)
    body = shapes.box(cx, cy, _CHIP_SIDE, _CHIP_SIDE, 0.0, 2.0)
    canvas.shadow(body, _CHIP, half * 1.5, 4.0)
    canvas.fill(body, _CHIP, half * 1.5, np.array([0.13, 0.13, 0.14]), relief=0.9)
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


def _skewed(part: Part, rng: np.random.Generator) -> Part:
    turn = rng.choice((-1, 1)) * rng.uniform(0.2, 0.45)
    dx, dy = rng.uniform(-2.5, 2.5, 2)
    return replace(part, angle=part.angle + turn, x=part.x + dx, y=part.y + dy)


def _cut(rng: np.random.Generator):
    """Interrupt one of the traces by a scratch across it."""
    routes = _traces()
    route = routes[int(rng.integers(len(routes)))]
    (x0, y0), (x1, y1) = (route[1], route[2]) if route[1] != route[2] else route[2:4]
    t = rng.uniform(0.3, 0.7)
    x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
    return shapes.box(x, y, rng.uniform(4, 7), rng.uniform(4, 7), rng.uniform(0, np.pi), 1.0)


def _bridge(canvas: Canvas, rng: np.random.Generator) -> None:
    """Join neighbouring pins by a drop of solder."""
    pins = _pins()
    number = int(rng.integers(len(pins)))
    if number % _PINS == _PINS - 1:
        number -= 1
    (x0, y0, dx, dy), (x1, y1, _, _) = pins[number], pins[number + 1]
    back = rng.uniform(1.0, 6.0)
    cx, cy = (x0 + x1) / 2 - back * dx, (y0 + y1) / 2 - back * dy
    drop = shapes.blob(rng, cx, cy, rng.uniform(3.2, 4.6), 0.08)
    canvas.fill(drop, (cx, cy), 9, _TIN * 1.05, relief=0.9)


CIRCUIT = Circuit()
