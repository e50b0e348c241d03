"""What the embedded data set shows: one module a subject.

A subject is an object with ``kinds`` (its defects), ``look(rng, split)`` (everything that varies
from picture to picture) and ``render(look)`` or ``render(look, kind, rng)``, the same picture
without and with a defect, values in [0, 1].
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Subject(Protocol):
    """A category of the embedded data set."""

    kinds: tuple[str, ...]
    noise: float

    def look(self, rng: np.random.Generator, split: str) -> Any:
        """Draw pose, light, colour and so on of one picture; `split` is ``train`` or ``test``."""
        ...

    def render(
        self, look: Any, kind: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Render float64 (256, 256) or (256, 256, 3); `rng` draws the defect `kind`."""
        ...
