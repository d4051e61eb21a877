"""`run` and `start`: handles, waiting, awaiting, and Ctrl-C."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from dagy import StateType, flow, task
from dagy.engine import checked_result, start
from dagy.engine.options import MAX_WORKERS, new_run_id
from dagy.errors import DefinitionError, RunCancelledError, UnknownTaskError


@task
def one() -> int:
    return 1


@flow
def simple() -> int:
    return one()


class Held:
    """A flow whose one task waits for `go_on`."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

        @task
        def waits() -> int:
            self.begun.set()
            self.go_on.wait(10)
            return 5

        self.flow = flow(name="held")(lambda: waits())


@pytest.fixture
def held() -> Held:
    return Held()


def test_a_handle_tells_where_the_run_stands(held: Held):
    handle = held.flow.start_local()
    assert held.begun.wait(10)
    assert not handle.done
    assert handle.status is StateType.RUNNING
    assert {name: state.type for name, state in handle.states().items()} == {"waits": StateType.RUNNING}
    assert handle.task_run("waits").attempt == 1
    assert handle.task_run("waits").ended_at is None
    assert handle.spec.name == "held"
    assert repr(handle) == f"<RunHandle {handle.run_id} RUNNING>"
    held.go_on.set()
    assert handle.wait(10).value == 5
    assert handle.done
    assert handle.status is StateType.COMPLETED
    assert handle["waits"] == 5


def test_waiting_ends_after_the_timeout_and_can_be_taken_up_again(held: Held):
    handle = held.flow.start_local()
    with pytest.raises(TimeoutError, match=re.escape(f"run {handle.run_id!r} has not ended within 0.01 s")):
        handle.wait(0.01)
    held.go_on.set()
    assert handle.wait(10).value == 5


def test_waiting_gives_the_result_of_a_run_that_failed_too():
    @task
    def fails() -> None:
        raise ValueError("no rows")

    handle = flow(name="f")(lambda: fails()).start_local()
    assert handle.wait(10).status is StateType.FAILED


def test_asking_a_handle_for_a_task_that_is_not_there_names_those_that_are():
    handle = simple.start_local()
    with pytest.raises(UnknownTaskError, match="there is no task 'two' in flow 'simple'; known: 'one'"):
        handle.task_run("two")
    handle.wait(10)


def test_a_handle_can_be_awaited(held: Held):
    async def main() -> Any:
        handle = held.flow.start_local()
        asyncio.get_running_loop().call_soon(held.go_on.set)
        return await handle

    assert asyncio.run(main()).value == 5


def test_a_handle_of_a_run_that_has_ended_can_be_awaited():
    handle = simple.start_local()
    handle.wait(10)

    async def main() -> Any:
        return await handle

    assert asyncio.run(main()).value == 1


def test_whoever_stops_awaiting_leaves_the_run_alone(held: Held):
    async def main() -> Any:
        handle = held.flow.start_local()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(_result(handle)), 0.01)
        held.go_on.set()
        return await handle

    assert asyncio.run(main()).value == 5


async def _result(handle: Any) -> Any:
    return await handle


@pytest.mark.parametrize("max_workers", [1, 2])
def test_run_local_works_where_an_event_loop_runs(max_workers: int):
    @task
    async def on_loop() -> int:
        return 2

    async def main() -> Any:
        return flow(name="f")(lambda: [one(), on_loop()]).run_local(max_workers=max_workers)

    assert asyncio.run(main()).value == [1, 2]


@pytest.mark.parametrize("max_workers", [0, -1, True, 1.5, "4"])
def test_max_workers_must_be_a_whole_number_from_1(max_workers: Any):
    with pytest.raises(
        DefinitionError, match=re.escape(f"max_workers must be a whole number, 1 or more, not {max_workers!r}")
    ):
        simple.run_local(max_workers=max_workers)
    with pytest.raises(DefinitionError):
        simple.start_local(max_workers=max_workers)


def test_as_many_tasks_run_at_once_as_max_workers_says_by_default():
    meet = threading.Barrier(MAX_WORKERS)

    @task
    def meets(number: int) -> None:
        meet.wait(10)

    flow(name="f")(lambda: [meets(each) for each in range(MAX_WORKERS)]).run_local()
    assert not meet.broken


def test_a_run_cancelled_from_elsewhere_raises():
    cancelled = threading.Event()

    @task
    def waits() -> None:
        cancelled.wait(10)
        while True:
            pass

    a_flow = flow(name="held")(lambda: waits())
    program, values = a_flow.prepare()
    handle = start(program, values)
    handle.cancel()
    cancelled.set()
    with pytest.raises(RunCancelledError, match="of flow 'held': CANCELLED: cancelled") as caught:
        checked_result(handle.wait(10))
    assert caught.value.result.status is StateType.CANCELLED


def test_a_run_id_holds_the_flows_name_and_is_fit_for_a_path():
    assert re.fullmatch(r"web-scraper-\d{8}-\d{6}-[0-9a-f]{6}", new_run_id("Web_Scraper"))
    assert re.fullmatch(r"run-\d{8}-\d{6}-[0-9a-f]{6}", new_run_id("../.."))
    assert len(new_run_id("x" * 10_000)) < 80


def test_run_ids_differ():
    assert len({new_run_id("f") for _ in range(100)}) == 100


# Ctrl-C, with real signals to a real process

PROGRAM = """
import sys, threading, time
from dagy import flow, task
from dagy.errors import RunError

@task
def loops():
    try:
        print("ready", flush=True)
        while True:
            pass
    finally:
        print("loop ended", flush=True)

@task
def sleeps():
    print("ready", flush=True)
    time.sleep({seconds})

@task
def after(value):
    print("never", flush=True)

def hangs(context, state):
    print("ready", flush=True)
    time.sleep({seconds})

@flow
def spinning():
    after(loops())

@flow
def sleeping():
    after(sleeps())

@flow(on_running=[hangs])
def hooked():
    loops()

try:
    {flow}.run_local({options})
except KeyboardInterrupt as interrupt:
    print("interrupted:", interrupt, flush=True)
"""


def hears_ctrl_c() -> None:
    """Whoever started the tests in the background may have had them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(flow: str, options: str, *, seconds: float = 60, signals: int = 1) -> list[str]:
    """What a program prints that runs `flow` and gets Ctrl-C once it says that it is ready."""
    source = textwrap.dedent(PROGRAM).format(flow=flow, options=options, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return [re.sub(r"run \S+ was", "run ID was", each) for each in out.splitlines()]


@pytest.mark.parametrize("options", ["max_workers=1", ""], ids=["in-the-calling-thread", "in-threads"])
def test_ctrl_c_ends_a_python_loop_and_the_run(options: str):
    assert interrupted("spinning", options) == ["loop ended", "interrupted: run ID was interrupted"]


@pytest.mark.parametrize("options", ["max_workers=1", ""], ids=["in-the-calling-thread", "in-threads"])
def test_ctrl_c_ends_a_run_whose_task_sleeps(options: str):
    assert interrupted("sleeping", options) == ["interrupted: run ID was interrupted"]


def test_ctrl_c_in_a_hook_of_the_flow_lets_no_task_start():
    assert interrupted("hooked", "", seconds=0.3) == ["interrupted: run ID was interrupted"]
