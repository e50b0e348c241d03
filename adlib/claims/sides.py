"""What rules that count each category once compare: columns of runs, a difference a category."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from scipy import stats

from adlib.claims.commands import commands
from adlib.claims.evidence import METRIC_NAMES, Evidence, RunText
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain, signed
from adlib.diffusion.score_names import score_name

FEW = 2  # categories that an interval needs
ALONE = "One category decides nothing."
UNSURE = 3  # categories, up to which an interval that holds both answers decides nothing
UNDECIDED = "Not decided: on so few categories the interval holds no effect and the claimed one."
DROWNED = "Not decided: seeds alone do as much."


class Side(BaseModel):
    """A column of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: RunText
    column: str = "image_auroc"

    def __str__(self) -> str:
        """Write it in words."""
        return f"{said(self.column)} of `{self.run}`"


class Contrast(NamedTuple):
    """Differences by category, their mean, and what follows from them.

    Attributes
    ----------
    by_category : Series
        One difference a category.
    mean, low, high : float
        With the 95 % interval over categories; without bounds (NaN) for a single one.
    p_value : float
        Two-sided, against 0.
    """

    by_category: pd.Series
    mean: float
    low: float
    high: float
    p_value: float

    def effect(self, unit: str) -> Effect:
        """Return it in a unit."""
        sample = counted(len(self.by_category))
        if np.isnan(self.low):
            return Effect(self.mean, unit, sample=sample)
        return Effect(self.mean, unit, self.low, self.high, sample)


def differences(evidence: Evidence, a: Side, b: Side | float, categories: list[str]) -> pd.Series:
    """Return a - b by category: means over the seeds that both sides have."""
    left = _by_place(evidence, a)
    right = b if isinstance(b, float | int) else _by_place(evidence, b)
    each = (left - right).dropna()
    found = each.groupby(level="category").mean()
    return found[found.index.isin(categories)] if categories else found


def _by_place(evidence: Evidence, side: Side) -> pd.Series:
    values = evidence.values(side.run, "", side.column)
    return values.groupby(["category", "seed"])["value"].mean().astype(float)


def contrast(values: pd.Series) -> Contrast:
    """Return the mean of differences by category with Student's interval over categories."""
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if len(values) < FEW:
        return Contrast(values, mean, np.nan, np.nan, np.nan)
    if spread == 0:
        return Contrast(values, mean, mean, mean, np.nan)
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    return Contrast(values, mean, float(low), float(high), float(test.pvalue))


def standing(found: Contrast, tolerance: float) -> Verdict:
    """Judge a contrast that should lie above 0.

    Reproduced: its interval does and its mean reaches the tolerance. Partly: one of the two. Not
    testable: a single category, or at most `UNSURE` whose interval holds 0 and the tolerance.
    """
    if len(found.by_category) < FEW or undecided(found, tolerance):
        return Verdict.NOT_TESTABLE
    holds = int(found.low > 0) + int(found.mean >= tolerance)
    return (Verdict.NOT_REPRODUCED, Verdict.PARTLY, Verdict.REPRODUCED)[holds]


def undecided(found: Contrast, tolerance: float) -> bool:
    """Tell whether so few categories allow both no effect and one of the tolerance's size."""
    few = FEW <= len(found.by_category) <= UNSURE
    return bool(few and found.low <= 0 and found.high >= tolerance)


def alike(values: pd.Series, tolerance: float, allowed: float) -> Verdict:
    """Judge differences that should be 0.

    Reproduced: all are, give or take the tolerance. Not testable: a single category, or all are no
    larger than what seeds alone do, so that nothing can be told. Partly: half of them are.
    """
    if len(values) < FEW:
        return Verdict.NOT_TESTABLE
    good = int((values.abs() <= tolerance).sum())
    if good == len(values):
        return Verdict.REPRODUCED
    if (values.abs() <= allowed).all():
        return Verdict.NOT_TESTABLE
    return Verdict.PARTLY if 2 * good >= len(values) else Verdict.NOT_REPRODUCED


def room(evidence: Evidence, side: Side, tolerance: float) -> tuple[float, str]:
    """Return what seeds alone do to a difference, or the tolerance where that is more.

    A choice that trains a network anew moves a score as another seed would. The spread over seeds
    is pooled over the categories with several; a difference of two runs has sqrt(2) of it, and
    twice that is what seeds alone do.

    Returns
    -------
    float, str
        In the unit of the tolerance, and in words; no words where it is the tolerance.
    """
    by_seed = _by_place(evidence, side)
    groups = [values for _, values in by_seed.groupby(level="category") if len(values) > 1]
    if not groups:
        return tolerance, ""
    freedom = sum(len(values) - 1 for values in groups)
    pooled = np.sqrt(sum(((values - values.mean()) ** 2).sum() for values in groups) / freedom)
    allowed = float(2 * np.sqrt(2) * pooled)
    if allowed <= tolerance:
        return tolerance, ""
    return allowed, (
        f"; seeds alone give ±{plain(allowed)}, twice their spread on {counted(len(groups))} with "
        "several"
    )


def not_run(evidence: Evidence, sides: list[Side], categories: list[str]) -> Outcome:
    """Answer that what would decide was not run, or not on two categories."""
    found = {side: len(differences(evidence, side, 0.0, categories)) for side in sides}
    missing = [side.run for side, number in found.items() if not number]
    missing = list(dict.fromkeys(missing or [side.run for side in sides]))
    where = f" {joined(categories)}" if categories else ""
    return Outcome(
        Verdict.NOT_TESTABLE,
        f"Not run: {joined([f'`{run}`' for run in missing])} on `{evidence.dataset}`{where}, where "
        f"{counted(min(found.values()))} of it can be compared.",
        commands=commands(missing, evidence.dataset, "", tuple(categories)),
    )


def said(column: str) -> str:
    """Write a column of a record in words: ``auroc_pixel_t200`` is an AUROC of a score."""
    kind, _, score = column.partition("_")
    if kind not in ("auroc", "ratio"):
        return METRIC_NAMES.get(column, column.replace("_", " "))
    words = {"auroc": "AUROC of", "ratio": "error ratio of"}[kind]
    return f"{words} {score_name(score)}"


def listed(values: pd.Series) -> str:
    """Write one difference a category."""
    return ", ".join(f"{name} {signed(value)}" for name, value in values.items())


def counted(number: int) -> str:
    """Write a number of categories."""
    return f"{number} {'category' if number == 1 else 'categories'}"
