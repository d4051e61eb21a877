"""How a task of a run ended, as it lies in the run's store: a value that says what the next invocations need to know.

The rules that follow from it are the engine's: what has no value upstream is not run, and says why in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagy.engine.absence import lack
from dagy.engine.reasons import fault, gave_nothing, items_failed, not_started, other_way, without
from dagy.errors import StoreError, shown
from dagy.spec import FromTask, Json, TaskSpec, references
from dagy.states import State, StateType, completed, crashed, skipped

GONE = "its invocation ended without telling how"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task, or an item of a mapped one, ended. Times are seconds since the epoch."""

    state: State
    at: float  # when; of what was not started because another failed: when that did
    attempt: int = 0  # the number of the last attempt; 0: it never started
    result: Mapping[str, Json] | None = None  # what it returned, as `Values.carried` has it; of a mapped task `items`
    error: Mapping[str, Json] | None = None  # `type`, `message` and `traceback`
    cause: str = ""  # the failed task because of which it was not started
    absent: Sequence[str] = ()  # of what it returned by name, what it left out

    @property
    def is_by_choice(self) -> bool:
        """Whether it was skipped because there was nothing for it to do."""
        return self.state.type is StateType.SKIPPED and not self.cause

    @property
    def is_of_nothing(self) -> bool:
        """Whether it was skipped by choice, or returned `ABSENT`."""
        return self.is_by_choice or (self.result is not None and is_of_absent(self.result))

    def leaves_out(self, part: FromTask) -> bool:
        """Whether there is nothing in that part of what it returned, as far as that is known unread."""
        return self.is_of_nothing or bool(part.path and part.path[0] in self.absent)

    def to_json(self) -> dict[str, Json]:
        """As it is kept."""
        told: dict[str, Json] = {"state": self.state.type.value, "at": self.at, "attempt": self.attempt}
        more: dict[str, Json] = {"message": self.state.message, "result": self.result, "error": self.error}
        more |= {"cause": self.cause, "absent": list(self.absent)}
        return told | {name: value for name, value in more.items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """What `to_json` made. Raises `StoreError` for what is none."""
        try:
            state = State(StateType(data["state"]), data.get("message", ""))
            more = {name: data[name] for name in ("result", "error", "cause", "absent") if name in data}
            return cls(state, data["at"], data["attempt"], **more)
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(f"{shown(data)} is not how a task ended") from error


def is_of_absent(carried: Mapping[str, Json]) -> bool:
    """Whether what is carried so is `ABSENT`."""
    return carried.get("codec") == "absent"


def without_upstream(task: TaskSpec, upstream: Mapping[str, Outcome | None], now: float) -> Outcome | None:
    """How `task` ends, which needs those `upstream`; None when it may start.

    One that left no outcome has crashed. Of several reasons the oldest counts, as it does while a run goes. What was
    skipped by choice is a reason only when nothing worse has happened.
    """
    found: list[Outcome] = []
    absent: list[str] = []
    for needed, outcome in upstream.items():
        if outcome is not None and outcome.is_by_choice:
            absent.append(needed)
        elif outcome is None or outcome.state.is_failure:
            kind = StateType.CRASHED if outcome is None else outcome.state.type
            found.append(Outcome(not_started(needed, kind), now if outcome is None else outcome.at, cause=needed))
        elif not outcome.state.is_completed:
            state = outcome.state if outcome.cause else not_started(needed, outcome.state.type)
            found.append(Outcome(state, outcome.at, cause=outcome.cause or needed))
    if found:
        return min(found, key=lambda each: each.at)
    cause = lack(task, absent)
    return None if cause is None else Outcome(without(cause), now)


def on_another_way(task: TaskSpec, upstream: Mapping[str, Outcome | None], now: float) -> Outcome | None:
    """How `task` ends for want of what others, which have ended so, did not give; as far as that is known unread."""
    absent: list[FromTask] = []
    required: list[FromTask] = []  # of these, those that it can't do without
    has_arrived = False
    for name, binding in task.inputs.items():
        for each in references(binding):
            if type(each) is FromTask:
                outcome = upstream.get(each.task)
                if outcome is None or not outcome.leaves_out(each):
                    has_arrived = True
                else:
                    absent.append(each)
                    required += [] if name in (task.optional or ()) else [each]
    for each in required or (() if has_arrived else absent):
        outcome = upstream.get(each.task)
        if outcome is not None and not outcome.is_by_choice:
            why = gave_nothing(each.task) if outcome.is_of_nothing else other_way(each.task)
            return Outcome(skipped(why), now)
    return None


def mapped_outcome(task: str, items: Sequence[Outcome | None], stopped: State | None, now: float) -> Outcome:
    """How a mapped task ended whose items ended so; its result is left out.

    An item without an outcome was not begun when the run was `stopped` (the state that it has then), else it crashed.
    """
    lost = Outcome(crashed(GONE), now) if stopped is None else Outcome(stopped, now)
    ends = [lost if each is None else each for each in items]
    failures = sorted((each.at, index) for index, each in enumerate(ends) if each.state.is_failure)
    if failures:
        first = failures[0][1]
        why = fault(f"{task}[{first}]", ends[first].state)
        return Outcome(items_failed(len(failures), len(ends), why), now, 1, error=ends[first].error)
    missing = next((each.state for each in ends if not (each.state.is_completed or each.is_by_choice)), None)
    return Outcome(completed() if missing is None else stopped or missing, now, 1)
