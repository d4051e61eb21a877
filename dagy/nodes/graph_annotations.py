"""The types of a graph's parameters, as a document has them: annotations in text, which are never just evaluated.

`read_annotation` takes what consists of the types below, such as "int", "date | None" or "list[str]", and nothing else:
no text in it either, which Python would take for an annotation of its own and evaluate.
"""

from __future__ import annotations

import ast
import collections.abc
import datetime
import decimal
import pathlib
import typing
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from dagy.errors import did_you_mean, shown

_BUILTINS = (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)
_PLAIN = frozenset(each.__name__ for each in _BUILTINS)
_MODULES: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (collections.abc, ("Collection", "Mapping", "Sequence")),
    (datetime, ("date", "datetime", "time", "timedelta")),
    (decimal, ("Decimal",)),
    (pathlib, ("Path",)),
    (typing, ("Any", "Dict", "List", "Literal", "Optional", "Union")),
    (uuid, ("UUID",)),
)
_HOMES: Mapping[str, ModuleType] = MappingProxyType({name: module for module, names in _MODULES for name in names})


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation: its text as Python itself would write it, and the module of each name that is not built in."""

    text: str
    modules: Mapping[str, str]

    @property
    def is_plain(self) -> bool:
        """Whether it is empty or the name of a built-in type."""
        return not self.text or self.text in _PLAIN

    @property
    def names(self) -> dict[str, object]:
        """What evaluating its text needs."""
        return {name: getattr(_HOMES[name], name) for name in self.modules}


def read_annotation(text: str) -> Annotation:
    """The annotation in `text`, which may be empty. Raises `ValueError`, whose text says what is wrong with it.

    Types go by their own names: `datetime.date` is read as `date`.
    """
    if not text:
        return Annotation("", {})
    names: set[str] = set()
    try:
        written = _written(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, RecursionError, MemoryError):
        raise _no_annotation(text) from None
    found = Annotation(written, {name: _HOMES[name].__name__ for name in sorted(names)})
    try:
        eval(written, found.names)
    except Exception as error:  # noqa: BLE001 (whatever the types make of one another)
        raise ValueError(f"has the type {shown(text)}, which is none: {error}") from None
    return found


def _no_annotation(text: str) -> ValueError:
    return ValueError(f"has the type {shown(text)}, which is no annotation; write one, such as 'str' or 'int | None'")


def _written(node: ast.expr, names: set[str]) -> str:
    """The text of an annotation; `names` gets those that are not built in. Raises `ValueError` for what is none."""
    match node:
        case ast.Constant(value=None):
            return "None"
        case ast.Name(id=name) if name in _PLAIN:
            return name
        case ast.Name(id=name) if name in _HOMES:
            names.add(name)
            return name
        case ast.Attribute(attr=name) if name in _HOMES and ast.unparse(node.value) == _HOMES[name].__name__:
            names.add(name)
            return name
        case ast.Name() | ast.Attribute():
            told = ast.unparse(node)
            raise ValueError(f"has the unknown type {told!r}{did_you_mean(told, [*_PLAIN, *_HOMES])}")
        case ast.Subscript(value=value, slice=inside):
            outer = _written(value, names)
            items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            return f"{outer}[{', '.join(_item(each, outer, names) for each in items)}]"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{_written(left, names)} | {_written(right, names)}"
        case _:
            raise _no_annotation(ast.unparse(node))


def _item(node: ast.expr, outer: str, names: set[str]) -> str:
    """The text of what stands in the brackets of the type `outer`."""
    match node:
        case ast.Constant(value=bool() | int() | str() as value) if outer == "Literal":
            return repr(value)
        case ast.Constant(value=value) if value is ... and outer == "tuple":
            return "..."
        case _:
            return _written(node, names)
