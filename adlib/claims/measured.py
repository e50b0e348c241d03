"""Rules about time and memory, from the committed measurements of ``benchmarks/``."""

from __future__ import annotations

from typing import Any, Literal

from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, plain

FLOAT_BYTES = 4


class Speedup(Rule):
    """Is a change as much faster as `claimed`, and is the whole still, with everything around it?

    `whole` and `part` name ratios (median, lowest, highest) of ``results/bench/<benchmark>.json``:
    of all the work for an image, and of the work that the change can touch. Reproduced: the whole
    reaches 1 - `tolerance` of the printed factor; partly: only the part does.
    """

    rule: Literal["speedup"]
    benchmark: str
    whole: str
    part: str
    claimed: float

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer from the medians of alternating runs."""
        measured = evidence.benchmarks.get(self.benchmark, {})
        ratios = measured.get("ratios", {})
        if self.whole not in ratios or self.part not in ratios:
            return Outcome(
                Verdict.NOT_TESTABLE,
                f"Not measured: no `results/bench/{self.benchmark}.json`.",
                commands=(f"python benchmarks/{self.benchmark}.py --json FILE",),
            )
        whole, part = (_ratio(measured, name) for name in (self.whole, self.part))
        needed = (1 - tolerance) * self.claimed
        verdict = Verdict.PARTLY if part.value >= needed else Verdict.NOT_REPRODUCED
        if whole.value >= needed:
            verdict = Verdict.REPRODUCED
        return Outcome(
            verdict,
            f"Scoring an image is {whole} faster with the network in it (on one core) and {part} "
            f"without it, medians of alternating runs; the paper says {plain(self.claimed)}×.",
            whole,
        )


class ModelSize(Rule):
    """Does memory shrink by the factor `claimed`, when `small` dimensions replace `large`?

    Reproduced: the peak memory of the process shrinks by at least 1 - `tolerance` of it, as
    measured in ``results/bench/<benchmark>.json``. Partly: only means and covariances do, by
    arithmetic; without the measurement no more than that can be said.
    """

    rule: Literal["model_size"]
    large: int
    small: int
    positions: int
    claimed: float
    benchmark: str = "padim_size"

    def judge(self, evidence: Evidence, tolerance: float) -> Outcome:
        """Answer by arithmetic, m means and m^2 covariances a position, and by measurement."""
        large, small = (
            self.positions * (dim + dim**2) * FLOAT_BYTES / 1e9 for dim in (self.large, self.small)
        )
        factor = large / small
        needed = (1 - tolerance) * self.claimed
        verdict = Verdict.PARTLY if factor >= needed else Verdict.NOT_REPRODUCED
        text = (
            f"Means and covariances of {self.positions} positions, in float32, take {large:.2f} GB "
            f"with {self.large} dimensions and {small:.2f} GB with {self.small}, {plain(factor)}× "
            "less"
        )
        measured = evidence.benchmarks.get(self.benchmark, {})
        if not {"peak_memory", "model"} <= measured.get("ratios", {}).keys():
            what = f"no `results/bench/{self.benchmark}.json`"
            text = f"{text}; the memory of the whole process is not measured: {what}."
            return Outcome(verdict, text, Effect(factor, "times", sample="covariances alone"))
        peak, model = (_ratio(measured, name) for name in ("peak_memory", "model"))
        if peak.value >= needed:
            verdict = Verdict.REPRODUCED
        return Outcome(
            verdict,
            f"{text}; measured, the fitted model as it is stored here shrinks {plain(model.value)}×"
            f" and the peak memory of the process {peak}; the paper says {plain(self.claimed)}×.",
            peak,
        )


def _ratio(measured: dict[str, Any], name: str) -> Effect:
    """Return a measured ratio: the median with the range of the runs."""
    found = measured["ratios"][name]
    sample = f"range of {measured['settings']['repeats']} runs"
    return Effect(found["median"], "times", found["lowest"], found["highest"], sample)
