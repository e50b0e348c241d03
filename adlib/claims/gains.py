"""Rules that ask whether one run is better than another.

Every comparison is paired over the seeds and categories that both sides have (``report.paired``).
Differences are percentage points of the metric, intervals 95 %, and not corrected for the number of
comparisons.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from adlib import report
from adlib.claims.evidence import Evidence, Rule, RunText, effect_of, unit_of
from adlib.claims.verdict import Effect, Outcome, Verdict, plain, signed


class Versus(Rule):
    """Two runs on one network, seen through one metric; with `lower` less of it is better."""

    better: RunText
    worse: RunText
    backbone: str
    metric: str = "pixel_auroc"
    lower: bool = False

    def contrast(self, evidence: Evidence) -> report.Paired | None:
        """Return better - worse, or worse - better where less is better."""
        runs = (self.worse, self.better) if self.lower else (self.better, self.worse)
        return evidence.paired(*runs, self.backbone, self.metric)

    def effect(self, found: report.Paired) -> Effect:
        """Return a contrast in the unit of the metric."""
        return effect_of(found, unit_of(self.metric))


class Gain(Versus):
    """Is `better` better than `worse` (in every category)?

    Reproduced: the interval lies above 0 and the mean reaches the tolerance, with `every` in each
    category too. Partly: the interval lies above 0, the rest fails. `printed` names the table whose
    gain in the same categories is quoted beside ours: (where, method of better, method of worse).
    """

    rule: Literal["gain"]
    every: bool = False
    printed: tuple[str, str, str] | None = None
    why_missing: str = ""

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the paired difference."""
        found = self.contrast(evidence)
        if found is None:
            return evidence.not_run(self.backbone, self.better, self.worse, why=self.why_missing)
        by_category = found.by_category.set_index("category")["difference"]
        behind = [name for name, value in by_category.items() if value <= 0]
        verdict = Verdict.NOT_REPRODUCED
        if found.low > 0:
            whole = found.mean >= tolerance and not (self.every and behind)
            verdict = Verdict.REPRODUCED if whole else Verdict.PARTLY
        each = ", ".join(f"{name} {signed(value)}" for name, value in by_category.items())
        return Outcome(
            verdict,
            f"Mean difference {self.effect(found)}; by category {each}; better in "
            f"{found.by_category['wins'].sum()} of {found.by_category['n'].sum()} pairs of runs"
            f"{self._printed(evidence, list(by_category.index))}.",
            self.effect(found),
            p_value=found.p_value,
        )

    def _printed(self, evidence: Evidence, categories: list[str]) -> str:
        if self.printed is None:
            return ""
        where, better, worse = self.printed
        gains = evidence.gains(where, better, worse, self.backbone, self.metric)
        gains = gains[gains.index.isin(categories)]
        return f"; the paper prints {signed(gains.mean())} for these" if len(gains) else ""


class Equal(Versus):
    """Do both agree?

    Reproduced: the whole interval lies within the tolerance, and so does the mean difference of
    each category. Not reproduced: all of the interval lies outside.
    """

    expects_zero: ClassVar[bool] = True

    rule: Literal["equal"]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the paired difference."""
        found = self.contrast(evidence)
        if found is None:
            return evidence.not_run(self.backbone, self.better, self.worse)
        each = found.by_category.set_index("category")["difference"]
        verdict = Verdict.PARTLY
        if max(-found.low, found.high, *each.abs()) <= tolerance:
            verdict = Verdict.REPRODUCED
        elif found.low > tolerance or found.high < -tolerance:
            verdict = Verdict.NOT_REPRODUCED
        listed = ", ".join(f"{name} {signed(value)}" for name, value in each.items())
        return Outcome(
            verdict,
            f"Mean difference {effect_of(found)}, by category {listed}; equal means "
            f"within ±{plain(tolerance)} points.",
            effect_of(found),
            p_value=found.p_value,
        )
