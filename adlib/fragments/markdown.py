"""Tables and plain text as Markdown that MyST and GitHub read alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

DO_NOT_EDIT = "<!-- made by `adlib report` from results/ and book/claims.yaml; edits are lost -->"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#$~&@])")


def escape(text: object) -> str:
    """Return text that shows as it is: for what comes from records (names, versions)."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def one_line(text: object) -> str:
    """Return a text of ours, with its markup, on one line; no-break spaces stay."""
    return re.sub(r"[ \t\r\n]+", " ", str(text)).strip(" ")


def cell(text: object) -> str:
    """Return a text of ours as a cell of ``table``: no bare column separator."""
    return re.sub(r"(?<!\\)\|", r"\\|", one_line(text))


def code(text: str) -> str:
    """Return text as an inline literal, whatever backticks it holds."""
    text = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()
) -> str:
    """Return a table; the columns `numbers` are aligned to the right. Cells come escaped."""
    numbers = set(numbers)
    rule = ["---:" if i in numbers else "---" for i in range(len(header))]
    lines = [header, rule, *rows]
    if any(len(line) != len(header) for line in lines):
        raise ValueError("each row of a table needs as many cells as its header")
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def list_table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return a table of prose for MyST pages, with columns in the given proportions."""
    lines = ["```{list-table}", ":header-rows: 1", f":widths: {' '.join(map(str, widths))}", ""]
    for row in [header, *rows]:
        if len(row) != len(widths):
            raise ValueError("each row of a table needs as many cells as it has widths")
        lines += [f"{'  -' if i else '* -'} {one_line(text)}" for i, text in enumerate(row)]
    return "\n".join([*lines, "```"])


def block(text: str) -> str:
    """Return text as a block of console input."""
    return f"```console\n{text}\n```"
