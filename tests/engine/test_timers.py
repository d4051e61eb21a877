"""Timers: the real ones and the shipped stand-in keep the same promises."""

from __future__ import annotations

import threading
import time

import pytest

from dagy.engine.timers import ThreadTimers, steady_clock
from dagy.testing import ManualClock, ManualTimers


@pytest.fixture
def timers() -> ThreadTimers:
    return ThreadTimers("timers")


def test_a_timer_calls_back_once_from_a_thread_of_its_own(timers: ThreadTimers):
    called: list[threading.Thread] = []
    over = threading.Event()
    timers.set(0.0, lambda: called.append(threading.current_thread()))
    timers.set(0.001, over.set)
    assert over.wait(10)
    timers.close()
    assert len(called) == 1
    assert called[0] is not threading.current_thread()


def test_timers_call_back_in_the_order_in_which_they_are_due(timers: ThreadTimers):
    called: list[str] = []
    over, gate = threading.Event(), threading.Event()
    timers.set(0.0, lambda: gate.wait(10))
    timers.set(0.003, lambda: called.append("late"))
    timers.set(0.004, over.set)
    timers.set(0.001, lambda: called.append("early"))
    gate.set()
    assert over.wait(10)
    timers.close()
    assert called == ["early", "late"]


def test_a_timer_set_while_a_later_one_is_waited_for_is_not_late(timers: ThreadTimers):
    over = threading.Event()
    timers.set(3600.0, lambda: None)
    timers.set(0.0, over.set)
    assert over.wait(10)
    timers.close()


def test_a_wait_too_long_for_the_platform_is_taken(timers: ThreadTimers):
    over = threading.Event()
    timers.set(1e12, lambda: None)
    timers.set(0.0, over.set)
    assert over.wait(10)
    timers.close()


def test_closed_timers_call_nobody_and_their_thread_ends(timers: ThreadTimers):
    timers.set(3600.0, lambda: pytest.fail("called"))
    (thread,) = [each for each in threading.enumerate() if each.name == "timers"]
    timers.close()
    thread.join(10)
    assert not thread.is_alive()
    timers.set(0.0, lambda: pytest.fail("called"))
    assert not any(each.name == "timers" for each in threading.enumerate())


def test_without_a_timer_there_is_no_thread(timers: ThreadTimers):
    assert not any(each.name == "timers" for each in threading.enumerate())
    timers.close()


def test_manual_timers_call_what_is_due_on_the_way_in_order():
    timers = ManualTimers()
    called: list[tuple[str, float]] = []
    timers.set(3.0, lambda: called.append(("late", timers.now)))
    timers.set(1.0, lambda: called.append(("early", timers.now)))
    timers.set(9.0, lambda: called.append(("never", timers.now)))
    assert timers.advance(5.0) == 2
    assert called == [("early", 1.0), ("late", 3.0)]
    assert timers.waiting == [4.0]


def test_manual_timers_call_what_is_set_on_the_way():
    timers = ManualTimers()
    called: list[float] = []
    timers.set(1.0, lambda: timers.set(1.0, lambda: called.append(timers.now)))
    timers.advance(5.0)
    assert called == [2.0]


def test_manual_timers_can_be_waited_for_while_another_thread_sets_them():
    timers = ManualTimers()
    threading.Thread(target=lambda: timers.set(2.0, lambda: None), daemon=True).start()
    assert timers.wait_for(1) == [2.0]


def test_waiting_for_timers_that_nobody_sets_says_how_many_there_are():
    with pytest.raises(TimeoutError, match=r"0 of 1 timers were set within 0\.01 s"):
        ManualTimers().wait_for(1, timeout=0.01)


def test_closed_manual_timers_call_nobody():
    timers = ManualTimers()
    timers.set(1.0, lambda: pytest.fail("called"))
    timers.close()
    timers.set(1.0, lambda: pytest.fail("called"))
    assert timers.advance(5.0) == 0


def test_a_manual_clock_moves_when_told_to():
    clock = ManualClock(10.0)
    assert clock() == 10_000_000_000
    clock.advance(0.5)
    assert clock() == 10_500_000_000


def test_a_steady_clock_does_not_jump_with_the_clock_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before = clock()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert 0 <= clock() - before < 60 * 10**9


def test_a_steady_clock_tells_the_time_of_day() -> None:
    assert abs(steady_clock()() - time.time_ns()) < 10**9
