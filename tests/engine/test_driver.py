"""Runs with real threads and a real event loop: values, failures, cancels, timeouts, hooks."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dagy import Flow, RunContext, State, StateType, completed, flow, running, task
from dagy.engine import HookFailed, RunChanged, TaskChanged, checked_result
from dagy.engine.machine import GRACE_SECONDS
from dagy.errors import ParameterError, RunError, TaskFailedError, TaskTimeoutError


@task
def one() -> int:
    return 1


@task
def add(a: int, b: int = 10) -> int:
    return a + b


@task
async def double(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


@task
def same(value: Any) -> Any:
    return value


small = flow(name="small")  # for graphs drawn by a lambda, which has no name


def value_of(function: Callable[..., Any], **options: Any) -> Any:
    return small(function).run_local(**options).value


def ends(result: Any) -> dict[str, str]:
    return {name: str(each.state.type) for name, each in result.task_runs.items()}


# Values


@pytest.mark.parametrize("max_workers", [1, 2, None])
def test_values_flow_from_task_to_task(max_workers: int | None):
    assert value_of(lambda: add(one(), add(one(), b=2)), max_workers=max_workers) == 4


def test_a_default_of_the_task_holds_when_the_flow_gives_nothing():
    assert value_of(lambda: add(one())) == 11


def test_a_part_of_an_output_is_taken_when_it_is_there():
    assert value_of(lambda: same({"rows": [7, 8]})["rows"][1]) == 8


def test_a_part_of_an_output_flows_on():
    def draw():
        found = same({"rows": [7, 8]})
        return add(found["rows"][0], found["rows"][1])

    assert value_of(draw) == 15


def test_outputs_inside_containers_arrive_as_values_in_those_containers():
    def draw():
        return same({"list": [one(), 2], "tuple": (one(),), "deep": [{"key": [one()]}]})

    assert value_of(draw) == {"list": [1, 2], "tuple": (1,), "deep": [{"key": [1]}]}


def test_a_set_of_outputs_arrives_as_a_set():
    assert value_of(lambda: same({one(), add(one())})) == {1, 11}


def test_what_json_can_not_hold_arrives_as_the_object_itself():
    thing = object()
    assert value_of(lambda: same(thing)) is thing


def test_each_call_gets_containers_of_its_own_when_they_hold_outputs():
    @task
    def grow(items: list[int]) -> list[int]:
        items.append(0)
        return items

    def draw():
        items = [one()]
        return [grow(items), grow(items)]

    assert value_of(draw) == [[1, 0], [1, 0]]


def test_tasks_may_take_any_number_of_values():
    @task
    def gather(first: int, /, *rest: int, **named: int) -> list[Any]:
        return [first, rest, named]

    assert value_of(lambda: gather(one(), add(one()), 3, x=one())) == [1, (11, 3), {"x": 1}]


def test_a_flow_may_return_nothing():
    def draw():
        one()

    assert value_of(draw) is None


@pytest.mark.parametrize("value", [5, "text", [1, 2], {"a": (1, 2)}, 2.5, None])
def test_a_flow_may_return_a_literal(value: Any):
    assert value_of(lambda: value) == value


def test_a_flow_may_return_containers_of_outputs():
    assert value_of(lambda: {"a": one(), "b": [add(one()), (one(),)]}) == {"a": 1, "b": [11, (1,)]}


def test_a_flow_without_tasks_completes():
    result = small(lambda: None).run_local()
    assert result.status is StateType.COMPLETED
    assert result.task_runs == {}


def test_async_tasks_and_plain_ones_mix():
    assert value_of(lambda: add(double(add(one(), 1)), double(one()))) == 6


def test_async_tasks_run_at_the_same_time_on_one_loop():
    arrived: list[Any] = []

    @task
    async def meets(number: int) -> int:
        arrived.append(asyncio.get_running_loop())
        while len(arrived) < 3:
            await asyncio.sleep(0)
        return number

    assert value_of(lambda: [meets(each) for each in range(3)]) == [0, 1, 2]
    assert len(set(arrived)) == 1


def test_tasks_run_at_the_same_time_in_threads():
    meet = threading.Barrier(3)

    @task
    def meets(number: int) -> int:
        meet.wait(10)
        return number

    assert value_of(lambda: [meets(each) for each in range(3)], max_workers=3) == [0, 1, 2]


def test_with_one_worker_tasks_run_in_the_calling_thread():
    where: list[int] = []

    @task
    def looks() -> None:
        where.append(threading.get_ident())

    value_of(lambda: looks(), max_workers=1)
    assert where == [threading.get_ident()]


def test_a_chain_of_20_000_tasks_runs_without_recursion():
    def draw():
        value = one()
        for _ in range(20_000):
            value = add(value, 1)
        return value

    assert value_of(draw) == 20_001


def test_a_fan_out_of_10_000_tasks_runs():
    assert value_of(lambda: same([add(1, each) for each in range(10_000)])) == list(range(1, 10_001))


@pytest.mark.parametrize("max_workers", [1, 3])
def test_no_more_than_max_workers_run_at_once(max_workers: int):
    counter = Counter()

    @task
    def counted(number: int) -> int:
        with counter:
            return number

    value_of(lambda: [counted(each) for each in range(200)], max_workers=max_workers)
    assert counter.most <= max_workers


class Counter:
    """How many are inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


# Context variables

WHO = contextvars.ContextVar("WHO", default="nobody")


def test_tasks_see_the_context_variables_of_whoever_started_the_run():
    @task
    def plain(after: Any = None) -> str:
        return WHO.get()

    @task
    async def on_loop(after: Any = None) -> str:
        return WHO.get()

    token = WHO.set("caller")
    try:
        assert value_of(lambda: [plain(plain()), on_loop(plain()), on_loop()]) == ["caller"] * 3
    finally:
        WHO.reset(token)


@pytest.mark.parametrize("max_workers", [1, 2])
def test_a_context_variable_set_in_a_task_is_seen_by_no_other(max_workers: int):
    @task
    def sets(after: Any = None) -> str:
        before = WHO.get()
        WHO.set("a task")
        return before

    @task
    async def sets_on_loop(after: Any = None) -> str:
        before = WHO.get()
        WHO.set("a task")
        return before

    def draw():
        first = sets()
        second = sets(first)
        third = sets_on_loop(second)
        return [first, second, third, sets_on_loop(third)]

    assert value_of(draw, max_workers=max_workers) == ["nobody"] * 4
    assert WHO.get() == "nobody"


# Failures


class BadError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no rows"), "ValueError: no rows"),
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit("bye"), "SystemExit: bye"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(3), "StopIteration: 3"),
        (asyncio.CancelledError(), "CancelledError"),
        (BaseException("base"), "BaseException: base"),
        (BaseExceptionGroup("several", [SystemExit()]), "BaseExceptionGroup: several (1 sub-exception)"),
        (BadError(), "BadError (its message can't be shown)"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else "",
)
def test_whatever_a_task_raises_its_run_fails_and_says_so(error: BaseException, message: str):
    @task
    def fails() -> None:
        raise error

    result = small(lambda: one.after(fails())()).run_local(fail_fast=False)
    assert str(result.state) == "FAILED: 1 of 2 tasks failed: 'fails'"
    assert result.task_runs["fails"].state == State(StateType.FAILED, message)
    assert result.task_runs["fails"].error is error
    assert result.task_runs["one"].state.message == "not started, because 'fails' failed"


@pytest.mark.parametrize(
    "error",
    [ValueError("no rows"), SystemExit(0), KeyboardInterrupt(), asyncio.CancelledError(), BaseException("base")],
    ids=lambda each: type(each).__name__,
)
def test_whatever_an_async_task_raises_its_run_fails(error: BaseException):
    @task
    async def fails() -> None:
        raise error

    result = small(lambda: fails()).run_local(fail_fast=False)
    assert result.task_runs["fails"].state.type is StateType.FAILED
    assert result.task_runs["fails"].error is error


def test_a_failure_is_raised_and_caused_by_the_tasks_own_error():
    @task
    def fails() -> None:
        raise ValueError("no rows")

    with pytest.raises(TaskFailedError, match=r"task 'fails' of flow 'small': FAILED: ValueError: no rows") as caught:
        small(lambda: fails()).run_local()
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.result.status is StateType.FAILED


def test_the_first_task_to_fail_is_named_and_not_one_that_was_to_be_tried_again(bench):
    waits = threading.Event()

    @task(retries=1, retry_delay_seconds=60)
    def flaky() -> None:
        raise ValueError("for now")

    @task
    def fails() -> None:
        waits.wait(10)
        raise KeyError("for good")

    handle = bench.start(small(lambda: [flaky(), fails()]))
    bench.timers.wait_for(1)
    waits.set()
    with pytest.raises(TaskFailedError, match="'fails'"):
        checked_result(handle.wait(10))


def test_the_traceback_of_a_failure_begins_in_the_users_code():
    @task
    def fails() -> None:
        raise ValueError("no rows")

    result = small(lambda: fails()).run_local(fail_fast=False)
    traceback = result.task_runs["fails"].error.__traceback__
    assert traceback.tb_frame.f_code.co_name == "fails"


def test_a_part_that_an_output_does_not_have_fails_the_task_that_asks_for_it():
    result = small(lambda: add(same({"rows": 1})["row"])).run_local(fail_fast=False)
    assert ends(result) == {"same": "COMPLETED", "add": "FAILED"}
    assert isinstance(result.task_runs["add"].error, ParameterError)
    assert "task 'same' returned {'rows': 1} with the keys ['rows'], which has no part 'row'" in str(
        result.task_runs["add"].error
    )


def test_a_part_that_is_missing_from_what_the_flow_returns_fails_the_run():
    result = small(lambda: same({"rows": 1})["row"]).run_local(fail_fast=False)
    assert result.status is StateType.FAILED
    assert "which has no part 'row'" in result.state.message
    assert ends(result) == {"same": "COMPLETED"}
    assert result["same"] == {"rows": 1}


def test_a_part_that_is_missing_from_what_the_flow_returns_is_raised():
    with pytest.raises(RunError, match="has no part 'row'"):
        small(lambda: same({"rows": 1})["row"]).run_local()


def test_a_value_of_the_wrong_type_fails_the_task_that_is_given_it():
    result = small(lambda: add(same("many"))).run_local(fail_fast=False)
    assert "task 'add': 'a' can't be 'many' (str)" in result.task_runs["add"].state.message


def test_a_task_that_does_not_validate_takes_what_it_is_given():
    @task(validate_parameters=False)
    def takes(value: int) -> Any:
        return value

    assert value_of(lambda: takes(same("many"))) == "many"


def test_fail_fast_cancels_what_runs_and_what_is_pending():
    both_run = threading.Barrier(2)
    stopped = threading.Event()

    @task
    def fails() -> None:
        both_run.wait(10)
        raise ValueError("no rows")

    @task
    def loops() -> None:
        both_run.wait(10)
        try:
            while True:
                pass
        finally:
            stopped.set()

    @flow
    def fast():
        fails()
        same(loops())

    with pytest.raises(TaskFailedError) as caught:
        fast.run_local(max_workers=2)
    assert stopped.is_set()
    assert ends(caught.value.result) == {"fails": "FAILED", "loops": "CANCELLED", "same": "CANCELLED"}
    assert caught.value.result.task_runs["loops"].state.message == "stopped because 'fails' failed"


# Retries


def test_a_task_is_tried_again_until_it_returns():
    attempts: list[int] = []

    @task(retries=3)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return len(attempts)

    result = small(lambda: flaky()).run_local()
    assert result.value == 3
    assert result.task_runs["flaky"].attempt == 3
    assert result.task_runs["flaky"].error is None


def test_the_waits_between_tries_are_those_of_the_list_and_the_last_one_repeats(bench):
    @task(retries=4, retry_delay_seconds=[0.01, 0.05, 0.1])
    def fails() -> None:
        raise ValueError("never")

    handle = bench.start(small(lambda: fails()))
    waits = []
    for _ in range(4):
        (wait,) = bench.timers.wait_for(1)
        waits.append(round(wait, 9))
        bench.timers.advance(wait)
    assert handle.wait(10).status is StateType.FAILED
    assert waits == [0.01, 0.05, 0.1, 0.1]


def test_jitter_lengthens_a_wait_by_chance(bench):
    bench.chance = lambda: 0.5

    @task(retries=1, retry_delay_seconds=2, retry_jitter_factor=0.5)
    def fails() -> None:
        raise ValueError("never")

    handle = bench.start(small(lambda: fails()))
    assert bench.timers.wait_for(1) == [2.5]
    bench.timers.advance(2.5)
    handle.wait(10)


def test_a_retry_condition_says_whether_an_error_is_worth_another_try():
    attempts: list[int] = []

    @task(retries=5, retry_condition_fn=lambda error: "again" in str(error))
    def flaky() -> None:
        attempts.append(1)
        raise ValueError("again" if len(attempts) == 1 else "no more")

    result = small(lambda: flaky()).run_local(fail_fast=False)
    assert result.task_runs["flaky"].attempt == 2


# Timeouts


def test_at_its_deadline_a_python_loop_is_ended_and_the_task_has_timed_out(bench):
    ended = threading.Event()
    begun = threading.Event()

    @task(timeout_seconds=30, isolation="thread")
    def loops() -> None:
        begun.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    handle = bench.start(small(lambda: loops()))
    assert begun.wait(10)
    bench.timers.advance(30)
    assert ended.wait(10)
    result = handle.wait(10)
    assert result.task_runs["loops"].state.type is StateType.TIMED_OUT
    assert isinstance(result.task_runs["loops"].error, TaskTimeoutError)


def test_a_blocked_call_past_its_deadline_is_left_behind_and_named(bench):
    release = threading.Lock()
    release.acquire()
    begun = threading.Event()

    @task(timeout_seconds=30, isolation="thread")
    def blocks() -> None:
        begun.set()
        release.acquire()

    handle = bench.start(small(lambda: [blocks(), one()]), fail_fast=False)
    assert begun.wait(10)
    bench.timers.advance(30)
    result = handle.wait(10)
    assert ends(result) == {"blocks": "TIMED_OUT", "one": "COMPLETED"}
    assert result.still_running == ("blocks",)
    release.release()


def test_a_task_that_ran_out_of_time_is_tried_again(bench):
    attempts: list[int] = []
    begun = threading.Event()

    @task(timeout_seconds=30, retries=1, isolation="thread")
    def slow_at_first() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            begun.set()
            while True:
                pass
        return len(attempts)

    handle = bench.start(small(lambda: slow_at_first()))
    assert begun.wait(10)
    bench.timers.advance(30)
    assert handle.wait(10).value == 2


def test_an_async_task_is_cancelled_at_its_deadline(bench):
    begun = threading.Event()
    cancelled = threading.Event()

    @task(timeout_seconds=30, isolation="thread")
    async def waits() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    handle = bench.start(small(lambda: waits()))
    assert begun.wait(10)
    bench.timers.advance(30)
    assert cancelled.wait(10)
    assert handle.wait(10).task_runs["waits"].state.type is StateType.TIMED_OUT


# Cancelling


def test_a_cancel_ends_a_python_loop(bench):
    begun, ended = threading.Event(), threading.Event()

    @task
    def loops() -> None:
        begun.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    handle = bench.start(small(lambda: same(loops())))
    assert begun.wait(10)
    handle.cancel("by hand")
    result = handle.wait(10)
    assert ended.is_set()
    assert str(result.state) == "CANCELLED: by hand"
    assert ends(result) == {"loops": "CANCELLED", "same": "CANCELLED"}
    assert result.still_running == ()


@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_blocked_call_is_waited_for_until_the_grace_is_over_and_then_named(bench, max_workers: int):
    begun, release = threading.Event(), threading.Lock()
    release.acquire()

    @task
    def blocks() -> None:
        begun.set()
        release.acquire()

    handle = bench.start(small(lambda: same(blocks())), max_workers=max_workers)
    assert begun.wait(10)
    handle.cancel("by hand")
    assert bench.timers.waiting == [GRACE_SECONDS]
    bench.timers.advance(GRACE_SECONDS / 2)
    assert not handle.done
    bench.timers.advance(GRACE_SECONDS / 2)
    result = handle.wait(10)
    assert result.still_running == ("blocks",)
    assert result.task_runs["blocks"].state.message == ("by hand; it did not stop in time")
    release.release()


@pytest.mark.parametrize("body", ["plain", "async"])
def test_a_cancel_right_after_the_start_ends_the_run_without_the_grace(bench, body: str):
    @task
    def plain() -> None:
        while True:
            pass

    @task
    async def on_loop() -> None:
        await asyncio.Event().wait()

    which = plain if body == "plain" else on_loop
    for _ in range(20):
        handle = bench.start(small(lambda: [which(), which()]))
        handle.cancel()
        result = handle.wait(10)
        assert result.status is StateType.CANCELLED
        assert result.still_running == ()


def test_a_cancel_that_the_code_swallows_leaves_the_task_named(bench):
    begun, caught, release = threading.Event(), threading.Event(), threading.Lock()
    release.acquire()

    @task
    def stubborn() -> None:
        begun.set()
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001 (what a cancel can not reach)
            caught.set()
            release.acquire()

    handle = bench.start(small(lambda: stubborn()))
    assert begun.wait(10)
    handle.cancel()
    assert caught.wait(10)
    bench.timers.advance(GRACE_SECONDS)
    assert handle.wait(10).still_running == ("stubborn",)
    release.release()


def test_a_thread_that_was_told_to_stop_does_its_next_task_in_peace():
    result = None
    for _ in range(30):
        begun = threading.Event()

        @task
        def ends_by_itself(begun: threading.Event = begun) -> int:
            begun.set()
            return sum(range(50))

        handle = small(lambda: [ends_by_itself()]).start_local()
        begun.wait(10)
        handle.cancel()
        result = handle.wait(10)
        assert result.status in (StateType.CANCELLED, StateType.COMPLETED)
        assert result.still_running == ()


def test_a_cancel_ends_the_wait_for_a_retry(bench):
    @task(retries=1, retry_delay_seconds=3600)
    def fails() -> None:
        raise ValueError("no rows")

    handle = bench.start(small(lambda: fails()))
    bench.timers.wait_for(1)
    handle.cancel()
    result = handle.wait(10)
    assert ends(result) == {"fails": "CANCELLED"}
    assert isinstance(result.task_runs["fails"].error, ValueError)


def test_a_cancel_of_a_run_that_has_ended_does_nothing():
    handle = small(lambda: one()).start_local()
    before = handle.wait(10)
    handle.cancel()
    assert handle.wait(10) is before
    assert before.status is StateType.COMPLETED


def test_a_task_that_is_never_started_has_no_times(bench):
    begun = threading.Event()

    @task
    def loops() -> None:
        begun.set()
        while True:
            pass

    handle = bench.start(small(lambda: same(loops())))
    assert begun.wait(10)
    handle.cancel()
    never = handle.wait(10).task_runs["same"]
    assert (never.attempt, never.started_at, never.ended_at, never.seconds) == (0, None, None, None)


# Limits


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_concurrency_limit_of_2_is_never_exceeded(kind: str):
    counter = Counter()

    @task(concurrency_limit=2)
    def plain(number: int) -> int:
        with counter:
            return number

    @task(concurrency_limit=2)
    async def on_loop(number: int) -> int:
        with counter:
            await asyncio.sleep(0)
            return number

    limited = plain if kind == "plain" else on_loop
    assert value_of(lambda: same([limited(each) for each in range(30)]), max_workers=6) == list(range(30))
    assert 1 <= counter.most <= 2


# Hooks

Seen = list[tuple[str, str, int]]


def recorder(seen: Seen) -> Any:
    def record(context: RunContext, state: State) -> None:
        seen.append((context.name, f"{state.type:10s}", context.attempt))

    return record


def test_the_hooks_of_a_task_are_called_in_order_with_the_attempt():
    seen: Seen = []
    hooks = [recorder(seen)]
    attempts: list[int] = []

    @task(retries=2, on_running=hooks, on_completion=hooks, on_failure=hooks, on_retry=hooks)
    def flaky() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")

    small(lambda: flaky()).run_local(max_workers=1)
    assert seen == [
        ("flaky", "RUNNING   ", 1),
        ("flaky", "RETRYING  ", 1),
        ("flaky", "RUNNING   ", 2),
        ("flaky", "RETRYING  ", 2),
        ("flaky", "RUNNING   ", 3),
        ("flaky", "COMPLETED ", 3),
    ]


def test_on_failure_is_called_once_after_the_last_try():
    seen: Seen = []

    @task(retries=2, on_failure=[recorder(seen)])
    def fails() -> None:
        raise ValueError("no rows")

    small(lambda: fails()).run_local(fail_fast=False)
    assert seen == [("fails", "FAILED    ", 3)]


def test_the_hooks_of_a_flow_are_called_once_a_run_around_everything():
    seen: Seen = []
    hooks = [recorder(seen)]
    hooked = task(on_running=hooks)(add.function)
    a_flow = Flow(lambda: hooked(1), name="etl", on_running=hooks, on_completion=hooks, on_failure=hooks)
    a_flow.run_local(max_workers=1)
    assert seen == [("etl", "RUNNING   ", 1), ("add", "RUNNING   ", 1), ("etl", "COMPLETED ", 1)]


def test_on_failure_of_a_flow_is_told_what_failed():
    states: list[State] = []

    @task
    def fails() -> None:
        raise ValueError("no rows")

    Flow(lambda: fails(), name="etl", on_failure=[lambda _, state: states.append(state)]).run_local(fail_fast=False)
    assert states == [State(StateType.FAILED, "1 of 1 tasks failed: 'fails'")]


def test_a_hook_of_a_task_is_told_all_about_it():
    seen: list[RunContext] = []

    @task(on_completion=[lambda context, _: seen.append(context)])
    def scale(value: int, by: int = 3) -> int:
        return value * by

    result = small(lambda: scale(one(), by=2)).run_local()
    assert seen == [
        RunContext(
            name="scale", run_id=result.run_id, flow_name="small", attempt=1, parameters={"value": 1, "by": 2},
            task_id="scale",
        )
    ]  # fmt: skip


def test_a_hook_of_a_flow_is_told_the_flows_parameters():
    seen: list[RunContext] = []

    def etl(path: str, limit: int = 3):
        same(path)

    a_flow = Flow(etl, on_running=[lambda context, _: seen.append(context)])
    result = a_flow.run_local(path="rows.csv")
    assert seen == [RunContext("etl", result.run_id, "etl", 1, {"path": "rows.csv", "limit": 3}, None)]


@pytest.mark.parametrize(
    "error",
    [ValueError("broken"), SystemExit(1), GeneratorExit(), BaseException("base"), BadError()],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("max_workers", [1, 2])
def test_a_hook_that_raises_is_logged_and_recorded_and_changes_nothing(
    error: BaseException, max_workers: int, caplog: pytest.LogCaptureFixture
):
    def broken(context: RunContext, state: State) -> None:
        raise error

    seen: Seen = []
    hooks = [broken, recorder(seen)]
    hooked = task(on_running=hooks, on_completion=hooks)(add.function)
    a_flow = Flow(lambda: hooked(1), name="etl", on_running=hooks, on_completion=hooks)
    with caplog.at_level(logging.WARNING, "dagy"):
        assert a_flow.run_local(max_workers=max_workers).value == 11
    assert [name for name, _, _ in seen] == ["etl", "add", "add", "etl"]
    assert len(caplog.records) == 4
    assert "broken" in caplog.records[0].getMessage()


def test_a_hook_that_raises_is_an_event(bench):
    def broken(context: RunContext, state: State) -> None:
        raise ValueError("broken")

    hooked = task(on_completion=[broken])(add.function)
    handle = bench.start(small(lambda: hooked(1)))
    handle.wait(10)
    (event,) = [each for each in handle.events() if isinstance(each, HookFailed)]
    assert event.task == "add"
    assert event.hook.endswith("broken")
    assert isinstance(event.error, ValueError)


def test_a_hook_of_a_task_whose_input_is_missing_gets_the_inputs_there_are():
    seen: list[Any] = []
    hooked = task(on_failure=[lambda context, _: seen.append(context.parameters)])(add.function)
    result = small(lambda: hooked(same({})["a"], b=2)).run_local(fail_fast=False)
    assert ends(result) == {"same": "COMPLETED", "add": "FAILED"}
    assert seen == [{"b": 2}]


def test_a_hook_may_be_an_object_with_a_call():
    class Audit:
        def __init__(self) -> None:
            self.states: list[State] = []

        def __call__(self, context: RunContext, state: State) -> None:
            self.states.append(state)

    audit = Audit()
    small(lambda: task(on_running=[audit], on_completion=[audit])(add.function)(1)).run_local()
    assert audit.states == [running(), completed()]


def test_the_run_has_not_ended_before_its_last_hook_has():
    in_hook, go_on = threading.Event(), threading.Event()

    def slow(context: RunContext, state: State) -> None:
        in_hook.set()
        go_on.wait(10)

    handle = small(lambda: task(on_completion=[slow])(add.function)(1)).start_local()
    assert in_hook.wait(10)
    assert not handle.done
    assert handle.status is StateType.RUNNING
    go_on.set()
    assert handle.wait(10).status is StateType.COMPLETED


def test_a_slow_hook_does_not_hold_up_what_else_there_is_to_do():
    in_hook, go_on, ran = threading.Event(), threading.Event(), threading.Event()

    def slow(context: RunContext, state: State) -> None:
        in_hook.set()
        go_on.wait(10)

    @task
    def tells(value: Any) -> None:
        assert in_hook.wait(10)
        ran.set()

    hooked = task(on_completion=[slow])(add.function)
    handle = small(lambda: tells(hooked(1))).start_local(max_workers=2)
    assert ran.wait(10)
    go_on.set()
    assert handle.wait(10).status is StateType.COMPLETED


def test_a_slow_hook_of_a_timeout_does_not_hold_up_the_other_timers(bench):
    in_hook, go_on = threading.Event(), threading.Event()

    def slow(context: RunContext, state: State) -> None:
        in_hook.set()
        go_on.wait(10)

    @task(timeout_seconds=1, isolation="thread", on_failure=[slow])
    def loops() -> None:
        while True:
            pass

    handle = bench.start(small(lambda: loops()))
    bench.timers.advance(1)
    assert in_hook.wait(10)
    assert not handle.done
    go_on.set()
    assert handle.wait(10).status is StateType.FAILED


# Events


def test_the_events_of_a_run_tell_its_story_in_order(bench):
    handle = bench.start(small(lambda: add(one())), max_workers=1)
    handle.wait(10)
    story = []
    for event in handle.events():
        match event:
            case RunChanged(state=state):
                story.append(f"run {state}")
            case TaskChanged(task=name, attempt=attempt, state=state):
                story.append(f"{name}#{attempt} {state}")
    assert story == [
        "run RUNNING",
        "one#1 RUNNING",
        "one#1 COMPLETED",
        "add#1 RUNNING",
        "add#1 COMPLETED",
        "run COMPLETED",
    ]
    assert [each.seq for each in handle.events()] == list(range(6))


def test_two_readers_and_a_late_one_see_the_same_events():
    gate = threading.Event()

    @task
    def waits() -> None:
        gate.wait(10)

    handle = small(lambda: add.after(waits())(1)).start_local()
    seen: list[list[Any]] = [[], []]
    readers = [threading.Thread(target=lambda each=each: each.extend(handle.events()), daemon=True) for each in seen]
    for each in readers:
        each.start()
    gate.set()
    handle.wait(10)
    for each in readers:
        each.join(10)
    assert seen[0] == seen[1] == list(handle.events()) != []


def test_times_are_seconds_since_the_epoch(bench):
    begun, go_on = threading.Event(), threading.Event()

    @task
    def waits() -> None:
        begun.set()
        go_on.wait(10)

    handle = bench.start(small(lambda: waits()))
    assert begun.wait(10)
    bench.clock.advance(2.5)
    go_on.set()
    result = handle.wait(10)
    assert (result.task_runs["waits"].started_at, result.task_runs["waits"].ended_at) == (1000.0, 1002.5)
    assert result.task_runs["waits"].seconds == 2.5
    assert result.seconds == 2.5


# Runs inside runs


def test_a_task_may_run_a_flow():
    inner = small(lambda: add(one()))

    @task
    def outer() -> int:
        return inner.run_local().value

    for max_workers in (1, 2):
        assert value_of(lambda: outer(), max_workers=max_workers) == 11


def test_a_flow_called_in_a_task_runs_and_gives_its_value():
    inner = small(lambda: add(one()))

    @task
    def outer() -> int:
        return inner()

    assert value_of(lambda: outer()) == 11


def test_an_async_task_may_await_a_run():
    inner = small(lambda: add(one()))

    @task
    async def outer() -> int:
        return (await inner.start_local()).value

    assert value_of(lambda: outer()) == 11


# The time that the run's surroundings give it


def test_how_much_of_its_time_a_run_has_left_is_known_by_the_clock(bench):
    @task
    def long() -> int:
        bench.clock.advance(100)
        return 1

    @task(timeout_seconds=60)
    def longer(value: int) -> int:
        return value

    result = bench.start(small(lambda: longer(long())), options={"time_limit": 120.0}).wait(10)
    assert ends(result) == {"long": "COMPLETED", "longer": "CANCELLED"}
    assert str(result.state).endswith("not started: it may take 60 s, and the run has 20 s left")


def test_a_run_whose_time_is_up_is_stopped_and_has_timed_out(bench):
    begun, stop = threading.Event(), threading.Event()

    @task
    def endless() -> None:
        begun.set()
        stop.wait(10)

    handle = bench.start(small(endless), options={"time_limit": 120.0})
    assert begun.wait(10)
    bench.timers.advance(120)
    stop.set()
    assert str(handle.wait(10).state) == "TIMED_OUT: the 120 s that the run has are up"


class Keeper:
    """A recorder that is asked to end its run while it keeps a value."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.is_known = threading.Event()
        self.cancel: Callable[[str], object]

    def keep(self, task: str, item: int | None, attempt: int, value: object) -> None:
        assert self.is_known.wait(10)
        self.cancel("enough")
        for _ in range(20):
            time.sleep(0)  # where the interpreter would raise what it was asked to
        self.kept.append(value)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None  # it keeps nothing else


def test_what_is_being_kept_is_kept_whole_when_the_run_is_stopped(bench):
    keeper = Keeper()
    handle = bench.start(small(one), options={"recorder": keeper})
    keeper.cancel = handle.cancel
    keeper.is_known.set()
    assert ends(handle.wait(10)) == {"one": "CANCELLED"}
    assert keeper.kept == [1]
