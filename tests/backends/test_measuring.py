"""What earlier runs took."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagy import flow, task
from dagy.backends import measured_from_history
from dagy.backends.measuring import measured_in
from dagy.engine import Event, ItemChanged, TaskChanged
from dagy.states import State, StateType


def changed(at: float, task_id: str, state: StateType, attempt: int = 1, item: int | None = None) -> Event:
    nanoseconds = int(at * 1e9)
    if item is None:
        return TaskChanged(0, nanoseconds, task_id, attempt, State(state))
    return ItemChanged(0, nanoseconds, task_id, item, attempt, State(state))


def test_the_longest_attempt_counts_and_no_wait_between_attempts():
    events = [
        changed(0, "a", StateType.RUNNING), changed(5, "a", StateType.RETRYING),
        changed(60, "a", StateType.RUNNING, 2), changed(62, "a", StateType.COMPLETED, 2),
    ]  # fmt: skip
    assert measured_in([events]).seconds == {"a": 5.0}


def test_the_longest_of_several_runs_counts():
    runs = [[changed(0, "a", StateType.RUNNING), changed(took, "a", StateType.COMPLETED)] for took in (1, 3, 2)]
    found = measured_in(runs)
    assert (found.runs, found.seconds) == (3, {"a": 3.0})


def test_of_a_mapped_task_an_item_counts_and_how_many_there_were():
    events = [
        changed(0, "a", StateType.RUNNING),
        changed(0, "a", StateType.RUNNING, item=0), changed(2, "a", StateType.COMPLETED, item=0),
        changed(2, "a", StateType.RUNNING, item=1), changed(5, "a", StateType.COMPLETED, item=1),
        changed(5, "a", StateType.COMPLETED),
    ]  # fmt: skip
    found = measured_in([events])
    assert (found.seconds, found.items) == ({"a": 3.0}, {"a": 2})


def test_what_did_not_run_was_not_measured():
    assert measured_in([[changed(0, "a", StateType.COMPLETED)], [changed(1, "b", StateType.RUNNING)]]).seconds == {}


@task
def numbers(count: int) -> list[int]:
    return list(range(count))


@task
def double(number: int) -> int:
    return 2 * number


@flow
def doubled(count: int = 3):
    return double.map(numbers(count))


def test_recorded_runs_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(tmp_path))
    assert measured_from_history(tmp_path, "doubled") is None
    doubled.run_local(record=True)
    found = measured_from_history(tmp_path, "doubled")
    assert found is not None
    assert found.runs == 1
    assert found.seconds.keys() == {"numbers", "double"}
    assert found.items == {"double": 3}
    assert measured_from_history(tmp_path, "other") is None
