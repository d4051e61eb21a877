"""The deadlines of attempts that are at work.

Those that allow the same time come due in the order in which they were set. So they stand in line, and only the first
one of each line needs a timer; one whose attempt has ended meanwhile costs nothing more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from dagy.engine.timers import Timers
from dagy.engine.workers import Attempt


class Deadlines:
    """Calls `expire` with each attempt that is still at work when its time is up."""

    def __init__(self, timers: Timers, expire: Callable[[Attempt], object]) -> None:
        self._timers = timers
        self._expire = expire
        self._lock = threading.Lock()
        self._lines: dict[float, deque[tuple[float, Attempt]]] = {}  # by the seconds allowed; each has a timer

    def set(self, attempt: Attempt, seconds: float) -> None:
        """The attempt's code begins now, and may take so many seconds."""
        due = self._timers.now + seconds
        with self._lock:
            line = self._lines.get(seconds)
            if line is not None:
                while line and line[0][1].has_ended:
                    line.popleft()
                line.append((due, attempt))
                return
            self._lines[seconds] = deque([(due, attempt)])
        self._timers.set(seconds, lambda: self._come_due(seconds))

    def _come_due(self, seconds: float) -> None:
        now = self._timers.now
        over: list[Attempt] = []
        with self._lock:
            line = self._lines[seconds]
            while line and (line[0][1].has_ended or line[0][0] <= now):
                over.append(line.popleft()[1])
            wait = line[0][0] - now if line else None
            if wait is None:
                del self._lines[seconds]
        if wait is not None:
            self._timers.set(wait, lambda: self._come_due(seconds))
        for each in over:
            if not each.has_ended:
                self._expire(each)
