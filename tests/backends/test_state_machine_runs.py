"""A run in Step Functions is one execution of its name, and ends as that does when it left no answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.backends.running import START_SECONDS, STOP_SECONDS, RemoteRun
from dagy.backends.state_machine_runs import ExecutionRun, execution_name
from dagy.control import RunInfo
from dagy.errors import AuthError, CloudError

from .run_records import MACHINE, complete, run_event, run_info, task_event
from .scripted import RefusalError, Scripted, noting

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:dagy-etl:etl-1"


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    return run_info("step-functions", tmp_path / "runs")


@pytest.fixture
def store(info: RunInfo) -> RunStore:
    return RunStore(info.resources["store"], info.run_id)


@pytest.fixture
def execution(script: Scripted) -> dict[str, Any]:
    """The execution, as Step Functions has it: the test changes it."""
    told: dict[str, Any] = {
        "executionArn": EXECUTION, "stateMachineArn": MACHINE, "name": "etl-1", "status": "RUNNING", "startDate": 1.0,
    }  # fmt: skip
    script.answers["StartExecution"] = lambda asked: {"executionArn": EXECUTION, "startDate": 1.0}
    script.answers["DescribeExecution"] = lambda asked: told
    return told


@pytest.fixture
def run(script: Scripted, info: RunInfo, store: RunStore) -> RemoteRun:
    return RemoteRun(info.run_id, store, ExecutionRun(info, script.aws(), store))


def test_the_execution_has_the_runs_name_and_its_parameters(
    script: Scripted, run: RemoteRun, execution: dict[str, Any]
) -> None:
    asked: list[Any] = []
    script.answers["StartExecution"] = noting(asked, {"executionArn": EXECUTION, "startDate": 1})
    run.start()
    assert asked == [
        {"stateMachineArn": MACHINE, "name": "etl-1", "input": '{"parameters":{"day":"monday"},"run_id":"etl-1"}'}
    ]


def test_while_the_store_has_news_step_functions_is_not_asked(
    script: Scripted, run: RemoteRun, store: RunStore, execution: dict[str, Any]
) -> None:
    run.start()
    for number in range(3):
        store.add_events([task_event(f"task-{number}", "RUNNING")])
        assert len(run.poll().events) == 1
    assert script.calls == ["StartExecution"]
    assert not run.poll().is_final
    assert script.calls == ["StartExecution", "DescribeExecution"]
    execution["status"] = "SUCCEEDED"
    complete(store, {"rows": 2})
    news = run.poll()
    assert (str(news.state), news.result) == ("COMPLETED", ({"rows": 2},))
    assert script.calls == ["StartExecution", "DescribeExecution", "DescribeExecution"]


def test_an_execution_that_is_there_already_is_the_run(
    script: Scripted, run: RemoteRun, execution: dict[str, Any]
) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError("ExecutionAlreadyExists")

    script.answers["StartExecution"] = refuse
    execution |= {"input": '{"run_id": "etl-1", "parameters": {"day": "monday"}}'}
    run.start()
    assert not run.poll().is_final


def test_a_run_that_has_begun_is_not_started_again(
    script: Scripted, run: RemoteRun, store: RunStore, execution: dict[str, Any]
) -> None:
    store.begin({"by": "a schedule", "execution": EXECUTION + "-scheduled"})
    described: list[Any] = []
    script.answers["DescribeExecution"] = noting(described, execution)
    run.start()
    run.poll()
    assert described == [{"executionArn": EXECUTION + "-scheduled"}]
    assert "StartExecution" not in script.calls


@pytest.mark.parametrize(
    ("status", "error", "cause", "end"),
    [
        ("FAILED", "FAILED", "1 of 2 tasks failed: 'load'", "FAILED: 1 of 2 tasks failed: 'load'"),
        ("TIMED_OUT", "", "", "TIMED_OUT: the state machine ran into its time limit"),
        ("ABORTED", "", "by hand", "CANCELLED: by hand"),
        ("ABORTED", "", "", "CANCELLED: the execution was stopped on AWS"),
        ("SUCCEEDED", "", "", "CRASHED: it ended on AWS without leaving an answer in its store"),
        (
            "FAILED",
            "Lambda.Unknown",
            'The cause could not be determined. Returned payload: {"errorMessage":"Task timed out after 3.00 seconds"}',
            "TIMED_OUT: the Lambda function was stopped at its limit of 600 s",
        ),
        ("FAILED", "Runtime.ExitError", "signal: killed", "CRASHED: the Lambda function ran out of its 512 MB"),
        ("FAILED", "Lambda.TooManyRequestsException", "Rate Exceeded.", "FAILED: Lambda was asked for more"),
        ("FAILED", "Lambda.ResourceNotFoundException", "no", "FAILED: the state machine's function is not there"),
        ("FAILED", "Lambda.AWSLambdaException", "not authorized to perform", "FAILED: a role of the state"),
        ("FAILED", "States.Runtime", "the maximum number of events", "FAILED: the execution's history has reached"),
        ("FAILED", "States.TaskFailed", '{"StoppedReason":"OutOfMemoryError"}', "CRASHED: the container ran out"),
        ("FAILED", "Odd", "why", "FAILED: the state machine failed: Odd: why"),
        (
            "FAILED",
            "Odd",
            '{"errorMessage": "no \\"capacity\\"", "errorType": "Odd", "requestId": "1", "stackTrace": ["  a.py"]}',
            'FAILED: the state machine failed: Odd: no "capacity"',
        ),
        ("FAILED", "Odd", 'its end", "errorType": "Odd", ', "FAILED: the state machine failed: Odd: its end"),
    ],
)  # fmt: skip
def test_an_execution_that_ends_without_an_answer_ends_the_run(
    run: RemoteRun, store: RunStore, execution: dict[str, Any], status: str, error: str, cause: str, end: str
) -> None:
    run.start()
    store.add_events([run_event("RUNNING"), task_event("load", "RUNNING")])
    run.poll()
    execution |= {"status": status, "error": error, "cause": cause}
    news = run.poll()
    assert str(news.state).startswith(end)
    assert "a.py" not in str(news.state)
    assert news.state is not None
    last = "CANCELLED" if status == "ABORTED" else "CRASHED"
    assert [(each.get("task"), each["state"]) for each in news.events] == [("load", last), (None, news.state.type)]


def test_an_execution_that_was_just_started_may_not_be_seen_yet(
    script: Scripted, info: RunInfo, store: RunStore, execution: dict[str, Any]
) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError("ExecutionDoesNotExist")

    now = [100.0]
    script.answers["DescribeExecution"] = refuse
    run = RemoteRun(info.run_id, store, ExecutionRun(info, script.aws(), store, lambda: now[0]))
    run.start()
    assert not run.poll().is_final
    now[0] += 60
    assert str(run.poll().state) == f"CRASHED: its execution is not there any more: {EXECUTION}"


def test_an_answer_counts_for_more_than_what_the_execution_says(
    run: RemoteRun, store: RunStore, execution: dict[str, Any]
) -> None:
    run.start()
    store.add_events([run_event("RUNNING"), run_event("FAILED", "1 of 2 tasks failed: 'load'")])
    store.keep_answer({"state": "FAILED", "message": "1 of 2 tasks failed: 'load'"})
    execution |= {"status": "FAILED", "error": "FAILED", "cause": "cut"}
    assert str(run.poll().state) == "FAILED: 1 of 2 tasks failed: 'load'"


def test_what_was_read_is_not_lost_when_step_functions_does_not_answer(
    script: Scripted, run: RemoteRun, store: RunStore, execution: dict[str, Any]
) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError("AccessDeniedException")

    answers = dict(script.answers)
    run.start()
    complete(store)
    script.answers["DescribeExecution"] = refuse
    with pytest.raises(AuthError):
        run.poll()
    script.answers |= answers
    execution["status"] = "SUCCEEDED"
    assert len(run.poll().events) == 5


def test_a_run_that_is_cancelled_has_a_while_to_end_by_itself_and_is_stopped_then(
    script: Scripted, info: RunInfo, store: RunStore, execution: dict[str, Any]
) -> None:
    now = [100.0]
    run = RemoteRun(info.run_id, store, ExecutionRun(info, script.aws(), store), clock=lambda: now[0])
    stopped: list[Any] = []

    def stop(asked: Any) -> Any:
        stopped.append(asked["cause"])
        execution["status"] = "ABORTED"
        return {"stopDate": 1.0}

    script.answers["StopExecution"] = stop
    run.start()
    store.add_events([run_event("RUNNING"), task_event("load", "RUNNING")])
    run.poll()
    run.cancel("wrong day")
    now[0] += STOP_SECONDS - 1
    assert not run.poll().is_final
    assert store.stop_reason() == "wrong day"
    now[0] += 1
    news = run.poll()
    assert stopped == ["wrong day"]
    assert str(news.state) == "CANCELLED: wrong day"
    assert [(each.get("task"), each["state"]) for each in news.events] == [("load", "CANCELLED"), (None, "CANCELLED")]


def test_a_state_machine_that_may_not_be_started_ends_the_run(script: Scripted, run: RemoteRun) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError("StateMachineDoesNotExist", "State Machine Does Not Exist")

    script.answers["StartExecution"] = refuse
    run.start()
    assert str(run.poll().state).startswith("FAILED: the state machine 'dagy-etl' is not there any more")


def test_a_start_that_aws_is_too_busy_for_is_tried_again_for_some_minutes(
    script: Scripted, info: RunInfo, store: RunStore
) -> None:
    now = [100.0]
    service = ExecutionRun(info, script.aws(), store)
    run = RemoteRun(info.run_id, store, service, clock=lambda: now[0])

    def refuse(_: Any) -> Any:
        raise RefusalError("ResourceConflictException", "being updated")

    script.answers["StartExecution"] = refuse
    with pytest.raises(CloudError):
        run.start()
    now[0] += START_SECONDS
    run.start()
    assert str(run.poll().state).startswith("FAILED: the state machine 'dagy-etl' could not be started")


@pytest.mark.parametrize(
    ("run_id", "name"),
    [("etl-1", "etl-1"), ("e" * 80, "e" * 80)],
)
def test_an_execution_is_named_after_its_run(run_id: str, name: str) -> None:
    assert execution_name(run_id) == name


def test_a_name_that_step_functions_would_not_take_is_made_one_that_it_does() -> None:
    names = [execution_name(each) for each in ("e" * 81, "e" * 82, "läuft", "läuft!")]
    assert len(set(names)) == 4
    assert all(len(each) <= 80 and each.isascii() for each in names)


def test_what_turned_up_late_is_told_before_the_end(
    script: Scripted, run: RemoteRun, store: RunStore, execution: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.start()
    complete(store)
    monkeypatch.setattr("time.time_ns", _ticking(1_000_000_000))  # a writer whose clock is far behind
    store.add_events([task_event("late", "COMPLETED")])
    execution["status"] = "SUCCEEDED"
    told = [each.get("task") for each in run.poll().events]
    assert "late" in told


def _ticking(start: int) -> Callable[[], int]:
    return lambda: start
