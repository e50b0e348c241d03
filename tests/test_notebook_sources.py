"""The committed notebooks: made from their sources, without output, in the book's form."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from adlib import notebook as nb

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
PROFILES = ("quick", "paper")
MOST_CELLS = 15

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def code_cells(source: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in jupytext.read(source).cells if cell.cell_type == "code"]


def filtered(command: list[str], text: bytes = b"") -> bytes:
    python = [sys.executable, "-m", *command]
    return subprocess.run(python, input=text, capture_output=True, check=True).stdout


@each_source
def test_the_notebook_is_what_its_source_makes(source):
    made = filtered(["jupytext", "--quiet", "--to", "ipynb", "--output", "-", str(source)])
    made = filtered(["nbstripout"], made)
    assert source.with_suffix(".ipynb").read_bytes() == made, "run: make notebooks"


def test_every_notebook_has_a_source():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == {source.stem for source in SOURCES}


@each_source
def test_no_output_is_committed(source):
    cells = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells
    for cell in cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@each_source
def test_every_parameter_has_a_help(source):
    parameters = nb.parameters(source)
    assert parameters, "tag one cell 'parameters'"
    assert [p.name for p in parameters if not p.help] == []


@each_source
def test_notebooks_are_short_and_define_nothing(source):
    cells = code_cells(source)
    assert len(cells) <= MOST_CELLS, "move code to adlib"
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = [
        ast.unparse(part).splitlines()[0]
        for cell in cells
        for part in ast.walk(ast.parse(cell.source))
        if isinstance(part, definitions)
    ]
    assert found == [], "move functions to adlib, with a test"


@each_source
def test_every_figure_has_a_text_for_those_who_cannot_see_it(source):
    for cell in code_cells(source):
        if "figures.svg(" in cell.source:
            mystnb = cell.metadata.get("mystnb", {})
            assert mystnb.get("image", {}).get("alt"), cell.source
            assert mystnb.get("figure", {}).keys() >= {"name", "caption"}, cell.source


@pytest.mark.parametrize("profile", PROFILES)
@each_source
def test_every_profile_gives_valid_values(source, profile):
    values = nb.read_values([ROOT / "params" / profile / f"{source.stem}.yaml"])
    nb.check(nb.parameters(source), values)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_is_left_over(profile):
    files = {path.stem for path in (ROOT / "params" / profile).glob("*.yaml")}
    assert files == {source.stem for source in SOURCES}
