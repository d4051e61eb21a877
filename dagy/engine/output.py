"""What a task prints, logs or shows goes to that task, whichever thread or event loop it runs on.

A context variable names the task that the calling code belongs to, by its sink. While a run captures, wrapped are

- `sys.stdout` and `sys.stderr`, and with them warnings;
- the loggers and the handlers that print, so that a record made in a task goes to the task;
- `Thread.start` and `ThreadPoolExecutor.submit`: a thread belongs to the task that starts it, work that is given to a
  pool to the task that gives it, whoever made the pool;
- `subprocess.Popen` (and so all of `subprocess`, `os.popen`, and processes of asyncio) and `os.system`: what a child
  would have inherited of stdout and stderr are pipes to the task.

What is called outside tasks passes straight through. The wrapping is counted, so that runs may overlap, and is gone
when the last of them has ended. Out of reach is what belongs to the whole process: C code that writes to the file
descriptors 1 and 2, processes that are forked, and a task that puts its own stream in place of `sys.stdout`. A task in
a worker process has these to itself.
"""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import functools
import io
import logging
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TextIO, cast

from dagy.engine.pipes import Pipes

if TYPE_CHECKING:
    import subprocess

    from typing_extensions import Buffer


class Sink(Protocol):
    """Where the output of one attempt goes."""

    def write(self, stream: str, text: str) -> bool | None:
        """Take text; `stream` is "stdout", "stderr" or "log".

        False when it is to be printed as well, as if nobody captured: the sink only wants a copy, or its run has ended.
        Text may be empty, to ask for that alone.
        """

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        """Take a rich display: a MIME bundle."""


_SINK: contextvars.ContextVar[Sink | None] = contextvars.ContextVar("dagy_sink", default=None)
# The record that loggers are about to hand to their handlers and its task has, and whether it is to be printed as well.
_GIVEN: contextvars.ContextVar[tuple[logging.LogRecord, bool] | None] = contextvars.ContextVar(
    "dagy_given", default=None
)


def current_sink() -> Sink | None:
    """Where the output of the calling code goes, when it runs inside a task whose run captures; else None."""
    return _SINK.get()


def set_sink(sink: Sink | None) -> None:
    """From here on, in this context, output goes to `sink`."""
    _SINK.set(sink)


def deliver(sink: Sink | None, stream: str, text: str) -> None:
    """Give text to the sink, and print it where there is none or it wants a copy only: all but "stdout" on stderr."""
    if sink is None or sink.write(stream, text) is False:
        found = sys.stdout if stream == "stdout" else sys.stderr
        base = found._base if isinstance(found, _StreamProxy) else found
        if base is not None:  # else the program has no such stream, and printing does nothing
            with contextlib.suppress(OSError, ValueError):  # whoever read it has gone, which is not the task's fault
                base.write(text)
                base.flush()


class Capture:
    """Counts the runs that capture; the first one wraps what prints, the last one unwraps it."""

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()
        self._has_asyncio = False
        self._undo: list[Callable[[], None]] = []

    def acquire(self) -> None:
        """One more run captures."""
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                self._has_asyncio = False
                self._wrap_all()

    def release(self) -> None:
        """One run less captures."""
        with self._lock:
            self._runs -= 1
            while not self._runs and self._undo:
                self._undo.pop()()

    def wrap_asyncio(self) -> None:
        """A child process has been started: from now on asyncio's are waited for like others."""
        module = sys.modules.get("asyncio.subprocess")
        with self._lock:
            if self._runs and module is not None and not self._has_asyncio:
                self._has_asyncio = True
                self._wrap(module.Process, "wait", _draining_in_a_loop)

    def _wrap_all(self) -> None:
        from concurrent.futures import ThreadPoolExecutor
        from subprocess import Popen

        for name in ("stdout", "stderr"):
            found = getattr(sys, name)
            if isinstance(found, _StreamProxy):  # put back late by somebody who had wrapped it
                setattr(sys, name, found._base)
            self._wrap(sys, name, functools.partial(_StreamProxy, name))
        self._wrap(logging.Logger, "callHandlers", _giving_records)
        self._wrap(logging.StreamHandler, "emit", _printing_outside_tasks)
        self._wrap(threading.Thread, "start", _carrying_the_sink)
        self._wrap(ThreadPoolExecutor, "submit", _in_the_name_of_the_caller)
        if os.name == "posix":
            self._wrap(Popen, "__init__", _with_pipes)
            self._wrap(Popen, "wait", _draining)
            self._wrap(Popen, "poll", _draining)
            self._wrap(os, "system", _as_child)

    def _wrap(self, owner: Any, name: str, wrapper: Callable[[Any], object]) -> None:
        base = getattr(owner, name)
        ours = wrapper(base)
        setattr(owner, name, ours)

        def undo() -> None:
            if getattr(owner, name) is ours:  # else somebody has wrapped it since, and will put it back
                setattr(owner, name, base)

        self._undo.append(undo)


CAPTURE = Capture()

# ---- streams


class _StreamProxy(io.TextIOBase):
    """A text stream that writes to the calling task's sink, and outside tasks to `base`."""

    def __init__(self, name: str, base: TextIO | None) -> None:
        self._base = cast(TextIO, _Nowhere()) if base is None else base
        self._name = name
        self._binary = threading.local()

    def write(self, text: str) -> int:
        sink = _SINK.get()
        if sink is None:
            return self._base.write(text)
        if sink.write(self._name, text) is False:
            try:  # noqa: SIM105 (it is done for all that tasks print)
                self._base.write(text)
            except OSError:  # whoever read it has gone, or the disk is full, which is not the task's fault
                pass
        return len(text)

    def flush(self) -> None:
        try:
            self._base.flush()
        except OSError:
            if _SINK.get() is None:
                raise

    def close(self) -> None:
        """Nothing: the stream below is not the task's, nor ours, to close."""

    @property
    def closed(self) -> bool:
        return self._base.closed

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        sink = _SINK.get()
        return (sink is None or sink.write(self._name, "") is False) and self._base.isatty()

    def fileno(self) -> int:
        return self._base.fileno()

    @property
    def buffer(self) -> BinaryIO:
        sink = _SINK.get()
        if sink is None:
            return self._base.buffer
        known: _BytesToTask | None = getattr(self._binary, "stream", None)
        if known is None or known.sink is not sink:
            known = self._binary.stream = _BytesToTask(sink, self)
        return cast(BinaryIO, known)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return getattr(self._base, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # read-only here
        return getattr(self._base, "errors", None)

    def __getattr__(self, name: str) -> object:
        return getattr(self._base, name)


class _Nowhere(io.TextIOBase):
    """Stands where a program has no stream at all, as one without a terminal may: what is printed there is gone."""

    def write(self, text: str) -> int:
        return len(text)


class _BytesToTask(io.RawIOBase):
    """A binary stream that writes to a task's text stream; a character may come in pieces."""

    def __init__(self, sink: Sink, stream: _StreamProxy) -> None:
        self.sink = sink
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        content = bytes(data)
        self._stream.write(self._decoder.decode(content))
        return len(content)


# ---- logging

_FORMATTER = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")


def record_text(record: logging.LogRecord) -> str:
    """A log record as a task's output has it, with its newline; empty if its arguments don't fit its message.

    Of that logging itself tells, as of all that goes wrong in a handler.
    """
    try:
        return _FORMATTER.format(record) + "\n"
    except Exception:  # noqa: BLE001 (the user's own arguments)
        logging.Handler().handleError(record)
        return ""


def _giving_records(base: Callable[[logging.Logger, logging.LogRecord], None]) -> object:
    """`Logger.callHandlers`: a record that is made inside a task and reaches the root logger is given to the task."""

    @functools.wraps(base)
    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        sink = _SINK.get()
        if sink is None or not _reaches_root(logger):
            base(logger, record)
            return
        token = _GIVEN.set((record, _give(record, sink)))
        try:
            base(logger, record)
        finally:
            _GIVEN.reset(token)

    return call_handlers


def _printing_outside_tasks(base: Callable[[Any, logging.LogRecord], None]) -> object:
    """`StreamHandler.emit`: a record that is made inside a task is given to it instead of printed; files get theirs."""

    @functools.wraps(base)
    def emit(handler: Any, record: logging.LogRecord) -> None:
        sink = _SINK.get()
        if sink is None or not _is_terminal(handler.stream):
            base(handler, record)
            return
        given = _GIVEN.get()
        is_printed = given[1] if given is not None and given[0] is record else _give(record, sink)
        if is_printed:
            token = _SINK.set(None)  # the task has it
            try:
                base(handler, record)
            finally:
                _SINK.reset(token)

    return emit


def _give(record: logging.LogRecord, sink: Sink) -> bool:
    """Give the record to the task; whether it is to be printed as well."""
    text = record_text(record)
    return bool(text) and sink.write("log", text) is False


def _reaches_root(logger: logging.Logger) -> bool:
    each: logging.Logger | None = logger
    while each is not None:
        if not each.propagate and each.parent is not None:
            return False
        each = each.parent
    return True


def _is_terminal(stream: object) -> bool:
    """Whether what is written there appears where `print` prints."""
    if isinstance(stream, _StreamProxy):
        return True
    streams = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    return any(stream is each or (isinstance(each, _StreamProxy) and stream is each._base) for each in streams)


# ---- threads


def _carrying_the_sink(base: Callable[[threading.Thread], None]) -> object:
    """`Thread.start`: the thread belongs to the task that starts it."""

    @functools.wraps(base)
    def start(thread: threading.Thread) -> None:
        sink = _SINK.get()
        if sink is not None:
            vars(thread)["run"] = functools.partial(_run_for, sink, thread, thread.run)
        base(thread)

    return start


def _run_for(sink: Sink, thread: threading.Thread, run: Callable[[], None]) -> None:
    vars(thread).pop("run", None)  # else the thread would hold itself
    set_sink(sink)
    run()


def _in_the_name_of_the_caller(base: Callable[..., Any]) -> object:
    """`ThreadPoolExecutor.submit`: work belongs to the task that submits it, and the pool's threads to none."""

    @functools.wraps(base)
    def submit(pool: Any, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        call = functools.partial(_call_for, _SINK.get(), function)
        token = _SINK.set(None)
        try:
            return base(pool, call, *args, **named)
        finally:
            _SINK.reset(token)

    return submit


def _call_for(sink: Sink | None, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    token = _SINK.set(sink)
    try:
        return function(*args, **named)
    finally:
        _SINK.reset(token)


# ---- child processes

_PIPES: weakref.WeakKeyDictionary[subprocess.Popen[Any], Pipes] = weakref.WeakKeyDictionary()


def _with_pipes(base: Callable[..., None]) -> object:
    """`Popen.__init__`: the streams that a task's child would have inherited are pipes to the task."""

    @functools.wraps(base)
    def init(
        child: subprocess.Popen[Any], args: Any, bufsize: int = -1, executable: Any = None,
        stdin: Any = None, stdout: Any = None, stderr: Any = None, *rest: Any, **named: Any,
    ) -> None:  # fmt: skip
        sink = _SINK.get()
        if sink is None:
            base(child, args, bufsize, executable, stdin, stdout, stderr, *rest, **named)
            return
        pipes = Pipes(functools.partial(deliver, sink))
        try:
            stdout = _replaced(stdout, "stdout", pipes)
            stderr = _replaced(stderr, "stderr", pipes)
            base(child, args, bufsize, executable, stdin, stdout, stderr, *rest, **named)
        except BaseException:
            pipes.abandon()
            raise
        pipes.start(f"dagy-output-of-{child.pid}")
        _PIPES[child] = pipes
        CAPTURE.wrap_asyncio()

    return init


def _replaced(target: Any, stream: str, pipes: Pipes) -> Any:
    """A pipe where a child's stream would have been that of the task; else the target that was asked for."""
    if isinstance(target, _StreamProxy):
        return pipes.open(target._name)
    return pipes.open(stream) if target is None else target


def _drain(child: subprocess.Popen[Any]) -> None:
    pipes = _PIPES.get(child)
    if pipes is not None:
        pipes.drain()


def _draining(base: Callable[..., int | None]) -> object:
    """`Popen.wait`, `Popen.poll`: who knows that a child has ended has all that it wrote."""

    @functools.wraps(base)
    def code(child: subprocess.Popen[Any], *args: Any, **named: Any) -> int | None:
        found = base(child, *args, **named)
        if found is not None:
            _drain(child)
        return found

    return code


def _draining_in_a_loop(base: Callable[[Any], Awaitable[int]]) -> object:
    """`asyncio.subprocess.Process.wait`, which `communicate` calls as well."""

    @functools.wraps(base)
    async def wait(process: Any) -> int:
        code = await base(process)
        _drain(process._transport.get_extra_info("subprocess"))
        return code

    return wait


def _as_child(base: Callable[[Any], int]) -> object:
    """`os.system`: inside a task a child process like others."""

    @functools.wraps(base)
    def system(command: str | bytes) -> int:
        if _SINK.get() is None:
            return base(command)
        from subprocess import Popen

        code = Popen(command, shell=True).wait()
        return -code if code < 0 else code << 8  # as the system tells it

    return system
