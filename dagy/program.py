"""A flow that can be run: its `FlowSpec`, bound to the functions that do the work.

The engine takes a `Program` and nothing else, so whatever can make one (a traced `@flow`, the cells of a notebook, a
graph of nodes) can be run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, Union, assert_never

from dagy.errors import ParameterError, shown
from dagy.hooks import Hooks
from dagy.parameters import Parameters
from dagy.retry import RetryPolicy
from dagy.spec import Binding, Constant, DictOf, FlowSpec, FromParameter, FromTask, Held, ListOf, Path, references
from dagy.values import ABSENT, Deferred


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


@dataclass(frozen=True)
class Program:
    """A `FlowSpec` with, for each task's id, its code and the sources of its inputs.

    `retry` says whether and when the run as a whole is tried again.
    """

    spec: FlowSpec
    code: Mapping[str, TaskCode]
    inputs: Mapping[str, Mapping[str, Source]]
    result: Source | None = None
    hooks: Hooks = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # `spec.needs`, for who has it at hand

    def __post_init__(self) -> None:
        if len(self.needs) != len(self.spec.tasks):
            object.__setattr__(self, "needs", self.spec.needs)

    @cached_property
    def result_needs(self) -> frozenset[str]:
        """The ids of the tasks whose values the flow returns, or parts of them."""
        found = references(self.spec.result) if self.spec.result is not None else ()
        return frozenset(each.task for each in found if type(each) is FromTask)


def resolve(source: Source, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """The value that `source` stands for, with the tasks' results by id in `values`, some of them maybe `Deferred`.

    What is absent stays absent, and so does each part of it.
    """
    match source:
        case FromTask(task=task, path=path):
            value = values[task]
            if isinstance(value, Deferred):
                value = value.value()
            return _part(value, path, f"task {task!r} returned") if path else value
        case Constant(value=value) | Actual(value=value):
            return value
        case FromParameter(name=name, path=path):
            value = parameters[name]
            return _part(value, path, f"the flow's parameter {name!r} is") if path else value
        case ListOf(items=items, form=form):
            found = [
                # The first case is the last one in short: lists of outputs may be long.
                values[each.task]
                if type(each) is FromTask and not each.path and not isinstance(values[each.task], Deferred)
                else resolve(each, values, parameters)
                for each in items
            ]
            return found if form == "list" else tuple(found) if form == "tuple" else set(found)
        case DictOf(items=pairs):
            return {key: resolve(each, values, parameters) for key, each in pairs}
        case Held(type=kind):
            raise ParameterError(f"a value of type {kind} did not travel with the flow; only its own process has it")
        case _:
            assert_never(source)


def flow_result(source: Source | None, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """What a flow returns that returns `source`: None in place of what is absent."""
    return None if source is None else _without_absent(source, resolve(source, values, parameters))


def _without_absent(source: Source, value: Any) -> Any:
    if value is ABSENT:
        return None
    match source:
        case ListOf(form="set"):
            return {None if each is ABSENT else each for each in value}
        case ListOf(items=items):
            return type(value)(map(_without_absent, items, value))
        case DictOf(items=pairs):
            return {key: _without_absent(each, value[key]) for key, each in pairs}
        case _:
            return value


def _part(value: Any, path: Path, what: str) -> Any:
    """The part of `value` at `path`. A text leads into a list by way of its items: to the list of their parts."""
    for number, key in enumerate(path):
        if value is ABSENT:
            return value
        if type(key) is str and type(value) is list:
            parts = [each if each is None else _part(each, path[number:], f"{what} a list with") for each in value]
            return [None if each is ABSENT else each for each in parts]
        try:
            value = value[key]
        except (LookupError, TypeError):
            keys = f" with the keys {shown(list(value))}" if isinstance(value, Mapping) else ""
            raise ParameterError(f"{what} {shown(value)}{keys}, which has no part {key!r}") from None
    return value
