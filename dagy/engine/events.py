"""What can happen to a run, what to do about it, and what its readers are told. All frozen values.

Three closed sets. A *stimulus* goes into the state machine, *commands* come out of it. The driver performs the commands
and turns the ones that record into *events*: the one ordered stream that views, hooks, history and tests read.
They are named tuples because a run makes several for each task, and nothing frozen is cheaper to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from dagy.states import State

# ---- stimuli: what can happen


class RunStarted(NamedTuple):
    """The run may begin."""


class TaskReturned(NamedTuple):
    """An attempt of a task returned `value`."""

    task: str
    attempt: int
    value: object


class TaskRaised(NamedTuple):
    """An attempt of a task raised `error`. `chance`, uniform in [0, 1), is for the jitter of a retry."""

    task: str
    attempt: int
    error: BaseException
    chance: float


class AttemptStopped(NamedTuple):
    """An attempt that was told to stop has ended."""

    task: str
    attempt: int


class TimerFired(NamedTuple):
    """The time that a `SetTimer` asked for has passed."""

    timer: Timer
    chance: float


class CancelAsked(NamedTuple):
    """Somebody wants the run to end; `reason` is a sentence for people."""

    reason: str


Stimulus: TypeAlias = RunStarted | TaskReturned | TaskRaised | AttemptStopped | TimerFired | CancelAsked

# ---- commands: what to do about it


class Deadline(NamedTuple):
    """The attempt has used up its time."""

    task: str
    attempt: int


class RetryDue(NamedTuple):
    """The task has waited long enough since the attempt failed."""

    task: str
    attempt: int


class GraceOver(NamedTuple):
    """What was told to stop has had its time to do so."""


Timer: TypeAlias = Deadline | RetryDue | GraceOver


class StartAttempt(NamedTuple):
    """Run the task's code."""

    task: str
    attempt: int


class StopAttempt(NamedTuple):
    """Make the attempt end, as far as its worker can."""

    task: str
    attempt: int


class SetTimer(NamedTuple):
    """Feed back `TimerFired(timer)` in so many seconds."""

    timer: Timer
    seconds: float


class Record(NamedTuple):
    """The task is in a new state. `error` is what its last attempt raised, if it did."""

    task: str
    attempt: int
    state: State
    error: BaseException | None = None


class CallHooks(NamedTuple):
    """Call the task's hooks for this state."""

    task: str
    attempt: int
    state: State


class Finish(NamedTuple):
    """The run has ended in this state."""

    state: State


Command: TypeAlias = StartAttempt | StopAttempt | SetTimer | Record | CallHooks | Finish

# ---- events: what readers are told; `seq` counts from 0 without gaps, `at` is nanoseconds since the epoch


class RunChanged(NamedTuple):
    """The run is in a new state."""

    seq: int
    at: int
    state: State
    kind: Literal["run"] = "run"


class TaskChanged(NamedTuple):
    """A task is in a new state; `attempt` counts from 1, and is 0 for a task that never started."""

    seq: int
    at: int
    task: str
    attempt: int
    state: State
    kind: Literal["task"] = "task"


class TaskWrote(NamedTuple):
    """A task wrote text. `stream` is "stdout", "stderr" or "log"; `dropped` counts older characters no longer kept."""

    seq: int
    at: int
    task: str
    attempt: int
    stream: str
    text: str
    dropped: int = 0
    kind: Literal["output"] = "output"


class TaskShowed(NamedTuple):
    """A task displayed something: `data` is a MIME bundle, as Jupyter has it."""

    seq: int
    at: int
    task: str
    attempt: int
    data: Mapping[str, object]
    metadata: Mapping[str, object]
    kind: Literal["display"] = "display"


class HookFailed(NamedTuple):
    """A hook raised; `task` is None for a flow's hook."""

    seq: int
    at: int
    task: str | None
    hook: str
    error: BaseException
    kind: Literal["hook"] = "hook"


Event: TypeAlias = RunChanged | TaskChanged | TaskWrote | TaskShowed | HookFailed
