"""The worker processes of this process, kept warm for the next call.

They are started, watched and killed by a nursery, a process of its own (see `nursery`), so that this process, whatever
it holds and however many threads it has, is never forked.
"""

from __future__ import annotations

import atexit
import codecs
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dagy.engine.nesting import level, refuse_too_deep
from dagy.engine.processes.functions import PackedFunction
from dagy.engine.processes.packing import Packed, Spares, pack
from dagy.engine.processes.surroundings import Surroundings, current_surroundings
from dagy.engine.processes.wire import LARGEST, MARK, ORDER, Message, receive, send
from dagy.errors import WorkerDiedError

if TYPE_CHECKING:
    import subprocess

    import psutil

_MOST_IDLE = 16  # workers that are kept for the next calls
_MOST_FUNCTIONS = 200  # that a worker is taken to remember; it remembers more
_MOST_ATTACHED = 100  # values in one message
_MOST_SWEEPS = 10  # for what is left of killed workers
_PIECE = 64 * 1024  # bytes of output that are read at once
_MOST_PIECES = 32  # of output that are read from a pipe at the end of a call
_TICK = 1000  # milliseconds after which a wait looks around
_LAST_SECONDS = 2.0  # that a process gets to end by itself
_NURSERY = (
    "import sys; line, depth, *sys.path[:] = sys.argv[1:]; "
    "from dagy.engine.processes.nursery import main; main(int(line), int(depth))"
)


class ProcessPool:
    """The worker processes of this process. They are started when they are needed, and kept warm for the next call."""

    def __init__(self) -> None:
        self.spares = Spares()
        self._lock = threading.Lock()
        self._nursery: _Nursery | None = None
        self._idle: list[PooledWorker] = []  # the one that was used last comes last
        self._workers: weakref.WeakSet[PooledWorker] = weakref.WeakSet()
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

    def lease(self, *, warm: bool = True) -> PooledWorker:
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

    def take_back(self, worker: PooledWorker) -> None:
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

    def _start(self) -> PooledWorker:
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

    def _started(self) -> PooledWorker:
        try:
            return PooledWorker(self._count, self._ready_nursery(), self.spares)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except OSError as error:
            raise WorkerDiedError(f"no worker process can be started: {error.strerror}", 1) from error

    def _ready_nursery(self) -> _Nursery:
        if self._nursery is None:
            self._nursery = _Nursery()
        return self._nursery


class PooledWorker:
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

    def tell(self, kind: str, part: Packed) -> None:
        """Send what it has asked for in the middle of a call; nothing when it is gone."""
        with suppress(OSError):
            send(self._line, kind, (), [part])

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

        refuse_too_deep()
        self._owner = os.getpid()
        self._mark = f"{self._owner}-{time.time_ns()}"
        self._line, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, *flags, "-c", _NURSERY, str(far_end.fileno()), str(level() + 1), *sys.path],
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
