"""Performs what the state machine commands and feeds back what happens; decides nothing itself.

There is no thread that drives: whoever has news (a worker whose attempt ended, a timer, somebody who cancels) feeds it
to the machine under the run's lock and performs the commands. A worker that ends an attempt goes on with one that
became ready, so a chain of tasks never hops between threads.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from dagy.engine import processes
from dagy.engine.current import answer_with
from dagy.engine.deadlines import Deadlines
from dagy.engine.events import (
    AttemptStopped,
    CallHooks,
    CancelAsked,
    Command,
    Deadline,
    Expand,
    Finish,
    HookFailed,
    ItemChanged,
    KeepingFailed,
    MapSized,
    Record,
    RecordRun,
    Release,
    RunChanged,
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
from dagy.engine.keeping import CacheEntry
from dagy.engine.log import EventLog
from dagy.engine.machine import RunMachine, step
from dagy.engine.nesting import refuse_while_loading
from dagy.engine.options import MAX_WORKERS, RunOptions
from dagy.engine.output import CAPTURE, set_sink
from dagy.engine.result import RunResult, TaskRun, TaskRuns, error_text
from dagy.engine.run_values import RunValues, opened
from dagy.engine.timers import ThreadTimers, Timers, steady_clock
from dagy.engine.workers import Attempt, InlineWorker, LoopWorker, Stopped, ThreadWorker, Way, Worker
from dagy.errors import SkipTask, StoreError, WorkerDiedError, sentence, shown, without_our_frames
from dagy.hooks import Hook, RunContext
from dagy.program import Program, TaskCode
from dagy.spec import TaskOptions
from dagy.states import State, StateType, failed, running
from dagy.values import ABSENT

logger = logging.getLogger(__name__)

_RUNNING = running()


@dataclass(frozen=True, slots=True)
class _HookCall:
    """Hooks to be called, with all that they are told as it is now."""

    hooks: tuple[Hook, ...]
    context: RunContext
    state: State
    calling: contextvars.Context


class _Later:
    """What is left to be done when a turn is over, because it may take long."""

    __slots__ = ("expand", "hooks")

    def __init__(self) -> None:
        self.expand: list[str] = []  # mapped tasks whose items are to be counted
        self.hooks: list[_HookCall] = []


class Driver:
    """One run of `program`. `start` begins it; `done` is set when it has ended and `result` may be asked.

    With `inline` tasks run in the thread that calls `inline.serve()`.
    """

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, Any],
        options: RunOptions,
        *,
        inline: bool = False,
        timers: Timers | None = None,
        clock: Callable[[], int] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.program = program
        self.parameters = parameters
        self.options = options
        self.run_id = run_id = options.run_id
        self.done = threading.Event()
        self._lock = threading.RLock()  # of the log, and of what readers may ask meanwhile
        self._turn = threading.Lock()  # of the thread that changes the machine now
        self._inbox: deque[Stimulus] = deque()  # what has happened, and the machine does not know yet
        self.log = EventLog(self._lock)
        self._machine = RunMachine(
            program,
            max_workers=options.max_workers or MAX_WORKERS,
            fail_fast=options.fail_fast,
            grace_seconds=options.grace_seconds,
            time_limit=options.time_limit,
            reused=frozenset(task for task, value in options.reused.items() if value is not ABSENT),
            skipped_before=frozenset(task for task, value in options.reused.items() if value is ABSENT),
            reused_items={task: frozenset(items) for task, items in options.reused_items.items()},
        )
        self._has_sinks = options.capture or options.recorder is not None
        self._clock = clock or steady_clock()
        self._chance = chance
        self._timers = timers or ThreadTimers(f"dagy-{run_id}-timers")
        self._deadlines = Deadlines(self._timers, self._expire)
        self.inline = InlineWorker(self._run_attempt) if inline else None
        self._worker: Worker = self.inline or ThreadWorker(self._run_attempt, f"dagy-{run_id}")
        self._context = contextvars.copy_context()  # the caller's, of which each attempt and each hook gets a copy
        self._context.run(answer_with, self._context_here)
        self._loop_worker = LoopWorker(self._run_coroutine, f"dagy-{run_id}-loop", self._context)
        self._attempts: dict[str, Attempt] = {}  # the newest of each task that has not ended
        self._item_attempts: dict[tuple[str, int], Attempt] = {}
        self._given_up: list[Attempt] = []  # told to stop, and maybe still at work
        self._dying: dict[tuple[str, int | None], Attempt] = {}  # the same, for those whose process will be killed
        self._ways: dict[int, Way] = {}  # by the id of the tasks' code
        self._packed: dict[int, processes.PackedFunction] = {}  # as functions travel, by the id of their code
        self._values = RunValues(program, parameters, options.reused, keeps_all=options.keep_results)
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._began = 0
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
        return _RUNNING if self._machine.state.is_final else self._machine.state

    def states(self) -> Mapping[str, State]:
        """The state of each task now, by id."""
        return self._machine.states()

    def start(self) -> None:
        """Begin; returns as soon as the first tasks are on their way.

        Raises `StoreError` if it can't be recorded, `DefinitionError` where no run may begin.
        """
        refuse_while_loading(self.program.spec.name)
        recorder = self.options.recorder
        if recorder is not None:
            recorder.begin(self.run_id, self.program, self.parameters, self.log, self._stop_keeping)
        if self._has_sinks:
            CAPTURE.acquire()
        if self._may_need_processes():
            processes.shared_pool().warm_up()
        self._began = self._clock()
        with self._lock:
            self.log.append(RunChanged(len(self.log), self._began, _RUNNING))
        self._call_flow_hooks(_RUNNING)
        if self.was_interrupted:
            self.cancel("interrupted")
        self._feed(RunStarted())

    def _may_need_processes(self) -> bool:
        wanted = self.options.isolation == "process"
        return wanted or any(
            each.options.isolation == "process" or each.options.timeout_seconds is not None
            for each in self.program.spec.tasks
        )

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
            name=line.spec.name,
            state=line.state,
            attempt=line.attempt,
            started_at=None if started is None else started / 1e9,
            ended_at=None if started is None or ended is None else ended / 1e9,
            error=None if line.state.is_completed else self._values.error_of(task_id),
            value=opened(self._values.of(task_id)) if line.state.is_completed else None,
            output=output,
            item_count=None if line.items is None else line.items.count,
            failed_items=self._values.item_errors(task_id),
            completed_items=self._values.completed_items(task_id),
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
        task, item, number, way = attempt.task, attempt.item, attempt.number, attempt.way
        if attempt.sink is not None:  # else what holds for the caller, who may be a task of another run
            set_sink(attempt.sink)
        if self.inline is not None:
            self.current_inline = attempt
        outcome: Stimulus | None = None
        try:
            try:
                if attempt.open():
                    if attempt.seconds is not None and not way.is_isolated:
                        self._set_deadline(attempt)
                    if way.has_extras:
                        outcome = self._work(attempt)
                    else:
                        value = way.code.parameters.call(way.code.function, self._values.inputs(task, item, way))
                        outcome = new(TaskReturned, (task, number, value, "", item))
            except Stopped:
                pass
            except KeyboardInterrupt as error:
                if self.inline is not None:
                    self.was_interrupted = True
                else:
                    outcome = self._raised(attempt, error)
            except SkipTask as reason:
                if attempt.close():
                    outcome = self._skipped(attempt, reason)
            except BaseException as error:  # noqa: BLE001 (user code may raise anything)
                outcome = self._raised(attempt, error)
            counts = attempt.close()
        except Stopped:  # it came between the code's end and `close`
            attempt.close()
            counts = False
        attempt.has_ended = True
        if attempt.gone is not None:
            attempt.gone.set()
        if self.was_interrupted:
            self.cancel("interrupted")
        return outcome if counts and outcome is not None else AttemptStopped(task, number, item)

    def _work(self, attempt: Attempt) -> Stimulus | None:
        """Let the task's code do its work, with all that is around it; None when it was not let."""
        task, item, number, way = attempt.task, attempt.item, attempt.number, attempt.way
        code = way.code
        if code.hooks and StateType.RUNNING in code.hooks:
            self._values.check_present(task, item)
            self._call_hooks(self._hook_call(CallHooks(task, number, _RUNNING, item)))
        if self.was_interrupted:
            return None
        inputs = self._values.inputs(attempt.task, attempt.item, attempt.way)
        entry = self._cache_entry(attempt, inputs)
        if entry is not None and entry.found is not None:
            return self._returned(attempt, entry.found, entry.note)
        if self.options.recorder is not None:
            self.options.recorder.begin_attempt(task)
        if way.is_isolated:
            value = self._run_in_process(attempt, inputs)
        else:
            value = code.parameters.call(code.function, inputs)
        if not attempt.close():
            return None
        if entry is not None and value is not ABSENT:  # from here on nothing is raised here: it is kept whole
            entry.keep(opened(value))
        return self._returned(attempt, value)

    def _returned(self, attempt: Attempt, value: object, note: str = "") -> Stimulus:
        if attempt.item is not None:
            value = opened(value)
        if self.options.recorder is not None:
            try:
                self.options.recorder.keep(attempt.task, attempt.item, attempt.number, value)
            except StoreError as error:
                self._stop_keeping(error)
                return AttemptStopped(attempt.task, attempt.number, attempt.item)
        return TaskReturned(attempt.task, attempt.number, value, note, attempt.item)

    def _skipped(self, attempt: Attempt, reason: SkipTask) -> Stimulus:
        kept = self._returned(attempt, ABSENT)
        text = sentence(reason).partition(": ")[2]
        return TaskSkipped(attempt.task, attempt.number, text, attempt.item) if type(kept) is TaskReturned else kept

    def _raised(self, attempt: Attempt, error: BaseException) -> Stimulus:
        task, item, number = attempt.task, attempt.item, attempt.number
        if isinstance(error, WorkerDiedError):
            return WorkerDied(task, number, error, self._chance(), item)
        error = without_our_frames(error)
        if self.options.recorder is not None:
            self.options.recorder.write(self._clock(), task, number, "error", error_text(error))
        return TaskRaised(task, number, error, self._chance(), item)

    def _run_in_process(self, attempt: Attempt, inputs: dict[str, Any]) -> object:
        self._await_end_of(self._dying.pop((attempt.task, attempt.item), None))
        code = attempt.way.code
        args, kwargs = code.parameters.arguments(inputs)
        call = processes.ProcessCall(
            processes.shared_pool(),
            self._packed_function(code),
            args,
            kwargs,
            is_async=code.is_async,
            sink=attempt.sink,
            started=functools.partial(self._set_deadline, attempt),
            context=functools.partial(self._context_of, attempt),
        )
        if not attempt.hand_over(call):
            raise Stopped
        return call.run()

    def _await_end_of(self, dying: Attempt | None) -> None:
        """Let an attempt that was told to stop clean up behind itself, for as long as it is allowed to."""
        if dying is not None and dying.gone is not None and not dying.has_ended:
            dying.gone.wait(self.options.grace_seconds)

    def _packed_function(self, code: TaskCode) -> processes.PackedFunction:
        found = self._packed.get(id(code))
        if found is None:
            found = self._packed[id(code)] = processes.pack_function(code.function)
        return found

    async def _run_coroutine(self, attempt: Attempt) -> None:
        from asyncio import CancelledError, to_thread

        task, item, number = attempt.task, attempt.item, attempt.number
        outcome: Stimulus = AttemptStopped(task, number, item)
        answer_with(functools.partial(self._context_of, attempt))
        try:
            if not attempt.stop_asked:
                self._set_deadline(attempt)
                code = attempt.way.code
                if StateType.RUNNING in code.hooks:
                    self._values.check_present(task, item)
                    call = self._hook_call(CallHooks(task, number, _RUNNING, item))
                    await to_thread(self._call_hooks, call)
                inputs = self._values.inputs(attempt.task, attempt.item, attempt.way)
                # What reads and writes files must not hold up the loop.
                entry = await to_thread(self._cache_entry, attempt, inputs) if attempt.way.has_extras else None
                if entry is not None and entry.found is not None:
                    outcome = await to_thread(self._returned, attempt, entry.found, entry.note)
                else:
                    value = await code.parameters.call(code.function, inputs)
                    if entry is not None and value is not ABSENT:
                        await to_thread(entry.keep, value)
                    outcome = (
                        await to_thread(self._returned, attempt, value)
                        if attempt.way.has_extras
                        else (TaskReturned(task, number, value, "", item))
                    )
        except (CancelledError, Stopped) as error:
            outcome = TaskRaised(task, number, error, 0.0, item)
        except SkipTask as reason:
            outcome = self._skipped(attempt, reason)
        except BaseException as error:  # noqa: BLE001 (user code may raise anything)
            outcome = self._raised(attempt, error)
        attempt.has_ended = True
        self._feed(AttemptStopped(task, number, item) if attempt.stop_asked else outcome)

    def _cache_entry(self, attempt: Attempt, inputs: Mapping[str, Any]) -> CacheEntry | None:
        cache, spec = self.options.cache, self._machine.tasks[attempt.task].spec
        if cache is None or not spec.options.cache:
            return None
        given = {name: opened(value) for name, value in inputs.items()}
        return cache.look_up(spec, attempt.way.code, given)

    def _count_items(self, task: str) -> Stimulus:
        """How many items the mapped task has, or why that can't be known."""
        names = self._machine.tasks[task].spec.mapped
        try:
            self._values.check_to_map(task)
            return MapSized(task, self._values.count_items(task, names, self.options.reused_items.get(task, {})))
        except SkipTask as reason:
            return TaskSkipped(task, 1, str(reason))
        except Exception as error:  # noqa: BLE001 (the user's own iterator may raise anything)
            return TaskRaised(task, 1, without_our_frames(error), 0.0)

    def _feed_items(self, task: str) -> None:
        self._feed(self._count_items(task))

    # ---- what follows

    def _feed(self, stimulus: Stimulus, *, keep_one: bool = False) -> Attempt | None:
        """Let it happen, and perform what is commanded. With `keep_one` an attempt to start may be returned instead.

        Who finds another thread taking its turn leaves the stimulus to that thread: waiting in line for a lock would
        cost a change of threads for each task.
        """
        inbox = self._inbox
        inbox.append(stimulus)
        mine: Attempt | None = None
        hooks: list[_HookCall] = []
        while inbox and self._turn.acquire(blocking=False):
            try:
                to_start, later = self._take_turn()
            finally:
                self._turn.release()
            for attempt in to_start:
                if attempt.way.is_async:
                    self._loop_worker.start(attempt)
                elif keep_one and mine is None:
                    mine = attempt
                else:
                    self._worker.start(attempt)
            if later is not None:
                hooks += later.hooks
                for task in later.expand:
                    if keep_one:  # a worker's thread may take its time
                        inbox.append(self._count_items(task))
                    else:
                        self._start_thread("items", functools.partial(self._feed_items, task))
        if hooks:
            # Hooks may be slow, so they come when nothing waits for this thread: neither what others left in the
            # inbox, nor an attempt, nor the timers, nor whoever cancels.
            if mine is not None:
                self._worker.start(mine)
                mine = None
            if not keep_one:
                self._start_thread("hooks", lambda: self._follow_up(hooks))
                return None
        if hooks or self._end_state is not None:
            self._follow_up(hooks)
        return mine

    def _start_thread(self, what: str, work: Callable[[], object]) -> None:
        threading.Thread(target=work, name=f"dagy-{self.run_id}-{what}", daemon=True).start()

    def _take_turn(self) -> tuple[list[Attempt], _Later | None]:
        """Let all that waits happen; the attempts to start once the turn is over, and what else there is to do then."""
        to_start: list[Attempt] = []
        later: _Later | None = None
        inbox, machine = self._inbox, self._machine
        at = self._clock()
        if machine.time_limit is not None:
            machine.seconds_left = machine.time_limit - (at - self._began) / 1e9
        with self._lock:
            while inbox:
                stimulus = inbox.popleft()
                for command in step(machine, stimulus):
                    if type(command) is Record:
                        self._record(command, stimulus, at)
                    elif type(command) is StartAttempt:
                        to_start.append(self._attempt(command, at))
                    elif type(command) is Release:
                        self._values.let_go(command.task)
                    else:
                        later = later or _Later()
                        self._perform(command, later, at)
            if later is not None:
                self._hooks_at_work += len(later.hooks)
        return to_start, later

    def _perform(self, command: Command, later: _Later, at: int) -> None:
        match command:
            case CallHooks():
                later.hooks.append(self._hook_call(command))
            case SetTimer(timer, seconds):
                self._timers.set(seconds, functools.partial(self._fire, timer))
            case StopAttempt(task, _, item):
                self._stop(self._attempts[task] if item is None else self._item_attempts[task, item])
            case Expand(task):
                later.expand.append(task)
            case RecordRun(state):
                self.log.append(RunChanged(len(self.log), at, state))
            case Finish(state):
                self._end_state = state
            case Record() | StartAttempt() | Release():  # done where they come from, for they come often
                pass
            case _:
                assert_never(command)

    def _record(self, record: Record, stimulus: Stimulus, at: int) -> None:
        task, attempt, state, error, item = record
        if item is not None:
            self.log.append(ItemChanged(len(self.log), at, task, item, attempt, state))
            if state.is_final:
                self._item_ended(task, item, stimulus, error)
            return
        self.log.task_changed(at, task, attempt, state)
        if type(stimulus) is TaskReturned and stimulus.task == task and stimulus.item is None:
            self._values.task_returned(task, stimulus.value)
            self._ended[task] = at
            del self._attempts[task]
        elif state.is_final:
            self._ended[task] = at
            self._attempts.pop(task, None)
            if self._machine.tasks[task].items is not None:
                self._values.mapped_ended(task, has_completed=state.is_completed)
            if state.type is StateType.SKIPPED:
                self._values.task_returned(task, ABSENT)
            if error is not None:
                self._values.task_raised(task, error)
        elif error is not None:
            self._values.task_raised(task, error)
        else:
            self._started[task] = at

    def _item_ended(self, task: str, item: int, stimulus: Stimulus, error: BaseException | None) -> None:
        self._item_attempts.pop((task, item), None)
        if type(stimulus) is TaskReturned and stimulus.task == task and stimulus.item == item:
            self._values.item_returned(task, item, stimulus.value)
        elif error is not None:
            self._values.item_raised(task, item, error)

    def _attempt(self, command: StartAttempt, at: int) -> Attempt:
        task, number, seconds, item = command
        if item is None:
            self.log.task_changed(at, task, number, _RUNNING)
            if number == 1:
                self._started[task] = at
        else:
            self.log.append(ItemChanged(len(self.log), at, task, item, number, _RUNNING))
        line = self._machine.tasks[task]
        way = self._ways.get(id(line.code))
        if way is None:
            way = self._ways[id(line.code)] = self._way(line.spec.options, line.code)
        sink = TaskSink(self, task, number) if self._has_sinks else None
        attempt = Attempt(task, item, number, way, seconds, sink)
        if item is None:
            self._attempts[task] = attempt
        else:
            self._item_attempts[task, item] = attempt
        return attempt

    def _way(self, options: TaskOptions, code: TaskCode) -> Way:
        """How attempts of a task run. What has a time limit runs where it can be killed, unless it says otherwise."""
        asked = options.isolation or self.options.isolation
        if asked is None and options.timeout_seconds is not None and not code.is_async:
            asked = "process"
        is_isolated = asked == "process"
        checks = options.validate_parameters and code.parameters.has_types
        # It is killed, or `Stopped` is raised in its coroutine, in time to have ended when the run gives up waiting.
        patience = 0.75 * self.options.grace_seconds
        is_cached = bool(options.cache) and self.options.cache is not None
        has_extras = bool(code.hooks) or is_isolated or is_cached or self.options.recorder is not None
        return Way(code, code.is_async and not is_isolated, is_isolated, checks, has_extras, patience)

    def _set_deadline(self, attempt: Attempt) -> None:
        """Set the deadline of an attempt whose code begins: before, it may have waited for a thread or a process."""
        if attempt.seconds is not None:
            self._deadlines.set(attempt, attempt.seconds)

    def _expire(self, attempt: Attempt) -> None:
        self._fire(Deadline(attempt.task, attempt.number, attempt.item))

    def _stop(self, attempt: Attempt) -> None:
        if attempt.way.is_isolated:  # its process is gone within the grace, whatever its code does
            attempt.gone = threading.Event()
            self._dying[attempt.task, attempt.item] = attempt
        else:
            self._given_up.append(attempt)
        if attempt.way.is_async:
            self._loop_worker.stop(attempt)
            self._timers.set(attempt.way.patience_seconds, functools.partial(self._loop_worker.insist, attempt))
        else:
            self._worker.stop(attempt)

    def _stop_keeping(self, error: StoreError) -> None:
        self._feed(KeepingFailed(error))

    def _fire(self, timer: Timer) -> None:
        self._feed(TimerFired(timer, self._chance()))

    def _follow_up(self, hooks: Sequence[_HookCall]) -> None:
        """Call the hooks; whoever is the last to have called some when the run has finished ends it."""
        for each in hooks:
            self._call_hooks(each)
        with self._lock:
            self._hooks_at_work -= len(hooks)
            if self._end_state is None or self._hooks_at_work:
                return
            state, self._end_state = self._end_state, None
        self._end(state)

    def _context_here(self) -> RunContext | None:
        """What the calling thread's code runs as, if that is an attempt of this run."""
        here = threading.get_ident()
        with self._lock:
            at_work = [*self._attempts.values(), *self._item_attempts.values(), *self._given_up]
        return next((self._context_of(each) for each in at_work if each.is_run_by(here)), None)

    def _context_of(self, attempt: Attempt) -> RunContext:
        return self._told(attempt.task, attempt.number, attempt.item, self.parameters)

    def _told(self, task: str, attempt: int, item: int | None, parameters: Mapping[str, Any]) -> RunContext:
        """What is told of an attempt of a task."""
        stands_for = self.options.stands_for
        if stands_for is not None:
            item, attempt = stands_for.item, stands_for.before + attempt
        name = self._machine.tasks[task].spec.name
        return RunContext(name, self.run_id, self.program.spec.name, attempt, parameters, task, item)

    def _hook_call(self, command: CallHooks) -> _HookCall:
        task, attempt, state, item = command
        context = self._told(task, attempt, item, self._values.known_inputs(task, item))
        calling = self._context.copy()
        if self._has_sinks:
            calling.run(set_sink, TaskSink(self, task, attempt))
        return _HookCall(self.program.code[task].hooks[state.type], context, state, calling)

    def _call_hooks(self, call: _HookCall) -> None:
        for hook in call.hooks:
            call.calling.run(self._call_hook, hook, call.context, call.state)

    def _call_flow_hooks(self, state: State) -> None:
        context = RunContext(
            name=self.program.spec.name, run_id=self.run_id, flow_name=self.program.spec.name,
            attempt=self._machine.attempt, parameters=self.parameters,
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
        state, value, error = self._outcome_of_flow(state)
        for each in self._dying.values():
            self._await_end_of(each)
        ended = self._clock()
        trouble = self._keep_end(state, ended, value)
        if trouble is not None:
            state, error = failed(f"the run can't be recorded: {trouble}"), trouble
        self._call_flow_hooks(state)
        self._let_helpers_go()
        self._result = self._summed_up(state, ended, value, error)
        with self._lock:
            self.log.append(RunChanged(len(self.log), ended, state))
            self.log.close()
        if self.options.recorder is not None:
            self.options.recorder.close()
        with self._lock:
            self.done.set()
            callbacks, self._on_done = self._on_done, []
        for callback in callbacks:
            callback()

    def _keep_end(self, state: State, ended: int, value: object) -> Exception | None:
        """Have the end of the run recorded; what stands in the way of that."""
        if self.options.recorder is None:
            return None
        try:
            self.options.recorder.end(state, ended, value)
        except StoreError as trouble:
            return trouble
        except Exception as defect:  # whatever it is, nobody must wait for this run for ever
            logger.exception("the end of run %s can't be recorded", self.run_id)
            return defect
        return None

    def _let_helpers_go(self) -> None:
        for each in self._given_up:
            if each.way.is_async and not each.has_ended:  # its time to end by itself goes on
                timer = threading.Timer(each.way.patience_seconds, self._loop_worker.insist, (each,))
                timer.daemon = True
                timer.start()
        self._timers.close()
        self._worker.close()
        self._loop_worker.close()
        if self._has_sinks:
            CAPTURE.release()
        if self._packed:
            processes.shared_pool().trim()
        if self.options.cache is not None:
            self.options.cache.close()

    def _outcome_of_flow(self, state: State) -> tuple[State, object, BaseException | None]:
        """How the run ended, what the flow returns, and why the run failed if no task did."""
        if self._machine.broken is not None:
            return state, None, self._machine.broken
        if not state.is_completed or self.program.result is None:
            return state, None, None
        try:
            return state, self._values.result(), None
        except Exception as missing:  # noqa: BLE001 (a part is missing, or the user's own __getitem__ raised)
            return failed(f"what the flow returns is not there: {sentence(missing)}"), None, missing

    def _summed_up(self, state: State, ended: int, value: object, error: BaseException | None) -> RunResult:
        return RunResult(
            run_id=self.run_id,
            spec=self.program.spec,
            state=state,
            value=value,
            error=error,
            task_runs=TaskRuns(tuple(self._machine.tasks), self.task_run, self.log.outputs()),
            parameters=self.parameters,
            started_at=self._began / 1e9,
            ended_at=ended / 1e9,
            still_running=tuple(dict.fromkeys(each.task for each in self._given_up if not each.has_ended)),
        )


class TaskSink:
    """Where the output of one attempt goes: into the run's log, and to whoever records the run."""

    __slots__ = ("_attempt", "_clock", "_log", "_recorder", "_task", "passes_on")

    def __init__(self, driver: Driver, task: str, attempt: int) -> None:
        self._log = driver.log
        self._clock = driver._clock
        self._recorder = driver.options.recorder
        self._task = task
        self._attempt = attempt
        self.passes_on = not driver.options.capture  # it is recorded, and shown where it would be without that

    def write(self, stream: str, text: str) -> bool:
        """Add text to the log; False when it is to be printed as well."""
        at = self._clock()
        if text and self._recorder is not None:
            self._recorder.write(at, self._task, self._attempt, stream, text)
        taken = self._log.write(at, self._task, self._attempt, stream, text)
        return taken and not self.passes_on

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        """Add a rich display to the log."""
        self._log.show(self._clock(), self._task, self._attempt, data, metadata)
