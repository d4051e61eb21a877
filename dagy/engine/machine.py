"""The state machine of a run: `step(run, stimulus) -> commands`, the only place where a run changes.

No clock, no I/O, no threads, no user code but the retry conditions: the same stimuli give the same commands. What is
ready is known by counting what each task still waits for, so a whole run costs O(tasks + edges).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import assert_never

from dagy.engine.events import (
    AttemptStopped,
    CallHooks,
    CancelAsked,
    Command,
    Deadline,
    Finish,
    GraceOver,
    Record,
    RetryDue,
    RunStarted,
    SetTimer,
    StartAttempt,
    Stimulus,
    StopAttempt,
    TaskRaised,
    TaskReturned,
    Timer,
    TimerFired,
)
from dagy.errors import TaskTimeoutError, sentence
from dagy.hooks import Hooks
from dagy.program import Program
from dagy.retry import RetryPolicy
from dagy.spec import TaskSpec
from dagy.states import State, StateType, cancelled, check_move, completed, failed, pending, retrying, running, skipped

GRACE_SECONDS = 1.0  # how long a run that is stopped waits for what it told to stop

_PENDING, _RUNNING, _COMPLETED = pending(), running(), completed()


class TaskLine:
    """Where one task of a run stands."""

    __slots__ = (
        "attempt",
        "downstream",
        "failures",
        "hooks",
        "id",
        "limit",
        "name",
        "options",
        "retry",
        "state",
        "waiting",
    )

    def __init__(self, task: TaskSpec, retry: RetryPolicy, hooks: Hooks) -> None:
        self.id = task.id
        self.name = task.name
        self.options = task.options
        self.retry = retry
        self.hooks = hooks
        self.state: State = _PENDING
        self.attempt = 0  # the number of the newest attempt
        self.failures = 0
        self.waiting = 0  # how many tasks it still waits for
        self.downstream: list[TaskLine] = []
        self.limit: Limit | None = None


class Limit:
    """How many instances of one task may run at once."""

    __slots__ = ("free", "parked")

    def __init__(self, free: int) -> None:
        self.free = free
        self.parked: deque[TaskLine] = deque()  # ready, and waiting for another instance to end


class RunMachine:
    """A run as the state machine sees it. Only `step` changes it; anyone may read it."""

    def __init__(self, program: Program, *, max_workers: int, fail_fast: bool) -> None:
        self.flow_name = program.spec.name
        self.fail_fast = fail_fast
        self.state: State = _PENDING
        self.tasks: dict[str, TaskLine] = {}
        self.unfinished = len(program.spec.tasks)
        self.free = max_workers  # how many more attempts may run now
        self.ready: deque[TaskLine] = deque()
        self.stopping: set[str] = set()  # ids whose attempt was told to stop and has not ended yet
        self.cancel_reason: str | None = None
        self.first_failure: str | None = None
        limits: dict[tuple[str, str], Limit] = {}
        for task in program.spec.tasks:
            code = program.code[task.id]
            line = self.tasks[task.id] = TaskLine(task, code.retry, code.hooks)
            allowed = task.options.concurrency_limit
            if allowed is not None:
                line.limit = limits.setdefault((task.function, task.name), Limit(allowed))
        for task in program.spec.tasks:
            line = self.tasks[task.id]
            needs = task.needs
            line.waiting = len(needs)
            for each in needs:
                self.tasks[each].downstream.append(line)

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is to be started."""
        return self.cancel_reason is not None or (self.fail_fast and self.first_failure is not None)

    @property
    def stop_reason(self) -> str:
        """Why what ran was told to stop."""
        return self.cancel_reason or f"stopped because {self.first_failure!r} failed"

    def states(self) -> Mapping[str, State]:
        """The state of each task by id."""
        return {task_id: line.state for task_id, line in self.tasks.items()}


def step(run: RunMachine, stimulus: Stimulus) -> list[Command]:
    """Let `stimulus` happen to `run`; what is to be done about it, in order."""
    out: list[Command] = []
    match stimulus:
        case TaskReturned(task, attempt):
            line = run.tasks[task]
            if _is_current(line, attempt):
                _leave(run, line)
                _finish_task(run, line, _COMPLETED, out)
                for child in line.downstream:
                    child.waiting -= 1
                    if not child.waiting and child.state is _PENDING:
                        run.ready.append(child)
        case TaskRaised(task, attempt, error, chance):
            line = run.tasks[task]
            if _is_current(line, attempt):
                _leave(run, line)
                _failed(run, line, failed(sentence(error)), error, chance, out)
        case TimerFired(timer, chance):
            _time_is_up(run, timer, chance, out)
        case AttemptStopped(task, attempt):
            line = run.tasks[task]
            if _is_current(line, attempt):
                _leave(run, line)
                _finish_task(run, line, cancelled(run.stop_reason), out)
        case CancelAsked(reason):
            if not run.state.is_final and run.cancel_reason is None:
                run.cancel_reason = reason
                _stop_all(run, reason, out)
        case RunStarted():
            run.state = _RUNNING
            run.ready.extend(line for line in run.tasks.values() if not line.waiting)
        case _:
            assert_never(stimulus)
    if run.ready and not run.is_ending:
        _start_ready(run, out)
    if not run.unfinished and not run.state.is_final and run.state is not _PENDING:
        run.state = _end_state(run)
        out.append(Finish(run.state))
    return out


def _time_is_up(run: RunMachine, timer: Timer, chance: float, out: list[Command]) -> None:
    match timer:
        case Deadline(task, attempt):
            line = run.tasks[task]
            if _is_current(line, attempt):
                _leave(run, line)
                out.append(StopAttempt(task, attempt))
                seconds = line.options.timeout_seconds
                message = f"ran out of time after {seconds:g} s"
                _failed(run, line, State(StateType.TIMED_OUT, message), TaskTimeoutError(message), chance, out)
        case RetryDue(task, attempt):
            line = run.tasks[task]
            if line.state.type is StateType.RETRYING and line.attempt == attempt:
                run.ready.append(line)
        case GraceOver():
            for task in sorted(run.stopping):
                line = run.tasks[task]
                _leave(run, line)
                message = f"{run.stop_reason}; it did not stop in time"
                _finish_task(run, line, cancelled(message), out)
        case _:
            assert_never(timer)


def _is_current(line: TaskLine, attempt: int) -> bool:
    return line.attempt == attempt and line.state is _RUNNING


def _move(line: TaskLine, state: State) -> None:
    check_move(line.id, line.state.type, state.type)
    line.state = state


def _leave(run: RunMachine, line: TaskLine) -> None:
    """Give back what a running attempt held."""
    run.free += 1
    if run.stopping:
        run.stopping.discard(line.id)
    limit = line.limit
    if limit is not None:
        limit.free += 1
        if limit.parked:
            run.ready.appendleft(limit.parked.popleft())


def _start_ready(run: RunMachine, out: list[Command]) -> None:
    ready = run.ready
    while run.free and ready:
        line = ready.popleft()
        if line.state.is_final:
            continue
        limit = line.limit
        if limit is not None:
            if not limit.free:
                limit.parked.append(line)
                continue
            limit.free -= 1
        run.free -= 1
        line.attempt += 1
        _move(line, _RUNNING)
        out.append(Record(line.id, line.attempt, _RUNNING))
        out.append(StartAttempt(line.id, line.attempt))
        seconds = line.options.timeout_seconds
        if seconds is not None:
            out.append(SetTimer(Deadline(line.id, line.attempt), seconds))


def _finish_task(
    run: RunMachine, line: TaskLine, state: State, out: list[Command], error: BaseException | None = None
) -> None:
    _move(line, state)
    run.unfinished -= 1
    out.append(Record(line.id, line.attempt, state, error))
    if state.type in line.hooks:
        out.append(CallHooks(line.id, line.attempt, state))


def _failed(
    run: RunMachine, line: TaskLine, state: State, error: BaseException, chance: float, out: list[Command]
) -> None:
    """An attempt failed: try again, or let the task end in `state` and draw the consequences."""
    line.failures += 1
    delay = None if run.is_ending else line.retry.decide(line.failures, error, chance)
    if delay is not None:
        message = f"attempt {line.attempt} of {line.retry.retries + 1}: {state.message}"
        again = retrying(message)
        _move(line, again)
        out.append(Record(line.id, line.attempt, again, error))
        if StateType.RETRYING in line.hooks:
            out.append(CallHooks(line.id, line.attempt, again))
        if delay:
            out.append(SetTimer(RetryDue(line.id, line.attempt), delay))
        else:
            run.ready.append(line)
        return
    _finish_task(run, line, state, out, error)
    _skip_downstream(run, line, out)
    if run.first_failure is None:
        run.first_failure = line.id
        if run.fail_fast and run.cancel_reason is None:
            _stop_all(run, f"not started, because {line.id!r} failed", out)


def _skip_downstream(run: RunMachine, cause: TaskLine, out: list[Command]) -> None:
    """Skip all that needs `cause`, directly or not."""
    state = skipped(f"not started, because {cause.id!r} {_ENDED[cause.state.type]}")
    todo = deque(cause.downstream)
    while todo:
        line = todo.popleft()
        if not line.state.is_final:
            _finish_task(run, line, state, out)
            todo.extend(line.downstream)


_ENDED = {StateType.FAILED: "failed", StateType.TIMED_OUT: "timed out", StateType.CRASHED: "crashed"}


def _stop_all(run: RunMachine, reason: str, out: list[Command]) -> None:
    """Start nothing more, and tell what runs to stop."""
    run.ready.clear()
    for line in run.tasks.values():
        if line.state is _RUNNING:
            run.stopping.add(line.id)
            out.append(StopAttempt(line.id, line.attempt))
        elif not line.state.is_final:
            _finish_task(run, line, cancelled(reason), out)
    if run.stopping:
        out.append(SetTimer(GraceOver(), GRACE_SECONDS))


def _end_state(run: RunMachine) -> State:
    ends: dict[StateType, list[str]] = {}
    for line in run.tasks.values():
        ends.setdefault(line.state.type, []).append(line.id)
    bad = [task for kind in _ENDED for task in ends.get(kind, ())]
    if run.cancel_reason is not None and (bad or StateType.CANCELLED in ends):
        return cancelled(run.cancel_reason)
    if not bad:
        return _COMPLETED
    names = ", ".join(map(repr, bad[:3])) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    return failed(f"{len(bad)} of {len(run.tasks)} tasks failed: {names}")
