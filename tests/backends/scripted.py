"""An endpoint that answers calls of AWS as a test says: real clients, real HTTP, and no service behind it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dagy.aws import Aws


class RefusalError(Exception):
    """What a service refuses: raised by what answers."""

    def __init__(self, code: str, message: str = "no", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class FunctionError(Exception):
    """That a function failed: `payload` is what Lambda answers then."""

    def __init__(self, payload: dict[str, Any], log_tail: str = "") -> None:
        super().__init__(str(payload))
        self.payload = payload
        self.log_tail = log_tail


def noting(asked: list[Any], answer: Any) -> Callable[[dict[str, Any]], Any]:
    """What answers that, and adds to `asked` what it was asked."""

    def answers(given: dict[str, Any]) -> Any:
        asked.append(given)
        return answer

    return answers


class Scripted:
    """Answers by operation: a function from what was asked. `calls` holds the operations, in order."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.calls: list[str] = []
        self.url = ""

    def aws(self, _resources: object = None) -> Aws:
        """AWS behind this endpoint."""
        return Aws(region="us-east-1", endpoint_url=self.url)


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The endpoint, for as long as the `with` block lasts."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            target = self.headers.get("x-amz-target")
            operation = "Invoke" if target is None else target.rpartition(".")[2]
            script.calls.append(operation)
            headers = {}
            status = 200
            try:
                told = script.answers[operation](json.loads(body))
            except RefusalError as error:
                status, told = error.status, {"__type": error.code, "message": str(error)}
                headers["x-amzn-errortype"] = error.code
            except FunctionError as error:
                told = error.payload
                headers["x-amz-function-error"] = "Unhandled"
                headers["x-amz-log-result"] = base64.b64encode(error.log_tail.encode()).decode()
            content = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
