"""What follows when there is nothing for a task to do: it is skipped *by choice*, which is no failure.

A task is skipped by choice when it raises `SkipTask`, when an input of it is `ABSENT`, and when it needs a task that
was skipped by choice. An input that the task's spec calls `optional` may be `ABSENT`: the task runs, and is given that,
as long as something arrives from one of the tasks that its inputs refer to. When all of these references are `ABSENT`
it is skipped by choice too. The same goes for an item of a mapped task, to which the item is what its input refers to.
What needs a task that failed is skipped in any case, and what is only to come `after` a task is skipped with it.

The choice is made once all that the task needs has ended, so that it is the same in whatever order that happens.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from dagy.engine.reasons import gave_nothing, no_item, other_way
from dagy.errors import SkipTask
from dagy.program import Source, resolve
from dagy.spec import Binding, DictOf, FromTask, ListOf, TaskSpec, references
from dagy.values import ABSENT


def lack(task: TaskSpec, absent: Sequence[str]) -> str | None:
    """For want of which of the `absent` `task` is skipped by choice; None when it may begin.

    These are the ids of the tasks that it needs, and that were skipped by choice, in order.
    """
    if not absent:
        return None
    required, referred = set(task.after), set[str]()
    has_default = False
    for name, binding in task.inputs.items():
        found = [each.task for each in references(binding) if type(each) is FromTask]
        referred.update(found)
        has_default = has_default or _has_default(binding)
        if name not in (task.optional or ()):
            required.update(found)
    if referred.issubset(absent) and not has_default:
        return absent[0]
    return next((each for each in absent if each in required), None)


def holds_absent(source: Source, value: Any) -> bool:
    """Whether `value`, which `source` stands for, is absent, or a part of it that comes from elsewhere is."""
    if value is ABSENT:
        return True
    match source:
        case ListOf(items=items, form=form):  # it may be long
            if any(map(operator.is_, value, itertools.repeat(ABSENT))):
                return True
            has_nested = form != "set" and not _NESTED.isdisjoint(map(type, items))
            return has_nested and any(map(holds_absent, items, value))
        case DictOf(items=pairs):
            return any(holds_absent(each, value[key]) for key, each in pairs)
        case _:
            return False


def check_present(
    task: TaskSpec, absent: Mapping[str, Any], values: Mapping[str, Any], parameters: Mapping[str, Any]
) -> None:
    """Raise `SkipTask` if an input is absent that is not optional, or if nothing arrived; it names who gave nothing.

    `absent` are the inputs that are absent, or hold what is, by name; `values` are what tasks returned, by id, and
    `parameters` the flow's, as for `resolve`.
    """
    if not absent:
        return
    lacking = [name for name in absent if name not in (task.optional or ())]
    if not lacking and _has_arrived(task, absent, values):
        return
    missing = [
        each
        for name in lacking or absent
        for each in (references(task.inputs[name]) if name in task.inputs else ())
        if type(each) is FromTask and _is_absent(each, values)
    ]
    for each in missing:
        if values[each.task] is not ABSENT:
            raise SkipTask(other_way(each.task))
    raise SkipTask(gave_nothing(missing[0].task) if missing else no_item((lacking or list(absent))[0]))


def _has_arrived(task: TaskSpec, absent: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether something came from a task or stands in its place, or the task's inputs do not refer to any."""
    refers = False
    for name, binding in task.inputs.items():
        if _has_default(binding):
            return True
        for each in references(binding):
            if type(each) is FromTask:
                refers = True
                if name not in absent or not (absent[name] is ABSENT or _is_absent(each, values)):
                    return True
    return not refers


def _has_default(binding: Binding) -> bool:
    """Whether there is a list of what tasks return and of a value beside that: what is there when they gave nothing."""
    return type(binding) is ListOf and not all(any(True for _ in references(each)) for each in binding.items)


def _is_absent(source: FromTask, values: Mapping[str, Any]) -> bool:
    """Whether there is nothing where `source` leads to; what is elsewhere is not fetched unless it is a part of it."""
    return (resolve(source, values, {}) if source.path else values[source.task]) is ABSENT


def check_to_map(
    task: TaskSpec, sources: Mapping[str, Source], values: Mapping[str, Any], parameters: Mapping[str, Any]
) -> None:
    """Raise `SkipTask` if the mapped `task` has nothing to go through, or lacks what all its items need."""
    absent = {}
    for name, source in sources.items():
        with contextlib.suppress(Exception):  # it is met again, by who tells it
            if type(source) is FromTask and not source.path:  # it may be elsewhere, and is to stay there
                value = values[source.task]
            else:
                value = resolve(source, values, parameters)
            if holds_absent(source, value):
                absent[name] = value
    check_present(task, absent, values, parameters)
    for name in absent:
        if name in task.mapped:
            raise SkipTask(no_item(name))


_NESTED = frozenset({ListOf, DictOf})
