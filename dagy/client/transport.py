"""The one method that a client needs of whatever takes its requests to the control plane."""

from __future__ import annotations

from typing import Protocol

from dagy.control.api import Request, Response


class Transport(Protocol):
    """Takes requests to a control plane."""

    @property
    def is_local(self) -> bool:
        """Whether the control plane is in this process: then asking costs little, and artifacts need not travel."""

    def send(self, request: Request) -> Response:
        """What the control plane answers, errors included. `NetworkError`: it did not, or not as it should."""

    def close(self) -> None:
        """Give back what it holds."""


class AsyncTransport(Protocol):
    """Takes requests to a control plane, for code in an event loop."""

    @property
    def is_local(self) -> bool:
        """As of `Transport`."""

    async def send(self, request: Request) -> Response:
        """As of `Transport`."""

    async def close(self) -> None:
        """As of `Transport`."""
