"""How a value is kept outside the process that made it: its codecs, and what tells two values apart."""

from __future__ import annotations



class Deferred:
    """A value that is somewhere else (a file, another process's memory) until somebody asks for it.

    A base class to inherit from, not a protocol: users' own objects may have a `value` too.
    """

    __slots__ = ()

    def value(self) -> object:
        """The value itself; the same object each time. Raises what reading it raises."""
        raise NotImplementedError
