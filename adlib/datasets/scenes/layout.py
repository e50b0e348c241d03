"""Where things lie on the circuit board: parts, pins, traces, lettering; lengths in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adlib.datasets.scenes import shapes

GREEN = np.array([0.075, 0.30, 0.19])
_COPPER = np.array([0.13, 0.41, 0.25])  # copper under green lacquer
LAMINATE = np.array([0.52, 0.49, 0.34])
TIN = np.array([0.74, 0.74, 0.71])
_GOLD = np.array([0.80, 0.66, 0.33])
_SILK = np.array([0.86, 0.88, 0.84])
_DRILL = np.array([0.05, 0.06, 0.06])
_RAILS = (
    ((40, 216), (160, 216), (170, 226)),
    ((26, 86), (26, 186), (40, 200)),
    ((230, 90), (230, 190), (222, 198)),
)
_LETTERING = (
    ((170, 209), (234, 209), (234, 227), (170, 227), (170, 209)),
    ((90, 77), (82, 77), (82, 85)),
)
CHIP, _PINS, _PITCH = (128.0, 122.0), 9, 7.0  # centre, pins a side, pixels between pins
CHIP_SIDE, _PIN_END = 72.0, 46.0


@dataclass(frozen=True)
class Part:
    """A small part with two terminals: kind, place (pixels), size, turn (radians)."""

    kind: str
    x: float
    y: float
    width: float = 20.0
    height: float = 10.0
    angle: float = 0.0


PARTS = (
    *(Part("resistor", 52 + 27 * i, 206) for i in range(4)),
    *(Part("capacitor", 52 + 27 * i, 226) for i in range(4)),
    *(Part("capacitor", 36, 98 + 26 * i, angle=np.pi / 2) for i in range(4)),
    *(Part("resistor", 112 + 25 * i, 38) for i in range(2)),
    Part("resistor", 218, 104, angle=np.pi / 2),
    Part("capacitor", 218, 132, angle=np.pi / 2),
    Part("resistor", 218, 160, angle=np.pi / 2),
)


def pins() -> list[tuple[float, float, float, float]]:
    """List the chip's pins: place of the outer end and outward direction."""
    offsets = (np.arange(_PINS) - (_PINS - 1) / 2) * _PITCH
    cx, cy = CHIP
    sides = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
    return [
        (cx + dx * _PIN_END - dy * t, cy + dy * _PIN_END + dx * t, dx, dy)
        for dx, dy in sides
        for t in offsets
    ]


def traces() -> list[list[tuple[float, float]]]:
    """Fan the pins out: straight, a bend of 45 degrees, straight to a via."""
    routes = []
    for number, (x, y, dx, dy) in enumerate(pins()):
        slot = number % _PINS - (_PINS - 1) // 2
        straight = 3.0 + 2.0 * (4 - abs(slot))
        spread = 2.2 * slot
        bend = (x + dx * straight, y + dy * straight)
        out = (bend[0] + dx * abs(spread) - dy * spread, bend[1] + dy * abs(spread) + dx * spread)
        tail = 5.0 + 7.0 * (number % 2)
        routes.append([(x, y), bend, out, (out[0] + dx * tail, out[1] + dy * tail)])
    return routes


def artwork() -> list[tuple[list[shapes.Shape], np.ndarray, float]]:
    """List the printed layers, lowest first: shapes, colour, strength of the dark rim."""
    copper, silk, tin, gold, drill = [], [], [], [], []
    for route in traces():
        copper += [shapes.line(route, 2.0), shapes.disc(*route[-1], 3.0)]
        gold.append(shapes.disc(*route[-1], 1.9))
        drill.append(shapes.disc(*route[-1], 0.9))
    for rail in _RAILS:
        copper.append(shapes.line(rail, 3.0))
    for part in PARTS:
        along = np.array([np.cos(part.angle), np.sin(part.angle)])
        for sign in (-1, 1):
            px, py = np.array([part.x, part.y]) + sign * along * (part.width / 2 - 2)
            tin.append(shapes.box(px, py, 8, 11, part.angle, 1.0))
    for i in range(5):
        gold.append(shapes.disc(178 + 12 * i, 218, 4.2))
        drill.append(shapes.disc(178 + 12 * i, 218, 2.0))
    for outline in _LETTERING:
        silk.append(shapes.line(outline, 1.0))
    return [
        (copper, _COPPER, 0.18),
        (silk, _SILK, 0.0),
        (tin, TIN, 0.12),
        (gold, _GOLD, 0.12),
        (drill, _DRILL, 0.0),
    ]
