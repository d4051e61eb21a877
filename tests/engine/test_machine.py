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
    assert lines(step(run, raised("a")))[-2:] == ["start b#1"]


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


# Limits


def test_a_concurrency_limit_bounds_the_calls_of_one_task_and_of_no_other():
    run = machine({"a": [], "a-2": [], "a-3": [], "b": [], "b-2": []}, concurrency_limit=1)
    assert lines(step(run, RunStarted())) == ["start a#1", "start b#1"]
    assert lines(step(run, TaskReturned("a", 1, None))) == ["a#1 COMPLETED", "start a-2#1"]
    assert lines(step(run, TaskReturned("a-2", 1, None))) == ["a-2#1 COMPLETED", "start a-3#1"]


def test_a_task_held_back_by_its_limit_holds_no_worker():
    run = machine({"a": [], "a-2": [], "b": []}, concurrency_limit=1, max_workers=2)
    assert lines(step(run, RunStarted()))[-1] == "start b#1"


def test_a_task_that_waits_for_its_retry_leaves_its_place_in_the_limit():
    run = machine({"a": [], "a-2": []}, concurrency_limit=1, retry=RetryPolicy(retries=1, delays=(9.0,)))
    step(run, RunStarted())
    assert lines(step(run, raised("a")))[-2:] == ["start a-2#1"]
    assert step(run, TimerFired(RetryDue("a", 1), 0.0)) == []
    assert lines(step(run, TaskReturned("a-2", 1, None))) == ["a-2#1 COMPLETED", "start a#2"]


def test_what_a_limit_holds_back_is_cancelled_with_the_rest():
    run = machine({"a": [], "a-2": []}, concurrency_limit=1)
    step(run, RunStarted())
    assert "a-2#0 CANCELLED: by hand" in lines(step(run, CancelAsked("by hand")))
    assert lines(step(run, AttemptStopped("a", 1))) == ["a#1 CANCELLED: by hand", "finish CANCELLED: by hand"]


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
