"""How a task of a run ended, as it lies in the run's store: a value that says what the next invocations need to know.

The rules that follow from it are the engine's: what has no value upstream is not run, and says why in the same words.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagy.engine.reasons import fault, items_failed, not_started, other_way, without
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


def without_upstream(upstream: Mapping[str, Outcome | None], needed: Container[str], now: float) -> Outcome | None:
    """How a task ends that needs these; None when it may start.

    One that left no outcome has crashed. Of several reasons the oldest counts, as it does while a run goes. What was
    skipped by choice is a reason only when it is among those `needed` in any case, and nothing worse has happened.
    """
    found: list[Outcome] = []
    absent: list[str] = []
    for task, outcome in upstream.items():
        if outcome is not None and outcome.is_by_choice:
            absent += [task] if task in needed else []
        elif outcome is None or outcome.state.is_failure:
            kind = StateType.CRASHED if outcome is None else outcome.state.type
            found.append(Outcome(not_started(task, kind), now if outcome is None else outcome.at, cause=task))
        elif not outcome.state.is_completed:
            state = outcome.state if outcome.cause else not_started(task, outcome.state.type)
            found.append(Outcome(state, outcome.at, cause=outcome.cause or task))
    if absent and not found:
        return Outcome(without(absent[0]), now)
    return min(found, key=lambda each: each.at, default=None)


def on_another_way(task: TaskSpec, upstream: Mapping[str, Outcome | None], now: float) -> Outcome | None:
    """How `task` ends that can't do without an output that another left out, as far as that is known unread."""
    for name, binding in task.inputs.items():
        for each in () if name in (task.optional or ()) else references(binding):
            if type(each) is FromTask and each.path:
                outcome = upstream.get(each.task)
                if outcome is not None and each.path[0] in outcome.absent:
                    return Outcome(skipped(other_way(each.task)), now)
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
