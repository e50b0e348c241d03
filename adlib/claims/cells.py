"""Rules that hold printed cells against records."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from adlib import report
from adlib.claims.evidence import Evidence, Rule, RunText
from adlib.claims.verdict import Effect, Outcome, Verdict, signed

DISTINCT = 2.0  # standard deviations above which a single difference stands out


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
            f"{row.category} {signed(row.delta)} of ±{row.tolerance:.2f}"
            for row in known.itertuples()
        )
        return Outcome(
            verdict,
            f"{good} of {len(known)} cells that were run, of {len(rows)} printed, lie within their "
            f"tolerance; ours minus paper: {each}.",
            _mean_effect(known["delta"].to_numpy(float), len(rows)),
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
