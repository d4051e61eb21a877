"""Performs what the state machine commands and feeds back what happens; decides nothing itself.

There is no thread that drives: whoever has news (a worker whose attempt ended, a timer, somebody who cancels) feeds it
to the machine under the run's lock and performs the commands. A worker that ends an attempt goes on with one that
became ready, so a chain of tasks never hops between threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, assert_never

from dagy.engine.events import (
    AttemptStopped,
    CallHooks,
    CancelAsked,
    Deadline,
    Finish,
    HookFailed,
    Record,
    RunChanged,
    RunStarted,
    SetTimer,
    StartAttempt,
    Stimulus,
    StopAttempt,
    TaskChanged,
    TaskRaised,
    TaskReturned,
    Timer,
    TimerFired,
)
from dagy.engine.log import EventLog
from dagy.engine.machine import RunMachine, step
from dagy.engine.output import CAPTURE, set_sink
from dagy.engine.result import RunResult, TaskRun
from dagy.engine.timers import ThreadTimers, Timers
from dagy.engine.workers import Attempt, InlineWorker, LoopWorker, Stopped, ThreadWorker, Worker
from dagy.errors import sentence, shown
from dagy.hooks import Hook, RunContext
from dagy.program import Program, resolve
from dagy.states import State, StateType, failed, running

logger = logging.getLogger(__name__)


class Driver:
    """One run of `program`. `start` begins it; `done` is set when it has ended and `result` may be asked."""

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, Any],
        *,
        run_id: str,
        max_workers: int,
        fail_fast: bool,
        capture: bool = False,
        inline: bool = False,
        timers: Timers | None = None,
        clock: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.program = program
        self.parameters = parameters
        self.run_id = run_id
        self.done = threading.Event()
        self._lock = threading.RLock()  # of the log, and of what readers may ask meanwhile
        self._turn = threading.Lock()  # of the thread that changes the machine now
        self._inbox: deque[Stimulus] = deque()  # what has happened, and the machine does not know yet
        self.log = EventLog(self._lock)
        self._machine = RunMachine(program, max_workers=max_workers, fail_fast=fail_fast)
        self._capture = capture
        self._clock = clock
        self._chance = chance
        self._timers = timers or ThreadTimers(f"dagy-{run_id}-timers")
        self.inline = InlineWorker(self._run_attempt) if inline else None
        self._worker: Worker = self.inline or ThreadWorker(self._run_attempt, f"dagy-{run_id}")
        self._context = contextvars.copy_context()  # the caller's, of which each attempt and each hook gets a copy
        self._loop_worker = LoopWorker(self._run_coroutine, f"dagy-{run_id}-loop", self._context)
        self._attempts: dict[str, Attempt] = {}  # the newest of each task
        self._given_up: list[Attempt] = []  # told to stop, and maybe still at work
        self._values: dict[str, Any] = {}
        self._errors: dict[str, BaseException] = {}
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._hooks_at_work = 0
        self._end_state: State | None = None
        self._on_done: list[Callable[[], object]] = []
        self._result: RunResult | None = None
        self.current_inline: Attempt | None = None
        self.was_interrupted = False

    @property
    def state(self) -> State:
        """The state of the run now; final only once everything about the run is."""
        if self._result is not None:
            return self._result.state
        return running() if self._machine.state.is_final else self._machine.state

    def states(self) -> Mapping[str, State]:
        """The state of each task now, by id."""
        with self._lock:
            return self._machine.states()

    def start(self) -> None:
        """Begin; returns as soon as the first tasks are on their way."""
        if self._capture:
            CAPTURE.acquire()
        self._started[""] = self._clock()
        with self._lock:
            self.log.append(RunChanged(len(self.log), self._started[""], running()))
        self._call_flow_hooks(running())
        if self.was_interrupted:
            self.cancel("interrupted")
        self._feed(RunStarted())

    def cancel(self, reason: str) -> None:
        """Start nothing more and stop what runs; may be called at any time, from any thread, more than once."""
        self._feed(CancelAsked(reason))

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the run has ended, at once if it has; from whichever thread ends it."""
        with self._lock:
            if not self.done.is_set():
                self._on_done.append(callback)
                return
        callback()

    def task_run(self, task_id: str, output: str = "") -> TaskRun:
        """Where the task stands now; `KeyError` when there is none of that id."""
        line = self._machine.tasks[task_id]
        started, ended = self._started.get(task_id), self._ended.get(task_id)
        return TaskRun(
            id=task_id,
            name=line.name,
            state=line.state,
            attempt=line.attempt,
            started_at=None if started is None else started / 1e9,
            ended_at=None if started is None or ended is None else ended / 1e9,
            error=None if line.state.is_completed else self._errors.get(task_id),
            value=self._values.get(task_id),
            output=output,
        )

    @property
    def result(self) -> RunResult:
        """What the run left; ask only when it is `done`."""
        if self._result is None:
            raise RuntimeError("the run has not ended yet")
        return self._result

    # ---- what workers do

    def _run_attempt(self, attempt: Attempt) -> Attempt | None:
        """Run the attempt here; the attempt that this thread should go on with."""
        return self._feed(self._context.copy().run(self._outcome, attempt), keep_one=True)

    def _outcome(self, attempt: Attempt) -> Stimulus:
        task, number = attempt.task, attempt.number
        if attempt.sink is not None:  # else what holds for the caller, who may be a task of another run
            set_sink(attempt.sink)
        if self.inline:
            self.current_inline = attempt
        outcome: Stimulus = AttemptStopped(task, number)
        try:
            try:
                if attempt.open():
                    self._set_deadline(attempt)
                    code = self.program.code[task]
                    if StateType.RUNNING in code.hooks:
                        self._call_hooks(CallHooks(task, number, running()))
                    if not self.was_interrupted:
                        outcome = TaskReturned(task, number, code.parameters.call(code.function, self._inputs(task)))
            except Stopped:
                pass
            except KeyboardInterrupt as error:
                if self.inline:
                    self.was_interrupted = True
                else:
                    outcome = TaskRaised(task, number, _without_our_frames(error), self._chance())
            except BaseException as error:  # noqa: BLE001 (user code may raise anything)
                outcome = TaskRaised(task, number, _without_our_frames(error), self._chance())
            counts = attempt.close()
        except Stopped:  # it came between the code's end and `close`
            attempt.close()
            counts = False
        attempt.has_ended = True
        if self.was_interrupted:
            self.cancel("interrupted")
        return outcome if counts else AttemptStopped(task, number)

    async def _run_coroutine(self, attempt: Attempt) -> None:
        from asyncio import CancelledError, to_thread

        task, number = attempt.task, attempt.number
        outcome: Stimulus = AttemptStopped(task, number)
        try:
            if not attempt.stop_asked:
                self._set_deadline(attempt)
                code = self.program.code[task]
                if StateType.RUNNING in code.hooks:
                    await to_thread(self._call_hooks, CallHooks(task, number, running()))
                outcome = TaskReturned(task, number, await code.parameters.call(code.function, self._inputs(task)))
        except CancelledError as error:
            outcome = TaskRaised(task, number, error, 0.0)
        except BaseException as error:  # noqa: BLE001 (user code may raise anything)
            outcome = TaskRaised(task, number, _without_our_frames(error), self._chance())
        attempt.has_ended = True
        self._feed(AttemptStopped(task, number) if attempt.stop_asked else outcome)

    def _inputs(self, task: str) -> dict[str, Any]:
        values = {
            name: resolve(source, self._values, self.parameters) for name, source in self.program.inputs[task].items()
        }
        if self._machine.tasks[task].options.validate_parameters:
            return self.program.code[task].parameters.check(values)
        return values

    # ---- what follows

    def _feed(self, stimulus: Stimulus, *, keep_one: bool = False) -> Attempt | None:
        """Let it happen, and perform what is commanded. With `keep_one` an attempt to start may be returned instead.

        Who finds another thread taking its turn leaves the stimulus to that thread: waiting in line for a lock would
        cost a change of threads for each task.
        """
        self._inbox.append(stimulus)
        mine: Attempt | None = None
        hooks: list[CallHooks] = []
        while self._inbox and self._turn.acquire(blocking=False):
            try:
                to_start, more_hooks = self._take_turn()
            finally:
                self._turn.release()
            hooks += more_hooks
            for attempt in to_start:
                if self.program.code[attempt.task].is_async:
                    self._loop_worker.start(attempt)
                elif keep_one and mine is None:
                    mine = attempt
                else:
                    self._worker.start(attempt)
        # Hooks may be slow, so they come when nothing waits for this thread: neither what others left in the inbox,
        # nor an attempt, nor the timers, nor whoever cancels.
        if hooks and mine is not None:
            self._worker.start(mine)
            mine = None
        if hooks and not keep_one:
            name = f"dagy-{self.run_id}-hooks"
            threading.Thread(target=self._follow_up, args=(hooks,), name=name, daemon=True).start()
        else:
            self._follow_up(hooks)
        return mine

    def _take_turn(self) -> tuple[list[Attempt], list[CallHooks]]:
        """Let all that waits happen; the attempts to start and the hooks to call, once the turn is over."""
        to_start: list[Attempt] = []
        hooks: list[CallHooks] = []
        with self._lock:
            while self._inbox:
                stimulus = self._inbox.popleft()
                for command in step(self._machine, stimulus):
                    match command:
                        case Record():
                            self._record(command, stimulus)
                        case StartAttempt(task, attempt):
                            to_start.append(self._attempt(task, attempt))
                        case CallHooks():
                            hooks.append(command)
                        case SetTimer():
                            self._set_timer(command)
                        case StopAttempt(task):
                            self._stop(self._attempts[task])
                        case Finish(state):
                            self._end_state = state
                        case _:
                            assert_never(command)
            self._hooks_at_work += len(hooks)
        return to_start, hooks

    def _record(self, record: Record, stimulus: Stimulus) -> None:
        task, attempt, state, error = record
        at = self._clock()
        self.log.append(TaskChanged(len(self.log), at, task, attempt, state))
        if state.type is StateType.RUNNING:
            if attempt == 1:
                self._started[task] = at
        elif state.is_final:
            self._ended[task] = at
            if type(stimulus) is TaskReturned and stimulus.task == task:
                self._values[task] = stimulus.value
        if error is not None:
            self._errors[task] = error

    def _attempt(self, task: str, number: int) -> Attempt:
        sink = TaskSink(self.log, self._clock, task, number) if self._capture else None
        attempt = self._attempts[task] = Attempt(task, number, sink)
        return attempt

    def _set_timer(self, command: SetTimer) -> None:
        """Set the timer; the deadline of an attempt only once its code begins, which may have to wait for a thread."""
        timer, seconds = command
        if isinstance(timer, Deadline):
            self._attempts[timer.task].seconds = seconds
        else:
            self._timers.set(seconds, functools.partial(self._fire, timer))

    def _set_deadline(self, attempt: Attempt) -> None:
        if attempt.seconds is not None:
            self._timers.set(attempt.seconds, functools.partial(self._fire, Deadline(attempt.task, attempt.number)))

    def _stop(self, attempt: Attempt) -> None:
        self._given_up.append(attempt)
        worker = self._loop_worker if self.program.code[attempt.task].is_async else self._worker
        worker.stop(attempt)

    def _fire(self, timer: Timer) -> None:
        self._feed(TimerFired(timer, self._chance()))

    def _follow_up(self, hooks: list[CallHooks]) -> None:
        """Call the hooks; whoever is the last to have called some when the run has finished ends it."""
        if hooks:
            for each in hooks:
                self._call_hooks(each)
            with self._lock:
                self._hooks_at_work -= len(hooks)
        with self._lock:
            if self._end_state is None or self._hooks_at_work:
                return
            state, self._end_state = self._end_state, None
        self._end(state)

    def _call_hooks(self, command: CallHooks) -> None:
        task, attempt, state = command
        spec = self.program.spec
        code = self.program.code[task]
        context = RunContext(
            name=self._machine.tasks[task].name, run_id=self.run_id, flow_name=spec.name,
            attempt=attempt, parameters=self._known_inputs(task), task_id=task,
        )  # fmt: skip
        calling = self._context.copy()
        sink = self._attempts[task].sink
        if sink is not None:
            calling.run(set_sink, sink)
        for hook in code.hooks[state.type]:
            calling.run(self._call_hook, hook, context, state)

    def _known_inputs(self, task: str) -> dict[str, Any]:
        """The inputs for a hook to look at, without the one whose missing part made the task fail."""
        known = {}
        for name, source in self.program.inputs[task].items():
            with contextlib.suppress(Exception):
                known[name] = resolve(source, self._values, self.parameters)
        return known

    def _call_flow_hooks(self, state: State) -> None:
        context = RunContext(
            name=self.program.spec.name, run_id=self.run_id, flow_name=self.program.spec.name,
            parameters=self.parameters,
        )  # fmt: skip
        for hook in self.program.hooks.get(state.type, ()):
            self._context.copy().run(self._call_hook, hook, context, state)

    def _call_hook(self, hook: Hook, context: RunContext, state: State) -> None:
        try:
            hook(context, state)
        except Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 (user code: a hook changes nothing)
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                self.was_interrupted = True
            name = getattr(hook, "__qualname__", None) or type(hook).__qualname__
            logger.warning("hook %s of %r raised %s in state %s", name, context.name, shown(error), state.type,
                           extra={"run_id": self.run_id, "task_id": context.task_id})  # fmt: skip
            with self._lock:
                self.log.append(HookFailed(len(self.log), self._clock(), context.task_id, name, error))

    def _end(self, state: State) -> None:
        value, error = None, None
        if state.is_completed and self.program.result is not None:
            try:
                value = resolve(self.program.result, self._values, self.parameters)
            except Exception as missing:  # noqa: BLE001 (a part is missing, or the user's own __getitem__ raised)
                state, error = failed(f"what the flow returns is not there: {sentence(missing)}"), missing
        self._call_flow_hooks(state)
        ended = self._clock()
        self._timers.close()
        self._worker.close()
        self._loop_worker.close()
        if self._capture:
            CAPTURE.release()
        self._result = self._summed_up(state, ended, value, error)
        with self._lock:
            self.log.append(RunChanged(len(self.log), ended, state))
            self.log.close()
            self.done.set()
            callbacks, self._on_done = self._on_done, []
        for callback in callbacks:
            callback()

    def _summed_up(self, state: State, ended: int, value: object, error: Exception | None) -> RunResult:
        outputs = self.log.outputs()
        task_runs = {task_id: self.task_run(task_id, outputs.get(task_id, "")) for task_id in self._machine.tasks}
        return RunResult(
            run_id=self.run_id,
            spec=self.program.spec,
            state=state,
            value=value,
            error=error,
            task_runs=task_runs,
            parameters=self.parameters,
            started_at=self._started[""] / 1e9,
            ended_at=ended / 1e9,
            still_running=tuple(dict.fromkeys(each.task for each in self._given_up if not each.has_ended)),
        )


class TaskSink:
    """Where the output of one attempt goes: into the run's log."""

    __slots__ = ("_attempt", "_clock", "_log", "_task")

    def __init__(self, log: EventLog, clock: Callable[[], int], task: str, attempt: int) -> None:
        self._log = log
        self._clock = clock
        self._task = task
        self._attempt = attempt

    def write(self, stream: str, text: str) -> None:
        """Add text to the log."""
        if text:
            self._log.write(self._clock(), self._task, self._attempt, stream, text)

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        """Add a rich display to the log."""
        self._log.show(self._clock(), self._task, self._attempt, data, metadata)


def _without_our_frames(error: BaseException) -> BaseException:
    """`error` with a traceback that begins in the user's code."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith("dagy."):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)
