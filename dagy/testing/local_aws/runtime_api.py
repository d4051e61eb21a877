"""The Lambda Runtime API, for one execution environment: how the official runtime client gets and answers invocations.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SYNC_BYTES = 6 * 1024 * 1024  # the most that a request or its answer may have

_API = "/2018-06-01/runtime"
_TAKEN = b'{"status":"OK"}'


@dataclass(slots=True)
class Invocation:
    """One call of a function; `done` is set once it is answered."""

    payload: bytes
    deadline_ms: int  # since the epoch
    client_context: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    done: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""
    failed: bool = False
    is_too_large: bool = False  # the answer that the function gave

    def end(self, answer: bytes, *, failed: bool) -> None:
        """Answer it."""
        self.answer, self.failed = answer, failed
        self.done.set()

    def end_too_large(self, size: int) -> None:
        """Answer it with the error of an answer that has too many bytes."""
        message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({SYNC_BYTES} bytes)."
        self.is_too_large = True
        self.end(error_payload("Function.ResponseSizeTooLarge", message), failed=True)


def error_payload(name: str, message: str) -> bytes:
    """A function's error as Lambda answers with it."""
    return json.dumps({"errorType": name, "errorMessage": message}).encode()


class RuntimeApi:
    """What answers the runtime client at `address`. `began` is set when it first asks for work, or could not start."""

    def __init__(self, function_arn: str) -> None:
        self.began = threading.Event()
        self.init_error: bytes | None = None
        self._function_arn = function_arn
        self._waiting: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.api = self
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def hand_over(self, invocation: Invocation) -> None:
        """Give the function something to do."""
        self._waiting.put(invocation)

    def close(self) -> None:
        """Answer no more."""
        self._waiting.put(None)
        self._server.shutdown()
        self._server.server_close()

    def next(self) -> tuple[Invocation, dict[str, str]] | None:
        """The next invocation, with its headers, once there is one; None when there is none any more."""
        self.began.set()
        invocation = self._waiting.get()
        if invocation is None:
            return None
        self._running[invocation.id] = invocation
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self._function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{invocation.id.replace('-', '')[:24]};Sampled=0",
            "Content-Type": "application/json",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return invocation, headers

    def told(self, path: str, body: bytes) -> tuple[int, bytes]:
        """What the runtime client says, and the status and body that answer it."""
        if path in (f"{_API}/init/error", f"{_API}/restore/error"):
            self.init_error = body
            self.began.set()
            return 202, _TAKEN
        match path.removeprefix(f"{_API}/invocation/").split("/"):
            case [request_id, "response" | "error" as kind]:
                invocation = self._running.pop(request_id, None)
                if invocation is None:
                    return 400, b'{"errorType":"InvalidRequestID"}'
                if kind == "response" and len(body) > SYNC_BYTES:
                    invocation.end_too_large(len(body))
                    return 413, b'{"errorType":"RequestEntityTooLarge"}'
                invocation.end(body, failed=kind == "error")
                return 202, _TAKEN
        return 404, b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: RuntimeApi

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a function that is killed leaves its connection half open."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one segment, and at once:
    disable_nagle_algorithm = True  # otherwise each warm call waits 2 x 40 ms for a delayed acknowledgement
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path != f"{_API}/invocation/next":
            self._answer(200 if self.path == f"{_API}/restore/next" else 404, b"", {})
            return
        given = self.server.api.next()
        if given is None:
            self.close_connection = True
            return
        invocation, headers = given
        self._answer(200, invocation.payload, headers)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length is not None else self._chunks()
        self._answer(*self.server.api.told(self.path, body), {})

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
