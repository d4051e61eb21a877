"""What a child process writes to pipes that stand in for the terminal, given to whoever takes its text.

A thread reads the pipes until no process holds them open any more. When the child has ended, `drain` reads at once, in
the calling thread, what is still in them: it waits for nothing, whoever else holds the pipes.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import threading
from collections.abc import Callable

_CHUNK = 65_536  # bytes, as many as a pipe holds unless somebody has made it larger
_DRAIN = 16  # chunks that `drain` reads at most from a pipe that others go on filling


class Pipes:
    """Pipes that a child process writes to, each in place of a stream; `take(stream, text)` gets what it writes."""

    def __init__(self, take: Callable[[str, str], object]) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._to_child: dict[str, int] = {}  # by stream, the end to write to
        self._readers: dict[int, _Reader] = {}  # by the end to read from

    def open(self, stream: str) -> int:
        """The end to write to of the pipe in place of `stream`, for the child."""
        if stream not in self._to_child:
            ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            self._readers[ours] = _Reader(ours, stream, self._take)
            self._to_child[stream] = theirs
        return self._to_child[stream]

    def start(self, name: str) -> None:
        """The child has its ends, if there are any: read ours from now on, in a thread called `name`."""
        for end in self._to_child.values():
            os.close(end)
        if self._readers:
            # A daemon: a process that nobody waits for must not keep the interpreter from ending.
            threading.Thread(target=self._read_all, name=name, daemon=True).start()

    def abandon(self) -> None:
        """There is no child: close all ends."""
        for end in (*self._to_child.values(), *self._readers):
            os.close(end)

    def drain(self) -> None:
        """Take what is in the pipes now."""
        with self._lock:
            for reader in self._readers.values():
                for _ in range(_DRAIN):
                    if not reader.read():
                        break

    def _read_all(self) -> None:
        poll = select.poll()
        for end in self._readers:
            poll.register(end, select.POLLIN)
        while self._readers:
            for end, _ in poll.poll():
                with self._lock:
                    self._readers[end].read()
                    if self._readers[end].has_ended:
                        poll.unregister(end)
                        del self._readers[end]
                        os.close(end)


class _Reader:
    """Reads one pipe; characters may be cut in two by its chunks."""

    def __init__(self, end: int, stream: str, take: Callable[[str, str], object]) -> None:
        self._end = end
        self._stream = stream
        self._take = take
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.has_ended = False

    def read(self) -> bool:
        """Take what is there, up to a chunk; whether there may be more."""
        try:
            data = b"" if self.has_ended else os.read(self._end, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.has_ended = True
        text = self._decoder.decode(data, final=not data)
        if text:
            with contextlib.suppress(OSError, ValueError):  # a terminal that is gone must not hold up the child
                self._take(self._stream, text)
        return bool(data)
