"""More rules that hold a paper's text against the same paper's numbers; see ``printed``.

Agreement proves only that text and table agree: then the answer is *not testable here*.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from adlib.claims.evidence import METRIC_NAMES, Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain, signed
from adlib.errors import InputError

METHODS = {"spade": "SPADE", "padim": "PaDiM"}


class PrintedCell(BaseModel):
    """One number of a table: a mean over the data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: str
    method: str
    metric: str = "image_auroc"
    backbone: str | None = None

    def value(self, evidence: Evidence) -> float:
        """Look it up; it must be there once."""
        cells = evidence.cells(self.where, self.backbone, self.metric)
        cells = cells[cells["method"] == self.method]
        if len(cells) != 1:
            raise InputError(
                f"a claim must name one printed number, found {len(cells)} of {self.method} for "
                f"{self.metric} at {self.where}; correct the ledger"
            )
        return float(cells["value"].iloc[0])


class ErrorReduction(Rule):
    """Is the error, 100 minus the score, reduced by the percentage that the text states?

    With `at_least` the text states a lower limit. Contradicted: off by more than the tolerance.
    """

    rule: Literal["error_reduction"]
    before: PrintedCell
    after: PrintedCell
    claimed: float
    at_least: bool = False

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer by arithmetic on two printed numbers."""
        before, after = (100 - cell.value(evidence) for cell in (self.before, self.after))
        reduction = 100 * (1 - after / before)
        off = reduction - self.claimed
        agree = off >= -tolerance if self.at_least else abs(off) <= tolerance
        sentence = (
            f"from {before:.1f} to {after:.1f} is a reduction by {reduction:.1f} %, stated "
            f"{'are at least' if self.at_least else 'are'} {plain(self.claimed)} %"
        )
        effect = Effect(reduction, "% of the error")
        if agree:
            return Outcome(Verdict.NOT_TESTABLE, f"Text and table agree: {sentence}.", effect)
        return Outcome(Verdict.CONTRADICTED, f"{sentence[0].upper()}{sentence[1:]}.", effect)


class ErrorRows(Rule):
    """Is each printed error 100 minus the score printed above it?

    An error of a metric is in ``reported.csv`` under the metric's name with ``_error``.
    """

    rule: Literal["error_rows"]
    paper: str
    where: list[str] = Field(min_length=1)

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one sum a pair of cells."""
        rows = evidence.printed
        rows = rows[(rows["paper"] == self.paper) & rows["where"].isin(self.where)]
        errors = rows["metric"].str.endswith("_error")
        place = ["where", "method", "backbone", "metric"]
        second = rows[errors].assign(metric=rows["metric"].str.removesuffix("_error"))
        pairs = rows[~errors].merge(second, on=place, suffixes=("", "_error"))
        if pairs.empty:
            raise InputError(
                f"reported.csv must hold the printed errors of {joined(self.where)}, found none; "
                "correct the ledger"
            )
        off = (pairs["value"] + pairs["value_error"] - 100).round(10)
        wrong = pairs[off.abs() > tolerance]
        text = f"{len(pairs) - len(wrong)} of {len(pairs)} printed errors are 100 minus the score"
        largest = Effect(float(off[off.abs().idxmax()]), "points", sample="score plus error − 100")
        if wrong.empty:
            return Outcome(Verdict.NOT_TESTABLE, f"Scores and errors agree: {text}.", largest)
        cells = joined(
            [
                f"{cell.where} prints {cell.value:g} with an error of {cell.value_error:g} "
                f"({METRIC_NAMES[cell.metric]}, {cell.backbone or cell.method})"
                for cell in wrong.itertuples()
            ]
        )
        return Outcome(Verdict.CONTRADICTED, f"{text}; {cells}.", largest)


class Lead(Rule):
    """Is the lead of `ours` over rivals that are quoted in tables kept where they were run again?

    `quoted` names the table of each metric, `again` the one with the rivals run by the same
    authors. Contradicted: some lead there is smaller by more than the tolerance.
    """

    rule: Literal["lead"]
    ours: str
    rivals: list[str] = Field(min_length=1)
    quoted: dict[str, str]
    again: str

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the leads of both tables."""
        rows = []
        for metric, where in self.quoted.items():
            for rival in self.rivals:
                leads = [
                    PrintedCell(where=place, method=self.ours, metric=metric).value(evidence)
                    - PrintedCell(where=place, method=rival, metric=metric).value(evidence)
                    for place in (where, self.again)
                ]
                rows.append((metric, rival, where, *leads))
        found = pd.DataFrame(rows, columns=["metric", "rival", "where", "quoted", "again"])
        change = (found["again"] - found["quoted"]).round(10)
        smaller = found[change < -tolerance]
        effect = Effect(float(change.min()), "points", sample="the lead that shrinks most")
        text = f"{len(found) - len(smaller)} of {len(found)} leads are as large in {self.again}"
        if smaller.empty:
            return Outcome(Verdict.NOT_TESTABLE, f"The tables agree: {text}.", effect)
        cells = joined(
            [
                f"over {METHODS.get(cell.rival, cell.rival)} in {METRIC_NAMES[cell.metric]} it is "
                f"{signed(cell.quoted)} in {cell.where} and {signed(cell.again)} in {self.again}"
                for cell in smaller.itertuples()
            ]
        )
        return Outcome(Verdict.CONTRADICTED, f"{text}; {cells}.", effect)
