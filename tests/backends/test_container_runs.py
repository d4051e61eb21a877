"""A run in ECS is one task, whoever starts it, and what ECS says of its end is told in words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.backends.container_runs import ContainerRun
from dagy.backends.running import STOP_SECONDS, RemoteRun
from dagy.control import RunInfo

from .run_records import TASK_DEFINITION, complete, run_event, run_info, task_event
from .scripted import RefusalError, Scripted, noting

TASK = "arn:aws:ecs:us-east-1:123456789012:task/dagy/0123456789"


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    return run_info("ecs", tmp_path / "runs")


@pytest.fixture
def store(info: RunInfo) -> RunStore:
    return RunStore(info.resources["store"], info.run_id)


@pytest.fixture
def task(script: Scripted) -> dict[str, Any]:
    """The task, as ECS has it: the test changes it."""
    told: dict[str, Any] = {"taskArn": TASK, "lastStatus": "RUNNING", "containers": [{"name": "flow"}]}
    script.answers["RunTask"] = lambda asked: {"tasks": [told], "failures": []}
    script.answers["DescribeTasks"] = lambda asked: {"tasks": [told], "failures": []}
    return told


@pytest.fixture
def run(script: Scripted, info: RunInfo, store: RunStore) -> RemoteRun:
    return RemoteRun(info.run_id, store, ContainerRun(info, script.aws(), store))


def test_the_task_has_a_token_of_the_run_so_that_it_starts_once(
    script: Scripted, info: RunInfo, store: RunStore, task: dict[str, Any]
) -> None:
    asked: list[dict[str, Any]] = []
    script.answers["RunTask"] = noting(asked, {"tasks": [task], "failures": []})
    for _ in range(2):
        RemoteRun(info.run_id, store, ContainerRun(info, script.aws(), store)).start()
    first, second = asked
    assert first == second
    assert len(first["clientToken"]) == 64
    assert len(first["startedBy"]) == 36
    assert (first["taskDefinition"], first["launchType"]) == (TASK_DEFINITION, "FARGATE")
    (override,) = first["overrides"]["containerOverrides"]
    (variable,) = override["environment"]
    assert (override["name"], variable["name"]) == ("flow", "DAGY_EVENT")
    assert json.loads(variable["value"]) == {"run_id": "etl-1", "parameters": {"day": "monday"}, "events": True}


def test_many_parameters_go_to_the_store_and_the_overrides_stay_short(
    script: Scripted, tmp_path: Path, task: dict[str, Any]
) -> None:
    info = run_info("ecs", tmp_path, parameters={"text": '"' * 9_000})
    store = RunStore(info.resources["store"], info.run_id)
    asked: list[dict[str, Any]] = []
    script.answers["RunTask"] = noting(asked, {"tasks": [task], "failures": []})
    RemoteRun(info.run_id, store, ContainerRun(info, script.aws(), store)).start()
    assert len(json.dumps(asked[0]["overrides"])) < 8_192


def test_a_container_that_tells_its_end_ends_the_run(run: RemoteRun, store: RunStore, task: dict[str, Any]) -> None:
    run.start()
    assert not run.poll().is_final
    complete(store, [1, 2])
    task |= {"lastStatus": "STOPPED", "stopCode": "EssentialContainerExited", "containers": [{"exitCode": 0}]}
    news = run.poll()
    assert (str(news.state), news.result) == ("COMPLETED", ([1, 2],))


@pytest.mark.parametrize(
    ("stop_code", "reason", "container", "end"),
    [
        (
            "EssentialContainerExited", "Essential container in task exited",
            {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"},
            "CRASHED: the container ran out of memory; give the flow or the task more with memory_mb=",
        ),
        (
            "EssentialContainerExited", "Essential container in task exited", {"exitCode": 3},
            "CRASHED: its process died in the container: exit code 3",
        ),
        (
            "EssentialContainerExited", "Essential container in task exited", {"exitCode": 137},
            "CRASHED: the container was killed (exit code 137)",
        ),
        (
            "EssentialContainerExited", "Essential container in task exited", {"exitCode": 0},
            "CRASHED: the container ended without telling how the run went",
        ),
        (
            "SpotInterruption", "Your Spot Task was interrupted.", {},
            "CRASHED: AWS took the machine back, as it may with Spot; run what is missing with: dagy runs resume etl-1",
        ),
        (
            "TaskFailedToStart", "CannotPullContainerError: pull image manifest has been retried: not found", {},
            "FAILED: the container's image can't be pulled: CannotPullContainerError: pull image manifest",
        ),
        (
            "TaskFailedToStart", "Capacity is unavailable at this time. Please try again later", {},
            "FAILED: AWS had no machine free for the container (Capacity is unavailable at this time.",
        ),
        (
            "TaskFailedToStart", "Timeout waiting for network interface provisioning to complete.", {},
            "FAILED: the container could not reach the network: Timeout waiting",
        ),
        (
            "TaskFailedToStart", "ResourceInitializationError: unable to pull secrets or registry auth", {},
            "FAILED: the container's image can't be pulled",
        ),
        ("TaskFailedToStart", "an odd thing", {}, "FAILED: the container did not start: an odd thing"),
        ("UserInitiated", "Task stopped by user", {"exitCode": 143}, "CANCELLED: somebody stopped the container"),
        ("", "", {}, "FAILED: the container did not start: ECS does not say why"),
    ],
)  # fmt: skip
def test_a_container_that_stops_without_an_answer_ends_the_run(
    run: RemoteRun, store: RunStore, task: dict[str, Any], stop_code: str, reason: str, container: Any, end: str
) -> None:
    run.start()
    store.begin({"by": "test"})
    store.add_events([run_event("RUNNING"), task_event("load", "RUNNING")])
    run.poll()
    task |= {"lastStatus": "STOPPED", "stopCode": stop_code, "stoppedReason": reason, "containers": [container]}
    news = run.poll()
    assert str(news.state).startswith(end)
    assert [each.get("task") for each in news.events] == ["load", None]


def test_a_run_that_has_begun_is_found_by_what_it_said_of_itself(
    script: Scripted, run: RemoteRun, store: RunStore, task: dict[str, Any]
) -> None:
    store.begin({"by": "a schedule", "task_arn": TASK})
    asked: list[Any] = []
    script.answers["DescribeTasks"] = noting(asked, {"tasks": [task], "failures": []})
    run.start()
    run.poll()
    assert [each["tasks"] for each in asked] == [[TASK]]
    assert "RunTask" not in script.calls


def test_a_run_that_did_not_say_is_found_by_who_started_it(
    script: Scripted, run: RemoteRun, store: RunStore, task: dict[str, Any]
) -> None:
    store.begin({"by": "test"})
    script.answers["ListTasks"] = lambda asked: {"taskArns": [TASK]}
    run.start()
    assert not run.poll().is_final
    assert script.calls == ["ListTasks", "ListTasks", "DescribeTasks"]


def test_a_task_that_ecs_has_forgotten_has_ended(
    script: Scripted, run: RemoteRun, store: RunStore, task: dict[str, Any]
) -> None:
    store.begin({"by": "test", "task_arn": TASK})
    script.answers["DescribeTasks"] = lambda asked: {"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}
    run.start()
    assert str(run.poll().state).startswith("CRASHED: the container ended without telling how the run went")


def test_a_task_that_was_just_started_may_not_be_seen_yet(
    script: Scripted, run: RemoteRun, task: dict[str, Any]
) -> None:
    script.answers["DescribeTasks"] = lambda asked: {"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}
    run.start()
    assert not run.poll().is_final


def test_a_run_that_is_cancelled_is_stopped_when_it_does_not_end_by_itself(
    script: Scripted, info: RunInfo, store: RunStore, task: dict[str, Any]
) -> None:
    now = [100.0]
    run = RemoteRun(info.run_id, store, ContainerRun(info, script.aws(), store), clock=lambda: now[0])
    stopped: list[Any] = []

    def stop(asked: Any) -> Any:
        stopped.append((asked["task"], asked["reason"]))
        task.update({"lastStatus": "STOPPED", "stopCode": "UserInitiated", "containers": [{"exitCode": 137}]})
        return {"task": task}

    script.answers["StopTask"] = stop
    run.start()
    run.cancel("wrong day")
    assert not run.poll().is_final
    now[0] += STOP_SECONDS
    assert str(run.poll().state) == "CANCELLED: wrong day"
    assert stopped == [(TASK, "wrong day")]


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("ClusterNotFoundException", "FAILED: the container 'dagy-etl:3' is not there any more"),
        ("AccessDeniedException", "FAILED: the container 'dagy-etl:3' could not be started"),
    ],
)
def test_a_container_that_cannot_be_started_ends_the_run(script: Scripted, run: RemoteRun, code: str, end: str) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError(code)

    script.answers["RunTask"] = refuse
    run.start()
    assert str(run.poll().state).startswith(end)
