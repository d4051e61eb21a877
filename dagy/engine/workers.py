"""Where a task's code runs: in the thread that runs the flow, in threads, or on an event loop.

A worker runs attempts; what an attempt does, and what follows from it, it is told by the driver. A thread can't be
killed, so stopping one is soft: `Stopped` is raised in it, which ends Python code at its next step and waits for
anything that blocks outside Python.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import queue
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dagy.engine.output import Sink, set_sink
from dagy.program import TaskCode

if TYPE_CHECKING:
    import asyncio


class Stopped(BaseException):
    """Raised inside a task's code to end it; not an `Exception`, so that the code does not catch it by accident."""


class Call(Protocol):
    """A call in another process."""

    def stop(self, grace: float) -> None:
        """Make it end: ask, and kill after `grace` seconds; returns at once."""


class Way(NamedTuple):
    """How the attempts of a task run."""

    code: TaskCode
    is_async: bool  # on the event loop
    is_isolated: bool  # in a process of its own
    checks: bool  # whether inputs are checked against the annotations
    has_extras: bool  # whether there is more to do than to call the code: a hook, a look into the cache, a record
    patience_seconds: float  # how long it is asked to stop before it is made to


class Attempt:
    """One attempt of a task, or of an item of a mapped one, as its worker holds it.

    Whoever asks it to stop and the thread that runs its code meet here. The one first says that it asks and then looks
    for the thread, the other first says that it is there, or gone, and then looks whether it was asked; so one of them
    sees the other, and only then they need a lock.
    """

    __slots__ = (
        "_call", "_thread_id", "asyncio_task", "gone", "has_ended", "item", "loop", "must_end", "number", "seconds",
        "sink", "stop_asked", "task", "way",
    )  # fmt: skip

    asyncio_task: asyncio.Task[None] | None  # set by the event loop that takes it
    must_end: bool  # set by it too; whether it was asked nicely before

    def __init__(
        self, task: str, item: int | None, number: int, way: Way, seconds: float | None = None, sink: Sink | None = None
    ) -> None:
        self.task = task
        self.item = item
        self.number = number
        self.way = way
        self.seconds = seconds  # how long it may take
        self.sink = sink
        self.stop_asked = False
        self.has_ended = False
        self.gone: threading.Event | None = None  # set when it has ended, for who waits for that
        self.loop: Loop | None = None
        self._call: Call | None = None
        self._thread_id: int | None = None  # of the thread that runs its code now

    def is_run_by(self, thread_id: int) -> bool:
        """Whether that thread runs its code now."""
        return self._thread_id == thread_id

    @property
    def is_open(self) -> bool:
        """Whether a thread runs its code now."""
        return self._thread_id is not None and self._call is None

    @property
    def is_away(self) -> bool:
        """Whether a thread waits for its process now."""
        return self._thread_id is not None and self._call is not None

    def open(self) -> bool:
        """Its code is about to run in the calling thread: whether it may, because nobody asked it to stop."""
        self._thread_id = threading.get_ident()
        if self.stop_asked:
            self.close()
            return False
        return True

    def hand_over(self, call: Call) -> bool:
        """From here on `call` does its work, and this thread waits: whether it may, because nobody asked it to stop."""
        with _GATE:
            if self.stop_asked:
                return False
            self._call = call
            return True

    def close(self) -> bool:
        """Its code has ended: whether the outcome counts, because nobody asked it to stop."""
        self._thread_id = None
        if self.stop_asked:
            with _GATE:  # who asked has done so
                pass
            if self._call is None:
                self._take_late_stop()
            return False
        return True

    def stop(self) -> None:
        """Ask it to stop: stop its process, or raise `Stopped` in the thread that runs its code now, if one does."""
        with _GATE:
            if self.stop_asked:
                return
            self.stop_asked = True
            if self._call is not None:
                self._call.stop(self.way.patience_seconds)
            elif self._thread_id is not None:
                _raise_in(self._thread_id)

    @staticmethod
    def _take_late_stop() -> None:
        """Let a `Stopped` that is on its way to this thread arrive here, and nowhere later."""
        try:
            for _ in range(10):
                time.sleep(0)  # the interpreter raises what is due when it comes back from this
        except Stopped:
            pass


_GATE = threading.Lock()  # held while an attempt is asked to stop


def _raise_in(thread_id: int) -> None:
    """Raise `Stopped` in that thread, as soon as it runs Python code."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(Stopped))


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
    """Runs attempts in threads; the driver decides how many run at once.

    Threads are woken, or started, one by one: each that wakes and finds more work than it can take wakes the next. So
    tasks that take no time are done by few threads, which spares the changes between them, and tasks that take time
    soon have a thread each.
    """

    def __init__(self, run_attempt: RunAttempt, name: str) -> None:
        self._run_attempt = run_attempt
        self._name = name
        self._backlog: deque[Attempt] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_waking = False  # a thread is on its way, and will look after the backlog
        self._idle = 0
        self._threads = 0
        self._is_closed = False

    def start(self, attempt: Attempt) -> None:
        """Leave it to the next thread that is free, or to a new one."""
        self._backlog.append(attempt)
        self._wake_one()

    def stop(self, attempt: Attempt) -> None:
        """Stop its process, or raise `Stopped` in its thread."""
        attempt.stop()

    def close(self) -> None:
        """Let the idle threads end, and the others when they have."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._idle):
                self._bell.put(None)
            self._idle = 0

    def _wake_one(self) -> None:
        with self._lock:
            if self._is_waking:
                return
            self._is_waking = True
            if self._idle:
                self._idle -= 1
                self._bell.put(None)
                return
            self._threads += 1
            number = self._threads
        # A daemon: an attempt that can't be stopped must not keep the interpreter from ending.
        threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            attempt = self._next()
            self._is_waking = False
            if self._backlog:
                self._wake_one()
            while attempt is not None:
                attempt = self._run_attempt(attempt) or self._next()
            with self._lock:
                if self._backlog:
                    continue
                if self._is_closed:
                    return
                self._idle += 1
            self._bell.get()

    def _next(self) -> Attempt | None:
        try:
            return self._backlog.popleft()
        except IndexError:
            return None


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
    """Runs attempts of `async def` tasks on one event loop, in a thread of its own that starts with the first one.

    An attempt that blocks the loop and can't be made to stop keeps that loop; those that come later get a new one.
    """

    def __init__(self, run_coroutine: RunCoroutine, name: str, context: contextvars.Context) -> None:
        self._run_coroutine = run_coroutine
        self._name = name
        self._context = context
        self._lock = threading.Lock()
        self._loops: list[Loop] = []  # the last one takes what comes

    def start(self, attempt: Attempt) -> None:
        """Make it an asyncio task."""
        with self._lock:
            if not self._loops or self._loops[-1].is_stuck:
                self._loops.append(Loop(f"{self._name}-{len(self._loops) + 1}"))
            loop = attempt.loop = self._loops[-1]
            attempt.asyncio_task, attempt.must_end = None, False
        context = self._context.copy()
        if attempt.sink is not None:
            context.run(set_sink, attempt.sink)
        loop.start(attempt, self._run_coroutine(attempt), context)

    def stop(self, attempt: Attempt) -> None:
        """Cancel its asyncio task."""
        attempt.stop_asked = True
        if attempt.loop is not None:
            attempt.loop.cancel(attempt)

    def insist(self, attempt: Attempt) -> None:
        """It was cancelled a while ago: if it is still at work, raise `Stopped` in its code."""
        if attempt.loop is not None:
            attempt.loop.insist(attempt)

    def close(self) -> None:
        """End the loops once the attempts have ended; what their code left behind is cancelled, as by `asyncio.run`."""
        with self._lock:
            for each in self._loops:
                each.close()


class Loop:
    """An event loop in a thread of its own, which knows whose code it runs at each moment."""

    def __init__(self, name: str) -> None:
        import asyncio

        self.is_stuck = False  # somebody's code does not give it back
        self._loop = asyncio.new_event_loop()
        self._at_work: set[asyncio.Task[None]] = set()
        self._current: Attempt | None = None  # whose code runs now
        self._ending: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def start(self, attempt: Attempt, work: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        """Run `work`, which is that of `attempt`, as a task of the loop."""
        self._loop.call_soon_threadsafe(self._spawn, attempt, work, context)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel its task."""
        self._loop.call_soon_threadsafe(_cancel, attempt)

    def insist(self, attempt: Attempt) -> None:
        """Raise `Stopped` in its code: where it waits, or where it is if it does not let the loop go on."""
        if attempt.has_ended:
            return
        attempt.must_end = True
        self._loop.call_soon_threadsafe(_cancel, attempt)
        if self._current is attempt and self._thread.ident is not None:
            self.is_stuck = True
            _raise_in(self._thread.ident)

    def close(self) -> None:
        """End when what runs has ended."""
        self._loop.call_soon_threadsafe(self._spawn_end)

    def _spawn(self, attempt: Attempt, work: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        task = self._loop.create_task(self._watched(attempt, work), context=context)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def _spawn_end(self) -> None:
        self._ending = self._loop.create_task(self._end())

    async def _watched(self, attempt: Attempt, work: Coroutine[Any, Any, None]) -> None:
        import asyncio

        # From here on it can be cancelled; before, cancelling would end it unheard.
        attempt.asyncio_task = asyncio.current_task()
        with contextlib.suppress(Stopped):  # it came just after the end
            await self._stepped(attempt, work)

    @types.coroutine
    def _stepped(self, attempt: Attempt, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Step through `work`, noting whose code it is; in place of a second cancellation it gets `Stopped`."""
        step: Callable[[], Any] = functools.partial(work.send, None)
        while True:
            self._current = attempt
            try:
                waits_for = step()
            except StopIteration:
                return
            finally:
                self._current = None
                self.is_stuck = False
            try:
                answer = yield waits_for
            except BaseException as error:  # noqa: BLE001 (handed on, as it is or as `Stopped`)
                step = functools.partial(work.throw, Stopped() if attempt.must_end else error)
            else:
                step = functools.partial(work.send, answer)

    async def _end(self) -> None:
        import asyncio

        while self._at_work:
            await asyncio.wait(set(self._at_work))
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
        self._loop.stop()

    def _serve(self) -> None:
        import asyncio

        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


def _cancel(attempt: Attempt) -> None:
    if attempt.asyncio_task is not None:
        attempt.asyncio_task.cancel()
