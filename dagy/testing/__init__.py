"""What helps to test flows: an AWS on this computer, a notebook's tasks without the rest of it, and a clock that moves
when it is told to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

# At once, not lazily: the function has its package's name, and whoever imports the package later must not hide it.
from dagy.testing.local_aws import LocalAws, local_aws

if TYPE_CHECKING:
    from dagy.testing.notebooks import LoadedNotebook, load_notebook
    from dagy.testing.timers import ManualClock, ManualTimers

_HOMES = {
    "LoadedNotebook": "dagy.testing.notebooks",
    "ManualClock": "dagy.testing.timers",
    "ManualTimers": "dagy.testing.timers",
    "load_notebook": "dagy.testing.notebooks",
}

__all__ = ["LoadedNotebook", "LocalAws", "ManualClock", "ManualTimers", "load_notebook", "local_aws"]

__getattr__, __dir__ = lazily(__name__, _HOMES)
