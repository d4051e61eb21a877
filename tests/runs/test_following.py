"""A run that a control plane tells of is followed like any other run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import Event, RunResult, TaskChanged, checked_result
from dagy.errors import (
    NetworkError,
    RunError,
    SkipTask,
    StoreError,
    TaskFailedError,
    UnknownTaskError,
    WorkerDiedError,
)
from dagy.runs import History, event_to_json
from dagy.runs.following import FollowedRun, Standing, Unreadable, follow_events
from dagy.states import State, StateType
from dagy.values import Deferred


@task
def load(day: str) -> list[int]:
    print("loading", day)
    return [1, 2, 3]


@task
def total(rows: list[int]) -> int:
    if len(rows) > 3:
        raise LookupError("too many rows")
    return sum(rows)


@flow(name="etl")
def etl(day: str = "monday") -> Any:
    return {"day": day, "total": total(load(day))}


@task
def broken(rows: list[int]) -> int:
    raise LookupError("no such row")


@flow(name="broken")
def broken_flow() -> Any:
    return broken([1])


class Plane:
    """What is known of a run elsewhere, told in portions of `portion` events as the test lets it."""

    def __init__(self, portion: int = 1000) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.now = Standing(State(StateType.QUEUED))
        self.cancelled: list[str] = []
        self.portion = portion
        self.unreachable = 0  # so many times from now
        self.asked = threading.Semaphore(0)
        self.lock = threading.Lock()

    def tell(self, events: Sequence[Event], now: Standing) -> None:
        with self.lock:
            self.told += [event_to_json(each) for each in events]
            self.now = now

    def events(self, since: int) -> Sequence[Mapping[str, Any]]:
        self._reach()
        with self.lock:
            return self.told[since : since + self.portion]

    def standing(self) -> Standing:
        self._reach()
        with self.lock:
            return self.now

    def _reach(self) -> None:
        self.asked.release()
        with self.lock:
            if self.unreachable:
                self.unreachable -= 1
                raise NetworkError("nobody answers")


Follow = Callable[..., FollowedRun]


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def follow(plane: Plane) -> Iterator[Follow]:
    """Follow what `plane` tells; the test can't leave it behind."""
    begun: list[FollowedRun] = []

    def follow(
        of: Any = etl,
        run_id: str = "etl-1",
        local_dir: Path | None = None,
        results: Callable[[], Mapping[str, Deferred]] = dict,
    ) -> FollowedRun:
        run = follow_events(
            run_id,
            of.spec,
            {},
            events=plane.events,
            standing=plane.standing,
            cancel=plane.cancelled.append,
            results=results,
            local_dir=local_dir,
            poll_seconds=0.001,
        )
        begun.append(run)
        return run

    yield follow
    plane.tell((), Standing(State(StateType.CANCELLED, "the test is over")))
    for each in begun:
        each.wait(10)


def events_of(record: Callable[..., RunResult], local_dir: Path, of: Any = etl) -> tuple[str, list[Event]]:
    run_id = record(of).run_id
    with History(local_dir) as history:
        return run_id, history.events(run_id)


@pytest.mark.parametrize("portion", [1, 1000])
def test_it_gives_what_the_run_itself_gave(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path, portion: int
) -> None:
    plane.portion = portion
    _, events = events_of(record, local_dir)
    run = follow()
    assert run.status is StateType.QUEUED
    plane.tell(events[:3], Standing(State(StateType.RUNNING)))
    assert [next(each) for each in [run.events(since=2)]] == events[2:3]
    assert not run.done
    plane.tell(events[3:], Standing(State(StateType.COMPLETED), True, {"day": "monday", "total": 6}))
    result = run.wait(10)
    assert list(run.events()) == events
    assert result.status is StateType.COMPLETED
    assert result.value == {"day": "monday", "total": 6}
    assert result.task_runs["load"].output
    assert {each.type for each in run.states().values()} == {StateType.COMPLETED}
    assert asyncio.run(_awaited(run)) is result
    with pytest.raises(UnknownTaskError):
        run.task_run("laod")


async def _awaited(run: FollowedRun) -> RunResult:
    return await run


def test_results_are_read_where_the_run_was_recorded_and_unreadable_elsewhere(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path
) -> None:
    run_id, events = events_of(record, local_dir)
    plane.tell(events, Standing(State(StateType.COMPLETED)))
    here = follow(etl, run_id, local_dir).wait(10)
    assert here["load"] == [1, 2, 3]
    assert here.value == {"day": "monday", "total": 6}
    assert here.parameters == {"day": "monday"}
    elsewhere = follow().wait(10)
    assert isinstance(elsewhere["load"], Unreadable)
    assert isinstance(elsewhere.value, Unreadable)


class Stored(Deferred):
    """A result in a store, which may be out of reach."""

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> object:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


@pytest.mark.parametrize("portion", [1, 1000])
def test_results_of_a_run_that_is_not_recorded_here_are_asked_for_once_when_it_has_ended(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path, portion: int
) -> None:
    plane.portion = portion
    asked = 0

    def results() -> Mapping[str, Deferred]:
        nonlocal asked
        asked += 1
        return {"load": Stored([7]), "total": Stored(NetworkError("nobody answers"))}

    _, events = events_of(record, local_dir)
    run = follow(results=results)
    plane.tell(events[:-1], Standing(State(StateType.RUNNING)))
    assert [next(each) for each in [run.events(since=len(events) - 2)]] == events[-2:-1]
    assert asked == 0
    plane.tell(events[-1:], Standing(State(StateType.COMPLETED)))
    result = run.wait(10)
    assert asked == 1
    assert result["load"] == [7]
    assert isinstance(result["total"], Unreadable)
    assert "nobody answers" in result["total"].reason


def test_what_was_skipped_by_choice_is_none_in_what_the_flow_returned(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path
) -> None:
    @task
    def files() -> list[int]:
        raise SkipTask("no new files")

    @flow(name="etl")
    def skipping(day: str = "monday") -> Any:
        return {"total": total(load(day)), "new": total(files())}

    run_id, events = events_of(record, local_dir, skipping)
    plane.tell(events, Standing(State(StateType.COMPLETED)))
    result = follow(skipping, run_id, local_dir).wait(10)
    assert result.value == {"total": 6, "new": None}
    assert (result.task_run("files").value, result.task_run("files").error) == (None, None)


def test_a_failed_task_has_its_error_as_it_was_told(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path
) -> None:
    run_id, events = events_of(record, local_dir, broken_flow)
    plane.tell(events, Standing(State(StateType.FAILED, "1 task failed")))
    result = follow(broken_flow).wait(10)
    assert str(result.task_runs["broken"].error) == "LookupError: no such row"
    with pytest.raises(TaskFailedError):
        result["broken"]
    here = follow(broken_flow, run_id, local_dir).wait(10)
    assert 'raise LookupError("no such row")' in str(here.task_runs["broken"].error)


def test_a_run_that_failed_before_its_tasks_says_why(plane: Plane, follow: Follow) -> None:
    plane.tell((), Standing(State(StateType.FAILED, "its artifact is broken")))
    result = follow().wait(10)
    assert str(result.state) == "FAILED: its artifact is broken"
    assert str(result.error) == "its artifact is broken"
    assert {each.state.type for each in result.task_runs.values()} == {StateType.CANCELLED}
    with pytest.raises(RunError, match="its artifact is broken"):
        checked_result(result)


def test_tasks_of_a_run_that_was_lost_end_with_it(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path
) -> None:
    _, events = events_of(record, local_dir)
    until = next(n for n, each in enumerate(events) if isinstance(each, TaskChanged) and each.task == "load") + 1
    plane.tell(events[:until], Standing(State(StateType.CRASHED, "its worker is gone")))
    run = follow()
    result = run.wait(10)
    assert str(result.state) == "CRASHED: its worker is gone"
    assert isinstance(result.error, WorkerDiedError)
    assert result.task_runs["load"].state.type is StateType.CRASHED
    assert result.task_runs["total"].state.type is StateType.CANCELLED
    assert [each.seq for each in run.events()] == list(range(until + 3))


def test_a_plane_that_cannot_be_reached_for_a_while_loses_nothing(
    plane: Plane, follow: Follow, record: Callable[..., RunResult], local_dir: Path
) -> None:
    plane.unreachable = 3
    _, events = events_of(record, local_dir)
    run = follow()
    plane.tell(events, Standing(State(StateType.COMPLETED), True, 6))
    assert run.wait(10).value == 6
    assert list(run.events()) == events


def test_what_cannot_be_followed_says_so_and_ends(plane: Plane, follow: Follow) -> None:
    plane.told = [{"kind": "news", "seq": 0, "at": 0}]
    result = follow().wait(10)
    assert result.status is StateType.CRASHED
    assert isinstance(result.error, StoreError)


def test_cancel_is_handed_on_until_the_run_has_ended(plane: Plane, follow: Follow) -> None:
    run = follow()
    run.cancel("no longer needed")
    assert plane.cancelled == ["no longer needed"]
    plane.tell((), Standing(State(StateType.CANCELLED, "no longer needed")))
    assert str(run.wait(10).state) == "CANCELLED: no longer needed"
    run.cancel("too late")
    assert plane.cancelled == ["no longer needed"]
