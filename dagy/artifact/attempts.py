"""One attempt of a task, or of one item of a mapped one, in an invocation of its own: the engine runs it alone.

The tasks that it needs are part of that small run as what an earlier run left, so all that a run does with a task (its
inputs, their check, isolation, timeout, output, hooks) is the engine's own doing here too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dagy.artifact.beginning import StoredValue
from dagy.artifact.begun_run import BegunRun, changed, failure, wrote_error
from dagy.artifact.held_hooks import HeldHooks
from dagy.artifact.invocations import GRACE_SECONDS, Invocation, run_here
from dagy.artifact.outcomes import Outcome
from dagy.artifact.recording import StoreRecorder
from dagy.artifact.telling import told_error
from dagy.engine import (
    Event,
    HookFailed,
    ItemChanged,
    RunOptions,
    StandsFor,
    TaskChanged,
    TaskRun,
    TaskShowed,
    TaskWrote,
    items_of,
)
from dagy.engine.reasons import tried_again
from dagy.errors import CloudError, NetworkError, StoreError, TravelError, sentence
from dagy.hooks import Hooks
from dagy.program import Actual, Program, resolve
from dagy.retry import RetryPolicy, retry_group_of, retry_groups
from dagy.spec import FlowSpec, FromTask, TaskSpec
from dagy.states import State, StateType, crashed, failed
from dagy.values import ABSENT, Absent

BROKEN = (StoreError, NetworkError, CloudError)  # the store does not answer: no fault of the task


class TryAgain(Exception):  # noqa: N818 (no error: it is how a task is handed back)
    """The task is to be tried again after the wait of the `group` of its `retry_groups`, by who invokes."""

    def __init__(self, group: int, state: State) -> None:
        self.group = group
        super().__init__(state.message)


@dataclass(frozen=True)
class Attempt:
    """One attempt; `before` counts those that failed before in other invocations."""

    run: BegunRun
    spec: TaskSpec
    item: int | None
    before: int
    invocation: Invocation

    def make(self, upstream: Mapping[str, Outcome | None]) -> Outcome:
        """Run the task, what it needs having ended so, and let its end count. Raises `TryAgain`."""
        hooks = HeldHooks(self.run.program.code[self.spec.id].hooks)
        values = self.run.values(upstream)
        seconds = self.invocation.seconds_left
        try:
            program = self._program(values, hooks.of_program, seconds)
        except BROKEN:
            raise
        except Exception as error:  # noqa: BLE001 (what is mapped over is the user's)
            failed_so = failure(error)
            outcome, events = self.run.settle(self.spec, failed_so, self.item)
            self.run.tell(wrote_error(self.spec.id, failed_so), *events)
            return outcome
        recorder = StoreRecorder(self.run.store, told=self._told, looks=self._why_to_stop)
        options = RunOptions(
            self.run.store.run_id, fail_fast=False, capture=True, recorder=recorder, grace_seconds=GRACE_SECONDS,
            time_limit=seconds if self.spec.options.timeout_seconds is not None else None,  # else that is its timeout
            reused={task: values[task] for task in program.needs[self.spec.id]},
            stands_for=StandsFor(self.item, self.before),
        )  # fmt: skip
        ran = run_here(program, self.run.given, options, self.invocation, recorder)
        told: list[Event] = []
        try:
            outcome = self._outcome(ran.result.task_runs[self.spec.id])
            again = self._next_try(ran.result.task_runs[self.spec.id], outcome)
            if again is not None:
                group, state = again
                if self.run.store.keep_try(self.spec.id, self.item, self.before + 1, outcome.to_json()):
                    told = [changed(self.spec.id, self.item, outcome, state), *hooks.call(state)]
                raise TryAgain(group, state)
            outcome, told = self.run.settle(self.spec, outcome, self.item)
            told += hooks.call(outcome.state) if told else []
            return outcome
        finally:
            recorder.finish(told)

    def _program(self, values: Mapping[str, StoredValue | Absent], hooks: Hooks, seconds: float | None) -> Program:
        """The task and those that it needs."""
        whole, spec = self.run.program, self.spec
        sources: dict[str, Any] = dict(whole.inputs[spec.id])
        if self.item is not None:
            sources |= {name: Actual(each[self.item]) for name, each in self._lists(values).items()}
        options = spec.options
        if options.timeout_seconds is None and seconds is not None:  # it has the time that the invocation has
            options = replace(options, timeout_seconds=round(seconds, 1), isolation=options.isolation or "thread")
        alone = replace(spec, after=(), mapped=(), options=replace(options, cache=False))
        needed = tuple(replace(whole.spec.task(each), inputs={}, after=(), mapped=()) for each in alone.needs)
        code = whole.code[spec.id]
        policy = code.retry if self.invocation.tries_again else RetryPolicy()
        flow = FlowSpec(whole.spec.name, whole.spec.version, tasks=(*needed, alone), result=FromTask(spec.id))
        return Program(
            flow,
            {**{each.id: whole.code[each.id] for each in needed}, spec.id: replace(code, retry=policy, hooks=hooks)},
            {**{each.id: {} for each in needed}, spec.id: sources},
            FromTask(spec.id),
        )

    def _lists(self, values: Mapping[str, StoredValue | Absent]) -> dict[str, list[Any]]:
        return lists_of(self.run, self.spec, values)

    def _told(self, event: Event) -> Event | None:
        """An event of the small run as one of the whole; how it ended is told once that counts."""
        match event:
            case TaskChanged(at=at, task=task, attempt=attempt, state=state):
                if task != self.spec.id or state.is_final:
                    return None
                number = attempt + self.before
                if self.item is None:
                    return TaskChanged(0, at, task, number, state)
                return ItemChanged(0, at, task, self.item, number, state)
            case TaskWrote() | TaskShowed():
                return event._replace(attempt=event.attempt + self.before)
            case HookFailed():
                return event
            case _:
                return None

    def _why_to_stop(self) -> str | None:
        early = self.run.early_end()
        return None if early is None else early.stop_reason

    def _outcome(self, done: TaskRun) -> Outcome:
        attempt = self.before + done.attempt
        state, error = done.state, None if done.error is None else told_error(done.error)
        name = self.spec.id if self.item is None else f"{self.spec.id}[{self.item}]"
        if not state.is_completed and state.type is not StateType.SKIPPED:
            stopped = self.invocation.switch.reason
            if state.type is StateType.CANCELLED and stopped is not None:  # by no one who has to do with the run
                state = crashed(stopped)
            return Outcome(state, time.time(), attempt, error=error)
        value = ABSENT if state.type is StateType.SKIPPED else done.value
        try:
            result = self.run.store.carried(value, self.spec.id, self.item, called=f"the result of {name!r}")
        except TravelError as trouble:
            return Outcome(failed(sentence(trouble)), time.time(), attempt, error=told_error(trouble))
        absent = [name for name, each in value.items() if each is ABSENT] if type(value) is dict else []
        return Outcome(state, time.time(), attempt, result, absent=absent)

    def _next_try(self, done: TaskRun, outcome: Outcome) -> tuple[int, State] | None:
        """The retry group and the state, when it is to be tried again by who invokes."""
        if self.invocation.tries_again or not outcome.state.is_failure or done.error is None:
            return None
        policy = self.run.program.code[self.spec.id].retry
        failures = self.before + 1
        wait = policy.decide(failures, done.error, random.random())
        group = retry_group_of(retry_groups(policy.retries, policy.delays), failures)
        if wait is None or group is None or self.run.early_end() is not None:
            return None
        return group, tried_again(outcome.state, failures, policy.retries)


def lists_of(run: BegunRun, spec: TaskSpec, values: Mapping[str, StoredValue | Absent]) -> dict[str, list[Any]]:
    """What a mapped task goes through, by the names of its inputs."""
    inputs = run.program.inputs[spec.id]
    return {name: items_of(spec.id, name, resolve(inputs[name], values, run.given)) for name in spec.mapped}
