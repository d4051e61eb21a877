"""How a run in the cloud begins: once, with the parameters it was given, and with what an earlier run has left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagy.artifact.invocations import Invocation
from dagy.artifact.outcomes import Outcome, is_of_absent
from dagy.artifact.payloads import Payload
from dagy.artifact.references import Values
from dagy.artifact.run_store import RunStore, at_once, result_key
from dagy.engine.reasons import REUSED, SKIPPED_BEFORE
from dagy.errors import ResumeError, shown
from dagy.program import Program
from dagy.spec import Json
from dagy.states import State, StateType
from dagy.values import ABSENT, Absent, Deferred


class StoredValue(Deferred):
    """A value that lies in the store until somebody asks for it; `read` gets it."""

    __slots__ = ("_read", "_value")

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read
        self._value: list[object] = []

    def value(self) -> object:
        """The value itself."""
        if not self._value:
            self._value.append(self._read())
        return self._value[0]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What an earlier run has left, as carried: nothing of that is computed again."""

    tasks: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    items: Mapping[str, Mapping[int, Mapping[str, Json]]] = field(default_factory=dict)  # of mapped tasks

    @property
    def results(self) -> dict[str, Mapping[str, Json]]:
        """All of it, as a batch of results."""
        items = {result_key(task, item): each for task, found in self.items.items() for item, each in found.items()}
        return {**{result_key(task, None): each for task, each in self.tasks.items()}, **items}

    def opened_tasks(self, values: Values) -> dict[str, object]:
        """The results of whole tasks, as the engine takes them."""
        return {task: _stored(values, each) for task, each in self.tasks.items()}

    def opened_items(self, values: Values) -> dict[str, dict[int, object]]:
        """The results of items, as the engine takes them."""
        return {
            task: {item: _stored(values, each) for item, each in items.items()}
            for task, items in self.items.items()
            if task not in self.tasks
        }


def _stored(values: Values, carried: Mapping[str, Json]) -> StoredValue | Absent:
    return ABSENT if is_of_absent(carried) else StoredValue(lambda: values.opened(carried))


def begin_run(store: RunStore, payload: Payload, invocation: Invocation) -> dict[str, Json] | None:
    """Note that the run begins here and now, and with what: that; None when it has begun already.

    A run that goes on with an earlier one is given what that was given, where its own payload does not say otherwise.
    """
    before = (RunStore(store.values, payload.resume).begun() if payload.resume else None) or {}
    parameters = (store.parameters() if payload.parameters is None else payload.parameters) or {}
    begun: dict[str, Json] = {
        **invocation.place,
        "code_hash": invocation.code_hash,
        "parameters": {**_without(before.get("parameters", {}), payload.references), **parameters},
        "references": {**_without(before.get("references", {}), parameters), **payload.references},
        "fail_fast": payload.fail_fast,
    }
    begun |= {"resume": payload.resume} if payload.resume else {}
    begun |= {"deployment": payload.deployment} if payload.deployment else {}
    is_first = store.begin(begun)
    if payload.trigger == "schedule" and payload.deployment:  # again by a double: the first may not have come to it
        noted = {"deployment": payload.deployment, "parameters": begun["parameters"], "at": time.time()}
        store.note_scheduled(payload.deployment, noted)
    return begun if is_first else None


def _without(given: Mapping[str, Json], others: Mapping[str, Json]) -> dict[str, Json]:
    return {name: each for name, each in given.items() if name not in others}


def given_parameters(begun: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """What the flow is given."""
    return {**begun["parameters"], **{name: values.read(each) for name, each in begun["references"].items()}}


def left_over(store: RunStore, begun: Mapping[str, Any]) -> LeftOver:
    """What the run that this one goes on with has left; nothing when there is none.

    Raises `ResumeError` when that has completed, or when the code or the parameters are not what they were.
    """
    if not begun.get("resume"):
        return LeftOver()
    earlier = RunStore(store.values, begun["resume"])
    before, answer = earlier.read_all(["begun.json", "answer.json"])
    if before is None:
        raise ResumeError(f"run {earlier.run_id!r} can't be resumed: nothing of it is left in the store")
    if answer is not None and answer["state"] == StateType.COMPLETED:
        raise ResumeError(f"run {earlier.run_id!r} has completed; there is nothing left to do")
    if before["code_hash"] != begun["code_hash"]:
        raise ResumeError(
            f"run {earlier.run_id!r} can't be resumed: the flow's code has changed since, from "
            f"{before['code_hash'][:12]} to {begun['code_hash'][:12]}. Run the flow anew, or deploy the code of then"
        )
    was, now = ({**each["parameters"], **each["references"]} for each in (before, begun))
    different = [f"{name} was {shown(was.get(name))}, and is {shown(now[name])} now"
                 for name in now if was.get(name) != now[name]]  # fmt: skip
    if different:
        raise ResumeError(
            f"run {earlier.run_id!r} can't be resumed with other parameters; leave them out, or run the flow anew",
            different,
        )
    return LeftOver(*earlier.results())


def take_over(store: RunStore, program: Program, left: LeftOver) -> dict[str, State]:
    """Let what an earlier run has left be results of this one, for steps that know this one alone.

    The tasks that have ended with that, but for those that had before; each with how it has ended.
    """
    known = [task.id for task in program.spec.tasks]
    items = [(task, item) for task in known if task not in left.tasks for item in left.items.get(task, ())]
    at_once(lambda each: _take_over(store, left.items[each[0]][each[1]], *each), items)
    whole = [task for task in known if task in left.tasks]
    ends = at_once(lambda task: _take_over(store, left.tasks[task], task), whole)
    return {task: end.state for task, end in zip(whole, ends, strict=True) if end is not None}


def _take_over(store: RunStore, carried: Mapping[str, Json], task: str, item: int | None = None) -> Outcome | None:
    """How the task, or the item, has ended with that; None when it had before."""
    end = Outcome(SKIPPED_BEFORE if is_of_absent(carried) else REUSED, time.time(), result=carried)
    return end if store.keep_outcome(task, end, item) else None
