"""Values for parameters as people write them: YAML files and ``name=value`` on a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from adlib.errors import InputError


class Typed(str):
    """A value as typed on the command line: YAML, unless its parameter takes text."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-3 is a number, ``no`` and 12:30 are text, keys are unique."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), [*first])


_resolve("null", r"^(?:~|null|Null|NULL)$", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?[0-9]+$", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_resolve("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+.")
_Loader.add_constructor(
    "tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node))
)


def read_values(
    files: Iterable[str | Path] = (), assignments: Iterable[str] = ()
) -> dict[str, Any]:
    """Collect values for parameters from YAML files and ``name=value`` texts.

    Parameters
    ----------
    files : iterable of paths
        YAML mappings from name to value; a later file wins.
    assignments : iterable of str
        ``name=value``; they win over the files, a later one over an earlier one. How the value is
        read depends on the parameter's type: `adlib.notebook.check` does it.

    Raises
    ------
    InputError
        If a file is unreadable, no YAML or no mapping, or a text has no ``name=``.
    """
    values: dict[str, Any] = {}
    for file in files:
        values |= _read_yaml(Path(file))
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise InputError(f"a parameter must be given as name=value, found {assignment!r}")
        values[name.strip()] = Typed(value)
    return values


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the parameter file {path}: {error.strerror}") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise InputError(f"the parameter file {path} is not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(
            f"the parameter file {path} must map names to values (name: value), "
            f"found {shortened(values)}"
        )
    return values


def parse_yaml(text: str) -> Any:
    """Read one value in YAML; raises ValueError if it is not valid."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def shortened(value: Any) -> str:
    """A value for a message, at most 80 characters long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
