"""What can happen to a run, what to do about it, and what its readers are told. All frozen values.

Three closed sets. A *stimulus* goes into the state machine, *commands* come out of it. The driver performs the commands
and turns the ones that record into *events*: the one ordered stream that views, hooks, history and tests read.
Where something can be about one item of a mapped task, `item` says which, from 0; elsewhere it is None.
They are named tuples because a run makes several for each task, and nothing frozen is cheaper to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from dagy.errors import StoreError, WorkerDiedError
from dagy.states import State

# `new(TaskChanged, (...))` is `TaskChanged(...)` in a quarter of the time, with all fields given and in order: for the
# few places that a task that does nothing passes through.
new = tuple.__new__

# ---- stimuli: what can happen


class RunStarted(NamedTuple):
    """The run may begin."""


class MapSized(NamedTuple):
    """The mapped task `task` has so many items."""

    task: str
    length: int


class TaskReturned(NamedTuple):
    """An attempt of a task, or of one item of a mapped task, returned `value`; `note` says how, if not by running."""

    task: str
    attempt: int
    value: object
    note: str = ""
    item: int | None = None


class TaskSkipped(NamedTuple):
    """An attempt ended itself because there is nothing for it to do; `reason` is a sentence for people, or empty."""

    task: str
    attempt: int
    reason: str
    item: int | None = None


class TaskRaised(NamedTuple):
    """An attempt raised `error`. `chance`, uniform in [0, 1), is for the jitter of a retry."""

    task: str
    attempt: int
    error: BaseException
    chance: float
    item: int | None = None


class WorkerDied(NamedTuple):
    """The process that ran an attempt died by itself."""

    task: str
    attempt: int
    error: WorkerDiedError
    chance: float
    item: int | None = None


class AttemptStopped(NamedTuple):
    """An attempt that was told to stop has ended."""

    task: str
    attempt: int
    item: int | None = None


class TimerFired(NamedTuple):
    """The time that a `SetTimer` asked for has passed."""

    timer: Timer
    chance: float


class CancelAsked(NamedTuple):
    """Somebody wants the run to end; `reason` is a sentence for people."""

    reason: str


class KeepingFailed(NamedTuple):
    """What lasts of the run can't be kept any more, so the run must not go on."""

    error: StoreError


Stimulus: TypeAlias = (
    RunStarted
    | MapSized
    | TaskReturned
    | TaskSkipped
    | TaskRaised
    | WorkerDied
    | AttemptStopped
    | TimerFired
    | CancelAsked
    | KeepingFailed
)

# ---- commands: what to do about it


class Deadline(NamedTuple):
    """The attempt has used up its time."""

    task: str
    attempt: int
    item: int | None = None


class RetryDue(NamedTuple):
    """The task has waited long enough since the attempt failed."""

    task: str
    attempt: int
    item: int | None = None


class FlowDeadline(NamedTuple):
    """The run has used up its time."""


class RunDeadline(NamedTuple):
    """The time that the run's surroundings gave it is up."""


class FlowRetryDue(NamedTuple):
    """The run has waited long enough since it failed."""


class GraceOver(NamedTuple):
    """What was told to stop has had its time to do so."""


Timer: TypeAlias = Deadline | RetryDue | FlowDeadline | RunDeadline | FlowRetryDue | GraceOver


class StartAttempt(NamedTuple):
    """The task, or the item of a mapped task, is RUNNING: run its code, for at most `seconds`."""

    task: str
    attempt: int
    seconds: float | None = None
    item: int | None = None


class Expand(NamedTuple):
    """The mapped task is RUNNING: find out how many items it has."""

    task: str


class StopAttempt(NamedTuple):
    """Make the attempt end, as far as its worker can."""

    task: str
    attempt: int
    item: int | None = None


class SetTimer(NamedTuple):
    """Feed back `TimerFired(timer)` in so many seconds."""

    timer: Timer
    seconds: float


class Record(NamedTuple):
    """The task, or the item, is in a new state. `error` is what its last attempt raised, if it did."""

    task: str
    attempt: int
    state: State
    error: BaseException | None = None
    item: int | None = None


class RecordRun(NamedTuple):
    """The run is in a new state, and will go on."""

    state: State


class CallHooks(NamedTuple):
    """Call the task's hooks for this state."""

    task: str
    attempt: int
    state: State
    item: int | None = None


class Release(NamedTuple):
    """No task will need the value of this one any more."""

    task: str


class Finish(NamedTuple):
    """The run has ended in this state."""

    state: State


Command: TypeAlias = StartAttempt | Expand | StopAttempt | SetTimer | Record | RecordRun | CallHooks | Release | Finish

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


class ItemChanged(NamedTuple):
    """One item of a mapped task is in a new state; `item` counts from 0."""

    seq: int
    at: int
    task: str
    item: int
    attempt: int
    state: State
    kind: Literal["item"] = "item"


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


Event: TypeAlias = RunChanged | TaskChanged | ItemChanged | TaskWrote | TaskShowed | HookFailed
