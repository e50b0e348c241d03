"""Files that are complete or absent: written beside their place, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(target: Path) -> Iterator[Path]:
    """Give a hidden file beside `target` to write to; it takes the place of `target` at the end.

    If the block fails or is interrupted, `target` stays as it was and the hidden file is removed.

    Parameters
    ----------
    target : Path
        In a folder that exists.

    Yields
    ------
    Path
        An empty file, on the same disk, with the suffix of `target`.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".part-", suffix=target.suffix)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # else a crash may leave the new name with no content
        part.chmod(0o644)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
