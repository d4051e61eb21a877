"""A run that has begun, as one of its steps sees it: what its store says, and what is added to that."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dagy.artifact.beginning import StoredValue, given_parameters
from dagy.artifact.held_hooks import call_hooks
from dagy.artifact.outcomes import Outcome, mapped_outcome, without_upstream
from dagy.artifact.run_store import EarlyEnd, RunStore, at_once
from dagy.artifact.telling import told_error
from dagy.engine import Event, ItemChanged, TaskChanged, TaskWrote
from dagy.engine.reasons import flow_time_up
from dagy.errors import ParameterError, sentence
from dagy.flows import Flow
from dagy.hooks import RunContext
from dagy.program import Program, resolve
from dagy.runs.event_json import event_to_json
from dagy.spec import TaskSpec
from dagy.states import State, StateType, cancelled, failed
from dagy.values import ABSENT, Absent


class Standing(NamedTuple):
    """How a task stands before it is started: how it ended if it has, and what it needs."""

    spec: TaskSpec
    outcome: Outcome | None
    upstream: dict[str, Outcome | None]
    early_end: EarlyEnd | None

    def hindrance(self, *, again: bool = False) -> Outcome | None:
        """How it ends if it can't be started, or tried again; None when it can."""
        return hindrance(self.spec, self.upstream, self.early_end, again=again)


def hindrance(
    spec: TaskSpec, upstream: Mapping[str, Outcome | None], early: EarlyEnd | None, *, again: bool = False
) -> Outcome | None:
    """How a task ends that needs those `upstream`, in a run that ends early or not; None when it can be started."""
    now = time.time()
    missing = without_upstream(spec, upstream, now)
    if early is None or (missing is not None and missing.state.type is StateType.SKIPPED):
        return missing
    return Outcome(early.never(again=again), now)


@dataclass(frozen=True)
class BegunRun:
    """A run that has begun."""

    store: RunStore
    begun: Mapping[str, Any]
    program: Program
    given: Mapping[str, Any]

    @property
    def fails_fast(self) -> bool:
        """Whether its first failure ends it."""
        asked: bool | None = self.begun["fail_fast"]
        return asked if asked is not None else self.program.spec.options.fail_fast is not False

    # ---- what the store says

    def early_end(self) -> EarlyEnd | None:
        """What ends it early, if something does; also that the flow's own time is up."""
        seconds = self.program.spec.options.timeout_seconds
        found = self.store.early_end()
        if found is None and seconds is not None and time.time() > self.begun["at"] + seconds:
            self.store.ask_to_stop(flow_time_up(seconds), is_out_of_time=True)
            found = self.store.early_end()
        return found

    def upstream(self, spec: TaskSpec) -> dict[str, Outcome | None]:
        """How the tasks that this one needs ended; those that have not will not any more."""
        needed = self.program.needs[spec.id]
        return dict(zip(needed, self.ends([self.program.spec.task(each) for each in needed]), strict=True))

    def ends(self, specs: Sequence[TaskSpec]) -> list[Outcome | None]:
        """How these tasks ended; None for one that left no outcome."""
        found = self.store.outcomes([(spec.id, None) for spec in specs])
        return [
            self._mapped_end(spec) if outcome is None and spec.mapped else outcome
            for spec, outcome in zip(specs, found, strict=True)
        ]

    def values(self, ends: Mapping[str, Outcome | None]) -> dict[str, StoredValue | Absent]:
        """What the tasks that ended so returned, each read when it is asked for; `ABSENT`: it was skipped by choice."""
        return {
            task: self._value(task, each)
            for task, each in ends.items()
            if each is not None and (each.result or each.is_by_choice)
        }

    def standing(self, spec: TaskSpec, item: int | None = None) -> Standing:
        """All that there is to know before the task, or an item of it, is started; read at once."""
        outcome, upstream, early = at_once(
            lambda read: read(),
            [lambda: self.store.outcome(spec.id, item), lambda: self.upstream(spec), self.early_end],
        )
        return Standing(spec, outcome, upstream, early)

    def _value(self, task: str, outcome: Outcome) -> StoredValue | Absent:
        if outcome.is_of_nothing:
            return ABSENT
        return StoredValue(lambda: self.store.value_of(task, outcome))

    def _mapped_end(self, spec: TaskSpec) -> Outcome | None:
        """How a mapped task ended: whoever needs that first puts it together from its items."""
        count = self.store.count(spec.id)
        if count is None:
            return None
        items = self.store.outcomes([(spec.id, item) for item in range(count)])
        early = None if all(items) else self.early_end()
        outcome = mapped_outcome(spec.id, items, None if early is None else cancelled(early.stop_reason), time.time())
        if outcome.state.is_completed:
            outcome = replace(outcome, result=self.store.mapped_result(items))
        return self.settle_alone(spec, outcome)

    # ---- what is added

    def settle(self, spec: TaskSpec, outcome: Outcome, item: int | None = None) -> tuple[Outcome, list[Event]]:
        """Let the task, or its item, have ended so.

        What counts, for it may have ended before in another way; and what is then to be told, nothing in that case.
        """
        if not self.store.keep_outcome(spec.id, outcome, item):
            return self.store.outcome(spec.id, item) or outcome, []
        if outcome.state.is_failure and self.fails_fast:
            self.store.note_failure(spec.id if item is None else f"{spec.id}[{item}]")
        return outcome, [changed(spec.id, item, outcome)]

    def settle_alone(self, spec: TaskSpec, outcome: Outcome, *before: Event) -> Outcome:
        """The same for an end that no attempt came to: it is told, after `before`, and its hooks are called."""
        settled, events = self.settle(spec, outcome)
        if events:
            self.tell(*before, *events, *self._call_hooks(spec, outcome))
        return settled

    def tell(self, *events: Event) -> None:
        """Add events to those of the run."""
        if events:
            self.store.add_events([event_to_json(each) for each in events])

    def _call_hooks(self, spec: TaskSpec, outcome: Outcome) -> list[Event]:
        hooks = self.program.code[spec.id].hooks.get(outcome.state.type, ()) if outcome.attempt else ()
        if not hooks:
            return []
        inputs: dict[str, Any] = {}
        values = self.values(self.upstream(spec))
        for name, source in self.program.inputs[spec.id].items():
            with contextlib.suppress(Exception):  # as where it made the task fail
                inputs[name] = resolve(source, values, self.given)
        flow = self.program.spec.name
        context = RunContext(spec.name, self.store.run_id, flow, outcome.attempt, inputs, spec.id)
        return call_hooks(hooks, context, outcome.state)


# What a process was asked about last is what it is asked about next: items of one task, tasks of one run.
_NEWEST: list[tuple[Flow[..., Any], BegunRun]] = []


def begun_run(flow: Flow[..., Any], store: RunStore) -> BegunRun:
    """The run in the store, its graph as its parameters shape it. Raises `ParameterError` when it has not begun."""
    for its_flow, run in _NEWEST:
        if its_flow is flow and run.store.values is store.values and run.store.run_id == store.run_id:
            return run
    begun = store.begun()
    if begun is None:
        raise ParameterError(f"run {store.run_id!r} has not begun; its first step is 'begin'")
    program, given = flow.prepare(**given_parameters(begun, store.values))
    run = BegunRun(store, begun, program, given)
    _NEWEST[:] = [(flow, run)]
    return run


def changed(task: str, item: int | None, outcome: Outcome, state: State | None = None) -> Event:
    """The event that tells of an outcome; `state` is another in which the task is for now."""
    at, attempt, state = time.time_ns(), outcome.attempt, state or outcome.state
    if item is None:
        return TaskChanged(0, at, task, attempt, state)
    return ItemChanged(0, at, task, item, attempt, state)


def wrote_error(task: str, outcome: Outcome) -> Event:
    """The event that tells the traceback of what kept a task from being called."""
    text = str((outcome.error or {}).get("traceback", ""))
    return TaskWrote(0, time.time_ns(), task, outcome.attempt, "error", text)


def failure(error: Exception) -> Outcome:
    """The outcome of a task whose code could not even be called."""
    return Outcome(failed(sentence(error)), time.time(), 1, error=told_error(error))
