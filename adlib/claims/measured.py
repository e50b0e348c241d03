"""Rules that ask the records.

Every comparison is paired over the seeds and categories that both sides have (``report.paired``).
Differences are percentage points of the metric, intervals 95 %, and not corrected for the number of
comparisons.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy import stats

from adlib import report
from adlib.claims.evidence import Evidence, Rule, RunText, effect_of, sample_of
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain, signed

DISTINCT = 2.0  # standard deviations above which a single difference stands out


class Versus(Rule):
    """Two runs on one network, seen through one metric."""

    better: RunText
    worse: RunText
    backbone: str
    metric: str = "pixel_auroc"

    def contrast(self, evidence: Evidence) -> report.Paired | None:
        """Return better - worse."""
        return evidence.paired(self.better, self.worse, self.backbone, self.metric)


class Gain(Versus):
    """Is `better` better than `worse` (in every category)?

    Reproduced: the interval lies above 0 and the mean reaches the tolerance, in every category where
    `every`. Partly: the interval lies above 0, the rest fails. `printed` names the table whose gain
    in the same categories is quoted beside ours: (where, method of better, method of worse).
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
            f"Mean difference {effect_of(found)}; by category {each}; better in "
            f"{found.by_category['wins'].sum()} of {found.by_category['n'].sum()} pairs of runs"
            f"{self._printed(evidence, list(by_category.index))}.",
            effect_of(found),
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
    """Do both agree? Reproduced: the whole interval within the tolerance; not: all of it outside."""

    rule: Literal["equal"]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the paired difference."""
        found = self.contrast(evidence)
        if found is None:
            return evidence.not_run(self.backbone, self.better, self.worse)
        verdict = Verdict.PARTLY
        if -tolerance <= found.low and found.high <= tolerance:
            verdict = Verdict.REPRODUCED
        elif found.low > tolerance or found.high < -tolerance:
            verdict = Verdict.NOT_REPRODUCED
        each = found.by_category.set_index("category")["difference"]
        each = ", ".join(f"{name} {signed(value)}" for name, value in each.items())
        return Outcome(
            verdict,
            f"Mean difference {effect_of(found)}, by category {each}; equal means within "
            f"±{plain(tolerance)} points.",
            effect_of(found),
            p_value=found.p_value,
        )


class Attribution(Versus):
    """Is the gain of `better` over `worse` due to `cause`, the same without the `rival` cause?

    `cause` differs from `worse` by the named cause alone, `rival` by the other one alone.
    Reproduced: both the gain and the part of the cause lie above 0, and the part is at least the
    share `tolerance` of the gain. Partly: the part lies above 0 but is smaller. Without a gain above
    0 there is nothing to attribute: not reproduced.
    """

    rule: Literal["attribution"]
    cause: RunText
    rival: RunText

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from three paired differences from the same baseline."""
        total, part, other = (
            evidence.paired(run, self.worse, self.backbone, self.metric)
            for run in (self.better, self.cause, self.rival)
        )
        if total is None or part is None:
            return evidence.not_run(self.backbone, self.better, self.cause, self.worse)
        verdict = Verdict.NOT_REPRODUCED
        if total.low > 0 and part.low > 0:
            enough = part.mean >= tolerance * total.mean
            verdict = Verdict.REPRODUCED if enough else Verdict.PARTLY
        rival = "was not run" if other is None else f"gives {effect_of(other)}"
        share = f", {part.mean / total.mean:.0%} of it" if total.low > 0 else ""
        return Outcome(
            verdict,
            f"The whole gain is {effect_of(total)}; the named cause alone gives {effect_of(part)}"
            f"{share}; the other cause alone {rival}.",
            effect_of(part),
            p_value=part.p_value,
        )


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


class Cells(Rule):
    """Are printed numbers reproduced, each within the tolerance of ``report.compare``?

    Reproduced: all that were run; partly: at least half of them; else not.
    """

    rule: Literal["cells"]
    where: str
    method: str
    backbone: str
    metric: str = "pixel_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one signed difference a cell."""
        cells = evidence.cells(self.where, self.backbone, self.metric)
        others = evidence.printed[evidence.printed["source"] != "paper"]
        # every method of the table: one that nobody else implemented borrows its metric's spread
        both = evidence.printed.loc[cells.index.union(others.index)]
        rows = report.compare(both, evidence.runs, backbone=self.backbone)
        rows = rows[rows["method"] == self.method]
        known = rows[rows["within"].notna()]
        if known.empty:
            return evidence.not_run(self.backbone, *sorted(rows["run"].unique()))
        good = int(known["within"].astype(bool).sum())
        verdict = Verdict.PARTLY if 2 * good >= len(known) else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if good == len(known) else verdict
        each = ", ".join(
            f"{row.category} {signed(row.delta)} of ±{row.tolerance:.2f}" for row in known.itertuples()
        )
        return Outcome(
            verdict,
            f"{good} of {len(known)} cells that were run, of {len(rows)} printed, lie within their "
            f"tolerance; ours minus paper: {each}.",
            _mean_effect(known["delta"].to_numpy(float)),
        )


class SingleRun(Rule):
    """Would the printed differences stand out of the spread over seeds, one run a side?

    A difference stands out above two standard deviations of the difference of single runs with
    seeds drawn anew. Reproduced: all that can be held against runs do; not reproduced: none.
    """

    rule: Literal["single_run"]
    better: RunText
    worse: RunText
    backbone: str
    metric: str = "pixel_auroc"
    printed: tuple[str, str, str]

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the standard deviations over seeds in each category."""
        where, better, worse = self.printed
        gains = evidence.gains(where, better, worse, self.backbone, self.metric)
        variances = [
            evidence.values(run, self.backbone, self.metric).groupby("category")["value"].var()
            for run in (self.better, self.worse)
        ]
        spread = np.sqrt(sum(variances).dropna()).astype(float)
        spread = spread[spread.index.isin(gains.index)]
        if spread.empty:
            return evidence.not_run(self.backbone, self.better, self.worse)
        clear = gains[spread.index] > DISTINCT * spread
        verdict = Verdict.PARTLY if clear.any() else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if clear.all() else verdict
        each = ", ".join(
            f"{name} {signed(gains[name])} against ±{DISTINCT * spread[name]:.2f}"
            for name in spread.index
        )
        return Outcome(
            verdict,
            f"{int(clear.sum())} of {len(clear)} printed differences exceed what other seeds alone "
            f"do to a single pair of runs ({each}).",
            Effect(float((gains[spread.index] / spread).median()), "sd of a single difference, median"),
        )


class Speed(Rule):
    """Is `fast` faster than `slow` by the factor `claimed`? Paired over seeds, on a log scale.

    Reproduced: the mean factor is at least 1 - `tolerance` of the printed one; partly: its interval
    lies above 1. `stage` is the part of a run that was timed; the network is not in it.
    """

    rule: Literal["speed"]
    fast: RunText
    slow: RunText
    claimed: float
    backbone: str
    stage: str = "score"
    why_missing: str = ""

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the recorded seconds."""
        column = f"seconds_{self.stage}"
        timed = Evidence(
            evidence.runs.assign(**{column: np.log(evidence.runs[column])})
            if column in evidence.runs
            else evidence.runs,
            evidence.printed,
            evidence.dataset,
        )
        found = timed.paired(self.slow, self.fast, self.backbone, column)
        if found is None:
            return evidence.not_run(self.backbone, self.fast, self.slow, why=self.why_missing)
        mean, low, high = (float(np.exp(value)) for value in (found.mean, found.low, found.high))
        verdict = Verdict.PARTLY if low > 1 else Verdict.NOT_REPRODUCED
        if mean >= (1 - tolerance) * self.claimed:
            verdict = Verdict.REPRODUCED
        effect = Effect(mean, "times", low, high, sample_of(found))
        return Outcome(
            verdict,
            f"The stage '{self.stage}', without the network, is {effect} faster; the paper says "
            f"{plain(self.claimed)}×.",
            effect,
        )


def _mean_effect(deltas: np.ndarray) -> Effect:
    """Mean over cells with Student's interval, where there is more than one."""
    mean, sample = float(deltas.mean()), f"{len(deltas)} cells" if len(deltas) > 1 else "1 cell"
    spread = float(deltas.std(ddof=1)) if len(deltas) > 1 else 0.0
    if spread == 0:
        return Effect(mean, "points", sample=sample)
    low, high = stats.t.interval(0.95, len(deltas) - 1, mean, spread / np.sqrt(len(deltas)))
    return Effect(mean, "points", float(low), float(high), sample)
