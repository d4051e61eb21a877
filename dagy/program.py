"""A flow that can be run: its `FlowSpec`, bound to the functions that do the work.

The engine takes a `Program` and nothing else, so whatever can make one (a traced `@flow`, the cells of a notebook, a
graph of nodes) can be run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

from dagy.errors import ParameterError, shown
from dagy.hooks import Hooks
from dagy.parameters import Parameters
from dagy.retry import RetryPolicy
from dagy.spec import Binding, Constant, DictOf, FlowSpec, FromParameter, FromTask, ListOf, Path


@dataclass(frozen=True, slots=True)
class Actual:
    """A literal as this process holds it: where the spec has a `Held`, or a copy of a list or a dict."""

    value: object


# A `Binding` whose every value is at hand or will be, once the tasks it names are done.
Source: TypeAlias = Union[Binding, Actual]  # noqa: UP007 (forward names)


@dataclass(frozen=True, slots=True)
class TaskCode:
    """What does the work of a task; the calls of one task share it."""

    function: Callable[..., Any]
    parameters: Parameters
    is_async: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    hooks: Hooks = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A `FlowSpec` with, for each task's id, its code and the sources of its inputs."""

    spec: FlowSpec
    code: Mapping[str, TaskCode]
    inputs: Mapping[str, Mapping[str, Source]]
    result: Source | None = None
    hooks: Hooks = field(default_factory=dict)


def resolve(source: Source, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """The value that `source` stands for, with the tasks' results by id in `values`."""
    if type(source) is FromTask:
        value = values[source.task]
        return _part(value, source.path, f"task {source.task!r} returned") if source.path else value
    match source:
        case Constant(value=value) | Actual(value=value):
            return value
        case FromParameter(name=name, path=path):
            return _part(parameters[name], path, f"the flow's parameter {name!r} is")
        case ListOf(items=items, form=form):
            found = [resolve(each, values, parameters) for each in items]
            return found if form == "list" else tuple(found) if form == "tuple" else set(found)
        case DictOf(items=pairs):
            return {key: resolve(each, values, parameters) for key, each in pairs}
    raise ParameterError(f"a value of type {source.type} did not travel with the flow; only its own process has it")  # type: ignore[union-attr]


def _part(value: Any, path: Path, what: str) -> Any:
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            keys = f" with the keys {shown(list(value))}" if isinstance(value, Mapping) else ""
            raise ParameterError(f"{what} {shown(value)}{keys}, which has no part {key!r}") from None
    return value
