"""Stand-ins for what a test should not wait for: a clock and timers that move when they are told to.

They go where the engine's own do: `Driver(..., timers=ManualTimers(), clock=ManualClock())`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class ManualClock:
    """A clock that stands still until `advance`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._now = round(seconds * 1e9)

    def __call__(self) -> int:
        """Nanoseconds since the epoch, as `time.time_ns` gives them."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._now += round(seconds * 1e9)


class ManualTimers:
    """Timers that call back when `advance` says that the time has passed, from the thread that calls `advance`."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds that have passed
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._is_closed = False

    def set(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` once `advance` has let so many seconds pass."""
        with self._changed:
            if not self._is_closed:
                heapq.heappush(self._heap, (self.now + seconds, next(self._count), callback))
                self._changed.notify_all()

    def close(self) -> None:
        """Forget what has not been called yet."""
        with self._changed:
            self._is_closed = True
            self._heap.clear()
            self._changed.notify_all()

    @property
    def waiting(self) -> list[float]:
        """In how many seconds each timer is due, the next one first."""
        with self._changed:
            return sorted(due - self.now for due, _, _ in self._heap)

    def wait_for(self, count: int = 1, *, timeout: float = 10.0) -> list[float]:
        """Like `waiting`, once so many timers are set; `TimeoutError` after `timeout` seconds of real time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._heap) >= count, timeout):
                raise TimeoutError(f"{len(self._heap)} of {count} timers were set within {timeout:g} s")
        return self.waiting

    def advance(self, seconds: float) -> int:
        """Let so many seconds pass, and call what is due on the way, in order; how many were called."""
        end = self.now + seconds
        called = 0
        while True:
            with self._changed:
                if not self._heap or self._heap[0][0] > end:
                    self.now = end
                    return called
                self.now, _, callback = heapq.heappop(self._heap)
            callback()
            called += 1
