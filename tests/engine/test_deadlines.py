"""Deadlines: each attempt's comes when its time is up, and those that have ended cost nothing."""

from __future__ import annotations

import pytest

from dagy.engine.deadlines import Deadlines
from dagy.engine.workers import Attempt, Way
from dagy.parameters import Parameters
from dagy.program import TaskCode
from dagy.testing import ManualTimers


def attempt(task: str) -> Attempt:
    code = TaskCode(attempt, Parameters(attempt, of="a task"))
    way = Way(code, is_async=False, is_isolated=False, checks=False, has_extras=False, patience_seconds=1.0)
    return Attempt(task, None, 1, way)


class Bench:
    """Deadlines on timers that the test moves."""

    def __init__(self) -> None:
        self.timers = ManualTimers()
        self.expired: list[str] = []
        self.deadlines = Deadlines(self.timers, lambda each: self.expired.append(each.task))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_attempt_expires_when_its_time_is_up_and_not_before(bench: Bench) -> None:
    bench.deadlines.set(attempt("a"), 10)
    bench.timers.advance(9)
    assert bench.expired == []
    bench.timers.advance(1)
    assert bench.expired == ["a"]


def test_each_in_a_line_expires_at_its_own_time(bench: Bench) -> None:
    bench.deadlines.set(attempt("a"), 10)
    bench.timers.advance(4)
    bench.deadlines.set(attempt("b"), 10)
    bench.timers.advance(6)
    assert bench.expired == ["a"]
    bench.timers.advance(4)
    assert bench.expired == ["a", "b"]


def test_shorter_times_do_not_wait_for_longer_ones(bench: Bench) -> None:
    bench.deadlines.set(attempt("long"), 10)
    bench.deadlines.set(attempt("short"), 2)
    bench.timers.advance(2)
    assert bench.expired == ["short"]


def test_an_attempt_that_has_ended_does_not_expire(bench: Bench) -> None:
    ended, at_work = attempt("ended"), attempt("at-work")
    bench.deadlines.set(ended, 10)
    bench.deadlines.set(at_work, 10)
    ended.has_ended = True
    bench.timers.advance(10)
    assert bench.expired == ["at-work"]


def test_a_line_needs_one_timer_however_long_it_is(bench: Bench) -> None:
    for number in range(1000):
        bench.deadlines.set(attempt(str(number)), 10)
    assert bench.timers.waiting == [10]
    bench.timers.advance(10)
    assert len(bench.expired) == 1000
    assert bench.timers.waiting == []


def test_attempts_that_have_ended_are_not_held_on_to(bench: Bench) -> None:
    for number in range(1000):
        each = attempt(str(number))
        bench.deadlines.set(each, 10)
        each.has_ended = True
    (line,) = bench.deadlines._lines.values()
    assert len(line) == 1
