"""A flow's spec as JSON that `FlowSpec.model_validate_json` reads, written without loading what reads it.

What has its default is left out. A run is recorded before its first task starts, and loading pydantic for that would
take longer than most runs do.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from dagy.spec import Binding, Constant, FlowSpec, FromTask, TaskSpec

_KEPT = frozenset({"kind", "schema_version"})  # what tells readers how to read


def spec_json(spec: FlowSpec) -> str:
    """`spec` as JSON."""
    options: dict[int, object] = {}
    whole = {**_fields(spec), "tasks": [_task(each, options) for each in spec.tasks]}
    return json.dumps(whole, default=_fields, separators=(",", ":"))


def _task(task: TaskSpec, options: dict[int, object]) -> dict[str, object]:
    """A task's fields. There may be very many tasks, so the usual ones are taken without looking at the class.

    `options` is by identity, because the tasks of one function share theirs.
    """
    found: dict[str, object] = {"id": task.id, "name": task.name, "function": task.function}
    if task.inputs:
        found["inputs"] = {name: _input(each) for name, each in task.inputs.items()}
    if task.after:
        found["after"] = task.after
    if task.group:
        found["group"] = task.group
    if task.description:
        found["description"] = task.description
    if task.mapped:
        found["mapped"] = task.mapped
    key = id(task.options)
    if key not in options:
        options[key] = _fields(task.options)
    if options[key]:
        found["options"] = options[key]
    return found


def _input(binding: Binding) -> object:
    if type(binding) is FromTask and not binding.path:
        return {"task": binding.task, "kind": "task"}
    if type(binding) is Constant:
        return {"value": binding.value, "kind": "constant"}
    return binding


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
