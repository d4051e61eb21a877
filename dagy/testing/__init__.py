"""What helps to test flows: a notebook's tasks without the rest of it, and a clock that moves when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.testing.notebooks import LoadedNotebook, load_notebook
    from dagy.testing.timers import ManualClock, ManualTimers

_HOMES = {
    "LoadedNotebook": "dagy.testing.notebooks",
    "ManualClock": "dagy.testing.timers",
    "ManualTimers": "dagy.testing.timers",
    "load_notebook": "dagy.testing.notebooks",
}

__all__ = ["LoadedNotebook", "ManualClock", "ManualTimers", "load_notebook"]

__getattr__, __dir__ = lazily(__name__, _HOMES)
