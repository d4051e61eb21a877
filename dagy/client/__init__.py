"""Asking a control plane: `DagyClient`, over HTTP where there is an address, else in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.client.async_client import AsyncDagyClient
    from dagy.client.client import DagyClient
    from dagy.client.connecting import Connection
    from dagy.client.embedded import AsyncEmbeddedTransport, EmbeddedTransport
    from dagy.client.http import AsyncHttpTransport, HttpTransport
    from dagy.client.on_aws import aws_at, log_lines, stored_result, stored_task_results
    from dagy.client.runs import AsyncRun, Run
    from dagy.client.transport import AsyncTransport, Transport
    from dagy.client.waking import wake_worker

_HOMES = {
    "AsyncDagyClient": "dagy.client.async_client",
    "AsyncEmbeddedTransport": "dagy.client.embedded",
    "AsyncHttpTransport": "dagy.client.http",
    "AsyncRun": "dagy.client.runs",
    "AsyncTransport": "dagy.client.transport",
    "Connection": "dagy.client.connecting",
    "DagyClient": "dagy.client.client",
    "EmbeddedTransport": "dagy.client.embedded",
    "HttpTransport": "dagy.client.http",
    "Run": "dagy.client.runs",
    "Transport": "dagy.client.transport",
    "aws_at": "dagy.client.on_aws",
    "log_lines": "dagy.client.on_aws",
    "stored_result": "dagy.client.on_aws",
    "stored_task_results": "dagy.client.on_aws",
    "wake_worker": "dagy.client.waking",
}

__all__ = [
    "AsyncDagyClient",
    "AsyncEmbeddedTransport",
    "AsyncHttpTransport",
    "AsyncRun",
    "AsyncTransport",
    "Connection",
    "DagyClient",
    "EmbeddedTransport",
    "HttpTransport",
    "Run",
    "Transport",
    "aws_at",
    "log_lines",
    "stored_result",
    "stored_task_results",
    "wake_worker",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
