"""What of one run the next one can use: the results of tasks that nothing has changed for.

A task is the same in two runs if its code is, with all that the code reaches, and if its inputs come from the same
values: of the flow's parameters, of literals, of tasks that are the same in turn. That is told before a run begins,
because afterwards its cells may be edited and its parameters changed in place.

A task that changes in place what another returned has spoiled that result for its own next try, so where the one runs
again the other does too.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from dagy.digests import digest
from dagy.drawing import counted
from dagy.engine import TaskRun
from dagy.fingerprint import fingerprint
from dagy.graph import ordered
from dagy.program import Actual, Program
from dagy.spec import DictOf, FromParameter, FromTask, ListOf
from dagy.states import StateType
from dagy.values import ABSENT
from dagy_nb.names import Function, changed_parameters

Changed: TypeAlias = Mapping[str, Mapping[str, Collection[str]]]  # by the file of the code and the function's name

_NEVER_THE_SAME = itertools.count(-1, -1)


@dataclass(frozen=True)
class Origins:
    """What decides the results of a run's tasks, as things stood when it was made; see `origins_of`."""

    program: Program
    values: Mapping[str, Any]  # of the flow's parameters
    codes: Mapping[int, str]  # by the id of the tasks' code
    told: Mapping[int, str]  # what tells apart the values given by parameters and held literals, by their ids
    spoiled: Mapping[str, frozenset[str]]  # for each task those whose results it changes in place

    @cached_property
    def by_task(self) -> Mapping[str, str]:
        """For each task a text that is the same in another run if the task is."""
        found: dict[str, str] = {}
        tasks = {task.id: task for task in self.program.spec.tasks}
        for task_id in ordered(self.program.needs, flow=self.program.spec.name):
            task = tasks[task_id]
            inputs = sorted((name, self._told(each, found)) for name, each in self.program.inputs[task_id].items())
            after = [found[each] for each in task.after]
            whole = (task.name, self.codes[id(self.program.code[task_id])], task.mapped, inputs, after)
            found[task_id] = hashlib.sha256(repr(whole).encode(errors="backslashreplace")).hexdigest()
        return found

    def _told(self, source: object, tasks: Mapping[str, str]) -> object:
        match source:
            case FromTask(task=task, path=path):
                return "task", tasks[task], path
            case FromParameter(name=name, path=path):
                return "value", self.told[id(self.values[name])], path
            case ListOf(items=items, form=form):
                return form, [self._told(each, tasks) for each in items]
            case DictOf(items=pairs):
                return "dict", [(key, self._told(each, tasks)) for key, each in pairs]
            case Actual(value=value):
                return "value", self.told[id(value)], ()
            case _:
                return "literal", repr(source)


@dataclass(frozen=True, slots=True)
class Reusable:
    """Results that need not be computed again: by task, and for mapped tasks that did not complete by item."""

    results: Mapping[str, object] = field(default_factory=dict)
    items: Mapping[str, Mapping[int, object]] = field(default_factory=dict)

    def __str__(self) -> str:
        """`5 results and 12 items`; empty when there are none."""
        items = sum(map(len, self.items.values()))
        parts = [(len(self.results), "result"), (items, "item")]
        return " and ".join(counted(number, thing) for number, thing in parts if number)


def origins_of(program: Program, values: Mapping[str, Any], changed: Changed = MappingProxyType({})) -> Origins:
    """What decides the results of `program`, run with these values of its parameters, as things stand now.

    `changed` are the names that tasks of the notebook change in place (see `Notebook.changes_in_place`).
    """
    codes: dict[int, str] = {}
    functions: dict[int, str] = {}
    for code in program.code.values():
        if id(code) not in codes:
            known = functions.get(id(code.function))
            codes[id(code)] = known or functions.setdefault(id(code.function), _told_code(code.function))
    told: dict[int, str] = {}
    for value in values.values():
        _tell(value, told)
    for inputs in program.inputs.values():
        for each in _parts(inputs.values()):
            if isinstance(each, Actual):
                _tell(each.value, told)
    spoiled = {task: frozenset(_spoiled(program, task, changed)) for task in program.inputs}
    return Origins(program, values, codes, told, spoiled)


def reusable(before: Origins, now: Origins, task_runs: Mapping[str, TaskRun]) -> Reusable:
    """What `task_runs`, left by the run that was made of `before`, hold for a run made of `now`."""
    results: dict[str, object] = {}
    items: dict[str, Mapping[int, object]] = {}
    for task_id, origin in now.by_task.items():
        if before.by_task.get(task_id) != origin:
            continue
        run = task_runs[task_id]
        if run.state.is_completed:
            results[task_id] = run.value
        elif run.state.type is StateType.SKIPPED and run.attempt:  # by its own choice, which is a result too
            results[task_id] = ABSENT
        elif run.completed_items:
            items[task_id] = run.completed_items
    for task in _below_spoiled(before, now, [each for each in task_runs if each not in results], task_runs):
        results.pop(task, None)
        items.pop(task, None)
    return Reusable(results, items)


def _below_spoiled(
    before: Origins, now: Origins, again: Collection[str], task_runs: Mapping[str, TaskRun]
) -> Collection[str]:
    """The tasks whose results those that run `again` have changed in place, and all that is below them."""
    below: dict[str, list[str]] = {}
    for task, needs in now.program.needs.items():
        for each in needs:
            below.setdefault(each, []).append(task)
    found: set[str] = set()
    todo = list(again)
    while todo:
        task = todo.pop()
        run = task_runs.get(task)
        has_run = run is not None and (run.attempt or run.state.is_completed)  # maybe in a run before that one
        changed = before.spoiled.get(task, ()) if has_run else ()
        for each in [*changed, *(below.get(task, ()) if task in found else ())]:
            if each not in found:
                found.add(each)
                todo.append(each)
    return found


def _spoiled(program: Program, task: str, changed: Changed) -> Iterator[str]:
    """The tasks whose results the task `task` changes in place, as far as its text shows."""
    function = inspect.unwrap(program.code[task].function)
    known = changed.get(getattr(getattr(function, "__code__", None), "co_filename", ""), {})
    names = known.get("", known.get(function.__name__))
    inputs = program.inputs[task]
    given = [inputs[name] for name in (_changed_parameters(function) if names is None else names) if name in inputs]
    return (each.task for each in _parts(given) if isinstance(each, FromTask))


def _parts(sources: Iterable[object]) -> Iterator[object]:
    """Where values come from, those inside lists and dicts each by itself."""
    todo = list(sources)
    while todo:
        match todo.pop():
            case ListOf(items=items):
                todo.extend(items)
            case DictOf(items=pairs):
                todo.extend(each for _, each in pairs)
            case other:
                yield other


def _changed_parameters(function: Callable[..., object]) -> Collection[str]:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # there is no text to look at
        return ()
    return changed_parameters(node) if isinstance(node, Function) else ()


def _told_code(function: Callable[..., object]) -> str:
    """What tells code apart; of a value that nothing lasting does (a connection, a lock) it is the very object."""
    found = fingerprint(function)
    own = getattr(inspect.unwrap(function), "__globals__", {})
    objects = [f"{name} at {id(own[name]) if name in own else next(_NEVER_THE_SAME)}" for name in found.incomparable]
    return " ".join([found.digest, *objects])


def _tell(value: object, told: dict[int, str]) -> None:
    """Add what tells `value` apart: what nothing lasting does is the same only if it is the very object."""
    if id(value) not in told:
        told[id(value)] = digest(value) or f"{type(value).__name__} at {id(value)}"
