"""The life of a worker process: take a call, run it in the main thread, tell how it went, and again.

A worker that is not as it was before a call, in a way that can't be mended at once, says so with its answer and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import locale
import logging
import mmap
import os
import signal
import socket
import sys
import threading
from _signal import getsignal  # `signal`'s own makes enums of the handlers, which takes forty times as long
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn, cast

from dagy.engine.current import answer_with
from dagy.engine.nesting import loading_code
from dagy.engine.output import record_text, set_sink
from dagy.engine.processes.errors import pack_error
from dagy.engine.processes.functions import unpack_function
from dagy.engine.processes.imported import ImportedModules
from dagy.engine.processes.packing import Packed, Region, Spares, pack, unpack
from dagy.engine.processes.surroundings import Surroundings
from dagy.engine.processes.wire import LARGEST, MARK, Message, receive, send
from dagy.engine.workers import Stopped
from dagy.errors import TravelError
from dagy.hooks import RunContext

_MOST_FUNCTIONS = 400  # that a worker remembers: twice as many as whoever calls it relies on
_IDLE_SECONDS = 60
_ERROR_SECONDS = 1.0  # that an exception may take to tell what it is
_LOG_PIECE = 8_000  # characters of a log record in one message


class TooSlow(BaseException):
    """Code of the user's takes too long where it should not take any time."""


class Worker:
    """One worker process, at its end of the line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._room = bytearray(LARGEST)
        self._functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self._surroundings: Surroundings | None = None
        self._pid = os.getpid()
        self._libc = ctypes.CDLL(None)
        self._mark = os.environ.get(MARK)
        self._is_running = False  # code of the user's
        self._was_told_to_stop = False
        self._is_stopping = False  # it has heard that it was
        self._cancel: Callable[[], object] | None = None  # of the event loop that runs
        signal.signal(signal.SIGTERM, self._on_terminate)
        os.register_at_fork(after_in_child=_terminate_as_usual)
        signal.signal(signal.SIGINT, _pass_over)  # Ctrl-C is the business of whoever started the run
        _open_streams(self._libc)
        self._context: RunContext | None = None  # of the call, once its code has asked
        self._asking = threading.Lock()
        sink = _Sink(self)
        set_sink(sink)
        answer_with(self._ask)
        logging.root.addHandler(_Records(sink))
        self._modules = ImportedModules()
        self._state = _state()

    def serve(self) -> None:
        """Run calls until the other end of the line is closed, or none came for long."""
        idle = _IDLE_SECONDS.to_bytes(8, sys.byteorder) + bytes(8)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, idle)
        self._send("ready")
        attached: list[Packed] = []
        while True:
            try:
                message = receive(self._line, self._room)
            except BlockingIOError:
                self._send("idle")  # who reads this knows that a call it has sent was not taken
                return
            if message is None:
                return
            if message.kind == "attached":
                attached += message.parts
                continue
            if self._modules.have_changed():
                self._send("idle")
                return
            goes_on = self._answer(message, attached)
            self._modules.look()
            attached = []
            if not goes_on:
                return

    def _answer(self, call: Message, attached: list[Packed]) -> bool:
        """Run a call and tell how it went: whether this worker can take another one."""
        digest, is_async, has_surroundings, has_function, has_spare = call.fields
        self._context = None
        parts = call.parts[::-1]
        spares = Spares()
        if has_spare:
            spares.give(cast(Region, parts.pop().content).take_fd())
        maps: list[mmap.mmap | None] = []
        kind, part = "returned", None
        try:
            try:
                self._is_running = True
                if self._was_told_to_stop:
                    raise Stopped
                if has_surroundings:
                    self._surroundings = cast(Surroundings, unpack(parts.pop()))
                    self._surroundings.take_on()
                    if self._mark is not None:
                        os.putenv(MARK, self._mark)
                if has_function:
                    with loading_code():
                        self._remember(digest, unpack_function(parts.pop()))
                with loading_code():
                    values = [unpack(each, held=maps) for each in attached]
                value = self._run(digest, is_async, parts.pop(), values, maps)
                del values
                part = pack(value, "the result", spares=spares)
                del value
            finally:
                self._is_running = False
        except TooSlow:
            raise
        except BaseException as error:  # noqa: BLE001 (user code may raise anything)
            kind, part = "stopped" if isinstance(error, Stopped) else "raised", self._packed(error)
        if os.getpid() != self._pid:  # code of the user's has forked, and returned in both
            os._exit(0)
        if isinstance(part.content, Region):
            part.content.is_held = True  # by whoever receives it
        has_spare = spares.clear() > 0
        goes_on = self._tidy_up()
        attached.clear()
        self._send(kind, (goes_on, has_spare, [_is_held(each) for each in maps]), [part])
        return goes_on

    def _run(
        self, digest: bytes, is_async: bool, inputs: Packed, values: list[object], maps: list[mmap.mmap | None]
    ) -> object:
        with loading_code():
            args, kwargs = cast("tuple[tuple[object, ...], dict[str, object]]", unpack(inputs, values, maps))
        del values
        function = self._functions[digest]
        self._functions.move_to_end(digest)
        if is_async:
            return self._run_coroutine(function, args, kwargs)
        return function(*args, **kwargs)

    def _run_coroutine(self, function: Callable[..., Any], args: Any, kwargs: Any) -> object:
        import asyncio

        async def main() -> object:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()

            def cancel() -> None:
                self._is_stopping = True  # the loop has heard it, so nothing need be torn from what blocks it
                if task is not None:
                    task.cancel()

            self._cancel = lambda: loop.call_soon_threadsafe(cancel)
            return await function(*args, **kwargs)

        try:
            return asyncio.run(main())
        except asyncio.CancelledError:
            if self._was_told_to_stop:
                raise Stopped from None
            raise
        finally:
            self._cancel = None

    def _ask(self) -> RunContext | None:
        """What the call is of, which whoever has made it knows."""
        with self._asking:
            if self._context is None and self._is_running and os.getpid() == self._pid:
                self._send("asked")
                answer: Message | None = None
                while answer is None or answer.kind != "context":
                    with contextlib.suppress(BlockingIOError):  # it has much to do
                        answer = receive(self._line, self._room)
                        if answer is None:
                            return None
                self._context = cast("RunContext | None", unpack(answer.parts[0]))
            return self._context

    def _remember(self, digest: bytes, function: Callable[..., Any]) -> None:
        self._functions[digest] = function
        while len(self._functions) > _MOST_FUNCTIONS:
            self._functions.popitem(last=False)

    def _packed(self, error: BaseException) -> Packed:
        """An exception, ready to travel, whatever its own code does."""
        try:
            with _time_limit(_ERROR_SECONDS):
                return pack_error(error)
        except BaseException:  # noqa: BLE001 (user code)
            return pack_error(error, instead="(its message can't be shown: it takes too long)")

    def _tidy_up(self) -> bool:
        """Put things back as they were before a call: whether that is possible."""
        with contextlib.suppress(Exception):  # whatever the user's code has put there
            sys.stdout.flush()
            sys.stderr.flush()
        self._libc.fflush(None)
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:  # figures that were left open would show up in the next call's
            pyplot.close("all")
        if self._was_told_to_stop or threading.active_count() > 1 or _has_children():
            return False
        if self._surroundings is not None:
            try:
                self._surroundings.take_on()
            except OSError:
                return False
        return _state() == self._state

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        """Raise `Stopped` in the code that runs; between two calls there is nothing to tell anyone."""
        is_first, self._was_told_to_stop = not self._was_told_to_stop, True  # it comes twice
        if not self._is_running or self._is_stopping:
            return
        if self._cancel is not None and is_first:
            self._cancel()
        else:
            self._is_stopping = True
            raise Stopped

    def _send(self, kind: str, fields: tuple[Any, ...] = (), parts: list[Packed] | None = None) -> None:
        try:
            send(self._line, kind, fields, parts or ())
        except OSError:  # nobody is there to hear it
            os._exit(1)

    def tell(self, kind: str, fields: tuple[Any, ...] = (), parts: list[Packed] | None = None) -> None:
        """Send a message in the middle of a call."""
        with contextlib.suppress(OSError):
            send(self._line, kind, fields, parts or ())


def serve(line: socket.socket) -> None:
    """Live the life of a worker."""
    Worker(line).serve()


class _Sink:
    """Where the output of the user's code goes: text into the pipes, the rest up the line."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def write(self, stream: str, text: str) -> None:
        """Pass on text; that of a log as messages, because it is neither of the two streams."""
        if stream == "log":
            for start in range(0, len(text), _LOG_PIECE):
                self._worker.tell("log", (text[start : start + _LOG_PIECE],))
        else:
            _write_all(1 if stream == "stdout" else 2, text.encode("utf-8", "backslashreplace"))

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        """Pass on a rich display; nothing is shown where it can't travel."""
        with contextlib.suppress(TravelError):
            self._worker.tell("display", (), [pack((dict(data), dict(metadata)))])


class _Records(logging.Handler):
    """Gives log records to a sink."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the record."""
        self._sink.write("log", record_text(record))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Do nothing; unlike `SIG_IGN` this is not inherited by the programs that a task starts."""


def _terminate_as_usual() -> None:
    """Let SIGTERM end a process that the user's code has forked; a handler might not come to run there."""
    with contextlib.suppress(ValueError):  # it was forked in a thread
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _open_streams(libc: ctypes.CDLL) -> None:
    """Fresh streams over the pipes that keep nothing back, so that what was printed before a kill is kept."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # The three are final for type checkers only.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore[misc]
    for name in ("stdout", "stderr"):
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, 1, 0)  # by line


def _stream(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)  # as with -u


def _state() -> tuple[object, ...]:
    """What a call may have changed, and the next one would feel."""
    return (
        sys.stdout,
        sys.stderr,
        *(_identity(fd) for fd in (0, 1, 2)),
        *map(getsignal, (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE)),
        signal.getitimer(signal.ITIMER_REAL)[0],
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        sys.gettrace(),
        sys.getprofile(),
        sys.excepthook,
        gc.isenabled(),
        gc.get_threshold(),
        tuple(logging.root.handlers),
        locale.setlocale(locale.LC_ALL),
        _umask(),
        os.getpriority(os.PRIO_PROCESS, 0),
    )


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _umask() -> int:
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _is_held(mapped: mmap.mmap | None) -> bool:
    """Whether code of the user's has kept an array that lies in there; else it is let go."""
    try:
        if mapped is not None:
            mapped.close()
    except BufferError:
        return True
    return False


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in what takes longer."""

    def raise_too_slow(number: int, frame: FrameType | None) -> NoReturn:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, raise_too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
