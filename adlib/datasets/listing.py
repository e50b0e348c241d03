"""What lies in a folder: the readers' view of it, without hidden entries, in order of name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adlib.datasets.decode import SUFFIXES
from adlib.errors import InputError

_PACKED = (".tar.xz", ".tar.gz", ".tgz", ".tar", ".zip")


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder, or a link to one.

    Raises
    ------
    InputError
        It cannot be looked at.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error


def entries(folder: Path) -> list[Path]:
    """List what is in a folder without hidden entries, sorted by name.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}).") from error


def folders(folder: Path) -> list[str]:
    """List the names of the folders in a folder."""
    return [path.name for path in entries(folder) if is_folder(path)]


def images(folder: Path) -> list[Path]:
    """List the image files of a folder; links are followed, other files ignored.

    Raises
    ------
    InputError
        The folder cannot be read, or a link leads nowhere.
    """
    paths = [path for path in entries(folder) if path.suffix.lower() in SUFFIXES]
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path} is a link to a file that does not exist.")
    return [path for path in paths if path.is_file()]


def contents(folder: Path, shown: int = 6) -> str:
    """Name the first entries of a folder for a message, folders with a slash."""
    names = [path.name + "/" * is_folder(path) for path in entries(folder)]
    if not names:
        return "nothing"
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


def near_miss(root: Path, fits: Callable[[Path], bool]) -> str:
    """Say which folder was probably meant: above, below, or in an archive; else nothing.

    Parameters
    ----------
    root
        An existing folder that `fits` refused.
    fits
        Whether a folder is laid out as it should be.
    """
    for above in list(root.parents)[:3]:
        if fits(above):
            return f"; this lies inside the data set, so give {above}"
    for below in folders(root):
        if fits(root / below):
            return f"; the data set is one level further down, so give {root / below}"
    packed = [path.name for path in entries(root) if path.name.lower().endswith(_PACKED)]
    return f"; unpack {packed[0]} first" if packed else ""
