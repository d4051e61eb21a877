"""Which addresses nodes connect to: the judged address is the one that is connected to, in redirects too."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import httpx
import pytest

from dagy.errors import AuthError, NodeConfigError
from dagy.nodes.library.addresses import AddressRule, guarded_client

from .web import Answer, Web

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "203.0.113.5",
    "::1", "fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "64:ff9b:1::a00:1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "2001:0:1::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "64:ff9b:1::a9fe:a9fe", "::ffff:0:169.254.169.254",
    "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "::127.0.0.1", "224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1",
    "240.0.0.1", "255.255.255.255",
]  # fmt: skip
EVERYTHING = AddressRule.of(["any.host", "*.example", "0.0.0.0/0", "::/0"])


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    assert AddressRule().refusal("any.host", address) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_private_is_refused_unless_it_is_allowed(address: str) -> None:
    refusal = AddressRule().refusal("any.host", address)
    assert refusal is not None
    assert refusal.endswith("name it in 'allowed_hosts': ['any.host']")
    assert AddressRule.of(["any.host"]).refusal("any.host", address) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_refused_whatever_is_allowed(address: str) -> None:
    assert EVERYTHING.refusal("any.host", address) is not None


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("api.internal", "API.Internal.", "10.0.0.1"),
        ("*.corp.example", "a.b.corp.example", "10.0.0.1"),
        ("10.20.0.0/16", "any.host", "10.20.3.4"),
        ("10.20.3.4", "any.host", "::ffff:10.20.3.4"),
        ("fd12::/16", "any.host", "fd12::1"),
        ("localhost", "localhost", "::1"),
    ],
)
def test_hosts_are_allowed_by_name_by_domain_and_by_network(allowed: str, host: str, address: str) -> None:
    assert AddressRule.of([allowed]).refusal(host, address) is None


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("api.internal", "x.api.internal", "10.0.0.1"),
        ("*.corp.example", "corp.example", "10.0.0.1"),
        ("*.corp.example", "evilcorp.example", "10.0.0.1"),
        ("10.20.0.0/16", "any.host", "10.21.0.1"),
    ],
)
def test_what_is_allowed_allows_nothing_else(allowed: str, host: str, address: str) -> None:
    assert AddressRule.of(allowed).refusal(host, address) is not None


@pytest.mark.parametrize("entry", ["http://api.internal", "api.internal:8080", "*", "a b", "", 5, True, None, {"a": 1}])
def test_an_entry_that_is_no_host_is_refused_by_name(entry: object) -> None:
    with pytest.raises(NodeConfigError, match=r"'allowed_hosts' has .*'10.20.0.0/16'") as caught:
        AddressRule.of([entry])
    assert caught.value.problems.keys() == {"allowed_hosts"}


# Connecting. The name api.test leads to where the test says; a real server listens on each of two addresses.

Resolver = Callable[..., list[Any]]


@pytest.fixture
def web() -> Iterator[Web]:
    """The server that may be asked."""
    with Web.started() as started:
        yield started


@pytest.fixture
def secret(web: Web) -> Iterator[Web]:
    """A server on another address, at the same port, that must hear nothing."""
    with Web.started("127.0.0.2", web.port) as started:
        started.answers["/"] = Answer(b"a secret")
        yield started


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names lead to: the first of the addresses, and from then on the next ones; the last one stays."""
    real: Resolver = socket.getaddrinfo
    known: dict[str, list[str]] = {}

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        found = known.get(host)
        if found is None:
            return real(host, port, *args, **options)
        return real(found.pop(0) if len(found) > 1 else found[0], port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def get(rule: AddressRule, url: str) -> httpx.Response:
    with guarded_client(rule, seconds=10, follow_redirects=True) as client:
        return client.get(url)


def test_a_name_that_leads_to_a_private_address_is_refused_and_nobody_is_asked(
    web: Web, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]
    with pytest.raises(AuthError, match=r"'api.test' leads to '127.0.0.1', which is no public address; .*'api.test'"):
        get(AddressRule(), f"http://api.test:{web.port}/")
    assert web.asked == []


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.1", "[::ffff:127.0.0.1]"])
def test_an_address_is_refused_however_it_is_written(web: Web, host: str) -> None:
    with pytest.raises(AuthError):
        get(AddressRule(), f"http://{host}:{web.port}/")
    assert web.asked == []


def test_a_resolver_that_changes_its_mind_after_the_judgement_changes_nothing(
    web: Web, secret: Web, names: dict[str, list[str]]
) -> None:
    web.answers["/"] = Answer(b"public")
    names["api.test"] = ["127.0.0.1", "127.0.0.2"]
    rule = AddressRule.of(["127.0.0.1"])  # it stands for the public internet
    assert get(rule, f"http://api.test:{web.port}/").content == b"public"
    with pytest.raises(AuthError):  # and the next connection is judged anew
        get(rule, f"http://api.test:{web.port}/")
    assert secret.asked == []


def test_a_redirect_to_a_private_address_is_refused(web: Web, secret: Web) -> None:
    web.answers["/"] = Answer(status=302, headers={"location": f"{secret.url}/"})
    with pytest.raises(AuthError, match=r"'127.0.0.2' is no public address"):
        get(AddressRule.of(["127.0.0.1"]), web.url)
    assert secret.asked == []


def test_a_redirect_to_the_same_name_is_judged_again(web: Web, secret: Web, names: dict[str, list[str]]) -> None:
    names["api.test"] = ["127.0.0.1", "127.0.0.2"]
    back = {"location": f"http://api.test:{web.port}/", "connection": "close"}
    web.answers["/"] = Answer(status=302, headers=back)
    with pytest.raises(AuthError):
        get(AddressRule.of(["127.0.0.1"]), f"http://api.test:{web.port}/")
    assert len(web.asked) == 1
    assert secret.asked == []


def test_of_several_addresses_the_first_that_is_allowed_and_answers_is_taken(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.answers["/"] = lambda asked: Answer(asked.headers["host"].encode())
    real: Resolver = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if host != "api.test":
            return real(host, port, *args, **options)
        several = ["169.254.169.254", "127.0.0.3", "127.0.0.1"]  # nobody listens on the second
        return [found for each in several for found in real(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answer = get(AddressRule.of(["127.0.0.0/8"]), f"http://api.test:{web.port}/")
    assert answer.text == f"api.test:{web.port}"


def test_the_name_is_what_a_certificate_is_asked_for(names: dict[str, list[str]]) -> None:
    names["api.test"] = ["127.0.0.1"]
    first_bytes: list[bytes] = []

    def listen(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            first_bytes.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen, args=(server,))
        thread.start()
        with pytest.raises((httpcore.NetworkError, httpcore.ProtocolError)):
            get(AddressRule.of(["api.test"]), f"https://api.test:{server.getsockname()[1]}/")
        thread.join()
    assert b"api.test" in first_bytes[0]


def test_an_answer_that_never_ends_is_ended_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_for_ever(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"more")

    seconds = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))  # one more each time that it is asked
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_for_ever, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with (
            pytest.raises((httpx.TimeoutException, httpcore.TimeoutException)),
            guarded_client(AddressRule.of("127.0.0.1"), seconds=30) as client,
        ):
            client.get(url)
        thread.join()
    assert next(seconds) < 60


def test_the_environment_s_proxies_are_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:1")
    web.answers["/"] = Answer(b"direct")
    assert get(AddressRule.of(["127.0.0.1"]), web.url).content == b"direct"
