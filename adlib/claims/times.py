"""The rule about time per image, from the committed measurement of whole methods side by side.

``results/bench/patchcore.json`` holds ``rows``: each with ``setting`` (a run's text, as
``patchcore fraction=0.01``), ``dataset``, ``category``, ``backbone`` and
``milliseconds_per_image`` with ``total``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from adlib import report
from adlib.claims.evidence import Evidence, Rule, RunText
from adlib.claims.verdict import Effect, Outcome, Verdict, plain
from adlib.errors import InputError


class Faster(Rule):
    """Is an image scored faster by `fast` than by `slow`, the network included?

    Reproduced: on each measured category, by more than the share `tolerance`; partly: on the
    geometric mean of the ratios. `printed` names the table and the two methods whose times are
    quoted.
    """

    rule: Literal["faster"]
    fast: RunText
    slow: RunText
    backbone: str
    benchmark: str = "patchcore"
    printed: tuple[str, str, str] | None = None

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one ratio a measured category."""
        rows = evidence.benchmarks.get(self.benchmark, {}).get("rows", [])
        fast, slow = (self._times(rows, run) for run in (self.fast, self.slow))
        common = [place for place in slow if place in fast]
        quoted = self._quoted(evidence)
        if not common:
            return Outcome(
                Verdict.NOT_TESTABLE,
                f"Not measured: `results/bench/{self.benchmark}.json` has no times of both "
                f"`{self.fast}` and `{self.slow}` on `{self.backbone}`{quoted}.",
                commands=("make bench",),
            )
        ratios = np.array([slow[place] / fast[place] for place in common])
        middle = float(np.exp(np.log(ratios).mean()))
        verdict = Verdict.PARTLY if middle > 1 else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if (ratios > 1 + tolerance).all() else verdict
        each = ", ".join(
            f"{category} {slow[dataset, category]:.0f} against {fast[dataset, category]:.0f}"
            for dataset, category in common
        )
        effect = Effect(middle, "times", sample=f"{len(common)} measured")
        return Outcome(
            verdict,
            f"Milliseconds per image of `{self.slow}` and of `{self.fast}` on `{self.backbone}`: "
            f"{each}, {plain(middle)}× as many{quoted}.",
            effect,
        )

    def _times(self, rows: list[dict[str, Any]], run: str) -> dict[tuple[str, str], float]:
        return {
            (row["dataset"], row["category"]): float(row["milliseconds_per_image"]["total"])
            for row in rows
            if row["backbone"] == self.backbone and _same(row["setting"], run)
        }

    def _quoted(self, evidence: Evidence) -> str:
        if self.printed is None:
            return ""
        where, fast, slow = self.printed
        cells = evidence.cells(where, metric="seconds_per_image").set_index("method")["value"]
        return f"; the paper prints {cells[slow]:g} and {cells[fast]:g} seconds"


def _same(measured: str, run: str) -> bool:
    """Whether two texts mean the same run; what is measured may be no run of a method."""
    try:
        both = [(report.read_run(text), report.read_protocol(text)) for text in (measured, run)]
    except InputError:
        return False
    return both[0] == both[1]
