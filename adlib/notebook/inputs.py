"""The parameters of a notebook: what it takes, and whether given values are right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from pydantic import TypeAdapter, ValidationError

from adlib.errors import InputError
from adlib.notebook.grammar import Parameter, declarations, element, is_optional
from adlib.notebook.values import Typed, parse_yaml, shortened


def read_notebook(path: str | Path) -> nbformat.NotebookNode:
    """Read a notebook, an ``.ipynb`` or its ``.py`` source (jupytext percent format).

    Raises
    ------
    InputError
        If the file is missing or is no notebook.
    """
    path = Path(path)
    if path.suffix not in (".ipynb", ".py"):
        raise InputError(f"a notebook must be an .ipynb or .py file, found {path}")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            import jupytext

            return jupytext.reads(text, fmt="py:percent")
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        return notebook
    except OSError as error:
        raise InputError(f"cannot read the notebook {path}: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a notebook of format 4: {reason}") from None


def parameters(path: str | Path) -> list[Parameter]:
    """List what a notebook takes, from its cell tagged ``parameters``.

    Read from the source by `adlib.notebook.grammar`; nothing is executed. (papermill's own
    inspection splits lines at ``#`` and ``=``, also inside strings and help texts.)

    Parameters
    ----------
    path : path
        An ``.ipynb`` or its ``.py`` source.

    Returns
    -------
    list of Parameter
        In the order of the cell; empty if there is no such cell.

    Raises
    ------
    InputError
        If the notebook cannot be read, or a parameter is declared outside the grammar or has a
        default that its own declaration forbids.
    """
    cells = [c for c in read_notebook(path).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) > 1:
        raise InputError(f"{path}: one cell may be tagged 'parameters', found {len(cells)}")
    if not cells:
        return []
    try:
        found = declarations(cells[0].source)
        for parameter in found:
            _checked(parameter, parameter.default)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return found


def check(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check values against what a notebook takes.

    A bool is no int, an int is taken for a float, a text is never taken for a number. For an
    ``Optional`` parameter the words ``none`` and ``None`` mean ``None``.

    Parameters
    ----------
    parameters : sequence of Parameter
    values : mapping of str to object
        From `read_values`, or plain Python values.

    Returns
    -------
    dict
        The values given, in the order of the cell; ints are floats where the type is float.

    Raises
    ------
    InputError
        With all that is wrong in one message: for each value the rule and what was found, and
        the list of valid parameters.
    """
    known = {parameter.name: parameter for parameter in parameters}
    problems, checked = [], {}
    for name, value in values.items():
        if name not in known:
            problems.append(f"{name}: there is no such parameter{_suggest(name, known)}")
            continue
        try:
            checked[name] = _checked(known[name], value)
        except InputError as error:
            problems.append(str(error).removeprefix("parameter "))
    if problems:
        raise InputError("\n".join([*problems, "valid parameters:", describe(parameters, "  ")]))
    return {name: checked[name] for name in known if name in checked}


def describe(parameters: Sequence[Parameter], indent: str = "") -> str:
    """Lay out parameters as text, one a line: name, type, default, what is allowed, help."""
    if not parameters:
        return f"{indent}none: this notebook takes no parameters"
    rows = [(p.name, p.annotation, repr(p.default), allowed(p), p.help) for p in parameters]
    rows.insert(0, ("name", "type", "default", "allowed", "help"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    )
    return "\n".join(indent + line.rstrip() for line in lines)


def allowed(parameter: Parameter) -> str:
    """What a parameter allows beside its type: ``[1..100]``, ``{a, b}`` or nothing."""
    if parameter.choices is not None:
        return "{" + ", ".join(map(str, parameter.choices)) + "}"
    return "" if parameter.bounds is None else str(parameter.bounds)


def _checked(parameter: Parameter, value: Any) -> Any:
    """The value as the parameter's type, or an InputError that names the parameter."""
    if isinstance(value, Typed):
        value = _parsed(parameter, value)
    if is_optional(parameter.type) and isinstance(value, str) and value.lower() == "none":
        value = value if value in (parameter.choices or ()) else None
    try:
        value = TypeAdapter(parameter.type).validate_python(value, strict=True)
    except ValidationError:
        hint = ""
        if element(parameter.type) is str:
            hint = "; quote it in YAML to make it text"
        elif parameter.annotation.startswith("list") and not isinstance(value, list):
            hint = f"; write a list, for example {parameter.default!r}"
        raise InputError(
            f"parameter {parameter.name}: must be {parameter.annotation}, "
            f"found {shortened(value)} ({type(value).__name__}){hint}"
        ) from None
    for item in value if isinstance(value, list) else [value]:
        _check_item(parameter, item)
    return value


def _check_item(parameter: Parameter, item: Any) -> None:
    if item is None:
        return
    if parameter.bounds is not None and item not in parameter.bounds:
        raise InputError(
            f"parameter {parameter.name}: must be in {parameter.bounds}, found {shortened(item)}"
        )
    if parameter.choices is not None and item not in parameter.choices:
        raise InputError(
            f"parameter {parameter.name}: must be one of {', '.join(map(str, parameter.choices))}, "
            f"found {shortened(item)}{_suggest(str(item), map(str, parameter.choices))}"
        )


def _parsed(parameter: Parameter, text: str) -> Any:
    """Read a value typed on the command line: text stays text where the type is str."""
    if parameter.type is str:
        return str(text)
    if parameter.type == str | None:
        return None if text in ("", "~", "null") else str(text)
    try:
        return parse_yaml(text)
    except ValueError:
        raise InputError(
            f"parameter {parameter.name}: must be {parameter.annotation} written as in YAML, "
            f"found {shortened(str(text))}"
        ) from None


def _suggest(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""
