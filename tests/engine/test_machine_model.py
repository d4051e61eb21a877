"""Any graph, anything that can happen, in any order: the state machine against a plain model of what it should do.

The model counts nothing and remembers no queue: it looks at all tasks again whenever something happens. It does not say
which of the ready tasks goes first, only that none waits while there is room for it.

`MODEL_EXAMPLES=20000 pytest tests/engine/test_machine_model.py` plays so many runs, other ones each time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dagy.engine.events import (
    AttemptStopped,
    CallHooks,
    CancelAsked,
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
)
from dagy.engine.machine import RunMachine, step
from dagy.errors import StoreError, WorkerDiedError
from dagy.parameters import Parameters
from dagy.program import Program, TaskCode
from dagy.retry import RetryPolicy
from dagy.spec import Binding, Constant, FlowOptions, FlowSpec, FromTask, ListOf, TaskOptions, TaskSpec
from dagy.states import StateType, check_move

THOROUGH = int(os.environ.get("MODEL_EXAMPLES", "0"))
GRACE = 3.0

PENDING, RUNNING, RETRYING = StateType.PENDING, StateType.RUNNING, StateType.RETRYING
COMPLETED, CANCELLED, SKIPPED = StateType.COMPLETED, StateType.CANCELLED, StateType.SKIPPED
FAILED, TIMED_OUT, CRASHED = StateType.FAILED, StateType.TIMED_OUT, StateType.CRASHED
BAD = (FAILED, TIMED_OUT, CRASHED)

AnyOf = TypeVar("AnyOf")

# ---- what is to be run


@dataclass(frozen=True)
class Job:
    """A task, and what is known of it beforehand; those with the same first letter are calls of one task."""

    id: str
    needs: tuple[str, ...]
    retries: int
    delays: tuple[float, ...]
    seconds: float | None
    limit: int | None
    items: int | None  # None: it is not mapped
    reused_items: frozenset[int]
    before: StateType | None  # how it ended in the run that this one goes on with
    may_lack: tuple[str, ...]  # of what it needs: what it is given, if there is something
    takes: tuple[str, ...]  # what it must be given; after the others it only comes
    is_one_list: bool  # what it may lack is in one input

    def inputs(self) -> dict[str, Binding]:
        """Where it takes its values from."""
        found: dict[str, Binding] = {each: FromTask(each) for each in self.takes}
        if self.is_one_list and self.may_lack:
            return {**found, "some": ListOf((Constant(1), *map(FromTask, self.may_lack)))}
        return {**found, **{each: FromTask(each) for each in self.may_lack}}


@dataclass(frozen=True)
class Plan:
    """A flow, and how it is to be run."""

    seed: int  # of what happens after the steps that hypothesis chooses
    jobs: tuple[Job, ...]
    returned: tuple[str, ...]
    max_workers: int
    fail_fast: bool
    retries: int
    delay: float
    seconds: float | None

    def machine(self) -> RunMachine:
        """The run as the state machine sees it."""
        tasks = tuple(
            TaskSpec(
                job.id,
                job.id[0],
                f"m:{job.id[0]}",
                job.inputs(),
                after=tuple(each for each in job.needs if each not in (*job.may_lack, *job.takes)),
                optional=("some", *job.may_lack),
                options=TaskOptions(timeout_seconds=job.seconds, concurrency_limit=job.limit),
                mapped=() if job.items is None else ("x",),
            )
            for job in self.jobs
        )
        parameters = Parameters(nothing, of="task")
        hooks: Any = dict.fromkeys((COMPLETED, RETRYING, CRASHED, SKIPPED), (nothing,))
        program = Program(
            FlowSpec(
                "etl",
                tasks=tasks,
                result=ListOf(tuple(FromTask(each) for each in self.returned)),
                options=FlowOptions(timeout_seconds=self.seconds),
            ),
            {
                job.id: TaskCode(nothing, parameters, retry=RetryPolicy(job.retries, job.delays), hooks=hooks)
                for job in self.jobs
            },
            {job.id: {} for job in self.jobs},
            retry=RetryPolicy(self.retries, (self.delay,)),
        )
        return RunMachine(
            program,
            max_workers=self.max_workers,
            fail_fast=self.fail_fast,
            grace_seconds=GRACE,
            reused=frozenset(job.id for job in self.jobs if job.before is COMPLETED),
            skipped_before=frozenset(job.id for job in self.jobs if job.before is SKIPPED),
            reused_items={job.id: job.reused_items for job in self.jobs if job.reused_items},
        )


def nothing() -> None: ...


# A few draws of much are quicker than many of little.
TRIES = list(itertools.product((0, 1, 2), ((), (1.0,), (0.0, 2.0)), (None, 9.0)))
PLAIN = (None, frozenset[int](), None)
SHAPES = [
    PLAIN,
    PLAIN,
    PLAIN,
    PLAIN,
    (None, frozenset[int](), COMPLETED),
    *[(None, frozenset[int](), SKIPPED)] * 3,
    *((count, frozenset[int](), None) for count in range(5)),
    *((count, frozenset(some), None) for count, some in ((1, {0}), (2, {0}), (3, {1}), (3, {2}), (4, {0, 1, 3}))),
    (2, frozenset[int](), COMPLETED),
]
WAYS_TO_END = ["return"] * 11 + ["raise"] * 3 + ["skip"] * 6 + ["exit", "die"]
INPUTS = list(itertools.product((False, True), (0, 1, 2, 3, 3), (0, 0, 1)))
HOW = list(itertools.product((1, 2, 3, 9), (False, False, True), (0, 1, 2), (0.0, 5.0), (None, 60.0)))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.sampled_from((2, 4, 5, 6, 7, 8)))
    names = [f"{letter}{place}" for place, letter in enumerate(draw(st.text("xyz", min_size=size, max_size=size)))]
    limits = dict(zip("xyz", draw(st.sampled_from(list(itertools.product((None, 1, 2), repeat=3)))), strict=True))
    jobs = []
    for place, name in enumerate(names):
        needs = draw(st.sets(st.sampled_from(names[:place]), max_size=3)) if place else ()
        retries, delays, seconds = draw(st.sampled_from(TRIES))
        items, reused_items, before = draw(st.sampled_from(SHAPES))
        limit = limits[name[0]]
        ids = tuple(sorted(needs))
        is_one_list, lacks, takes = draw(st.sampled_from(INPUTS))
        given = ids[:lacks], ids[lacks : lacks + takes], is_one_list
        jobs.append(Job(name, ids, retries, delays, seconds, limit, items, reused_items, before, *given))
    if draw(st.booleans()):
        jobs.reverse()
    returned = tuple(sorted(draw(st.sets(st.sampled_from(names), max_size=2)))) if names else ()
    return Plan(draw(st.integers(0, 9999)), tuple(jobs), returned, *draw(st.sampled_from(HOW)))


# ---- what should happen


@dataclass
class Call:
    """A task, or one item of a mapped task. What is RETRYING waits for a "timer", for "room" or for the "run"."""

    job: Job
    item: int | None = None
    state: StateType = PENDING
    waits_for: str = ""
    attempt: int = 0
    failures: int = 0
    is_absent: bool = False  # skipped by choice

    @property
    def key(self) -> tuple[str, int | None]:
        return self.job.id, self.item


class Model:
    """What a run should do. `timers` and `stops` are what the newest stimulus should have led to."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tasks = {
            job.id: Call(job, state=job.before or PENDING, is_absent=job.before is SKIPPED) for job in plan.jobs
        }
        self.items: dict[str, list[Call]] = {}
        self.has_begun = self.is_ending = self.is_pausing = False
        self.end_asked: StateType | None = None
        self.is_broken = False
        self.turn = 1
        self.timers: list[tuple[Timer, float]] = []
        self.stops: list[tuple[str, int, int | None]] = []

    def calls(self) -> Iterator[Call]:
        for name, task in self.tasks.items():
            yield from self.items.get(name, []) if task.job.items is not None else [task]

    def running(self) -> list[Call]:
        return [each for each in self.calls() if each.state is RUNNING]

    def waiting(self, what: str) -> list[Call]:
        return [each for each in self.calls() if each.state is RETRYING and each.waits_for == what]

    def expanding(self) -> list[Call]:
        mapped = [each for each in self.tasks.values() if each.job.items is not None]
        return [each for each in mapped if each.state is RUNNING and each.job.id not in self.items]

    def may_begin(self) -> list[Call]:
        """Mapped tasks that should be expanded now, and calls that should run, if there is room."""
        if not self.has_begun or self.is_ending or self.is_pausing:
            return []
        fresh = [each for each in self.tasks.values() if each.state is PENDING]
        ready = [
            each
            for each in fresh
            if not any(map(partial(self.is_missed, each.job), each.job.needs)) and not self.is_in_vain(each.job)
        ]
        items = [each for some in self.items.values() for each in some if each.state is PENDING]
        return ready + items + self.waiting("room")

    def is_missed(self, job: Job, name: str) -> bool:
        """Whether the job can't begin for want of that task, which it needs."""
        needed = self.tasks[name]
        return needed.state is not COMPLETED and not (needed.is_absent and name in job.may_lack)

    def is_in_vain(self, job: Job) -> bool:
        """Whether the job is to be given something, and there is nothing, nor what stands in its place."""
        if job.is_one_list and job.may_lack:  # its list has a value of its own
            return False
        given = [self.tasks[each].is_absent for each in (*job.may_lack, *job.takes)]
        return bool(given) and all(given)

    def skip(self, call: Call) -> None:
        call.state, call.is_absent = SKIPPED, True

    def has_room(self, call: Call) -> bool:
        running = self.running()
        same = [each for each in running if each.job.id[0] == call.job.id[0]]
        is_expansion = call.item is None and call.job.items is not None
        allowed = call.job.limit if call.job.limit is not None and not is_expansion else 99
        return len(running) < self.plan.max_workers and len(same) < allowed

    @property
    def is_over(self) -> bool:
        return self.has_begun and all(each.state.is_final for each in self.tasks.values())

    @property
    def state(self) -> StateType:
        ends = [each.state for each in self.tasks.values()]
        if not self.is_over:
            return RETRYING if self.is_pausing else RUNNING if self.has_begun else PENDING
        is_bad = any(end in BAD for end in ends)
        if self.is_broken:
            return FAILED
        if self.end_asked is not None and (is_bad or CANCELLED in ends):
            return self.end_asked
        return FAILED if is_bad else COMPLETED

    def begin(self) -> None:
        self.has_begun = True
        if self.plan.seconds is not None:
            self.timers.append((FlowDeadline(), self.plan.seconds))

    def fail(self, call: Call, end: StateType, error: BaseException) -> None:
        job = call.job
        call.failures += 1
        is_hopeless = self.is_ending or not isinstance(error, Exception)
        if call in self.expanding():
            self.end_badly(call, FAILED)
        elif not is_hopeless and call.failures <= job.retries:
            delay = (*job.delays, 0.0)[0] if call.failures == 1 else (0.0, *job.delays)[-1]
            call.state, call.waits_for = RETRYING, "timer" if delay else "room"
            if delay:
                self.timers.append((RetryDue(job.id, call.attempt, call.item), delay))
        elif not is_hopeless and self.turn <= self.plan.retries:
            call.state, call.waits_for = RETRYING, "run"
        else:
            self.end_badly(call, end)

    def end_badly(self, call: Call, end: StateType) -> None:
        call.state = end
        if self.plan.fail_fast and not self.is_ending:
            self.is_ending = True
            self.settle()
            self.stop_all()

    def end_early(self, end: StateType) -> None:
        if not self.is_over and self.end_asked is None:
            self.end_asked = end
            if not self.is_ending:
                self.is_ending = True
                self.stop_all()

    def stop_all(self) -> None:
        for call in self.calls():
            if call.state is RUNNING:
                self.stops.append((call.job.id, call.attempt, call.item))
            elif call.state is RETRYING:
                call.state = CANCELLED
        for task in (*self.expanding(), *self.tasks.values()):
            if task.state is PENDING or task in self.expanding():
                task.state = CANCELLED
        if self.running():
            self.timers.append((GraceOver(), GRACE))

    def settle(self) -> None:
        """Draw all consequences."""
        for _ in self.tasks:
            for name, task in self.tasks.items():
                items = [each.state for each in self.items.get(name, ())]
                left = [each for each in items if not each.is_final and not (each is PENDING and self.is_ending)]
                if task.state is RUNNING and name in self.items and not left:
                    is_whole = all(each in (COMPLETED, SKIPPED) for each in items)
                    task.state = COMPLETED if is_whole else FAILED if set(BAD) & set(items) else CANCELLED
                if task.state is not PENDING:
                    continue
                needed = [self.tasks[each] for each in task.job.needs]
                if any(each.state in (*BAD, SKIPPED) and not each.is_absent for each in needed):
                    task.state = SKIPPED
                is_over = all(each.state is COMPLETED or each.is_absent for each in needed)
                is_lacking = any(each.is_absent and each.job.id not in task.job.may_lack for each in needed)
                if is_over and (is_lacking or self.is_in_vain(task.job)) and self.has_begun:
                    self.skip(task)
        is_at_rest = not (self.running() or self.expanding() or self.waiting("timer") or self.may_begin())
        if self.waiting("run") and is_at_rest and not self.is_pausing and not self.is_ending:
            self.turn += 1
            self.is_pausing = self.plan.delay > 0
            if self.is_pausing:
                self.timers.append((FlowRetryDue(), self.plan.delay))
            else:
                self.begin_again()

    def begin_again(self) -> None:
        self.is_pausing = False
        for call in self.waiting("run"):
            call.waits_for, call.failures = "room", 0

    def released(self) -> list[str]:
        """The tasks whose values nobody needs any more."""
        found = []
        for name, task in self.tasks.items():
            consumers = [each.state for each in self.tasks.values() if name in each.job.needs]
            is_done = task.state is COMPLETED and consumers and all(each.is_final for each in consumers)
            if is_done and name not in self.plan.returned:
                found.append(name)
        return found

    def agree(self, name: str, found: StateType) -> None:
        """Where a run that is ending may go two ways, go the way it went."""
        task = self.tasks[name]
        if self.is_ending and task.state is not found:
            items = {each.state for each in self.items.get(name, ())}
            needs_bad = any(self.tasks[each].state in (*BAD, SKIPPED, CANCELLED) for each in task.job.needs)
            if {task.state, found} == {SKIPPED, CANCELLED} and needs_bad and not task.attempt:
                task.state = found
            if {task.state, found} == {FAILED, CANCELLED} and items & set(BAD):
                task.state = found


# ---- what does happen


@dataclass
class Stream:
    """What the commands of a run amount to, each looked at by itself."""

    states: dict[tuple[str, int | None], StateType] = field(default_factory=dict)
    at_work: set[tuple[str, int, int | None]] = field(default_factory=set)
    ended: list[tuple[str, int, int | None]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    run: StateType = RUNNING
    is_finished: bool = False

    def move(self, task: str, item: int | None, state: StateType) -> None:
        check_move(task, self.states.get((task, item), PENDING), state)
        self.states[task, item] = state


class Runs(RuleBasedStateMachine):
    """Runs that go as hypothesis likes."""

    @initialize(plan=plans())
    def make(self, plan: Plan) -> None:
        self.plan = plan
        self.model = Model(plan)
        self.run = plan.machine()
        self.stream = Stream()
        self.is_timed = self.is_grace = False  # which of the run's own timers are set
        self.told: set[tuple[str, int, int | None]] = set()  # to stop
        self.is_sound = True

    def happen(self, stimulus: Stimulus) -> None:
        """Let it happen to the run, after the model was told, and compare."""
        self.is_sound = False
        model = self.model
        model.settle()
        commands = step(self.run, stimulus)
        for command in commands:
            assert not self.stream.is_finished
            self.see(command)
        self.see_hooks(commands)
        for name, line in self.run.tasks.items():
            model.agree(name, line.state.type)
            assert (name, line.state.type) == (name, model.tasks[name].state)
        items = {call.key: call.state for some in model.items.values() for call in some if call.attempt}
        assert items == {key: state for key, state in self.stream.states.items() if key[1] is not None}
        assert not [call.key for call in model.may_begin() if model.has_room(call)]
        assert sorted(map(repr, self.asked(commands, SetTimer))) == sorted(repr(SetTimer(*it)) for it in model.timers)
        assert sorted(map(repr, self.asked(commands, StopAttempt))) == sorted(
            repr(StopAttempt(*each)) for each in model.stops
        )
        assert self.run.state.type is model.state
        assert self.stream.is_finished == model.is_over
        assert self.run.free == self.plan.max_workers - len(model.running())
        waiting = model.waiting("timer") + model.waiting("room")
        assert self.run.busy == len(model.running() + model.expanding() + waiting)
        assert len(model.running()) <= self.plan.max_workers
        if model.has_begun:
            assert sorted(self.stream.released) == sorted(model.released())
        self.told |= set(model.stops)
        model.stops.clear()
        model.timers.clear()
        self.is_sound = True

    def see(self, command: object) -> None:
        """Judge a command, and let the model follow where it leaves a choice."""
        stream, model = self.stream, self.model
        match command:
            case StartAttempt(task, attempt, seconds, item):
                call = self.call(task, item)
                assert call in model.may_begin()
                assert model.has_room(call)
                assert attempt == call.attempt + 1 <= (call.job.retries + 1) * (self.plan.retries + 1)
                assert seconds == call.job.seconds
                call.state, call.attempt = RUNNING, attempt
                stream.move(task, item, RUNNING)
                stream.at_work.add((task, attempt, item))
            case Expand(task):
                call = model.tasks[task]
                assert call in model.may_begin()
                assert stream.states[task, None] is RUNNING
                call.state, call.attempt = RUNNING, 1
            case Record(task, attempt, state, _, item):
                stream.move(task, item, state.type)
                if state.type is not RUNNING and attempt and (item is not None or not self.is_mapped(task)):
                    if (task, attempt, item) in stream.at_work:
                        stream.at_work.remove((task, attempt, item))
                        stream.ended.append((task, attempt, item))
                    else:  # it was told to wait before
                        assert (task, attempt, item) in stream.ended
                        assert state.type is CANCELLED
            case RecordRun(state):
                assert (stream.run, state.type) in {(RUNNING, RETRYING), (RETRYING, RUNNING)}
                stream.run = state.type
            case SetTimer(FlowDeadline()):
                self.is_timed = True
            case SetTimer(GraceOver()):
                self.is_grace = True
            case Release(task):
                stream.released.append(task)
            case Finish(state):
                assert state.is_final
                stream.is_finished = True

    def see_hooks(self, commands: Sequence[object]) -> None:
        """Each record of what has hooks comes with their call."""
        called = {(COMPLETED, True), (RETRYING, True), (CRASHED, True), (SKIPPED, True)}
        due = [
            CallHooks(each.task, each.attempt, each.state, each.item)
            for each in commands
            if isinstance(each, Record) and (each.state.type, each.attempt > 0) in called
        ]
        assert due == self.asked(commands, CallHooks)

    @staticmethod
    def asked(commands: Sequence[object], kind: type[AnyOf]) -> list[AnyOf]:
        return [each for each in commands if isinstance(each, kind)]

    def is_mapped(self, task: str) -> bool:
        return self.model.tasks[task].job.items is not None

    def call(self, task: str, item: int | None) -> Call:
        return self.model.tasks[task] if item is None else self.model.items[task][item]

    def a_running(self, number: int) -> Call:
        running = self.model.running()
        return running[number % len(running)]

    # ---- what happens

    @precondition(lambda self: not self.model.has_begun)
    @rule()
    def begin(self) -> None:
        self.model.begin()
        self.happen(RunStarted())

    @precondition(lambda self: self.model.running())
    @rule(number=st.integers(0, 7), how=st.sampled_from(WAYS_TO_END))
    def a_call_ends(self, number: int, how: str) -> None:
        call = self.a_running(number)
        name, attempt, item = call.job.id, call.attempt, call.item
        if how == "return":
            call.state = COMPLETED
            self.happen(TaskReturned(name, attempt, None, item=item))
        elif how == "skip":
            self.model.skip(call)
            self.happen(TaskSkipped(name, attempt, "no rows", item))
        elif how == "die":
            death = WorkerDiedError("killed", -9)
            self.model.fail(call, CRASHED, death)
            self.happen(WorkerDied(name, attempt, death, 0.0, item))
        else:
            error = ValueError("no") if how == "raise" else SystemExit(1)
            self.model.fail(call, FAILED, error)
            self.happen(TaskRaised(name, attempt, error, 0.0, item))

    @precondition(lambda self: any(call.job.seconds for call in self.model.running()))
    @rule(number=st.integers(0, 7))
    def a_deadline_passes(self, number: int) -> None:
        timed = [call for call in self.model.running() if call.job.seconds]
        call = timed[number % len(timed)]
        key = (call.job.id, call.attempt, call.item)
        if key not in self.told:
            self.model.stops.append(key)
        self.model.fail(call, TIMED_OUT, ValueError())
        self.happen(TimerFired(Deadline(*key), 0.0))

    @precondition(lambda self: self.model.waiting("timer"))
    @rule(number=st.integers(0, 7))
    def a_retry_is_due(self, number: int) -> None:
        waiting = self.model.waiting("timer")
        call = waiting[number % len(waiting)]
        call.waits_for = "room"
        self.happen(TimerFired(RetryDue(call.job.id, call.attempt, call.item), 0.0))

    @precondition(lambda self: self.model.expanding())
    @rule(number=st.integers(0, 7), how=st.sampled_from(["sized", "sized", "sized", "skip", "raise"]))
    def a_map_is_sized(self, number: int, how: str) -> None:
        expanding = self.model.expanding()
        task = expanding[number % len(expanding)]
        job = task.job
        if how == "skip":
            self.model.skip(task)
            self.happen(TaskSkipped(job.id, 1, "no list"))
        elif how == "raise":
            error = ValueError("no list")
            self.model.fail(task, FAILED, error)
            self.happen(TaskRaised(job.id, 1, error, 0.0))
        else:
            count = job.items or 0
            reused = job.reused_items
            self.model.items[job.id] = [
                Call(job, each, COMPLETED if each in reused else PENDING) for each in range(count)
            ]
            self.happen(MapSized(job.id, count))

    @precondition(lambda self: self.model.is_pausing and not self.model.is_ending)
    @rule()
    def the_run_may_be_tried_again(self) -> None:
        self.model.begin_again()
        self.happen(TimerFired(FlowRetryDue(), 0.0))

    @precondition(lambda self: not self.model.is_over)
    @rule(why=st.sampled_from([""] * 40 + ["cancel", "cancel", "time", "store"]))
    def the_run_is_to_end(self, why: str) -> None:
        if why == "cancel":
            self.model.end_early(CANCELLED)
            self.happen(CancelAsked("by hand"))
        elif why == "time" and self.is_timed:
            self.is_timed = False
            self.model.end_early(TIMED_OUT)
            self.happen(TimerFired(FlowDeadline(), 0.0))
        elif why == "store":
            self.model.is_broken = True
            self.model.end_early(FAILED)
            self.happen(KeepingFailed(StoreError("the disk is full")))

    @precondition(lambda self: self.told & self.stream.at_work)
    @rule(number=st.integers(0, 7))
    def a_call_stops(self, number: int) -> None:
        told = sorted(self.told & self.stream.at_work, key=repr)
        task, attempt, item = told[number % len(told)]
        self.call(task, item).state = CANCELLED
        self.happen(AttemptStopped(task, attempt, item))

    @precondition(lambda self: self.is_grace)
    @rule()
    def the_grace_is_over(self) -> None:
        self.is_grace = False
        for call in self.model.running():
            call.state = CANCELLED
        self.happen(TimerFired(GraceOver(), 0.0))

    # ---- what means nothing

    @precondition(lambda self: self.stream.ended)
    @rule(number=st.integers(0, 31), what=st.integers(0, 7), whose=st.sampled_from(["own", "own", "next", "item"]))
    def something_comes_late_or_of_what_is_not_there(self, number: int, what: int, whose: str) -> None:
        ended = self.stream.ended
        ended = [each for each in ended if not self.call(each[0], each[2]).state.is_final] or ended
        task, attempt, item = ended[number % len(ended)]
        call = self.call(task, item)
        if whose == "next":
            attempt += 1
        elif whose == "item":
            item = 9
        is_newest = (attempt, item) == (call.attempt, call.item)
        if is_newest and (call.state is RUNNING or (call.state is RETRYING and what == 5)):
            return  # that is not late, or its timer, which comes once
        stimuli: list[Stimulus] = [
            TaskReturned(task, attempt, None, item=item),
            TaskRaised(task, attempt, ValueError(), 0.0, item),
            WorkerDied(task, attempt, WorkerDiedError("", -9), 0.0, item),
            AttemptStopped(task, attempt, item),
            TimerFired(Deadline(task, attempt, item), 0.0),
            TimerFired(RetryDue(task, attempt, item), 0.0),
            MapSized(task, number),
            TaskSkipped(task, attempt, "late", item),
        ]
        self.happen(stimuli[what])

    @precondition(lambda self: self.model.is_over)
    @rule(
        stimulus=st.sampled_from(
            [
                CancelAsked("late"),
                KeepingFailed(StoreError("late")),
                TimerFired(FlowDeadline(), 0.0),
                TimerFired(FlowRetryDue(), 0.0),
                TimerFired(GraceOver(), 0.0),
            ]
        )
    )
    def something_comes_after_the_end(self, stimulus: Stimulus) -> None:
        self.happen(stimulus)

    # ---- the end

    def teardown(self) -> None:
        """Play the run to its end, which is quicker without hypothesis; nothing may be left behind."""
        if not getattr(self, "is_sound", False):
            return
        model, chance = self.model, Random(self.plan.seed)
        if not model.has_begun:
            self.begin()
        while not model.is_over:
            number = chance.randrange(32)
            may_happen: list[Callable[[], object]] = []
            if model.running():
                how = chance.choice(WAYS_TO_END)
                may_happen += [partial(self.a_call_ends, number, how)] * 3
            if any(call.job.seconds for call in model.running()):
                may_happen.append(partial(self.a_deadline_passes, number))
            if model.expanding():
                how = "raise" if number == 0 else "skip" if number == 1 else "sized"
                may_happen.append(partial(self.a_map_is_sized, number, how))
            if self.told & self.stream.at_work:
                may_happen.append(partial(self.a_call_stops, number))
            if model.waiting("timer"):
                may_happen.append(partial(self.a_retry_is_due, number))
            if model.is_pausing:
                may_happen.append(self.the_run_may_be_tried_again)
            if chance.random() < 0.01:
                may_happen.append(partial(self.the_run_is_to_end, "cancel"))
            assert may_happen
            chance.choice(may_happen)()
            if self.stream.ended:
                whose = chance.choice(("own", "next", "item"))
                self.something_comes_late_or_of_what_is_not_there(number, chance.randrange(8), whose)
        assert not self.stream.at_work
        assert len(self.stream.ended) == len(set(self.stream.ended))
        assert (self.run.free, self.run.busy) == (self.plan.max_workers, 0)


TestAnyRun = Runs.TestCase
TestAnyRun.settings = settings(
    max_examples=THOROUGH or 120, stateful_step_count=12, derandomize=not THOROUGH, print_blob=bool(THOROUGH)
)
pytestmark = pytest.mark.timeout(0 if THOROUGH else 400)  # a failure takes long to shrink
