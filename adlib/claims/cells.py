"""Rules that hold printed cells against records."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from adlib import report
from adlib.claims.evidence import Evidence, Rule, RunText
from adlib.claims.verdict import Effect, Outcome, Verdict, signed

DISTINCT = 2.0  # standard deviations above which a single difference stands out


class Cells(Rule):
    """Are printed numbers reproduced, each within the tolerance of ``report.compare``?

    Reproduced: all that were run; partly: at least half of them; else not. At most partly if the
    run `rival`, of another method, lies within the tolerance of each of these cells as well: then
    they cannot tell which method was printed.
    """

    rule: Literal["cells"]
    where: str
    method: str
    backbone: str
    metric: str = "pixel_auroc"
    rival: RunText | None = None

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
        inside = self._rival_inside(evidence, known)
        if good == len(known) and inside is not True:
            verdict = Verdict.REPRODUCED
        each = ", ".join(
            f"{row.category} {signed(row.delta)} of ±{row.tolerance:.2f}"
            for row in known.itertuples()
        )
        return Outcome(
            verdict,
            f"{'Only ' if 2 * len(known) < len(rows) else ''}{len(known)} of {len(rows)} printed "
            f"cells were run; {good} of them lie within their tolerance; ours minus "
            f"paper: {each}.{self._about_rival(inside)}",
            _mean_effect(known["delta"].to_numpy(float), len(rows)),
        )

    def _rival_inside(self, evidence: Evidence, known: pd.DataFrame) -> bool | None:
        """Whether the rival lies within every tolerance; None where it was not run everywhere."""
        if self.rival is None:
            return None
        found = evidence.values(self.rival, self.backbone, self.metric)
        means = known["category"].map(found.groupby("category")["value"].mean()).astype(float)
        if means.isna().any():
            return None
        return bool(((means - known["paper"]).abs() <= known["tolerance"]).all())

    def _about_rival(self, inside: bool | None) -> str:
        if self.rival is None:
            return ""
        run = f" The other method, `{self.rival}`,"
        if inside is None:
            return f"{run} was not run in all of them."
        if inside:
            return f"{run} lies within all of them too: the tolerance cannot tell the two apart."
        return f"{run} does not lie within all of them."


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
            Effect(
                float((gains[spread.index] / spread).median()), "sd of a single difference (median)"
            ),
        )


def _mean_effect(deltas: np.ndarray, printed: int) -> Effect:
    """Mean over cells with Student's interval, where there is more than one."""
    mean, sample = float(deltas.mean()), f"{len(deltas)} of {printed} cells"
    spread = float(deltas.std(ddof=1)) if len(deltas) > 1 else 0.0
    if spread == 0:
        return Effect(mean, "points", sample=sample)
    low, high = stats.t.interval(0.95, len(deltas) - 1, mean, spread / np.sqrt(len(deltas)))
    return Effect(mean, "points", float(low), float(high), sample)
