"""What the calling code runs as is there for who asks, wherever that is."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import current_context
from dagy.hooks import RunContext


def told(context: RunContext | None) -> Any:
    if context is None:
        return None
    return context.name, context.task_id, context.attempt, context.item, dict(context.parameters), context.flow_name


@task
def ask(item: Any = None) -> Any:
    return told(current_context())


@task
async def ask_in_a_loop() -> Any:
    await asyncio.sleep(0)
    return told(current_context()), await asyncio.to_thread(lambda: told(current_context()))


@flow(name="asking")
def asking(day: str = "monday", lock: Any = None) -> Any:
    return [ask(), ask.with_options(name="again")()]


OURS = {"day": "monday", "lock": None}


@pytest.mark.parametrize("options", [{}, {"isolation": "process"}, {"max_workers": 1}], ids=str)
def test_a_task_learns_what_it_runs_as(options: dict[str, Any]):
    assert asking.run_local(**options).value == [
        ("ask", "ask", 1, None, OURS, "asking"),
        ("again", "again", 1, None, OURS, "asking"),
    ]


def test_outside_of_tasks_there_is_nothing_to_learn():
    assert current_context() is None
    assert asking.run_local().status == "COMPLETED"
    assert current_context() is None


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_coroutine_learns_it_and_the_threads_that_it_waits_for(isolation: str):
    value: Any = flow(name="small")(lambda: ask_in_a_loop()).run_local(isolation=isolation).value
    expected = ("ask_in_a_loop", "ask_in_a_loop", 1, None, {}, "small")
    assert list(value) == [expected, expected]


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_each_item_learns_which_it_is(isolation: str):
    value: Any = flow(name="small")(lambda: ask.map(["a", "b", "c"])).run_local(isolation=isolation).value
    assert [each[3] for each in value] == [0, 1, 2]


def test_each_attempt_learns_its_number():
    numbers = []

    @task(retries=2)
    def insist() -> None:
        context = current_context()
        assert context is not None
        numbers.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("no")

    flow(name="small")(lambda: insist()).run_local()
    assert numbers == [1, 2, 3]


@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_run_inside_a_task_has_a_context_of_its_own(max_workers: int):
    @task
    def outer() -> Any:
        inner = asking.run_local(max_workers=max_workers)
        return inner.value[0], told(current_context())

    value: Any = flow(name="around")(lambda: outer()).run_local(max_workers=max_workers).value
    assert value == (("ask", "ask", 1, None, OURS, "asking"), ("outer", "outer", 1, None, {}, "around"))


def test_a_parameter_that_can_not_travel_is_left_out_in_a_process():
    value: Any = asking.run_local(lock=threading.Lock(), isolation="process").value
    assert [each[4] for each in value] == [{"day": "monday"}] * 2
