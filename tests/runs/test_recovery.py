from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dagy import flow, task
from dagy.engine import ItemChanged, RunChanged, TaskChanged
from dagy.runs import History
from dagy.runs.checks import violations
from dagy.runs.owners import HELD_HERE
from dagy.runs.recovery import end, orphans, recover
from dagy.runs.store import Store
from dagy.states import StateType, completed, running

from .conftest import Script


def kill(local_dir: Path, each: Script) -> None:
    """Let it look as if the process that records this run had died now."""
    with each.recorder._flushing:
        each.recorder._flush()
        each.recorder._is_over = True
    HELD_HERE.discard(each.run_id)
    with Store(local_dir) as store, store.writing() as db:
        db.execute("UPDATE runs SET pid_started = pid_started - 1")


@task
def a() -> int:
    return 1


@task
def b(x: int) -> int:
    return x


@flow
def wide():
    first = a()
    return b(b(first)), a(), b.map([1, 2])


def test_a_run_without_a_process_ends_with_all_its_tasks(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1", of=wide.program())
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "a", 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "b-3", 1, running()))
    each.add(lambda seq: ItemChanged(seq, 2, "b-3", 1, 1, running()))
    kill(local_dir, each)
    with History(local_dir) as history:
        assert history.recovered == ["run-1"]
        run = history.run("run-1")
        assert str(run.state).startswith("CRASHED: the process that ran it (number ")
        assert {task.id: str(task.state) for task in history.tasks("run-1")} == {
            "a": "CRASHED: its process died",
            "b": "SKIPPED: not started, because 'a' crashed",
            "b-2": "SKIPPED: not started, because 'a' crashed",
            "a-2": "CANCELLED: not started: the process died",
            "b-3": "CRASHED: its process died",
        }
        assert run.tasks == {StateType.CRASHED: 2, StateType.SKIPPED: 2, StateType.CANCELLED: 1}
        events = history.events("run-1")
        assert [event.seq for event in events] == list(range(len(events)))
        assert isinstance(events[-1], RunChanged)
    with Store(local_dir) as store:
        assert list(violations(store, time.time_ns())) == []


def test_a_task_that_began_in_the_last_moment_is_known_to_have(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1", of=wide.program())
    each.add(lambda seq: RunChanged(seq, 1, running()))
    with each.recorder._flushing:  # so that no event and no result is kept any more
        each.recorder.begin_attempt("a")
        each.recorder.keep("a", None, 1, [1])
        each.recorder.begin_attempt("b-3")
        each.recorder._kept.clear()
    kill(local_dir, each)
    with History(local_dir) as history:
        states = {task.id: str(task.state) for task in history.tasks("run-1")}
        assert states == {
            "a": "CRASHED: its process died before its result was kept",
            "b": "SKIPPED: not started, because 'a' crashed",
            "b-2": "SKIPPED: not started, because 'a' crashed",
            "a-2": "CANCELLED: not started: the process died",
            "b-3": "CRASHED: its process died as it began",
        }
        assert history.run("run-1").tasks == {StateType.CRASHED: 2, StateType.SKIPPED: 2, StateType.CANCELLED: 1}
        events = history.events("run-1")
        assert [event.seq for event in events] == list(range(len(events)))
    with Store(local_dir) as store:
        assert not store.run_folder("run-1").exists()
        assert list(violations(store, time.time_ns())) == []


def test_a_task_whose_result_was_kept_has_completed(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "load", 1, running()))
    each.recorder.keep("load", None, 1, [1])
    kill(local_dir, each)
    with History(local_dir) as history:
        assert [task.state.type for task in history.tasks("run-1")] == [StateType.COMPLETED, StateType.CANCELLED]


def test_a_run_that_had_no_event_yet_ends_too(local_dir: Path, script: Callable[..., Script]) -> None:
    kill(local_dir, script("run-1"))
    with History(local_dir) as history:
        kinds = [event.state.type for event in history.events("run-1") if isinstance(event, RunChanged)]
    assert kinds == [StateType.RUNNING, StateType.CRASHED]
    with Store(local_dir) as store:
        assert list(violations(store, time.time_ns())) == []


def test_of_two_who_end_a_run_at_once_one_does(local_dir: Path, script: Callable[..., Script]) -> None:
    kill(local_dir, script("run-1"))
    with Store(local_dir) as one, Store(local_dir) as other:
        (seen,), (also_seen,) = orphans(one, 0), orphans(other, 0)
        assert end(one, seen)
        assert not end(other, also_seen)
    with History(local_dir) as history:
        assert len(history.events("run-1")) == 4


def test_a_run_that_its_owner_ends_meanwhile_stays_as_it_ended(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    HELD_HERE.discard("run-1")
    with Store(local_dir) as store:
        (seen,) = orphans(store, 0)
        each.recorder.end(completed(), 5, None)
        assert not end(store, seen)
    with History(local_dir) as history:
        assert history.run("run-1").state.is_completed


def test_recovery_happens_once(local_dir: Path, script: Callable[..., Script]) -> None:
    kill(local_dir, script("run-1"))
    with Store(local_dir) as one, Store(local_dir) as other:
        assert recover(one, time.time_ns) == ["run-1"]
        assert recover(other, time.time_ns) == []
        assert recover(one, time.time_ns) == []


def test_a_run_that_goes_on_is_left_alone(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1", clock=lambda: 1)  # its clock stands still, so its lease is long over
    with Store(local_dir) as store:
        assert recover(store, lambda: 10**19) == []
    each.recorder.end(completed(), 5, None)


def test_who_begins_a_run_ends_those_without_a_process(local_dir: Path, script: Callable[..., Script]) -> None:
    kill(local_dir, script("run-1"))
    script("run-2")
    with Store(local_dir) as store, store.reading() as db:
        ended = dict(db.execute("SELECT run_id, ended_at IS NOT NULL FROM runs"))
    assert ended == {"run-1": 1, "run-2": 0}


def test_the_end_is_set_to_the_last_sign_of_life(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1", clock=lambda: 10**12)
    each.add(lambda seq: RunChanged(seq, 10**12, running()))
    each.add(lambda seq: TaskChanged(seq, 10**12 + 5 * 10**9, "load", 1, running()))
    kill(local_dir, each)
    with History(local_dir) as history:
        assert history.run("run-1").seconds == 5.0
