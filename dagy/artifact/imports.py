"""What a module's text imports, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from dagy.errors import SourceError


class Import(NamedTuple):
    """One import, wherever in the text it stands."""

    module: str  # as written, without the leading dots; empty in `from . import name`
    level: int  # how many leading dots
    names: tuple[str, ...]  # what is taken from it, which may be modules too
    line: int
    optional: bool  # the code goes on without it: it handles ImportError, or asks for a version or platform first


def imports_of(text: str, *, where: str) -> tuple[Import, ...]:
    """What `text` imports, in order, without what only a type checker sees. A `SourceError` calls the text `where`."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SourceError(f"{where}{line}: {getattr(error, 'msg', error)}") from error
    return tuple(sorted(_found(tree), key=lambda each: each.line))


def _found(tree: ast.Module) -> Iterator[Import]:
    todo: list[tuple[ast.AST, bool]] = [(tree, False)]
    while todo:
        node, optional = todo.pop()
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield Import(alias.name, 0, (), node.lineno, optional)
            case ast.ImportFrom(module=module, names=aliases, level=level):
                yield Import(module or "", level, tuple(alias.name for alias in aliases), node.lineno, optional)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str() as module), *_],
            ) if module and not module.startswith("."):
                yield Import(module, 0, (), node.lineno, optional)
            case _:
                pass
        todo.extend(_inside(node, optional))


def _inside(node: ast.AST, optional: bool) -> Iterator[tuple[ast.AST, bool]]:
    match node:
        case ast.Try(handlers=handlers) | ast.TryStar(handlers=handlers) if any(map(_handles_import_error, handlers)):
            tried: list[ast.AST] = [*node.body, *handlers]
            yield from ((each, True) for each in tried)
            yield from ((each, optional) for each in [*node.orelse, *node.finalbody])
        case ast.If(test=test) if _mentions(test, {"TYPE_CHECKING"}):
            yield from ((each, optional) for each in node.orelse)
        case ast.If(test=test) if _mentions(test, {"version_info", "platform"}):
            yield from ((each, True) for each in [*node.body, *node.orelse])
        case _:
            yield from ((each, optional) for each in ast.iter_child_nodes(node))


def _handles_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or _mentions(
        handler.type, {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    )


def _mentions(expression: ast.expr, names: set[str]) -> bool:
    return any(
        (isinstance(node, ast.Name) and node.id in names) or (isinstance(node, ast.Attribute) and node.attr in names)
        for node in ast.walk(expression)
    )
