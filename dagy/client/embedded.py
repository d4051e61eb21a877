"""The control plane in this process: nothing to start, nothing on the network."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dagy.control.api import (
    CANCEL_RUN,
    CREATE_RUN,
    IMPORT_RUN,
    TRIGGER_SCHEDULE,
    Operation,
    Request,
    Response,
    answer,
    operation_of,
    perform,
)
from dagy.control.records import RunInfo

if TYPE_CHECKING:
    from dagy.control import ControlPlane

T = TypeVar("T")

_ASKING = (CREATE_RUN, TRIGGER_SCHEDULE)
_OF_ONE_THERE_IS = (CANCEL_RUN, IMPORT_RUN)  # which, unless it has ended, is to be stopped, or followed on AWS


class EmbeddedTransport:
    """Answers from a `ControlPlane`: a given one, or what `plane()` opens on the first request and `close` closes.

    `wake` is called once there is something to do for a worker: a run to be run, stopped, or followed on AWS. A client
    asks by `perform`, for which nothing becomes JSON and is read again; `send` is what it is for every transport.
    """

    is_local = True

    def __init__(
        self, plane: ControlPlane | Callable[[], ControlPlane], *, wake: Callable[[], None] | None = None
    ) -> None:
        self._open = plane if callable(plane) else None
        self._plane = None if callable(plane) else plane
        self._lock = threading.Lock()
        self._wake = wake
        self._closing: weakref.finalize[..., EmbeddedTransport] | None = None  # of what was opened here

    def send(self, request: Request) -> Response:
        """What the control plane answers. `StoreError` when it can't be opened."""
        response = answer(self._opened(), request)
        if response.status < 300:
            operation, _ = operation_of(request)
            self._wake_for(operation, lambda: operation.read(response))
        return response

    def perform(self, operation: Operation[T], arguments: Mapping[str, Any], *, file: Path | None = None) -> T:
        """What the operation gives. Raises what it does over HTTP; `StoreError` when the plane can't be opened."""
        returned = perform(self._opened(), operation, arguments, file)
        self._wake_for(operation, lambda: returned)
        return returned

    def wake(self) -> None:
        """See to it that somebody runs what is queued, if that was asked for."""
        if self._wake is not None:
            self._wake()

    def close(self) -> None:
        """Close the control plane, if it was opened here; who forgets it leaves that to the garbage collection."""
        with self._lock:
            if self._closing is not None:
                self._closing()
                self._closing = self._plane = None

    def _wake_for(self, operation: Operation[Any], returned: Callable[[], object]) -> None:
        if operation in _ASKING or (operation in _OF_ONE_THERE_IS and not _has_ended(returned())):
            self.wake()

    def _opened(self) -> ControlPlane:
        with self._lock:
            if self._plane is None:
                assert self._open is not None
                self._plane = self._open()
                self._closing = weakref.finalize(self, self._plane.close)
            return self._plane


def _has_ended(returned: object) -> bool:
    return isinstance(returned, RunInfo) and returned.status.is_final


class AsyncEmbeddedTransport:
    """An `EmbeddedTransport` for code in an event loop: each request is answered in a thread."""

    is_local = True

    def __init__(self, transport: EmbeddedTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Response:
        """What the control plane answers."""
        import asyncio

        return await asyncio.to_thread(self._transport.send, request)

    async def perform(self, operation: Operation[T], arguments: Mapping[str, Any], *, file: Path | None = None) -> T:
        """As of `EmbeddedTransport`."""
        import asyncio

        return await asyncio.to_thread(self._transport.perform, operation, arguments, file=file)

    async def wake(self) -> None:
        """As of `EmbeddedTransport`."""
        import asyncio

        await asyncio.to_thread(self._transport.wake)

    async def close(self) -> None:
        """As of `EmbeddedTransport`."""
        self._transport.close()
