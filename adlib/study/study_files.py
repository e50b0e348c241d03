"""Files that the studies of the pair classifier leave in ``results/studies/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adlib.errors import InputError

SCHEMA = 1
PARTS = {"pairs": "variants", "classes": "kept"}
"""Kind of study -> what it measured."""


def read_all(results: Path | str, kind: str) -> list[dict[str, Any]]:
    """Read the studies of a kind: ``pairs`` or ``classes``; none where there is no file.

    Raises
    ------
    InputError
        A file is no such study.
    """
    return [read(file) for file in sorted(Path(results, "studies").glob(f"ldm_{kind}-*.json"))]


def read(file: Path) -> dict[str, Any]:
    """Read one study.

    Raises
    ------
    InputError
        The file is no study: damaged, foreign or of another schema.
    """
    kind = file.name.removeprefix("ldm_").partition("-")[0]
    needed = {"dataset", "category", "preset", "seed", PARTS[kind]}
    try:
        study = json.loads(file.read_text(encoding="utf-8"))
        whole = study["schema"] == SCHEMA and needed <= set(study)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} must hold a study as adlib.study.ldm_{kind} writes it, but does not "
            f"({error}); delete it and run the study again"
        ) from error
    if not whole:
        raise InputError(
            f"{file} must hold a study of schema {SCHEMA} with {', '.join(sorted(needed))}; "
            "delete it and run the study again"
        )
    return study
