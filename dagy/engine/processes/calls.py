"""One call of a function in a worker process, which can really be stopped.

A worker has a line to this process, and two pipes for what is printed; the thread that makes the call reads all three.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from dagy.engine.output import Sink, deliver
from dagy.engine.processes.errors import unpack_error
from dagy.engine.processes.functions import PackedFunction
from dagy.engine.processes.packing import Packed, Region, Spares, pack
from dagy.engine.processes.pool import PooledWorker, ProcessPool
from dagy.engine.processes.wire import Message
from dagy.engine.workers import Stopped
from dagy.errors import TravelError, WorkerDiedError
from dagy.hooks import RunContext

_MOST_TRIES = 5  # to find a worker that takes a call
_PATIENCE = 5.0  # seconds, after the grace, that the end of a killed worker is waited for
_ANSWERS = ("returned", "raised", "stopped")


class ProcessCall:
    """One call of `function` in a worker process. `run` it once; `stop` it at any time, from any thread.

    `started` is called when the worker turns to the call: unpacking and importing are part of it, starting a worker
    is not. Output goes to `sink`, or to `sys.stdout` and `sys.stderr` when there is none. `context` says what the call
    is of, if its code asks.
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
        context: Callable[[], RunContext] | None = None,
    ) -> None:
        self.error: BaseException | None = None  # what the function raised, if it did
        self._pool = pool
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._is_async = is_async
        self._sink = sink
        self._started = started
        self._context = context
        self._gate = threading.RLock()  # a signal's handler may stop the very call that its thread makes
        self._worker: PooledWorker | None = None
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

    def _converse(self, worker: PooledWorker, attached: list[Packed], inputs: Packed) -> Message:
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

    def _listen(self, worker: PooledWorker) -> Message:
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
                case "asked":
                    worker.tell("context", self._packed_context())
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

    def _packed_context(self) -> Packed:
        """What the call is of; without the parameters that can't travel."""
        context = None if self._context is None else self._context()
        try:
            return pack(context)
        except TravelError:
            if context is None:
                raise
            able = {name: value for name, value in context.parameters.items() if _can_travel(value)}
            return pack(replace(context, parameters=able))

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


def _can_travel(value: object) -> bool:
    try:
        pack(value)
    except TravelError:
        return False
    return True


def _borrow(spares: Spares) -> Packed | None:
    """A spare region for the worker to fill with a large result, if there is one."""
    fd = spares.take()
    return None if fd is None else Packed(Region(fd, spares), ())
