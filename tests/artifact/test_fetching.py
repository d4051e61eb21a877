"""Wheels from an index over HTTP: who is told the password, and what happens when the network fails."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dagy.artifact.fetching import fetch_wheels
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.wheels import FoundWheel
from dagy.errors import ArtifactError

from .wheelhouse import Wheelhouse, found


@dataclass
class Index:
    """A real server with one wheel."""

    wheel: Path
    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # who was asked for it, and what was shown
    password: str | None = None
    failures: int = 0  # how often an answer is cut short
    elsewhere: Index | None = None  # to which it redirects

    def url(self, user: str = "", host: str = "127.0.0.1") -> str:
        return f"http://{user and user + '@'}{host}:{self.port}/files/{self.wheel.name}"

    def found(self, user: str = "") -> FoundWheel:
        local = found(self.wheel)
        return FoundWheel(local.name, local.version, self.url(user), local.sha256)


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown = self.headers.get("Authorization")
            index.asked.append((self.path, shown))
            if index.password is not None and shown != f"Basic {base64.b64encode(index.password.encode()).decode()}":
                self.send_error(401, "Unauthorized")
                return
            if index.elsewhere is not None:
                self.send_response(302)
                self.send_header("Location", index.elsewhere.url(host="localhost"))
                self.end_headers()
                return
            data = index.wheel.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if index.failures:
                index.failures -= 1
                data = data[:100]
            self.wfile.write(data)

        def log_message(self, *parts: object) -> None:
            """Nothing is printed."""

    return Handler


@pytest.fixture
def indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Index, Index]]:
    """Two servers with the same wheel."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    wheel = Wheelhouse(tmp_path / "wheelhouse").add("quick")
    servers = []
    made = []
    for _ in range(2):
        index = Index(wheel)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(index))
        index.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        made.append(index)
    yield made[0], made[1]
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(wheel: FoundWheel, tmp_path: Path) -> LockedWheel:
    (kept,) = fetch_wheels([wheel], tmp_path / "local", fits=lambda file: None)
    return kept


def test_a_wheel_is_fetched_and_no_password_is_made_up(indexes: tuple[Index, Index], tmp_path: Path) -> None:
    index, _ = indexes
    assert fetch(index.found(), tmp_path).sha256 == found(index.wheel).sha256
    assert index.asked == [(f"/files/{index.wheel.name}", None)]


def test_an_answer_that_is_cut_short_is_asked_for_again(indexes: tuple[Index, Index], tmp_path: Path) -> None:
    index, _ = indexes
    index.failures = 2
    assert fetch(index.found(), tmp_path).size == index.wheel.stat().st_size
    assert len(index.asked) == 3


def test_what_is_always_cut_short_is_given_up(indexes: tuple[Index, Index], tmp_path: Path) -> None:
    index, _ = indexes
    index.failures = 100
    with pytest.raises(ArtifactError, match=r"'quick-1\.0.*' can't be fetched: the connection ended after 100 of"):
        fetch(index.found(), tmp_path)
    assert len(index.asked) == 3
    assert list((tmp_path / "local/wheels").iterdir()) == []


def test_the_urls_own_password_is_shown_to_its_host_and_to_no_other(
    indexes: tuple[Index, Index], tmp_path: Path
) -> None:
    index, elsewhere = indexes
    index.password, index.elsewhere = "me:hunter 2", elsewhere
    fetch(index.found("me:hunter%202"), tmp_path)
    assert [shown is not None for _, shown in index.asked] == [True]
    assert [shown for _, shown in elsewhere.asked] == [None]


def test_a_password_is_found_in_netrc(indexes: tuple[Index, Index], tmp_path: Path) -> None:
    index, _ = indexes
    index.password = "me:hunter2"
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    assert fetch(index.found(), tmp_path).name == "quick"


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "PIP_INDEX_URL", "UV_INDEX"])
def test_a_password_is_found_in_the_index_that_the_environment_names(
    indexes: tuple[Index, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    index, elsewhere = indexes
    index.password = "me:hunter/2"
    text = f"{'mine=' if variable == 'UV_INDEX' else ''}http://me:hunter%2F2@127.0.0.1:{index.port}/simple"
    monkeypatch.setenv(variable, f"http://example.org:x/ {text}")
    assert fetch(index.found(), tmp_path).name == "quick"
    fetch(FoundWheel("quick", "1.0", elsewhere.url()), tmp_path)
    assert [shown for _, shown in elsewhere.asked] == [None]


def test_an_index_that_asks_for_a_password_is_told_with_where_to_keep_it(
    indexes: tuple[Index, Index], tmp_path: Path
) -> None:
    index, _ = indexes
    index.password = "me:hunter2"
    with pytest.raises(ArtifactError) as caught:
        fetch(index.found("me:wrong"), tmp_path)
    assert str(caught.value) == (
        "'quick-1.0-py3-none-any.whl' can't be fetched from 127.0.0.1: the answer is 401 Unauthorized; "
        "keep the password of the index in ~/.netrc"
    )
    assert len(index.asked) == 1


def test_a_host_that_is_not_there_is_an_error_of_ours(indexes: tuple[Index, Index], tmp_path: Path) -> None:
    index, _ = indexes
    wheel = FoundWheel("quick", "1.0", f"http://127.0.0.1:1/{index.wheel.name}")
    with pytest.raises(ArtifactError, match=r"can't be fetched: .*[Cc]onnection refused"):
        fetch(wheel, tmp_path)
