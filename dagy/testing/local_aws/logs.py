"""What programs say, as lines in the log groups of the stand-in, while they run."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

_KEPT_BYTES = 4096  # of the end of what was said: what an invocation's answer shows of its log
_creating = threading.Lock()


class LogStream:
    """A stream of a log group; both are made when the first line comes."""

    def __init__(self, account: str, region: str, group: str, name: str) -> None:
        from moto.logs.models import logs_backends

        self.tail = b""
        self._logs: Any = logs_backends[account][region]
        self._group = group
        self._name = name
        self._begun = b""  # the line that is not at its end yet

    def write(self, text: bytes) -> None:
        """Take what was said; a line that is not at its end waits for the rest."""
        self.tail = (self.tail + text)[-_KEPT_BYTES:]
        *lines, self._begun = (self._begun + text).split(b"\n")
        self._put(lines)

    def end(self) -> None:
        """Nothing more will be said for now."""
        lines, self._begun = [self._begun], b""
        self._put(lines)

    def _put(self, lines: list[bytes]) -> None:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": each.decode(errors="replace")} for each in lines if each.strip()]
        if not events:
            return
        with _creating:
            self._logs.ensure_log_group(self._group)
            if self._name not in self._logs.groups[self._group].streams:
                self._logs.create_log_stream(self._group, self._name)
            self._logs.put_log_events(self._group, self._name, events)


class Listener:
    """Follows the file that a program writes what it says to, into a stream."""

    def __init__(self, said: Path, stream: LogStream) -> None:
        self._file = said.open("rb")
        self._stream = stream

    def listen(self) -> None:
        """Take what was said since the last time."""
        if text := self._file.read():
            self._stream.write(text)

    def close(self) -> None:
        """Take the rest."""
        self.listen()
        self._stream.end()
        self._file.close()
