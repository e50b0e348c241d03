"""The door of this package: numbers are finite and inside the domain of their formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.errors import InputError


def numbers(**named: ArrayLike) -> list[NDArray[np.float64]]:
    """Return each named argument as a float64 array; refuse what is empty or not finite."""
    arrays = []
    for name, values in named.items():
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} must be numbers, found {values!r}.") from error
        require(
            np.isfinite(array).all() and array.size > 0, f"{name} must be finite numbers", array
        )
        arrays.append(array)
    return arrays


def require(condition: bool | np.bool_, rule: str, found: object) -> None:
    """Raise `InputError` with the rule and the value that breaks it, unless the condition holds."""
    if not condition:
        if isinstance(found, np.ndarray):
            found = np.array2string(found, precision=6, threshold=6)
        raise InputError(f"{rule}, found {found}; change it or the other arguments.")
