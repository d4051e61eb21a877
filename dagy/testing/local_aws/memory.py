"""How much memory a process and what it started have, looked at from outside."""

from __future__ import annotations

import psutil

_MB = 1024 * 1024


class MemoryWatch:
    """The memory of a process and its descendants, against a limit. Between two looks it is not seen."""

    def __init__(self, pid: int, limit_mb: int) -> None:
        self.peak_mb = 0.0
        self._limit_mb = limit_mb
        self._pid = pid

    def is_over(self) -> bool:
        """Whether they have more than the limit now."""
        return self._look(with_children=True) > self._limit_mb

    def glance(self) -> None:
        """Note what the process alone has now, which is quick: its descendants are not looked for."""
        self._look(with_children=False)

    def _look(self, *, with_children: bool) -> float:
        try:
            family = [psutil.Process(self._pid)]
            if with_children:
                family += family[0].children(recursive=True)
            used = sum(each.memory_info().rss for each in family) / _MB
        except psutil.Error:  # it, or one of them, has just ended
            return 0.0
        self.peak_mb = max(self.peak_mb, used)
        return used
