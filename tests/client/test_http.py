"""The HTTP transport against servers that misbehave: real ones, on this machine."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.client import AsyncDagyClient, AsyncHttpTransport, DagyClient, HttpTransport
from dagy.client.http import LONGEST_PAUSE, Failure, pause
from dagy.control.api import ARTIFACT_CONTENT, CLAIM_RUN, CREATE_RUN, HEALTH, RUN, Request, Response
from dagy.errors import AuthError, ConflictError, NetworkError, SettingsError, UnknownRunError

from .servers import HANGS_UP, Reply, ScriptedServer, scripted

JSON = {"Content-Type": "application/json"}
HEALTHY = Reply(body=b'{"status": "ok"}')
TOKEN = "dagy_sk_canary"

Send = Callable[..., tuple[Response, list[float]]]


def send_sync(url: str, request: Request, **options: object) -> tuple[Response, list[float]]:
    slept: list[float] = []
    transport = HttpTransport(url, token=TOKEN, sleep=slept.append, **options)  # type: ignore[arg-type]
    try:
        return transport.send(request), slept
    finally:
        transport.close()


def send_async(url: str, request: Request, **options: object) -> tuple[Response, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def main() -> Response:
        transport = AsyncHttpTransport(url, token=TOKEN, sleep=sleep, **options)  # type: ignore[arg-type]
        try:
            return await transport.send(request)
        finally:
            await transport.close()

    return asyncio.run(main()), slept


@pytest.fixture(params=[send_sync, send_async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    found: Send = request.param
    return found


def test_a_request_carries_the_token_and_asks_for_plain_json(send: Send):
    with scripted(HEALTHY) as server:
        response, slept = send(server.url, HEALTH.request())
    assert (response.status, response.body, slept) == (200, b'{"status": "ok"}', [])
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/health")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("dagy/")


def test_names_with_slashes_arrive_as_one_part_of_the_path(send: Send):
    with scripted(HEALTHY) as server:
        send(server.url, RUN.request(run_id="team/../a b?c#d"))
    assert server.asked[0].path == "/runs/team%2F..%2Fa%20b%3Fc%23d"


def test_a_name_of_dots_is_no_way_up(send: Send):
    with scripted(HEALTHY) as server:
        send(server.url, RUN.request(run_id=".."))
    assert server.asked[0].path == "/runs/%2E%2E"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(200, b"<html>login</html>", {"Content-Type": "text/html"}), "text/html instead of JSON"),
        (Reply(200, b"hello", {}), "instead of JSON"),
        (Reply(302, b"", {"Location": "https://evil.example/x?y=1"}), "a redirect .*evil.example/x'.*not followed"),
        (Reply(307, b"", {"Location": "/health"}), "redirect"),
        (Reply(304, b"", {}), "redirect"),
        (Reply(200, gzip.compress(b"{}"), {**JSON, "Content-Encoding": "gzip"}), "an encoding that was not asked for"),
        (Reply(200, b'{"status', JSON, length=100), "did not answer to the end"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_a_control_plane_is_a_network_error(send: Send, reply: Reply, message: str):
    with scripted(reply) as server, pytest.raises(NetworkError, match=message) as caught:
        send(server.url, HEALTH.request())
    assert TOKEN not in str(caught.value)


def test_the_token_goes_to_no_other_address(send: Send):
    with scripted(HEALTHY) as other, scripted(Reply(307, b"", {"Location": "unset"})) as server:
        server.replies[0].headers["Location"] = f"{other.url}/health"
        with pytest.raises(NetworkError, match="redirect"):
            send(server.url, HEALTH.request())
    assert other.asked == []


def test_more_than_the_most_bytes_are_not_read(send: Send):
    with scripted(Reply(200, b"x" * 200_000, JSON)) as server, pytest.raises(NetworkError, match="more than 100,000"):
        send(server.url, HEALTH.request(), most_bytes=100_000)


def test_an_answer_that_takes_too_long_is_given_up(send: Send):
    with scripted(Reply(200, b"x" * 200_000, JSON)) as server, pytest.raises(NetworkError, match="too long"):
        send(server.url, CLAIM_RUN.request(worker="w"), total_seconds=-1.0)


def test_a_server_that_is_not_there_is_tried_again_then_told_of(send: Send):
    with scripted(HEALTHY) as server:
        url = server.url
    with pytest.raises(NetworkError, match="can't be reached"):
        send(url, CLAIM_RUN.request(worker="w"))


def test_no_cookie_is_kept(send: Send):
    with scripted(Reply(503, b"", {"Set-Cookie": "bomb=1; Path=/"}), HEALTHY) as server:
        send(server.url, HEALTH.request())
    assert "cookie" not in server.asked[1].headers


def test_a_busy_server_is_asked_again(send: Send):
    with scripted(Reply(503, b"busy", {}), Reply(429, b"", {"Retry-After": "7"}), HEALTHY) as server:
        response, slept = send(server.url, HEALTH.request())
    assert response.status == 200
    assert len(server.asked) == 3
    assert 0.2 <= slept[0] <= 0.3
    assert 7.0 <= slept[1] <= 8.0


def test_a_lost_answer_is_asked_for_again_only_where_that_does_no_harm(send: Send):
    with scripted(HANGS_UP, HEALTHY) as server:
        send(server.url, CREATE_RUN.request(reference="etl", idempotency_key="once"))
        assert len(server.asked) == 2
    with scripted(HANGS_UP, HEALTHY) as server, pytest.raises(NetworkError, match="did not answer to the end"):
        send(server.url, CREATE_RUN.request(reference="etl"))
    assert len(server.asked) == 1


def test_tries_come_to_an_end(send: Send):
    with scripted(Reply(503, b"", {})) as server:
        response, slept = send(server.url, HEALTH.request())
    assert (response.status, len(server.asked), len(slept)) == (503, 4, 3)


def test_a_file_that_is_answered_goes_to_its_place(send: Send, tmp_path: Path):
    with scripted(Reply(200, b"PK...", {"Content-Type": "application/zip"})) as server:
        request = ARTIFACT_CONTENT.request(sha256="0" * 64)
        wanted = Request(request.method, request.path, save_as=tmp_path / "artifact.zip")
        response, _ = send(server.url, wanted)
    assert response.file == tmp_path / "artifact.zip"
    assert (tmp_path / "artifact.zip").read_bytes() == b"PK..."


def test_a_file_that_is_sent_arrives_whole(send: Send, tmp_path: Path):
    file = tmp_path / "artifact.zip"
    file.write_bytes(b"z" * 300_000)
    with scripted(HEALTHY) as server:
        send(server.url, Request("PUT", "/artifacts/x", file=file, is_repeatable=True))
    assert server.asked[0].body == file.read_bytes()
    assert server.asked[0].headers["content-type"] == "application/zip"


# What a client says of such answers.


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(401, b"", {}), AuthError, "answered 401: nothing"),
        (Reply(403, b"<h1>no</h1>", {"Content-Type": "text/html"}), AuthError, "answered 403: '<h1>no</h1>'"),
        (Reply(404, b"not here", {}), NetworkError, "answered 404: 'not here'"),
        (Reply(500, b'{"error": "x"}', JSON), NetworkError, "answered 500"),
        (Reply(500, b'{"error": {"type": "os.system", "message": "boo"}}', JSON), NetworkError, "boo"),
        (Reply(418, b'{"error": {"type": "KeyError", "message": "boo", "data": 3}}', JSON), NetworkError, "boo|418"),
        (Reply(200, b'{"run_id": 3}', JSON), NetworkError, "is not what it should be"),
        (Reply(200, b'{"run_id": ', JSON), NetworkError, "is not whole JSON"),
        (Reply(200, b"[" * 100_000, JSON), NetworkError, "is not whole JSON"),
        (Reply(204, b"", {}), NetworkError, "is not what it should be"),
        (
            Reply(404, b'{"error": {"type": "UnknownRunError", "message": "no run", "data": {"run_id": "x"}}}', JSON),
            UnknownRunError,
            "no run",
        ),
    ],
)
def test_a_client_raises_what_an_answer_means(reply: Reply, kind: type[Exception], message: str):
    with scripted(reply) as server, DagyClient(server.url, token=TOKEN) as client:
        with pytest.raises(kind, match=message) as caught:
            client.run_info("x")
        assert type(caught.value) is kind
        assert TOKEN not in repr(client)


def test_an_async_client_raises_it_too():
    async def main(server: ScriptedServer) -> None:
        async with AsyncDagyClient(server.url, token=TOKEN) as client:
            assert await client.health() == {"status": "ok"}
            with pytest.raises(AuthError):
                await client.run_info("x")
            assert TOKEN not in repr(client)

    with scripted(HEALTHY, Reply(401, b"", {})) as server:
        asyncio.run(main(server))


@pytest.mark.parametrize(
    "url", ["http://example.com", "ftp://example.com", "https://me:pw@example.com", "file:///etc/passwd", "x"]
)
def test_an_address_that_a_token_may_not_go_to_is_refused(url: str):
    with pytest.raises(SettingsError) as caught:
        DagyClient(url, token=TOKEN)
    assert TOKEN not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("token", ["dagy_sk_canary\r\nx: y", "dagy_sk_canary é", "", "dagy_sk_canary" * 1_000])
@pytest.mark.parametrize("client", [DagyClient, AsyncDagyClient])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(
    client: type[DagyClient | AsyncDagyClient], token: str
):
    with pytest.raises(SettingsError, match="the token is not one") as caught:
        client("https://dagy.example.com", token=token)
    assert "canary" not in str(caught.value)


def test_a_run_is_asked_for_once_though_its_answer_was_lost():
    refusal = Reply(409, b'{"error": {"type": "ConflictError", "message": "enough"}}', JSON)
    with scripted(HANGS_UP, refusal) as server:
        client = DagyClient(transport=HttpTransport(server.url, sleep=lambda seconds: None))
        for _ in range(2):
            with pytest.raises(ConflictError, match="enough"):
                client.create_run("etl", {"number": 1})
        client.close()
    first, again, second = [json.loads(each.body) for each in server.asked]
    assert first == again
    assert first["idempotency_key"] != second["idempotency_key"]


# When a request is tried again, decided without a server.


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("", 0.2), ("-1", 0.2), ("5", 5.0), ("1e9", LONGEST_PAUSE), ("nan", 0.2), ("soon", 0.2),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0.2), ("Thu, 01 Jan 2999 00:00:00 GMT", LONGEST_PAUSE)],
)  # fmt: skip
def test_a_pause_that_is_asked_for_is_kept_within_bounds(asked: str, seconds: float):
    assert pause(HEALTH.request(), Failure(None, 429, asked), 1, 0.0) == seconds


def test_what_was_refused_is_asked_again_even_if_it_does_something():
    claim = CLAIM_RUN.request(worker="w")
    assert not claim.is_repeatable
    assert pause(claim, Failure(None, 429), 1, 0.0) is not None
    assert pause(claim, Failure(NetworkError("no way"), was_sent=False), 1, 0.0) is not None
    assert pause(claim, Failure(NetworkError("lost")), 1, 0.0) is None
    assert pause(claim, Failure(None, 503), 1, 0.0) is None


def test_an_answer_is_not_asked_for_again():
    for status in (200, 204, 400, 404, 409, 500):
        assert pause(HEALTH.request(), Failure(None, status), 1, 0.0) is None
