"""Worker processes: a call that runs in another process, and can really be stopped.

The workers are kept warm and are started, watched and killed by a nursery, a process of its own (see `nursery`), so
that this process, whatever it holds and however many threads it has, is never forked. Each worker has a line to this
process, and two pipes for what is printed; the thread that makes a call reads all three.
"""

from __future__ import annotations

import atexit
import codecs
import os
import select
import signal
import socket
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from dagy.engine.output import Sink, deliver
from dagy.engine.processes.errors import unpack_error
from dagy.engine.processes.functions import PackedFunction, pack_function
from dagy.engine.processes.surroundings import Surroundings, current_surroundings
from dagy.engine.processes.values import Packed, Region, Spares, pack
from dagy.engine.processes.wire import LARGEST, MARK, ORDER, Message, receive, send
from dagy.engine.workers import Stopped
from dagy.errors import TravelError, WorkerDiedError

if TYPE_CHECKING:
    import subprocess

    import psutil

__all__ = ["PackedFunction", "ProcessCall", "ProcessPool", "pack_function", "shared_pool"]

_MOST_IDLE = 16  # workers that are kept for the next calls
_MOST_FUNCTIONS = 200  # that a worker is taken to remember; it remembers more
_MOST_ATTACHED = 100  # values in one message
_MOST_SWEEPS = 10  # for what is left of killed workers
_MOST_TRIES = 5  # to find a worker that takes a call
_PIECE = 64 * 1024  # bytes of output that are read at once
_MOST_PIECES = 32  # of output that are read from a pipe at the end of a call
_TICK = 1000  # milliseconds after which a wait looks around
_LAST_SECONDS = 2.0  # that a worker gets to end by itself
_PATIENCE = 5.0  # seconds, after the grace, that the end of a killed worker is waited for
_ANSWERS = ("returned", "raised", "stopped")
_NURSERY = (
    "import sys; sys.path[:] = sys.argv[2:]; from dagy.engine.processes.nursery import main; main(int(sys.argv[1]))"
)


class ProcessCall:
    """One call of `function` in a worker process. `run` it once; `stop` it at any time, from any thread.

    `started` is called when the worker turns to the call: unpacking and importing are part of it, starting a worker
    is not. Output goes to `sink`, or to `sys.stdout` and `sys.stderr` when there is none.
    """

    def __init__(
        self,
        pool: ProcessPool,
        function: PackedFunction,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        is_async: bool = False,
        sink: Sink | None = None,
        started: Callable[[], None] | None = None,
    ) -> None:
        self.error: BaseException | None = None  # what the function raised, if it did
        self._pool = pool
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._is_async = is_async
        self._sink = sink
        self._started = started
        self._gate = threading.RLock()  # a signal's handler may stop the very call that its thread makes
        self._worker: _Worker | None = None
        self._stop_by: float | None = None

    def run(self) -> object:
        """What the function returns; a large value as a `Packed`. Raises what the function raises.

        Raises `WorkerDiedError` when the worker did not live to tell, `TravelError` when an input or the result can't
        go from one process to the other, and `Stopped` when `stop` has ended it.
        """
        attached: list[Packed] = []
        inputs = self._pack_inputs(attached)
        for attempt in range(_MOST_TRIES):
            worker = self._pool.lease(warm=attempt == 0)
            lent = [*attached, inputs]
            try:
                reply = self._converse(worker, attached, inputs)
                lent = _still_read(lent, reply)
            finally:
                self._let_go()
                for part in lent:
                    part.hold()
                self._pool.take_back(worker)
            if reply.kind != "idle":
                return self._outcome(reply)
        raise WorkerDiedError(f"no worker process lives long enough to run {self._function.name}", 1)

    def stop(self, grace: float) -> None:
        """Make it end: the worker's processes are asked to, and are killed after `grace` seconds. Returns at once."""
        with self._gate:
            if self._stop_by is None:
                self._stop_by = time.monotonic() + grace
                if self._worker is not None:
                    self._worker.ask_to_end(grace)

    def _pack_inputs(self, attached: list[Packed]) -> Packed:
        inputs = (tuple(self._args), dict(self._kwargs))
        try:
            return pack(inputs, attached=attached, spares=self._pool.spares)
        except TravelError:
            named = [(f"argument {number}", value) for number, value in enumerate(self._args, 1)]
            named += [(f"the input {name!r}", value) for name, value in self._kwargs.items()]
            for what, value in named:
                pack(value, what, attached=[])
            raise

    def _converse(self, worker: _Worker, attached: list[Packed], inputs: Packed) -> Message:
        """Give the worker the call and hear it out: its answer, or what became of it."""
        spare = _borrow(self._pool.spares)
        with self._gate:
            if self._stop_by is not None:
                raise Stopped
            self._worker = worker
            worker.is_idle = False
        was_ready = worker.is_ready
        if was_ready:
            self._announce()
        try:
            worker.give(self._function, self._is_async, attached, inputs, spare, self._pool.surroundings())
        except (BrokenPipeError, ConnectionResetError):
            if was_ready:  # it has ended since its last call
                return Message("idle", (), [])
        reply = self._listen(worker)
        if reply.kind in _ANSWERS:
            with self._gate:
                self._worker = None
                worker.is_idle = reply.fields[0] and self._stop_by is None
            if self._stop_by is not None:
                with suppress(Stopped):
                    self._listen(worker)  # until it and all below it is gone
        if spare is not None and not (reply.kind in _ANSWERS and reply.fields[1]):
            spare.hold()
        return reply

    def _listen(self, worker: _Worker) -> Message:
        """The worker's answer or its end; what it prints and logs meanwhile is passed on."""
        while True:
            news = worker.hear()
            for stream, text in worker.read():
                self._write(stream, text)
            if news is None:
                if self._stop_by is not None and time.monotonic() > self._stop_by + _PATIENCE:
                    raise Stopped
                continue
            match news.kind:
                case "ready":
                    worker.is_ready = True
                    self._announce()
                case "log":
                    self._write("log", news.fields[0])
                case "display":
                    self._show(news.parts[0])
                case _:
                    for stream, text in worker.read_the_rest():
                        self._write(stream, text)
                    return news

    def _announce(self) -> None:
        started, self._started = self._started, None
        if started is not None:
            started()

    def _write(self, stream: str, text: str) -> None:
        deliver(self._sink, stream, text)

    def _show(self, display: Packed) -> None:
        """Pass on a rich display; nothing is shown of one that can't be put together here."""
        if self._sink is not None:
            with suppress(TravelError):
                data, metadata = cast("tuple[dict[str, object], dict[str, object]]", display.value())
                self._sink.show(data, metadata)

    def _let_go(self) -> None:
        """From here on `stop` reaches nobody."""
        with self._gate:
            self._worker = None

    def _outcome(self, reply: Message) -> object:
        name = self._function.name
        if reply.kind == "returned":
            (part,) = reply.parts
            return part if isinstance(part.content, Region) else part.value()
        if reply.kind == "raised":
            self.error = unpack_error(reply.parts[0])
            raise self.error
        if self._stop_by is not None:
            raise Stopped
        if reply.kind == "unborn":
            raise WorkerDiedError(f"no process can be started for {name}: {reply.fields[0]}", 1)
        if reply.kind == "stopped":  # by somebody else's SIGTERM
            code = -int(signal.SIGTERM)
        else:
            code = os.waitstatus_to_exitcode(reply.fields[0]) if reply.kind == "ended" else -int(signal.SIGKILL)
        how = f"exit code {code}, and no result" if code >= 0 else _killed_by(-code)
        raise WorkerDiedError(f"the process that ran {name} died: {how}", code)


def _killed_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "a signal"
    memory = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return f"killed by {name} (signal {number}){memory}"


def _still_read(lent: Sequence[Packed], reply: Message) -> list[Packed]:
    """Which of the values that travelled to the worker it goes on reading."""
    held = cast("Sequence[bool]", reply.fields[2]) if reply.kind in _ANSWERS else ()
    return [part for part, is_held in zip(lent, held, strict=False) if is_held]


def _borrow(spares: Spares) -> Packed | None:
    """A spare region for the worker to fill with a large result, if there is one."""
    fd = spares.take()
    return None if fd is None else Packed(Region(fd, spares), ())


class ProcessPool:
    """The worker processes of this process. They are started when they are needed, and kept warm for the next call."""

    def __init__(self) -> None:
        self.spares = Spares()
        self._lock = threading.Lock()
        self._nursery: _Nursery | None = None
        self._idle: list[_Worker] = []  # the one that was used last comes last
        self._workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
        self._count = 0
        self._surroundings = current_surroundings()

    @property
    def nursery_pid(self) -> int:
        """The process that the workers are children of."""
        with self._lock:
            return self._ready_nursery().pid

    def warm_up(self) -> None:
        """Start what takes time to start; returns at once. When that fails the first call says so."""
        with self._lock, suppress(OSError):
            self._ready_nursery()

    def trim(self) -> None:
        """Give back the memory that is kept for the next large values."""
        self.spares.clear()

    def lease(self, *, warm: bool = True) -> _Worker:
        """A worker for one call, a warm one if there is one, unless it must be new; `take_back` must follow."""
        while warm:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.is_quiet():
                return worker
            worker.close()
        return self._start()

    def take_back(self, worker: _Worker) -> None:
        """Keep a worker that can take another call; end any other."""
        if not worker.is_idle:
            worker.ask_to_end(_LAST_SECONDS)
            worker.close()
            return
        with self._lock:
            self._idle.append(worker)
            surplus = self._idle.pop(0) if len(self._idle) > _MOST_IDLE else None
        if surplus is not None:
            surplus.close()  # which ends it

    def surroundings(self) -> Surroundings:
        """Those of this process now; the same object as before as long as they are the same."""
        if not self._surroundings.hold():
            self._surroundings = current_surroundings()
        return self._surroundings

    def close(self) -> None:
        """End all workers, at once."""
        with self._lock:
            self._idle.clear()
            nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.close()

    def forget(self) -> None:
        """Let go of everything without ending it: it belongs to the process that this one was forked from."""
        for worker in self._workers:
            worker.close()
        if self._nursery is not None:
            self._nursery.forget()

    def _start(self) -> _Worker:
        with self._lock:
            self._count += 1
            try:
                worker = self._started()
            except (BrokenPipeError, ConnectionResetError):  # somebody has killed the nursery
                if self._nursery is not None:
                    self._nursery.close()
                    self._nursery = None
                worker = self._started()
            self._workers.add(worker)
            return worker

    def _started(self) -> _Worker:
        try:
            return _Worker(self._count, self._ready_nursery(), self.spares)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except OSError as error:
            raise WorkerDiedError(f"no worker process can be started: {error.strerror}", 1) from error

    def _ready_nursery(self) -> _Nursery:
        if self._nursery is None:
            self._nursery = _Nursery()
        return self._nursery


class _Worker:
    """One worker process, at this end of its line."""

    def __init__(self, number: int, nursery: _Nursery, spares: Spares) -> None:
        self.is_ready = False  # it has told that it is
        self.is_idle = True
        self._number = number
        self._nursery = nursery
        self._spares = spares
        self._room = bytearray(LARGEST)
        self._known: OrderedDict[bytes, None] = OrderedDict()  # the functions it has
        self._surroundings: Surroundings | None = None  # the last it was given
        self._is_gone = False
        self._pipes: dict[int, str] = {}
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}
        self._poll = select.poll()
        self._found: set[int] = set()  # what `hear` has found something in
        self._line, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends: list[int] = []
        try:
            for stream in ("stdout", "stderr"):
                fd, end = os.pipe()
                ends.append(end)
                self._pipes[fd] = stream
                self._decoders[fd] = codecs.getincrementaldecoder("utf-8")("backslashreplace")
                os.set_blocking(fd, False)
            nursery.order(number, b"s", 0.0, [far_end.fileno(), *ends])
        except BaseException:
            self._is_gone = True
            self.close()
            raise
        finally:
            far_end.close()
            for end in ends:
                os.close(end)
        for fd in (self._line.fileno(), *self._pipes):
            self._poll.register(fd, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether it has nothing to say, as it should be between two calls."""
        return not self._poll.poll(0)

    def give(
        self,
        function: PackedFunction,
        is_async: bool,
        attached: Sequence[Packed],
        inputs: Packed,
        spare: Packed | None,
        surroundings: Surroundings,
    ) -> None:
        """Give it a call; the function and the surroundings only when it does not have them yet."""
        for start in range(0, len(attached), _MOST_ATTACHED):
            send(self._line, "attached", (), attached[start : start + _MOST_ATTACHED])
        digest, is_known = function.digest, function.digest in self._known
        are_new = surroundings is not self._surroundings
        parts = [] if spare is None else [spare]
        if are_new:
            parts.append(pack(surroundings))
        if not is_known:
            parts.append(function.packed)
        parts.append(inputs)
        send(self._line, "call", (digest, is_async, are_new, not is_known, spare is not None), parts)
        self._surroundings = surroundings
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > _MOST_FUNCTIONS:
            self._known.popitem(last=False)

    def hear(self) -> Message | None:
        """Wait a moment for news: what it says, "gone" when nobody is there any more, or None."""
        self._found = {fd for fd, _ in self._poll.poll(_TICK)}
        if self._line.fileno() not in self._found:
            return None
        try:
            message = receive(self._line, self._room, self._spares)
        except ConnectionResetError:  # it has ended without reading all it was told; its last words come after that
            message = receive(self._line, self._room, self._spares)
        message = message or Message("gone", (), [])
        if message.kind in ("ended", "unborn", "gone"):
            self._is_gone = True
            if message.kind == "gone":
                self._nursery.sweep()
        elif message.kind == "raised":
            self._known.clear()  # the function may not have arrived there
        return message

    def read(self) -> list[tuple[str, str]]:
        """What it has printed, by stream, where the last `hear` found something."""
        texts: list[tuple[str, str]] = []
        for fd in self._found & self._pipes.keys():
            with suppress(BlockingIOError):
                data = os.read(fd, _PIECE)
                if not data:  # its code has closed the stream
                    self._poll.unregister(fd)
                text = self._decoders[fd].decode(data)
                if text:
                    texts.append((self._pipes[fd], text))
        return texts

    def read_the_rest(self) -> list[tuple[str, str]]:
        """What it has printed until now, when a call has ended."""
        texts: list[tuple[str, str]] = []
        for _ in range(_MOST_PIECES):
            self._found = {fd for fd, _ in self._poll.poll(0)} & self._pipes.keys()
            if not self._found:
                break
            texts += self.read()
        texts += [(self._pipes[fd], text) for fd, each in self._decoders.items() if (text := each.decode(b"", True))]
        return texts

    def ask_to_end(self, grace: float) -> None:
        """Send SIGTERM to it and its group, and SIGKILL to all below it after `grace` seconds, unless it is gone."""
        if not self._is_gone:
            with suppress(OSError):  # the nursery is gone, and all workers with it
                self._nursery.order(self._number, b"t", grace)

    def close(self) -> None:
        """Close the line; an idle worker ends with that."""
        self._line.close()
        for fd in self._pipes:
            os.close(fd)
        self._pipes.clear()
        self._is_gone = True

    def __del__(self) -> None:
        if self._pipes:  # nobody has closed it: an interrupt came in between
            if self._nursery.is_ours:
                self.ask_to_end(0.0)
            self.close()


class _Nursery:
    """The process that starts and ends workers, seen from here."""

    def __init__(self) -> None:
        import subprocess

        self._owner = os.getpid()
        self._mark = f"{self._owner}-{time.time_ns()}"
        self._line, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, *flags, "-c", _NURSERY, str(far_end.fileno()), *sys.path],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, MARK: self._mark},
                start_new_session=True,  # so that Ctrl-C in a terminal does not reach it
            )
        except BaseException:
            self._line.close()
            raise
        finally:
            far_end.close()

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to this process, and not to one that this one was forked from."""
        return self._owner == os.getpid()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def order(self, number: int, kind: bytes, seconds: float, fds: Sequence[int] = ()) -> None:
        """Send an order (see `dagy.engine.processes.nursery`); `OSError` when it is gone."""
        socket.send_fds(self._line, [ORDER.pack(number, kind, seconds)], fds)

    def close(self) -> None:
        """End it, and all workers with it."""
        from subprocess import TimeoutExpired

        self._line.close()
        try:
            self._process.wait(_LAST_SECONDS + 1)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def sweep(self) -> None:
        """Kill what is left of the workers when somebody has killed the nursery: the workers died with it."""
        from subprocess import TimeoutExpired

        import psutil

        try:
            self._process.wait(_LAST_SECONDS)
        except TimeoutExpired:  # it lives, and sees to its workers itself
            return
        for _ in range(_MOST_SWEEPS):
            found = [each for each in psutil.process_iter() if _mark_of(each) == self._mark]
            if not found:
                return
            for each in found:
                with suppress(psutil.Error):
                    each.kill()

    def forget(self) -> None:
        """Close the line in a process that this one was forked into."""
        self._line.close()
        self._process.returncode = 0  # there is nothing to wait for


def _mark_of(process: psutil.Process) -> str | None:
    import psutil

    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


_POOLS: list[ProcessPool] = []
_POOLS_LOCK = threading.Lock()


def shared_pool() -> ProcessPool:
    """The pool of this process; one that was forked from another has its own."""
    with _POOLS_LOCK:
        if not _POOLS:
            _POOLS.append(ProcessPool())
        return _POOLS[0]


@atexit.register
def _close_pool() -> None:
    for pool in _POOLS:
        pool.close()


def _forget_pool() -> None:
    global _POOLS_LOCK
    _POOLS_LOCK = threading.Lock()  # another thread may have held it when this process was forked
    while _POOLS:
        _POOLS.pop().forget()


os.register_at_fork(after_in_child=_forget_pool)
