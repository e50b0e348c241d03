"""The ledger of claims as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adlib.claims import Claim, Ledger, Result, Verdict
from adlib.claims.verdict import joined
from adlib.fragments.markdown import block, cell, code, list_table, one_line, table

LEVEL = 0.05


def verdicts(ledger: Ledger, judged: Sequence[Result]) -> str:
    """Return the tables of all claims by paper, what the words mean, how to read the intervals."""
    parts = [tally(ledger, judged)]
    for paper, results in by_paper(ledger, judged).items():
        parts += [f"**{paper}.** {summary(results)}", _table(results)]
    words = "\n".join(f"- **{badge(verdict)}**: {verdict.meaning}." for verdict in Verdict)
    return "\n\n".join([*parts, words, caveat(judged)])


def _table(judged: Sequence[Result]) -> str:
    rows = [
        [
            f"**{badge(result.outcome.verdict)}**",
            f"{one_line(result.claim.claim)} *{_where(result.claim)}.* "
            f"Evidence: {link(result.claim.page)}",
            one_line(result.outcome.effect or "–"),
        ]
        for result in judged
    ]
    return list_table(["Verdict", "Claim, in our words", "Effect"], rows, widths=[20, 52, 28])


def by_paper(ledger: Ledger, judged: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each paper under its name, in the order of the ledger's papers."""
    found = {
        name: [r for r in judged if r.claim.paper == key] for key, name in ledger.papers.items()
    }
    return {name: results for name, results in found.items() if results}


def tally(ledger: Ledger, judged: Sequence[Result]) -> str:
    """Return the number of each verdict as a table: the claims of each paper, then what is ours."""
    rows = []
    for paper, results in by_paper(ledger, judged).items():
        for ours, name in ((False, f"{paper}: claims"), (True, f"{paper}: our extensions")):
            counted = Counter(r.outcome.verdict for r in results if r.claim.extension == ours)
            if counted:
                each = [counted[verdict] or "" for verdict in Verdict]
                rows.append([name, *each, counted.total()])
    header = ["", *map(badge, Verdict), "together"]
    return table(header, rows, numbers=range(1, len(header)))


def telling(ledger: Ledger, judged: Sequence[Result]) -> str:
    """Return the claims that the ledger marks as telling, a line each, without links."""
    rows = [
        [
            f"**{badge(outcome.verdict)}**",
            cell(f"{claim.claim} *{ledger.papers[claim.paper]}, {_where(claim)}*"),
            cell(outcome.effect or "–"),
        ]
        for claim, outcome in judged
        if claim.telling
    ]
    return table(["Verdict", "Claim, in our words", "Effect"], rows)


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
        "them removes the level of the categories, not the noise of the draws. Where the "
        "sample is categories alone, as for latent diffusion, the interval is over these. "
        "Intervals are not corrected for their number."
    )
    if not tested:
        return start
    return (
        f"{start} Of {len(tested)} paired comparisons in these tables, {_directions(clear)} at the "
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
