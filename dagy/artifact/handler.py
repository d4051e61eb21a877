"""What runs in the cloud: a flow, or one task of it, from a payload. Its entry point is `handler`.

The artifact's files lie in LAMBDA_TASK_ROOT, else in the working directory. Its code is loaded once, and serves all
payloads that come to this process. A payload is JSON:

    {"run_id": "etl-1", "parameters": {"day": "monday"}}         a whole flow
    {"run_id": "etl-1", "parameters": {...}, "task": "load"}     one task; "item": 3 for one item of a mapped one

| key | what it is |
|---|---|
| `references` | parameters by reference, by name: see `dagy.artifact.references` |
| `results` | what upstream tasks returned, by id, by value or by reference; else it is looked for in the store |
| `count` | true: the mapped task is not run, and the answer's `items` says how many items it has |
| `attempt` | which try of the task this is, from 1: trying again is for who invokes |
| `max_workers`, `fail_fast` | of a whole flow, as for `run_local` |

A large value goes to the store that DAGY_STORE names. There a task that runs alone leaves what it returns for the
next: as `<store>/<run_id>/<task>/value`, or `.../<item>` for an item. The answer says `state`, `message`, `result` or
`error`, how the `tasks` ended, how many are in which state, and the end of what they wrote as `output`. Of a task that
failed and is worth another try, `retry_in` is the wait in seconds.

Only the standard library is loaded until the user's code loads more, so a new environment answers soon.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dagy.artifact.loading import loading
from dagy.artifact.references import Values
from dagy.engine import RunHandle, RunOptions, RunResult, TaskRun, TaskWrote, error_text, items_of, new_run_id, start
from dagy.errors import (
    ArtifactError,
    CodeFailedError,
    DagyError,
    ParameterError,
    StoreError,
    UnknownTaskError,
    sentence,
    shown,
)
from dagy.flows import Flow
from dagy.program import Actual, Program, resolve
from dagy.retry import RetryPolicy
from dagy.spec import FlowSpec, FromTask, Json
from dagy.states import StateType
from dagy.values import type_name

MANIFEST_NAME = "dagy.json"
MOST_TASKS = 500  # that are told of one by one
MOST_OUTPUT = 16_384  # characters of output in the answer
SPARE_SECONDS = 2.0  # of the time that the invocation has, for telling how far it came

_FAILURES = (StateType.FAILED, StateType.TIMED_OUT, StateType.CRASHED)


class InvocationContext(Protocol):
    """What Lambda says of an invocation: of that, what is used."""

    def get_remaining_time_in_millis(self) -> int:
        """How long it may go on."""


def handler(event: Mapping[str, Any], context: InvocationContext | None = None) -> dict[str, Json]:
    """Run what the payload asks for; how that went. Raises nothing: what goes wrong is the answer's `error`."""
    folder = Path(os.environ.get("LAMBDA_TASK_ROOT") or ".").absolute()
    return answer(event, folder, store=os.environ.get("DAGY_STORE") or None, context=context)


def answer(
    event: object, folder: Path, *, store: str | None = None, context: InvocationContext | None = None
) -> dict[str, Json]:
    """What `handler` answers, with the artifact's files in `folder`, and the store at that URL."""
    ends_at = None
    if context is not None:
        ends_at = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - SPARE_SECONDS
    run_id = event.get("run_id") if isinstance(event, Mapping) else None
    try:
        payload = Payload.of(event)
        values = Values(store)
        flow = entry_flow(folder)
        run_id = payload.run_id or new_run_id(flow.name)
        if payload.task is None:
            return _whole_flow(flow, run_id, payload, values, ends_at)
        return _one_task(flow, run_id, payload.task, payload, values, ends_at)
    except Exception as error:  # noqa: BLE001 (the user's code too: what reads its values, what checks parameters)
        cause = error.__cause__ if isinstance(error, CodeFailedError) else None
        told = {"state": StateType.FAILED.value, "message": sentence(error), "error": _error(cause or error)}
        return {"run_id": run_id, **told}


@dataclass(frozen=True, slots=True)
class Payload:
    """What is asked for: see above."""

    run_id: str | None = None
    parameters: Mapping[str, Json] | None = None
    references: Mapping[str, Json] | None = None
    task: str | None = None
    item: int | None = None
    results: Mapping[str, Json] | None = None
    count: bool = False
    attempt: int = 1
    max_workers: int | None = None
    fail_fast: bool = True

    @classmethod
    def of(cls, event: object) -> Payload:
        """The payload that `event` is. Raises `ParameterError`."""
        if not isinstance(event, Mapping):
            raise ParameterError(f"a payload is a JSON object, not {shown(event)}")
        for name, value in event.items():
            if name not in _KINDS:
                raise ParameterError(f"a payload has no {name!r}; it has {', '.join(_KINDS)}")
            kind = _KINDS[name]
            is_number = type(value) is int and value >= _LOWEST.get(name, 1)
            if value is not None and not (is_number if kind is int else isinstance(value, kind)):
                raise ParameterError(f"the payload's {name!r} can't be {shown(value)}")
        return cls(**{name: value for name, value in event.items() if value is not None})


_KINDS: Mapping[str, type] = {
    "run_id": str, "parameters": Mapping, "references": Mapping, "task": str, "item": int, "results": Mapping,
    "count": bool, "attempt": int, "max_workers": int, "fail_fast": bool,
}  # fmt: skip
_LOWEST = {"item": 0}  # of a number; else 1


@cache
def entry_flow(folder: Path) -> Flow[..., Any]:
    """The flow of the artifact whose files are in `folder`; its code is loaded the first time.

    Raises `ArtifactError` when the folder holds no artifact, and `CodeFailedError` with what the code raised.
    """
    try:
        entry_point = str(json.loads((folder / MANIFEST_NAME).read_bytes())["entry_point"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"no artifact was unpacked in {str(folder)!r}: {sentence(error)}") from error
    module, _, variable = entry_point.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        with loading(folder.joinpath(*module.split(".")).with_suffix(".py")):
            flow = getattr(importlib.import_module(module), variable, None)
    except (Exception, SystemExit) as error:  # the user's code
        raise CodeFailedError(f"the code can't be loaded: {sentence(error)}") from error
    if not isinstance(flow, Flow):
        raise ArtifactError(f"the entry point {entry_point!r} is not a flow")
    return flow


# ---- a whole flow


def _whole_flow(
    flow: Flow[..., Any], run_id: str, payload: Payload, values: Values, ends_at: float | None
) -> dict[str, Json]:
    program, given = flow.prepare(**_parameters(payload, values))
    options = RunOptions(run_id, payload.max_workers, payload.fail_fast, capture=True)
    ran = _run(program, given, options, ends_at)
    told = _told(run_id, ran)
    if ran.result.state.is_completed:
        told |= _result(lambda: values.carried(ran.result.value, run_id, "result", called="what the flow returned"))
    return told


def _parameters(payload: Payload, values: Values) -> dict[str, Any]:
    references = payload.references or {}
    return {**(payload.parameters or {}), **{name: values.read(each) for name, each in references.items()}}


# ---- one task


def _one_task(
    flow: Flow[..., Any], run_id: str, task: str, payload: Payload, values: Values, ends_at: float | None
) -> dict[str, Json]:
    program, parameters = flow.prepare(**_parameters(payload, values))
    if task not in program.code:
        raise UnknownTaskError(task, program.code, where=f"flow {flow.name!r}")
    spec = next(each for each in program.spec.tasks if each.id == task)
    upstream = _Upstream(run_id, payload.results or {}, values)
    inputs = {name: resolve(each, upstream, parameters) for name, each in program.inputs[task].items()}
    if spec.mapped:
        lists = {name: items_of(task, name, inputs[name]) for name in spec.mapped}
        length = program.code[task].parameters.check_lengths(lists)
        if payload.count:
            if values.has_store:
                values.keep(length, run_id, task, "count", called=f"the number of items of {task!r}")
            return {"run_id": run_id, "task": task, "state": StateType.RUNNING.value, "message": "", "items": length}
        if payload.item is None or payload.item >= length:
            raise ParameterError(f"task {task!r} has {length} items; give the number of one as 'item', from 0")
        inputs |= {name: each[payload.item] for name, each in lists.items()}
    elif payload.item is not None or payload.count:
        raise ParameterError(f"task {task!r} is not mapped, so it has no items")
    alone, policy = _alone(program, task, inputs, payload.attempt)
    ran = _run(alone, {}, RunOptions(run_id, fail_fast=False, capture=True), ends_at)
    done = ran.result.task_runs[task]
    told = _told(run_id, ran) | {"task": task, "state": done.state.type.value, "message": done.state.message}
    if payload.item is not None:
        told["item"] = payload.item
    if done.state.is_completed:
        place = "value" if payload.item is None else str(payload.item)
        keep = values.keep if values.has_store else values.carried
        told |= _result(lambda: keep(done.value, run_id, task, place, called=f"the result of {task!r}"))
    else:
        told["retry_in"] = _wait(policy, payload.attempt, done)
    return told


class _Upstream(dict[str, Any]):
    """What the tasks before this one returned, by id, read when it is asked for."""

    def __init__(self, run_id: str, given: Mapping[str, Json], values: Values) -> None:
        self._run_id = run_id
        self._given = given
        self._values = values

    def __missing__(self, task: str) -> object:
        if task in self._given:
            value = self._values.opened(self._given[task])
        elif self._values.is_kept(self._run_id, task, "count"):
            count = self._values.kept(self._run_id, task, "count")
            assert isinstance(count, int)
            value = [self._values.kept(self._run_id, task, str(item)) for item in range(count)]
        elif self._values.is_kept(self._run_id, task, "value"):
            value = self._values.kept(self._run_id, task, "value")
        else:
            raise StoreError(f"what task {task!r} returned in run {self._run_id!r} is not there; run that task first")
        self[task] = value
        return value


def _alone(program: Program, task: str, inputs: Mapping[str, object], attempt: int) -> tuple[Program, RetryPolicy]:
    """The task with its inputs as a program of its own, which is not retried; and how it would be."""
    spec = next(each for each in program.spec.tasks if each.id == task)
    options = replace(spec.options, retries=0, retry_delays=(), cache=False)
    code = program.code[task]
    hooks = code.hooks
    if attempt <= code.retry.retries:  # this may not be how it ends
        hooks = {state: each for state, each in hooks.items() if state not in _FAILURES}
    flow = FlowSpec(
        name=program.spec.name,
        version=program.spec.version,
        tasks=(replace(spec, inputs={}, after=(), mapped=(), options=options),),
        result=FromTask(task),
    )
    return (
        Program(
            flow,
            {task: replace(code, retry=RetryPolicy(), hooks=hooks)},
            {task: {name: Actual(value) for name, value in inputs.items()}},
            FromTask(task),
        ),
        code.retry,
    )


def _wait(policy: RetryPolicy, attempt: int, done: TaskRun) -> float | None:
    """In how many seconds the task is worth another try; None when it is not."""
    if done.error is None or not done.state.is_failure:
        return None
    return policy.decide(attempt, done.error, random.random())


# ---- running, and telling how it went


class _Ran(NamedTuple):
    result: RunResult
    output: str  # the end of it


def _run(program: Program, parameters: Mapping[str, Any], options: RunOptions, ends_at: float | None) -> _Ran:
    handle = start(program, parameters, options)
    echo = _Echo(handle)
    try:
        result = handle.wait(None if ends_at is None else max(0.0, ends_at - time.monotonic()))
    except TimeoutError:
        handle.cancel("the time of the invocation is up")
        result = handle.wait()
    return _Ran(result, echo.tail())


class _Echo:
    """Prints what tasks write, as it comes, and keeps the end of it."""

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._pieces: deque[str] = deque()
        self._size = 0
        self._thread = threading.Thread(target=self._follow, name="dagy-echo", daemon=True)
        self._thread.start()

    def tail(self) -> str:
        """The end of the output, once the run has ended."""
        self._thread.join()
        return "".join(self._pieces)[-MOST_OUTPUT:]

    def _follow(self) -> None:
        for event in self._handle.events():
            if isinstance(event, TaskWrote):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it
                    sys.__stderr__.write(event.text)  # type: ignore[union-attr]  # None: there is no such stream
                    sys.__stderr__.flush()  # type: ignore[union-attr]
                self._pieces.append(event.text)
                self._size += len(event.text)
                while self._size - len(self._pieces[0]) > MOST_OUTPUT:
                    self._size -= len(self._pieces.popleft())


def _told(run_id: str, ran: _Ran) -> dict[str, Json]:
    result = ran.result
    runs = sorted(result.task_runs.values(), key=lambda each: not each.state.is_failure)  # failures first
    error = next((each.error for each in runs if each.state.is_failure), None) or result.error
    return {
        "run_id": run_id,
        "state": result.state.type.value,
        "message": result.state.message,
        "tasks": {each.id: _task(each) for each in runs[:MOST_TASKS]},
        "counts": dict(Counter(each.state.type.value for each in runs)),
        "output": ran.output,
        **({} if error is None else {"error": _error(error)}),
    }


def _task(run: TaskRun) -> dict[str, Json]:
    told: dict[str, Json] = {"state": run.state.type.value, "attempt": run.attempt}
    return told | {"message": run.state.message} if run.state.message else told


def _result(carried: Any) -> dict[str, Json]:
    """The result; when it can't be handed on, the run has failed after all."""
    try:
        return {"result": carried()}
    except DagyError as error:
        return {"state": StateType.FAILED.value, "message": sentence(error), "error": _error(error)}


def _error(error: BaseException) -> dict[str, Json]:
    return {
        "type": type_name(type(error)),
        "message": sentence(error).partition(": ")[2],
        "traceback": error_text(error),
    }


def main() -> None:
    """Run the payload in DAGY_EVENT, or on stdin, and print the answer; the exit code is 0 if it completed."""
    text = os.environ.get("DAGY_EVENT") or sys.stdin.read()
    answers, sys.stdout = sys.stdout, sys.stderr  # what the user's code prints is no part of the answer
    try:
        event: Any = json.loads(text or "{}")
    except ValueError as error:
        event = f"what is not JSON: {error}"
    told = handler(event)
    answers.write(json.dumps(told) + "\n")
    answers.flush()
    sys.exit(0 if told["state"] == StateType.COMPLETED else 1)


if __name__ == "__main__":
    main()
