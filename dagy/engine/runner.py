"""Running a `Program`: `start` returns a handle at once, `run` waits. Both work where an event loop already runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator, Iterator, Mapping
from types import FrameType
from typing import Any

from dagy.engine.driver import Driver
from dagy.engine.events import Event
from dagy.engine.options import RunOptions, new_run_id
from dagy.engine.result import RunResult, TaskRun
from dagy.errors import RunCancelledError, RunError, RunTimeoutError, TaskFailedError, UnknownTaskError
from dagy.program import Program
from dagy.spec import FlowSpec
from dagy.states import State, StateType


class RunHandle:
    """A run under way. All its methods may be called from any thread, at any time."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def run_id(self) -> str:
        """What names the run."""
        return self._driver.run_id

    @property
    def spec(self) -> FlowSpec:
        """The flow that runs."""
        return self._driver.program.spec

    @property
    def state(self) -> State:
        """The state of the run now."""
        return self._driver.state

    @property
    def status(self) -> StateType:
        """The type of the state of the run now."""
        return self.state.type

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._driver.done.is_set()

    def states(self) -> Mapping[str, State]:
        """The state of each task now, by id."""
        return self._driver.states()

    def task_run(self, task_id: str) -> TaskRun:
        """Where the task stands now, without its output; `UnknownTaskError` when there is none of that id."""
        try:
            return self._driver.task_run(task_id)
        except KeyError:
            raise UnknownTaskError(task_id, self.states(), where=f"flow {self.spec.name!r}") from None

    def cancel(self, reason: str = "cancelled") -> None:
        """Start nothing more and stop what runs; returns at once. Of a run that has ended, nothing."""
        self._driver.cancel(reason)

    def wait(self, timeout: float | None = None) -> RunResult:
        """The result, once the run has ended, however it did. `TimeoutError` after `timeout` seconds without an end."""
        if timeout is None:
            _wait_for(self._driver)
        elif not self._driver.done.wait(timeout):
            raise TimeoutError(f"run {self.run_id!r} has not ended within {timeout:g} s")
        return self._driver.result

    def events(self, *, since: int = 0, follow: bool = True) -> Iterator[Event]:
        """The run's events from number `since` on, in order; with `follow` until the run has ended."""
        return self._driver.log.follow(since) if follow else iter(self._driver.log.since(since))

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._wait_in_loop().__await__()

    async def _wait_in_loop(self) -> RunResult:
        import asyncio

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        self._driver.add_done_callback(wake)
        await ended.wait()
        return self._driver.result

    def __getitem__(self, task: str) -> Any:
        """What the task returned, once the run has ended."""
        return self.wait()[task]

    def __repr__(self) -> str:
        return f"<RunHandle {self.run_id} {self.state}>"


def start(
    program: Program,
    parameters: Mapping[str, Any],
    options: RunOptions | None = None,
) -> RunHandle:
    """Begin to run `program` in threads of its own. Raises `StoreError` when it is to be recorded and can't be."""
    driver = Driver(program, parameters, options or RunOptions(new_run_id(program.spec.name)))
    driver.start()
    return RunHandle(driver)


def run(program: Program, parameters: Mapping[str, Any], options: RunOptions | None = None) -> RunResult:
    """Run `program` and wait for its end.

    With `max_workers=1` tasks run in the calling thread, so that a debugger stops where one expects. With `fail_fast` a
    failure raises `TaskFailedError`. Ctrl-C stops the run, then raises `KeyboardInterrupt`.
    """
    options = options or RunOptions(new_run_id(program.spec.name))
    driver = Driver(program, parameters, options, inline=options.max_workers == 1)
    try:
        with _interrupts_of(driver):
            driver.start()
            if driver.inline is not None:
                driver.inline.serve()
        if driver.was_interrupted:
            driver.cancel("interrupted")
        _wait_for(driver)
    except KeyboardInterrupt:
        driver.was_interrupted = True
        driver.cancel("interrupted")
        _wait_for(driver)
    if driver.was_interrupted:
        raise KeyboardInterrupt(f"run {driver.run_id} was interrupted")
    return checked_result(driver.result) if options.fail_fast else driver.result


def _wait_for(driver: Driver) -> None:
    """Wait for the end in turns: a signal that comes just before a wait begins is only seen after it."""
    while not driver.done.wait(0.1):
        pass


def checked_result(result: RunResult) -> RunResult:
    """`result` if the run completed; else `TaskFailedError` or `RunCancelledError`, caused by the task's own error."""
    if result.state.is_completed:
        return result
    if result.status is StateType.CANCELLED:
        raise RunCancelledError(f"run {result.run_id!r} of flow {result.flow_name!r}: {result.state}", result)
    if result.status is StateType.TIMED_OUT:
        raise RunTimeoutError(f"run {result.run_id!r} of flow {result.flow_name!r}: {result.state}", result)
    if result.error is not None:
        raise RunError(f"run {result.run_id!r} of flow {result.flow_name!r}: {result.state}", result) from result.error
    failed = min(
        (each for each in result.task_runs.values() if each.state.is_failure),
        key=lambda each: each.ended_at or 0,
    )
    raise TaskFailedError(f"task {failed.id!r} of flow {result.flow_name!r}: {failed.state}", result) from failed.error


@contextlib.contextmanager
def _interrupts_of(driver: Driver) -> Iterator[None]:
    """Let Ctrl-C interrupt a task's code, and nothing else: the run's own book-keeping must not be torn.

    A second Ctrl-C interrupts whatever is at work.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        attempt = driver.current_inline
        if driver.was_interrupted or (attempt is not None and attempt.is_open):
            raise KeyboardInterrupt
        driver.was_interrupted = True
        if attempt is not None and attempt.is_away:  # this thread waits for a process
            threading.Thread(target=driver.cancel, args=("interrupted",), daemon=True).start()
        elif driver.inline is not None:
            driver.inline.call(lambda: driver.cancel("interrupted"))

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
