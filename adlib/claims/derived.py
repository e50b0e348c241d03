"""Rules that calculate: sizes of models and networks, and the report's theory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np

from adlib import theory
from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain

FLOAT_BYTES = 4
_DRAWS = 50


class ModelSize(Rule):
    """Does the fitted model, a covariance a position, shrink by the factor `claimed`?

    Reproduced: by at least 1 - `tolerance` of it.
    """

    rule: Literal["model_size"]
    large: int
    small: int
    positions: int
    claimed: float

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer by arithmetic: m means and m^2 covariances a position, in float32."""
        large, small = (
            self.positions * (dim + dim**2) * FLOAT_BYTES / 1e9 for dim in (self.large, self.small)
        )
        factor = large / small
        enough = factor >= (1 - tolerance) * self.claimed
        verdict = Verdict.REPRODUCED if enough else Verdict.NOT_REPRODUCED
        return Outcome(
            verdict,
            f"Means and covariances of {self.positions} positions take {large:.2f} GB with "
            f"{self.large} dimensions and {small:.2f} GB with {self.small}, {plain(factor)}× less; "
            f"the kept features shrink {plain(self.large / self.small)}×, the network not at all.",
            Effect(factor, "times"),
        )


class StageWidths(Rule):
    """Do any stages of a network add up to `claimed` channels, of which `kept` are used?"""

    rule: Literal["stage_widths"]
    backbone: str
    claimed: int
    kept: int

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the widths of the network itself."""
        from adlib.backbones import ARCHITECTURES  # late: it imports torch

        widths = stage_widths(self.backbone)
        sums = {
            sum(chosen)
            for count in range(1, len(widths) + 1)
            for chosen in combinations(widths.values(), count)
        }
        used = sum(widths[level] for level in ARCHITECTURES[self.backbone].levels)
        verdict = Verdict.REPRODUCED if self.claimed in sums else Verdict.REFUTED
        return Outcome(
            verdict,
            f"The stages have {joined([*map(str, widths.values())])} channels, all together "
            f"{max(sums)}; those that PaDiM uses have {used}, of which {self.kept} are "
            f"{self.kept / used:.0%} (of {self.claimed}: {self.kept / self.claimed:.0%}).",
            Effect(used, f"channels, not {self.claimed}" if used != self.claimed else "channels"),
        )


@cache
def stage_widths(backbone: str) -> dict[str, int]:
    """Return the channels of every stage of a network; shapes only, no weights and no numbers."""
    import torch

    from adlib import backbones

    architecture = backbones.ARCHITECTURES[backbone]
    with torch.device("meta"):
        network = architecture.build().eval()
        nodes = {node: level for level, node in architecture.nodes.items()}
        extractor = backbones.create_feature_extractor(network, nodes)
        levels = extractor(torch.empty(1, 3, 64, 64))
    return {name: level.shape[1] for name, level in levels.items()}


class Theory(Rule):
    """Does a statement of the report's Section 3 or 4.3 hold?

    Parameters of the argument: `gap` is k of Eq. 12; `dim` and `channels` are m and D.
    """

    rule: Literal["theory"]
    check: Literal["length_ratio", "isometry", "lower_bound"]
    gap: float = 0.1
    dim: int = 100
    channels: int = 448
    backbone: str = "resnet18"
    metric: str = "pixel_auroc"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer with the check that the row names."""
        return _CHECKS[self.check](self, evidence, tolerance)


def _length_ratio(rule: Theory, evidence: Evidence, tolerance: float) -> Outcome:
    """Eq. 12 enters Eq. 13 as the performance on a pair: at least that of guessing, 1/2."""
    eps = np.linspace(rule.gap, 1, 1001)[1:]
    ratio = theory.length_ratio(eps, rule.gap)
    ordered = theory.order_probability(eps, rule.gap)
    worst = int((ordered - ratio).argmax())
    holds = bool(np.all(np.abs(ordered - ratio) <= tolerance))
    return Outcome(
        Verdict.REPRODUCED if holds else Verdict.REFUTED,
        f"With k = {plain(rule.gap)} and eps = {plain(eps[worst])} Eq. 12 gives "
        f"{ratio[worst]:.2f}, while independent distances, uniform on the same intervals, are in "
        f"order with probability {ordered[worst]:.2f}; for eps > 3k Eq. 12 is below 1/2, worse "
        "than guessing.",
        Effect(float((ordered - ratio)[worst]), "", sample="probability of the order minus r"),
    )


def _isometry(rule: Theory, evidence: Evidence, tolerance: float) -> Outcome:
    """The lemma bounds |Pi x|^2 / |x|^2; the score is M'^2 / M^2, refitted after the projection."""
    law = theory.contraction_law(rule.dim, rule.channels)
    low, high = law.interval(0.95)
    largest = _largest_ratio(rule.dim, rule.channels)
    holds = low >= 1 - tolerance
    return Outcome(
        Verdict.REPRODUCED if holds else Verdict.REFUTED,
        "The score is a Mahalanobis distance that is fitted again after the projection. Its square "
        f"never grows; under a row space that is uniform in whitened coordinates it shrinks to "
        f"m/D = {rule.dim}/{rule.channels} = {law.mean():.2f} on average, 95 % of a Beta law in "
        f"[{low:.2f}, {high:.2f}], and the largest ratio in {_DRAWS} draws under a decaying "
        f"spectrum is {largest:.2f}; a distortion of {plain(tolerance)} would keep at least "
        f"{plain(1 - tolerance)}.",
        Effect(float(law.mean()), "of the squared distance is kept", low, high),
    )


@cache
def _largest_ratio(dim: int, channels: int) -> float:
    """Largest M'^2 / M^2 of random shifts under Eq. 6 and a spectrum that decays."""
    rng = np.random.default_rng(0)
    spectrum = np.diag(theory.power_spectrum(channels, 1.0))
    shift = rng.standard_normal((_DRAWS, channels))
    before = theory.mahalanobis2(shift, spectrum)
    matrix = rng.standard_normal((dim, channels)) / np.sqrt(dim)
    return float((theory.mahalanobis2(shift, spectrum, matrix) / before).max())


def _lower_bound(rule: Theory, evidence: Evidence, tolerance: float) -> Outcome:
    """Eq. 15 ends at 1; the detector without any reduction does not get there."""
    q = 1.0
    _, end = theory.report_domain(rule.gap, q)
    bound = float(theory.report_curve(end, 0.5, rule.gap, q))
    mixed = np.array([rule.gap] * 3 + [-rule.gap])  # one pair in four in the wrong order
    limit = float(theory.consistent_curve(1e12, mixed, q))
    argument = (
        f"At x = q/k² Eq. 15 gives {bound:.2f} whatever p, k and q; with one pair in four in the "
        f"wrong order before the projection no dimension passes {limit:.2f}"
    )
    ceiling = evidence.values("padim reduction=none", rule.backbone, rule.metric)
    holds = bound - limit <= tolerance
    verdict = Verdict.REPRODUCED if holds else Verdict.REFUTED
    if ceiling.empty:
        return Outcome(verdict, f"{argument}; the unreduced detector was not run here.")
    means = ceiling.groupby("category")["value"].mean()
    return Outcome(
        verdict,
        f"{argument}; without any reduction the detector itself reaches {means.mean():.2f} % "
        f"(mean of {len(means)} categories, best {means.idxmax()} {means.max():.2f} %).",
        Effect(float(100 * bound - means.mean()), "points", sample="1 minus the unreduced AUROC"),
    )


_CHECKS: dict[str, Callable[[Theory, Evidence, float], Outcome]] = {
    "length_ratio": _length_ratio,
    "isometry": _isometry,
    "lower_bound": _lower_bound,
}
