"""Where generated data, downloaded weights and extracted features are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from adlib.errors import InputError


def cache_dir() -> Path:
    """Return the cache folder, which is created on the first call.

    Returns
    -------
    Path
        ``$ADLIB_CACHE`` where that is set and not empty, else ``adlib`` in the platform's user
        cache folder (``~/.cache/adlib`` on Linux).

    Raises
    ------
    InputError
        The folder cannot be created.
    """
    named = os.environ.get("ADLIB_CACHE")
    folder = (
        Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("adlib", False))
    ).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The cache folder {folder} cannot be created ({error.strerror}): "
            "set ADLIB_CACHE to a folder that can be written."
        ) from error
    return folder
