"""Rules for the tables and the classifier of the latent-diffusion paper."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from adlib.claims.amounts import means_of
from adlib.claims.commands import commands
from adlib.claims.evidence import METRIC_NAMES, Evidence, Rule, RunText
from adlib.claims.sides import ALONE, FEW, UNDECIDED, contrast, counted, listed, standing
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain
from adlib.errors import InputError

CHANCE = 50.0  # percent AUROC


class Wins(Rule):
    """Is a run the best of several in as many categories as `claimed`?

    A category is lost as soon as one rival is not below; it is won when all rivals were run. Means
    over seeds; differences up to the tolerance are ties, which are not won. Reproduced: as many are
    won; partly: fewer, but at least half; not testable: what was not run could still change that.
    """

    rule: Literal["wins"]
    run: RunText
    rivals: list[RunText] = Field(min_length=1)
    claimed: int
    categories: list[str] = Field(min_length=1)
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the categories that are won, lost and open."""
        ours = self._means(evidence, self.run)
        theirs = pd.DataFrame({rival: self._means(evidence, rival) for rival in self.rivals})
        lost = (theirs.ge(ours - tolerance, axis=0)).any(axis=1) & ours.notna()
        won = ~lost & ours.notna() & theirs.notna().all(axis=1)
        unknown = len(ours) - int(won.sum()) - int(lost.sum())
        number = int(won.sum())
        effect = Effect(float(number), f"of {len(ours)} categories")
        text = f"`{self.run}` {self._sentence(won, lost, theirs, unknown)}"
        half = len(ours) / 2
        if any(number < needed <= number + unknown for needed in (half, self.claimed)):
            return Outcome(
                Verdict.NOT_TESTABLE,
                text if int(lost.sum()) + number else f"Not run: {text}",
                commands=self._commands(evidence),
            )
        verdict = Verdict.PARTLY if number >= half else Verdict.NOT_REPRODUCED
        verdict = Verdict.REPRODUCED if number >= self.claimed else verdict
        return Outcome(verdict, text, effect)

    def _means(self, evidence: Evidence, run: str) -> pd.Series:
        return means_of(evidence, run, "", self.metric).astype(float).reindex(self.categories)

    def _commands(self, evidence: Evidence) -> tuple[str, ...]:
        """Name what is missing, run by run; no categories where all of the data set are."""
        found = []
        for run in (self.run, *self.rivals):
            means = self._means(evidence, run)
            missing = tuple(means.index[means.isna()])
            every = set(missing) == set(evidence.whole("all"))
            if missing:
                found += commands([run], self.dataset, "", () if every else missing)
        return tuple(found)

    def _sentence(self, won: pd.Series, lost: pd.Series, theirs: pd.DataFrame, unknown: int) -> str:
        runs = ", ".join(
            f"`{rival}` in {int(theirs[rival].notna().sum())}" for rival in self.rivals
        )
        where = f" ({', '.join(won.index[won])})" if won.any() else ""
        return (
            f"has the best {METRIC_NAMES.get(self.metric, self.metric)} in {int(won.sum())} of "
            f"{len(won)} categories{where}, not in {int(lost.sum())}, and {unknown} are open; "
            f"claimed are {self.claimed}. Rivals were run: {runs}."
        )


class Alignments(Rule):
    """How many columns can a damaged row of a table have won, whatever the missing values were?

    The row's values stand in the note of its cells, in order, fewer than columns. Every way to
    place them in order is tried against the rivals whose rows are whole, and any assignment at all;
    a missing value is taken as won. Contradicted: no assignment at all allows as many as claimed;
    the order is what an extraction left, so it is told and not relied on.
    """

    rule: Literal["alignments"]
    where: str
    method: str
    rivals: list[str] = Field(min_length=1)
    claimed: int
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the best placement."""
        cells = evidence.cells(self.where, metric=self.metric)
        values = damaged_row(cells[cells["method"] == self.method])
        table = cells.pivot(index="category", columns="method", values="value")
        best = table[self.rivals].max(axis=1).sort_index().to_numpy()
        wins = wins_in_order(values, best)
        any_order = wins_in_any_order(values, best)
        most = max(wins.values())
        ways = sum(number >= self.claimed for number in wins.values())
        text = (
            f"{len(values)} values are left for {len(best)} columns. Kept in order they can be "
            f"placed in {len(wins)} ways; against {joined(self.rivals)} alone, a missing value "
            f"taken as a win, these win {min(wins.values())} to {most} columns, and {ways} of them "
            f"{'reaches' if ways == 1 else 'reach'} the stated {self.claimed}. Assigned freely the "
            f"values could win {any_order}"
        )
        effect = Effect(float(any_order), f"of {len(best)} columns at most")
        if any_order < self.claimed:
            return Outcome(Verdict.CONTRADICTED, f"{text}.", effect)
        return Outcome(Verdict.NOT_TESTABLE, f"Text and table can agree: {text}.", effect)


def damaged_row(cells: pd.DataFrame) -> np.ndarray:
    """Return the values that the note of a damaged row lists, in the order of the page."""
    found = re.search(r"\(([\d. ]+)\)", cells["note"].iloc[0]) if len(cells) else None
    if found is None:
        raise InputError(
            "the note of a damaged row in reported.csv must list its values in parentheses, found "
            "none; correct the file or the ledger"
        )
    return np.array([float(word) for word in found.group(1).split()])


def wins_in_order(values: np.ndarray, best: np.ndarray) -> dict[tuple[int, ...], int]:
    """Count the columns that values above `best` win, for each choice of the columns they miss."""
    columns = np.arange(len(best))
    lacking = len(best) - len(values)
    return {
        gaps: int((values > np.delete(best, gaps)).sum()) + lacking
        for gaps in combinations(columns.tolist(), lacking)
    }


def wins_in_any_order(values: np.ndarray, best: np.ndarray) -> int:
    """Count the columns that the best assignment of the values wins, missing ones included.

    Greedy is best here: the largest bar that a value passes is the one to spend it on.
    """
    bars, won = sorted(best), 0
    for value in sorted(values, reverse=True):
        lower = [bar for bar in bars if bar < value]
        if lower:
            bars.remove(lower[-1])
            won += 1
    return won + len(best) - len(values)


class TableBest(Rule):
    """Is a method the best of its table in every column, as the text says?"""

    rule: Literal["table_best"]
    where: str
    method: str
    metric: str = "image_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the printed columns; equal numbers are not better."""
        cells = evidence.cells(self.where, metric=self.metric)
        table = cells.pivot(index="category", columns="method", values="value")
        others = table.drop(columns=self.method)
        gains = (table[self.method] - others.max(axis=1)).round(10)
        behind = gains[gains <= tolerance]
        effect = Effect(float(gains.min()), "points", sample="the least printed lead")
        text = f"{len(gains) - len(behind)} of {len(gains)} columns have {self.method} ahead"
        if behind.empty:
            return Outcome(Verdict.NOT_TESTABLE, f"Text and table agree: {text}.", effect)
        each = joined(
            [
                f"{name} has {table.loc[name, self.method]:.1f}, where "
                + ", ".join(f"{method} has {value:.1f}" for method, value in row.items())
                for name, row in others.loc[behind.index].iterrows()
            ]
        )
        return Outcome(Verdict.CONTRADICTED, f"{text}; {each}.", effect)


class ClassCeiling(Rule):
    """Do the training pairs make the classifier compare classes?

    A sample from noise shows each of `classes` equally often, so one pair in `classes` that is
    labelled different shows the same class twice: a classifier that knows nothing but classes
    separates the pairs with an AUROC of at most 1 - 1/(2 classes), and only if every reconstruction
    keeps its class. Reproduced: held-out pairs are separated no better than that, give or take the
    tolerance, and the score on test images lies above chance with its interval over categories.
    Partly: the latter alone, or pairs as they should be and a score above chance in the mean. Not
    testable: a single category.
    """

    rule: Literal["class_ceiling"]
    run: RunText
    classes: int = Field(ge=2)

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from held-out pairs and from the test images."""
        pairs, images = (
            means_of(evidence, self.run, "", column).astype(float)
            for column in ("pair_auroc", "image_auroc")
        )
        if pairs.empty or images.empty:
            return Outcome(
                Verdict.NOT_TESTABLE,
                f"Not run: no record of `{self.run}` on `{self.dataset}`; {self._ceiling()}",
                commands=commands([self.run], self.dataset, ""),
            )
        found = contrast(images - CHANCE)
        beyond = pairs > self.ceiling + tolerance
        verdict, why, more = standing(found, tolerance), "", ()
        if beyond.any() and len(images) >= FEW:
            verdict = Verdict.PARTLY if found.low > 0 else Verdict.NOT_REPRODUCED
        if verdict is Verdict.NOT_TESTABLE:
            why = f" {ALONE if len(images) < FEW else UNDECIDED}"
            more = commands([self.run], self.dataset, "")
        return Outcome(
            verdict,
            f"Held-out pairs are told apart with an AUROC of {pairs.mean():.1f} % (mean of "
            f"{counted(len(pairs))}, least {pairs.min():.1f}), above the bound in "
            f"{int(beyond.sum())}; {self._ceiling()} On test images the score minus "
            f"{plain(CHANCE)} is {found.effect('points')}, by category "
            f"{listed(found.by_category)}.{why}",
            found.effect("points"),
            more,
            p_value=None if np.isnan(found.p_value) else found.p_value,
        )

    @property
    def ceiling(self) -> float:
        """The largest AUROC on pairs that classes alone allow, in percent."""
        return 100 * (1 - 1 / (2 * self.classes))

    def _ceiling(self) -> str:
        return (
            f"with {self.classes} normal classes knowledge of classes alone allows at most "
            f"{self.ceiling:.1f} %, since one negative in {self.classes} shows the same class."
        )
