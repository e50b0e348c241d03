"""The ledger of claims as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adlib.claims import Ledger, Result, Verdict
from adlib.claims.verdict import joined
from adlib.fragments.markdown import block, code, list_table, one_line

LEVEL = 0.05


def verdicts(ledger: Ledger, judged: Sequence[Result]) -> str:
    """Return the table of all claims, what the words mean, and how to read the intervals."""
    rows = [
        [
            f"**{badge(result.outcome.verdict)}**",
            f"{one_line(result.claim.claim)} *{ledger.papers[result.claim.paper]}, "
            f"{one_line(result.claim.where)}.* Evidence: {link(result.claim.page)}",
            one_line(result.outcome.effect or "–"),
        ]
        for result in judged
    ]
    words = "\n".join(f"- **{badge(verdict)}**: {verdict.meaning}." for verdict in Verdict)
    shown = list_table(["Verdict", "Claim, in our words", "Effect"], rows, widths=[20, 52, 28])
    return "\n\n".join([summary(judged), shown, words, caveat(judged)])


def summary(judged: Sequence[Result]) -> str:
    """Return one sentence that counts the verdicts."""
    counted = Counter(result.outcome.verdict for result in judged)
    parts = [f"{counted[verdict]} {verdict}" for verdict in Verdict if counted[verdict]]
    noun = "claim" if len(judged) == 1 else "claims"
    return f"Of {len(judged)} checkable {noun}: {joined(parts)}."


def caveat(judged: Sequence[Result]) -> str:
    """Say how many comparisons were tested, and how many stand after a correction for that."""
    tested = [r.outcome.p_value for r in judged if r.outcome.p_value is not None]
    clear = [p for p in tested if p < LEVEL]
    left = [p for p in tested if p * len(tested) < LEVEL]
    start = (
        "Intervals are 95 % each, Student's t over paired seeds on these categories: they say how "
        "results would vary with other random draws, not with other data. They are not corrected "
        "for their number."
    )
    if not tested:
        return start
    return (
        f"{start} Of {len(tested)} paired comparisons in this table {len(clear)} differ from 0 at "
        f"the 5 % level, {len(left)} also after Bonferroni's correction for {len(tested)} tests."
    )


def detailed(judged: Sequence[Result]) -> str:
    """Return every claim with what would confirm it, its tolerance and its evidence."""
    return "\n\n".join(_entry(result) for result in judged)


def badge(verdict: Verdict) -> str:
    """Return sign and words of a verdict; no line breaks between the two."""
    return f"{verdict.mark}\u00a0{verdict}"


def link(page: str) -> str:
    """Return a link to a page of the book, shown with that page's title."""
    return f"{{doc}}`/{page}`"


def _entry(result: Result) -> str:
    claim, outcome = result
    lines = [
        f"**{badge(outcome.verdict)}** — {one_line(claim.claim)} ({one_line(claim.where)}; "
        f"{code(claim.id)})",
        f": {one_line(outcome.evidence)}",
        f": *Would confirm it:* {one_line(claim.confirm)} *Tolerance:* {claim.tolerance:g}. "
        f"{one_line(claim.why)} *Argued in* {link(claim.page)}.",
    ]
    if outcome.commands:
        commands = block("\n".join(outcome.commands)).replace("\n", "\n  ")
        lines.append(f": *What would decide it:*\n\n  {commands}")
    return "\n\n".join([lines[0] + "\n" + lines[1], *lines[2:]])
