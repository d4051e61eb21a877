"""Attempts and the workers that run them: stopping reaches the attempt it is meant for, and no other."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

import pytest

from dagy.engine.workers import Attempt, InlineWorker, LoopWorker, Stopped, ThreadWorker, Way
from dagy.parameters import Parameters
from dagy.program import TaskCode


def an_attempt(task: str, number: int) -> Attempt:
    code = TaskCode(an_attempt, Parameters(an_attempt, of="a task"))
    return Attempt(
        task,
        None,
        number,
        Way(code, is_async=False, is_isolated=False, checks=False, has_extras=False, patience_seconds=1.0),
    )


def test_an_attempt_may_run_until_it_is_stopped():
    attempt = an_attempt("a", 1)
    assert attempt.open()
    assert attempt.is_open
    assert attempt.close()
    assert not attempt.is_open


def test_an_attempt_stopped_before_it_ran_may_not_run():
    attempt = an_attempt("a", 1)
    attempt.stop()
    assert not attempt.open()
    assert not attempt.close()


def test_a_stop_after_the_end_reaches_nobody():
    attempt = an_attempt("a", 1)
    attempt.open()
    attempt.close()
    attempt.stop()
    assert attempt.stop_asked
    assert sum(range(1000)) == 499500


def test_the_outcome_of_an_attempt_stopped_while_it_ran_does_not_count():
    attempt = an_attempt("a", 1)
    attempt.open()

    def run_on() -> None:
        attempt.stop()
        while True:
            pass

    with pytest.raises(Stopped):
        run_on()
    assert not attempt.close()


def test_a_stop_that_is_on_its_way_when_the_code_ends_arrives_in_close():
    outcomes: list[object] = []

    def work() -> None:
        for _ in range(200):
            attempt = an_attempt("a", 1)
            stopper = threading.Thread(target=attempt.stop, daemon=True)
            try:
                attempt.open()
                stopper.start()
                stopper.join()
            except Stopped:
                pass
            try:
                attempt.close()
            except Stopped:
                attempt.close()
            outcomes.append(sum(range(100)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert outcomes == [4950] * 200


class Steps:
    """What the workers run: attempts whose work is a function, by the attempt's number."""

    def __init__(self, *functions: Callable[[], object]) -> None:
        self.functions = functions
        self.done = [threading.Event() for _ in functions]
        self.threads: list[threading.Thread] = []
        self.then: dict[int, Attempt] = {}

    def __call__(self, attempt: Attempt) -> Attempt | None:
        self.threads.append(threading.current_thread())
        self.functions[attempt.number]()
        self.done[attempt.number].set()
        return self.then.get(attempt.number)


def test_a_thread_goes_on_with_the_attempt_it_is_handed():
    steps = Steps(lambda: None, lambda: None)
    steps.then[0] = an_attempt("b", 1)
    ThreadWorker(steps, "w").start(an_attempt("a", 0))
    assert steps.done[1].wait(10)
    assert steps.threads[0] is steps.threads[1]


def test_attempts_that_run_at_once_have_threads_of_their_own():
    meet = threading.Barrier(2)
    steps = Steps(lambda: meet.wait(10), lambda: meet.wait(10))
    worker = ThreadWorker(steps, "w")
    worker.start(an_attempt("a", 0))
    worker.start(an_attempt("b", 1))
    assert all(each.wait(10) for each in steps.done)
    assert steps.threads[0] is not steps.threads[1]


def test_threads_end_when_the_worker_is_closed():
    steps = Steps(lambda: None)
    worker = ThreadWorker(steps, "w")
    worker.start(an_attempt("a", 0))
    assert steps.done[0].wait(10)
    worker.close()
    steps.threads[0].join(10)
    assert not steps.threads[0].is_alive()


def test_threads_do_not_keep_the_interpreter_from_ending():
    steps = Steps(lambda: None)
    ThreadWorker(steps, "w").start(an_attempt("a", 0))
    assert steps.done[0].wait(10)
    assert steps.threads[0].daemon


def test_an_inline_worker_serves_in_the_calling_thread_in_order_until_closed():
    said: list[str] = []
    steps = Steps(lambda: said.append("a"), lambda: said.append("b"), lambda: said.append("c"))
    steps.then[0] = an_attempt("b", 1)
    worker = InlineWorker(steps)
    worker.start(an_attempt("a", 0))
    worker.call(lambda: said.append("called"))
    worker.start(an_attempt("c", 2))
    worker.close()
    worker.serve()
    assert said == ["a", "b", "called", "c"]
    assert set(steps.threads) == {threading.current_thread()}


class Loop:
    """A `LoopWorker` and what its coroutines do."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None
        self.worker = LoopWorker(self.run, "loop", contextvars.copy_context())

    async def run(self, attempt: Attempt) -> None:
        import asyncio

        self.thread = threading.current_thread()
        self.begun.set()
        try:
            if not attempt.stop_asked:
                await asyncio.Event().wait()
        finally:
            self.ended.set()


def test_a_coroutine_runs_in_the_loops_own_thread_and_is_cancelled_when_stopped():
    loop, attempt = Loop(), an_attempt("a", 1)
    loop.worker.start(attempt)
    assert loop.begun.wait(10)
    loop.worker.stop(attempt)
    assert loop.ended.wait(10)
    assert loop.thread is not threading.current_thread()


def test_a_coroutine_stopped_before_it_began_still_runs_to_report_it():
    loop, attempt = Loop(), an_attempt("a", 1)
    loop.worker.stop(attempt)
    loop.worker.start(attempt)
    assert loop.ended.wait(10)


def test_the_loops_thread_ends_when_the_worker_is_closed_and_its_coroutines_have_ended():
    loop, attempt = Loop(), an_attempt("a", 1)
    loop.worker.start(attempt)
    assert loop.begun.wait(10)
    loop.worker.close()
    assert loop.thread is not None
    assert loop.thread.is_alive()
    loop.worker.stop(attempt)
    loop.thread.join(10)
    assert not loop.thread.is_alive()


def test_a_loop_that_was_never_needed_can_be_closed():
    Loop().worker.close()
