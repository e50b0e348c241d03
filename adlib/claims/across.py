"""Rules paired over categories, where few seeds were run: ten digits, say, with one seed each.

A category counts once, with its mean over the seeds that both sides have. Intervals are Student's t
over categories: they say how the result would vary with other categories like these, on networks
trained as often as these were. A metric may be compared with another one of the same run.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from scipy import stats

from adlib.claims.evidence import Evidence, Rule, RunText, unit_of
from adlib.claims.sides import (
    ALONE,
    DROWNED,
    FEW,
    UNDECIDED,
    Contrast,
    Side,
    alike,
    contrast,
    counted,
    differences,
    listed,
    not_run,
    room,
    said,
    standing,
)
from adlib.claims.verdict import Effect, Outcome, Verdict, plain, signed


class _Sides(Rule):
    """Two sides, or one side and a value.

    `categories`: only these are looked at. `suggest`: those that the commands name where nothing
    was run; all that were run are looked at.
    """

    a: Side
    b: Side | None = None
    value: float | None = None
    categories: list[str] = Field(default_factory=list)
    suggest: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_other_side(self) -> _Sides:
        if (self.b is None) == (self.value is None):
            raise ValueError("give one of b and value")
        return self

    def found(self, evidence: Evidence) -> pd.Series:
        """Return one difference a category; empty where a side was not run."""
        return differences(evidence, self.a, self.b or self.value, self.categories)

    def outcome(
        self, evidence: Evidence, verdict: Verdict, text: str, found: Contrast, why: str
    ) -> Outcome:
        """Answer; where nothing is decided, why, and with the commands for other categories."""
        commands: tuple[str, ...] = ()
        if verdict is Verdict.NOT_TESTABLE:
            alone = len(found.by_category) < FEW
            text = f"{text} {ALONE if alone else why}"
            asked = self if alone else self.model_copy(update={"suggest": []})
            commands = asked.missing(evidence).commands
        p_value = None if np.isnan(found.p_value) else found.p_value
        effect = found.effect(unit_of(self.a.column))
        return Outcome(verdict, text, effect, commands, p_value)

    def missing(self, evidence: Evidence) -> Outcome:
        """Answer that a side was not run."""
        sides = [self.a] if self.b is None else [self.a, self.b]
        return not_run(evidence, sides, self.categories or self.suggest)

    def __str__(self) -> str:
        """Write the difference in words."""
        if self.b is None:
            return f"{self.a} minus {plain(self.value)}"
        if self.a.run == self.b.run:
            return f"{said(self.a.column)} minus {said(self.b.column)}, both of `{self.a.run}`"
        return f"{self.a} minus {self.b}"


class Across(_Sides):
    """Is side `a` above side `b`, or above `value`?

    Reproduced: the interval over categories lies above 0 and the mean reaches the tolerance.
    Partly: one of the two. Not testable: a single category, or up to three whose interval holds
    both 0 and the tolerance.
    """

    rule: Literal["across"]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a category."""
        values = self.found(evidence)
        if values.empty:
            return self.missing(evidence)
        found = contrast(values)
        effect = found.effect(unit_of(self.a.column))
        return self.outcome(
            evidence,
            standing(found, tolerance),
            f"{self}: {_signed(effect)}; above in {int((values > 0).sum())} of {len(values)}; by "
            f"category {listed(values)}.",
            found,
            UNDECIDED,
        )


class Near(_Sides):
    """Are both sides alike in each category, give or take the tolerance?

    Reproduced: in each; not testable: a single category, or between two runs no difference larger
    than what seeds alone do (of `b`, or of its method with the defaults); partly: in at least half
    of them.
    """

    rule: Literal["near"]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a category."""
        values = self.found(evidence)
        if values.empty:
            return self.missing(evidence)
        allowed, why = tolerance, ""
        if self.b is not None and self.b.run != self.a.run:
            allowed, why = room(evidence, self.b, tolerance)
            if not why:  # the other run has one seed a category: what its method does by default
                method = self.b.run.split()[0]
                allowed, why = room(evidence, Side(run=method, column=self.b.column), tolerance)
        good = int((values.abs() <= tolerance).sum())
        return self.outcome(
            evidence,
            alike(values, tolerance, allowed),
            f"{self}: {good} of {counted(len(values))} within ±{plain(tolerance)}{why}; by "
            f"category {listed(values)}.",
            contrast(values),
            DROWNED,
        )


class BestColumn(Rule):
    """Is one metric of a run the best of several, all of the same images and networks?

    Reproduced: the interval of its difference from each of the others lies above the tolerance.
    Partly: it is the best on average, not told apart from some.
    """

    rule: Literal["best_column"]
    run: RunText
    best: str
    others: list[str] = Field(min_length=1)
    categories: list[str] = Field(default_factory=list)

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a category and other metric."""
        side = Side(run=self.run, column=self.best)
        found = {
            other: differences(evidence, side, Side(run=self.run, column=other), self.categories)
            for other in self.others
        }
        if any(len(values) < FEW for values in found.values()):
            return not_run(evidence, [side], self.categories)
        pairs = {other: contrast(values) for other, values in found.items()}
        closest = min(pairs, key=lambda other: pairs[other].mean)
        verdict = Verdict.PARTLY if pairs[closest].mean > 0 else Verdict.NOT_REPRODUCED
        if all(pair.low > tolerance for pair in pairs.values()):
            verdict = Verdict.REPRODUCED
        each = ", ".join(
            f"{said(other)} {signed(pair.mean)} [{signed(pair.low)}, {signed(pair.high)}]"
            for other, pair in pairs.items()
        )
        effect = pairs[closest].effect(unit_of(self.best))
        return Outcome(
            verdict,
            f"{side} minus each of the others: {each}.",
            effect._replace(sample=f"against {said(closest)}, {effect.sample}"),
        )


class Harder(Rule):
    """Does a run do worse on this data set than on another one, the `easy` one?

    Reproduced: Welch's interval of the difference of the means over categories lies above the
    tolerance. Partly: the difference does.
    """

    rule: Literal["harder"]
    run: RunText
    easy: Literal["mnist", "cifar10"]
    column: str = "image_auroc"
    categories: list[str] = Field(default_factory=list)

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the categories of both data sets."""
        side = Side(run=self.run, column=self.column)
        hard = differences(evidence, side, 0.0, self.categories)
        easy = differences(evidence.on(self.easy), side, 0.0, [])
        if hard.empty:
            return not_run(evidence, [side], self.categories)
        if easy.empty:
            return not_run(evidence.on(self.easy), [side], [])
        gap, low, high = float(easy.mean() - hard.mean()), None, None
        if min(len(easy), len(hard)) >= FEW and easy.std() + hard.std() > 0:
            low, high = stats.ttest_ind(easy, hard, equal_var=False).confidence_interval(0.95)
        verdict = Verdict.PARTLY if gap > tolerance else Verdict.NOT_REPRODUCED
        if low is not None and low > tolerance:
            verdict = Verdict.REPRODUCED
        sample = f"{len(easy)} and {len(hard)} categories"
        effect = Effect(gap, unit_of(self.column), low, high, sample)
        return Outcome(
            verdict,
            f"Mean {side}: {easy.mean():.1f} on `{self.easy}` ({len(easy)} categories), "
            f"{hard.mean():.1f} on `{evidence.dataset}` ({len(hard)}): {_signed(effect)}.",
            effect,
        )


def _signed(effect: Effect) -> str:
    """Write a difference with its sign, whatever its unit."""
    interval = "" if effect.low is None else f" [{signed(effect.low)}, {signed(effect.high)}]"
    unit = f" {effect.unit}" if effect.unit else ""
    return f"{signed(effect.value)}{interval}{unit} ({effect.sample})"
