"""The values of a run while it goes: what tasks returned, and what the next ones are given."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dagy.engine.absence import check_present, check_to_map, holds_absent
from dagy.engine.result import GONE
from dagy.engine.workers import Way
from dagy.errors import ParameterError, shown
from dagy.program import Program, flow_result, resolve
from dagy.spec import Constant, FromTask, TaskSpec
from dagy.values import ABSENT, Deferred

_NOTHING = object()  # stands for what an item of a mapped task has not returned


class RunValues:
    """What tasks, and the items of mapped ones, returned or raised; changed only by who takes the run's turn.

    With `keeps_all` nothing is ever let go.
    """

    def __init__(
        self, program: Program, parameters: Mapping[str, Any], reused: Mapping[str, object], *, keeps_all: bool
    ) -> None:
        self._program = program
        self._parameters = parameters
        self._keeps_all = keeps_all
        self._returned: dict[str, Any] = dict(reused)
        self._errors: dict[str, BaseException] = {}
        self._lists: dict[str, Mapping[str, list[Any]]] = {}  # what mapped tasks go through, by task and input
        self._items: dict[str, list[Any]] = {}  # what their items returned
        self._item_errors: dict[str, dict[int, BaseException]] = {}
        self._done_items: dict[str, dict[int, Any]] = {}  # of mapped tasks that did not complete

    def of(self, task: str) -> object:
        """What the task returned; None if it did not, and `GONE` if that was let go."""
        return self._returned.get(task)

    def error_of(self, task: str) -> BaseException | None:
        """What the last attempt of the task raised, if it did."""
        return self._errors.get(task)

    def item_errors(self, task: str) -> Mapping[int, BaseException]:
        """What items of a mapped task raised at last, by index."""
        return self._item_errors.get(task, {})

    def completed_items(self, task: str) -> Mapping[int, Any]:
        """What items of a mapped task returned that has ended without completing; none unless all values are kept."""
        return self._done_items.get(task, {})

    def result(self) -> object:
        """What the flow returns. Raises `ParameterError` for a missing part, and what the user's own code does."""
        return flow_result(self._program.result, self._returned, self._parameters)

    def inputs(self, task: str, item: int | None, way: Way) -> dict[str, Any]:
        """What an attempt is given, by the names of the task's parameters, checked if its `way` says so.

        Raises `SkipTask` when one is absent that is not optional, and when nothing arrived.
        """
        returned, parameters = self._returned, self._parameters
        lists = self._lists[task] if item is not None else None
        found: dict[str, Any] = {}
        elsewhere: dict[str, Deferred] = {}
        absent: dict[str, Any] = {}
        for name, source in self._program.inputs[task].items():
            if lists is not None and name in lists:
                value = found[name] = lists[name][item]  # type: ignore[index]  # None has no lists
                if value is ABSENT:
                    absent[name] = value
            elif type(source) is FromTask and not source.path:
                value = returned[source.task]
                if isinstance(value, Deferred):
                    elsewhere[name] = value
                else:
                    found[name] = value
                    if value is ABSENT:
                        absent[name] = value
            elif type(source) is Constant:
                found[name] = source.value
            else:
                value = found[name] = resolve(source, returned, parameters)
                if holds_absent(source, value):
                    absent[name] = value
        if absent:
            check_present(self._specs[task], absent, returned, parameters)
            return {**_brought_here({name: found[name] for name in found if name not in absent}, elsewhere, way),
                    **absent}  # fmt: skip
        if elsewhere:
            return _brought_here(found, elsewhere, way)
        return way.code.parameters.check(found) if way.checks else found

    def check_present(self, task: str, item: int | None) -> None:
        """Raise `SkipTask` when the task, or the item, is not to begin, as `inputs` does."""
        spec, sources = self._specs[task], self._program.inputs[task]
        absent = {
            name: value
            for name, value in self.known_inputs(task, item).items()
            if value is ABSENT or (name not in spec.mapped and holds_absent(sources[name], value))
        }
        check_present(spec, absent, self._returned, self._parameters)

    def check_to_map(self, task: str) -> None:
        """Raise `SkipTask` when the mapped task has nothing to go through, or lacks what all its items need."""
        check_to_map(self._specs[task], self._program.inputs[task], self._returned, self._parameters)

    def known_inputs(self, task: str, item: int | None) -> dict[str, Any]:
        """The inputs for a hook to look at, without the one whose missing part made the task fail."""
        known = {}
        lists = self._lists.get(task, {}) if item is not None else {}
        for name, source in self._program.inputs[task].items():
            with contextlib.suppress(Exception):
                if name in lists and item is not None:
                    known[name] = lists[name][item]
                else:
                    known[name] = resolve(source, self._returned, self._parameters)
        return known

    def count_items(self, task: str, names: Sequence[str], reused: Mapping[int, object]) -> int:
        """Find out what the mapped task goes through, and how many items there are.

        Raises `ParameterError` for what is no list, or lists of different lengths; and what a user's own iterator does.
        """
        lists = {name: self._list(task, name) for name in names}
        length = self._program.code[task].parameters.check_lengths(lists)
        returned = list[Any]([_NOTHING] * length)
        for index, value in reused.items():
            if index < length:
                returned[index] = value
        self._lists[task], self._items[task] = lists, returned
        return length

    def task_returned(self, task: str, value: object) -> None:
        """The task has completed with this value."""
        self._returned[task] = value

    def task_raised(self, task: str, error: BaseException) -> None:
        """An attempt of the task raised this."""
        self._errors[task] = error

    def item_returned(self, task: str, item: int, value: object) -> None:
        """The item has completed with this value."""
        self._items[task][item] = value

    def item_raised(self, task: str, item: int, error: BaseException) -> None:
        """The item has failed with this error."""
        self._item_errors.setdefault(task, {})[item] = error

    def mapped_ended(self, task: str, *, has_completed: bool) -> None:
        """All items of the mapped task have ended."""
        self._lists.pop(task, None)
        items = self._items.pop(task, [])
        self._done_items.pop(task, None)
        if has_completed:
            self._returned[task] = [_of_item(each) for each in items]
            return
        if self._keeps_all:
            self._done_items[task] = {index: opened(each) for index, each in enumerate(items) if each is not _NOTHING}
        if task in self._item_errors:
            self._errors[task] = next(iter(self._item_errors[task].values()))

    def let_go(self, task: str) -> None:
        """Drop what the task returned, which no other needs any more, unless it is next to nothing."""
        value = self._returned[task]
        if value is not None and value is not ABSENT and not self._keeps_all and not is_little(value):
            self._returned[task] = GONE

    @functools.cached_property
    def _specs(self) -> Mapping[str, TaskSpec]:
        return {task.id: task for task in self._program.spec.tasks}

    def _list(self, task: str, name: str) -> list[Any]:
        return items_of(task, name, resolve(self._program.inputs[task][name], self._returned, self._parameters))


def items_of(task: str, name: str, value: Any) -> list[Any]:
    """What a task is mapped over; `ParameterError` when it is not of items: a text is one thing, and so is a dict."""
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise ParameterError(
            f"task {task!r} is mapped over {name!r}, so it must be a list, not {shown(value)} "
            f"({type(value).__name__}); give what is the same for every item by name"
        )
    return list(value)


def _of_item(value: object) -> object:
    """What stands for an item in the list that its task returns: None when it was skipped, or gave nothing."""
    if value is _NOTHING:
        return None
    value = opened(value)
    return None if value is ABSENT else value


def _brought_here(found: dict[str, Any], elsewhere: Mapping[str, Deferred], way: Way) -> dict[str, Any]:
    """`found`, with the values that are `elsewhere`: to a process these travel as they are, if the check lets them."""
    if way.is_isolated and not way.checks:
        return {**found, **elsewhere}
    opened_here = {name: each.value() for name, each in elsewhere.items()}
    checked = {**found, **opened_here}
    if way.checks:
        checked = way.code.parameters.check(checked)
    if way.is_isolated:
        checked |= {name: each for name, each in elsewhere.items() if checked[name] is opened_here[name]}
    return checked


def opened(value: object) -> object:
    """`value`, fetched from where it is if it is somewhere else."""
    return value.value() if isinstance(value, Deferred) else value


_ATOMS = (type(None), bool, int, float, str, bytes)


def is_little(value: object) -> bool:
    """Whether keeping `value` costs next to nothing: a number, a short text, or a handful of these."""
    kind = type(value)
    if kind in _ATOMS:
        return value is None or sys.getsizeof(value) <= 1_000
    if isinstance(value, dict) and kind is dict and len(value) <= 20:
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple) and kind in (list, tuple) and len(value) <= 40:
        parts = list(value)
    else:
        return False
    return all(type(each) in _ATOMS and sys.getsizeof(each) <= 100 for each in parts)
