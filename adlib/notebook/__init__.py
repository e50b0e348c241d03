"""Run a notebook with other parameters: checked first, reproducible after, readable as a page.

Reading order: ``grammar`` (what a notebook declares), ``values`` (what a person gives), ``inputs``
(both held together), ``execution`` (one run), ``webpage`` (its HTML).
"""

from __future__ import annotations

from adlib.notebook.execution import NotebookError, run
from adlib.notebook.grammar import Bounds, Parameter
from adlib.notebook.inputs import (
    check,
    describe,
    parameters,
    read_notebook,
)
from adlib.notebook.values import read_values
from adlib.notebook.webpage import page

__all__ = [
    "Bounds",
    "NotebookError",
    "Parameter",
    "check",
    "describe",
    "page",
    "parameters",
    "read_notebook",
    "read_values",
    "run",
]
