"""Rows of ``records.table()`` made by hand, for tests of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from adlib import report


def row(run: str, category: str, metrics: dict[str, float], **changes: Any) -> dict[str, Any]:
    """Return the row of a run like ``patchcore fraction=0.1``, made with the pinned weights."""
    method, values = report.read_run(run)
    fixed = {
        "method": method, "dataset": "mvtec_ad", "category": category, "backbone": "resnet18",
        "precision": "float32", "weights": "IMAGENET1K_V1", "official": True, "n_test": 10,
        "seed": 0,
    }  # fmt: skip
    protocol = report.PROTOCOL | report.read_protocol(run)
    return fixed | protocol | values | metrics | changes


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as one table."""
    return pd.DataFrame(list(rows))
