"""The one vocabulary of states, for runs, tasks and nodes, and the moves allowed between them.

A `State` is a value: what kind it is, and why. Final stays final.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dagy.errors import IllegalTransitionError


class StateType(StrEnum):
    """What a run, a task or a node is doing, or how it ended."""

    PENDING = "PENDING"  # not started: something it needs is not done
    QUEUED = "QUEUED"  # handed to something that will start it
    RUNNING = "RUNNING"  # its code runs
    RETRYING = "RETRYING"  # it failed and waits to run again
    COMPLETED = "COMPLETED"  # it returned
    FAILED = "FAILED"  # it raised, and no try is left
    TIMED_OUT = "TIMED_OUT"  # it ran out of time, and no try is left
    CANCELLED = "CANCELLED"  # somebody, or a failure elsewhere, stopped it
    SKIPPED = "SKIPPED"  # it had nothing to do, or something it needs did not complete
    CRASHED = "CRASHED"  # what ran it died

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in _FINAL


_FINAL = frozenset(
    {
        StateType.COMPLETED,
        StateType.FAILED,
        StateType.TIMED_OUT,
        StateType.CANCELLED,
        StateType.SKIPPED,
        StateType.CRASHED,
    }
)

_FAILURES = frozenset({StateType.FAILED, StateType.TIMED_OUT, StateType.CRASHED})

_MOVES: dict[StateType, frozenset[StateType]] = {
    StateType.PENDING: frozenset(
        # COMPLETED: its result was there already.
        {StateType.QUEUED, StateType.RUNNING, StateType.COMPLETED, StateType.CANCELLED, StateType.SKIPPED}
    ),
    StateType.QUEUED: frozenset({StateType.RUNNING, StateType.CANCELLED, StateType.SKIPPED, StateType.CRASHED}),
    StateType.RUNNING: _FINAL | {StateType.RETRYING},
    # FAILED, TIMED_OUT: a run whose time was up, or that could not be recorded, while it waited.
    StateType.RETRYING: _FINAL - {StateType.COMPLETED, StateType.SKIPPED} | {StateType.RUNNING},
}


@dataclass(frozen=True, slots=True)
class State:
    """One state of a run or a task, and why it is in it.

    `message` is a sentence for people; it is empty where the type says it all.
    """

    type: StateType
    message: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self.type in _FINAL

    @property
    def is_completed(self) -> bool:
        """Whether it ended well."""
        return self.type is StateType.COMPLETED

    @property
    def is_failure(self) -> bool:
        """Whether it ended badly by itself: nobody stopped it, and nothing that it needs was missing."""
        return self.type in _FAILURES

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else str(self.type)


def check_move(name: str, old: StateType, new: StateType) -> None:
    """Raise `IllegalTransitionError` unless `new` may follow `old`."""
    if new not in _MOVES.get(old, frozenset()):
        raise IllegalTransitionError(f"{name!r} can't go from {old} to {new}")


def pending(message: str = "") -> State:
    """A `State` that is PENDING."""
    return State(StateType.PENDING, message)


def queued(message: str = "") -> State:
    """A `State` that is QUEUED."""
    return State(StateType.QUEUED, message)


def running(message: str = "") -> State:
    """A `State` that is RUNNING."""
    return State(StateType.RUNNING, message)


def retrying(message: str = "") -> State:
    """A `State` that is RETRYING."""
    return State(StateType.RETRYING, message)


def completed(message: str = "") -> State:
    """A `State` that is COMPLETED."""
    return State(StateType.COMPLETED, message)


def failed(message: str = "") -> State:
    """A `State` that is FAILED."""
    return State(StateType.FAILED, message)


def timed_out(message: str = "") -> State:
    """A `State` that is TIMED_OUT."""
    return State(StateType.TIMED_OUT, message)


def cancelled(message: str = "") -> State:
    """A `State` that is CANCELLED."""
    return State(StateType.CANCELLED, message)


def skipped(message: str = "") -> State:
    """A `State` that is SKIPPED."""
    return State(StateType.SKIPPED, message)


def crashed(message: str = "") -> State:
    """A `State` that is CRASHED."""
    return State(StateType.CRASHED, message)
