"""States: values, and which may follow which."""

from __future__ import annotations

import pytest

from dagy import State, StateType, completed, failed, running
from dagy.errors import IllegalTransitionError
from dagy.states import cancelled, check_move, crashed, pending, queued, retrying, skipped, timed_out

FINAL = {"COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED", "CRASHED"}


def test_there_is_one_vocabulary():
    assert {str(each) for each in StateType} == FINAL | {"PENDING", "QUEUED", "RUNNING", "RETRYING"}


@pytest.mark.parametrize("kind", list(StateType))
def test_only_six_states_are_final(kind: StateType):
    assert kind.is_final == (kind.value in FINAL)
    assert State(kind).is_final == kind.is_final


@pytest.mark.parametrize("old", [each for each in StateType if each.is_final])
@pytest.mark.parametrize("new", list(StateType))
def test_final_stays_final(old: StateType, new: StateType):
    with pytest.raises(IllegalTransitionError, match=f"'load' can't go from {old} to {new}"):
        check_move("load", old, new)


@pytest.mark.parametrize(
    ("old", "allowed"),
    [
        (StateType.PENDING, {"QUEUED", "RUNNING", "COMPLETED", "CANCELLED", "SKIPPED"}),
        (StateType.QUEUED, {"RUNNING", "CANCELLED", "SKIPPED", "CRASHED"}),
        (StateType.RUNNING, {"COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "CRASHED", "RETRYING", "SKIPPED"}),
        (StateType.RETRYING, {"RUNNING", "FAILED", "TIMED_OUT", "CANCELLED", "CRASHED"}),
    ],
)
def test_what_may_follow_a_state_that_is_not_final(old: StateType, allowed: set[str]):
    def may_follow(new: StateType) -> bool:
        try:
            check_move("load", old, new)
        except IllegalTransitionError:
            return False
        return True

    assert {str(new) for new in StateType if may_follow(new)} == allowed


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (pending(), "PENDING"), (queued(), "QUEUED"), (running(), "RUNNING"), (retrying(), "RETRYING"),
        (completed(), "COMPLETED"), (failed(), "FAILED"), (timed_out(), "TIMED_OUT"), (cancelled(), "CANCELLED"),
        (skipped(), "SKIPPED"), (crashed(), "CRASHED"),
    ],
)  # fmt: skip
def test_each_kind_of_state_has_a_factory(state: State, kind: str):
    assert state == State(StateType(kind))


def test_a_factory_takes_a_message():
    assert failed("no rows") == State(StateType.FAILED, "no rows")


def test_a_state_reads_as_its_type_and_its_message():
    assert str(completed()) == "COMPLETED"
    assert str(failed("no rows")) == "FAILED: no rows"


def test_the_type_of_a_state_formats_as_a_text():
    assert f"[{completed().type:10s}]" == "[COMPLETED ]"
    assert completed().type == "COMPLETED"


def test_only_completed_is_completed():
    assert [each for each in StateType if State(each).is_completed] == [StateType.COMPLETED]


def test_a_failure_is_an_end_that_nobody_asked_for():
    assert {str(each) for each in StateType if State(each).is_failure} == {"FAILED", "TIMED_OUT", "CRASHED"}


def test_a_state_can_not_be_changed():
    with pytest.raises(AttributeError):
        completed().message = "late"  # type: ignore[misc]
