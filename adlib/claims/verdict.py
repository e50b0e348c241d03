"""What a rule answers: a verdict, an effect with its interval, one sentence."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """The six answers of the ledger."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted by the paper's own table"
    REFUTED = "refuted by derivation"
    NOT_TESTABLE = "not testable here"

    @property
    def mark(self) -> str:
        """A sign beside the words; it carries nothing that the words do not say."""
        return _MARKS[self]

    @property
    def meaning(self) -> str:
        """What the verdict says, for a reader."""
        return _MEANINGS[self]


_MARKS = {
    Verdict.REPRODUCED: "✓",
    Verdict.PARTLY: "◐",
    Verdict.NOT_REPRODUCED: "✗",
    Verdict.CONTRADICTED: "≠",
    Verdict.REFUTED: "⊥",
    Verdict.NOT_TESTABLE: "–",
}

_MEANINGS = {
    Verdict.REPRODUCED: "the records, or the derivation, say the same within the stated tolerance",
    Verdict.PARTLY: "they do in part: in some categories or networks, by less than stated, in the "
    "mean though its interval includes no effect, or by a test that cannot tell the claim from its "
    "alternative",
    Verdict.NOT_REPRODUCED: "they do not",
    Verdict.CONTRADICTED: "the paper's text and the paper's own printed numbers disagree",
    Verdict.REFUTED: "the statement fails in an exact calculation or a counterexample, "
    "whatever the data",
    Verdict.NOT_TESTABLE: "what would decide it was not run, or what was run is too little or "
    "unable to decide it; the reason is given",
}


RATIO = "in error ratio"  # unit of a difference of error ratios


class Effect(NamedTuple):
    """The size of what was found.

    Attributes
    ----------
    value : float
    unit : str
        ``points`` (percentage points) and `RATIO` are shown with a sign; ``times``, words, or
        nothing.
    low, high : float or None
        95 % interval, where there is one.
    sample : str
        What the interval is over, as ``10 seeds x 4 categories``.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    sample: str = ""

    def __str__(self) -> str:
        """Write value, interval, unit and sample on one line."""
        show = signed if self.unit in ("points", RATIO) else plain
        unit = {"times": "×", "": ""}.get(self.unit, f" {self.unit}")
        interval = "" if self.low is None else f" [{show(self.low)}, {show(self.high)}]"
        sample = f" ({self.sample})" if self.sample else ""
        return f"{show(self.value)}{interval}{unit}{sample}"


class Outcome(NamedTuple):
    """What a rule found.

    Attributes
    ----------
    verdict : Verdict
    evidence : str
        One sentence, or two, made from numbers.
    effect : Effect or None
    commands : tuple of str
        What would make the missing records.
    p_value : float or None
        Of the effect against 0, where it was tested; not corrected for other tests.
    """

    verdict: Verdict
    evidence: str
    effect: Effect | None = None
    commands: tuple[str, ...] = ()
    p_value: float | None = None


def signed(value: float) -> str:
    """Write a difference with two digits and its sign; what rounds to 0 has none."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def plain(value: float) -> str:
    """Write a number with three significant digits, whole numbers as such."""
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def joined(names: list[str]) -> str:
    """Write ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
