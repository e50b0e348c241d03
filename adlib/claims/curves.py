"""Rules that ask how detection and cost depend on the dimension.

Every comparison is paired over the seeds and categories that both sides have (``report.paired``).
Differences are percentage points of the metric, intervals 95 %, and not corrected for the number of
comparisons.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adlib.claims.evidence import Evidence, Rule, RunText, effect_of
from adlib.claims.verdict import Outcome, Verdict, joined, plain


class Reaches(Rule):
    """With how many dimensions does a curve reach `target`?

    A dimension reaches it if the interval of the paired difference excludes a deficit larger than
    the tolerance. Reproduced: some dimension up to `claimed` does. Partly: one below `target_dim`.
    """

    rule: Literal["reaches"]
    curve: RunText
    target: RunText
    dims: list[int] = Field(min_length=1)
    claimed: int
    target_dim: int
    backbone: str
    metric: str = "pixel_auroc"
    why_missing: str = ""

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one paired difference a dimension."""
        found = {}
        for dim in self.dims:
            pair = evidence.paired(
                self.curve.format(dim=dim), self.target, self.backbone, self.metric
            )
            if pair is not None:
                found[dim] = pair
        tested = [dim for dim in found if dim <= self.claimed]
        if not tested:
            first = self.curve.format(dim=self.dims[0])
            return evidence.not_run(self.backbone, first, self.target, why=self.why_missing)
        enough = [dim for dim, pair in found.items() if pair.low >= -tolerance]
        verdict = Verdict.NOT_REPRODUCED
        if enough and min(enough) <= self.claimed:
            verdict = Verdict.REPRODUCED
        elif enough and min(enough) < self.target_dim:
            verdict = Verdict.PARTLY
        at = found[max(tested)]
        reached = f"{min(enough)} do" if enough else f"none of {joined([*map(str, found)])} do"
        return Outcome(
            verdict,
            f"With {max(tested)} dimensions the difference from {self.target_dim} is "
            f"{effect_of(at)}; without a deficit above {plain(tolerance)} points {reached}.",
            effect_of(at),
            p_value=at.p_value,
        )


class Plateau(Rule):
    """Does a curve rise from `start` to `knee` dimensions and then stay, up to `end`?

    Reproduced: the rise lies above 0 and what follows is at most the share `tolerance` of it.
    Partly: what follows is less than the rise.
    """

    rule: Literal["plateau"]
    curve: RunText
    start: int
    knee: int
    end: int
    backbone: str
    metric: str = "pixel_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the paired differences of two stretches of the curve."""
        runs = [self.curve.format(dim=dim) for dim in (self.start, self.knee, self.end)]
        rise = evidence.paired(runs[1], runs[0], self.backbone, self.metric)
        rest = evidence.paired(runs[2], runs[1], self.backbone, self.metric)
        if rise is None or rest is None:
            return evidence.not_run(self.backbone, *runs)
        verdict = Verdict.NOT_REPRODUCED
        if rise.low > 0 and rest.mean < rise.mean:
            flat = rest.mean <= tolerance * rise.mean
            verdict = Verdict.REPRODUCED if flat else Verdict.PARTLY
        return Outcome(
            verdict,
            f"From {self.start} to {self.knee} dimensions {effect_of(rise)}, "
            f"from {self.knee} to {self.end} {effect_of(rest)}.",
            effect_of(rise),
            p_value=rise.p_value,
        )
