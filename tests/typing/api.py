"""What type checkers see of the SDK. mypy reads this file and nothing runs it; `test_typing.py` asks for its verdict.

A line that must be refused carries the code of the error that mypy has to find there, and a comment that is not needed
is itself an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

from dagy import Flow, Hook, RunContext, RunHandle, RunResult, State, StateType, Static, Task, TaskRun, flow, task
from dagy.spec import FlowSpec


@task
def bare(path: str, limit: int = 3) -> list[int]:
    return [limit]


@task(retries=3, retry_delay_seconds=[1, 2], timeout_seconds=60, retry_condition_fn=lambda error: True)
def called(rows: list[int], *, scale: float = 1.0) -> float:
    return sum(rows) * scale


@task
async def on_loop(value: int) -> str:
    return str(value)


def note(context: RunContext, state: State) -> None:
    assert_type(context.attempt, int)
    assert_type(state.type, StateType)


class Audit:
    def __call__(self, context: RunContext, state: State) -> None: ...


hooks: list[Hook] = [note, Audit()]


@task(on_running=[note], on_completion=[Audit()], on_failure=hooks)
def hooked() -> None: ...


@flow
def bare_flow(path: str, count: Static[int] = 2) -> float:
    for _ in range(count):
        bare(path)
    return called(bare(path), scale=2.0)


@flow(name="etl", version="1.0.0", on_failure=hooks)
def called_flow(path: str) -> float:
    return bare_flow(path, count=1)


# Signatures are kept.

assert_type(bare("x"), list[int])
assert_type(bare("x", limit=2), list[int])
assert_type(called([1], scale=2.0), float)
assert_type(hooked(), None)
assert_type(bare.after(bare("x"))("y"), list[int])
assert_type(bare_flow("x"), float)
assert_type(called_flow(path="x"), float)
assert_type(bare.function("x"), list[int])


async def awaits() -> None:
    assert_type(await on_loop(3), str)
    assert_type(await called_flow.start_local(path="x"), RunResult)


bare(3)  # type: ignore[arg-type]
bare()  # type: ignore[call-arg]
bare("x", limt=2)  # type: ignore[call-arg]
called([1], 2.0)  # type: ignore[call-arg]
bare.after(1)(3)  # type: ignore[arg-type]
called_flow(3)  # type: ignore[arg-type]
task(retrys=3)  # type: ignore[call-overload]
flow(retries="3")  # type: ignore[call-overload]
task(on_running=[len])  # type: ignore[list-item]
task(3)  # type: ignore[call-overload]


# A task and a flow can be passed on by their types.


def takes(first: Task[[str, int], list[int]], second: Flow[[str], float]) -> None: ...


def apply(function: Callable[[str], float]) -> None: ...


apply(called_flow)
apply(bare)  # type: ignore[arg-type]


# What a run gives.

result = called_flow.run_local(path="x", max_workers=2, fail_fast=False)
assert_type(result, RunResult)
assert_type(result.status, StateType)
assert_type(result.run_id, str)
assert_type(result.seconds, float)
assert_type(result.task_run("bare"), TaskRun)
assert_type(result.task_runs["bare"].error, BaseException | None)
assert_type(result.result_of("bare"), Any)
assert_type(called_flow.start_local(path="x"), RunHandle)
assert_type(called_flow.start_local(path="x").wait(3.0), RunResult)
assert_type(called_flow.spec, FlowSpec)
