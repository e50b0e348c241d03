"""The answer of the PatchCore chapter: paired contrasts, in words and in a table."""

from __future__ import annotations

import pandas as pd
from made_runs import row, table

from adlib.claims import Evidence
from adlib.fragments.patchcore import ONE, PADIM, SPADE, patchcore_answer

CATEGORIES = ("bottle", "screw")


def runs(text: str, values: tuple[float, float], seeds: tuple[int | None, ...]) -> list[dict]:
    """Image AUROC rises by 0.01 with each seed, so that differences of equal seeds are exact."""
    metrics = ("image_auroc", "pixel_auroc", "aupro")
    return [
        row(text, category, dict.fromkeys(metrics, value + 0.01 * (seed or 0)), seed=seed)
        for category, value in zip(CATEGORIES, values, strict=True)
        for seed in seeds
    ]


def answer(made: list[dict]) -> str:
    return patchcore_answer(Evidence(table(made), pd.DataFrame()))


def test_differences_are_paired_over_seeds_and_categories():
    made = runs(ONE, (0.9, 0.8), (0, 1, 2)) + runs(PADIM, (0.8, 0.6), (0, 1, 2))
    text = answer(made)
    (line,) = [one for one in text.splitlines() if one.startswith("| PatchCore-1 % − PaDiM, 100")]
    assert "+15.00 [+15.00, +15.00]" in line and "3 seeds × 2 categories" in line
    assert "PatchCore with 1 % of its patches is ahead (+15.00" in text
    assert "bank of 25 %" not in text


def test_a_rival_without_seeds_stands_for_all_of_them():
    text = answer(runs(ONE, (0.9, 0.8), (0, 1)) + runs(SPADE, (0.85, 0.85), (None,)))
    (line,) = [one for one in text.splitlines() if "SPADE" in one]
    # means over seeds 0 and 1 are 0.905 and 0.805
    assert "+0.50" in line


def test_nothing_is_said_where_nothing_is_recorded():
    assert answer([]).startswith("Nothing that could be compared")
    assert answer(runs(ONE, (0.9, 0.8), (0,))).startswith("Nothing that could be compared")
