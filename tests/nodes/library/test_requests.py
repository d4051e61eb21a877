"""HTTP requests and webhooks, against a real server: what is sent, what comes back, what is refused."""

from __future__ import annotations

import gzip
import json
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagy.errors import AuthError, ConnectorError, MissingSecretError, NetworkError, NodeConfigError
from dagy.local_artifact import LocalArtifact
from dagy.nodes.config import Secret
from dagy.nodes.library.requests import HttpRequest, NotifyWebhook, is_same_server

from .web import Answer, Web

HERE = ["127.0.0.1"]


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on this machine."""
    with Web.started() as started:
        yield started


@pytest.fixture
def other() -> Iterator[Web]:
    """Another server on this machine."""
    with Web.started() as started:
        yield started


def ask(url: str, **config: Any) -> Any:
    return HttpRequest(url=url, **{"allowed_hosts": HERE, **config})()


# What is sent


def test_a_request_is_sent_as_it_is_configured(web: Web) -> None:
    web.answers["/cities"] = Answer(b"{}")
    ask(
        f"{web.url}/cities?sort=name",
        method="PUT",
        params={"page": 2, "q": "a&b"},
        headers={"Accept": "text/csv"},
        json={"a": 1},
    )
    (asked,) = web.asked
    assert (asked.method, asked.path) == ("PUT", "/cities?sort=name&page=2&q=a%26b")
    assert asked.headers["accept"] == "text/csv"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"].startswith("dagy/")
    assert json.loads(asked.body) == {"a": 1}


def test_a_request_without_a_body_sends_none(web: Web) -> None:
    web.answers["/"] = Answer(b"1")
    ask(web.url)
    assert (web.asked[0].method, web.asked[0].body) == ("GET", b"")
    assert "content-type" not in web.asked[0].headers


@pytest.mark.parametrize(
    ("content", "body", "media_type"),
    [
        ([1, 2], b"[1, 2]", "application/json"),
        ("a text", b"a text", "text/plain; charset=utf-8"),
        (b"\x00\x01", b"\x00\x01", "application/octet-stream"),
        (LocalArtifact("a.csv", "text/csv", b"a\n1\n"), b"a\n1\n", "text/csv"),
    ],
)
def test_what_comes_in_is_sent_in_place_of_the_field(web: Web, content: object, body: bytes, media_type: str) -> None:
    web.answers["/"] = Answer(b"1")
    HttpRequest(url=web.url, method="POST", json={"not": "sent"}, allowed_hosts=HERE)(content)
    assert web.asked[0].body == body
    assert web.asked[0].headers["content-type"] == media_type


def test_a_file_that_comes_in_is_sent(web: Web, tmp_path: Path) -> None:
    web.answers["/"] = Answer(b"1")
    path = tmp_path / "a.bin"
    path.write_bytes(b"bytes")
    HttpRequest(url=web.url, method="POST", headers={"Content-Type": "image/png"}, allowed_hosts=HERE)(path)
    assert (web.asked[0].body, web.asked[0].headers["content-type"]) == (b"bytes", "image/png")


def test_a_token_is_sent_in_its_header(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "t0ken")
    web.answers["/"] = Answer(b"1")
    ask(web.url, token=Secret("API_TOKEN"))
    ask(web.url, token=Secret("API_TOKEN"), token_header="X-Api-Key")
    assert web.asked[0].headers["authorization"] == "Bearer t0ken"
    assert web.asked[1].headers["x-api-key"] == "t0ken"


def test_a_token_is_sent_without_the_line_end_of_its_file(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "t0ken\n")
    web.answers["/"] = lambda asked: Answer(asked.headers["authorization"].encode(), 403)
    with pytest.raises(NetworkError, match=r"answered 403 Forbidden: 'Bearer \*\*\*'"):
        ask(web.url, token=Secret("API_TOKEN"))
    assert web.asked[0].headers["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("token", ["t0k\nen", "t0kén"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(
    web: Web, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("API_TOKEN", token)
    with pytest.raises(NodeConfigError, match="not one line of ASCII") as caught:
        ask(web.url, token=Secret("API_TOKEN"))
    assert "t0k" not in "".join(traceback.format_exception(caught.value))
    assert web.asked == []


@pytest.mark.parametrize("headers", [{"x y": "1"}, {"x": "a\r\nb: c"}, {"x": "é"}])
def test_a_header_that_can_t_be_sent_is_named(web: Web, headers: dict[str, str]) -> None:
    with pytest.raises(NodeConfigError, match=f"{next(iter(headers))!r} can't be sent so"):
        ask(web.url, headers=headers)
    assert web.asked == []


# What comes back


@pytest.mark.parametrize(
    ("read_as", "body", "headers", "expected"),
    [
        ("json", b'{"a": [1, null]}', {}, {"a": [1, None]}),
        ("json", b"", {}, None),
        ("text", "é".encode("latin-1"), {"content-type": "text/plain; charset=latin-1"}, "é"),
        ("text", "é".encode(), {"content-type": "text/plain"}, "é"),
        ("bytes", b"\x00\xff", {}, b"\x00\xff"),
        ("text", gzip.compress(b"packed", mtime=0), {"content-encoding": "gzip"}, "packed"),
    ],
)
def test_an_answer_is_read_as_wished(
    web: Web, read_as: str, body: bytes, headers: dict[str, str], expected: object
) -> None:
    web.answers["/"] = Answer(body, headers=headers)
    assert ask(web.url, read_as=read_as)["body"] == expected


def test_an_answer_comes_with_its_status_and_headers(web: Web) -> None:
    web.answers["/"] = Answer(b"1", 201, {"X-Next": "page 2"})
    answer = ask(web.url)
    assert answer["status"] == 201
    assert answer["headers"]["x-next"] == "page 2"


def test_a_bad_status_is_a_failure_with_the_first_bytes_of_the_body_and_without_the_query(web: Web) -> None:
    web.answers["/a"] = Answer(b"no such city" + b"!" * 1_000, 404)
    with pytest.raises(NetworkError) as caught:
        ask(f"http://user:password@127.0.0.1:{web.port}/a?key=secret")
    text = str(caught.value)
    assert text.startswith(f"GET http://127.0.0.1:{web.port}/a answered 404 Not Found: 'no such city!!!")
    assert text.endswith("!'...")
    assert len(text) < 400
    assert "secret" not in text
    assert "password" not in text


def test_a_status_that_is_accepted_is_no_failure(web: Web) -> None:
    web.answers["/"] = Answer(b'"none"', 404)
    answer = ask(web.url, accepted=[404, 410])
    assert (answer["status"], answer["body"]) == (404, "none")


def test_an_answer_that_is_not_what_was_wished_is_shown(web: Web) -> None:
    web.answers["/"] = Answer(b"<html>Sign in</html>")
    with pytest.raises(NetworkError, match=r"answered what is not json; choose another 'read_as': '<html>Sign in"):
        ask(web.url)


@pytest.mark.parametrize(
    ("read_as", "answer"),
    [("text", Answer(b"a", headers={"content-type": "text/plain; charset=bogus"})), ("json", Answer(b"[" * 100_000))],
)
def test_an_answer_in_an_unknown_charset_or_too_deep_is_refused(web: Web, read_as: str, answer: Answer) -> None:
    web.answers["/"] = answer
    with pytest.raises(NetworkError, match=f"answered what is not {read_as}; choose another 'read_as'"):
        ask(web.url, read_as=read_as)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://[::1"])
def test_a_redirect_to_what_is_no_web_address_is_a_failure(web: Web, location: str) -> None:
    web.answers["/"] = Answer(status=302, headers={"location": location})
    with pytest.raises(NetworkError, match="failed: "):
        ask(web.url)


def test_an_answer_that_is_too_large_is_refused_packed_or_not(web: Web) -> None:
    web.answers["/"] = Answer(b"x" * 1_001)
    web.answers["/bomb"] = Answer(gzip.compress(b"x" * 10_000_000, mtime=0), headers={"content-encoding": "gzip"})
    for path in ("/", "/bomb"):
        with pytest.raises(NetworkError, match="answered with more than 1,000 bytes"):
            ask(web.url + path, most_bytes=1_000, read_as="bytes")
    web.answers["/"] = Answer(b"x" * 1_000)
    assert len(ask(web.url, most_bytes=1_000, read_as="bytes")["body"]) == 1_000


def test_an_answer_that_can_t_be_unpacked_is_refused(web: Web) -> None:
    web.answers["/"] = Answer(b"not gzip", headers={"content-encoding": "gzip"})
    with pytest.raises(NetworkError, match="failed: DecodingError"):
        ask(web.url)


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NetworkError, match=r"not answer in 0.1 s"):
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(NetworkError, match=rf"GET http://127.0.0.1:{port}/ failed: .*refused"):
        ask(f"http://127.0.0.1:{port}/")


# Redirects


def test_a_redirect_is_followed(web: Web) -> None:
    web.answers["/old"] = Answer(status=301, headers={"location": "/new"})
    web.answers["/new"] = Answer(b"1")
    assert ask(f"{web.url}/old")["body"] == 1


def test_more_redirects_than_are_allowed_are_refused(web: Web) -> None:
    web.answers["/"] = Answer(status=302, headers={"location": "/"})
    with pytest.raises(NetworkError, match="redirects more than 2 times"):
        ask(f"{web.url}/", redirects=2)
    assert len(web.asked) == 3


def test_a_redirect_that_is_not_to_be_followed_is_a_failure(web: Web) -> None:
    web.answers["/"] = Answer(status=302, headers={"location": "/new"})
    with pytest.raises(NetworkError, match="answered 302 Found"):
        ask(web.url, redirects=0)
    assert len(web.asked) == 1


def test_another_host_gets_neither_the_token_nor_the_headers(
    web: Web, other: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "t0ken")
    web.answers["/here"] = Answer(status=307, headers={"location": "/there"})
    web.answers["/there"] = Answer(status=307, headers={"location": f"{other.url}/"})
    other.answers["/"] = Answer(b"1")
    for header in ("Authorization", "X-Api-Key"):
        ask(f"{web.url}/here", token=Secret("API_TOKEN"), token_header=header, headers={"Cookie": "a=b"})
        assert "t0ken" in web.asked[-1].headers[header.lower()]
        assert not {"authorization", "x-api-key", "cookie"} & other.asked[-1].headers.keys()


@pytest.mark.parametrize(
    ("first", "then", "same"),
    [
        ("https://a.example/x", "https://a.example:443/y", True),
        ("http://a.example", "https://a.example", True),
        ("https://a.example", "http://a.example", False),
        ("http://a.example:8080", "https://a.example", False),
        ("http://a.example", "http://a.example:8080", False),
        ("https://a.example", "https://b.a.example", False),
    ],
)
def test_a_server_stays_the_same_at_its_own_address_and_when_it_redirects_to_https(
    first: str, then: str, same: bool
) -> None:
    assert is_same_server(httpx.URL(first), httpx.URL(then)) is same


def test_a_redirect_to_where_clouds_keep_credentials_is_refused_whatever_is_allowed(web: Web) -> None:
    web.answers["/"] = Answer(status=302, headers={"location": "http://169.254.169.254/latest/meta-data/"})
    with pytest.raises(AuthError, match=r"'169.254.169.254' is link-local"):
        ask(web.url, allowed_hosts=["127.0.0.1", "169.254.169.254", "0.0.0.0/0"])


# What is wrong is named


def test_this_machine_is_refused_unless_it_is_allowed(web: Web) -> None:
    with pytest.raises(AuthError, match=r"name it in 'allowed_hosts': \['localhost'\]"):
        ask(f"http://localhost:{web.port}/", allowed_hosts=None)
    assert web.asked == []


@pytest.mark.parametrize(
    "url", ["ftp://example.com/a", "file:///etc/passwd", "example.com/a", "https://", "http://[::1"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(NodeConfigError, match="'url'") as caught:
        ask(url)
    assert caught.value.problems.keys() == {"url"}


@pytest.mark.parametrize(
    "config", [{"params": [1]}, {"headers": "accept"}, {"accepted": ["404"]}, {"allowed_hosts": {"a": 1}}]
)
def test_a_field_of_the_wrong_shape_is_named(config: dict[str, Any]) -> None:
    (field,) = config
    with pytest.raises(NodeConfigError) as caught:
        ask("http://127.0.0.1:1/", **config)
    assert caught.value.problems.keys() == {field}


# Webhooks


@pytest.fixture
def hook(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The server, whose address is in the secret HOOK."""
    monkeypatch.setenv("HOOK", f"{web.url}/T0/secret-part?x=y")
    web.answers["/T0/secret-part"] = Answer(b"ok")
    return web


def notify(**config: Any) -> NotifyWebhook:
    return NotifyWebhook(url=Secret("HOOK"), **{"allowed_hosts": HERE, **config})


def test_a_text_is_posted_as_json(hook: Web) -> None:
    assert notify(text="Done")() == 200
    (asked,) = hook.asked
    assert (asked.method, json.loads(asked.body)) == ("POST", {"text": "Done"})
    assert asked.headers["content-type"] == "application/json"


def test_a_value_that_comes_in_is_posted_as_it_is(hook: Web) -> None:
    notify(text="not this")({"rows": 3})
    assert json.loads(hook.asked[0].body) == {"rows": 3}


@pytest.mark.parametrize("value", [{"at": {1, 2}}, [float("nan")]])
def test_what_json_does_not_have_is_not_sent(hook: Web, value: object) -> None:
    with pytest.raises(ConnectorError, match="what came in at 'payload' is not JSON"):
        notify()(value)
    with pytest.raises(ConnectorError, match="what came in at 'content' is not JSON"):
        HttpRequest(url=hook.url, method="POST", allowed_hosts=HERE)(value)
    assert hook.asked == []


def test_a_webhook_that_says_no_is_a_failure_that_does_not_show_its_url(hook: Web) -> None:
    hook.answers["/T0/secret-part"] = Answer(b"invalid_token", 403)
    with pytest.raises(NetworkError, match=r"^the webhook at 127.0.0.1 answered 403 Forbidden: 'invalid_token'$"):
        notify(text="Done")()


def test_a_webhook_that_says_its_own_path_does_not_show_it(hook: Web) -> None:
    hook.answers["/T0/secret-part"] = lambda asked: Answer(f"Cannot POST {asked.path}".encode(), 404)
    with pytest.raises(NetworkError, match="Cannot POST") as caught:
        notify(text="hello")()
    assert "secret-part" not in str(caught.value)


def test_a_webhook_without_a_message_is_refused(hook: Web) -> None:
    with pytest.raises(NodeConfigError, match="nothing to post"):
        notify()()
    assert hook.asked == []


def test_a_webhook_s_url_is_a_secret_and_what_is_wrong_with_it_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NodeConfigError):
        NotifyWebhook(url="https://example.com/T0/secret-part", text="Done")()
    with pytest.raises(MissingSecretError, match="HOOK"):
        notify(text="Done")()
    monkeypatch.setenv("HOOK", "htps://example.com/secret-part")
    with pytest.raises(NodeConfigError) as caught:
        notify(text="Done")()
    assert "secret-part" not in str(caught.value)


def test_a_webhook_is_not_posted_to_a_private_address(hook: Web) -> None:
    with pytest.raises(AuthError):
        notify(text="Done", allowed_hosts=None)()
    assert hook.asked == []


def test_a_webhook_s_redirect_to_a_private_address_is_refused(hook: Web, other: Web) -> None:
    hook.answers["/T0/secret-part"] = Answer(status=307, headers={"location": f"http://127.0.0.2:{other.port}/"})
    with pytest.raises(AuthError):
        notify(text="Done")()
    assert other.asked == []
