"""The program that is AWS: `python -m dagy.testing.local_aws.server`, started and ended by `entering`.

Its first line on standard input says how to be (JSON), the first line on standard output where it answers. It goes on
until its standard input ends, which it does however whoever started it ended, and then leaves nothing behind.
"""

from __future__ import annotations

import collections
import importlib
import io
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from dagy.testing.local_aws import leftovers, schedules
from dagy.testing.local_aws.bridge import requests
from dagy.testing.local_aws.clients import CONTROL, client
from dagy.testing.local_aws.faults import Fault, Faults, refusal
from dagy.testing.local_aws.functions import Functions
from dagy.testing.local_aws.operations import operation_of
from dagy.testing.local_aws.world import World

_BRIDGES = {
    "lambda": "functions",
    "stepfunctions": "state_machines",
    "ecs": "tasks",
    "s3": "objects",
    "cloudformation": "stacks",
}
_ACCOUNT = "123456789012"  # moto's
_SLOW_SECONDS = 1.0

_Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
_Start = Callable[[str, list[tuple[str, str]]], object]


class DroppedError(Exception):
    """A connection that is to end without an answer."""


class Server:
    """All requests: those to moto, those that are to fail, and those to the stand-in itself."""

    def __init__(self, world: World) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        requests.install()
        self._world = world
        self._moto: _Wsgi = DomainDispatcherApplication(create_backend_app)
        self._faults = Faults()
        self._calls: collections.Counter[str] = collections.Counter()
        self._installing = {service: threading.Lock() for service in _BRIDGES}
        self._installed: set[str] = set()

    def __call__(self, environment: dict[str, Any], start: _Start) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        path = environment.get("PATH_INFO", "")
        if path.startswith(CONTROL):
            return self._controlled(path.removeprefix(CONTROL), environment, start)
        body = _body(environment)
        operation = operation_of(environment, body)
        how = None
        if operation is not None:
            self.install(operation.service)
            self._calls[str(operation)] += 1
            how = self._faults.take(operation)
            owner = environment.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", _ACCOUNT)
            if how is None and owner != _ACCOUNT:
                how = "denied"
        if operation is None or how is None:
            return self._moto(environment, start)
        if how == "slow":
            time.sleep(_SLOW_SECONDS)
            return self._moto(environment, start)
        if how == "lost":
            list(self._moto(environment, lambda *_: None))
        if how in ("lost", "dropped"):
            raise DroppedError
        told = refusal(operation, how)
        start(f"{told.status} Refused", [*told.headers.items(), ("Content-Length", str(len(told.body)))])
        return [b"" if environment["REQUEST_METHOD"] == "HEAD" else told.body]

    def install(self, service: str) -> None:
        """Put right what moto's part for the service gets wrong; once."""
        bridge = _BRIDGES.get(service)
        if bridge is None or service in self._installed:
            return
        with self._installing[service]:
            if service not in self._installed:
                importlib.import_module(f"dagy.testing.local_aws.bridge.{bridge}").install(self._world)
                self._installed.add(service)

    def warm_up(self) -> None:
        """Load what will soon be needed, and takes a while."""
        for service in _BRIDGES:
            self.install(service)

    def _controlled(self, what: str, environment: dict[str, Any], start: _Start) -> list[bytes]:
        given = json.loads(_body(environment) or b"{}")
        try:
            answer = self._do(what, given)
        except schedules.UnknownScheduleHereError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 (told to whoever asked)
            answer = {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(answer).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _do(self, what: str, given: dict[str, Any]) -> Any:
        functions = self._world.functions
        match what:
            case "fail":
                self._faults.add(Fault(**given))
                return None
            case "calls":
                return dict(self._calls)
            case "kill":
                return functions.kill_busy()
            case "functions":
                return {"cold": functions.cold, "warm": functions.warm, "processes": functions.processes}
            case "fire":
                return schedules.fire(self._client, given["name"], given["group"])
        raise ValueError(what)

    def _client(self, service: str) -> Any:
        return client(service, self._world.variables["AWS_REGION"], self._world.endpoint_url)


def _body(environment: dict[str, Any]) -> bytes:
    """The request's body, which stays there to be read."""
    if environment.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body: bytes = environment["wsgi.input"].read()
    else:
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
    environment["wsgi.input"] = io.BytesIO(body)
    return body


def _listening(server: Server, opened: socket.socket) -> Any:
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    class Conversation(MotoRequestHandler):  # type: ignore[misc]  # moto is not type-checked
        """One connection, which serves many requests: Werkzeug's own ends after each."""

        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer leaves in one piece, and at once
        disable_nagle_algorithm = True

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing of each request."""

        def handle_expect_100(self) -> bool:
            """Tell a client that asks to go on; it waits for that before it sends the rest."""
            goes_on: bool = super().handle_expect_100()
            self.wfile.flush()
            return goes_on

        def run_wsgi(self) -> None:
            """Answer the request, or drop the connection."""
            told: list[Any] = []
            try:
                body = b"".join(server(self.make_environ(), lambda *given: told.extend(given)))
            except DroppedError:
                self.close_connection = True
                return
            except Exception:
                logging.getLogger("dagy.local_aws").exception("%s %s", self.command, self.path)
                told, body = ["500 Internal Server Error", []], b""
            self.send_response(int(told[0].split()[0]))
            for name, value in told[1]:
                if name.lower() not in ("content-length", "connection"):
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            length = dict(told[1]).get("Content-Length", "0") if is_head else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            if not is_head:
                self.wfile.write(body)
            self.wfile.flush()

    host, port = opened.getsockname()
    return make_server(host, port, server, threaded=True, request_handler=Conversation, fd=opened.fileno())


def main() -> None:
    """Be AWS until standard input ends."""
    asked = json.loads(sys.stdin.readline())
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore")
    # moto's API Gateway would load a grammar for two seconds, which jsonschema does without.
    sys.modules.setdefault("rfc3987_syntax", ModuleType("rfc3987_syntax"))
    home = Path(tempfile.mkdtemp(prefix="dagy-local-aws-"))
    try:
        _serve(asked["variables"], home)
    finally:
        leftovers.end(str(home))
        shutil.rmtree(home, ignore_errors=True)
        os._exit(0)  # what still runs in other threads has nobody to tell


def _serve(given: dict[str, str], home: Path) -> None:
    """Answer requests, in other threads, until standard input ends."""
    opened = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = opened.getsockname()[1]
    endpoint_url = f"http://127.0.0.1:{port}"
    os.environ |= {"MOTO_PORT": str(port), "AWS_EC2_METADATA_DISABLED": "true"}
    variables = {**given, "AWS_ENDPOINT_URL": endpoint_url, "DAGY_LOCAL_AWS": str(home)}
    functions = Functions(home / "functions", variables, at_once=max(4, 2 * (os.cpu_count() or 1)))
    try:
        server = Server(World(endpoint_url, home, variables, functions))
        listening = _listening(server, opened)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        threading.Thread(target=server.warm_up, daemon=True).start()
        sys.stdout.write(json.dumps({"endpoint_url": endpoint_url, "home": str(home)}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        leftovers.end(str(home))  # first of all, so that nobody asks for more
        functions.close()


if __name__ == "__main__":
    main()
