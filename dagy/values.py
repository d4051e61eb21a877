"""How a value is kept outside the process that made it: its codecs, and what tells two values apart."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Deferred(Protocol):
    """A value that is somewhere else (a file, another process's memory) until somebody asks for it."""

    def value(self) -> object:
        """The value itself; the same object each time. Raises what reading it raises."""
