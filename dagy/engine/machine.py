"""The state machine of a run: `step(run, stimulus) -> commands`, the only place where a run changes.

No clock, no I/O, no threads, no user code but the retry conditions: the same stimuli give the same commands. What is
ready is known by counting what each task still waits for, so a whole run costs O(tasks + edges).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import assert_never

from dagy.engine.absence import lack
from dagy.engine.events import (
    AttemptStopped,
    CallHooks,
    CancelAsked,
    Command,
    Deadline,
    Expand,
    Finish,
    FlowDeadline,
    FlowRetryDue,
    GraceOver,
    KeepingFailed,
    MapSized,
    Record,
    RecordRun,
    Release,
    RetryDue,
    RunDeadline,
    RunStarted,
    SetTimer,
    StartAttempt,
    Stimulus,
    StopAttempt,
    TaskRaised,
    TaskReturned,
    TaskSkipped,
    Timer,
    TimerFired,
    WorkerDied,
    new,
)
from dagy.engine.reasons import (
    REUSED,
    SKIPPED_BEFORE,
    fault,
    flow_time_up,
    items_failed,
    no_time,
    not_begun,
    not_started,
    run_end,
    run_time_up,
    some,
    stopped,
    tried_again,
    without,
)
from dagy.errors import StoreError, TaskTimeoutError, sentence
from dagy.program import Program, TaskCode
from dagy.spec import TaskSpec
from dagy.states import (
    State,
    StateType,
    cancelled,
    check_move,
    completed,
    crashed,
    failed,
    pending,
    retrying,
    running,
    skipped,
    timed_out,
)

GRACE_SECONDS = 2.0  # how long what is told to stop may take to do so

_PENDING, _RUNNING, _COMPLETED = pending(), running(), completed()
_IN_DOUBT = pending()  # the state of what may be skipped by choice, once all that it needs has ended


class TaskLine:
    """Where one task of a run stands, or one item of a mapped task."""

    __slots__ = (
        "attempt",
        "code",
        "consumers",
        "downstream",
        "failures",
        "index",
        "items",
        "limit",
        "of",
        "spec",
        "state",
        "upstream",
        "waiting",
    )

    def __init__(self, spec: TaskSpec, code: TaskCode, limit: Limit | None = None, index: int | None = None) -> None:
        self.spec = spec
        self.code = code
        self.limit = limit
        self.index = index  # which item of a mapped task it is
        self.of: TaskLine | None = None  # the mapped task that it is an item of
        self.items: Items | None = None
        self.state: State = _PENDING
        self.attempt = 0  # the number of the newest attempt
        self.failures = 0  # since the run began, or was tried again
        self.waiting = 0  # how many tasks it still waits for
        self.consumers = 0  # how many tasks have not ended that need its value
        self.upstream: list[TaskLine] = []
        self.downstream: list[TaskLine] = []

    @property
    def id(self) -> str:
        """The id of the task, also of an item's."""
        return self.spec.id

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.spec.id if self.index is None else f"{self.spec.id}[{self.index}]"


class Items:
    """The items of a mapped task."""

    __slots__ = ("begun", "count", "failed", "first_fault", "left", "left_out", "lines", "reused", "were_stopped")

    def __init__(self, reused: frozenset[int]) -> None:
        self.reused = reused  # indices whose results are there already
        self.count: int | None = None  # None until its inputs are there
        self.begun = 0  # indices below this one have a line, or need none
        self.left = 0  # how many have not ended
        self.failed: list[int] = []
        self.first_fault = ""  # how the first of them failed
        self.were_stopped = False  # whether some that had begun were
        self.left_out: State | None = None  # of those that there was no time for
        self.lines: dict[int, TaskLine] = {}  # of those that have begun and not ended


class Limit:
    """How many instances of one task may run at once."""

    __slots__ = ("free", "parked")

    def __init__(self, free: int) -> None:
        self.free = free
        self.parked: deque[TaskLine] = deque()  # ready, and waiting for another instance to end


class RunMachine:
    """A run as the state machine sees it. Only `step` changes it; anyone may read it.

    `reused` are the ids of tasks whose results are there already, `reused_items` the same for items of mapped tasks,
    and `skipped_before` those of tasks that were skipped by choice.
    With a `time_limit`, in seconds, whoever steps it says in `seconds_left` what is left of that.
    """

    def __init__(
        self,
        program: Program,
        *,
        max_workers: int,
        fail_fast: bool,
        grace_seconds: float = GRACE_SECONDS,
        time_limit: float | None = None,
        reused: frozenset[str] = frozenset(),
        reused_items: Mapping[str, frozenset[int]] | None = None,
        skipped_before: frozenset[str] = frozenset(),
    ) -> None:
        spec = program.spec
        self.fail_fast = fail_fast
        self.grace_seconds = grace_seconds
        self.time_limit = time_limit
        self.seconds_left = time_limit
        self.options = spec.options
        self.retry = program.retry
        self.state: State = _PENDING
        self.attempt = 1
        self.tasks: dict[str, TaskLine] = {}
        self.unfinished = len(spec.tasks)
        self.free = max_workers  # how many more attempts may run now
        self.busy = 0  # how many attempts run, or wait to be tried again
        self.ready: deque[TaskLine] = deque()
        self.held: list[TaskLine] = []  # failed, and waiting for the run to be tried again
        self.absent: set[TaskLine] = set()  # skipped by choice
        self.stopping: set[TaskLine] = set()  # their attempts were told to stop and have not ended yet
        self.is_ending = False  # nothing new is to be started
        self.cancel_reason: str | None = None
        self.is_out_of_time = False
        self.left_out = ""  # which task there was no time for first, and why
        self.broken: StoreError | None = None
        self.first_failure: str | None = None
        self._begin(program, reused_items or {})
        for states, known in ((REUSED, reused), (SKIPPED_BEFORE, skipped_before)):
            for task_id in known:
                self.tasks[task_id].state = states

    def _begin(self, program: Program, reused_items: Mapping[str, frozenset[int]]) -> None:
        tasks, needs, code_of = self.tasks, program.needs, program.code
        limits: dict[tuple[str, str], Limit] = {}
        for task in program.spec.tasks:
            allowed = task.options.concurrency_limit
            limit = None if allowed is None else limits.setdefault((task.function, task.name), Limit(allowed))
            line = tasks[task.id] = TaskLine(task, code_of[task.id], limit)
            if task.mapped:
                line.items = Items(reused_items.get(task.id, frozenset()))
        for task_id, upstream in needs.items():
            line = tasks[task_id]
            line.waiting = len(upstream)
            for each in upstream:
                other = tasks[each]
                other.downstream.append(line)
                other.consumers += 1
                line.upstream.append(other)
        for task_id in program.result_needs:
            tasks[task_id].consumers += 1

    @property
    def stop_reason(self) -> str:
        """Why what ran was told to stop."""
        if self.cancel_reason is not None:
            return self.cancel_reason
        return stopped(self.first_failure or "")

    def line(self, task: str, item: int | None = None) -> TaskLine | None:
        """The task, or the item of it if that has begun and not ended."""
        line = self.tasks[task]
        if item is None:
            return line
        return line.items.lines.get(item) if line.items is not None else None

    def states(self) -> Mapping[str, State]:
        """The state of each task by id."""
        return {task_id: line.state for task_id, line in self.tasks.items()}


def step(run: RunMachine, stimulus: Stimulus) -> list[Command]:
    """Let `stimulus` happen to `run`; what is to be done about it, in order."""
    out: list[Command] = []
    if type(stimulus) is TaskReturned:  # the one that comes most often
        task, attempt, _, note, item = stimulus
        line = run.tasks[task] if item is None else run.line(task, item)
        if line is not None and line.attempt == attempt and line.state is _RUNNING:
            if run.stopping or line.limit is not None:
                _leave(run, line)
            else:
                run.free += 1
            _finish(run, line, completed(note) if note else _COMPLETED, out)
    else:
        _happen(run, stimulus, out)
    if run.ready and run.free and not run.is_ending:
        _start_ready(run, out)
    if run.held and not run.busy and run.state is _RUNNING:
        _try_again(run, out)
    if not run.unfinished and not run.state.is_final and run.state is not _PENDING:
        run.state = _end_state(run)
        out.append(Finish(run.state))
    return out


def _happen(run: RunMachine, stimulus: Stimulus, out: list[Command]) -> None:
    match stimulus:
        case TaskReturned():
            return
        case TaskRaised(task, attempt, error, chance, item):
            line = _current(run, task, item, attempt)
            if line is not None:
                _leave(run, line)
                _failed(run, line, failed(sentence(error)), error, chance, out)
        case TaskSkipped(task, attempt, reason, item):
            line = _current(run, task, item, attempt)
            if line is not None:
                _leave(run, line)
                _skip(run, line, skipped(reason), out)
        case WorkerDied(task, attempt, death, chance, item):
            line = _current(run, task, item, attempt)
            if line is not None:
                _leave(run, line)
                _failed(run, line, crashed(str(death)), death, chance, out)
        case MapSized(task, length):
            _sized(run, run.tasks[task], length, out)
        case TimerFired(timer, chance):
            _time_is_up(run, timer, chance, out)
        case AttemptStopped(task, attempt, item):
            line = _current(run, task, item, attempt)
            if line is not None:
                _leave(run, line)
                _finish(run, line, cancelled(run.stop_reason), out)
        case CancelAsked(reason):
            _end_early(run, reason, out)
        case KeepingFailed(trouble):
            if run.broken is None and not run.state.is_final:
                run.broken = trouble
                _end_early(run, f"the run can't be recorded any more: {trouble}", out)
        case RunStarted():
            _begin(run, out)
        case _:
            assert_never(stimulus)


# ---- beginning


def _begin(run: RunMachine, out: list[Command]) -> None:
    run.state = _RUNNING
    if run.options.timeout_seconds is not None:
        out.append(SetTimer(FlowDeadline(), run.options.timeout_seconds))
    if run.time_limit is not None:
        out.append(SetTimer(RunDeadline(), run.time_limit))
    if not run.is_ending:  # else somebody was quicker
        run.ready.extend(line for line in run.tasks.values() if not line.waiting and line.state is _PENDING)
    for line in run.tasks.values():
        if line.state is REUSED:
            line.state = _PENDING
            _finish(run, line, REUSED, out)
        elif line.state is SKIPPED_BEFORE:
            line.state = _PENDING
            _skip(run, line, SKIPPED_BEFORE, out)


def _start_ready(run: RunMachine, out: list[Command]) -> None:
    ready = run.ready
    while run.free and ready:
        line = ready.popleft()
        items = line.items
        if items is not None and items.count is None:
            if line.state is _PENDING:
                _begin_mapped(run, line, out)
            continue
        if line.state.is_final:
            continue
        if run.time_limit is not None and _leave_out(run, line, out):
            continue
        limit = line.limit
        if limit is not None:
            if not limit.free:
                limit.parked.append(line)
                continue
            limit.free -= 1
        if items is not None:
            line = _next_item(run, line, items)
        if line.state is _PENDING:
            run.busy += 1
        else:
            check_move(line.name, line.state.type, StateType.RUNNING)
        run.free -= 1
        line.state = _RUNNING
        line.attempt += 1
        spec = line.spec
        out.append(new(StartAttempt, (spec.id, line.attempt, spec.options.timeout_seconds, line.index)))


def _leave_out(run: RunMachine, line: TaskLine, out: list[Command]) -> bool:
    """Whether `line` may take longer than the run has time: then it, or what is left of its items, is not started."""
    seconds, left = line.spec.options.timeout_seconds, run.seconds_left
    if seconds is None or left is None or seconds <= left:
        return False
    state = no_time(seconds, left, again=bool(line.attempt) and line.items is None)
    run.left_out = run.left_out or f"{line.name!r} was {state.message}"
    items = (line.of or line).items
    if items is not None:
        items.left_out = items.left_out or state
    if items is None or line.of is not None:
        _finish(run, line, state, out)
    elif items.lines:  # it ends with those of its items that have begun
        items.left = len(items.lines)
        return True
    else:
        _finish_mapped(run, line, out)
    if line.of is None:
        _skip_downstream(run, line, out)
    return True


def _begin_mapped(run: RunMachine, line: TaskLine, out: list[Command]) -> None:
    """Its inputs are there: let its items be counted."""
    line.state = _RUNNING
    line.attempt = 1
    run.busy += 1
    out.append(Record(line.id, 1, _RUNNING))
    out.append(Expand(line.id))


def _sized(run: RunMachine, line: TaskLine, length: int, out: list[Command]) -> None:
    items = line.items
    if items is None or items.count is not None or line.state is not _RUNNING:
        return
    run.busy -= 1
    items.count = length
    items.reused = frozenset(each for each in items.reused if each < length)
    items.left = length - len(items.reused)
    _skip_reused(items)
    if items.left:
        run.ready.append(line)
    else:
        _finish_mapped(run, line, out)


def _next_item(run: RunMachine, line: TaskLine, items: Items) -> TaskLine:
    item = items.lines[items.begun] = TaskLine(line.spec, line.code, line.limit, items.begun)
    item.of = line
    items.begun += 1
    _skip_reused(items)
    if items.begun < (items.count or 0):
        run.ready.appendleft(line)
    return item


def _skip_reused(items: Items) -> None:
    while items.begun in items.reused:
        items.begun += 1


# ---- what happens to an attempt


def _current(run: RunMachine, task: str, item: int | None, attempt: int) -> TaskLine | None:
    """The line, if that attempt of it is the one that runs now."""
    line = run.line(task, item)
    return line if line is not None and line.attempt == attempt and line.state is _RUNNING else None


def _leave(run: RunMachine, line: TaskLine) -> None:
    """Give back what a running attempt held."""
    if line.items is not None:  # it was only to be counted
        return
    run.free += 1
    if run.stopping:
        run.stopping.discard(line)
    limit = line.limit
    if limit is not None:
        limit.free += 1
        if limit.parked:
            run.ready.appendleft(limit.parked.popleft())


def _finish(
    run: RunMachine, line: TaskLine, state: State, out: list[Command], error: BaseException | None = None
) -> None:
    """The task, or the item, ends in `state`, with all that follows from it."""
    if line.state is not _RUNNING:  # from there any end may come
        check_move(line.spec.id, line.state.type, state.type)
    line.state = state
    attempt = line.attempt
    if attempt and (line.items is None or line.items.count is None):
        run.busy -= 1
    out.append(new(Record, (line.spec.id, attempt, state, error, line.index)))
    hooks = line.code.hooks
    if hooks and attempt and state.type in hooks:
        out.append(CallHooks(line.spec.id, attempt, state, line.index))
    if line.of is not None:
        _item_ended(run, line, line.of, out)
        return
    run.unfinished -= 1
    for each in line.upstream:  # it needs their values no more
        each.consumers -= 1
        if not each.consumers and each.state.type is StateType.COMPLETED:
            out.append(new(Release, (each.spec.id,)))
    if state.type is StateType.COMPLETED:
        if line.downstream and not line.consumers and state is not REUSED:  # they have ended before it did
            out.append(new(Release, (line.spec.id,)))
        for child in line.downstream:
            child.waiting -= 1
            if not child.waiting:
                if child.state is _PENDING:
                    run.ready.append(child)
                elif child.state is _IN_DOUBT:
                    lacking = _decide(run, child)
                    if lacking is not None:
                        _skip(run, child, lacking, out)


def _skip(run: RunMachine, line: TaskLine, state: State, out: list[Command]) -> None:
    """The task, or the item, is skipped by choice, and what can't do without it too, once all else has ended."""
    todo = deque([(line, state)])
    while todo:
        line, state = todo.popleft()
        _finish(run, line, state, out)
        if line.of is not None:
            return
        run.absent.add(line)
        for child in line.downstream:
            child.waiting -= 1
            if child.state is _PENDING:
                child.state = _IN_DOUBT
            if not child.waiting and child.state is _IN_DOUBT:
                lacking = _decide(run, child)
                if lacking is not None:
                    todo.append((child, lacking))


def _decide(run: RunMachine, line: TaskLine) -> State | None:
    """The state in which what was in doubt is to be skipped; None when it is ready instead."""
    cause = lack(line.spec, [each.id for each in line.upstream if each in run.absent])
    if cause is not None:
        return without(cause)
    line.state = _PENDING
    run.ready.append(line)
    return None


def _item_ended(run: RunMachine, item: TaskLine, line: TaskLine, out: list[Command]) -> None:
    items = line.items
    if items is None or item.index is None:
        return
    del items.lines[item.index]
    items.left -= 1
    if item.state.is_failure:
        items.failed.append(item.index)
        items.first_fault = items.first_fault or fault(item.name, item.state)
    elif item.state.type is StateType.CANCELLED:
        items.were_stopped = True
    if run.is_ending and not items.lines:
        items.left = 0
    if not items.left and line.state is _RUNNING:
        _finish_mapped(run, line, out)


def _finish_mapped(run: RunMachine, line: TaskLine, out: list[Command]) -> None:
    items = line.items
    if items is None:
        return
    if items.failed:
        _finish(run, line, items_failed(len(items.failed), items.count or 0, items.first_fault), out)
        _skip_downstream(run, line, out)
    elif items.left_out is not None and run.cancel_reason is None:
        _finish(run, line, items.left_out, out)
        _skip_downstream(run, line, out)
    elif items.were_stopped or items.begun < (items.count or 0):
        _finish(run, line, cancelled(run.stop_reason), out)
    else:
        _finish(run, line, _COMPLETED, out)


def _failed(
    run: RunMachine, line: TaskLine, state: State, error: BaseException, chance: float, out: list[Command]
) -> None:
    """An attempt failed: try again, or let the task end in `state` and draw the consequences."""
    if line.items is not None:  # its items could not even be counted
        _finish_failed(run, line, state, error, out)
        return
    line.failures += 1
    delay = None if run.is_ending else line.code.retry.decide(line.failures, error, chance)
    waits_for_run = delay is None and not run.is_ending and _is_worth_another_run(run, error)
    if delay is None and not waits_for_run:
        _finish_failed(run, line, state, error, out)
        return
    again = (
        retrying(f"{state.message}; waits for the flow to be tried again")
        if delay is None
        else tried_again(state, line.failures, line.code.retry.retries)
    )
    check_move(line.name, line.state.type, again.type)
    line.state = again
    out.append(Record(line.id, line.attempt, again, error, line.index))
    if StateType.RETRYING in line.code.hooks:
        out.append(CallHooks(line.id, line.attempt, again, line.index))
    if delay is None:
        run.busy -= 1
        run.held.append(line)
    elif delay:
        out.append(SetTimer(RetryDue(line.id, line.attempt, line.index), delay))
    else:
        run.ready.append(line)


def _finish_failed(run: RunMachine, line: TaskLine, state: State, error: BaseException, out: list[Command]) -> None:
    if run.first_failure is None:
        run.first_failure = line.name
        run.is_ending = run.is_ending or run.fail_fast
    _finish(run, line, state, out, error)
    if line.of is None:
        _skip_downstream(run, line, out)
    if run.fail_fast and run.first_failure == line.name and run.cancel_reason is None:
        _stop_all(run, out)


def _skip_downstream(run: RunMachine, cause: TaskLine, out: list[Command]) -> None:
    """Skip all that needs `cause`, directly or not."""
    state = not_started(cause.id, cause.state.type)
    todo = deque(cause.downstream)
    while todo:
        line = todo.popleft()
        if not line.state.is_final:
            _finish(run, line, state, out)
            todo.extend(line.downstream)


# ---- trying the whole run again


def _is_worth_another_run(run: RunMachine, error: BaseException) -> bool:
    return run.attempt <= run.retry.retries and isinstance(error, Exception)


def _try_again(run: RunMachine, out: list[Command]) -> None:
    """All that could go on has ended, and something failed: try that again, after a while."""
    names = some([line.name for line in run.held])
    delay = run.retry.wait(run.attempt, 0.0)
    run.state = retrying(f"attempt {run.attempt} of {run.retry.retries + 1}: {names} failed")
    out.append(RecordRun(run.state))
    run.attempt += 1
    if delay:
        out.append(SetTimer(FlowRetryDue(), delay))
    else:
        _begin_again(run, out)


def _begin_again(run: RunMachine, out: list[Command]) -> None:
    run.state = _RUNNING
    out.append(RecordRun(_RUNNING))
    for line in run.held:
        line.failures = 0
        run.busy += 1
    run.ready.extend(run.held)
    run.held.clear()
    _start_ready(run, out)


# ---- time, and the end


def _time_is_up(run: RunMachine, timer: Timer, chance: float, out: list[Command]) -> None:
    match timer:
        case Deadline(task, attempt, item):
            line = _current(run, task, item, attempt)
            if line is not None:
                if line not in run.stopping:
                    out.append(StopAttempt(task, attempt, item))
                _leave(run, line)
                seconds = line.spec.options.timeout_seconds
                message = f"ran out of time after {seconds:g} s"
                _failed(run, line, timed_out(message), TaskTimeoutError(message), chance, out)
        case RetryDue(task, attempt, item):
            waiting = run.line(task, item)
            if waiting is not None and waiting.state.type is StateType.RETRYING and waiting.attempt == attempt:
                run.ready.append(waiting)
        case FlowDeadline():
            if not run.state.is_final and run.cancel_reason is None:
                run.is_out_of_time = True
                _end_early(run, flow_time_up(run.options.timeout_seconds or 0.0), out)
        case RunDeadline():
            if not run.state.is_final and run.cancel_reason is None:
                run.is_out_of_time = True
                _end_early(run, run_time_up(run.time_limit or 0.0), out)
        case FlowRetryDue():
            if run.held and not run.is_ending:
                _begin_again(run, out)
        case GraceOver():
            for line in sorted(run.stopping, key=lambda each: (each.id, each.index or 0)):
                _leave(run, line)
                _finish(run, line, cancelled(f"{run.stop_reason}; it did not stop in time"), out)
        case _:
            assert_never(timer)


def _end_early(run: RunMachine, reason: str, out: list[Command]) -> None:
    if not run.state.is_final and run.cancel_reason is None:
        run.cancel_reason = reason
        if not run.is_ending:
            run.is_ending = True
            _stop_all(run, out)


def _stop_all(run: RunMachine, out: list[Command]) -> None:
    """Start nothing more, and tell what runs to stop."""
    reason, first = run.cancel_reason, run.first_failure or ""
    never = not_begun(first) if reason is None else cancelled(reason)
    not_again = not_begun(first, again=True) if reason is None else cancelled(reason)
    run.ready.clear()
    run.busy += len(run.held)
    run.held.clear()
    for line in _lines(run):
        if line.state is _RUNNING and line.items is None:
            run.stopping.add(line)
            out.append(StopAttempt(line.id, line.attempt, line.index))
        elif line.items is not None and line.items.lines:
            continue  # it ends with its items
        elif not line.state.is_final:
            _finish(run, line, not_again if line.attempt else never, out)
    if run.stopping:
        out.append(SetTimer(GraceOver(), run.grace_seconds))


def _lines(run: RunMachine) -> Iterator[TaskLine]:
    for line in run.tasks.values():
        if line.items is not None:
            yield from list(line.items.lines.values())
        yield line


def _end_state(run: RunMachine) -> State:
    if run.broken is not None:
        return failed(f"the run can't be recorded any more: {run.broken}")
    return run_end(
        run.states(), cancel_reason=run.cancel_reason, is_out_of_time=run.is_out_of_time, left_out=run.left_out
    )
