"""A flow's own retries and time limit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import RunChanged, TaskChanged
from dagy.errors import DefinitionError, RunTimeoutError, TaskFailedError
from dagy.states import StateType


def test_a_failed_run_is_tried_again_and_what_completed_is_not_run_again():
    calls: list[str] = []

    @task
    def steady() -> int:
        calls.append("steady")
        return 1

    @task
    def flaky(value: int) -> int:
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise ValueError("not yet")
        return value

    @flow(retries=2)
    def tried() -> int:
        return flaky(steady())

    handle = tried.start_local()
    assert handle.wait(10).value == 1
    assert calls == ["steady", "flaky", "flaky", "flaky"]
    states = [str(each.state.type) for each in handle.events() if isinstance(each, RunChanged)]
    assert states == ["RUNNING", "RETRYING", "RUNNING", "RETRYING", "RUNNING", "COMPLETED"]


def test_a_run_fails_when_its_tries_are_used_up():
    @task
    def fails() -> None:
        raise ValueError("always")

    @flow(retries=2)
    def tried() -> None:
        fails()

    with pytest.raises(TaskFailedError) as caught:
        tried.run_local()
    assert caught.value.result.task_runs["fails"].attempt == 3


def test_between_two_tries_the_run_waits_as_long_as_it_says(bench):
    attempts: list[int] = []

    @task
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("the first time")
        return 1

    @flow(retries=1, retry_delay_seconds=30)
    def tried() -> int:
        return flaky()

    handle = bench.start(tried)
    assert bench.timers.wait_for(1) == [30]
    assert handle.status is StateType.RETRYING
    bench.timers.advance(30)
    assert handle.wait(10).value == 1


def test_the_retries_of_a_task_are_there_again_when_the_run_is_tried_again():
    attempts: list[int] = []

    @task(retries=1)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 4:
            raise ValueError("not yet")
        return len(attempts)

    @flow(retries=1)
    def tried() -> int:
        return flaky()

    assert tried.run_local().value == 4


def test_a_run_that_takes_too_long_has_timed_out_and_its_tasks_are_stopped(bench):
    begun = threading.Event()

    @task
    def loops() -> None:
        begun.set()
        while True:
            pass

    @task
    def never(_after: Any) -> None: ...

    @flow(timeout_seconds=60)
    def slow() -> None:
        never(loops())

    handle = bench.start(slow)
    assert begun.wait(10)
    bench.timers.advance(60)
    result = handle.wait(10)
    assert str(result.state) == "TIMED_OUT: the flow ran out of time after 60 s"
    assert {str(each.state) for each in result.task_runs.values()} == {"CANCELLED: the flow ran out of time after 60 s"}


def test_run_local_raises_when_the_run_took_too_long():
    @task
    def loops() -> None:
        while True:
            pass

    @flow(timeout_seconds=0.05)
    def slow() -> None:
        loops()

    with pytest.raises(RunTimeoutError, match=r"the flow ran out of time after 0\.05 s"):
        slow.run_local()


def test_the_hooks_of_a_flow_are_told_of_the_end_once():
    seen: list[str] = []

    @task
    def fails() -> None:
        raise ValueError("always")

    @flow(retries=2, on_running=[lambda _c, s: seen.append(s.type)], on_failure=[lambda _c, s: seen.append(s.type)])
    def tried() -> None:
        fails()

    tried.run_local(fail_fast=False)
    assert seen == ["RUNNING", "FAILED"]


def test_the_spec_says_how_a_flow_is_to_be_tried():
    @flow(retries=2, retry_delay_seconds=[1, 5], timeout_seconds=60)
    def tried() -> None: ...

    assert tried.spec.options.retries == 2
    assert tried.spec.options.retry_delays == (1.0, 5.0)
    assert tried.spec.options.timeout_seconds == 60.0
    assert type(tried.spec).model_validate_json(tried.spec.model_dump_json()) == tried.spec


@pytest.mark.parametrize(
    "options", [{"retries": -1}, {"timeout_seconds": 0}, {"retry_delay_seconds": -1}, {"timeout_seconds": "5"}]
)
def test_an_option_without_a_meaning_is_refused(options: dict[str, Any]):
    with pytest.raises(DefinitionError):
        flow(**options)(lambda: None)


def test_two_calls_of_one_flow_are_two_groups():
    @task
    def step() -> int:
        return 1

    @flow
    def inner() -> int:
        return step()

    @flow
    def outer() -> Any:
        return [inner(), inner()]

    assert [each.group for each in outer.spec.tasks] == [("inner",), ("inner-2",)]


def test_a_task_that_waits_for_the_next_try_of_the_run_says_so():
    attempts: list[int] = []

    @task
    def flaky() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("no")

    @flow(retries=1)
    def tried() -> None:
        flaky()

    handle = tried.start_local()
    handle.wait(10)
    told = [str(each.state) for each in handle.events() if isinstance(each, TaskChanged)]
    assert told[1] == "RETRYING: ValueError: no; waits for the flow to be tried again"
