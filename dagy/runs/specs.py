"""A flow's spec as JSON that `FlowSpec.model_validate_json` reads, written without loading what reads it.

What has its default is left out. A run is recorded before its first task starts, and loading pydantic for that would
take longer than most runs do. There may be very many tasks, so what is usual for them is written straight away, and
only the rest by looking at its class.
"""

from __future__ import annotations

import dataclasses
import json
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from dagy.spec import Binding, Constant, FlowSpec, FromTask, ListOf, TaskSpec

_KEPT = frozenset({"kind", "schema_version"})  # what tells readers how to read
_APART = ("id", "inputs", "after")  # what the tasks of one function do not share


def spec_json(spec: FlowSpec) -> str:
    """`spec` as JSON."""
    shared: dict[tuple[object, ...], str] = {}
    fields = _fields(spec)
    fields.pop("tasks", None)
    fields.pop("result", None)
    tasks = ",".join([_task(each, shared) for each in spec.tasks])
    result = "" if spec.result is None else f',"result":{_binding(spec.result)}'
    return f'{_json(fields)[:-1]},"tasks":[{tasks}]{result}}}'


def _task(task: TaskSpec, shared: dict[tuple[object, ...], str]) -> str:
    key = (task.name, task.function, id(task.options), task.description, task.mapped, task.group)
    text = shared.get(key)
    if text is None:
        common = {name: value for name, value in _fields(task).items() if name not in _APART}
        text = shared[key] = _json(common)[1:-1]
    if task.inputs:
        inputs = ",".join([f"{quoted(name)}:{_binding(each)}" for name, each in task.inputs.items()])
        text = f'{text},"inputs":{{{inputs}}}'
    if task.after:
        text = f'{text},"after":{_json(task.after)}'
    return f'{{"id":{quoted(task.id)},{text}}}'


def _binding(binding: Binding) -> str:
    match binding:
        case FromTask(task=task, path=()):
            return f'{{"task":{quoted(task)},"kind":"task"}}'
        case Constant(value=value):
            return f'{{"value":{repr(value) if type(value) is int else _json(value)},"kind":"constant"}}'
        case ListOf(items=items, form=form):
            return f'{{"items":[{",".join([_binding(each) for each in items])}],"form":"{form}","kind":"list"}}'
        case _:
            return _json(binding)


def _json(value: object) -> str:
    return json.dumps(value, default=_fields, separators=(",", ":"))


def _fields(value: Any) -> dict[str, object]:
    found = {}
    for name, default in _defaults(type(value)):
        each = getattr(value, name)
        if each is not default and each != default:
            found[name] = each
    return found


_DEFAULTS: dict[type, list[tuple[str, object]]] = {}  # by class, looked up once


def _defaults(kind: type) -> list[tuple[str, object]]:
    """The fields of a dataclass, each with the default that need not be written."""
    if kind in _DEFAULTS:
        return _DEFAULTS[kind]
    nothing = object()
    found = []
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else nothing
        found.append((field.name, nothing if field.name in _KEPT or default is dataclasses.MISSING else default))
    return _DEFAULTS.setdefault(kind, found)
