"""A run on AWS is begun by one worker and followed by any: told in order and once, and never in need of its worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.errors import AuthError, NetworkError
from dagy.states import StateType

from ..backends.conftest import script as script
from ..backends.run_records import RESOURCES, complete, output_event, run_event, task_event
from ..backends.scripted import RefusalError, Scripted
from .conftest import Entry, Queue, Shift

Begin = Callable[..., Shift]

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:dagy-etl:etl-1"


class Machine:
    """A state machine on the endpoint, whose one execution does what the test says."""

    def __init__(self, script: Scripted, folder: Path) -> None:
        self.store = RunStore(folder.as_uri(), "etl-1")
        self.resources = {"region": "us-east-1", "store": folder.as_uri(), **RESOURCES["step-functions"]}
        self.status = "RUNNING"
        self.started = 0
        self.stopped: list[str] = []
        self.changed = threading.Condition()
        script.answers |= {
            "StartExecution": self._start,
            "DescribeExecution": self._describe,
            "StopExecution": self._stop,
        }

    def wait_for_start(self) -> None:
        """Until the execution was started."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.started, 20)

    def tell(self, *events: dict[str, Any]) -> None:
        """Add a batch of events."""
        self.store.add_events(events)

    def complete(self, result: object = 3) -> None:
        """Let the run complete, as it does by itself."""
        complete(self.store, result)
        self.status = "SUCCEEDED"

    def _start(self, asked: dict[str, Any]) -> Any:
        with self.changed:
            self.started += 1
            self.changed.notify_all()
        return {"executionArn": EXECUTION, "startDate": 1.0}

    def _describe(self, asked: dict[str, Any]) -> Any:
        return {
            "executionArn": EXECUTION, "stateMachineArn": "arn", "name": "etl-1", "status": self.status, "startDate": 1,
        }  # fmt: skip

    def _stop(self, asked: dict[str, Any]) -> Any:
        self.stopped.append(asked["cause"])
        self.status = "ABORTED"
        return {"stopDate": 1.0}


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """A queue; its runs need no artifact here."""
    return Queue(tmp_path / "nowhere.zip")


@pytest.fixture
def machine(script: Scripted, tmp_path: Path) -> Machine:
    return Machine(script, tmp_path / "runs")


@pytest.fixture
def entry(queue: Queue, machine: Machine) -> Entry:
    """A run for the state machine."""
    return queue.add("etl-1", "step-functions", machine.resources)


def kinds(entry: Entry) -> list[tuple[Any, Any]]:
    return [(each["kind"], each.get("state") or each.get("text")) for each in entry.events]


def test_a_run_is_begun_on_aws_and_told_as_it_goes(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    shift = begin(connect=script.aws)
    machine.wait_for_start()
    machine.tell(run_event("RUNNING"), task_event("load", "RUNNING"), output_event("load", "200 rows\n"))
    queue.wait_for_text(entry, "200 rows")
    machine.tell(task_event("load", "COMPLETED"), run_event("COMPLETED"))
    machine.store.keep_answer({"state": "COMPLETED", "message": "", "result": {"value": {"rows": 200}}})
    machine.status = "SUCCEEDED"
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert entry.info.result == {"rows": 200}
    assert kinds(entry) == [
        ("run", "RUNNING"), ("task", "RUNNING"), ("output", "200 rows\n"), ("task", "COMPLETED"), ("run", "COMPLETED"),
    ]  # fmt: skip
    assert [each["seq"] for each in entry.events] == list(range(5))
    assert "etl-1: running on AWS (step-functions)" in shift.said


def test_runs_on_aws_do_not_take_the_place_of_those_here(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    begin(connect=script.aws, concurrency=1)
    machine.wait_for_start()
    local = queue.add("steps-1")  # its artifact is not there, so it ends at once
    assert queue.wait_for_end(local).startswith("FAILED")
    assert not entry.info.status.is_final


def test_a_worker_that_is_stopped_leaves_the_run_to_the_next_which_goes_on_with_the_telling(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    shift = begin(connect=script.aws)
    machine.wait_for_start()
    machine.store.begin({"by": "test"})
    machine.tell(run_event("RUNNING"), task_event("load", "RUNNING"), output_event("load", "first\n"))
    queue.wait_for_text(entry, "first")
    shift.worker.stop()
    shift.end()
    assert entry.info.status is StateType.RUNNING
    assert machine.stopped == []
    machine.tell(output_event("load", "second\n"))
    queue.take_back(entry)
    begin(connect=script.aws)
    queue.wait_for_text(entry, "second")
    machine.tell(task_event("load", "COMPLETED"), run_event("COMPLETED"))
    machine.store.keep_answer({"state": "COMPLETED", "message": "", "result": {"value": 1}})
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert [text for kind, text in kinds(entry) if kind == "output"] == ["first\n", "second\n"]
    assert machine.started == 1


def test_a_run_that_ended_while_nobody_followed_it_is_told_whole(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    machine.complete({"rows": 3})
    begin(connect=script.aws)
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert entry.info.result == {"rows": 3}
    assert machine.started == 0


def test_a_wish_to_cancel_reaches_aws(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    begin(connect=script.aws)
    machine.wait_for_start()
    machine.store.begin({"by": "test"})
    machine.tell(run_event("RUNNING"), task_event("load", "RUNNING"))
    queue.wait_for(lambda: entry.events)
    queue.cancel(entry, "wrong day")
    queue.wait_for(lambda: machine.store.stop_reason())
    machine.tell(task_event("load", "CANCELLED"), run_event("CANCELLED", "wrong day"))
    machine.store.keep_answer({"state": "CANCELLED", "message": "wrong day"})
    assert queue.wait_for_end(entry) == "CANCELLED: wrong day"
    assert machine.store.stop_reason() == "wrong day"


def test_a_run_that_was_cancelled_before_it_began_never_begins(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    queue.cancel(entry, "wrong day")
    begin(connect=script.aws)
    assert queue.wait_for_end(entry) == "CANCELLED: wrong day"
    assert machine.started == 0


def test_what_aws_refuses_ends_the_run_with_the_reason(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    def refuse(_: Any) -> Any:
        raise RefusalError("AccessDeniedException", "not authorized to perform states:StartExecution")

    script.answers["StartExecution"] = refuse
    begin(connect=script.aws)
    assert queue.wait_for_end(entry).startswith("FAILED: the state machine 'dagy-etl' could not be started")
    assert kinds(entry) == [("run", "FAILED")]


def test_nobody_signed_in_ends_a_run_that_has_not_begun(queue: Queue, begin: Begin, entry: Entry) -> None:
    def connect(_: object) -> Any:
        raise AuthError("nobody is signed in")

    begin(connect=connect)
    assert queue.wait_for_end(entry) == "FAILED: nobody is signed in"


def test_what_has_begun_waits_until_aws_answers_and_says_why(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    answers = dict(script.answers)

    def refuse(_: Any) -> Any:
        raise RefusalError("ExpiredTokenException", "the security token is expired")

    begin(connect=script.aws)
    machine.wait_for_start()
    script.answers["DescribeExecution"] = refuse
    queue.wait_for(lambda: "nothing is heard of it for now" in entry.info.message)
    assert entry.info.status is StateType.RUNNING
    script.answers |= answers
    machine.complete()
    assert queue.wait_for_end(entry) == "COMPLETED"


def test_an_executor_that_is_not_known_ends_the_run(queue: Queue, begin: Begin, script: Scripted) -> None:
    entry = queue.add("etl-1", "batch", {"region": "us-east-1"})
    begin(connect=script.aws)
    assert "the executor 'batch', which this version of dagy does not know" in queue.wait_for_end(entry)


def test_resources_that_lack_something_end_the_run(queue: Queue, begin: Begin, script: Scripted) -> None:
    entry = queue.add("etl-1", "lambda", {"region": "us-east-1"})
    begin(connect=script.aws)
    assert "does not say its 'store' on AWS; deploy it again" in queue.wait_for_end(entry)


def test_a_lost_lease_ends_the_following_and_not_the_run(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    given_up = threading.Event()
    begin(connect=script.aws, said=lambda text: given_up.set() if text.startswith("etl-1: given up") else None)
    machine.wait_for_start()
    queue.take_over(entry)
    machine.tell(run_event("RUNNING"))
    assert given_up.wait(20)
    assert machine.stopped == []
    assert entry.events == []


def test_a_control_plane_that_does_not_answer_is_told_all_later(
    queue: Queue, begin: Begin, script: Scripted, machine: Machine, entry: Entry
) -> None:
    begin(connect=script.aws)
    machine.wait_for_start()
    with queue.changed:
        queue.is_reachable = False
    machine.complete()
    queue.wait_for(lambda: queue.refused > 1)
    with queue.changed:
        queue.is_reachable = True
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert [each["seq"] for each in entry.events] == list(range(5))


def test_a_network_that_is_down_keeps_the_run_queued_until_it_may_be_cancelled(
    queue: Queue, begin: Begin, entry: Entry, script: Scripted
) -> None:
    class Offline(Scripted):
        def aws(self, _resources: object = None) -> Any:
            raise NetworkError("no route")

    begin(connect=Offline().aws)
    queue.wait_for(lambda: "no route" in entry.info.message)
    assert entry.info.status is StateType.QUEUED
    queue.cancel(entry, "never mind")
    assert queue.wait_for_end(entry) == "CANCELLED: never mind"
