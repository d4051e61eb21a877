"""A run in Lambda is called once, followed by its store, and its failures are told in words that help."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.backends.lambda_runs import PATIENCE_SECONDS, SPARE_SECONDS, FunctionRun
from dagy.backends.payloads import payload_of
from dagy.backends.running import News, RemoteRun
from dagy.control import RunInfo
from dagy.errors import StoreError

from .run_records import complete, output_event, run_event, run_info, task_event
from .scripted import FunctionError, RefusalError, Scripted


class Clock:
    """A clock that the test sets, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    return run_info("lambda", tmp_path / "runs")


@pytest.fixture
def store(info: RunInfo) -> RunStore:
    return RunStore(info.resources["store"], info.run_id)


@pytest.fixture
def begin(script: Scripted, info: RunInfo, store: RunStore, clock: Clock) -> Callable[[], RemoteRun]:
    """The run as a worker has it, which has begun it."""

    def begin() -> RemoteRun:
        run = RemoteRun(info.run_id, store, FunctionRun(info, script.aws(), store, clock), clock=clock)
        run.start()
        return run

    return begin


def until(run: RemoteRun, holds: Callable[[News], object]) -> News:
    """Poll until that holds: what goes on in a thread answers in a moment."""
    for _ in range(20_000):
        news = run.poll()
        if holds(news):
            return news
    raise AssertionError("it did not happen")


def end_of(run: RemoteRun) -> tuple[str, list[tuple[Any, ...]]]:
    """How it ended, and which states its last events tell."""
    news = until(run, lambda news: news.is_final)
    return str(news.state), [(each.get("task"), each["state"]) for each in news.events if each["kind"] != "output"]


def test_a_run_is_called_with_its_parameters_and_told_as_it_goes(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore
) -> None:
    asked: list[Any] = []
    may_end = threading.Event()

    def function(payload: Any) -> Any:
        asked.append(payload)
        store.begin({"by": "test"})
        store.add_events([run_event("RUNNING"), task_event("load", "RUNNING"), output_event("load", "200 rows\n")])
        assert may_end.wait(10)
        store.add_events([task_event("load", "COMPLETED"), run_event("COMPLETED")])
        answer = {"state": "COMPLETED", "message": "", "result": {"value": {"rows": 200}}}
        store.keep_answer(answer)
        return answer

    script.answers["Invoke"] = function
    run = begin()
    first = until(run, lambda news: news.events)
    assert [each["kind"] for each in first.events] == ["run", "task", "output"]
    assert not first.is_final
    may_end.set()
    last = until(run, lambda news: news.is_final)
    assert (str(last.state), last.result) == ("COMPLETED", ({"rows": 200},))
    assert asked == [{"run_id": "etl-1", "parameters": {"day": "monday"}, "events": True}]
    assert script.calls == ["Invoke"]


EXIT, IMPORT = "Runtime.ExitError", "Runtime.ImportModuleError"


@pytest.mark.parametrize(
    ("kind", "message", "log_tail", "end"),
    [
        (
            "Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 600.00 seconds", "",
            "TIMED_OUT: the Lambda function was stopped at its limit of 600 s; deploy with executor='step-functions'",
        ),
        (
            "", "2026-01-31T10:00:00Z 1-2 Task timed out after 600.00 seconds", "",
            "TIMED_OUT: the Lambda function was stopped at its limit of 600 s",
        ),
        (
            EXIT, "RequestId: 1 Error: Runtime exited with error: signal: killed", "",
            "CRASHED: the Lambda function ran out of its 512 MB of memory; give it more with memory_mb=",
        ),
        (
            EXIT, "RequestId: 1 Error: Runtime exited without providing a reason", "Error Type: Runtime.OutOfMemory",
            "CRASHED: the Lambda function ran out of its 512 MB",
        ),
        (EXIT, "Runtime exited with error: exit status 3", "", "CRASHED: its process died on Lambda: exit code 3"),
        (
            EXIT, "Runtime exited with error: signal: segmentation fault", "",
            "CRASHED: its process died on Lambda: signal segmentation fault",
        ),
        (
            IMPORT, "Unable to import module 'etl': No module named 'numpy'", "",
            "FAILED: the code can't be loaded on Lambda: Runtime.ImportModuleError: Unable to import module 'etl'",
        ),
        ("OSError", "disk full", "", "FAILED: the Lambda function failed: OSError: disk full"),
    ],
    ids=["timeout", "timeout-of-old", "memory", "memory-in-log", "exit", "signal", "import", "raised"],
)  # fmt: skip
def test_a_function_that_dies_ends_the_run_and_the_tasks_that_ran(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore, kind: str, message: str, log_tail: str, end: str
) -> None:
    def function(_: Any) -> Any:
        store.begin({"by": "test"})
        store.add_events([run_event("RUNNING"), task_event("load", "RUNNING")])
        raise FunctionError({"errorType": kind, "errorMessage": message}, log_tail)

    script.answers["Invoke"] = function
    run = begin()
    seen: list[Any] = []

    def ended(news: News) -> bool:
        seen.extend(news.events)
        return news.is_final

    news = until(run, ended)
    assert str(news.state).startswith(end)
    assert news.state is not None
    assert [(each.get("task"), each["state"]) for each in seen][-2:] == [("load", "CRASHED"), (None, news.state.type)]


def test_why_a_function_died_is_not_forgotten_when_the_store_does_not_answer(
    script: Scripted, begin: Callable[[], RemoteRun], tmp_path: Path
) -> None:
    def function(_: Any) -> Any:
        raise FunctionError({"errorType": EXIT, "errorMessage": "Runtime exited with error: signal: killed"})

    script.answers["Invoke"] = function
    broken = tmp_path / "runs" / "etl-1" / "answer.json"
    broken.mkdir(parents=True)  # what can't be read
    run = begin()
    with pytest.raises(StoreError):
        until(run, lambda news: news.is_final)
    broken.rmdir()
    assert end_of(run)[0].startswith("CRASHED: the Lambda function ran out of its 512 MB")


@pytest.mark.parametrize(
    ("code", "status", "end"),
    [
        ("ResourceNotFoundException", 404, "FAILED: the Lambda function 'dagy-etl' is not there any more"),
        ("AccessDeniedException", 403, "FAILED: the Lambda function 'dagy-etl' could not be started: "),
    ],
)
def test_a_function_that_cannot_be_called_ends_the_run(
    script: Scripted, begin: Callable[[], RemoteRun], code: str, status: int, end: str
) -> None:
    def function(_: Any) -> Any:
        raise RefusalError(code, "no such luck", status)

    script.answers["Invoke"] = function
    text, events = end_of(begin())
    assert text.startswith(end)
    assert events == [(None, "FAILED")]


def test_a_call_that_lambda_has_no_room_for_is_made_again_and_given_up_at_last(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore, clock: Clock
) -> None:
    def full(_: Any) -> Any:
        clock.now += 40
        raise RefusalError("TooManyRequestsException", "Rate Exceeded.", 429)

    script.answers["Invoke"] = full
    run = begin()
    ended: list[News] = []

    def later(news: News) -> bool:
        clock.now += 0.01
        ended.append(news)
        return news.is_final

    until(run, later)
    assert str(ended[-1].state).startswith(
        "FAILED: the Lambda function 'dagy-etl' could not be started: AWS takes no more"
    )
    assert 4 < script.calls.count("Invoke") < 20
    assert clock.now > 1_000_000 + PATIENCE_SECONDS

    script.answers["Invoke"] = lambda _: complete(store)
    assert end_of(begin())[0] == "COMPLETED"


def test_a_run_that_another_worker_called_is_followed_and_not_called_again(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore
) -> None:
    complete(store)
    text, events = end_of(begin())
    assert text == "COMPLETED"
    assert events[-1] == (None, "COMPLETED")
    assert script.calls == []


def test_a_double_leaves_at_once_and_the_run_is_followed_by_its_store(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore
) -> None:
    script.answers["Invoke"] = lambda _: {"state": "RUNNING", "message": "it has begun elsewhere"}
    run = begin()
    until(run, lambda _: script.calls)
    store.begin({"by": "another"})
    assert not run.poll().is_final
    complete(store)
    assert end_of(run)[0] == "COMPLETED"


def test_a_function_that_was_adopted_and_fell_silent_is_dead_when_its_time_is_up(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore, clock: Clock
) -> None:
    store.begin({"by": "test", "until": clock.now + 600, "log_group": "dagy", "log_stream": "s", "request_id": "r-1"})
    store.add_events([run_event("RUNNING"), task_event("load", "RUNNING")])
    script.answers["FilterLogEvents"] = lambda asked: {
        "events": [
            {
                "timestamp": 1,
                "message": "RequestId: r-1 Error: Runtime exited with error: signal: killed",
                "eventId": "1",
            }
        ]
    }
    run = begin()
    assert len(run.poll().events) == 2
    clock.now += 600 + SPARE_SECONDS - 1
    assert not run.poll().is_final
    clock.now += 1
    text, events = end_of(run)
    assert text.startswith("CRASHED: the Lambda function ran out of its 512 MB")
    assert events == [("load", "CRASHED"), (None, "CRASHED")]


def test_without_a_log_it_is_said_that_nothing_is_known(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore, clock: Clock
) -> None:
    store.begin({"by": "test", "until": clock.now})
    run = begin()
    clock.now += SPARE_SECONDS
    text, _ = end_of(run)
    assert text.startswith("CRASHED: the Lambda function has ended without telling how")
    assert text.endswith("dagy logs etl-1 --aws")


def test_a_call_that_got_no_answer_is_made_again_when_it_left_no_trace(
    script: Scripted, info: RunInfo, store: RunStore, clock: Clock
) -> None:
    url, script.url = script.url, "http://127.0.0.1:9"  # where nobody listens
    lost = FunctionRun(info, script.aws(), store, clock)
    lost.start()
    script.url = url
    aws = script.aws()
    script.answers["Invoke"] = lambda _: complete(store)
    lost._aws = aws  # the network is back
    run = RemoteRun(info.run_id, store, lost, clock=clock)

    def later(news: News) -> bool:
        clock.now += 1
        return news.is_final

    assert str(until(run, later).state) == "COMPLETED"
    assert script.calls == ["Invoke"]


def test_a_wish_to_cancel_is_left_in_the_store_for_the_function_to_see(
    script: Scripted, begin: Callable[[], RemoteRun], store: RunStore, clock: Clock
) -> None:
    store.begin({"by": "test", "until": clock.now + 600})
    run = begin()
    run.cancel("wrong day")
    run.cancel("again")
    assert store.stop_reason() == "wrong day"
    clock.now += 60
    assert not run.poll().is_final, "nothing stops an invocation from outside"
    store.add_events([run_event("CANCELLED", "wrong day")])
    store.keep_answer({"state": "CANCELLED", "message": "wrong day"})
    assert end_of(run) == ("CANCELLED: wrong day", [(None, "CANCELLED")])


def test_parameters_that_are_too_large_for_a_call_go_to_the_store(tmp_path: Path) -> None:
    info = run_info("lambda", tmp_path, parameters={"rows": "x" * 5000}, resumes="etl-0")
    store = RunStore(info.resources["store"], info.run_id)
    assert payload_of(info, store, most_bytes=4_000) == b'{"resume":"etl-0","run_id":"etl-1"}'
    assert len(payload_of(info, store, most_bytes=6_000)) > 5_000


def test_a_large_result_stays_in_the_store(script: Scripted, begin: Callable[[], RemoteRun], store: RunStore) -> None:
    reference = {"ref": "file:///x", "codec": "npy", "sha256": "0" * 64, "size": 1}
    store.begin({"by": "test"})
    store.add_events([run_event("RUNNING"), run_event("COMPLETED")])
    store.keep_answer({"state": "COMPLETED", "message": "", "result": reference})
    news = until(begin(), lambda news: news.is_final)
    assert (str(news.state), news.result) == ("COMPLETED", None)
