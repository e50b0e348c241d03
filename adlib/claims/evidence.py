"""What the rules look at: records and printed numbers, in percent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from adlib import bench_report, records, report
from adlib.claims.verdict import Effect, Outcome, Verdict
from adlib.errors import InputError

SEEDS = "0-9"


def _known_run(text: str) -> str:
    """Refuse a run that no method would accept; ``{dim}`` stands for a number."""
    report.read_run(text.replace("{dim}", "1"))
    return text


RunText = Annotated[str, AfterValidator(_known_run)]


class Rule(BaseModel):
    """A kind of question; its fields are the arguments that a row of the ledger gives.

    `expects_zero`: a difference from 0 in either direction speaks against the claim; otherwise one
    above 0 speaks for it.
    """

    expects_zero: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", frozen=True)

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the evidence."""
        raise NotImplementedError


@dataclass(frozen=True)
class Evidence:
    """Records of one data set, and what the papers print.

    Attributes
    ----------
    runs : DataFrame
        ``records.table()``.
    printed : DataFrame
        ``report.reported()``.
    dataset : str
    benchmarks : dict
        ``bench_report.measurements()``.
    """

    runs: pd.DataFrame
    printed: pd.DataFrame
    dataset: str = "mvtec_ad"
    benchmarks: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, results: Path | str = "results", dataset: str = "mvtec_ad") -> Evidence:
        """Read everything below a results folder."""
        runs = records.table(results)
        if not runs.empty:
            runs = runs[runs["dataset"] == dataset]
        return cls(runs, report.reported(results), dataset, bench_report.measurements(results))

    def values(self, run: str, backbone: str, column: str) -> pd.DataFrame:
        """Return ``category``, ``seed``, ``value`` of the runs that answer a text.

        Metrics come in percent, everything else as recorded. A run without a seed has seed -1.
        """
        chosen = report.select(self.runs, run, backbone)
        if chosen.empty or column not in chosen:
            return pd.DataFrame(columns=["category", "seed", "value"])
        scale = 100 if column in report.METRICS else 1
        chosen = chosen.dropna(subset=[column])
        chosen = chosen.assign(value=chosen[column] * scale, seed=chosen["seed"].fillna(-1))
        return chosen[["category", "seed", "value"]]

    def paired(self, a: str, b: str, backbone: str, column: str) -> report.Paired | None:
        """Compare two runs over the categories and seeds that both have; None without two seeds."""
        left, right = self.values(a, backbone, column), self.values(b, backbone, column)
        if left.empty or right.empty:
            return None
        if (left["seed"] >= 0).all() and (right["seed"] >= 0).all():
            # else one seed of a side would stand for all seeds of the other
            left = left[left["seed"].isin(right["seed"])]
            right = right[right["seed"].isin(left["seed"])]
        if left.empty:
            return None
        return report.paired(left, right)

    def cells(
        self, where: str, backbone: str | None = None, metric: str | None = None
    ) -> pd.DataFrame:
        """Return what the papers print at a place, a row a cell."""
        rows = self.printed[(self.printed["source"] == "paper") & (self.printed["where"] == where)]
        for name, value in (("backbone", backbone), ("metric", metric)):
            rows = rows[rows[name] == value] if value else rows
        if rows.empty:
            raise InputError(
                f"reported.csv must hold what a claim refers to, found nothing at {where!r} "
                f"for {backbone or 'any backbone'} and {metric or 'any metric'}; correct the ledger"
            )
        return rows

    def gains(self, where: str, better: str, worse: str, backbone: str, metric: str) -> pd.Series:
        """Return the printed differences of two methods, by category."""
        cells = self.cells(where, backbone, metric).pivot(
            index="category", columns="method", values="value"
        )
        return (cells[better] - cells[worse]).round(10)

    def not_run(self, backbone: str, *runs: str, why: str = "") -> Outcome:
        """Answer that what would decide was not run; names each run that is missing."""
        empty = [run for run in runs if report.select(self.runs, run, backbone).empty]
        what = " and ".join(f"`{run}`" for run in empty or runs)
        lack = f"no record of {what}" if empty else f"fewer than two common seeds of {what}"
        reason = f"{why}; " if why else ""
        commands = tuple(command(run, self.dataset, backbone) for run in empty or runs)
        return Outcome(
            Verdict.NOT_TESTABLE, f"Not run: {reason}{lack} on `{backbone}`.", commands=commands
        )


def command(run: str, dataset: str, backbone: str, categories: tuple[str, ...] = ()) -> str:
    """Return the command that makes the runs of a text, of all categories unless some are named."""
    method, *settings = run.split()
    parts = ["adlib evaluate", method, f"--dataset {dataset} --root DIR"]
    parts += [f"--category {name}" for name in categories]
    parts += [f"--backbone {backbone}", *(f"--set {setting}" for setting in settings)]
    return " ".join([*parts, f"--seed {SEEDS}"])


def effect_of(found: report.Paired) -> Effect:
    """Return a paired difference as an effect."""
    return Effect(found.mean, "points", found.low, found.high, sample_of(found))


def sample_of(found: report.Paired) -> str:
    """Write what a paired comparison was over."""
    return f"{found.n_seeds} seeds × {_count(found.n_categories, 'category', 'categories')}"


def _count(number: Any, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
