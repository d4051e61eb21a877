"""The steps of a run that a state machine drives: begin, a task, how many items, the end.

Each is an invocation of its own, may come twice, and knows of the others only what lies in the run's store. A task that
fails is no error of its step: its outcome is stored, and what needs it sees that. Only what is to be tried again is
raised, as an exception whose name says after which wait.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

from dagy.artifact.attempts import BROKEN, Attempt, TryAgain, lists_of
from dagy.artifact.beginning import begin_run, left_over, take_over
from dagy.artifact.begun_run import BegunRun, begun_run, failure, hindrance, wrote_error
from dagy.artifact.held_hooks import call_hooks
from dagy.artifact.invocations import Invocation
from dagy.artifact.outcomes import GONE, Outcome, on_another_way
from dagy.artifact.payloads import Payload
from dagy.artifact.run_store import EarlyEnd, RunStore
from dagy.artifact.telling import told_failure, told_result, told_tasks
from dagy.artifact.whole_flow import refused
from dagy.aws.failures import of_step
from dagy.engine import Event, RunChanged, TaskChanged
from dagy.engine.absence import check_to_map
from dagy.engine.reasons import run_end
from dagy.errors import DagyError, LimitError, ParameterError, SkipTask, UnknownTaskError, sentence
from dagy.flows import Flow
from dagy.graph import ordered
from dagy.hooks import RunContext
from dagy.program import flow_result
from dagy.spec import Json, TaskSpec
from dagy.states import State, StateType, crashed, failed, running, skipped
from dagy.values import Deferred

MOST_ITEMS = 40_000  # of a mapped task: a state machine hears of all of them at once


def run_step(flow: Flow[..., Any], payload: Payload, invocation: Invocation) -> dict[str, Json]:
    """Do the step that the payload asks for; how that went, in a few words.

    Raises a `DagyRetry<k>` when a task is to be tried again, after the wait of group `k` of its `retry_groups`, and
    `DagyRetry0` when the store does not answer, which may be over in a moment.
    """
    store = RunStore(invocation.values, payload.run_id or "")
    try:
        match payload.step:
            case "begin":
                return _begin(flow, store, payload, invocation)
            case "end":
                return _end(flow, store, payload.crashed)
        run = begun_run(flow, store)
        spec = _spec_of(run, payload.task or "")
        if payload.step == "ready":
            return _ready(run, spec)
        if payload.step == "count":
            return _count(run, spec, payload.inline)
        return _task(run, spec, payload, invocation)
    except TryAgain as again:
        raise _retry_class(again.group)(str(again)) from None
    except BROKEN as error:
        raise _retry_class(0)(sentence(error)) from error


@functools.cache
def _retry_class(group: int) -> type[Exception]:
    """What is raised to be tried again: a state machine knows errors by the names of their classes."""
    return type(f"DagyRetry{group}", (DagyError,), {"__doc__": "It is to be tried again."})


def _spec_of(run: BegunRun, task: str) -> TaskSpec:
    if task not in run.program.code:
        raise UnknownTaskError(task, run.program.code, where=f"flow {run.program.spec.name!r}")
    return run.program.spec.task(task)


# ---- the beginning


def _begin(flow: Flow[..., Any], store: RunStore, payload: Payload, invocation: Invocation) -> dict[str, Json]:
    is_first = begin_run(store, payload, invocation) is not None
    answer = store.answer()
    if answer is not None:
        return {"state": answer["state"], "message": answer["message"]}
    try:
        run = begun_run(flow, store)
        left = left_over(store, run.begun)
    except BROKEN:
        raise
    except Exception as error:  # noqa: BLE001 (the user's code too: what reads its values, what checks parameters)
        answer = refused(store, error)
        store.keep_answer(answer)
        return {"state": answer["state"], "message": answer["message"]}
    if is_first:
        run.tell(RunChanged(0, time.time_ns(), running()), *_call_flow_hooks(run, running()))
    taken = take_over(store, run.program, left)
    run.tell(*(TaskChanged(0, time.time_ns(), task, 0, state) for task, state in taken.items()))
    return {"state": StateType.RUNNING.value}


def _call_flow_hooks(run: BegunRun, state: State) -> list[Event]:
    name = run.program.spec.name
    context = RunContext(name, run.store.run_id, name, parameters=run.given)
    return call_hooks(run.program.hooks.get(state.type, ()), context, state)


# ---- how many items


def _count(run: BegunRun, spec: TaskSpec, inline: int) -> dict[str, Json]:
    """How many items a mapped task has; none when it has ended without them."""
    if not spec.mapped:
        raise ParameterError(f"task {spec.id!r} is not mapped, so it has no items")
    count = run.store.count(spec.id)
    if count is None:
        count = _counted(run, spec, inline)
    if count == 0:
        run.ends([spec])
    if not count or count <= inline:
        return {"items": count or 0, "wide": False}
    return {"items": count, "wide": True, "indices": run.store.indices_key(spec.id)}


def _counted(run: BegunRun, spec: TaskSpec, inline: int) -> int | None:
    standing = run.standing(spec)
    missing = standing.outcome or standing.hindrance()
    if missing is not None:
        run.settle_alone(spec, missing)
        return None
    begun = TaskChanged(0, time.time_ns(), spec.id, 1, running())
    try:
        values = run.values(standing.upstream)
        check_to_map(spec, run.program.inputs[spec.id], values, run.given)
        count = run.program.code[spec.id].parameters.check_lengths(lists_of(run, spec, values))
        _check_count(spec, count)
    except BROKEN:
        raise
    except SkipTask as reason:
        run.settle_alone(spec, Outcome(skipped(str(reason)), time.time(), 1), begun)
        return None
    except Exception as error:  # noqa: BLE001 (what is mapped over is the user's)
        outcome = failure(error)
        run.settle_alone(spec, outcome, begun, wrote_error(spec.id, outcome))
        return None
    run.store.keep_count(spec.id, count, indices=count > inline)
    run.tell(begun)
    return count


def _check_count(spec: TaskSpec, count: int) -> None:
    if count > MOST_ITEMS:
        raise LimitError(
            f"task {spec.id!r} has {count:,} items, and a state machine takes {MOST_ITEMS:,}; give each more to do, or "
            "deploy with executor='ecs'"
        )


# ---- one task, or one item


def _ready(run: BegunRun, spec: TaskSpec) -> dict[str, Json]:
    """Whether the task is to run, "READY", so that no container is started for nothing; else how it has ended."""
    standing = run.standing(spec)
    outcome = standing.outcome or standing.hindrance() or on_another_way(spec, standing.upstream, time.time())
    if outcome is None:
        return {"state": "READY"}
    return {"state": run.settle_alone(spec, outcome).state.type.value}


def _task(run: BegunRun, spec: TaskSpec, payload: Payload, invocation: Invocation) -> dict[str, Json]:
    item = payload.item
    if (item is None) is bool(spec.mapped):
        what = "mapped; give the number of an item as 'item'" if spec.mapped else "not mapped, so it has no items"
        raise ParameterError(f"task {spec.id!r} is {what}")
    standing = run.standing(spec, item)
    outcome = standing.outcome
    if outcome is None:
        outcome = standing.hindrance(again=payload.attempt > 1)
        if outcome is None and item is None:
            outcome = on_another_way(spec, standing.upstream, time.time())
        if outcome is None:
            # Of the tries that whoever invokes has counted, some never came to the task.
            before = run.store.tries(spec.id, item) if payload.attempt > 1 else 0
            outcome = Attempt(run, spec, item, before, invocation).make(standing.upstream)
        elif item is None or payload.attempt > 1:  # of an item that was not begun nothing is told
            outcome, events = run.settle(spec, outcome, item)
            run.tell(*events)
    told: dict[str, Json] = {"task": spec.id, "state": outcome.state.type.value}
    return told if item is None else {**told, "item": item}


# ---- the end


def _end(flow: Flow[..., Any], store: RunStore, crashes: Mapping[str, Any]) -> dict[str, Json]:
    answer = store.answer()
    if answer is None:
        has_begun = store.begun() is not None
        store.keep_answer(_ended(begun_run(flow, store), crashes) if has_begun else _not_begun(store, crashes))
        answer = store.answer() or {}
    return {"state": answer["state"], "message": answer["message"]}


def _not_begun(store: RunStore, crashes: Mapping[str, Any]) -> dict[str, Json]:
    state = next((_crash(each, store, {}) for each in crashes.values()), failed("the run could not begin"))
    return told_tasks(store.run_id, state, {})


def _ended(run: BegunRun, crashes: Mapping[str, Any]) -> dict[str, Json]:
    """The answer of a run all of whose tasks have ended, or will not any more."""
    early = run.early_end()
    ends = _all_ends(run, crashes, early)
    states = {task: each.state for task, each in ends.items()}
    left_out = next((_left_out(task, state) for task, state in states.items() if state.type is StateType.CANCELLED), "")
    state = run_end(
        states,
        cancel_reason=(early.reason or None) if early else None,
        is_out_of_time=early is not None and early.is_out_of_time,
        left_out="" if early else left_out,
    )
    result: dict[str, Json] = {}
    if state.is_completed:
        try:
            result = _result(run, ends)
        except BROKEN:
            raise
        except Exception as missing:  # noqa: BLE001 (a part is missing, or the user's own __getitem__ raised)
            result = told_failure(missing)
            state = failed(f"what the flow returns is not there: {sentence(missing)}")
        state = failed(result["message"]) if state.is_completed and "message" in result else state
    error = next((each.error for each in ends.values() if each.state.is_failure and each.error), None)
    told = told_tasks(run.store.run_id, state, {task: (each.state, each.attempt) for task, each in ends.items()})
    hooks = _call_flow_hooks(run, state) if run.store.is_first_to_end() else []
    run.tell(*hooks, RunChanged(0, time.time_ns(), state))
    return {**result, **told, **({"error": error} if error else {})}


def _all_ends(run: BegunRun, crashes: Mapping[str, Any], early: EarlyEnd | None) -> dict[str, Outcome]:
    specs = [run.program.spec.task(task) for task in ordered(run.program.needs, flow=run.program.spec.name)]
    ends: dict[str, Outcome] = {}
    for spec, outcome in zip(specs, run.ends(specs), strict=True):
        if outcome is None:
            if spec.id in crashes:
                outcome = Outcome(_crash(crashes[spec.id], run.store, run.begun), time.time(), 1)
            else:
                upstream = {task: ends[task] for task in run.program.needs[spec.id]}
                outcome = hindrance(spec, upstream, early) or Outcome(crashed(GONE), time.time(), 1)
            outcome = run.settle_alone(spec, outcome)
        ends[spec.id] = outcome
    return {task.id: ends[task.id] for task in run.program.spec.tasks}


def _crash(said: Mapping[str, Any], store: RunStore, begun: Mapping[str, Any]) -> State:
    error, cause = str(said.get("Error", "")), str(said.get("Cause", ""))
    resources = {name: begun.get(name, "") for name in ("memory_mb", "timeout_seconds")}
    return of_step(error, cause, store.run_id, resources)


def _left_out(task: str, state: State) -> str:
    return f"{task!r} was {state.message}" if state.message.startswith("not ") else f"{task!r}: {state.message}"


def _result(run: BegunRun, ends: Mapping[str, Outcome]) -> dict[str, Json]:
    store = run.store
    value = flow_result(run.program.result, run.values(ends), run.given)
    value = value.value() if isinstance(value, Deferred) else value
    return told_result(lambda: store.values.carried(value, store.run_id, "result", called="what the flow returned"))
