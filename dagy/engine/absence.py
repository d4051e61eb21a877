"""What follows when there is nothing for a task to do: it is skipped *by choice*, which is no failure.

A task is skipped by choice when it raises `SkipTask`, when an input of it is `ABSENT`, and when it needs a task that
was skipped by choice. An input that the task's spec calls `optional` may be `ABSENT`: the task runs, and is given that.
What needs a task that failed is skipped in any case, and what is only to come `after` a task is skipped with it.

The choice is made once all that the task needs has ended, so that it is the same in whatever order that happens.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from dagy.engine.reasons import gave_nothing, no_item, other_way
from dagy.errors import SkipTask
from dagy.program import Source, resolve
from dagy.spec import DictOf, FromTask, ListOf, TaskSpec, references
from dagy.values import ABSENT


def required(task: TaskSpec) -> frozenset[str]:
    """The ids of the tasks that `task` can't do without."""
    found = set(task.after)
    for name, binding in task.inputs.items():
        if name not in (task.optional or ()):
            found.update(each.task for each in references(binding) if type(each) is FromTask)
    return frozenset(found)


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
    task: TaskSpec, absent: Iterable[str], values: Mapping[str, Any], parameters: Mapping[str, Any]
) -> None:
    """Raise `SkipTask` if one of the inputs that are `absent` is not optional; it names the task that gave nothing.

    `values` are what tasks returned, by id, and `parameters` the flow's, as for `resolve`.
    """
    for name in absent:
        if name not in (task.optional or ()):
            binding = task.inputs.get(name)
            for each in references(binding) if binding is not None else ():
                if type(each) is FromTask and resolve(each, values, parameters) is ABSENT:
                    raise SkipTask(other_way(each.task) if each.path else gave_nothing(each.task))
            raise SkipTask(no_item(name))


def check_to_map(
    task: TaskSpec, sources: Mapping[str, Source], values: Mapping[str, Any], parameters: Mapping[str, Any]
) -> None:
    """Raise `SkipTask` if the mapped `task` has nothing to go through, or lacks what all its items need."""
    absent = []
    for name, source in sources.items():
        with contextlib.suppress(Exception):  # it is met again, by who tells it
            if type(source) is FromTask and not source.path:  # it may be elsewhere, and is to stay there
                value = values[source.task]
            else:
                value = resolve(source, values, parameters)
            if holds_absent(source, value):
                absent.append(name)
    check_present(task, absent, values, parameters)
    for name in absent:
        if name in task.mapped:
            raise SkipTask(no_item(name))


_NESTED = frozenset({ListOf, DictOf})
