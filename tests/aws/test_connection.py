"""The door itself: who is told of calls, what is sent again and what never is, where it leads."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dagy.aws import Aws, Call
from dagy.aws.clients import Clients
from dagy.errors import CloudError, NetworkError

from .test_state_machines import CONFIG


class Server(ThreadingHTTPServer):
    """Answers with the statuses it was given, one a request, or hangs up for None; `asked` is what it was asked."""

    def __init__(self, *statuses: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.statuses = list(statuses)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        status = self.server.statuses.pop(0)
        if status is None:
            self.close_connection = True
            return
        content = json.dumps({} if status < 300 else {"message": "busy"}).encode()
        self.send_response(status)
        if status >= 300:
            self.send_header("x-amzn-ErrorType", "ServiceException")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 (as the base class calls it)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as the base class calls it)
        """Tell nobody."""


@contextlib.contextmanager
def serving(*statuses: int | None) -> Iterator[Server]:
    with Server(*statuses) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_who_listens_is_told_of_each_call_before_and_after(aws: Aws) -> None:
    before: list[Call] = []
    after: list[Call] = []
    listened = Aws(region="us-east-1", before_call=before.append, on_call=after.append)
    listened.functions.get("dagy-none")
    listened.state_machines.create(CONFIG)
    assert before == after
    assert before == [Call("lambda", "GetFunction", False), Call("states", "CreateStateMachine", True)]


def test_a_call_that_a_listener_forbids_is_not_sent(aws: Aws) -> None:
    def forbid(call: Call) -> None:
        if call.is_mutating:
            raise CloudError("not now", operation=call.operation)

    with pytest.raises(CloudError, match="not now"):
        Aws(region="us-east-1", before_call=forbid).state_machines.create(CONFIG)
    assert aws.state_machines.get("dagy-etl") is None


def test_an_answer_may_get_lost_after_the_call_was_carried_out(aws: Aws) -> None:
    def lose(call: Call) -> None:
        if call.is_mutating:
            raise NetworkError("the line is dead")

    with pytest.raises(NetworkError, match="the line is dead"):
        Aws(region="us-east-1", on_call=lose).state_machines.create(CONFIG)
    assert aws.state_machines.get("dagy-etl") is not None


@pytest.mark.usefixtures("no_waiting")
def test_what_can_be_asked_twice_is_asked_again_when_the_service_is_busy() -> None:
    with serving(500, None, 200) as server:
        Aws(region="us-east-1", endpoint_url=server.url).functions.tag("arn:aws:lambda:x", {})
    assert len(server.asked) == 3


@pytest.mark.usefixtures("no_waiting")
def test_what_can_be_asked_twice_is_not_asked_for_ever() -> None:
    with serving(*[500] * 6) as server, pytest.raises(CloudError, match="lambda:TagResource was refused: busy"):
        Aws(region="us-east-1", endpoint_url=server.url).functions.tag("arn:aws:lambda:x", {})
    assert len(server.asked) == 6


@pytest.mark.parametrize("status", [500, 429, None])
def test_a_function_is_called_once_whatever_happens(status: int | None) -> None:
    with serving(status) as server:
        aws = Aws(region="us-east-1", endpoint_url=server.url)
        with pytest.raises(CloudError if status else NetworkError):
            aws.functions.invoke("dagy-etl", b"{}", timeout=1)
    assert len(server.asked) == 1


def test_a_call_whose_answer_does_not_come_may_have_been_carried_out() -> None:
    with serving(None) as server, pytest.raises(NetworkError, match="no answer came, so it may have been done"):
        Aws(region="us-east-1", endpoint_url=server.url).functions.invoke("dagy-etl", b"{}", timeout=1)


def test_it_goes_where_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(200) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        Aws(region="us-east-1").functions.invoke("dagy-etl", b"{}", timeout=1)
    assert server.asked == ["/2015-03-31/functions/dagy-etl/invocations"]


@pytest.mark.parametrize(
    ("region", "url", "is_stand_in"),
    [
        ("us-east-1", None, False),
        ("cn-north-1", None, False),
        ("us-gov-west-1", None, False),
        ("us-east-1", "http://127.0.0.1:5000", True),
        ("us-east-1", "http://localhost.localstack.cloud:4566", True),
        ("us-east-1", "https://vpce-1.sts.us-east-1.vpce.amazonaws.com", False),
        ("us-east-1", "https://amazonaws.com.example.org", True),
    ],
)
def test_a_stand_in_is_known_by_its_address(region: str, url: str | None, is_stand_in: bool) -> None:
    assert Aws(region=region, endpoint_url=url).is_stand_in is is_stand_in


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_the_partition_is_the_regions(region: str, partition: str) -> None:
    assert Clients(region).partition == partition


def test_the_region_is_the_one_that_is_given_or_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Aws().region == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Aws().region == "eu-west-1"
    assert Aws(region="eu-north-1").region == "eu-north-1"


def test_nothing_is_loaded_before_something_is_asked_for() -> None:
    program = "import sys; from dagy.aws import Aws; Aws().functions; print([n for n in sys.modules if 'boto' in n])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
