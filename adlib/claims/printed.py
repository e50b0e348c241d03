"""Rules that hold a paper's text against the same paper's numbers.

Agreement proves only that text and table agree: then the answer is *not testable here*, and a rule
on records has to decide.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd

from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, joined

NAMES = {"wide_resnet50_2": "Wide ResNet-50-2", "resnet18": "ResNet-18"}


class TableOrder(Rule):
    """Does `better` stand above `worse` in every cell of the table, on every backbone it has?"""

    rule: Literal["table_order"]
    where: str
    better: str
    worse: str
    metric: str = "pixel_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from printed differences; equal numbers are not better."""
        table = _table(evidence, self.where, self.metric)
        gains = (table[self.better] - table[self.worse]).round(10)
        others = gains[gains <= tolerance]
        text = f"{len(gains) - len(others)} of {len(gains)} printed pairs show a gain"
        effect = Effect(float(gains.min()), "points", sample="the least printed gain")
        if others.empty:
            return Outcome(Verdict.NOT_TESTABLE, f"Text and table agree: {text}.", effect)
        cells = joined(
            [
                f"{category}{_on(backbone)} has "
                f"{table.loc[(backbone, category), self.worse]:.1f} and "
                f"{table.loc[(backbone, category), self.better]:.1f}"
                for backbone, category in others.index
            ]
        )
        return Outcome(Verdict.CONTRADICTED, f"{text}; {cells}.", effect)


class TableMean(Rule):
    """Are the numbers of the text the means of the columns they sum up?"""

    rule: Literal["table_mean"]
    where: str
    table: str
    methods: list[str]
    backbone: str
    metric: str = "pixel_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the means of the printed columns."""
        text = evidence.cells(self.where, self.backbone, self.metric).set_index("method")["value"]
        text = text[self.methods]
        table = _table(evidence, self.table, self.metric)
        means = table.loc[self.backbone][self.methods].mean()
        off = (text - means).abs()
        effect = Effect(float(off.max()), "points", sample="text against the column's mean")
        sentence = (
            f"The text says {_row(text, 1)}, the means of the columns of "
            f"{NAMES.get(self.backbone, self.backbone)} are {_row(means, 2)}"
        )
        if (off <= tolerance).all():
            return Outcome(Verdict.NOT_TESTABLE, f"Text and table agree: {sentence}.", effect)
        same = table[(table[self.methods].round(10) == text.round(10)).all(axis=1)].index
        source = joined([f"{name} on {NAMES.get(network, network)}" for network, name in same])
        found = f"; the same numbers stand in the row of {source}" if len(same) else ""
        return Outcome(Verdict.CONTRADICTED, f"{sentence}{found}.", effect)


def _table(evidence: Evidence, where: str, metric: str) -> pd.DataFrame:
    """Return a printed table: (backbone, category) in rows, methods in columns."""
    cells = evidence.cells(where, metric=metric)
    return cells.pivot(index=["backbone", "category"], columns="method", values="value")


def _on(backbone: str) -> str:
    return f" on {NAMES.get(backbone, backbone)}" if backbone else ""


def _row(values: pd.Series, digits: int) -> str:
    return joined([f"{value:.{digits}f}" for value in values])
