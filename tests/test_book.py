"""The book's order, its extension on a book of two pages, and its checker on faulty pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHECKER = ROOT / "workflow/scripts/check_book.py"


def load_checker():
    spec = spec_from_file_location("check_book", CHECKER)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checker = load_checker()
PAGES = checker.toc_pages(ROOT / "book/_toc.yml")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_contents_exists(page):
    folder, _, name = page.rpartition("/")
    if folder == "executed":
        assert (ROOT / f"notebooks/{name}.py").is_file()
        assert (ROOT / f"params/quick/{name}.yaml").is_file()
    else:
        assert (ROOT / f"book/{page}.md").is_file()


def test_no_page_and_no_notebook_is_left_out():
    written = {path.stem for path in (ROOT / "book").glob("*.md")}
    notebooks = {f"executed/{path.stem}" for path in (ROOT / "notebooks").glob("*.py")}
    assert set(PAGES) == written | notebooks
    assert len(PAGES) == len(set(PAGES))


def test_sphinx_runs_no_notebook_and_the_workflow_forgives_no_warning():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    assert settings["execute"]["execute_notebooks"] == "off"
    rule = (ROOT / "workflow/Snakefile").read_text("utf-8")
    assert "jupyter-book build book --all -n -W --keep-going -q" in rule


GOOD = """<!DOCTYPE html><html lang="en"><head><title>t</title>
<link rel="stylesheet" href="_static/a.css"><link rel="canonical" href="https://x.org/index.html">
</head><body><article><h1>Title</h1>
<p id="here">{words}</p><img src="data:image/png;base64,AAAA" alt="A rising line.">
<a href="https://x.org">out</a><a href="#here">here</a><a href="other.html#there">there</a>{more}
</article></body></html>"""
OTHER = """<html lang="en"><body><article><h1>Other</h1>
<p id="there">{words}</p></article></body></html>"""
WORDS = "enough to read on this page " * 5


def site(folder: Path, more: str = "", words: str = WORDS) -> Path:
    folder.joinpath("_static").mkdir(parents=True)
    folder.joinpath("_static/a.css").write_text("p { color: red }", encoding="utf-8")
    folder.joinpath("index.html").write_text(GOOD.format(words=words, more=more), encoding="utf-8")
    folder.joinpath("other.html").write_text(OTHER.format(words=WORDS), encoding="utf-8")
    return folder


def test_a_good_site_passes(tmp_path):
    assert checker.check(site(tmp_path)) == []
    assert checker.main([str(tmp_path), "--browser", "none"]) == 0


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('<script src="https://cdn.org/a.js"></script>', "<script> loads https://cdn.org/a.js"),
        ('<img src="//cdn.org/a.png" alt="A line">', "<img> loads //cdn.org/a.png"),
        ('<link rel="stylesheet" href="http://f.org/f.css">', "<link> loads http://f.org/f.css"),
        ('<iframe src="https://a.org"></iframe>', "<iframe> loads https://a.org"),
        ("<style>@import 'https://f.org/f.css';</style>", "a style loads from a network"),
        ('<p style="background: url(https://f.org/a.png)">x</p>', "a style loads from a network"),
        ('<a href="gone.html">x</a>', "gone.html is not there"),
        ('<a href="other.html#nowhere">x</a>', "other.html#nowhere: the page has no such place"),
        ('<a href="#nowhere">x</a>', "#nowhere: the page has no such place"),
        ('<img src="data:,">', "a picture without a text"),
        ('<img src="data:," alt="plot.svg">', "a picture without a text"),
        ("<h1>Second title</h1>", "2 titles, not 1"),
        ('<div class="output traceback"><pre>x</pre></div>', "a traceback"),
        ("<pre>Traceback (most recent call last):\n</pre>", "a traceback"),
        ('<div class="output stderr"><pre>warning</pre></div>', "a cell wrote to the error stream"),
        ('<span class="problematic">x</span>', "a message of the parser"),
        ("<p>see {{numref}}`fig-a`</p>", "unrendered markup: {numref}`"),
        ("<p>| a | b | |:——|—:| | 1 | 2 |</p>", "unrendered markup: |:——"),
    ],
)
def test_each_fault_is_found(tmp_path, more, fault):
    faults = checker.check(site(tmp_path, more.replace("{{", "{").replace("}}", "}")))
    assert len(faults) == 1
    assert faults[0].startswith(f"index.html: {fault}")
    assert checker.main([str(tmp_path), "--browser", "none"]) == 1


def test_markup_in_code_is_no_fault(tmp_path):
    assert checker.check(site(tmp_path, "<p><code>{numref}`a` and {{ x }}</code></p>")) == []


def test_an_empty_page_is_a_fault(tmp_path):
    assert checker.check(site(tmp_path, words="")) == ["index.html: fewer than 20 words"]


def test_a_partial_site_is_a_fault(tmp_path, capsys):
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: index\nparts: [{chapters: [{file: other, sections: [{file: a/b}]}]}]\n")
    folder = site(tmp_path / "html")
    arguments = [str(folder), "--toc", str(toc), "--browser", "none"]
    assert checker.main(arguments) == 1
    assert "a/b.html: not built" in capsys.readouterr().out
    (folder / "a").mkdir()
    shutil.copy(folder / "other.html", folder / "a/b.html")
    assert checker.main(arguments) == 0


def test_no_site_is_a_fault(tmp_path):
    assert checker.check(tmp_path) == ["index.html: not built"]


def test_a_stylesheet_from_elsewhere_is_a_fault(tmp_path):
    folder = site(tmp_path)
    folder.joinpath("_static/a.css").write_text("@import url('https://f.org/f.css');")
    assert checker.check(folder) == ["_static/a.css: loads from a network"]


def test_a_named_browser_must_work(tmp_path):
    with pytest.raises(SystemExit, match="does not open a local page"):
        checker.main([str(site(tmp_path)), "--browser", "/bin/false"])


MATH = """# Two equations

Inline $x^2$ with enough words around it for the checker to take this for a page that one can read.

```{math}
:label: eq-a
\\sqrt{x}
```

See {eq}`eq-a` and the notebook {doc}`executed/one`, which holds the numbers of this page.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a book of one page and one notebook, built with the settings of the study."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "book/executed").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copytree(ROOT / "book/_ext", folder / "book/_ext")
    shutil.copytree(ROOT / "book/_static", folder / "book/_static")
    (folder / "book/references.bib").write_text("", encoding="utf-8")
    (folder / "book/index.md").write_text(MATH, encoding="utf-8")
    toc = "format: jb-book\nroot: index\nchapters:\n- file: executed/one\n"
    (folder / "book/_toc.yml").write_text(toc, encoding="utf-8")
    cells = [
        nbformat.v4.new_markdown_cell("# A notebook\n\n" + "word " * 30),
        nbformat.v4.new_code_cell("1 + 1"),
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    node = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(node, folder / "book/executed/one.ipynb")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", "book", "--all", "-n", "-W", "--keep-going", "-q"]
    environment = os.environ | {"BOOK_REPOSITORY": "https://github.com/someone/study"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_extension_needs_no_network(built):
    arguments = [str(built / "_build/html"), "--toc", str(built / "book/_toc.yml")]
    assert checker.main([*arguments, "--browser", "none"]) == 0
    page = (built / "_build/html/index.html").read_text("utf-8")
    assert "_static/mathjax/tex-svg.js" in page
    assert (built / "_build/html/_static/mathjax/tex-svg.js").stat().st_size > 1e6
    assert "unpkg" not in page
    assert page.count("custom.css") == 1


def test_binder_opens_the_committed_notebook(built):
    page = (built / "_build/html/executed/one.html").read_text("utf-8")
    address = "https://mybinder.org/v2/gh/someone/study/main"
    assert f"{address}?urlpath=lab/tree/notebooks/one.ipynb" in page
    assert "book/executed" not in page


def test_a_browser_draws_the_equations_and_sees_what_it_cannot_draw(built):
    browser = checker.working_browser(None)
    if browser is None:
        pytest.skip("no browser")
    page = (built / "_build/html/index.html").resolve()

    def faults(inline: str, display: str) -> list[str]:
        changed = page.with_name("changed.html")
        text = page.read_text("utf-8").replace("x^2", inline).replace(r"\sqrt{x}", display)
        changed.write_text(text, encoding="utf-8")
        checker.parsed.cache_clear()
        found = list(checker.equation_faults(checker.parsed(changed), changed, browser))
        changed.unlink()
        return found

    assert len(checker.parsed(page).select(checker.EQUATIONS)) == 2
    assert faults("x^2", r"\sqrt{x}") == []
    assert faults(r"\frac{1", r"\unknown x") == [
        "1 of 2 equations drawn",
        r"unknown TeX command: \unknown",
    ]
    assert faults(r"\left( x", "x") == [r"TeX error: Extra \left or missing \right"]
