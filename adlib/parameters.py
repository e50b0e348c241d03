"""Parameters of a method: what a constructor accepts, checked by name, type and range.

A method states its parameters once, as annotated keyword-only arguments of its constructor
(``dim: Annotated[int, Field(ge=1, description="...")] = 100``). The command line, the sweeps and
the constructor itself all check against that statement.
"""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from adlib.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """One named parameter of a method.

    Attributes
    ----------
    name : str
    annotation : object
        The type as written, with its constraints (``typing.Annotated`` included).
    default : object
    help : str
        One line for a person.
    """

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def allowed(self) -> str:
        """What values are allowed, in words: ``integer >= 1``, ``one of 'a', 'b'``."""
        return _allowed(TypeAdapter(self.annotation).json_schema())


def of(method: type) -> dict[str, Parameter]:
    """List the parameters of a method: its annotated keyword-only constructor arguments.

    Parameters
    ----------
    method : type
        A class whose constructor only stores its arguments.

    Returns
    -------
    dict of str to Parameter
        In the order of the constructor.
    """
    hints = typing.get_type_hints(method.__init__, include_extras=True)
    found = {}
    for name, argument in inspect.signature(method.__init__).parameters.items():
        constraints = [
            m for m in getattr(hints.get(name), "__metadata__", ()) if isinstance(m, FieldInfo)
        ]
        if argument.kind is argument.KEYWORD_ONLY and constraints:
            text = constraints[0].description or ""
            found[name] = Parameter(name, hints[name], argument.default, text)
    return found


def check(method: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the full set of parameters of a method: its defaults overridden by `values`.

    Types are strict: a string is never read as a number, nor True as 1; an integer is accepted
    where a float is asked for, or a text (``layers=3`` beside ``layers=2+3``). NumPy's scalars
    count as Python's.

    Raises
    ------
    InputError
        A name is unknown, or a value has the wrong type or lies outside its range.
    """
    known = of(method)
    complete = {name: parameter.default for name, parameter in known.items()}
    for name, value in values.items():
        if name not in known:
            raise InputError(unknown("parameter", name, known, of=method.__name__))
        try:
            plain = value.item() if isinstance(value, np.generic) else value
            if type(plain) is int and _takes_only_text(known[name]):
                plain = str(plain)
            complete[name] = TypeAdapter(known[name].annotation).validate_python(plain, strict=True)
        except ValidationError as error:
            raise InputError(
                f"{method.__name__}: {name} must be {known[name].allowed}, found {value!r}; "
                "change it"
            ) from error
    return complete


def preset(method: type, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of one of a method's ``PRESETS``, overridden by `changes`.

    Raises
    ------
    InputError
        The method has no preset of this name.
    """
    presets = getattr(method, "PRESETS", {})
    if name not in presets:
        raise InputError(unknown("preset", name, presets, of=method.__name__))
    return {**presets[name], **changes}


def unknown(kind: str, name: object, known: Iterable[str], of: str | None = None) -> str:
    """Word the error for a name that does not exist: what was found, what there is, a near miss."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    whose = f"{of} has no" if of else "no"
    return f"{whose} {kind} {name!r}; there is {', '.join(choices) or 'none'}{hint}"


def read_assignments(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Read ``name=value`` texts as the command line gives them; commas separate several values.

    A value is an integer, else a number, else ``true``, ``false`` or ``null``, else a text:
    ``dim=25,50`` gives ``{'dim': [25, 50]}``. Plain Python rules, not YAML's, which read ``1e-4``
    as a text, ``010`` as 8 and ``1:40`` as 100.

    Raises
    ------
    InputError
        A text has no ``=``, or names a parameter twice.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(
                f"a setting is written name=value, found {text!r}; for example dim=100"
            )
        if name.strip() in grid:
            raise InputError(
                f"{name.strip()} is set twice; write its values as one list: {name.strip()}=A,B"
            )
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            raise InputError(f"values are separated by single commas, found {text!r}; correct it")
        grid[name.strip()] = [read_scalar(part) for part in parts]
    return grid


def read_scalar(text: str) -> Any:
    """Read one value: an integer, a number, ``true``, ``false``, ``null``, or else the text."""
    words = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def write_scalar(value: Any) -> str:
    """Write one value as `read_scalar` reads it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _takes_only_text(parameter: Parameter) -> bool:
    schema = TypeAdapter(parameter.annotation).json_schema()
    return schema.get("type") == "string" and "enum" not in schema


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(repr(value) for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_allowed(part) for part in schema["anyOf"])
    names = {
        "integer": "an integer",
        "number": "a number",
        "string": "a text",
        "boolean": "true or false",
        "null": "null",
    }
    words = names.get(schema.get("type", ""), schema.get("type", "a value"))
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([words, " and ".join(limits)]).strip()
