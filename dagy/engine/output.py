"""What a task prints, logs or shows goes to that task, whichever thread or event loop it runs on.

A context variable names the attempt that runs in the calling context. While a run captures, `sys.stdout`, `sys.stderr`
and the root logger are wrapped: what is written inside a task goes to the task, everything else passes straight
through. The wrapping is counted, so that runs may overlap, and is gone when the last of them has ended.
"""

from __future__ import annotations

import contextvars
import functools
import io
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Sink(Protocol):
    """Where the output of one attempt goes."""

    def write(self, stream: str, text: str) -> None:
        """Take text; `stream` is "stdout", "stderr" or "log"."""

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        """Take a rich display: a MIME bundle."""


_SINK: contextvars.ContextVar[Sink | None] = contextvars.ContextVar("dagy_sink", default=None)


def current_sink() -> Sink | None:
    """Where the output of the calling code goes, when it runs inside a task whose run captures; else None."""
    return _SINK.get()


def set_sink(sink: Sink | None) -> None:
    """From here on, in this context, output goes to `sink`."""
    _SINK.set(sink)


class Capture:
    """Counts the runs that capture; the first one wraps the streams, the last one unwraps them."""

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []

    def acquire(self) -> None:
        """One more run captures."""
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                self._wrap_streams()
                self._wrap_logging()

    def release(self) -> None:
        """One run less captures."""
        with self._lock:
            self._runs -= 1
            while not self._runs and self._undo:
                self._undo.pop()()

    def _wrap_streams(self) -> None:
        for name in ("stdout", "stderr"):
            base = getattr(sys, name)
            proxy = _StreamProxy(base, name)
            setattr(sys, name, proxy)
            self._undo.append(functools.partial(_restore, name, base, proxy))

    def _wrap_logging(self) -> None:
        root = logging.getLogger()
        to_task = _ToTask()
        redirection = _Redirection(to_task)
        printing = _printing_handlers()
        root.addHandler(to_task)
        for handler in printing:
            handler.addFilter(redirection)

        def undo() -> None:
            root.removeHandler(to_task)
            for handler in printing:
                handler.removeFilter(redirection)

        self._undo.append(undo)


CAPTURE = Capture()


class _StreamProxy(io.TextIOBase):
    """A text stream that writes to the calling task's sink, and outside tasks to `base`."""

    def __init__(self, base: TextIO, name: str) -> None:
        self._base = base
        self._name = name

    def write(self, text: str) -> int:
        sink = _SINK.get()
        if sink is None:
            return self._base.write(text)
        sink.write(self._name, text)
        return len(text)

    def flush(self) -> None:
        if _SINK.get() is None:
            self._base.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return _SINK.get() is None and self._base.isatty()

    def fileno(self) -> int:
        return self._base.fileno()

    @property
    def buffer(self) -> BinaryIO:
        sink = _SINK.get()
        return self._base.buffer if sink is None else cast(BinaryIO, _BytesToTask(sink, self._name))

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return getattr(self._base, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # read-only here
        return getattr(self._base, "errors", None)

    def __getattr__(self, name: str) -> object:
        return getattr(self._base, name)


class _BytesToTask(io.RawIOBase):
    """A binary stream that writes to a task's sink."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        content = bytes(data)
        self._sink.write(self._name, content.decode("utf-8", "backslashreplace"))
        return len(content)


class _ToTask(logging.Handler):
    """Gives a record that is made inside a task to the task."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        sink = _SINK.get()
        if sink is not None:
            self.give(record, sink)
        elif self._is_the_only_handler(record.name):  # without it, logging's last resort would have shown the record
            last_resort = logging.lastResort
            if last_resort is not None and record.levelno >= last_resort.level:
                last_resort.handle(record)

    def give(self, record: logging.LogRecord, sink: Sink) -> None:
        """Write the record to the task, unless it was given before on its way up the loggers."""
        if getattr(record, "dagy_given", False):
            return
        record.dagy_given = True
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 (the user's own arguments don't fit the message)
            self.handleError(record)
        else:
            sink.write("log", text + "\n")

    def _is_the_only_handler(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(each is not self for each in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


class _Redirection(logging.Filter):
    """Gives a record that is made inside a task to the task, in place of the handler that would print it."""

    def __init__(self, to_task: _ToTask) -> None:
        super().__init__()
        self._to_task = to_task

    def filter(self, record: logging.LogRecord) -> bool:
        sink = _SINK.get()
        if sink is None:
            return True
        self._to_task.give(record, sink)
        return False


def _printing_handlers() -> list[logging.Handler]:
    """The handlers that print where `print` prints; one that writes to a file of the user's is left alone."""
    loggers = [logging.getLogger()]
    loggers += [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    streams = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    streams += [each._base for each in streams if isinstance(each, _StreamProxy)]
    found = [
        handler
        for logger in loggers
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and any(handler.stream is each for each in streams)
    ]
    return [*found, *([logging.lastResort] if logging.lastResort is not None else [])]


def _restore(name: str, base: TextIO, proxy: _StreamProxy) -> None:
    if getattr(sys, name) is proxy:  # else somebody has wrapped it since, and will put it back
        setattr(sys, name, base)
