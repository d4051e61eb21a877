"""Tasks in processes of their own: what runs there, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagy import flow, task
from dagy.engine import TaskChanged, TaskWrote
from dagy.errors import DefinitionError, TaskFailedError, TaskTimeoutError, TravelError, WorkerDiedError
from dagy.states import StateType

pytestmark = pytest.mark.program

small = flow(name="small")


@task(isolation="process")
def pid() -> int:
    return os.getpid()


@task
def here() -> int:
    return os.getpid()


@task
def same(value: Any) -> Any:
    return value


def gone(pid: int) -> bool:
    """Whether the process has ended; waits for that, but not long."""
    try:
        psutil.Process(pid).wait(5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_task_runs_in_a_process_when_it_says_so_and_else_here():
    value = small(lambda: [pid(), here()]).run_local().value
    assert value[0] != os.getpid()
    assert value[1] == os.getpid()


def test_isolation_of_the_run_is_for_tasks_that_do_not_say():
    @task(isolation="thread")
    def stays() -> int:
        return os.getpid()

    value = small(lambda: [here(), stays()]).run_local(isolation="process").value
    assert value[0] != os.getpid()
    assert value[1] == os.getpid()


@pytest.mark.parametrize(("isolation", "is_here"), [(None, False), ("thread", True), ("process", False)])
def test_a_task_with_a_time_limit_runs_in_a_process_unless_it_says_thread(isolation: Any, is_here: bool):
    @task(timeout_seconds=60, isolation=isolation)
    def where() -> int:
        return os.getpid()

    assert (small(lambda: where()).run_local().value == os.getpid()) is is_here


def test_an_async_task_can_run_in_a_process_too():
    @task(isolation="process")
    async def where() -> int:
        await asyncio.sleep(0)
        return os.getpid()

    assert small(lambda: where()).run_local().value != os.getpid()


@pytest.mark.parametrize("isolation", ["fiber", 1, ""])
def test_an_isolation_without_a_meaning_is_refused(isolation: Any):
    with pytest.raises(DefinitionError, match="isolation must be 'thread' or 'process'"):
        task(isolation=isolation)(print)
    with pytest.raises(DefinitionError, match="isolation must be 'thread' or 'process'"):
        small(lambda: here()).run_local(isolation=isolation)


def test_values_go_from_process_to_process_and_to_threads_and_back():
    @task(isolation="process")
    def make() -> dict[str, bytes]:
        return {"large": b"x" * 1_000_000, "small": b"y"}

    @task(isolation="process")
    def size(values: dict[str, bytes]) -> int:
        return len(values["large"])

    @task
    def size_here(values: dict[str, bytes]) -> int:
        return len(values["large"])

    def draw() -> Any:
        made = make()
        return [size(made), size_here(made), same(made["small"]), size(same(made))]

    result = small(draw).run_local(keep_results=True)
    assert result.value == [1_000_000, 1_000_000, b"y", 1_000_000]
    assert len(result.task_runs["make"].value["large"]) == 1_000_000


def test_at_its_deadline_a_task_has_timed_out_and_what_it_wrote_is_kept(tmp_path: Path):
    note = tmp_path / "pids"

    @task(timeout_seconds=0.3)
    def stuck() -> None:
        child = subprocess.Popen(["sleep", "1000"])
        note.write_text(f"{os.getpid()} {child.pid}")
        print("as far as here")
        while True:
            with contextlib.suppress(BaseException):  # what does not want to end
                time.sleep(1000)

    handle = small(lambda: [stuck(), here()]).start_local(fail_fast=False, record=True)
    result = handle.wait(10)
    stuck_run = result.task_runs["stuck"]
    assert str(stuck_run.state) == "TIMED_OUT: ran out of time after 0.3 s"
    assert isinstance(stuck_run.error, TaskTimeoutError)
    assert stuck_run.output == "as far as here\n"
    assert result.still_running == ()
    assert result.result_of("here") == os.getpid()
    assert all(gone(int(each)) for each in note.read_text().split())


def test_a_task_that_timed_out_is_tried_again_in_a_fresh_process(tmp_path: Path):
    @task(timeout_seconds=0.3, retries=1)
    def slow_at_first() -> int:
        mark = tmp_path / "mark"
        if not mark.exists():
            mark.touch()
            time.sleep(1000)
        return 1

    result = small(lambda: slow_at_first()).run_local()
    assert result.value == 1
    assert result.task_runs["slow_at_first"].attempt == 2


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda: os._exit(3), "exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (os.abort, "SIGABRT"),
    ],
    ids=["exit", "kill", "segfault", "abort"],
)
def test_a_process_that_dies_makes_the_attempt_crash_and_says_how(end: Any, told: str):
    @task(isolation="process")
    def dies() -> None:
        end()

    result = small(lambda: [dies(), here()]).run_local(fail_fast=False)
    assert result.task_runs["dies"].state.type is StateType.CRASHED
    assert told in result.task_runs["dies"].state.message
    assert isinstance(result.task_runs["dies"].error, WorkerDiedError)
    assert result.result_of("here") == os.getpid()


def test_an_attempt_that_crashed_is_tried_again_as_its_policy_says(tmp_path: Path):
    @task(isolation="process", retries=1, retry_condition_fn=lambda error: isinstance(error, WorkerDiedError))
    def dies_once() -> int:
        mark = tmp_path / "mark"
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return 1

    assert small(lambda: dies_once()).run_local().value == 1


def test_what_a_task_raises_in_a_process_is_raised_here_with_its_lines():
    @task(isolation="process")
    def fails() -> None:
        raise KeyError("no such row")

    with pytest.raises(TaskFailedError) as caught:
        small(lambda: fails()).run_local()
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    assert cause.__traceback__ is not None
    assert cause.__traceback__.tb_frame.f_code.co_name == "fails"


def test_sys_exit_in_a_process_is_a_failure_of_the_task():
    @task(isolation="process")
    def leaves() -> None:
        sys.exit(0)

    result = small(lambda: leaves()).run_local(fail_fast=False)
    assert str(result.task_runs["leaves"].state) == "FAILED: SystemExit: 0"


def test_a_result_that_can_not_travel_fails_the_task_and_names_where():
    @task(isolation="process")
    def makes() -> Any:
        return {"a": [1, (each for each in "xy")]}

    result = small(lambda: makes()).run_local(fail_fast=False)
    error = result.task_runs["makes"].error
    assert isinstance(error, TravelError)
    assert "['a'][1]" in str(error)
    assert "isolation='thread'" in str(error)


def test_an_input_that_can_not_travel_fails_the_task_and_names_it():
    lock = threading.Lock()

    @task(isolation="process")
    def takes(given: Any) -> None: ...

    result = small(lambda: takes(lock)).run_local(fail_fast=False)
    assert isinstance(result.task_runs["takes"].error, TravelError)
    assert "given" in str(result.task_runs["takes"].error)


@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_cancel_ends_the_process_and_its_children(tmp_path: Path, max_workers: int):
    note, begun = tmp_path / "pids", threading.Event()

    @task(isolation="process")
    def stuck() -> None:
        child = subprocess.Popen(["sleep", "1000"])
        print(f"{os.getpid()} {child.pid}", flush=True)
        time.sleep(1000)

    handle = small(lambda: same(stuck())).start_local(max_workers=max_workers, record=True)
    for event in handle.events():
        if isinstance(event, TaskWrote):
            note.write_text(event.text)
            begun.set()
            handle.cancel("by hand")
    assert begun.is_set()
    assert str(handle.wait(10).state) == "CANCELLED: by hand"
    assert all(gone(int(each)) for each in note.read_text().split())


def test_a_failure_elsewhere_ends_the_process_when_the_run_fails_fast(tmp_path: Path):
    mark = tmp_path / "pid"

    @task(isolation="process")
    def stuck() -> None:
        mark.write_text(str(os.getpid()))
        time.sleep(1000)

    @task(isolation="process")
    def fails() -> None:
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.01)
        raise ValueError("no")

    with pytest.raises(TaskFailedError, match="'fails'"):
        small(lambda: [stuck(), fails()]).run_local()
    assert gone(int(mark.read_text()))


def test_ctrl_c_ends_a_run_whose_task_is_in_a_process():
    program = (
        "import os, signal, threading, time\n"
        "from dagy import flow, task\n"
        "@task(isolation='process')\n"
        "def stuck():\n"
        "    os.kill(PARENT, signal.SIGINT)\n"
        "    time.sleep(1000)\n"
        "@flow\n"
        "def waits():\n"
        "    stuck()\n"
        "PARENT = os.getpid()\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "for workers in (1, 2):\n"
        "    try:\n"
        "        waits.run_local(max_workers=workers)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "interrupted\ninterrupted\n", done.stderr


def test_mapped_items_run_in_processes_of_their_own():
    @task(isolation="process", concurrency_limit=2)
    def square(x: int) -> tuple[int, int]:
        return x * x, os.getpid()

    value = small(lambda: square.map([1, 2, 3, 4])).run_local().value
    assert [each for each, _ in value] == [1, 4, 9, 16]
    assert os.getpid() not in {each for _, each in value}


def test_hooks_of_an_isolated_task_are_called_here():
    seen: list[int] = []

    def note(*_: object) -> None:
        seen.append(os.getpid())

    @task(isolation="process", on_running=[note], on_completion=[note])
    def hooked() -> None: ...

    small(lambda: hooked()).run_local()
    assert seen == [os.getpid(), os.getpid()]


def test_the_time_a_process_takes_to_start_does_not_count():
    @task(timeout_seconds=60)
    def quick() -> int:
        return 1

    handle = small(lambda: quick()).start_local()
    assert handle.wait(20).value == 1
    assert [str(each.state.type) for each in handle.events() if isinstance(each, TaskChanged)] == [
        "RUNNING",
        "COMPLETED",
    ]


def test_a_cancel_before_the_code_began_ends_the_run_too():
    for _ in range(10):
        handle = small(lambda: [pid(), pid()]).start_local()
        handle.cancel()
        assert handle.wait(10).status in (StateType.CANCELLED, StateType.COMPLETED)


def test_a_module_that_runs_a_flow_when_it_is_imported_is_refused_by_its_workers(tmp_path: Path):
    (tmp_path / "unguarded.py").write_text(
        "from dagy import flow, task\n"
        "@task(isolation='process')\n"
        "def one():\n"
        "    return 1\n"
        "@flow\n"
        "def runs():\n"
        "    return one()\n"
        "result = runs.run_local(fail_fast=False)\n"
    )
    program = "import unguarded; print(unguarded.result.task_runs['one'].state.message)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert "a module runs flow 'runs' when it is imported" in done.stdout
    assert "if __name__ == '__main__':" in done.stdout


def test_a_task_in_a_process_may_run_a_flow_with_tasks_in_processes():
    @flow
    def inner() -> int:
        return pid()

    @task(isolation="process")
    def outer() -> list[int]:
        return [os.getpid(), inner.run_local().value]

    own, inner_pid = small(lambda: outer()).run_local().value
    assert len({os.getpid(), own, inner_pid}) == 3


def test_processes_in_processes_have_an_end():
    def deeper() -> None:
        flow(name="deeper")(lambda: task(name="again", isolation="process")(deeper)()).run_local()

    with pytest.raises(TaskFailedError, match="5 levels deep"):
        small(lambda: task(name="first", isolation="process")(deeper)()).run_local()


def test_an_attempt_that_ran_out_of_time_may_clean_up_before_the_next_one_begins(tmp_path: Path):
    @task(timeout_seconds=0.3, retries=1)
    def writes() -> str:
        part, seen = tmp_path / "part", tmp_path / "seen"
        is_first = not seen.exists()
        seen.touch()
        part.touch()
        try:
            if is_first:
                time.sleep(1000)
            return "there" if part.exists() else "gone"
        finally:
            time.sleep(0.1)
            part.unlink()

    assert small(lambda: writes()).run_local().value == "there"


def test_a_run_ends_when_what_it_stopped_has_cleaned_up(tmp_path: Path):
    @task(timeout_seconds=0.3)
    def tidies() -> None:
        try:
            time.sleep(1000)
        finally:
            time.sleep(0.1)
            (tmp_path / "tidy").touch()

    small(lambda: tidies()).run_local(fail_fast=False)
    assert (tmp_path / "tidy").exists()


def test_an_open_file_can_not_travel_and_its_path_is_the_remedy(tmp_path: Path):
    @task(isolation="process")
    def opens() -> Any:
        return {"log": (tmp_path / "log").open("w")}

    error = small(lambda: opens()).run_local(fail_fast=False).task_runs["opens"].error
    assert isinstance(error, TravelError)
    assert "['log']" in str(error)
    assert "pass its path" in str(error)
