"""Where a flow that is in memory comes from: the file that defines it, also when that is the program itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

from dagy.artifact.source import Source, TextLoader, read_source
from dagy.errors import SourceError
from dagy.flows import Flow
from dagy.tasks import Task

SourceProvider: TypeAlias = Callable[[Flow[..., Any]], Source | None]

_providers: list[SourceProvider] = []


def provide_sources(provider: SourceProvider) -> None:
    """Let `provider` say where flows come from that no file defines, such as those of a notebook's cells.

    It gives None for a flow that it does not know. The one that was added last is asked first.
    """
    if provider not in _providers:
        _providers.append(provider)


def source_of(flow: Flow[..., Any]) -> Source:
    """The code that defines `flow`: what a provider gives, else the text of the flow's file.

    A `SourceError` when no file holds the code, or when the file has been edited since it was imported, so that it is
    not the code that is in memory.
    """
    if (provided := provided_source(flow)) is not None:
        return provided
    name = flow.function.__module__
    module = sys.modules.get(name)
    loader = getattr(module, "__loader__", None)
    if isinstance(loader, TextLoader):
        return loader.source
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        raise SourceError(
            f"flow {flow.name!r} was defined in {name!r}, which is no file; write it into a .py file, or in a notebook "
            "load the extension with %load_ext dagy_nb"
        )
    source = read_source(Path(file))
    if name not in ("__main__", source.module):
        source = Source(source.path, name, source.text)
    if isinstance(loader, SourceFileLoader):
        _check_unchanged(module, source)
    return source


def provided_source(flow: Flow[..., Any]) -> Source | None:
    """The code of a flow that no file defines, where a provider knows it. The flow that is in memory is none of its."""
    found = (provider(flow) for provider in reversed(_providers))
    return next((source for source in found if source is not None), None)


def _check_unchanged(module: ModuleType, source: Source) -> None:
    """Raise `SourceError` unless the file still holds the functions of the module's flows and tasks."""
    try:
        held = set(_codes(compile(source.text, str(source.path), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError) as error:
        raise SourceError(f"{source.path} can't be read as Python any more: {error}") from error
    for value in vars(module).values():
        if not isinstance(value, Flow | Task):
            continue
        code = getattr(value.function, "__code__", None)
        if isinstance(code, CodeType) and code.co_filename == str(source.path) and code not in held:
            raise SourceError(
                f"{source.path} was edited since it was imported: {value.name!r} is not in it as it is here; "
                "start Python again, so that what is built is what the file says"
            )


def _codes(code: CodeType) -> Iterator[CodeType]:
    todo = [code]
    while todo:
        each = todo.pop()
        yield each
        todo += [part for part in each.co_consts if isinstance(part, CodeType)]
