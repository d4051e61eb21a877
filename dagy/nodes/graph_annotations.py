"""The types of a graph's parameters, as a document has them: annotations in text, which are never just evaluated.

`read_annotation` takes what consists of the types below, such as "int", "date | None" or "list[str]", and nothing else.
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

from dagy.errors import did_you_mean

_BUILTINS = (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)
_PLAIN: Mapping[str, type] = MappingProxyType({each.__name__: each for each in _BUILTINS})
_MODULES: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (collections.abc, ("Collection", "Mapping", "Sequence")),
    (datetime, ("date", "datetime", "time", "timedelta")),
    (decimal, ("Decimal",)),
    (pathlib, ("Path",)),
    (typing, ("Annotated", "Any", "Dict", "List", "Literal", "Optional", "Union")),
    (uuid, ("UUID",)),
)
_HOMES: Mapping[str, ModuleType] = MappingProxyType({name: module for module, names in _MODULES for name in names})
_BY_MODULE: Mapping[str, frozenset[str]] = MappingProxyType(
    {module.__name__: frozenset(names) for module, names in _MODULES}
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation: its text as Python itself would write it, and what the names in it are."""

    text: str
    modules: frozenset[str] = frozenset()  # those that are named: "datetime" in "datetime.date"
    imported: frozenset[tuple[str, str]] = frozenset()  # (module, name) of each other name that is not built in

    @property
    def is_plain(self) -> bool:
        """Whether it is empty or the name of a built-in type."""
        return not self.text or self.text in _PLAIN

    @property
    def names(self) -> dict[str, object]:
        """What evaluating its text needs."""
        found: dict[str, object] = {name: getattr(_HOMES[name], name) for _, name in self.imported}
        for module in self.modules:
            top = module.partition(".")[0]
            found[top] = collections if top == "collections" else next(m for m, _ in _MODULES if m.__name__ == top)
        return found


def read_annotation(text: str) -> Annotation:
    """The annotation in `text`, which may be empty. Raises `ValueError`, whose text says what is wrong with it."""
    if not text:
        return Annotation("")
    try:
        expression = ast.parse(text, mode="eval").body
        modules: set[str] = set()
        imported: set[tuple[str, str]] = set()
        _read(expression, modules, imported)
        written = ast.unparse(expression)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("is no annotation; write a type, such as 'str' or 'int | None'") from None
    if any(name in modules for _, name in imported):
        raise ValueError("has 'datetime' as a module and as a type; write 'datetime.datetime'")
    found = Annotation(written, frozenset(modules), frozenset(imported))
    try:
        eval(written, {**found.names})
    except Exception as error:  # noqa: BLE001 (whatever the types make of one another)
        raise ValueError(f"is no type: {error}") from None
    return found


def _read(node: ast.expr, modules: set[str], imported: set[tuple[str, str]]) -> None:
    """Note the names in an annotation. Raises `ValueError` for what is none."""
    match node:
        case ast.Name(id=name) if name in _PLAIN:
            pass
        case ast.Name(id=name) if name in _HOMES:
            imported.add((_HOMES[name].__name__, name))
        case ast.Name(id=name):
            raise ValueError(f"has the unknown type {name!r}{did_you_mean(name, [*_PLAIN, *_HOMES])}")
        case ast.Attribute(value=ast.Name() | ast.Attribute() as value, attr=name):
            module = ast.unparse(value)
            if name not in _BY_MODULE.get(module, ()):
                raise ValueError(f"has the unknown type '{module}.{name}'{did_you_mean(name, _HOMES)}")
            modules.add(module)
        case ast.Subscript(value=value, slice=inside):
            _read(value, modules, imported)
            for each in inside.elts if isinstance(inside, ast.Tuple) else [inside]:
                _read(each, modules, imported)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            _read(left, modules, imported)
            _read(right, modules, imported)
        case ast.Constant(value=value) if value is None or value is ... or isinstance(value, bool | int | str):
            pass
        case _:
            raise ValueError("is no annotation; write a type, such as 'str' or 'int | None'")
