"""A run that goes on elsewhere, in another process or on another machine, followed by the events that it records.

A `FollowedRun` looks like any other run. What it learns comes from a `RunSource`: a history and the process that writes
it, or a control plane. A thread asks the source again and again until the run is over, and folds what it hears.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dagy.engine import Event, ItemChanged, RunChanged, RunResult, TaskChanged, TaskRun, TaskWrote, Terminal
from dagy.engine.result import TaskRuns
from dagy.errors import (
    DagyError,
    NetworkError,
    TaskTimeoutError,
    TravelError,
    UnknownTaskError,
    WorkerDiedError,
    sentence,
)
from dagy.program import flow_result
from dagy.runs.event_json import event_from_json
from dagy.runs.history import History
from dagy.runs.recorded_error import RecordedError
from dagy.spec import FlowSpec, Json
from dagy.states import State, StateType, cancelled, crashed
from dagy.values import ABSENT, Deferred

POLL_SECONDS = 0.1  # between two looks at a control plane
LONGEST_POLL_SECONDS = 5.0  # while it can't be reached


class Unreadable:
    """Stands where a value of another process is that can't be read in this one; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<can't be read here: {self.reason}>"


@dataclass(frozen=True, slots=True)
class RaisedError:
    """What an attempt raised, as it travelled."""

    task: str
    attempt: int
    error: BaseException


class RunSource(Protocol):
    """Where it can be learnt how a run goes. One thread asks, but for `cancel` and `reading`. All raise `DagyError`.

    Errors and results are asked for after the events that speak of them.
    """

    def is_over(self) -> bool:
        """Whether the run has ended, and all about it can be learnt; waits for a moment before it says no."""

    def events(self, since: int) -> Sequence[Event]:
        """Events from number `since` on; none when there are no more for now."""

    def errors(self) -> Sequence[RaisedError]:
        """What attempts raised so far, as far as that is known, in order."""

    def results(self) -> Mapping[str, Deferred]:
        """What tasks returned so far, as far as that can be read here, by the task's id."""

    def parameters(self) -> Mapping[str, Deferred]:
        """What the run was given, as far as that is known by now; what the run began with says the rest."""

    def value(self) -> Deferred | None:
        """What the flow returned, once it has completed; None where that is to be put together from the results."""

    def end(self, recorded: State | None) -> State | None:
        """How the run ended, if `recorded` is what its events say; None when nothing is known of it."""

    def error(self, state: State) -> BaseException | None:
        """Why the run ended in `state`, where that is not because of a task."""

    def cancel(self, reason: str) -> None:
        """Let the run be cancelled; returns at once. It may have ended."""

    def reading(self) -> contextlib.AbstractContextManager[object]:
        """Held while a result is read."""

    def close(self) -> None:
        """The run is over, and nothing more is asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands, as whoever keeps it says."""

    state: State
    has_result: bool = False  # whether `result` is what the flow returned
    result: Json = None


def follow_events(
    run_id: str,
    spec: FlowSpec,
    parameters: Mapping[str, Any],
    *,
    events: Callable[[int], Sequence[Mapping[str, Json]]],
    standing: Callable[[], Standing],
    cancel: Callable[[str], object],
    results: Callable[[], Mapping[str, Deferred]] = dict,
    local_dir: Path | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> FollowedRun:
    """The run as `events` and `standing` tell of it, from now on until it has ended.

    `events` gives those from a number on, as JSON (see `event_json`), `standing` how the run stands. What tasks
    returned is read from the history in `local_dir`, when the run was recorded there; else `results` is asked for it
    once the run has ended, and what that has not got is `Unreadable`.
    While the two raise `NetworkError` they are asked again, ever less often; any other `DagyError` ends the following,
    not the run.
    """
    source = _Told(run_id, events, standing, cancel, results, local_dir, poll_seconds)
    return FollowedRun(source, run_id, spec, parameters, state=State(StateType.QUEUED))


class FollowedRun:
    """A run elsewhere, with what `RunHandle` offers. All its methods may be called from any thread."""

    def __init__(
        self,
        source: RunSource,
        run_id: str,
        spec: FlowSpec,
        parameters: Mapping[str, Any],
        *,
        state: State = State(StateType.RUNNING),  # noqa: B008 (a frozen value)
    ) -> None:
        """`parameters` are those that are known at once, `state` is what the run is in until its events say more."""
        self._source = source
        self._run_id = run_id
        self._spec = spec
        self._parameters = dict(parameters)  # those of the run; at its end all of them
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._errors: Sequence[RaisedError] = ()
        self._results: Mapping[str, Deferred] = {}
        self._tasks = {task.id: _Task(task.id, task.name, is_mapped=bool(task.mapped)) for task in spec.tasks}
        self._state = state
        self._result: RunResult | None = None
        self._on_done: list[Callable[[], object]] = []
        threading.Thread(target=self._follow, name=f"dagy-{run_id}-following", daemon=True).start()

    @property
    def run_id(self) -> str:
        """What names the run."""
        return self._run_id

    @property
    def spec(self) -> FlowSpec:
        """The flow that runs."""
        return self._spec

    @property
    def state(self) -> State:
        """The state of the run now."""
        return self._state if self._result is None else self._result.state

    @property
    def status(self) -> StateType:
        """The type of the state of the run now."""
        return self.state.type

    @property
    def done(self) -> bool:
        """Whether the run has ended, and all about it is known."""
        return self._result is not None

    def states(self) -> Mapping[str, State]:
        """The state of each task now, by id."""
        with self._changed:
            return {task_id: task.state for task_id, task in self._tasks.items()}

    def task_run(self, task_id: str) -> TaskRun:
        """Where the task stands now, without its output; `UnknownTaskError` when there is none of that id.

        Its value is `Unreadable` where this process can't read it.
        """
        if task_id not in self._tasks:
            raise UnknownTaskError(task_id, self._tasks, where=f"flow {self._spec.name!r}")
        return self._task_run(task_id, "")

    def cancel(self, reason: str = "cancelled") -> None:
        """Start nothing more and stop what runs; returns at once. Of a run that has ended, nothing."""
        if self._result is None:
            self._source.cancel(reason)

    def wait(self, timeout: float | None = None) -> RunResult:
        """The result, once the run has ended, however it did. `TimeoutError` after `timeout` seconds without an end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._result is not None, timeout):
                raise TimeoutError(f"run {self._run_id!r} has not ended within {timeout:g} s")
        assert self._result is not None
        return self._result

    def events(self, *, since: int = 0, follow: bool = True) -> Iterator[Event]:
        """The run's events from number `since` on, in order; with `follow` until the run has ended."""
        if not follow:
            with self._changed:
                return iter(self._events[since:])
        return self._followed_events(since)

    def _followed_events(self, since: int) -> Iterator[Event]:
        while True:
            with self._changed:
                while len(self._events) <= since and self._result is None:
                    self._changed.wait()
                batch = self._events[since:]
            if not batch:
                return
            yield from batch
            since += len(batch)

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._wait_in_loop().__await__()

    async def _wait_in_loop(self) -> RunResult:
        import asyncio

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        with self._changed:
            if self._result is None:
                self._on_done.append(wake)
            else:
                ended.set()
        await ended.wait()
        return self.wait()

    def __getitem__(self, task: str) -> Any:
        """What the task returned, once the run has ended; `TravelError` when it can't be read in this process."""
        value = self.wait()[task]
        if isinstance(value, Unreadable):
            raise TravelError(f"the result of task {task!r} can't be read here: {value.reason}")
        return value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._run_id} {self.state}>"

    # ---- what the thread does

    def _follow(self) -> None:
        """Take in what the source has until the run is over, and see to its end."""
        trouble: DagyError | None = None
        try:
            is_over = False
            while not is_over:
                is_over = self._source.is_over()  # asked first: what comes after it is all there is
                while self._read():
                    pass
        except DagyError as error:  # it can't be followed
            trouble = error
        finally:
            self._end(trouble)

    def _read(self) -> bool:
        """Take in what has happened since the last time, if something has: errors and results before their events."""
        events = self._source.events(len(self._events))
        if not events:
            return False
        has_errors = any(isinstance(each, TaskChanged | ItemChanged) and not _is_fine(each.state) for each in events)
        errors = self._source.errors() if has_errors else self._errors
        has_results = any(isinstance(each, TaskChanged) and each.state.is_completed for each in events)
        results = self._source.results() if has_results else self._results
        with self._changed:
            self._errors, self._results = errors, results
            for event in events:
                self._events.append(self._taken_in(event))
            self._changed.notify_all()
        return True

    def _taken_in(self, event: Event) -> Event:
        match event:
            case TaskChanged() | ItemChanged():
                self._tasks[event.task].change(event)
            case TaskWrote():
                self._tasks[event.task].output.append(event)
            case RunChanged():
                event = event._replace(state=self._source.end(event.state) or event.state)
                if not event.state.is_final:  # that it has ended is told once everything about it is known
                    self._state = event.state
            case _:
                pass
        return event

    def _end(self, trouble: DagyError | None) -> None:
        with self._changed:
            ended = next((each for each in reversed(self._events) if isinstance(each, RunChanged)), None)
            if ended is None or not ended.state.is_final:
                ended = self._add_end(trouble)
        with contextlib.suppress(DagyError):
            recorded = self._source.parameters()
            known = self._parameters
            self._parameters |= {name: self._value(each) for name, each in recorded.items() if name not in known}
            self._results = self._results or self._source.results()
        result = self._made_result(ended, trouble)
        with contextlib.suppress(DagyError):
            self._source.close()
        with self._changed:
            self._result = result
            self._changed.notify_all()
            callbacks, self._on_done = self._on_done, []
        for callback in callbacks:
            callback()

    def _add_end(self, trouble: DagyError | None) -> RunChanged:
        """The end that nobody recorded, of the run and of all its tasks."""
        state = None
        if trouble is None:
            with contextlib.suppress(DagyError):
                state = self._source.end(None)
        if state is None:
            words = "nothing is known of its end" if trouble is None else f"it can't be followed: {trouble}"
            state = crashed(words)
        at = max([time.time_ns(), *(each.at for each in self._events[-1:])])
        for task in self._tasks.values():
            if not task.state.is_final:
                is_lost = bool(task.attempt) and state.type is not StateType.CANCELLED
                last = crashed("nothing is known of its end") if is_lost else cancelled(state.message)
                told = TaskChanged(len(self._events), at, task.id, task.attempt, last)
                task.change(told)
                self._events.append(told)
        ended = RunChanged(len(self._events), at, state)
        self._events.append(ended)
        return ended

    def _made_result(self, ended: RunChanged, trouble: DagyError | None) -> RunResult:
        is_of_a_task = any(each.state.is_failure for each in self._tasks.values())
        is_crashed = ended.state.type is StateType.CRASHED
        error: BaseException | None = trouble
        if trouble is None and ended.state.is_failure and (is_crashed or not is_of_a_task):
            error = self._source.error(ended.state)
        return RunResult(
            run_id=self._run_id,
            spec=self._spec,
            state=ended.state,
            value=self._returned() if ended.state.is_completed else None,
            task_runs=TaskRuns(
                tuple(self._tasks),
                self._task_run,
                {each.id: each.written() for each in self._tasks.values() if each.output},
            ),
            parameters=self._parameters,
            started_at=self._events[0].at / 1e9,
            ended_at=ended.at / 1e9,
            error=error,
        )

    def _returned(self) -> object:
        """What the flow returned."""
        if self._spec.result is None:
            return None
        try:
            value: object = self._source.value()
            with self._source.reading():
                if value is None:
                    skipped = [each.id for each in self._tasks.values() if each.state.type is StateType.SKIPPED]
                    values = {**self._results, **dict.fromkeys(skipped, ABSENT)}
                    value = flow_result(self._spec.result, values, self._parameters)
                return value.value() if isinstance(value, Deferred) else value
        except DagyError as unread:
            return Unreadable(sentence(unread))
        except LookupError:
            return Unreadable(_ELSEWHERE)

    # ---- of one task

    def _task_run(self, task_id: str, output: str) -> TaskRun:
        with self._changed:
            task, errors = self._tasks[task_id], [each for each in self._errors if each.task == task_id]
            has_result = task.state.is_completed
            result = self._results.get(task_id)
            found = TaskRun(
                id=task.id,
                name=task.name,
                state=task.state,
                attempt=task.attempt,
                started_at=task.started_at,
                ended_at=task.ended_at,
                error=None if task.state.is_completed or not task.attempt else _error_of(task.state, errors),
                output=output,
                item_count=len(task.items) if task.is_mapped and task.state.is_completed else None,
                failed_items={
                    item: error
                    for item, state in sorted(task.items.items())
                    if state.is_failure and (error := _error_of(state, errors)) is not None
                },
            )
        # The value's own code reads it, which may take long or ask about this run: so nothing is held here.
        return replace(found, value=self._value(result)) if has_result else found

    def _value(self, result: Deferred | None) -> object:
        if result is None:
            return Unreadable(_ELSEWHERE)
        try:
            with self._source.reading():
                return result.value()
        except DagyError as error:
            return Unreadable(str(error))


_ELSEWHERE = "its results are kept where it ran"


class _Task:
    """Where one task stands."""

    __slots__ = ("attempt", "ended_at", "id", "is_mapped", "items", "name", "output", "started_at", "state")

    def __init__(self, task_id: str, name: str, *, is_mapped: bool) -> None:
        self.id = task_id
        self.name = name
        self.is_mapped = is_mapped
        self.state = State(StateType.PENDING)
        self.attempt = 0
        self.started_at: float | None = None  # seconds since the epoch
        self.ended_at: float | None = None
        self.items: dict[int, State] = {}
        self.output: list[TaskWrote] = []

    def change(self, event: TaskChanged | ItemChanged) -> None:
        """Let it, or one of its items, be in a new state."""
        if isinstance(event, ItemChanged):
            self.items[event.item] = event.state
            return
        self.state, self.attempt = event.state, event.attempt
        if event.state.type is StateType.RUNNING and self.started_at is None:
            self.started_at = event.at / 1e9
        if event.state.is_final and self.started_at is not None:
            self.ended_at = event.at / 1e9

    def written(self) -> str:
        """The lines that what it wrote has come to, as a terminal has them."""
        terminal = Terminal()
        for each in self.output:
            terminal.write(f"{each.attempt} {each.stream}", each.text)
        return str(terminal)


def _is_fine(state: State) -> bool:
    return not state.is_failure and state.type is not StateType.RETRYING


def _error_of(state: State, errors: Sequence[RaisedError]) -> BaseException | None:
    """The error that the state speaks of; None for a state that says all there is to say."""
    if state.type is StateType.TIMED_OUT:
        return TaskTimeoutError(state.message)
    if _is_fine(state):
        return None
    told = [each.error for each in errors if sentence(each.error) in state.message] or [each.error for each in errors]
    return told[-1] if told else _unknown(state)


def _unknown(state: State) -> BaseException:
    """What stands for an error that is not known itself, such as that of a worker process which died."""
    return WorkerDiedError(state.message, 1) if state.type is StateType.CRASHED else RecordedError(state.message)


class _Told:
    """A run that a control plane tells of, with what the history on this machine has of it."""

    def __init__(
        self,
        run_id: str,
        events: Callable[[int], Sequence[Mapping[str, Json]]],
        standing: Callable[[], Standing],
        cancel: Callable[[str], object],
        results: Callable[[], Mapping[str, Deferred]],
        local_dir: Path | None,
        poll_seconds: float,
    ) -> None:
        self._run_id = run_id
        self._ask_events = events
        self._ask_standing = standing
        self._cancel = cancel
        self._ask_results = results
        self._local_dir = local_dir
        self._poll_seconds = poll_seconds
        self._pause = 0.0  # the first look is now
        self._standing: Standing | None = None
        self._closed = threading.Event()
        self._recorded: History | None = None
        self._elsewhere: Mapping[str, Deferred] | None = None  # results that are not in the history; None: not asked

    def is_over(self) -> bool:
        self._closed.wait(self._pause)
        self._pause = self._poll_seconds
        standing = self._asked(self._ask_standing, None)
        self._standing = standing or self._standing
        return standing is not None and standing.state.is_final

    def events(self, since: int) -> Sequence[Event]:
        told: Sequence[Mapping[str, Json]] = self._asked(lambda: self._ask_events(since), ())
        return [event_from_json(each) for each in told]

    def _asked(self, ask: Callable[[], Any], otherwise: object) -> Any:
        """What `ask` says; `otherwise` while nobody can be reached, as long as the run goes on."""
        while True:
            try:
                return ask()
            except NetworkError:
                self._pause = min(max(self._pause, self._poll_seconds) * 2, LONGEST_POLL_SECONDS)
                if self._standing is None or not self._standing.state.is_final:
                    return otherwise
                self._closed.wait(self._pause)

    def errors(self) -> Sequence[RaisedError]:
        history = self._history()
        return () if history is None else list(_written_errors(history, self._run_id))

    def results(self) -> Mapping[str, Deferred]:
        history = self._history()
        if history is not None:
            return history.results(self._run_id)
        is_over = self._standing is not None and self._standing.state.is_final
        if is_over and self._elsewhere is None:  # once: to ask costs calls
            self._elsewhere = {}
            with contextlib.suppress(DagyError):  # that they can't be had is no reason to end the following
                self._elsewhere = self._ask_results()
        return self._elsewhere or {}

    def parameters(self) -> Mapping[str, Deferred]:
        history = self._history()
        return {} if history is None else history.parameters(self._run_id)

    def value(self) -> Deferred | None:
        standing = self._standing
        return _Known(standing.result) if standing is not None and standing.has_result else None

    def end(self, recorded: State | None) -> State | None:
        return recorded or (None if self._standing is None else self._standing.state)

    def error(self, state: State) -> BaseException | None:
        return WorkerDiedError(state.message, 1) if state.type is StateType.CRASHED else RecordedError(state.message)

    def cancel(self, reason: str) -> None:
        self._cancel(reason)

    def reading(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def close(self) -> None:
        self._closed.set()
        if self._recorded is not None:
            self._recorded.close()

    def _history(self) -> History | None:
        """The history on this machine, if it has the run."""
        if self._recorded is None and self._local_dir is not None:
            history = History(self._local_dir)
            if history.has(self._run_id):
                self._recorded = history
            else:
                history.close()
        return self._recorded


def _written_errors(history: History, run_id: str) -> Iterator[RaisedError]:
    """What attempts raised, as texts: those that the run's output has."""
    for each in history.output(run_id):
        if each.stream == "error":
            yield RaisedError(each.task, each.attempt, RecordedError(each.text.rstrip()))


class _Known(Deferred):
    """A value that is here."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> object:
        return self._value
