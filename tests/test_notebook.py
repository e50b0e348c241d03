"""Notebooks with other parameters: what is refused before a kernel starts, what a run leaves."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from adlib import notebook as nb
from adlib.errors import InputError
from adlib.notebook import grammar
from adlib.notebook.myst import to_markdown

HERE = Path(__file__).parent / "notebooks"
TINY, FAILING = HERE / "tiny.py", HERE / "failing.py"


@pytest.fixture
def no_kernel(monkeypatch):
    """Fail the test if a notebook would be executed."""

    def refuse(*args, **kwargs):
        raise AssertionError("a kernel was about to start")

    monkeypatch.setattr(papermill, "execute_notebook", refuse)


def make_notebook(path: Path, *cells: nbformat.NotebookNode) -> Path:
    node = nbformat.v4.new_notebook(cells=list(cells))
    for number, cell in enumerate(node.cells):
        cell["id"] = str(number)
    nbformat.write(node, path)
    return path


def declare(source: str) -> nb.Parameter:
    (parameter,) = grammar.declarations(source)
    return parameter


# -- what a notebook declares


def test_parameters_of_a_notebook():
    found = {p.name: p for p in nb.parameters(TINY)}
    assert list(found) == ["n", "eps", "scale", "dims", "root", "quiet"]
    assert found["n"].default == 3 and found["n"].help == "points, n = many #"
    assert found["n"].bounds == nb.Bounds(1, 100)
    assert found["eps"].bounds == nb.Bounds(0, None, low_open=True)
    assert found["scale"].default == "a#b=c"
    assert found["scale"].choices == ("a#b=c", "matched", "none")
    assert found["dims"].type == list[int] and found["dims"].annotation == "list[int]"
    assert found["root"].type == str | None
    assert found["quiet"].bounds is None and found["quiet"].choices is None


def test_source_and_notebook_declare_the_same(tmp_path):
    jupytext.write(jupytext.read(TINY), tmp_path / "tiny.ipynb")
    assert nb.parameters(tmp_path / "tiny.ipynb") == nb.parameters(TINY)


def test_declarations_agree_with_papermill(tmp_path):
    cell = nbformat.v4.new_code_cell(
        "seed: int = 7  # of the draw\nnames: list[str] = ['a', 'b']  # which",
        metadata={"tags": ["parameters"]},
    )
    path = make_notebook(tmp_path / "x.ipynb", cell)
    node = nbformat.read(path, as_version=4)
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(node, path)
    other = papermill.inspect_notebook(str(path))
    assert [p.name for p in nb.parameters(path)] == list(other)
    for parameter in nb.parameters(path):
        theirs = other[parameter.name]
        assert repr(parameter.default) == theirs["default"]
        assert (parameter.annotation, parameter.help) == (
            theirs["inferred_type_name"],
            theirs["help"],
        )


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[1..100]", [1, 100], [0, 101, float("nan")]),
        ("[0..]", [0, 1e300, float("inf")], [-1e-9, float("nan")]),
        ("(0..1]", [1e-9, 1], [0, 1.1]),
        ("[0.0..1.0)", [0, 0.999], [1, -0.1]),
        ("(..-1e-3)", [-1, -0.0011], [-0.001, 0]),
        ("[..]", [-1e9, 1e9], [float("nan")]),
    ],
)
def test_ranges(text, inside, outside):
    bounds = declare(f"x: float | None = None  # help {text}").bounds
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)


ends = st.none() | st.integers(-99, 99) | st.sampled_from([0.5, -2.25, 1e-3])


@given(ends, ends, st.booleans(), st.booleans())
def test_a_range_is_read_as_it_is_written(low, high, low_open, high_open):
    if low is not None and high is not None and low > high:
        low, high = high, low
    bounds = nb.Bounds(low, high, low_open, high_open)
    assert declare(f"x: float | None = None  # {bounds}").bounds == bounds


def test_a_comment_may_stand_at_either_end_of_a_long_value():
    first = declare("names: list[str] = [  # which {a, b}\n    'a',\n    'b',\n]")
    last = declare("names: list[str] = [\n    'a',  # not this\n    'b',\n]  # which {a, b}")
    assert first.help == last.help == "which" and first.choices == last.choices == ("a", "b")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("n = 3", "must hold only lines like"),
        ("n: int", "must hold only lines like"),
        ("print(3)", "must hold only lines like"),
        ("%matplotlib inline", "plain Python"),
        ("n: dict = {}", "type must be of"),
        ("n: list = []", "type must be of"),
        ("n: int = 3 + k", "must be a literal"),
        ("n: int = 1\nn: int = 2", "more than once"),
        ("n: int = 3  # points [1-100]", r"found \[1-100\]"),
        ("n: int = 3  # points [a..b]", r"found \[a..b\]"),
        ("s: str = 'a'  # name [1..2]", "for str"),
        ("n: int = 3  # points [9..1]", "empty"),
        ("n: int = 3  # points {1, two}", "choices must be int"),
        ("b: bool = True  # flag {true}", "choices must be bool"),
        ("s: str = 'a'  # name {a,}", "choices must be str"),
    ],
)
def test_declarations_outside_the_grammar(source, message):
    with pytest.raises(InputError, match=message):
        grammar.declarations(source)


@pytest.mark.parametrize(
    "source", ["n: int = 0  # [1..]", "n: int = True", "s: str = 'x'  # {a, b}"]
)
def test_a_default_must_obey_its_own_declaration(tmp_path, source):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    with pytest.raises(InputError, match="x.ipynb: parameter .* must be"):
        nb.parameters(make_notebook(tmp_path / "x.ipynb", cell))


def test_a_notebook_without_parameters(tmp_path):
    path = make_notebook(tmp_path / "x.ipynb", nbformat.v4.new_code_cell("1"))
    assert nb.parameters(path) == []
    assert nb.check([], {}) == {}
    with pytest.raises(InputError, match="takes no parameters"):
        nb.check([], {"n": 1})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.ipynb", None, "No such file"),
        ("x.txt", "", "must be an .ipynb or .py file"),
        ("x.ipynb", "not json", "not a notebook"),
        ("x.ipynb", "[]", "not a notebook"),
        ("x.ipynb", '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a notebook"),
        ("x.ipynb", b"\xff\xfe", "not a notebook"),
    ],
)
def test_unreadable_notebooks(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        nb.parameters(tmp_path / name)


# -- what is given


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("n=7", "n", 7),
        ("eps=1e-3", "eps", 1e-3),
        ("eps=1", "eps", 1.0),
        ("scale=none", "scale", "none"),
        ("dims=[3, 4]", "dims", [3, 4]),
        ("root=7", "root", "7"),
        ("root=a=b", "root", "a=b"),
        ("root=none", "root", None),
        ("root=", "root", None),
        ("quiet=true", "quiet", True),
    ],
)
def test_values_typed_on_the_command_line(typed, name, value):
    checked = nb.check(nb.parameters(TINY), nb.read_values([], [typed]))
    assert checked == {name: value} and type(checked[name]) is type(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": True}, r"n: must be int, found True \(bool\)"),
        ({"n": "7"}, r"n: must be int, found '7' \(str\)"),
        ({"n": 7.0}, r"n: must be int, found 7.0"),
        ({"n": None}, "n: must be int, found None"),
        ({"n": 0}, r"n: must be in \[1..100\], found 0"),
        ({"eps": 0}, r"eps: must be in \(0..\], found 0"),
        ({"eps": float("nan")}, r"eps: must be in \(0..\], found nan"),
        ({"eps": True}, "eps: must be float"),
        ({"scale": "Matchd"}, "scale: must be one of .* found 'Matchd'; did you mean matched"),
        ({"scale": 3}, "scale: must be str, found 3 .*quote it"),
        ({"dims": 25}, "dims: .*write a list"),
        ({"dims": [25, "a"]}, "dims: must be list"),
        ({"dims": [25, True]}, "dims: must be list"),
        ({"dims": [25, 5000]}, r"dims: must be in \[1..4096\], found 5000"),
        ({"root": 3}, "root: must be str | None"),
        ({"quiet": 1}, "quiet: must be bool"),
        ({"Dim": [1]}, "Dim: there is no such parameter; did you mean dims"),
        (nb.read_values([], ["quiet=yes"]), "quiet: must be bool, found 'yes'"),
        (nb.read_values([], ["dims=[1"]), "dims: must be .* written as in YAML"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(InputError, match=message):
        nb.check(nb.parameters(TINY), values)


def test_all_problems_come_at_once_with_the_list_of_parameters():
    with pytest.raises(InputError) as caught:
        nb.check(nb.parameters(TINY), {"n": 0, "nope": 1, "eps": "x", "quiet": True})
    text = str(caught.value)
    assert all(f"{name}:" in text for name in ("n", "nope", "eps")) and "quiet:" not in text
    assert nb.describe(nb.parameters(TINY), "  ") in text


def test_describe_lists_every_parameter():
    lines = nb.describe(nb.parameters(TINY)).splitlines()
    assert lines[0].split() == ["name", "type", "default", "allowed", "help"]
    assert lines[1].split(maxsplit=4) == ["n", "int", "3", "[1..100]", "points, n = many #"]
    assert len(lines) == 7


def test_later_files_win_and_assignments_win_over_files(tmp_path):
    (tmp_path / "a.yaml").write_text("n: 1\neps: 1e-3\nscale: no\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("n: 2\n", encoding="utf-8")
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    files = [tmp_path / name for name in ("a.yaml", "b.yaml", "empty.yaml")]
    # as YAML 1.2 reads them: 1e-3 is a number and no a text
    assert nb.read_values(files) == {"n": 2, "eps": 1e-3, "scale": "no"}
    assert nb.read_values(files, ["n=3", "n=4"])["n"] == "4"
    assert nb.check(nb.parameters(TINY), nb.read_values([], ["n=010"])) == {"n": 10}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1\n", "must map names to values"),
        ("3\n", "must map names to values"),
        ("1: 2\n", "must map names to values"),
        ("n: [1\n", "not valid YAML"),
        ("n: 1\nn: 2\n", "given twice"),
        ("n: !!python/object:os.system x\n", "not valid YAML"),
        (b"\xff\xfe\xff", "not valid YAML"),
        ("[" * 2000, "not valid YAML"),
    ],
)
def test_unusable_parameter_files(tmp_path, content, message):
    path = tmp_path / "p.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        nb.read_values([path])


@pytest.mark.parametrize("typed", ["n", "=3", " =3"])
def test_assignments_need_a_name(typed):
    with pytest.raises(InputError, match="name=value"):
        nb.read_values([], [typed])


def test_missing_parameter_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        nb.read_values([tmp_path / "gone.yaml"])


# -- a run


@pytest.mark.usefixtures("no_kernel")
def test_refused_before_a_kernel_starts(tmp_path):
    source = make_notebook(tmp_path / "x.ipynb", nbformat.v4.new_code_cell("1"))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    (tmp_path / "folder.ipynb").mkdir()
    cases = [
        ({"values": {"n": 1}}, "no such parameter"),
        ({"out": source}, "another .ipynb"),
        ({"out": tmp_path / "y.html"}, "another .ipynb"),
        ({"out": tmp_path / "file" / "y.ipynb"}, "cannot write"),
        ({"out": tmp_path / "folder.ipynb"}, "it is a folder"),
        ({"out": tmp_path / "y.ipynb", "html": tmp_path / "y.pdf"}, "must be an .html file"),
        ({"out": tmp_path / "y.ipynb", "html": tmp_path / "file" / "y.html"}, "cannot write"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            nb.run(source, **arguments)
    with pytest.raises(InputError, match="No such file"):
        nb.run(tmp_path / "gone.ipynb")


def test_two_runs_are_equal_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", "of the user")
    before = TINY.read_bytes()
    Path("build/runs").mkdir(parents=True)
    Path("build/runs/tiny.failed.ipynb").write_text("of an earlier run", encoding="utf-8")
    values = nb.read_values([], ["n=5", "scale=none", "root={x}"])
    first = nb.run(TINY, values=values, html="page/tiny.html")
    assert first == Path("build/runs/tiny.ipynb")
    second = nb.run(TINY, "{braces}/tiny.ipynb", values)
    assert first.read_bytes() == second.read_bytes()
    assert TINY.read_bytes() == before
    assert os.environ["IPYTHONDIR"] == "of the user"
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == [
        "tiny.html",
        "tiny.ipynb",
        "tiny.ipynb",
    ]

    node = nbformat.read(first, as_version=4)
    nbformat.validate(node)
    assert node.metadata.papermill == {"parameters": {"n": 5, "root": "{x}", "scale": "none"}}
    (injected,) = (c for c in node.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "hide-input" in injected.metadata.tags
    printed = [
        o.text for c in node.cells for o in c.get("outputs", []) if o.get("name") == "stdout"
    ]
    assert printed[0].splitlines()[0] == "5 0.01 none [25, 100] {x} False"

    text = Path("page/tiny.html").read_text(encoding="utf-8")
    assert "<title>A tiny notebook</title>" in text and "scale = &#x27;none&#x27;" in text
    assert 'alt="A &amp; &lt;b&gt;."' in text
    assert '<a href="#fig-dot">Figure 1</a>' in text and '<figure id="fig-dot">' in text
    assert "IPython.display" not in text  # remove-input
    assert text.index("<details>") < text.index("uuid4")  # hide-input


def test_a_failing_cell_leaves_a_copy_that_shows_where(tmp_path):
    target = tmp_path / "out.ipynb"
    target.write_text("the good one of yesterday", encoding="utf-8")
    with pytest.raises(nb.NotebookError, match=r"cell \[4\] raised ZeroDivisionError") as caught:
        nb.run(FAILING, target, html=tmp_path / "x.html")
    assert (caught.value.cell, caught.value.name) == (4, "ZeroDivisionError")
    assert caught.value.failed == tmp_path / "out.failed.ipynb"
    assert target.read_text(encoding="utf-8") == "the good one of yesterday"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.failed.ipynb", "out.ipynb"]
    shown = caught.value.failed.read_text(encoding="utf-8")
    assert "division by zero" in shown and "start_time" not in shown


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_run_leaves_nothing(tmp_path):
    code = (
        f"from adlib import notebook; notebook.run({str(FAILING)!r}, 'out.ipynb', {{'wait': 60.0}})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tiny.hear_ctrl_c,
    )
    try:
        deadline = time.monotonic() + 60
        # the part appears with the first cell
        while not list(tmp_path.glob(".out.*.part.ipynb")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
    assert not (tmp_path / "out.ipynb").exists()
    assert not list(tmp_path.glob(".out.*.part.ipynb"))


# -- the page


class Page(HTMLParser):
    """What a browser would load or run."""

    def __init__(self, path: Path):
        super().__init__()
        self.addresses, self.scripts, self.tags, self.handlers, self.policy = [], [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[name] for name in ("src", "href", "data") if name in found]
        self.handlers += [name for name in found if name.startswith("on") or name == "style"]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)
            self.tags[-1] = "read"


HOSTILE = """# Title <script>alert(1)</script>

<img src="x" onerror="alert(1)"> <a href="javascript:alert(1)">a</a>
<a href="da&#9;ta:text/html,x">b</a> <a href="data&#58;text/html,x">c</a> <iframe src="http://evil.example/"></iframe>
<img src="http://evil.example/x.png" alt="far"> <svg onload="alert(1)"></svg>
<style>body { background: url(http://evil.example/) }</style> <p style="color:red">p</p>
"""


def hostile_notebook(path: Path) -> Path:
    v4 = nbformat.v4
    output = v4.new_output(
        "display_data",
        {"text/html": HOSTILE, "application/javascript": "alert(1)", "text/plain": "plain"},
    )
    picture = v4.new_output("display_data", {"image/png": 'x" onerror="alert(1)'})
    stream = v4.new_output("stream", text="<script>alert(1)</script>\x1b[31mred\x1b[0m")
    failed = v4.new_output(
        "error", ename="E", evalue="<b>", traceback=["<script>alert(1)</script>"]
    )
    code = v4.new_code_cell(
        "x = '<script>alert(1)</script>'", outputs=[output, picture, stream, failed]
    )
    code.metadata["mystnb"] = {"image": {"alt": '"><script>alert(1)</script>'}}
    odd = v4.new_code_cell("1", metadata={"mystnb": "text", "tags": []})
    raw = v4.new_raw_cell("<script>alert(1)</script>", metadata={"raw_mimetype": "text/html"})
    return make_notebook(path, v4.new_markdown_cell(HOSTILE), code, odd, raw)


def test_html_from_a_notebook_is_made_harmless(tmp_path):
    page = Page(nb.page(hostile_notebook(tmp_path / "x.ipynb"), tmp_path / "x.html"))
    assert not {"script", "iframe", "svg", "object", "link"} & set(page.tags)
    assert page.handlers == []
    assert [a for a in page.addresses if not a.startswith(("data:image/", "#"))] == []
    assert "script-src 'none'" in page.policy and "default-src 'none'" in page.policy


def test_a_page_with_maths_brings_mathjax_and_allows_nothing_else(tmp_path):
    maths = nbformat.v4.new_markdown_cell("$x^2$")
    page = Page(nb.page(make_notebook(tmp_path / "x.ipynb", maths), tmp_path / "x.html"))
    assert len(page.scripts) == 2 and page.addresses == []
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    assert re.findall(r"'sha256-([^']+)'", page.policy) == digests


def test_tags_leave_out_what_they_say(tmp_path):
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell(
            f"code_{tag[:8]}",
            metadata={"tags": [tag]},
            outputs=[v4.new_output("stream", text=f"out {tag}")],
        )
        for tag in ("remove-cell", "remove-input", "remove-output", "hide-input")
    ]
    target = nb.page(make_notebook(tmp_path / "x.ipynb", *cells), tmp_path / "x.html")
    text = target.read_text(encoding="utf-8")
    assert "out remove-input" in text and "out hide-input" in text
    assert "out remove-cell" not in text and "out remove-output" not in text
    assert "<details><summary>Code</summary>" in text


def test_a_page_that_cannot_be_written(tmp_path):
    source = make_notebook(tmp_path / "x.ipynb", nbformat.v4.new_code_cell("1"))
    (tmp_path / "x.html").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        nb.page(source, tmp_path / "x.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.html", "x.ipynb"]


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        (
            "```{math}\n:label: eq-a\na_1 = b\n```",
            "\\begin{equation}\\label{eq-a}\na_1 = b\n\\end{equation}",
        ),
        ("```{math}\na\n```", "$$\na\n$$"),
        ("```{math}\na \\\\ b\n```", "$$\n\\begin{split}\na \\\\ b\n\\end{split}\n$$"),
        ("$$ a $$ (eq-b)", "\\begin{equation}\\label{eq-b}\na\n\\end{equation}"),
        ("see {eq}`eq-a`", "see $\\eqref{eq-a}$"),
        ("{numref}`fig-x` and {ref}`there <fig-x>`", "[Figure 2](#fig-x) and [there](#fig-x)"),
        ("{cite:p}`defard2021`, {doc}`how to <read>`", "defard2021, how to"),
        (":::{note}\nBe {math}`x`.\n:::", "> **Note**\n>\n> Be $x$."),
        ("````{tip} Title\n```python\n1\n```\n````", "> **Title**\n>\n> ```python\n> 1\n> ```"),
        ("(sec-x)=\n# Head", "# Head"),
        ("```python\n{eq}`x`\n```", "```python\n{eq}`x`\n```"),
        ("```{csv-table}\na\n```", "```{csv-table}\na\n```"),
        ("```{math}\nnever closed", "$$\nnever closed\n$$"),
    ],
)
def test_myst_becomes_plain_markdown(myst, markdown):
    assert to_markdown(myst, {"fig-x": 2}).strip() == markdown
