"""An executed notebook as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import nbformat

from adlib.errors import InputError
from adlib.notebook._webpage_template import CELLS, MATHJAX_SETTINGS, PAGE, STYLE
from adlib.notebook.inputs import read_notebook
from adlib.notebook.myst import to_markdown

# the build that holds every TeX package, since none can be fetched later
MATHJAX = "tex-svg-full.js"

_MATHS = re.compile(r"\$[^$\s][^$]*\$|\$\$|\\\(|\\\[|\\begin\{")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,")
# dropped with what is inside; bleach would keep the text
_NO_TEXT = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_SHOWN = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/latex",
    "text/plain",
]
_TAGS = frozenset(
    [
        *("a", "abbr", "b", "br", "code", "del", "em", "i", "kbd", "s", "small", "span", "strong"),
        *("sub", "sup", "u", "blockquote", "dd", "details", "div", "dl", "dt", "h1", "h2", "h3"),
        *("h4", "h5", "h6", "hr", "img", "figcaption", "figure", "li", "ol", "p", "pre", "summary"),
        *("ul", "caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    ]
)


def page(executed: str | Path, target: str | Path) -> Path:
    """Write an executed notebook as a page that a browser shows without a network.

    Cells tagged ``remove-cell`` are left out, code tagged ``remove-input`` as well, and code tagged
    ``hide-input`` is folded. A picture takes its text from the cell's ``mystnb.image.alt`` and its
    caption from ``mystnb.figure.caption``. MathJax is written into the page (2 MB) if the notebook
    holds maths. HTML inside the notebook passes an allow-list, and the page forbids the browser
    every script but MathJax and every address outside the file.

    Parameters
    ----------
    executed : path
        The notebook with its outputs.
    target : path
        The ``.html`` file.

    Returns
    -------
    pathlib.Path
        The target.

    Raises
    ------
    InputError
        If the notebook cannot be read or the page not be written.
    """
    executed, target = Path(executed), Path(target)
    node = _plain(read_notebook(executed))
    scripts = [MATHJAX_SETTINGS, _mathjax()] if _has_maths(node) else []
    text = PAGE.format(
        policy=_policy(scripts),
        title=html.escape(_title(node) or executed.stem),
        style=STYLE,
        scripts="".join(f"<script>{script}</script>\n" for script in scripts),
        parameters=_given(node),
        body=_body(node),
    )
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _plain(node: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Resolve MyST, and number the figures as the book does."""
    figures: dict[str, int] = {}
    for cell in node.cells:
        # metadata come from outside: what is no mapping is no figure
        mystnb = cell.metadata.get("mystnb")
        figure = mystnb.get("figure") if isinstance(mystnb, dict) else None
        if isinstance(figure, dict) and isinstance(figure.get("name"), str):
            figures[figure["name"]] = figure["number"] = len(figures) + 1
        elif "mystnb" in cell.metadata and not isinstance(mystnb, dict):
            del cell.metadata["mystnb"]
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = to_markdown(cell.source, figures)
    return node


def _body(node: nbformat.NotebookNode) -> str:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(
        config=Config(
            NbConvertBase={"display_data_priority": _SHOWN},
            TagRemovePreprocessor={
                "enabled": True,
                "remove_cell_tags": {"remove-cell"},
                "remove_input_tags": {"remove-input"},
                "remove_all_outputs_tags": {"remove-output"},
            },
        ),
        template_name="basic",
        raw_template=CELLS,
        filters={"clean": _cleaner()},
        exclude_anchor_links=True,
    )
    return exporter.from_notebook_node(node)[0].strip()


def _cleaner() -> Callable[[str], str]:
    """What makes HTML from a notebook harmless: known tags, no style, no script, no address."""
    import bleach

    def link(tag: str, name: str, value: str) -> bool:
        # bleach hands over character references as written, and would let data: pass for pictures
        plain = re.sub(r"[\x00-\x20]", "", html.unescape(value)).lower()
        known = plain.startswith(("http://", "https://", "mailto:", "#")) or ":" not in plain
        return name == "title" or (name == "href" and known)

    def image(tag: str, name: str, value: str) -> bool:
        return name in ("alt", "title") or (name == "src" and bool(_PICTURE.match(value)))

    cleaner = bleach.Cleaner(
        tags=_TAGS,
        attributes={
            "*": ["class", "id"],
            "a": link,
            "img": image,
            "th": ["colspan", "rowspan", "scope"],
            "td": ["colspan", "rowspan"],
        },
        protocols={"http", "https", "mailto", "data"},
        strip=True,
    )
    return lambda text: cleaner.clean(_NO_TEXT.sub("", str(text)))


def _policy(scripts: list[str]) -> str:
    """Content security policy: only these scripts, only pictures inside the file."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    allowed = allowed or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _mathjax() -> str:
    """MathJax 3 (Apache-2.0) as one script, from the installed sphinx-mathjax-offline."""
    try:
        found = [file for file in files("sphinx-mathjax-offline") or () if file.name == MATHJAX]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(
            f"a page with maths needs {MATHJAX} of sphinx-mathjax-offline: "
            "pip install sphinx-mathjax-offline"
        )
    # inside HTML a script ends at the first </script, in a string too
    return found[0].locate().read_text(encoding="utf-8").replace("</script", "<\\/script")


def _has_maths(node: nbformat.NotebookNode) -> bool:
    texts = [cell.source for cell in node.cells if cell.cell_type == "markdown"]
    for cell in node.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts += [data[kind] for kind in ("text/latex", "text/markdown") if kind in data]
    return any(_MATHS.search(text) for text in texts)


def _title(node: nbformat.NotebookNode) -> str | None:
    for cell in node.cells:
        if cell.cell_type == "markdown":
            heading = re.search(r"^# +(.+?) *$", cell.source, re.MULTILINE)
            if heading:
                return heading.group(1)
    return None


def _given(node: nbformat.NotebookNode) -> str:
    given = node.metadata.get("papermill", {}).get("parameters", {})
    if not given:
        return ""
    shown = ", ".join(
        f"<code>{html.escape(f'{name} = {value!r}')}</code>" for name, value in given.items()
    )
    return f"<p>Run with {shown}.</p>\n"
