"""The control plane in this process: nothing to start, nothing on the network."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from dagy.control.api import CREATE_RUN, TRIGGER_SCHEDULE, Request, Response, answer, operation_of

if TYPE_CHECKING:
    from dagy.control import ControlPlane

_QUEUE_A_RUN = (CREATE_RUN, TRIGGER_SCHEDULE)


class EmbeddedTransport:
    """Answers from a `ControlPlane`: a given one, or what `plane()` opens on the first request and `close` closes.

    `wake` is called once a run was created, so that somebody runs it.
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
        if request.method == "POST" and response.status < 300 and operation_of(request)[0] in _QUEUE_A_RUN:
            self.wake()
        return response

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

    def _opened(self) -> ControlPlane:
        with self._lock:
            if self._plane is None:
                assert self._open is not None
                self._plane = self._open()
                self._closing = weakref.finalize(self, self._plane.close)
            return self._plane


class AsyncEmbeddedTransport:
    """An `EmbeddedTransport` for code in an event loop: each request is answered in a thread."""

    is_local = True

    def __init__(self, transport: EmbeddedTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Response:
        """What the control plane answers."""
        import asyncio

        return await asyncio.to_thread(self._transport.send, request)

    async def wake(self) -> None:
        """As of `EmbeddedTransport`."""
        import asyncio

        await asyncio.to_thread(self._transport.wake)

    async def close(self) -> None:
        """As of `EmbeddedTransport`."""
        self._transport.close()
