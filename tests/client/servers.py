"""Small real HTTP servers: one that says what a test tells it to, one that is a control plane."""

from __future__ import annotations

import contextlib
import http.server
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from dagy.control.api import Request, Response, answer

if TYPE_CHECKING:
    from dagy.control import ControlPlane


@dataclass(frozen=True)
class Reply:
    """What a server says to one request. `closes_after` bytes of the body it hangs up."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    length: int | None = None  # that is promised; None: that of the body


HANGS_UP = Reply(status=0)


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Gives its replies one after another, the last one again and again, and keeps what it was asked."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []
        self.url = ""

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.replies[min(len(self.asked), len(self.replies)) - 1]


@contextlib.contextmanager
def scripted(*replies: Reply) -> Iterator[ScriptedServer]:
    server = ScriptedServer(replies)
    with _serving(lambda asked: server.reply(asked)) as url:
        server.url = url
        yield server


@contextlib.contextmanager
def control_plane(plane: ControlPlane, *, token: str | None = None) -> Iterator[str]:
    """The address of a server that wraps `answer`, as the product's own does."""

    def reply(asked: Asked) -> Reply:
        if token is not None and asked.headers.get("authorization") != f"Bearer {token}":
            return Reply(401, b'{"error":{"type":"AuthError","message":"not signed in","data":{}}}')
        with tempfile.TemporaryDirectory() as folder:
            path, _, query = asked.path.partition("?")
            file = None
            if asked.headers.get("content-type") == "application/zip":
                file = Path(folder) / "upload"
                file.write_bytes(asked.body)
            request = Request(
                asked.method,  # type: ignore[arg-type]  # any other is no route
                path,
                dict(parse_qsl(query, keep_blank_values=True)),
                b"" if file else asked.body,
                file,
            )
            return _reply(answer(plane, request))

    with _serving(reply) as url:
        yield url


def _reply(response: Response) -> Reply:
    if response.file is not None:
        return Reply(response.status, response.file.read_bytes(), {"Content-Type": "application/zip"})
    return Reply(response.status, response.body, {"Content-Type": "application/json"} if response.body else {})


@contextlib.contextmanager
def _serving(reply: object) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece: otherwise each waits for the other's acknowledgement

        def handle_any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            said = reply(Asked(self.command, self.path, headers, body))  # type: ignore[operator]
            self.close_connection = said is HANGS_UP or said.length is not None
            if said is HANGS_UP:
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.status != 204:
                self.send_header("Content-Length", str(len(said.body) if said.length is None else said.length))
            self.end_headers()
            if said.status != 204:
                with contextlib.suppress(ConnectionError):  # the client has heard enough
                    self.wfile.write(said.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
