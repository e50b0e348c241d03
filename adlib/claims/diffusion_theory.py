"""Rules that calculate what the latent-diffusion paper states: Eqs. 5, 6, 8, 9, and sizes.

Calculations are for the two usual noise schedules, since the paper names none, and for data of unit
variance, Gaussian and independent: then the best possible network is known, E[noise | x_t] =
sqrt(1 - abar_t) x_t, and so is every variance along the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np

from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain

STEPS = 1000
PIXELS, LATENT = 32 * 32, 8 * 8 * 3
POSITIONS = PIXELS // (8 * 8)  # of an image for each of its latent


class DiffusionTheory(Rule):
    """Does a statement of the latent-diffusion paper's Section 3 hold?

    The checks are described where they are computed.
    """

    rule: Literal["diffusion_theory"]
    check: Literal["chain", "output", "end", "sizes", "cost"]
    start: int = 200

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer with the check that the row names."""
        return _CHECKS[self.check](self, evidence, tolerance)


@cache
def betas(schedule: str) -> np.ndarray:
    """Return the variances of Eq. 3, (1000,), float64: ``linear`` or ``scaled_linear``."""
    if schedule == "linear":
        return np.linspace(1e-4, 0.02, STEPS)
    return np.linspace(np.sqrt(0.0015), np.sqrt(0.0195), STEPS) ** 2


def kept(schedule: str) -> np.ndarray:
    """Return abar_t of Eq. 4, (1000,): the share of the variance that belongs to the image."""
    return np.cumprod(1 - betas(schedule))


def final_variance(schedule: str, start: int, printed: bool) -> float:
    """Return the variance at the end of the chain of Eq. 9, of unit variance at `start`.

    With the best network Eq. 7 is sqrt(1 - beta_t) x_t; noise is added at every index but 0, with
    variance beta_t (Eq. 6) or, as printed, beta_t^2.
    """
    variance = 1.0
    for index in range(start, -1, -1):
        beta = betas(schedule)[index]
        added = 0.0 if index == 0 else beta**2 if printed else beta
        variance = (1 - beta) * variance + added
    return variance


SCHEDULES = ("linear", "scaled_linear")


def _chain(rule: DiffusionTheory, evidence: Evidence, tolerance: float) -> Outcome:
    """Eq. 9 adds beta_t z where Eq. 6 has the variance beta_t, that is sqrt(beta_t) z."""
    whole = {s: final_variance(s, STEPS - 1, True) for s in SCHEDULES}
    part = {s: final_variance(s, rule.start, True) for s in SCHEDULES}
    right = final_variance("linear", STEPS - 1, False)
    holds = all(abs(value - 1) <= tolerance for value in whole.values())
    each = joined([f"{s} {whole[s]:.4f} and {part[s]:.2f}" for s in SCHEDULES])
    beta = betas("linear")
    return Outcome(
        Verdict.REPRODUCED if holds else Verdict.REFUTED,
        f"β z has the variance β², by a factor β less than the β of Eq. 6 ({plain(beta[0])} to "
        f"{plain(beta[-1])} with a linear schedule). Of the variance 1 of Gaussian data, with the "
        f"best possible network, √β z keeps {right:.3f} from pure noise to the end. β z keeps, "
        f"from pure noise and from t = {rule.start}: {each}. Of such data samples from noise "
        "all but end in the mean.",
        Effect(whole["linear"], "", sample="variance of a sample from noise, where 1 is right"),
    )


def _output(rule: DiffusionTheory, evidence: Evidence, tolerance: float) -> Outcome:
    """Eq. 8 is least for the conditional mean of the noise, which varies less than the noise."""
    variance = 1 - kept("linear")
    refuted = variance.min() < 1 - tolerance
    return Outcome(
        Verdict.REFUTED if refuted else Verdict.REPRODUCED,
        "Eq. 8 is least where the output is E[ε | x_t], a function of x_t. For Gaussian data of "
        f"variance 1 that output has the variance 1 − ᾱ_t: {plain(variance[0])} at the first "
        f"index, {variance[rule.start]:.2f} at {rule.start}, {variance[-1]:.2f} at the last "
        "(linear schedule); for no x_t is the output a distribution.",
        Effect(float(variance[rule.start]), "", sample=f"variance at t = {rule.start}, not 1"),
    )


def _end(rule: DiffusionTheory, evidence: Evidence, tolerance: float) -> Outcome:
    """Eq. 5 starts from N(0, I): what is left of the image after T = 1000 steps."""
    left = {s: float(np.sqrt(kept(s)[-1])) for s in SCHEDULES}
    holds = max(left.values()) <= tolerance
    each = joined([f"{s} {value:.4f}" for s, value in left.items()])
    return Outcome(
        Verdict.REPRODUCED if holds else Verdict.REFUTED,
        f"After {STEPS} steps the image is left with a factor of {each}.",
        Effect(max(left.values()), "", sample="factor of the image at T, the larger one"),
    )


def _sizes(rule: DiffusionTheory, evidence: Evidence, tolerance: float) -> Outcome:
    """32 x 32 x C pixels against 8 x 8 x 3 numbers."""
    factors = {"grey": PIXELS / LATENT, "colour": 3 * PIXELS / LATENT}
    return Outcome(
        Verdict.REPRODUCED if min(factors.values()) > 1 + tolerance else Verdict.REFUTED,
        f"{PIXELS} grey values or {3 * PIXELS} colour values become {LATENT} numbers: "
        f"{factors['grey']:.1f} and {factors['colour']:.0f} times fewer. Without the rim MNIST has "
        f"{28 * 28} values, {28 * 28 / LATENT:.1f} times as many.",
        Effect(factors["grey"], "times", sample="grey images"),
    )


def _cost(rule: DiffusionTheory, evidence: Evidence, tolerance: float) -> Outcome:
    """A convolution costs in proportion to its positions: 8 x 8 instead of 32 x 32 of them.

    What ``benchmarks/diffusion.py`` measured stands beside: a step in each space.
    """
    text = (
        f"The same convolutions on 8 x 8 instead of 32 x 32 positions cost {POSITIONS} times less, "
        f"attention between positions {POSITIONS**2} times less; the encoder runs once an image."
    )
    rows = evidence.benchmarks.get("diffusion", {}).get("spaces", [])
    measured = [
        f"{row['space']} ({row['preset']}, widths {row['widths']}) {plain(row['flops_ratio'])} "
        f"times the operations and {plain(row['time_ratio']['median'])} times the time"
        for row in rows
        if row["space"] != "latent"
    ]
    if measured:
        text += f" Measured, of a step in the latent space: {'; '.join(measured)}."
    return Outcome(
        Verdict.REPRODUCED,
        text,
        Effect(float(POSITIONS), "times", sample="multiplications of the same convolutions"),
    )


_CHECKS: dict[str, Callable[[DiffusionTheory, Evidence, float], Outcome]] = {
    "chain": _chain,
    "output": _output,
    "end": _end,
    "sizes": _sizes,
    "cost": _cost,
}
