"""What every detector returns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
    """What a detector says about N images; higher is more anomalous.

    Attributes
    ----------
    image : ndarray of shape (N,), float32
    map : ndarray of shape (N, H, W), float32, or None
        Anomaly maps at image resolution, where the method localises.
    others : mapping of str to ndarray of shape (N,), float32
        Further scores of the same images by name, to be compared with `image`.
    """

    image: np.ndarray
    map: np.ndarray | None = None
    others: Mapping[str, np.ndarray] = MappingProxyType({})
