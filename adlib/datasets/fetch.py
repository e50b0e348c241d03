"""Downloads through torchvision, the only part of the readers that needs a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from adlib._torchvision import ensure_torchvision
from adlib.errors import InputError


@contextmanager
def torchvision_datasets(title: str, root: Path) -> Iterator[ModuleType]:
    """Import torchvision's data sets, and translate what goes wrong while they fetch.

    Parameters
    ----------
    title
        Of the data set, for the message.
    root
        Where it is fetched to.

    Raises
    ------
    InputError
        No network, a wrong checksum, or a folder that cannot be written.
    """
    ensure_torchvision()
    import torchvision.datasets

    try:
        yield torchvision.datasets
    except (OSError, RuntimeError) as error:
        reason = " ".join(f"{error}".split()).rstrip(".") or type(error).__name__
        raise InputError(
            f"{title} cannot be fetched to {root} ({reason}): try again later, or unpack a copy "
            "there."
        ) from error
