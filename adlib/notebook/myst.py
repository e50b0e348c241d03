"""The part of MyST Markdown that the book's notebooks use, as Markdown every renderer knows.

The book itself is rendered by Sphinx, where these constructs do more; here they only have to be
readable: equations with their numbers and references, admonitions, references to figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ADMONITIONS = frozenset(
    ["admonition", "attention", "caution", "danger", "hint", "important", "note", "seealso"]
    + ["tip", "warning"]
)

_OPEN = re.compile(r"^(`{3,}|:{3,}|~{3,})(?:\{([\w:-]+)\})?\s*(.*)$")
_OPTION = re.compile(r"^:([\w-]+):\s*(.*)$")
_LABELLED = re.compile(r"^\$\$(.+?)\$\$ *\(([\w:-]+)\)", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")
_TARGET = re.compile(r"^\([\w:-]+\)=\s*$")


def to_markdown(text: str, figures: Mapping[str, int]) -> str:
    """Rewrite MyST directives, roles, labels and targets.

    Parameters
    ----------
    text : str
        The source of a Markdown cell.
    figures : mapping of str to int
        The numbers of the notebook's figures by name, for ``{numref}``.

    Returns
    -------
    str
        Markdown with TeX; code blocks and unknown directives are left as they are.
    """
    lines, done, prose = text.splitlines(), [], []

    def finish_prose() -> None:
        if prose:
            done.append(_prose("\n".join(prose), figures))
            prose.clear()

    while lines:
        line = lines.pop(0)
        fence = _OPEN.match(line)
        if fence is None:
            if not _TARGET.match(line):
                prose.append(line)
            continue
        finish_prose()
        body = []
        closing = re.compile(re.escape(fence[1][0]) + f"{{{len(fence[1])},}}\\s*$")
        while lines and not closing.match(lines[0]):
            body.append(lines.pop(0))
        last = lines.pop(0) if lines else fence[1]
        done.append(_directive(fence, body, figures) or "\n".join([line, *body, last]))
    finish_prose()
    return "\n".join(done)


def _directive(fence: re.Match, body: list[str], figures: Mapping[str, int]) -> str | None:
    name, argument = fence[2], fence[3]
    if name not in (ADMONITIONS | {"math"}):
        return None
    options = {}
    while body and (option := _OPTION.match(body[0])):
        options[option[1]] = option[2]
        body.pop(0)
    if name == "math":
        return _equation("\n".join([argument, *body]).strip(), options.get("label"))
    title = argument or name.capitalize()
    inside = to_markdown("\n".join(body), figures).splitlines()
    return "\n".join(["", f"> **{title}**", ">", *(f"> {line}" for line in inside), ""])


def _equation(tex: str, label: str | None) -> str:
    # as Sphinx does: several lines without an environment of their own
    if r"\\" in tex and r"\begin{" not in tex:
        tex = f"\\begin{{split}}\n{tex}\n\\end{{split}}"
    if label is None:
        return f"\n$$\n{tex}\n$$\n"
    return f"\n\\begin{{equation}}\\label{{{label}}}\n{tex}\n\\end{{equation}}\n"


def _prose(text: str, figures: Mapping[str, int]) -> str:
    def role(match: re.Match) -> str:
        name, content = match.groups()
        if name == "eq":
            return f"$\\eqref{{{content}}}$"
        if name == "math":
            return f"${content}$"
        titled = re.fullmatch(r"(.+?)\s*<([^<>]+)>", content)
        title, target = titled.groups() if titled else (content, content)
        if target in figures:
            title = title if titled else f"Figure {figures[target]}"
            return f"[{title}](#{target})"
        return title

    text = _LABELLED.sub(lambda match: _equation(match[1].strip(), match[2]), text)
    return _ROLE.sub(role, text)
