"""What the rules look at: records and printed numbers, in percent."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from adlib import records, report
from adlib.claims.commands import commands
from adlib.claims.verdict import RATIO, Effect, Outcome, Verdict, joined
from adlib.datasets import cifar10, classes, magnetic_tile, mnist, mstc, mvtec_ad
from adlib.errors import InputError
from adlib.study import bench_report, study_files

COUNTS = {"f1_misclassified": "images"}  # columns that count: shown in their own unit, not percent
PERCENT = ("pair_auroc", "pair_accuracy")  # beside the metrics: fractions, shown in percent
METRIC_NAMES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
NAMED = 2  # missing runs that a sentence names
SCENES = [f"{number:02}" for number in range(1, 13)]  # of mSTC
WHOLE = ("mean", "sum", "all")  # what papers print in place of a category


def _known_run(text: str) -> str:
    """Refuse a run that no method would accept; a name in braces stands for a number."""
    report.read_run(re.sub(r"\{\w+\}", "1", text))
    return text


RunText = Annotated[str, AfterValidator(_known_run)]


class Rule(BaseModel):
    """A kind of question; its fields are the arguments that a row of the ledger gives.

    `expects_zero`: a difference from 0 in either direction speaks against the claim; otherwise one
    above 0 speaks for it. `dataset` is the one whose records are looked at.
    """

    expects_zero: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Literal["mvtec_ad", "magnetic_tile", "mstc", "mnist", "cifar10"] = "mvtec_ad"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the evidence."""
        raise NotImplementedError


@dataclass(frozen=True)
class Evidence:
    """Records, and what the papers print.

    Attributes
    ----------
    runs : DataFrame
        ``records.table()``, of all data sets.
    printed : DataFrame
        ``report.reported()``.
    dataset : str
        The data set whose records every question below is about.
    benchmarks : dict
        ``bench_report.measurements()``.
    studies : dict
        ``pairs`` and ``classes``: what ``adlib.study.ldm_pairs`` and ``ldm_classes`` wrote.
    """

    runs: pd.DataFrame
    printed: pd.DataFrame
    dataset: str = "mvtec_ad"
    benchmarks: dict[str, Any] = field(default_factory=dict)
    studies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, results: Path | str = "results", dataset: str = "mvtec_ad") -> Evidence:
        """Read everything below a results folder."""

        runs, printed = records.table(results), report.reported(results)
        found = {kind: study_files.read_all(results, kind) for kind in study_files.PARTS}
        return cls(runs, printed, dataset, bench_report.measurements(results), found)

    def on(self, dataset: str) -> Evidence:
        """Return the same evidence, looked at on another data set."""
        return self if dataset == self.dataset else dataclasses.replace(self, dataset=dataset)

    @cached_property
    def here(self) -> pd.DataFrame:
        """The records of this data set; of the tiles, of the splits that the paper describes."""
        if self.runs.empty:
            return self.runs
        found = self.runs[self.runs["dataset"] == self.dataset]
        if self.dataset == magnetic_tile.NAME:
            found = found[found["category"].isin(categories_of(self.dataset))]
        return found

    @cached_property
    def _selected(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {}

    def select(self, run: str, backbone: str) -> pd.DataFrame:
        """Return the records here that answer a text; the claims ask for the same ones often."""
        from adlib.evaluate import reads_images  # late: it imports torch

        if (run, backbone) not in self._selected:
            here, method = self.here, run.split()[0]
            # a method that reads images has no backbone to choose
            network = None if reads_images(method) else backbone
            if len(here):
                here = here[here["method"] == method]
            self._selected[run, backbone] = report.select(here, run, network)
        return self._selected[run, backbone]

    def whole(self, category: str) -> list[str]:
        """Return the categories behind a printed one: all of them for a mean, a sum or ``all``."""
        if category in WHOLE:
            return categories_of(self.dataset)
        return [report.own_category(self.dataset, category)]

    def values(self, run: str, backbone: str, column: str) -> pd.DataFrame:
        """Return ``category``, ``seed``, ``value`` of the runs that answer a text.

        Metrics come in percent, everything else as recorded. A run without a seed has seed -1.
        """
        chosen = self.select(run, backbone)
        if chosen.empty or column not in chosen:
            return pd.DataFrame(columns=["category", "seed", "value"])
        scale = 100 if in_percent(column) else 1
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
        if self.dataset in report.SIZED:  # papers number their tables alike
            rows = rows[rows["dataset"] == self.dataset]
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
        """Answer that what would decide was not run; names runs that are missing."""
        empty = [run for run in runs if self.select(run, backbone).empty]
        missing = list(dict.fromkeys(empty or runs))
        shown = [f"`{run}`" for run in missing[:NAMED]]
        shown += [f"{len(missing) - NAMED} more"] if len(missing) > NAMED else []
        what = joined(shown)
        lack = f"no record of {what}" if empty else f"fewer than two common seeds of {what}"
        reason = f"{why}; " if why else ""
        return Outcome(
            Verdict.NOT_TESTABLE,
            f"Not run: {reason}{lack} on `{backbone or self.dataset}`.",
            commands=commands(missing, self.dataset, backbone),
        )


def categories_of(dataset: str) -> list[str]:
    """Return the categories of a published data set, in their order."""
    return {
        mvtec_ad.NAME: list(mvtec_ad.OFFICIAL_COUNTS),
        magnetic_tile.NAME: list(magnetic_tile.SPLITS),
        mstc.NAME: SCENES,
        mnist.NAME: classes.one_each(),
        cifar10.NAME: [name for reading in cifar10.READINGS.values() for name in reading],
    }[dataset]


def in_percent(column: str) -> bool:
    """Tell whether a column holds fractions that are shown in percent."""
    return column in (*report.METRICS, *PERCENT) or column.startswith("auroc_")


def unit_of(column: str) -> str:
    """Return the unit of a difference in a column: points, unless it counts or is a ratio."""
    return COUNTS.get(column, RATIO if column.startswith("ratio_") else "points")


def effect_of(found: report.Paired, unit: str = "points") -> Effect:
    """Return a paired difference as an effect."""
    return Effect(found.mean, unit, found.low, found.high, sample_of(found))


def sample_of(found: report.Paired) -> str:
    """Write what a paired comparison was over."""
    return f"{found.n_seeds} seeds × {_count(found.n_categories, 'category', 'categories')}"


def _count(number: Any, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
