"""Time: a clock that never jumps, and calling back after a while, by one thread for all the timers of a run."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol


def steady_clock() -> Callable[[], int]:
    """A clock that gives nanoseconds since the epoch and never jumps, whatever is done to the machine's own."""
    offset, monotonic = time.time_ns() - time.monotonic_ns(), time.monotonic_ns
    return lambda: offset + monotonic()


class Timers(Protocol):
    """Calls back after a time."""

    @property
    def now(self) -> float:
        """Seconds on a clock that never jumps; only differences mean something."""

    def set(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` once, in so many seconds, from a thread of its own choice."""

    def close(self) -> None:
        """Forget what has not been called yet."""


class ThreadTimers:
    """Timers kept by a thread that sleeps until the next one is due."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def now(self) -> float:
        """Seconds on the clock that the timers go by."""
        return time.monotonic()

    def set(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` in so many seconds, from the timers' thread."""
        due = time.monotonic() + seconds
        with self._changed:
            if self._is_closed:
                return
            heapq.heappush(self._heap, (due, next(self._count), callback))
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()
            elif self._heap[0][2] is callback:
                self._changed.notify()

    def close(self) -> None:
        """Forget what has not been called yet, and let the thread end."""
        with self._changed:
            self._is_closed = True
            self._heap.clear()
            self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (not self._heap or self._heap[0][0] > time.monotonic()):
                    # Longer waits than the platform can express are waited for in pieces.
                    left = min(self._heap[0][0] - time.monotonic(), threading.TIMEOUT_MAX) if self._heap else None
                    self._changed.wait(left)
                if self._is_closed:
                    return
                _, _, callback = heapq.heappop(self._heap)
            callback()
