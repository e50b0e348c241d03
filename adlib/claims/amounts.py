"""Rules that hold one amount against a bound or against another run's amount."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field, model_validator

from adlib.claims.commands import commands
from adlib.claims.evidence import Evidence, Rule, RunText, unit_of
from adlib.claims.gains import Versus
from adlib.claims.verdict import Effect, Outcome, Verdict, plain, signed

SHARES = ("bank_used",)  # recorded as fractions, shown in percent
UNITS = {"bank_used": "% of the bank", "image_auroc": "% image AUROC"}


class Above(Versus):
    """Is `better` above `worse` in each category, where one run a side is all there is?

    For runs that draw nothing, or were run with one seed: each category gives one difference, of
    means over the seeds that were run, and there is no interval. Reproduced: the mean difference
    exceeds the tolerance and no category is behind. Partly: the mean difference lies above 0.
    """

    rule: Literal["above"]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a category."""
        left, right = (means_of(evidence, r, self.backbone, self.metric) for r in self._runs())
        gains = (left - right).dropna()
        if gains.empty:
            return evidence.not_run(self.backbone, self.better, self.worse)
        verdict = Verdict.PARTLY if gains.mean() > 0 else Verdict.NOT_REPRODUCED
        if gains.mean() > tolerance and (gains >= 0).all():
            verdict = Verdict.REPRODUCED
        each = ", ".join(
            f"{name} {signed(gain)} ({left[name]:.2f} against {right[name]:.2f})"
            for name, gain in gains.items()
        )
        number = len(gains)
        noun = "category" if number == 1 else "categories"
        effect = Effect(float(gains.mean()), unit_of(self.metric), sample=f"{number} {noun}")
        return Outcome(verdict, f"Mean difference {effect}; {each}.", effect)

    def _runs(self) -> tuple[str, str]:
        return (self.worse, self.better) if self.lower else (self.better, self.worse)


class Bound(Rule):
    """Does a column of a run keep a bound that is stated?

    Reproduced: the mean of the categories does, give or take the tolerance; partly: some category
    does. Metrics and shares in percent.
    """

    rule: Literal["bound"]
    run: RunText
    backbone: str
    column: str
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Bound:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give one of at_least and at_most")
        return self

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the means of the categories."""
        scale = 100 if self.column in SHARES else 1
        means = scale * means_of(evidence, self.run, self.backbone, self.column)
        if means.empty:
            return evidence.not_run(self.backbone, self.run)
        if self.at_least is not None:
            kept, words = means >= self.at_least - tolerance, f"at least {plain(self.at_least)}"
            whole = means.mean() >= self.at_least - tolerance
        else:
            kept, words = means <= self.at_most + tolerance, f"at most {plain(self.at_most)}"
            whole = means.mean() <= self.at_most + tolerance
        verdict = Verdict.PARTLY if kept.any() else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if whole else verdict
        each = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
        unit = UNITS.get(self.column, self.column)
        effect = Effect(float(means.mean()), unit, sample=f"mean of {len(means)} categories")
        text = (
            f"The mean is {means.mean():.1f} {unit}, where {words} is stated; by category {each}."
        )
        return Outcome(verdict, text, effect)


class Cheaper(Rule):
    """Does the run `cheap` need less of a column, such as ``seconds_fit``, than `dear`?

    Reproduced: in each category, by more than the share `tolerance`; partly: on the whole.
    """

    rule: Literal["cheaper"]
    cheap: RunText
    dear: RunText
    backbone: str
    column: str = "seconds_fit"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the ratio of the means, category by category."""
        cheap, dear = (
            means_of(evidence, r, self.backbone, self.column) for r in (self.cheap, self.dear)
        )
        ratios = (dear / cheap).dropna()
        if ratios.empty:
            return evidence.not_run(self.backbone, self.cheap, self.dear)
        whole = float(dear[ratios.index].sum() / cheap[ratios.index].sum())
        verdict = Verdict.PARTLY if whole > 1 else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if (ratios > 1 + tolerance).all() else verdict
        each = ", ".join(
            f"{name} {plain(dear[name])} against {plain(cheap[name])}" for name in ratios.index
        )
        effect = Effect(whole, "times", sample=f"{len(ratios)} categories together")
        return Outcome(
            verdict, f"`{self.column}` of `{self.dear}` and of `{self.cheap}`: {each}.", effect
        )


class NotAtHand(Rule):
    """What no code or weights here can decide: says why, and which run would begin to.

    Judged without evidence: the answer is always *not testable here*.
    """

    rule: Literal["not_at_hand"]
    reason: str = Field(min_length=10)
    runs: list[RunText] = Field(min_length=1)
    backbone: str

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer with the reason and the commands."""
        begin = commands(self.runs, self.dataset, self.backbone)
        return Outcome(Verdict.NOT_TESTABLE, self.reason, commands=begin)


def means_of(evidence: Evidence, run: str, backbone: str, column: str) -> pd.Series:
    """Return the mean over seeds of each category."""
    values = evidence.values(run, backbone, column)
    return values.groupby("category")["value"].mean().astype(float)
