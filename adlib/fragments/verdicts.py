"""The ledger of claims as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adlib.claims import Claim, Ledger, Result, Verdict
from adlib.claims.verdict import joined
from adlib.fragments.markdown import block, code, list_table, one_line

LEVEL = 0.05


def verdicts(ledger: Ledger, judged: Sequence[Result]) -> str:
    """Return the table of all claims, what the words mean, and how to read the intervals."""
    rows = [
        [
            f"**{badge(result.outcome.verdict)}**",
            f"{one_line(result.claim.claim)} *{ledger.papers[result.claim.paper]}, "
            f"{_where(result.claim)}.* Evidence: {link(result.claim.page)}",
            one_line(result.outcome.effect or "–"),
        ]
        for result in judged
    ]
    words = "\n".join(f"- **{badge(verdict)}**: {verdict.meaning}." for verdict in Verdict)
    shown = list_table(["Verdict", "Claim, in our words", "Effect"], rows, widths=[20, 52, 28])
    return "\n\n".join([summary(judged), shown, words, caveat(judged)])


def summary(judged: Sequence[Result]) -> str:
    """Return one sentence that counts the verdicts, those on our extensions apart."""
    stated = [result.outcome.verdict for result in judged if not result.claim.extension]
    ours = [result.outcome.verdict for result in judged if result.claim.extension]
    parts = []
    if stated or not ours:
        noun = "claim" if len(stated) == 1 else "claims"
        parts.append(f"of {len(stated)} checkable {noun}: {_counted(stated)}")
    if ours:
        noun = "extension" if len(ours) == 1 else "extensions"
        parts.append(f"of {len(ours)} {noun} of ours: {_counted(ours)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _counted(verdicts: Sequence[Verdict]) -> str:
    counted = Counter(verdicts)
    return joined([f"{counted[verdict]} {verdict}" for verdict in Verdict if counted[verdict]])


def caveat(judged: Sequence[Result]) -> str:
    """Say how many comparisons were tested, and how many stand after a correction for that."""
    tested = [result for result in judged if result.outcome.p_value is not None]
    clear = [result for result in tested if result.outcome.p_value < LEVEL]
    left = [result for result in tested if result.outcome.p_value * len(tested) < LEVEL]
    start = (
        "Intervals are 95 % each, Student's t over paired seeds on these categories: they say how "
        "results would vary with other random draws, not with other data. A seed only numbers "
        "a draw: under the same seed different reductions draw unrelated projections, so pairing "
        "them removes the level of the categories, not the noise of the draws. Intervals are not "
        "corrected for their number."
    )
    if not tested:
        return start
    return (
        f"{start} Of {len(tested)} paired comparisons in this table, {_directions(clear)} at the "
        f"5 % level; after Bonferroni's correction for {len(tested)} tests, {_directions(left)}."
    )


def _directions(clear: Sequence[Result]) -> str:
    """Count the differences that speak for their claim, and those that speak against it."""
    against = sum(r.claim.test.expects_zero or r.outcome.effect.value < 0 for r in clear)
    toward = len(clear) - against
    verb = "differs" if toward == 1 else "differ"
    return f"{toward} {verb} from 0 in the direction of the claim, {against} against it"


def _where(claim: Claim) -> str:
    return one_line(claim.where) + ("; our extension" if claim.extension else "")


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
        f"**{badge(outcome.verdict)}** — {one_line(claim.claim)} ({_where(claim)}; "
        f"{code(claim.id)})",
        f": {one_line(outcome.evidence)}",
        f": *Would confirm it:* {one_line(claim.confirm)} *Tolerance:* {claim.tolerance:g}. "
        f"{one_line(claim.why)} *Argued in* {link(claim.page)}.",
    ]
    if outcome.commands:
        commands = block("\n".join(outcome.commands)).replace("\n", "\n  ")
        lines.append(f": *What would decide it:*\n\n  {commands}")
    return "\n\n".join([lines[0] + "\n" + lines[1], *lines[2:]])
