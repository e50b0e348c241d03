"""Rules about choices: does the cheap one keep up, is the chosen one the best, and how often?

Every comparison is paired over the seeds and categories that both sides have (``report.paired``).
Differences are percentage points of the metric, intervals 95 %, and not corrected for the number of
comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from pydantic import Field

from adlib import report
from adlib.claims.evidence import METRIC_NAMES, Evidence, Rule, RunText, effect_of
from adlib.claims.verdict import Outcome, Verdict, joined, plain, signed


class Keeps(Rule):
    """Does the run `kept` lose at most the tolerance against `full`?

    Reproduced: the interval of kept - full excludes a larger loss. Not reproduced: all of it lies
    below. To be better is no loss.
    """

    rule: Literal["keeps"]
    kept: RunText
    full: RunText
    backbone: str
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the paired difference."""
        found = evidence.paired(self.kept, self.full, self.backbone, self.metric)
        if found is None:
            return evidence.not_run(self.backbone, self.kept, self.full)
        verdict = Verdict.PARTLY
        if found.low >= -tolerance:
            verdict = Verdict.REPRODUCED
        elif found.high < -tolerance:
            verdict = Verdict.NOT_REPRODUCED
        return Outcome(
            verdict,
            f"`{self.kept}` minus `{self.full}`: {effect_of(found)}; by category "
            f"{_by_category(found)}; a loss up to {plain(tolerance)} points counts as none.",
            effect_of(found),
        )


class BestOf(Rule):
    """Is `best` the best of a list?

    Reproduced: the interval of its difference from each of the `others` lies above 0. Not
    reproduced: one of them lies ahead with its interval. Partly: some cannot be told apart.
    """

    rule: Literal["best_of"]
    best: RunText
    others: list[RunText] = Field(min_length=1)
    backbone: str
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one paired difference each; all of the list must have been run."""
        found = {
            run: evidence.paired(self.best, run, self.backbone, self.metric) for run in self.others
        }
        missing = [run for run, pair in found.items() if pair is None]
        if missing:
            return evidence.not_run(self.backbone, self.best, *missing)
        verdict = Verdict.PARTLY
        if all(pair.low > 0 for pair in found.values()):
            verdict = Verdict.REPRODUCED
        elif any(pair.high < 0 for pair in found.values()):
            verdict = Verdict.NOT_REPRODUCED
        closest = min(found, key=lambda run: found[run].mean)
        each = ", ".join(
            f"{_apart(run, self.best)} {_interval(pair)}" for run, pair in found.items()
        )
        return Outcome(
            verdict,
            f"{METRIC_NAMES.get(self.metric, self.metric)} with {_apart(self.best, closest)} minus "
            f"that with each of the others: {each}.",
            effect_of(found[closest])._replace(
                sample=f"against {_apart(closest, self.best)}, {effect_of(found[closest]).sample}"
            ),
        )


class Dominates(Rule):
    """Is `better` ahead of `worse` at each of the `values` that stand for {x} in both?

    Reproduced: with its interval at each value. Partly: with its interval at some value, and
    nowhere behind with it. What was not run is named and leaves at most *partly*.
    """

    rule: Literal["dominates"]
    better: RunText
    worse: RunText
    values: list[float] = Field(min_length=1)
    backbone: str
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one paired difference a value."""
        runs = {value: (_at(self.better, value), _at(self.worse, value)) for value in self.values}
        pairs = {
            value: evidence.paired(*both, self.backbone, self.metric)
            for value, both in runs.items()
        }
        found = {value: pair for value, pair in pairs.items() if pair is not None}
        open_runs = [run for value in runs if value not in found for run in runs[value]]
        missing = evidence.not_run(self.backbone, *open_runs) if open_runs else None
        if not found:
            return missing
        ahead = [value for value, pair in found.items() if pair.low > 0]
        behind = [value for value, pair in found.items() if pair.high < 0]
        verdict = Verdict.NOT_REPRODUCED
        if ahead and not behind:
            verdict = Verdict.REPRODUCED if len(ahead) == len(runs) else Verdict.PARTLY
        least = min(found, key=lambda value: found[value].mean)
        each = ", ".join(f"{plain(value)}: {_interval(pair)}" for value, pair in found.items())
        text = f"Ahead, with the interval, at {len(ahead)} of {len(runs)} values; by value {each}"
        if behind:
            text += f"; behind at {joined([*map(plain, behind)])}"
        if missing:
            text += f". {missing.evidence.removesuffix('.')}"
        shown = effect_of(found[least])
        shown = shown._replace(sample=f"least, at {plain(least)}, {shown.sample}")
        return Outcome(verdict, f"{text}.", shown, missing.commands if missing else ())


class Somewhere(Rule):
    """Is `better` ahead of `worse` at some of the `values` that stand for {x}, in joint metrics?

    The mean of the `metrics` is compared. Reproduced: ahead with the interval at some value.
    Partly: ahead on average only. The best of several values is chosen: its interval is narrow.
    """

    rule: Literal["somewhere"]
    better: RunText
    worse: RunText
    values: list[float] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    backbone: str

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one paired difference a value."""
        runs = {value: _at(self.better, value) for value in self.values}
        worse = self._joint(evidence, self.worse)
        pairs = {
            value: report.paired(self._joint(evidence, run), worse) for value, run in runs.items()
        }
        found = {value: pair for value, pair in pairs.items() if pair is not None}
        if not found:
            return evidence.not_run(self.backbone, *runs.values(), self.worse)
        most = max(found, key=lambda value: found[value].mean)
        verdict = Verdict.PARTLY if found[most].mean > tolerance else Verdict.NOT_REPRODUCED
        if any(pair.low > tolerance for pair in found.values()):
            verdict = Verdict.REPRODUCED
        each = ", ".join(f"{plain(value)}: {_interval(pair)}" for value, pair in found.items())
        names = joined([METRIC_NAMES.get(metric, metric) for metric in self.metrics])
        shown = effect_of(found[most])
        return Outcome(
            verdict,
            f"Mean of {names}, difference from `{self.worse}` at {each}.",
            shown._replace(sample=f"most, at {plain(most)}, {shown.sample}"),
        )

    def _joint(self, evidence: Evidence, run: str) -> pd.DataFrame:
        each = [evidence.values(run, self.backbone, metric) for metric in self.metrics]
        both = pd.concat(each).groupby(["category", "seed"])["value"]
        whole = both.mean()[both.count() == len(self.metrics)]
        return whole.astype(float).reset_index()


def _at(run: str, value: float) -> str:
    return run.format(x=int(value) if float(value).is_integer() else value)


def _apart(run: str, other: str) -> str:
    """Name a run by what tells it from another one."""
    given = [word for word in run.split() if word not in other.split()]
    return f"`{' '.join(given)}`" if given else "the defaults"


def _interval(found: report.Paired) -> str:
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def _by_category(found: report.Paired) -> str:
    pairs: Sequence[tuple[str, float]] = found.by_category[["category", "difference"]].to_numpy()
    return ", ".join(f"{name} {signed(value)}" for name, value in pairs)
