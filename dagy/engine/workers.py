"""Where a task's code runs: in the thread that runs the flow, in threads, or on an event loop.

A worker runs attempts; what an attempt does, and what follows from it, it is told by the driver. A thread can't be
killed, so stopping one is soft: `Stopped` is raised in it, which ends Python code at its next step and waits for
anything that blocks outside Python.
"""

from __future__ import annotations

import contextvars
import ctypes
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from dagy.engine.output import Sink, set_sink

if TYPE_CHECKING:
    import asyncio


class Stopped(BaseException):
    """Raised inside a task's code to end it; not an `Exception`, so that the code does not catch it by accident."""


class Attempt:
    """One attempt of a task, as its worker holds it."""

    __slots__ = ("_gate", "_thread_id", "asyncio_task", "has_ended", "number", "seconds", "sink", "stop_asked", "task")

    def __init__(self, task: str, number: int, sink: Sink | None = None) -> None:
        self.task = task
        self.number = number
        self.sink = sink
        self.seconds: float | None = None  # how long it may take
        self.stop_asked = False
        self.has_ended = False
        self.asyncio_task: asyncio.Task[None] | None = None
        self._thread_id: int | None = None  # of the thread that runs its code now
        self._gate = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether a thread runs its code now."""
        return self._thread_id is not None

    def open(self) -> bool:
        """Its code is about to run in the calling thread: whether it may, because nobody asked it to stop."""
        with self._gate:
            if not self.stop_asked:
                self._thread_id = threading.get_ident()
            return not self.stop_asked

    def close(self) -> bool:
        """Its code has ended: whether the outcome counts, because nobody asked it to stop."""
        with self._gate:
            was_open, self._thread_id = self.is_open, None
        if was_open and self.stop_asked:
            self._take_late_stop()
        return not self.stop_asked

    def stop(self) -> None:
        """Ask it to stop: raise `Stopped` in the thread that runs its code now, if one does."""
        with self._gate:
            if not self.stop_asked:
                self.stop_asked = True
                if self._thread_id is not None:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread_id), ctypes.py_object(Stopped)
                    )

    @staticmethod
    def _take_late_stop() -> None:
        """Let a `Stopped` that is on its way to this thread arrive here, and nowhere later."""
        try:
            for _ in range(10):
                time.sleep(0)  # the interpreter raises what is due when it comes back from this
        except Stopped:
            pass


# Runs an attempt in the calling thread; returns the attempt that this thread should run next, if there is one.
RunAttempt = Callable[[Attempt], Attempt | None]
RunCoroutine = Callable[[Attempt], Coroutine[Any, Any, None]]


class Worker(Protocol):
    """Runs attempts."""

    def start(self, attempt: Attempt) -> None:
        """Run it, soon; returns at once."""

    def stop(self, attempt: Attempt) -> None:
        """Make it end, as far as that is possible; returns at once."""

    def close(self) -> None:
        """There will be no further attempt."""


class ThreadWorker:
    """Runs attempts in threads, started when there is no idle one; the driver decides how many run at once."""

    def __init__(self, run_attempt: RunAttempt, name: str) -> None:
        self._run_attempt = run_attempt
        self._name = name
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._is_closed = False

    def start(self, attempt: Attempt) -> None:
        """Hand it to an idle thread, or to a new one."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._queue.put(attempt)
                return
            self._threads += 1
            number = self._threads
        # A daemon: an attempt that can't be stopped must not keep the interpreter from ending.
        threading.Thread(target=self._work, args=(attempt,), name=f"{self._name}-{number}", daemon=True).start()

    def stop(self, attempt: Attempt) -> None:
        """Raise `Stopped` in its thread."""
        attempt.stop()

    def close(self) -> None:
        """Let the idle threads end, and the others when they have."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._idle):
                self._queue.put(None)
            self._idle = 0

    def _work(self, attempt: Attempt | None) -> None:
        while attempt is not None:
            while attempt is not None:
                attempt = self._run_attempt(attempt)
            with self._lock:
                if self._is_closed:
                    return
                self._idle += 1
            attempt = self._queue.get()


class InlineWorker:
    """Runs attempts one after another in the thread that calls `serve`."""

    def __init__(self, run_attempt: RunAttempt) -> None:
        self._run_attempt = run_attempt
        self._queue: queue.SimpleQueue[Attempt | Callable[[], object] | None] = queue.SimpleQueue()

    def start(self, attempt: Attempt) -> None:
        """Queue it for `serve`."""
        self._queue.put(attempt)

    def stop(self, attempt: Attempt) -> None:
        """Raise `Stopped` in the serving thread while it runs the attempt."""
        attempt.stop()

    def close(self) -> None:
        """Let `serve` return."""
        self._queue.put(None)

    def call(self, function: Callable[[], object]) -> None:
        """Let `serve` call `function` between two attempts; safe in a signal handler."""
        self._queue.put(function)

    def serve(self) -> None:
        """Run what is queued until `close` is called."""
        while True:
            try:
                item = self._queue.get(timeout=0.1)  # a signal that comes just before a wait is only seen after it
            except queue.Empty:
                continue
            if item is None:
                return
            if not isinstance(item, Attempt):
                item()
                continue
            attempt: Attempt | None = item
            while attempt is not None:
                attempt = self._run_attempt(attempt)


class LoopWorker:
    """Runs attempts of `async def` tasks on one event loop, in a thread of its own that starts with the first one."""

    def __init__(self, run_coroutine: RunCoroutine, name: str, context: contextvars.Context) -> None:
        self._run_coroutine = run_coroutine
        self._name = name
        self._context = context
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._at_work: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None

    def start(self, attempt: Attempt) -> None:
        """Make it an asyncio task."""
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._serve, args=(self._loop,), name=self._name, daemon=True).start()
        context = self._context.copy()
        if attempt.sink is not None:
            context.run(set_sink, attempt.sink)
        self._loop.call_soon_threadsafe(self._spawn, attempt, context)

    def stop(self, attempt: Attempt) -> None:
        """Cancel its asyncio task."""
        attempt.stop_asked = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_cancel, attempt)

    def close(self) -> None:
        """End the loop once the attempts have ended; what their code left behind is cancelled, as by `asyncio.run`."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._spawn_end)

    def _spawn(self, attempt: Attempt, context: contextvars.Context) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._begin(attempt), context=context)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def _spawn_end(self) -> None:
        assert self._loop is not None
        self._ending = self._loop.create_task(self._end(self._loop))

    async def _begin(self, attempt: Attempt) -> None:
        import asyncio

        # From here on it can be cancelled; before, cancelling would end it unheard.
        attempt.asyncio_task = asyncio.current_task()
        await self._run_coroutine(attempt)

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        while self._at_work:
            await asyncio.wait(set(self._at_work))
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        loop.stop()

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()


def _cancel(attempt: Attempt) -> None:
    if attempt.asyncio_task is not None:
        attempt.asyncio_task.cancel()
