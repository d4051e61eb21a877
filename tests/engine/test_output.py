"""What a task prints, logs or shows goes to that task, and everything else where it always went."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import TaskShowed, TaskWrote, current_sink, run, start
from dagy.engine.output import CAPTURE

Captured = pytest.CaptureFixture[str]


@task
def speaks(name: str) -> str:
    print("hello from", name)
    return name


@flow
def one_speaker():
    return speaks("a")


def outputs(a_flow, **options) -> dict[str, str]:
    program, values = a_flow.prepare()
    result = run(program, values, capture=True, **options)
    return {name: each.output for name, each in result.task_runs.items()}


def test_what_a_task_prints_is_its_output(capsys: Captured):
    assert outputs(one_speaker) == {"speaks": "hello from a\n"}
    assert capsys.readouterr() == ("", "")


def test_a_run_that_does_not_capture_prints_where_it_always_did(capsys: Captured):
    assert one_speaker.run_local()["speaks"] == "a"
    assert capsys.readouterr().out == "hello from a\n"


@pytest.mark.parametrize("max_workers", [1, 2])
def test_tasks_that_print_at_the_same_time_are_told_apart(max_workers: int, capsys: Captured):
    meet = threading.Barrier(max_workers)

    @task
    def counts(name: str) -> None:
        for number in range(20):
            meet.wait()
            print(name, number)

    @flow
    def two():
        counts("a")
        counts("b")

    found = outputs(two, max_workers=max_workers)
    assert found["counts"] == "".join(f"a {number}\n" for number in range(20))
    assert found["counts-2"] == "".join(f"b {number}\n" for number in range(20))
    assert capsys.readouterr() == ("", "")


def test_async_tasks_that_print_at_the_same_time_are_told_apart():
    @task
    async def counts(name: str) -> None:
        for number in range(5):
            print(name, number)
            await asyncio.sleep(0)

    @flow
    def two():
        counts("a")
        counts("b")

    found = outputs(two)
    assert found["counts"] == "".join(f"a {number}\n" for number in range(5))
    assert found["counts-2"] == "".join(f"b {number}\n" for number in range(5))


def test_all_streams_of_a_task_are_captured_in_order(capfd: pytest.CaptureFixture[str]):
    @task
    def speaks() -> None:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        logging.getLogger("shop").warning("to the log")
        sys.stdout.writelines(["one ", "two\n"])
        sys.stdout.buffer.write(b"bytes \xff\n")
        sys.stdout.flush()

    @flow
    def speaker():
        speaks()

    program, values = speaker.prepare()
    handle = start(program, values, capture=True)
    handle.wait()
    wrote = [(each.stream, each.text) for each in handle.events() if isinstance(each, TaskWrote)]
    assert [stream for stream, _ in wrote] == ["stdout", "stderr", "log", "stdout"]
    assert wrote[0][1] == "to stdout\n"
    assert wrote[1][1] == "to stderr\n"
    assert wrote[2][1].endswith("WARNING shop: to the log\n")
    assert wrote[3][1] == "one two\nbytes \\xff\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("always")
def test_a_warning_in_a_task_is_its_output(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    def as_python_shows_it(*warning: Any, **_: object) -> None:
        sys.stderr.write(warnings.formatwarning(*warning[:4]))

    monkeypatch.setattr(warnings, "showwarning", as_python_shows_it)  # pytest has put a recorder there

    @task
    def warns() -> None:
        warnings.warn("careful", UserWarning, stacklevel=1)

    @flow
    def warner():
        warns()

    assert "UserWarning: careful" in outputs(warner)["warns"]
    assert capsys.readouterr() == ("", "")


def test_each_attempt_of_a_task_is_captured():
    tries = []

    @task(retries=1)
    def flaky() -> None:
        tries.append(1)
        print("try", len(tries))
        if len(tries) == 1:
            raise ValueError("once")

    @flow
    def once():
        flaky()

    assert outputs(once) == {"flaky": "try 1\ntry 2\n"}


def test_what_a_hook_prints_goes_to_its_task():
    @task(on_running=[lambda *_: print("begins")], on_completion=[lambda *_: print("done")])
    def quiet() -> None: ...

    @flow
    def hooked():
        quiet()

    assert outputs(hooked) == {"quiet": "begins\ndone\n"}


def test_what_others_print_while_a_run_captures_passes_through(capsys: Captured):
    gate = threading.Event()

    @task
    def waits() -> None:
        gate.wait(10)

    @flow
    def waiter():
        waits()

    program, values = waiter.prepare()
    handle = start(program, values, capture=True)
    print("from the cell")
    logging.getLogger("bystander").warning("from a library")
    gate.set()
    assert handle.wait().task_runs["waits"].output == ""
    assert capsys.readouterr().out == "from the cell\n"


def test_a_warning_that_nobody_handles_is_shown_while_a_run_captures(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that has not configured logging
    CAPTURE.acquire()
    try:
        logging.getLogger("bystander").warning("from a library")
        logging.getLogger("bystander").info("not worth it")
    finally:
        CAPTURE.release()
    assert capsys.readouterr().err == "from a library\n"


def test_a_record_made_in_a_task_is_not_printed_a_second_time(capsys: Captured):
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("shop").addHandler(handler)

    @task
    def logs() -> None:
        logging.getLogger("shop").warning("once")

    @flow
    def logger():
        logs()

    try:
        assert outputs(logger)["logs"].count("once") == 1
    finally:
        logging.getLogger("shop").removeHandler(handler)
    assert capsys.readouterr() == ("", "")


def test_the_streams_are_put_back_when_the_run_has_ended():
    before = (sys.stdout, sys.stderr, list(logging.getLogger().handlers))
    outputs(one_speaker)
    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before


def test_the_streams_are_put_back_when_the_last_of_several_runs_has_ended():
    before = sys.stdout
    CAPTURE.acquire()
    outputs(one_speaker)
    assert sys.stdout is not before
    CAPTURE.release()
    assert sys.stdout is before


def test_a_stream_that_somebody_wrapped_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    before = sys.stdout
    CAPTURE.acquire()
    theirs = object()
    try:
        sys.stdout = theirs  # type: ignore[assignment]
        CAPTURE.release()
        assert sys.stdout is theirs
    finally:
        sys.stdout = before


def test_outside_tasks_the_wrapped_stream_answers_like_the_one_below():
    base = sys.stdout
    CAPTURE.acquire()
    try:
        assert sys.stdout.encoding == base.encoding
        assert sys.stdout.errors == base.errors
        assert sys.stdout.isatty() == base.isatty()
        assert sys.stdout.buffer is base.buffer
        assert sys.stdout.writable()
    finally:
        CAPTURE.release()


def test_a_run_inside_a_task_writes_to_that_task(capsys: Captured):
    @task
    def outer() -> None:
        one_speaker.run_local()

    @flow
    def nested():
        outer()

    assert outputs(nested) == {"outer": "hello from a\n"}
    assert capsys.readouterr() == ("", "")


def test_what_a_task_shows_is_an_event_of_its_own():
    @task
    def shows() -> None:
        sink = current_sink()
        assert sink is not None
        sink.show({"text/plain": "a plot"}, {"width": 3})

    @flow
    def shower():
        shows()

    program, values = shower.prepare()
    handle = start(program, values, capture=True)
    handle.wait()
    shown = [each for each in handle.events() if isinstance(each, TaskShowed)]
    assert [(each.task, each.data, each.metadata) for each in shown] == [
        ("shows", {"text/plain": "a plot"}, {"width": 3})
    ]


def test_there_is_no_sink_outside_tasks():
    assert current_sink() is None
