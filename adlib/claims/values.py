"""Rules that hold printed means and sums over a whole data set against records."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from adlib.claims.amounts import means_of
from adlib.claims.commands import commands
from adlib.claims.evidence import COUNTS, Evidence, Rule, RunText, unit_of
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain
from adlib.datasets.classes import complement

MANY = 5  # more printed values than that are counted instead of listed


class TableValues(Rule):
    """Are printed values reached, each give or take the tolerance?

    The runs are those that ``reported.csv`` names. A printed mean or sum needs every category. With
    `complement` a printed set of classes is that of the normal ones, where else it is that of the
    anomalous ones (Table 2 of the chapter on latent diffusion can be read both ways).
    Reproduced: all values that were run; partly: at least half of them; else not.
    """

    rule: Literal["table_values"]
    where: str
    metric: str
    backbone: str
    methods: list[str] = Field(min_length=1)
    complement: bool = False

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a printed value."""
        cells = evidence.cells(self.where, self.backbone, self.metric)
        cells = cells[cells["method"].isin(self.methods) & (cells["dataset"] == self.dataset)]
        ours = pd.Series([self._ours(evidence, cell) for cell in cells.itertuples()], cells.index)
        gaps = (ours - cells["value"]).dropna()
        if gaps.empty:
            return self._not_run(evidence, cells)
        good = int((gaps.abs() <= tolerance).sum())
        verdict = Verdict.PARTLY if 2 * good >= len(gaps) else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if good == len(gaps) else verdict
        each = ", ".join(
            f"{cell.method} {cell.category} {ours[cell.Index]:.1f} against {cell.value:g}"
            for cell in cells.loc[gaps.index].itertuples()
        )
        effect = Effect(float(gaps.mean()), unit_of(self.metric), sample=f"{len(gaps)} values")
        text = f"{good} of {len(gaps)} values that were run lie within ±{plain(tolerance)}: {each}."
        return Outcome(verdict, text, effect)

    def _ours(self, evidence: Evidence, cell: Any) -> float:
        wanted = evidence.whole(cell.category)
        wanted = [*map(complement, wanted)] if self.complement else wanted
        means = means_of(evidence, cell.run, self.backbone, self.metric).reindex(wanted)
        if means.isna().any():
            return np.nan
        return float(means.sum() if cell.category == "sum" else means.mean())

    def _not_run(self, evidence: Evidence, cells: pd.DataFrame) -> Outcome:
        printed = [f"{value:g}" for value in cells["value"]]
        shown = joined(printed) if len(printed) <= MANY else f"{len(printed)} values"
        unit = f" {COUNTS[self.metric]}" if self.metric in COUNTS else ""
        number = len(set().union(*map(evidence.whole, cells["category"])))
        where = (f" on `{self.backbone}`", " on that network") if self.backbone else ("", "")
        return Outcome(
            Verdict.NOT_TESTABLE,
            f"Not run: the paper prints {shown}{unit}{where[0]}, which needs all "
            f"{number} categories of `{self.dataset}`{where[1]}.",
            commands=commands(list(cells["run"].unique()), self.dataset, self.backbone),
        )


class Solved(Rule):
    """Is the stated share of all categories solved: no image on the wrong side, in any run?"""

    rule: Literal["solved"]
    run: RunText
    backbone: str
    share: float = Field(gt=0, le=1)
    metric: str = "f1_misclassified"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the misclassified images of every category."""
        wanted = evidence.whole("all")
        wrong = means_of(evidence, self.run, self.backbone, self.metric).reindex(wanted)
        known = wrong.dropna()
        solved = [str(name) for name, value in known.items() if value == 0]
        if len(known) < len(wanted):
            here = f", {len(solved)} of them solved" if len(known) else ""
            return Outcome(
                Verdict.NOT_TESTABLE,
                f"Not run: `{self.run}` on `{self.backbone}` has {len(known)} of {len(wanted)} "
                f"categories{here}.",
                commands=commands([self.run], self.dataset, self.backbone),
            )
        share = len(solved) / len(wanted)
        reached = share >= self.share - tolerance
        verdict = Verdict.REPRODUCED if reached else Verdict.NOT_REPRODUCED
        return Outcome(
            verdict,
            f"{len(solved)} of {len(wanted)} categories have no misclassified image"
            f"{': ' + joined(solved) if solved else ''}.",
            Effect(share, "of the categories"),
        )
