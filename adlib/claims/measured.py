"""Rules about time and memory, from the committed measurements of ``benchmarks/``."""

from __future__ import annotations

from typing import Literal

from adlib.claims.evidence import Evidence, Rule
from adlib.claims.verdict import Effect, Outcome, Verdict, plain


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
        sample = f"range of {measured['settings']['repeats']} runs"
        whole, part = (
            Effect(found["median"], "times", found["lowest"], found["highest"], sample)
            for found in (ratios[self.whole], ratios[self.part])
        )
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
