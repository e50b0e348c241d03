"""The rule that asks what a gain is due to; differences are paired as in ``gains``."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from adlib import report
from adlib.claims.evidence import Evidence, RunText, effect_of
from adlib.claims.gains import Versus
from adlib.claims.verdict import Outcome, Verdict, signed


class Attribution(Versus):
    """Is the gain of `better` over `worse` due to `cause`, the same without the `rival` cause?

    `cause` differs from `worse` by the named cause alone, `rival` by the other one alone.
    Reproduced: the gain and the part of the cause lie above 0, the interval of the part's share
    lies above `tolerance`, with `every` the part is above 0 in each category, and all of this on
    each network of `also` too. Partly: the gain and the part lie above 0 on `backbone`, the rest
    fails or was not run. Without a gain above 0 there is nothing to attribute: not reproduced.
    """

    rule: Literal["attribution"]
    cause: RunText
    rival: RunText
    every: bool = False
    also: list[str] = []

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from three paired differences from the same baseline, network by network."""
        first = self._on(evidence, self.backbone)
        if first.total is None or first.part is None:
            return evidence.not_run(self.backbone, self.better, self.cause, self.worse)
        others = [self._on(evidence, backbone) for backbone in self.also]
        verdict = Verdict.NOT_REPRODUCED
        if first.present:
            whole = all(found.carries(tolerance, self.every) for found in [first, *others])
            verdict = Verdict.REPRODUCED if whole else Verdict.PARTLY
        rival = evidence.paired(self.rival, self.worse, self.backbone, self.metric)
        alone = "was not run" if rival is None else f"gives {effect_of(rival)}"
        text = f"{first.in_words()}; the other cause alone {alone}."
        for backbone, found in zip(self.also, others, strict=True):
            words = found.in_words()
            text += f" On `{backbone}`: {words[0].lower()}{words[1:]}."
        return Outcome(verdict, text, effect_of(first.part), p_value=first.part.p_value)

    def _on(self, evidence: Evidence, backbone: str) -> Parts:
        total, part = (
            evidence.paired(run, self.worse, backbone, self.metric)
            for run in (self.better, self.cause)
        )
        runs = (self.cause, self.better, self.worse)
        values = [
            evidence.values(run, backbone, self.metric)
            .groupby(["category", "seed"])["value"]
            .mean()
            .unstack("category")
            for run in runs
        ]
        return Parts(total, part, _share(*values) if total and part else None)


class Parts(NamedTuple):
    """The gain on one network, the part of the named cause, and its share with its interval."""

    total: report.Paired | None
    part: report.Paired | None
    share: tuple[float, float, float] | None

    @property
    def present(self) -> bool:
        """Both the gain and the part lie above 0."""
        both = self.total is not None and self.part is not None
        return both and self.total.low > 0 and self.part.low > 0

    def carries(self, tolerance: float, every: bool) -> bool:
        """Whether the part makes up at least this share of the gain (in every category above 0)."""
        if not self.present or self.share is None or self.share[1] < tolerance:
            return False
        return not every or bool((self.part.by_category["difference"] > 0).all())

    def in_words(self) -> str:
        """Write gain, part by category and share."""
        if self.total is None or self.part is None:
            return "Not run"
        part = self.part.by_category.set_index("category")["difference"]
        each = ", ".join(f"{name} {signed(value)}" for name, value in part.items())
        share = ""
        if self.share is not None and self.total.low > 0:
            share = ", a share of {:.2f} [{:.2f}, {:.2f}]".format(*self.share)
        return (
            f"The whole gain is {effect_of(self.total)}; the named cause alone gives "
            f"{effect_of(self.part)}{share} (by category {each})"
        )


def _share(
    cause: pd.DataFrame, better: pd.DataFrame, worse: pd.DataFrame
) -> tuple[float, float, float] | None:
    """Return part / gain with Fieller's 95 % interval over seeds; None where it has no bounds.

    The arguments have seeds in rows and categories in columns. The interval holds each ratio r for
    which a t-test does not tell the mean of part - r gain from 0.
    """
    columns = cause.columns.intersection(better.columns).intersection(worse.columns)
    seeds = cause.index.intersection(better.index).intersection(worse.index)
    part, gain = (side.loc[seeds, columns] - worse.loc[seeds, columns] for side in (cause, better))
    both = np.array([part.dropna().mean(axis=1), gain.dropna().mean(axis=1)])
    number = both.shape[1]
    if number < 2:
        return None
    mean = both.mean(axis=1)
    noise = np.cov(both) * stats.t.ppf(0.975, number - 1) ** 2 / number
    # a r^2 - 2 b r + c <= 0
    (c, b), (_, a) = np.outer(mean, mean) - noise
    if a <= 0:
        return None
    half = np.sqrt(max(b**2 - a * c, 0.0)) / a
    return float(mean[0] / mean[1]), float(b / a - half), float(b / a + half)
