"""The grammar of a notebook's ``parameters`` cell: what it declares, read without running it.

One parameter a statement, its help in the comment, what is allowed at the comment's end::

    n_seeds: int = 3            # seeds per setting [1..100]
    eps: float = 0.01           # regularisation (0..]
    scale: str = "nominal"      # how eps follows the projection {nominal, matched}
    dims: list[int] = [25, 50]  # reduced dimensions [1..4096]
    root: str | None = None     # data set folder; none: the embedded data

``[`` and ``]`` include an end of a range, ``(`` and ``)`` exclude it, a missing number leaves it
open. For a list, range and choices hold for each element.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from typing import Any, get_args

from adlib.errors import InputError

SIMPLE = {"int": int, "float": float, "bool": bool, "str": str}
ALLOWED = "int, float, bool, str, list[...], ... | None"

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"([\[(])\s*({_NUMBER})?\s*\.\.\s*({_NUMBER})?\s*([\])])$")
_TAIL = re.compile(r"(\[[^\[\]]*\]|\{[^{}]*\}|[\[(][^\[\]()]*\.\.[^\[\]()]*[\])])$")


@dataclass(frozen=True)
class Bounds:
    """A range of numbers; ``None`` leaves an end open.

    Attributes
    ----------
    low, high : float or None
        The ends.
    low_open, high_open : bool
        Whether the end itself is excluded.
    """

    low: float | None
    high: float | None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.low_open else value >= self.low)
        below = self.high is None or (value < self.high if self.high_open else value <= self.high)
        # a NaN lies in no range, an open one included
        return value == value and above and below

    def __str__(self) -> str:
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{'(' if self.low_open else '['}{low}..{high}{')' if self.high_open else ']'}"


@dataclass(frozen=True)
class Parameter:
    """One statement of the cell.

    Attributes
    ----------
    name : str
    annotation : str
        The type as written.
    type : type or typing construct
        The type it stands for.
    default : object
    help : str
        The comment without what is allowed.
    bounds : Bounds or None
    choices : tuple or None
    """

    name: str
    annotation: str
    type: Any
    default: Any
    help: str
    bounds: Bounds | None
    choices: tuple | None


def is_optional(kind: Any) -> bool:
    """Whether a type of the grammar admits ``None``."""
    return type(None) in get_args(kind)


def element(kind: Any) -> type:
    """The simple type inside ``list[...]`` and ``Optional[...]``, e.g. ``int`` of ``list[int]``."""
    while get_args(kind):
        kind = next(inner for inner in get_args(kind) if inner is not type(None))
    return kind


def declarations(source: str) -> list[Parameter]:
    """Read the source of a ``parameters`` cell.

    Parameters
    ----------
    source : str
        Python; imports are passed over, anything else must be ``name: type = literal``.

    Returns
    -------
    list of Parameter
        In the order of the cell.

    Raises
    ------
    InputError
        If a statement, a type, a default or the allowed values are outside the grammar.
    """
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"the parameters cell must be plain Python, but: {error}") from None
    comments = {
        t.start[0]: t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT
    }
    found = [
        _declaration(statement, comments)
        for statement in tree.body
        if not isinstance(statement, ast.Import | ast.ImportFrom)
    ]
    names = [d.name for d in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"parameter {name} is declared more than once: keep one declaration")
    return found


def _declaration(statement: ast.stmt, comments: dict[int, str]) -> Parameter:
    text = ast.unparse(statement)
    if not (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.value is not None
    ):
        raise InputError(
            f"the parameters cell must hold only lines like `name: type = value  # help`, "
            f"found `{text}`"
        )
    name, annotation = statement.target.id, ast.unparse(statement.annotation)
    kind = _kind(statement.annotation)
    if kind is None:
        raise InputError(f"parameter {name}: its type must be of {ALLOWED}, found {annotation}")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise InputError(
            f"parameter {name}: its default must be a literal, found {ast.unparse(statement.value)}"
        ) from None
    comment = comments.get(statement.end_lineno) or comments.get(statement.lineno, "")
    help_text, bounds, choices = _allowed(name, comment, element(kind))
    return Parameter(name, annotation, kind, default, help_text, bounds, choices)


def _kind(node: ast.expr) -> Any:
    """The type an annotation stands for, or None if it is not of the grammar."""
    match node:
        case ast.Name(id=name) if name in SIMPLE:
            return SIMPLE[name]
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=inner):
            kind = _kind(inner)
            return None if kind is None else list[kind]
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            kind = _kind(inner)
            return None if kind is None else kind | None
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            kind = _kind(inner)
            return None if kind is None else kind | None
    return None


def _allowed(name: str, comment: str, kind: type) -> tuple[str, Bounds | None, tuple | None]:
    """Split a comment into help, range and choices."""
    tail = _TAIL.search(comment)
    if tail is None:
        return comment, None, None
    help_text, text = comment[: tail.start()].strip(), tail.group()
    if text.startswith("{"):
        return help_text, None, _choices(name, text, kind)
    parts = _RANGE.fullmatch(text)
    if parts is None or kind not in (int, float):
        raise InputError(
            f"parameter {name}: its comment must end in a range of numbers like [1..100] or (0..], "
            f"in choices like {{a, b}}, or in neither, found {text} for {kind.__name__}"
        )
    low, high = (None if end is None else float(end) for end in parts.group(2, 3))
    if low is not None and high is not None and low > high:
        raise InputError(f"parameter {name}: the range {text} is empty")
    return help_text, Bounds(low, high, parts.group(1) == "(", parts.group(4) == ")"), None


def _choices(name: str, text: str, kind: type) -> tuple:
    words = [word.strip() for word in text[1:-1].split(",")]
    try:
        if kind is bool or "" in words:
            raise ValueError
        return tuple(kind(word) for word in words)
    except ValueError:
        raise InputError(
            f"parameter {name}: choices must be {kind.__name__} values between commas, found {text}"
        ) from None
