"""What is told of a run arrives in order and once, in pieces that fit, also after a while in which nobody answered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagy.control import Claim
from dagy.engine import RunChanged, TaskWrote
from dagy.errors import ParameterError
from dagy.runs import event_to_json
from dagy.states import State, StateType, completed
from dagy.worker.reporting import (
    LISTEN_SECONDS,
    MOST_CHARACTERS,
    MOST_EVENTS,
    LostLeaseError,
    Reporter,
    portions,
)

from .conftest import Entry, Queue


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def queue() -> Queue:
    return Queue(Path("nowhere"))


@pytest.fixture
def entry(queue: Queue) -> Entry:
    return queue.add()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(queue: Queue, entry: Entry, clock: Clock) -> Reporter:
    claim = queue.claim_run("worker")
    assert claim is not None
    return Reporter(queue, claim, clock=clock)


def wrote(seq: int, text: str = "x") -> dict[str, Any]:
    return event_to_json(TaskWrote(seq, seq, "load", 1, "stdout", text))


def told(entry: Entry) -> list[int]:
    return [each["seq"] for each in entry.events]


def test_events_arrive_in_order_and_once(reporter: Reporter, entry: Entry) -> None:
    events = [wrote(seq) for seq in range(5)]
    assert reporter.tell(events[:2])
    assert reporter.reported == 2
    assert reporter.tell(events[2:], completed(), result=({"rows": 5},))
    assert told(entry) == list(range(5))
    assert (entry.info.status, entry.info.result, entry.info.has_result) == (StateType.COMPLETED, {"rows": 5}, True)


def test_what_could_not_be_told_is_told_later_and_ever_less_often(
    reporter: Reporter, queue: Queue, entry: Entry, clock: Clock
) -> None:
    queue.is_reachable = False
    waits = []
    for _ in range(8):
        assert not reporter.tell([wrote(0)])
        assert not reporter.tell([wrote(0)]), "it is too early"
        waits.append(reporter.seconds_to_wait)
        clock.now += reporter.seconds_to_wait
    assert queue.refused == 8
    assert [round(each, 2) for each in waits] == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    queue.is_reachable = True
    assert reporter.tell([wrote(0), wrote(1)])
    assert told(entry) == [0, 1]


def test_a_report_whose_answer_was_lost_changes_nothing_when_it_is_told_again(
    reporter: Reporter, queue: Queue, entry: Entry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = queue.report

    def losing(*arguments: Any) -> Any:
        whole(*arguments)
        queue.is_reachable = False
        return whole(*arguments)  # raises

    monkeypatch.setattr(queue, "report", losing)
    assert not reporter.tell([wrote(0)], completed())
    monkeypatch.undo()
    queue.is_reachable = True
    clock.now += 1
    assert reporter.tell([wrote(0)], completed())
    assert told(entry) == [0]


def test_many_events_go_in_pieces_and_the_state_with_the_last(reporter: Reporter, entry: Entry) -> None:
    events = [wrote(seq) for seq in range(2 * MOST_EVENTS + 1)]
    assert reporter.tell(events, completed())
    assert [len(each.events) for each in entry.reports] == [MOST_EVENTS, MOST_EVENTS, 1]
    assert [each.status for each in entry.reports] == [None, None, StateType.COMPLETED]


def test_pieces_hold_no_more_text_than_fits_unless_one_event_does() -> None:
    events = [wrote(0, "x" * MOST_CHARACTERS), wrote(1, "y"), wrote(2, "z" * (MOST_CHARACTERS - 1))]
    events.append(event_to_json(RunChanged(3, 3, State(StateType.RUNNING))))
    events.append(wrote(4, "much" * MOST_CHARACTERS))
    assert [[each["seq"] for each in part] for part in portions(events)] == [[0], [1, 2, 3], [4]]
    assert list(portions([])) == []


def test_with_nothing_to_tell_it_listens_now_and_then(
    reporter: Reporter, queue: Queue, entry: Entry, clock: Clock
) -> None:
    queue.cancel(entry, "enough")
    assert reporter.tell([])
    assert (entry.reports, reporter.cancel_reason) == ([], None)
    clock.now += LISTEN_SECONDS
    assert reporter.tell([])
    assert reporter.cancel_reason == "enough"


def test_a_run_that_another_worker_has_is_lost(reporter: Reporter, queue: Queue, entry: Entry) -> None:
    queue.take_over(entry)
    with pytest.raises(LostLeaseError):
        reporter.tell([wrote(0)])


def test_what_is_refused_is_not_told_again(reporter: Reporter, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise ParameterError("a report's result is too large")

    monkeypatch.setattr(queue, "report", refuse)
    with pytest.raises(ParameterError):
        reporter.tell([wrote(0)])


def test_a_wish_to_cancel_that_came_with_the_claim_is_known(queue: Queue, entry: Entry) -> None:
    queue.cancel(entry, "before it began")
    claim = Claim(entry.info, 1, datetime.now(UTC))
    assert Reporter(queue, claim).cancel_reason == "before it began"
