"""A run in a clean process: a new Python that has nothing of this one but its environment and its installed packages.

The process records its run in a history (see `clean_process`), and here the history is followed: its events, and what
tasks returned and raised. So a clean run looks like any other, and what it returned is only read when it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType
from typing import Any, Literal, TypeAlias

from dagy.artifact.archive import read_manifest
from dagy.artifact.builder import Artifact
from dagy.artifact.clean_process import BEGAN, GRACE_SECONDS, Order, RaisedError, recorded_errors, refusal
from dagy.artifact.source import Source
from dagy.engine import Event, ItemChanged, RunChanged, RunResult, TaskChanged, TaskRun, TaskWrote, Terminal
from dagy.engine.result import TaskRuns
from dagy.errors import (
    DagyError,
    ParameterError,
    ResultGoneError,
    RunError,
    SourceError,
    StoreError,
    TaskTimeoutError,
    TravelError,
    UnknownTaskError,
    WorkerDiedError,
    sentence,
)
from dagy.program import resolve
from dagy.runs import History, RecordedValue
from dagy.settings import Settings
from dagy.spec import FlowSpec
from dagy.states import State, StateType, cancelled, crashed
from dagy.values import Deferred, encode

PlaceOf: TypeAlias = Callable[[str, int], "tuple[str, int] | None"]

POLL_SECONDS = 0.05  # between two looks at the history
_LAST_LINES = 20  # of what the process said outside tasks, when it died
_CHILD = (
    "import sys; root, folder, lifeline, report = sys.argv[1:]; del sys.argv[1:]; sys.path.append(root); "
    "from dagy.artifact.clean_process import main; main(folder, int(lifeline), int(report))"
)


class Unreadable:
    """Stands where a value of another process is that can't be read in this one; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<can't be read here: {self.reason}>"


def start_clean(
    code: Artifact | Path | Source,
    parameters: Mapping[str, Any],
    *,
    flow: str | None = None,
    directory: Path | None = None,
    max_workers: int | None = None,
    fail_fast: bool = True,
    isolation: Literal["thread", "process"] | None = None,
    record: bool = False,
    modules: Sequence[str] = (),
    namespace: Mapping[str, object] | None = None,
    place_of: PlaceOf | None = None,
) -> CleanRun:
    """Begin a run of an artifact, or of the flow in a `Source`, in a new process that works in `directory`.

    Returns when the run has begun, and raises what keeps it from that: what loading the code raises, `ParameterError`,
    and `TravelError` for a parameter that can't go into another process, before anything is started. Nothing comes from
    a cache. With `record` the run is kept in the history (`dagy runs`).

    `modules` are imported in the process before the code. What a task returns may be of a class that the code itself
    defines, which this process does not have; `namespace` says what to take for the code's own names here. `place_of`
    says for a file and a line of a traceback which file and line to show instead, or None.

    The process has the interpreter, the environment and the installed packages of this one, and nothing else: not its
    modules, not its `sys.path`, and not its terminal. It never outlives this process.
    """
    folder = Path(tempfile.mkdtemp(prefix="dagy-clean-"))
    try:
        path = code.path if isinstance(code, Artifact) else code
        local_dir = Settings.read().local_dir if record else folder / "history"
        order = Order(
            local_dir=str(local_dir),
            artifact=str(path.absolute()) if isinstance(path, Path) else None,
            source=(str(path.path), path.module, path.text) if isinstance(path, Source) else None,
            flow=flow,
            parameters=_written(parameters, folder),
            modules=tuple(modules),
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
        )
        module = path.module if isinstance(path, Source) else read_manifest(path).module
        order.write(folder)
        process, lifeline, report = _started(folder, directory or Path.cwd())
        try:
            run_id = _begun(process, report, folder, place_of)
            names = {} if namespace is None else {module: namespace}
            return CleanRun(process, lifeline, folder, local_dir, run_id, parameters, names, place_of)
        except BaseException:
            os.close(lifeline)
            _kill(process)
            raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class CleanRun:
    """A run in a clean process, with what `RunHandle` offers. All its methods may be called from any thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        lifeline: int,
        folder: Path,
        local_dir: Path,
        run_id: str,
        parameters: Mapping[str, Any],
        names: Mapping[str, Mapping[str, object]],
        place_of: PlaceOf | None,
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._folder = folder
        self._local_dir = local_dir
        self._run_id = run_id
        self._names = names
        self._place_of = place_of
        self._history = History(local_dir)
        self._spec = self._history.spec(run_id)
        recorded = self._history.parameters(run_id)
        self._parameters = {name: self._value(each) for name, each in recorded.items() if name not in parameters}
        self._parameters |= parameters
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._errors: list[RaisedError] = []
        self._results: dict[str, RecordedValue] = {}
        self._tasks = {task.id: _Followed(task.id, task.name, is_mapped=bool(task.mapped)) for task in self._spec.tasks}
        self._state = State(StateType.RUNNING)
        self._cancelled_at: float | None = None
        self._reason = ""
        self._result: RunResult | None = None
        self._on_done: list[Callable[[], object]] = []
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        threading.Thread(target=self._follow, name=f"dagy-{run_id}-clean", daemon=True).start()

    @property
    def run_id(self) -> str:
        """What names the run."""
        return self._run_id

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

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
        """Whether the run, and its process, have ended."""
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
        """Start nothing more and stop what runs; returns at once. Of a run that has ended, nothing.

        A process that has not ended some seconds later is killed.
        """
        with self._changed:
            if self._cancelled_at is None:
                self._cancelled_at, self._reason = time.monotonic(), reason
            if self._lifeline >= 0:
                with contextlib.suppress(OSError):  # it has ended
                    os.write(self._lifeline, f"{' '.join(reason.split())}\n".encode(errors="replace"))

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
        return f"<CleanRun {self._run_id} {self.state}>"

    # ---- what the thread does

    def _follow(self) -> None:
        """Read what the process records until it has ended, and see to its end."""
        trouble: DagyError | None = None
        try:
            while not self._process_has_ended():
                self._read()
            self._history.close()
            self._history = History(self._local_dir)  # a run whose process has died is ended by this
            self._read()
        except DagyError as error:  # the history can't be read
            trouble = error
        finally:
            self._end(trouble)

    def _process_has_ended(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(POLL_SECONDS)
            return True
        if self._cancelled_at is not None and time.monotonic() > self._cancelled_at + GRACE_SECONDS:
            _kill(self._process)
        return False

    def _read(self) -> None:
        """Take in what has happened since the last time: errors and results before the events that speak of them."""
        events = self._history.events(self._run_id, since=len(self._events))
        if not events:
            return
        errors = recorded_errors(self._folder, since=len(self._errors))
        for each in errors:
            _show_places(each.error, self._place_of)
        has_results = any(isinstance(each, TaskChanged) and each.state.is_completed for each in events)
        results = self._history.results(self._run_id) if has_results else self._results
        with self._changed:
            self._errors += errors
            self._results = results
            for event in events:
                self._events.append(self._taken_in(event))
            self._changed.notify_all()

    def _taken_in(self, event: Event) -> Event:
        match event:
            case TaskChanged() | ItemChanged():
                self._tasks[event.task].change(event)
            case TaskWrote():
                self._tasks[event.task].output.append(event)
            case RunChanged():
                event = event._replace(state=self._told(event.state))
                if not event.state.is_final:  # that it has ended is told once everything about it is known
                    self._state = event.state
            case _:
                pass
        return event

    def _told(self, state: State) -> State:
        """The state of the run, in words that only who started its process can know."""
        if state.type is not StateType.CRASHED or self._process.returncode is None:
            return state
        if self._cancelled_at is not None:
            return cancelled(f"{self._reason}; its process did not end within {GRACE_SECONDS:g} s, and was killed")
        return crashed(f"its process died: {_how_it_ended(self._process.returncode)}{_last_lines(self._folder)}")

    def _end(self, trouble: DagyError | None) -> None:
        _kill(self._process)
        with self._changed:
            os.close(self._lifeline)
            self._lifeline = -1
            ended = next((each for each in reversed(self._events) if isinstance(each, RunChanged)), None)
            if ended is None or not ended.state.is_final:
                words = "nothing is known of its end" if trouble is None else f"it can't be followed: {trouble}"
                ended = RunChanged(len(self._events), time.time_ns(), crashed(words))
                self._events.append(ended)
        result = self._made_result(ended, trouble)
        with contextlib.suppress(StoreError):
            self._history.close()
        with self._changed:
            self._result = result
            self._changed.notify_all()
            callbacks, self._on_done = self._on_done, []
        for callback in callbacks:
            callback()

    def _made_result(self, ended: RunChanged, trouble: DagyError | None) -> RunResult:
        outputs = {each.id: each.written() for each in self._tasks.values() if each.output}
        value: object = None
        if ended.state.is_completed and self._spec.result is not None:
            try:
                with self._borrowed_names():
                    value = resolve(self._spec.result, dict(self._results), self._parameters)
                    value = value.value() if isinstance(value, Deferred) else value
            except (LookupError, DagyError) as unread:
                value = Unreadable(sentence(unread))
        error: BaseException | None = trouble
        if ended.state.type is StateType.CRASHED and trouble is None:
            error = WorkerDiedError(ended.state.message, self._process.returncode or 0)
        return RunResult(
            run_id=self._run_id,
            spec=self._spec,
            state=ended.state,
            value=value,
            task_runs=TaskRuns(tuple(self._tasks), self._task_run, outputs),
            parameters=self._parameters,
            started_at=self._events[0].at / 1e9,
            ended_at=ended.at / 1e9,
            error=error,
        )

    # ---- of one task

    def _task_run(self, task_id: str, output: str) -> TaskRun:
        with self._changed:
            task, errors = self._tasks[task_id], [each for each in self._errors if each.task == task_id]
            result = self._results.get(task_id) if task.state.is_completed else None
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
        return found if result is None else replace(found, value=self._value(result))

    def _value(self, result: RecordedValue) -> object:
        try:
            with self._borrowed_names():
                return result.value()
        except (ResultGoneError, StoreError, TravelError) as error:
            return Unreadable(str(error))

    @contextlib.contextmanager
    def _borrowed_names(self) -> Iterator[None]:
        """Let pickles find what they call by the name of the code's own module."""
        with _BORROWING:
            before = {name: sys.modules.get(name) for name in self._names}
            for name, namespace in self._names.items():
                module = ModuleType(name)
                vars(module).update(
                    {key: each for key, each in list(namespace.items()) if isinstance(each, type | FunctionType)}
                )
                sys.modules[name] = module
            try:
                yield
            finally:
                for name, module_before in before.items():
                    if module_before is None:
                        del sys.modules[name]
                    else:
                        sys.modules[name] = module_before


_BORROWING = threading.RLock()  # held while `sys.modules` is not what it is


class _Followed:
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


def _error_of(state: State, errors: Sequence[RaisedError]) -> BaseException | None:
    """The error that the state speaks of; None for a state that says all there is to say."""
    if state.type is StateType.TIMED_OUT:
        return TaskTimeoutError(state.message)
    if not state.is_failure and state.type is not StateType.RETRYING:
        return None
    told = [each.error for each in errors if sentence(each.error) in state.message] or [each.error for each in errors]
    return told[-1] if told else _unknown(state)


def _unknown(state: State) -> BaseException | None:
    """What stands for an error that is not known itself: that of a worker process which died."""
    return WorkerDiedError(state.message, 1) if state.type is StateType.CRASHED else None


def _show_places(error: BaseException, place_of: PlaceOf | None) -> None:
    """Let the tracebacks of `error`, and of all that belongs to it, tell of other places."""
    todo: list[BaseException | None] = [error] if place_of is not None else []
    seen: set[int] = set()
    for each in todo:  # it grows meanwhile
        if each is not None and id(each) not in seen and place_of is not None:
            seen.add(id(each))
            each.__traceback__ = _moved(each.__traceback__, place_of)
            todo += [each.__cause__, each.__context__]
            todo += each.exceptions if isinstance(each, BaseExceptionGroup) else ()


def _moved(chain: TracebackType | None, place_of: PlaceOf) -> TracebackType | None:
    from tblib import Traceback

    steps: list[TracebackType] = []
    while chain is not None:
        steps.append(chain)
        chain = chain.tb_next
    made: TracebackType | None = None
    for step in reversed(steps):
        frame, line = step.tb_frame, step.tb_lineno
        place = place_of(frame.f_code.co_filename, line)
        if place is not None:
            told: Any = Traceback(TracebackType(None, frame, step.tb_lasti, line)).to_dict()
            told["tb_frame"]["f_code"]["co_filename"], line = place
            told["tb_lineno"] = told["tb_frame"]["f_lineno"] = line
            frame = Traceback.from_dict(told).as_traceback().tb_frame
        made = TracebackType(made, frame, -1, line)
    return made


def _written(parameters: Mapping[str, Any], folder: Path) -> dict[str, tuple[str, str]]:
    """Put the parameters into the folder; `TravelError` names the one that can't be."""
    written: dict[str, tuple[str, str]] = {}
    for number, (name, value) in enumerate(parameters.items()):
        if not isinstance(name, str):
            raise ParameterError(f"the name of a parameter must be a text, not {name!r}")
        encoded = encode(value, called=f"the parameter {name!r}")
        encoded.write(folder / f"parameter-{number}")
        written[name] = (encoded.codec, f"parameter-{number}")
    return written


def _started(folder: Path, directory: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, the pipe that tells it that we live, and the one by which it tells how the start went."""
    far_lifeline, lifeline = os.pipe()
    report, far_report = os.pipe()
    root = str(Path(__file__).resolve().parents[2])  # where dagy is, should it not be installed
    try:
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CHILD, root, str(folder), str(far_lifeline), str(far_report)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(far_lifeline, far_report),
                start_new_session=True,  # so that Ctrl-C and the stop button do not reach it
            )
    except OSError as error:
        os.close(lifeline)
        os.close(report)
        raise RunStartError(f"no process can be started in {str(directory)!r}: {error.strerror or error}") from error
    finally:
        os.close(far_lifeline)
        os.close(far_report)
    return process, lifeline, report


_LOG = "said.txt"  # what the process says outside tasks


class RunStartError(SourceError):
    """The process of a clean run could not be started, or died before the run began."""


def _begun(process: subprocess.Popen[bytes], report: int, folder: Path, place_of: PlaceOf | None) -> str:
    """The id of the run, once it has begun; raises what keeps it from that."""
    with open(report, encoding="utf-8") as line:
        word, _, run_id = line.readline().rstrip("\n").partition(" ")
    if word != BEGAN:
        error = _not_begun(process, folder)
        _show_places(error, place_of)
        raise error
    return run_id


def _not_begun(process: subprocess.Popen[bytes], folder: Path) -> DagyError:
    """Why the run did not begin, once that is certain."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    error = refusal(folder)
    if isinstance(error, DagyError) and not isinstance(error, RunError):
        return error
    if error is not None:
        return RunStartError(f"the run could not begin in a clean process: {sentence(error)}")
    how = _how_it_ended(process.returncode) if process.returncode is not None else "it does not answer"
    return RunStartError(f"the clean process died before the run began: {how}{_last_lines(folder)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it has started, unless it ended well: then it has seen to the rest itself."""
    if process.poll() != 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    return f"killed by {name} (signal {-code})"


def _last_lines(folder: Path) -> str:
    """The end of what the process said outside tasks, to be put behind a message; empty when it said nothing."""
    try:
        with (folder / _LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
            lines = file.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    except OSError:
        return ""
    return "\n" + "\n".join(lines) if lines else ""
