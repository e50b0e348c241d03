"""Refuse a built book with a fault that Sphinx does not see.

    python workflow/scripts/check_book.py _build/html [--toc book/_toc.yml] [--browser PATH|none]

Every page: nothing comes from a network, each local address leads somewhere, each picture has a
text.  Every page with an article: one title, enough to read, no failed or warning cell, no markup
left unrendered.  With --toc: each page of the table of contents was built.  With a browser (the
first found on the PATH unless named): MathJax draws each equation, and without an error.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

FEWEST_WORDS = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--virtual-time-budget=10000",  # until MathJax has run
)

# What a browser loads without being asked, tag by tag; the relations of links that load nothing.
LOADS = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "image": "href",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
QUIET = {"alternate", "author", "canonical", "help", "index", "license", "next", "prev", "search"}
REMOTE = re.compile(r"\s*(?:https?:)?//", re.I)
REMOTE_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"]?)(?:https?:)?//", re.I)

FILE_NAME = re.compile(r"\S*\.(?:png|svg|jpe?g|gif|webp)", re.I)
LEFTOVER = re.compile(r"\{[a-z]+(?::[a-z]+)?\}`|\{\{.*?\}\}|^:::|\[@\w+\]|\|\s*:?[-–—]{2,}", re.M)
EQUATIONS = "span.math, div.math"


@cache
def parsed(path: Path) -> BeautifulSoup:
    """Return one file of HTML as a tree."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return every name that an address may end in after its `#`."""
    tags = parsed(path).select("[id], a[name]")
    return frozenset(tag.get("id") or tag.get("name") for tag in tags)


def network_faults(page: BeautifulSoup) -> Iterator[str]:
    """Yield what a browser would fetch from elsewhere when it opens the page."""
    for name, attribute in LOADS.items():
        for tag in page.select(f"{name}[{attribute}]"):
            if REMOTE.match(tag[attribute]) and not QUIET & set(tag.get("rel") or ()):
                yield f"<{tag.name}> loads {tag[attribute]}"
    styles = [tag.get_text() for tag in page.select("style")]
    styles += [tag["style"] for tag in page.select("[style]")]
    if any(map(REMOTE_STYLE.search, styles)):
        yield "a style loads from a network"


def address_faults(page: BeautifulSoup, path: Path) -> Iterator[str]:
    """Yield the local addresses that lead nowhere."""
    carriers = [*LOADS.items(), ("a", "href")]
    found = [tag[a] for name, a in carriers for tag in page.select(f"{name}[{a}]")]
    for address in sorted(set(found)):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        if not target.exists():
            yield f"{address} is not there"
        elif (
            parts.fragment
            and target.suffix == ".html"
            and unquote(parts.fragment) not in anchors(target)
        ):
            yield f"{address}: the page has no such place"


def picture_faults(page: BeautifulSoup) -> Iterator[str]:
    """Yield the pictures that say nothing to who cannot see them."""
    for picture in page.select("img"):
        text = picture.get("alt")
        if text is None or FILE_NAME.fullmatch(text.strip()):
            yield f"a picture without a text: {picture.get('src', '')[:80]}"


def article_faults(article: BeautifulSoup) -> Iterator[str]:
    """Yield what is wrong with the text of a page."""
    if len(article.select("h1")) != 1:
        yield f"{len(article.select('h1'))} titles, not 1"
    if article.select(".traceback") or "Traceback (most recent call last)" in article.get_text():
        yield "a traceback"
    if article.select(".output.stderr"):
        yield "a cell wrote to the error stream"
    if article.select(".problematic, .system-message"):
        yield "a message of the parser"
    text = " ".join(
        string
        for string in article.find_all(string=True)
        if not string.find_parent(["script", "style", "h1", "code", "pre"])
    )
    if len(article.get_text(" ").split()) < FEWEST_WORDS:
        yield f"fewer than {FEWEST_WORDS} words"
    for markup in sorted(set(LEFTOVER.findall(text))):
        yield f"unrendered markup: {markup}"


def equation_faults(page: BeautifulSoup, path: Path, browser: str) -> Iterator[str]:
    """Yield the equations of a page that a browser does not show."""
    wanted = len(page.select(EQUATIONS))
    if not wanted:
        return
    drawn = BeautifulSoup(rendered(path, browser), "html.parser")
    shown = len(drawn.select("mjx-container"))
    if shown < wanted:
        yield f"{shown} of {wanted} equations drawn"
    # each stands twice in the page: in the picture and in the text for screen readers
    yield from {f"TeX error: {tag['data-mjx-error']}" for tag in drawn.select("[data-mjx-error]")}
    unknown = drawn.select('mtext[mathcolor="red"]')
    yield from {f"unknown TeX command: {tag.get_text()}" for tag in unknown}


def rendered(path: Path, browser: str) -> str:
    """Return the page as the browser holds it after its scripts have run."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def working_browser(wanted: str | None) -> str | None:
    """Return a browser that opens local files; only a named one has to exist and to work."""
    if wanted == "none":
        return None
    browser = wanted or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html").resolve()
        page.write_text("<script>document.title = 6 * 7</script>", encoding="utf-8")
        try:
            works = "<title>42</title>" in rendered(page, browser)
        except (OSError, subprocess.SubprocessError):
            works = False
    if works:
        return browser
    if wanted:
        raise SystemExit(f"the browser {wanted} does not open a local page")
    return None


def toc_pages(toc: Path) -> list[str]:
    """Return the pages that a table of contents names, in its order."""

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (str(node[key]) for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections", "subtrees", "entries"):
                yield from walk(node.get(key, []))
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return [name.removesuffix(".md") for name in walk(yaml.safe_load(toc.read_text("utf-8")))]


def check(root: Path, toc: Path | None = None, browser: str | None = None) -> list[str]:
    """Return the faults of the book below ``root``, each as one line that starts with its file."""
    root = root.resolve()
    faults = []
    wanted = toc_pages(toc) if toc else []
    faults += [f"{p}.html: not built" for p in wanted if not (root / f"{p}.html").is_file()]
    faults += [] if (root / "index.html").is_file() else ["index.html: not built"]
    for path in sorted(root.rglob("*.html")):
        if {"_static", "_sources"} & set(path.relative_to(root).parts):
            continue
        page = parsed(path)
        found = [*network_faults(page), *address_faults(page, path), *picture_faults(page)]
        if page.html is None or not page.html.get("lang"):
            found.append("no language")
        name = path.relative_to(root).with_suffix("").as_posix()
        article = page.select_one("article")
        if name in wanted and article is None:
            found.append("no article")
        if article is not None and (name in wanted or not toc):
            found += article_faults(article)
        if browser:
            found += equation_faults(page, path, browser)
        faults += [f"{name}.html: {fault}" for fault in found]
    for path in sorted(root.rglob("*.css")):
        if REMOTE_STYLE.search(path.read_text(encoding="utf-8", errors="replace")):
            faults.append(f"{path.relative_to(root)}: loads from a network")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Print the faults; return 1 if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--toc", type=Path)
    parser.add_argument("--browser")
    given = parser.parse_args(arguments)
    browser = working_browser(given.browser)
    faults = check(given.root, given.toc, browser)
    pages = len(toc_pages(given.toc)) if given.toc else len(list(given.root.rglob("*.html")))
    if faults:
        print("\n".join(faults))
        print(f"{len(faults)} faults in {given.root}")
        return 1
    note = "" if browser else "; the equations were not drawn: no browser here"
    print(f"{pages} pages in order{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
