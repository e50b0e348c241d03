"""What this book changes in Jupyter Book's pages, so that they need nothing from a network.

MathJax 3.2.2 is one file, taken from the installed package ``sphinx-mathjax-offline``.
Thebe, which the theme would fetch from a content delivery network, is left out.
Buttons that lead to the repository are shown only where ``BOOK_REPOSITORY`` names it (a web
address, set by the publishing workflow); they open the committed notebook, not its executed copy.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import files
from pathlib import Path

MATHJAX = "tex-svg.js"
EXECUTED, COMMITTED = "book/executed/", "notebooks/"


def mathjax_file() -> Path:
    """Path of MathJax in the installed package."""
    for file in files("sphinx-mathjax-offline") or ():
        if file.name == MATHJAX:
            return Path(file.locate())
    raise FileNotFoundError(f"the package sphinx-mathjax-offline holds no {MATHJAX}")


def name_repository(app, config) -> None:
    """Fill in the repository, or leave out every button that would need it."""
    options = config.html_theme_options
    url = os.environ.get("BOOK_REPOSITORY")
    if url:
        options["repository_url"] = url
        options["use_repository_button"] = True
    else:
        options.pop("launch_buttons", None)


def copy_mathjax(app, error) -> None:
    """Put MathJax beside the pages."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", "mathjax", MATHJAX)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mathjax_file(), target)


def _is_thebe(entry) -> bool:
    attributes = getattr(entry, "attributes", None) or {}
    return "thebe" in f"{getattr(entry, 'filename', entry)} {attributes.get('body', '')}"


def tidy_page(app, pagename, templatename, context, doctree) -> None:
    """Drop Thebe's files and point the launch buttons at the committed notebooks."""
    for kind in ("script_files", "css_files"):
        context[kind] = [entry for entry in context.get(kind, []) if not _is_thebe(entry)]
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", [group]):
            if "://" in str(button.get("url", "")):
                button["url"] = button["url"].replace(EXECUTED, COMMITTED)


def setup(app):
    """Register with Sphinx."""
    app.config.mathjax_path = f"mathjax/{MATHJAX}"
    app.connect("config-inited", name_repository)
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", tidy_page, priority=1000)  # after the theme has added its own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
