"""Rules on the studies of the pair classifier in ``results/studies/``.

``adlib.study.ldm_pairs`` trains the classifier on other pairs, all else being the same;
``adlib.study.ldm_classes`` looks at reconstructions and samples with labels from outside. A digit
counts once, with its mean over seeds; AUROCs and shares are in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from adlib.claims.evidence import Evidence, Rule
from adlib.claims.sides import (
    ALONE,
    DROWNED,
    FEW,
    UNDECIDED,
    Contrast,
    Side,
    alike,
    contrast,
    counted,
    listed,
    room,
    standing,
)
from adlib.claims.verdict import Effect, Outcome, Verdict, plain
from adlib.datasets.classes import one_each

PAPER = "noise"  # the variant that the paper describes
CHANCE = 50.0


class _Study(Rule):
    """The studies of a kind, on a data set and of a preset."""

    kind: Literal["pairs", "classes"]
    preset: str = "small"

    def chosen(self, evidence: Evidence) -> list[dict[str, Any]]:
        """Return the studies that are asked for."""
        return [
            study
            for study in evidence.studies.get(self.kind, [])
            if (study["dataset"], study["preset"]) == (self.dataset, self.preset)
        ]

    def outcome(
        self, verdict: Verdict, text: str, found: Contrast, why: str = UNDECIDED
    ) -> Outcome:
        """Answer; where nothing is decided, why, and with the command for another category."""
        there = found.by_category.index
        p_value = None if np.isnan(found.p_value) else found.p_value
        commands: tuple[str, ...] = ()
        if verdict is Verdict.NOT_TESTABLE and len(there) >= FEW:
            text, commands = f"{text} {why}", self.commands(there)
        answer = Outcome(verdict, text, found.effect("points"), commands, p_value)
        return self.few(there, answer)

    def few(self, there: Collection[str], found: Outcome) -> Outcome:
        """Withdraw a verdict that rests on one category."""
        if len(there) >= FEW:
            return found
        return found._replace(
            verdict=Verdict.NOT_TESTABLE,
            evidence=f"{found.evidence} {ALONE}",
            commands=self.commands(there),
        )

    def not_run(self) -> Outcome:
        """Answer that there is no such study, with the command that makes one."""
        return Outcome(
            Verdict.NOT_TESTABLE,
            f"Not run: no `results/studies/ldm_{self.kind}-{self.dataset}-0-{self.preset}-seed0."
            "json`, or not all of it.",
            commands=self.commands(()),
        )

    def commands(self, there: Collection[str]) -> tuple[str, ...]:
        """Return what runs the study on the first digit that is not there, if one is not."""
        preset = "" if self.preset == "small" else f" --preset {self.preset}"
        digit = next((name for name in one_each() if name not in there), None)
        if digit is None:
            return ()
        where = f"--dataset {self.dataset} --root DIR --category {digit}{preset}"
        return (f"python -m adlib.study.ldm_{self.kind} {where}",)


class PairStudy(_Study):
    """Does the classifier detect better with other pairs than with the paper's?

    The verdict is that of ``across``, on differences of the image AUROC at `start`; with `alike`
    that of ``near``: it should not matter. With `chance` it is compared with 50 % instead, and
    with `less` the score is what the logit of image and reconstruction exceeds that of the image
    with itself. Digits named by `without` are left out: those that the claim was made from.
    """

    rule: Literal["pair_study"]
    kind: Literal["pairs"] = "pairs"
    variant: str
    start: int = 200
    alike: bool = False
    chance: bool = False
    less: bool = False
    without: list[str] = Field(default_factory=list)

    @property
    def expects_zero(self) -> bool:
        """Whether a difference in either direction speaks against the claim."""
        return self.alike

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from one difference a digit."""
        ours = self._auroc(evidence, self.variant, "less_itself" if self.less else "auroc")
        theirs = self._auroc(evidence, PAPER)
        if self.chance:
            theirs = pd.Series(CHANCE, ours.index)
        values = (ours - theirs).dropna().drop(self.without, errors="ignore")
        if values.empty:
            return self.not_run()
        found, allowed, why = contrast(values), tolerance, ""
        if self.alike:
            allowed, why = room(evidence, Side(run="latent_diffusion"), tolerance)
        levels = ", ".join(
            f"{name} {ours[name]:.1f} against {theirs[name]:.1f}" for name in values.index
        )
        less = " of the logit less that of the image with itself" if self.less else ""
        other = "chance" if self.chance else "that with the paper's pairs"
        return self.outcome(
            alike(values, tolerance, allowed) if self.alike else standing(found, tolerance),
            f"Image AUROC{less} at t = {self.start} with *{self.variant}* minus "
            f"{other}: "
            f"{found.effect('points')}; by digit {levels}{why}; the mean is "
            f"{ours[values.index].mean():.1f} %, where chance is {plain(CHANCE)}.",
            found,
            DROWNED if self.alike else UNDECIDED,
        )

    def _auroc(self, evidence: Evidence, variant: str, column: str = "auroc") -> pd.Series:
        return by_category(
            self.chosen(evidence),
            lambda study: 100 * study["variants"][variant][column][str(self.start)],
        )


class ClassStudy(_Study):
    """What do labels from outside say about reconstructions, samples and pairs?

    The checks are described where they are computed.
    """

    rule: Literal["class_study"]
    kind: Literal["classes"] = "classes"
    check: Literal["kept", "lost", "negatives", "labels"]
    start: int = 200

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer with the check that the row names."""
        found = self.chosen(evidence)
        return _CHECKS[self.check](self, found, tolerance) if found else self.not_run()


def _kept(rule: ClassStudy, studies: list[dict[str, Any]], tolerance: float) -> Outcome:
    """Normal images keep their class up to `start`, and lose it from there to the last start.

    Reproduced: a loss up to the tolerance before, a larger one after; partly: one of the two; not
    testable: a single digit.
    """
    starts = sorted(map(int, studies[0]["kept"]))
    kept = {
        t: by_category(studies, lambda study, t=t: 100 * study["kept"][str(t)]["normal"]).mean()
        for t in starts
    }
    before, after = kept[0] - kept[rule.start], kept[rule.start] - kept[starts[-1]]
    holds = int(before <= tolerance) + int(after > tolerance)
    verdict = [Verdict.NOT_REPRODUCED, Verdict.PARTLY, Verdict.REPRODUCED][holds]
    digits = sorted({study["category"] for study in studies})
    each = ", ".join(f"{t}: {share:.1f}" for t, share in kept.items())
    return rule.few(
        digits,
        Outcome(
            verdict,
            f"Share of normal images whose reconstruction a classifier with labels takes for the "
            f"same class, in percent by t: {each} (mean of {counted(len(digits))}).",
            Effect(before, "points", sample=f"lost from t = 0 to {rule.start}"),
        ),
    )


def _lost(rule: ClassStudy, studies: list[dict[str, Any]], tolerance: float) -> Outcome:
    """Anomalous images lose their class up to `start`, more than normal images do.

    Judged as by ``across``, on the loss of anomalous minus that of normal images from t = 0.
    """

    def loss(study: dict[str, Any], kind: str) -> float:
        kept = study["kept"]
        return 100 * (kept["0"][kind] - kept[str(rule.start)][kind])

    lost = {
        kind: by_category(studies, lambda study, kind=kind: loss(study, kind))
        for kind in ("anomalous", "normal")
    }
    values = lost["anomalous"] - lost["normal"]
    found = contrast(values)
    each = "; ".join(
        f"{kind} {', '.join(f'{n} {v:.1f}' for n, v in loss.items())}"
        for kind, loss in lost.items()
    )
    return rule.outcome(
        standing(found, tolerance),
        f"Share of images whose reconstruction loses their class from t = 0 to {rule.start}, as a "
        f"classifier with labels sees it, anomalous minus normal: {found.effect('points')}; in "
        f"percent by held-out digit: {each}.",
        found,
    )


def _negatives(rule: ClassStudy, studies: list[dict[str, Any]], tolerance: float) -> Outcome:
    """Reproduced: at most a share of `tolerance` percent of the negatives shows the same class.

    Not testable otherwise: the labeller has to choose a class, so samples that show nothing would
    give the share of pairs at random too.
    """
    share, chance = (
        by_category(studies, lambda study, name=name: 100 * study[name])
        for name in ("same_class", "expected_same_class")
    )
    good = share.mean() <= tolerance
    return rule.few(
        share.index,
        Outcome(
            Verdict.REPRODUCED if good else Verdict.NOT_TESTABLE,
            f"{share.mean():.1f} % of the samples from noise show the class of the image they are "
            f"paired with, as a classifier with labels sees it; {chance.mean():.1f} % are expected "
            "of pairs at random, and of samples that show no digit too, since the labeller has to "
            f"choose one: it cannot tell. By digit: "
            f"{', '.join(f'{n} {v:.1f}' for n, v in share.items())}.",
            Effect(float(share.mean()), "% of the negatives", sample=counted(len(share))),
        ),
    )


def _labels(rule: ClassStudy, studies: list[dict[str, Any]], tolerance: float) -> Outcome:
    """Pairs made with labels: the same class, or another one. Judged as by ``across``."""
    means = {
        variant: by_category(
            studies, lambda study, v=variant: 100 * study["auroc"][v][str(rule.start)]
        )
        for variant in studies[0]["auroc"]
    }
    values = means["same class"] - CHANCE
    found = contrast(values)
    each = ", ".join(f"*{name}* {value.mean():.1f}" for name, value in means.items())
    return rule.outcome(
        standing(found, tolerance),
        f"Image AUROC at t = {rule.start} by the pairs, mean of {counted(len(values))}: {each}. "
        f"With *same class* minus {plain(CHANCE)}, by digit {listed(values)}.",
        found,
    )


_CHECKS: dict[str, Callable[[ClassStudy, list[dict[str, Any]], float], Outcome]] = {
    "kept": _kept,
    "lost": _lost,
    "negatives": _negatives,
    "labels": _labels,
}


def by_category(
    studies: list[dict[str, Any]], number: Callable[[dict[str, Any]], float]
) -> pd.Series:
    """Return a number of each study, mean over seeds; studies that lack it are left out."""
    found = []
    for study in studies:
        try:
            found.append((study["category"], float(number(study))))
        except KeyError:
            continue
    table = pd.DataFrame(found, columns=["category", "value"])
    return table.groupby("category")["value"].mean().astype(float)
