"""A turned spur gear on a bench: metal, aligned, lit from one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from adlib.datasets.scenes import shapes
from adlib.datasets.scenes.shapes import SIZE, cover

_SS = 2  # sub-pixels a side
_TEETH = 20
_TIP, _ROOT = 96.0, 83.0  # radii in pixels
_RIM, _HUB, _BORE = 68.0, 33.0, 16.0
_HOLES, _HOLE_CIRCLE, _HOLE = 5, 50.5, 9.5
_STEEL = np.array([0.66, 0.67, 0.69])
_BENCH = np.array([0.30, 0.36, 0.42])


@dataclass(frozen=True)
class Look:
    """Pose, light and surface of one gear."""

    centre: tuple[float, float]
    angle: float
    scale: float
    light: float
    gain: float
    steel: np.ndarray
    bench: np.ndarray
    grooves: np.ndarray
    patina: np.ndarray
    felt: np.ndarray
    glare: float


@dataclass
class Form:
    """What a defect changes in the shape of the gear."""

    missing: int | None = None
    chipped: float = 1.0
    bent: int | None = None
    bend: float = 0.0
    closed: int | None = None


@dataclass(frozen=True)
class Gear:
    """The category ``gear``."""

    kinds: tuple[str, ...] = ("bent_tooth", "blocked_hole", "broken_tooth", "rust", "scratch")
    noise: float = 0.012

    def look(self, rng: np.random.Generator, split: str) -> Look:
        """Draw pose, light and surface; both splits alike."""
        del split
        return Look(
            centre=tuple(SIZE / 2 + rng.normal(0, 1.6, 2)),
            angle=rng.normal(0, 0.022),
            scale=1 + rng.normal(0, 0.008),
            light=-2.3 + rng.normal(0, 0.22),
            gain=rng.normal(1, 0.05),
            steel=_STEEL * (1 + rng.normal(0, 0.015, 3)),
            bench=_BENCH * (1 + rng.normal(0, 0.04, 3)),
            grooves=rng.normal(size=400),
            patina=shapes.clouds(rng, 14),
            felt=shapes.clouds(rng, 0.8) + 0.7 * shapes.clouds(rng, 30),
            glare=rng.uniform(0.8, 1.2),
        )

    def render(
        self, look: Look, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render one picture, colour (256, 256, 3) in [0, 1]."""
        form, surface = Form(), []
        if kind in _SHAPE_DEFECTS:
            form = _SHAPE_DEFECTS[kind](rng)
        elif kind is not None:
            surface = [_SURFACE_DEFECTS[kind](rng)]
        x, y = shapes.grid(_SS)
        cos, sin = np.cos(look.angle), np.sin(look.angle)
        u = (cos * (x - look.centre[0]) + sin * (y - look.centre[1])) / look.scale
        v = (cos * (y - look.centre[1]) - sin * (x - look.centre[0])) / look.scale
        radius, angle = np.hypot(u, v), np.arctan2(v, u)
        solid = _outline(radius, angle, u, v, form)
        metal = self._metal(look, radius, angle, u, v, solid)
        for paint in surface:
            metal = paint(metal, u, v, look)
        alpha = cover(solid, 1.0 / _SS)[..., None]
        image = self._bench(look, solid) * (1 - alpha) + metal * alpha
        return np.clip(shapes.reduce(image, _SS) * look.gain, 0, 1)

    @staticmethod
    def _bench(look: Look, solid: np.ndarray) -> np.ndarray:
        """Shade the bench: felt, a light falling off, the shadow of the gear."""
        x, y = shapes.grid(_SS)
        towards = (x - 128) * np.cos(look.light) + (y - 128) * np.sin(look.light)
        shift = np.array([np.sin(look.light), np.cos(look.light)]) * -5 * _SS
        shadow = gaussian_filter(
            np.roll(cover(solid, 1.0), np.rint(shift).astype(int), (0, 1)), 3.5 * _SS
        )
        felt = np.kron(look.felt, np.ones((_SS, _SS)))
        level = (1 + 0.0012 * towards + 0.035 * felt) * (1 - 0.55 * shadow)
        return look.bench * level[..., None]

    @staticmethod
    def _metal(
        look: Look,
        radius: np.ndarray,
        angle: np.ndarray,
        u: np.ndarray,
        v: np.ndarray,
        solid: np.ndarray,
    ) -> np.ndarray:
        """Shade a lathe-turned face: bow-tie highlights, grooves, chamfered edges."""
        height = 2.4 * cover(solid + 1.6, 3.0)
        height -= 2.2 * cover(np.maximum(radius - _RIM, _HUB - radius), 4.0)
        # the derivative along the direction of the light, by finite differences of the height
        rows, columns = np.gradient(height * _SS)
        slope = columns * np.cos(look.light - look.angle) + rows * np.sin(look.light - look.angle)
        bow_tie = np.abs(np.cos(angle - look.light + look.angle)) ** 3
        web = (radius < _RIM) & (radius > _HUB)
        turned = np.where(web, 0.10, 0.26) * look.glare * bow_tie
        groove = np.interp(radius, np.linspace(0, 110, look.grooves.size), look.grooves)
        patina = np.kron(look.patina, np.ones((_SS, _SS)))
        level = 0.70 + turned + np.where(web, 0.012, 0.028) * groove + 0.018 * patina
        level -= np.where(web, 0.10, 0.0)
        level += 0.34 * slope
        return look.steel * np.clip(level, 0.1, 1.45)[..., None]


def _outline(
    radius: np.ndarray, angle: np.ndarray, u: np.ndarray, v: np.ndarray, form: Form
) -> np.ndarray:
    """Return the signed distance to the outline: teeth outside, bore, keyway and holes inside."""
    pitch = angle / (2 * np.pi) * _TEETH + 0.5
    index = np.floor(pitch).astype(int) % _TEETH
    across = (pitch % 1.0) - 0.5
    if form.bent is not None:
        rise = np.clip((radius - _ROOT) / (_TIP - _ROOT), 0, 1)
        across = across - np.where(index == form.bent, form.bend * rise, 0.0)
    tooth = np.clip((0.36 - np.abs(across)) / 0.16, 0.0, 1.0)
    if form.missing is not None:
        tooth = np.where(index == form.missing, np.minimum(tooth, 1 - form.chipped), tooth)
    solid = 0.72 * (radius - (_ROOT + (_TIP - _ROOT) * tooth))
    keyway = shapes.box(0, -_BORE, 8, 10)(u, v)
    solid = np.maximum(solid, -np.minimum(radius - _BORE, keyway))
    for hole in range(_HOLES):
        if hole != form.closed:
            turn = 2 * np.pi * hole / _HOLES + np.pi / 2
            cx, cy = _HOLE_CIRCLE * np.cos(turn), _HOLE_CIRCLE * np.sin(turn)
            solid = np.maximum(solid, -shapes.disc(cx, cy, _HOLE)(u, v))
    return solid


def _broken_tooth(rng: np.random.Generator) -> Form:
    return Form(missing=int(rng.integers(_TEETH)), chipped=rng.uniform(0.45, 0.95))


def _bent_tooth(rng: np.random.Generator) -> Form:
    bend = rng.choice((-1, 1)) * rng.uniform(0.10, 0.17)
    return Form(bent=int(rng.integers(_TEETH)), bend=float(bend))


def _blocked_hole(rng: np.random.Generator) -> Form:
    return Form(closed=int(rng.integers(_HOLES)))


def _on_face(rng: np.random.Generator) -> tuple[float, float]:
    """Draw a place on the rim or the web."""
    radius, turn = rng.uniform(38, 78), rng.uniform(0, 2 * np.pi)
    return float(radius * np.cos(turn)), float(radius * np.sin(turn))


def _scratch(rng: np.random.Generator):
    """Scratch the surface: a bright line with a dark flank."""
    (x0, y0), angle, length = _on_face(rng), rng.uniform(0, np.pi), rng.uniform(18, 34)
    dx, dy = 0.5 * length * np.cos(angle), 0.5 * length * np.sin(angle)
    bow = rng.normal(0, 2, 2)
    points = [(x0 - dx, y0 - dy), (x0 + bow[0], y0 + bow[1]), (x0 + dx, y0 + dy)]
    strength = rng.uniform(0.16, 0.3)

    def paint(metal: np.ndarray, u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
        del look
        bright = cover(shapes.line(points, (0.6, 1.6, 0.6))(u, v), 1.0)
        dark = cover(shapes.line(points, (0.6, 1.6, 0.6))(u - 0.9, v - 0.9), 1.0)
        return metal * (1 + strength * (bright - 0.9 * dark))[..., None]

    return paint


def _rust(rng: np.random.Generator):
    """Rust a patch: brown, mottled, soft at the edge."""
    outline = shapes.blob(rng, *_on_face(rng), rng.uniform(6, 11), 0.3)
    mottle = shapes.clouds(rng, 2.0)
    strength = rng.uniform(0.3, 0.5)

    def paint(metal: np.ndarray, u: np.ndarray, v: np.ndarray, look: Look) -> np.ndarray:
        del look
        spots = np.kron(mottle, np.ones((_SS, _SS)))
        alpha = strength * cover(outline(u, v), 5.0) * np.clip(1 + 0.35 * spots, 0, 1.6)
        brown = np.array([0.46, 0.29, 0.17])
        return metal * (1 - alpha[..., None]) + brown * alpha[..., None]

    return paint


_SHAPE_DEFECTS = {
    "bent_tooth": _bent_tooth,
    "blocked_hole": _blocked_hole,
    "broken_tooth": _broken_tooth,
}
_SURFACE_DEFECTS = {"rust": _rust, "scratch": _scratch}

GEAR = Gear()
