"""Rules that calculate: sizes of networks, and the report's theory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np

from adlib import theory
from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, joined, plain

_DRAWS = 50


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
        used = sum(widths[level] for level in ARCHITECTURES[self.backbone].stages[:3])
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

    Parameters of the argument: `gap` is k of Eq. 12; `dim` and `channels` are m and D; variances
    along the principal directions fall like i^-`decay`.
    """

    rule: Literal["theory"]
    check: Literal["length_ratio", "isometry", "lower_bound"]
    gap: float = 0.1
    dim: int = 100
    channels: int = 448
    decay: float = 1.0
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
    """A common factor leaves every ranking alone: judged is M'^2 / M^2 relative to its mean."""
    law = theory.contraction_law(rule.dim, rule.channels)
    low, high = law.interval(0.95)
    kept = _kept_by_direction(rule.dim, rule.channels, rule.decay)
    relative = kept / kept.mean()
    holds = bool(np.all(np.abs(relative - 1) <= tolerance))
    return Outcome(
        Verdict.REPRODUCED if holds else Verdict.REFUTED,
        "The score is a Mahalanobis distance that is fitted again after the projection. With equal "
        f"variances every direction keeps m/D = {rule.dim}/{rule.channels} = {law.mean():.2f} of "
        f"its square on average (95 % in [{low:.2f}, {high:.2f}]), a common factor that no ranking "
        f"notices. With variances i^-{plain(rule.decay)} the first principal direction keeps "
        f"{plain(kept[0])} and the last {plain(kept[-1])} (means of {_DRAWS} draws), "
        f"{plain(relative[0])} and {plain(relative[-1])} of their mean, where a distortion of "
        f"{plain(tolerance)} allows [{plain(1 - tolerance)}, {plain(1 + tolerance)}].",
        Effect(float(kept[0] / kept[-1]), "times", sample="share kept, first over last direction"),
    )


@cache
def _kept_by_direction(dim: int, channels: int, decay: float) -> np.ndarray:
    """Mean M'^2 / M^2 of shifts along each principal direction under Eq. 6."""
    rng = np.random.default_rng(0)
    spectrum = theory.power_spectrum(channels, decay)
    total = np.zeros(channels)
    for _ in range(_DRAWS):
        matrix = rng.standard_normal((dim, channels)) / np.sqrt(dim)
        total += theory.contraction_by_direction(matrix, spectrum)
    return total / _DRAWS


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
