"""A turned spur gear on a bench: metal, aligned, lit from one side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from adlib.datasets.scenes import shapes
from adlib.datasets.scenes.shapes import FINE, SIZE, cover

_TEETH = 20
_TIP, _ROOT = 96.0, 83.0  # radii in pixels
_RIM, _HUB, _BORE = 68.0, 33.0, 16.0
_HOLES, _HOLE_CIRCLE, _HOLE = 5, 50.5, 9.5
_STEEL = np.array([0.66, 0.67, 0.69])
_BENCH = np.array([0.30, 0.36, 0.42])
_WEB_AND_RIM = ((0.60, 0.70), (0.10, 0.26), (0.012, 0.028))  # brightness, highlights, grooves
_RUST = np.array([0.46, 0.29, 0.17])

# changes the colour (S, S, 3) of the metal at the gear's own coordinates u and v (S, S)
Finish = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Look:
    """Pose, light and surface of one gear; angles in radians, lengths in pixels."""

    centre: tuple[float, float]
    angle: float
    scale: float
    light: float
    gain: float
    glare: float
    steel: np.ndarray
    bench: np.ndarray
    grooves: np.ndarray
    patina: np.ndarray
    felt: np.ndarray


@dataclass(frozen=True)
class Form:
    """What a defect changes in the outline: one tooth loses a share, or leans by a share."""

    tooth: int | None = None
    lost: float = 0.0
    lean: float = 0.0


@dataclass(frozen=True)
class Gear:
    """The category ``gear``."""

    kinds: tuple[str, ...] = ("bent_tooth", "broken_tooth", "rust", "scratch")
    noise: float = 0.012

    def look(self, rng: np.random.Generator, split: str) -> Look:
        """Draw pose, light and surface; both splits alike."""
        del split
        return Look(
            centre=tuple(SIZE / 2 + rng.normal(0, 1.8, 2)),
            angle=rng.normal(0, 0.028),
            scale=1 + rng.normal(0, 0.008),
            light=-2.3 + rng.normal(0, 0.3),
            gain=rng.normal(1, 0.05),
            glare=rng.uniform(0.8, 1.2),
            steel=_STEEL * (1 + rng.normal(0, 0.015, 3)),
            bench=_BENCH * (1 + rng.normal(0, 0.04, 3)),
            grooves=rng.normal(size=400),
            patina=shapes.clouds(rng, 14),
            felt=shapes.clouds(rng, 0.8) + 0.7 * shapes.clouds(rng, 30),
        )

    def render(
        self, look: Look, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, colour (256, 256, 3) in [0, 1]."""
        form = _FORMS[kind](rng) if kind in _FORMS else Form()
        x, y = shapes.grid(FINE)
        x, y = x - look.centre[0], y - look.centre[1]
        cos, sin = np.cos(look.angle) / look.scale, np.sin(look.angle) / look.scale
        u, v = cos * x + sin * y, cos * y - sin * x
        outside = _outline(u, v, form)
        metal = _metal(look, u, v, outside)
        if kind in _FINISHES:
            metal = _FINISHES[kind](rng)(metal, u, v)
        bench = _bench(look, outside)
        image = bench + cover(outside, 1 / FINE)[..., None] * (metal - bench)
        return np.clip(shapes.reduce(image, FINE) * look.gain, 0, 1)


def _outline(u: np.ndarray, v: np.ndarray, form: Form) -> np.ndarray:
    """Return the signed distance to the outline: teeth, bore with keyway, holes."""
    radius = np.hypot(u, v)
    pitch = np.arctan2(v, u) / (2 * np.pi) * _TEETH + 0.5
    across = (pitch % 1.0) - 0.5
    hit = np.floor(pitch) % _TEETH == form.tooth if form.tooth is not None else False
    across = across - np.where(hit, form.lean, 0) * np.clip((radius - _ROOT) / (_TIP - _ROOT), 0, 1)
    tooth = np.clip((0.36 - np.abs(across)) / 0.16, 0.0, 1.0)
    tooth = np.minimum(tooth, np.where(hit, 1 - form.lost, 1.0))
    # flanks are steep: 0.72 turns the radial distance to them into about the distance
    solid = 0.72 * (radius - (_ROOT + (_TIP - _ROOT) * tooth))
    openings = np.minimum(radius - _BORE, shapes.box(0, -_BORE, 8, 10)(u, v))
    for hole in range(_HOLES):
        turn = 2 * np.pi * hole / _HOLES + np.pi / 2
        centre = _HOLE_CIRCLE * np.cos(turn), _HOLE_CIRCLE * np.sin(turn)
        openings = np.minimum(openings, shapes.disc(*centre, _HOLE)(u, v))
    return np.maximum(solid, -openings)


def _metal(look: Look, u: np.ndarray, v: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Shade a lathe-turned face: bow-tie highlights, grooves, chamfered edges."""
    radius = np.hypot(u, v)
    ring = np.maximum(radius - _RIM, _HUB - radius)  # the web between rim and hub lies lower
    height = 2.4 * cover(outside + 1.6, 3.0) - 2.2 * cover(ring, 4.0)
    rows, columns = np.gradient(FINE * height)
    facing = -columns * np.cos(look.light) - rows * np.sin(look.light)
    bow_tie = np.abs(np.cos(np.arctan2(v, u) + look.angle - look.light)) ** 3
    groove = np.interp(radius, np.linspace(0, 110, look.grooves.size), look.grooves)
    patina = shapes.enlarge(look.patina)
    base, shine, rough = (np.where(ring < 0, *pair) for pair in _WEB_AND_RIM)
    level = base + shine * look.glare * bow_tie + rough * groove + 0.018 * patina + 0.34 * facing
    return look.steel * np.clip(level, 0.1, 1.45)[..., None]


def _bench(look: Look, outside: np.ndarray) -> np.ndarray:
    """Shade the bench: felt, light that falls off, the shadow of the gear."""
    x, y = shapes.grid()
    across, down = np.cos(look.light), np.sin(look.light)
    falloff = 0.0012 * ((x - SIZE / 2) * across + (y - SIZE / 2) * down)
    gear = shapes.reduce(cover(outside, 1.0), FINE)
    shadow = shift(gaussian_filter(gear, 3.5), (-5 * down, -5 * across), order=1)
    level = (1 + falloff + 0.035 * look.felt) * (1 - 0.55 * shadow)
    return look.bench * shapes.enlarge(level)[..., None]


def _broken_tooth(rng: np.random.Generator) -> Form:
    return Form(int(rng.integers(_TEETH)), lost=rng.uniform(0.3, 0.75))


def _bent_tooth(rng: np.random.Generator) -> Form:
    return Form(int(rng.integers(_TEETH)), lean=rng.choice((-1.0, 1.0)) * rng.uniform(0.08, 0.15))


def _on_face(rng: np.random.Generator) -> tuple[float, float]:
    """Draw a place on the rim, or on the web midway between two holes."""
    radius = rng.choice((rng.uniform(71, 79), rng.uniform(38, 62)))
    turn = 2 * np.pi * (rng.integers(_HOLES) + 0.5) / _HOLES + np.pi / 2 + rng.normal(0, 0.12)
    return float(radius * np.cos(turn)), float(radius * np.sin(turn))


def _scratch(rng: np.random.Generator) -> Finish:
    """Scratch the surface: a bright line with a dark flank."""
    (x0, y0), angle, length = _on_face(rng), rng.uniform(0, np.pi), rng.uniform(18, 34)
    dx, dy = 0.5 * length * np.cos(angle), 0.5 * length * np.sin(angle)
    bow = rng.normal(0, 2, 2)
    points = [(x0 - dx, y0 - dy), (x0 + bow[0], y0 + bow[1]), (x0 + dx, y0 + dy)]
    groove, strength = shapes.line(points, (0.6, 1.6, 0.6)), rng.uniform(0.18, 0.3)

    def finish(metal: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        flanks = cover(groove(u, v)) - 0.9 * cover(groove(u - 0.9, v - 0.9))
        return metal * (1 + strength * flanks)[..., None]

    return finish


def _rust(rng: np.random.Generator) -> Finish:
    """Rust a patch: brown, mottled, soft at the edge."""
    outline = shapes.blob(rng, *_on_face(rng), rng.uniform(9, 15), 0.22)
    spots = shapes.enlarge(np.clip(1 + 0.35 * shapes.clouds(rng, 2.0), 0, 1.6))
    strength = rng.uniform(0.18, 0.36)

    def finish(metal: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        alpha = strength * cover(outline(u, v), 8.0) * spots
        return metal + alpha[..., None] * (_RUST - metal)

    return finish


_FORMS = {"bent_tooth": _bent_tooth, "broken_tooth": _broken_tooth}
_FINISHES = {"rust": _rust, "scratch": _scratch}

GEAR = Gear()
