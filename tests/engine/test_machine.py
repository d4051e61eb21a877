"""The state machine: stimuli in, commands compared. No thread, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

import pytest

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
    TimerFired,
    WorkerDied,
)
from dagy.engine.machine import GRACE_SECONDS, RunMachine, step
from dagy.errors import IllegalTransitionError, StoreError, TaskTimeoutError, WorkerDiedError
from dagy.hooks import Hooks
from dagy.parameters import Parameters
from dagy.program import Program, TaskCode
from dagy.retry import RetryPolicy
from dagy.spec import FlowOptions, FlowSpec, FromTask, ListOf, TaskOptions, TaskSpec
from dagy.states import State, StateType

ONCE_MORE = RetryPolicy(retries=1)
ONCE_MORE_LATER = RetryPolicy(retries=1, delays=(5.0,))
FLOW_LATE = TimerFired(FlowDeadline(), 0.0)
FLOW_RETRY_DUE = TimerFired(FlowRetryDue(), 0.0)
GRACE_OVER = TimerFired(GraceOver(), 0.0)
DISK_FULL = KeepingFailed(StoreError("the disk is full"))


def nothing() -> None: ...


NOTHING = Parameters(nothing, of="task")


def machine(
    needs: Mapping[str, Iterable[str]],
    *,
    max_workers: int = 8,
    fail_fast: bool = True,
    retry: RetryPolicy | Mapping[str, RetryPolicy] | None = None,
    hooks: Hooks | None = None,
    flow_retry: RetryPolicy | None = None,
    flow_seconds: float | None = None,
    result: Iterable[str] = (),
    grace_seconds: float = GRACE_SECONDS,
    reused: Iterable[str] = (),
    reused_items: Mapping[str, Iterable[int]] | None = None,
    time_limit: float | None = None,
    **options: Any,
) -> RunMachine:
    """A run of tasks that need each other so.

    The tasks `a` and `a-2` are two calls of one task; `m` and `n`, and further calls of theirs, are mapped.
    """
    names = {each: each.partition("-")[0] for each in needs}
    tasks = tuple(
        TaskSpec(
            each,
            names[each],
            f"m:{names[each]}",
            after=tuple(up),
            options=TaskOptions(**options),
            mapped=("x",) if names[each] in ("m", "n") else (),
        )
        for each, up in needs.items()
    )
    policies = retry if isinstance(retry, Mapping) else dict.fromkeys(needs, retry or RetryPolicy())
    code = {each: TaskCode(nothing, NOTHING, retry=policies[each], hooks=hooks or {}) for each in needs}
    spec = FlowSpec(
        "etl",
        tasks=tasks,
        result=ListOf(tuple(FromTask(each) for each in result)),
        options=FlowOptions(timeout_seconds=flow_seconds),
    )
    return RunMachine(
        Program(spec, code, {each: {} for each in needs}, retry=flow_retry or RetryPolicy()),
        max_workers=max_workers,
        fail_fast=fail_fast,
        grace_seconds=grace_seconds,
        time_limit=time_limit,
        reused=frozenset(reused),
        reused_items={task: frozenset(items) for task, items in (reused_items or {}).items()},
    )


def line(command: Command) -> str:
    """A command as a line of text: named tuples of two kinds with the same fields are equal, their lines are not."""
    match command:
        case Record(task, attempt, state, _, item):
            return f"{named(task, attempt, item)} {state}"
        case StartAttempt(task, attempt, seconds, item):
            return f"start {named(task, attempt, item)}" + ("" if seconds is None else f" for {seconds:g} s")
        case StopAttempt(task, attempt, item):
            return f"stop {named(task, attempt, item)}"
        case Expand(task):
            return f"expand {task}"
        case SetTimer(RetryDue(task, attempt, item), seconds):
            return f"retry {named(task, attempt, item)} in {seconds:g} s"
        case SetTimer(timer, seconds):
            return f"{type(timer).__name__} in {seconds:g} s"
        case CallHooks(task, attempt, state, item):
            return f"hooks {named(task, attempt, item)} {state.type}"
        case Release(task):
            return f"release {task}"
        case RecordRun(state):
            return f"run {state}"
        case Finish(state):
            return f"finish {state}"
        case _:
            assert_never(command)


def named(task: str, attempt: int, item: int | None) -> str:
    return f"{task}#{attempt}" if item is None else f"{task}[{item}]#{attempt}"


def after(run: RunMachine, *stimuli: Stimulus) -> list[str]:
    """What the last of the stimuli leads to, when the run has begun and those before it have happened."""
    found = step(run, RunStarted())
    for each in stimuli:
        found = step(run, each)
    return lines(found)


def lines(commands: list[Command]) -> list[str]:
    return [line(each) for each in commands]


def returned(task: str, attempt: int = 1, item: int | None = None) -> TaskReturned:
    return TaskReturned(task, attempt, None, item=item)


def raised(
    task: str,
    attempt: int = 1,
    error: BaseException | None = None,
    chance: float = 0.0,
    item: int | None = None,
) -> TaskRaised:
    return TaskRaised(task, attempt, error or ValueError("no rows"), chance, item)


def died(task: str, attempt: int = 1, item: int | None = None) -> WorkerDied:
    return WorkerDied(task, attempt, WorkerDiedError("killed by SIGKILL", -9), 0.0, item)


def late(task: str, attempt: int = 1, item: int | None = None) -> TimerFired:
    return TimerFired(Deadline(task, attempt, item), 0.0)


def retry_due(task: str, attempt: int = 1, item: int | None = None) -> TimerFired:
    return TimerFired(RetryDue(task, attempt, item), 0.0)


def kinds(run: RunMachine) -> dict[str, str]:
    return {task: str(state.type) for task, state in run.states().items()}


# Starting and completing


def test_a_run_starts_what_needs_nothing():
    run = machine({"a": [], "b": ["a"], "c": []})
    assert lines(step(run, RunStarted())) == ["start a#1", "start c#1"]


def test_the_start_of_an_attempt_says_by_itself_that_the_task_is_running():
    run = machine({"a": []})
    assert after(run) == ["start a#1"]
    assert run.tasks["a"].state == State(StateType.RUNNING)


def test_what_a_task_returned_without_running_is_noted_in_its_state():
    run = machine({"a": []})
    step(run, RunStarted())
    assert lines(step(run, TaskReturned("a", 1, 5, "found in the cache")))[0] == "a#1 COMPLETED: found in the cache"


def test_an_empty_run_completes_at_once():
    assert lines(step(machine({}), RunStarted())) == ["finish COMPLETED"]


def test_a_task_starts_when_the_last_of_what_it_needs_returned():
    run = machine({"a": [], "b": [], "c": ["a", "b"]})
    step(run, RunStarted())
    assert lines(step(run, TaskReturned("a", 1, None))) == ["a#1 COMPLETED"]
    assert lines(step(run, TaskReturned("b", 1, None))) == ["b#1 COMPLETED", "start c#1"]


def test_the_last_task_to_return_finishes_the_run():
    run = machine({"a": []})
    step(run, RunStarted())
    assert lines(step(run, TaskReturned("a", 1, 5))) == ["a#1 COMPLETED", "finish COMPLETED"]
    assert run.state.is_completed


def test_no_more_than_max_workers_run_and_the_next_one_starts_when_one_ends():
    run = machine({"a": [], "b": [], "c": []}, max_workers=2)
    assert lines(step(run, RunStarted())) == ["start a#1", "start b#1"]
    assert lines(step(run, TaskReturned("b", 1, None))) == ["b#1 COMPLETED", "start c#1"]


def test_an_end_calls_the_hooks_of_its_state():
    hook = (lambda *_: None,)
    run = machine({"a": [], "b": []}, fail_fast=False, hooks={StateType.COMPLETED: hook, StateType.FAILED: hook})
    step(run, RunStarted())
    assert lines(step(run, TaskReturned("a", 1, None))) == ["a#1 COMPLETED", "hooks a#1 COMPLETED"]
    assert lines(step(run, raised("b")))[:2] == ["b#1 FAILED: ValueError: no rows", "hooks b#1 FAILED"]


def test_the_end_of_what_never_started_calls_no_hooks():
    hook = (lambda *_: None,)
    run = machine({"a": [], "b": ["a"]}, hooks={StateType.SKIPPED: hook, StateType.CANCELLED: hook})
    assert not [each for each in after(run, raised("a")) if each.startswith("hooks")]


# Failing


def test_a_failed_task_skips_what_needs_it_directly_or_not_and_names_the_cause():
    run = machine({"a": [], "b": ["a"], "c": ["b"], "d": []}, fail_fast=False)
    step(run, RunStarted())
    assert lines(step(run, raised("a"))) == [
        "a#1 FAILED: ValueError: no rows",
        "b#0 SKIPPED: not started, because 'a' failed",
        "c#0 SKIPPED: not started, because 'a' failed",
    ]


def test_the_record_of_a_failure_holds_the_error():
    error = ValueError("no rows")
    run = machine({"a": []})
    step(run, RunStarted())
    assert step(run, raised("a", error=error))[0] == Record(
        "a", 1, State(StateType.FAILED, "ValueError: no rows"), error
    )


def test_without_fail_fast_what_is_independent_goes_on_and_the_run_says_failed():
    run = machine({"a": [], "b": [], "c": ["b"]}, fail_fast=False)
    step(run, RunStarted())
    step(run, raised("a"))
    assert lines(step(run, TaskReturned("b", 1, None))) == ["b#1 COMPLETED", "start c#1"]
    assert lines(step(run, TaskReturned("c", 1, None))) == [
        "c#1 COMPLETED",
        "release b",
        "finish FAILED: 1 of 3 tasks failed: 'a'",
    ]


def test_with_fail_fast_a_failure_stops_what_runs_and_cancels_what_waits():
    run = machine({"a": [], "b": [], "c": ["b"], "d": ["a"]})
    step(run, RunStarted())
    assert lines(step(run, raised("a"))) == [
        "a#1 FAILED: ValueError: no rows",
        "d#0 SKIPPED: not started, because 'a' failed",
        "stop b#1",
        "c#0 CANCELLED: not started, because 'a' failed",
        f"GraceOver in {GRACE_SECONDS:g} s",
    ]
    assert lines(step(run, AttemptStopped("b", 1))) == [
        "b#1 CANCELLED: stopped because 'a' failed",
        "finish FAILED: 1 of 4 tasks failed: 'a'",
    ]


def test_with_fail_fast_what_returns_although_it_was_told_to_stop_has_completed():
    run = machine({"a": [], "b": [], "c": ["b"]})
    step(run, RunStarted())
    step(run, raised("a"))
    assert lines(step(run, TaskReturned("b", 1, 7))) == [
        "b#1 COMPLETED",
        "release b",
        "finish FAILED: 1 of 3 tasks failed: 'a'",
    ]


def test_many_failures_are_counted_and_three_are_named():
    run = machine({name: [] for name in "abcde"}, fail_fast=False)
    step(run, RunStarted())
    for name in "abcd":
        step(run, raised(name))
    assert lines(step(run, raised("e")))[-1] == "finish FAILED: 5 of 5 tasks failed: 'a', 'b', 'c' and 2 more"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no rows"), "ValueError: no rows"),
        (KeyError("k"), "KeyError: 'k'"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 600), "ValueError: " + "x" * 500 + "..."),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failure_says_what_was_raised(error: BaseException, message: str):
    run = machine({"a": []})
    step(run, RunStarted())
    step(run, raised("a", error=error))
    assert run.tasks["a"].state.message == message


class UnspeakableError(Exception):
    def __init__(self, inner: BaseException) -> None:
        self.inner = inner

    def __str__(self) -> str:
        raise self.inner

    __repr__ = __str__


@pytest.mark.parametrize("inner", [ValueError(), SystemExit(), RecursionError()])
def test_an_exception_that_can_not_be_shown_fails_its_task_all_the_same(inner: BaseException):
    run = machine({"a": []})
    step(run, RunStarted())
    assert lines(step(run, raised("a", error=UnspeakableError(inner))))[0] == (
        "a#1 FAILED: UnspeakableError (its message can't be shown)"
    )


def test_a_worker_that_died_means_that_the_task_has_crashed():
    run = machine({"a": [], "b": ["a"]})
    assert after(run, died("a")) == [
        "a#1 CRASHED: killed by SIGKILL",
        "b#0 SKIPPED: not started, because 'a' crashed",
        "finish FAILED: 1 of 2 tasks failed: 'a'",
    ]


def test_the_second_failure_of_a_run_that_fails_fast_stops_nothing_anew():
    run = machine({"a": [], "b": [], "c": []})
    assert after(run, raised("a"), raised("b")) == ["b#1 FAILED: ValueError: no rows"]


# Trying again


def test_a_retry_without_a_delay_starts_at_once():
    run = machine({"a": []}, retry=RetryPolicy(retries=1))
    step(run, RunStarted())
    assert lines(step(run, raised("a"))) == [
        "a#1 RETRYING: attempt 1 of 2: ValueError: no rows",
        "start a#2",
    ]


def test_a_retry_with_a_delay_waits_for_its_timer():
    run = machine({"a": []}, retry=RetryPolicy(retries=1, delays=(5.0,)))
    step(run, RunStarted())
    assert lines(step(run, raised("a"))) == [
        "a#1 RETRYING: attempt 1 of 2: ValueError: no rows",
        "retry a#1 in 5 s",
    ]
    assert lines(step(run, TimerFired(RetryDue("a", 1), 0.0))) == ["start a#2"]


def test_the_chance_given_with_a_failure_lengthens_the_wait():
    run = machine({"a": []}, retry=RetryPolicy(retries=1, delays=(2.0,), jitter=0.5))
    step(run, RunStarted())
    assert lines(step(run, raised("a", chance=0.5)))[-1] == "retry a#1 in 2.5 s"


def test_a_task_that_waits_for_its_retry_holds_no_worker():
    run = machine({"a": [], "b": []}, max_workers=1, retry=RetryPolicy(retries=1, delays=(5.0,)))
    step(run, RunStarted())
    assert lines(step(run, raised("a")))[-1] == "start b#1"


def test_when_no_try_is_left_the_task_fails():
    run = machine({"a": []}, retry=RetryPolicy(retries=1))
    step(run, RunStarted())
    step(run, raised("a", 1))
    assert lines(step(run, raised("a", 2, KeyError("late")))) == [
        "a#2 FAILED: KeyError: 'late'",
        "finish FAILED: 1 of 1 tasks failed: 'a'",
    ]


def test_a_retry_calls_its_hooks_and_not_those_of_a_failure():
    hook = (lambda *_: None,)
    run = machine({"a": []}, retry=RetryPolicy(retries=1), hooks={StateType.RETRYING: hook, StateType.FAILED: hook})
    step(run, RunStarted())
    assert "hooks a#1 RETRYING" in lines(step(run, raised("a")))


@pytest.mark.parametrize("broken", [RuntimeError("broken"), SystemExit(1), UnspeakableError(ValueError())])
def test_a_retry_condition_that_raises_means_no_retry_and_keeps_the_tasks_own_error(broken: BaseException):
    def condition(error: Exception) -> bool:
        raise broken

    error = ValueError("no rows")
    run = machine({"a": []}, retry=RetryPolicy(retries=3, condition=condition))
    step(run, RunStarted())
    assert lines(step(run, raised("a", error=error)))[0] == "a#1 FAILED: ValueError: no rows"
    assert "retry_condition_fn" in error.__notes__[0]


def test_a_retry_timer_of_an_older_attempt_means_nothing():
    run = machine({"a": []}, retry=RetryPolicy(retries=2, delays=(1.0,)))
    step(run, RunStarted())
    step(run, raised("a", 1))
    step(run, TimerFired(RetryDue("a", 1), 0.0))
    step(run, raised("a", 2))
    assert step(run, TimerFired(RetryDue("a", 1), 0.0)) == []


def test_a_crash_is_tried_again_like_any_failure():
    run = machine({"a": []}, retry=ONCE_MORE)
    assert after(run, died("a")) == ["a#1 RETRYING: attempt 1 of 2: killed by SIGKILL", "start a#2"]


def test_the_retry_condition_is_asked_about_crashes_and_timeouts_too():
    seen: list[Exception] = []
    policy = RetryPolicy(retries=9, condition=lambda error: not seen.append(error))
    run = machine({"a": []}, retry=policy, timeout_seconds=1.0)
    after(run, died("a"), late("a", 2))
    assert [type(each) for each in seen] == [WorkerDiedError, TaskTimeoutError]


def test_what_is_no_exception_is_not_tried_again():
    run = machine({"a": []}, retry=RetryPolicy(retries=5))
    assert after(run, raised("a", error=SystemExit(3)))[0] == "a#1 FAILED: SystemExit: 3"


# Running out of time


def test_a_task_with_a_timeout_gets_a_deadline_for_each_attempt():
    run = machine({"a": []}, timeout_seconds=30.0, retry=RetryPolicy(retries=1))
    assert lines(step(run, RunStarted())) == ["start a#1 for 30 s"]
    assert lines(step(run, raised("a")))[1:] == ["start a#2 for 30 s"]


def test_a_deadline_stops_the_attempt_and_the_task_has_timed_out():
    run = machine({"a": [], "b": ["a"]}, timeout_seconds=30.0)
    step(run, RunStarted())
    commands = step(run, TimerFired(Deadline("a", 1), 0.0))
    message = "ran out of time after 30 s"
    assert lines(commands) == [
        "stop a#1",
        f"a#1 TIMED_OUT: {message}",
        "b#0 SKIPPED: not started, because 'a' timed out",
        "finish FAILED: 1 of 2 tasks failed: 'a'",
    ]
    assert isinstance(commands[1].error, TaskTimeoutError)


def test_a_timeout_is_tried_again_like_any_failure():
    run = machine({"a": []}, timeout_seconds=1.0, retry=RetryPolicy(retries=1))
    step(run, RunStarted())
    assert lines(step(run, TimerFired(Deadline("a", 1), 0.0)))[2:] == [
        "start a#2 for 1 s",
    ]


@pytest.mark.parametrize(
    "late", [TaskReturned("a", 1, 5), raised("a", 1), AttemptStopped("a", 1), TimerFired(Deadline("a", 1), 0.0)]
)
def test_what_a_timed_out_attempt_does_late_means_nothing(late: Any):
    run = machine({"a": []}, timeout_seconds=1.0, retry=RetryPolicy(retries=1))
    step(run, RunStarted())
    step(run, TimerFired(Deadline("a", 1), 0.0))
    assert step(run, late) == []
    assert lines(step(run, TaskReturned("a", 2, 6))) == ["a#2 COMPLETED", "finish COMPLETED"]


def test_a_deadline_after_the_return_means_nothing():
    run = machine({"a": [], "b": ["a"]}, timeout_seconds=1.0)
    step(run, RunStarted())
    step(run, TaskReturned("a", 1, 5))
    assert step(run, TimerFired(Deadline("a", 1), 0.0)) == []


def test_a_task_that_was_told_to_stop_and_then_runs_out_of_time_is_not_told_twice():
    run = machine({"a": []}, timeout_seconds=1.0)
    assert after(run, CancelAsked("by hand"), late("a")) == [
        "a#1 TIMED_OUT: ran out of time after 1 s",
        "finish CANCELLED: by hand",
    ]


def test_the_flows_deadline_is_set_when_the_run_begins():
    assert after(machine({"a": []}, flow_seconds=60.0)) == ["FlowDeadline in 60 s", "start a#1"]


def test_at_the_flows_deadline_what_runs_is_stopped_what_waits_is_cancelled_and_the_run_has_timed_out():
    run = machine({"a": [], "b": ["a"]}, flow_seconds=60.0)
    reason = "the flow ran out of time after 60 s"
    assert after(run, FLOW_LATE) == ["stop a#1", f"b#0 CANCELLED: {reason}", f"GraceOver in {GRACE_SECONDS:g} s"]
    assert lines(step(run, AttemptStopped("a", 1))) == [f"a#1 CANCELLED: {reason}", f"finish TIMED_OUT: {reason}"]


def test_the_flows_deadline_after_the_end_means_nothing():
    run = machine({"a": []}, flow_seconds=60.0)
    assert after(run, returned("a"), FLOW_LATE) == []
    assert run.state.is_completed


def test_a_run_whose_last_task_returns_although_the_flow_ran_out_of_time_has_completed():
    run = machine({"a": []}, flow_seconds=60.0)
    assert after(run, FLOW_LATE, returned("a"))[-1] == "finish COMPLETED"


def test_the_flows_deadline_after_a_cancel_means_nothing():
    run = machine({"a": []}, flow_seconds=60.0)
    assert after(run, CancelAsked("by hand"), FLOW_LATE) == []
    assert lines(step(run, AttemptStopped("a", 1)))[-1] == "finish CANCELLED: by hand"


# The time that the run's surroundings give it


def test_a_task_that_may_take_longer_than_the_run_has_is_not_started_and_says_both_numbers():
    run = machine({"a": [], "b": ["a"]}, time_limit=120.0, timeout_seconds=300.0)
    reason = "not started: it may take 300 s, and the run has 120 s left"
    assert after(run) == [
        "RunDeadline in 120 s",
        f"a#0 CANCELLED: {reason}",
        "b#0 CANCELLED: not started, because 'a' was not",
        f"finish TIMED_OUT: 'a' was {reason}",
    ]


def test_a_task_that_fits_into_the_time_that_the_run_has_is_started():
    assert after(machine({"a": []}, time_limit=120.0, timeout_seconds=120.0))[-1] == "start a#1 for 120 s"


def test_a_task_without_a_time_limit_of_its_own_is_started_and_stopped_when_the_time_is_up():
    run = machine({"a": [], "b": ["a"]}, time_limit=120.0)
    reason = "the 120 s that the run has are up"
    assert after(run, TimerFired(RunDeadline(), 0.0)) == [
        "stop a#1", f"b#0 CANCELLED: {reason}", f"GraceOver in {GRACE_SECONDS:g} s",
    ]  # fmt: skip
    assert lines(step(run, AttemptStopped("a", 1)))[-1] == f"finish TIMED_OUT: {reason}"


def test_what_is_left_of_the_time_counts_when_a_task_becomes_ready():
    run = machine({"a": [], "b": ["a"], "c": []}, time_limit=120.0, timeout_seconds=60.0)
    step(run, RunStarted())
    run.seconds_left = 59.4
    reason = "not started: it may take 60 s, and the run has 59 s left"
    assert lines(step(run, returned("a")))[1] == f"b#0 CANCELLED: {reason}"
    assert lines(step(run, returned("c")))[-1].startswith("finish TIMED_OUT: 'b' was not started")


def test_a_task_that_has_no_time_for_another_try_is_not_tried_again():
    run = machine({"a": []}, time_limit=120.0, timeout_seconds=60.0, retry=ONCE_MORE)
    step(run, RunStarted())
    run.seconds_left = 10.0
    assert lines(step(run, raised("a")))[-2:] == [
        "a#1 CANCELLED: not tried again: it may take 60 s, and the run has 10 s left",
        "finish TIMED_OUT: 'a' was not tried again: it may take 60 s, and the run has 10 s left",
    ]


def test_items_that_there_is_no_time_for_are_left_out_and_those_at_work_end():
    run = machine({"m": [], "b": ["m"]}, time_limit=120.0, timeout_seconds=60.0, max_workers=2)
    step(run, RunStarted())
    step(run, MapSized("m", 4))
    run.seconds_left = 10.0
    assert lines(step(run, returned("m", item=0))) == ["m[0]#1 COMPLETED"]
    reason = "not started: it may take 60 s, and the run has 10 s left"
    assert lines(step(run, returned("m", item=1))) == [
        "m[1]#1 COMPLETED",
        f"m#1 CANCELLED: {reason}",
        "b#0 CANCELLED: not started, because 'm' was not",
        f"finish TIMED_OUT: 'm' was {reason}",
    ]


def test_an_item_that_has_no_time_for_another_try_leaves_the_mapped_task_unfinished():
    run = machine({"m": [], "b": ["m"]}, time_limit=120.0, timeout_seconds=60.0, retry=ONCE_MORE)
    step(run, RunStarted())
    step(run, MapSized("m", 1))
    run.seconds_left = 10.0
    reason = "not tried again: it may take 60 s, and the run has 10 s left"
    assert lines(step(run, raised("m", item=0)))[1:] == [
        f"m[0]#1 CANCELLED: {reason}",
        f"m#1 CANCELLED: {reason}",
        "b#0 CANCELLED: not started, because 'm' was not",
        f"finish TIMED_OUT: 'm[0]' was {reason}",
    ]


def test_a_failure_counts_more_than_a_task_that_there_was_no_time_for():
    run = machine({"a": [], "b": []}, time_limit=120.0, fail_fast=False, timeout_seconds=60.0, max_workers=1)
    step(run, RunStarted())
    run.seconds_left = 10.0
    assert lines(step(run, raised("a")))[-1] == "finish FAILED: 1 of 2 tasks failed: 'a'"


# Cancelling


def test_a_cancel_before_the_start_lets_nothing_start():
    run = machine({"a": [], "b": ["a"]})
    assert lines(step(run, CancelAsked("cancelled"))) == ["a#0 CANCELLED: cancelled", "b#0 CANCELLED: cancelled"]
    assert lines(step(run, RunStarted())) == ["finish CANCELLED: cancelled"]


def test_a_cancel_stops_what_runs_and_lets_nothing_else_start():
    run = machine({"a": [], "b": ["a"]})
    step(run, RunStarted())
    assert lines(step(run, CancelAsked("by hand"))) == [
        "stop a#1",
        "b#0 CANCELLED: by hand",
        f"GraceOver in {GRACE_SECONDS:g} s",
    ]
    assert lines(step(run, AttemptStopped("a", 1))) == ["a#1 CANCELLED: by hand", "finish CANCELLED: by hand"]


def test_a_cancel_ends_the_wait_for_a_retry():
    run = machine({"a": []}, retry=RetryPolicy(retries=1, delays=(60.0,)))
    step(run, RunStarted())
    step(run, raised("a"))
    assert lines(step(run, CancelAsked("by hand"))) == ["a#1 CANCELLED: by hand", "finish CANCELLED: by hand"]
    assert step(run, TimerFired(RetryDue("a", 1), 0.0)) == []


def test_a_second_cancel_means_nothing():
    run = machine({"a": []})
    step(run, RunStarted())
    step(run, CancelAsked("first"))
    assert step(run, CancelAsked("second")) == []
    assert run.cancel_reason == "first"


def test_a_cancel_after_the_end_means_nothing():
    run = machine({"a": []})
    step(run, RunStarted())
    step(run, TaskReturned("a", 1, None))
    assert step(run, CancelAsked("late")) == []
    assert run.state.is_completed


def test_a_cancel_that_comes_too_late_for_the_last_task_leaves_the_run_completed():
    run = machine({"a": []})
    step(run, RunStarted())
    step(run, CancelAsked("late"))
    assert lines(step(run, TaskReturned("a", 1, None))) == ["a#1 COMPLETED", "finish COMPLETED"]


def test_nothing_is_tried_again_once_the_run_is_cancelled():
    run = machine({"a": []}, retry=RetryPolicy(retries=5))
    step(run, RunStarted())
    step(run, CancelAsked("by hand"))
    assert lines(step(run, raised("a"))) == ["a#1 FAILED: ValueError: no rows", "finish CANCELLED: by hand"]


def test_after_the_grace_the_run_goes_on_without_what_did_not_stop():
    run = machine({"a": [], "b": []})
    step(run, RunStarted())
    step(run, CancelAsked("by hand"))
    step(run, AttemptStopped("b", 1))
    assert lines(step(run, TimerFired(GraceOver(), 0.0))) == [
        "a#1 CANCELLED: by hand; it did not stop in time",
        "finish CANCELLED: by hand",
    ]
    assert step(run, AttemptStopped("a", 1)) == []


def test_when_everything_stopped_in_time_the_end_of_the_grace_means_nothing():
    run = machine({"a": []})
    step(run, RunStarted())
    step(run, CancelAsked("by hand"))
    step(run, AttemptStopped("a", 1))
    assert step(run, TimerFired(GraceOver(), 0.0)) == []


def test_the_run_waits_for_what_it_stops_as_long_as_it_is_told():
    run = machine({"a": []}, grace_seconds=0.5)
    assert after(run, CancelAsked("by hand"))[-1] == "GraceOver in 0.5 s"


def test_a_cancel_while_a_failure_stops_the_others_does_not_tell_them_twice():
    run = machine({"a": [], "b": []})
    assert after(run, raised("a"), CancelAsked("by hand")) == []
    assert lines(step(run, AttemptStopped("b", 1))) == ["b#1 CANCELLED: by hand", "finish CANCELLED: by hand"]


def test_a_run_that_can_not_be_recorded_any_more_stops_and_has_failed():
    run = machine({"a": [], "b": ["a"]})
    trouble = "the run can't be recorded any more: the disk is full"
    assert after(run, DISK_FULL) == ["stop a#1", f"b#0 CANCELLED: {trouble}", f"GraceOver in {GRACE_SECONDS:g} s"]
    assert lines(step(run, AttemptStopped("a", 1)))[-1] == f"finish FAILED: {trouble}"


def test_a_run_that_could_not_be_recorded_to_its_end_has_failed_although_its_tasks_completed():
    run = machine({"a": []})
    assert after(run, DISK_FULL, returned("a"))[-1].startswith("finish FAILED: the run can't be recorded")


def test_a_second_trouble_with_the_record_means_nothing():
    run = machine({"a": []})
    assert after(run, DISK_FULL, DISK_FULL) == []


# Limits


def test_a_concurrency_limit_bounds_the_calls_of_one_task_and_of_no_other():
    run = machine({"a": [], "a-2": [], "a-3": [], "b": [], "b-2": []}, concurrency_limit=1)
    assert lines(step(run, RunStarted())) == ["start a#1", "start b#1"]
    assert lines(step(run, TaskReturned("a", 1, None))) == ["a#1 COMPLETED", "start a-2#1"]
    assert lines(step(run, TaskReturned("a-2", 1, None))) == ["a-2#1 COMPLETED", "start a-3#1"]


def test_a_task_held_back_by_its_limit_holds_no_worker():
    run = machine({"a": [], "a-2": [], "b": []}, concurrency_limit=1, max_workers=2)
    assert lines(step(run, RunStarted()))[-1] == "start b#1"


def test_what_its_limit_held_back_goes_before_what_became_ready_later():
    run = machine({"a": [], "a-2": [], "b": [], "c": []}, concurrency_limit=1, max_workers=2)
    assert after(run, returned("a"))[-1] == "start a-2#1"


def test_a_task_that_waits_for_its_retry_leaves_its_place_in_the_limit():
    run = machine({"a": [], "a-2": []}, concurrency_limit=1, retry=RetryPolicy(retries=1, delays=(9.0,)))
    step(run, RunStarted())
    assert lines(step(run, raised("a")))[-1] == "start a-2#1"
    assert step(run, TimerFired(RetryDue("a", 1), 0.0)) == []
    assert lines(step(run, TaskReturned("a-2", 1, None))) == ["a-2#1 COMPLETED", "start a#2"]


def test_what_a_limit_holds_back_is_cancelled_with_the_rest():
    run = machine({"a": [], "a-2": []}, concurrency_limit=1)
    step(run, RunStarted())
    assert "a-2#0 CANCELLED: by hand" in lines(step(run, CancelAsked("by hand")))
    assert lines(step(run, AttemptStopped("a", 1))) == ["a#1 CANCELLED: by hand", "finish CANCELLED: by hand"]


# Mapped tasks


def test_a_mapped_task_is_running_while_its_items_are_counted():
    assert after(machine({"a": [], "m": ["a"]}), returned("a")) == [
        "a#1 COMPLETED",
        "m#1 RUNNING",
        "expand m",
    ]


def test_the_items_start_when_they_are_counted():
    assert after(machine({"m": []}), MapSized("m", 2)) == ["start m[0]#1", "start m[1]#1"]


def test_no_more_items_run_than_there_are_workers_and_they_start_in_order():
    run = machine({"m": []}, max_workers=2)
    assert after(run, MapSized("m", 4)) == ["start m[0]#1", "start m[1]#1"]
    assert lines(step(run, returned("m", item=1))) == ["m[1]#1 COMPLETED", "start m[2]#1"]
    assert lines(step(run, returned("m", item=2))) == ["m[2]#1 COMPLETED", "start m[3]#1"]


def test_all_items_go_before_what_became_ready_after_their_task():
    run = machine({"m": [], "b": [], "c": ["b"]}, max_workers=1)
    assert after(run, MapSized("m", 2), returned("b"))[-1] == "start m[0]#1"
    assert lines(step(run, returned("m", item=0)))[-1] == "start m[1]#1"


def test_expanding_holds_no_worker():
    assert after(machine({"m": [], "b": []}, max_workers=1)) == ["m#1 RUNNING", "expand m", "start b#1"]


def test_the_last_item_to_return_completes_the_mapped_task_and_what_needs_it_starts():
    run = machine({"m": [], "b": ["m"]})
    assert after(run, MapSized("m", 2), returned("m", item=1)) == ["m[1]#1 COMPLETED"]
    assert lines(step(run, returned("m", item=0))) == ["m[0]#1 COMPLETED", "m#1 COMPLETED", "start b#1"]


def test_a_task_mapped_over_nothing_completes_at_once():
    run = machine({"m": [], "b": ["m"]})
    assert after(run, MapSized("m", 0)) == ["m#1 COMPLETED", "start b#1"]


def test_a_mapped_task_whose_items_can_not_be_counted_fails_and_is_not_tried_again():
    run = machine({"m": [], "b": ["m"]}, retry=RetryPolicy(5), flow_retry=RetryPolicy(5))
    assert after(run, raised("m", error=TypeError("no list"))) == [
        "m#1 FAILED: TypeError: no list",
        "b#0 SKIPPED: not started, because 'm' failed",
        "finish FAILED: 1 of 2 tasks failed: 'm'",
    ]


def test_a_second_size_means_nothing():
    assert after(machine({"m": []}), MapSized("m", 1), MapSized("m", 3)) == []


def test_a_size_of_what_is_not_mapped_means_nothing():
    assert after(machine({"a": []}), MapSized("a", 3)) == []


@pytest.mark.parametrize(
    "stray", [returned("m", item=7), raised("m", item=7), late("m", item=7), returned("a", item=0)]
)
def test_news_of_an_item_that_is_not_there_means_nothing(stray: Stimulus):
    assert after(machine({"m": [], "a": []}), MapSized("m", 1), stray) == []


def test_news_of_an_item_that_has_ended_means_nothing():
    assert after(machine({"m": []}), MapSized("m", 2), returned("m", item=0), raised("m", item=0)) == []


def test_a_concurrency_limit_bounds_the_items_of_a_mapped_task():
    run = machine({"m": []}, concurrency_limit=2)
    assert after(run, MapSized("m", 4)) == ["start m[0]#1", "start m[1]#1"]
    assert lines(step(run, returned("m", item=0))) == ["m[0]#1 COMPLETED", "start m[2]#1"]


def test_two_mapped_calls_of_one_task_share_its_limit_and_take_turns():
    run = machine({"m": [], "m-2": []}, concurrency_limit=1)
    assert after(run, MapSized("m", 2), MapSized("m-2", 2)) == []
    assert lines(step(run, returned("m", item=0)))[-1] == "start m[1]#1"
    assert lines(step(run, returned("m", item=1)))[-1] == "start m-2[0]#1"
    assert lines(step(run, returned("m-2", item=0)))[-1] == "start m-2[1]#1"


def test_an_item_is_tried_again_by_itself():
    run = machine({"m": []}, retry=ONCE_MORE)
    assert after(run, MapSized("m", 2), raised("m", item=1)) == [
        "m[1]#1 RETRYING: attempt 1 of 2: ValueError: no rows",
        "start m[1]#2",
    ]


def test_an_item_that_waits_for_its_retry_holds_no_worker_and_keeps_its_task_running():
    run = machine({"m": []}, max_workers=1, retry=ONCE_MORE_LATER)
    assert after(run, MapSized("m", 2), raised("m", item=0))[1:] == ["retry m[0]#1 in 5 s", "start m[1]#1"]
    assert lines(step(run, returned("m", item=1))) == ["m[1]#1 COMPLETED"]
    assert lines(step(run, retry_due("m", item=0))) == ["start m[0]#2"]
    assert lines(step(run, returned("m", 2, item=0)))[1:] == ["m#1 COMPLETED", "finish COMPLETED"]


def test_each_item_has_the_tasks_time_limit():
    run = machine({"m": []}, timeout_seconds=3.0)
    assert after(run, MapSized("m", 2)) == ["start m[0]#1 for 3 s", "start m[1]#1 for 3 s"]


def test_an_item_that_runs_out_of_time_is_stopped_alone():
    run = machine({"m": []}, timeout_seconds=3.0, fail_fast=False)
    assert after(run, MapSized("m", 2), late("m", item=1)) == [
        "stop m[1]#1",
        "m[1]#1 TIMED_OUT: ran out of time after 3 s",
    ]


def test_an_item_whose_worker_died_has_crashed_and_the_mapped_task_has_failed():
    run = machine({"m": []})
    assert after(run, MapSized("m", 1), died("m", item=0)) == [
        "m[0]#1 CRASHED: killed by SIGKILL",
        "m#1 FAILED: 1 of 1 items failed; m[0] crashed: killed by SIGKILL",
        "finish FAILED: 1 of 1 tasks failed: 'm'",
    ]


def test_without_fail_fast_the_other_items_go_on_and_then_the_mapped_task_fails_and_skips_what_needs_it():
    run = machine({"m": [], "b": ["m"]}, fail_fast=False, max_workers=1)
    assert after(run, MapSized("m", 3), raised("m", item=0)) == ["m[0]#1 FAILED: ValueError: no rows", "start m[1]#1"]
    step(run, returned("m", item=1))
    assert lines(step(run, raised("m", item=2, error=KeyError("k")))) == [
        "m[2]#1 FAILED: KeyError: 'k'",
        "m#1 FAILED: 2 of 3 items failed; m[0] failed: ValueError: no rows",
        "b#0 SKIPPED: not started, because 'm' failed",
        "finish FAILED: 1 of 2 tasks failed: 'm'",
    ]


def test_with_fail_fast_a_failed_item_stops_the_others_and_the_mapped_task_has_failed():
    run = machine({"m": [], "b": ["m"]}, max_workers=2)
    assert after(run, MapSized("m", 3), raised("m", item=0)) == [
        "m[0]#1 FAILED: ValueError: no rows",
        "stop m[1]#1",
        "b#0 CANCELLED: not started, because 'm[0]' failed",
        f"GraceOver in {GRACE_SECONDS:g} s",
    ]
    assert lines(step(run, AttemptStopped("m", 1, 1))) == [
        "m[1]#1 CANCELLED: stopped because 'm[0]' failed",
        "m#1 FAILED: 1 of 3 items failed; m[0] failed: ValueError: no rows",
        "finish FAILED: 1 of 2 tasks failed: 'm'",
    ]


def test_with_fail_fast_a_failure_elsewhere_cancels_the_mapped_task_with_its_items():
    run = machine({"m": [], "a": []})
    after(run, MapSized("m", 1), raised("a"))
    assert lines(step(run, AttemptStopped("m", 1, 0)))[:2] == [
        "m[0]#1 CANCELLED: stopped because 'a' failed",
        "m#1 CANCELLED: stopped because 'a' failed",
    ]


@pytest.mark.parametrize("end", [CancelAsked("by hand"), FLOW_LATE])
def test_what_ends_the_run_while_items_are_counted_cancels_the_mapped_task_and_the_size_comes_too_late(end: Stimulus):
    run = machine({"m": [], "b": ["m"]}, flow_seconds=60.0)
    after(run, end)
    assert kinds(run) == {"m": "CANCELLED", "b": "CANCELLED"}
    assert step(run, MapSized("m", 3)) == []
    assert run.busy == 0


@pytest.mark.parametrize("size", [2, 3])
def test_a_cancel_while_items_run_stops_them_starts_no_other_and_cancels_the_mapped_task(size: int):
    run = machine({"m": []}, max_workers=2)
    assert after(run, MapSized("m", size), CancelAsked("by hand"))[:2] == ["stop m[0]#1", "stop m[1]#1"]
    assert lines(step(run, AttemptStopped("m", 1, 0))) == ["m[0]#1 CANCELLED: by hand"]
    assert lines(step(run, AttemptStopped("m", 1, 1))) == [
        "m[1]#1 CANCELLED: by hand",
        "m#1 CANCELLED: by hand",
        "finish CANCELLED: by hand",
    ]


def test_a_mapped_task_with_items_that_never_began_is_cancelled_although_the_others_returned():
    run = machine({"m": []}, max_workers=1)
    after(run, MapSized("m", 2), CancelAsked("by hand"))
    assert lines(step(run, returned("m", item=0)))[1:] == ["m#1 CANCELLED: by hand", "finish CANCELLED: by hand"]


def test_at_the_flows_deadline_items_that_run_and_items_that_wait_end_with_the_reason():
    run = machine({"m": []}, max_workers=1, retry=ONCE_MORE_LATER, flow_seconds=60.0)
    reason = "the flow ran out of time after 60 s"
    assert after(run, MapSized("m", 3), raised("m", item=0), FLOW_LATE) == [
        f"m[0]#1 CANCELLED: {reason}",
        "stop m[1]#1",
        f"GraceOver in {GRACE_SECONDS:g} s",
    ]
    assert lines(step(run, AttemptStopped("m", 1, 1))) == [
        f"m[1]#1 CANCELLED: {reason}",
        f"m#1 CANCELLED: {reason}",
        f"finish TIMED_OUT: {reason}",
    ]


def test_a_mapped_task_whose_items_all_returned_although_they_were_told_to_stop_has_completed():
    run = machine({"m": []})
    after(run, MapSized("m", 2), CancelAsked("by hand"), returned("m", item=0))
    assert lines(step(run, returned("m", item=1)))[-2:] == ["m#1 COMPLETED", "finish COMPLETED"]


def test_a_cancel_while_items_wait_for_their_retry_ends_them_at_once():
    run = machine({"m": []}, retry=ONCE_MORE_LATER)
    assert after(run, MapSized("m", 2), raised("m", item=0), raised("m", item=1), CancelAsked("by hand")) == [
        "m[0]#1 CANCELLED: by hand",
        "m[1]#1 CANCELLED: by hand",
        "m#1 CANCELLED: by hand",
        "finish CANCELLED: by hand",
    ]
    assert step(run, retry_due("m", item=0)) == []


def test_a_cancel_while_all_items_wait_for_a_worker_cancels_the_mapped_task():
    run = machine({"m": [], "b": []}, max_workers=1)
    assert "m#1 CANCELLED: by hand" in after(run, MapSized("m", 2), CancelAsked("by hand"))


def test_after_the_grace_items_that_did_not_stop_are_left_behind():
    run = machine({"m": []})
    assert after(run, MapSized("m", 2), CancelAsked("by hand"), GRACE_OVER) == [
        "m[0]#1 CANCELLED: by hand; it did not stop in time",
        "m[1]#1 CANCELLED: by hand; it did not stop in time",
        "m#1 CANCELLED: by hand",
        "finish CANCELLED: by hand",
    ]


def test_the_hooks_of_a_mapped_task_are_called_for_each_item_and_for_the_whole():
    hook = (lambda *_: None,)
    run = machine({"m": []}, hooks={StateType.COMPLETED: hook})
    assert after(run, MapSized("m", 1), returned("m", item=0)) == [
        "m[0]#1 COMPLETED",
        "hooks m[0]#1 COMPLETED",
        "m#1 COMPLETED",
        "hooks m#1 COMPLETED",
        "finish COMPLETED",
    ]


# Results that are there already


def test_a_reused_task_completes_without_starting_and_what_needs_it_starts():
    assert after(machine({"a": [], "b": ["a"]}, reused=["a"])) == [
        "a#0 COMPLETED: its result is that of an earlier run",
        "start b#1",
    ]


def test_a_run_that_reuses_everything_completes_at_once():
    assert after(machine({"a": [], "m": ["a"]}, reused=["a", "m"]))[-1] == "finish COMPLETED"


def test_a_task_whose_consumer_is_reused_runs_and_does_not_start_that_again():
    run = machine({"a": [], "b": ["a"], "c": ["b"]}, reused=["b"])
    assert after(run)[-2:] == ["start a#1", "start c#1"]
    assert "start b#1" not in lines(step(run, returned("a")))


def test_a_reused_task_stays_completed_when_what_it_needed_fails():
    run = machine({"a": [], "b": ["a"], "c": ["b"]}, reused=["b"], fail_fast=False)
    after(run, raised("a"), returned("c"))
    assert kinds(run) == {"a": "FAILED", "b": "COMPLETED", "c": "COMPLETED"}


def test_reused_items_are_passed_over():
    run = machine({"m": []}, reused_items={"m": [0, 2]})
    assert after(run, MapSized("m", 4)) == ["start m[1]#1", "start m[3]#1"]
    step(run, returned("m", item=3))
    assert lines(step(run, returned("m", item=1)))[-2:] == ["m#1 COMPLETED", "finish COMPLETED"]


def test_a_mapped_task_whose_items_are_all_reused_completes_when_they_are_counted():
    run = machine({"m": []}, reused_items={"m": [0, 1]})
    assert after(run, MapSized("m", 2)) == ["m#1 COMPLETED", "finish COMPLETED"]


def test_a_cancel_before_the_start_leaves_reused_tasks_completed():
    run = machine({"a": [], "b": ["a"]}, reused=["a"])
    step(run, CancelAsked("by hand"))
    assert lines(step(run, RunStarted()))[-1] == "finish CANCELLED: by hand"
    assert kinds(run) == {"a": "COMPLETED", "b": "CANCELLED"}


# Trying the whole flow again


def test_a_failed_task_waits_for_the_flow_to_be_tried_again_and_others_go_on_in_spite_of_fail_fast():
    run = machine({"a": [], "b": [], "c": ["b"], "d": ["a"]}, flow_retry=ONCE_MORE)
    assert after(run, raised("a")) == ["a#1 RETRYING: ValueError: no rows; waits for the flow to be tried again"]
    assert lines(step(run, returned("b")))[-1] == "start c#1"
    assert kinds(run)["d"] == "PENDING"


def test_when_nothing_else_can_go_on_the_flow_is_tried_again_with_what_failed_and_no_more():
    run = machine({"a": [], "b": [], "c": ["a"]}, flow_retry=ONCE_MORE)
    assert after(run, raised("a"), returned("b")) == [
        "b#1 COMPLETED",
        "run RETRYING: attempt 1 of 2: 'a' failed",
        "run RUNNING",
        "start a#2",
    ]
    assert lines(step(run, returned("a", 2))) == ["a#2 COMPLETED", "start c#1"]


def test_between_two_tries_of_a_flow_with_a_delay_the_run_is_retrying():
    run = machine({"a": []}, flow_retry=ONCE_MORE_LATER)
    assert after(run, raised("a"))[1:] == ["run RETRYING: attempt 1 of 2: 'a' failed", "FlowRetryDue in 5 s"]
    assert run.state.type is StateType.RETRYING
    assert lines(step(run, FLOW_RETRY_DUE)) == ["run RUNNING", "start a#2"]
    assert run.state.type is StateType.RUNNING


def test_the_flow_is_not_tried_again_while_a_task_still_waits_for_its_own_retry():
    run = machine(
        {"a": [], "b": []}, retry={"a": RetryPolicy(), "b": ONCE_MORE_LATER}, flow_retry=ONCE_MORE, fail_fast=False
    )
    assert after(run, raised("a"), raised("b"))[-1] == "retry b#1 in 5 s"
    step(run, retry_due("b"))
    assert "run RUNNING" in lines(step(run, returned("b", 2)))


def test_the_flow_is_not_tried_again_while_items_are_counted():
    run = machine({"a": [], "m": []}, flow_retry=ONCE_MORE)
    assert after(run, raised("a"))[-1].startswith("a#1 RETRYING")
    assert "run RUNNING" in lines(step(run, MapSized("m", 0)))


def test_each_try_of_the_flow_gives_a_task_all_its_retries_again():
    run = machine({"a": []}, retry=ONCE_MORE, flow_retry=ONCE_MORE)
    after(run, raised("a", 1), raised("a", 2))
    assert lines(step(run, raised("a", 3))) == ["a#3 RETRYING: attempt 1 of 2: ValueError: no rows", "start a#4"]
    assert lines(step(run, raised("a", 4)))[0] == "a#4 FAILED: ValueError: no rows"


def test_when_no_try_of_the_flow_is_left_the_task_and_the_run_fail():
    run = machine({"a": [], "b": ["a"]}, flow_retry=ONCE_MORE)
    assert after(run, raised("a"), raised("a", 2)) == [
        "a#2 FAILED: ValueError: no rows",
        "b#0 SKIPPED: not started, because 'a' failed",
        "finish FAILED: 1 of 2 tasks failed: 'a'",
    ]


def test_the_delays_of_a_flow_follow_one_another():
    run = machine({"a": []}, flow_retry=RetryPolicy(retries=2, delays=(5.0, 7.0)))
    assert after(run, raised("a"))[-1] == "FlowRetryDue in 5 s"
    step(run, FLOW_RETRY_DUE)
    assert lines(step(run, raised("a", 2)))[1:] == [
        "run RETRYING: attempt 2 of 3: 'a' failed",
        "FlowRetryDue in 7 s",
    ]


def test_what_is_no_exception_does_not_wait_for_the_flow():
    run = machine({"a": []}, flow_retry=RetryPolicy(retries=5))
    assert after(run, raised("a", error=SystemExit(3)))[0] == "a#1 FAILED: SystemExit: 3"


def test_a_failure_that_is_final_ends_the_wait_of_others_for_the_flow():
    run = machine({"a": [], "b": []}, flow_retry=RetryPolicy(retries=5))
    assert after(run, raised("a"), raised("b", error=SystemExit(3))) == [
        "b#1 FAILED: SystemExit: 3",
        "a#1 CANCELLED: not tried again, because 'b' failed",
        "finish FAILED: 1 of 2 tasks failed: 'b'",
    ]


def test_a_task_that_waits_for_the_flow_calls_its_retrying_hooks():
    hook = (lambda *_: None,)
    run = machine({"a": [], "b": []}, flow_retry=ONCE_MORE, hooks={StateType.RETRYING: hook, StateType.FAILED: hook})
    assert after(run, raised("a"))[1:] == ["hooks a#1 RETRYING"]


@pytest.mark.parametrize(
    ("end", "how"), [(CancelAsked("by hand"), "CANCELLED"), (FLOW_LATE, "TIMED_OUT"), (DISK_FULL, "FAILED")]
)
def test_what_ends_a_run_that_waits_to_be_tried_again_ends_it_at_once(end: Stimulus, how: str):
    run = machine({"a": [], "b": ["a"]}, flow_retry=ONCE_MORE_LATER, flow_seconds=60.0)
    assert after(run, raised("a"), end)[-1].startswith(f"finish {how}")
    assert kinds(run) == {"a": "CANCELLED", "b": "CANCELLED"}
    assert step(run, FLOW_RETRY_DUE) == []
    assert run.busy == 0


def test_a_cancel_while_others_run_ends_what_waits_for_the_flow():
    run = machine({"a": [], "b": []}, flow_retry=ONCE_MORE)
    assert after(run, raised("a"), CancelAsked("by hand")) == [
        "a#1 CANCELLED: by hand",
        "stop b#1",
        f"GraceOver in {GRACE_SECONDS:g} s",
    ]
    assert lines(step(run, AttemptStopped("b", 1)))[-1] == "finish CANCELLED: by hand"


def test_nothing_waits_for_the_flow_once_the_run_is_cancelled():
    run = machine({"a": []}, flow_retry=ONCE_MORE)
    assert after(run, CancelAsked("by hand"), raised("a")) == [
        "a#1 FAILED: ValueError: no rows",
        "finish CANCELLED: by hand",
    ]


def test_failed_items_wait_for_the_flow_and_the_others_are_not_run_again():
    run = machine({"m": [], "b": ["m"]}, flow_retry=ONCE_MORE)
    assert after(run, MapSized("m", 3), raised("m", item=1)) == [
        "m[1]#1 RETRYING: ValueError: no rows; waits for the flow to be tried again"
    ]
    step(run, returned("m", item=0))
    assert lines(step(run, returned("m", item=2))) == [
        "m[2]#1 COMPLETED",
        "run RETRYING: attempt 1 of 2: 'm[1]' failed",
        "run RUNNING",
        "start m[1]#2",
    ]
    assert lines(step(run, returned("m", 2, item=1))) == ["m[1]#2 COMPLETED", "m#1 COMPLETED", "start b#1"]


def test_tasks_that_are_tried_again_with_the_flow_keep_to_the_limits():
    run = machine({"a": [], "a-2": [], "b": [], "c": []}, flow_retry=ONCE_MORE, concurrency_limit=1, max_workers=2)
    after(run, raised("a"), raised("b"), raised("c"))
    assert lines(step(run, raised("a-2")))[-2:] == ["start a#2", "start b#2"]


# Letting values go


def test_a_value_is_let_go_when_the_last_of_its_consumers_has_ended():
    run = machine({"a": [], "b": ["a"], "c": ["a"]})
    assert "release a" not in after(run, returned("a"), returned("b"))
    assert lines(step(run, returned("c")))[:2] == ["c#1 COMPLETED", "release a"]


def test_a_value_is_kept_while_a_consumer_may_be_tried_again():
    run = machine({"a": [], "b": ["a"]}, retry=ONCE_MORE_LATER, flow_retry=ONCE_MORE_LATER)
    assert "release a" not in after(run, returned("a"), raised("b"))
    step(run, retry_due("b"))
    assert "release a" not in lines(step(run, raised("b", 2)))
    step(run, FLOW_RETRY_DUE)
    assert "release a" in lines(step(run, returned("b", 3)))


def test_a_value_is_let_go_when_what_needs_it_failed_or_was_skipped():
    run = machine({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert "release a" in after(run, returned("a"), raised("b"))


def test_a_value_whose_consumers_ended_before_it_was_there_is_let_go_at_once():
    run = machine({"a": [], "b": [], "c": ["a", "b"]}, fail_fast=False)
    assert after(run, raised("b"), returned("a"))[:2] == ["a#1 COMPLETED", "release a"]


def test_what_the_flow_returns_is_never_let_go():
    run = machine({"a": [], "b": ["a"]}, result=["a"])
    assert after(run, returned("a"), returned("b")) == ["b#1 COMPLETED", "finish COMPLETED"]


def test_what_nobody_needs_and_the_flow_does_not_return_is_kept():
    assert after(machine({"a": []}), returned("a")) == ["a#1 COMPLETED", "finish COMPLETED"]


def test_what_did_not_complete_has_no_value_to_let_go():
    assert "release a" not in after(machine({"a": [], "b": ["a"]}), raised("a"))


def test_a_reused_value_is_let_go_when_all_that_need_it_are_reused_too():
    found = after(machine({"a": [], "b": ["a"], "c": []}, reused=["a", "b"]))
    assert found.count("release a") == 1


def test_the_value_of_a_reused_task_is_let_go_once_when_the_run_is_cancelled_before_it_begins():
    run = machine({"a": [], "b": ["a"]}, reused=["a"])
    found = lines(step(run, CancelAsked("by hand"))) + lines(step(run, RunStarted()))
    assert found.count("release a") == 1


# What can't be


def test_an_impossible_move_raises_and_names_both_states():
    run = machine({"a": [], "b": ["a"]})
    step(run, RunStarted())
    run.tasks["b"].state = State(StateType.RETRYING)
    with pytest.raises(IllegalTransitionError, match="'b' can't go from RETRYING to SKIPPED"):
        step(run, raised("a"))


@pytest.mark.parametrize(
    "late",
    [
        TaskReturned("a", 1, None),
        raised("a"),
        AttemptStopped("a", 1),
        TimerFired(Deadline("a", 1), 0.0),
        CancelAsked(""),
    ],
)
def test_final_stays_final(late: Any):
    run = machine({"a": []}, fail_fast=False)
    step(run, RunStarted())
    step(run, raised("a"))
    before = (run.state, run.tasks["a"].state)
    assert step(run, late) == []
    assert (run.state, run.tasks["a"].state) == before
